//! One exchange as lines: request, head and body, from what it met and what ended it. Pure.

use std::time::{Duration, SystemTime};

use crate::cause::{Failure, Phase, sized};
use crate::config::problem::count;
use crate::probe::Seen;

use super::report::{Report, Step, matter};
use super::text::{approximate, spoken};
use super::tls;

/// Request, head and body as steps, the last of them with what went wrong.
pub(super) fn exchange(
    report: &mut Report,
    asked: &str,
    seen: &Seen,
    elapsed: Duration,
    failure: Option<&Failure>,
    (limit, head_limit): (&str, usize),
) {
    let steps = &mut report.steps;
    let failed_in = |phase| failure.filter(|failure| failure.phase == phase);
    let rest = elapsed.saturating_sub(seen.spent());
    // The connection of this very exchange, where there is only one to show.
    let mut connects = steps.iter_mut().filter(|step| step.phase == "connect");
    if let (Some(connect), None, Some(took)) = (connects.next(), connects.next(), seen.connect) {
        connect.elapsed = took;
    }
    steps.extend(seen.tls.as_ref().map(|session| tls::step(session, SystemTime::now())));
    for phase in [Phase::Queue, Phase::Resolve, Phase::Connect, Phase::Tls] {
        if let Some(failure) = failed_in(phase) {
            steps.push(Step::new(phase.token(), rest, matter(failure, limit)).because(failure.cause));
        }
    }
    match (seen.request, failed_in(Phase::Request)) {
        (None, None) => {}
        (took, None) => steps.push(Step::new("request", took.unwrap_or_default(), asked)),
        (took, Some(failure)) => {
            let said = matter(failure, limit);
            steps.push(Step::new("request", took.unwrap_or(rest), said).because(failure.cause));
        }
    }
    let head = seen.head.as_ref();
    let facts = |step: Step| match head {
        Some(head) => {
            let step = step.fact("status", head.status).fact("fields", head.fields).fact("bytes", head.bytes);
            let step = step.fact("limit_bytes", head_limit);
            if let Some(location) = &head.location { step.fact("location", location.as_str()) } else { step }
        }
        None => step,
    };
    match (head, failed_in(Phase::Head)) {
        (None, None) => {}
        (Some(head), None) => {
            let (bytes, most) = (approximate(head.bytes), sized(head_limit as u64));
            let to = head.location.as_ref().map(|location| format!(" to {location}")).unwrap_or_default();
            let said = format!("{}{to}, {}, {bytes} (limit {most})", head.status, count(head.fields, "field"));
            steps.push(facts(Step::new("head", head.took, said)));
        }
        (head, Some(failure)) => {
            let took = head.map_or(rest, |head| head.took);
            steps.push(facts(Step::new("head", took, matter(failure, limit))).because(failure.cause));
        }
    }
    let body = seen.body.as_ref();
    let facts = |step: Step| match body {
        Some(body) => step.fact("bytes", body.bytes).fact("complete", body.complete),
        None => step,
    };
    match (body, failed_in(Phase::Body)) {
        (None, None) => {}
        (Some(body), None) => {
            let bytes = approximate(body.bytes);
            let said = match (body.complete, body.bytes) {
                (true, 0) => "empty".to_owned(),
                (true, _) => format!("{bytes}, complete"),
                (false, ..65_536) => format!("{bytes} so far, and still open after {}", spoken(body.took)),
                (false, _) => format!("{bytes} read, the rest left"),
            };
            steps.push(facts(Step::new("body", body.took, said)));
        }
        (body, Some(failure)) => {
            let took = body.map_or(rest, |body| body.took);
            steps.push(facts(Step::new("body", took, matter(failure, limit))).because(failure.cause));
        }
    }
    report.elapsed += elapsed;
}

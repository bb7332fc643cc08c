//! What is known of a failed attempt beyond the failure: learnt from what this upstream did before, and found by a
//! closer look. What was learnt is certain, so it comes first. It looks at nothing itself; a look is only asked for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;

use crate::cause::{Cause, Fault, Finding, escape};
use crate::config::units::duration_text;
use crate::health::IdleAge;
use crate::observe::told::spoken;
use crate::pool::Upstream;
use crate::pool::insight::Asker;

/// What of the request a failure may come from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// The Host that it went out with, where that was not the upstream's own address.
    pub(super) host: Option<&'a HeaderValue>,
    /// Its route.
    pub(super) waits: Option<Waits<'a>>,
}

/// The route of the request, and how long it waits for a head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waits<'a> {
    pub(super) route: &'a str,
    pub(super) read: Duration,
}

/// What is known of such a failure there; and the wish to know more. What the client or causeway itself did wrong needs
/// no look at an upstream.
pub(super) fn of(upstream: &Upstream, cause: Cause, asked: Asked<'_>, now: Instant) -> Option<Arc<Finding>> {
    if !matches!(cause.row().fault, Fault::Upstream | Fault::Network) {
        return None;
    }
    let found = upstream.insight.of(Asker::Traffic, cause, now);
    let host = asked.host.and_then(|host| host.to_str().ok());
    upstream.insight.ask_of(Asker::Traffic, cause, host, now);
    let learnt = match (cause, asked.waits) {
        (Cause::StaleConnection, _) => closes_idle(&upstream.idle_age),
        (Cause::ReadTimeout, Some(waits)) => {
            upstream.recent.times(now).p99.map(|p99| usual(p99, &waits, found.as_deref()))
        }
        _ => None,
    };
    learnt.map(Arc::new).or(found)
}

fn closes_idle(idle_age: &IdleAge) -> Option<Finding> {
    let learnt = idle_age.learnt()?;
    let (age, keeps) = (figure(learnt.age), figure(learnt.keeps));
    Some(Finding::new(
        Cause::StaleConnection,
        format!("It closes idle connections after about {age}; causeway keeps them for {keeps} now."),
    ))
}

/// What its usual times say of one that did not answer within the limit.
fn usual(p99: Duration, waits: &Waits<'_>, found: Option<&Finding>) -> Finding {
    let said = |sentence: String| Finding::new(Cause::ReadTimeout, sentence);
    let its = format!("Its p99 is {}", figure(p99));
    if p99 >= waits.read / 2 {
        let (route, longer) = (escape(waits.route.as_bytes()), duration_text(longer(waits.read)));
        return said(format!(
            "{its}: it is slow rather than stuck. Only this route? [route.{route}.timeouts] read = \"{longer}\""
        ));
    }
    match found {
        Some(found) => Finding { sentence: format!("{its}. {}", found.sentence), ..found.clone() },
        None if p99 <= waits.read / 5 => said(format!("{its}, so it is probably stuck rather than slow.")),
        None => said(format!("{its}.")).besides(),
    }
}

/// A longer limit, as people write it: at least four times as long.
fn longer(limit: Duration) -> Duration {
    const STEPS: [u64; 8] = [10, 30, 60, 120, 300, 600, 1800, 3600];
    let longer = STEPS.into_iter().map(Duration::from_secs).find(|step| *step >= 4 * limit);
    longer.unwrap_or_else(|| Duration::from_secs(4 * limit.as_secs()))
}

/// A figure that is known about: `3.8 ms`, `38 ms`, `4.6 s`.
fn figure(time: Duration) -> String {
    match time.as_millis() {
        0..10 => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        10..1000 => format!("{} ms", time.as_millis()),
        _ => spoken(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(p99: u64, read: u64, found: Option<&str>) -> (String, bool) {
        let waits = Waits { route: "reports", read: Duration::from_millis(read) };
        let found = found.map(|sentence| Finding::new(Cause::ReadTimeout, sentence));
        let finding = usual(Duration::from_millis(p99), &waits, found.as_ref());
        (finding.sentence, finding.answers)
    }

    #[test]
    fn slow_or_stuck_is_told_by_what_is_usual() {
        let stuck = "Its p99 is 38 ms, so it is probably stuck rather than slow.";
        assert_eq!(told(38, 5_000, None), (stuck.into(), true));
        let slow =
            "Its p99 is 4.6 s: it is slow rather than stuck. Only this route? [route.reports.timeouts] read = \"30s\"";
        assert_eq!(told(4_600, 5_000, None), (slow.into(), true));
        assert!(told(40_000, 60_000, None).0.ends_with("read = \"5m\""));
        assert_eq!(told(1_500, 5_000, None), ("Its p99 is 1.5 s.".into(), false), "who knows");
    }

    #[test]
    fn what_is_certain_stands_before_what_a_look_has_found() {
        let look = "But a new GET / gives 200 in 1.8 ms: the app runs. If it has to be slow, raise timeouts.read.";
        assert_eq!(told(38, 5_000, Some(look)).0, format!("Its p99 is 38 ms. {look}"));
        let strange = "It does not speak HTTP (-ERR wrong. password): this is not the app's port.";
        assert_eq!(told(38, 5_000, Some(strange)).0, format!("Its p99 is 38 ms. {strange}"));
        assert!(told(4_600, 5_000, Some(look)).0.starts_with("Its p99 is 4.6 s: it is slow"));
    }

    #[test]
    fn limits_grow_in_steps_that_people_write() {
        let longer = [1, 5, 60, 900, 3600].map(|secs| duration_text(longer(Duration::from_secs(secs))));
        assert_eq!(longer, ["10s", "30s", "5m", "1h", "4h"]);
    }
}

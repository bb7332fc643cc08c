//! The tables `timeouts` and `retry`, of a pool or of a route.

use super::super::model::{Retry, Statuses, Timeouts};
use super::super::read::Section;
use super::super::tree::{Node, Value};
use super::late;
use super::pool::count;

/// The tables `timeouts` and `retry` of a pool or a route, over what holds without them.
pub(super) fn clocks(section: &Section<'_>, base: Timeouts, retry_base: Retry) -> (Timeouts, Retry) {
    let (t, r) = (section.section("timeouts"), section.section("retry"));
    let problems = section.cx.problems.borrow().len();
    let timeouts = Timeouts {
        resolve: t.time("resolve", base.resolve),
        connect: t.time("connect", base.connect),
        tls: t.time("tls", base.tls),
        write: t.time("write", base.write),
        read: t.time("read", base.read),
        body: t.time("body", base.body),
        request: t.time_or_off("request", base.request),
        tunnel: t.time_or_off("tunnel", base.tunnel),
    };
    let attempts = r.number_or("attempts", 1..=1000, &[("all", None)], count);
    let resend = r.number_or("resend", 0..=1000, &[("all", None), ("off", Some(0))], |n| Some(n as usize));
    let retry = Retry {
        attempts: attempts.unwrap_or(retry_base.attempts),
        resend: resend.unwrap_or(retry_base.resend),
        idempotency_key: r.flag("idempotency_key", retry_base.idempotency_key),
        deadline: r.time_or_off("deadline", retry_base.deadline),
        on_status: on_status(&r).unwrap_or(retry_base.on_status),
        budget: budget(&r).unwrap_or(retry_base.budget),
    };
    // What could not be read is no reason to call the rest foolish.
    if section.cx.problems.borrow().len() == problems {
        late::look(&t, &r, &timeouts, &retry);
    }
    (timeouts, retry)
}

/// `[502, 503]`; `None`: unsaid.
fn on_status(retry: &Section<'_>) -> Option<Statuses> {
    retry.node("on_status")?;
    let mut statuses = Statuses::default();
    for Node { value, place } in retry.list("on_status", "502") {
        let number = |n: i64| u16::try_from(n).ok().filter(|status| (400..=599).contains(status));
        let (message, hint) = match value {
            Value::Integer(n) => match number(*n) {
                Some(status) => {
                    statuses.insert(status);
                    continue;
                }
                None => (format!("`on_status` cannot hold {n}"), "write statuses from 400 to 599".into()),
            },
            Value::Text(text) => {
                let hint = match text.trim().parse().ok().and_then(number) {
                    Some(status) => format!("write {status}, without quotes"),
                    None => "write each status, like 502, 503, 504".into(),
                };
                ("`on_status` is a list of numbers, and this is text".into(), hint)
            }
            other => {
                let message = format!("`on_status` is a list of numbers, and this is {}", other.kind());
                (message, "write on_status = [502, 503, 504]".into())
            }
        };
        retry.cx.error(place, message, hint);
    }
    Some(statuses)
}

/// `"20%"`, or "off": no bound; `None`: unsaid.
fn budget(retry: &Section<'_>) -> Option<Option<u32>> {
    match &retry.node("budget")?.value {
        Value::Text(text) if text == "off" => Some(None),
        _ => retry.percent("budget", 1000).map(Some),
    }
}

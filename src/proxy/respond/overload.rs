//! What is said of limits: a listener at its own, a pool whose upstreams are at theirs, a queue that is full.

use crate::cause::{Cause, Failure};
use crate::observe::{Exchange, Reason};

/// A listener has as many requests as it may have.
pub(super) fn listener(failure: &Failure, name: &str) -> String {
    let most = failure.limit.as_deref().and_then(number).map(|most| format!(": {most}")).unwrap_or_default();
    format!(
        "Listener \"{name}\" has as many requests at once as it may have{most} (limit: listener.{name}.limits.in_flight)."
    )
}

/// Every upstream that is left has as many requests as it may have.
pub(super) fn pool(failure: &Failure, exchange: &Exchange, pool: &str) -> String {
    let key = "(limits.in_flight)";
    let reached = most(exchange).map_or_else(|| key.to_owned(), |most| format!("(limits.in_flight = {most})"));
    let waiting = failure.seen.as_deref().filter(|_| failure.cause == Cause::UpstreamBusy).and_then(number);
    let Some(waiting) = waiting else { return failure.hint(pool).replace(key, &reached) };
    let waiting = if waiting == 1 { "1 request waits".to_owned() } else { format!("{waiting} requests wait") };
    format!(
        "Every upstream that is left has as many requests as it may have {reached}, and {waiting} in the queue, \
         which is full (limit: limits.queue). Raise limits.queue, or add upstreams."
    )
}

/// One upstream has as many requests as it may have.
pub(super) fn upstream(most: Option<usize>) -> String {
    match most {
        Some(1) => "limits.in_flight = 1 is reached: it has 1 request.".to_owned(),
        Some(most) => format!("limits.in_flight = {most} is reached: it has {most} requests."),
        None => "It has as many requests as limits.in_flight allows.".to_owned(),
    }
}

/// How many requests each of those at their limit may have, if that is the same for all.
fn most(exchange: &Exchange) -> Option<usize> {
    let mut each =
        exchange.not_tried.iter().filter(|skip| skip.reason == Reason::Busy).map(|skip| skip.in_flight_limit);
    let first = each.next()??;
    each.all(|other| other == Some(first)).then_some(first)
}

/// The number that a text begins with.
fn number(text: &str) -> Option<u64> {
    text.split(' ').next()?.parse().ok()
}

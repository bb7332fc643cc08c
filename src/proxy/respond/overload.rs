//! What is said of limits: a listener at its own, a pool whose upstreams are at theirs, a queue that is full.

use crate::cause::{Cause, Failure};

/// A listener has as many requests as it may have.
pub(super) fn listener(failure: &Failure, name: &str) -> String {
    let most = failure.limit.as_deref().and_then(number).map(|most| format!(": {most}")).unwrap_or_default();
    format!(
        "Listener \"{name}\" has as many requests at once as it may have{most} (limit: listener.{name}.limits.in_flight)."
    )
}

/// Every upstream that is left has as many requests as it may have.
pub(super) fn pool(failure: &Failure, pool: &str) -> String {
    let waiting = failure.seen.as_deref().filter(|_| failure.cause == Cause::UpstreamBusy).and_then(number);
    let Some(waiting) = waiting else { return failure.hint(pool) };
    let waiting = if waiting == 1 { "1 request waits".to_owned() } else { format!("{waiting} requests wait") };
    format!(
        "Every upstream that is left has as many requests as it may have (limits.in_flight), and {waiting} in the queue, \
         which is full (limit: limits.queue). Raise limits.queue, or add upstreams."
    )
}

/// The number that a text begins with.
fn number(text: &str) -> Option<u64> {
    text.split(' ').next()?.parse().ok()
}

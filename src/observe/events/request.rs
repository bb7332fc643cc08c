//! Events about requests: which failed, and how; one for each pool and cause in a second, and how many there were
//! besides.

use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::warn;

use crate::cause::{Cause, escape};
use crate::observe::exchange::Exchange;
use crate::observe::told::whole;

use super::throttle::Throttle;
use super::{count, listed, more};

/// Pool and cause.
type Kind = (Option<Arc<str>>, Option<Cause>);

/// Of 24 pools, whatever all their requests fail with.
static FAILED: Throttle<Kind> = Throttle::new(Duration::from_secs(1), 1024);
/// A failure was counted and not told.
static HELD: Notify = Notify::const_new();

/// A client got a 5xx of causeway's own: which upstream failed how. At most one line a second for each pool and cause;
/// the next one says how many there were between, or [`requests_failed`] where there is no next one.
pub fn request_failed(exchange: &Exchange) {
    let cause = exchange.failure.as_ref().map(|failure| failure.cause);
    let now = exchange.started + exchange.elapsed;
    let same = |key: &Kind| key.1 == cause && key.0 == exchange.pool;
    let Some(held) = FAILED.pass(now, same, || (exchange.pool.clone(), cause)) else {
        HELD.notify_one();
        return;
    };
    let (id, status, pool) = (&*exchange.request_id, exchange.status, exchange.pool.as_deref().unwrap_or_default());
    let cause = cause.map_or("", Cause::token);
    let (text, more) = (Trail(exchange), more(held));
    warn!(
        event = "request_failed",
        request_id = id,
        status,
        pool,
        cause,
        more = held,
        "request {id} got {status}: {text}{more}"
    );
}

/// Resolves when a failure was counted and not told: [`requests_failed`] should be asked until it has no more.
pub async fn failures_held() {
    HELD.notified().await;
}

/// Storms that are over by now: how many requests failed behind the last line of each pool and cause. `now`: `None` at
/// the end of the process, when all are. Is anything left to tell later?
pub fn requests_failed(now: Option<Instant>) -> bool {
    let (over, left) = FAILED.over(now);
    for ((pool, cause), held) in over {
        let (pool, cause) = (pool.as_deref().unwrap_or_default(), cause.map_or("", Cause::token));
        let requests = count(usize::try_from(held).unwrap_or(usize::MAX), "more request");
        let of = if pool.is_empty() { String::new() } else { format!(" of pool {pool}") };
        let why = if cause.is_empty() { String::new() } else { format!(": {cause}") };
        warn!(
            event = "requests_failed",
            pool,
            cause,
            more = held,
            "and {requests}{of} failed within a second of the last line{why}"
        );
    }
    left
}

/// One request made several upstreams drop the connection: it may be what takes them down. At most one line in ten
/// seconds for each route; one upstream alone says nothing.
pub fn request_suspect(exchange: &Exchange, now: Instant) {
    static THROTTLE: Throttle<Option<Arc<str>>> = Throttle::new(Duration::from_secs(10), 256);
    let mut upstreams: Vec<_> = exchange.droppers().map(|attempt| &*attempt.upstream).collect();
    upstreams.sort_unstable();
    upstreams.dedup();
    if upstreams.len() < 2 {
        return;
    }
    let Some(held) = THROTTLE.pass(now, |route| *route == exchange.route, || exchange.route.clone()) else { return };
    let (id, method, more) = (&*exchange.request_id, exchange.method.as_str(), more(held));
    let (route, pool) = (exchange.route.as_deref().unwrap_or_default(), exchange.pool.as_deref().unwrap_or_default());
    let (count, upstreams) = (upstreams.len(), listed(&upstreams));
    warn!(
        event = "request_suspect",
        request_id = id,
        method,
        route,
        pool,
        upstreams,
        more = held,
        "request {id} ({method}, route {route}) made {count} upstreams of pool {pool} drop the connection: {upstreams}. \
         It may be what takes the app down; retry.resend = 0 on that route keeps it to one{more}"
    );
}

/// `GET /orders (pool app): 127.0.0.1:3000 connection_refused: connection refused: …; 127.0.0.1:3002 not tried: evicted`
struct Trail<'a>(&'a Exchange);

impl Display for Trail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exchange = self.0;
        write!(f, "{} {}", exchange.method, escape(exchange.uri.path().as_bytes()))?;
        if let Some(pool) = &exchange.pool {
            write!(f, " (pool {pool})")?;
        }
        let mut separator = ": ";
        for (attempt, failure) in exchange.failures() {
            write!(f, "{separator}{} {}: {}", attempt.upstream, failure.cause, whole(failure))?;
            separator = "; ";
        }
        for skip in &exchange.not_tried {
            write!(f, "{separator}{} not tried: {}", skip.upstream, skip.reason.token())?;
            if let Some((cause, _)) = &skip.last_failure {
                write!(f, " ({cause})")?;
            }
            separator = "; ";
        }
        match &exchange.failure {
            // Of no upstream at all: a list has none just now.
            Some(failure) if separator == ": " && failure.cause == Cause::Evicted => {
                write!(f, "{separator}{}: there is no upstream", failure.cause)
            }
            Some(failure) if separator == ": " => write!(f, "{separator}{}: {}", failure.cause, whole(failure)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::cause::Failure;

    #[test]
    fn a_pool_without_any_upstream_evicted_none() {
        let client = ([127, 0, 0, 1], 1).into();
        let now = (Instant::now(), SystemTime::UNIX_EPOCH);
        let mut exchange = Exchange::new("ID".into(), client, "main".into(), now);
        exchange.pool = Some("app".into());
        exchange.failure = Some(Failure::new(Cause::Evicted).into());
        assert_eq!(Trail(&exchange).to_string(), "GET / (pool app): evicted: there is no upstream");
    }
}

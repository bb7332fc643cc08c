//! The operator's word on an upstream: `PUT /api/pools/POOL/upstreams/NAME/state` with `{"state":"draining"}` (CONTRACT
//! §6).
//!
//! Who may say it is in [`guard`](super::guard). It knows nothing of connections.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use crate::health::Operator;
use crate::observe::events;
use crate::pool::Pool;

use super::answer::Refusal;

/// Bytes of a word.
pub(super) const LONGEST: usize = 1 << 10;

/// Which upstream is meant: pool and id, as the path has them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pool: String,
    upstream: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    state: Word,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Enabled,
    Draining,
    Disabled,
}

impl Target {
    /// Of such a path; `None`: it is another one.
    pub(super) fn of(path: &str) -> Option<Self> {
        let (pool, rest) = path.strip_prefix("/api/pools/")?.split_once("/upstreams/")?;
        let upstream = rest.strip_suffix("/state")?;
        Some(Self { pool: decoded(pool)?, upstream: decoded(upstream)? })
    }
}

/// Takes the word; the answer, as JSON, is the upstreams whose state it changed, how those that it covers are now, and
/// what is left of the pool.
pub(super) fn switch(pools: &[Arc<Pool>], target: &Target, body: &[u8], now: Instant) -> Result<String, Refusal> {
    let word = match serde_json::from_slice::<Said>(body) {
        Ok(said) => said.state,
        Err(error) => {
            let why = format!(
                "This is no word on an upstream ({error}). Write {{\"state\":\"draining\"}}, or enabled, or disabled."
            );
            return Err((StatusCode::BAD_REQUEST, why));
        }
    };
    let missing = |what: String| (StatusCode::NOT_FOUND, what);
    let Some(pool) = pools.iter().find(|pool| *pool.config.name == *target.pool) else {
        let known: Vec<_> = pools.iter().map(|pool| &*pool.config.name).collect();
        return Err(missing(format!("There is no pool of this name. Known here: {}.", known.join(", "))));
    };
    let operator = match word {
        Word::Enabled => Operator::Enabled,
        Word::Draining => Operator::Draining,
        Word::Disabled => Operator::Disabled,
    };
    let changed = pool.switch(&target.upstream, operator, now).map_err(|_| {
        let members = pool.members();
        let known: Vec<_> = members.iter().take(20).map(|one| &*one.id).collect();
        missing(format!("The pool has no upstream of this name. Known here: {}.", known.join(", ")))
    })?;
    let rows = changed.iter().map(|(upstream, change)| {
        let member = events::Member { pool: &pool.config.name, upstream: &upstream.id, meter: &upstream.meter };
        events::upstream_switched(member, change.from, change.to);
        json!({ "upstream": &*upstream.id, "from": change.from.token(), "to": change.to.token() })
    });
    let changed: Vec<_> = rows.collect();
    let members = pool.members();
    let covered = members.iter().filter(|one| {
        let entry = pool.config.upstreams.get(one.entry);
        *one.id == *target.upstream || entry.is_some_and(|entry| *entry.id() == *target.upstream)
    });
    let covered = covered.map(|one| {
        let in_flight = one.in_flight.load(Ordering::Relaxed);
        json!({ "upstream": &*one.id, "state": one.health.state().token(), "in_flight": in_flight })
    });
    let told = json!({
        "changed": changed,
        "upstreams": covered.collect::<Vec<_>>(),
        "usable": pool.usable(),
        "total": members.len(),
        "sticky": pool.config.sticky.is_some(),
    });
    Ok(format!("{told}\n"))
}

/// Without its escapes (RFC 3986 §2.1); `None` where one is broken.
fn decoded(text: &str) -> Option<String> {
    let mut pieces = text.as_bytes().split(|byte| *byte == b'%');
    let mut bytes = pieces.next().unwrap_or_default().to_vec();
    for piece in pieces {
        let digits = piece.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        bytes.extend_from_slice(&piece[2..]);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_names_pool_and_upstream() {
        let of = |path: &str| Target::of(path).map(|target| (target.pool, target.upstream));
        let wanted = |pool: &str, upstream: &str| Some((pool.to_owned(), upstream.to_owned()));
        assert_eq!(of("/api/pools/app/upstreams/10.0.0.1:3000/state"), wanted("app", "10.0.0.1:3000"));
        assert_eq!(of("/api/pools/app/upstreams/%5B::1%5D:3000/state"), wanted("app", "[::1]:3000"));
        for other in ["/api/pools/app/upstreams/b", "/api/pools/app/state", "/api/pools/a/upstreams/%5/state", "/"] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}

//! The operator's word on an upstream: `PUT /api/pools/POOL/upstreams/NAME/state` with `{"state":"draining"}` (CONTRACT §6).
//!
//! From this machine alone, and from no browser that another site has sent: what may change something must be meant. It
//! knows nothing of connections.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http::header::{self, HeaderMap, HeaderName};
use http::{StatusCode, Uri};
use serde::Deserialize;
use serde_json::json;

use crate::health::Operator;
use crate::observe::events;
use crate::pool::Pool;

/// Bytes of a word.
pub(super) const LONGEST: usize = 1 << 10;

const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

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

/// A status, and what is wrong in one sentence with the remedy.
pub(super) type Refusal = (StatusCode, String);

impl Target {
    /// Of such a path; `None`: it is another one.
    pub(super) fn of(path: &str) -> Option<Self> {
        let (pool, rest) = path.strip_prefix("/api/pools/")?.split_once("/upstreams/")?;
        let upstream = rest.strip_suffix("/state")?;
        Some(Self { pool: decoded(pool)?, upstream: decoded(upstream)? })
    }
}

/// May this request change something? `peer`: who sent it.
pub(super) fn allowed(peer: IpAddr, fields: &HeaderMap) -> Result<(), Refusal> {
    let text = |name: &HeaderName| fields.get(name).and_then(|value| value.to_str().ok());
    let host = text(&header::HOST).unwrap_or_default();
    let own = match text(&header::ORIGIN).map(str::parse::<Uri>) {
        None => true,
        Some(origin) => origin.is_ok_and(|origin| origin.authority().is_some_and(|origin| origin.as_str() == host)),
    };
    let refused = |why: &str| Err((StatusCode::FORBIDDEN, why.to_owned()));
    if !peer.to_canonical().is_loopback() {
        refused("Changes are taken from this machine alone: send it to the admin address from there.")
    } else if !own || !matches!(text(&SITE), None | Some("same-origin" | "none")) || !is_local(host) {
        refused("This was sent by a page of another site. Send it with curl or from the admin's own page.")
    } else {
        Ok(())
    }
}

/// Takes the word; the answer is the upstreams whose state it changed, as JSON.
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
        events::upstream_switched(&pool.config.name, &upstream.id, change.from.token(), change.to.token());
        json!({ "upstream": &*upstream.id, "from": change.from.token(), "to": change.to.token() })
    });
    Ok(format!("{}\n", json!({ "changed": rows.collect::<Vec<_>>() })))
}

/// Is this how one's own machine is called? A name could be anybody's, who lets it point here.
fn is_local(host: &str) -> bool {
    let authority = host.parse::<http::uri::Authority>();
    authority.is_ok_and(|authority| {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok()
    })
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

    #[test]
    fn only_this_machine_and_no_page_of_another_site_may_change_something() {
        let fields = |pairs: &[(&'static str, &'static str)]| {
            pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
        };
        let may = |peer: &str, pairs| allowed(peer.parse().unwrap(), &fields(pairs)).is_ok();
        assert!(may("127.0.0.1", &[("host", "127.0.0.1:9901")]));
        assert!(may("::ffff:127.0.0.1", &[("host", "[::1]:9901"), ("sec-fetch-site", "none")]));
        assert!(may("::1", &[("host", "localhost:9901"), ("origin", "http://localhost:9901")]));
        assert!(!may("10.0.0.1", &[("host", "127.0.0.1:9901")]));
        assert!(!may("127.0.0.1", &[("host", "127.0.0.1:9901"), ("origin", "http://evil.example")]));
        assert!(!may("127.0.0.1", &[("host", "127.0.0.1:9901"), ("origin", "null")]));
        assert!(!may("127.0.0.1", &[("host", "127.0.0.1:9901"), ("sec-fetch-site", "cross-site")]));
        assert!(!may("127.0.0.1", &[("host", "rebound.example:9901")]), "a name that was pointed here");
        assert!(!may("127.0.0.1", &[]));
    }
}

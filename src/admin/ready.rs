//! What `/readyz` answers: pure, from what is known at one moment.

use std::fmt::Write as _;

use http::StatusCode;

use crate::cause::escape;
use crate::pool::Pool;

/// All that `/readyz` looks at.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// The listeners are bound.
    pub(super) listening: bool,
    /// The first checks are in.
    pub(super) checked: bool,
    /// The end has begun.
    pub(super) draining: bool,
    /// Memory is short: it refuses, and says why.
    pub(super) short: bool,
    /// In the order of the file.
    pub(super) pools: Vec<Standing>,
}

/// One pool, in numbers.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) name: String,
    pub(super) usable: usize,
    pub(super) total: usize,
    pub(super) checked: bool,
}

impl Standing {
    /// A pool as it is now.
    pub(super) fn of(pool: &Pool) -> Self {
        Self {
            name: pool.config.name.to_string(),
            usable: pool.usable(),
            total: pool.members().len(),
            checked: pool.checked(),
        }
    }
}

/// Status and text for a query (`pool=NAME`, `pool=all`, `verbose`; each may stand more than once).
pub(super) fn answer(state: &State, query: &str) -> (StatusCode, String) {
    let mut wanted: Vec<&Standing> = Vec::new();
    let mut verbose = false;
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        match (key, decoded(value)) {
            ("verbose", _) => verbose = true,
            ("pool", name) if name == "all" => wanted.extend(&state.pools),
            ("pool", name) => match state.pools.iter().find(|pool| pool.name == name) {
                Some(pool) => wanted.push(pool),
                None => return (StatusCode::NOT_FOUND, no_pool(state, &name)),
            },
            _ => {} // a query that means nothing here, such as a cache buster
        }
    }
    let why_not = why_not(state, &wanted);
    let status = if why_not.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut text = why_not.map_or_else(|| "ready".to_owned(), |why| format!("not ready: {why}"));
    if verbose {
        let yes = |is: bool| if is { "yes" } else { "no" };
        let _ = write!(text, "\nconfig loaded: yes\nlisteners bound: {}", yes(state.listening));
        let _ = write!(text, "\nfirst checks in: {}\nshutting down: {}", yes(state.checked), yes(state.draining));
        if state.short {
            let _ = write!(text, "\nmemory short: yes");
        }
        for pool in &state.pools {
            let _ = write!(text, "\npool {}: {} of {} upstreams usable", pool.name, pool.usable, pool.total);
        }
    }
    (status, text)
}

fn why_not(state: &State, wanted: &[&Standing]) -> Option<String> {
    if state.draining {
        Some("shutting down".to_owned())
    } else if !state.listening {
        Some("the listeners are not bound yet".to_owned())
    } else if !state.checked {
        let waiting: Vec<&str> = state.pools.iter().filter(|pool| !pool.checked).map(|pool| &*pool.name).collect();
        Some(format!("the first health checks are not in yet (pool {})", waiting.join(", ")))
    } else {
        let pool = wanted.iter().find(|pool| pool.usable == 0)?;
        Some(format!("pool {} has no usable upstream (0 of {})", pool.name, pool.total))
    }
}

fn no_pool(state: &State, name: &str) -> String {
    let names: Vec<&str> = state.pools.iter().map(|pool| &*pool.name).collect();
    format!("there is no pool {}; the pools are: {}", escape(name.as_bytes()), names.join(", "))
}

/// Percent-decoding; what is no escape stays as it is.
pub(super) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, ..] => {
                let digit = |b: &u8| char::from(*b).to_digit(16);
                digit(high).zip(digit(low)).and_then(|(high, low)| u8::try_from(high << 4 | low).ok())
            }
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &rest[3..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let pool = |name: &str, usable, total| Standing { name: name.to_owned(), usable, total, checked: true };
        State {
            listening: true,
            checked: true,
            draining: false,
            short: false,
            pools: vec![pool("app", 2, 3), pool("a b", 0, 1)],
        }
    }

    fn status(state: &State, query: &str) -> u16 {
        answer(state, query).0.as_u16()
    }

    #[test]
    fn upstreams_count_only_when_asked_for() {
        assert_eq!(status(&state(), ""), 200);
        assert_eq!(status(&state(), "pool=app"), 200);
        assert_eq!(answer(&state(), "pool=a%20b").1, "not ready: pool a b has no usable upstream (0 of 1)");
        assert_eq!(status(&state(), "pool=all"), 503);
        assert_eq!(status(&state(), "pool=app&pool=all"), 503);
        assert_eq!(
            answer(&state(), "pool=x"),
            (StatusCode::NOT_FOUND, "there is no pool x; the pools are: app, a b".into())
        );
    }

    #[test]
    fn not_ready_before_and_after() {
        for broken in [
            State { listening: false, ..state() },
            State { checked: false, ..state() },
            State { draining: true, ..state() },
        ] {
            assert_eq!(status(&broken, ""), 503);
            assert_eq!(status(&broken, "pool=app"), 503);
        }
    }

    #[test]
    fn verbose_says_what_it_looked_at() {
        let (_, text) = answer(&state(), "verbose");
        assert!(text.starts_with("ready\n") && text.ends_with("pool a b: 0 of 1 upstreams usable"), "{text}");
    }
}

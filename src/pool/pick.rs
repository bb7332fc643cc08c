//! The choice of the next upstream for a request: tiers, then balance; each upstream once.
//!
//! Tiers: ready → unknown → evicted (only as a last resort, where the pool allows it). A [`Pick`] is a guard: while it
//! lives, it counts as in flight on its upstream.
use std::sync::Arc;

use super::{Members, Pool, Upstream};

/// The upstreams of one request: the list it started with, and which of them were tried.
#[derive(Debug)]
pub struct Choice {
    _todo: (),
}

/// What `Choice::next` found.
#[derive(Debug)]
pub enum Next {
    /// Try this one.
    Try(Pick),
    /// Nobody is ready and somebody is unknown: wait for a first check result (or `health.timeout`), then ask again
    /// with `unknown_too`.
    Wait,
    /// Every upstream that may be tried was tried.
    None,
}

/// One upstream, taken for one attempt.
#[derive(Debug)]
pub struct Pick {
    /// Who.
    pub upstream: Arc<Upstream>,
    /// Evicted, and tried because nobody else was left.
    pub last_resort: bool,
}

impl Choice {
    /// A fresh choice over the pool's members now.
    #[must_use]
    pub fn new(_pool: &Pool) -> Self {
        todo!()
    }
    /// The next upstream. `unknown_too`: the wait for first results is over, or was not worth it.
    pub fn next(&mut self, _unknown_too: bool) -> Next {
        todo!()
    }
    /// How many were tried.
    #[must_use]
    pub fn tried(&self) -> usize {
        todo!()
    }
    /// The members that were not tried, for the record.
    pub fn untried(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        std::iter::empty()
    }
    /// All members, tried or not.
    #[must_use]
    pub fn members(&self) -> &Members {
        todo!()
    }
}

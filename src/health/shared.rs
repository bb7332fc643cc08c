//! One upstream's health, shared: one atomic word for readers, one lock for writers.
//!
//! The request path calls [`Health::state`] (one relaxed load). [`Health::evicted`] wakes attempts that wait for this
//! upstream when it is evicted.
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::futures::Notified;

use crate::cause::Cause;

use super::machine::{Event, Policy, State, Transition};

/// The health of one upstream.
#[derive(Debug)]
pub struct Health {
    _todo: (),
}

/// All that is known of an upstream's health at one moment, for the annotated error and for status.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What it is.
    pub state: State,
    /// Since when (wall clock).
    pub since: SystemTime,
    /// How long that is.
    pub held_for: Duration,
    /// The last failure of a check, with its sentence: `GET /healthz gives 503, wanted 200-399`.
    pub last_failure: Option<(Cause, String)>,
    /// Until the next check, if one is planned.
    pub next_check: Option<Duration>,
}

impl Health {
    /// Unknown, until a first check.
    #[must_use]
    pub fn new(_now: Instant) -> Self {
        todo!()
    }
    /// Ready without a check: for pools whose checks are off.
    #[must_use]
    pub fn unchecked(_now: Instant) -> Self {
        todo!()
    }
    /// What it is: one atomic load.
    #[must_use]
    pub fn state(&self) -> State {
        todo!()
    }
    /// Takes the result of a check. `why`: the sentence of a failure.
    pub fn record(&self, _event: Event, _why: Option<String>, _policy: Policy, _now: Instant) -> Option<Transition> {
        todo!()
    }
    /// When the next check is planned, for texts.
    pub fn plan(&self, _next_check: Instant) {
        todo!()
    }
    /// Resolves when this upstream is evicted after this call. Enable or poll it, then look at `state` once more.
    pub fn evicted(&self) -> Notified<'_> {
        todo!()
    }
    /// All of it.
    #[must_use]
    pub fn snapshot(&self, _now: Instant) -> Snapshot {
        todo!()
    }
}

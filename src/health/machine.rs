//! The health machine of one upstream: pure, with time as an argument.
//!
//! One lane so far: checks. Traffic and the operator get lanes of their own beside it, so that availability is computed
//! from all and no lane can overwrite another.
use std::time::Instant;

use crate::cause::Cause;

/// What an upstream is, for a reader. (CONTRACT §5 "States".)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No check has spoken yet.
    Unknown,
    /// Gets traffic.
    Ready,
    /// Gets none but as a last resort.
    Evicted,
}

impl State {
    /// The word of log, metric and page.
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ready => "ready",
            Self::Evicted => "evicted",
        }
    }
}

/// Thresholds. An argument, not state: a new policy applies to old state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Passes in a row that end an eviction.
    pub healthy_after: u32,
    /// Failures in a row that evict.
    pub unhealthy_after: u32,
}

/// What happened to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A check passed.
    CheckPassed,
    /// A check failed.
    CheckFailed(Cause),
}

/// A change of state, for the log and for those who wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Before.
    pub from: State,
    /// After.
    pub to: State,
    /// Why, when `to` is `Evicted`.
    pub cause: Option<Cause>,
    /// How many checks in a row said so.
    pub in_a_row: u32,
    /// When `from` began.
    pub since: Instant,
}

/// The state of one upstream.
#[derive(Clone, Debug)]
pub struct Machine {
    _todo: (),
}

impl Machine {
    /// Unknown since `now`.
    #[must_use]
    pub fn new(_now: Instant) -> Self {
        todo!()
    }
    /// Takes an event; says what changed.
    pub fn on(&mut self, _event: Event, _policy: Policy, _now: Instant) -> Option<Transition> {
        todo!()
    }
    /// What it is now.
    #[must_use]
    pub fn state(&self) -> State {
        todo!()
    }
}

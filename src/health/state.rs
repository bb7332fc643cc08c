//! The words of health: states, lanes, the operator's word, and a change.

use std::time::Instant;

use crate::cause::Cause;

/// What an upstream is, for a reader. (CONTRACT §5 "States".)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No check has spoken yet.
    Unknown,
    /// Gets traffic.
    Ready,
    /// Gets none but on probation, or as a last resort.
    Evicted,
    /// By the operator's word, on its way out: no new requests but those of clients that stay by a sticky cookie; those
    /// it has go on. Its checks go on too.
    Draining,
    /// By the operator's word, out of service: the same, and nobody stays.
    Disabled,
}

impl State {
    /// The word of log, metric and page.
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ready => "ready",
            Self::Evicted => "evicted",
            Self::Draining => "draining",
            Self::Disabled => "disabled",
        }
    }
}

/// The operator's word. Nothing but another one ends it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Operator {
    /// Health decides.
    #[default]
    Enabled,
    /// No new requests, but of clients that stay.
    Draining,
    /// No new requests at all.
    Disabled,
}

/// A lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Health checks.
    Checks,
    /// Requests.
    Traffic,
    /// The operator.
    Operator,
}

impl By {
    /// The word of log and metric. (LOOK, the event's `by`; CONTRACT §7 `evictions_total` `kind`.)
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Checks => "check",
            Self::Traffic => "traffic",
            Self::Operator => "operator",
        }
    }
}

/// A change of state, for the log and for those who wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Before.
    pub from: State,
    /// After.
    pub to: State,
    /// Who brought it about.
    pub by: By,
    /// Why, when a failure did.
    pub cause: Option<Cause>,
    /// How many results in a row said so; 0 for the operator.
    pub in_a_row: u32,
    /// When `from` began.
    pub since: Instant,
}

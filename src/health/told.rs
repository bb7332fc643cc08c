//! What is known of an upstream's health at one moment, for the annotated error and for status.

use std::time::{Duration, SystemTime};

use crate::cause::Cause;

use super::state::{By, State};

/// All that is known of an upstream's health at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What it is.
    pub state: State,
    /// Since when (wall clock).
    pub since: SystemTime,
    /// How long that is.
    pub held_for: Duration,
    /// The failure that explains the state: traffic's where traffic alone has evicted it, else that of checks.
    pub last_failure: Option<(Cause, String)>,
    /// The last failure of a check, or of resolving its name, with its sentence:
    /// `GET /healthz gives 503, wanted 200-399`.
    pub check_failure: Option<(Cause, String)>,
    /// The last failure of an attempt that counted against it, with its sentence.
    pub traffic_failure: Option<(Cause, String)>,
    /// Who evicted it, if it is (also while drained or disabled).
    pub eviction: Option<Eviction>,
    /// Until the next check, if one is planned.
    pub next_check: Option<Duration>,
}

/// An eviction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eviction {
    /// [`By::Traffic`] where traffic alone says so.
    pub by: By,
    /// Until one request may try it; `None`: only checks end it.
    pub ends_in: Option<Duration>,
    /// Evictions by traffic with little good health between them, this one included; 0: checks alone.
    pub times: u32,
}

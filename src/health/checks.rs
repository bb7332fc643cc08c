//! The lane of checks: written by checks alone.

use std::time::Duration;

use super::state::State;

/// The pace while results contradict the state but have not changed it yet. (CONTRACT §2 `health.interval`.)
const PACE_CHANGING: Duration = Duration::from_secs(1);
/// The pace while evicted.
const PACE_EVICTED: Duration = Duration::from_secs(2);

/// What checks say.
#[derive(Clone, Debug)]
pub(super) struct Checks {
    verdict: Verdict,
    /// Results in a row that contradict `verdict`; the first one that agrees with it makes this 0.
    against: u32,
}

/// The verdict of checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    None,
    Passes,
    Fails,
}

impl Checks {
    pub(super) const fn new(verdict: Verdict) -> Self {
        Self { verdict, against: 0 }
    }

    /// A result that speaks for `verdict`, which `needed` of them in a row bring about. How many did, if it changes.
    pub(super) fn result(&mut self, verdict: Verdict, needed: u32) -> Option<u32> {
        if verdict == self.verdict {
            self.against = 0;
            return None;
        }
        self.against = self.against.saturating_add(1);
        if self.verdict != Verdict::None && self.against < needed {
            return None;
        }
        let in_a_row = self.against;
        *self = Self::new(verdict);
        Some(in_a_row)
    }

    /// Has the last result contradicted what was said before?
    pub(super) const fn contradicted(&self) -> bool {
        self.against > 0
    }

    pub(super) const fn fail(&self) -> bool {
        matches!(self.verdict, Verdict::Fails)
    }

    /// The state, if the other lanes have nothing to say.
    pub(super) const fn state(&self) -> State {
        match self.verdict {
            Verdict::None => State::Unknown,
            Verdict::Passes => State::Ready,
            Verdict::Fails => State::Evicted,
        }
    }

    /// From one check to the next. `away`: traffic has evicted it, so that a check that passes is waited for.
    pub(super) fn pace(&self, interval: Duration, away: bool) -> Duration {
        match (self.verdict, self.against) {
            (Verdict::None, _) | (_, 1..) => interval.min(PACE_CHANGING),
            (Verdict::Fails, 0) => interval.min(PACE_EVICTED),
            (Verdict::Passes, 0) if away => interval.min(PACE_EVICTED),
            (Verdict::Passes, 0) => interval,
        }
    }
}

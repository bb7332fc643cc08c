//! From when on it is worth looking for an upstream on probation: one word, so that a pool in good health looks at
//! nobody.

use std::sync::MutexGuard;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Traffic has evicted nobody.
const NEVER: u64 = u64::MAX;

/// From when on. Early is harmless; late is not.
#[derive(Debug)]
pub(super) struct Due {
    epoch: Instant,
    /// In ms since `epoch`.
    at: AtomicU64,
}

impl Due {
    /// At once: what was carried over is not known here.
    pub(super) const fn new(epoch: Instant) -> Self {
        Self { epoch, at: AtomicU64::new(0) }
    }

    /// Is it time? Asks for the time only where traffic has evicted somebody.
    pub(super) fn is_now(&self, now: impl FnOnce() -> Instant) -> bool {
        match self.at.load(Ordering::Relaxed) {
            NEVER => false,
            0 => true,
            at => self.millis(now()) >= at,
        }
    }

    /// Somebody was evicted, or the members are others. The guard is of the lock under which words are written and
    /// [`Due::set`] is called.
    pub(super) fn look_again(&self, _guard: MutexGuard<'_, ()>) {
        self.at.store(0, Ordering::Relaxed);
    }

    /// What a look at all members gave, under the same guard.
    pub(super) fn set(&self, _guard: &MutexGuard<'_, ()>, next: Option<Instant>) {
        self.at.store(next.map_or(NEVER, |next| self.millis(next).max(1)), Ordering::Relaxed);
    }

    fn millis(&self, at: Instant) -> u64 {
        let since: Duration = at.saturating_duration_since(self.epoch);
        u64::try_from(since.as_millis()).unwrap_or(NEVER - 1)
    }
}

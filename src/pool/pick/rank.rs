//! The tiers: where one upstream stands for one request at one moment.

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Ask;
use crate::health::{Health, State};
use crate::pool::balance::{Candidates, Latency, Share};
use crate::pool::tried::Tried;
use crate::pool::{Members, Upstream};

/// The members as one request sees them at one moment.
pub(super) struct Seen<'a, N> {
    pub(super) members: &'a Members,
    pub(super) tried: &'a Tried,
    pub(super) ask: Ask,
    pub(super) last_resort: bool,
    pub(super) slow_start: Duration,
    /// Whom the sticky cookie names.
    pub(super) home: Option<usize>,
    /// The best of those at their limit.
    pub(super) busy: &'a Cell<u8>,
    pub(super) now: N,
}

impl<N: Fn() -> Instant> Candidates for Seen<'_, N> {
    #[inline]
    fn rank(&self, index: usize) -> Option<u8> {
        if self.tried.contains(index) {
            return None;
        }
        let upstream = &self.members[index];
        let rank = rank(upstream, self.ask, self.last_resort, self.home == Some(index), &self.now)?;
        if upstream.full() {
            self.busy.set(self.busy.get().min(rank));
            return None;
        }
        Some(rank)
    }

    #[inline]
    fn in_flight(&self, index: usize) -> usize {
        self.members[index].in_flight.load(Ordering::Relaxed)
    }

    #[inline]
    fn share(&self, index: usize) -> Share {
        let health = &self.members[index].health;
        match health.recovered_at() {
            None => Share::FULL,
            Some(at) => self.growing(health, at),
        }
    }

    #[inline]
    fn latency(&self, index: usize) -> &Latency {
        &self.members[index].latency
    }

    fn now(&self) -> Instant {
        (self.now)()
    }
}

impl<N: Fn() -> Instant> Seen<'_, N> {
    #[cold]
    fn growing(&self, health: &Health, recovered: Instant) -> Share {
        let share = Share::after((self.now)().saturating_duration_since(recovered), self.slow_start);
        if share.is_full() {
            health.settled(recovered);
        }
        share
    }
}

/// A balance draws among those of rank 0 without looking at all.
pub(super) const READY: u8 = 0;
pub(super) const PROBATION: u8 = 1;
pub(super) const PROBATION_BACKUP: u8 = 2;
pub(super) const BACKUP: u8 = 3;
/// For a request that could not be sent again, any ready one is better.
pub(super) const LATE_PROBATION: u8 = 4;
pub(super) const LATE_PROBATION_BACKUP: u8 = 5;
/// Its first check, or its name, is being waited for.
pub(super) const AWAITED: u8 = 6;
pub(super) const AWAITED_BACKUP: u8 = 7;
pub(super) const NAMELESS: u8 = 8;
pub(super) const NAMELESS_BACKUP: u8 = 9;
pub(super) const EVICTED: u8 = 10;
pub(super) const EVICTED_BACKUP: u8 = 11;

/// The tier of this upstream now, the best one first; `None`: it gets nothing. `home`: the sticky cookie names it.
fn rank(upstream: &Upstream, ask: Ask, last_resort: bool, home: bool, now: impl FnOnce() -> Instant) -> Option<u8> {
    let look = upstream.health.look();
    let (primary, backup) =
        match look.state() {
            State::Ready => (READY, BACKUP),
            State::Unknown if upstream.nameless() => (NAMELESS, NAMELESS_BACKUP),
            State::Unknown => (AWAITED, AWAITED_BACKUP),
            State::Evicted if look.permit_from().is_some() && upstream.health.may_try(look, now()) => {
                if ask.replayable { (PROBATION, PROBATION_BACKUP) } else { (LATE_PROBATION, LATE_PROBATION_BACKUP) }
            }
            State::Evicted if last_resort => (EVICTED, EVICTED_BACKUP),
            State::Draining if home && upstream.keeps_clients() => return Some(READY),
            State::Evicted | State::Draining | State::Disabled => return None,
        };
    Some(if upstream.backup { backup } else { primary })
}

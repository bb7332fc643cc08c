//! What readers need of an upstream's health, in one word of 64 bits.

use super::machine::Machine;
use super::state::State;

const STATE: u64 = 0b111;
/// Its checks fail, whatever the operator says.
const CHECKS_FAIL: u64 = 1 << 3;
/// Traffic has failures in a row that an answer would wipe out.
const COUNTS: u64 = 1 << 4;
/// Evicted by traffic, whatever the other lanes say.
const AWAY: u64 = 1 << 5;
/// Evicted by traffic alone, and its permit is there: from `until` on, one request may try it.
const PERMIT: u64 = 1 << 6;
/// Above the flags: until when traffic has evicted it, in ms since the epoch.
const UNTIL: u32 = 8;

/// One upstream's health at one moment, as one atomic load gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look(u64);

impl Look {
    /// `until`: the end of an eviction by traffic, in ms since the epoch, rounded up.
    pub(super) fn of(machine: &Machine, until: u64) -> Self {
        let state = match machine.state() {
            State::Unknown => 0,
            State::Ready => 1,
            State::Evicted => 2,
            State::Draining => 3,
            State::Disabled => 4,
        };
        let flag = |said: bool, flag: u64| if said { flag } else { 0 };
        Self(
            state
                | flag(machine.checks_fail(), CHECKS_FAIL)
                | flag(machine.traffic_counts(), COUNTS)
                | flag(machine.evicted_by_traffic(), AWAY)
                | flag(machine.has_permit(), PERMIT)
                | until << UNTIL,
        )
    }

    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    /// What it is.
    #[must_use]
    pub const fn state(self) -> State {
        match self.0 & STATE {
            1 => State::Ready,
            2 => State::Evicted,
            3 => State::Draining,
            4 => State::Disabled,
            _ => State::Unknown,
        }
    }

    /// Do its checks fail (whatever traffic and the operator say)?
    #[must_use]
    pub const fn checks_fail(self) -> bool {
        self.0 & CHECKS_FAIL != 0
    }

    /// Has traffic evicted it (whatever checks and the operator say)?
    #[must_use]
    pub const fn evicted_by_traffic(self) -> bool {
        self.0 & AWAY != 0
    }

    /// Would an answer change anything?
    pub(super) const fn counts(self) -> bool {
        self.0 & COUNTS != 0
    }

    /// Evicted by traffic alone, with the permit there: in ms since the epoch, from when on one request may try it.
    #[must_use]
    pub const fn permit_from(self) -> Option<u64> {
        if self.0 & PERMIT == 0 { None } else { Some(self.0 >> UNTIL) }
    }
}

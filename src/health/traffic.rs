//! The lane of traffic: failures in a row, the eviction that they bring, and the probation that ends it.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use crate::cause::Cause;
use crate::config::model::Passive;

/// What a failed attempt says of its upstream. The worse one is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blame {
    /// No connection (or no TLS session) came about.
    Connect,
    /// The connection stood, and no good answer came over it. That proves the connection.
    Gateway,
}

/// What a passing check has shown, or how far an answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It takes connections: a TCP check. In traffic: a response head came, its body is still under way.
    Connects,
    /// It answers: an HTTP or gRPC check. In traffic: an answer, whole.
    Answers,
}

impl Proof {
    /// Whether this shows that what had failed works again. (CONTRACT §2 `passive.evict`.)
    const fn covers(self, blame: Blame) -> bool {
        matches!((self, blame), (Self::Answers, _) | (Self::Connects, Blame::Connect))
    }
}

/// A failed attempt that counts against health.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Failed {
    /// What it says of the upstream.
    pub blame: Blame,
    /// Its name.
    pub cause: Cause,
    /// From 0 to 1: where in ±20 % an eviction that follows from it lies.
    pub jitter: f64,
}

/// What traffic says.
#[derive(Clone, Debug, Default)]
pub(super) struct Traffic {
    /// In a row; an answer or a gateway failure makes this 0.
    connects: u32,
    /// In a row; an answer makes this 0.
    gateways: u32,
    away: Option<Away>,
    /// A check has failed since the failures began: one that passes then proves something. One that passed all along
    /// looks at something else than what requests meet.
    doubted: bool,
    /// Evictions without `evict_max` of good health between them: the next one is `evict` doubled so often.
    times: u32,
    /// How many permits there have been: the name of the next one.
    permits: u64,
}

/// An eviction by traffic.
#[derive(Clone, Copy, Debug)]
struct Away {
    /// The worst since it left.
    blame: Blame,
    until: Instant,
    /// The permit that is out, if one is.
    permit: Option<u64>,
}

impl Traffic {
    /// Is it evicted?
    pub(super) const fn away(&self) -> bool {
        self.away.is_some()
    }

    /// Until when at least.
    pub(super) fn until(&self) -> Option<Instant> {
        self.away.map(|away| away.until)
    }

    /// How often it was evicted without much good health between.
    pub(super) const fn times(&self) -> u32 {
        self.times
    }

    /// Is there a failure that an answer would wipe out?
    pub(super) const fn counts(&self) -> bool {
        self.connects > 0 || self.gateways > 0
    }

    /// Whether the one permit is there to be had, now or when the time of the eviction is over.
    pub(super) fn has_permit(&self) -> bool {
        self.away.is_some_and(|away| away.permit.is_none())
    }

    /// Takes the permit; gives its name.
    pub(super) fn claim(&mut self, now: Instant) -> Option<u64> {
        let away = self.away.as_mut().filter(|away| away.permit.is_none() && now >= away.until)?;
        self.permits += 1;
        away.permit = Some(self.permits);
        away.permit
    }

    /// The permit comes back, and nothing was learnt.
    pub(super) fn give_back(&mut self, permit: u64) {
        if let Some(away) = self.away.as_mut().filter(|away| away.permit == Some(permit)) {
            away.permit = None;
        }
    }

    /// An eviction by checks begins the counts anew.
    pub(super) const fn forget_counts(&mut self) {
        (self.connects, self.gateways) = (0, 0);
    }

    /// Would a check that passes be news to who has met the failures?
    pub(super) const fn hopes(&self) -> bool {
        self.connects > 0 || self.gateways > 0 && self.doubted
    }

    /// A check that failed.
    pub(super) const fn doubts(&mut self) {
        self.doubted = true;
    }

    /// An answer. Of one that is evicted, only the one with the permit counts.
    pub(super) fn answered(&mut self, proof: Proof, permit: Option<u64>) {
        match &self.away {
            Some(away) if permit.is_some() && away.permit == permit => self.away = None,
            Some(_) => {}
            None => {
                self.connects = 0;
                if proof == Proof::Answers {
                    self.gateways = 0;
                }
            }
        }
    }

    /// A check that passed: that ends an eviction if it proves what had failed. A check that gets its answers all along
    /// while requests get none looks at something else, and proves nothing.
    pub(super) fn proved(&mut self, proof: Proof) {
        let proves = |away: Away| proof.covers(away.blame) && (away.blame == Blame::Connect || self.doubted);
        if self.away.is_some_and(proves) {
            self.away = None;
        }
    }

    /// One more failure of one that is not evicted; says how many in a row are too many, if they are.
    pub(super) fn count(&mut self, blame: Blame, passive: &Passive) -> Option<u32> {
        if !self.counts() {
            self.doubted = false; // these failures begin here
        }
        let (count, most) = match blame {
            Blame::Connect => (&mut self.connects, passive.connect_failures),
            Blame::Gateway => {
                self.connects = 0;
                (&mut self.gateways, passive.gateway_failures)
            }
        };
        *count = count.saturating_add(1);
        most.map(NonZeroU32::get).filter(|most| *count >= *most).map(|_| *count)
    }

    /// Whether this attempt was the one on probation.
    pub(super) fn on_probation(&self, permit: Option<u64>) -> bool {
        permit.is_some() && self.away.is_some_and(|away| away.permit == permit)
    }

    /// Evicts, or evicts again. `well`: how long it had been in good health.
    pub(super) fn evict(&mut self, failed: Failed, well: Duration, passive: &Passive, now: Instant) {
        if well >= passive.evict_max && self.away.is_none() {
            self.times = 0;
        }
        let doubled = passive.evict.saturating_mul(1 << self.times.min(30)).min(passive.evict_max);
        self.times = self.times.saturating_add(1);
        let blame = self.away.map_or(failed.blame, |away| away.blame.max(failed.blame));
        let until = now + doubled.mul_f64(0.8 + 0.4 * failed.jitter.clamp(0.0, 1.0));
        self.away = Some(Away { blame, until, permit: None });
        self.forget_counts();
    }
}

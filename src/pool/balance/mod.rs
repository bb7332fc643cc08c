//! Which of several upstreams: one rule a file, all of them pure. Random source, ranks, loads and time are arguments.
//!
//! ```text
//!  p2c           two by weight, the less busy one               ┐ two    draws of two
//!  ewma          two by weight, the one that is sooner done     ┘
//!  round_robin   in turn, smoothly
//!  least         the least busy of all                          ┐ race   one of many by weight, in one pass
//!  hash          the same one for the same key (rendezvous)     ┘
//!  ramp          slow start: a part of the weight               weights  one of many by weight, at once
//! ```
//!
//! A weight says how often an upstream is drawn, and how much load is much for it. So the shares of idle upstreams are
//! those of their weights, and those of busy ones are, too. Nothing here waits, locks, reads a clock or knows what a
//! rank means.

mod ewma;
mod hash;
mod least;
mod p2c;
mod race;
mod ramp;
mod round_robin;
mod stable;
#[cfg(test)]
mod tests;
mod two;
mod weights;

use std::time::Instant;

use fastrand::Rng;

use crate::config::model::Balance;

pub use ewma::Latency;
pub use p2c::choose;
pub use ramp::Share;
pub use stable::Stable;

use round_robin::Turns;
use weights::Weights;

/// What of the members matters to the choice of one, by index. Each method is asked for as few of them as will do.
pub trait Candidates {
    /// 0 is best, higher only when nobody is lower, `None` never.
    fn rank(&self, index: usize) -> Option<u8>;
    /// Attempts running on it now.
    fn in_flight(&self, index: usize) -> usize;
    /// How much of its weight holds now (slow start).
    fn share(&self, index: usize) -> Share;
    /// How long its answers take (asked by `ewma` alone).
    fn latency(&self, index: usize) -> &Latency;
    /// The moment (asked by `ewma` alone).
    fn now(&self) -> Instant;
}

/// One choice to be made.
#[derive(Debug)]
pub struct Ask<'a> {
    /// Where chance comes from.
    pub rng: &'a mut Rng,
    /// What `hash` goes by ([`Stable`]); `None`: the request has none, and two are drawn.
    pub key: Option<u64>,
    /// The one to stay with, while it is of rank 0.
    pub preferred: Option<usize>,
}

/// One of the members that a balancer is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who it is, wherever it stands in the list and after every restart ([`token`]).
    pub token: u64,
    /// 1 to 100.
    pub weight: u8,
}

/// The rule of a pool, prepared for one list of members. Whoever changes the list makes a new one of the old.
#[derive(Debug)]
pub struct Balancer {
    rule: Balance,
    /// `p2c`, and all weigh the same.
    plain: bool,
    weights: Weights,
    tokens: Box<[u64]>,
    /// Tokens in their order, each with its index.
    places: Box<[(u64, usize)]>,
    turns: Turns,
}

impl Balancer {
    /// For these members. From the `previous` one of the pool it takes whose turn it is, which is the same for all
    /// workers.
    #[must_use]
    pub fn new(rule: &Balance, members: &[Member], previous: Option<&Self>) -> Self {
        let weights = Weights::new(members.iter().map(|member| member.weight).collect());
        let mut places: Box<[_]> = members.iter().map(|member| member.token).zip(0..).collect();
        places.sort_unstable();
        let turns = match rule {
            Balance::RoundRobin => Turns::new(weights.each(), previous.map(|previous| &previous.turns)),
            Balance::P2c | Balance::LeastInFlight | Balance::Ewma | Balance::Hash(_) => Turns::default(),
        };
        let tokens = members.iter().map(|member| member.token).collect();
        let plain = *rule == Balance::P2c && weights.equal();
        Self { rule: rule.clone(), plain, weights, tokens, places, turns }
    }

    /// The same, which finds members by these tokens, too: they had them before. Of two the one that has it now is
    /// meant.
    #[must_use]
    pub fn knowing(mut self, former: impl Iterator<Item = (u64, usize)>) -> Self {
        let mut places = self.places.into_vec();
        let now = places.len();
        places.extend(former);
        if places.len() > now {
            // Stable: those of now come first.
            places.sort_by_key(|&(token, _)| token);
            places.dedup_by_key(|&mut (token, _)| token);
        }
        self.places = places.into();
        self
    }

    /// The index of the choice, with its rank; `None` where no member has one.
    #[inline]
    pub fn choose(&self, ask: Ask<'_>, of: &impl Candidates) -> Option<(usize, u8)> {
        if self.plain
            && ask.preferred.is_none()
            && let Some(index) = p2c::at_once(self.tokens.len(), ask.rng, of)
        {
            return Some((index, 0));
        }
        self.by_rule(ask, of)
    }

    #[inline(never)]
    fn by_rule(&self, ask: Ask<'_>, of: &impl Candidates) -> Option<(usize, u8)> {
        let Ask { rng, key, preferred } = ask;
        if let Some(index) = preferred.filter(|&index| index < self.tokens.len())
            && of.rank(index) == Some(0)
        {
            return Some((index, 0));
        }
        match *self.tokens {
            [] => return None,
            [_] => return of.rank(0).map(|rank| (0, rank)),
            _ => {}
        }
        match (&self.rule, key) {
            (Balance::RoundRobin, _) => round_robin::choose(&self.turns, &self.weights, rng, of),
            (Balance::LeastInFlight, _) => least::choose(&self.weights, rng, of),
            (Balance::Ewma, _) => ewma::choose(&self.weights, rng, of),
            (Balance::Hash(_), Some(key)) => hash::choose(&self.weights, &self.tokens, key, of),
            (Balance::P2c, _) | (Balance::Hash(_), None) => p2c::by_weight(&self.weights, rng, of),
        }
    }

    /// Where the member with this token stands.
    #[must_use]
    pub fn position(&self, token: u64) -> Option<usize> {
        let place = self.places.binary_search_by_key(&token, |&(token, _)| token).ok()?;
        Some(self.places[place].1)
    }

    #[cfg(test)]
    fn token(&self, index: usize) -> Option<u64> {
        self.tokens.get(index).copied()
    }
}

/// Who an upstream is: the same after a restart and in every version, and tells nobody its address.
#[must_use]
pub fn token(pool: &str, id: &str) -> u64 {
    Stable::new().word(pool.as_bytes()).word(id.as_bytes()).finish()
}

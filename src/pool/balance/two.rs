//! Two random members of the best rank, and the better one of them: that spreads load nearly as well as asking
//! everybody, and it neither herds all workers onto one upstream nor scans a large pool.

use fastrand::Rng;

use super::race::{self, Podium};
use super::weights::Weights;
use super::{Candidates, Share};

/// How many random pairs are drawn before all members are looked at: enough that a pool with some members out is rarely
/// scanned, few enough that one with most of them out loses no time.
const DRAWS: usize = 4;

/// Up to this many members, looking at all costs no more than drawing.
const FEW: usize = 8;

/// The first of two, drawn by weight, unless the second one takes its place.
pub(super) fn by_weight<C: Candidates>(
    weights: &Weights,
    rng: &mut Rng,
    of: &C,
    takes_over: impl Fn(usize, usize) -> bool,
) -> Option<(usize, u8)> {
    let rank = |index| of.rank(index);
    let podium = if weights.equal() {
        match equals(weights.len(), rng, rank, |index, rng| of.share(index).joins(rng)) {
            Drawn::Two(podium) => podium,
            Drawn::None => return None,
            // What is drawn again until it is accepted has the shares of a draw in which all is counted.
            Drawn::Refused => race::run(weights, of, |_| rng.u64(..))?,
        }
    } else {
        unequals(weights, rng, of)?
    };
    Some(podium.better(takes_over))
}

/// What was drawn.
pub(super) enum Drawn {
    Two(Podium),
    /// The first one is not to be taken this time.
    Refused,
    None,
}

impl Podium {
    /// The one to take.
    pub(super) fn better(self, takes_over: impl Fn(usize, usize) -> bool) -> (usize, u8) {
        let index = self.second.filter(|&second| takes_over(second, self.first)).unwrap_or(self.first);
        (index, self.rank)
    }
}

/// Two of members that weigh the same, if the first that are drawn will do: what nearly always happens.
#[inline]
pub(super) fn at_once(
    members: usize,
    rng: &mut Rng,
    rank: impl Fn(usize) -> Option<u8>,
    joins: impl Fn(usize, &mut Rng) -> bool,
) -> Option<(usize, usize)> {
    let (first, second) = match members {
        0 | 1 => return None,
        2 => {
            let first = usize::from(rng.bool());
            (first, 1 - first)
        }
        _ => two_of(members, rng),
    };
    (rank(first) == Some(0) && rank(second) == Some(0) && joins(first, rng)).then_some((first, second))
}

/// Two of members that weigh the same. `joins`: the first one may be taken.
pub(super) fn equals(
    members: usize,
    rng: &mut Rng,
    rank: impl Fn(usize) -> Option<u8>,
    joins: impl Fn(usize, &mut Rng) -> bool,
) -> Drawn {
    if members > FEW {
        for _ in 0..DRAWS {
            let (first, second) = two_of(members, rng);
            if rank(first) == Some(0) && rank(second) == Some(0) && joins(first, rng) {
                return Drawn::Two(Podium { rank: 0, first, second: Some(second) });
            }
        }
    }
    match scan(members, rng, rank) {
        None => Drawn::None,
        Some(podium) if podium.second.is_some() && !joins(podium.first, rng) => Drawn::Refused,
        Some(podium) => Drawn::Two(podium),
    }
}

/// Two random members of the best rank (a reservoir of two), in random order.
fn scan(members: usize, rng: &mut Rng, rank: impl Fn(usize) -> Option<u8>) -> Option<Podium> {
    if members == 2 {
        return pair(rng, rank);
    }
    let mut best = u8::MAX;
    let mut seen = 0;
    let mut two = [usize::MAX; 2];
    for index in 0..members {
        let Some(rank) = rank(index).filter(|&rank| rank <= best) else { continue };
        if rank < best {
            (best, seen) = (rank, 0);
        }
        let place = if seen < 2 { seen } else { rng.usize(..=seen) };
        if place < 2 {
            two[place] = index;
        }
        seen += 1;
    }
    match seen {
        0 => None,
        1 => Some(Podium { rank: best, first: two[0], second: None }),
        // The reservoir knows who is in it, not in which order: that is decided here, for equal loads.
        _ if rng.bool() => Some(Podium { rank: best, first: two[0], second: Some(two[1]) }),
        _ => Some(Podium { rank: best, first: two[1], second: Some(two[0]) }),
    }
}

/// The only two.
fn pair(rng: &mut Rng, rank: impl Fn(usize) -> Option<u8>) -> Option<Podium> {
    let index = usize::from(rng.bool());
    let alone = |rank, first| Podium { rank, first, second: None };
    match (rank(index), rank(1 - index)) {
        (Some(one), Some(other)) if one == other => Some(Podium { rank: one, first: index, second: Some(1 - index) }),
        (Some(one), Some(other)) if one > other => Some(alone(other, 1 - index)),
        (Some(one), _) => Some(alone(one, index)),
        (None, other) => Some(alone(other?, 1 - index)),
    }
}

/// Two by weight, one after the other.
fn unequals(weights: &Weights, rng: &mut Rng, of: &impl Candidates) -> Option<Podium> {
    let Some(first) = one(weights, rng, of) else { return race::run(weights, of, |_| rng.u64(..)) };
    let second = match weights.len() {
        2 => Some(1 - first).filter(|&index| of.rank(index) == Some(0)),
        _ => draw(Some(first), weights, rng, of).or_else(|| race_of_others(first, weights, rng, of)),
    };
    Some(Podium { rank: 0, first, second })
}

/// One of rank 0 by weight and share, if it is found at once. A draw that is refused counts for nothing: who then draws
/// with all counted gives everybody what is theirs.
pub(super) fn one(weights: &Weights, rng: &mut Rng, of: &impl Candidates) -> Option<usize> {
    draw(None, weights, rng, of).filter(|&index| of.share(index).joins(rng))
}

fn draw(not: Option<usize>, weights: &Weights, rng: &mut Rng, of: &impl Candidates) -> Option<usize> {
    let mut draws = (0..2 * DRAWS).map(|_| weights.draw(rng));
    draws.find(|&index| Some(index) != not && of.rank(index) == Some(0))
}

/// The first of the race that this one is not in, if it is of rank 0.
fn race_of_others<C: Candidates>(one: usize, weights: &Weights, rng: &mut Rng, of: &C) -> Option<usize> {
    struct Others<'a, C>(usize, &'a C);
    impl<C: Candidates> Candidates for Others<'_, C> {
        fn rank(&self, index: usize) -> Option<u8> {
            if index == self.0 { None } else { self.1.rank(index).filter(|&rank| rank == 0) }
        }
        fn in_flight(&self, index: usize) -> usize {
            self.1.in_flight(index)
        }
        fn share(&self, index: usize) -> Share {
            self.1.share(index)
        }
        fn latency(&self, index: usize) -> &super::Latency {
            self.1.latency(index)
        }
        fn now(&self) -> std::time::Instant {
            self.1.now()
        }
    }
    race::run(weights, &Others(one, of), |_| rng.u64(..)).map(|podium| podium.first)
}

/// Two different indexes below `members` (at least 2), every pair equally likely, in random order.
#[inline]
fn two_of(members: usize, rng: &mut Rng) -> (usize, usize) {
    let first = rng.usize(..members);
    let second = rng.usize(..members - 1);
    (first, if second < first { second } else { second + 1 })
}

//! `p2c`: two at random by weight, the less busy one of them.

use fastrand::Rng;

use super::Candidates;
use super::two::{self, Drawn};
use super::weights::Weights;

/// The choice of a pool without weights, if the first draw will do.
#[inline]
pub(super) fn at_once(members: usize, rng: &mut Rng, of: &impl Candidates) -> Option<usize> {
    let (first, second) = two::at_once(members, rng, |index| of.rank(index), |index, rng| of.share(index).joins(rng))?;
    let busy = of.in_flight(first);
    let less = || takes_over(of.in_flight(second), of.share(second).of(1), busy, of.share(first).of(1));
    Some(if busy > 0 && less() { second } else { first })
}

/// The choice of any pool.
pub(super) fn by_weight(weights: &Weights, rng: &mut Rng, of: &impl Candidates) -> Option<(usize, u8)> {
    two::by_weight(weights, rng, of, |second, first| {
        let busy = of.in_flight(first);
        busy > 0 && takes_over(of.in_flight(second), part(weights, of, second), busy, part(weights, of, first))
    })
}

/// The index below `members` of the choice, with its rank, where all weigh the same. `rank`: 0 is best, higher only
/// when nobody is lower, `None` never. It is asked once for each member in a scan, so that a member whose rank changes
/// meanwhile is never missed.
pub fn choose(
    members: usize,
    rng: &mut Rng,
    rank: impl Fn(usize) -> Option<u8>,
    load: impl Fn(usize) -> usize,
) -> Option<(usize, u8)> {
    if let Some((first, second)) = two::at_once(members, rng, &rank, |_, _| true) {
        return Some((if load(second) < load(first) { second } else { first }, 0));
    }
    match two::equals(members, rng, rank, |_, _| true) {
        Drawn::Two(podium) => Some(podium.better(|second, first| load(second) < load(first))),
        Drawn::Refused | Drawn::None => None,
    }
}

/// Of two, with what they have to do and how much they weigh: the other one takes over where it is then no busier than
/// the one is now. So among idle ones the weights of the draw decide, among equals who has less to do, else who has
/// less for its weight.
#[inline]
pub(super) fn takes_over(other: usize, its_weight: u32, one: usize, weight: u32) -> bool {
    times(other.saturating_add(1), weight) <= times(one, its_weight)
}

/// What of its weight holds now.
pub(super) fn part(weights: &Weights, of: &impl Candidates, index: usize) -> u32 {
    of.share(index).of(weights.of(index))
}

/// Load times the other's weight: no division, and no overflow (a weight has 17 bits).
#[inline]
pub(super) fn times(load: usize, weight: u32) -> u64 {
    u64::try_from(load).unwrap_or(u64::MAX).min(1 << 40) * u64::from(weight)
}

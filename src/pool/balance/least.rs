//! `least_in_flight`: the least busy of all for its weight. Among those who are equally busy, chance decides by weight.

use fastrand::Rng;

use super::p2c::{part, takes_over, times};
use super::weights::Weights;
use super::{Candidates, race, two};

/// One is drawn by weight; if it has anything to do, the least busy of all takes over where it may.
pub(super) fn choose(weights: &Weights, rng: &mut Rng, of: &impl Candidates) -> Option<(usize, u8)> {
    let (drawn, rank) = match two::one(weights, rng, of) {
        Some(drawn) => (drawn, 0),
        None => race::run(weights, of, |_| rng.u64(..)).map(|podium| (podium.first, podium.rank))?,
    };
    let busy = of.in_flight(drawn);
    if busy == 0 {
        return Some((drawn, rank));
    }
    let weight = part(weights, of, drawn);
    let least = least(rank, weights, rng, of);
    let other = least.filter(|least| takes_over(least.load, least.weight, busy, weight));
    Some((other.map_or(drawn, |least| least.index), rank))
}

/// The one for whom one more would be least.
struct Least {
    index: usize,
    load: usize,
    weight: u32,
}

/// Of those of this rank; one of several at random.
fn least(rank: u8, weights: &Weights, rng: &mut Rng, of: &impl Candidates) -> Option<Least> {
    let mut least: Option<Least> = None;
    let mut ties = 1;
    for index in (0..weights.len()).filter(|&index| of.rank(index) == Some(rank)) {
        let (load, weight) = (of.in_flight(index), part(weights, of, index));
        if let Some(least) = &least {
            let (this, that) =
                (times(load.saturating_add(1), least.weight), times(least.load.saturating_add(1), weight));
            ties = if this < that { 1 } else { ties + usize::from(this == that) };
            if this > that || (this == that && rng.usize(..ties) > 0) {
                continue;
            }
        }
        least = Some(Least { index, load, weight });
    }
    least
}

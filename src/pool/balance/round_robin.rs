//! `round_robin`: in turn, each as often as its weight says, the heavy ones' turns spread over the round.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fastrand::Rng;

use super::Candidates;
use super::race;
use super::weights::Weights;

/// So many turns of those who are out are passed over before all members are looked at.
const TURNS: usize = 16;

/// A round is no longer: 1,000 members of the most diverse weights fit, and take half a megabyte.
const LONGEST: usize = 1 << 17;

/// A round, made beforehand, and whose turn it is: the same counters for all workers, and for the lists that come
/// after.
#[derive(Debug, Default)]
pub(super) struct Turns {
    members: usize,
    /// Empty: the members in their order.
    round: Box<[u32]>,
    /// The second one is for the times when nobody is of the best rank: each counts the turns of its own.
    next: Arc<[AtomicUsize; 2]>,
}

const BEST: usize = 0;
const OTHERS: usize = 1;

pub(super) fn choose(turns: &Turns, weights: &Weights, rng: &mut Rng, of: &impl Candidates) -> Option<(usize, u8)> {
    // Who is out loses its turns for good, and what comes next is the next one's for everybody: nobody inherits them.
    for _ in 0..TURNS {
        let index = turns.next(BEST);
        if of.rank(index) == Some(0) && of.share(index).joins(rng) {
            return Some((index, 0));
        }
    }
    let podium = race::run(weights, of, |_| rng.u64(..))?;
    if podium.rank > 0 {
        // Nobody is of the best rank: in turn among those of the next one.
        for _ in 0..TURNS {
            let index = turns.next(OTHERS);
            if let Some(rank) = of.rank(index).filter(|&rank| rank <= podium.rank) {
                return Some((index, rank));
            }
        }
    }
    Some((podium.first, podium.rank))
}

impl Turns {
    pub(super) fn new(weights: &[u8], previous: Option<&Self>) -> Self {
        let next = previous.map(|previous| Arc::clone(&previous.next)).unwrap_or_default();
        Self { members: weights.len(), round: round(weights), next }
    }

    #[inline]
    fn next(&self, of: usize) -> usize {
        let turn = self.next[of].fetch_add(1, Ordering::Relaxed);
        if self.round.is_empty() { turn % self.members } else { self.round[turn % self.round.len()] as usize }
    }
}

/// Members of the same weight take turns among themselves; what they weigh together takes its turn among the other
/// weights, which are a hundred at most: each gains what it weighs at every turn, the highest one has it and pays for
/// all.
#[allow(clippy::cast_possible_truncation)] // members that have an index
fn round(weights: &[u8]) -> Box<[u32]> {
    let weights = brought_down(weights);
    let mut kinds: Vec<(u32, Vec<u32>)> = Vec::new();
    for (index, &weight) in weights.iter().enumerate() {
        match kinds.iter_mut().find(|(kind, _)| *kind == weight) {
            Some((_, members)) => members.push(index as u32),
            None => kinds.push((weight, vec![index as u32])),
        }
    }
    if kinds.len() < 2 {
        return Box::default();
    }
    let gains: Vec<i64> = kinds.iter().map(|(weight, members)| i64::from(*weight) * members.len() as i64).collect();
    let total: i64 = gains.iter().sum();
    let (mut has, mut turns) = (vec![0_i64; kinds.len()], vec![0_usize; kinds.len()]);
    let mut round = Vec::with_capacity(usize::try_from(total).unwrap_or_default());
    for _ in 0..total {
        let (mut best, mut most) = (0, i64::MIN);
        for (kind, gain) in gains.iter().enumerate() {
            has[kind] += gain;
            if has[kind] > most {
                (best, most) = (kind, has[kind]);
            }
        }
        has[best] -= total;
        let members = &kinds[best].1;
        round.push(members[turns[best] % members.len()]);
        turns[best] += 1;
    }
    round.into()
}

/// The same proportions in the smallest numbers; halved until the round is short enough.
fn brought_down(weights: &[u8]) -> Vec<u32> {
    let common = weights.iter().fold(0, |common, &weight| divisor(common, u32::from(weight))).max(1);
    let mut weights: Vec<u32> = weights.iter().map(|&weight| u32::from(weight) / common).collect();
    while weights.iter().sum::<u32>() as usize > LONGEST && weights.iter().any(|&weight| weight > 1) {
        weights.iter_mut().for_each(|weight| *weight = weight.div_ceil(2));
    }
    weights
}

fn divisor(a: u32, b: u32) -> u32 {
    if a == 0 { b } else { divisor(b % a, a) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equals_go_in_their_order_and_a_new_list_goes_on() {
        let turns = Turns::new(&[3, 3, 3], None);
        assert_eq!([(); 4].map(|()| turns.next(BEST)), [0, 1, 2, 0]);
        let longer = Turns::new(&[1; 5], Some(&turns));
        assert_eq!(([(); 3].map(|()| longer.next(BEST)), turns.next(BEST)), ([4, 0, 1], 1), "one counter for both");
    }

    #[test]
    fn a_heavy_ones_turns_are_spread() {
        assert_eq!(*round(&[5, 1, 1]), [0, 1, 0, 0, 0, 2, 0]);
        assert_eq!(*round(&[20, 10]), [0, 1, 0]);
    }

    #[test]
    fn a_thousand_of_diverse_weights_have_a_round_of_bounded_length() {
        let weights: Vec<u8> = (0..1000).map(|i| if i == 0 { 99 } else { 100 }).collect();
        assert_eq!(round(&weights).len(), 99_999);
        let weights: Vec<u8> = (0..5000).map(|i| 1 + (i % 100) as u8).collect();
        assert!((LONGEST / 4..=LONGEST).contains(&round(&weights).len()));
    }

    proptest! {
        #[test]
        fn a_round_honours_weights_exactly(weights in proptest::collection::vec(1..=100_u8, 2..40)) {
            let round = round(&weights);
            let common = weights.iter().fold(0, |a, &b| divisor(a, u32::from(b)));
            if round.is_empty() {
                prop_assert!(weights.iter().all(|w| *w == weights[0]));
            } else {
                let mut counts = vec![0_u32; weights.len()];
                round.iter().for_each(|&index| counts[index as usize] += 1);
                let wanted: Vec<_> = weights.iter().map(|&w| u32::from(w) / common).collect();
                prop_assert_eq!(counts, wanted);
            }
        }

        /// Between two turns of the same member lie at most a little more than the fair number of others'.
        #[test]
        fn nobody_waits_much_longer_than_is_fair(weights in proptest::collection::vec(1..=100_u8, 2..12)) {
            let round = round(&weights);
            let total = round.len();
            for (index, &weight) in weights.iter().enumerate() {
                let at: Vec<usize> = (0..total).filter(|&i| round[i] as usize == index).collect();
                let fair = weights.iter().map(|&w| f64::from(w)).sum::<f64>() / f64::from(weight);
                for pair in at.windows(2) {
                    let gap = (pair[1] - pair[0]) as f64;
                    prop_assert!(gap <= 2.0 * fair + weights.len() as f64, "{} of {}: {:?}", gap, fair, weights);
                }
            }
        }
    }
}

//! Which of several upstreams: power of two choices, least in flight. Pure: random source, rank and load are arguments.
//!
//! Two random members of the best rank, the less busy of them. That spreads load nearly as well as asking everybody, and
//! it neither herds all workers onto one upstream nor scans a large pool.

use fastrand::Rng;

/// How many random pairs are drawn before all members are looked at: enough that a pool with some members out is rarely
/// scanned, few enough that one with most of them out loses no time.
const DRAWS: usize = 4;

/// Up to this many members, looking at all costs no more than drawing.
const FEW: usize = 8;

/// The index below `members` of the choice, with its rank. `rank`: 0 is best, higher only when nobody is lower, `None`
/// never. It is asked once for each member in a scan, so that a member whose rank changes meanwhile is never missed.
pub fn choose(
    members: usize,
    rng: &mut Rng,
    rank: impl Fn(usize) -> Option<u8>,
    load: impl Fn(usize) -> usize,
) -> Option<(usize, u8)> {
    if members > FEW {
        for _ in 0..DRAWS {
            let (first, second) = two_of(members, rng);
            if rank(first) == Some(0) && rank(second) == Some(0) {
                return Some((lighter(first, second, load), 0));
            }
        }
    }
    scan(members, rng, rank, load)
}

/// Two random members of the best rank (a reservoir of two), the lighter one of them.
fn scan(
    members: usize,
    rng: &mut Rng,
    rank: impl Fn(usize) -> Option<u8>,
    load: impl Fn(usize) -> usize,
) -> Option<(usize, u8)> {
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
        1 => Some((two[0], best)),
        // The reservoir knows who is in it, not in which order: that is decided here, for equal loads.
        _ if rng.bool() => Some((lighter(two[0], two[1], load), best)),
        _ => Some((lighter(two[1], two[0], load), best)),
    }
}

/// Two different indexes below `members` (at least 2), every pair equally likely, in random order.
fn two_of(members: usize, rng: &mut Rng) -> (usize, usize) {
    let first = rng.usize(..members);
    let second = rng.usize(..members - 1);
    (first, if second < first { second } else { second + 1 })
}

/// The first one unless the second is less busy.
fn lighter(first: usize, second: usize, load: impl Fn(usize) -> usize) -> usize {
    if load(second) < load(first) { second } else { first }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use fastrand::Rng;

    use proptest::prelude::*;

    use super::choose;

    proptest! {
        #[test]
        fn the_choice_is_of_the_best_rank_and_there_is_one_if_anybody_may_be_chosen(
            ranks in proptest::collection::vec(proptest::option::of(0..3_u8), 0..80), seed: u64,
        ) {
            let choice = choose(ranks.len(), &mut Rng::with_seed(seed), |i| ranks[i], |i| i);
            let best = ranks.iter().flatten().min().copied();
            prop_assert_eq!(choice.map(|(_, rank)| rank), best);
            if let Some((index, rank)) = choice {
                prop_assert_eq!(ranks[index], Some(rank));
            }
        }

        #[test]
        fn the_busiest_is_never_chosen_while_another_is_there(
            loads in proptest::collection::vec(0..100_usize, 2..40), seed: u64,
        ) {
            let most = loads.iter().max().copied().unwrap_or_default();
            prop_assume!(loads.iter().filter(|&&load| load == most).count() == 1);
            let (index, _) = choose(loads.len(), &mut Rng::with_seed(seed), |_| Some(0), |i| loads[i]).unwrap();
            prop_assert!(loads[index] < most);
        }

        #[test]
        fn equal_ones_get_equal_shares(members in 1..30_usize, out in 0..12_usize, seed: u64) {
            const EACH: usize = 400;
            let out = out.min(members - 1);
            let mut rng = Rng::with_seed(seed);
            let mut counts = vec![0_usize; members];
            for _ in 0..EACH * (members - out) {
                counts[choose(members, &mut rng, |i| (i >= out).then_some(0), |_| 0).unwrap().0] += 1;
            }
            prop_assert!(counts[..out].iter().all(|&count| count == 0));
            // Seven standard deviations of a fair share.
            let fair = counts[out..].iter().all(|&count| count.abs_diff(EACH) < 140);
            prop_assert!(fair, "shares of {} each: {:?}", EACH, counts);
        }
    }

    #[test]
    fn load_that_stays_is_spread_evenly() {
        let mut rng = Rng::with_seed(1);
        let mut loads = vec![0_usize; 50];
        for _ in 0..5000 {
            let (index, _) = choose(loads.len(), &mut rng, |_| Some(0), |i| loads[i]).unwrap();
            loads[index] += 1;
        }
        let spread = loads.iter().max().unwrap() - loads.iter().min().unwrap();
        assert!(spread <= 8, "two choices keep the spread small, this is {spread}: {loads:?}");
    }

    #[test]
    fn a_thousand_ready_members_are_not_scanned() {
        let asked = Cell::new(0);
        let rank = |_| {
            asked.set(asked.get() + 1);
            Some(0)
        };
        assert!(choose(1000, &mut Rng::with_seed(7), rank, |_| 0).is_some());
        assert_eq!(asked.get(), 2);
    }
}

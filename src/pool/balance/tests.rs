//! The distribution of every rule, over random pools and seeds.

use std::cell::Cell;
use std::time::{Duration, Instant};

use fastrand::Rng;
use proptest::prelude::*;

use crate::config::model::{Balance, HashKey};

use super::{Ask, Balancer, Candidates, Latency, Member, Share, Stable, choose, token};

const RULES: [Balance; 5] =
    [Balance::P2c, Balance::RoundRobin, Balance::LeastInFlight, Balance::Ewma, Balance::Hash(HashKey::Path)];

/// Members whose state is written down.
struct Written {
    ranks: Vec<Option<u8>>,
    loads: Vec<usize>,
    shares: Vec<Share>,
    latencies: Vec<Latency>,
    asked: Cell<usize>,
    start: Instant,
}

impl Written {
    fn idle(members: usize) -> Self {
        let start = Instant::now();
        Self {
            ranks: vec![Some(0); members],
            loads: vec![0; members],
            shares: vec![Share::FULL; members],
            latencies: (0..members).map(|_| seen(start, 5)).collect(),
            asked: Cell::new(0),
            start,
        }
    }

    fn of(ranks: Vec<Option<u8>>, loads: Vec<usize>) -> Self {
        Self { loads, ..Self { ranks, ..Self::idle(0) }.with_latencies() }
    }

    fn with_latencies(self) -> Self {
        let members = self.ranks.len();
        let latencies = (0..members).map(|_| seen(self.start, 5)).collect();
        Self { shares: vec![Share::FULL; members], latencies, ..self }
    }
}

fn seen(start: Instant, ms: u64) -> Latency {
    let latency = Latency::new(start);
    latency.observe(Duration::from_millis(ms), start);
    latency
}

impl Candidates for Written {
    fn rank(&self, index: usize) -> Option<u8> {
        self.asked.set(self.asked.get() + 1);
        self.ranks[index]
    }
    fn in_flight(&self, index: usize) -> usize {
        self.loads[index]
    }
    fn share(&self, index: usize) -> Share {
        self.shares[index]
    }
    fn latency(&self, index: usize) -> &Latency {
        &self.latencies[index]
    }
    fn now(&self) -> Instant {
        self.start
    }
}

fn balancer(rule: &Balance, weights: &[u8]) -> Balancer {
    let member = |(index, &weight): (usize, &u8)| Member { token: token("app", &format!("10.0.0.{index}:80")), weight };
    Balancer::new(rule, &weights.iter().enumerate().map(member).collect::<Vec<_>>(), None)
}

/// Keys are as random as what is not hashed.
fn pick(balancer: &Balancer, rng: &mut Rng, of: &Written) -> Option<(usize, u8)> {
    let key = Some(Stable::new().bytes(&rng.u64(..).to_le_bytes()).finish());
    balancer.choose(Ask { rng, key, preferred: None }, of)
}

fn counts(balancer: &Balancer, rng: &mut Rng, of: &Written, picks: usize) -> Vec<usize> {
    let mut counts = vec![0; of.ranks.len()];
    for _ in 0..picks {
        counts[pick(balancer, rng, of).unwrap().0] += 1;
    }
    counts
}

/// Each within seven standard deviations of its part of all, and a little more where that is hardly anything.
#[track_caller]
fn in_proportion(counts: &[usize], parts: &[f64], what: &str) {
    let (all, total): (usize, f64) = (counts.iter().sum(), parts.iter().sum());
    for (index, (&count, part)) in counts.iter().zip(parts).enumerate() {
        let (p, n) = (part / total, all as f64);
        let (fair, most) = (n * p, 7.0 * (n * p * (1.0 - p)).sqrt() + 4.0);
        let off = (count as f64 - fair).abs();
        assert!(off <= most, "{what}: {index} got {count}, not {fair:.0} ± {most:.0}: {counts:?} of {parts:?}");
    }
}

fn rule() -> impl Strategy<Value = Balance> {
    proptest::sample::select(RULES.to_vec())
}

proptest! {
    #[test]
    fn the_choice_is_of_the_best_rank_and_there_is_one_if_anybody_may_be_chosen(
        rule in rule(), seed: u64,
        members in proptest::collection::vec((proptest::option::of(0..3_u8), 1..=100_u8, 0..50_usize), 0..80),
    ) {
        let weights: Vec<_> = members.iter().map(|m| m.1).collect();
        let of = Written::of(members.iter().map(|m| m.0).collect(), members.iter().map(|m| m.2).collect());
        let balancer = balancer(&rule, &weights);
        let mut rng = Rng::with_seed(seed);
        for _ in 0..5 {
            let choice = pick(&balancer, &mut rng, &of);
            prop_assert_eq!(choice.map(|(_, rank)| rank), of.ranks.iter().flatten().min().copied());
            prop_assert!(choice.is_none_or(|(index, rank)| of.ranks[index] == Some(rank)));
        }
    }

    #[test]
    fn idle_ones_get_shares_by_weight_and_so_do_those_left_when_some_are_out(
        rule in rule(), seed: u64, members in proptest::collection::vec((1..=100_u8, 0..4_u8), 1..30),
    ) {
        let weights: Vec<_> = members.iter().map(|m| m.0).collect();
        let mut of = Written::idle(weights.len());
        for (rank, member) in of.ranks.iter_mut().zip(&members).skip(1) {
            *rank = [Some(0), Some(0), Some(1), None][usize::from(member.1)];
        }
        let left = |(&weight, rank): (&u8, &Option<u8>)| if *rank == Some(0) { f64::from(weight) } else { 0.0 };
        let parts: Vec<_> = weights.iter().zip(&of.ranks).map(left).collect();
        let balancer = balancer(&rule, &weights);
        let counts = counts(&balancer, &mut Rng::with_seed(seed), &of, 4000);
        in_proportion(&counts, &parts, &format!("{rule:?}"));
    }

    #[test]
    fn slow_starters_get_their_part(rule in rule(), seed: u64, members in proptest::collection::vec((1..=100_u8, 0..20_u64), 2..20)) {
        let weights: Vec<_> = members.iter().map(|m| m.0).collect();
        let mut of = Written::idle(weights.len());
        for (share, member) in of.shares.iter_mut().zip(&members) {
            *share = Share::after(Duration::from_secs(member.1), Duration::from_secs(10));
        }
        let parts: Vec<_> = weights.iter().zip(&of.shares).map(|(&weight, share)| f64::from(share.of(weight))).collect();
        let balancer = balancer(&rule, &weights);
        in_proportion(&counts(&balancer, &mut Rng::with_seed(seed), &of, 4000), &parts, &format!("{rule:?}"));
    }

    #[test]
    fn equal_slow_starters_get_their_part(rule in rule(), seed: u64, ages in proptest::collection::vec(0..20_u64, 2..30)) {
        let mut of = Written::idle(ages.len());
        for (share, age) in of.shares.iter_mut().zip(&ages) {
            *share = Share::after(Duration::from_secs(*age), Duration::from_secs(10));
        }
        let parts: Vec<_> = of.shares.iter().map(|share| f64::from(share.of(1))).collect();
        let balancer = balancer(&rule, &vec![1; ages.len()]);
        in_proportion(&counts(&balancer, &mut Rng::with_seed(seed), &of, 4000), &parts, &format!("{rule:?}"));
    }

    #[test]
    fn the_busiest_of_equals_is_never_chosen_while_another_is_there(
        rule in proptest::sample::select(vec![Balance::P2c, Balance::LeastInFlight, Balance::Ewma]),
        weight in 1..=100_u8, loads in proptest::collection::vec(0..100_usize, 2..40), seed: u64,
    ) {
        let most = loads.iter().max().copied().unwrap_or_default();
        prop_assume!(loads.iter().filter(|&&load| load == most).count() == 1);
        let of = Written::of(vec![Some(0); loads.len()], loads.clone());
        let balancer = balancer(&rule, &vec![weight; loads.len()]);
        let (index, _) = pick(&balancer, &mut Rng::with_seed(seed), &of).unwrap();
        prop_assert!(loads[index] < most);
        if rule == Balance::LeastInFlight {
            prop_assert_eq!(Some(&loads[index]), loads.iter().min());
        }
    }

    #[test]
    fn load_that_stays_is_spread_by_weight(
        rule in proptest::sample::select(vec![Balance::P2c, Balance::LeastInFlight, Balance::Ewma]),
        weights in proptest::collection::vec(1..=10_u8, 2..20), seed: u64,
    ) {
        let mut of = Written::idle(weights.len());
        let balancer = balancer(&rule, &weights);
        let mut rng = Rng::with_seed(seed);
        let total: usize = weights.iter().map(|&w| usize::from(w)).sum();
        for _ in 0..20 * total {
            let (index, _) = pick(&balancer, &mut rng, &of).unwrap();
            of.loads[index] += 1;
        }
        for (&load, &weight) in of.loads.iter().zip(&weights) {
            let each = load as f64 / f64::from(weight);
            prop_assert!((14.0..26.0).contains(&each), "{:?}: {:?} for {:?}", rule, of.loads, weights);
        }
    }

    #[test]
    fn round_robin_is_smooth_over_any_window(weights in proptest::collection::vec(1..=9_u8, 2..8), skip in 0..50_usize) {
        let (of, balancer) = (Written::idle(weights.len()), balancer(&Balance::RoundRobin, &weights));
        let mut rng = Rng::with_seed(1);
        counts(&balancer, &mut rng, &of, skip);
        let total: usize = weights.iter().map(|&w| usize::from(w)).sum();
        let mut got = vec![0_usize; weights.len()];
        for turn in 1..=3 * total {
            got[pick(&balancer, &mut rng, &of).unwrap().0] += 1;
            for (&count, &weight) in got.iter().zip(&weights) {
                let fair = turn as f64 * f64::from(weight) / total as f64;
                prop_assert!((count as f64 - fair).abs() <= 1.0 + weights.len() as f64 / 2.0, "{:?} of {:?}", got, weights);
            }
        }
    }

    #[test]
    fn a_key_stays_with_its_upstream_and_moves_only_when_that_goes(
        weights in proptest::collection::vec(1..=100_u8, 2..30), gone: prop::sample::Index, seed: u64,
    ) {
        let gone = gone.index(weights.len());
        let rule = Balance::Hash(HashKey::ClientIp);
        let (before, mut of) = (balancer(&rule, &weights), Written::idle(weights.len()));
        let mut rng = Rng::with_seed(seed);
        let home = |of: &Written, key: u64, rng: &mut Rng| {
            before.choose(Ask { rng, key: Some(key), preferred: None }, of).unwrap().0
        };
        let keys: Vec<u64> = (0..3000).map(|_| rng.u64(..)).collect();
        let first: Vec<usize> = keys.iter().map(|&key| home(&of, key, &mut rng)).collect();
        of.ranks[gone] = None;
        let mut moved = vec![0; weights.len()];
        for (&key, &first) in keys.iter().zip(&first) {
            let second = home(&of, key, &mut rng);
            if first == gone {
                moved[second] += 1;
            } else {
                prop_assert_eq!(first, second);
            }
        }
        // Its keys go to all others by weight, not to one neighbour.
        let parts: Vec<_> = weights.iter().enumerate().map(|(i, &w)| if i == gone { 0.0 } else { f64::from(w) }).collect();
        in_proportion(&moved, &parts, "the keys of the one that is gone");
        // A list without it, in another order, says the same.
        let mut rest: Vec<usize> = (0..weights.len()).filter(|&i| i != gone).collect();
        rng.shuffle(&mut rest);
        let members: Vec<_> = rest.iter().map(|&i| Member { token: before.token(i).unwrap(), weight: weights[i] }).collect();
        let after = Balancer::new(&rule, &members, Some(&before));
        let all = Written::idle(rest.len());
        for &key in &keys[..200] {
            let (place, _) = after.choose(Ask { rng: &mut rng, key: Some(key), preferred: None }, &all).unwrap();
            prop_assert_eq!(rest[place], home(&of, key, &mut rng));
        }
    }

    #[test]
    fn the_preferred_one_is_kept_while_it_is_of_the_best_rank(rule in rule(), weights in proptest::collection::vec(1..=100_u8, 2..20), rank in proptest::option::of(0..3_u8), seed: u64) {
        let (balancer, mut of) = (balancer(&rule, &weights), Written::idle(weights.len()));
        of.ranks[1] = rank;
        of.loads[1] = 1000;
        let mut rng = Rng::with_seed(seed);
        let preferred = balancer.position(token("app", "10.0.0.1:80"));
        prop_assert_eq!(preferred, Some(1));
        let (index, _) = balancer.choose(Ask { rng: &mut rng, key: None, preferred }, &of).unwrap();
        prop_assert_eq!(index == 1, rank == Some(0));
    }
}

#[test]
fn equal_ones_in_a_large_pool_with_many_out_get_equal_shares() {
    for rule in RULES {
        for out in [50, 90, 98] {
            let mut of = Written::idle(100);
            of.ranks[..out].fill(None);
            let parts: Vec<_> = of.ranks.iter().map(|rank| f64::from(u8::from(rank.is_some()))).collect();
            let counts = counts(&balancer(&rule, &[1; 100]), &mut Rng::with_seed(7), &of, 20_000);
            in_proportion(&counts, &parts, &format!("{rule:?}, {out} out"));
        }
    }
}

#[test]
fn round_robin_goes_in_turn_among_those_left_too() {
    let (mut of, balancer) = (Written::idle(4), balancer(&Balance::RoundRobin, &[1; 4]));
    let turns = |of: &Written| [(); 6].map(|()| pick(&balancer, &mut Rng::with_seed(1), of).unwrap().0);
    assert_eq!(turns(&of), [0, 1, 2, 3, 0, 1]);
    of.ranks[3] = None;
    assert_eq!(turns(&of), [2, 0, 1, 2, 0, 1]);
    of.ranks = vec![Some(1), None, Some(2), Some(1)];
    assert_eq!(turns(&of), [0, 3, 0, 3, 0, 3], "in turn among the second best");
    for members in 2..40 {
        let (mut of, balancer) = (Written::idle(members), self::balancer(&Balance::RoundRobin, &vec![1; members]));
        of.ranks.fill(Some(2));
        assert_eq!(counts(&balancer, &mut Rng::with_seed(1), &of, 3 * members), vec![3; members]);
    }
}

#[test]
fn ewma_leaves_a_slow_one_and_comes_back_when_that_was_long_ago() {
    let (mut of, balancer) = (Written::idle(2), balancer(&Balance::Ewma, &[1, 1]));
    let mut rng = Rng::with_seed(1);
    of.latencies[1].observe(Duration::from_millis(500), of.start);
    assert_eq!(counts(&balancer, &mut rng, &of, 100), [100, 0]);
    of.loads = vec![120, 0];
    assert_eq!(counts(&balancer, &mut rng, &of, 100), [0, 100], "500 ms for one are less than 5 ms for each of 121");
    of.loads = vec![0, 0];
    of.start += Duration::from_secs(60);
    of.latencies[0].observe(Duration::from_millis(5), of.start);
    assert_eq!(counts(&balancer, &mut rng, &of, 100), [0, 100], "it is tried again");
}

#[test]
fn the_number_of_members_asked_does_not_grow_with_the_pool() {
    for rule in [Balance::P2c, Balance::RoundRobin, Balance::Ewma] {
        for weights in [vec![1; 1000], (0..1000).map(|i| 1 + (i % 100) as u8).collect()] {
            let (of, balancer) = (Written::idle(1000), balancer(&rule, &weights));
            counts(&balancer, &mut Rng::with_seed(7), &of, 1000);
            assert!(of.asked.get() < 2_200, "{rule:?}: {}", of.asked.get());
        }
    }
}

#[test]
fn a_hash_without_a_key_is_spread_over_all() {
    let (of, balancer) = (Written::idle(10), balancer(&Balance::Hash(HashKey::ClientIp), &[1; 10]));
    let (mut rng, mut counts) = (Rng::with_seed(3), vec![0; 10]);
    for _ in 0..5000 {
        let ask = Ask { rng: &mut rng, key: None, preferred: None };
        counts[balancer.choose(ask, &of).unwrap().0] += 1;
    }
    in_proportion(&counts, &[1.0; 10], "no key");
}

/// A key's upstream must be the same in the next version: these were written down.
#[test]
fn keys_have_the_upstreams_they_always_had() {
    let (of, balancer) = (Written::idle(5), balancer(&Balance::Hash(HashKey::ClientIp), &[1, 2, 3, 4, 5]));
    let mut rng = Rng::with_seed(3);
    let homes: Vec<_> = (0..12_u64)
        .map(|key| {
            let ask = Ask { rng: &mut rng, key: Some(key << 32), preferred: None };
            balancer.choose(ask, &of).unwrap().0
        })
        .collect();
    assert_eq!(token("app", "127.0.0.1:3000"), 0xc3b0_4639_89c6_693c);
    assert_eq!(homes, [2, 1, 4, 1, 4, 4, 0, 4, 0, 3, 2, 0]);
}

/// The choice of a pool without weights, as it was before there were others.
mod of_equals {
    use super::*;

    proptest! {
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

        /// The balancer's p2c draws the same, where no weight and no slow start says otherwise.
        #[test]
        fn both_ways_to_ask_are_the_same(loads in proptest::collection::vec(0..9_usize, 2..40), seed: u64, ranks in proptest::collection::vec(proptest::option::of(0..2_u8), 40)) {
            let of = Written::of(ranks[..loads.len()].to_vec(), loads.clone());
            let (mut one, mut other) = (Rng::with_seed(seed), Rng::with_seed(seed));
            let balancer = balancer(&Balance::P2c, &vec![3; loads.len()]);
            for _ in 0..20 {
                let ask = Ask { rng: &mut one, key: None, preferred: None };
                let old = choose(loads.len(), &mut other, |i| of.ranks[i], |i| loads[i]);
                prop_assert_eq!(balancer.choose(ask, &of), old);
            }
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
        let of = Written::idle(1000);
        assert!(choose(1000, &mut Rng::with_seed(7), |i| of.rank(i), |_| 0).is_some());
        assert_eq!(of.asked.get(), 2);
    }
}

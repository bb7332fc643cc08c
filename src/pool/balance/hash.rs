//! `hash:…`: the same upstream for the same key, by weighted rendezvous: each has its own place for each key, and the
//! best one of those that may be chosen gets it. Who comes or goes moves its own keys alone, each to or from another.

use super::Candidates;
use super::race;
use super::stable::mix;
use super::weights::Weights;

pub(super) fn choose(weights: &Weights, tokens: &[u64], key: u64, of: &impl Candidates) -> Option<(usize, u8)> {
    let podium = race::run(weights, of, |index| mix(key ^ tokens[index]))?;
    Some((podium.first, podium.rank))
}

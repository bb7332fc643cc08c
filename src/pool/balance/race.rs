//! One of many by weight, in one pass and without keeping anything: each runs for a random time that is the shorter the
//! more it weighs, and the first to arrive is chosen as often as its weight is of all.
//!
//! The time is exponentially distributed with the weight as its rate. With random bits this is a weighted draw of one
//! or two; with bits made of a key and a name it is weighted rendezvous hashing: whoever leaves changes nobody else's
//! time.

use super::Candidates;
use super::weights::Weights;

/// The first two of the best rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Podium {
    pub(super) rank: u8,
    pub(super) first: usize,
    pub(super) second: Option<usize>,
}

/// Runs the race among the best rank; `None` if nobody has any. `bits`: 64 random ones for each member. Each is asked
/// once for its rank, so that one whose rank changes meanwhile is never missed.
pub(super) fn run(weights: &Weights, of: &impl Candidates, mut bits: impl FnMut(usize) -> u64) -> Option<Podium> {
    let (mut best, mut first, mut second) = (u8::MAX, (f64::INFINITY, None), (f64::INFINITY, None));
    for index in 0..weights.len() {
        let Some(rank) = of.rank(index).filter(|&rank| rank <= best) else { continue };
        if rank < best {
            (best, first, second) = (rank, (f64::INFINITY, None), (f64::INFINITY, None));
        }
        let weight = weights.of(index);
        let way = way(bits(index));
        // A way is never longer than the time for it. Few come so near, and only they are looked at closely.
        if way < second.0 * f64::from(FULL * u32::from(weight)) {
            let time = -(-way).ln_1p() / f64::from(of.share(index).of(weight));
            if time < first.0 {
                (first, second) = ((time, Some(index)), first);
            } else if time < second.0 {
                second = (time, Some(index));
            }
        }
    }
    Some(Podium { rank: best, first: first.1?, second: second.1 })
}

/// A whole share, as [`Share::of`](super::Share::of) counts.
const FULL: u32 = super::Share::FULL.of(1);

/// From 0 to 1, neither included.
#[allow(clippy::cast_precision_loss)] // of the 53 bits that are left, none
#[inline]
pub(super) fn way(bits: u64) -> f64 {
    ((bits >> 12) as f64 + 0.5) * (-52_f64).exp2()
}

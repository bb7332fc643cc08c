//! `ewma`: two at random by weight, the one that is likely to be done sooner: its peak latency, which decays, for each
//! attempt that it has to do.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::Candidates;
use super::p2c::{part, takes_over};
use super::two;
use super::weights::Weights;

/// What was seen so long ago counts for e⁻¹.
const DECAY_MS: f32 = 10_000.0;
/// In microseconds: what is faster is as fast. So one whose past has decayed to nothing is not sent everything at once.
const LEAST: f32 = 100.0;
/// By so much, one is faster than another: less is noise.
const FASTER: f32 = 1.6;
/// In microseconds: of one that is at its first attempt.
const UNSEEN: f32 = 30_000.0;
/// An attempt that failed took at least so long: an upstream that refuses quickly is not a fast one.
const FAILED: Duration = Duration::from_secs(1);

pub(super) fn choose(weights: &Weights, rng: &mut Rng, of: &impl Candidates) -> Option<(usize, u8)> {
    let now = of.now();
    let latency = |index: usize| of.latency(index).cost(of.in_flight(index), now);
    #[allow(clippy::cast_precision_loss)] // of a load
    let cost = |index: usize| {
        let load = of.in_flight(index);
        // Of a mean weight, each attempt counts as one; of twice as much, as a half.
        let weight = part(weights, of, index) as f32 / (weights.mean() * super::Share::FULL.of(1) as f32);
        latency(index) * (1.0 + load as f32 / weight)
    };
    two::by_weight(weights, rng, of, |second, first| {
        let (one, other) = (latency(first), latency(second));
        if one.max(other) > one.min(other) * FASTER {
            return cost(second) < cost(first);
        }
        // Of two that are as fast as each other, load and weight decide, and not a single slow answer.
        let busy = of.in_flight(first);
        busy > 0 && takes_over(of.in_flight(second), part(weights, of, second), busy, part(weights, of, first))
    })
}

/// How long an upstream's answers take, for all workers: up at once with a slow one, down slowly with fast ones and
/// with time.
///
/// One word: 32 bits of latency (`f32`, microseconds), 32 bits of moment (ms from `origin`, which come round after 49
/// days).
#[derive(Debug)]
pub struct Latency {
    origin: Instant,
    word: AtomicU64,
}

impl Latency {
    /// Of an upstream that has not answered yet. No moment given later may be before `origin`.
    #[must_use]
    pub const fn new(origin: Instant) -> Self {
        Self { origin, word: AtomicU64::new(0) }
    }

    /// An answer took so long, up to its head.
    pub fn observe(&self, took: Duration, now: Instant) {
        let now = self.moment(now);
        let took = (took.as_secs_f32() * 1e6).max(LEAST);
        let mut old = self.word.load(Ordering::Relaxed);
        // Each failed exchange is another's success.
        while let Err(newer) =
            self.word.compare_exchange_weak(old, with(old, took, now), Ordering::Relaxed, Ordering::Relaxed)
        {
            old = newer;
        }
    }

    /// An attempt failed, through the upstream, after so long.
    pub fn failed(&self, took: Duration, now: Instant) {
        self.observe(took.max(FAILED), now);
    }

    /// In microseconds, as of now. Nobody knows of one that never answered: it is the best choice until it is tried,
    /// and then no more than usual until it answers.
    fn cost(&self, in_flight: usize, now: Instant) -> f32 {
        match self.word.load(Ordering::Relaxed) {
            0 if in_flight == 0 => 0.0,
            0 => UNSEEN,
            word => (micros(word) * decay(word, self.moment(now))).max(LEAST),
        }
    }

    #[allow(clippy::cast_possible_truncation)] // on purpose
    fn moment(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.origin).as_millis() as u32
    }
}

fn with(old: u64, took: f32, now: u32) -> u64 {
    let known = micros(old);
    let latency = if took >= known {
        took
    } else {
        let keep = decay(old, now);
        known.mul_add(keep, took * (1.0 - keep))
    };
    // Workers' moments may cross: the later one stands.
    let moment = if age(old, now) == 0 { old as u32 } else { now };
    u64::from(latency.to_bits()) << 32 | u64::from(moment)
}

fn micros(word: u64) -> f32 {
    f32::from_bits((word >> 32) as u32)
}

#[allow(clippy::cast_precision_loss)] // of milliseconds
fn decay(word: u64, now: u32) -> f32 {
    match age(word, now) {
        0 => 1.0,
        age => (-(age as f32) / DECAY_MS).exp(),
    }
}

/// In milliseconds; 0 where the word is of a later moment.
#[allow(clippy::cast_possible_truncation)] // the lower half
fn age(word: u64, now: u32) -> u32 {
    let age = now.wrapping_sub(word as u32);
    if age > u32::MAX / 2 { 0 } else { age }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn up_at_once_and_down_with_time() {
        let start = Instant::now();
        let seen = Latency::new(start);
        let at = |s: u64| start + Duration::from_secs(s);
        assert!(seen.cost(0, at(1)) < 1.0 && seen.cost(1, at(1)) > 1_000.0, "tried once, then no more than usual");
        seen.observe(ms(10), at(1));
        assert_eq!(seen.cost(0, at(1)), 10_000.0);
        seen.observe(ms(800), at(1));
        assert_eq!(seen.cost(0, at(1)), 800_000.0);
        seen.observe(ms(10), at(11));
        let kept = seen.cost(0, at(11)) / 1_000.0;
        assert!((kept - (10.0 + 790.0 / std::f32::consts::E)).abs() < 1.0, "{kept}");
        assert!(seen.cost(0, at(21)) < 0.4 * seen.cost(0, at(11)), "with time alone, too");
        assert_eq!(seen.cost(0, at(3_600)), LEAST);
    }

    #[test]
    fn a_quick_failure_is_slow() {
        let start = Instant::now();
        let seen = Latency::new(start);
        seen.failed(Duration::from_micros(80), start);
        assert_eq!(seen.cost(0, start), 1e6);
    }

    proptest! {
        #[test]
        fn it_stays_between_the_least_and_the_most_that_was_seen(seen in proptest::collection::vec((0..100_000_u64, 0..50_000_u64), 1..60)) {
            let start = Instant::now();
            let latency = Latency::new(start);
            let mut most: f32 = LEAST;
            for &(micros, at) in &seen {
                latency.observe(Duration::from_micros(micros), start + ms(at));
                most = most.max(micros as f32);
                let cost = latency.cost(3, start + ms(at));
                prop_assert!(cost >= LEAST && cost <= most * 1.001, "{} of {}", cost, most);
            }
        }

        #[test]
        fn moments_that_cross_do_no_harm(a in 0..u32::MAX, b in 0..u32::MAX) {
            let kept = decay(u64::from(a), b);
            prop_assert!((0.0..=1.0).contains(&kept));
        }
    }
}

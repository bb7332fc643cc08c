//! How long an upstream's answers took lately, from the start of an attempt to the head: counts by length, of about the
//! last two minutes. For hints, the dashboard and metrics; no request is sent by it (that is
//! [`balance`](super::balance)).
//!
//! Two windows of a minute take turns. Counting is one load and one add; now and then, and always while there are few,
//! whoever counts or reads sees whether a new minute has begun, and clears a window. The time is an argument.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A window is so many seconds long, as a power of two.
const WINDOW_BITS: u32 = 6;
/// Steps in each doubling, as a power of two: a bucket is at most an eighth longer than the one before.
const STEP_BITS: u32 = 3;
/// In nanoseconds, as a power of two: all that is shorter stands in the first bucket.
const LEAST_BITS: u32 = 16;
/// Doublings: the last bucket begins at half an hour.
const DOUBLINGS: usize = 25;
const BUCKETS: usize = DOUBLINGS << STEP_BITS;
/// So many counts of a bucket pass without a look at the time, once there were as many.
const UNSEEN: u32 = 16;
/// Fewer answers than this have no p99.
const ENOUGH: u64 = 20;

/// See the module.
#[derive(Debug)]
pub struct Recent {
    origin: Instant,
    /// The number of the window that counts now.
    current: AtomicU64,
    windows: [Window; 2],
}

type Window = [AtomicU32; BUCKETS];

/// How long they took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Answers that were counted.
    pub count: u64,
    /// Half of them took no longer, within an eighth. `None`: there were none.
    pub p50: Option<Duration>,
    /// 99 of 100 took no longer, within an eighth. `None`: there were too few to say so.
    pub p99: Option<Duration>,
}

impl Recent {
    /// Of an upstream that has not answered yet. No moment given later may be before `origin`.
    #[must_use]
    pub fn new(origin: Instant) -> Self {
        let window = || std::array::from_fn(|_| AtomicU32::new(0));
        Self { origin, current: AtomicU64::new(0), windows: [window(), window()] }
    }

    /// An answer took so long, up to its head.
    pub fn observe(&self, took: Duration, now: Instant) {
        let current = self.current.load(Relaxed);
        // Always in range: for the compiler.
        let Some(count) = self.windows[(current & 1) as usize].get(bucket(took)) else { return };
        let before = count.fetch_add(1, Relaxed);
        if (before < UNSEEN || before.is_multiple_of(UNSEEN)) && self.window(now) > current {
            self.turn(now);
            if self.window(now) > current + 1 {
                // What was just counted was cleared.
                self.observe(took, now);
            }
        }
    }

    /// Of the last minute or two.
    #[must_use]
    pub fn times(&self, now: Instant) -> Times {
        self.turn(now);
        let of = |bucket: usize| self.windows.iter().map(|window| u64::from(window[bucket].load(Relaxed))).sum();
        let counts: Vec<u64> = (0..BUCKETS).map(of).collect();
        let count: u64 = counts.iter().sum();
        let rank = |percent: u64| {
            let (mut left, mut at) = ((count * percent).div_ceil(100), 0);
            while left > counts[at] {
                left -= counts[at];
                at += 1;
            }
            middle(at)
        };
        Times { count, p50: (count > 0).then(|| rank(50)), p99: (count >= ENOUGH).then(|| rank(99)) }
    }

    fn window(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.origin).as_secs() >> WINDOW_BITS
    }

    /// Clears what is older than the minute before this one. An answer that is counted in just this moment may be lost.
    #[cold]
    fn turn(&self, now: Instant) {
        let window = self.window(now);
        let before = self.current.fetch_max(window, Relaxed);
        for window in (before + 1..=window).rev().take(2) {
            self.windows[(window & 1) as usize].iter().for_each(|count| count.store(0, Relaxed));
        }
    }
}

/// The bucket of a time: which doubling, and which step in it.
fn bucket(took: Duration) -> usize {
    let nanos = took.as_secs().wrapping_mul(1_000_000_000).wrapping_add(u64::from(took.subsec_nanos()));
    let nanos = nanos.max(1 << LEAST_BITS);
    let doubling = nanos.ilog2() - LEAST_BITS;
    let step = (nanos >> (doubling + LEAST_BITS - STEP_BITS)) & ((1 << STEP_BITS) - 1);
    ((doubling as usize) << STEP_BITS | step as usize).min(BUCKETS - 1)
}

/// The time in the middle of a bucket.
fn middle(bucket: usize) -> Duration {
    let (doubling, step) = (bucket >> STEP_BITS, (bucket & ((1 << STEP_BITS) - 1)) as u64);
    let width = 1 << (LEAST_BITS as usize + doubling - STEP_BITS as usize);
    Duration::from_nanos(((1 << STEP_BITS) + step) * width + width / 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn about(one: Option<Duration>, other: Duration) -> bool {
        one.is_some_and(|one| one.abs_diff(other) <= other / 8)
    }

    #[test]
    fn the_slowest_of_a_hundred_does_not_make_the_p99() {
        let start = Instant::now();
        let recent = Recent::new(start);
        assert_eq!(recent.times(start), Times::default());
        for _ in 0..19 {
            recent.observe(ms(3), start);
        }
        let few = recent.times(start);
        assert!(few.count == 19 && few.p99.is_none() && about(few.p50, ms(3)), "{few:?}");
        for n in 0..81 {
            recent.observe(if n == 0 { ms(5000) } else { ms(38) }, start);
        }
        let times = recent.times(start);
        assert!(times.count == 100 && about(times.p50, ms(38)) && about(times.p99, ms(38)), "{times:?}");
        recent.observe(ms(5000), start);
        assert!(about(recent.times(start).p99, ms(5000)));
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let start = Instant::now();
        let recent = Recent::new(start);
        let at = |s: u64| start + Duration::from_secs(s);
        recent.observe(ms(1), at(63));
        assert_eq!(recent.times(at(64)).count, 1);
        recent.observe(ms(1), at(100));
        assert_eq!(recent.times(at(127)).count, 2);
        recent.observe(ms(1), at(128));
        assert_eq!(recent.times(at(128)).count, 2, "the first minute is over");
        recent.observe(ms(1), at(300));
        assert_eq!(recent.times(at(300)).count, 1, "nothing is left of what is older, on either side");
        recent.observe(ms(1), at(299));
        assert_eq!(recent.times(at(300)).count, 2, "a worker that is late by a moment");
        (0..100).for_each(|_| recent.observe(ms(1), at(301)));
        (0..100).for_each(|_| recent.observe(ms(1), at(500)));
        let count = recent.times(at(500)).count;
        assert!(
            (100 - u64::from(UNSEEN)..=100).contains(&count),
            "a few may be counted with those that are forgotten: {count}"
        );
    }

    proptest! {
        #[test]
        fn a_bucket_holds_what_is_within_an_eighth_of_its_middle(micros in 66..4_000_000_000_u64) {
            let took = Duration::from_micros(micros).min(Duration::from_secs(2000));
            prop_assert!(about(Some(middle(bucket(took))), took), "{took:?} {:?}", middle(bucket(took)));
        }

        #[test]
        fn any_time_and_any_moment_has_its_place(secs in any::<u64>(), nanos in 0..1_000_000_000_u32, at in 0..1_000_000_u64) {
            let start = Instant::now();
            let recent = Recent::new(start);
            let now = start + Duration::from_secs(at);
            recent.observe(Duration::new(secs, nanos), now);
            prop_assert_eq!(recent.times(now).count, 1);
        }
    }
}

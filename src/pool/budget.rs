//! The retry budget: how many requests of a pool may be sent once more (CONTRACT §2 `retry.budget`).
//!
//! When a whole pool is in trouble, every request is sent again, and the trouble doubles: so resends are held to a
//! share of the requests of the last 10 s, and 10 a second besides. Pure: the time is an argument. Counting a request
//! is one atomic addition; two that count at the very same moment may both take the last one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::observe::metrics::shard::Counter;

/// Seconds that are looked back on.
const WINDOW: u64 = 10;

/// Resends that are free, for each of those seconds.
const FREE: u64 = 10;

/// More than the window has, so that a second that is over is counted while its place is not needed again.
const PLACES: usize = 16;

/// What one pool's requests leave for resends.
#[derive(Debug)]
pub struct Budget {
    began: Instant,
    requests: Seconds,
    resends: Seconds,
    refused: Counter,
}

impl Budget {
    /// An empty one: only what is free.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { began: now, requests: Seconds::default(), resends: Seconds::default(), refused: Counter::default() }
    }

    /// A request has come in.
    pub fn request(&self, now: Instant) {
        self.requests.count(self.second(now));
    }

    /// May one be sent once more? `percent`: of the requests of the last 10 s. A yes is counted.
    #[must_use]
    pub fn take(&self, percent: u32, now: Instant) -> bool {
        let second = self.second(now);
        let allowed = self.requests.sum(second) * u64::from(percent) / 100 + FREE * WINDOW;
        let may = self.resends.sum(second) < allowed;
        if may {
            self.resends.count(second);
        } else {
            self.refused.add();
        }
        may
    }

    /// One that was counted sent nothing: that is free.
    pub fn give_back(&self, now: Instant) {
        let second = self.second(now);
        // It may have been counted a moment before this second began.
        let _ = self.resends.uncount(second) || second > 0 && self.resends.uncount(second - 1);
    }

    /// How often the answer was no.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.get()
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs()
    }
}

/// A count for each of the last seconds: which second it is in the upper half of the word, how many in the lower.
#[derive(Debug, Default)]
struct Seconds([AtomicU64; PLACES]);

const COUNT: u64 = 0xffff_ffff;

impl Seconds {
    fn count(&self, second: u64) {
        let place = &self.0[second as usize % PLACES];
        let tag = second << 32;
        let before = place.fetch_add(1, Ordering::Relaxed);
        if before & !COUNT == tag {
            return;
        }
        // The first one of its second finds the count of an older one (and has added to it, which is nothing to
        // anybody).
        let mut found = before + 1;
        while found & !COUNT < tag {
            match place.compare_exchange_weak(found, tag | 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) => found = other,
            }
        }
        if found & !COUNT == tag {
            place.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// One less in this second; false if there is none.
    fn uncount(&self, second: u64) -> bool {
        let less = |word: u64| (word >> 32 == second && word & COUNT > 0).then(|| word - 1);
        self.0[second as usize % PLACES].fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    /// Of the last [`WINDOW`] seconds, this one included.
    fn sum(&self, second: u64) -> u64 {
        let recent = (second + 1).saturating_sub(WINDOW)..=second;
        let words = self.0.iter().map(|place| place.load(Ordering::Relaxed));
        words.filter(|word| recent.contains(&(word >> 32))).map(|word| word & COUNT).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_sent_nothing_is_free() {
        let start = Instant::now();
        let budget = Budget::new(start);
        for tenth in 0..500 {
            let now = start + Duration::from_millis(100 * tenth);
            for _ in 0..100 {
                assert!(budget.take(0, now));
                budget.give_back(now + Duration::from_millis(99));
            }
        }
        let later = start + Duration::from_secs(100);
        budget.give_back(later);
        assert_eq!(taken(&budget, 0, later), 100, "nothing is given back that was not taken");
    }

    fn taken(budget: &Budget, percent: u32, now: Instant) -> usize {
        (0..10_000).take_while(|_| budget.take(percent, now)).count()
    }

    #[test]
    fn ten_a_second_are_free_and_a_share_comes_with_the_requests() {
        let start = Instant::now();
        let budget = Budget::new(start);
        assert_eq!(taken(&budget, 20, start), 100);
        (0..1000).for_each(|_| budget.request(start));
        assert_eq!(taken(&budget, 20, start), 200);
        assert!(!budget.take(20, start + Duration::from_secs(9)));
        assert_eq!(taken(&budget, 20, start + Duration::from_secs(10)), 100, "both are forgotten after 10 s");
    }

    #[test]
    fn nothing_but_the_free_ones_at_zero_percent() {
        let start = Instant::now();
        let budget = Budget::new(start);
        (0..5000).for_each(|_| budget.request(start));
        assert_eq!(taken(&budget, 0, start), 100);
    }

    #[test]
    fn threads_count_together() {
        let start = Instant::now();
        let budget = Budget::new(start);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..25_000).for_each(|i| budget.request(start + Duration::from_micros(i * 90))));
            }
        });
        let requests = budget.requests.sum(2);
        assert!((99_900..=100_000).contains(&requests), "a few may be lost where a second begins: {requests}");
    }

    proptest! {
        /// Against a model that remembers every moment.
        #[test]
        fn the_window_is_what_it_says(
            events in proptest::collection::vec((0..1500_u64, 0..4_u8), 0..400), percent in 0..200_u32,
        ) {
            let start = Instant::now();
            let budget = Budget::new(start);
            let (mut millis, mut requests, mut resends) = (0, Vec::new(), Vec::new());
            for (later, kind) in events {
                millis += later;
                let now = start + Duration::from_millis(millis);
                let second = millis / 1000;
                let recent = |list: &[u64]| list.iter().filter(|&&at| at + WINDOW > second).count() as u64;
                if kind < 2 {
                    budget.request(now);
                    requests.push(second);
                } else {
                    let may = recent(&resends) < recent(&requests) * u64::from(percent) / 100 + 100;
                    prop_assert_eq!(budget.take(percent, now), may);
                    if may {
                        resends.push(second);
                    }
                }
            }
        }
    }
}

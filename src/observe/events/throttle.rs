//! Once in a while for each key: what would flood the log is counted, and the next line says how many there were.
//!
//! Pure but for its lock: the time is an argument. Bounded: beyond its room, the oldest key is forgotten, and first
//! those that hold nothing back.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// At most one line in `every` for each key.
#[derive(Debug)]
pub(super) struct Throttle<K> {
    every: Duration,
    room: usize,
    seen: Mutex<Vec<(K, Instant, u64)>>,
}

impl<K: PartialEq> Throttle<K> {
    pub(super) const fn new(every: Duration, room: usize) -> Self {
        Self { every, room, seen: Mutex::new(Vec::new()) }
    }

    /// May this be said now? Then with how many were held back since the last time.
    pub(super) fn pass(&self, now: Instant, is: impl Fn(&K) -> bool, key: impl FnOnce() -> K) -> Option<u64> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, last, held)) = seen.iter_mut().find(|(key, ..)| is(key)) {
            if now.saturating_duration_since(*last) < self.every {
                *held += 1;
                return None;
            }
            *last = now;
            return Some(std::mem::take(held));
        }
        if seen.len() >= self.room
            && let Some(oldest) = (0..seen.len()).min_by_key(|&index| (seen[index].2 > 0, seen[index].1))
        {
            seen.swap_remove(oldest);
        }
        seen.push((key(), now, 0));
        Some(0)
    }
}

impl<K: Clone> Throttle<K> {
    /// What was held back and will not be told by a next line: nothing has come for as long as a line is kept away.
    /// `None`: nothing comes any more. And whether something else is held back.
    pub(super) fn over(&self, now: Option<Instant>) -> (Vec<(K, u64)>, bool) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut over, mut left) = (Vec::new(), false);
        for (key, last, held) in seen.iter_mut().filter(|(.., held)| *held > 0) {
            if now.is_none_or(|now| now.saturating_duration_since(*last) >= self.every * 2) {
                over.push((key.clone(), std::mem::take(held)));
            } else {
                left = true;
            }
        }
        (over, left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_it_holds_back() {
        let throttle = Throttle::new(Duration::from_secs(1), 8);
        let start = Instant::now();
        let pass = |key: u8, millis: u64| throttle.pass(start + Duration::from_millis(millis), |k| *k == key, || key);
        assert_eq!(pass(1, 0), Some(0));
        assert_eq!(pass(1, 10), None);
        assert_eq!(pass(2, 20), Some(0));
        assert_eq!(pass(1, 999), None);
        assert_eq!(pass(1, 1000), Some(2));
        assert_eq!(pass(1, 2500), Some(0));
    }

    #[test]
    fn tells_the_rest_when_nothing_comes_any_more() {
        let throttle = Throttle::new(Duration::from_secs(1), 8);
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let pass = |key: u8, millis: u64| throttle.pass(at(millis), |k| *k == key, || key);
        assert_eq!(
            (pass(1, 0), pass(1, 10), pass(1, 990), pass(2, 500), pass(2, 600)),
            (Some(0), None, None, Some(0), None)
        );
        assert_eq!(throttle.over(Some(at(1999))), (vec![], true));
        assert_eq!(throttle.over(Some(at(2000))), (vec![(1, 2)], true));
        assert_eq!(pass(1, 2001), Some(0), "told already");
        assert_eq!(throttle.over(None), (vec![(2, 1)], false));
        assert_eq!(throttle.over(None), (vec![], false));
    }

    #[test]
    fn forgets_the_oldest_rather_than_grow() {
        let throttle = Throttle::new(Duration::from_secs(3600), 2);
        let now = Instant::now();
        let pass = |key: u8, after: u64| throttle.pass(now + Duration::from_secs(after), |k| *k == key, || key);
        assert_eq!((pass(1, 0), pass(2, 1), pass(3, 2)), (Some(0), Some(0), Some(0)));
        assert_eq!(throttle.seen.lock().unwrap().len(), 2);
        assert_eq!(pass(2, 3), None);
        assert_eq!(pass(1, 4), Some(0), "in place of 3: 2 holds something back");
        assert_eq!(pass(2, 5), None);
    }
}

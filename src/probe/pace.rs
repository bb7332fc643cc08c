//! When checks are made: pure, for one upstream beside many.

use std::time::{Duration, Instant};

use fastrand::Rng;

/// Between the first checks of two upstreams: a thousand of them are on their way within half a second.
const STEP: Duration = Duration::from_micros(500);

/// A check that is wanted before its time comes so long after the start of the last one, at the least: a storm of
/// failures in traffic is no storm of checks.
const GAP: Duration = Duration::from_millis(250);

/// How long the first check of this upstream waits, of so many that begin together. Together they take a quarter of
/// `health.timeout` at the most, since requests wait for the first results.
pub(super) fn stagger(index: usize, count: usize, timeout: Duration) -> Duration {
    let count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
    let index = u32::try_from(index).unwrap_or(u32::MAX).min(count);
    STEP.min(timeout / 4 / count) * index
}

/// When an upstream is checked for the first time by those who begin now, of so many: when it was planned, if somebody
/// has checked it before; what is due by then is spread out as new ones are.
pub(super) fn first(index: usize, count: usize, timeout: Duration, planned: Option<Instant>, now: Instant) -> Instant {
    let soon = now + stagger(index, count, timeout);
    planned.map_or(soon, |planned| planned.max(soon))
}

/// ±20 %, so that checks of many upstreams, and of many proxies, spread out. (CONTRACT §2 `health.interval`.)
pub(super) fn jitter(pace: Duration, rng: &mut Rng) -> Duration {
    pace.mul_f64(0.8 + 0.4 * rng.f64())
}

/// When a check that is wanted now may begin: before `next`, its time, and not too soon after `started`, the last
/// one's.
pub(super) fn wanted(started: Instant, next: Instant) -> Instant {
    (started + GAP).min(next)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn jitter_stays_within_a_fifth_and_uses_all_of_it() {
        let mut rng = fastrand::Rng::with_seed(1);
        let waits: Vec<_> = (0..1000).map(|_| jitter(Duration::from_secs(5), &mut rng)).collect();
        let (least, most) = (*waits.iter().min().unwrap(), *waits.iter().max().unwrap());
        assert!(least >= Duration::from_secs(4) && most <= Duration::from_secs(6));
        assert!(least < Duration::from_millis(4100) && most > Duration::from_millis(5900));
    }

    /// The most of these moments that fall into one window of this length.
    fn crowd(mut moments: Vec<Duration>, window: Duration) -> usize {
        moments.sort_unstable();
        let behind =
            |from: usize| moments[from..].iter().take_while(|&&moment| moment < moments[from] + window).count();
        (0..moments.len()).map(behind).max().unwrap_or(0)
    }

    #[test]
    fn a_thousand_upstreams_are_never_checked_together() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut moments: Vec<Duration> = (0..1000).map(|index| stagger(index, 1000, 2000 * MS)).collect();
        assert!(moments.iter().max() < Some(&(500 * MS)), "requests wait for them");
        for round in 0..50 {
            let most = crowd(moments.clone(), 10 * MS);
            assert!(most <= 20, "round {round}: {most} of 1000 within 10 ms");
            moments.iter_mut().for_each(|moment| *moment += jitter(5000 * MS, &mut rng));
        }
    }

    #[test]
    fn reloads_neither_hurry_checks_nor_put_them_off() {
        let (now, timeout) = (Instant::now(), 2000 * MS);
        let at = |planned| first(3, 10, timeout, planned, now);
        assert_eq!(at(None), now + stagger(3, 10, timeout));
        assert_eq!(at(Some(now + 4000 * MS)), now + 4000 * MS);
        assert_eq!(at(now.checked_sub(MS)), at(None), "what is due is done");
        // Begun anew every 1.2 s, each time with what was planned.
        let planned = now + 4000 * MS;
        let begun = |reload: u32| first(0, 1, timeout, Some(planned), now + 1200 * MS * reload);
        assert!((0..=3).all(|reload| begun(reload) == planned));
    }

    proptest! {
        #[test]
        fn first_checks_are_in_order_and_take_a_quarter_of_the_timeout(
            count in 1usize..20_000, timeout in 1u64..100_000, index in 0usize..20_000
        ) {
            let (timeout, index) = (Duration::from_millis(timeout), index % count);
            let wait = stagger(index, count, timeout);
            prop_assert!(wait <= timeout / 4 && wait <= stagger(index + 1, count, timeout));
            prop_assert!(index > 0 || wait.is_zero());
        }

        #[test]
        fn a_wish_brings_a_check_forward_and_never_puts_it_off(next in 0u64..10_000) {
            let started = Instant::now();
            let next = started + Duration::from_millis(next);
            let at = wanted(started, next);
            prop_assert!(at <= next && (at == next || at == started + GAP));
        }
    }
}

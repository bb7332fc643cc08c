//! When memory is short and when it is back, as a pure function of what was seen and when: short at once, back only
//! when there has been enough for a while, so that it does not flicker.

use std::time::{Duration, Instant};

use super::limit::Use;

/// So long there must be enough before all goes on.
pub const CALM: Duration = Duration::from_secs(1);
/// And so long where the reserve does not come back: what is free may lie scattered, and nobody is to be refused for
/// ever.
pub const STILL: Duration = Duration::from_secs(30);
/// The distance from the limit at which memory is short: a tenth of it, within these bounds.
const MARGIN: (u64, u64) = (16 << 20, 256 << 20);

/// What was seen at one look.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The system gave no memory since the look before.
    pub failed: bool,
    /// The reserve is held.
    pub reserve: bool,
    /// `None`: there is no limit, or it cannot be read.
    pub used: Option<Use>,
}

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Memory is short.
    Short,
    /// It is there again, after so long.
    Back(Duration),
}

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watch {
    short_since: Option<Instant>,
    calm_since: Option<Instant>,
    /// As `calm_since`, be the reserve held or not.
    still_since: Option<Instant>,
}

impl Watch {
    /// One look; `now` never goes back.
    pub fn look(&mut self, seen: Seen, now: Instant) -> Option<Change> {
        let Some(since) = self.short_since else {
            let short = seen.failed || seen.used.is_some_and(|used| used.used >= high(used.limit));
            self.short_since = short.then_some(now);
            (self.calm_since, self.still_since) = (None, None);
            return short.then_some(Change::Short);
        };
        let still = !seen.failed && seen.used.is_none_or(|used| used.used < low(used.limit));
        let lasting = |since: &mut Option<Instant>, holds: bool| {
            *since = holds.then(|| since.unwrap_or(now));
            since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
        };
        // The reserve should have come back: so much, at least, there is, however the rest lies scattered.
        let calm = lasting(&mut self.calm_since, still && seen.reserve) >= CALM;
        if lasting(&mut self.still_since, still) < STILL && !calm {
            return None;
        }
        *self = Self::default();
        Some(Change::Back(now.saturating_duration_since(since)))
    }

    /// How long it has been short.
    #[must_use]
    pub fn short_for(&self, now: Instant) -> Option<Duration> {
        self.short_since.map(|since| now.saturating_duration_since(since))
    }
}

/// From this use on, memory is short.
fn high(limit: u64) -> u64 {
    limit - margin(limit)
}

/// Below this, there is enough.
fn low(limit: u64) -> u64 {
    limit - margin(limit) - margin(limit) / 2
}

/// Of a small limit, a quarter at the most.
fn margin(limit: u64) -> u64 {
    (limit / 10).clamp(MARGIN.0, MARGIN.1).min(limit / 4)
}

#[cfg(test)]
mod tests {
    use super::super::limit::Bound;
    use super::*;
    use proptest::prelude::*;

    const TICK: Duration = Duration::from_millis(100);

    fn seen(used: u64, limit: u64) -> Seen {
        Seen { failed: false, reserve: true, used: Some(Use { used, limit, bound: Bound::Process }) }
    }

    #[test]
    fn it_is_short_at_once_and_back_only_after_a_calm_while() {
        let (mut watch, limit, start) = (Watch::default(), 200 << 20, Instant::now());
        assert_eq!(watch.look(seen(100 << 20, limit), start), None);
        assert_eq!(watch.look(seen(181 << 20, limit), start + TICK), Some(Change::Short));
        // Below where it began, and not far enough.
        assert_eq!(watch.look(seen(171 << 20, limit), start + CALM * 5), None);
        assert_eq!(watch.look(seen(160 << 20, limit), start + CALM * 6), None);
        assert_eq!(watch.look(seen(160 << 20, limit), start + CALM * 7 - TICK), None);
        assert_eq!(watch.look(seen(160 << 20, limit), start + CALM * 7), Some(Change::Back(CALM * 7 - TICK)));
        assert_eq!(watch.short_for(start + CALM * 8), None);
    }

    #[test]
    fn without_a_limit_the_reserve_must_be_back() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        let nothing = Seen { failed: false, reserve: false, used: None };
        assert_eq!(watch.look(nothing, start), None);
        assert_eq!(watch.look(Seen { failed: true, ..nothing }, start), Some(Change::Short));
        assert_eq!(watch.look(nothing, start + CALM * 9), None);
        let held = Seen { reserve: true, ..nothing };
        assert_eq!(watch.look(held, start + CALM * 10), None);
        assert_eq!(watch.look(held, start + CALM * 11), Some(Change::Back(CALM * 11)));
    }

    #[test]
    fn without_the_reserve_it_is_back_after_a_long_while() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        let nothing = Seen { failed: false, reserve: false, used: None };
        watch.look(Seen { failed: true, ..nothing }, start);
        assert_eq!(watch.look(nothing, start + TICK), None);
        assert_eq!(watch.look(Seen { failed: true, ..nothing }, start + STILL), None);
        assert_eq!(watch.look(nothing, start + STILL + TICK), None);
        assert_eq!(watch.look(nothing, start + STILL * 2), None);
        let back = start + STILL * 2 + TICK;
        assert_eq!(watch.look(nothing, back), Some(Change::Back(back - start)));
    }

    proptest! {
        #[test]
        fn it_changes_in_turn_and_never_early(
            limit in 1u64..(1 << 34),
            looks in prop::collection::vec((any::<bool>(), any::<bool>(), 0u64..120, 1u32..20), 1..80),
        ) {
            let (mut watch, mut now) = (Watch::default(), Instant::now());
            let (mut short, mut enough_since) = (false, None);
            prop_assert!(low(limit) <= high(limit) && high(limit) <= limit && low(limit) >= limit / 2);
            for (failed, reserve, percent, ticks) in looks {
                now += TICK * ticks;
                let used = limit / 100 * percent;
                let used = Use { used, limit, bound: Bound::Container };
                let one = Seen { failed: failed && percent % 4 == 0, reserve, used: Some(used) };
                let enough = !one.failed && one.reserve && used.used < low(limit);
                if !enough {
                    enough_since = None;
                }
                match watch.look(one, now) {
                    Some(Change::Short) => {
                        prop_assert!(!short && (one.failed || used.used >= high(limit)));
                        (short, enough_since) = (true, None);
                    }
                    Some(Change::Back(_)) => {
                        prop_assert!(short && enough);
                        prop_assert!(enough_since.is_some_and(|since| now - since >= CALM));
                        short = false;
                    }
                    None => {
                        prop_assert!(short || !(one.failed || used.used >= high(limit)));
                    }
                }
                if short && enough && enough_since.is_none() {
                    enough_since = Some(now);
                }
                prop_assert_eq!(watch.short_for(now).is_some(), short);
            }
        }
    }
}

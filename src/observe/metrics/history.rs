//! What the counters said at some moments of the last five minutes: enough for "a second" and for "the last five
//! minutes".
//!
//! Pure: whoever has the counters reads them, and says when. It counts nothing itself, and it is bounded: a reading
//! every [`EVERY`], those of single upstreams for a short while only.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cause::{Cause, Fault};

use super::request::Rare;

/// So often it is worth taking a reading.
pub const EVERY: Duration = Duration::from_secs(5);
/// What "lately" means.
pub const WINDOW: Duration = Duration::from_secs(300);
/// What "a second" is taken over.
const SPAN: Duration = Duration::from_secs(10);
/// Of less than this, no rate is told: two requests in a millisecond are not 2,000 a second.
const LEAST: Duration = Duration::from_secs(1);

/// The counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Requests that have ended, by pool; those without one under the empty name.
    pub requests: BTreeMap<Arc<str>, u64>,
    /// What had gone wrong.
    pub troubles: Arc<Rare>,
    /// Answers of each upstream, by the key of its counters.
    pub upstreams: HashMap<u64, u64>,
}

/// What happened in a stretch of time, to one pool or to all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lately {
    /// How long that was: [`WINDOW`], or since the start if that is less.
    pub window: Duration,
    /// Requests that have ended.
    pub requests: u64,
    /// Of them, those that another upstream answered after one had failed.
    pub rescued: u64,
    /// Of them, those that got an error of causeway's own, or an answer that broke off, through no fault of the client.
    pub failed: u64,
}

/// Errors of one kind, in a stretch of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors {
    /// The pool's name; empty without one.
    pub pool: Arc<str>,
    /// The status that clients saw.
    pub code: u16,
    /// Why.
    pub cause: Cause,
    /// So many.
    pub count: u64,
    /// So many since the start: it only grows, and differences of it are a rate.
    pub total: u64,
}

/// See the module.
#[derive(Debug)]
pub struct History {
    /// The oldest first; never empty.
    readings: VecDeque<(Instant, Reading)>,
}

/// The readings that a look goes by.
#[derive(Debug)]
pub struct Look<'a> {
    now: &'a Reading,
    /// [`SPAN`] ago.
    short: &'a Reading,
    short_span: Duration,
    /// [`WINDOW`] ago.
    long: &'a Reading,
    window: Duration,
}

impl History {
    /// From the start of the process on, when nothing had been counted.
    #[must_use]
    pub fn new(start: Instant) -> Self {
        Self { readings: [(start, Reading::default())].into() }
    }

    /// Keeps a reading. `now` never goes back.
    pub fn push(&mut self, mut reading: Reading, now: Instant) {
        let age = |at: Instant| now.saturating_duration_since(at);
        // Of those that are older than the window the newest is kept: it is where the window begins.
        while self.readings.get(1).is_some_and(|(at, _)| age(*at) >= WINDOW) {
            self.readings.pop_front();
        }
        for (_, old) in self.readings.iter_mut().rev().skip_while(|(at, _)| age(*at) < SPAN).skip(1) {
            if old.upstreams.capacity() == 0 {
                break;
            }
            old.upstreams = HashMap::new();
        }
        // Mostly nothing goes wrong: then all readings share one list of what did.
        if let Some((_, last)) = self.readings.back().filter(|(_, last)| last.troubles == reading.troubles) {
            reading.troubles = Arc::clone(&last.troubles);
        }
        // Somebody whose clock is wrong, or who pushes too often, makes it no longer than this.
        let most = (WINDOW.as_secs() / EVERY.as_secs()) as usize + 2;
        if self.readings.len() >= most {
            self.readings.remove(1);
        }
        self.readings.push_back((now, reading));
    }

    /// How things have gone until now, when the counters say this.
    #[must_use]
    pub fn look<'a>(&'a self, reading: &'a Reading, now: Instant) -> Look<'a> {
        let since = |span: Duration| {
            let age = |at: Instant| now.saturating_duration_since(at);
            let begun = self.readings.iter().rev().find(|(at, _)| age(*at) >= span).or_else(|| self.readings.front());
            begun.map_or((reading, Duration::ZERO), |(at, old)| (old, age(*at)))
        };
        let ((short, short_span), (long, window)) = (since(SPAN), since(WINDOW));
        Look { now: reading, short, short_span, long, window }
    }
}

impl Look<'_> {
    /// Requests a second, all together.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.rate(self.since(self.short))
    }

    /// The same, of one pool.
    #[must_use]
    pub fn pool_per_second(&self, pool: &str) -> f64 {
        self.rate(of(&self.now.requests, pool).saturating_sub(of(&self.short.requests, pool)))
    }

    /// Answers a second of the upstream with this key.
    #[must_use]
    pub fn upstream_per_second(&self, key: u64) -> f64 {
        let of = |reading: &Reading| reading.upstreams.get(&key).copied().unwrap_or_default();
        self.rate(of(self.now).saturating_sub(of(self.short)))
    }

    /// Of the last minutes, all together.
    #[must_use]
    pub fn lately(&self) -> Lately {
        self.sum(self.since(self.long), |_| true)
    }

    /// The same, of one pool.
    #[must_use]
    pub fn pool_lately(&self, pool: &str) -> Lately {
        let requests = of(&self.now.requests, pool).saturating_sub(of(&self.long.requests, pool));
        self.sum(requests, |name| name == pool)
    }

    /// What failed in the last minutes, by kind: the most frequent first.
    #[must_use]
    pub fn errors(&self) -> Vec<Errors> {
        let mut errors: Vec<Errors> = self.failures(|_| true).collect();
        errors.sort_by_key(|errors| std::cmp::Reverse(errors.count));
        errors
    }

    fn failures(&self, wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = Errors> {
        let before = &self.long.troubles.errors;
        self.now.troubles.errors.iter().filter_map(move |(kind, now)| {
            let (pool, code, cause) = kind;
            let total = *now;
            let count = total.saturating_sub(before.get(kind).copied().unwrap_or_default());
            let counts = count > 0 && wanted(pool) && is_failure(*code, *cause);
            counts.then(|| Errors { pool: Arc::clone(pool), code: *code, cause: *cause, count, total })
        })
    }

    fn sum(&self, requests: u64, wanted: impl Fn(&str) -> bool) -> Lately {
        let before = &self.long.troubles.failovers;
        let rescued = self.now.troubles.failovers.iter().filter(|(pool, _)| wanted(pool));
        let rescued = rescued.map(|(pool, count)| count.saturating_sub(of(before, pool))).sum();
        Lately {
            window: self.window,
            requests,
            rescued,
            failed: self.failures(&wanted).map(|errors| errors.count).sum(),
        }
    }

    /// Requests since then: of each pool for itself, since one may have left meanwhile.
    fn since(&self, before: &Reading) -> u64 {
        self.now.requests.iter().map(|(pool, now)| now.saturating_sub(of(&before.requests, pool))).sum()
    }

    fn rate(&self, count: u64) -> f64 {
        count as f64 / self.short_span.max(LEAST).as_secs_f64()
    }
}

/// Was it an error of ours, or an answer that broke off? What a client did wrong (4xx), or left alone, is not.
fn is_failure(code: u16, cause: Cause) -> bool {
    cause.row().fault != Fault::Client && !(400..500).contains(&code)
}

fn of(counts: &BTreeMap<Arc<str>, u64>, pool: &str) -> u64 {
    counts.get(pool).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reading(count: u64) -> Reading {
        Reading {
            requests: [("app".into(), count), ("".into(), 1)].into(),
            troubles: Arc::new(Rare {
                errors: [
                    (("app".into(), 502, Cause::ConnectionRefused), count / 10),
                    (("app".into(), 200, Cause::TruncatedBody), count / 100),
                    (("app".into(), 200, Cause::ClientClosed), count),
                    (("".into(), 404, Cause::NoRoute), count),
                ]
                .into(),
                failovers: [("app".into(), count / 5)].into(),
                ..Rare::default()
            }),
            upstreams: [(7, count)].into(),
        }
    }

    /// 100 a second, a reading every 5 s, for so long.
    fn steady(seconds: u64) -> (History, Instant) {
        let start = Instant::now();
        let mut history = History::new(start);
        for at in (5..=seconds).step_by(5) {
            history.push(reading(at * 100), start + Duration::from_secs(at));
        }
        (history, start)
    }

    #[test]
    fn a_steady_stream_has_its_rate_and_its_five_minutes() {
        let (history, start) = steady(1000);
        let (now, at) = (reading(1002 * 100), start + Duration::from_secs(1002));
        let look = history.look(&now, at);
        assert_eq!((look.per_second(), look.pool_per_second("app")), (100.0, 100.0));
        assert_eq!((look.upstream_per_second(7), look.upstream_per_second(8)), (100.0, 0.0));
        let lately = look.pool_lately("app");
        assert_eq!(lately.window, Duration::from_secs(302));
        assert_eq!((lately.requests, lately.rescued, lately.failed), (30_200, 6_040, 3_020 + 302));
        assert_eq!(look.lately(), lately);
        let errors: Vec<_> = look.errors().into_iter().map(|e| (e.code, e.cause, e.count, e.total)).collect();
        assert_eq!(errors, [(502, Cause::ConnectionRefused, 3_020, 10_020), (200, Cause::TruncatedBody, 302, 1_002)]);
    }

    #[test]
    fn the_first_seconds_count_from_the_start() {
        let (history, start) = steady(5);
        let now = reading(700);
        let look = history.look(&now, start + Duration::from_secs(7));
        assert_eq!(look.pool_per_second("app"), 100.0);
        assert_eq!((look.pool_lately("app").requests, look.pool_lately("app").window.as_secs()), (700, 7));
        let (fresh, now) = (History::new(start), reading(50));
        assert_eq!(fresh.look(&now, start).pool_per_second("app"), 50.0, "no moment is so short that it makes a rate");
    }

    #[test]
    fn a_pool_that_leaves_takes_nothing_from_the_others() {
        let start = Instant::now();
        let mut history = History::new(start);
        for at in (5..=20).step_by(5) {
            let mut reading = reading(at * 100);
            reading.requests.insert("old".into(), 1_000_000);
            Arc::make_mut(&mut reading.troubles).failovers.insert("old".into(), 1_000_000);
            history.push(reading, start + Duration::from_secs(at));
        }
        let now = reading(2200);
        let look = history.look(&now, start + Duration::from_secs(22));
        assert_eq!(look.per_second(), 100.0);
        assert_eq!((look.lately().requests, look.lately().rescued), (2201, 440));
    }

    #[test]
    fn counters_that_begin_anew_are_no_rate() {
        let (history, start) = steady(20);
        let now = Reading::default();
        let look = history.look(&now, start + Duration::from_secs(21));
        assert_eq!((look.per_second(), look.upstream_per_second(7), look.lately().failed), (0.0, 0.0, 0));
    }

    proptest! {
        #[test]
        fn it_is_bounded_and_never_longer_than_a_reading_more(steps in proptest::collection::vec(0..20_000_u64, 1..400)) {
            let (mut history, mut at, mut count) = (History::new(Instant::now()), Instant::now(), 0);
            for step in steps {
                (at, count) = (at + Duration::from_millis(step), count + step);
                history.push(reading(count), at);
            }
            prop_assert!(history.readings.len() <= 62);
            let kept = history.readings.iter().filter(|(_, reading)| !reading.upstreams.is_empty());
            let short = kept.filter(|(when, _)| at.saturating_duration_since(*when) > SPAN + 2 * Duration::from_secs(20));
            prop_assert_eq!(short.count(), 0);
            let now = reading(count);
            let look = history.look(&now, at);
            prop_assert!(look.lately().requests <= count + 1 && look.lately().failed <= look.lately().requests);
        }
    }
}

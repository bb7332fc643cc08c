//! The age at which an upstream closes idle connections, learnt from those that it closed: most apps do not say it.
//!
//! One value for each upstream, shared by all workers. Whoever keeps connections tells of closes in order
//! ([`IdleAge::closed`]) and of connections that are still open ([`IdleAge::outlived`]); whoever uses one asks how long
//! it may have been idle ([`IdleAge::within`], one load). Pure: the time is an argument. It opens, closes and chooses
//! no connection.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::cause::Cause;

/// Nothing is learnt.
const NEVER: u32 = u32::MAX;
/// Below the age that was learnt, causeway stays by a tenth, and at least so much (CONTRACT §9).
const MARGIN: Duration = Duration::from_millis(200);
/// What is closed younger was not closed by an idle clock: after so many requests, by a restart, by a crash.
const YOUNGEST: Duration = Duration::from_millis(250);
/// No idle clock is believed to be longer.
const OLDEST: Duration = Duration::from_secs(3600);
/// What is closed within so much was closed at one moment.
const MOMENT: Duration = Duration::from_millis(250);
/// Without a close that confirms it, what was learnt is raised by half after so long: the app may have another clock by
/// now.
const DOUBT: Duration = Duration::from_secs(600);
/// What is closed within so much of a sign that the upstream is down or comes up again was closed by that.
const UNREST: Duration = Duration::from_secs(10);
/// So many moments are remembered.
const MEMORY: usize = 12;

/// See the module.
#[derive(Debug)]
pub struct IdleAge {
    /// Milliseconds; [`NEVER`]: no limit.
    limit: AtomicU32,
    /// Something was seen: it is worth telling of connections that live on.
    curious: AtomicBool,
    /// Whose it is, for the log: the pool's name.
    pub pool: Arc<str>,
    /// The upstream's id, as it was at first.
    pub upstream: Arc<str>,
    seen: Mutex<Seen>,
}

/// What was learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learnt {
    /// The upstream closes what was idle for so long.
    pub age: Duration,
    /// So long causeway keeps an idle connection, at the most.
    pub keeps: Duration,
}

#[derive(Debug, Default)]
struct Seen {
    /// When connections were closed.
    moments: Vec<Moment>,
    /// When what these say was last confirmed, or raised.
    since: Option<Instant>,
    /// How often it was raised since it was confirmed.
    raised: i32,
    /// What was told of last.
    told: Option<Duration>,
    /// The last sign that the upstream is down or comes up again.
    unrest: Option<Instant>,
}

/// Connections that were closed at once.
#[derive(Clone, Copy, Debug)]
struct Moment {
    at: Instant,
    youngest: Duration,
    oldest: Duration,
}

impl Moment {
    /// The age that an idle clock has then. Connections of many ages at once are a restart, or an app that wants rid of
    /// them.
    fn clock(&self) -> Option<Duration> {
        (self.youngest >= YOUNGEST && self.oldest <= self.youngest.mul_f32(1.5) + MARGIN / 2).then_some(self.youngest)
    }
}

impl IdleAge {
    /// Of an upstream of which nothing is known.
    #[must_use]
    pub fn new(pool: Arc<str>, upstream: Arc<str>) -> Self {
        Self { limit: AtomicU32::new(NEVER), curious: AtomicBool::new(false), pool, upstream, seen: Mutex::default() }
    }

    /// The limit in force for an idle connection, where it would be `idle` if nothing were learnt.
    #[must_use]
    pub fn within(&self, idle: Duration) -> Duration {
        match self.limit.load(Relaxed) {
            NEVER => idle,
            millis => idle.min(Duration::from_millis(u64::from(millis))),
        }
    }

    /// What is known now.
    #[must_use]
    pub fn learnt(&self) -> Option<Learnt> {
        self.lock().learnt()
    }

    /// The upstream closed a kept connection that had not failed, in order, at this moment, after it was idle for
    /// `age`; if nothing were learnt it would have been kept for `idle`. Some: that is news, and less than `idle`.
    pub fn closed(&self, age: Duration, at: Instant, idle: Duration) -> Option<Learnt> {
        let mut seen = self.lock();
        if seen.unrest.is_some_and(|unrest| apart(unrest, at) < UNREST) {
            return None;
        }
        let before = seen.clock();
        seen.note(age, at);
        let after = seen.clock();
        if after != before || after.is_some_and(|clock| is_near(clock, age)) {
            (seen.raised, seen.since) = (0, Some(at));
        }
        self.publish(&seen);
        let learnt = seen.learnt()?;
        if learnt.keeps >= idle || seen.told.is_some_and(|told| is_near(told, learnt.age)) {
            return None;
        }
        seen.told = Some(learnt.age);
        Some(learnt)
    }

    /// A request has failed like this. Who refuses or resets connections has crashed or is restarted, perhaps again and
    /// again: what it closes then says nothing of an idle clock.
    pub fn failed(&self, cause: Cause, now: Instant) {
        if matches!(cause, Cause::ConnectionRefused | Cause::ConnectReset | Cause::ResetBeforeHead) {
            self.unrest(now);
        }
    }

    /// A check has failed like this. Where there was an answer, the upstream is up.
    pub fn check_failed(&self, cause: Cause, now: Instant) {
        if !matches!(cause, Cause::HealthStatus | Cause::HealthBody) {
            self.unrest(now);
        }
    }

    fn unrest(&self, now: Instant) {
        let mut seen = self.lock();
        seen.unrest = Some(now);
        seen.moments.retain(|moment| apart(moment.at, now) >= UNREST);
        self.publish(&seen);
    }

    /// A connection was still open after it was idle for `age`.
    pub fn outlived(&self, age: Duration, now: Instant) {
        if !self.curious.load(Relaxed) {
            return;
        }
        let mut seen = self.lock();
        seen.moments.retain(|moment| moment.youngest.mul_f32(1.5) >= age);
        if seen.since.is_some_and(|since| now.saturating_duration_since(since) >= DOUBT) {
            (seen.raised, seen.since) = (seen.raised + 1, Some(now));
            if seen.learnt().is_none_or(|learnt| learnt.age > OLDEST) {
                *seen = Seen { told: seen.told, unrest: seen.unrest, ..Seen::default() };
            }
        }
        self.publish(&seen);
    }

    fn publish(&self, seen: &Seen) {
        let millis = |learnt: Learnt| u32::try_from(learnt.keeps.as_millis()).unwrap_or(NEVER);
        self.limit.store(seen.learnt().map_or(NEVER, millis), Relaxed);
        self.curious.store(!seen.moments.is_empty(), Relaxed);
    }

    /// A panic under this lock leaves at worst one sighting half noted.
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for IdleAge {
    /// Of nobody: for a connection that is never kept.
    fn default() -> Self {
        Self::new(Arc::default(), Arc::default())
    }
}

impl Seen {
    fn learnt(&self) -> Option<Learnt> {
        let age = self.clock()?.mul_f64(1.5_f64.powi(self.raised));
        let keeps = age.saturating_sub((age / 10).max(MARGIN));
        Some(Learnt { age, keeps })
    }

    /// The least age at which connections were closed twice, or three times about then: once alone can be a restart.
    fn clock(&self) -> Option<Duration> {
        let mut ages: Vec<Duration> = self.moments.iter().filter_map(Moment::clock).collect();
        ages.sort_unstable();
        let is_clock = |at: usize| {
            let later = |n: usize| ages.get(at + n).copied();
            let twice = later(1).is_some_and(|next| next <= ages[at].mul_f32(1.05) + MARGIN / 4);
            twice || later(2).is_some_and(|third| is_near(ages[at], third))
        };
        (0..ages.len()).find(|at| is_clock(*at)).map(|at| ages[at])
    }

    /// Workers tell of one moment one after the other.
    fn note(&mut self, age: Duration, at: Instant) {
        if let Some(moment) = self.moments.iter_mut().find(|moment| apart(moment.at, at) < MOMENT) {
            moment.youngest = moment.youngest.min(age);
            moment.oldest = moment.oldest.max(age);
            return;
        }
        if self.moments.len() >= MEMORY {
            let least = self.moments.iter().position(|moment| moment.clock().is_none());
            self.moments.remove(least.unwrap_or(0));
        }
        self.moments.push(Moment { at, youngest: age, oldest: age });
    }
}

fn apart(one: Instant, other: Instant) -> Duration {
    one.max(other) - one.min(other)
}

/// Is it the same clock? Apps look at theirs now and then, some only once a second.
fn is_near(one: Duration, other: Duration) -> bool {
    one.max(other) <= one.min(other).mul_f32(1.25) + MARGIN / 4
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;
    use proptest::prelude::*;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    const IDLE: Duration = Duration::from_secs(4);

    fn nobody() -> IdleAge {
        IdleAge::default()
    }

    #[test]
    fn two_closes_at_one_age_are_a_clock_and_it_is_told_once() {
        let (age, start) = (nobody(), Instant::now());
        assert_eq!(age.closed(ms(2010), start, IDLE), None);
        assert_eq!(age.within(IDLE), IDLE, "once can be a restart");
        let learnt = age.closed(ms(2000), start + ms(3000), IDLE).unwrap();
        assert_eq!((learnt.age, learnt.keeps, age.within(IDLE)), (ms(2000), ms(1800), ms(1800)));
        assert_eq!(age.closed(ms(2005), start + ms(6000), IDLE), None, "known");
        assert_eq!(age.within(ms(700)), ms(700), "only ever less");
        let sooner = |n| age.closed(ms(500), start + ms(n), IDLE);
        assert_eq!((sooner(9000), sooner(12_000).map(|learnt| learnt.keeps)), (None, Some(ms(300))), "another clock");
    }

    #[test]
    fn a_restart_teaches_nothing() {
        let (age, start) = (nobody(), Instant::now());
        for restart in 0..20_u64 {
            for (n, idle) in [3, 900, 1800, 2700].into_iter().enumerate() {
                // Told by several workers, in any order.
                age.closed(ms(idle + restart), start + ms(restart * 5000 + n as u64 * 20), IDLE);
            }
        }
        assert_eq!(age.within(IDLE), IDLE);
        for crash in 0..20 {
            age.closed(ms(40), start + ms(200_000 + crash * 1000), IDLE);
        }
        assert_eq!(age.within(IDLE), IDLE, "too young to be an idle clock");
    }

    #[test]
    fn a_crash_loop_teaches_nothing() {
        let (age, start) = (nobody(), Instant::now());
        for crash in 0..20 {
            // One connection, as old as the process lives; the next request or check finds nobody.
            let at = start + ms(crash * 20_000);
            age.closed(ms(1900), at, IDLE);
            match crash % 3 {
                0 => age.failed(Cause::ConnectionRefused, at + ms(300)),
                1 => age.check_failed(Cause::ConnectionRefused, at + ms(4000)),
                _ => age.failed(Cause::ResetBeforeHead, at),
            }
            age.closed(ms(1900), at + ms(6000), IDLE);
            assert_eq!(age.within(IDLE), IDLE, "crash {crash}");
        }
        let later = start + ms(500_000);
        for (n, cause) in
            [Cause::ReadTimeout, Cause::StaleConnection, Cause::ClosedWithoutResponse].into_iter().enumerate()
        {
            age.failed(cause, later + ms(n as u64));
        }
        age.check_failed(Cause::HealthStatus, later);
        age.closed(ms(1900), later, IDLE);
        age.closed(ms(1900), later + ms(3000), IDLE);
        assert_eq!(age.within(IDLE), ms(1700), "an app that answers has a clock");
    }

    #[test]
    fn what_lives_on_refutes_what_one_connection_seemed_to_say() {
        let (age, start) = (nobody(), Instant::now());
        for restart in 0..20 {
            age.closed(ms(1000), start + ms(restart * 5000), IDLE);
            age.outlived(ms(4100), start + ms(restart * 5000 + 4500));
        }
        assert_eq!(age.learnt(), None);
    }

    #[test]
    fn without_a_close_that_confirms_it_it_rises_and_is_forgotten() {
        let (age, start) = (nobody(), Instant::now());
        let close = |at| age.closed(ms(2000), at, 2 * IDLE);
        close(start);
        close(start + ms(3000));
        let later = start + ms(3000) + DOUBT;
        age.outlived(ms(2300), later - ms(1));
        assert_eq!(age.within(2 * IDLE), ms(1800));
        age.outlived(ms(2300), later);
        assert_eq!(age.within(2 * IDLE), ms(2700));
        assert_eq!(close(later + ms(5000)), None, "confirmed, and told before");
        assert_eq!(age.within(2 * IDLE), ms(1800));
        age.outlived(ms(3100), later + ms(6000));
        assert_eq!(age.within(2 * IDLE), 2 * IDLE, "the app has another clock now");
        close(later + ms(7000));
        close(later + ms(9000));
        for round in 2..40 {
            age.outlived(ms(10), later + round * DOUBT);
        }
        assert_eq!(age.learnt(), None, "longer than anybody's");
    }

    /// An app and a proxy, in steps of 20 ms: so many connections, taken and given back at random; restarts; a clock
    /// that the app looks at now and then. The limit that is learnt, and how many connections that clock has ended.
    fn run(clock: Duration, idle: Duration, traffic: (usize, u64), restarts: &[u64], seed: u64) -> (Duration, u32) {
        const STEP: u64 = 20;
        let (age, start, mut rng) = (nobody(), Instant::now(), Rng::with_seed(seed));
        let (connections, gap) = traffic;
        let length =
            restarts.last().map_or(0, |last| last + 1).max(12 * clock.as_millis() as u64 + 60_000).min(590_000);
        let mut ended = 0;
        // Since when each is idle, and when it is wanted again.
        let mut slots: Vec<(u64, u64)> = (0..connections).map(|_| (0, rng.u64(1..=gap))).collect();
        for now in (0..length).step_by(STEP as usize) {
            let restart = restarts.iter().any(|at| (now..now + STEP).contains(at));
            for (since, wanted) in &mut slots {
                let rested = ms(now - *since);
                let limit = age.within(idle);
                let over = rested >= clock;
                ended += u32::from(over && !restart);
                let swept = (now / STEP).is_multiple_of(25);
                if restart || over {
                    age.closed(rested, start + ms(now), idle);
                } else if swept {
                    age.outlived(rested, start + ms(now));
                }
                // It begins anew: found closed, taken, or past its limit when the sweeper looks.
                if restart || over || now >= *wanted || (swept && rested >= limit) {
                    *since = now;
                    *wanted = now + rng.u64(1..=gap);
                }
            }
        }
        (age.within(idle), ended)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn the_limit_ends_below_the_clock_and_not_far_below(
            clock in prop_oneof![300..4_000_u64, 4_000..60_000_u64],
            connections in 1..12_usize,
            gap in prop_oneof![Just(1.5), Just(4.0)],
            restarts in proptest::collection::vec(1.5..6.0_f64, 0..6),
            seed in any::<u64>(),
        ) {
            let mut last = 0;
            let restarts: Vec<u64> = restarts.iter().map(|gap| { last += (clock as f64 * gap) as u64; last }).collect();
            // Connections that are idle for longer than the clock do occur.
            let gap = (clock as f64 * gap) as u64;
            let (limit, ended) = run(ms(clock), ms(120_000), (connections, gap), &restarts, seed);
            // Of a clock that has shown itself once, or never, nothing can be learnt.
            prop_assume!(ended > 1);
            prop_assert!(limit < ms(clock), "{limit:?} of {clock} ms");
            prop_assert!(limit + MARGIN >= ms(clock / 3), "{limit:?} of {clock} ms");
        }

        #[test]
        fn an_app_that_only_restarts_is_kept_as_long_as_before(
            connections in 4..12_usize,
            restarts in proptest::collection::vec(6_000..30_000_u64, 0..12),
            seed in any::<u64>(),
        ) {
            let mut last = 0;
            let restarts: Vec<u64> = restarts.iter().map(|gap| { last += gap; last }).collect();
            let (limit, _) = run(ms(60_000), IDLE, (connections, 8_000), &restarts, seed);
            prop_assert_eq!(limit, IDLE);
        }
    }
}

//! Kept connections, filed by endpoint: last in, first out, each with its limits. Nothing here grows without a bound,
//! and what is past its limit is closed within about a second, asked for or not. Those that the upstream closed first,
//! and those that live on, tell of the upstream's own idle clock. Those of upstreams that left are closed as soon. Pure
//! but for [`Kept::keep`]'s sweeper.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How often the sweeper looks, while anything is kept.
const SWEEP: Duration = Duration::from_millis(500);

/// Something that can be kept while it is idle. Dropping it closes it.
pub(super) trait Keep: Send + 'static {
    /// Has the other side closed it, or is anything on its way in? With `watch`, it notes the moment of the next such
    /// event by itself.
    fn look(&mut self, watch: bool) -> Look;

    /// Is there still somebody who may use it? Its upstream may have left, or be spoken to otherwise now.
    fn is_wanted(&self) -> bool;

    /// How long it may be idle as things are now, where its own limit is this.
    fn within(&self, idle: Duration) -> Duration;

    /// The other side closed it, in order, at this moment, after it was idle for `age`; its own limit was `idle`.
    fn closed(&self, age: Duration, at: Instant, idle: Duration);

    /// It was idle for so long, and is still open.
    fn outlived(&self, age: Duration, now: Instant);

    /// It is about to be used, at this time, after it was idle for `age`.
    fn wake(&mut self, age: Duration, now: Instant);

    /// It has been idle for a while: what it holds only for speed can go.
    fn rest(&mut self);
}

/// How a kept connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Open, and nothing is on its way in.
    Open,
    /// Closed by the other side, in order; at this moment, if that was noted.
    Closed(Option<Instant>),
    /// It cannot be used for another reason.
    Spoilt,
}

/// What a kept connection must stay within.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Longest idle time.
    pub(super) idle: Duration,
    /// No use after this moment.
    pub(super) until: Instant,
    /// Idle connections for this endpoint, this one included.
    pub(super) count: usize,
}

/// The idle connections of one worker.
#[derive(Debug)]
pub(super) struct Kept<C> {
    shelf: Mutex<Shelf<C>>,
}

#[derive(Debug)]
struct Shelf<C> {
    /// By [`crate::config::Endpoint::key`]; oldest first; no queue is empty after a sweep.
    endpoints: HashMap<u64, VecDeque<Idle<C>>, BuildHasherDefault<Spread>>,
    /// A sweeper runs.
    swept: bool,
}

#[derive(Debug)]
struct Idle<C> {
    connection: C,
    since: Instant,
    limits: Limits,
}

/// The keys are our own, counted from 1: they need to be spread, not to be kept from an enemy.
#[derive(Debug, Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }
    fn write_u64(&mut self, key: u64) {
        self.0 = (self.0 ^ key).wrapping_mul(0x9e37_79b9_7f4a_7c15); // 2^64 by the golden ratio: both ends of it vary
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

impl<C: Keep> Idle<C> {
    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// The limit in force.
    fn limit(&self) -> Duration {
        self.connection.within(self.limits.idle)
    }

    /// May it be used, as far as the other side goes? What a close tells of its idle clock is learnt.
    fn is_open(&mut self, watch: bool) -> bool {
        let look = self.connection.look(watch);
        if let Look::Closed(Some(at)) = look
            && at >= self.since
        {
            self.connection.closed(at - self.since, at, self.limits.idle);
        }
        look == Look::Open
    }
}

impl<C: Keep> Kept<C> {
    pub(super) fn new() -> Self {
        Self { shelf: Mutex::new(Shelf { endpoints: HashMap::default(), swept: false }) }
    }

    /// Keeps a connection, and sees to it that it is closed in time. Call within a runtime.
    pub(super) fn keep(self: &Arc<Self>, key: u64, connection: C, limits: Limits) {
        let now = Instant::now();
        let mut shelf = self.shelf();
        if shelf.put(key, connection, limits, now) && !std::mem::replace(&mut shelf.swept, true) {
            drop(shelf);
            self.sweep_from_now_on();
        }
    }

    #[cold]
    fn sweep_from_now_on(self: &Arc<Self>) {
        let kept = Arc::downgrade(self);
        tokio::spawn(async move {
            // The first is watched from its beginning: an app whose clock is shorter than a round would not be seen
            // otherwise.
            if let Some(kept) = kept.upgrade() {
                kept.shelf().tidy(Instant::now());
            }
            loop {
                sleep(SWEEP).await;
                let Some(kept) = kept.upgrade() else { return };
                if kept.sweep(Instant::now()) {
                    return;
                }
            }
        });
    }

    /// The connection to this endpoint that was used last, if it may be used. `briefly`: only one that was idle for
    /// less than a quarter of its limit.
    pub(super) fn take(&self, key: u64, briefly: bool, now: Instant) -> Option<C> {
        let mut shelf = self.shelf();
        let queue = shelf.endpoints.get_mut(&key)?;
        while let Some(mut idle) = queue.pop_back() {
            let (age, limit) = (idle.age(now), idle.limit());
            if age >= limit || now >= idle.limits.until {
                continue;
            }
            if briefly && age >= limit / 4 {
                queue.push_back(idle); // the others were idle for longer still
                return None;
            }
            if idle.is_open(false) {
                idle.connection.wake(age, now);
                return Some(idle.connection);
            }
        }
        None
    }

    /// Closes what is past its limits or closed by the other side. `true`: nothing is left, and the sweeper may go.
    fn sweep(&self, now: Instant) -> bool {
        let mut shelf = self.shelf();
        shelf.tidy(now);
        shelf.swept = !shelf.endpoints.is_empty();
        !shelf.swept
    }

    /// A panic under this lock leaves at worst a connection lost: the shelf is sound.
    fn shelf(&self) -> MutexGuard<'_, Shelf<C>> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Keep> Shelf<C> {
    /// Files it, in place of the oldest where there are too many. `false`: its limits do not let it be kept.
    fn put(&mut self, key: u64, connection: C, limits: Limits, now: Instant) -> bool {
        if limits.count == 0 || limits.idle.is_zero() || now >= limits.until {
            return false;
        }
        let queue = self.endpoints.entry(key).or_default();
        while queue.len() >= limits.count {
            queue.pop_front();
        }
        queue.push_back(Idle { connection, since: now, limits });
        true
    }

    fn tidy(&mut self, now: Instant) {
        self.endpoints.retain(|_, queue| {
            let mut told = false;
            queue.retain_mut(|idle| {
                if !idle.connection.is_wanted() || !idle.is_open(true) {
                    return false;
                }
                // The first was idle for longest: it says most.
                if !std::mem::replace(&mut told, true) {
                    idle.connection.outlived(idle.age(now), now);
                }
                idle.age(now) < idle.limit() && now < idle.limits.until
            });
            let long_idle = |idle: &&mut Idle<C>| idle.age(now) >= SWEEP;
            queue.iter_mut().filter(long_idle).for_each(|idle| idle.connection.rest());
            !queue.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static CLOSED: AtomicUsize = AtomicUsize::new(0);
    /// Of connections with this number it is known that they may be idle for no longer than a second.
    static LEARNT: AtomicUsize = AtomicUsize::new(0);

    struct Fake(u32, bool);
    impl Keep for Fake {
        fn look(&mut self, _: bool) -> Look {
            if self.1 { Look::Open } else { Look::Closed(None) }
        }
        fn is_wanted(&self) -> bool {
            self.0 != 800
        }
        fn within(&self, idle: Duration) -> Duration {
            if self.0 == LEARNT.load(Ordering::Relaxed) as u32 { idle.min(S) } else { idle }
        }
        fn closed(&self, _: Duration, _: Instant, _: Duration) {}
        fn outlived(&self, _: Duration, _: Instant) {}
        fn wake(&mut self, _: Duration, _: Instant) {}
        fn rest(&mut self) {}
    }
    impl Drop for Fake {
        fn drop(&mut self) {
            if self.0 >= 1000 {
                CLOSED.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    const S: Duration = Duration::from_secs(1);

    fn limits(now: Instant, idle: Duration, count: usize) -> Limits {
        Limits { idle, until: now + 100 * S, count }
    }

    fn number(fake: Option<Fake>) -> Option<u32> {
        fake.map(|f| f.0)
    }

    #[test]
    fn the_last_one_comes_first_and_the_oldest_gives_way() {
        let (kept, now) = (Kept::new(), Instant::now());
        for n in 0..5 {
            assert!(kept.shelf().put(7, Fake(n, true), limits(now, 4 * S, 3), now));
        }
        let taken: Vec<_> = std::iter::from_fn(|| number(kept.take(7, false, now))).collect();
        assert_eq!(taken, [4, 3, 2]);
        assert!(number(kept.take(8, false, now)).is_none());
    }

    #[test]
    fn what_is_past_its_limit_or_closed_is_not_used() {
        let (kept, now) = (Kept::new(), Instant::now());
        kept.shelf().put(1, Fake(1, true), limits(now, 4 * S, 9), now);
        kept.shelf().put(1, Fake(2, false), limits(now, 4 * S, 9), now);
        assert_eq!(number(kept.take(1, false, now + 4 * S)), None);
        kept.shelf().put(1, Fake(3, true), Limits { until: now + S, ..limits(now, 4 * S, 9) }, now);
        assert_eq!(number(kept.take(1, false, now + S)), None, "max_age");
        assert!(!kept.shelf().put(1, Fake(4, true), limits(now, 4 * S, 0), now), "max_idle = 0");
        assert!(!kept.shelf().put(1, Fake(5, true), limits(now, Duration::ZERO, 9), now), "Keep-Alive: timeout=1");
    }

    #[test]
    fn a_request_that_may_not_be_resent_takes_only_a_fresh_one() {
        let (kept, now) = (Kept::new(), Instant::now());
        kept.shelf().put(1, Fake(1, true), limits(now, 4 * S, 9), now);
        assert_eq!(number(kept.take(1, true, now + S)), None);
        assert_eq!(number(kept.take(1, false, now + S)), Some(1), "it is still there for others");
        kept.shelf().put(1, Fake(2, true), limits(now, 4 * S, 9), now);
        assert_eq!(number(kept.take(1, true, now + S - Duration::from_millis(1))), Some(2));
    }

    #[test]
    fn what_is_learnt_holds_for_those_that_are_kept_already() {
        let (kept, now) = (Kept::new(), Instant::now());
        kept.shelf().put(1, Fake(900, true), limits(now, 4 * S, 9), now);
        LEARNT.store(900, Ordering::Relaxed);
        assert_eq!(number(kept.take(1, true, now + S / 4)), None, "a quarter of it");
        assert_eq!(number(kept.take(1, false, now + S)), None);
        kept.shelf().put(1, Fake(900, true), limits(now, 4 * S, 9), now);
        assert!(!kept.sweep(now + S / 2) && kept.sweep(now + S));
    }

    #[test]
    fn what_nobody_may_use_any_more_goes_with_the_next_sweep() {
        let (kept, now) = (Kept::new(), Instant::now());
        kept.shelf().put(1, Fake(800, true), limits(now, 4 * S, 9), now);
        kept.shelf().put(2, Fake(801, true), limits(now, 4 * S, 9), now);
        assert!(!kept.sweep(now + S / 2));
        assert_eq!(kept.shelf().endpoints.keys().collect::<Vec<_>>(), [&2]);
    }

    #[test]
    fn a_sweep_leaves_nothing_behind() {
        let (kept, now) = (Kept::new(), Instant::now());
        for n in 0..100 {
            kept.shelf().put(n, Fake(1000, true), limits(now, 2 * S, 1), now);
        }
        assert!(!kept.sweep(now + S));
        assert!(kept.sweep(now + 2 * S));
        assert_eq!(CLOSED.load(Ordering::Relaxed), 100);
        assert!(kept.shelf().endpoints.is_empty());
    }
}

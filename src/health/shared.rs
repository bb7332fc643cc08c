//! One upstream's health, shared: one atomic word for readers, one lock for writers.
//!
//! The request path calls [`Health::look`] (one atomic load) and, for an answer, [`Health::answered`] (one more, unless
//! there is something to clear up). [`Health::evicted`] wakes attempts that wait for this upstream when checks evict
//! it. The lock is held for a few assignments, never across an await.
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::cause::Cause;
use crate::config::model::Passive;

use super::machine::{Event, Machine, Policy};
use super::state::{By, Operator, State, Transition};
use super::told::{Eviction, Snapshot};
use super::traffic::{Failed, Proof};
use super::word::Look;

/// The health of one upstream.
#[derive(Debug)]
pub struct Health {
    /// What `Inner::machine` says, for readers without the lock: the bits of a [`Look`].
    word: AtomicU64,
    /// When it came back last, in ms since `epoch` and never 0; 0: not since it was settled.
    recovered: AtomicU64,
    /// What the times in the words count from.
    epoch: Instant,
    evictions: Notify,
    checks_wanted: Notify,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    machine: Machine,
    check_failure: Option<(Cause, String)>,
    traffic_failure: Option<(Cause, String)>,
    next_check: Option<Instant>,
    /// The last sign that what had failed works again, where that was no change of state.
    good_news: Option<Instant>,
}

/// The leave to try an upstream on probation; there is one. Dropped without an outcome, it goes back and blames nobody.
#[derive(Debug)]
pub struct Permit {
    health: Arc<Health>,
    name: u64,
}

impl Health {
    /// Unknown, until a first check.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self::of(Machine::new(now), now)
    }

    /// Ready without a check: for pools whose checks are off.
    #[must_use]
    pub fn unchecked(now: Instant) -> Self {
        Self::of(Machine::ready(now), now)
    }

    fn of(machine: Machine, epoch: Instant) -> Self {
        Self {
            word: AtomicU64::new(Look::of(&machine, 0).bits()),
            recovered: AtomicU64::new(0),
            epoch,
            evictions: Notify::new(),
            checks_wanted: Notify::new(),
            inner: Mutex::new(Inner {
                machine,
                check_failure: None,
                traffic_failure: None,
                next_check: None,
                good_news: None,
            }),
        }
    }

    /// What it is: one atomic load.
    #[must_use]
    pub fn state(&self) -> State {
        self.look().state()
    }

    /// What it is, and what a choice needs to know besides: one atomic load.
    #[must_use]
    pub fn look(&self) -> Look {
        Look::from_bits(self.word.load(Ordering::Acquire))
    }

    /// Whether one request may try it now although it is evicted, going by that look.
    #[must_use]
    pub fn may_try(&self, look: Look, now: Instant) -> bool {
        look.permit_from().is_some_and(|from| self.millis(now) >= from)
    }

    /// From when on one request may try it although it is evicted, going by that look.
    #[must_use]
    pub fn permit_at(&self, look: Look) -> Option<Instant> {
        look.permit_from().map(|from| self.epoch + Duration::from_millis(from))
    }

    /// When it came back, for slow start: one atomic load. `None`: it never was away, or that was settled long ago.
    #[must_use]
    pub fn recovered_at(&self) -> Option<Instant> {
        match self.recovered.load(Ordering::Relaxed) {
            0 => None,
            millis => Some(self.epoch + Duration::from_millis(millis)),
        }
    }

    /// Slow start after the recovery at that time is over: nobody needs to look at the clock for it again.
    pub fn settled(&self, recovered: Instant) {
        let millis = self.millis(recovered);
        // A newer recovery stays.
        let _ = self.recovered.compare_exchange(millis, 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Takes the result of a check. `why`: the sentence of a failure.
    pub fn record(&self, event: Event, why: Option<String>, policy: Policy, now: Instant) -> Option<Transition> {
        let mut inner = self.lock();
        let (before, hopes) = (inner.machine.checks_fail(), inner.machine.hopes());
        let change = inner.machine.on(event, policy, now);
        if hopes && matches!(event, Event::CheckPassed(_)) {
            inner.good_news = Some(now);
        }
        if let Event::CheckFailed(cause) = event {
            inner.check_failure = Some((cause, why.unwrap_or_else(|| cause.row().means.to_owned())));
        }
        inner.next_check = None;
        let evicted = !before && inner.machine.checks_fail();
        self.publish(&inner, change.as_ref(), now);
        drop(inner);
        if evicted {
            self.evictions.notify_waiters();
        }
        change
    }

    /// It gave an answer that is no gateway failure. One atomic load where nothing was amiss.
    pub fn answered(&self, proof: Proof, permit: Option<Permit>, now: Instant) -> Option<Transition> {
        if permit.is_none() && !self.look().counts() {
            return None;
        }
        let mut inner = self.lock();
        let change = inner.machine.answered(proof, permit.as_ref().map(|permit| permit.name), now);
        inner.good_news = Some(now);
        self.publish(&inner, change.as_ref(), now);
        drop(inner);
        drop(permit); // it takes the lock
        change
    }

    /// An attempt failed, and this upstream is to blame: asks for a check at once. `why`: the sentence, for people.
    ///
    /// `allow` is asked when this failure is about to evict, and what it gives is held until every reader sees that. It
    /// runs under the lock of this health, so it may read the words of others and take no lock of theirs.
    pub fn failed<G>(
        &self,
        failed: Failed,
        why: String,
        permit: Option<Permit>,
        passive: &Passive,
        now: Instant,
        allow: impl FnOnce() -> Option<G>,
    ) -> Option<Transition> {
        let mut inner = self.lock();
        let mut leave = None;
        let allow = || {
            leave = allow();
            leave.is_some()
        };
        let name = permit.as_ref().map(|permit| permit.name);
        let change = inner.machine.failed(failed, name, passive, now, allow);
        inner.traffic_failure = Some((failed.cause, why));
        self.publish(&inner, change.as_ref(), now);
        drop((leave, inner));
        drop(permit); // it takes the lock
        self.want_check();
        change
    }

    /// The leave to try it on probation, if its time has come and nobody has it.
    pub fn claim(self: &Arc<Self>, now: Instant) -> Option<Permit> {
        let mut inner = self.lock();
        let name = inner.machine.claim(now)?;
        self.publish(&inner, None, now);
        Some(Permit { health: Arc::clone(self), name })
    }

    /// The operator's word.
    pub fn switch(&self, operator: Operator, now: Instant) -> Option<Transition> {
        let mut inner = self.lock();
        let change = inner.machine.switch(operator, now);
        self.publish(&inner, change.as_ref(), now);
        change
    }

    /// It is checked no more: who was unknown, or evicted by checks, is ready, if nothing else holds.
    pub fn checks_end(&self, now: Instant) -> Option<Transition> {
        let mut inner = self.lock();
        let change = inner.machine.unchecked(now);
        (inner.check_failure, inner.next_check) = (None, None);
        self.publish(&inner, change.as_ref(), now);
        change
    }

    /// Remembers a failure that is no check's and changes no state: a name without an address leaves nothing to check.
    pub fn note(&self, cause: Cause, why: String) {
        self.lock().check_failure = Some((cause, why));
    }

    /// From one check to the next, before jitter; see [`Machine::next_check`].
    #[must_use]
    pub fn pace(&self, interval: Duration) -> Duration {
        self.lock().machine.next_check(interval)
    }

    /// When the next check is planned, for texts.
    pub fn plan(&self, next_check: Instant) {
        self.lock().next_check = Some(next_check);
    }

    /// When the next check is planned; `None`: at once, for nobody has planned it.
    #[must_use]
    pub fn planned(&self) -> Option<Instant> {
        self.lock().next_check
    }

    /// The next check is due at once: it is another one than before.
    pub fn forget_plan(&self) {
        self.lock().next_check = None;
    }

    /// Is it ready, and is that news since then: because it was not, or because something had failed?
    #[must_use]
    pub fn ready_anew(&self, since: Instant) -> bool {
        self.state() == State::Ready && {
            let inner = self.lock();
            inner.machine.since() >= since || inner.good_news.is_some_and(|news| news >= since)
        }
    }

    /// Resolves when checks evict this upstream after this call (polled or not). Take it, then look at
    /// [`Look::checks_fail`] once more: then no eviction is missed.
    pub fn evicted(&self) -> Notified<'_> {
        self.evictions.notified()
    }

    /// Asks for a check at once, without waiting for its time. Several wishes before it are one.
    pub fn want_check(&self) {
        self.checks_wanted.notify_one();
    }

    /// Resolves when a check is wanted before its time. For one caller: the one that checks. Traffic that fails again
    /// and again wishes again and again; what is too soon after the last check is the caller's to judge.
    pub fn check_wanted(&self) -> Notified<'_> {
        self.checks_wanted.notified()
    }

    /// All of it. Reads the wall clock, for texts alone.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let inner = self.lock();
        let machine = &inner.machine;
        let held_for = now.saturating_duration_since(machine.since());
        let traffic_alone = machine.evicted_by_traffic() && !machine.checks_fail();
        let last_failure = if traffic_alone { &inner.traffic_failure } else { &inner.check_failure };
        let eviction = || Eviction {
            by: if traffic_alone { By::Traffic } else { By::Checks },
            ends_in: machine.until().filter(|_| traffic_alone).map(|until| until.saturating_duration_since(now)),
            times: if machine.evicted_by_traffic() { machine.times() } else { 0 },
        };
        Snapshot {
            state: machine.state(),
            since: SystemTime::now().checked_sub(held_for).unwrap_or(SystemTime::UNIX_EPOCH),
            held_for,
            last_failure: last_failure.clone(),
            check_failure: inner.check_failure.clone(),
            traffic_failure: inner.traffic_failure.clone(),
            eviction: (traffic_alone || machine.checks_fail()).then(eviction),
            next_check: inner.next_check.map(|next| next.saturating_duration_since(now)),
        }
    }

    /// Shows readers what the machine says. Under the lock, so that the words of two writers come in the order of their
    /// transitions; before any wake-up, so that whoever is woken, or subscribes after it, reads the new word.
    fn publish(&self, inner: &Inner, change: Option<&Transition>, now: Instant) {
        if change.is_some_and(|change| recovers(change.from, change.to)) {
            self.recovered.store(self.millis(now).max(1), Ordering::Relaxed);
        }
        // Rounded up: not a moment before its time.
        let until = inner.machine.until().map_or(0, |until| self.millis(until) + 1);
        self.word.store(Look::of(&inner.machine, until).bits(), Ordering::Release);
    }

    /// In ms since the epoch, rounded down.
    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX) & (u64::MAX >> 8)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // What the lock guards is whole after every statement, so a panic elsewhere is no reason to stop checking.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut inner = self.health.lock();
        inner.machine.give_back(self.name);
        // No time passes, and nothing recovers.
        self.health.publish(&inner, None, self.health.epoch);
    }
}

/// Does it get traffic again that it did not get for a while? What was unknown is as cold as everybody else.
const fn recovers(from: State, to: State) -> bool {
    matches!((from, to), (State::Evicted | State::Draining | State::Disabled, State::Ready))
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::health::Blame;

    const POLICY: Policy = Policy { healthy_after: 2, unhealthy_after: 1 };
    const FAILED: Event = Event::CheckFailed(Cause::HealthStatus);

    const REFUSED: Failed = Failed { blame: Blame::Connect, cause: Cause::ConnectionRefused, jitter: 0.5 };

    /// Evicted by traffic, at this time.
    fn refused(health: &Health, now: Instant) -> Option<Transition> {
        let passive = Passive::default();
        let refuse = |_| health.failed(REFUSED, "it refused".to_owned(), None, &passive, now, || Some(()));
        (0..3).filter_map(refuse).next()
    }

    fn fail(health: &Health, why: &str) -> Option<Transition> {
        health.record(FAILED, Some(why.to_owned()), POLICY, Instant::now())
    }

    #[test]
    fn the_word_follows_the_machine() {
        let now = Instant::now();
        let health = Health::new(now);
        assert_eq!(health.state(), State::Unknown);
        assert!(health.record(Event::CheckPassed(Proof::Answers), None, POLICY, now).is_some());
        assert_eq!(health.state(), State::Ready);
        fail(&health, "GET /healthz gives 503, wanted 200-399");
        assert_eq!(health.state(), State::Evicted);
        assert_eq!(Health::unchecked(now).state(), State::Ready);
    }

    #[test]
    fn a_waiter_that_subscribed_before_the_eviction_is_woken_even_if_never_polled() {
        let health = Health::unchecked(Instant::now());
        let mut cx = Context::from_waker(Waker::noop());
        let mut early = pin!(health.evicted());
        let mut polled = pin!(health.evicted());
        assert_eq!(polled.as_mut().poll(&mut cx), Poll::Pending);
        fail(&health, "no");
        assert_eq!(early.as_mut().poll(&mut cx), Poll::Ready(()));
        assert_eq!(polled.as_mut().poll(&mut cx), Poll::Ready(()));
        let mut late = pin!(health.evicted());
        assert_eq!(late.as_mut().poll(&mut cx), Poll::Pending);
        assert_eq!(health.state(), State::Evicted, "the late one looks at the state once more");
    }

    #[test]
    fn a_failure_of_one_already_evicted_wakes_nobody() {
        let health = Health::new(Instant::now());
        fail(&health, "first");
        let mut again = pin!(health.evicted());
        assert!(fail(&health, "second").is_none());
        assert_eq!(again.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending);
    }

    #[test]
    fn the_snapshot_tells_since_when_why_and_what_next() {
        let start = Instant::now();
        let health = Health::new(start);
        fail(&health, "GET /healthz gives 503, wanted 200-399");
        let later = Instant::now() + Duration::from_secs(41);
        health.plan(later + Duration::from_millis(1200));
        let seen = health.snapshot(later);
        assert_eq!(seen.state, State::Evicted);
        assert!(seen.held_for >= Duration::from_secs(41) && seen.since < SystemTime::now());
        assert_eq!(seen.last_failure, Some((Cause::HealthStatus, "GET /healthz gives 503, wanted 200-399".to_owned())));
        assert_eq!(seen.next_check, Some(Duration::from_millis(1200)));
    }

    #[test]
    fn traffic_evicts_and_the_word_says_from_when_on_one_may_try() {
        let start = Instant::now();
        let health = Arc::new(Health::unchecked(start));
        assert!(refused(&health, start).is_some());
        let look = health.look();
        assert_eq!((look.state(), look.checks_fail(), look.evicted_by_traffic()), (State::Evicted, false, true));
        let soon = start + Duration::from_secs(5);
        assert!(!health.may_try(look, soon) && health.may_try(look, soon + Duration::from_millis(1)));
        assert!(health.claim(soon - Duration::from_millis(1)).is_none());
        let permit = health.claim(soon).unwrap();
        assert_eq!(health.look().permit_from(), None, "there is one");
        assert!(health.claim(soon).is_none());
        drop(permit);
        assert!(health.look().permit_from().is_some(), "dropped without an outcome, it is back");
        let permit = health.claim(soon);
        assert_eq!(health.answered(Proof::Connects, permit, soon).unwrap().to, State::Ready);
        assert_eq!(health.look(), Health::unchecked(start).look());
    }

    #[test]
    fn a_failed_probation_is_an_eviction_twice_as_long() {
        let start = Instant::now();
        let health = Arc::new(Health::unchecked(start));
        refused(&health, start);
        let soon = start + Duration::from_secs(5);
        let permit = health.claim(soon);
        assert!(permit.is_some());
        let change = health.failed(REFUSED, "again".to_owned(), permit, &Passive::default(), soon, || None::<()>);
        assert_eq!(change, None, "it was evicted, and it is");
        let seen = health.snapshot(soon);
        let eviction = Eviction { by: By::Traffic, ends_in: Some(Duration::from_secs(10)), times: 2 };
        assert_eq!(seen.eviction, Some(eviction));
        assert_eq!(seen.last_failure, Some((Cause::ConnectionRefused, "again".to_owned())));
        assert_eq!((seen.check_failure, seen.held_for), (None, Duration::from_secs(5)));
    }

    #[test]
    fn what_gives_leave_is_held_until_readers_see_the_eviction() {
        struct Leave<'a>(&'a Health);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                assert_eq!(self.0.state(), State::Evicted);
            }
        }
        let health = Health::unchecked(Instant::now());
        for _ in 0..3 {
            let leave = || Some(Leave(&health));
            health.failed(REFUSED, String::new(), None, &Passive::default(), Instant::now(), leave);
        }
        assert_eq!(health.state(), State::Evicted);
    }

    #[test]
    fn an_eviction_by_traffic_ends_no_attempts_but_one_by_checks_does_whatever_else_holds() {
        let health = Health::unchecked(Instant::now());
        let mut cx = Context::from_waker(Waker::noop());
        let mut waiting = pin!(health.evicted());
        refused(&health, Instant::now());
        health.switch(Operator::Draining, Instant::now());
        assert_eq!(waiting.as_mut().poll(&mut cx), Poll::Pending);
        assert_eq!(fail(&health, "no"), None);
        assert_eq!(waiting.as_mut().poll(&mut cx), Poll::Ready(()));
        assert!(health.look().checks_fail() && health.state() == State::Draining);
    }

    #[test]
    fn a_failure_of_traffic_asks_for_a_check() {
        let health = Health::unchecked(Instant::now());
        let mut cx = Context::from_waker(Waker::noop());
        let mut wanted = pin!(health.check_wanted());
        assert_eq!(wanted.as_mut().poll(&mut cx), Poll::Pending);
        refused(&health, Instant::now());
        assert_eq!(wanted.as_mut().poll(&mut cx), Poll::Ready(()));
    }

    #[test]
    fn a_recovery_is_remembered_until_it_is_settled_and_a_first_result_is_none() {
        let start = Instant::now();
        let health = Health::new(start);
        let pass = |seconds| {
            health.record(Event::CheckPassed(Proof::Answers), None, POLICY, start + Duration::from_secs(seconds))
        };
        pass(1);
        assert_eq!(health.recovered_at(), None);
        fail(&health, "no");
        assert!(pass(2).is_none() && pass(3).is_some());
        let recovered = health.recovered_at().unwrap();
        assert_eq!(recovered, start + Duration::from_secs(3));
        health.settled(recovered - Duration::from_secs(1));
        assert_eq!(health.recovered_at(), Some(recovered), "that was another one");
        health.settled(recovered);
        assert_eq!(health.recovered_at(), None);
        health.switch(Operator::Disabled, start);
        health.switch(Operator::Enabled, start);
        assert!(health.recovered_at().is_some(), "even one that came back at once");
    }
}

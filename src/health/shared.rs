//! One upstream's health, shared: one atomic word for readers, one lock for writers.
//!
//! The request path calls [`Health::state`] (one atomic load). [`Health::evicted`] wakes attempts that wait for this
//! upstream when it is evicted. The lock is held for a few assignments, never across an await.
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::cause::Cause;

use super::machine::{Event, Machine, Policy, State, Transition};

/// The health of one upstream.
#[derive(Debug)]
pub struct Health {
    /// What `Inner::machine` says, for readers without the lock.
    word: AtomicU8,
    evictions: Notify,
    checks_wanted: Notify,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    machine: Machine,
    last_failure: Option<(Cause, String)>,
    next_check: Option<Instant>,
}

/// All that is known of an upstream's health at one moment, for the annotated error and for status.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What it is.
    pub state: State,
    /// Since when (wall clock).
    pub since: SystemTime,
    /// How long that is.
    pub held_for: Duration,
    /// The last failure of a check, or of resolving its name, with its sentence: `GET /healthz gives 503, wanted 200-399`.
    pub last_failure: Option<(Cause, String)>,
    /// Until the next check, if one is planned.
    pub next_check: Option<Duration>,
}

impl Health {
    /// Unknown, until a first check.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self::of(Machine::new(now))
    }

    /// Ready without a check: for pools whose checks are off.
    #[must_use]
    pub fn unchecked(now: Instant) -> Self {
        Self::of(Machine::ready(now))
    }

    fn of(machine: Machine) -> Self {
        Self {
            word: AtomicU8::new(word(machine.state())),
            evictions: Notify::new(),
            checks_wanted: Notify::new(),
            inner: Mutex::new(Inner { machine, last_failure: None, next_check: None }),
        }
    }

    /// What it is: one atomic load.
    #[must_use]
    pub fn state(&self) -> State {
        match self.word.load(Ordering::Acquire) {
            READY => State::Ready,
            EVICTED => State::Evicted,
            DRAINING => State::Draining,
            DISABLED => State::Disabled,
            _ => State::Unknown,
        }
    }

    /// Takes the result of a check. `why`: the sentence of a failure.
    pub fn record(&self, event: Event, why: Option<String>, policy: Policy, now: Instant) -> Option<Transition> {
        let mut inner = self.lock();
        let change = inner.machine.on(event, policy, now);
        if let Event::CheckFailed(cause) = event {
            inner.last_failure = Some((cause, why.unwrap_or_else(|| cause.row().means.to_owned())));
        }
        inner.next_check = None;
        // Under the lock, so that the words of two writers come in the order of their transitions; before the wake-up,
        // so that whoever is woken, or subscribes after it, reads the new word.
        self.word.store(word(inner.machine.state()), Ordering::Release);
        drop(inner);
        if change.is_some_and(|change| change.to == State::Evicted) {
            self.evictions.notify_waiters();
        }
        change
    }

    /// Remembers a failure that is no check's and changes no state: a name without an address leaves nothing to check.
    pub fn note(&self, cause: Cause, why: String) {
        self.lock().last_failure = Some((cause, why));
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

    /// Resolves when this upstream is evicted after this call (polled or not). Take it, then look at `state` once more:
    /// then no eviction is missed.
    pub fn evicted(&self) -> Notified<'_> {
        self.evictions.notified()
    }

    /// Asks for a check at once, without waiting for its time. Several wishes before it are one.
    pub fn want_check(&self) {
        self.checks_wanted.notify_one();
    }

    /// Resolves when a check is wanted before its time. For one caller: the one that checks.
    pub fn check_wanted(&self) -> Notified<'_> {
        self.checks_wanted.notified()
    }

    /// All of it. Reads the wall clock, for texts alone.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let inner = self.lock();
        let held_for = now.saturating_duration_since(inner.machine.since());
        Snapshot {
            state: inner.machine.state(),
            since: SystemTime::now().checked_sub(held_for).unwrap_or(SystemTime::UNIX_EPOCH),
            held_for,
            last_failure: inner.last_failure.clone(),
            next_check: inner.next_check.map(|next| next.saturating_duration_since(now)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // What the lock guards is whole after every statement, so a panic elsewhere is no reason to stop checking.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const UNKNOWN: u8 = 0;
const READY: u8 = 1;
const EVICTED: u8 = 2;
const DRAINING: u8 = 3;
const DISABLED: u8 = 4;

const fn word(state: State) -> u8 {
    match state {
        State::Unknown => UNKNOWN,
        State::Ready => READY,
        State::Evicted => EVICTED,
        State::Draining => DRAINING,
        State::Disabled => DISABLED,
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    const POLICY: Policy = Policy { healthy_after: 2, unhealthy_after: 1 };
    const FAILED: Event = Event::CheckFailed(Cause::HealthStatus);

    fn fail(health: &Health, why: &str) -> Option<Transition> {
        health.record(FAILED, Some(why.to_owned()), POLICY, Instant::now())
    }

    #[test]
    fn the_word_follows_the_machine() {
        let now = Instant::now();
        let health = Health::new(now);
        assert_eq!(health.state(), State::Unknown);
        assert!(health.record(Event::CheckPassed, None, POLICY, now).is_some());
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
}

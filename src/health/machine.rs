//! The health machine of one upstream: pure, with time as an argument.
//!
//! One lane so far: checks. Traffic and the operator get lanes of their own beside it, so that availability is computed
//! from all and no lane can overwrite another. Nothing here waits, locks or logs.
use std::time::{Duration, Instant};

use crate::cause::Cause;
use crate::config;

/// The pace while results contradict the state but have not changed it yet. (CONTRACT §2 `health.interval`.)
const PACE_CHANGING: Duration = Duration::from_secs(1);
/// The pace while evicted.
const PACE_EVICTED: Duration = Duration::from_secs(2);

/// What an upstream is, for a reader. (CONTRACT §5 "States".)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No check has spoken yet.
    Unknown,
    /// Gets traffic.
    Ready,
    /// Gets none but as a last resort.
    Evicted,
    /// The operator lets what runs end, and gives it nothing new.
    Draining,
    /// The operator has switched it off.
    Disabled,
}

impl State {
    /// The word of log, metric and page.
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ready => "ready",
            Self::Evicted => "evicted",
            Self::Draining => "draining",
            Self::Disabled => "disabled",
        }
    }
}

/// Thresholds. An argument, not state: a new policy applies to old state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Passes in a row that end an eviction.
    pub healthy_after: u32,
    /// Failures in a row that evict.
    pub unhealthy_after: u32,
}

impl From<&config::model::Health> for Policy {
    fn from(health: &config::model::Health) -> Self {
        Self { healthy_after: health.healthy_after, unhealthy_after: health.unhealthy_after }
    }
}

/// What happened to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A check passed.
    CheckPassed,
    /// A check failed.
    CheckFailed(Cause),
}

/// A change of state, for the log and for those who wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Before.
    pub from: State,
    /// After.
    pub to: State,
    /// Why, when `to` is `Evicted`.
    pub cause: Option<Cause>,
    /// How many checks in a row said so.
    pub in_a_row: u32,
    /// When `from` began.
    pub since: Instant,
}

/// The state of one upstream.
#[derive(Clone, Debug)]
pub struct Machine {
    checks: Checks,
}

/// The lane of checks: written by checks alone.
#[derive(Clone, Debug)]
struct Checks {
    state: State,
    since: Instant,
    /// Results in a row that contradict `state`; the first one that agrees with it makes this 0.
    against: u32,
}

impl Machine {
    /// Unknown since `now`: the first result decides.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { checks: Checks { state: State::Unknown, since: now, against: 0 } }
    }

    /// Ready since `now` without a result, for upstreams that are never checked.
    #[must_use]
    pub const fn ready(now: Instant) -> Self {
        Self { checks: Checks { state: State::Ready, since: now, against: 0 } }
    }

    /// Takes an event; says what changed.
    pub fn on(&mut self, event: Event, policy: Policy, now: Instant) -> Option<Transition> {
        match event {
            Event::CheckPassed => self.checks.result(State::Ready, policy.healthy_after, None, now),
            Event::CheckFailed(cause) => self.checks.result(State::Evicted, policy.unhealthy_after, Some(cause), now),
        }
    }

    /// What it is now: computed from all lanes.
    #[must_use]
    pub const fn state(&self) -> State {
        self.checks.state
    }

    /// Since when.
    #[must_use]
    pub const fn since(&self) -> Instant {
        self.checks.since
    }

    /// From one check to the next: `interval` while steady, 1 s while changing, 2 s while evicted; never longer than
    /// `interval`.
    #[must_use]
    pub fn next_check(&self, interval: Duration) -> Duration {
        match (self.checks.state, self.checks.against) {
            (State::Unknown, _) | (_, 1..) => interval.min(PACE_CHANGING),
            (State::Evicted, 0) => interval.min(PACE_EVICTED),
            (State::Ready | State::Draining | State::Disabled, 0) => interval,
        }
    }
}

impl Checks {
    /// A result that speaks for `verdict`, which `needed` of them in a row bring about.
    fn result(&mut self, verdict: State, needed: u32, cause: Option<Cause>, now: Instant) -> Option<Transition> {
        if verdict == self.state {
            self.against = 0;
            return None;
        }
        self.against = self.against.saturating_add(1);
        if self.state != State::Unknown && self.against < needed {
            return None;
        }
        let change = Transition { from: self.state, to: verdict, cause, in_a_row: self.against, since: self.since };
        *self = Self { state: verdict, since: now, against: 0 };
        Some(change)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FAILED: Event = Event::CheckFailed(Cause::HealthStatus);
    const POLICY: Policy = Policy { healthy_after: 2, unhealthy_after: 3 };

    fn after(events: &[Event], policy: Policy) -> Machine {
        let now = Instant::now();
        let mut machine = Machine::new(now);
        for &event in events {
            machine.on(event, policy, now);
        }
        machine
    }

    #[test]
    fn the_first_result_decides() {
        let now = Instant::now();
        let (mut up, mut down) = (Machine::new(now), Machine::new(now));
        let later = now + Duration::from_secs(1);
        let passed = up.on(Event::CheckPassed, POLICY, later).unwrap();
        assert_eq!((passed.from, passed.to, passed.cause, passed.in_a_row), (State::Unknown, State::Ready, None, 1));
        let failed = down.on(FAILED, POLICY, later).unwrap();
        assert_eq!((failed.from, failed.to, failed.cause), (State::Unknown, State::Evicted, Some(Cause::HealthStatus)));
        assert_eq!((failed.since, down.since()), (now, later));
    }

    #[test]
    fn the_pace_follows_the_state() {
        let five = Duration::from_secs(5);
        let pace = |events: &[Event]| after(events, POLICY).next_check(five).as_secs();
        assert_eq!(pace(&[Event::CheckPassed]), 5);
        assert_eq!(pace(&[Event::CheckPassed, FAILED]), 1);
        assert_eq!(pace(&[Event::CheckPassed, FAILED, Event::CheckPassed]), 5);
        assert_eq!(pace(&[FAILED]), 2);
        assert_eq!(pace(&[FAILED, Event::CheckPassed]), 1);
        let fast = Duration::from_millis(300);
        for events in [vec![], vec![FAILED], vec![FAILED, Event::CheckPassed], vec![Event::CheckPassed, FAILED]] {
            assert_eq!(after(&events, POLICY).next_check(fast), fast, "never longer than the interval: {events:?}");
        }
    }

    #[test]
    fn a_lower_threshold_applies_to_old_counts() {
        let mut machine = after(&[Event::CheckPassed, FAILED], POLICY);
        let strict = Policy { unhealthy_after: 1, ..POLICY };
        assert_eq!(machine.on(FAILED, strict, Instant::now()).unwrap().in_a_row, 2);
    }

    fn policies() -> impl Strategy<Value = Policy> {
        (1..6_u32, 1..6_u32).prop_map(|(healthy_after, unhealthy_after)| Policy { healthy_after, unhealthy_after })
    }

    fn histories() -> impl Strategy<Value = Vec<bool>> {
        proptest::collection::vec(any::<bool>(), 0..40)
    }

    const fn event(passed: bool) -> Event {
        if passed { Event::CheckPassed } else { FAILED }
    }

    proptest! {
        #[test]
        fn one_failure_too_few_and_a_pass_never_evict(policy in policies(), rounds in 1..20_usize) {
            let mut events = vec![Event::CheckPassed];
            for _ in 0..rounds {
                events.extend(vec![FAILED; policy.unhealthy_after as usize - 1]);
                events.push(Event::CheckPassed);
            }
            prop_assert_eq!(after(&events, policy).state(), State::Ready);
        }

        #[test]
        fn one_pass_too_few_and_a_failure_never_bring_back(policy in policies(), rounds in 1..20_usize) {
            let mut events = vec![FAILED];
            for _ in 0..rounds {
                events.extend(vec![Event::CheckPassed; policy.healthy_after as usize - 1]);
                events.push(FAILED);
            }
            prop_assert_eq!(after(&events, policy).state(), State::Evicted);
        }

        #[test]
        fn enough_in_a_row_decide_whatever_was_before(policy in policies(), history in histories(), passed: bool) {
            let mut events: Vec<_> = history.into_iter().map(event).collect();
            let (needed, state) = if passed {
                (policy.healthy_after, State::Ready)
            } else {
                (policy.unhealthy_after, State::Evicted)
            };
            events.extend(vec![event(passed); needed as usize]);
            prop_assert_eq!(after(&events, policy).state(), state);
        }

        #[test]
        fn a_transition_is_told_exactly_when_the_state_changes(policy in policies(), history in histories()) {
            let now = Instant::now();
            let mut machine = Machine::new(now);
            for passed in history {
                let before = machine.state();
                let told = machine.on(event(passed), policy, now);
                prop_assert_eq!(told.is_some(), before != machine.state());
                if let Some(change) = told {
                    prop_assert_eq!((change.from, change.to), (before, machine.state()));
                    prop_assert_eq!(change.cause.is_some(), change.to == State::Evicted);
                }
            }
        }
    }
}

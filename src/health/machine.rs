//! The health machine of one upstream: pure, with time as an argument.
//!
//! Three lanes, one writer each: checks, traffic, the operator. The state is computed from all three, so that no lane
//! can overwrite another. An eviction by traffic ends at a time that is data, compared, never a timer. Nothing here
//! waits, locks or logs.
use std::time::{Duration, Instant};

use crate::cause::Cause;
use crate::config;
use crate::config::model::Passive;

use super::checks::{Checks, Verdict};
use super::state::{By, Operator, State, Transition};
use super::traffic::{Failed, Proof, Traffic};

/// Thresholds of checks. An argument, not state: a new policy applies to old state.
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

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It passed, and showed this.
    CheckPassed(Proof),
    /// It failed.
    CheckFailed(Cause),
}

/// The state of one upstream.
#[derive(Clone, Debug)]
pub struct Machine {
    checks: Checks,
    traffic: Traffic,
    operator: Operator,
    /// When the state of now began.
    since: Instant,
    /// When neither checks nor traffic had it evicted any more.
    well_since: Instant,
}

impl Machine {
    /// Unknown since `now`: the first result decides.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self::of(Verdict::None, now)
    }

    /// Ready since `now` without a result, for upstreams that are never checked.
    #[must_use]
    pub fn ready(now: Instant) -> Self {
        Self::of(Verdict::Passes, now)
    }

    fn of(verdict: Verdict, now: Instant) -> Self {
        let (checks, traffic) = (Checks::new(verdict), Traffic::default());
        Self { checks, traffic, operator: Operator::Enabled, since: now, well_since: now }
    }

    /// Takes the result of a check; says what changed. One that passes ends an eviction by traffic, too, if it proves
    /// what had failed. (CONTRACT §2 `passive.evict`.)
    pub fn on(&mut self, event: Event, policy: Policy, now: Instant) -> Option<Transition> {
        self.change(By::Checks, now, |machine| match event {
            Event::CheckPassed(proof) => {
                machine.traffic.proved(proof);
                (machine.checks.result(Verdict::Passes, policy.healthy_after).unwrap_or(1), None)
            }
            Event::CheckFailed(cause) => {
                machine.traffic.doubts();
                let enough = machine.checks.result(Verdict::Fails, policy.unhealthy_after);
                if enough.is_some() {
                    machine.traffic.forget_counts();
                }
                (enough.unwrap_or_default(), Some(cause))
            }
        })
    }

    /// An upstream gave an answer that is no gateway failure. With its permit, that ends the eviction.
    pub fn answered(&mut self, proof: Proof, permit: Option<u64>, now: Instant) -> Option<Transition> {
        self.change(By::Traffic, now, |machine| {
            machine.traffic.answered(proof, permit);
            (1, None)
        })
    }

    /// An attempt failed and its upstream is to blame. On probation, that is the next eviction, twice as long; else
    /// enough of them in a row evict, if `allow` says so then. One that is evicted, draining or disabled has nothing to
    /// lose, so there they are not counted.
    pub fn failed(
        &mut self,
        failed: Failed,
        permit: Option<u64>,
        passive: &Passive,
        now: Instant,
        allow: impl FnOnce() -> bool,
    ) -> Option<Transition> {
        self.change(By::Traffic, now, |machine| {
            let well = now.saturating_duration_since(machine.well_since);
            let mut in_a_row = 1;
            if machine.traffic.on_probation(permit) {
                machine.traffic.evict(failed, well, passive, now);
            } else if matches!(machine.state(), State::Ready | State::Unknown)
                && let Some(count) = machine.traffic.count(failed.blame, passive)
                && allow()
            {
                in_a_row = count;
                machine.traffic.evict(failed, well, passive, now);
            }
            (in_a_row, Some(failed.cause))
        })
    }

    /// The permit to try one whose eviction by traffic has had its time: one at once. Its name goes with the outcome.
    pub fn claim(&mut self, now: Instant) -> Option<u64> {
        if self.has_permit() { self.traffic.claim(now) } else { None }
    }

    /// A permit comes back without an outcome: nobody is to blame.
    pub fn give_back(&mut self, permit: u64) {
        self.traffic.give_back(permit);
    }

    /// The operator's word.
    pub fn switch(&mut self, operator: Operator, now: Instant) -> Option<Transition> {
        self.change(By::Operator, now, |machine| {
            machine.operator = operator;
            (0, None)
        })
    }

    /// Checks have nothing to say any more: what they said last is as if it had passed.
    pub fn unchecked(&mut self, now: Instant) -> Option<Transition> {
        self.change(By::Checks, now, |machine| {
            machine.checks = Checks::new(Verdict::Passes);
            (0, None)
        })
    }

    /// What it is now: computed from all lanes.
    #[must_use]
    pub const fn state(&self) -> State {
        match self.operator {
            Operator::Draining => State::Draining,
            Operator::Disabled => State::Disabled,
            Operator::Enabled if self.traffic.away() => State::Evicted,
            Operator::Enabled => self.checks.state(),
        }
    }

    /// Since when.
    #[must_use]
    pub const fn since(&self) -> Instant {
        self.since
    }

    /// From one check to the next: `interval` while steady, 1 s while changing, 2 s while evicted; never longer than
    /// `interval`.
    #[must_use]
    pub fn next_check(&self, interval: Duration) -> Duration {
        self.checks.pace(interval, self.traffic.away())
    }

    /// Have checks evicted it, whatever else holds?
    #[must_use]
    pub const fn checks_fail(&self) -> bool {
        self.checks.fail()
    }

    /// Has traffic evicted it, whatever else holds?
    #[must_use]
    pub const fn evicted_by_traffic(&self) -> bool {
        self.traffic.away()
    }

    /// The end of the eviction by traffic: from then on there is a permit.
    #[must_use]
    pub fn until(&self) -> Option<Instant> {
        self.traffic.until()
    }

    /// Evictions by traffic with less than `evict_max` of good health between them.
    #[must_use]
    pub const fn times(&self) -> u32 {
        self.traffic.times()
    }

    /// Would a check that passes be good news, if no change of state? So after one that failed, or after requests that
    /// found nobody there.
    pub(super) const fn hopes(&self) -> bool {
        self.checks.contradicted() && !self.checks.fail() || self.traffic.hopes()
    }

    /// Would an answer wipe out failures?
    pub(super) const fn traffic_counts(&self) -> bool {
        self.traffic.counts()
    }

    /// Evicted by traffic alone, and nobody has the permit.
    pub(super) fn has_permit(&self) -> bool {
        self.state() == State::Evicted && !self.checks.fail() && self.traffic.has_permit()
    }

    /// Does this; tells the change of state that comes of it, which `in_a_row` results and `cause` have brought about.
    fn change(
        &mut self,
        by: By,
        now: Instant,
        event: impl FnOnce(&mut Self) -> (u32, Option<Cause>),
    ) -> Option<Transition> {
        let (from, since, ill) = (self.state(), self.since, self.ill());
        let (in_a_row, cause) = event(self);
        if ill && !self.ill() {
            self.well_since = now;
        }
        let to = self.state();
        if from == to {
            return None;
        }
        self.since = now;
        Some(Transition { from, to, by, cause, in_a_row, since })
    }

    const fn ill(&self) -> bool {
        self.checks.fail() || self.traffic.away()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;

    use super::super::traffic::Blame;
    use super::*;

    const PASSED: Event = Event::CheckPassed(Proof::Answers);
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
        let passed = up.on(PASSED, POLICY, later).unwrap();
        assert_eq!((passed.from, passed.to, passed.cause, passed.in_a_row), (State::Unknown, State::Ready, None, 1));
        let failed = down.on(FAILED, POLICY, later).unwrap();
        assert_eq!((failed.from, failed.to, failed.cause), (State::Unknown, State::Evicted, Some(Cause::HealthStatus)));
        assert_eq!((failed.since, down.since()), (now, later));
    }

    #[test]
    fn the_pace_follows_the_state() {
        let five = Duration::from_secs(5);
        let pace = |events: &[Event]| after(events, POLICY).next_check(five).as_secs();
        assert_eq!(pace(&[PASSED]), 5);
        assert_eq!(pace(&[PASSED, FAILED]), 1);
        assert_eq!(pace(&[PASSED, FAILED, PASSED]), 5);
        assert_eq!(pace(&[FAILED]), 2);
        assert_eq!(pace(&[FAILED, PASSED]), 1);
        let fast = Duration::from_millis(300);
        for events in [vec![], vec![FAILED], vec![FAILED, PASSED], vec![PASSED, FAILED]] {
            assert_eq!(after(&events, POLICY).next_check(fast), fast, "never longer than the interval: {events:?}");
        }
    }

    #[test]
    fn a_lower_threshold_applies_to_old_counts() {
        let mut machine = after(&[PASSED, FAILED], POLICY);
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
        if passed { PASSED } else { FAILED }
    }

    proptest! {
        #[test]
        fn one_failure_too_few_and_a_pass_never_evict(policy in policies(), rounds in 1..20_usize) {
            let mut events = vec![PASSED];
            for _ in 0..rounds {
                events.extend(vec![FAILED; policy.unhealthy_after as usize - 1]);
                events.push(PASSED);
            }
            prop_assert_eq!(after(&events, policy).state(), State::Ready);
        }

        #[test]
        fn one_pass_too_few_and_a_failure_never_bring_back(policy in policies(), rounds in 1..20_usize) {
            let mut events = vec![FAILED];
            for _ in 0..rounds {
                events.extend(vec![PASSED; policy.healthy_after as usize - 1]);
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
                    prop_assert_eq!(change.by, By::Checks);
                }
            }
        }
    }

    const REFUSED: Failed = Failed { blame: Blame::Connect, cause: Cause::ConnectionRefused, jitter: 0.5 };
    const SILENT: Failed = Failed { blame: Blame::Gateway, cause: Cause::ReadTimeout, jitter: 0.5 };
    const TCP: Event = Event::CheckPassed(Proof::Connects);
    const SECOND: Duration = Duration::from_secs(1);

    fn fail(machine: &mut Machine, failed: Failed, now: Instant) -> Option<Transition> {
        machine.failed(failed, None, &Passive::default(), now, || true)
    }

    /// Evicted by traffic at `now`.
    fn evicted(failed: Failed, now: Instant) -> Machine {
        let mut machine = Machine::ready(now);
        while fail(&mut machine, failed, now).is_none() {}
        machine
    }

    /// The eviction's length.
    fn length(machine: &Machine, now: Instant) -> Duration {
        machine.until().unwrap() - now
    }

    #[test]
    fn three_failed_connections_in_a_row_evict_and_so_do_five_gateway_failures() {
        for (failed, most) in [(REFUSED, 3), (SILENT, 5)] {
            let now = Instant::now();
            let mut machine = Machine::ready(now);
            for _ in 1..most {
                assert_eq!(fail(&mut machine, failed, now), None);
            }
            let change = fail(&mut machine, failed, now).unwrap();
            assert_eq!((change.from, change.to, change.by), (State::Ready, State::Evicted, By::Traffic));
            assert_eq!((change.cause, change.in_a_row), (Some(failed.cause), most));
            assert_eq!(length(&machine, now), Duration::from_secs(5));
        }
    }

    #[test]
    fn a_gateway_failure_proves_the_connection_and_a_head_does_not_prove_an_answer() {
        let now = Instant::now();
        let mut machine = Machine::ready(now);
        for _ in 0..4 {
            fail(&mut machine, REFUSED, now);
            fail(&mut machine, REFUSED, now);
            assert_eq!(fail(&mut machine, SILENT, now), None);
            machine.answered(Proof::Connects, None, now);
        }
        assert!(fail(&mut machine, SILENT, now).is_some(), "heads alone leave gateway failures in a row");
        let mut machine = Machine::ready(now);
        for _ in 0..20 {
            fail(&mut machine, SILENT, now);
            machine.answered(Proof::Answers, None, now);
        }
        assert_eq!(machine.state(), State::Ready);
    }

    #[test]
    fn an_eviction_has_one_permit_and_not_before_its_time() {
        let now = Instant::now();
        let mut machine = evicted(REFUSED, now);
        let until = machine.until().unwrap();
        assert_eq!(machine.claim(until - Duration::from_nanos(1)), None);
        let first = machine.claim(until).unwrap();
        assert_eq!(machine.claim(until + SECOND), None, "never two on probation");
        machine.give_back(first);
        let second = machine.claim(until + SECOND).unwrap();
        machine.give_back(first);
        assert_eq!(machine.claim(until + SECOND), None, "an old permit gives nothing back");
        assert!(machine.answered(Proof::Connects, Some(first), until).is_none(), "nor does it end anything");
        let change = machine.answered(Proof::Connects, Some(second), until + SECOND).unwrap();
        assert_eq!((change.from, change.to, change.by), (State::Evicted, State::Ready, By::Traffic));
    }

    #[test]
    fn only_the_attempt_on_probation_counts_while_evicted() {
        let now = Instant::now();
        let mut machine = evicted(SILENT, now);
        let before = machine.until();
        for _ in 0..10 {
            assert_eq!(fail(&mut machine, SILENT, now + SECOND), None);
            assert_eq!(machine.answered(Proof::Answers, None, now + SECOND), None);
        }
        assert_eq!((machine.state(), machine.until()), (State::Evicted, before));
    }

    #[test]
    fn a_check_ends_the_eviction_only_if_it_proves_what_had_failed() {
        for (failed, event, ends) in
            [(REFUSED, TCP, true), (REFUSED, PASSED, true), (SILENT, TCP, false), (SILENT, PASSED, true)]
        {
            let now = Instant::now();
            let mut machine = evicted(failed, now);
            assert_eq!(machine.next_check(SECOND * 5), SECOND * 2, "its proof is waited for");
            assert_eq!(machine.on(PASSED, POLICY, now).is_some(), failed == REFUSED, "it passed all along");
            let mut machine = evicted(failed, now);
            machine.on(FAILED, POLICY, now);
            let change = machine.on(event, POLICY, now + SECOND);
            assert_eq!(change.is_some(), ends, "{failed:?} {event:?}");
            assert_eq!(machine.state() == State::Ready, ends);
        }
    }

    #[test]
    fn what_failed_first_is_to_be_proved_even_if_probation_failed_otherwise() {
        let now = Instant::now();
        let mut machine = evicted(SILENT, now);
        machine.on(FAILED, POLICY, now);
        let until = machine.until().unwrap();
        let permit = machine.claim(until);
        assert_eq!(machine.failed(REFUSED, permit, &Passive::default(), until, || false), None);
        assert_eq!(machine.on(TCP, POLICY, until), None, "that it takes connections was never the question");
        assert!(machine.on(PASSED, POLICY, until).is_some());
    }

    #[test]
    fn an_outcome_of_a_probation_that_a_check_has_ended_is_one_like_any_other() {
        let now = Instant::now();
        let mut machine = evicted(REFUSED, now);
        let until = machine.until().unwrap();
        let permit = machine.claim(until);
        assert!(machine.on(TCP, POLICY, until).is_some());
        assert_eq!(machine.failed(REFUSED, permit, &Passive::default(), until, || true), None);
        assert_eq!(machine.state(), State::Ready, "one failure, not the next eviction");
    }

    #[test]
    fn two_lanes_must_both_let_go() {
        let now = Instant::now();
        let mut machine = evicted(SILENT, now);
        let strict = Policy { healthy_after: 1, unhealthy_after: 1 };
        assert_eq!(machine.on(FAILED, strict, now), None, "it is evicted already");
        assert_eq!(machine.claim(now + SECOND * 60), None, "no probation while checks fail");
        assert_eq!(machine.on(TCP, strict, now), None, "traffic still says no");
        assert!(machine.claim(now + SECOND * 60).is_some());
    }

    #[test]
    fn nothing_but_the_operator_lifts_the_operators_word() {
        for (operator, state) in [(Operator::Draining, State::Draining), (Operator::Disabled, State::Disabled)] {
            let now = Instant::now();
            let mut machine = Machine::new(now);
            let change = machine.switch(operator, now).unwrap();
            assert_eq!((change.from, change.to, change.by), (State::Unknown, state, By::Operator));
            for event in [PASSED, FAILED, FAILED, FAILED, PASSED, PASSED] {
                assert_eq!(machine.on(event, POLICY, now), None);
            }
            for _ in 0..10 {
                assert_eq!(fail(&mut machine, REFUSED, now), None);
            }
            machine.answered(Proof::Answers, None, now);
            assert_eq!(machine.state(), state);
            let change = machine.switch(Operator::Enabled, now).unwrap();
            assert_eq!((change.to, change.by), (State::Ready, By::Operator), "what checks said meanwhile holds");
        }
    }

    #[test]
    fn one_that_is_drained_gets_nobody_on_probation() {
        let now = Instant::now();
        let mut machine = evicted(REFUSED, now);
        machine.switch(Operator::Draining, now);
        assert_eq!(machine.claim(now + SECOND * 60), None);
        assert_eq!(machine.switch(Operator::Enabled, now).unwrap().to, State::Evicted, "a drain pardons nothing");
    }

    #[test]
    fn without_leave_nothing_is_evicted_and_every_further_failure_asks_again() {
        let now = Instant::now();
        let (mut machine, mut asked) = (Machine::ready(now), 0);
        for _ in 0..5 {
            machine.failed(REFUSED, None, &Passive::default(), now, || {
                asked += 1;
                false
            });
        }
        assert_eq!((machine.state(), asked), (State::Ready, 3));
        assert_eq!(fail(&mut machine, REFUSED, now).unwrap().in_a_row, 6);
    }

    #[test]
    fn off_is_off() {
        let now = Instant::now();
        let passive = Passive { connect_failures: None, gateway_failures: None, ..Passive::default() };
        let mut machine = Machine::ready(now);
        for failed in [REFUSED, SILENT].repeat(50) {
            assert_eq!(machine.failed(failed, None, &passive, now, || true), None);
        }
    }

    #[test]
    fn good_health_for_evict_max_makes_the_next_eviction_a_first_one() {
        let mut now = Instant::now();
        let mut machine = evicted(REFUSED, now);
        for (well, seconds) in [(59, 10), (59, 20), (60, 5), (0, 10)] {
            now += SECOND;
            machine.on(TCP, POLICY, now);
            now += SECOND * well;
            while fail(&mut machine, REFUSED, now).is_none() {}
            assert_eq!(length(&machine, now).as_secs(), seconds, "after {well} s");
        }
        // Time spent out by its checks is no good health.
        machine.on(TCP, POLICY, now);
        let strict = Policy { healthy_after: 1, unhealthy_after: 1 };
        machine.on(FAILED, strict, now);
        now += SECOND * 100;
        machine.on(TCP, strict, now);
        while fail(&mut machine, REFUSED, now).is_none() {}
        assert_eq!(length(&machine, now).as_secs(), 20);
    }

    fn passives() -> impl Strategy<Value = Passive> {
        (1..5_u32, 1..5_u32, 1..10_000_u64, 1..100_000_u64).prop_map(|(connects, gateways, evict, most)| Passive {
            connect_failures: NonZeroU32::new(connects),
            gateway_failures: NonZeroU32::new(gateways),
            evict: Duration::from_millis(evict),
            evict_max: Duration::from_millis(evict.max(most)),
            max_evicted: 50,
        })
    }

    proptest! {
        #[test]
        fn evictions_double_up_to_the_most_within_a_fifth(
            passive in passives(), jitters in proptest::collection::vec(0.0..=1.0_f64, 1..40), gateway: bool,
        ) {
            let failed = if gateway { SILENT } else { REFUSED };
            let mut now = Instant::now();
            let mut machine = Machine::ready(now);
            let mut exact = passive.evict;
            for (round, jitter) in jitters.into_iter().enumerate() {
                let permit = machine.claim(now);
                prop_assert_eq!(permit.is_some(), round > 0);
                let failed = Failed { jitter, ..failed };
                if round == 0 {
                    while machine.failed(failed, None, &passive, now, || true).is_none() {}
                } else {
                    machine.failed(failed, permit, &passive, now, || false);
                }
                let (length, slack) = (length(&machine, now), Duration::from_micros(1));
                prop_assert!(length + slack >= exact.mul_f64(0.8) && length <= exact.mul_f64(1.2) + slack);
                prop_assert_eq!(length > exact, jitter > 0.5 && length != exact);
                prop_assert_eq!(machine.times() as usize, round + 1);
                exact = (exact * 2).min(passive.evict_max);
                now = machine.until().unwrap();
            }
        }

        #[test]
        fn one_failure_too_few_and_an_answer_never_evict_by_traffic(passive in passives(), rounds in 1..20_usize) {
            let now = Instant::now();
            let mut machine = Machine::ready(now);
            for _ in 0..rounds {
                for (failed, most) in [(SILENT, passive.gateway_failures), (REFUSED, passive.connect_failures)] {
                    for _ in 1..most.map_or(0, NonZeroU32::get) {
                        prop_assert_eq!(machine.failed(failed, None, &passive, now, || true), None);
                    }
                }
                machine.answered(Proof::Answers, None, now);
            }
            prop_assert_eq!(machine.state(), State::Ready);
        }

        /// Whatever happens: told exactly when the state changes; what evicts is told with its cause.
        #[test]
        fn every_change_is_told_and_nothing_else(passive in passives(), steps in proptest::collection::vec(0..10_u8, 0..80)) {
            let mut now = Instant::now();
            let (mut machine, mut permit) = (Machine::new(now), None);
            for step in steps {
                now += SECOND / 4;
                let (before, since) = (machine.state(), machine.since());
                let told = match step {
                    0 => machine.on(PASSED, POLICY, now),
                    1 => machine.on(TCP, POLICY, now),
                    2 => machine.on(FAILED, POLICY, now),
                    3 => machine.answered(Proof::Answers, permit.take(), now),
                    4 => machine.failed(SILENT, permit.take(), &passive, now, || true),
                    5..8 => machine.failed(REFUSED, None, &passive, now, || true),
                    8 => {
                        let given = machine.claim(now);
                        prop_assert!(given.is_none() || before == State::Evicted && permit.is_none());
                        permit = permit.or(given);
                        None
                    }
                    _ => machine.switch(if before == State::Draining { Operator::Enabled } else { Operator::Draining }, now),
                };
                if machine.state() != State::Evicted && machine.state() != State::Draining || machine.until().is_none() {
                    permit = None;
                }
                prop_assert_eq!(told.map(|change| (change.from, change.to, change.since)),
                    (before != machine.state()).then_some((before, machine.state(), since)));
                prop_assert_eq!(machine.since(), if told.is_some() { now } else { since });
                if let Some(change) = told && change.by != By::Operator {
                    prop_assert_eq!(change.cause.is_some(), change.to == State::Evicted);
                }
            }
        }
    }
}

//! What the model knows of one upstream: all that happened to it, from which the state follows by definition.

use std::time::{Duration, Instant};

use causeway::config::model::Passive;
use causeway::health::{Operator, Policy, State};

/// What an attempt showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    NoConnection,
    NoAnswer,
    Head,
    Answer,
}

/// An eviction by traffic.
#[derive(Clone, Copy, Debug)]
pub struct Away {
    /// The bounds of its end.
    pub least: Instant,
    pub most: Instant,
    /// A gateway failure is among its reasons.
    pub answers: bool,
    /// The request that has the permit.
    pub permit: Option<u64>,
}

pub struct Model {
    /// Checks, since the first.
    pub checks: Vec<bool>,
    pub verdict: Option<bool>,
    /// Attempts, since the last eviction.
    pub attempts: Vec<Shown>,
    pub away: Option<Away>,
    /// A check has failed since the failures in a row began.
    pub doubted: bool,
    /// Evictions by traffic in a row, and when good health began.
    pub times: u32,
    pub well_since: Instant,
    pub operator: Operator,
    pub in_flight: usize,
    /// How likely its next check passes, its next attempt succeeds.
    pub luck: f64,
}

impl Model {
    pub fn new(verdict: Option<bool>, operator: Operator, luck: f64, now: Instant) -> Self {
        Self {
            checks: vec![],
            verdict,
            attempts: vec![],
            away: None,
            doubted: false,
            times: 0,
            well_since: now,
            operator,
            in_flight: 0,
            luck,
        }
    }

    pub fn check(&mut self, passed: bool, http: bool, policy: Policy, now: Instant) {
        let ill = self.ill();
        self.checks.push(passed);
        let last = |count: u32, of: bool| {
            let count = count as usize;
            self.checks.len() >= count && self.checks[self.checks.len() - count..].iter().all(|&result| result == of)
        };
        let before = self.verdict;
        if self.verdict.is_none() {
            self.verdict = Some(passed);
        } else if last(policy.unhealthy_after, false) {
            self.verdict = Some(false);
        } else if last(policy.healthy_after, true) {
            self.verdict = Some(true);
        }
        if self.verdict == Some(false) && before != Some(false) {
            self.attempts.clear();
        }
        self.doubted |= !passed;
        if passed && self.away.is_some_and(|away| !away.answers || http && self.doubted) {
            self.away = None;
        }
        self.recovered(ill, now);
    }

    /// The eviction is over.
    pub fn back(&mut self, now: Instant) {
        let ill = self.ill();
        self.away = None;
        self.recovered(ill, now);
    }

    /// It is checked no more.
    pub fn unchecked(&mut self, now: Instant) {
        let ill = self.ill();
        self.checks.clear();
        self.verdict = Some(true);
        self.recovered(ill, now);
    }

    fn recovered(&mut self, ill: bool, now: Instant) {
        if ill && !self.ill() {
            self.well_since = now;
        }
    }

    const fn ill(&self) -> bool {
        self.away.is_some() || matches!(self.verdict, Some(false))
    }

    /// Evicted by traffic, for so long within a fifth.
    pub fn evict(&mut self, answers: bool, passive: &Passive, now: Instant) -> Duration {
        let again = self.away.is_some() || now - self.well_since < passive.evict_max;
        self.times = if again { self.times + 1 } else { 1 };
        let mut length = passive.evict;
        for _ in 1..self.times {
            length = (length * 2).min(passive.evict_max);
        }
        let answers = answers || self.away.is_some_and(|away| away.answers);
        let (least, most) = (now + length.mul_f64(0.799), now + length.mul_f64(1.201) + Duration::from_millis(2));
        self.away = Some(Away { least, most, answers, permit: None });
        self.attempts.clear();
        length
    }

    /// Failed connections in a row, or gateway failures.
    pub fn in_a_row(&self, of: Shown) -> usize {
        let rest = self.attempts.iter().rev();
        match of {
            Shown::NoConnection => rest.take_while(|&&shown| shown == Shown::NoConnection).count(),
            _ => rest.take_while(|&&s| s != Shown::Answer).filter(|&&s| s == Shown::NoAnswer).count(),
        }
    }

    pub fn state(&self) -> State {
        match (self.operator, self.away, self.verdict) {
            (Operator::Draining, ..) => State::Draining,
            (Operator::Disabled, ..) => State::Disabled,
            (_, Some(_), _) | (_, _, Some(false)) => State::Evicted,
            (_, None, Some(true)) => State::Ready,
            (_, None, None) => State::Unknown,
        }
    }

    /// May a request try it on probation: surely, perhaps?
    pub fn on_probation(&self, now: Instant) -> (bool, bool) {
        let Some(away) = self.away else { return (false, false) };
        let may = self.state() == State::Evicted && self.verdict != Some(false) && away.permit.is_none();
        (may && now >= away.most, may && now >= away.least)
    }
}

//! The clocks of one HTTP/2 connection: when its client was silent, idle or deaf for too long. The clocks of a stream
//! are the stream's own.
//!
//! All run on one timer. They say when; what is done then is the driver's business.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, Sleep, sleep_until};

use super::link::Standing;
use crate::config::model::Listener;

/// While answers are owed, a client of whom nothing is heard for so long is asked whether it is there; and for as long
/// again it may take to say so.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// After a GOAWAY, a connection without a stream is kept for so long: a request that is on its way still gets its
/// answer.
const LEAVING: Duration = Duration::from_secs(1);

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The preface, the first SETTINGS or a head that had begun did not come in time.
    HeadLate,
    /// No stream for the whole of `timeouts.keep_alive`: time for a GOAWAY.
    Idle,
    /// After a GOAWAY, nothing was left to answer.
    Left,
    /// The socket takes nothing: is it worth a look at what the kernel holds?
    Stuck,
    /// Nothing was heard while answers are owed: time for a PING.
    Ask,
    /// The PING was not answered.
    Dead,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Opening,
    Head,
    Busy,
    Idle,
    Leaving,
}

/// The facts of a round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) link: Standing,
    /// Requests so far.
    pub(super) requests: u64,
    /// Is one of them still to be answered?
    pub(super) streams: bool,
    /// A GOAWAY is out, or would be.
    pub(super) leaving: bool,
}

/// See the module.
pub(super) struct Clocks {
    head: Duration,
    body: Duration,
    keep_alive: Duration,
    /// And what tells this one from the next of its kind.
    phase: (Phase, u64),
    since: Instant,
    stuck: Option<Instant>,
    heard: u64,
    asked: bool,
    sleep: Pin<Box<Sleep>>,
    /// Was the timer polled: does it wake this task?
    armed: bool,
}

impl Clocks {
    pub(super) fn new(listener: &Listener) -> Self {
        let now = Instant::now();
        Self {
            head: listener.head_timeout,
            body: listener.body_timeout,
            keep_alive: listener.keep_alive,
            phase: (Phase::Opening, 0),
            since: now,
            stuck: None,
            heard: 0,
            asked: false,
            sleep: Box::pin(sleep_until(now + listener.head_timeout)),
            armed: false,
        }
    }

    /// What is due now; else leaves a waker for when something may be.
    pub(super) fn due(&mut self, facts: Facts, cx: &mut Context<'_>) -> Option<Due> {
        self.note(facts);
        loop {
            let (deadline, due) = self.next();
            if !self.passed(deadline, cx) {
                return None;
            }
            match due {
                Due::Ask if self.heard != facts.link.heard => {
                    (self.heard, self.asked, self.since) = (facts.link.heard, false, Instant::now());
                }
                Due::Ask if self.asked => return Some(Due::Dead),
                Due::Ask => {
                    (self.asked, self.since) = (true, Instant::now());
                    return Some(due);
                }
                // Whoever looks finds it over, or begins anew.
                Due::Stuck => {
                    self.stuck = Some(Instant::now());
                    return Some(due);
                }
                Due::HeadLate | Due::Idle | Due::Left | Due::Dead => return Some(due),
            }
        }
    }

    /// The clock is read only where a phase begins.
    fn note(&mut self, facts: Facts) {
        let Facts { link, requests, streams, leaving } = facts;
        let phase = match () {
            () if !link.settled && !leaving => (Phase::Opening, 0),
            () if link.head_open => (Phase::Head, link.heads),
            () if streams => (Phase::Busy, 0),
            () if leaving => (Phase::Leaving, requests),
            () => (Phase::Idle, requests),
        };
        if self.phase != phase {
            (self.phase, self.since, self.asked) = (phase, Instant::now(), false);
        }
        if link.stuck != self.stuck.is_some() {
            self.stuck = link.stuck.then(Instant::now);
        }
    }

    /// The next thing that will be due.
    fn next(&self) -> (Instant, Due) {
        let (wait, due) = match self.phase.0 {
            Phase::Opening | Phase::Head => (self.head, Due::HeadLate),
            Phase::Busy => (HEARTBEAT, Due::Ask),
            Phase::Idle => (self.keep_alive, Due::Idle),
            Phase::Leaving => (LEAVING, Due::Left),
        };
        let deadline = self.since + wait;
        match self.stuck.map(|since| since + self.body) {
            Some(stuck) if stuck <= deadline || due == Due::Ask => (stuck, Due::Stuck),
            _ => (deadline, due),
        }
    }

    /// Has this moment passed? Leaves a waker for when it will have.
    fn passed(&mut self, deadline: Instant, cx: &mut Context<'_>) -> bool {
        if deadline < self.sleep.deadline() {
            self.sleep.as_mut().reset(deadline);
        } else if self.armed && !self.sleep.is_elapsed() {
            // It has this task's waker already.
            return false;
        }
        // A timer that is polled when the task's budget is used up takes no waker: it only has the task polled again.
        self.armed = has_budget_remaining();
        while self.sleep.as_mut().poll(cx).is_ready() {
            if self.sleep.deadline() >= deadline {
                return true;
            }
            self.sleep.as_mut().reset(deadline);
        }
        false
    }
}

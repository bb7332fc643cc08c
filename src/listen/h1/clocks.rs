//! The clocks of one connection, and what each of their ends means.
//!
//! All run on one timer. They say when; what is done then is the driver's business.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::listen::ConnInfo;
use crate::listen::drain::{Step, Watch};

/// How often a client is looked for that would not be heard if it left.
const LOOK: Duration = Duration::from_secs(1);
/// A connection without a request for so long hibernates.
const QUIET: Duration = Duration::from_millis(500);
/// In a drain, an idle connection is kept for so long: a request that is on its way still gets its answer.
const DRAIN_IDLE: Duration = Duration::from_secs(1);
/// The ends of idle connections in a drain are spread over so much more.
const DRAIN_SPREAD: Duration = Duration::from_millis(250);

/// What a connection is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The first byte of a connection.
    Fresh,
    /// The first byte of a head, after an answer.
    Idle,
    /// The rest of a head.
    Head,
    /// The handler, or the client that reads its answer.
    Answer,
}

/// What it is time for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing came for a while: memory is better used elsewhere.
    Quiet,
    /// What is waited for did not come in time.
    Late,
    /// A look at the client.
    Look,
    /// The client has taken nothing for long.
    Stall,
}

pin_project_lite::pin_project! {
    /// See the module. The timer is set anew only for something earlier, or when it has fired.
    pub(super) struct Clocks<'a> {
        info: &'a ConnInfo,
        #[pin]
        drain: Watch<'a>,
        #[pin]
        sleep: Sleep,
        // Was the timer polled: does it wake this task?
        armed: bool,
        phase: Phase,
        // When the phase began; in `Phase::Answer`, when a look was due last, while looks are needed.
        since: Instant,
        looking: bool,
        // When the drain began, for this connection.
        draining: Option<Instant>,
    }
}

impl<'a> Clocks<'a> {
    pub(super) fn new(info: &'a ConnInfo) -> Self {
        let now = Instant::now();
        Self {
            info,
            drain: info.drain.watch(),
            sleep: sleep_until(now + info.listener.head_timeout),
            armed: false,
            phase: Phase::Fresh,
            since: now,
            looking: false,
            draining: None,
        }
    }

    /// Is it time to drop everything? Notes when the drain began.
    pub(super) fn drained(self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        let this = self.project();
        let step = this.drain.poll(cx);
        if step >= Step::Draining && this.draining.is_none() {
            *this.draining = Some(Instant::now() + DRAIN_SPREAD.mul_f64(fastrand::f64()));
        }
        step == Step::Cut
    }

    /// A request is being answered from now on.
    pub(super) fn answers(self: Pin<&mut Self>) {
        let this = self.project();
        (*this.phase, *this.looking) = (Phase::Answer, false);
    }

    /// Waits for a head, of which bytes have come, or have not. `awake`: there is memory to be let go. The clock is
    /// read only where a phase begins.
    pub(super) fn wait(mut self: Pin<&mut Self>, begun: bool, awake: bool, cx: &mut Context<'_>) -> Option<Due> {
        let this = self.as_mut().project();
        let phase = match (begun, *this.phase) {
            (true, _) => Phase::Head,
            (false, Phase::Fresh) => Phase::Fresh,
            (false, _) => Phase::Idle,
        };
        if *this.phase != phase {
            (*this.phase, *this.since) = (phase, Instant::now());
        }
        let listener = &this.info.listener;
        let limit = if phase == Phase::Idle { listener.keep_alive } else { listener.head_timeout };
        let mut deadline = *this.since + limit;
        if phase != Phase::Head
            && let Some(began) = *this.draining
        {
            deadline = deadline.min(began.max(*this.since) + DRAIN_IDLE);
        }
        let quiet = *this.since + QUIET;
        if awake && phase != Phase::Head && quiet < deadline {
            return self.passed(quiet, cx).then_some(Due::Quiet);
        }
        self.passed(deadline, cx).then_some(Due::Late)
    }

    /// Waits with a client for its answer, or for it to take more of it. `blind`: nobody would hear if it left;
    /// `stall`: since when it has taken nothing.
    pub(super) fn watch(
        mut self: Pin<&mut Self>,
        blind: bool,
        stall: Option<Instant>,
        cx: &mut Context<'_>,
    ) -> Option<Due> {
        let this = self.as_mut().project();
        if blind && !*this.looking {
            *this.since = Instant::now();
        }
        *this.looking = blind;
        let look = blind.then(|| *this.since + LOOK);
        let stall = stall.map(|since| since + this.info.listener.body_timeout);
        let (deadline, due) = match (look, stall) {
            (None, None) => return None,
            (Some(look), Some(stall)) if stall <= look => (stall, Due::Stall),
            (Some(look), _) => (look, Due::Look),
            (None, Some(stall)) => (stall, Due::Stall),
        };
        if !self.as_mut().passed(deadline, cx) {
            return None;
        }
        if due == Due::Look {
            *self.project().since = deadline;
        }
        Some(due)
    }

    /// Has this moment passed? Leaves a waker for when it will have.
    fn passed(self: Pin<&mut Self>, deadline: Instant, cx: &mut Context<'_>) -> bool {
        let this = self.project();
        let mut sleep = this.sleep;
        if deadline < sleep.deadline() {
            sleep.as_mut().reset(deadline);
        } else if *this.armed && !sleep.is_elapsed() {
            // It has this task's waker already.
            return false;
        }
        // A timer that is polled when the task's budget is used up takes no waker: it only has the task polled again.
        *this.armed = has_budget_remaining();
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= deadline {
                return true;
            }
            sleep.as_mut().reset(deadline);
        }
        false
    }
}

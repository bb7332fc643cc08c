//! The clocks of one connection, and what each of their ends means.
//!
//! All run on one timer. They decide when, and name the end; what is done at it is the driver's business (`conn`).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, Sleep, sleep_until};

use super::ConnInfo;
use super::drain::{Step, Watch};
use super::turn::Turn;
use super::wire::Wire;

/// How often a connection is looked at whose client hyper cannot see leave.
const LOOK: Duration = Duration::from_secs(1);
/// A connection without a request for so long hibernates.
const QUIET: Duration = Duration::from_millis(500);
/// In a drain, an idle connection is kept for so long: a request that is on its way still gets its answer.
const DRAIN_IDLE: Duration = Duration::from_secs(1);
/// The ends of idle connections in a drain are spread over so much more.
const DRAIN_SPREAD: Duration = Duration::from_millis(250);

/// Why a connection is no longer hyper's.
pub(super) enum End {
    /// hyper was done, or could not go on.
    Finished(hyper::Result<()>),
    /// An answer is out after which nothing is read.
    Answered,
    /// No request came for a while: hyper's buffers are better used elsewhere.
    Quiet,
    /// No request came in time.
    Idle,
    /// A request began, and its head was not complete in time.
    HeadLate,
    /// The client took nothing of its answer for too long.
    Stalled,
    /// The client closed its side while it waited for its answer.
    Gone,
    /// The drain is over.
    Cut,
}

/// What a connection is waiting for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The first byte of a head.
    Idle,
    /// The rest of a head.
    Head,
    /// The handler.
    Answer,
}

pin_project_lite::pin_project! {
    /// The clocks of a connection, all on one timer that is set anew only for something earlier, or when it has fired.
    pub(super) struct Clocks<'a> {
        info: &'a ConnInfo,
        #[pin]
        drain: Watch<'a>,
        #[pin]
        sleep: Sleep,
        // Was the timer polled: does it wake this task?
        armed: bool,
        phase: Phase,
        // When the phase began; in `Phase::Answer`, when the last look at the client was due, if one was needed.
        since: Instant,
        // Of `Turn::answers`, when the phase was last set.
        answers: u32,
        looking: bool,
        // Since when the socket takes nothing, and which `Turn::stall` that is.
        stalled: Option<(Instant, u32)>,
        // What the kernel held of the answer, while the end of a stall is being decided.
        weighed: Option<usize>,
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
            phase: Phase::Idle,
            since: now,
            answers: 0,
            looking: false,
            stalled: None,
            weighed: None,
            draining: None,
        }
    }

    /// Polls hyper, and sees where the connection stands after it.
    pub(super) fn drive<C>(mut self: Pin<&mut Self>, conn: &mut C, turn: &Turn, cx: &mut Context<'_>) -> Poll<End>
    where
        C: Future<Output = hyper::Result<()>> + Unpin,
    {
        loop {
            if self.as_mut().drained(cx) {
                return Poll::Ready(End::Cut);
            }
            if let Poll::Ready(result) = Pin::new(&mut *conn).poll(cx) {
                return Poll::Ready(End::Finished(result));
            }
            if turn.over() {
                return Poll::Ready(End::Answered);
            }
            if turn.gone() {
                return Poll::Ready(End::Gone);
            }
            let Some(deadline) = self.as_mut().deadline(turn) else { return Poll::Pending };
            let quiet = self.quiet(turn).filter(|quiet| *quiet < deadline);
            if !self.as_mut().passed(quiet.unwrap_or(deadline), cx) {
                return Poll::Pending;
            }
            match self.phase {
                Phase::Idle if quiet.is_some() => return Poll::Ready(End::Quiet),
                Phase::Idle => return Poll::Ready(End::Idle),
                Phase::Head => return Poll::Ready(End::HeadLate),
                Phase::Answer if stall_ends(self.stalled, self.info) == Some(deadline) => {
                    let this = self.as_mut().project();
                    match this.weighed.take() {
                        // The kernel takes more only when much of what it holds is gone: some may be, and that is no
                        // stall.
                        None => {
                            *this.weighed = Some(turn.held());
                            turn.look();
                        }
                        Some(before) if turn.held() < before => {
                            *this.stalled = this.stalled.map(|(_, stall)| (Instant::now(), stall));
                        }
                        Some(_) => return Poll::Ready(End::Stalled),
                    }
                }
                Phase::Answer => {
                    *self.as_mut().project().since = deadline;
                    turn.look();
                }
            }
        }
    }

    /// Waits with a connection that hyper has let go of. `None`: bytes have come, or the client has left.
    pub(super) fn rest(mut self: Pin<&mut Self>, wire: &Wire, turn: &Turn, cx: &mut Context<'_>) -> Poll<Option<End>> {
        if self.as_mut().drained(cx) {
            return Poll::Ready(Some(End::Cut));
        }
        if wire.poll_readable(cx).is_ready() {
            return Poll::Ready(None);
        }
        match self.as_mut().deadline(turn) {
            Some(deadline) if self.passed(deadline, cx) => Poll::Ready(Some(End::Idle)),
            _ => Poll::Pending,
        }
    }

    /// When an idle connection is to be taken from hyper: only where hyper holds nothing that would be lost. It waits
    /// for the first byte of a head, all answers are out to the socket, and no tunnel has the socket.
    fn quiet(&self, turn: &Turn) -> Option<Instant> {
        (self.phase == Phase::Idle && !turn.blind() && !turn.tunnel()).then(|| self.since + QUIET)
    }

    /// Is it time to drop everything? Notes when the drain began.
    fn drained(self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        let this = self.project();
        let step = this.drain.poll(cx);
        if step >= Step::Draining && this.draining.is_none() {
            *this.draining = Some(Instant::now() + DRAIN_SPREAD.mul_f64(fastrand::f64()));
        }
        step == Step::Cut
    }

    /// Until when this may go on as it is. The clock is read only where a phase begins.
    fn deadline(self: Pin<&mut Self>, turn: &Turn) -> Option<Instant> {
        let this = self.project();
        let phase = match turn.idle() {
            false => Phase::Answer,
            true if turn.head_begun() => Phase::Head,
            true => Phase::Idle,
        };
        if phase == Phase::Answer {
            *this.phase = phase;
            let stall = turn.stall();
            if this.stalled.map(|(_, known)| known) != stall {
                *this.stalled = stall.map(|stall| (Instant::now(), stall));
            }
            let stall_ends = stall_ends(*this.stalled, this.info);
            if !turn.blind() {
                *this.looking = false;
                return stall_ends;
            }
            if !*this.looking {
                (*this.looking, *this.since) = (true, Instant::now());
            }
            let look = *this.since + LOOK;
            return Some(stall_ends.map_or(look, |stall_ends| stall_ends.min(look)));
        }
        if *this.phase != phase || *this.answers != turn.answers() {
            (*this.phase, *this.answers, *this.looking) = (phase, turn.answers(), false);
            *this.since = Instant::now();
        }
        let listener = &this.info.listener;
        let fresh = *this.answers == 0;
        let deadline = *this.since
            + match phase {
                Phase::Idle if !fresh => listener.keep_alive,
                Phase::Idle | Phase::Head | Phase::Answer => listener.head_timeout,
            };
        match *this.draining {
            Some(began) if phase == Phase::Idle => Some(deadline.min(began.max(*this.since) + DRAIN_IDLE)),
            _ => Some(deadline),
        }
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

/// When an answer of which the client takes nothing is given up.
fn stall_ends(stalled: Option<(Instant, u32)>, info: &ConnInfo) -> Option<Instant> {
    stalled.map(|(since, _)| since + info.listener.body_timeout)
}

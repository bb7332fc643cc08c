//! One HTTP/1.1 connection, from its first byte to its last: clocks, refusals, `Connection: close` and what comes after
//! it, a client that left, the drain.
//!
//! hyper parses and writes; this drives it over a [`Wire`] and takes the socket back when hyper cannot go on, so that every
//! end is ours: a complete answer and a lingering close, a cut that is seen, or silence. It knows nothing of what is
//! answered. Needs the task it was spawned on to itself (see [`Watch`]).

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::drain::{Step, Watch};
use super::turn::Turn;
use super::wire::{Held, Wire};
use super::{ConnInfo, Handler, answer, refusal};
use crate::config::model::Listener;

/// How often a connection is looked at whose client hyper cannot see leave.
const LOOK: Duration = Duration::from_secs(1);
/// In a drain, an idle connection is kept for so long: a request that is on its way still gets its answer.
const DRAIN_IDLE: Duration = Duration::from_secs(1);
/// The ends of idle connections in a drain are spread over so much more.
const DRAIN_SPREAD: Duration = Duration::from_millis(250);
/// hyper's default, for which it keeps the fields of a head on the stack.
const HYPER_FIELDS: usize = 100;

/// Serves a connection until its end. What it holds is given back with its socket, which may outlive this in a tunnel.
pub(super) async fn serve<H: Handler>(stream: TcpStream, info: Arc<ConnInfo>, handler: H, held: Held) {
    let turn = Arc::new(Turn::new(info.clone()));
    let mut service = {
        let (handler, turn) = (handler.clone(), turn.clone());
        service_fn(move |request| answer::call(handler.clone(), turn.clone(), request))
    };
    let mut wire = Wire::new(stream, turn.clone(), held);
    let mut clocks = pin!(Clocks::new(&info));
    let builder = builder(&info.listener);
    let (wire, last) = loop {
        let mut conn = builder.serve_connection(wire, service).with_upgrades();
        let end = std::future::poll_fn(|cx| clocks.as_mut().drive(&mut conn, &turn, cx)).await;
        let parts = match end {
            End::Cut | End::Gone => None,
            End::Stalled => {
                turn.reset();
                None
            }
            End::Finished(Err(ref error)) if !(error.is_parse() && turn.idle()) => None,
            End::Finished(_) | End::Answered | End::Idle | End::HeadLate => conn.into_parts(),
        };
        // Without parts there is nothing left to say; or there is a tunnel, and the socket is its own.
        let Some(parts) = parts else { return };
        let blank = parts.read_buf.iter().all(|b| matches!(b, b'\r' | b'\n'));
        let failure = match end {
            End::Finished(Err(error)) => Some(refusal::unreadable(error, &parts.read_buf, &info.listener)),
            // Half a head, read together with the request before it: it gets its time, also in a drain.
            End::Idle if !blank && info.drain.begun() => {
                (wire, service) = (parts.io.after(parts.read_buf), parts.service);
                continue;
            }
            End::Idle | End::HeadLate if blank => return,
            // Where nothing can reset the answer away, a plain close is three calls less than lingering.
            End::Finished(Ok(())) | End::Answered if turn.body_read() && blank && parts.io.may_close() => return,
            End::Idle | End::HeadLate => Some(refusal::late(&info.listener)),
            _ => None,
        };
        let last = failure.map_or_else(Bytes::new, |failure| handler.refuse(failure, &parts.read_buf, &info));
        break (parts.io, last);
    };
    tokio::select! {
        () = info.drain.reached(Step::Cut) => {}
        () = wire.finish(last) => {}
    }
}

fn builder(listener: &Listener) -> Builder {
    let mut builder = Builder::new();
    builder.max_header_size(listener.head_limit).max_buf_size(listener.head_limit.max(64 << 10));
    if listener.fields_limit != HYPER_FIELDS {
        builder.max_headers(listener.fields_limit);
    }
    builder
}

/// Why a connection is no longer hyper's.
enum End {
    /// hyper was done, or could not go on.
    Finished(hyper::Result<()>),
    /// An answer is out after which nothing is read.
    Answered,
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
    struct Clocks<'a> {
        info: &'a ConnInfo,
        #[pin]
        drain: Watch<'a>,
        #[pin]
        sleep: Sleep,
        phase: Phase,
        // When the phase began; in `Phase::Answer`, when the last look at the client was due, if one was needed.
        since: Instant,
        // Of `Turn::answers`, when the phase was last set.
        answers: u32,
        looking: bool,
        // Since when the socket takes nothing, and which `Turn::stall` that is.
        stalled: Option<(Instant, u32)>,
        // When the drain began, for this connection.
        draining: Option<Instant>,
    }
}

impl<'a> Clocks<'a> {
    fn new(info: &'a ConnInfo) -> Self {
        let now = Instant::now();
        Self {
            info,
            drain: info.drain.watch(),
            sleep: sleep_until(now + info.listener.head_timeout),
            phase: Phase::Idle,
            since: now,
            answers: 0,
            looking: false,
            stalled: None,
            draining: None,
        }
    }

    /// Polls hyper, and sees where the connection stands after it.
    fn drive<C>(mut self: Pin<&mut Self>, conn: &mut C, turn: &Turn, cx: &mut Context<'_>) -> Poll<End>
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
            if !self.as_mut().passed(deadline, cx) {
                return Poll::Pending;
            }
            match self.phase {
                Phase::Idle => return Poll::Ready(End::Idle),
                Phase::Head => return Poll::Ready(End::HeadLate),
                Phase::Answer if stall_ends(self.stalled, self.info) == Some(deadline) => {
                    return Poll::Ready(End::Stalled);
                }
                Phase::Answer => {
                    *self.as_mut().project().since = deadline;
                    turn.look();
                }
            }
        }
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
        let mut sleep = self.project().sleep;
        if deadline < sleep.deadline() {
            sleep.as_mut().reset(deadline);
        }
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

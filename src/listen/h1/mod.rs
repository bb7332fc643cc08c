//! One connection of HTTP/1.1, from its first byte to its last: one request after the other, their answers, and how it
//! ends.
//!
//! ```text
//!  head      bytes → method, target, fields, framing           ── refused → refusal
//!    link    the socket, and the request's body, shared with its reader
//!  answer    status and fields → bytes, framing
//!    send    head and body go out, no faster than the client takes them
//!  clocks    head, idle, silence, stall, drain: all on one timer
//! ```
//!
//! Every end is ours: a complete answer and a lingering close, a cut that is seen, or silence. A connection that is
//! quiet for a while hibernates: its buffers go, and come back with the next bytes. Nothing here knows what is answered.
//! It needs the task that it was spawned on to itself (see [`drain`](super::drain)).

mod answer;
mod clocks;
pub(super) mod head;
pub(super) mod link;
mod send;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use http::{Request, StatusCode};
use http_body::Body;

use super::asleep::{Asleep, One};
use super::tunnel::{OnSwitch, Tunnel};
use super::wire::{FIRST_READ, Wire};
use super::{ConnInfo, Handler, RequestBody, refusal, sniff};
use crate::memory;
use crate::message::Outbox;
use answer::Ending;
use clocks::{Clocks, Due};
use head::{Head, Limits, Refused};
use link::{Link, Watched};
use send::Sending;

/// The status of an answer that nobody waits for any more: it is not sent.
const GONE: u16 = 499;
/// What is made room for at once, at most: a request of up to this, with its body, is read in one piece.
const LARGEST_USUAL: u64 = 64 << 10;

/// Why a connection serves no further request.
enum End {
    /// An answer is out after which nothing is read. `asked`: so the client wished, and has nothing more to send.
    Answered { asked: bool },
    /// No request came in time, or the client left where it was not waiting for an answer, or the drain is over.
    Idle,
    /// The head of a request was not complete in time.
    HeadLate,
    /// What came is no head.
    Refused(Refused),
    /// The client left while it waited for its answer, or the answer broke off.
    Broken,
    /// The client took nothing of its answer for too long.
    Stalled,
    /// The socket is another protocol's.
    Switched,
    /// The drain is over, and the answer is not.
    Cut,
}

/// A connection that serves.
struct Connection<'a, 'b, H> {
    link: Link,
    info: &'a Arc<ConnInfo>,
    handler: &'a H,
    clocks: Pin<&'b mut Clocks<'a>>,
    outbox: Outbox,
    /// What a read for a head makes room for: the last request would fit.
    usual: usize,
    /// Bytes that were looked at for a head, in vain.
    seen: usize,
}

/// Serves a connection until its end. `sniffs`: it may turn out to be HTTP/2, and is given back then, its first bytes
/// read.
pub(super) async fn serve<H: Handler>(
    wire: Wire,
    sniffs: bool,
    info: &Arc<ConnInfo>,
    handler: &H,
    asleep: &Asleep,
) -> Option<Wire> {
    let mut clocks = pin!(Clocks::new(info));
    let (link, outbox) = (Link::new(wire), Outbox::default());
    let mut connection =
        Connection { link, info, handler, clocks: clocks.as_mut(), outbox, usual: FIRST_READ, seen: 0 };
    let mut first = true;
    let end = loop {
        let head = match connection.next(asleep).await {
            Ok(head) => head,
            Err(end) => break end,
        };
        if let Err(end) = connection.exchange(head).await {
            break end;
        }
        first = false;
    };
    let mut wire = connection.link.take()?;
    let failure = match end {
        End::Refused(_) if sniffs && first && sniff::is_preface(&wire.input) => return Some(wire),
        End::Refused(refused) => refusal::unreadable(refused, &wire.input, &info.listener),
        End::HeadLate => refusal::late(&info.listener),
        // Where nothing can reset the answer away, a plain close is three calls less than lingering.
        End::Answered { asked } if !wire.may_close(asked) => {
            // On the heap: it is seldom needed, and a task keeps its size for life.
            Box::pin(wire.finish(&[], &info.drain)).await;
            return None;
        }
        End::Answered { .. } | End::Idle => {
            wire.stream.say_end();
            return None;
        }
        // Under TLS, an end without a word is seen as what it is.
        End::Broken | End::Stalled | End::Switched | End::Cut => return None,
    };
    let last = handler.refuse(failure, &wire.input, info);
    Box::pin(wire.finish(&last, &info.drain)).await;
    None
}

impl<H: Handler> Connection<'_, '_, H> {
    /// The next head.
    async fn next(&mut self, asleep: &Asleep) -> Result<Head, End> {
        // Found in its place: it is large, and every hand that it passes through would copy it.
        let (mut found, mut sleeping) = (None, None);
        self.seen = 0;
        poll_fn(|cx| self.poll_next(&mut found, &mut sleeping, asleep, cx)).await?;
        found.ok_or(End::Broken)
    }

    fn poll_next(
        &mut self,
        found: &mut Option<Head>,
        sleeping: &mut Option<One>,
        asleep: &Asleep,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), End>> {
        if self.clocks.as_mut().drained(cx) {
            return Poll::Ready(Err(End::Idle));
        }
        let limits = Limits { head: self.info.listener.head_limit, fields: self.info.listener.fields_limit };
        let usual = if memory::is_short() { FIRST_READ } else { self.usual };
        let looked = self.link.with(|wire| {
            let looked = look(wire, found, limits, usual, &mut self.seen, cx);
            (looked, !wire.input.is_empty())
        });
        let begun = match looked {
            None => return Poll::Ready(Err(End::Broken)),
            Some((Poll::Ready(end), _)) => return Poll::Ready(end),
            Some((Poll::Pending, begun)) => begun,
        };
        if begun {
            *sleeping = None;
        }
        loop {
            match self.clocks.as_mut().wait(begun, sleeping.is_none(), cx) {
                None => return Poll::Pending,
                Some(Due::Quiet) => {
                    self.outbox = Outbox::default();
                    self.usual = FIRST_READ;
                    let _ = self.link.with(|wire| wire.input = BytesMut::new());
                    *sleeping = Some(asleep.one());
                }
                Some(_) if begun => return Poll::Ready(Err(End::HeadLate)),
                Some(_) => return Poll::Ready(Err(End::Idle)),
            }
        }
    }

    /// One request, and its answer.
    async fn exchange(&mut self, head: Head) -> Result<(), End> {
        let Head { mut request, framing, asked, length } = head;
        self.clocks.as_mut().answers();
        let silence = self.info.listener.body_timeout;
        let body = match framing {
            head::Framing::Empty => RequestBody::none(silence),
            framing => {
                let whole = self.link.begin(framing, asked.expects);
                self.expect(length, framing);
                whole.map_or_else(
                    || RequestBody::of_link(self.link.clone(), framing, silence),
                    |whole| RequestBody::whole(whole, silence),
                )
            }
        };
        let switch = asked.upgrades.then(|| {
            let (give, on) = OnSwitch::new();
            request.extensions.insert(on);
            give
        });
        let answer = {
            let mut answering = pin!(self.handler.call(Request::from_parts(request, body), self.info));
            poll_fn(|cx| self.poll_answer(answering.as_mut(), cx)).await?
        };
        // An interim answer is none, but for a switch that was asked for.
        let switches = answer.status() == StatusCode::SWITCHING_PROTOCOLS && switch.is_some();
        if answer.status().as_u16() == GONE || answer.status().is_informational() && !switches {
            return Err(End::Broken);
        }
        let (head, body) = answer.into_parts();
        let closing = asked.ends || !self.link.body_has_ended() || self.info.drain.begun();
        let length = if body.is_end_stream() { Some(0) } else { body.size_hint().exact() };
        let said = answer::write(&head, length, asked, closing, self.outbox.text());
        drop(head);
        if said.ending == Ending::UntilClose {
            // A clean end would pass a cut answer for a whole one.
            let _ = self.link.with(|wire| wire.cut = true);
        }
        let mut sending = Sending::new(said.ending);
        let mut body = pin!(Some(body));
        poll_fn(|cx| self.poll_send(&mut sending, body.as_mut(), cx)).await?;
        match said.ending {
            Ending::Switched => {
                if let (Some(give), Some(wire)) = (switch, self.link.take()) {
                    // If nobody waits for it, it is closed.
                    let _ = give.send(Tunnel::of_wire(wire));
                }
                return Err(End::Switched);
            }
            Ending::UntilClose => drop(self.link.with(|wire| wire.cut = false)),
            Ending::Bodiless | Ending::Length(_) | Ending::Chunked { .. } => {}
        }
        if said.closing {
            return Err(End::Answered { asked: !asked.keep_alive && self.link.body_has_ended() });
        }
        Ok(())
    }

    /// The next read has room for a request like this one.
    fn expect(&mut self, head: usize, framing: head::Framing) {
        const PAGE: usize = 4 << 10;
        if let head::Framing::Length(length) = framing
            && let whole = length.saturating_add((head + PAGE / 2) as u64)
            && whole < LARGEST_USUAL
        {
            self.usual = (whole as usize).next_multiple_of(PAGE).max(FIRST_READ);
        }
    }

    fn poll_answer<F: Future>(&mut self, answering: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<Result<F::Output, End>> {
        if self.clocks.as_mut().drained(cx) {
            return Poll::Ready(Err(End::Cut));
        }
        if let Poll::Ready(answer) = answering.poll(cx) {
            return Poll::Ready(Ok(answer));
        }
        self.poll_client(&mut None, cx).map(Err)
    }

    /// Watches a client that waits. `stall`: how its answer stands, where it takes nothing of it.
    fn poll_client(&mut self, stall: &mut Option<send::Stall>, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let blind = match self.link.watch(cx) {
                Watched::Heard => false,
                Watched::Blind => true,
                Watched::Gone => return Poll::Ready(End::Broken),
            };
            match self.clocks.as_mut().watch(blind, stall.as_ref().map(send::Stall::since), cx) {
                None => return Poll::Pending,
                Some(Due::Stall) => {
                    let held = self.link.with(|wire| wire.stream.unconfirmed()).unwrap_or_default();
                    if !stall.as_mut().is_some_and(|stall| stall.moves(held)) {
                        // Read by the record, which ends with the answer's body.
                        self.info.stalled.store(true, Relaxed);
                        let _ = self.link.with(|wire| wire.cut = true);
                        return Poll::Ready(End::Stalled);
                    }
                }
                Some(_) if self.link.is_closed(cx) => return Poll::Ready(End::Broken),
                Some(_) => {}
            }
        }
    }
}

/// Reads until a head is found, or nothing more has come.
fn look(
    wire: &mut Wire,
    found: &mut Option<Head>,
    limits: Limits,
    room: usize,
    seen: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<Result<(), End>> {
    loop {
        head::skip_empty_lines(&mut wire.input);
        if head::may_be_whole(&wire.input, *seen, limits.head) {
            *found = head::take(&mut wire.input, limits).map_err(End::Refused)?;
            if found.is_some() {
                return Poll::Ready(Ok(()));
            }
        }
        *seen = wire.input.len();
        match ready!(wire.poll_more(room, cx)) {
            Ok(1..) => {}
            // Half a head of one that has left has nothing to be told.
            Ok(0) | Err(_) => return Poll::Ready(Err(End::Idle)),
        }
    }
}

//! The body of a request on its way out, as the upstream's windows allow it.
//!
//! It is not polled before the upstream wants it (`Expect: 100-continue`), nor after the upstream has stopped taking
//! it; what is not taken does not pile up. Its failures are left among the facts.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use http::HeaderMap;
use http_body::Body;
use tokio::time::{Instant, Sleep};

use crate::cause::Phase;
use crate::client::Progress;
use crate::client::h1::may_trail;
use crate::client::head::Framed;

/// How long an upstream may leave `Expect: 100-continue` unanswered (RFC 9110 §10.1.1: do not wait for ever).
const CONTINUE: Duration = Duration::from_secs(1);

/// What happened to an exchange so far.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) progress: Arc<Progress>,
    /// The upstream has given no room for the body since then.
    pub(super) blocked: Option<Instant>,
    /// The last byte of the request was handed over at this time. Up to 64 KiB may still wait for the socket then, and
    /// `timeouts.read` runs while they do: a stream cannot tell which of the connection's bytes are its own.
    pub(super) finished: Option<Instant>,
    /// The upstream takes no more of it, since then.
    pub(super) stopped: Option<Instant>,
    /// The final head of the answer is there.
    pub(super) headed: bool,
    /// Whoever waits for the head knows how it went.
    pub(super) told: bool,
    /// The upstream said 100.
    pub(super) continued: bool,
    /// The body of the request stays where it is: the answer came without the 100 that it waits for.
    pub(super) unasked: bool,
    /// What the request's body failed with.
    pub(super) body_error: Option<Box<dyn Error + Send + Sync>>,
}

impl Facts {
    /// A new request begins.
    pub(super) fn of(progress: &Arc<Progress>) -> Self {
        progress.set_phase(Phase::Request);
        Self {
            progress: Arc::clone(progress),
            blocked: None,
            finished: None,
            stopped: None,
            headed: false,
            told: false,
            continued: false,
            unasked: false,
            body_error: None,
        }
    }

    /// The last byte is out.
    pub(super) fn finish(&mut self) {
        (self.blocked, self.finished) = (None, Some(Instant::now()));
        if !self.headed {
            self.progress.set_phase(Phase::Head);
        }
    }

    /// Is the request on its way, with nothing to send now? The upstream may well be waiting for it, then.
    pub(super) fn waits_for_client(&self) -> bool {
        self.finished.is_none() && self.blocked.is_none() && self.stopped.is_none() && !self.unasked
    }
}

/// The request's body is at fault; the error is among the facts, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failed;

/// A body that is being sent.
pub(super) struct Upload<B> {
    /// `None` once all of it was taken.
    body: Option<B>,
    send: SendStream<Bytes>,
    /// Taken from the body, and not yet by the connection.
    data: Bytes,
    /// What of the length that was said is still to come.
    left: Option<u64>,
    trailers: Option<HeaderMap>,
    door: Door,
}

enum Door {
    Open,
    /// Until the upstream's 100, or the clock; the clock starts at the first poll.
    Waiting(Option<Pin<Box<Sleep>>>),
}

impl<B> Upload<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// `waits`: for the upstream's 100.
    pub(super) fn new(body: B, framed: Framed, send: SendStream<Bytes>, waits: bool, facts: &mut Facts) -> Self {
        let left = match framed {
            Framed::Length(length) => Some(length),
            Framed::Empty | Framed::Chunked => None,
        };
        let body = (framed != Framed::Empty).then_some(body);
        if body.is_none() {
            facts.finish();
        }
        let door = if waits { Door::Waiting(None) } else { Door::Open };
        Self { body, send, data: Bytes::new(), left, trailers: None, door }
    }

    /// What is left of it once another protocol begins.
    pub(super) fn into_send(self) -> SendStream<Bytes> {
        self.send
    }

    /// Sends what can be sent now.
    pub(super) fn poll(&mut self, facts: &mut Facts, cx: &mut Context<'_>) -> Result<(), Failed> {
        while facts.finished.is_none() && facts.stopped.is_none() {
            if !self.data.is_empty() {
                if self.give(facts, cx).is_pending() {
                    break;
                }
            } else if self.body.is_some() {
                match self.fill(facts, cx) {
                    Poll::Ready(filled) => filled?,
                    Poll::Pending => break,
                }
            } else {
                self.end(facts);
            }
        }
        Ok(())
    }

    /// Takes the next frame of the body.
    fn fill(&mut self, facts: &mut Facts, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        let Some(body) = &mut self.body else { return Poll::Ready(Ok(())) };
        if let Door::Waiting(clock) = &mut self.door {
            if facts.headed {
                facts.unasked = true;
                return Poll::Pending; // answered without it
            }
            let clock = clock.get_or_insert_with(|| Box::pin(tokio::time::sleep(CONTINUE)));
            if !facts.continued && clock.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.door = Door::Open;
        }
        let frame = match Pin::new(&mut *body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(error))) => {
                facts.body_error = Some(error.into());
                return Poll::Ready(Err(Failed));
            }
            Poll::Ready(None) => return Poll::Ready(self.ended()),
            Poll::Pending => return Poll::Pending,
        };
        let last = body.is_end_stream();
        match frame.into_data() {
            Ok(data) => {
                if let Some(left) = &mut self.left {
                    match left.checked_sub(data.len() as u64) {
                        Some(rest) => *left = rest,
                        None => return Poll::Ready(Err(Failed)),
                    }
                }
                self.data = data;
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    let fields = trailers.iter().filter(|(name, _)| may_trail(name));
                    self.trailers = Some(fields.map(|(name, value)| (name.clone(), value.clone())).collect());
                    return Poll::Ready(self.ended());
                }
            }
        }
        Poll::Ready(if last || self.left == Some(0) && self.body.as_ref().is_some_and(|b| b.is_end_stream()) {
            self.ended()
        } else {
            Ok(())
        })
    }

    fn ended(&mut self) -> Result<(), Failed> {
        self.body = None;
        if self.left.is_some_and(|left| left > 0) { Err(Failed) } else { Ok(()) }
    }

    /// Hands over what the window has room for.
    fn give(&mut self, facts: &mut Facts, cx: &mut Context<'_>) -> Poll<()> {
        self.send.reserve_capacity(self.data.len());
        let mut room = self.send.capacity();
        while room == 0 {
            match self.send.poll_capacity(cx) {
                Poll::Ready(Some(Ok(more))) => room = more,
                // It was reset, or the connection has ended: what is read next says how.
                Poll::Ready(Some(Err(_)) | None) => {
                    self.stop(facts);
                    return Poll::Ready(());
                }
                Poll::Pending => {
                    facts.blocked.get_or_insert_with(Instant::now);
                    return Poll::Pending;
                }
            }
        }
        facts.blocked = None;
        let part = self.data.split_to(room.min(self.data.len()));
        let last = self.data.is_empty() && self.body.is_none() && self.trailers.is_none();
        match self.send.send_data(part, last) {
            Ok(()) if last => facts.finish(),
            Ok(()) => {}
            Err(_) => self.stop(facts),
        }
        Poll::Ready(())
    }

    /// All content was handed over.
    fn end(&mut self, facts: &mut Facts) {
        let ended = match self.trailers.take() {
            Some(trailers) => self.send.send_trailers(trailers),
            None => self.send.send_data(Bytes::new(), true),
        };
        if ended.is_ok() { facts.finish() } else { self.stop(facts) }
    }

    fn stop(&mut self, facts: &mut Facts) {
        self.data = Bytes::new();
        (facts.blocked, facts.stopped) = (None, Some(Instant::now()));
    }
}

//! The request on its way out: head, then body, by its length or in chunks (RFC 9112 §7.1), in as few writes as it takes.
//!
//! The body is not polled before the upstream wants it (`Expect: 100-continue`), nor after the upstream has stopped taking it.
//! Its failures are left among the facts; nothing here names one.

use std::error::Error;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use tokio::io::AsyncWrite;
use tokio::time::{Instant, Sleep};

use super::chunks::may_trail;
use super::facts::Facts;
use crate::client::head::{Framed, Outgoing};

/// How long an upstream may leave `Expect: 100-continue` unanswered (RFC 9110 §10.1.1: do not wait for ever).
const CONTINUE: Duration = Duration::from_secs(1);
/// Up to this, content is copied behind what waits before it: cheaper than a list of two.
const SMALL: usize = 4 << 10;

/// A request that is being written.
pub(super) struct Upload<B> {
    /// `None` once all of it was taken.
    body: Option<B>,
    door: Door,
    /// In [`Framed::Length`]: what is still to come.
    framed: Framed,
    /// To be written, in this order: `out` from `at`, `content`, `tail`.
    out: Vec<u8>,
    at: usize,
    content: Bytes,
    tail: &'static [u8],
    /// Something was written since the last flush.
    unflushed: bool,
    /// The head has waited once for the first bytes of the body.
    held: bool,
    done: bool,
}

enum Door {
    Open,
    /// Until the upstream's 100, or the clock; the clock starts at the first poll.
    Waiting(Option<Pin<Box<Sleep>>>),
}

/// Why the request cannot be written to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// Its body failed: the error is among the facts.
    Failed,
    /// Its body is not as long as it said.
    Length,
}

impl<B> Upload<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// `waits`: for the upstream's 100.
    pub(super) fn new(request: Outgoing<B>, waits: bool) -> Self {
        let Outgoing { head, body } = request;
        let framed = Framed::of(&body);
        Self {
            out: head.finish(framed),
            at: 0,
            body: (framed != Framed::Empty).then_some(body),
            door: if waits { Door::Waiting(None) } else { Door::Open },
            framed,
            content: Bytes::new(),
            tail: b"",
            unflushed: true,
            held: false,
            done: false,
        }
    }

    /// All of it was written.
    pub(super) const fn is_done(&self) -> bool {
        self.done
    }

    /// Writes what can be written now. Pending for good after a write error.
    pub(super) fn poll<T: AsyncWrite + Unpin>(
        &mut self,
        io: &mut T,
        facts: &mut Facts,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Stopped>> {
        while !self.done {
            if facts.write_error.is_some() {
                return Poll::Pending;
            }
            if self.body.is_some() && self.content.is_empty() && self.tail.is_empty() {
                match self.fill(facts, cx) {
                    Poll::Ready(filled) => filled?,
                    // Its first bytes are often there a moment later: then head and body go out in one write.
                    Poll::Pending if !self.held && self.at == 0 && matches!(self.door, Door::Open) => {
                        self.held = true;
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Poll::Pending if self.at == self.out.len() && !self.unflushed => return Poll::Pending,
                    Poll::Pending => {}
                }
            }
            self.held = true;
            if self.at < self.out.len() || !self.content.is_empty() || !self.tail.is_empty() {
                let result = ready!(self.write(io, facts, cx));
                self.wrote(facts, result);
            } else if self.unflushed {
                match ready!(Pin::new(&mut *io).poll_flush(cx)) {
                    Ok(()) => self.unflushed = false,
                    Err(error) => facts.write_failed(error),
                }
            } else if self.body.is_none() {
                self.done = true;
                facts.finish();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes the next frame of the body.
    fn fill(&mut self, facts: &mut Facts, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        let Some(body) = &mut self.body else { return Poll::Ready(Ok(())) };
        if let Door::Waiting(clock) = &mut self.door {
            if facts.headed {
                return Poll::Pending; // answered without it
            }
            let clock = clock.get_or_insert_with(|| Box::pin(tokio::time::sleep(CONTINUE)));
            if !facts.continued && clock.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.door = Door::Open;
        }
        let frame = match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                facts.body_error = Some(error.into());
                return Poll::Ready(Err(Stopped::Failed));
            }
            None => return Poll::Ready(self.end()),
        };
        let last = body.is_end_stream();
        let put = match frame.into_data() {
            Ok(data) => self.put(data),
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    self.end_with(&trailers);
                }
                Ok(())
            }
        };
        Poll::Ready(put.and_then(|()| if last && self.body.is_some() { self.end() } else { Ok(()) }))
    }

    fn put(&mut self, data: Bytes) -> Result<(), Stopped> {
        if data.is_empty() {
            return Ok(());
        }
        self.compact();
        match &mut self.framed {
            Framed::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(Stopped::Length)?;
                if *left == 0 {
                    self.body = None; // whether it is asked for its end or not
                }
            }
            Framed::Chunked => {
                let mut digits = [0; 16];
                self.out.extend_from_slice(hex(data.len(), &mut digits));
                self.out.extend_from_slice(b"\r\n");
                self.tail = b"\r\n";
            }
            Framed::Empty => return Err(Stopped::Length),
        }
        if data.len() <= SMALL {
            self.out.extend_from_slice(&data);
            self.out.extend_from_slice(std::mem::take(&mut self.tail));
        } else {
            self.content = data;
        }
        Ok(())
    }

    /// The body has no more.
    fn end(&mut self) -> Result<(), Stopped> {
        self.body = None;
        match self.framed {
            Framed::Length(1..) => return Err(Stopped::Length),
            Framed::Chunked if self.content.is_empty() => self.out.extend_from_slice(b"0\r\n\r\n"),
            Framed::Chunked => self.tail = b"\r\n0\r\n\r\n",
            Framed::Length(0) | Framed::Empty => {}
        }
        Ok(())
    }

    /// The same, and these fields behind it, if they may stand there. A body of known length has no place for them.
    fn end_with(&mut self, trailers: &http::HeaderMap) {
        self.body = None;
        if self.framed == Framed::Chunked {
            self.out.extend_from_slice(b"0\r\n");
            for (name, value) in trailers.iter().filter(|(name, _)| may_trail(name)) {
                self.out.extend_from_slice(name.as_str().as_bytes());
                self.out.extend_from_slice(b": ");
                self.out.extend_from_slice(value.as_bytes());
                self.out.extend_from_slice(b"\r\n");
            }
            self.out.extend_from_slice(b"\r\n");
        }
    }

    /// What was written makes room.
    fn compact(&mut self) {
        if self.at == self.out.len() {
            self.out.clear();
            self.at = 0;
        }
    }

    fn write<T: AsyncWrite + Unpin>(
        &mut self,
        io: &mut T,
        facts: &mut Facts,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let io = Pin::new(io);
        let first = &self.out[self.at..];
        let written = if self.content.is_empty() && self.tail.is_empty() {
            io.poll_write(cx, first)
        } else if io.is_write_vectored() {
            let parts = [IoSlice::new(first), IoSlice::new(&self.content), IoSlice::new(self.tail)];
            io.poll_write_vectored(cx, &parts)
        } else {
            let parts = [first, &self.content, self.tail];
            io.poll_write(cx, parts.into_iter().find(|part| !part.is_empty()).unwrap_or_default())
        };
        if written.is_pending() && facts.blocked.is_none() {
            facts.blocked = Some(Instant::now());
        }
        written
    }

    fn wrote(&mut self, facts: &mut Facts, result: io::Result<usize>) {
        let mut count = match result {
            Ok(0) => return facts.write_failed(io::ErrorKind::WriteZero.into()),
            Ok(count) => count,
            Err(error) => return facts.write_failed(error),
        };
        facts.wrote(count);
        self.unflushed = true;
        let step = count.min(self.out.len() - self.at);
        self.at += step;
        count -= step;
        let step = count.min(self.content.len());
        bytes::Buf::advance(&mut self.content, step);
        self.tail = self.tail.get(count - step..).unwrap_or_default();
    }
}

/// Lower-case hexadecimal digits.
fn hex(mut number: usize, digits: &mut [u8; 16]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdef"[number & 15];
        number >>= 4;
        if number == 0 {
            return &digits[at..];
        }
    }
}

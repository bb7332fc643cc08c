//! What a connection shares with the body of its request, which may be read in another task: the [`Wire`], and how far
//! the body has come. Who writes the answer and who reads the body take turns at it; nobody keeps it.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;
use tokio::io::AsyncWrite;

use super::head::Framing;
use crate::cause::{Cause, Failure};
use crate::listen::wire::{COPIED, FIRST_READ, Wire};
use crate::memory;
use crate::message::Outbox;
use crate::message::chunks::{Broken, Chunks, Piece};

/// The most that is read of a body at once.
const LARGEST_READ: usize = 64 << 10;
/// For a client that sends its next request before it has its answer, room is made for so many bytes.
const EARLY: usize = 512;
/// RFC 9110 §15.2.1.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// See the module.
#[derive(Clone)]
pub(in crate::listen) struct Link(Arc<Mutex<Inner>>);

struct Inner {
    /// `None` once the connection has come to its end, or is another protocol's.
    wire: Option<Wire>,
    body: Inbound,
    /// The client waits for `100 Continue` before it sends the body.
    expects: bool,
    /// What is left to be written of one, before anything else; and whether it is to be flushed.
    interim: &'static [u8],
    unflushed: bool,
    /// What the next read of the body makes room for: more where the last one was filled.
    room: usize,
}

/// What is still to come of a request's body.
enum Inbound {
    Ended,
    Length(u64),
    Chunks(Chunks),
    /// It broke off, and with it the connection.
    Broken,
}

/// What is known of a client that waits for its answer.
pub(super) enum Watched {
    /// It would be heard if it left.
    Heard,
    /// It would not: it has to be looked for.
    Blind,
    Gone,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Link {
    pub(super) fn new(wire: Wire) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            wire: Some(wire),
            body: Inbound::Ended,
            expects: false,
            interim: b"",
            unflushed: false,
            room: FIRST_READ,
        })))
    }

    /// The connection comes to its end, or becomes another protocol's: whoever still reads a body of it reads a break.
    pub(super) fn take(&self) -> Option<Wire> {
        self.lock().wire.take()
    }

    /// A body begins. All of it, if it is here already; then it has ended.
    pub(super) fn begin(&self, framing: Framing, expects: bool) -> Option<Bytes> {
        let mut inner = self.lock();
        (inner.expects, inner.room) = (expects, FIRST_READ);
        let (body, whole) = match (framing, &mut inner.wire) {
            (Framing::Empty, _) => (Inbound::Ended, None),
            (Framing::Length(length), Some(wire)) if wire.input.len() as u64 >= length => {
                (Inbound::Ended, Some(wire.take(length as usize)))
            }
            (Framing::Length(length), _) => (Inbound::Length(length), None),
            (Framing::Chunked, _) => (Inbound::Chunks(Chunks::new()), None),
        };
        inner.body = body;
        whole
    }

    /// Was the body read to its end?
    pub(super) fn body_has_ended(&self) -> bool {
        matches!(self.lock().body, Inbound::Ended)
    }

    /// With the connection, as long as it is there.
    pub(super) fn with<R>(&self, look: impl FnOnce(&mut Wire) -> R) -> Option<R> {
        self.lock().wire.as_mut().map(look)
    }

    /// Looks whether the client, having said all, has left, or begun with its next request; its end is the end, a half
    /// one too. What came early is kept.
    pub(super) fn watch(&self, cx: &mut Context<'_>) -> Watched {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let Some(wire) = &mut inner.wire else { return Watched::Gone };
        if !matches!(inner.body, Inbound::Ended) {
            // Its reader hears of the end, as long as it reads.
            return Watched::Blind;
        }
        if !wire.input.is_empty() {
            return Watched::Blind;
        }
        match wire.poll_more(EARLY, cx) {
            Poll::Pending if memory::is_short() => Watched::Blind,
            Poll::Pending => Watched::Heard,
            Poll::Ready(Ok(1..)) => Watched::Blind,
            Poll::Ready(Ok(0) | Err(_)) => Watched::Gone,
        }
    }

    /// Looks once, without reading, whether the client has closed its side.
    pub(super) fn is_closed(&self, cx: &mut Context<'_>) -> bool {
        self.with(|wire| wire.stream.closed_by_client(cx)).unwrap_or(true)
    }

    /// Writes more of the answer.
    pub(super) fn poll_write(&self, outbox: &mut Outbox, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut inner = self.lock();
        // Nothing interim comes behind the first byte of an answer, and nothing of an answer into one.
        inner.expects = false;
        ready!(inner.poll_interim(cx))?;
        match &mut inner.wire {
            Some(wire) => outbox.poll_write(wire, cx),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// Where TLS keeps what the socket did not take: hands it on.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.lock().wire {
            Some(wire) => Pin::new(wire).poll_flush(cx),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// The next frame of the body.
    pub(in crate::listen) fn poll_body(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let mut inner = self.lock();
        let polled = inner.poll_body(cx);
        if matches!(polled, Poll::Ready(Some(Err(_)))) {
            inner.body = Inbound::Broken;
        }
        polled
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        loop {
            let Some(wire) = &mut self.wire else {
                let broken = matches!(self.body, Inbound::Length(_) | Inbound::Chunks(_));
                return Poll::Ready(broken.then(|| Err(Failure::new(Cause::ClientClosed))));
            };
            let wanted = match &mut self.body {
                Inbound::Ended | Inbound::Broken => return Poll::Ready(None),
                Inbound::Length(left) if wire.input.is_empty() => usize::try_from(*left).unwrap_or(usize::MAX),
                Inbound::Length(left) => {
                    let data = wire.take(wire.input.len().min(usize::try_from(*left).unwrap_or(usize::MAX)));
                    *left -= data.len() as u64;
                    if *left == 0 {
                        self.body = Inbound::Ended;
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Inbound::Chunks(chunks) => match chunks.next(&mut wire.input) {
                    Ok(Piece::More) => usize::MAX,
                    Ok(Piece::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(own(data))))),
                    Ok(Piece::End(trailers)) => {
                        self.body = Inbound::Ended;
                        return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(*trailers))));
                    }
                    Err(broken) => return Poll::Ready(Some(Err(no_chunks(broken)))),
                },
            };
            if std::mem::take(&mut self.expects) {
                self.interim = CONTINUE;
            }
            let read = match self.poll_interim(cx) {
                Poll::Ready(Err(error)) => Err(error),
                // The client may send without it, and then need not hear of it.
                Poll::Ready(Ok(())) | Poll::Pending => match &mut self.wire {
                    Some(wire) => {
                        let room = if memory::is_short() { FIRST_READ } else { self.room };
                        let read = ready!(wire.poll_more(room.min(wanted), cx));
                        if wire.input.len() == wire.input.capacity() {
                            self.room = (2 * self.room).min(LARGEST_READ);
                        }
                        read
                    }
                    None => Ok(0),
                },
            };
            match read {
                Ok(0) => return Poll::Ready(Some(Err(Failure::new(Cause::ClientClosed)))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(Failure::new(Cause::ClientClosed).from(error)))),
            }
        }
    }

    /// Writes what is left of an interim answer.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(wire) = &mut self.wire else { return Poll::Ready(Ok(())) };
        while !self.interim.is_empty() {
            let written = ready!(Pin::new(&mut *wire).poll_write(cx, self.interim))?;
            (self.interim, self.unflushed) = (&self.interim[written..], true);
        }
        if self.unflushed {
            ready!(Pin::new(wire).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

/// Few bytes do not keep all that was read with them.
fn own(data: Bytes) -> Bytes {
    if data.len() <= COPIED { Bytes::copy_from_slice(&data) } else { data }
}

fn no_chunks(broken: Broken) -> Failure {
    Failure::new(Cause::ClientInvalid).seen(format!("the chunks of its body are broken ({broken})")).from(broken)
}

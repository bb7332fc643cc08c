//! The socket as hyper sees it, with hyper's own answers and its way of closing taken out.
//!
//! hyper never shuts it down, and what hyper writes while no request is being answered (a bare 400 to a bad head) is
//! swallowed: the driver in `conn` takes the socket back and ends it itself. After a switch of protocols it is a plain
//! socket. It decides nothing.

use std::cell::RefCell;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::drain::Open;
use super::permits::Permit;
use super::spread::Seat;
use super::stream::Stream;
use super::turn::Turn;
use crate::memory;

/// After the last answer, a client that sends nothing for so long is done.
const LINGER_SILENCE: Duration = Duration::from_secs(2);
/// After the last answer, nobody is listened to for longer.
const LINGER_TOTAL: Duration = Duration::from_secs(10);

/// Head and body of a short answer go out in one piece: up to so many bytes, a copy is cheaper than what the kernel
/// does for a list of pieces.
const JOINED: usize = 2048;
/// Of a client that sends its next request before it has its answer, so many bytes are read at a time.
const EARLY: usize = 512;

/// hyper makes room for so much at first, and for more where that was filled at once.
const FIRST_READ: usize = 8 << 10;

/// See the module.
pub(super) struct Wire {
    io: TokioIo<Stream>,
    turn: Arc<Turn>,
    /// Read before the socket: what another hyper connection had read and not used, or what came too early.
    first: Bytes,
    _held: Held,
}

/// What a connection holds for as long as its socket is open, tunnel or not.
pub(super) struct Held {
    pub(super) _permit: Permit,
    pub(super) _open: Open,
    /// Its place on this worker, where all workers share the listening socket.
    pub(super) _seat: Option<Seat>,
}

impl Wire {
    pub(super) fn new(stream: Stream, turn: Arc<Turn>, held: Held) -> Self {
        Self { io: TokioIo::new(stream), turn, first: Bytes::new(), _held: held }
    }

    /// The same, with bytes that are read first.
    pub(super) fn after(mut self, first: Bytes) -> Self {
        self.first = if self.first.is_empty() { first } else { [first, self.first.clone()].concat().into() };
        self
    }

    /// Sends the last bytes (perhaps none), then closes so that the client can read them: our side first, then theirs
    /// (RFC 9112 §9.6). A close with bytes unread would reset the connection, and the answer might be lost.
    pub(super) async fn finish(mut self, last: Bytes) {
        let stream = self.io.inner_mut();
        let end = async {
            stream.write_all(&last).await?;
            stream.shutdown().await?;
            let mut discarded = BytesMut::with_capacity(16 << 10);
            while timeout(LINGER_SILENCE, stream.read_buf(&mut discarded)).await?? > 0 {
                discarded.clear();
            }
            io::Result::Ok(())
        };
        // Whether the client took it, and how it left, changes nothing any more.
        let _ = timeout(LINGER_TOTAL, end).await;
    }

    /// Would a plain close do? That is: it cannot reset away what was written. A client that has closed its side sends
    /// nothing more; one that asked for the close is trusted with that, if nothing waits to be read. Under TLS it never
    /// does: a last record is to be written, and what waits may be one of theirs.
    pub(super) fn may_close(&self) -> bool {
        let stream = self.io.inner();
        self.first.is_empty()
            && !stream.is_tls()
            && stream.waits().map_or_else(|| self.turn.client_asked_to_close(), |bytes| !bytes)
    }

    /// Have bytes come, or the client's end? For a socket that hyper has let go of, after it found nothing to read.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.io.inner().poll_readable(cx)
    }

    /// Bytes that were written and that the client has not taken.
    pub(super) fn held(&mut self) -> usize {
        self.io.inner_mut().unconfirmed()
    }

    /// Is the client of a socket that has become another protocol's gone?
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.inner_mut().poll_gone(cx)
    }

    /// Lets a socket that has become another protocol's end with a reset.
    pub(super) fn reset(&self) {
        self.io.inner().reset_at_end();
    }

    /// Is hyper writing on its own account, or to nobody?
    fn mute(&self) -> bool {
        self.turn.idle() && !self.turn.tunnel() || self.turn.gone()
    }

    /// Notes how much of the answer the client has not taken yet.
    fn weigh(&mut self) {
        let held = self.held();
        self.turn.holds(held);
    }

    /// Looks once, without reading, whether the client has closed its side, and what it has taken.
    fn look(&mut self, cx: &mut Context<'_>) {
        self.weigh();
        if self.io.inner().closed_by_client(cx) {
            self.turn.client_gone();
        }
    }

    /// Notes whether the socket took something.
    fn took(&mut self, something: bool, cx: &mut Context<'_>) {
        if self.turn.took(something) {
            self.weigh();
        }
        if !something {
            self.watch(cx);
        }
    }

    /// Leaves a waker for what a client does that waits for its answer: hyper does not read then. What comes too early
    /// is kept; its end is the end (HTTP.md: a half-close too).
    fn watch(&mut self, cx: &mut Context<'_>) {
        if !self.turn.waits() || !self.first.is_empty() {
            return;
        }
        if self.io.inner().poll_unread(cx).is_pending() {
            return self.turn.read_nothing();
        }
        let mut room = [MaybeUninit::uninit(); EARLY];
        let mut early = ReadBuf::uninit(&mut room);
        match Pin::new(&mut self.io).poll_read(cx, early.unfilled()) {
            Poll::Pending => self.turn.read_nothing(),
            Poll::Ready(Ok(())) if !early.filled().is_empty() => {
                self.first = Bytes::copy_from_slice(early.filled());
                self.turn.read();
            }
            Poll::Ready(_) => self.turn.client_gone(),
        }
    }
}

/// All pieces in one, if there is more than one and they are short: put into `room`, which keeps its memory.
fn join(pieces: &[io::IoSlice<'_>], room: &mut Vec<u8>) -> bool {
    if pieces.len() < 2 || pieces.iter().map(|piece| piece.len()).sum::<usize>() > JOINED {
        return false;
    }
    room.clear();
    room.reserve(JOINED);
    pieces.iter().for_each(|piece| room.extend_from_slice(piece));
    true
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.turn.tunnel() {
            return;
        }
        if self.turn.must_reset() {
            self.io.inner().reset_at_end();
        } else if self.turn.idle() {
            // Never in an answer: without this word a cut one is seen as cut.
            self.io.inner_mut().say_end();
        }
    }
}

impl Read for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let n = self.first.len().min(buf.remaining());
            buf.put_slice(&self.first.split_to(n));
            self.turn.read();
            return Poll::Ready(Ok(()));
        }
        let large = buf.remaining() > FIRST_READ && !self.turn.tunnel();
        if memory::must_wait(large, cx) && !self.io.inner().closed_by_client(cx) {
            self.turn.read_waits();
            return Poll::Pending;
        }
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if read.is_ready() {
            self.turn.read();
        } else {
            self.turn.read_nothing();
        }
        read
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.mute() {
            return Poll::Ready(Ok(buf.len()));
        }
        if self.turn.asked_to_look() {
            self.look(cx);
        }
        let taken = Pin::new(&mut self.io).poll_write(cx, buf);
        self.took(taken.is_ready(), cx);
        taken
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.mute() {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        if self.turn.asked_to_look() {
            self.look(cx);
        }
        // One for all connections of a worker: it is used up when the socket has what it takes.
        thread_local!(static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });
        let io = Pin::new(&mut self.io);
        let taken = ROOM.with_borrow_mut(|room| match join(bufs, room) {
            true => io.poll_write(cx, room),
            false => io.poll_write_vectored(cx, bufs),
        });
        self.took(taken.is_ready(), cx);
        taken
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// hyper calls this on every poll of the connection, whenever nothing of its own waits to be written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.turn.asked_to_look() {
            self.look(cx);
        }
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        // A plain socket is always flushed; TLS keeps what the socket did not take, and a client that takes nothing is
        // found out.
        if self.io.inner().is_tls() {
            self.took(flushed.is_ready(), cx);
        }
        ready!(flushed)?;
        // After the last answer hyper would finish on its own, and could hand the socket to an upgrade that never was.
        // It is stopped here; the driver looks after every poll and takes the socket back.
        if self.turn.flushed() {
            return Poll::Pending;
        }
        self.watch(cx);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.turn.tunnel() { Pin::new(&mut self.io).poll_shutdown(cx) } else { Poll::Ready(Ok(())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_pieces_are_joined_and_long_ones_left() {
        let (head, body, long) = ([b'h'; 200], [b'b'; JOINED - 200], [b'l'; JOINED - 199]);
        let mut room = b"of before".to_vec();
        assert!(join(&[io::IoSlice::new(&head), io::IoSlice::new(&body)], &mut room));
        assert_eq!(room, [&head[..], &body[..]].concat());
        assert!(!join(&[io::IoSlice::new(&head), io::IoSlice::new(&long)], &mut room));
        assert!(!join(&[io::IoSlice::new(&head)], &mut room), "one piece needs no copy");
    }
}

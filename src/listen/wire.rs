//! A connection as bytes: its socket, what was read of it and is not used yet, and what it holds for as long as it is
//! open. Whoever speaks over it has it to himself: HTTP/1.1, HTTP/2, or a tunnel. It decides nothing.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use super::drain::{Drain, Open, Step};
use super::h2;
use super::permits::Permit;
use super::spread::Seat;
use super::stream::Stream;
use crate::memory;
use crate::tunnel::Peer;

/// After the last answer, a client that sends nothing for so long is done.
const LINGER_SILENCE: Duration = Duration::from_secs(2);
/// After the last answer, nobody is listened to for longer.
const LINGER_TOTAL: Duration = Duration::from_secs(10);

/// Up to this, a piece is copied out of what was read.
pub(super) const COPIED: usize = 4 << 10;
/// Room for most heads. While memory is short, nobody gets more.
pub(super) const FIRST_READ: usize = 8 << 10;

/// See the module.
pub(super) struct Wire {
    pub(super) stream: Stream,
    /// Read before the socket.
    pub(super) input: BytesMut,
    /// Its end is to be a reset, should it come now.
    pub(super) cut: bool,
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
    pub(super) fn new(stream: Stream, held: Held) -> Self {
        Self { stream, input: BytesMut::new(), cut: false, _held: held }
    }

    /// Takes the first so many bytes of `input`. Few are copied, so that they do not keep all of its memory.
    pub(super) fn take(&mut self, length: usize) -> Bytes {
        if length > COPIED {
            return self.input.split_to(length).freeze();
        }
        let piece = Bytes::copy_from_slice(&self.input[..length]);
        self.input.advance(length);
        piece
    }

    /// Reads once into `input`, with room for about so many bytes, which is made when there is something to read.
    pub(super) fn poll_more(&mut self, room: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if memory::must_wait(room > FIRST_READ, cx) && !self.stream.closed_by_client(cx) {
            return Poll::Pending;
        }
        ready!(self.stream.poll_unread(cx));
        // What is left of the room is used first: else a client that sends little at a time would get new room each time.
        if self.input.capacity() - self.input.len() < room / 4 {
            self.input.reserve(room);
        }
        pin!(self.stream.read_buf(&mut self.input)).poll(cx)
    }

    /// Sends the last bytes (perhaps none), then closes so that the client can read them: our side first, then theirs
    /// (RFC 9112 §9.6). A close with bytes unread would reset the connection, and the answer might be lost. The end of
    /// the drain is the end of this too.
    pub(super) async fn finish(mut self, last: &[u8], drain: &Drain) {
        let end = async {
            self.stream.write_all(last).await?;
            self.stream.shutdown().await?;
            let mut discarded = BytesMut::with_capacity(16 << 10);
            while timeout(LINGER_SILENCE, self.stream.read_buf(&mut discarded)).await?? > 0 {
                discarded.clear();
            }
            io::Result::Ok(())
        };
        tokio::select! {
            () = drain.reached(Step::Cut) => {}
            // Whether the client took it, and how it left, changes nothing any more.
            _ = timeout(LINGER_TOTAL, end) => {}
        }
    }

    /// Would a plain close do? That is: it cannot reset away what was written. A client that has closed its side sends
    /// nothing more; one that `asked` for the close is trusted with that, if nothing waits to be read. Under TLS it
    /// never does: a last record is to be written, and what waits may be one of theirs.
    pub(super) fn may_close(&self, asked: bool) -> bool {
        self.input.iter().all(|b| matches!(b, b'\r' | b'\n'))
            && !self.stream.is_tls()
            && self.stream.waits().map_or(asked, |bytes| !bytes)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.cut {
            self.stream.reset_at_end();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.input.is_empty() {
            if memory::must_wait(false, cx) && !self.stream.closed_by_client(cx) {
                return Poll::Pending;
            }
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let length = self.input.len().min(buf.remaining());
        buf.put_slice(&self.input[..length]);
        self.input.advance(length);
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl h2::Socket for Wire {
    fn held(&mut self) -> usize {
        self.stream.unconfirmed()
    }

    fn reset(&mut self) {
        self.cut = true;
    }
}

impl Peer for Wire {
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_gone(cx)
    }
}

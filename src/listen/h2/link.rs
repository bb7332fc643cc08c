//! The socket as h2 sees it. What h2 writes is only gathered; it goes out when the connection was polled, in one write
//! for the answers of all its streams: h2 by itself would make a write of every frame with content.
//!
//! The socket stays ours: h2 never shuts it down, and after h2 has gone the driver still says the last word. It decides
//! nothing.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::Frames;

/// So much is gathered; then the socket must take some.
const MOST: usize = 64 << 10;
/// After the last word, a client that sends nothing for so long is done.
const LINGER_SILENCE: Duration = Duration::from_secs(2);
/// After the last word, nobody is listened to for longer.
const LINGER_TOTAL: Duration = Duration::from_secs(10);

thread_local! {
    /// Memory to gather in, one for all connections of a worker: most sockets take all at once, so that the next one
    /// has it. It is as large as the longest round made it, [`MOST`] and a frame, and never made anew.
    static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What is asked of a client's socket.
pub(in crate::listen) trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Bytes that the kernel holds for the client, who has not taken them.
    fn held(&mut self) -> usize;
    /// Its end is to be a reset.
    fn reset(&mut self);
}

/// A handle to the socket: h2 has one, the driver the other.
pub(super) struct Link<S>(Arc<Mutex<Inner<S>>>);

impl<S> Clone for Link<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Inner<S> {
    socket: S,
    /// Read before the socket.
    first: Bytes,
    frames: Frames,
    /// Times that something was read.
    heard: u64,
    /// Without memory of its own while it is empty: see [`ROOM`].
    out: Vec<u8>,
    at: usize,
    /// Bytes that the socket took.
    sent: u64,
    /// h2 was turned away.
    full: bool,
}

/// How the socket stands after a round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    /// The socket takes nothing more for now, and something waits.
    pub(super) stuck: bool,
    /// h2 was turned away, and there is room now.
    pub(super) again: bool,
    pub(super) settled: bool,
    pub(super) head_open: bool,
    pub(super) heads: u64,
    pub(super) heard: u64,
}

impl<S: Socket> Link<S> {
    pub(super) fn new(socket: S, first: Bytes) -> Self {
        let frames = Frames::new();
        Self(Arc::new(Mutex::new(Inner {
            socket,
            first,
            frames,
            heard: 0,
            out: Vec::new(),
            at: 0,
            sent: 0,
            full: false,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what was gathered, as far as the socket takes it.
    pub(super) fn round(&self, cx: &mut Context<'_>) -> io::Result<Standing> {
        let mut inner = self.lock();
        let stuck = match inner.poll_drain(cx) {
            Poll::Ready(drained) => {
                drained?;
                false
            }
            Poll::Pending => true,
        };
        let again = inner.full && !stuck;
        inner.full &= stuck;
        let Inner { frames, heard, .. } = &*inner;
        let (settled, head_open, heads) = (frames.settled(), frames.head_open(), frames.heads());
        Ok(Standing { stuck, again, settled, head_open, heads, heard: *heard })
    }

    /// Was the first frame something else than SETTINGS?
    pub(super) fn refused(&self) -> bool {
        self.lock().frames.refused()
    }

    /// Bytes that the client has taken so far, as far as its kernel says.
    pub(super) fn taken(&self) -> u64 {
        let mut inner = self.lock();
        inner.sent.saturating_sub(inner.socket.held() as u64)
    }

    /// See [`Socket::reset`].
    pub(super) fn reset(&self) {
        self.lock().socket.reset();
    }

    /// Sends the last bytes, behind those that were gathered, then closes so that the client can read them: our side
    /// first, then theirs. A close with bytes unread would reset the connection, and what was said last might be lost.
    pub(super) async fn finish(self, last: &[u8]) {
        let end = async {
            self.lock().gather(last);
            std::future::poll_fn(|cx| self.lock().poll_drain(cx)).await?;
            std::future::poll_fn(|cx| Pin::new(&mut self.lock().socket).poll_shutdown(cx)).await?;
            let mut discarded = vec![0; 16 << 10];
            loop {
                let read = std::future::poll_fn(|cx| {
                    let mut buf = ReadBuf::new(&mut discarded);
                    ready!(Pin::new(&mut self.lock().socket).poll_read(cx, &mut buf))?;
                    Poll::Ready(io::Result::Ok(buf.filled().len()))
                });
                if tokio::time::timeout(LINGER_SILENCE, read).await?? == 0 {
                    return io::Result::Ok(());
                }
            }
        };
        // Whether the client took it, and how it left, changes nothing any more.
        let _ = tokio::time::timeout(LINGER_TOTAL, end).await;
    }
}

impl<S: Socket> Inner<S> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.out.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while self.at < self.out.len() {
            match ready!(Pin::new(&mut self.socket).poll_write(cx, &self.out[self.at..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                taken => {
                    self.at += taken;
                    self.sent += taken as u64;
                }
            }
        }
        ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
        self.out.clear();
        self.at = 0;
        ROOM.set(mem::take(&mut self.out));
        Poll::Ready(Ok(()))
    }

    fn gather(&mut self, bytes: &[u8]) {
        if self.out.capacity() == 0 {
            self.out = ROOM.take();
        }
        self.out.extend_from_slice(bytes);
    }

    /// Makes room, or leaves word that there is none.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.out.len() < MOST {
            return Poll::Ready(Ok(()));
        }
        let drained = self.poll_drain(cx);
        self.full |= drained.is_pending();
        drained
    }
}

impl<S: Socket> AsyncRead for Link<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.lock();
        let before = buf.filled().len();
        if inner.first.is_empty() {
            ready!(Pin::new(&mut inner.socket).poll_read(cx, buf))?;
        } else {
            let step = inner.first.len().min(buf.remaining());
            buf.put_slice(&inner.first.split_to(step));
        }
        inner.heard += 1;
        inner.frames.read(&buf.filled()[before..]);
        if inner.frames.refused() { Poll::Ready(Err(io::ErrorKind::InvalidData.into())) } else { Poll::Ready(Ok(())) }
    }
}

impl<S: Socket> AsyncWrite for Link<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.lock();
        ready!(inner.poll_room(cx))?;
        inner.gather(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.lock();
        ready!(inner.poll_room(cx))?;
        pieces.iter().for_each(|piece| inner.gather(piece));
        Poll::Ready(Ok(pieces.iter().map(|piece| piece.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

//! What both ends of a tunnel have in common: a [`Peer`] each, be it a socket or a stream of HTTP/2 as bytes both ways,
//! and the [`handshake`] of a WebSocket. It opens no tunnel, and looks into none.

pub mod handshake;

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
use tokio::net::{TcpStream, UnixStream};

/// Who is at one end of a tunnel. Whoever reads it hears of its end; one that is not read may be gone for long.
pub trait Peer: AsyncRead + AsyncWrite + Unpin {
    /// Is it gone, be there bytes to read before that or not? Ready with an error: it broke. Ready without: it takes
    /// nothing more, and may still be read to its end. Half of a close is none. A socket leaves no waker: ask it now
    /// and then.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl Peer for TcpStream {
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        gone(self.ready(Interest::WRITABLE | Interest::ERROR), || self.take_error(), cx)
    }
}

impl Peer for UnixStream {
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        gone(self.ready(Interest::WRITABLE | Interest::ERROR), || self.take_error(), cx)
    }
}

/// What the runtime has heard of a socket: EPOLLERR for a reset, EPOLLHUP where both directions have ended.
fn gone(
    ready: impl Future<Output = io::Result<Ready>>,
    error: impl FnOnce() -> io::Result<Option<io::Error>>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    let ready = ready!(pin!(ready).poll(cx))?;
    if ready.is_error() {
        let error = error()?.unwrap_or_else(|| io::ErrorKind::ConnectionReset.into());
        return Poll::Ready(Err(error));
    }
    if ready.is_write_closed() { Poll::Ready(Ok(())) } else { Poll::Pending }
}

/// A stream of HTTP/2 behind an extended CONNECT (RFC 8441 §5): END_STREAM is the end of one direction, RST_STREAM the
/// break of both. What is not read is not asked for, and what its peer has no room for is not taken. Dropped before
/// both directions have ended, it resets the stream.
#[derive(Debug)]
pub struct Duplex {
    recv: RecvStream,
    send: SendStream<Bytes>,
    /// Read, and not yet handed out: the peer may send as much again once it is.
    data: Bytes,
    ended: bool,
}

impl Duplex {
    /// Both directions of one stream, the heads of which have passed.
    #[must_use]
    pub const fn new(recv: RecvStream, send: SendStream<Bytes>) -> Self {
        Self { recv, send, data: Bytes::new(), ended: false }
    }
}

impl AsyncRead for Duplex {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.data.is_empty() && !this.ended {
            match ready!(this.recv.poll_data(cx)) {
                Some(Ok(data)) => this.data = data,
                // It has said all, and wants no more (RFC 9113 §8.1).
                Some(Err(error))
                    if error.is_reset() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR) =>
                {
                    this.ended = true;
                }
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => this.ended = true,
            }
        }
        let length = this.data.len().min(buf.remaining());
        buf.put_slice(&this.data[..length]);
        this.data.advance(length);
        // A stream that has just ended needs no window.
        let _ = this.recv.flow_control().release_capacity(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Duplex {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.send.reserve_capacity(buf.len());
        let mut room = self.send.capacity();
        while room == 0 {
            room = match ready!(self.send.poll_capacity(cx)) {
                Some(Ok(room)) => room,
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            };
        }
        let length = room.min(buf.len());
        self.send.send_data(Bytes::copy_from_slice(&buf[..length]), false).map_err(broken)?;
        Poll::Ready(Ok(length))
    }

    /// Whoever drives the connection writes what was taken.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // To a peer that has ended, and is gone since, there is nothing left to say.
        let told = self.send.send_data(Bytes::new(), true);
        Poll::Ready(if self.ended { Ok(()) } else { told.map_err(broken) })
    }
}

impl Peer for Duplex {
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match ready!(self.send.poll_reset(cx)) {
            Ok(Reason::NO_ERROR) => Ok(()),
            Ok(reason) => Err(broken(reason.into())),
            Err(error) => Err(broken(error)),
        })
    }
}

fn broken(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}

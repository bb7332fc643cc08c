//! What bytes of a connection come by: a plain socket, or TLS over one. It adds nothing to the plain one but a match.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::socket::Socket;

/// See the module.
pub(super) enum Stream {
    Plain(Socket),
    /// On the heap: it is large, and a task keeps its size for life.
    Tls(Box<TlsStream<Socket>>),
}

impl Stream {
    pub(super) const fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Would reading find bytes of the client's now (`Some(true)`), its end (`Some(false)`), or nothing (`None`)? Under
    /// TLS, what waits may be of TLS alone.
    pub(super) fn waits(&self) -> Option<bool> {
        self.socket().waits()
    }

    /// Can reading find anything?
    pub(super) fn poll_unread(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            // TLS holds something already.
            Self::Tls(tls) if !tls.get_ref().1.wants_read() => Poll::Ready(()),
            Self::Tls(_) | Self::Plain(_) => self.socket().poll_readable(cx),
        }
    }

    /// Has the client closed its side, be there bytes to read before that or not? Leaves no waker that is to be counted
    /// on.
    pub(super) fn closed_by_client(&self, cx: &mut Context<'_>) -> bool {
        self.socket().closed(cx)
    }

    /// See [`Peer::poll_gone`](crate::tunnel::Peer::poll_gone): under TLS, the socket below it is asked.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => socket.poll_gone(cx),
            Self::Tls(tls) => tls.get_mut().0.poll_gone(cx),
        }
    }

    /// Bytes that were written and that the client has not confirmed, those that TLS has not handed on yet included.
    pub(super) fn unconfirmed(&mut self) -> usize {
        let kernel = self.socket().unconfirmed();
        match self {
            Self::Plain(_) => kernel,
            Self::Tls(tls) => {
                kernel + tls.get_mut().1.process_new_packets().map_or(0, |state| state.tls_bytes_to_write())
            }
        }
    }

    /// Its end will be a reset.
    pub(super) fn reset_at_end(&self) {
        self.socket().reset_at_end();
    }

    /// Tells the client that the end which follows is meant (RFC 8446 §6.1), as far as that goes without waiting.
    pub(super) fn say_end(&mut self) {
        let Self::Tls(tls) = self else { return };
        let (socket, session) = tls.get_mut();
        session.send_close_notify();
        // Where the socket takes nothing now, the client has not read for long.
        while session.wants_write() && session.write_tls(&mut Now(socket)).is_ok_and(|written| written > 0) {}
    }

    fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }
}

/// Writes what the socket takes at once.
struct Now<'a>(&'a Socket);

impl io::Write for Now<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(tls) => poll_plaintext(Pin::new(&mut **tls), cx, buf).map_err(of_connection),
        }
    }
}

/// What came, and all that TLS holds of it; it asks the socket only while there is nothing. (Its own way to read asks
/// once more after each piece.)
fn poll_plaintext(
    mut tls: Pin<&mut TlsStream<Socket>>,
    cx: &mut Context<'_>,
    buf: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    let before = buf.filled().len();
    loop {
        let piece = tls.as_mut().poll_fill_buf(cx);
        if buf.filled().len() > before && !matches!(piece, Poll::Ready(Ok(_))) {
            // It says so again when it is asked next.
            return Poll::Ready(Ok(()));
        }
        let piece = ready!(piece)?;
        let taken = piece.len().min(buf.remaining());
        buf.put_slice(&piece[..taken]);
        tls.as_mut().consume(taken);
        if taken == 0 || buf.remaining() == 0 || tls.get_ref().1.wants_read() {
            return Poll::Ready(Ok(()));
        }
    }
}

/// `InvalidData` says that a message breaks the rules of HTTP; what breaks those of TLS is the end of the connection.
fn of_connection(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            io::Error::new(io::ErrorKind::ConnectionAborted, error)
        }
        _ => error,
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, pieces),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_shutdown(cx),
        }
    }
}

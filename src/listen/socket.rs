//! The socket under a connection: TCP, or one of this machine (unix(7)). Everything that is asked of the kernel about
//! it is asked here.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
use tokio::net::{TcpStream, UnixStream};

use crate::sys;
use crate::tunnel::Peer;

/// Both ends of a connection over a socket of this machine: whoever is there is on this machine, as on loopback.
pub(super) const THIS_MACHINE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// See the module.
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// The same, on the runtime of another worker: see [`Loose::settle`].
    pub(super) fn loosen(self) -> io::Result<Loose> {
        match self {
            Self::Tcp(socket) => socket.into_std().map(Loose::Tcp),
            Self::Unix(socket) => socket.into_std().map(Loose::Unix),
        }
    }

    /// Our side. A socket of this machine has no address worth telling.
    pub(super) fn local(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.local_addr(),
            Self::Unix(_) => Ok(THIS_MACHINE),
        }
    }

    /// Waits for bytes, or the end (0), and leaves them where they are.
    pub(super) async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.peek(buf).await,
            Self::Unix(socket) => socket.async_io(Interest::READABLE, || peek_now(socket, buf)).await,
        }
    }

    /// Would reading find bytes now (`Some(true)`), the end (`Some(false)`), or nothing (`None`)? The kernel is asked,
    /// not the runtime: it may not have heard yet of what waits.
    pub(super) fn waits(&self) -> Option<bool> {
        let mut byte = [MaybeUninit::uninit()];
        match SockRef::from(self).peek(&mut byte) {
            Ok(read) => Some(read > 0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(_) => Some(true),
        }
    }

    /// Have bytes come, or the end?
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Tcp(socket) => socket.poll_read_ready(cx).map(drop),
            Self::Unix(socket) => socket.poll_read_ready(cx).map(drop),
        }
    }

    /// Has the other side closed, be there bytes to read before that or not? Leaves no waker that is to be counted on.
    pub(super) fn closed(&self, cx: &mut Context<'_>) -> bool {
        let closed = |ready: Poll<io::Result<Ready>>| match ready {
            Poll::Ready(ready) => ready.is_ok_and(|ready| ready.is_read_closed()),
            Poll::Pending => false,
        };
        match self {
            Self::Tcp(socket) => closed(pin!(socket.ready(Interest::READABLE)).poll(cx)),
            Self::Unix(socket) => closed(pin!(socket.ready(Interest::READABLE)).poll(cx)),
        }
    }

    /// See [`Peer::poll_gone`].
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(socket) => socket.poll_gone(cx),
            Self::Unix(socket) => socket.poll_gone(cx),
        }
    }

    /// Bytes that were written and that the other side has not taken. (The kernel counts its own room for them on a
    /// socket of this machine, where it is 0 as well when all is taken.)
    pub(super) fn unconfirmed(&self) -> usize {
        sys::unacknowledged(self).unwrap_or(0)
    }

    /// Its end will be a reset. There is no such thing on a socket of this machine.
    pub(super) fn reset_at_end(&self) {
        if let Self::Tcp(socket) = self {
            // A socket that is gone needs no reset.
            let _ = socket.set_zero_linger();
        }
    }

    /// Writes what the socket takes at once.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.try_write(bytes),
            Self::Unix(socket) => socket.try_write(bytes),
        }
    }
}

fn peek_now(socket: &UnixStream, buf: &mut [u8]) -> io::Result<usize> {
    let (read, _) = rustix::net::recv(socket, buf, rustix::net::RecvFlags::PEEK)?;
    Ok(read)
}

/// A connection that no runtime watches.
pub(super) enum Loose {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Loose {
    /// On the runtime of the worker that this is called on.
    pub(super) fn settle(self) -> io::Result<Socket> {
        match self {
            Self::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                TcpStream::from_std(socket).map(Socket::Tcp)
            }
            Self::Unix(socket) => {
                socket.set_nonblocking(true)?;
                UnixStream::from_std(socket).map(Socket::Unix)
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Unix(socket) => Pin::new(socket).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Unix(socket) => Pin::new(socket).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, pieces),
            Self::Unix(socket) => Pin::new(socket).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_flush(cx),
            Self::Unix(socket) => Pin::new(socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}

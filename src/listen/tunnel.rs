//! The client's side of a tunnel, be it a connection of HTTP/1.1 after its 101 or a stream of HTTP/2 after its 200. It
//! carries bytes, and ends when it is told to.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::Extensions;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use super::wire::Wire;
use crate::tunnel::{Duplex, Peer};

/// Where the client's side will be, once the answer that switches has gone out.
#[derive(Debug)]
pub struct Switch(Side);

#[derive(Debug)]
enum Side {
    H1(OnUpgrade),
    H2(oneshot::Receiver<Duplex>),
}

/// The same of a stream, among the extensions of its request.
#[derive(Clone, Debug)]
pub(super) struct OnStream(Arc<Mutex<Option<oneshot::Receiver<Duplex>>>>);

impl OnStream {
    /// What is to be given the stream; and what waits for it.
    pub(super) fn new() -> (oneshot::Sender<Duplex>, Self) {
        let (give, take) = oneshot::channel();
        (give, Self(Arc::new(Mutex::new(Some(take)))))
    }
}

impl Switch {
    /// That of a request with these extensions, if it asks for another protocol. There is one: the second is `None`.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<Self> {
        if let Some(on) = extensions.get::<OnStream>() {
            return on.0.lock().unwrap_or_else(PoisonError::into_inner).take().map(Side::H2).map(Self);
        }
        extensions.get::<OnUpgrade>().cloned().map(Side::H1).map(Self)
    }

    /// The client's side; `None` if the client was gone before.
    pub async fn stands(self) -> Option<Tunnel> {
        match self.0 {
            // It is what `conn` gave to hyper.
            Side::H1(on) => {
                let parts = on.await.ok()?.downcast::<Wire>().ok()?;
                Some(Tunnel(Io::H1(TokioIo::new(parts.io.after(parts.read_buf)))))
            }
            Side::H2(stream) => stream.await.ok().map(Box::new).map(Io::H2).map(Tunnel),
        }
    }
}

/// The client's side. Dropped, a connection is closed, and a stream that has not ended is reset.
pub struct Tunnel(Io);

enum Io {
    /// What is left of a connection of HTTP/1.1.
    H1(TokioIo<Wire>),
    H2(Box<Duplex>),
}

impl Tunnel {
    /// Its end will be a break that the client sees, also where a close would look clean.
    pub fn reset(&self) {
        match &self.0 {
            Io::H1(io) => io.inner().reset(),
            // It is one in any case.
            Io::H2(_) => {}
        }
    }
}

impl Peer for Tunnel {
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Io::H1(io) => io.inner_mut().poll_gone(cx),
            Io::H2(stream) => stream.poll_gone(cx),
        }
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Io::H1(io) => Pin::new(io).poll_read(cx, buf),
            Io::H2(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Io::H1(io) => Pin::new(io).poll_write(cx, buf),
            Io::H2(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Io::H1(io) => Pin::new(io).poll_flush(cx),
            Io::H2(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Io::H1(io) => Pin::new(io).poll_shutdown(cx),
            Io::H2(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

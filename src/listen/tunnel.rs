//! The client's side of a tunnel, be it a connection of HTTP/1.1 after its 101 or a stream of HTTP/2 after its 200. It
//! carries bytes, and ends when it is told to.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::BytesMut;
use http::Extensions;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use super::wire::Wire;
use crate::tunnel::{Duplex, Peer};

/// Where the client's side will be, once the answer that switches has gone out.
#[derive(Debug)]
pub struct Switch(oneshot::Receiver<Tunnel>);

/// The same, among the extensions of its request.
#[derive(Clone, Debug)]
pub(super) struct OnSwitch(Arc<Mutex<Option<oneshot::Receiver<Tunnel>>>>);

impl OnSwitch {
    /// What is to be given the client's side; and what waits for it.
    pub(super) fn new() -> (oneshot::Sender<Tunnel>, Self) {
        let (give, take) = oneshot::channel();
        (give, Self(Arc::new(Mutex::new(Some(take)))))
    }
}

impl Switch {
    /// That of a request with these extensions, if it asks for another protocol. There is one: the second is `None`.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<Self> {
        let on = extensions.get::<OnSwitch>()?;
        on.0.lock().unwrap_or_else(PoisonError::into_inner).take().map(Self)
    }

    /// The client's side; `None` if the client was gone before.
    pub async fn stands(self) -> Option<Tunnel> {
        self.0.await.ok()
    }
}

/// The client's side. Dropped, a connection is closed, and a stream that has not ended is reset.
pub struct Tunnel(Io);

enum Io {
    /// What is left of a connection of HTTP/1.1.
    H1(Box<Wire>),
    H2(Box<Duplex>),
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel").finish_non_exhaustive()
    }
}

impl Tunnel {
    pub(super) fn of_wire(mut wire: Wire) -> Self {
        if wire.input.is_empty() {
            wire.input = BytesMut::new();
        }
        Self(Io::H1(Box::new(wire)))
    }

    pub(super) fn of_stream(stream: Duplex) -> Self {
        Self(Io::H2(Box::new(stream)))
    }

    /// Its end will be a break that the client sees, also where a close would look clean.
    pub fn reset(&mut self) {
        match &mut self.0 {
            Io::H1(wire) => wire.cut = true,
            // It is one in any case.
            Io::H2(_) => {}
        }
    }
}

impl Peer for Tunnel {
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Io::H1(wire) => wire.poll_gone(cx),
            Io::H2(stream) => stream.poll_gone(cx),
        }
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Io::H1(wire) => Pin::new(wire).poll_read(cx, buf),
            Io::H2(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Io::H1(wire) => Pin::new(wire).poll_write(cx, buf),
            Io::H2(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Io::H1(wire) => Pin::new(wire).poll_flush(cx),
            Io::H2(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Io::H1(wire) => Pin::new(wire).poll_shutdown(cx),
            Io::H2(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

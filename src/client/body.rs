//! What comes after a response head: the body, or the tunnel of a 101. Both hold the connection while something of it
//! is to come, and give it back or end it. What is read and how it fails is the codec's business (`h1`).

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Response};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Stream;
use crate::cause::Failure;
use crate::tunnel::Peer;

/// A response body: its frames under the silence clock (`timeouts.body`), its failures named. Dropped before its end,
/// it ends its connection.
pub struct Body(State);

enum State {
    Ended,
    /// All of it, come with the head: the connection is free already.
    Once(Bytes),
    /// Nothing but these is left; the connection is free already.
    Trailers(Box<HeaderMap>),
    Open(Box<dyn Streaming>),
}

/// A body that is here.
#[derive(Debug, Default)]
pub struct Whole {
    /// Its content.
    pub bytes: Bytes,
    /// What follows it.
    pub trailers: Option<Box<HeaderMap>>,
}

/// What a connection gives of a body.
#[derive(Debug)]
pub(super) enum Got {
    /// Content; with its end, if that is known already, and the trailers behind that.
    Data(Bytes, Option<Option<Box<HeaderMap>>>),
    /// The end, with trailers or none.
    End(Option<Box<HeaderMap>>),
}

/// A connection whose answer is still coming. Dropping it closes it.
pub(super) trait Streaming: Send {
    /// The next of the body.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Got, Failure>>;
    /// Bytes to come, if that is known.
    fn left(&self) -> Option<u64>;
    /// A body of known length is to come in one piece.
    fn wants_whole(&mut self);
    /// The answer was read to its end.
    fn settle(self: Box<Self>);
    /// The request was sent to its end.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>>;
    /// The connection as another protocol's.
    fn into_tunnel(self: Box<Self>) -> Tunnel;
}

impl Body {
    /// No body.
    #[must_use]
    pub const fn empty() -> Self {
        Self(State::Ended)
    }

    pub(super) const fn once(bytes: Bytes) -> Self {
        Self(State::Once(bytes))
    }

    pub(super) fn stream(connection: Box<dyn Streaming>) -> Self {
        Self(State::Open(connection))
    }

    /// All of it, if it came with the head; then nothing of it is left here.
    pub fn at_hand(&mut self) -> Option<Whole> {
        match &mut self.0 {
            State::Once(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = State::Ended;
                Some(Whole { bytes, trailers: None })
            }
            State::Ended | State::Trailers(_) | State::Open(_) => None,
        }
    }

    /// All of a body of known length. Over HTTP/1.1 it has no trailers (RFC 9112 §6.3), over HTTP/2 it may.
    ///
    /// # Errors
    /// The failure that cut it.
    pub fn whole(self) -> impl Future<Output = Result<Whole, Failure>> + Send {
        // No `async fn`: its future would have room for two of them.
        let mut body = self;
        async move {
            if let State::Open(connection) = &mut body.0 {
                connection.wants_whole();
            }
            let mut whole = Whole::default();
            while !http_body::Body::is_end_stream(&body) {
                let frame = std::future::poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut body), cx)).await;
                let Some(frame) = frame.transpose()? else { break };
                match frame.into_data() {
                    // It comes in one piece: `wants_whole`.
                    Ok(bytes) => whole.bytes = bytes,
                    Err(frame) => whole.trailers = frame.into_trailers().ok().map(Box::new),
                }
            }
            Ok(whole)
        }
    }

    /// The end of the body is here: the connection goes home, before anybody sees the last piece.
    fn end(&mut self, trailers: Option<Box<HeaderMap>>) {
        let next = trailers.map_or(State::Ended, State::Trailers);
        if let State::Open(connection) = std::mem::replace(&mut self.0, next) {
            connection.settle();
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if let State::Open(connection) = &mut self.0 {
            match ready!(connection.poll_next(cx)) {
                Ok(Got::Data(data, end)) => {
                    if let Some(trailers) = end {
                        self.end(trailers); // callers stop asking when `is_end_stream` says so
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Ok(Got::End(trailers)) => self.end(trailers),
                Err(failure) => {
                    self.0 = State::Ended;
                    return Poll::Ready(Some(Err(failure)));
                }
            }
        }
        Poll::Ready(match std::mem::replace(&mut self.0, State::Ended) {
            State::Once(bytes) => Some(Ok(Frame::data(bytes))),
            State::Trailers(trailers) => Some(Ok(Frame::trailers(*trailers))),
            State::Ended | State::Open(_) => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, State::Ended)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            State::Ended | State::Trailers(_) => SizeHint::with_exact(0),
            State::Once(bytes) => SizeHint::with_exact(bytes.len() as u64),
            State::Open(connection) => connection.left().map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Body").field(&http_body::Body::size_hint(self)).finish()
    }
}

/// The tunnel behind a 101 response, to be awaited once the client has its 101 too; `None` for any other response. It
/// takes the connection out of the body: call it before the body is dropped, and drop the future to end the connection.
/// Whether the 101 was asked for is the caller's to check.
#[must_use]
pub fn upgraded(response: &mut Response<Body>) -> Option<Upgrade> {
    if response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
        return None;
    }
    match std::mem::replace(&mut response.body_mut().0, State::Ended) {
        State::Open(connection) => Some(Upgrade(Some(connection))),
        State::Ended | State::Once(_) | State::Trailers(_) => None,
    }
}

/// Becomes the [`Tunnel`] when the request was sent to its end.
#[must_use = "dropping it ends the connection"]
pub struct Upgrade(Option<Box<dyn Streaming>>);

impl Future for Upgrade {
    type Output = Result<Tunnel, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(connection) = &mut self.0 else { return Poll::Pending };
        ready!(connection.poll_sent(cx))?;
        self.0.take().map_or(Poll::Pending, |connection| Poll::Ready(Ok(connection.into_tunnel())))
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").finish_non_exhaustive()
    }
}

/// An upgraded connection: bytes both ways, those first that came right behind the 101.
pub struct Tunnel {
    first: Bytes,
    io: Box<dyn Carrier>,
}

/// What a tunnel runs over.
pub(super) trait Carrier: Peer + Send {
    /// Its end will be a reset, where it is none anyway.
    fn reset_at_end(&self);
}

/// A connection of its own, whatever that is.
struct Alone<T>(T);

impl<T: Any> Alone<T> {
    /// The codec runs over any stream; in a proxy it is this one.
    fn stream(&mut self) -> Option<&mut Stream> {
        (&mut self.0 as &mut dyn Any).downcast_mut()
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Carrier for Alone<T> {
    fn reset_at_end(&self) {
        if let Some(stream) = (&self.0 as &dyn Any).downcast_ref::<Stream>() {
            stream.reset_at_end();
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Peer for Alone<T> {
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().map_or(Poll::Pending, |stream| stream.poll_gone(cx))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Alone<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Alone<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl Tunnel {
    /// Over a connection of its own.
    pub(super) fn alone(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, first: Bytes) -> Self {
        Self::over(Alone(io), first)
    }

    /// Over whatever carries it.
    pub(super) fn over(io: impl Carrier + 'static, first: Bytes) -> Self {
        Self { first, io: Box::new(io) }
    }

    /// Its end will be a break that the upstream sees, and no clean close.
    pub fn reset(&self) {
        self.io.reset_at_end();
    }
}

impl Peer for Tunnel {
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_gone(cx)
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel").finish_non_exhaustive()
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let length = self.first.len().min(buf.remaining());
        buf.put_slice(&self.first[..length]);
        self.first.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

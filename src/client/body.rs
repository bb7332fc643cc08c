//! What comes after a response head: the body, under its silence clock and with its failures named, or the tunnel of a
//! 101. Both hold the connection, and give it back or end it.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::classify;
use super::io::Wire;
use crate::cause::{Cause, Failure, Phase, spoken};

/// The connection that an answer comes on. Dropping it closes it.
pub(super) trait Lease: Send {
    /// What was seen on it.
    fn wire(&self) -> &Wire;
    /// The answer was read to its end.
    fn settle(self: Box<Self>);
}

/// A response body: its frames under the silence clock (`timeouts.body`), its failures named. Dropped before its end, it
/// ends its connection.
pub struct Body {
    /// `None`: at its end.
    open: Option<Open>,
}

struct Open {
    incoming: Incoming,
    lease: Box<dyn Lease>,
    limit: Duration,
    /// As the head said.
    wanted: Option<u64>,
    got: u64,
    /// Silent since then, asked for more.
    silent: Option<Instant>,
    /// Made at the first silence; moved on only when it fires.
    clock: Option<Pin<Box<Sleep>>>,
}

impl Body {
    /// No body.
    #[must_use]
    pub const fn empty() -> Self {
        Self { open: None }
    }

    /// The body that follows a head; `switches`: none does, the connection becomes a tunnel ([`upgraded`]).
    pub(super) fn new(incoming: Incoming, lease: Box<dyn Lease>, limit: Duration, switches: bool) -> Self {
        let wanted = http_body::Body::size_hint(&incoming).exact();
        let open = Open { incoming, lease, limit, wanted, got: 0, silent: None, clock: None };
        let mut body = Self { open: Some(open) };
        if !switches {
            body.settle_at_end();
        }
        body
    }

    fn settle_at_end(&mut self) {
        if self.open.as_ref().is_some_and(|open| http_body::Body::is_end_stream(&open.incoming)) {
            self.settle();
        }
    }

    fn settle(&mut self) {
        if let Some(open) = self.open.take() {
            open.lease.settle();
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = self.get_mut();
        let Some(open) = &mut this.open else { return Poll::Ready(None) };
        match Pin::new(&mut open.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                open.silent = None;
                open.got += frame.data_ref().map_or(0, |data| data.len() as u64);
                this.settle_at_end(); // callers stop asking when `is_end_stream` says so
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                this.settle();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                let failure = classify::cut_body(&mut open.lease.wire().facts(), open.got, open.wanted, error);
                this.open = None;
                Poll::Ready(Some(Err(failure)))
            }
            Poll::Pending => {
                ready!(open.poll_silence(cx));
                let failure =
                    Failure::new(Cause::BodyTimeout).in_phase(Phase::Body).sent(true).limit(spoken(open.limit));
                this.open = None;
                Poll::Ready(Some(Err(failure)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.open.as_ref().is_none_or(|open| open.incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.open.as_ref().map_or_else(|| SizeHint::with_exact(0), |open| open.incoming.size_hint())
    }
}

impl Open {
    /// Ready when the upstream was silent for too long. Time in which nobody asked does not count.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due = *self.silent.get_or_insert_with(Instant::now) + self.limit;
        let clock = self.clock.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        while clock.as_mut().poll(cx).is_ready() {
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            clock.as_mut().reset(due);
        }
        Poll::Pending
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut body = f.debug_struct("Body");
        match &self.open {
            Some(open) => body.field("got", &open.got).field("wanted", &open.wanted),
            None => body.field("ended", &true),
        };
        body.finish()
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
    let on = hyper::upgrade::on(&mut *response);
    let lease = response.body_mut().open.take()?.lease;
    Some(Upgrade { on, lease })
}

/// Becomes the [`Tunnel`] when the request was sent to its end.
#[must_use = "dropping it ends the connection"]
pub struct Upgrade {
    on: hyper::upgrade::OnUpgrade,
    lease: Box<dyn Lease>,
}

impl Future for Upgrade {
    type Output = Result<Tunnel, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(Pin::new(&mut self.on).poll(cx));
        Poll::Ready(match result {
            Ok(upgraded) => Ok(Tunnel { io: TokioIo::new(upgraded) }),
            Err(error) => {
                let source = self.lease.wire().facts().body_error.take().unwrap_or_else(|| error.into());
                Err(Failure::new(Cause::UpgradeFailed).sent(true).seen("the connection ended").from(source))
            }
        })
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").finish_non_exhaustive()
    }
}

/// An upgraded connection: bytes both ways, those first that came right behind the 101.
#[derive(Debug)]
pub struct Tunnel {
    io: TokioIo<hyper::upgrade::Upgraded>,
}

impl AsyncRead for Tunnel {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
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

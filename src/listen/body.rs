//! The request body as a [`Handler`](super::Handler) sees it: under the client's silence clock, its failures named.
//!
//! It reads nothing before it is polled: no `100 Continue` goes out until then. It comes over HTTP/1 or HTTP/2, and its
//! reader need not know which.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::h1::head::Framing;
use super::h1::link::Link;
use crate::cause::{Cause, Failure, spoken};

/// A request body. Its errors are the client's: `client_timeout` (408), `client_invalid` (400), `client_closed`.
#[derive(Debug)]
pub struct RequestBody {
    source: Source,
    silence: Duration,
    /// Since when the reader waits for the client.
    waiting: Option<Instant>,
    /// Made by the first wait; armed again only when it fires.
    clock: Option<Pin<Box<Sleep>>>,
}

/// Where it comes from.
#[derive(Debug)]
enum Source {
    /// What its length leaves to come, if it has one.
    H1 { link: Link, left: Option<u64>, ended: bool },
    /// All of it came with its head.
    Whole(Bytes),
    /// `stream` is `None` after its end, or an error.
    H2(Box<Stream>),
    /// Nothing comes, and nothing needs to be told.
    Empty,
}

#[derive(Debug)]
struct Stream {
    incoming: Option<RecvStream>,
    /// What Content-Length leaves to come.
    left: Option<u64>,
    /// There is no more data: only trailers may follow.
    trailing: bool,
    /// Told at the first poll: whoever waits for `100 Continue` is to get it.
    wanted: Option<Arc<AtomicBool>>,
}

impl RequestBody {
    /// The body of an HTTP/1 request that is still to come.
    pub(super) fn of_link(link: Link, framing: Framing, silence: Duration) -> Self {
        let left = if let Framing::Length(length) = framing { Some(length) } else { None };
        Self::of(Source::H1 { link, left, ended: false }, silence)
    }

    /// One that came with its head.
    pub(super) const fn whole(bytes: Bytes, silence: Duration) -> Self {
        Self::of(Source::Whole(bytes), silence)
    }

    /// The body of an HTTP/2 request, whose lengths h2 holds against each other.
    pub(super) fn of_stream(
        incoming: RecvStream,
        head: &HeaderMap,
        silence: Duration,
        wanted: Option<Arc<AtomicBool>>,
    ) -> Self {
        if incoming.is_end_stream() {
            return Self::of(Source::Empty, silence);
        }
        let left = head.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let stream = Stream { incoming: Some(incoming), left, trailing: false, wanted };
        Self::of(Source::H2(Box::new(stream)), silence)
    }

    /// No body.
    #[must_use]
    pub const fn none(silence: Duration) -> Self {
        Self::of(Source::Empty, silence)
    }

    const fn of(source: Source, silence: Duration) -> Self {
        Self { source, silence, waiting: None, clock: None }
    }

    /// Since when its reader waits for the client; `None`: it does not.
    #[must_use]
    pub fn waits_since(&self) -> Option<std::time::Instant> {
        self.waiting.map(Instant::into_std)
    }

    /// Has the client been silent for too long? Leaves a waker for the time when it will have been.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        let deadline = *self.waiting.get_or_insert_with(Instant::now) + self.silence;
        let clock = self.clock.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        while clock.as_mut().poll(cx).is_ready() {
            if clock.deadline() >= deadline {
                let limit = spoken(self.silence);
                let seen = format!("nothing more of the body for {limit} (limit: timeouts.body)");
                return Poll::Ready(Failure::new(Cause::ClientTimeout).limit(limit).seen(seen));
            }
            clock.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = &mut *self;
        match this.source.poll(cx) {
            Poll::Ready(item) => {
                this.waiting = None;
                Poll::Ready(item)
            }
            Poll::Pending => this.poll_silence(cx).map(|failure| {
                this.source.give_up();
                Some(Err(failure))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::H1 { ended, .. } => *ended,
            Source::Whole(bytes) => bytes.is_empty(),
            Source::H2(stream) => stream.incoming.as_ref().is_none_or(RecvStream::is_end_stream),
            Source::Empty => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::H1 { left, ended: false, .. } => left.map_or_else(SizeHint::default, SizeHint::with_exact),
            Source::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::H2(stream) if stream.incoming.is_some() => {
                stream.left.map_or_else(SizeHint::default, SizeHint::with_exact)
            }
            Source::H1 { .. } | Source::H2(_) | Source::Empty => SizeHint::with_exact(0),
        }
    }
}

impl Source {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let (link, left, ended) = match self {
            Self::H1 { ended: true, .. } | Self::Empty => return Poll::Ready(None),
            Self::H1 { link, left, ended } => (link, left, ended),
            Self::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                return Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))));
            }
            Self::H2(stream) => return stream.poll(cx),
        };
        let item = ready!(link.poll_body(cx));
        let data = item.as_ref().and_then(|item| item.as_ref().ok()?.data_ref());
        *ended = match (data, left) {
            (Some(data), Some(left)) => {
                *left = left.saturating_sub(data.len() as u64);
                *left == 0
            }
            (Some(_), None) => false,
            (None, _) => true,
        };
        Poll::Ready(item)
    }

    /// Nobody reads on.
    fn give_up(&mut self) {
        match self {
            Self::H1 { ended, .. } => *ended = true,
            Self::H2(stream) => stream.incoming = None,
            Self::Whole(_) | Self::Empty => {}
        }
    }
}

impl Stream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        if let Some(wanted) = self.wanted.take() {
            wanted.store(true, Relaxed);
        }
        let failed = if self.trailing {
            None
        } else {
            match ready!(incoming.poll_data(cx)) {
                Some(Ok(data)) => {
                    // What was read makes room for as much: the reader asks for more only when it has passed this on.
                    let _ = incoming.flow_control().release_capacity(data.len());
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => Some(error),
                None => {
                    self.trailing = true;
                    None
                }
            }
        };
        let item = match failed {
            Some(error) => Some(Err(of_stream(error))),
            None => match ready!(incoming.poll_trailers(cx)) {
                Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
                Err(error) => Some(Err(of_stream(error))),
            },
        };
        self.incoming = None;
        Poll::Ready(item)
    }
}

/// What h2 itself found wrong breaks its rules; everything else is a client that left.
fn of_stream(error: h2::Error) -> Failure {
    let broken = error.is_library() && !error.is_io();
    let failure = if broken {
        Failure::new(Cause::ClientInvalid).seen("its body is not as its head says, or its frames are broken")
    } else {
        Failure::new(Cause::ClientClosed)
    };
    failure.from(error)
}

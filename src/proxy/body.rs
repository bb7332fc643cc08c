//! The response body as the client gets it: counted, timed, and at its end the record's end.
//!
//! A short body of known length ([`holdable`]) is complete before the client sees its status, so that a cut one still
//! fails over. A body that breaks later ends in an error, which `listen` turns into a visible end; never a clean one.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Sleep, sleep_until};

use crate::cause::{Failure, Phase};
use crate::client;
use crate::observe::Exchange;
use crate::observe::exchange::EndedBy;

use super::deadline::Deadline;
use super::layers::{Encoded, Encoder};
use super::record::Open;

static X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// A response body. Concrete, never boxed.
#[derive(Debug)]
pub struct Body {
    inner: Inner,
    /// The record; its end is this body's end.
    open: Option<Box<Open>>,
    given: u64,
    /// The end of the exchange, for what still streams.
    deadline: Option<Box<(Pin<Box<Sleep>>, Deadline)>>,
}

#[derive(Debug)]
enum Inner {
    Empty,
    Once(Bytes, Option<Box<HeaderMap>>),
    /// What follows a content that has gone.
    Trailers(Box<HeaderMap>),
    Stream {
        body: client::Body,
        expected: Option<u64>,
    },
    /// Compressed on its way (`compress`).
    Encoded(Box<Encoded<client::Body>>),
}

impl Body {
    /// causeway's own answer, or a held one.
    pub(super) fn once(bytes: Bytes, open: Box<Open>) -> Self {
        let inner = if bytes.is_empty() { Inner::Empty } else { Inner::Once(bytes, None) };
        Self { inner, open: Some(open), given: 0, deadline: None }
    }

    /// The same, with these trailers behind it.
    pub(super) fn followed_by(mut self, trailers: Option<Box<HeaderMap>>) -> Self {
        if let Inner::Once(_, behind) = &mut self.inner {
            *behind = trailers;
        }
        self
    }

    /// An upstream's body, passed on as it comes.
    pub(super) fn stream(body: client::Body, open: Box<Open>, deadline: Option<Deadline>) -> Self {
        let expected = body.size_hint().exact();
        let deadline = deadline.map(|end| Box::new((Box::pin(sleep_until(end.cut())), end)));
        Self { inner: Inner::Stream { body, expected }, open: Some(open), given: 0, deadline }
    }

    /// Bytes whose record is closed already.
    pub(super) fn unrecorded(bytes: Bytes) -> Self {
        let inner = if bytes.is_empty() { Inner::Empty } else { Inner::Once(bytes, None) };
        Self { inner, open: None, given: 0, deadline: None }
    }

    /// Nothing follows the head, and the record is somebody else's (a tunnel's).
    pub(super) fn none() -> Self {
        Self { inner: Inner::Empty, open: None, given: 0, deadline: None }
    }

    /// An answer to HEAD has a head that speaks of a body which does not come: nothing is polled, and that is its end.
    pub(super) fn headless(open: Box<Open>) -> Self {
        Self { inner: Inner::Empty, open: Some(open), given: 0, deadline: None }
    }

    /// Compressed: at once where all of it is here, else as it comes.
    pub(super) fn encoded(mut self, encoder: impl FnOnce() -> Encoder) -> Self {
        self.inner = match std::mem::replace(&mut self.inner, Inner::Empty) {
            Inner::Once(bytes, trailers) => match encoder().whole(&bytes) {
                Ok(encoded) => Inner::Once(encoded.into(), trailers),
                // It writes to memory alone: this does not happen, and would end visibly.
                Err(_) => Inner::Empty,
            },
            Inner::Stream { body, .. } => Inner::Encoded(Box::new(Encoded::new(body, encoder()))),
            other @ (Inner::Empty | Inner::Trailers(_) | Inner::Encoded(_)) => other,
        };
        self
    }

    /// The record, while it is this body's.
    pub(super) fn exchange(&self) -> Option<&Exchange> {
        self.open.as_ref().map(|open| &open.exchange)
    }

    fn complete(&self) -> bool {
        match &self.inner {
            // Where the client's protocol has no place for trailers, nobody asks for them.
            Inner::Empty | Inner::Trailers(_) => true,
            Inner::Once(..) => false,
            Inner::Stream { body, expected } => {
                body.is_end_stream() || expected.is_some_and(|expected| self.given >= expected)
            }
            Inner::Encoded(encoded) => encoded.complete(),
        }
    }

    fn overdue(&mut self, cx: &mut Context<'_>) -> Option<Failure> {
        let (sleep, end) = &mut **self.deadline.as_mut()?;
        sleep.as_mut().poll(cx).is_ready().then(|| end.failure(Phase::Body, true))
    }

    fn broke(&mut self, failure: Failure) -> Failure {
        let told = Failure::new(failure.cause).in_phase(failure.phase).sent(true);
        if let Some(mut open) = self.open.take() {
            open.exchange.bytes_out = self.given;
            open.broke(failure);
        }
        self.inner = Inner::Empty;
        told
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = &mut *self;
        // First: a client that reads slowly must not keep the clock from being looked at.
        if let Some(failure) = this.overdue(cx) {
            return Poll::Ready(Some(Err(this.broke(failure))));
        }
        let polled = match &mut this.inner {
            Inner::Empty => Poll::Ready(None),
            Inner::Once(bytes, trailers) => {
                let (bytes, trailers) = (std::mem::take(bytes), trailers.take());
                this.inner = trailers.map_or(Inner::Empty, Inner::Trailers);
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Inner::Trailers(trailers) => {
                let trailers = std::mem::take(&mut **trailers);
                this.inner = Inner::Empty;
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            Inner::Stream { body, .. } => Pin::new(body).poll_frame(cx),
            Inner::Encoded(encoded) => encoded.poll_frame(cx),
        };
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                this.given += frame.data_ref().map_or(0, |data| data.len() as u64);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(failure))) => Poll::Ready(Some(Err(this.broke(failure)))),
            Poll::Ready(None) => {
                this.inner = Inner::Empty;
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Empty => true,
            Inner::Once(..) | Inner::Trailers(_) => false,
            Inner::Stream { body, .. } => body.is_end_stream(),
            Inner::Encoded(encoded) => encoded.complete(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Empty | Inner::Trailers(_) => SizeHint::with_exact(0),
            Inner::Once(bytes, _) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Stream { body, .. } => body.size_hint(),
            Inner::Encoded(_) => SizeHint::default(),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let complete = self.complete();
        if let Some(open) = &mut self.open {
            open.exchange.bytes_out = self.given;
            if complete {
                let by = if open.exchange.failure.is_some() { EndedBy::Proxy } else { EndedBy::Upstream };
                open.end(by);
            }
        }
    }
}

/// May this answer be held until it is complete? (CONTRACT §2 `buffers.response`.)
pub(super) fn holdable(response: &Response<client::Body>, method: &Method, limit: usize) -> bool {
    let headers = response.headers();
    let length = response.body().size_hint().exact();
    *method != Method::HEAD
        && !matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        && !response.status().is_informational()
        && length.is_some_and(|length| length > 0 && length <= limit as u64)
        && !unbuffered(headers)
}

/// Looks at every field: for so few that is cheaper than two hashes.
fn unbuffered(headers: &HeaderMap) -> bool {
    headers.iter().any(|(name, value)| {
        let unbuffered: &[u8] = match name {
            name if *name == CONTENT_TYPE => b"text/event-stream",
            name if *name == X_ACCEL_BUFFERING => b"no",
            _ => return false,
        };
        value.as_bytes().get(..unbuffered.len()).is_some_and(|start| start.eq_ignore_ascii_case(unbuffered))
    })
}

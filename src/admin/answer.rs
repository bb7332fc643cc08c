//! What an answer of the admin is: text or JSON, never a page that a browser would run something of.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::Full;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::observe::json;

/// An answer.
pub(super) type Answer = Response<Body>;

/// What follows its head.
#[derive(Debug)]
pub(super) enum Body {
    /// All of it.
    Whole(Full<Bytes>),
    /// What comes, when it comes.
    Stream(mpsc::Receiver<Bytes>),
}

impl Default for Body {
    fn default() -> Self {
        Self::Whole(Full::default())
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(whole) => Pin::new(whole).poll_frame(cx),
            Self::Stream(stream) => stream.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(whole) if whole.is_end_stream())
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Stream(_) => http_body::SizeHint::default(),
        }
    }
}

/// A status, and what is wrong in one sentence with the remedy.
pub(super) type Refusal = (StatusCode, String);

/// Plain text.
pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    whole(status, "text/plain; charset=utf-8", body.into())
}

/// What a machine reads, of this type.
pub(super) fn of(kind: &'static str, body: String) -> Answer {
    whole(StatusCode::OK, kind, body.into())
}

/// A document.
pub(super) fn document(value: &Value) -> Answer {
    whole(StatusCode::OK, "application/json", json::document(value).into())
}

/// A document that says why not.
pub(super) fn problem(status: StatusCode, value: &Value) -> Answer {
    whole(status, "application/json", json::document(value).into())
}

/// JSON that is written already.
pub(super) fn written(body: String) -> Answer {
    whole(StatusCode::OK, "application/json", body.into())
}

/// A refusal is one sentence.
pub(super) fn refused((status, why): Refusal) -> Answer {
    let mut answer = text(status, format!("{why}\n"));
    if status == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}

/// The path is there, and takes other methods.
pub(super) fn only(methods: &'static str) -> Answer {
    let sentence = format!(
        "Only {} answered here.\n",
        match methods.rsplit_once(", ") {
            Some((first, last)) => format!("{first} and {last} are"),
            None => format!("{methods} is"),
        }
    );
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, sentence);
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    answer
}

/// What comes, when it comes.
pub(super) fn stream(kind: &'static str, pieces: mpsc::Receiver<Bytes>) -> Answer {
    with(StatusCode::OK, kind, Body::Stream(pieces))
}

fn whole(status: StatusCode, kind: &'static str, body: Bytes) -> Answer {
    with(status, kind, Body::Whole(Full::new(body)))
}

fn with(status: StatusCode, kind: &'static str, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

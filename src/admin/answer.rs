//! What an answer of the admin is: text or JSON, never a page that a browser would run something of.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::Value;

use crate::observe::json;

/// A complete answer.
pub(super) type Answer = Response<Full<Bytes>>;

/// A status, and what is wrong in one sentence with the remedy.
pub(super) type Refusal = (StatusCode, String);

/// Plain text.
pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    with(status, "text/plain; charset=utf-8", body.into())
}

/// What a machine reads, of this type.
pub(super) fn of(kind: &'static str, body: String) -> Answer {
    with(StatusCode::OK, kind, body.into())
}

/// A document.
pub(super) fn document(value: &Value) -> Answer {
    with(StatusCode::OK, "application/json", json::document(value).into())
}

/// JSON that is written already.
pub(super) fn written(body: String) -> Answer {
    with(StatusCode::OK, "application/json", body.into())
}

/// A refusal is one sentence.
pub(super) fn refused((status, why): Refusal) -> Answer {
    text(status, format!("{why}\n"))
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

fn with(status: StatusCode, kind: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

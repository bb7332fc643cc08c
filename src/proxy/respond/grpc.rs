//! The annotated error as a gRPC status: trailers-only, so all of it stands in the head of a 200.

use std::fmt::Write;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response};

use crate::cause::Cause;

use super::words::{Story, short_id};

/// The fields that a gRPC client reads, in the head of an answer of its own type.
pub(super) fn render(story: &Story<'_>, content_type: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    fields.insert(CONTENT_LENGTH, HeaderValue::from(0));
    fields.insert("grpc-status", HeaderValue::from(code(story)));
    let message = format!("{}; request {}", story.detail.trim_end_matches('.'), short_id(&story.exchange.request_id));
    if let Ok(message) = HeaderValue::try_from(percent_encoded(&message)) {
        fields.insert("grpc-message", message);
    }
    if super::may_come_back(story.status) {
        fields.insert("grpc-retry-pushback-ms", HeaderValue::from(story.retry_after * 1000));
    }
    response
}

/// CONTRACT §4.
fn code(story: &Story<'_>) -> u16 {
    match story.status.as_u16() {
        _ if story.cause == Cause::NoRoute => 12,
        400 => 13,
        401 => 16,
        403 => 7,
        413 | 431 => 8,
        408 | 504 => 4,
        _ => 14,
    }
}

/// As the gRPC protocol has it: printable ASCII but `%` stands as it is.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

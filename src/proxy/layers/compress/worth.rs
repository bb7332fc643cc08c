//! Which answers are compressed, and what that does to their heads. Pure.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, response};

use super::super::super::headers::values;
use super::choose::Coding;

/// Below this a body of known length stays as it is: it would save no packet.
const LEAST: u64 = 1024;

/// May this answer be compressed for a client that takes it? `length`: of its body, where it is known.
pub(super) fn worth(head: &response::Parts, length: Option<u64>) -> bool {
    let headers = &head.headers;
    let said = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let bare = matches!(
        head.status,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED
    );
    !bare
        && !head.status.is_informational()
        && said.or(length).is_none_or(|length: u64| length >= LEAST)
        && !headers.contains_key(header::CONTENT_ENCODING)
        && !headers.contains_key(header::CONTENT_RANGE)
        && !values(headers, &header::CACHE_CONTROL).any(|word| word.eq_ignore_ascii_case("no-transform"))
        && headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.to_str().is_ok_and(text))
}

/// Media types that shrink. Not pictures, films and archives, which are small already; not text/event-stream and gRPC,
/// where each message counts.
fn text(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.split_once('/') {
        Some(("text", "event-stream")) => false,
        Some(("text", _)) => true,
        Some(("application", kind)) if kind.starts_with("grpc") => false,
        Some(("application", kind)) => {
            matches!(
                kind,
                "json"
                    | "javascript"
                    | "x-javascript"
                    | "ecmascript"
                    | "xml"
                    | "wasm"
                    | "x-ndjson"
                    | "ndjson"
                    | "jsonl"
                    | "json-seq"
                    | "graphql"
                    | "yaml"
                    | "toml"
                    | "rtf"
                    | "sql"
                    | "vnd.ms-fontobject"
                    | "x-font-ttf"
            ) || kind.ends_with("+json")
                || kind.ends_with("+xml")
        }
        Some(("image", kind)) => matches!(kind, "svg+xml" | "bmp" | "x-icon" | "vnd.microsoft.icon"),
        Some(("font", kind)) => matches!(kind, "ttf" | "otf"),
        _ => false,
    }
}

/// Caches learn that the answer depends on what the client takes.
pub(super) fn vary(headers: &mut HeaderMap) {
    let known = |word: &str| word == "*" || word.eq_ignore_ascii_case("accept-encoding");
    if !values(headers, &header::VARY).any(known) {
        headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

/// The fields that speak of the body as it was.
pub(super) fn encoded(headers: &mut HeaderMap, coding: Coding) {
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.token()));
    weaken(headers);
    for name in [header::CONTENT_LENGTH, header::ACCEPT_RANGES] {
        headers.remove(name);
    }
    for name in ["content-md5", "digest", "content-digest", "repr-digest"] {
        headers.remove(HeaderName::from_static(name));
    }
}

/// The same to read, but not byte for byte (RFC 9110 §8.8.1).
pub(super) fn weaken(headers: &mut HeaderMap) {
    if let Some(tag) = headers.get(header::ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""))
        && let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat())
    {
        headers.insert(header::ETAG, weak);
    }
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;

    fn head(status: u16, fields: &[(&'static str, &'static str)]) -> response::Parts {
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        response.body(()).unwrap().into_parts().0
    }

    #[test]
    fn only_what_shrinks_and_is_whole() {
        let json = ("content-type", "application/json; charset=utf-8");
        for (status, fields, length, wanted) in [
            (200, &[json][..], None, true),
            (200, &[json], Some(1024), true),
            (200, &[json], Some(1023), false),
            (200, &[json, ("content-length", "500")], None, false),
            (500, &[json], None, true),
            (404, &[("content-type", "Text/HTML")], None, true),
            (200, &[("content-type", "application/problem+json")], None, true),
            (200, &[("content-type", "image/svg+xml")], None, true),
            (200, &[("content-type", "image/png")], None, false),
            (200, &[("content-type", "text/event-stream; x=y")], None, false),
            (200, &[("content-type", "application/grpc+json")], None, false),
            (200, &[("content-type", "application/octet-stream")], None, false),
            (200, &[], None, false),
            (200, &[json, ("content-encoding", "br")], None, false),
            (206, &[json], None, false),
            (416, &[json, ("content-range", "bytes */9")], None, false),
            (204, &[json], None, false),
            (200, &[json, ("cache-control", "public, No-Transform")], None, false),
            (101, &[json], None, false),
        ] {
            assert_eq!(worth(&head(status, fields), length), wanted, "{status} {fields:?}");
        }
    }

    #[test]
    fn the_head_says_what_became_of_the_body() {
        let mut fields = head(
            200,
            &[
                ("content-length", "5000"),
                ("etag", "\"a\""),
                ("accept-ranges", "bytes"),
                ("vary", "Accept"),
                ("content-md5", "x"),
            ],
        )
        .headers;
        vary(&mut fields);
        vary(&mut fields);
        encoded(&mut fields, Coding::Gzip);
        let all: Vec<_> = fields.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        assert_eq!(all.len(), 4, "{all:?}");
        for line in ["etag: W/\"a\"", "vary: Accept", "vary: Accept-Encoding", "content-encoding: gzip"] {
            assert!(all.iter().any(|other| other == line), "{line}: {all:?}");
        }
        weaken(&mut fields);
        assert_eq!(fields["etag"], "W/\"a\"");
    }
}

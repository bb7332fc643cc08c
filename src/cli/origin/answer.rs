//! The good answers of an origin: who answered, what it was asked, which forwarded fields it got.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::SystemTime;

use serde_json::{Map, Value};

use crate::cause::escape;

use super::Behaviour;
use super::request::Head;

/// Fields that a proxy sets or keeps: what an answer echoes.
const ECHOED: &[&str] = &["host", "via", "forwarded", "x-real-ip", "x-request-id", "traceparent"];

/// The body of a page, and its type.
pub(super) struct Page {
    pub(super) body: Vec<u8>,
    pub(super) content_type: &'static str,
}

/// The page for a request: HTML, JSON or text, as its Accept says.
pub(super) fn page(behaviour: &Behaviour, head: &Head, received: u64) -> Page {
    let wants = |what: &str| head.field("accept").is_some_and(|accept| find(accept, what.as_bytes()));
    let method = escape(&head.method);
    let target = escape(&head.target);
    let echoed = || {
        head.fields()
            .map(|(name, value)| (escape(name).to_ascii_lowercase(), escape(value)))
            .filter(|(name, _)| ECHOED.contains(&name.as_str()) || name.starts_with("x-forwarded-"))
    };
    if wants("text/html") {
        let mut rows = String::new();
        for (name, value) in echoed() {
            let _ = writeln!(rows, "<tr><td>{}</td><td>{}</td></tr>", html(&name), html(&value));
        }
        let (name, method, target) = (html(&behaviour.name), html(&method), html(&target));
        let body = format!(
            "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\"><title>{name}</title>\n\
             <style>:root{{color-scheme:light dark}}body{{font:1rem/1.5 system-ui;max-width:44rem;margin:3rem auto;\
             padding:0 1rem}}td{{padding:0 1rem 0 0;overflow-wrap:anywhere}}</style>\n\
             <h1>This is {name}.</h1>\n<p>It was asked <code>{method} {target}</code>, with {received} bytes of body.\n\
             <table>{rows}</table>\n</html>\n"
        );
        Page { body: body.into_bytes(), content_type: "text/html; charset=utf-8" }
    } else if wants("application/json") {
        let fields: Map<String, Value> = echoed().map(|(name, value)| (name, Value::from(value))).collect();
        let value = serde_json::json!({
            "origin": behaviour.name, "method": method, "target": target, "body_bytes": received, "fields": fields,
        });
        Page { body: format!("{value:#}\n").into_bytes(), content_type: "application/json" }
    } else {
        let mut body = format!("{} answers {method} {target}\n", behaviour.name);
        if received > 0 {
            let _ = writeln!(body, "  with {received} bytes of body");
        }
        for (name, value) in echoed() {
            let _ = writeln!(body, "  {name}: {value}");
        }
        Page { body: body.into_bytes(), content_type: "text/plain; charset=utf-8" }
    }
}

/// Writes a response head. `length`: `None` for a chunked body.
pub(super) fn head(out: &mut Vec<u8>, name: &str, status: u16, length: Option<u64>, content_type: &str, keep: bool) {
    let reason = http::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("");
    let date = httpdate::HttpDate::from(SystemTime::now());
    let _ = write!(out, "HTTP/1.1 {status} {reason}\r\nDate: {date}\r\nServer: causeway-origin\r\nX-Origin: ");
    out.extend(name.bytes().filter(|b| (0x20..0x7f).contains(b)));
    out.extend_from_slice(b"\r\n");
    if !matches!(status, 204 | 304) {
        let _ = write!(out, "Content-Type: {content_type}\r\n");
        let _ = match length {
            Some(length) => write!(out, "Content-Length: {length}\r\n"),
            None => write!(out, "Transfer-Encoding: chunked\r\nCache-Control: no-store\r\n"),
        };
    }
    out.extend_from_slice(if keep { b"\r\n" } else { b"Connection: close\r\n\r\n" });
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn find(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle))
}

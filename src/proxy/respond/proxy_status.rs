//! Proxy-Status (RFC 9209): one member for this proxy, as a structured field (RFC 9651).

use std::fmt::Write;

use http::{HeaderValue, StatusCode};

use crate::cause::{Cause, Failure, Fault, Phase, alert};
use crate::observe::Exchange;

use super::text;
use super::verdict::Verdict;

/// The member of an error. `full`: tell the next hop (RFC 9209 §4 warns of telling everybody).
pub(super) fn error(name: &str, exchange: &Exchange, verdict: &Verdict, full: bool) -> HeaderValue {
    let failure = &*verdict.failure;
    let mut out = failure.behind.as_ref().map_or_else(String::new, |behind| format!("{behind}, "));
    out.push_str(&identifier(name));
    let _ = write!(out, "; error={}", error_type(failure));
    if let Some(attempt) = verdict.attempt.and_then(|index| exchange.attempts.get(index)) {
        if full {
            out.push_str("; next-hop=");
            string(&mut out, &attempt.authority);
        }
        if matches!(failure.phase, Phase::Request | Phase::Head | Phase::Body) {
            let _ = write!(out, "; next-protocol={}", attempt.protocol);
        }
    }
    let received = failure.received.or(switched(failure).then_some(101));
    if let Some(status) = received {
        let _ = write!(out, "; received-status={status}");
    }
    extra(&mut out, failure, verdict.status);
    out.push_str("; details=");
    string(&mut out, &details(exchange, failure));
    HeaderValue::try_from(out).unwrap_or_else(|_| HeaderValue::from_static("causeway"))
}

/// The member of an answer that passes.
pub(super) fn passing(name: &str, next_hop: &str, next_protocol: &str, received: StatusCode) -> HeaderValue {
    let mut out = identifier(name);
    out.push_str("; next-hop=");
    string(&mut out, next_hop);
    let _ = write!(out, "; next-protocol={next_protocol}; received-status={}", received.as_u16());
    HeaderValue::try_from(out).unwrap_or_else(|_| HeaderValue::from_static("causeway"))
}

/// Did a 101 come? An upstream that takes no upgrade over HTTP/2 is not even asked.
fn switched(failure: &Failure) -> bool {
    failure.cause == Cause::UpgradeFailed && failure.phase != Phase::Queue
}

/// The row's type, or that of one field which is too large by itself. The few causes that end no exchange by themselves
/// have none there.
fn error_type(failure: &Failure) -> &'static str {
    let row = failure.cause.row();
    match (row.rfc9209, row.fault) {
        _ if failure.field_too_large().is_some() => "http_response_header_size",
        ("", Fault::Client) => "http_request_error",
        ("", _) => "destination_unavailable",
        (own, _) => own,
    }
}

/// The parameters that belong to one error type (RFC 9209 §2.3).
fn extra(out: &mut String, failure: &Failure, status: StatusCode) {
    let seen = failure.seen.as_deref();
    match failure.cause {
        Cause::DnsNotFound if matches!(seen, None | Some("no such name")) => out.push_str("; rcode=\"NXDOMAIN\""),
        Cause::DnsFailure if seen.is_some_and(|seen| RCODES.contains(&seen)) => {
            out.push_str("; rcode=");
            string(out, seen.unwrap_or_default());
        }
        Cause::ResponseHeadTooLarge => match (failure.field_too_large(), &failure.oversize) {
            (Some((name, size)), _) => {
                out.push_str("; header-name=");
                string(out, name);
                integer(out, "header-size", size);
            }
            (None, Some(over)) => integer(out, "header-section-size", over.size),
            (None, None) => {}
        },
        Cause::TlsAlert => {
            if let Some(id) = failure.alert {
                integer(out, "alert-id", id.into());
                out.push_str("; alert-message=");
                string(out, alert::name(id));
            }
        }
        Cause::BadChunking => out.push_str("; coding=chunked"),
        _ if error_type(failure) == "http_request_error" => {
            integer(out, "status-code", status.as_u16().into());
            out.push_str("; status-phrase=");
            string(out, text::reason_phrase(status));
        }
        _ => {}
    }
}

/// What a name server says when it gives no answer.
const RCODES: [&str; 4] = ["FORMERR", "SERVFAIL", "NOTIMP", "REFUSED"];

/// 15 digits are the most an Integer may have (RFC 9651 §3.3.1).
fn integer(out: &mut String, name: &str, value: u64) {
    if value < 1_000_000_000_000_000 {
        let _ = write!(out, "; {name}={value}");
    }
}

/// `2 failed: connection_refused, read_timeout; 1 not tried: evicted; request 4f6c2a91`: no addresses, ever.
fn details(exchange: &Exchange, failure: &Failure) -> String {
    let mut out = String::new();
    let failed = exchange.failures().count();
    if failed > 0 {
        let _ = write!(out, "{failed} failed: ");
        list(&mut out, exchange.failures().map(|(_, failure)| failure.cause.token()));
        out.push_str("; ");
    }
    if !exchange.not_tried.is_empty() {
        let _ = write!(out, "{} not tried: ", exchange.not_tried.len());
        list(&mut out, exchange.not_tried.iter().map(|skip| skip.reason.token()));
        out.push_str("; ");
    }
    if failed == 0 && exchange.not_tried.is_empty() {
        let _ = write!(out, "{}; ", failure.cause);
        if let (Cause::LoopDetected, Some(token)) = (failure.cause, &failure.seen) {
            let _ = write!(out, "{token}; ");
        }
    }
    let _ = write!(out, "request {}", super::words::short_id(&exchange.request_id));
    out
}

/// At most eight; the rest is counted. A field that grows with the pool would break somebody's header limit.
fn list<'a>(out: &mut String, words: impl Iterator<Item = &'a str>) {
    const MOST: usize = 8;
    let mut rest = 0;
    for (index, word) in words.enumerate() {
        match index {
            0 => out.push_str(word),
            1..MOST => {
                let _ = write!(out, ", {word}");
            }
            _ => rest += 1,
        }
    }
    if rest > 0 {
        let _ = write!(out, " and {rest} more");
    }
}

/// A deployment's name: a Token where it is one, else a String (RFC 9209 §2).
fn identifier(name: &str) -> String {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&b);
    if name.bytes().all(token) && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '*') {
        return name.to_owned();
    }
    let mut out = String::new();
    string(&mut out, name);
    out
}

/// A String: printable ASCII, `"` and `\` escaped; anything else becomes `?`.
fn string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ => out.push('?'),
        }
    }
    out.push('"');
}

//! A finished record as spans: one for the request, and under it one for each attempt, in the words of OpenTelemetry's
//! semantic conventions for HTTP; what those have no word for is `causeway.…`. No query, no field but User-Agent, no
//! body: what may be secret stays here.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::{Method, Version};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use crate::cause::{Failure, Fault, bare, escape};
use crate::observe::exchange::{Attempt, Exchange, Outcome};
use crate::observe::metrics::code::METHODS;
use crate::observe::told;

use super::context::Context;

/// No text in a span is longer.
const TEXT_MOST: usize = 1 << 10;

/// Bits 8 and 9 of a span's flags: it is known whether its parent is in another process, and it is.
const PARENT_KNOWN: u32 = 1 << 8;
const PARENT_ELSEWHERE: u32 = 1 << 9;

/// All of an exchange.
pub(super) fn of(exchange: &Exchange, context: &Context) -> Vec<Span> {
    let mut spans = Vec::with_capacity(1 + exchange.attempts.len());
    spans.push(request(exchange, context));
    let rows = exchange.attempts.iter().zip(&context.began).enumerate();
    spans.extend(rows.map(|(index, (row, began))| attempt(exchange, context, index, row, *began)));
    spans
}

fn request(exchange: &Exchange, context: &Context) -> Span {
    let mut fields = Fields::default();
    let method = method(&mut fields, &exchange.method);
    fields.text("url.scheme", "http");
    fields.text("url.path", exchange.uri.path());
    if let Some(host) = &exchange.host {
        server(&mut fields, &escape(host.as_bytes()));
    }
    fields.text("client.address", &exchange.client.ip().to_string());
    fields.text("network.protocol.version", version(exchange.version));
    if let Some(agent) = &exchange.user_agent {
        fields.text("user_agent.original", &escape(agent.as_bytes()));
    }
    if exchange.status != 0 {
        fields.number("http.response.status_code", exchange.status.into());
    }
    fields.number("http.request.body.size", exchange.bytes_in);
    fields.number("http.response.body.size", exchange.bytes_out);
    fields.text("causeway.request_id", &exchange.request_id);
    fields.text("causeway.listener", &exchange.listener);
    for (key, name) in [("causeway.route", &exchange.route), ("causeway.pool", &exchange.pool)] {
        if let Some(name) = name {
            fields.text(key, name);
        }
    }
    fields.flag("causeway.rescued", exchange.rescued());
    fields.text("causeway.ended_by", exchange.ended_by.token());
    let not_tried: Vec<String> =
        exchange.not_tried.iter().map(|skip| format!("{}: {}", skip.upstream, skip.reason.token())).collect();
    if exchange.failure.is_some() && !not_tried.is_empty() {
        fields.text("causeway.not_tried", &not_tried.join(", "));
    }
    // A status that blames the client is no error of this span (semantic conventions, "Status").
    let failure = exchange.failure.as_deref();
    let status = match failure {
        Some(failure) => failed(&mut fields, failure, failure.cause.row().fault != Fault::Client),
        None if exchange.status >= 500 => code(&mut fields, exchange.status),
        None => None,
    };
    let parent = context.parent.map(|id| (id, PARENT_ELSEWHERE));
    let name = match &exchange.route {
        Some(route) => format!("{method} {route}"),
        None => method.to_owned(),
    };
    let times = (exchange.at, exchange.elapsed);
    Span { kind: SpanKind::Server.into(), status, ..span(context, context.span, parent, &name, times, fields) }
}

fn attempt(exchange: &Exchange, context: &Context, index: usize, row: &Attempt, began: Instant) -> Span {
    let mut fields = Fields::default();
    let method = method(&mut fields, &exchange.method);
    server(&mut fields, &row.authority);
    if index > 0 {
        fields.number("http.request.resend_count", index as u64);
    }
    fields.text("causeway.upstream", &row.upstream);
    if let Some(pool) = &exchange.pool {
        fields.text("causeway.pool", pool);
    }
    fields.flag("causeway.reused", row.reused);
    if row.last_resort {
        fields.flag("causeway.last_resort", true);
    }
    for (key, took) in [("causeway.connect_ms", row.connect), ("causeway.head_ms", row.head)] {
        if let Some(took) = took {
            fields.add(key, Value::DoubleValue(took.as_secs_f64() * 1e3));
        }
    }
    let status = match &row.outcome {
        Outcome::Answered(status) => {
            fields.number("http.response.status_code", (*status).into());
            // It broke off after its head: the failure is the exchange's.
            let broke = exchange.failure.as_deref().filter(|_| index + 1 == exchange.attempts.len());
            match broke {
                Some(failure) if failure.cause.row().fault == Fault::Upstream => failed(&mut fields, failure, true),
                _ if *status >= 400 => code(&mut fields, *status),
                _ => None,
            }
        }
        Outcome::Failed(failure) => {
            if let Some(received) = failure.received {
                fields.number("http.response.status_code", received.into());
            }
            fields.flag("causeway.sent", failure.sent);
            failed(&mut fields, failure, true)
        }
    };
    let at = exchange.at + began.saturating_duration_since(exchange.started);
    let (id, parent, name) = (context.attempt_id(index), Some((context.span, 0)), method);
    Span { kind: SpanKind::Client.into(), status, ..span(context, id, parent, name, (at, row.elapsed), fields) }
}

fn span(
    context: &Context,
    id: u64,
    parent: Option<(u64, u32)>,
    name: &str,
    (at, elapsed): (SystemTime, Duration),
    fields: Fields,
) -> Span {
    Span {
        trace_id: context.trace.to_be_bytes().into(),
        span_id: id.to_be_bytes().into(),
        trace_state: context.state.clone(),
        parent_span_id: parent.map(|(id, _)| id.to_be_bytes().into()).unwrap_or_default(),
        flags: u32::from(context.flags) | PARENT_KNOWN | parent.map_or(0, |(_, elsewhere)| elsewhere),
        name: cut(name),
        start_time_unix_nano: nanos(at),
        end_time_unix_nano: nanos(at + elapsed),
        attributes: fields.0,
        ..Span::default()
    }
}

/// Attributes.
#[derive(Default)]
struct Fields(Vec<KeyValue>);

impl Fields {
    fn add(&mut self, key: &str, value: Value) {
        self.0.push(pair(key, value));
    }

    fn text(&mut self, key: &str, text: &str) {
        self.add(key, Value::StringValue(cut(text)));
    }

    fn number(&mut self, key: &str, number: u64) {
        self.add(key, Value::IntValue(i64::try_from(number).unwrap_or(i64::MAX)));
    }

    fn flag(&mut self, key: &str, flag: bool) {
        self.add(key, Value::BoolValue(flag));
    }
}

pub(super) fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// The method, and the name of a span that has it.
fn method(fields: &mut Fields, method: &Method) -> &'static str {
    let known = METHODS.iter().find(|known| **known == method.as_str()).filter(|known| **known != "other");
    fields.text("http.request.method", known.unwrap_or(&"_OTHER"));
    if known.is_none() {
        fields.text("http.request.method_original", method.as_str());
    }
    known.unwrap_or(&"HTTP")
}

/// `host:port`, a host, or the path of a socket.
fn server(fields: &mut Fields, authority: &str) {
    let (host, port) = match authority.strip_prefix("unix:") {
        Some(path) => (path, None),
        None => match bare(authority).rsplit_once(':') {
            // An IPv6 address holds colons; only behind its brackets one means a port.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()),
            _ => (authority, None),
        },
    };
    fields.text("server.address", host.trim_matches(['[', ']']));
    if let Some(port) = port {
        fields.number("server.port", port);
    }
}

fn failed(fields: &mut Fields, failure: &Failure, blamed: bool) -> Option<Status> {
    fields.text("error.type", failure.cause.token());
    fields.text("causeway.cause", failure.cause.token());
    fields.text("causeway.phase", failure.phase.token());
    blamed.then(|| Status { code: StatusCode::Error.into(), message: cut(&told::whole(failure)) })
}

fn code(fields: &mut Fields, status: u16) -> Option<Status> {
    fields.text("error.type", &status.to_string());
    Some(Status { code: StatusCode::Error.into(), message: String::new() })
}

const fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "2",
        Version::HTTP_10 | Version::HTTP_09 => "1.0",
        _ => "1.1",
    }
}

fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_MOST)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(fields: &Fields, key: &str) -> Option<String> {
        let found = fields.0.iter().find(|pair| pair.key == key)?.value.clone()?.value?;
        match found {
            Value::StringValue(text) => Some(text),
            Value::IntValue(number) => Some(number.to_string()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn hosts_and_ports() {
        for (authority, host, port) in [
            ("127.0.0.1:3000", "127.0.0.1", Some("3000")),
            ("shop.example", "shop.example", None),
            ("[::1]:3000", "::1", Some("3000")),
            ("[::1]", "::1", None),
            ("::1", "::1", None),
            ("unix:/run/app.sock", "/run/app.sock", None),
            ("", "", None),
        ] {
            let mut fields = Fields::default();
            server(&mut fields, authority);
            assert_eq!(text(&fields, "server.address").as_deref(), Some(host), "{authority}");
            assert_eq!(text(&fields, "server.port").as_deref(), port, "{authority}");
        }
    }

    #[test]
    fn a_method_of_somebodys_own_makes_no_name() {
        let mut fields = Fields::default();
        assert_eq!(method(&mut fields, &"PURGE".parse().unwrap()), "HTTP");
        assert_eq!(text(&fields, "http.request.method").unwrap(), "_OTHER");
        assert_eq!(text(&fields, "http.request.method_original").unwrap(), "PURGE");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let long = "\u{20ac}".repeat(1000);
        assert!(cut(&long).len() <= TEXT_MOST && long.starts_with(&cut(&long)));
        assert_eq!(cut("short"), "short");
    }
}

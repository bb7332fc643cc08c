//! The access log: one line for each exchange, formatted by the worker, written by a thread of its own.
//!
//! Never blocks traffic: the queue is bounded; when the reader is slow, lines are dropped and counted. The forms are
//! JSON (every attempt in it), combined (as nginx writes it, byte for byte) and a human one for terminals.

use std::fmt::{self, Write};
use std::io;
use std::time::Duration;

use http::Version;

use crate::config::model::{AccessFormat, Log};

use super::exchange::{Attempt, EndedBy, Exchange, NotTried, Outcome};
use super::json;
use super::lines::{self, Lines};
use super::time::Utc;
use super::told::{self, spoken};

/// How long a line may wait for company.
const LINGER: Duration = Duration::from_millis(100);

/// The handle that workers share; cheap to clone.
#[derive(Clone, Debug)]
pub struct AccessLog {
    lines: Option<Lines>,
    form: Form,
}

/// What a line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One object a line.
    Json,
    /// `client - - [time] "request" status bytes "referer" "user agent"`
    Combined,
    /// For a person at a terminal.
    Human,
}

impl AccessLog {
    /// Opens the target and starts the writer thread.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn start(log: &Log) -> io::Result<Self> {
        let form = match log.access {
            AccessFormat::Off => return Ok(Self::off()),
            AccessFormat::Auto if lines::is_terminal(&log.access_to) => Form::Human,
            AccessFormat::Auto | AccessFormat::Json => Form::Json,
            AccessFormat::Combined => Form::Combined,
        };
        // More slots than most machines have workers; a thread too many shares one.
        Ok(Self { lines: Some(Lines::start("access-log", &log.access_to, 16, LINGER)?), form })
    }

    /// A log that nobody reads.
    #[must_use]
    pub const fn off() -> Self {
        Self { lines: None, form: Form::Json }
    }

    /// Writes one exchange's line, or counts it as dropped. Routes with `access_log = false` leave none.
    pub fn write(&self, exchange: &Exchange) {
        if let Some(lines) = self.lines.as_ref().filter(|_| exchange.logged) {
            lines.line(|out| line(out, self.form, exchange));
        }
    }

    /// Lines dropped since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.lines.as_ref().map_or(0, Lines::dropped)
    }

    /// Closes and opens the file again (USR1), for log rotation.
    pub fn reopen(&self) {
        if let Some(lines) = &self.lines {
            lines.reopen();
        }
    }

    /// Waits until all that was written is out (end of the process), at most this long.
    pub fn flush(&self, at_most: Duration) {
        if let Some(lines) = &self.lines {
            lines.flush(at_most);
        }
    }
}

/// Appends an exchange's line, without its end.
pub fn line(out: &mut String, form: Form, exchange: &Exchange) {
    match form {
        Form::Json => object(out, exchange),
        Form::Combined => combined(out, exchange),
        Form::Human => human(out, exchange),
    }
}

/// Appends formatted text. A `String` takes everything.
fn put(out: &mut String, text: fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

fn object(out: &mut String, exchange: &Exchange) {
    put(out, format_args!("{{\"time\":\"{}\"", Utc::from(exchange.at).millis()));
    out.push_str(",\"request_id\":");
    json::string(out, &exchange.request_id);
    put(out, format_args!(",\"client\":\"{}\",\"listener\":", exchange.client.ip()));
    json::string(out, &exchange.listener);
    // A method is a token (RFC 9110 §9.1): nothing in it needs escaping.
    quoted(out, "method", exchange.method.as_str());
    if let Some(host) = &exchange.host {
        out.push_str(",\"host\":");
        json::bytes(out, host.as_bytes());
    }
    out.push_str(",\"uri\":");
    target(out, exchange);
    quoted(out, "protocol", protocol(exchange.version));
    number(out, "status", exchange.status.into());
    if let Some(failure) = &exchange.failure {
        quoted(out, "cause", failure.cause.token());
    }
    number(out, "bytes_in", exchange.bytes_in);
    number(out, "bytes_out", exchange.bytes_out);
    millis(out, "elapsed_ms", Some(exchange.elapsed));
    for (name, value) in [("route", &exchange.route), ("pool", &exchange.pool)] {
        if let Some(value) = value {
            label(out, name);
            json::string(out, value);
        }
    }
    if let Some(upstream) = exchange.answered_by() {
        out.push_str(",\"upstream\":");
        json::string(out, upstream);
    }
    if exchange.pool.is_some() {
        flag(out, "rescued", exchange.rescued());
        out.push_str(",\"attempts\":[");
        separated(out, &exchange.attempts, |out, attempt| object_of_attempt(out, attempt, exchange.failure.is_some()));
        out.push(']');
    }
    if exchange.failure.is_some() && !exchange.not_tried.is_empty() {
        out.push_str(",\"not_tried\":[");
        separated(out, &exchange.not_tried, object_of_skip);
        out.push(']');
    }
    quoted(out, "ended_by", exchange.ended_by.token());
    if let Some(agent) = &exchange.user_agent {
        out.push_str(",\"user_agent\":");
        json::bytes(out, agent.as_bytes());
    }
    out.push('}');
}

/// `trail`: the client saw a failure, so the line also holds what was told by system and library.
fn object_of_attempt(out: &mut String, attempt: &Attempt, trail: bool) {
    out.push_str("{\"upstream\":");
    json::string(out, &attempt.upstream);
    match &attempt.outcome {
        Outcome::Answered(status) => {
            number(out, "status", (*status).into());
            flag(out, "reused", attempt.reused);
            millis(out, "connect_ms", attempt.connect);
            millis(out, "head_ms", attempt.head);
            millis(out, "body_ms", attempt.body());
        }
        Outcome::Failed(failure) => {
            quoted(out, "phase", failure.phase.token());
            quoted(out, "cause", failure.cause.token());
            flag(out, "sent", failure.sent);
        }
    }
    millis(out, "elapsed_ms", Some(attempt.elapsed));
    if attempt.last_resort {
        flag(out, "last_resort", true);
    }
    if let Outcome::Failed(failure) = &attempt.outcome
        && trail
    {
        out.push_str(",\"message\":");
        json::string(out, &told::whole(failure));
    }
    out.push('}');
}

fn object_of_skip(out: &mut String, skip: &NotTried) {
    out.push_str("{\"upstream\":");
    json::string(out, &skip.upstream);
    quoted(out, "reason", skip.reason.token());
    quoted(out, "state", skip.state.token());
    if let Some((cause, message)) = skip.trouble() {
        quoted(out, "cause", cause.token());
        out.push_str(",\"message\":");
        json::string(out, message);
    }
    out.push('}');
}

fn millis(out: &mut String, name: &str, duration: Option<Duration>) {
    if let Some(duration) = duration {
        label(out, name);
        json::millis(out, duration);
    }
}

/// A word of our own that needs no escaping.
fn quoted(out: &mut String, name: &str, word: &str) {
    label(out, name);
    out.push('"');
    out.push_str(word);
    out.push('"');
}

fn number(out: &mut String, name: &str, value: u64) {
    label(out, name);
    json::number(out, value);
}

fn flag(out: &mut String, name: &str, value: bool) {
    label(out, name);
    out.push_str(if value { "true" } else { "false" });
}

fn label(out: &mut String, name: &str) {
    out.push_str(",\"");
    out.push_str(name);
    out.push_str("\":");
}

fn separated<T>(out: &mut String, items: &[T], mut one: impl FnMut(&mut String, &T)) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        one(out, item);
    }
}

/// The target as received. Nearly always a path and a query, which need no formatting machinery.
fn target(out: &mut String, exchange: &Exchange) {
    match exchange.uri.path_and_query() {
        Some(target) if exchange.uri.scheme().is_none() => json::string(out, target.as_str()),
        _ => json::string(out, &exchange.uri.to_string()),
    }
}

/// The words of `protocols` in the config; `h1.0` for the old one.
const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "h2",
        Version::HTTP_10 | Version::HTTP_09 => "h1.0",
        _ => "h1",
    }
}

fn combined(out: &mut String, exchange: &Exchange) {
    put(out, format_args!("{} - - [{}] \"", exchange.client.ip(), Utc::from(exchange.at).combined()));
    nginx(out, exchange.method.as_str().as_bytes());
    out.push(' ');
    nginx(out, exchange.uri.to_string().as_bytes());
    put(out, format_args!(" {:?}\" {} {} \"", exchange.version, exchange.status, exchange.bytes_out));
    nginx(out, exchange.referer.as_ref().map_or(b"-", |value| value.as_bytes()));
    out.push_str("\" \"");
    nginx(out, exchange.user_agent.as_ref().map_or(b"-", |value| value.as_bytes()));
    out.push('"');
}

/// nginx's escaping: `"`, `\` and all that is not printable ASCII as `\xHH`.
fn nginx(out: &mut String, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => put(out, format_args!("\\x{byte:02X}")),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => put(out, format_args!("\\x{byte:02X}")),
        }
    }
}

/// `14:01:12.318 200  GET shop.example/orders  14.7 ms  app/127.0.0.1:3001  rescued (127.0.0.1:3000 connection_refused)`
fn human(out: &mut String, exchange: &Exchange) {
    put(out, format_args!("{} {}  {} ", Utc::from(exchange.at).clock(), exchange.status, exchange.method));
    let host = exchange.host.as_ref().map_or(&b""[..], |host| host.as_bytes());
    put(out, format_args!("{}{}", host.escape_ascii(), exchange.uri.path().as_bytes().escape_ascii()));
    put(out, format_args!("  {}", spoken(exchange.elapsed)));
    match (&exchange.pool, exchange.answered_by()) {
        (Some(pool), Some(upstream)) => put(out, format_args!("  {pool}/{upstream}")),
        (Some(pool), None) => put(out, format_args!("  {pool}")),
        (None, _) => {}
    }
    let mut failures = exchange.failures().peekable();
    match &exchange.failure {
        _ if exchange.rescued() && exchange.failure.is_none() => out.push_str("  rescued"),
        Some(failure) => put(out, format_args!("  {}", failure.cause)),
        None => return,
    }
    if failures.peek().is_none() && exchange.not_tried.is_empty() {
        return;
    }
    out.push_str(" (");
    let mut first = true;
    let mut comma = |out: &mut String| {
        if !std::mem::take(&mut first) {
            out.push_str(", ");
        }
    };
    for (attempt, failure) in failures {
        comma(out);
        put(out, format_args!("{} {}", attempt.upstream, failure.cause));
    }
    for skip in exchange.not_tried.iter().filter(|_| exchange.failure.is_some()) {
        comma(out);
        put(out, format_args!("{} not tried: {}", skip.upstream, skip.reason.token()));
    }
    out.push(')');
}

impl EndedBy {
    /// The word of the log.
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Proxy => "proxy",
            Self::Client => "client",
        }
    }
}

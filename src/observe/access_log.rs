//! The access log: one line for each exchange, formatted by the worker, written by a thread of its own.
//!
//! Never blocks traffic: the queue is bounded; when the reader is slow, lines are dropped and counted. The forms are
//! JSON (every attempt in it), combined (as nginx writes it, byte for byte) and a human one for terminals.

use std::fmt;
use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use http::Version;

use crate::cause::Failure;
use crate::config::model::{AccessFormat, Log};

use super::exchange::{Attempt, EndedBy, Exchange, NotTried, Outcome};
use super::json::{self, Out};
use super::lines::{self, Lines};
use super::login;
use super::row::{self, Row};
use super::time::{self, Utc};
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
    /// `client - user [time] "request" status bytes "referer" "user agent"`
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
            lines.bytes(|out| line(out, self.form, exchange));
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
pub fn line(out: &mut Vec<u8>, form: Form, exchange: &Exchange) {
    match form {
        Form::Json => row::append(out, |row| object(row, exchange)),
        Form::Combined => combined(out, exchange),
        Form::Human => human(out, exchange),
    }
}

/// Appends formatted text. Memory takes everything.
fn put(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

fn object<'a>(mut row: Row<'a>, exchange: &Exchange) -> Row<'a> {
    row.plain(r#"{"time":""#);
    row.plain(time::stamp(exchange.at));
    // An id is of a closed alphabet, and a method is a token (RFC 9110 §9.1): nothing in them needs escaping.
    row.plain(r#"","request_id":""#);
    row.plain(exchange.request_id.value());
    if let Some(trace) = exchange.trace_id {
        row.plain(r#"","trace_id":""#);
        row.plain(trace.digits());
    }
    row.plain(r#"","client":""#);
    row.address(exchange.client.ip());
    row.plain(r#"","listener":""#);
    row.string(exchange.listener.as_bytes());
    row.plain(r#"","method":""#);
    row.plain(exchange.method.as_str());
    if let Some(host) = &exchange.host {
        row.plain(r#"","host":""#);
        row.string(host.as_bytes());
    }
    row.plain(r#"","uri":""#);
    // Nearly always a path and a query, which need no formatting machinery.
    match exchange.uri.path_and_query() {
        Some(target) if exchange.uri.scheme().is_none() => row.string(target.as_str().as_bytes()),
        _ => row.string(exchange.uri.to_string().as_bytes()),
    }
    row.plain(r#"","protocol":""#);
    row.plain(protocol(exchange.version));
    row.plain(r#"","status":"#);
    row.number(exchange.status.into());
    if let Some(failure) = &exchange.failure {
        row.plain(r#","cause":""#);
        row.plain(failure.cause.token());
        row.plain("\"");
    }
    row.plain(r#","bytes_in":"#);
    row.number(exchange.bytes_in);
    row.plain(r#","bytes_out":"#);
    row.number(exchange.bytes_out);
    row.plain(r#","elapsed_ms":"#);
    row.millis(exchange.elapsed);
    if let Some(route) = &exchange.route {
        row.plain(r#","route":""#);
        row.string(route.as_bytes());
        row.plain("\"");
    }
    if let Some(pool) = &exchange.pool {
        row.plain(r#","pool":""#);
        row.string(pool.as_bytes());
        row.plain("\"");
    }
    if let Some(upstream) = exchange.answered_by() {
        row.plain(r#","upstream":""#);
        row.string(upstream.as_bytes());
        row.plain("\"");
    }
    if exchange.pool.is_some() {
        row.plain(if exchange.rescued() {
            r#","rescued":true,"attempts":["#
        } else {
            r#","rescued":false,"attempts":["#
        });
        for (index, attempt) in exchange.attempts.iter().enumerate() {
            row.plain(if index > 0 { "," } else { "" });
            match attempt.outcome {
                Outcome::Answered(status) => row = answered(row, attempt, status),
                Outcome::Failed(ref failure) => row.plain(failed(attempt, failure, exchange.failure.is_some())),
            }
        }
        row.plain("]");
    }
    if exchange.failure.is_some() && !exchange.not_tried.is_empty() {
        row.plain(not_tried(&exchange.not_tried));
    }
    row.plain(r#","ended_by":""#);
    row.plain(exchange.ended_by.token());
    if let Some(agent) = &exchange.user_agent {
        row.plain(r#"","user_agent":""#);
        row.string(agent.as_bytes());
    }
    row.plain("\"}");
    row
}

#[inline(always)]
fn answered<'a>(mut row: Row<'a>, attempt: &Attempt, status: u16) -> Row<'a> {
    row.plain(r#"{"upstream":""#);
    row.string(attempt.upstream.as_bytes());
    row.plain(r#"","status":"#);
    row.number(status.into());
    row.plain(if attempt.reused { r#","reused":true"# } else { r#","reused":false"# });
    if let Some(connect) = attempt.connect {
        row.plain(r#","connect_ms":"#);
        row.millis(connect);
    }
    if let Some(head) = attempt.head {
        row.plain(r#","head_ms":"#);
        row.millis(head);
    }
    if let Some(body) = attempt.body() {
        row.plain(r#","body_ms":"#);
        row.millis(body);
    }
    row.plain(r#","elapsed_ms":"#);
    row.millis(attempt.elapsed);
    row.plain(if attempt.last_resort { r#","last_resort":true}"# } else { "}" });
    row
}

// What is rare in a line. `label` is all that stands in front of a value.

/// `trail`: the client saw a failure, so the line also holds what was told by system and library.
#[cold]
fn failed(attempt: &Attempt, failure: &Failure, trail: bool) -> Vec<u8> {
    let mut out = Vec::new();
    string(&mut out, r#"{"upstream":""#, attempt.upstream.as_bytes());
    word(&mut out, r#","phase":""#, failure.phase.token());
    word(&mut out, r#","cause":""#, failure.cause.token());
    flag(&mut out, r#","sent":"#, failure.sent);
    out.text(r#","elapsed_ms":"#);
    json::millis(&mut out, attempt.elapsed);
    if attempt.last_resort {
        flag(&mut out, r#","last_resort":"#, true);
    }
    if trail {
        string(&mut out, r#","message":""#, told::whole(failure));
    }
    out.push(b'}');
    out
}

#[cold]
fn not_tried(skips: &[NotTried]) -> Vec<u8> {
    let mut out = br#","not_tried":["#.to_vec();
    for (index, skip) in skips.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        object_of_skip(&mut out, skip);
    }
    out.push(b']');
    out
}

fn object_of_skip(out: &mut Vec<u8>, skip: &NotTried) {
    string(out, r#"{"upstream":""#, skip.upstream.as_bytes());
    word(out, r#","reason":""#, skip.reason.token());
    word(out, r#","state":""#, skip.state.token());
    if let Some((cause, message)) = skip.trouble() {
        word(out, r#","cause":""#, cause.token());
        string(out, r#","message":""#, message);
    }
    out.push(b'}');
}

fn string(out: &mut Vec<u8>, label: &str, text: impl AsRef<[u8]>) {
    out.text(label);
    json::escaped(out, text.as_ref());
    out.push(b'"');
}

/// A word that needs no escaping.
fn word(out: &mut Vec<u8>, label: &str, word: impl AsRef<[u8]>) {
    out.text(label);
    out.plain(word.as_ref());
    out.push(b'"');
}

fn flag(out: &mut Vec<u8>, label: &str, value: bool) {
    out.text(label);
    out.text(if value { "true" } else { "false" });
}

/// Appends an address as `Display` has it. IPv4 by hand: every connection has one.
pub fn address(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            let (text, length) = row::dotted(ip);
            out.extend_from_slice(&text[..length]);
        }
        IpAddr::V6(ip) => put(out, format_args!("{ip}")),
    }
}

/// The words of `protocols` in the config; `h1.0` for the old one.
#[must_use]
pub const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "h2",
        Version::HTTP_10 | Version::HTTP_09 => "h1.0",
        _ => "h1",
    }
}

fn combined(out: &mut Vec<u8>, exchange: &Exchange) {
    address(out, exchange.client.ip());
    out.text(" - ");
    match exchange.login.as_ref().and_then(login::user) {
        Some(user) => nginx(out, &user),
        None => out.push(b'-'),
    }
    put(out, format_args!(" [{}] \"", Utc::from(exchange.at).combined()));
    nginx(out, exchange.method.as_str().as_bytes());
    out.push(b' ');
    nginx(out, exchange.uri.to_string().as_bytes());
    put(out, format_args!(" {:?}\" {:03} {} \"", exchange.version, exchange.status, exchange.bytes_out));
    nginx(out, exchange.referer.as_ref().map_or(b"-", |value| value.as_bytes()));
    out.text("\" \"");
    nginx(out, exchange.user_agent.as_ref().map_or(b"-", |value| value.as_bytes()));
    out.push(b'"');
}

/// nginx's escaping: `"`, `\` and all that is not printable ASCII as `\xHH`.
fn nginx(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => put(out, format_args!("\\x{byte:02X}")),
            b' '..=b'~' => out.push(byte),
            _ => put(out, format_args!("\\x{byte:02X}")),
        }
    }
}

/// `14:01:12.318 200  GET shop.example/orders  14.7 ms  app/127.0.0.1:3001  rescued (127.0.0.1:3000 connection_refused)`
fn human(out: &mut Vec<u8>, exchange: &Exchange) {
    put(out, format_args!("{} {:03}  {} ", Utc::from(exchange.at).clock(), exchange.status, exchange.method));
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
        _ if exchange.rescued() && exchange.failure.is_none() => out.text("  rescued"),
        Some(failure) => put(out, format_args!("  {}", failure.cause)),
        None => return,
    }
    if failures.peek().is_none() && exchange.not_tried.is_empty() {
        return;
    }
    out.text(" (");
    let mut first = true;
    let mut comma = |out: &mut Vec<u8>| {
        if !std::mem::take(&mut first) {
            out.text(", ");
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
    out.push(b')');
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_address_is_what_fmt_makes_of_it(four: [u8; 4], six: [u16; 8]) {
            for ip in [IpAddr::from(four), IpAddr::from(six)] {
                let mut out = Vec::new();
                address(&mut out, ip);
                prop_assert_eq!(out, ip.to_string().into_bytes());
            }
        }
    }
}

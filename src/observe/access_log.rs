//! The access log: one line for each exchange, formatted by the worker, written by a thread of its own.
//!
//! Never blocks traffic: the queue is bounded; when the reader is slow, lines are dropped and counted. The forms are
//! JSON (every attempt in it), combined (as nginx writes it, byte for byte) and a human one for terminals.

use std::fmt;
use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use http::Version;

use crate::config::model::{AccessFormat, Log};

use super::exchange::{Attempt, EndedBy, Exchange, NotTried, Outcome};
use super::json::{self, Out};
use super::lines::{self, Lines};
use super::login;
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
        Form::Json => object(out, exchange),
        Form::Combined => combined(out, exchange),
        Form::Human => human(out, exchange),
    }
}

/// Appends formatted text. Memory takes everything.
fn put(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// A line of one attempt is some 500 bytes: room is made once for it, not once for each of its pieces.
const LINE: usize = 1 << 10;

fn object(out: &mut Vec<u8>, exchange: &Exchange) {
    out.reserve(LINE);
    out.text(r#"{"time":""#);
    time::stamp(out, exchange.at);
    // An id is of a closed alphabet, and a method is a token (RFC 9110 §9.1): nothing in them needs escaping.
    word(out, r#"","request_id":""#, exchange.request_id.value());
    if let Some(trace) = exchange.trace_id {
        word(out, r#","trace_id":""#, trace.digits());
    }
    out.text(r#","client":""#);
    address(out, exchange.client.ip());
    string(out, r#"","listener":""#, exchange.listener.as_bytes());
    word(out, r#","method":""#, exchange.method.as_str());
    if let Some(host) = &exchange.host {
        string(out, r#","host":""#, host);
    }
    out.text(r#","uri":""#);
    target(out, exchange);
    out.push(b'"');
    word(out, r#","protocol":""#, protocol(exchange.version));
    number(out, r#","status":"#, exchange.status.into());
    if let Some(failure) = &exchange.failure {
        word(out, r#","cause":""#, failure.cause.token());
    }
    number(out, r#","bytes_in":"#, exchange.bytes_in);
    number(out, r#","bytes_out":"#, exchange.bytes_out);
    millis(out, r#","elapsed_ms":"#, Some(exchange.elapsed));
    if let Some(route) = &exchange.route {
        string(out, r#","route":""#, route.as_bytes());
    }
    if let Some(pool) = &exchange.pool {
        string(out, r#","pool":""#, pool.as_bytes());
    }
    if let Some(upstream) = exchange.answered_by() {
        string(out, r#","upstream":""#, upstream.as_bytes());
    }
    if exchange.pool.is_some() {
        flag(out, r#","rescued":"#, exchange.rescued());
        out.text(r#","attempts":["#);
        separated(out, &exchange.attempts, |out, attempt| object_of_attempt(out, attempt, exchange.failure.is_some()));
        out.push(b']');
    }
    if exchange.failure.is_some() && !exchange.not_tried.is_empty() {
        out.text(r#","not_tried":["#);
        separated(out, &exchange.not_tried, object_of_skip);
        out.push(b']');
    }
    word(out, r#","ended_by":""#, exchange.ended_by.token());
    if let Some(agent) = &exchange.user_agent {
        string(out, r#","user_agent":""#, agent);
    }
    out.push(b'}');
}

/// `trail`: the client saw a failure, so the line also holds what was told by system and library.
fn object_of_attempt(out: &mut Vec<u8>, attempt: &Attempt, trail: bool) {
    string(out, r#"{"upstream":""#, attempt.upstream.as_bytes());
    match &attempt.outcome {
        Outcome::Answered(status) => {
            number(out, r#","status":"#, (*status).into());
            flag(out, r#","reused":"#, attempt.reused);
            millis(out, r#","connect_ms":"#, attempt.connect);
            millis(out, r#","head_ms":"#, attempt.head);
            millis(out, r#","body_ms":"#, attempt.body());
        }
        Outcome::Failed(failure) => {
            word(out, r#","phase":""#, failure.phase.token());
            word(out, r#","cause":""#, failure.cause.token());
            flag(out, r#","sent":"#, failure.sent);
        }
    }
    millis(out, r#","elapsed_ms":"#, Some(attempt.elapsed));
    if attempt.last_resort {
        flag(out, r#","last_resort":"#, true);
    }
    if let Outcome::Failed(failure) = &attempt.outcome
        && trail
    {
        string(out, r#","message":""#, told::whole(failure));
    }
    out.push(b'}');
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

// The pieces of an object: `label` is all that stands in front of the value, so that it goes over in one piece.

#[inline]
fn string(out: &mut Vec<u8>, label: &str, text: impl AsRef<[u8]>) {
    out.text(label);
    json::escaped(out, text.as_ref());
    out.push(b'"');
}

/// A word that needs no escaping.
#[inline]
fn word(out: &mut Vec<u8>, label: &str, word: impl AsRef<[u8]>) {
    out.text(label);
    out.plain(word.as_ref());
    out.push(b'"');
}

#[inline]
fn millis(out: &mut Vec<u8>, label: &str, duration: Option<Duration>) {
    if let Some(duration) = duration {
        out.text(label);
        json::millis(out, duration);
    }
}

#[inline]
fn number(out: &mut Vec<u8>, label: &str, value: u64) {
    out.text(label);
    json::number(out, value);
}

#[inline]
fn flag(out: &mut Vec<u8>, label: &str, value: bool) {
    out.text(label);
    out.text(if value { "true" } else { "false" });
}

fn separated<T>(out: &mut Vec<u8>, items: &[T], mut one: impl FnMut(&mut Vec<u8>, &T)) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        one(out, item);
    }
}

/// Appends an address as `Display` has it. IPv4 by hand: every line and every connection has one.
pub fn address(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            for (place, part) in ip.octets().into_iter().enumerate() {
                if place > 0 {
                    out.push(b'.');
                }
                json::number(out, part.into());
            }
        }
        IpAddr::V6(ip) => put(out, format_args!("{ip}")),
    }
}

/// The target as received. Nearly always a path and a query, which need no formatting machinery.
fn target(out: &mut Vec<u8>, exchange: &Exchange) {
    match exchange.uri.path_and_query() {
        Some(target) if exchange.uri.scheme().is_none() => json::escaped(out, target.as_str().as_bytes()),
        _ => json::escaped(out, exchange.uri.to_string().as_bytes()),
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

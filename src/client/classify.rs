//! From facts to the name of a failure. Pure: it sees what the wire saw and which kind of error the codec met, never an
//! error's text.

use std::error::Error;
use std::time::Duration;

use crate::cause::{Cause, Failure, Phase, escape, protocol, sized};

use super::h1::{End, Facts};

/// What the codec says of an answer's head that did not come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Codec {
    /// It could not be parsed.
    pub(super) parse: bool,
    /// It was too large.
    pub(super) too_large: Option<TooLarge>,
    /// The request's body ended before the length that its head gives.
    pub(super) short_body: bool,
    /// Our own side broke down: a panic in a body, a runtime that ends.
    pub(super) own: bool,
}

/// What a head has too much of.
#[derive(Clone, Copy, Debug)]
pub(super) enum TooLarge {
    /// More than `buffers.response_head`.
    Bytes,
    /// More than causeway takes.
    Fields,
}

/// The connection it happened on.
#[derive(Clone, Copy, Debug)]
pub(super) struct On {
    /// Kept from an earlier request.
    pub(super) reused: bool,
    /// It was idle until a moment ago ([`CROSSING`]).
    pub(super) crossed: bool,
    /// `buffers.response_head`.
    pub(super) head_limit: usize,
    /// The most fields a head may have.
    pub(super) fields_limit: usize,
}

/// A close that comes so soon after the request on an idle connection has crossed it, and says nothing of it. Who
/// closes later had the request, and dropped it.
pub(super) const CROSSING: Duration = Duration::from_secs(1);
/// How much of what was seen is told.
const TOLD: usize = 64;

/// Why there is no response head.
pub(super) fn no_head(
    facts: &mut Facts,
    codec: Codec,
    on: On,
    source: impl Into<Box<dyn Error + Send + Sync>>,
) -> Failure {
    let failure = named(facts, codec, on);
    let phase = match (failure.cause, facts.finished) {
        (Cause::ConnectReset, _) => Phase::Connect,
        (Cause::TlsAlert, _) => Phase::Tls,
        (Cause::ClientClosed, _) => Phase::Request,
        // Cut off in the midst of the request, with no word.
        (_, None) if facts.read == 0 => Phase::Request,
        _ => Phase::Head,
    };
    let source = match (facts.body_error.take(), facts.write_error.take()) {
        (Some(error), _) => error,
        (None, Some(error)) => error.into(),
        (None, None) => source.into(),
    };
    failure.in_phase(phase).sent(facts.written > 0).from(source)
}

fn named(facts: &Facts, codec: Codec, on: On) -> Failure {
    let head = protocol::skip_empty_lines(&facts.head);
    let beginning = &head[..head.len().min(TOLD)];
    if facts.body_error.is_some() || codec.short_body {
        Failure::new(Cause::ClientClosed)
    } else if codec.own {
        Failure::new(Cause::Bug)
    } else if let Some(too_large) = codec.too_large {
        Failure::new(Cause::ResponseHeadTooLarge).limit(match too_large {
            TooLarge::Bytes => sized(on.head_limit as u64),
            TooLarge::Fields => format!("{} fields", on.fields_limit),
        })
    } else if let (0, false, Some(alert)) = (facts.read, on.reused, facts.alert) {
        // The first thing after a handshake: in TLS 1.3 a client certificate is refused only then.
        Failure::alert(alert)
    } else if facts.read == 0 {
        // A write that meets a reset takes it off the socket: reading then only finds an end.
        let reset = facts.write_error.is_some() || facts.end == Some(End::Broken);
        // Found dead, with nothing sent; or as good as that (CONTRACT §9).
        let stale = on.reused && (facts.written == 0 || on.crossed);
        Failure::new(match (stale, reset) {
            (true, _) => Cause::StaleConnection,
            // Closed or reset: it took nothing of the request.
            (false, _) if facts.written == 0 => Cause::ConnectReset,
            (false, true) => Cause::ResetBeforeHead,
            (false, false) => Cause::ClosedWithoutResponse,
        })
    } else if protocol::is_tls(head) {
        Failure::new(Cause::SpeaksTls).seen(beginning)
    } else if protocol::is_h2(head) {
        Failure::new(Cause::SpeaksH2).seen(beginning)
    } else if !head.iter().zip(b"HTTP/").all(|(a, b)| a == b) {
        Failure::new(Cause::NotHttp).seen(&beginning[..told(beginning)])
    } else if codec.parse {
        Failure { seen: Some(offending(&facts.head)), ..Failure::new(Cause::InvalidHead) }
    } else {
        Failure::new(Cause::TruncatedHead).seen(format!("{} bytes", facts.read))
    }
}

/// A response body that ended before its time: `got` bytes of `wanted` were passed on.
pub(super) fn cut_body(
    facts: &mut Facts,
    got: u64,
    wanted: Option<u64>,
    source: impl Into<Box<dyn Error + Send + Sync>>,
) -> Failure {
    let (cause, seen) = match (facts.end, wanted) {
        _ if facts.body_error.is_some() => (Cause::ClientClosed, None),
        (None, None) => (Cause::BadChunking, Some(format!("after {got} bytes of content"))),
        (_, Some(wanted)) => (Cause::TruncatedBody, Some(format!("{got} of {wanted} bytes"))),
        (Some(End::Eof), None) => (Cause::TruncatedBody, Some(format!("closed after {got} bytes"))),
        (Some(End::Broken), None) => (Cause::TruncatedBody, Some(format!("reset after {got} bytes"))),
    };
    let mut failure = Failure::new(cause).in_phase(Phase::Body).sent(true);
    failure.seen = seen;
    match facts.body_error.take() {
        Some(error) => failure.from(error),
        None => failure.from(source),
    }
}

/// What of a head cannot be right, by its place: the line of status, or the name of the field. Printable
/// ASCII; nothing of values is told.
/// How many of these bytes fit a line once they are escaped: of a text all, of a dump fewer.
fn told(bytes: &[u8]) -> usize {
    let lengths = bytes.iter().map(|byte| escape(&[*byte]).len());
    lengths
        .scan(0, |sum, length| {
            *sum += length;
            Some(*sum)
        })
        .take_while(|sum| *sum <= TOLD)
        .count()
}

fn offending(head: &[u8]) -> String {
    let mut lines = head.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let told = |line: &[u8]| escape(&line[..line.len().min(TOLD)]);
    let control = |text: &[u8]| text.iter().copied().find(|b| (*b < 0x20 && *b != b'\t') || *b == 0x7f);
    let status = lines.by_ref().find(|line| !line.is_empty()).unwrap_or_default();
    let code = status.get(9..12).unwrap_or_default();
    let versioned = matches!(status.get(..9), Some(b"HTTP/1.1 " | b"HTTP/1.0 "));
    let coded = matches!(code, [b'1'..=b'9', rest @ ..] if rest.len() == 2 && rest.iter().all(u8::is_ascii_digit));
    if !versioned || !coded || status.get(12).is_some_and(|b| *b != b' ') || control(status).is_some() {
        return format!("status line {}", told(status));
    }
    let mut last = "the status line".to_owned();
    for line in lines.take_while(|line| !line.is_empty()) {
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            return format!("{last} goes on in a second line");
        }
        let Some(colon) = line.iter().position(|b| *b == b':') else { return format!("field line {}", told(line)) };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.is_empty() {
            return "a field line without a name".to_owned();
        }
        if http::HeaderName::from_bytes(name).is_err() {
            return format!("field name \"{}\"", told(name));
        }
        if let Some(byte) = control(value) {
            return format!("field {} has {} in its value", told(name), escape(&[byte]));
        }
        last = format!("field {}", told(name));
    }
    format!("an answer that begins with {}", told(status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    fn named_by(head: &[u8], codec: Codec) -> Failure {
        let facts = Facts { head: head.to_vec(), read: head.len() as u64, ..Facts::default() };
        named(&facts, codec, On { reused: false, crossed: false, head_limit: 65536, fields_limit: 1000 })
    }

    #[test]
    fn first_bytes_tell_who_is_there() {
        let parse = Codec { parse: true, ..Codec::default() };
        for (bytes, cause) in [
            (&b"SSH-2.0-OpenSSH\r\n"[..], Cause::NotHttp),
            (b"\x15\x03\x03\x00\x02\x02\x46", Cause::SpeaksTls),
            (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03", Cause::SpeaksH2),
            (b"\x00\x00\x08\x07\x00\x00\x00\x00\x00", Cause::SpeaksH2),
            (b"HTTP/2.0 200 OK\r\n", Cause::SpeaksH2),
            (b"\x4a\x00\x00\x00\x0a8.0.36", Cause::NotHttp),
            (b"HTTP/1.1 abc\r\n", Cause::InvalidHead),
        ] {
            assert_eq!(named_by(bytes, parse).cause, cause, "{}", escape(bytes));
        }
        assert_eq!(named_by(b"HTTP/1.1 200 O", Codec::default()).cause, Cause::TruncatedHead);
        assert_eq!(named_by(b"HT", Codec::default()).cause, Cause::TruncatedHead);
        assert_eq!(named_by(b"\r\nSSH", Codec::default()).cause, Cause::NotHttp);
    }

    #[test]
    fn with_no_byte_read_the_socket_tells() {
        let named_by = |reused, written, end, write_error: Option<io::ErrorKind>| {
            let facts = Facts { written, end, write_error: write_error.map(Into::into), ..Facts::default() };
            let on = On { reused, crossed: reused, head_limit: 65536, fields_limit: 1000 };
            if reused && written > 0 {
                let late = named(&facts, Codec::default(), On { crossed: false, ..on }).cause;
                assert_eq!(late, Cause::ClosedWithoutResponse, "it had the request for long");
            }
            named(&facts, Codec::default(), on).cause
        };
        use io::ErrorKind::{BrokenPipe, ConnectionReset};
        assert_eq!(named_by(false, 9, Some(End::Eof), None), Cause::ClosedWithoutResponse);
        assert_eq!(named_by(false, 9, Some(End::Broken), None), Cause::ResetBeforeHead);
        assert_eq!(named_by(false, 9, Some(End::Eof), Some(ConnectionReset)), Cause::ResetBeforeHead);
        assert_eq!(named_by(false, 9, Some(End::Eof), Some(BrokenPipe)), Cause::ResetBeforeHead);
        assert_eq!(named_by(false, 0, Some(End::Eof), Some(BrokenPipe)), Cause::ConnectReset);
        assert_eq!(named_by(false, 9, None, Some(BrokenPipe)), Cause::ResetBeforeHead);
        assert_eq!(named_by(false, 0, Some(End::Broken), None), Cause::ConnectReset);
        assert_eq!(named_by(false, 0, Some(End::Eof), None), Cause::ConnectReset);
        assert_eq!(named_by(true, 9, Some(End::Eof), None), Cause::StaleConnection);
        assert_eq!(named_by(true, 0, None, Some(BrokenPipe)), Cause::StaleConnection);
    }

    #[test]
    fn what_is_at_fault_is_named() {
        for (head, line) in [
            (&b"HTTP/1.1 2x0 OK\r\n\r\n"[..], "status line HTTP/1.1 2x0 OK"),
            (b"HTTP/1.1 200 O\0K\r\n\r\n", "status line HTTP/1.1 200 O\\x00K"),
            (b"HTTP/1.1 200 OK\r\nA: b\r\nBad Name: c\r\n\r\n", "field name \"Bad Name\""),
            (b"HTTP/1.1 200 OK\r\nSet-Cookie : secret\r\n\r\n", "field name \"Set-Cookie \""),
            (b"HTTP/1.1 200 OK\r\n: c\r\n\r\n", "a field line without a name"),
            (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "field line no colon"),
            (b"HTTP/1.1 200 OK\r\nA: s\x01\r\n\r\n", "field A has \\x01 in its value"),
            (b"HTTP/1.1 200 OK\r\nA: s\0\r\n\r\n", "field A has \\x00 in its value"),
            (b"HTTP/1.1 200 OK\r\nA: s\rt\r\n\r\n", "field A has \\r in its value"),
            (b"HTTP/1.1 200 OK\r\nA: s\r\r\n\r\n", "field A has \\r in its value"),
            (b"HTTP/1.1 200 OK\r\nX-Long: a\r\n b: c\r\n\r\n", "field X-Long goes on in a second line"),
            (b"HTTP/1.1 200 OK\r\n b: c\r\n\r\n", "the status line goes on in a second line"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\nBad Name: c\r\n\r\n", "field name \"Bad Name\""),
        ] {
            assert_eq!(offending(head), line);
        }
    }
}

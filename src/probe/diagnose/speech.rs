//! Which protocol somebody speaks, by the first bytes. Pure: the bytes are a stranger's, and anything may be in them.

use std::fmt;

use crate::cause::{escape, protocol};

/// So many bytes are enough to tell.
pub(super) const ENOUGH: usize = 64;

/// A protocol, by its first bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Speech {
    /// A status line of HTTP/1.0 or HTTP/1.1, with this status.
    Http(u16),
    /// A record of a TLS handshake, or an alert.
    Tls,
    /// A SETTINGS or GOAWAY frame of HTTP/2 (RFC 9113 §3.4), or a status line that says so.
    Http2,
    /// One that is known by its greeting or its complaint, and these first bytes of it, printable.
    Known(&'static str, String),
    /// None that is known.
    Unknown(String),
}

/// How protocols other than HTTP begin: a greeting, or a complaint about a request that is HTTP.
const BEGINNINGS: &[(&[u8], &str)] = &[
    (b"SSH-", "SSH"),
    (b"RFB 0", "VNC"),
    (b"+OK", "POP3"),
    (b"* OK", "IMAP"),
    (b"* BYE", "IMAP"),
    (b"@RSYNCD:", "rsync"),
    (b"-ERR ", "Redis"),
    (b"-DENIED", "Redis"),
    (b"-NOAUTH", "Redis"),
    (b"+PONG", "Redis"),
    (b"AMQP", "AMQP (RabbitMQ)"),
    (b"INFO {", "NATS"),
    (b"ERROR\r\n", "memcached"),
    (b"CLIENT_ERROR", "memcached"),
    (b"RTSP/", "RTSP"),
    (b"SIP/2.0", "SIP"),
    (b"PROXY ", "the PROXY protocol"),
];

/// Whose first bytes these are; `None` while there are too few to tell and more may come, and where an HTTP/1 answer
/// was cut off before its status.
#[must_use]
pub(super) fn of(bytes: &[u8], ended: bool) -> Option<Speech> {
    let bytes = protocol::skip_empty_lines(bytes);
    if let Some(status) = http_status(bytes) {
        return Some(Speech::Http(status));
    }
    if protocol::is_tls(bytes) {
        return Some(Speech::Tls);
    }
    if protocol::is_h2(bytes) {
        return Some(Speech::Http2);
    }
    if let Some(name) = named(bytes) {
        // The rest of the line says more.
        return (ended || bytes.len() >= ENOUGH || bytes.contains(&b'\n')).then(|| Speech::Known(name, told(bytes)));
    }
    let over = bytes.len() >= ENOUGH || ended && !bytes.is_empty() && !begins_http(bytes);
    over.then(|| Speech::Unknown(told(bytes)))
}

impl fmt::Display for Speech {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(_) => f.write_str("HTTP"),
            Self::Tls => f.write_str("TLS"),
            Self::Http2 => f.write_str("HTTP/2"),
            Self::Known(name, _) => f.write_str(name),
            Self::Unknown(_) => f.write_str("something that is not HTTP"),
        }
    }
}

/// The status of a status line, as far as it must be there to be one.
fn http_status(bytes: &[u8]) -> Option<u16> {
    let rest = bytes.strip_prefix(b"HTTP/1.0 ").or_else(|| bytes.strip_prefix(b"HTTP/1.1 "))?;
    let [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b' ' | b'\r' | b'\n', ..] = rest else { return None };
    Some([a, b, c].into_iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0')))
}

/// The beginning of an HTTP/1 answer, however short it is: `HTTP/1.1 20`.
#[must_use]
pub(super) fn begins_http(bytes: &[u8]) -> bool {
    const LINE: &[u8] = b"HTTP/1.";
    let bytes = protocol::skip_empty_lines(bytes);
    let (name, rest) = bytes.split_at(bytes.len().min(LINE.len()));
    let so_far = match rest {
        [] | [b'0' | b'1'] | [b'0' | b'1', b' '] => true,
        [b'0' | b'1', b' ', status @ ..] => {
            status.len() <= 3 && status[0] != b'0' && status.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    };
    !name.is_empty() && LINE.starts_with(name) && (so_far || http_status(bytes).is_some())
}

fn named(bytes: &[u8]) -> Option<&'static str> {
    if let Some((_, name)) = BEGINNINGS.iter().find(|(beginning, _)| bytes.starts_with(beginning)) {
        return Some(name);
    }
    let has = |what: &[u8]| bytes.windows(what.len()).any(|window| window.eq_ignore_ascii_case(what));
    match bytes {
        // RFC 5321 §4.2 and RFC 959 §4.2: both greet with 220.
        [b'2' | b'4' | b'5', b'2', b'0' | b'1', b' ' | b'-', ..] if has(b"smtp") || has(b"mail") => Some("SMTP"),
        [b'2' | b'4', b'2', b'0' | b'1', b' ' | b'-', ..] if has(b"ftp") => Some("FTP"),
        [b'2', b'2', b'0', b' ' | b'-', ..] => Some("SMTP or FTP"),
        // A packet of at most 64 KiB, number 0 (2 behind a complaint): protocol 10, or an error.
        [_, _, 0, 0, 0x0a, b'3'..=b'9' | b'1', ..] if has(b"mariadb") => Some("MariaDB"),
        [_, _, 0, 0, 0x0a, b'3'..=b'9' | b'1', ..] => Some("MySQL"),
        [_, _, 0, 0, 0xff, _, _, ..] => Some("MySQL or MariaDB"),
        // ErrorResponse, with its length and its first field.
        [b'E', 0, 0, _, _, b'S', ..] => Some("PostgreSQL"),
        // OP_REPLY or OP_MSG, where a length and two ids come first.
        [_, _, 0, 0, _, _, _, _, _, _, _, _, 0x01, 0, 0, 0, ..]
        | [_, _, 0, 0, _, _, _, _, _, _, _, _, 0xdd, 0x07, 0, 0, ..] => Some("MongoDB"),
        // Telnet options.
        [0xff, 0xfb..=0xfe, ..] => Some("telnet"),
        _ if has(b"you are trying to access mongodb over http") => Some("MongoDB"),
        _ => None,
    }
}

/// The first line of it, printable and short.
fn told(bytes: &[u8]) -> String {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    escape(&line[..line.len().min(ENOUGH)])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn first_bytes_have_a_name() {
        for (bytes, name) in [
            (&b"HTTP/1.1 200 OK\r\n"[..], "HTTP"),
            (b"HTTP/1.0 404 Not Found\r\n", "HTTP"),
            (b"\r\nHTTP/1.1 200\r\n", "HTTP"),
            (b"\x15\x03\x01\x00\x02\x02\x46", "TLS"),
            (b"\x16\x03\x03\x00\x7a\x02", "TLS"),
            (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03", "HTTP/2"),
            (b"\x00\x00\x08\x07\x00\x00\x00\x00\x00", "HTTP/2"),
            (b"HTTP/2.0 200\r\n", "HTTP/2"),
            (b"SSH-2.0-OpenSSH_9.6p1 Debian-4\r\n", "SSH"),
            (b"220 mx.example ESMTP Postfix\r\n", "SMTP"),
            (b"220 (vsFTPd 3.0.5)\r\n", "FTP"),
            (b"220 ready\r\n", "SMTP or FTP"),
            (b"+OK Dovecot ready.\r\n", "POP3"),
            (b"* OK [CAPABILITY IMAP4rev1] ready\r\n", "IMAP"),
            (b"\x4a\x00\x00\x00\x0a8.0.36\x00\x0b\x00\x00\x00", "MySQL"),
            (b"\x5b\x00\x00\x00\x0a5.5.5-10.11.6-MariaDB\x00", "MariaDB"),
            (b"\x45\x00\x00\x00\xff\x6a\x04Host '10.0.0.1' is not allowed", "MySQL or MariaDB"),
            (b"E\x00\x00\x00\x8cSFATAL\x00VFATAL\x00C0A000\x00", "PostgreSQL"),
            (b"-ERR wrong number of arguments for 'get' command\r\n", "Redis"),
            (b"-DENIED Redis is running in protected mode\r\n", "Redis"),
            (b"ERROR\r\n", "memcached"),
            (b"AMQP\x00\x00\x09\x01", "AMQP (RabbitMQ)"),
            (b"INFO {\"server_id\":\"NA\"}\r\n", "NATS"),
            (b"RFB 003.008\n", "VNC"),
            (b"\xff\xfd\x18\xff\xfd\x20", "telnet"),
            (b"It looks like you are trying to access MongoDB over HTTP on the native driver port.\r\n", "MongoDB"),
            (b"\x2a\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\xdd\x07\x00\x00", "MongoDB"),
            (b"HTTP/1.1 abc\r\n", "something that is not HTTP"),
            (b"HTTP/1.1 2000 OK\r\n", "something that is not HTTP"),
            (b"<html>", "something that is not HTTP"),
        ] {
            assert_eq!(of(bytes, true).map(|speech| speech.to_string()).as_deref(), Some(name), "{}", escape(bytes));
        }
        assert_eq!(of(b"HTTP/1.1 503 \r\n", false), Some(Speech::Http(503)));
        assert_eq!((of(b"", true), of(b"\r\n", true), of(b"HT", false)), (None, None, None));
        assert_eq!(of(b"SSH-2.0", false), None, "the rest of the line says more");
    }

    #[test]
    fn a_status_line_that_was_cut_is_no_other_protocol() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n";
        for end in 1..whole.len() {
            assert!(begins_http(&whole[..end]), "{}", escape(&whole[..end]));
            let status = (end > 12).then_some(Speech::Http(200));
            assert_eq!(of(&whole[..end], true), status, "{}", escape(&whole[..end]));
        }
        for other in
            [&b""[..], b"\r\n", b"HTX", b"HTTP/2", b"HTTP/1.2", b"HTTP/1.1 0", b"HTTP/1.1 20x", b"HTTP/1.1 2000", b"X"]
        {
            assert!(!begins_http(other), "{}", escape(other));
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_told_short_and_printable(bytes in proptest::collection::vec(any::<u8>(), 0..300), ended: bool) {
            match of(&bytes, ended) {
                Some(Speech::Known(_, told) | Speech::Unknown(told)) => {
                    prop_assert!(told.len() <= 4 * ENOUGH && told.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{}", told);
                }
                Some(Speech::Http(status)) => prop_assert!((100..1000).contains(&status)),
                Some(Speech::Tls | Speech::Http2) => {}
                None => prop_assert!(bytes.len() < ENOUGH || protocol::skip_empty_lines(&bytes).len() < ENOUGH),
            }
            prop_assert!(!begins_http(&bytes) || protocol::begins_http1(&bytes));
        }
    }
}

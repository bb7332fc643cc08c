//! What was wrong with a head that could not be read: a [`Failure`] with its status, the limit and what was seen.
//!
//! Pure; how it is answered is the [`Handler`](super::Handler)'s business.

use super::h1::head::{Refused, TARGET_LIMIT};
use super::proxy_protocol;
use crate::cause::{Cause, Failure, sized, spoken};
use crate::config::model::Listener;

/// The head did not come in time: 408.
pub(super) fn late(listener: &Listener) -> Failure {
    let limit = spoken(listener.head_timeout);
    let seen = format!("no complete head within {limit} (limit: timeouts.head)");
    Failure::new(Cause::ClientTimeout).limit(limit).seen(seen)
}

/// It cannot be parsed: 400, or 501 for a Transfer-Encoding that nobody here decodes; or it is too large: 414 when it
/// is the target, else 431.
pub(super) fn unreadable(refused: Refused, raw: &[u8], listener: &Listener) -> Failure {
    let failure = if refused == Refused::TooLarge {
        too_large(raw, listener.head_limit, listener.fields_limit)
    } else {
        let seen = match raw {
            // The first bytes of a TLS record with a handshake in it (RFC 8446 §5.1).
            [0x16, 3, ..] => "a TLS handshake came where plain HTTP is spoken".to_owned(),
            _ if proxy_protocol::is_header(raw) => introduced_by_stranger(listener),
            _ if raw.starts_with(b"PRI * HTTP/2") => "HTTP/2 came where HTTP/1.1 is spoken".to_owned(),
            _ => refused.to_string(),
        };
        let status = if refused == Refused::Coding { 501 } else { 400 };
        Failure::new(Cause::ClientInvalid).status(status).seen(seen)
    };
    failure.from(refused)
}

/// A PROXY header came from somebody who is not asked for one.
pub(super) fn introduced_by_stranger(listener: &Listener) -> String {
    format!("a PROXY header came from a peer that is not in listener.{}.proxy_protocol", listener.name)
}

/// CONTRACT §3: 414 when no space ended the target within `limits.head`, whether or not its end was seen behind that.
fn too_large(raw: &[u8], head_limit: usize, fields_limit: usize) -> Failure {
    let too_large = Failure::new(Cause::ClientTooLarge);
    let head = sized(head_limit as u64);
    match target(raw) {
        Target::Ends { length, .. } if length > TARGET_LIMIT => {
            let seen = format!("the target is longer than {TARGET_LIMIT} bytes");
            too_large.status(414).limit(format!("{TARGET_LIMIT} bytes")).seen(seen)
        }
        Target::Ends { at, .. } if at >= head_limit => {
            let seen = format!("the request line is longer than {head} (limit: limits.head)");
            too_large.status(414).limit(head).seen(seen)
        }
        Target::Open => {
            let seen = format!("the request line is longer than {head} (limit: limits.head)");
            too_large.status(414).limit(head).seen(seen)
        }
        _ if head_length(raw) >= head_limit => {
            let seen = format!("the head is larger than {head} (limit: limits.head)");
            too_large.status(431).limit(head).seen(seen)
        }
        _ => {
            let limit = format!("{} fields", fields_limit);
            let seen = format!("the head has more than {limit} (limit: limits.fields)");
            too_large.status(431).limit(limit).seen(seen)
        }
    }
}

/// Where the target of a request line ends.
enum Target {
    /// At this byte of the head comes the space behind it; so long it is.
    Ends { at: usize, length: usize },
    /// No such space was read.
    Open,
    /// The line ended without one: it is not the line that is too large.
    Unsaid,
}

/// Empty lines in front were stepped over.
fn target(raw: &[u8]) -> Target {
    let line_end = raw.iter().position(|&b| b == b'\n');
    let line = &raw[..line_end.unwrap_or(raw.len())];
    let mut spaces = (0..line.len()).filter(|&at| line[at] == b' ');
    match (spaces.next(), spaces.next(), line_end) {
        (Some(first), Some(second), _) => Target::Ends { at: second, length: second - first - 1 },
        (_, _, None) => Target::Open,
        (_, _, Some(_)) => Target::Unsaid,
    }
}

/// Up to the empty line, if there is one: what follows is not of this head.
fn head_length(raw: &[u8]) -> usize {
    let lines = |end: &[u8]| raw.windows(end.len()).position(|window| window == end).map(|at| at + end.len());
    lines(b"\r\n\r\n").or_else(|| lines(b"\n\n")).unwrap_or(raw.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn status(raw: &str, head_limit: usize) -> u16 {
        too_large(raw.as_bytes(), head_limit, 100).status.unwrap_or_default()
    }

    proptest! {
        /// To the letter: which of the two it is depends on where the target's end stands, not on how much was read
        /// behind it.
        #[test]
        fn the_line_is_too_long_when_its_target_does_not_end_in_time(
            method in "[A-Z]{1,30}", target in 0..300_usize, fields in 0..300_usize, limit in 16..200_usize, read in 16..700_usize
        ) {
            let line = format!("{method} /{}", "x".repeat(target));
            let mut raw = format!("{line} HTTP/1.1\r\na: {}\r\n\r\n", "y".repeat(fields));
            raw.truncate(read.max(limit));
            let wanted = if line.len() >= limit { 414 } else { 431 };
            prop_assert_eq!(status(&raw, limit), wanted, "{} of {}", raw, limit);
        }
    }

    #[test]
    fn what_has_no_end_is_a_line() {
        assert_eq!(status(&"G".repeat(100), 64), 414, "a method without an end leaves no room for a target");
    }
}

//! The head of an answer, from bytes: status, fields, and how what follows is framed (RFC 9112 §4 to §6). Pure.
//!
//! Strict: what two parsers could read in two ways is refused, with the reason. It never guesses. A line may end in LF
//! alone (RFC 9112 §2.2), as old apps end theirs.

use std::fmt;
use std::mem::MaybeUninit;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, Version};

use super::last::Last;
use crate::cause::escape;

/// Fields of a head. Some apps send more than the usual limit of a hundred.
pub(in crate::client) const MAX_FIELDS: usize = 256;
/// How much of a value is told.
const TOLD: usize = 64;
/// An idle time that an upstream announces is believed up to here.
const LONGEST_IDLE: Duration = Duration::from_secs(600);

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// No body.
    Empty,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// All that comes until the connection ends.
    UntilClose,
    /// Another protocol.
    Switched,
}

/// The head of an answer, interim or final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    pub(super) fields: HeaderMap,
    pub(super) framing: Framing,
    /// The connection may be used again when the answer has ended, as far as its head says.
    pub(super) keeps: bool,
    /// `Keep-Alive: timeout`, less the second in which a request could cross the close on the wire.
    pub(super) idle: Option<Duration>,
}

/// Why bytes are not the head of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// They cannot be parsed.
    Parse(httparse::Error),
    /// More than [`MAX_FIELDS`] fields.
    TooManyFields,
    /// A Content-Length that is no length: its beginning; or two that differ.
    Length(String),
    /// Anything but a single `chunked`, or that in HTTP/1.0.
    Coding,
    /// Content-Length and Transfer-Encoding.
    TwoFramings,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parse(error) => write!(f, "the head cannot be parsed: {error}"),
            Self::TooManyFields => write!(f, "the head has more than {MAX_FIELDS} fields"),
            Self::Length(value) => write!(f, "Content-Length {value}"),
            Self::Coding => f.write_str("a Transfer-Encoding other than a single chunked"),
            Self::TwoFramings => f.write_str("both Content-Length and Transfer-Encoding"),
        }
    }
}

impl std::error::Error for Refused {}

/// Takes the head from the beginning of `input`; `None` while it is not complete. `to_head`: it answers a HEAD. `last`:
/// what was taken on the same connection before, which changes nothing but the time that it takes.
///
/// # Errors
/// Why it is no head that can be trusted. `input` is untouched then.
pub(super) fn take(input: &mut BytesMut, to_head: bool, last: &mut Last) -> Result<Option<Answer>, Refused> {
    if let Some((answer, length)) = last.take(input, to_head) {
        input.advance(length);
        return Ok(Some(answer));
    }
    parse(input, to_head, last)
}

fn parse(input: &mut BytesMut, to_head: bool, last: &mut Last) -> Result<Option<Answer>, Refused> {
    let mut fields = [MaybeUninit::uninit(); MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let length = match config.parse_response_with_uninit_headers(&mut parsed, input, &mut fields) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Refused::TooManyFields),
        Err(error) => return Err(Refused::Parse(error)),
    };
    let code = parsed.code.unwrap_or_default();
    let status = StatusCode::from_u16(code).map_err(|_| Refused::Parse(httparse::Error::Status))?;
    let version = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let mut map = HeaderMap::with_capacity(parsed.headers.len() + 4);
    let mut said = Said::default();
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let name = name.map_err(|_| Refused::Parse(httparse::Error::HeaderName))?;
        // Copied: so short values neither hold the whole buffer nor cost it its place.
        let value = HeaderValue::from_bytes(field.value).map_err(|_| Refused::Parse(httparse::Error::HeaderValue))?;
        if said.note(name.as_str(), field.value, status.is_informational())? {
            map.append(name, value);
        }
    }
    let (framing, keeps) = said.framing(status, version, to_head)?;
    if said.lengths > 1
        && let Some(length) = said.length
    {
        // The same length more than once is one length (RFC 9110 §8.6).
        map.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let answer = Answer { status, version, fields: map, framing, keeps, idle: said.idle };
    if last.is_spent() && said.lengths <= 1 {
        last.remember(&input[..length], parsed.headers, to_head, &answer);
    }
    input.advance(length);
    Ok(Some(answer))
}

/// What the fields say of framing and connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Said {
    /// How often there is a Content-Length, members of a list counted.
    pub(super) lengths: usize,
    length: Option<u64>,
    /// Transfer-Encoding lines.
    codings: usize,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    pub(super) idle: Option<Duration>,
}

impl Said {
    /// Has a field of this name a say?
    pub(super) fn hears(name: &str) -> bool {
        matches!(name, "content-length" | "transfer-encoding" | "connection" | "keep-alive")
    }

    /// Notes a field, its name in lower case. `false`: it speaks of the connection alone, and is nothing to pass on.
    pub(super) fn note(&mut self, name: &str, value: &[u8], interim: bool) -> Result<bool, Refused> {
        if interim {
            return Ok(true); // no body follows (RFC 9112 §6.3), and of its connection the final head speaks
        }
        match name {
            "content-length" => {
                let refused = || Refused::Length(escape(&value[..value.len().min(TOLD)]));
                for member in value.split(|b| *b == b',') {
                    let length = number(member.trim_ascii()).ok_or_else(refused)?;
                    if let Some(other) = self.length.replace(length)
                        && other != length
                    {
                        return Err(Refused::Length(format!("{other} and {length}")));
                    }
                    self.lengths += 1;
                }
            }
            "transfer-encoding" => {
                self.codings += 1;
                self.chunked = value.trim_ascii().eq_ignore_ascii_case(b"chunked");
            }
            "connection" => {
                // A line that is no text is believed when it says close, and only then.
                let text = value.iter().all(|b| matches!(b, b'\t' | b' '..=b'~'));
                let mut more = false;
                for option in value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
                    let (close, keep) =
                        (option.eq_ignore_ascii_case(b"close"), text && option.eq_ignore_ascii_case(b"keep-alive"));
                    self.close |= close;
                    self.keep_alive |= keep;
                    more |= !close && !keep;
                }
                return Ok(more);
            }
            "keep-alive" => {
                self.idle = self.idle.or_else(|| idle(value));
                return Ok(false);
            }
            _ => {}
        }
        Ok(true)
    }

    /// RFC 9112 §6.3, §9.3.
    pub(super) fn framing(
        &self,
        status: StatusCode,
        version: Version,
        to_head: bool,
    ) -> Result<(Framing, bool), Refused> {
        let keeps = !self.close && (version == Version::HTTP_11 || self.keep_alive);
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok((Framing::Switched, false));
        }
        if status.is_informational() {
            return Ok((Framing::Empty, true));
        }
        if self.codings > 0 && (self.codings > 1 || !self.chunked || version == Version::HTTP_10) {
            return Err(Refused::Coding);
        }
        if self.codings > 0 && self.length.is_some() {
            return Err(Refused::TwoFramings);
        }
        Ok(match self.length {
            // Some apps send the body all the same, a moment later: the next answer here could be that.
            _ if to_head => (Framing::Empty, keeps && self.codings == 0 && self.length.unwrap_or(0) == 0),
            // The same; but of a 304 the length is that of the body that it has not (RFC 9110 §15.4.5).
            _ if status == StatusCode::NO_CONTENT => {
                (Framing::Empty, keeps && self.codings == 0 && self.length.unwrap_or(0) == 0)
            }
            _ if status == StatusCode::NOT_MODIFIED => (Framing::Empty, keeps && self.codings == 0),
            _ if self.chunked => (Framing::Chunked, keeps),
            Some(0) => (Framing::Empty, keeps),
            Some(length) => (Framing::Length(length), keeps),
            None => (Framing::UntilClose, false),
        })
    }
}

/// `1*DIGIT`, and nothing that is not one; no more than a signed counter holds, which is what others may count with.
fn number(digits: &[u8]) -> Option<u64> {
    let all = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| all)?.parse().ok().filter(|length| *length <= i64::MAX as u64)
}

/// `timeout=N` of a Keep-Alive field.
fn idle(value: &[u8]) -> Option<Duration> {
    let seconds = std::str::from_utf8(value).ok()?.split(',').find_map(|word| {
        let (name, seconds) = word.split_once('=')?;
        name.trim().eq_ignore_ascii_case("timeout").then(|| seconds.trim().trim_matches('"').parse::<u32>().ok())?
    })?;
    Some(Duration::from_secs(u64::from(seconds).saturating_sub(1)).min(LONGEST_IDLE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &str) -> Result<Answer, Refused> {
        let mut input = BytesMut::from(format!("HTTP/1.1 200 OK\r\n{fields}\r\nrest").as_bytes());
        let taken = take(&mut input, false, &mut Last::default());
        assert_eq!(&input[..], if taken.is_ok() { b"rest".to_vec() } else { input.to_vec() });
        taken.map(|taken| taken.expect("a complete head"))
    }

    #[test]
    fn the_framing_follows_rfc_9112() {
        let framing = |fields: &str| head(fields).map(|answer| (answer.framing, answer.keeps));
        assert_eq!(framing("Content-Length: 5\r\n"), Ok((Framing::Length(5), true)));
        assert_eq!(framing("Content-Length: 5, 5\r\nContent-Length: 5\r\n"), Ok((Framing::Length(5), true)));
        assert_eq!(framing("Content-Length: 0\r\nConnection: x, Close\r\n"), Ok((Framing::Empty, false)));
        assert_eq!(framing("Transfer-Encoding: Chunked\r\n"), Ok((Framing::Chunked, true)));
        assert_eq!(framing(""), Ok((Framing::UntilClose, false)));
        for bad in ["+5", "-1", "", "5,", "0x5", "5 5", "9223372036854775808"] {
            assert_eq!(
                framing(&format!("Content-Length: {bad}\r\n")),
                Err(Refused::Length(bad.trim().into())),
                "{bad}"
            );
        }
        for bad in ["Content-Length: 5\r\nContent-Length: 6\r\n", "Content-Length: 5, 6\r\n"] {
            assert_eq!(framing(bad), Err(Refused::Length("5 and 6".into())));
        }
        for bad in ["gzip, chunked", "chunked, chunked", "identity", "xchunked", "", "chunked;q=1"] {
            assert_eq!(framing(&format!("Transfer-Encoding: {bad}\r\n")), Err(Refused::Coding), "{bad}");
        }
        assert_eq!(framing("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), Err(Refused::Coding));
        assert_eq!(framing("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), Err(Refused::TwoFramings));
        let lengths = head("Content-Length: 5, 5\r\nContent-Length: 5\r\n").unwrap().fields;
        assert_eq!(lengths.get_all("content-length").iter().collect::<Vec<_>>(), ["5"]);
    }

    #[test]
    fn what_has_no_body_has_none_whatever_its_fields_say() {
        let framing = |text: &str, to_head| {
            let mut input = BytesMut::from(text.as_bytes());
            take(&mut input, to_head, &mut Last::default())
                .map(|taken| taken.map(|answer| (answer.framing, answer.keeps)))
        };
        let length = "Content-Length: 5\r\n\r\n";
        assert_eq!(framing(&format!("HTTP/1.1 304 x\r\n{length}"), false), Ok(Some((Framing::Empty, true))));
        assert_eq!(framing(&format!("HTTP/1.1 204 x\r\n{length}"), false), Ok(Some((Framing::Empty, false))));
        assert_eq!(framing(&format!("HTTP/1.1 200 x\r\n{length}"), true), Ok(Some((Framing::Empty, false))));
        assert_eq!(framing("HTTP/1.1 200 x\r\nContent-Length: 0\r\n\r\n", true), Ok(Some((Framing::Empty, true))));
        assert_eq!(framing("HTTP/1.1 100 x\r\nContent-Length: a\r\n\r\n", false), Ok(Some((Framing::Empty, true))));
        assert_eq!(framing("HTTP/1.1 101 x\r\n\r\n", false), Ok(Some((Framing::Switched, false))));
        assert_eq!(framing("HTTP/1.0 204 x\r\n\r\n", false), Ok(Some((Framing::Empty, false))));
        let kept = "HTTP/1.0 204 x\r\nConnection: keep-alive\r\n\r\n";
        assert_eq!(framing(kept, false), Ok(Some((Framing::Empty, true))));
        assert_eq!(framing("HTTP/1.0 200 x\r\nTransfer-Encoding: chunked\r\n\r\n", false), Err(Refused::Coding));
        assert_eq!(framing("HTTP/1.1 200 x\r\n", false), Ok(None));
    }

    #[test]
    fn keep_alive_is_read_less_a_second() {
        let told = |value: &str| idle(value.as_bytes());
        assert_eq!(told("timeout=5"), Some(Duration::from_secs(4)));
        assert_eq!(told("max=100, Timeout = 72"), Some(Duration::from_secs(71)));
        assert_eq!(told("timeout=4294967295"), Some(LONGEST_IDLE));
        assert_eq!(told("timeout=0"), Some(Duration::ZERO));
        assert_eq!(told("max=100"), None);
        assert_eq!(told("timeout=soon"), None);
    }
}

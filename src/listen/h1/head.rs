//! The head of a request, from bytes: line, fields, and how what follows is framed (RFC 9112 §3 to §6). Pure.
//!
//! Strict: what two parsers could read in two ways is refused, with the reason. It never guesses. A line may end in LF
//! alone, and empty lines may stand in front (RFC 9112 §2.2).

use std::fmt;
use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Uri, Version, request};

/// The longest target that there is a type for.
pub(in crate::listen) const TARGET_LIMIT: usize = 65_534;
/// Up to so many fields are parsed on the stack.
const USUAL_FIELDS: usize = 100;
/// Below this, a head that comes in pieces is parsed anew with each piece; above, when its end has come, and seldom.
const EAGER: usize = 1 << 10;

/// The head of a request, and what must be known of it when its answer goes out.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) request: request::Parts,
    pub(super) framing: Framing,
    pub(super) asked: Asked,
    /// In bytes.
    pub(super) length: usize,
}

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::listen) enum Framing {
    /// No body.
    Empty,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// What a request asks of the connection and of its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// The client speaks HTTP/1.0.
    pub(super) http10: bool,
    /// The connection is to be kept.
    pub(super) keep_alive: bool,
    /// A HEAD: no body follows the answer.
    pub(super) to_head: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub(super) expects: bool,
    /// Another protocol is asked for (RFC 9110 §7.8).
    pub(super) upgrades: bool,
    /// Trailers are welcome (RFC 9110 §6.5.1).
    pub(super) trailers: bool,
    /// Where it ends could be read in two ways: nothing is to be read after it, whatever the answer.
    pub(super) ends: bool,
}

/// Why bytes are not the head of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::listen) enum Refused {
    /// More bytes or more fields than there may be.
    TooLarge,
    /// They cannot be parsed.
    Parse(httparse::Error),
    /// The target is none.
    Target,
    /// A Content-Length that is no length, or two that differ.
    Length,
    /// Anything but a single `chunked`: 501.
    Coding,
    /// Transfer-Encoding in HTTP/1.0.
    EarlyCoding,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the head is too large",
            Self::Parse(httparse::Error::Token) => "its method is no word",
            Self::Parse(httparse::Error::Version) => "its version is not one of HTTP/1",
            Self::Parse(httparse::Error::HeaderName) => "the name of a field is no word",
            Self::Parse(httparse::Error::HeaderValue) => "the value of a field holds a control byte",
            Self::Parse(_) => "a line does not end as it should",
            Self::Target => "its target cannot be parsed",
            Self::Length => "its Content-Length is no length",
            Self::Coding => "a Transfer-Encoding other than a single chunked",
            Self::EarlyCoding => "Transfer-Encoding came in HTTP/1.0",
        })
    }
}

impl std::error::Error for Refused {}

/// The bounds of a head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes, of which there must be fewer.
    pub(super) head: usize,
    pub(super) fields: usize,
}

/// Empty lines may stand in front of a head (RFC 9112 §2.2); they begin none.
pub(super) fn skip_empty_lines(input: &mut BytesMut) {
    loop {
        match input[..] {
            [b'\n', ..] => input.advance(1),
            [b'\r', b'\n', ..] => input.advance(2),
            _ => return,
        }
    }
}

/// Is it worth the while to look for a head? `seen`: so much was looked at before, in vain.
pub(super) fn may_be_whole(input: &[u8], seen: usize, limit: usize) -> bool {
    if input.len() <= seen {
        return false;
    }
    // What is no head is to be known soon (a TLS handshake, say): at the first look, and whenever as much again has come.
    if input.len() <= EAGER || input.len() >= limit || seen == 0 || input.len().ilog2() > seen.ilog2() {
        return true;
    }
    let new = &input[seen.saturating_sub(3).min(input.len())..];
    let mut lines = new.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    lines.any(|(at, _)| matches!(new[at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]))
}

/// Takes the head from the beginning of `input`; `None` while it is not complete.
///
/// # Errors
/// Why it is no head that can be trusted. `input` is untouched then.
pub(super) fn take(input: &mut BytesMut, limits: Limits) -> Result<Option<Head>, Refused> {
    let taken = if limits.fields <= USUAL_FIELDS {
        parse(input, limits.head, &mut [const { MaybeUninit::uninit() }; USUAL_FIELDS][..limits.fields])
    } else {
        parse(input, limits.head, &mut vec![MaybeUninit::uninit(); limits.fields])
    };
    let head = taken?;
    if let Some(head) = &head {
        input.advance(head.length);
    }
    Ok(head)
}

fn parse<'b>(
    input: &'b [u8],
    limit: usize,
    fields: &mut [MaybeUninit<httparse::Header<'b>>],
) -> Result<Option<Head>, Refused> {
    let mut parsed = httparse::Request::new(&mut []);
    let config = httparse::ParserConfig::default();
    let length = match config.parse_request_with_uninit_headers(&mut parsed, input, fields) {
        Ok(httparse::Status::Complete(length)) if length < limit => length,
        Ok(httparse::Status::Partial) if input.len() < limit => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Refused::TooLarge),
        // It is a word that no method may be, or a byte that no target may hold.
        Err(httparse::Error::Token) if parsed.method.is_some() => return Err(Refused::Target),
        Err(error) => return Err(Refused::Parse(error)),
    };
    // One copy for all values: so they hold neither the read buffer nor its place.
    let bytes = Bytes::copy_from_slice(&input[..length]);
    let shared = |part: &[u8]| {
        let from = part.as_ptr().addr() - input.as_ptr().addr();
        bytes.slice(from..from + part.len())
    };
    let target = parsed.path.unwrap_or_default().as_bytes();
    if target.len() > TARGET_LIMIT {
        return Err(Refused::TooLarge);
    }
    let (mut request, ()) = Request::new(()).into_parts();
    request.method = Method::from_bytes(parsed.method.unwrap_or_default().as_bytes())
        .map_err(|_| Refused::Parse(httparse::Error::Token))?;
    request.uri = Uri::from_maybe_shared(shared(target)).map_err(|_| Refused::Target)?;
    request.version = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let mut said = Said::default();
    let mut map = HeaderMap::with_capacity(parsed.headers.len());
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let name = name.map_err(|_| Refused::Parse(httparse::Error::HeaderName))?;
        if !said.note(&name, field.value)? {
            continue;
        }
        let value = HeaderValue::from_maybe_shared(shared(field.value));
        map.append(name, value.map_err(|_| Refused::Parse(httparse::Error::HeaderValue))?);
    }
    let (framing, asked) = said.judge(&request)?;
    if asked.ends {
        // The chunks count (RFC 9112 §6.3), and nobody behind is to read anything else.
        map.remove(header::CONTENT_LENGTH);
    }
    request.headers = map;
    Ok(Some(Head { request, framing, asked, length }))
}

/// What the fields say of framing and connection.
#[derive(Debug, Default)]
struct Said {
    length: Option<u64>,
    /// Transfer-Encoding lines.
    codings: usize,
    /// The last of them is `chunked`.
    chunked: bool,
    close: bool,
    keep_alive: bool,
    expects: bool,
    upgrades: bool,
    trailers: bool,
}

impl Said {
    /// Notes a field. `false`: it says nothing that has not been said.
    fn note(&mut self, name: &HeaderName, value: &[u8]) -> Result<bool, Refused> {
        if *name == header::CONTENT_LENGTH {
            let length = length(value).ok_or(Refused::Length)?;
            return match self.length.replace(length) {
                Some(other) if other != length => Err(Refused::Length),
                // The same once more is one length (RFC 9110 §8.6).
                before => Ok(before.is_none()),
            };
        }
        if *name == header::CONNECTION {
            self.close |= has_token(value, "close");
            self.keep_alive |= has_token(value, "keep-alive");
        } else if *name == header::TRANSFER_ENCODING {
            self.codings += 1;
            self.chunked = is(value, "chunked");
        } else if *name == header::EXPECT {
            self.expects |= has_token(value, "100-continue");
        } else if *name == header::UPGRADE {
            self.upgrades = true;
        } else if *name == header::TE {
            self.trailers |= has_token(value, "trailers");
        }
        Ok(true)
    }

    /// RFC 9112 §6.3, §9.3.
    fn judge(&self, request: &request::Parts) -> Result<(Framing, Asked), Refused> {
        let http10 = request.version == Version::HTTP_10;
        let framing = match (self.codings, self.length) {
            (0, Some(0) | None) => Framing::Empty,
            (0, Some(length)) => Framing::Length(length),
            _ if http10 => return Err(Refused::EarlyCoding),
            (1, _) if self.chunked => Framing::Chunked,
            _ => return Err(Refused::Coding),
        };
        let asked = Asked {
            http10,
            keep_alive: !self.close && (!http10 || self.keep_alive),
            to_head: request.method == Method::HEAD,
            expects: self.expects && !http10,
            upgrades: self.upgrades && !http10,
            trailers: self.trailers && !http10,
            ends: self.codings > 0 && self.length.is_some(),
        };
        Ok((framing, asked))
    }
}

/// `1*DIGIT`, and nothing that is not one; no more than a signed counter holds, which is what others may count with.
pub(super) fn length(digits: &[u8]) -> Option<u64> {
    let all = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| all)?.parse().ok().filter(|length| *length <= i64::MAX as u64)
}

/// Is this word a member of the list?
pub(super) fn has_token(list: &[u8], token: &str) -> bool {
    list.split(|b| *b == b',').any(|member| is(member, token))
}

fn is(text: &[u8], word: &str) -> bool {
    text.trim_ascii().eq_ignore_ascii_case(word.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { head: 8 << 10, fields: 100 };

    fn head(text: &str) -> Result<Option<Head>, Refused> {
        let mut input = BytesMut::from(text.as_bytes());
        let taken = take(&mut input, LIMITS);
        let left = taken.as_ref().ok().and_then(Option::as_ref).map_or(text.len(), |head| text.len() - head.length);
        assert_eq!(input.len(), left, "what is no whole head is left as it was");
        taken
    }

    fn framing(fields: &str) -> Result<(Framing, bool), Refused> {
        let taken = head(&format!("POST /a?b HTTP/1.1\r\nHost: a\r\n{fields}\r\nrest"));
        taken.map(|head| head.expect("a whole head")).map(|head| (head.framing, head.asked.ends))
    }

    #[test]
    fn the_framing_follows_rfc_9112() {
        assert_eq!(framing(""), Ok((Framing::Empty, false)));
        assert_eq!(framing("Content-Length: 0\r\n"), Ok((Framing::Empty, false)));
        assert_eq!(framing("Content-Length: 5\r\ncontent-length: 5\r\n"), Ok((Framing::Length(5), false)));
        assert_eq!(framing("Transfer-Encoding: Chunked\r\n"), Ok((Framing::Chunked, false)));
        for bad in ["+5", "-1", "", "5,5", "5, 5", "0x5", "5 5", "9223372036854775808"] {
            assert_eq!(framing(&format!("Content-Length: {bad}\r\n")), Err(Refused::Length), "{bad}");
        }
        assert_eq!(framing("Content-Length: 5\r\nContent-Length: 6\r\n"), Err(Refused::Length));
    }

    #[test]
    fn where_the_end_could_be_read_in_two_ways_nothing_is_read_behind_it() {
        for both in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        ] {
            assert_eq!(framing(both), Ok((Framing::Chunked, true)), "{both}");
            let whole = head(&format!("POST / HTTP/1.1\r\n{both}\r\n")).unwrap().unwrap();
            assert_eq!(whole.request.headers.get("content-length"), None, "{both}");
        }
        let odd = [
            "gzip",
            "identity",
            "gzip, chunked",
            "chunked, chunked",
            "chunked,",
            ",chunked",
            "xchunked",
            "",
            "chunked;q=1",
        ];
        for odd in odd.map(str::as_bytes).into_iter().chain([&b"chunked\xc2\xa0"[..]]) {
            let mut input = BytesMut::from(&b"POST / HTTP/1.1\r\nTransfer-Encoding: "[..]);
            input.extend_from_slice(odd);
            input.extend_from_slice(b"\r\n\r\n");
            assert_eq!(take(&mut input, LIMITS).unwrap_err(), Refused::Coding, "{}", odd.escape_ascii());
        }
        assert_eq!(framing("Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n"), Err(Refused::Coding));
        let early = head("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(early.unwrap_err(), Refused::EarlyCoding);
    }

    #[test]
    fn what_is_asked_of_the_connection_is_known() {
        let asked = |text: &str| head(text).unwrap().expect("a whole head").asked;
        let kept = Asked { keep_alive: true, ..Asked::default() };
        assert_eq!(asked("GET / HTTP/1.1\r\n\r\n"), kept);
        assert_eq!(asked("HEAD / HTTP/1.1\nTE: gzip, trailers\n\n"), Asked { to_head: true, trailers: true, ..kept });
        assert_eq!(asked("GET / HTTP/1.1\r\nConnection: x, Close\r\n\r\n"), Asked::default());
        assert_eq!(asked("PUT / HTTP/1.1\r\nExpect: 100-Continue\r\n\r\n"), Asked { expects: true, ..kept });
        assert_eq!(asked("GET / HTTP/1.1\r\nUpgrade: a\r\n\r\n"), Asked { upgrades: true, ..kept });
        let old = Asked { http10: true, ..Asked::default() };
        assert_eq!(asked("GET / HTTP/1.0\r\nExpect: 100-continue\r\nUpgrade: a\r\nTE: trailers\r\n\r\n"), old);
        assert_eq!(asked("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"), Asked { keep_alive: true, ..old });
    }

    #[test]
    fn a_head_is_as_it_came() {
        let Head { request, length, .. } =
            head("get http://a:1/x?y HTTP/1.1\r\nA:  b \r\nA: c\r\n\r\nX").unwrap().unwrap();
        assert_eq!((request.method.as_str(), request.uri.to_string().as_str()), ("get", "http://a:1/x?y"));
        assert_eq!(request.headers.get_all("a").iter().collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!((request.version, length), (Version::HTTP_11, 45));
    }

    #[test]
    fn limits_are_kept_to_the_byte_and_to_the_field() {
        let fields = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert!(head(&fields(100)).unwrap().is_some());
        assert_eq!(head(&fields(101)).unwrap_err(), Refused::TooLarge);
        let long = |length: usize| format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "x".repeat(length - 23));
        assert!(head(&long(LIMITS.head - 1)).unwrap().is_some());
        assert_eq!(head(&long(LIMITS.head)).unwrap_err(), Refused::TooLarge);
        assert_eq!(head(&long(2 * LIMITS.head)[..LIMITS.head]).unwrap_err(), Refused::TooLarge);
        let mut more = BytesMut::from(fields(150).as_bytes());
        assert!(take(&mut more, Limits { fields: 200, ..LIMITS }).unwrap().is_some());
    }

    proptest! {
        /// Looking less often finds the same: at the byte that completes a head it is looked for.
        #[test]
        fn a_head_is_found_with_its_last_byte(
            lines in prop::collection::vec(("[a-z]{1,9}", "[ -~]{0,900}", prop::bool::ANY), 0..6), steps in prop::collection::vec(1..700_usize, 1..60)
        ) {
            let mut text = String::from("GET / HTTP/1.1\r\n");
            for (name, value, bare) in &lines {
                text.push_str(&format!("{name}: {value}{}", if *bare { "\n" } else { "\r\n" }));
            }
            text.push_str(if lines.len() % 2 == 0 { "\n" } else { "\r\n" });
            let (mut at, mut seen, mut found) = (0, 0, None);
            for step in steps.iter().cycle() {
                at = (at + step).min(text.len());
                let mut input = BytesMut::from(&text.as_bytes()[..at]);
                if may_be_whole(&input, seen, LIMITS.head) {
                    found = take(&mut input, LIMITS).unwrap();
                }
                seen = at;
                if at == text.len() {
                    break;
                }
                prop_assert!(found.is_none());
            }
            prop_assert_eq!(found.map(|head| head.length), Some(text.len()));
        }

        #[test]
        fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "[A-Z ]{0,9}/? HTTP/1.[01]\r\n[a-zA-Z-]{0,20}:? ?[0-9a-z, ]{0,20}\r\n\r\n") {
            for input in [&bytes[..], text.as_bytes()] {
                let _ = take(&mut BytesMut::from(input), LIMITS);
                let _ = may_be_whole(input, input.len() / 2, LIMITS.head);
            }
        }
    }
}

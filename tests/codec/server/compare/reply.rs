//! What a client was told, by a reader that forgives nothing (RFC 9112 §4 to §7): one answer for each request, in their
//! order, each of the length that it says, and nothing between them.

use bytes::Bytes;

use super::subject::REFUSED;
use super::{Fields, Seen};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// All answers on a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub replies: Vec<Reply>,
    /// Behind them, a head was refused.
    pub refused: bool,
}

/// One answer, without its date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub http10: bool,
    pub status: u16,
    pub fields: Fields,
    pub framing: Framing,
    pub body: Bytes,
    pub trailers: Fields,
    /// It says that nothing comes behind it.
    pub closes: bool,
    /// The bytes end before the body does.
    pub cut: bool,
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none, whatever the fields say.
    Bodiless,
    Length(u64),
    Chunked,
    UntilClose,
}

impl Reply {
    pub fn values(&self, name: &str) -> Vec<&Bytes> {
        self.fields.iter().filter(|(field, _)| field == name).map(|(_, value)| value).collect()
    }
}

/// The answers to these requests, each with the number of its request for a body. One that broke off need not have one.
///
/// # Errors
/// What is wrong, in words.
pub fn told(mut written: &[u8], requests: &[Seen]) -> Result<Told, String> {
    let mut told = Told::default();
    for (index, request) in requests.iter().enumerate() {
        let expects = request.fields.iter().any(|(name, _)| name == "expect");
        if let Some(rest) = written.strip_prefix(CONTINUE).filter(|_| expects) {
            written = rest;
        }
        if written.is_empty() && request.cut.is_some() {
            return Ok(told);
        }
        let (to_head, http10) = (request.method == "HEAD", request.version == http::Version::HTTP_10);
        let (reply, rest) = read(written, to_head).map_err(|error| format!("answer {}: {error}", index + 1))?;
        let number = (index + 1).to_string();
        let whole = if to_head { reply.body.is_empty() } else { reply.body == number };
        if !whole || reply.cut || reply.http10 != http10 {
            return Err(format!("answer {number} is not that of its request: {reply:?}"));
        }
        if reply.closes && index + 1 < requests.len() {
            return Err(format!("a request was taken behind answer {number}, which closes"));
        }
        told.replies.push(reply);
        written = rest;
    }
    let refused = written.strip_prefix(REFUSED.0).is_some_and(|rest| rest.ends_with(REFUSED.1));
    told.refused = refused;
    if refused || written.is_empty() {
        Ok(told)
    } else {
        Err(format!("behind all answers: {}", written.escape_ascii()))
    }
}

/// The first answer, and what comes behind it.
///
/// # Errors
/// What is wrong, in words.
pub fn read(bytes: &[u8], to_head: bool) -> Result<(Reply, &[u8]), String> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").ok_or("a head without end")?;
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| "a head that is no text")?;
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default();
    let (version, status) = line.split_at_checked(9).ok_or("a short status line")?;
    let http10 = match version {
        "HTTP/1.0 " => true,
        "HTTP/1.1 " => false,
        other => return Err(format!("a version of {other:?}")),
    };
    let status = match status.split_once(' ') {
        Some((digits, reason)) if digits.len() == 3 && !reason.contains(char::is_control) => digits.parse().ok(),
        _ => None,
    };
    let status: u16 = status.ok_or_else(|| format!("a status line of {line:?}"))?;
    let mut fields = Fields::new();
    for line in lines {
        let (name, value) = line.split_once(": ").ok_or_else(|| format!("a line of {line:?}"))?;
        let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !name.bytes().all(word) || value.contains(char::is_control) || value.trim() != value {
            return Err(format!("a line of {line:?}"));
        }
        fields.push((name.to_owned(), Bytes::copy_from_slice(value.as_bytes())));
    }
    let mut reply = Reply {
        http10,
        status,
        fields,
        framing: Framing::Bodiless,
        body: Bytes::new(),
        trailers: Fields::new(),
        closes: false,
        cut: false,
    };
    if reply.values("date").len() != 1 {
        return Err("not one date".into());
    }
    let options: Vec<_> = reply.values("connection").into_iter().flat_map(|line| line.split(|b| *b == b',')).collect();
    let says = |word: &[u8]| options.iter().any(|option| option.trim_ascii() == word);
    reply.closes = says(b"close") || (http10 && !says(b"keep-alive"));
    reply.framing = framing(&reply, to_head)?;
    let rest = body(&mut reply, &bytes[end + 4..])?;
    reply.fields.retain(|(name, _)| name != "date");
    Ok((reply, rest))
}

fn framing(reply: &Reply, to_head: bool) -> Result<Framing, String> {
    let codings = reply.values("transfer-encoding");
    let length = match reply.values("content-length")[..] {
        [] => None,
        [one] => {
            Some(std::str::from_utf8(one).ok().and_then(|digits| digits.parse().ok()).ok_or("a length of no number")?)
        }
        _ => return Err("two lengths".into()),
    };
    let switches = reply.status < 200;
    if !codings.is_empty() && (reply.http10 || switches || reply.status == 204 || codings != ["chunked"]) {
        return Err(format!("a coding: {codings:?}"));
    }
    match (length, codings.len()) {
        (Some(_), 1) => Err("both framings".into()),
        (Some(_), _) if switches || reply.status == 204 => Err("a length where no body may be".into()),
        _ if to_head || switches || matches!(reply.status, 204 | 304) => Ok(Framing::Bodiless),
        (Some(length), _) => Ok(Framing::Length(length)),
        (None, 1) => Ok(Framing::Chunked),
        (None, _) if reply.closes => Ok(Framing::UntilClose),
        (None, _) => Err("a body without end on a connection that is kept".into()),
    }
}

/// Reads the body, and gives what comes behind it.
fn body<'b>(reply: &mut Reply, bytes: &'b [u8]) -> Result<&'b [u8], String> {
    match reply.framing {
        Framing::Bodiless => Ok(bytes),
        Framing::UntilClose => {
            reply.body = Bytes::copy_from_slice(bytes);
            Ok(&[])
        }
        Framing::Length(length) => {
            let (body, rest) = bytes.split_at(bytes.len().min(length as usize));
            (reply.body, reply.cut) = (Bytes::copy_from_slice(body), (body.len() as u64) < length);
            Ok(rest)
        }
        Framing::Chunked => {
            let mut content = Vec::new();
            let end = chunks(bytes, &mut content, &mut reply.trailers)?;
            (reply.body, reply.cut) = (content.into(), end.is_none());
            Ok(end.unwrap_or_default())
        }
    }
}

/// `None`: the bytes end before the chunks do.
fn chunks<'b>(mut bytes: &'b [u8], content: &mut Vec<u8>, trailers: &mut Fields) -> Result<Option<&'b [u8]>, String> {
    let line =
        |bytes: &'b [u8]| bytes.windows(2).position(|two| two == b"\r\n").map(|at| (&bytes[..at], &bytes[at + 2..]));
    loop {
        let Some((digits, rest)) = line(bytes) else { return Ok(None) };
        let text = std::str::from_utf8(digits).unwrap_or_default();
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
        let size = usize::from_str_radix(text, 16).ok().filter(|_| plain);
        let size = size.ok_or_else(|| format!("a chunk size of {}", digits.escape_ascii()))?;
        if size == 0 {
            bytes = rest;
            break;
        }
        let (data, rest) = rest.split_at(rest.len().min(size));
        content.extend_from_slice(data);
        match rest {
            [b'\r', b'\n', rest @ ..] => bytes = rest,
            [] | [b'\r'] => return Ok(None),
            _ => return Err("a chunk that is longer than its size".into()),
        }
    }
    loop {
        let Some((text, rest)) = line(bytes) else { return Ok(None) };
        bytes = rest;
        if text.is_empty() {
            return Ok(Some(bytes));
        }
        let text = std::str::from_utf8(text).map_err(|_| "a trailer that is no text")?;
        let (name, value) = text.split_once(": ").ok_or_else(|| format!("a trailer of {text:?}"))?;
        trailers.push((name.to_owned(), Bytes::copy_from_slice(value.as_bytes())));
    }
}

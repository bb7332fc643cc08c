//! One HTTP/1 request as an origin reads it from its socket: head, then a body that is counted and thrown away.
//!
//! Small on purpose, and no model for a proxy: it trusts its peer more than a proxy may. It is bounded all the same.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The largest request head, and the largest chunk-size line.
const HEAD_LIMIT: usize = 256 << 10;
/// Room for one read.
const READ: usize = 16 << 10;

/// One connection: the socket, and what was read of it and not yet used.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) stream: TcpStream,
    buffer: BytesMut,
}

/// A request head.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) method: Bytes,
    pub(super) target: Bytes,
    pub(super) http10: bool,
    fields: Bytes,
}

/// How a request body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
}

impl Head {
    /// The fields, in order, names as received, values trimmed.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.split(|b| *b == b'\n').filter_map(|line| {
            let colon = line.iter().position(|b| *b == b':')?;
            Some((&line[..colon], line[colon + 1..].trim_ascii()))
        })
    }

    /// The first value of a field.
    pub(super) fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// Does a list field hold this token?
    pub(super) fn has_token(&self, name: &str, token: &str) -> bool {
        self.fields().filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).any(|(_, value)| {
            value.split(|b| *b == b',').any(|t| t.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
        })
    }

    /// The path of the target, without its query.
    pub(super) fn path(&self) -> &[u8] {
        self.target.split(|b| *b == b'?').next().unwrap_or_default()
    }

    /// Does the client want the connection kept?
    pub(super) fn keep_alive(&self) -> bool {
        if self.http10 { self.has_token("connection", "keep-alive") } else { !self.has_token("connection", "close") }
    }

    /// How the body ends; `None`: its length cannot be read.
    pub(super) fn framing(&self) -> Option<Framing> {
        if self.field("transfer-encoding").is_some() {
            return Some(Framing::Chunked);
        }
        match self.field("content-length") {
            None => Some(Framing::Length(0)),
            Some(length) => std::str::from_utf8(length).ok()?.parse().ok().map(Framing::Length),
        }
    }
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: BytesMut::with_capacity(READ) }
    }

    /// The next head; `None` at a clean end.
    ///
    /// # Errors
    /// `InvalidData` when it is not HTTP/1, or too large.
    pub(super) async fn head(&mut self) -> io::Result<Option<Head>> {
        let mut searched = 0;
        loop {
            if let Some(at) = find(&self.buffer[searched..], b"\r\n\r\n") {
                let mut head = self.buffer.split_to(searched + at + 4).freeze();
                let line = head.split_to(find(&head, b"\r\n").unwrap_or(0) + 2);
                return parse(&line, head).map(Some).ok_or_else(|| invalid("not an HTTP/1 request"));
            }
            searched = self.buffer.len().saturating_sub(3);
            if self.buffer.len() > HEAD_LIMIT {
                return Err(invalid("the request head is too large"));
            }
            if !self.read().await? {
                return if self.buffer.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// Reads the body to its end and says how many bytes it had.
    ///
    /// # Errors
    /// When the connection ends first, or a chunk cannot be read.
    pub(super) async fn skip_body(&mut self, framing: Framing) -> io::Result<u64> {
        if let Framing::Length(length) = framing {
            self.skip(length).await?;
            return Ok(length);
        }
        let mut total = 0;
        loop {
            let line = self.line().await?;
            let digits = line.as_ref().split(|b: &u8| *b == b';').next().unwrap_or_default().trim_ascii();
            let size = std::str::from_utf8(digits).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
            let size = size.ok_or_else(|| invalid("the chunk size is not a number"))?;
            if size == 0 {
                while !self.line().await?.is_empty() {} // trailers
                return Ok(total);
            }
            self.skip(size).await?;
            self.line().await?;
            total += size;
        }
    }

    /// Waits until the other side has closed; what it still sends is thrown away.
    pub(super) async fn closed(&mut self) {
        self.buffer.clear();
        while self.read().await.is_ok_and(|more| more) {
            self.buffer.clear();
        }
    }

    /// Sends back what comes in, until the other side has closed.
    pub(super) async fn echo(&mut self) -> io::Result<()> {
        loop {
            self.stream.write_all(&self.buffer).await?;
            self.buffer.clear();
            if !self.read().await? {
                return self.stream.shutdown().await;
            }
        }
    }

    async fn skip(&mut self, mut length: u64) -> io::Result<()> {
        loop {
            let here = self.buffer.len().min(usize::try_from(length).unwrap_or(usize::MAX));
            self.buffer.advance(here);
            length -= here as u64;
            if length == 0 {
                return Ok(());
            }
            self.must_read().await?;
        }
    }

    /// One line, without its end.
    async fn line(&mut self) -> io::Result<BytesMut> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                let line = self.buffer.split_to(at);
                self.buffer.advance(2);
                return Ok(line);
            }
            if self.buffer.len() > HEAD_LIMIT {
                return Err(invalid("a line of the chunked body is too long"));
            }
            self.must_read().await?;
        }
    }

    async fn must_read(&mut self) -> io::Result<()> {
        if self.read().await? { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Reads once; `false` at the end.
    async fn read(&mut self) -> io::Result<bool> {
        self.buffer.reserve(READ);
        Ok(self.stream.read_buf(&mut self.buffer).await? > 0)
    }
}

fn parse(line: &Bytes, fields: Bytes) -> Option<Head> {
    let text = line.trim_ascii_end();
    let first = text.iter().position(|b| *b == b' ')?;
    let last = text.iter().rposition(|b| *b == b' ')?;
    let http10 = match &text[last + 1..] {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        _ => return None,
    };
    let sound = first > 0 && last > first + 1 && text[..first].iter().all(u8::is_ascii_uppercase);
    sound.then(|| Head { method: line.slice(..first), target: line.slice(first + 1..last), http10, fields })
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn wire_with(bytes: &'static [u8]) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        client.write_all(bytes).await.unwrap();
        Wire::new(stream)
    }

    #[tokio::test]
    async fn reads_one_request_after_another() {
        let mut wire = wire_with(
            b"POST /a?b=c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: x, Close\r\n\r\n\
              3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\n\
              PUT / HTTP/1.0\r\ncontent-length: 4\r\n\r\nbody",
        )
        .await;
        let head = wire.head().await.unwrap().unwrap();
        assert_eq!((&*head.method, head.path(), head.http10), (&b"POST"[..], &b"/a"[..], false));
        assert_eq!(head.field("HOST"), Some(&b"h"[..]));
        assert!(!head.keep_alive());
        assert_eq!(wire.skip_body(head.framing().unwrap()).await.unwrap(), 3);
        let head = wire.head().await.unwrap().unwrap();
        assert!(head.http10 && !head.keep_alive());
        assert_eq!(wire.skip_body(head.framing().unwrap()).await.unwrap(), 4);
        assert!(wire.head().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_is_not_a_request_is_an_error() {
        for bytes in [&b"\r\n\r\n"[..], b"GET /\r\n\r\n", b"GET  HTTP/1.1\r\n\r\n", b"GET / HTTP/2.0\r\n\r\n"] {
            let mut wire = wire_with(bytes).await;
            assert_eq!(wire.head().await.unwrap_err().kind(), io::ErrorKind::InvalidData, "{bytes:?}");
        }
    }
}

//! The head of a request as it goes out: bytes, written field by field in one pass. Nothing that is put into it can end
//! a line early, and the framing of the body is never the caller's: the codec writes it from the body itself.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Request};

/// Most heads fit without growing.
const ROOM: usize = 1 << 10;

/// A request on its way out: its head is written, its body is to come.
#[derive(Debug)]
pub struct Outgoing<B> {
    pub(super) head: Head,
    pub(super) body: B,
}

impl<B> Outgoing<B> {
    /// This head, and this body behind it.
    pub const fn new(head: Head, body: B) -> Self {
        Self { head, body }
    }
}

impl<B> From<Request<B>> for Outgoing<B> {
    fn from(request: Request<B>) -> Self {
        let mut head = Head::new(request.method(), request.uri().path_and_query());
        for (name, value) in request.headers() {
            head.field(name, value);
        }
        Self { head, body: request.into_body() }
    }
}

/// Request line and fields (RFC 9112 §3, §5), without the empty line that ends them.
#[derive(Debug)]
pub struct Head {
    bytes: Vec<u8>,
    /// The method is HEAD: whatever the answer's fields say, no body follows it.
    pub(super) to_head: bool,
    /// An empty body is to be announced: the method expects one (RFC 9110 §8.6), or the fields say so.
    announces: bool,
}

/// How the body behind a head is framed (RFC 9112 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framed {
    /// No body.
    Empty,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
}

impl Head {
    /// `METHOD TARGET HTTP/1.1`; no target is `/`.
    #[must_use]
    pub fn new(method: &Method, target: Option<&PathAndQuery>) -> Self {
        let target = target.map_or("/", PathAndQuery::as_str);
        // An absolute target may leave an empty path out (RFC 9112 §3.2.1).
        let root: &[u8] = if target.starts_with('?') { b" /" } else { b" " };
        let announces = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
        let mut head = Self { bytes: Vec::with_capacity(ROOM), to_head: *method == Method::HEAD, announces };
        head.put([method.as_str().as_bytes(), root, target.as_bytes(), b" HTTP/1.1\r\n"]);
        head
    }

    /// Adds a field. Content-Length and Transfer-Encoding are left out: they follow from the body.
    pub fn field(&mut self, name: &HeaderName, value: &HeaderValue) {
        if *name == CONTENT_LENGTH {
            self.announces = true;
        } else if *name != TRANSFER_ENCODING {
            let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
            self.bytes.reserve(name.len() + value.len() + 4);
            self.bytes.extend_from_slice(name);
            self.bytes.extend_from_slice(b": ");
            self.bytes.extend_from_slice(value);
            self.bytes.extend_from_slice(b"\r\n");
        }
    }

    /// It asks for another protocol (RFC 9110 §7.8).
    pub(super) fn upgrades(&self) -> bool {
        const LINE: &[u8] = b"\r\nupgrade: ";
        self.bytes.windows(LINE.len()).any(|bytes| bytes == LINE)
    }

    /// The same for HTTP/2, where frames show what chunks do in HTTP/1.1: to be read again, line by line.
    pub(super) fn into_h2(self, framed: Framed) -> Vec<u8> {
        match framed {
            Framed::Chunked => self.bytes,
            framed => self.finish(framed),
        }
    }

    /// The whole head, ended, for a body of this framing.
    pub(super) fn finish(mut self, framed: Framed) -> Vec<u8> {
        match framed {
            Framed::Empty if self.announces => self.put([b"content-length: 0\r\n\r\n"]),
            Framed::Empty => self.put([b"\r\n"]),
            Framed::Length(length) => {
                self.put([b"content-length: ", decimal(length, &mut [0; 20]), b"\r\n\r\n"]);
            }
            Framed::Chunked => self.put([b"transfer-encoding: chunked\r\n\r\n"]),
        }
        self.bytes
    }

    /// These, one behind the other.
    #[inline]
    fn put<const N: usize>(&mut self, parts: [&[u8]; N]) {
        self.bytes.reserve(parts.iter().map(|part| part.len()).sum());
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
    }
}

impl Framed {
    /// What a body says of itself.
    pub(super) fn of<B: http_body::Body<Data = Bytes>>(body: &B) -> Self {
        match body.size_hint().exact() {
            _ if body.is_end_stream() => Self::Empty,
            Some(0) => Self::Empty,
            Some(length) => Self::Length(length),
            None => Self::Chunked,
        }
    }
}

/// Decimal digits.
fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b"0123456789"[(number % 10) as usize];
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{Empty, Full};

    fn written<B: http_body::Body<Data = Bytes>>(request: Request<B>) -> String {
        let Outgoing { head, body } = Outgoing::from(request);
        String::from_utf8(head.finish(Framed::of(&body))).unwrap()
    }

    #[test]
    fn digits_are_those_of_the_standard_library() {
        for number in [0, 9, 10, 16_384, u64::MAX] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string().as_bytes());
        }
    }

    #[test]
    fn a_long_head_makes_room() {
        let long = "x".repeat(3 * ROOM);
        let get = Request::get("/").header("a", &long).header("b", "c").body(Empty::<Bytes>::new()).unwrap();
        assert_eq!(written(get), format!("GET / HTTP/1.1\r\na: {long}\r\nb: c\r\n\r\n"));
    }

    #[test]
    fn the_body_decides_the_framing_whatever_the_fields_say() {
        let get = Request::get("http://a/x?y").header("host", "a").body(Empty::<Bytes>::new()).unwrap();
        assert_eq!(written(get), "GET /x?y HTTP/1.1\r\nhost: a\r\n\r\n");
        let post = Request::post("/").header("content-length", "7").header("transfer-encoding", "gzip");
        assert_eq!(written(post.body(Full::from("four")).unwrap()), "POST / HTTP/1.1\r\ncontent-length: 4\r\n\r\n");
        let empty = Request::post("/").body(Empty::<Bytes>::new()).unwrap();
        assert_eq!(written(empty), "POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n");
        let said = Request::delete("/").header("content-length", "0").body(Empty::<Bytes>::new()).unwrap();
        assert_eq!(written(said), "DELETE / HTTP/1.1\r\ncontent-length: 0\r\n\r\n");
        let bare = Request::get("http://a?y").body(Empty::<Bytes>::new()).unwrap();
        assert_eq!(written(bare), "GET /?y HTTP/1.1\r\n\r\n");
        assert_eq!(written(Request::options("*").body(Empty::<Bytes>::new()).unwrap()), "OPTIONS * HTTP/1.1\r\n\r\n");
    }
}

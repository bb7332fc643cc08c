//! The head of a request as it goes out: bytes, written field by field in one pass. Nothing that is put into it can end
//! a line early, and the framing of the body is never the caller's: the codec writes it from the body itself.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Request};

use crate::message::Text;
use crate::message::text::decimal;

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
    text: Text,
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
        let mut head = Self { text: Text::default(), to_head: *method == Method::HEAD, announces };
        head.text.open();
        head.text.put([method.as_str().as_bytes(), root, target.as_bytes(), b" HTTP/1.1\r\n"]);
        head
    }

    /// Adds a field. Content-Length and Transfer-Encoding are left out: they follow from the body.
    pub fn field(&mut self, name: &HeaderName, value: &HeaderValue) {
        if *name == CONTENT_LENGTH {
            self.announces = true;
        } else if *name != TRANSFER_ENCODING {
            self.text.field(name, value);
        }
    }

    /// It asks for another protocol (RFC 9110 §7.8).
    pub(super) fn upgrades(&self) -> bool {
        const LINE: &[u8] = b"\r\nupgrade: ";
        self.text.as_slice().windows(LINE.len()).any(|bytes| bytes == LINE)
    }

    /// The same for HTTP/2, where frames show what chunks do in HTTP/1.1: to be read again, line by line.
    pub(super) fn into_h2(self, framed: Framed) -> Text {
        match framed {
            Framed::Chunked => self.text,
            framed => self.finish(framed),
        }
    }

    /// The whole head, ended, for a body of this framing.
    pub(super) fn finish(mut self, framed: Framed) -> Text {
        match framed {
            Framed::Empty if self.announces => self.text.put([b"content-length: 0\r\n\r\n"]),
            Framed::Empty => self.text.put([b"\r\n"]),
            Framed::Length(length) => {
                self.text.put([b"content-length: ", decimal(length, &mut [0; 20]), b"\r\n\r\n"]);
            }
            Framed::Chunked => self.text.put([b"transfer-encoding: chunked\r\n\r\n"]),
        }
        self.text
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

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{Empty, Full};

    fn written<B: http_body::Body<Data = Bytes>>(request: Request<B>) -> String {
        let Outgoing { head, body } = Outgoing::from(request);
        String::from_utf8(head.finish(Framed::of(&body)).as_slice().to_vec()).unwrap()
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

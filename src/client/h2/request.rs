//! A request's head for HTTP/2: pseudo-header fields in place of line and Host, and none of the fields that belong to
//! an HTTP/1.1 connection (RFC 9113 §8.2.2, §8.3.1). An Upgrade to a WebSocket becomes an extended CONNECT (RFC 8441
//! §5), any other is left out: whoever is asked may ignore it (RFC 9110 §7.8). Pure.

use bytes::Bytes;
use h2::ext::Protocol;
use http::header::{HOST, TE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, header, uri};

use crate::cause::{Cause, Failure};
use crate::client::head::{Framed, Head};
use crate::tunnel::handshake;

/// A WebSocket that was asked for as in HTTP/1.1. The upstream sees nothing of this, so it is judged here (RFC 6455
/// §4.2.1).
#[derive(Clone, Debug)]
pub(super) struct Asked {
    keys: Vec<HeaderValue>,
    /// It asks for the version that there is.
    current: bool,
}

impl Asked {
    /// The key, which an upstream that agrees would have to prove that it read.
    ///
    /// # Errors
    /// 400, or 426 for another version.
    pub(super) fn key(&self) -> Result<&HeaderValue, Failure> {
        let invalid = |seen: &str| Failure::new(Cause::ClientInvalid).seen(seen);
        if !self.current {
            return Err(invalid("it asks for a WebSocket, and its Sec-WebSocket-Version is not 13").status(426));
        }
        match self.keys.as_slice() {
            [] => Err(invalid("it asks for a WebSocket without a Sec-WebSocket-Key")),
            [key] if handshake::is_key(key) => Ok(key),
            [_] => Err(invalid("its Sec-WebSocket-Key is not 16 bytes in base64")),
            _ => Err(invalid("it has more than one Sec-WebSocket-Key")),
        }
    }
}

/// The head for a body of this framing; and what it asks for, if that is a WebSocket. `secure`: behind TLS.
///
/// # Errors
/// [`Cause::Bug`] for one that cannot be said.
pub(super) fn request(head: Head, framed: Framed, secure: bool) -> Result<(Request<()>, Option<Asked>), Failure> {
    let bytes = Bytes::from(head.into_h2(framed).into_vec());
    let mut lines = Lines(&bytes);
    let unfit = || Failure::new(Cause::Bug).seen("a head that HTTP/2 cannot carry");
    let mut words = lines.next().ok_or_else(unfit)?.split(|b| *b == b' ');
    let (method, target) = (words.next().ok_or_else(unfit)?, words.next().ok_or_else(unfit)?);
    let method = Method::from_bytes(method).map_err(|_| unfit())?;
    let target = PathAndQuery::from_maybe_shared(bytes.slice_ref(target)).map_err(|_| unfit())?;
    let (fields, host, upgrade) = fields(&bytes, lines);
    let mut parts = uri::Parts::default();
    parts.path_and_query = Some(target);
    let authority = host.as_ref().and_then(|host| Authority::from_maybe_shared(host.clone()).ok());
    let mut fields = fields;
    if authority.is_some() {
        parts.scheme = Some(if secure { Scheme::HTTPS } else { Scheme::HTTP });
    } else if let Some(host) = host {
        // What is no authority in a URI is still the Host that was asked for.
        fields.insert(HOST, value(host).ok_or_else(unfit)?);
    }
    parts.authority = authority;
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| unfit())?;
    *request.headers_mut() = fields;
    // The library takes a head without an authority only as one that is forwarded from HTTP/1.1.
    *request.version_mut() = Version::HTTP_11;
    let asked = upgrade.and_then(|upgrade| connect(&mut request, &upgrade, framed));
    Ok((request, asked))
}

/// Makes it the extended CONNECT that means the same as this Upgrade, if it asks for a WebSocket as one has to.
fn connect(request: &mut Request<()>, upgrade: &[u8], framed: Framed) -> Option<Asked> {
    let text = std::str::from_utf8(upgrade).unwrap_or_default();
    let sayable = framed == Framed::Empty && request.method() == Method::GET && request.uri().authority().is_some();
    if !sayable || !text.split(',').any(handshake::is_web_socket) {
        return None;
    }
    *request.method_mut() = Method::CONNECT;
    request.extensions_mut().insert(Protocol::from_static(handshake::PROTOCOL));
    *request.version_mut() = Version::HTTP_2;
    let fields = request.headers_mut();
    fields.remove(header::CONTENT_LENGTH);
    let keys = fields.get_all(header::SEC_WEBSOCKET_KEY).iter().cloned().collect();
    fields.remove(header::SEC_WEBSOCKET_KEY);
    let mut versions = fields.get_all(header::SEC_WEBSOCKET_VERSION).iter();
    let current = versions.next().is_some_and(|version| version.as_bytes().trim_ascii() == b"13");
    Some(Asked { keys, current: current && versions.next().is_none() })
}

/// All that passes, the Host, and the Upgrade.
fn fields(bytes: &Bytes, lines: Lines<'_>) -> (HeaderMap, Option<Bytes>, Option<Bytes>) {
    let (mut fields, mut host, mut upgrade) = (HeaderMap::with_capacity(16), None, None);
    for line in lines {
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        let (Ok(name), said) = (HeaderName::from_bytes(&line[..colon]), &line[(colon + 2).min(line.len())..]) else {
            continue;
        };
        let said = bytes.slice_ref(said);
        if name == HOST {
            host = Some(said);
        } else if name == header::UPGRADE {
            upgrade = Some(said);
        } else if name == TE {
            if said.split(|b| *b == b',').any(|word| word.trim_ascii().eq_ignore_ascii_case(b"trailers")) {
                fields.insert(TE, HeaderValue::from_static("trailers"));
            }
        } else if !of_a_connection(&name)
            && let Some(mut value) = value(said)
        {
            value.set_sensitive(of_one_request(&name));
            fields.append(name, value);
        }
    }
    (fields, host, upgrade)
}

fn value(bytes: Bytes) -> Option<HeaderValue> {
    HeaderValue::from_maybe_shared(bytes).ok()
}

/// Fields that HTTP/2 has no place for.
fn of_a_connection(name: &HeaderName) -> bool {
    matches!(name.as_str(), "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "http2-settings")
}

/// Fields that are others with each request. HTTP/2 is told never to index them (RFC 7541 §7.1.3): h2 would compare
/// each with all that it has kept.
fn of_one_request(name: &HeaderName) -> bool {
    matches!(name.as_str(), "x-request-id" | "traceparent")
}

/// The lines of a head that we wrote ourselves.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|b| *b == b'\r').filter(|end| *end > 0)?;
        let line = &self.0[..end];
        self.0 = self.0.get(end + 2..).unwrap_or_default();
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::head::Outgoing;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn made(build: http::request::Builder, framed: Framed) -> Result<Request<()>, Failure> {
        request(Outgoing::from(build.body(()).unwrap()).head, framed, false).map(|(request, _)| request)
    }

    #[test]
    fn line_and_host_become_pseudo_fields() {
        let build = Request::post("/a/b?c=d").header("host", "shop:8080").header("x-a", "1").header("x-a", "2");
        let made = made(build, Framed::Length(5)).unwrap();
        assert_eq!((made.method(), made.uri().to_string().as_str()), (&Method::POST, "http://shop:8080/a/b?c=d"));
        let fields: Vec<_> = made.headers().iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        assert_eq!(fields, [("x-a", "1"), ("x-a", "2"), ("content-length", "5")]);
    }

    #[test]
    fn what_belongs_to_a_connection_stays_behind() {
        let build = Request::get("/").header("host", "a").header("connection", "TE, close").header("keep-alive", "1");
        let build = build.header("te", "gzip, Trailers").header("proxy-connection", "x").header("empty", "");
        let made = made(build, Framed::Chunked).unwrap();
        let fields: Vec<_> = made.headers().iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        assert_eq!(fields, [("te", "trailers"), ("empty", "")]);
    }

    #[test]
    fn odd_targets_and_hosts() {
        let star = made(Request::options("*").header("host", "a"), Framed::Empty).unwrap();
        assert_eq!(star.uri().path(), "*");
        let odd = made(Request::get("/").header("host", "a b"), Framed::Empty).unwrap();
        assert_eq!((odd.uri().authority(), &odd.headers()["host"]), (None, &HeaderValue::from_static("a b")));
        let empty = made(Request::post("/").header("host", "a"), Framed::Empty).unwrap();
        assert_eq!(empty.headers()["content-length"], "0");
    }

    #[test]
    fn a_web_socket_is_an_extended_connect() {
        let build = Request::get("/chat?room=1").header("host", "a").header("upgrade", "x/1, WebSocket");
        let build = build.header("connection", "upgrade").header("sec-websocket-key", KEY).header("origin", "o");
        let build = build.header("sec-websocket-version", "13");
        let head = Outgoing::from(build.body(()).unwrap()).head;
        let (made, asked) = request(head, Framed::Empty, true).unwrap();
        assert_eq!((made.method(), made.uri().to_string().as_str()), (&Method::CONNECT, "https://a/chat?room=1"));
        assert_eq!(made.extensions().get::<Protocol>().unwrap().as_str(), "websocket");
        let mut left: Vec<_> = made.headers().keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["origin", "sec-websocket-version"]);
        assert_eq!(asked.unwrap().key().unwrap(), KEY);
    }

    #[test]
    fn a_handshake_is_judged() {
        let judged = |fields: &[(&str, &str)]| {
            let mut build = Request::get("/").header("host", "a").header("upgrade", "websocket");
            for (name, value) in fields {
                build = build.header(*name, *value);
            }
            let head = Outgoing::from(build.body(()).unwrap()).head;
            let (_, asked) = request(head, Framed::Empty, false).unwrap();
            asked.unwrap().key().map(drop).map_err(|failure| failure.own_status())
        };
        let (key, version) = (("sec-websocket-key", KEY), ("sec-websocket-version", "13"));
        assert_eq!(judged(&[key, version]), Ok(()));
        assert_eq!((judged(&[version]), judged(&[key, key, version])), (Err(400), Err(400)));
        assert_eq!(judged(&[("sec-websocket-key", "c2hvcnQ="), version]), Err(400));
        assert_eq!((judged(&[key]), judged(&[key, ("sec-websocket-version", "8")])), (Err(426), Err(426)));
        assert_eq!(judged(&[key, version, version]), Err(426));
    }

    #[test]
    fn what_http2_cannot_carry_of_upgrades_is_left_out() {
        let all = [
            ("GET", "echo", Framed::Empty),
            ("GET", "websocket", Framed::Length(5)),
            ("POST", "websocket", Framed::Empty),
        ];
        for (method, upgrade, framed) in all {
            let build = Request::builder().method(method).uri("/").header("host", "a").header("upgrade", upgrade);
            let head = Outgoing::from(build.header("connection", "upgrade").body(()).unwrap()).head;
            let (made, asked) = request(head, framed, false).unwrap();
            assert!(asked.is_none() && !made.headers().contains_key("upgrade"), "{method} {upgrade}: {made:?}");
            assert_eq!(made.method(), method);
        }
    }
}

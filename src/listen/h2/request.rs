//! A request of HTTP/2 as the floor above knows requests: a target in origin form, one Host, one Cookie (RFC 9113
//! §8.2.3, §8.3.1); and for a WebSocket, GET with an Upgrade (RFC 8441 §5), the answer to which is made one of HTTP/2
//! again.
//!
//! It refuses nothing: what does not fit together is left as it came, for the guard to see. Pure.

use bytes::{BufMut, Bytes, BytesMut};
use h2::ext::Protocol;
use http::header::{CONNECTION, COOKIE, HOST, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, request, response, uri};

use crate::tunnel::handshake;

/// Makes it so.
pub(super) fn familiar(parts: &mut request::Parts) {
    join_cookies(&mut parts.headers);
    if parts.method == Method::CONNECT {
        return;
    }
    let Some(authority) = parts.uri.authority() else { return };
    if !matches!(parts.uri.scheme_str(), Some("http" | "https")) {
        return;
    }
    let Ok(host) = HeaderValue::from_str(authority.as_str()) else { return };
    let https = parts.uri.scheme() == Some(&uri::Scheme::HTTPS);
    let mut said = parts.headers.get_all(HOST).iter();
    let agrees = said.next().is_none_or(|said| same(said.as_bytes(), host.as_bytes(), https));
    if !agrees || said.next().is_some() {
        return;
    }
    let mut target = uri::Parts::default();
    target.path_and_query = parts.uri.path_and_query().cloned();
    if let Ok(target) = Uri::from_parts(target) {
        parts.uri = target;
        parts.headers.insert(HOST, host);
    }
}

/// Does it ask for a WebSocket? Then it is made to ask as in HTTP/1.1, before all else. Any other CONNECT is left as it
/// came.
pub(super) fn upgrades(parts: &mut request::Parts) -> bool {
    let protocol = parts.extensions.get::<Protocol>().map(Protocol::as_str);
    if parts.method != Method::CONNECT || !protocol.is_some_and(handshake::is_web_socket) {
        return false;
    }
    parts.method = Method::GET;
    let fields = &mut parts.headers;
    fields.insert(UPGRADE, HeaderValue::from_static(handshake::PROTOCOL));
    fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    fields.insert(SEC_WEBSOCKET_KEY, handshake::key());
    true
}

/// The answer that opens the tunnel. What belongs to a connection is taken out of it later, as of every answer.
pub(super) fn opened(head: &mut response::Parts) {
    head.status = StatusCode::OK;
    head.headers.remove(http::header::SEC_WEBSOCKET_ACCEPT);
}

/// Do they name one host, with the scheme's own port said or not?
fn same(one: &[u8], other: &[u8], https: bool) -> bool {
    let port: &[u8] = if https { b":443" } else { b":80" };
    let bare = |host: &'_ [u8]| host.strip_suffix(port).unwrap_or(host).to_ascii_lowercase();
    one == other || bare(one) == bare(other)
}

fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    if crumbs.next().is_none() || crumbs.next().is_none() {
        return;
    }
    let mut all = BytesMut::new();
    for crumb in headers.get_all(COOKIE) {
        if !all.is_empty() {
            all.put_slice(b"; ");
        }
        all.put_slice(crumb.as_bytes());
    }
    if let Ok(joined) = HeaderValue::from_maybe_shared(Bytes::from(all)) {
        headers.insert(COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn made(uri: &str, fields: &[(&str, &str)]) -> (String, Vec<String>) {
        let mut request = Request::get(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        familiar(&mut parts);
        let all = |name| parts.headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned());
        (parts.uri.to_string(), all(HOST).chain(all(COOKIE)).collect())
    }

    #[test]
    fn the_authority_becomes_the_host() {
        assert_eq!(made("http://a:1/x?y", &[]), ("/x?y".into(), vec!["a:1".into()]));
        assert_eq!(made("https://a/", &[("host", "A:443")]), ("/".into(), vec!["a".into()]));
    }

    #[test]
    fn what_does_not_fit_together_is_left_to_the_guard() {
        for host in ["b", "a:81", "a:443", ""] {
            assert_eq!(made("http://a/x", &[("host", host)]).0, "http://a/x", "{host}");
        }
        assert_eq!(made("http://a/x", &[("host", "a"), ("host", "a")]).0, "http://a/x");
        assert_eq!(made("ftp://a/x", &[]).0, "ftp://a/x");
    }

    #[test]
    fn crumbs_make_a_cookie() {
        let cookies = [("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")];
        assert_eq!(made("/", &cookies).1, ["a=1; b=2; c=3"]);
        assert_eq!(made("/", &cookies[..1]).1, ["a=1"]);
    }
}

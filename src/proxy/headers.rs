//! The rules for header fields, both ways: hop-by-hop fields go, the forwarded fields are set, nothing else is touched.
//!
//! CONTRACT §8, RFC 9110 §7.6. One pass over the fields; pure.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::config::model::Networks;

use super::respond::X_REQUEST_ID;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// What causeway says of the request to its upstream; the same for every attempt.
#[derive(Debug)]
pub(super) struct Ours {
    /// The client itself, as text and address.
    pub(super) client: IpAddr,
    /// The peer is one of `trusted_proxies`.
    pub(super) trusted: bool,
    forwarded_for: HeaderValue,
    real_ip: HeaderValue,
    proto: HeaderValue,
    host: Option<HeaderValue>,
    port: HeaderValue,
    via: HeaderValue,
    request_id: HeaderValue,
}

impl Ours {
    /// From the request's fields, its peer, and whom we trust.
    pub(super) fn new(
        headers: &HeaderMap,
        peer: SocketAddr,
        host: Option<&HeaderValue>,
        trust: &Networks,
        via: &HeaderValue,
        request_id: &HeaderValue,
    ) -> Self {
        let trusted = trust.contains(peer.ip());
        let peer_text = shared(peer.ip().to_string());
        let (client, forwarded_for, real_ip) = if trusted {
            let client = client_behind(headers, peer.ip(), trust);
            let chain = values(headers, &X_FORWARDED_FOR).collect::<Vec<_>>().join(", ");
            let chain = if chain.is_empty() { peer.ip().to_string() } else { format!("{chain}, {}", peer.ip()) };
            (client, shared(chain), shared(client.to_string()))
        } else {
            (peer.ip(), peer_text.clone(), peer_text)
        };
        let kept = |name: &HeaderName| trusted.then(|| headers.get(name).cloned()).flatten();
        let proto = kept(&X_FORWARDED_PROTO).unwrap_or(HeaderValue::from_static("http"));
        let port = kept(&X_FORWARDED_PORT).unwrap_or_else(|| match port_of(host) {
            Some(port) => shared(port.to_owned()),
            None if proto.as_bytes().eq_ignore_ascii_case(b"https") => HeaderValue::from_static("443"),
            None => HeaderValue::from_static("80"),
        });
        let host = kept(&X_FORWARDED_HOST).or_else(|| host.cloned());
        Self {
            client,
            trusted,
            forwarded_for,
            real_ip,
            proto,
            host,
            port,
            via: via.clone(),
            request_id: request_id.clone(),
        }
    }
}

/// What of the head is particular to this request.
#[derive(Debug)]
pub(super) struct Shape<'a> {
    /// The Host that the upstream sees.
    pub(super) host: Option<&'a HeaderValue>,
    /// The Upgrade that may pass.
    pub(super) upgrade: Option<&'a HeaderValue>,
    /// There is a body of unknown length.
    pub(super) chunked: bool,
    /// Max-Forwards as it came; the upstream gets one less.
    pub(super) max_forwards: Option<u32>,
    /// The route's path, where it was replaced.
    pub(super) prefix: Option<&'a str>,
}

/// The fields as the upstream gets them.
pub(super) fn to_upstream(original: &HeaderMap, ours: &Ours, shape: &Shape<'_>) -> HeaderMap {
    let named = named_by_connection(original);
    let mut out = HeaderMap::with_capacity(original.len() + 12);
    if let Some(host) = shape.host {
        out.append(header::HOST, host.clone());
    }
    for (name, value) in original {
        if hop_by_hop(name) || is_ours(name) || name == header::HOST || named.contains(name) || poses_as_another(name) {
            continue;
        }
        if name == header::FORWARDED && !ours.trusted {
            continue;
        }
        if name == header::MAX_FORWARDS && shape.max_forwards.is_some() {
            continue;
        }
        out.append(name.clone(), value.clone());
    }
    out.insert(X_FORWARDED_FOR, ours.forwarded_for.clone());
    out.insert(X_FORWARDED_PROTO, ours.proto.clone());
    if let Some(host) = &ours.host {
        out.insert(X_FORWARDED_HOST, host.clone());
    }
    out.insert(X_FORWARDED_PORT, ours.port.clone());
    out.insert(X_REAL_IP, ours.real_ip.clone());
    out.insert(X_REQUEST_ID, ours.request_id.clone());
    out.append(header::VIA, ours.via.clone());
    match shape.prefix {
        Some(prefix) => drop(HeaderValue::from_str(prefix).map(|prefix| out.insert(X_FORWARDED_PREFIX, prefix))),
        None if ours.trusted => {
            drop(original.get(X_FORWARDED_PREFIX).map(|prefix| out.insert(X_FORWARDED_PREFIX, prefix.clone())))
        }
        None => {}
    }
    if let Some(hops) = shape.max_forwards {
        out.insert(header::MAX_FORWARDS, HeaderValue::from(hops.saturating_sub(1)));
    }
    if shape.chunked {
        out.remove(header::CONTENT_LENGTH);
        out.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if let Some(upgrade) = shape.upgrade {
        out.insert(header::UPGRADE, upgrade.clone());
        out.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    } else if values(original, &header::TE).any(|coding| coding.eq_ignore_ascii_case("trailers")) {
        out.insert(header::TE, HeaderValue::from_static("trailers"));
        out.insert(header::CONNECTION, HeaderValue::from_static("TE"));
    }
    out
}

/// The fields of an upstream's answer, made fit for the client, in place.
pub(super) fn to_client(headers: &mut HeaderMap, request_id: &HeaderValue) {
    for name in named_by_connection(headers) {
        headers.remove(name);
    }
    // Few answers have any: one look at the names is cheaper than a lookup for each that could be there.
    let ending: Vec<HeaderName> = headers.keys().filter(|name| hop_by_hop(name)).cloned().collect();
    for name in ending {
        headers.remove(name);
    }
    headers.insert(X_REQUEST_ID, request_id.clone());
}

/// A request id that a trusted peer may bring: 8 to 128 of `A-Za-z0-9._-`.
pub(super) fn inbound_request_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get(X_REQUEST_ID)?.to_str().ok()?;
    let fine = (8..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    fine.then_some(id)
}

/// Does an untrusted peer claim to speak for somebody else?
pub(super) fn claims_forwarded(headers: &HeaderMap) -> bool {
    headers.contains_key(X_FORWARDED_FOR) || headers.contains_key(X_FORWARDED_PROTO)
}

/// The client behind trusted proxies: X-Forwarded-For from the right, the first address that is not trusted itself.
fn client_behind(headers: &HeaderMap, peer: IpAddr, trust: &Networks) -> IpAddr {
    let chain: Vec<&str> = values(headers, &X_FORWARDED_FOR).collect();
    let mut client = peer;
    for hop in chain.iter().rev() {
        let Some(ip) = address_of(hop) else { break };
        client = ip;
        if !trust.contains(ip) {
            break;
        }
    }
    client
}

/// An entry of X-Forwarded-For: an address, some with a port.
fn address_of(hop: &str) -> Option<IpAddr> {
    let ip = hop.parse::<IpAddr>().or_else(|_| hop.parse::<SocketAddr>().map(|address| address.ip()));
    ip.or_else(|_| hop.trim_matches(['[', ']']).parse()).ok().map(|ip| ip.to_canonical())
}

fn port_of(host: Option<&HeaderValue>) -> Option<&str> {
    let (_, port) = host?.to_str().ok()?.rsplit_once(':')?;
    (!port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())).then_some(port)
}

/// The members of a list field, over all its lines, trimmed, without empty ones (RFC 9110 §5.6.1). One that is no text stands as
/// `unknown`: it is told from every word that means something, and hides none beside it.
pub(super) fn values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let members = headers.get_all(name).iter().flat_map(|line| line.as_bytes().split(|b| *b == b','));
    members.map(|member| std::str::from_utf8(member).unwrap_or("unknown").trim()).filter(|member| !member.is_empty())
}

const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
];

fn hop_by_hop(name: &HeaderName) -> bool {
    match name.as_str().len() {
        2 | 7 | 10 | 14 | 16 | 17 | 18 | 19 => HOP_BY_HOP.contains(name),
        _ => false,
    }
}

/// A name that becomes another one where `_` and `-` are the same (CGI, WSGI, PHP, Rack), and the other one is framing, ours or
/// ends here: `X_Forwarded_For` would be read beside the one that causeway sets.
fn poses_as_another(name: &HeaderName) -> bool {
    if !name.as_str().contains('_') {
        return false;
    }
    let meant = HeaderName::try_from(name.as_str().replace('_', "-"));
    let reserved =
        [header::HOST, header::CONTENT_LENGTH, header::VIA, header::FORWARDED, header::EXPECT, header::TRAILER];
    meant.is_ok_and(|meant| is_ours(&meant) || hop_by_hop(&meant) || reserved.contains(&meant))
}

/// Fields that causeway sets itself, whatever the client sent.
fn is_ours(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-")
        && matches!(
            name,
            "x-forwarded-for"
                | "x-forwarded-proto"
                | "x-forwarded-host"
                | "x-forwarded-port"
                | "x-forwarded-prefix"
                | "x-real-ip"
                | "x-request-id"
        )
}

/// The fields that Connection names, but never those that security or framing stands on.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let options = values(headers, &header::CONNECTION);
    let fields = options.filter(|option| !OPTIONS.iter().any(|known| known.eq_ignore_ascii_case(option)));
    let names = fields.filter_map(|field| HeaderName::from_bytes(field.as_bytes()).ok());
    names.filter(|name| !PROTECTED.contains(name) && !is_ours(name)).collect()
}

/// Options of Connection that name no field, or one that is treated on its own.
const OPTIONS: [&str; 4] = ["close", "keep-alive", "upgrade", "te"];

const PROTECTED: [HeaderName; 7] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::COOKIE,
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::FORWARDED,
    header::VIA,
];

fn shared(text: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or(HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    fn sent(fields: &[(&'static str, &'static str)], trust: &str) -> HeaderMap {
        let original = map(fields);
        let trust = Networks(trust.split_whitespace().map(|net| net.parse().unwrap()).collect());
        let (via, id) = (HeaderValue::from_static("1.1 causeway-0a1b2c"), HeaderValue::from_static("0123456789abcdef"));
        let host = original.get("host").cloned();
        let ours = Ours::new(&original, "10.0.0.9:1234".parse().unwrap(), host.as_ref(), &trust, &via, &id);
        let shape = Shape { host: host.as_ref(), upgrade: None, chunked: false, max_forwards: None, prefix: None };
        to_upstream(&original, &ours, &shape)
    }

    #[test]
    fn an_untrusted_peer_cannot_speak_for_another() {
        let out = sent(
            &[
                ("host", "shop:8080"),
                ("x-forwarded-for", "1.2.3.4"),
                ("x-forwarded-proto", "https"),
                ("x-real-ip", "1.1.1.1"),
                ("forwarded", "for=1.1.1.1"),
            ],
            "",
        );
        assert_eq!(out["x-forwarded-for"], "10.0.0.9");
        assert_eq!(out["x-real-ip"], "10.0.0.9");
        assert_eq!(out["x-forwarded-proto"], "http");
        assert_eq!(out["x-forwarded-host"], "shop:8080");
        assert_eq!(out["x-forwarded-port"], "8080");
        assert!(!out.contains_key("forwarded"));
    }

    #[test]
    fn a_trusted_peer_is_believed_from_the_right() {
        let fields = [
            ("host", "a"),
            ("x-forwarded-for", "6.6.6.6, 1.2.3.4, 10.1.1.1"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=x"),
        ];
        let out = sent(&fields, "10.0.0.0/8");
        assert_eq!(out["x-forwarded-for"], "6.6.6.6, 1.2.3.4, 10.1.1.1, 10.0.0.9");
        assert_eq!(out["x-real-ip"], "1.2.3.4");
        assert_eq!(out["x-forwarded-port"], "443");
        assert_eq!(out["forwarded"], "for=x");
    }

    #[test]
    fn hop_by_hop_fields_end_here_and_security_fields_never_do() {
        let out = sent(
            &[
                ("host", "a"),
                ("connection", "close, X-Mine, Authorization, x-forwarded-for, cookie"),
                ("x-mine", "1"),
                ("authorization", "Basic x"),
                ("cookie", "a=b"),
                ("keep-alive", "timeout=5"),
                ("proxy-connection", "x"),
                ("te", "trailers, deflate"),
                ("upgrade", "websocket"),
                ("http2-settings", "AAA"),
                ("accept", "*/*"),
            ],
            "",
        );
        for gone in ["x-mine", "keep-alive", "proxy-connection", "upgrade", "http2-settings"] {
            assert!(!out.contains_key(gone), "{gone}");
        }
        assert_eq!(out["authorization"], "Basic x");
        assert_eq!(out["cookie"], "a=b");
        assert_eq!(out["te"], "trailers");
        assert_eq!(out["connection"], "TE");
        assert_eq!(out["via"], "1.1 causeway-0a1b2c");
    }

    #[test]
    fn an_underscore_is_no_disguise() {
        let out = sent(
            &[
                ("host", "a"),
                ("x_forwarded_for", "6.6.6.6"),
                ("content_length", "5"),
                ("transfer_encoding", "chunked"),
                ("my_field", "1"),
            ],
            "",
        );
        assert_eq!(out["my_field"], "1");
        assert!(out.keys().filter(|name| name.as_str().contains('_')).count() == 1, "{out:?}");
    }

    #[test]
    fn a_request_id_is_believed_only_in_its_alphabet() {
        for (id, fine) in [("abcdefgh", true), ("short", false), ("with space!", false), ("A.b_c-12345", true)] {
            assert_eq!(inbound_request_id(&map(&[("x-request-id", id)])).is_some(), fine, "{id}");
        }
    }
}

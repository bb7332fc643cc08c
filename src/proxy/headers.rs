//! The rules for header fields, both ways: hop-by-hop fields go, the forwarded fields are set, nothing else is touched.
//!
//! CONTRACT §8, RFC 9110 §7.6. One pass over the fields; pure.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::config::model::Networks;
use crate::observe::RequestId;
use crate::observe::trace::{self, Parent};

use super::notes::Notes;
use super::respond::X_REQUEST_ID;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
static X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
static X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What causeway says of the request's origin to its upstream; the same for every attempt.
#[derive(Debug)]
pub(super) struct Ours<'a> {
    /// The client itself.
    pub(super) client: IpAddr,
    peer: &'a HeaderValue,
    /// What the peer itself spoke: `http`, `https`.
    spoken: &'static HeaderValue,
    port: HeaderValue,
    /// What a peer says that is one of `trusted_proxies`.
    behind: Option<Box<Behind<'a>>>,
}

#[derive(Debug)]
struct Behind<'a> {
    chain: HeaderValue,
    client: HeaderValue,
    proto: &'a HeaderValue,
    host: Option<&'a HeaderValue>,
    prefix: Option<&'a HeaderValue>,
}

static HTTP: HeaderValue = HeaderValue::from_static("http");
static HTTPS: HeaderValue = HeaderValue::from_static("https");

impl<'a> Ours<'a> {
    /// Did the client speak TLS, as far as causeway and those in front of it can say?
    pub(super) fn secure(&self) -> bool {
        let proto = self.behind.as_ref().map_or(self.spoken, |behind| behind.proto);
        proto.as_bytes().eq_ignore_ascii_case(b"https")
    }

    /// From the request's fields, its peer (also as text, and whether it speaks TLS), the host it asks for, and whom we
    /// trust.
    pub(super) fn new(
        headers: &'a HeaderMap,
        (peer, text, tls): (IpAddr, &'a HeaderValue, bool),
        host: Option<&HeaderValue>,
        trust: &Networks,
    ) -> Self {
        let spoken = if tls { &HTTPS } else { &HTTP };
        let unsaid = |secure: bool| HeaderValue::from_static(if secure { "443" } else { "80" });
        if !trust.contains(peer) {
            let port = port_of(host).unwrap_or_else(|| unsaid(tls));
            return Self { client: peer, peer: text, spoken, port, behind: None };
        }
        let client = client_behind(headers, peer, trust);
        let chain = values(headers, &X_FORWARDED_FOR).chain(text.to_str()).collect::<Vec<_>>().join(", ");
        let proto = headers.get(&X_FORWARDED_PROTO).unwrap_or(spoken);
        let secure = proto.as_bytes().eq_ignore_ascii_case(b"https");
        let port = headers.get(&X_FORWARDED_PORT).cloned().or_else(|| port_of(host));
        let port = port.unwrap_or_else(|| unsaid(secure));
        let behind = Behind {
            chain: shared(chain),
            client: shared(client.to_string()),
            proto,
            host: headers.get(&X_FORWARDED_HOST),
            prefix: headers.get(&X_FORWARDED_PREFIX),
        };
        Self { client, peer: text, spoken, port, behind: Some(Box::new(behind)) }
    }

    /// The request's id, where the peer may bring one and did.
    pub(super) fn inbound_request_id(&self, headers: &HeaderMap) -> Option<RequestId> {
        if self.trusted() { inbound_request_id(headers).map(RequestId::from) } else { None }
    }

    /// The peer is one of `trusted_proxies`.
    pub(super) const fn trusted(&self) -> bool {
        self.behind.is_some()
    }
}

/// What of the head is particular to this attempt.
#[derive(Debug)]
pub(super) struct Shape<'a> {
    /// The Host that the upstream sees.
    pub(super) host: Option<&'a HeaderValue>,
    /// The host that the client asked for.
    pub(super) asked: Option<&'a HeaderValue>,
    pub(super) request_id: &'a HeaderValue,
    pub(super) via: &'a HeaderValue,
    /// The Upgrade that may pass.
    pub(super) upgrade: Option<&'a HeaderValue>,
    /// Max-Forwards as it came; the upstream gets one less.
    pub(super) max_forwards: Option<u32>,
    /// The route's path, where it was replaced.
    pub(super) prefix: Option<&'a str>,
    /// Its place in a trace that causeway exports.
    pub(super) parent: Option<&'a Parent>,
}

/// The fields as the upstream gets them, each given to `put` once and for good. How the body is framed is the codec's
/// to say: Content-Length goes along only as a word that there was one.
pub(super) fn to_upstream(
    original: &HeaderMap,
    notes: &Notes<'_>,
    ours: &Ours<'_>,
    shape: &Shape<'_>,
    mut put: impl FnMut(&HeaderName, &HeaderValue),
) {
    let named = if notes.connection { named_by_connection(original) } else { Vec::new() };
    if let Some(host) = shape.host {
        put(&header::HOST, host);
    }
    for (name, value) in original {
        let text = name.as_str();
        let passes = match text {
            "host" => false,
            "forwarded" => ours.trusted(),
            "max-forwards" => shape.max_forwards.is_none(),
            "traceparent" if trace::BUILT => shape.parent.is_none(),
            "tracestate" if trace::BUILT => shape.parent.is_none_or(|parent| !parent.fresh()),
            _ => !hop_by_hop(text) && !is_ours(text) && !poses_as_another(text),
        };
        if passes && !named.contains(name) {
            put(name, value);
        }
    }
    let (chain, client, proto, host, prefix) = match &ours.behind {
        None => (ours.peer, ours.peer, ours.spoken, None, None),
        Some(behind) => (&behind.chain, &behind.client, behind.proto, behind.host, behind.prefix),
    };
    put(&X_FORWARDED_FOR, chain);
    put(&X_FORWARDED_PROTO, proto);
    if let Some(host) = host.or(shape.asked) {
        put(&X_FORWARDED_HOST, host);
    }
    put(&X_FORWARDED_PORT, &ours.port);
    put(&X_REAL_IP, client);
    put(&X_REQUEST_ID, shape.request_id);
    put(&header::VIA, shape.via);
    if let Some(parent) = shape.parent {
        put(&TRACEPARENT, parent.traceparent());
    }
    match shape.prefix.map(HeaderValue::from_str) {
        Some(prefix) => drop(prefix.map(|prefix| put(&X_FORWARDED_PREFIX, &prefix))),
        None => drop(prefix.map(|prefix| put(&X_FORWARDED_PREFIX, prefix))),
    }
    if let Some(hops) = shape.max_forwards {
        put(&header::MAX_FORWARDS, &HeaderValue::from(hops.saturating_sub(1)));
    }
    if let Some(upgrade) = shape.upgrade {
        put(&header::UPGRADE, upgrade);
        put(&header::CONNECTION, &HeaderValue::from_static("upgrade"));
    } else if notes.te && values(original, &header::TE).any(|coding| coding.eq_ignore_ascii_case("trailers")) {
        put(&header::TE, &HeaderValue::from_static("trailers"));
        put(&header::CONNECTION, &HeaderValue::from_static("TE"));
    }
}

/// The fields of an upstream's answer, made fit for the client, in place.
pub(super) fn to_client(headers: &mut HeaderMap, request_id: &HeaderValue) {
    // One look at each name is cheaper than a lookup for each that could be there.
    let (mut ends_here, mut places) = (false, 0);
    for (name, value) in headers.iter_mut() {
        ends_here |= hop_by_hop(name.as_str());
        if *name == X_REQUEST_ID {
            *value = request_id.clone();
            places += 1;
        }
    }
    if ends_here {
        end_here(headers);
    }
    if places != 1 {
        headers.insert(&X_REQUEST_ID, request_id.clone());
    }
}

/// Takes out what is for this connection alone.
#[cold]
fn end_here(headers: &mut HeaderMap) {
    while let Some(name) = headers.keys().find(|name| hop_by_hop(name.as_str())).cloned() {
        if name == header::CONNECTION {
            for named in named_by_connection(headers) {
                headers.remove(named);
            }
        }
        headers.remove(name);
    }
}

/// A request id that a trusted peer may bring: 8 to 128 of `A-Za-z0-9._-`.
fn inbound_request_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get(&X_REQUEST_ID)?.to_str().ok()?;
    let fine = (8..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    fine.then_some(id)
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

/// The port that a host names. A proxy is reached by few: the last one is kept as a value.
fn port_of(host: Option<&HeaderValue>) -> Option<HeaderValue> {
    thread_local!(static LAST: RefCell<HeaderValue> = const { RefCell::new(HeaderValue::from_static("80")) });
    let host = host?.as_bytes();
    // From the right: it is short, and most hosts that name none are known by their last byte.
    let digits = host.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let (before, port) = host.split_at(host.len() - digits);
    if port.is_empty() || before.last() != Some(&b':') {
        return None;
    }
    LAST.with_borrow_mut(|last| {
        if last.as_bytes() != port {
            *last = HeaderValue::from_bytes(port).ok()?;
        }
        Some(last.clone())
    })
}

/// The members of a list field, over all its lines, trimmed, without empty ones (RFC 9110 §5.6.1). One that is no text
/// stands as `unknown`: it is told from every word that means something, and hides none beside it.
pub(super) fn values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let members = headers.get_all(name).iter().flat_map(|line| line.as_bytes().split(|b| *b == b','));
    members.map(|member| std::str::from_utf8(member).unwrap_or("unknown").trim()).filter(|member| !member.is_empty())
}

// Field names are lower case in a `HeaderMap`, and compared by length first.

fn hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// May a field of this name come behind a request's body? Nothing that a field of the head is replaced or removed for:
/// an app that adds trailers to the head would believe it.
pub(super) fn trailer_passes(name: &str) -> bool {
    !hop_by_hop(name) && !is_ours(name) && !poses_as_another(name) && !matches!(name, "forwarded" | "via")
}

/// Fields that causeway sets itself, whatever the client sent.
fn is_ours(name: &str) -> bool {
    matches!(
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

/// A name that becomes another one where `_` and `-` are the same (CGI, WSGI, PHP, Rack), and the other one is framing,
/// ours or ends here: `X_Forwarded_For` would be read beside the one that causeway sets.
fn poses_as_another(name: &str) -> bool {
    if !name.as_bytes().contains(&b'_') {
        return false;
    }
    let meant = name.replace('_', "-");
    let reserved = ["host", "content-length", "via", "forwarded", "expect", "trailer"];
    is_ours(&meant) || hop_by_hop(&meant) || reserved.contains(&&*meant)
}

/// The fields that Connection names, but never those that security or framing stands on.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    // `keep-alive`, from nearly everybody who says anything.
    let known = |line: &[u8]| OPTIONS.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(line));
    if headers.get_all(header::CONNECTION).iter().all(|line| known(line.as_bytes())) {
        return Vec::new();
    }
    let options = values(headers, &header::CONNECTION);
    let fields = options.filter(|option| !OPTIONS.iter().any(|known| known.eq_ignore_ascii_case(option)));
    let names = fields.filter_map(|field| HeaderName::from_bytes(field.as_bytes()).ok());
    names.filter(|name| !PROTECTED.contains(name) && !is_ours(name.as_str())).collect()
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
        sent_over(false, fields, trust)
    }

    fn sent_over(tls: bool, fields: &[(&'static str, &'static str)], trust: &str) -> HeaderMap {
        let original = map(fields);
        let trust = Networks(trust.split_whitespace().map(|net| net.parse().unwrap()).collect());
        let (via, id) = (HeaderValue::from_static("1.1 causeway-0a1b2c"), HeaderValue::from_static("0123456789abcdef"));
        let host = original.get("host");
        let (peer, text) = ("10.0.0.9".parse().unwrap(), HeaderValue::from_static("10.0.0.9"));
        let (notes, ours) = (Notes::of(&original), Ours::new(&original, (peer, &text, tls), host, &trust));
        let (upgrade, max_forwards, prefix) = (None, None, None);
        let shape =
            Shape { host, asked: host, request_id: &id, via: &via, upgrade, max_forwards, prefix, parent: None };
        let mut out = HeaderMap::new();
        let mut put = |name: &HeaderName, value: &HeaderValue| {
            out.append(name, value.clone());
        };
        to_upstream(&original, &notes, &ours, &shape, &mut put);
        out
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
    fn tls_is_told_and_who_is_trusted_may_say_otherwise() {
        let told = |fields: &[_], trust| {
            let out = sent_over(true, fields, trust);
            (out["x-forwarded-proto"].clone(), out["x-forwarded-port"].clone())
        };
        let said = |proto: &'static str, port: &'static str| (proto.parse().unwrap(), port.parse().unwrap());
        assert_eq!(told(&[("host", "a"), ("x-forwarded-proto", "http")], ""), said("https", "443"));
        assert_eq!(told(&[("host", "a:8443")], ""), said("https", "8443"));
        assert_eq!(told(&[("host", "a")], "10.0.0.0/8"), said("https", "443"));
        assert_eq!(told(&[("host", "a"), ("x-forwarded-proto", "http")], "10.0.0.0/8"), said("http", "80"));
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

//! The first look at a request: what no upstream should ever see is refused here, each with its own sentence.
//!
//! Pure: reads the head, sends nothing. What the parser already refuses never gets this far (`listen::conn`).

use std::borrow::Cow;
use std::cell::RefCell;

use h2::ext::Protocol;
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::Authority;
use http::{Method, Version, request};

use crate::cause::{Cause, Failure, sized};
use crate::config::model::Listener;
use crate::listen::Session;

use super::headers::values;
use super::notes::Notes;

/// What the guard found out about a request that may pass.
#[derive(Debug, Default)]
pub(super) struct Passed<'a> {
    /// The host the client asked for: the target's authority, else the Host field; `None` only for HTTP/1.0.
    pub(super) host: Option<Cow<'a, HeaderValue>>,
    /// `Expect: 100-continue` (ignored in HTTP/1.0, RFC 9110 §10.1.1).
    pub(super) expects_continue: bool,
    /// The protocols of Upgrade that may pass, if it asks for any.
    pub(super) upgrade: Option<HeaderValue>,
    /// Max-Forwards of TRACE and OPTIONS as it came (RFC 9110 §7.6.2): at 0 the request ends here.
    pub(super) max_forwards: Option<u32>,
}

/// Looks at the head. `own`: whether a token in Via is ours: its coming back is a loop.
///
/// # Errors
/// The refusal, as a [`Failure`] of the client's (or `loop_detected`).
pub(super) fn check<'a>(
    parts: &'a request::Parts,
    notes: &Notes<'a>,
    own: impl Fn(&str) -> bool,
) -> Result<Passed<'a>, Failure> {
    if parts.method == Method::CONNECT {
        if let Some(protocol) = parts.extensions.get::<Protocol>() {
            let seen = format!("CONNECT for \"{}\": over HTTP/2, causeway carries websocket alone", protocol.as_str());
            return Err(Failure::new(Cause::ClientInvalid).status(501).seen(seen));
        }
        return Err(Failure::new(Cause::NoRoute).status(405).seen("CONNECT: causeway is no forward proxy"));
    }
    if notes.transfer_encoding {
        transfer_coding(&parts.headers)?;
    }
    let host = host(parts, notes)?;
    let expects_continue = notes.expect && expectation(parts)?;
    if notes.via
        && let Some(via) = values(&parts.headers, &header::VIA)
            .filter_map(|member| member.split_ascii_whitespace().nth(1))
            .find(|token| own(token))
    {
        // The token goes back with the answer, so that the one that sent the request round knows whose fault it is.
        return Err(Failure::new(Cause::LoopDetected).seen(via));
    }
    let max_forwards = match parts.method {
        Method::TRACE | Method::OPTIONS => {
            parts.headers.get(header::MAX_FORWARDS).and_then(|value| value.to_str().ok()?.trim().parse().ok())
        }
        _ => None,
    };
    let upgrade = if notes.upgrade { upgrade(parts) } else { None };
    Ok(Passed { host, expects_continue, upgrade, max_forwards })
}

/// Where clients show certificates: is the request for a host of the certificate that its connection was made with?
///
/// # Errors
/// 421 (RFC 9110 §15.5.20).
pub(super) fn at_home<'a>(session: &Session, passed: Passed<'a>) -> Result<Passed<'a>, Failure> {
    match passed.host.as_ref().and_then(|host| host.to_str().ok()) {
        Some(host) if !session.may_ask_for(host) => {
            let named = session.sni.as_deref().map_or_else(|| "no host".to_owned(), |sni| format!("the host {sni}"));
            let seen = format!("it is for a host of another certificate than its TLS handshake, which named {named}");
            Err(Failure::new(Cause::ClientInvalid).status(421).seen(seen))
        }
        _ => Ok(passed),
    }
}

/// What must hold of a request of HTTP/2 besides (RFC 9113 §8.2.1, §8.3.1), and the bounds that h2 does not keep to the
/// letter. `listen` has made its Host of its `:authority` where the two agree.
///
/// # Errors
/// As [`check`].
pub(super) fn check_h2(parts: &request::Parts, listener: &Listener) -> Result<(), Failure> {
    let invalid = |seen: String| Err(Failure::new(Cause::ClientInvalid).seen(seen));
    if parts.method == Method::CONNECT {
        return Ok(()); // refused in other words
    }
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    // Of its size, each field counts 32 bytes (RFC 9113 §6.5.2); so do the four that stand before all others.
    let mut size = 4 * 32 + path.len() + parts.method.as_str().len();
    for (name, value) in &parts.headers {
        size += 32 + name.as_str().len() + value.len();
        if let ([b' ' | b'\t', ..], _) | (_, [.., b' ' | b'\t']) = (value.as_bytes(), value.as_bytes()) {
            return invalid(format!("its field {name} begins or ends with a space"));
        }
    }
    if size > listener.head_limit {
        let limit = sized(listener.head_limit as u64);
        let seen = format!("the head is larger than {limit} (limit: limits.head)");
        return Err(Failure::new(Cause::ClientTooLarge).status(431).limit(limit).seen(seen));
    }
    if parts.headers.len() > listener.fields_limit {
        let limit = format!("{} fields", listener.fields_limit);
        let seen = format!("the head has more than {limit} (limit: limits.fields)");
        return Err(Failure::new(Cause::ClientTooLarge).status(431).limit(limit).seen(seen));
    }
    match (parts.uri.authority(), parts.uri.scheme_str()) {
        (Some(_), Some("http" | "https")) => invalid("its Host field is not its :authority".into()),
        (Some(_), _) => invalid("its :scheme is neither http nor https".into()),
        (None, _) if !path.starts_with('/') && path != "*" => invalid("its :path does not begin with a slash".into()),
        (None, _) => Ok(()),
    }
}

/// Anything but a single `chunked` is refused: two parsers could read it in two ways (RFC 9112 §6.1).
fn transfer_coding(headers: &HeaderMap) -> Result<(), Failure> {
    let mut codings = values(headers, &header::TRANSFER_ENCODING);
    match (codings.next(), codings.next()) {
        (Some(only), None) if only.eq_ignore_ascii_case("chunked") => Ok(()),
        _ => {
            Err(Failure::new(Cause::ClientInvalid).status(501).seen("a Transfer-Encoding other than a single chunked"))
        }
    }
}

/// RFC 9112 §3.2: exactly one valid Host in HTTP/1.1; the authority of an absolute target replaces it.
fn host<'a>(parts: &request::Parts, notes: &Notes<'a>) -> Result<Option<Cow<'a, HeaderValue>>, Failure> {
    let invalid = |seen: &str| Err(Failure::new(Cause::ClientInvalid).seen(seen));
    let field = match (notes.host, notes.hosts) {
        (None, _) if parts.version > Version::HTTP_10 => return invalid("it has no Host field"),
        (_, true) => return invalid("it has more than one Host field"),
        (field, false) => field,
    };
    // Authority form is for CONNECT and the asterisk for OPTIONS alone (RFC 9112 §3.2.3, §3.2.4); of absolute targets,
    // those of HTTP are ours to serve.
    match (parts.uri.authority(), parts.uri.scheme_str()) {
        (None, _) if parts.uri.path() == "*" && parts.method != Method::OPTIONS => {
            return invalid("its target is no path");
        }
        (None, _) => {}
        (Some(authority), Some("http" | "https")) => {
            return match HeaderValue::from_str(authority.as_str()) {
                Ok(value) if is_host(value.as_bytes()) => Ok(Some(Cow::Owned(value))),
                _ => invalid("the authority of its target is not a host"),
            };
        }
        (Some(_), _) => return invalid("its target is no path"),
    }
    match field {
        None => Ok(None),
        Some(value) if is_host(value.as_bytes()) => Ok(Some(Cow::Borrowed(value))),
        Some(_) => invalid("its Host field is not a host"),
    }
}

/// `uri-host [ ":" port ]` without user information (RFC 9110 §7.2). A proxy is asked for few: the last one is known.
fn is_host(text: &[u8]) -> bool {
    const LONGEST: usize = 64;
    thread_local!(static LAST: RefCell<([u8; LONGEST], usize)> = const { RefCell::new(([0; LONGEST], 0)) });
    LAST.with_borrow_mut(|(last, length)| {
        if *length > 0 && last[..*length] == *text {
            return true;
        }
        let fine = is_plain_host(text) || is_any_host(text);
        if let Some(place) = last.get_mut(..text.len()).filter(|_| fine) {
            place.copy_from_slice(text);
            *length = text.len();
        }
        fine
    })
}

/// What nearly every Host is, a name or an IPv4 address and perhaps a port, needs no parser.
fn is_plain_host(text: &[u8]) -> bool {
    static IN_NAME: [bool; 256] = {
        let mut fine = [false; 256];
        let mut byte = 0;
        while byte < fine.len() {
            fine[byte] = (byte as u8).is_ascii_alphanumeric() || matches!(byte as u8, b'.' | b'-');
            byte += 1;
        }
        fine
    };
    let name = text.iter().take_while(|byte| IN_NAME[usize::from(**byte)]).count();
    match &text[name..] {
        _ if name == 0 => false,
        [] => true,
        [b':', port @ ..] if port.len() <= 5 && port.iter().all(u8::is_ascii_digit) => {
            port.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0')) <= u32::from(u16::MAX)
        }
        _ => false,
    }
}

fn is_any_host(text: &[u8]) -> bool {
    let port = match text.iter().rposition(|b| *b == b':') {
        Some(colon) if !text[colon..].contains(&b']') => &text[colon + 1..],
        _ => &[],
    };
    let port = std::str::from_utf8(port)
        .is_ok_and(|port| port.is_empty() || (port.parse::<u16>().is_ok() && !port.starts_with('+')));
    port && !text.contains(&b'@') && Authority::try_from(text).is_ok()
}

fn expectation(parts: &request::Parts) -> Result<bool, Failure> {
    let mut expects = false;
    for expectation in values(&parts.headers, &header::EXPECT) {
        if !expectation.eq_ignore_ascii_case("100-continue") {
            return Err(Failure::new(Cause::ClientInvalid).status(417).seen("an expectation other than 100-continue"));
        }
        expects = parts.version > Version::HTTP_10;
    }
    Ok(expects)
}

/// The Upgrade field without HTTP/2 and TLS in any spelling: after a 101 to those, everything would pass unseen.
fn upgrade(parts: &request::Parts) -> Option<HeaderValue> {
    if parts.version < Version::HTTP_11 {
        return None;
    }
    if !values(&parts.headers, &header::CONNECTION).any(|option| option.eq_ignore_ascii_case("upgrade")) {
        return None;
    }
    let passes = |protocol: &&str| {
        let name = protocol.split('/').next().unwrap_or_default();
        let token = protocol.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(&b));
        token && !["h2c", "h2", "http", "tls"].iter().any(|barred| name.eq_ignore_ascii_case(barred))
    };
    let kept: Vec<&str> = values(&parts.headers, &header::UPGRADE).filter(passes).collect();
    if kept.is_empty() { None } else { HeaderValue::from_str(&kept.join(", ")).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    proptest::proptest! {
        #[test]
        fn a_plain_host_is_a_host(text in "[a-z0-9.:@/%_-]{0,3}[a-zA-Z0-9.-]{0,12}:?[0-9]{0,5}") {
            proptest::prop_assert!(!is_plain_host(text.as_bytes()) || is_any_host(text.as_bytes()), "{}", text);
        }
    }

    fn checked(uri: &str, version: Version, fields: &[(&str, &str)]) -> Result<Passed<'static>, u16> {
        let mut request = Request::builder().method("GET").uri(uri).version(version);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let passed = check(&parts, &Notes::of(&parts.headers), |token| token == "causeway-0a1b2c")
            .map_err(|failure| failure.own_status())?;
        Ok(Passed { host: passed.host.map(|host| Cow::Owned(host.into_owned())), ..passed })
    }

    #[test]
    fn hosts_are_one_and_valid() {
        let one = |fields: &[(&str, &str)]| {
            checked("/", Version::HTTP_11, fields).map(|passed| passed.host.unwrap().into_owned())
        };
        assert_eq!(one(&[("host", "a:80")]).unwrap(), "a:80");
        assert_eq!(one(&[("host", "[::1]:80")]).unwrap(), "[::1]:80");
        for bad in [
            &[][..],
            &[("host", "a"), ("host", "a")],
            &[("host", "a b")],
            &[("host", "a@b")],
            &[("host", "")],
            &[("host", "a/b")],
            &[("host", "a:x")],
            &[("host", "a:99999")],
            &[("host", "a:+1")],
        ] {
            assert_eq!(one(bad).unwrap_err(), 400, "{bad:?}");
        }
        assert!(checked("/", Version::HTTP_10, &[]).unwrap().host.is_none());
        for (target, wanted) in [("b", 400), ("b:80", 400), ("ftp://b/x", 400), ("*", 400)] {
            assert_eq!(checked(target, Version::HTTP_11, &[("host", "a")]).err(), Some(wanted), "{target}");
        }
        let absolute = checked("http://b:1/x", Version::HTTP_11, &[("host", "a")]).unwrap();
        assert_eq!(*absolute.host.unwrap(), "b:1");
    }

    #[test]
    fn only_a_single_chunked_is_a_transfer_coding() {
        for (value, wanted) in [
            ("chunked", None),
            ("CHUNKED", None),
            ("gzip, chunked", Some(501)),
            ("chunked, chunked", Some(501)),
            ("identity", Some(501)),
        ] {
            let got = checked("/", Version::HTTP_11, &[("host", "a"), ("transfer-encoding", value)]);
            assert_eq!(got.err(), wanted, "{value}");
        }
    }

    #[test]
    fn expectations_and_upgrades() {
        let one = |name: &str, value: &str| {
            checked("/", Version::HTTP_11, &[("host", "a"), ("connection", "Upgrade"), (name, value)])
        };
        assert!(one("expect", "100-Continue").unwrap().expects_continue);
        assert_eq!(one("expect", "200-ok").err(), Some(417));
        assert_eq!(one("upgrade", "websocket").unwrap().upgrade.unwrap(), "websocket");
        assert_eq!(one("upgrade", "h2c, TLS/1.0, foo/2").unwrap().upgrade.unwrap(), "foo/2");
        assert!(one("upgrade", "h2c").unwrap().upgrade.is_none());
    }

    #[test]
    fn our_own_token_is_a_loop_and_nobody_elses() {
        let one = |via: &str| checked("/", Version::HTTP_11, &[("host", "a"), ("via", via)]);
        assert_eq!(one("1.1 x, 1.1 causeway-0a1b2c").err(), Some(502));
        assert!(one("1.1 causeway-ffffff").is_ok());
    }
}

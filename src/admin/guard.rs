//! Who may look at what is inside, and who may change it: no page of another site; changes come from this machine, or
//! with the token.
//!
//! A name that somebody lets point here (DNS rebinding) makes a browser take a foreign page for the admin's own: so
//! only an address, `localhost` or this deployment's name may stand in Host.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName};
use http::{StatusCode, Uri};

use crate::config::model::Token;

use super::answer::Refusal;

const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// May this request see what requests carried, and where they went? `name`: this deployment's.
pub(super) fn may_look(name: &str, fields: &HeaderMap) -> Result<(), Refusal> {
    if !is_local(host(fields)) && !host_name(host(fields)).is_some_and(|host| host.eq_ignore_ascii_case(name)) {
        let why = "This is answered only where it is asked for by address or as localhost: http://127.0.0.1:9901, say. A name could be anybody's.";
        refused(why)
    } else if own_page(fields) {
        Ok(())
    } else {
        refused("This was asked for by a page of another site. Open it yourself, or use curl.")
    }
}

/// May this request change something? `peer`: who sent it; `token`: of `admin.token_file`. Whoever has the token may
/// ask by any name: no page that was led here by a name has it.
pub(super) fn may_change(peer: IpAddr, token: Option<&Token>, fields: &HeaderMap) -> Result<(), Refusal> {
    let here = peer.to_canonical().is_loopback();
    match (token, said(fields)) {
        _ if !own_page(fields) => {
            refused("This was sent by a page of another site. Send it with curl or from the admin's own page.")
        }
        (Some(token), Some(said)) if token.is(said) => Ok(()),
        (Some(_), Some(_)) => unknown("This is not the token of admin.token_file."),
        (Some(_), None) if !here => {
            unknown("From another machine, changes need the token of admin.token_file: Authorization: Bearer TOKEN.")
        }
        (None, _) if !here => refused(
            "Changes are taken from this machine alone: send it to the admin address from there, or set admin.token_file.",
        ),
        _ if !is_local(host(fields)) => {
            refused("Changes are taken where they are sent to an address or localhost: a name could be anybody's.")
        }
        _ => Ok(()),
    }
}

/// The token of this request (RFC 6750 §2.1).
fn said(fields: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = fields.get(header::AUTHORIZATION)?.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

fn unknown(why: &str) -> Result<(), Refusal> {
    Err((StatusCode::UNAUTHORIZED, why.to_owned()))
}

fn refused(why: &str) -> Result<(), Refusal> {
    Err((StatusCode::FORBIDDEN, why.to_owned()))
}

/// A field that stands in a request once, or not at all. `Err`: it stands there twice or is no text, so nobody knows
/// what it says.
fn once<'f>(fields: &'f HeaderMap, name: &HeaderName) -> Result<Option<&'f str>, Unclear> {
    let mut values = fields.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Unclear),
        (Some(_), Some(_)) => Err(Unclear),
    }
}

struct Unclear;

/// What is unclear is no address and no name of ours.
fn host(fields: &HeaderMap) -> &str {
    once(fields, &header::HOST).ok().flatten().unwrap_or_default()
}

/// Of a browser: no other site had a hand in it. Other clients do not say. What is said unclearly is no proof of that.
fn own_page(fields: &HeaderMap) -> bool {
    let own = match once(fields, &header::ORIGIN).map(|origin| origin.map(str::parse::<Uri>)) {
        Ok(None) => true,
        Ok(Some(Ok(origin))) => origin.authority().is_some_and(|origin| origin.as_str() == host(fields)),
        Ok(Some(Err(_))) | Err(Unclear) => false,
    };
    own && matches!(once(fields, &SITE), Ok(None | Some("same-origin" | "none")))
}

/// Is this how one's own machine is called? A name could be anybody's, who lets it point here.
fn is_local(host: &str) -> bool {
    host_name(host).is_some_and(|host| host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok())
}

/// Without its port and brackets.
fn host_name(host: &str) -> Option<String> {
    let authority: http::uri::Authority = host.parse().ok()?;
    Some(authority.host().trim_start_matches('[').trim_end_matches(']').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn no_page_of_another_site_may_look() {
        let may = |pairs: &[(&'static str, &'static str)]| may_look("edge", &fields(pairs)).is_ok();
        for host in ["127.0.0.1:9901", "[::1]:9901", "10.0.0.7", "localhost:9901", "LOCALHOST", "edge:9901"] {
            assert!(may(&[("host", host)]), "{host}");
        }
        for host in ["rebound.example:9901", "edge.example", "127.0.0.1.example", "a@b", "", "localhost.evil.example"] {
            assert!(!may(&[("host", host)]), "{host}");
        }
        assert!(!may(&[]));
        assert!(may(&[("host", "127.0.0.1:9901"), ("sec-fetch-site", "none")]));
        assert!(!may(&[("host", "127.0.0.1:9901"), ("sec-fetch-site", "cross-site")]));
        assert!(!may(&[("host", "127.0.0.1:9901"), ("sec-fetch-site", "same-site")]));
        assert!(!may(&[("host", "127.0.0.1:9901"), ("origin", "http://evil.example")]));
    }

    /// A field that nobody can read proves nothing: it counts as the worst that it could say.
    #[test]
    fn what_is_unclear_opens_nothing() {
        let local = || fields(&[("host", "127.0.0.1:9901")]);
        let may = |fields: &HeaderMap| {
            let change = may_change("127.0.0.1".parse().unwrap(), None, fields).is_ok();
            assert_eq!(may_look("edge", fields).is_ok(), change, "{fields:?}");
            change
        };
        assert!(may(&local()));
        for (name, value) in [
            ("origin", &b"http://127.0.0.1:9901\xff"[..]),
            ("origin", b"http://\xc3\xbc.example"),
            ("origin", b"\xff"),
            ("origin", b""),
            ("sec-fetch-site", b"cross-site\xff"),
            ("sec-fetch-site", b"\xe2\x80\x8bsame-origin"),
            ("sec-fetch-site", b""),
            ("sec-fetch-site", b"same-origin, cross-site"),
        ] {
            let mut fields = local();
            fields.insert(name, http::HeaderValue::from_bytes(value).unwrap());
            assert!(!may(&fields), "{name}: {}", value.escape_ascii());
        }
        // Twice: which one holds?
        for (name, one, other) in [
            ("origin", "http://127.0.0.1:9901", "http://evil.example"),
            ("sec-fetch-site", "same-origin", "cross-site"),
            ("host", "127.0.0.1:9901", "rebound.example"),
        ] {
            let mut fields = local();
            fields.insert(name, one.parse().unwrap());
            assert!(may(&fields), "{name}");
            fields.append(name, other.parse().unwrap());
            assert!(!may(&fields), "{name} twice");
        }
        let mut broken = local();
        broken.insert("host", http::HeaderValue::from_bytes(b"127.0.0.1\xff").unwrap());
        assert!(!may(&broken));
    }

    #[test]
    fn only_this_machine_and_no_page_of_another_site_may_change_something() {
        let may = |peer: &str, pairs| may_change(peer.parse().unwrap(), None, &fields(pairs)).is_ok();
        assert!(may("127.0.0.1", &[("host", "127.0.0.1:9901")]));
        assert!(may("::ffff:127.0.0.1", &[("host", "[::1]:9901"), ("sec-fetch-site", "none")]));
        assert!(may("::1", &[("host", "localhost:9901"), ("origin", "http://localhost:9901")]));
        assert!(!may("10.0.0.1", &[("host", "127.0.0.1:9901")]));
        assert!(!may("127.0.0.1", &[("host", "127.0.0.1:9901"), ("origin", "http://evil.example")]));
        assert!(!may("127.0.0.1", &[("host", "127.0.0.1:9901"), ("origin", "null")]));
        assert!(!may("127.0.0.1", &[("host", "127.0.0.1:9901"), ("sec-fetch-site", "cross-site")]));
        assert!(!may("127.0.0.1", &[("host", "rebound.example:9901")]), "a name that was pointed here");
        assert!(!may("127.0.0.1", &[]));
    }

    #[test]
    fn the_token_opens_from_everywhere_and_nothing_else_does() {
        let token = Token::read(b"s3cret-s3cret-s3cret\n", "t".into()).unwrap();
        let may = |peer: &str, pairs: &[(&'static str, &'static str)]| match may_change(
            peer.parse().unwrap(),
            Some(&token),
            &fields(pairs),
        ) {
            Ok(()) => 200,
            Err((status, _)) => status.as_u16(),
        };
        let right = ("authorization", "Bearer s3cret-s3cret-s3cret");
        assert_eq!(may("10.0.0.1", &[("host", "admin.internal:9901"), right]), 200);
        assert_eq!(may("10.0.0.1", &[("host", "10.0.0.7"), ("authorization", "bearer  s3cret-s3cret-s3cret")]), 200);
        for wrong in ["Bearer s3cret", "Bearer ", "Bearer", "Basic s3cret-s3cret-s3cret", "s3cret-s3cret-s3cret", ""] {
            assert_eq!(may("10.0.0.1", &[("host", "10.0.0.7"), ("authorization", wrong)]), 401, "{wrong}");
        }
        assert_eq!(may("10.0.0.1", &[("host", "10.0.0.7")]), 401);
        assert_eq!(may("127.0.0.1", &[("host", "127.0.0.1:9901")]), 200, "this machine needs none");
        assert_eq!(may("127.0.0.1", &[("host", "127.0.0.1:9901"), ("authorization", "Bearer x")]), 401);
        assert_eq!(may("127.0.0.1", &[("host", "rebound.example:9901")]), 403);
        assert_eq!(may("10.0.0.1", &[("host", "10.0.0.7"), right, ("origin", "http://evil.example")]), 403);
        assert_eq!(may("127.0.0.1", &[("host", "127.0.0.1"), right, ("sec-fetch-site", "cross-site")]), 403);
    }
}

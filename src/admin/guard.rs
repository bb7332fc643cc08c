//! Who may look at what is inside, and who may change it: no page of another site, and for changes this machine alone.
//!
//! A name that somebody lets point here (DNS rebinding) makes a browser take a foreign page for the admin's own: so only an
//! address, `localhost` or this deployment's name may stand in Host.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName};
use http::{StatusCode, Uri};

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

/// May this request change something? `peer`: who sent it.
pub(super) fn may_change(peer: IpAddr, fields: &HeaderMap) -> Result<(), Refusal> {
    if !peer.to_canonical().is_loopback() {
        refused("Changes are taken from this machine alone: send it to the admin address from there.")
    } else if !own_page(fields) || !is_local(host(fields)) {
        refused("This was sent by a page of another site. Send it with curl or from the admin's own page.")
    } else {
        Ok(())
    }
}

fn refused(why: &str) -> Result<(), Refusal> {
    Err((StatusCode::FORBIDDEN, why.to_owned()))
}

fn text<'f>(fields: &'f HeaderMap, name: &HeaderName) -> Option<&'f str> {
    fields.get(name).and_then(|value| value.to_str().ok())
}

fn host(fields: &HeaderMap) -> &str {
    text(fields, &header::HOST).unwrap_or_default()
}

/// Of a browser: no other site had a hand in it. Other clients do not say.
fn own_page(fields: &HeaderMap) -> bool {
    let own = match text(fields, &header::ORIGIN).map(str::parse::<Uri>) {
        None => true,
        Some(origin) => {
            origin.is_ok_and(|origin| origin.authority().is_some_and(|origin| origin.as_str() == host(fields)))
        }
    };
    own && matches!(text(fields, &SITE), None | Some("same-origin" | "none"))
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

    #[test]
    fn only_this_machine_and_no_page_of_another_site_may_change_something() {
        let may = |peer: &str, pairs| may_change(peer.parse().unwrap(), &fields(pairs)).is_ok();
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
}

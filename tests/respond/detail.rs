//! Who is told addresses.

use super::*;

#[test]
fn who_gets_full_detail() {
    let errors = |detail, full_for: &[&str]| Errors {
        detail,
        full_for: Networks(full_for.iter().map(|net| net.parse().unwrap()).collect()),
        proxy_status_on_all: false,
        diagnosis: true,
        page: None,
    };
    let ask = |errors: &Errors, peer: &str, host: &str, fields: &[&'static str]| {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.insert(*field, HeaderValue::from_static("x"));
        }
        let host = (!host.is_empty()).then(|| HeaderValue::from_str(host).unwrap());
        let peer = peer.parse().unwrap();
        detail_is_full(errors, peer, peer, &headers, host.as_ref(), (8080, 80))
    };
    let auto = errors(Detail::Auto, &[]);
    for host in ["localhost:8080", "LOCALHOST:8080", "127.0.0.1:8080", "127.9.9.9:8080", "[::1]:8080"] {
        assert!(ask(&auto, "127.0.0.1", host, &["accept"]), "{host}");
        assert!(ask(&auto, "::ffff:127.0.0.1", host, &[]), "{host}");
        for field in ["forwarded", "x-forwarded-for", "x-forwarded-anything", "x-real-ip", "via"] {
            assert!(!ask(&auto, "127.0.0.1", host, &[field]), "{host} {field}");
        }
        assert!(!ask(&auto, "10.0.0.1", host, &[]), "{host}");
    }
    for host in [
        "",
        "localhost",
        "[::1]",
        "localhost:80",
        "localhost:8081",
        "shop.example:8080",
        "10.0.0.1:8080",
        "::1:8080",
        "localhost:x",
        "localhost.evil:8080",
    ] {
        assert!(!ask(&auto, "127.0.0.1", host, &[]), "{host}");
    }
    assert!(ask(&errors(Detail::Full, &[]), "8.8.8.8", "shop.example", &["via"]));
    assert!(!ask(&errors(Detail::Public, &[]), "127.0.0.1", "localhost:8080", &[]));
    let office = errors(Detail::Public, &["10.0.0.0/8"]);
    assert!(ask(&office, "10.1.2.3", "shop.example", &["via"]) && !ask(&office, "11.1.2.3", "shop.example", &[]));
    // What a browser leaves out, by TLS and without.
    let host = HeaderValue::from_static("localhost");
    let peer = "127.0.0.1".parse().unwrap();
    let unsaid = |ports| detail_is_full(&auto, peer, peer, &HeaderMap::new(), Some(&host), ports);
    assert!(unsaid((443, 443)) && unsaid((80, 80)) && !unsaid((80, 443)) && !unsaid((443, 80)));
}

//! Header fields, both ways (CONTRACT §8).

use super::*;

#[tokio::test]
async fn host_is_the_clients_the_upstreams_or_a_literal() {
    let origin = Origin::start(ok()).await;
    let own = origin.address().to_string();
    for (setting, wanted) in
        [("client", "shop.example:81"), ("upstream", own.as_str()), ("app.internal", "app.internal")]
    {
        let proxy = Proxy::unchecked(&[origin.address()], &format!("host_header = \"{setting}\"\n"));
        let head = passed(&proxy, &origin, "GET /x HTTP/1.1\r\nHost: shop.example:81\r\n\r\n").await;
        assert!(head.starts_with("GET /x HTTP/1.1\r\n"), "{head}");
        assert_eq!(fields(&head, "host"), [wanted], "{setting}");
        assert_eq!(fields(&head, "x-forwarded-host"), ["shop.example:81"], "{setting}");
    }
}

#[tokio::test]
async fn hop_by_hop_fields_end_here_and_protected_ones_pass() {
    let origin = Origin::start(ok()).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let head = passed(
        &proxy,
        &origin,
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Mine, Authorization, Cookie, X-Forwarded-For, Host\r\n\
         Keep-Alive: timeout=9\r\nProxy-Connection: x\r\nProxy-Authorization: Basic eA==\r\nTE: deflate\r\n\
         X-Mine: 1\r\nAuthorization: Basic eA==\r\nCookie: a=b\r\nAccept: x\r\ntraceparent: 00-1-2-3\r\n\r\n",
    )
    .await;
    for gone in ["connection", "keep-alive", "proxy-connection", "proxy-authorization", "te", "x-mine"] {
        assert!(fields(&head, gone).is_empty(), "{gone}: {head}");
    }
    for (kept, value) in [
        ("authorization", "Basic eA=="),
        ("cookie", "a=b"),
        ("accept", "x"),
        ("traceparent", "00-1-2-3"),
        ("host", "a"),
    ] {
        assert_eq!(fields(&head, kept), [value], "{head}");
    }
    assert_eq!(fields(&head, "x-forwarded-for"), ["127.0.0.1"]);
}

#[tokio::test]
async fn an_upstreams_hop_by_hop_fields_end_here_too() {
    let origin = Origin::start(raw(
        "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\n\
         Proxy-Authenticate: Basic\r\nContent-Length: 2\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nServer: app\r\n\r\nok",
    ))
    .await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let answer = ask(&proxy, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    for gone in ["x-hop", "keep-alive", "proxy-authenticate", "connection"] {
        assert_eq!(answer.field(gone), None, "{answer:?}");
    }
    assert_eq!(answer.fields("set-cookie"), ["a=b", "c=d"]);
    assert_eq!(answer.field("server"), Some("app"));
    assert_eq!(answer.field("proxy-status"), None, "a passed answer says nothing by default");
}

#[tokio::test]
async fn who_asks_is_believed_only_from_trusted_peers() {
    let origin = Origin::start(ok()).await;
    let claims = "GET / HTTP/1.1\r\nHost: shop:8080\r\nX-Forwarded-For: 6.6.6.6, 1.2.3.4\r\nX-Forwarded-Proto: https\r\n\
                  X-Forwarded-Host: www\r\nX-Forwarded-Port: 444\r\nX-Forwarded-Prefix: /p\r\nX-Real-IP: 9.9.9.9\r\n\
                  Forwarded: for=1.2.3.4\r\nX-Request-Id: my-own-id-1\r\n\r\n";
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let head = passed(&proxy, &origin, claims).await;
    for (name, wanted) in [
        ("x-forwarded-for", &["127.0.0.1"][..]),
        ("x-real-ip", &["127.0.0.1"]),
        ("x-forwarded-proto", &["http"]),
        ("x-forwarded-host", &["shop:8080"]),
        ("x-forwarded-port", &["8080"]),
        ("x-forwarded-prefix", &[]),
        ("forwarded", &[]),
    ] {
        assert_eq!(fields(&head, name), wanted, "{name}");
    }
    assert_ne!(fields(&head, "x-request-id"), ["my-own-id-1"]);

    let proxy = Proxy::with("trusted_proxies = [\"loopback\"]", &[origin.address()], "");
    let head = passed(&proxy, &origin, claims).await;
    for (name, wanted) in [
        ("x-forwarded-for", "6.6.6.6, 1.2.3.4, 127.0.0.1"),
        ("x-real-ip", "1.2.3.4"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "www"),
        ("x-forwarded-port", "444"),
        ("x-forwarded-prefix", "/p"),
        ("forwarded", "for=1.2.3.4"),
        ("x-request-id", "my-own-id-1"),
    ] {
        assert_eq!(fields(&head, name), [wanted], "{name}");
    }
}

#[tokio::test]
async fn via_names_this_start_and_keeps_who_was_before() {
    let origin = Origin::start(ok()).await;
    let proxy = Proxy::with("name = \"edge\"", &[origin.address()], "");
    let head = passed(&proxy, &origin, "GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 other\r\n\r\n").await;
    let via = fields(&head, "via").join(", ");
    let token = via.strip_prefix("1.1 other, 1.1 edge-").unwrap_or_else(|| panic!("{via}"));
    assert!(token.len() == 6 && token.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{via}");
}

#[tokio::test]
async fn every_response_has_the_request_id_that_the_upstream_saw() {
    let origin = Origin::start(ok()).await;
    let more = "[route.here]\npath = \"/here\"\nrespond = { status = 200, body = \"x\" }\n\
                [route.there]\npath = \"/there\"\nredirect = \"https://x/\"\n[route.rest]\nmethods = [\"GET\"]\n";
    let proxy = Proxy::unchecked(&[origin.address()], more);
    let mut seen = std::collections::HashSet::new();
    for (line, status) in [
        ("GET /", 200),
        ("GET /here", 200),
        ("GET /there", 308),
        ("PUT /", 405),
        ("GET /../..", 400),
        ("G\u{1}T /", 400),
    ] {
        let answer = ask(&proxy, &format!("{line} HTTP/1.1\r\nHost: a\r\nX-Request-Id: abcdefgh1\r\n\r\n")).await;
        assert_eq!(answer.status, status, "{line}");
        let id = answer.field("x-request-id").unwrap_or_else(|| panic!("{line}: {answer:?}")).to_owned();
        assert!(id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{line}: {id}");
        assert!(seen.insert(id));
    }
    let answer = ask(&proxy, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let sent = &origin.requests(2).await[1];
    assert_eq!(fields(&sent.head, "x-request-id"), answer.fields("x-request-id"));
    // From a trusted peer it is kept, if it is one.
    let proxy = Proxy::with("trusted_proxies = [\"loopback\"]", &[origin.address()], "");
    for (id, kept) in [("A.b_c-12", true), ("short", false), ("with space and more", false)] {
        let answer = ask(&proxy, &format!("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: {id}\r\n\r\n")).await;
        assert_eq!(answer.field("x-request-id") == Some(id), kept, "{id}");
    }
}

//! Targets, routes, and what causeway answers itself.

use super::*;

fn json(answer: &Response) -> serde_json::Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|e| panic!("{e}: {answer:?}"))
}

#[tokio::test]
async fn targets_go_on_as_received() {
    let origin = Origin::start(ok()).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    for (sent, wanted, host) in [
        ("GET /a%2Fb/./c//d?q=%20&r= HTTP/1.1", "GET /a%2Fb/./c//d?q=%20&r= HTTP/1.1", "a"),
        ("GET /x/../y HTTP/1.1", "GET /x/../y HTTP/1.1", "a"),
        ("GET http://shop.example/x?y HTTP/1.1", "GET /x?y HTTP/1.1", "shop.example"),
        ("GET http://shop.example HTTP/1.1", "GET / HTTP/1.1", "shop.example"),
        ("GET http://shop.example:8080?y HTTP/1.1", "GET /?y HTTP/1.1", "shop.example:8080"),
        ("OPTIONS * HTTP/1.1", "OPTIONS * HTTP/1.1", "a"),
        ("PROPFIND /dav HTTP/1.1", "PROPFIND /dav HTTP/1.1", "a"),
    ] {
        let head = passed(&proxy, &origin, &format!("{sent}\r\nHost: a\r\n\r\n")).await;
        assert_eq!(head.lines().next(), Some(wanted));
        assert_eq!(fields(&head, "host"), [host], "{sent}");
    }
}

#[tokio::test]
async fn a_path_that_climbs_above_the_root_is_400() {
    let origin = Origin::start(ok()).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    for target in ["/..", "/../x", "/%2e%2e/x", "/a/../../b", "/.%2E/"] {
        let answer = ask(&proxy, &format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert_eq!((answer.status, &json(&answer)["cause"]), (400, &"client_invalid".into()), "{target}");
    }
    assert_eq!(origin.record().connections, 0);
}

#[tokio::test]
async fn max_forwards_ends_here_or_goes_on_one_less() {
    let origin = Origin::start(ok()).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let trace = "TRACE /t HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nCookie: secret\r\nX-Seen: 1\r\n\r\n";
    let answer = ask(&proxy, trace).await;
    assert_eq!((answer.status, answer.field("content-type")), (200, Some("message/http")));
    let echo = answer.text().to_ascii_lowercase();
    assert!(echo.starts_with("trace /t http/1.1\r\n") && echo.contains("x-seen: 1\r\n"), "{echo}");
    assert!(!echo.contains("secret"), "{echo}");
    let answer = ask(&proxy, "OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n").await;
    assert_eq!(answer.status, 200);
    assert_eq!(origin.record().connections, 0);
    let head = passed(&proxy, &origin, "OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 5\r\n\r\n").await;
    assert_eq!(fields(&head, "max-forwards"), ["4"]);
    // For other methods it means nothing.
    let head = passed(&proxy, &origin, "GET / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n").await;
    assert_eq!(fields(&head, "max-forwards"), ["0"]);
}

#[tokio::test]
async fn a_prefix_is_replaced_and_told() {
    let origin = Origin::start(ok()).await;
    let more = "[route.api]\npath = \"/api\"\nreplace_prefix = \"/v2\"\n[route.strip]\npath = \"/strip\"\nreplace_prefix = \"/\"\n[route.rest]\n";
    let proxy = Proxy::unchecked(&[origin.address()], more);
    for (target, wanted, prefix) in [
        ("/api/x%20y?q=1", "/v2/x%20y?q=1", Some("/api")),
        ("/api", "/v2", Some("/api")),
        ("/strip/x", "/x", Some("/strip")),
        ("/strip?q", "/?q", Some("/strip")),
        ("/apix", "/apix", None),
    ] {
        let head = passed(&proxy, &origin, &format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert_eq!(head.split(' ').nth(1), Some(wanted), "{target}");
        assert_eq!(fields(&head, "x-forwarded-prefix").first().copied(), prefix, "{target}");
    }
    let before = origin.record().requests.len();
    for target in ["/%61pi/x", "/./api/x", "/y/../api/x"] {
        assert_eq!(ask(&proxy, &format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).await.status, 400, "{target}");
    }
    assert_eq!(origin.record().requests.len(), before);
}

#[tokio::test]
async fn redirects_and_answers_of_its_own_carry_no_error() {
    let origin = Origin::start(ok()).await;
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("maintenance.html");
    std::fs::write(&page, "<p>back soon</p>").unwrap();
    let more = format!(
        "[route.old]\npath = \"/old\"\nredirect = \"https://{{{{host}}}}{{{{path}}}}\"\n\
         [route.down]\npath = \"/down\"\nrespond = {{ status = 503, file = {page:?}, retry_after = \"10m\" }}\n[route.rest]\n"
    );
    let proxy = Proxy::unchecked(&[origin.address()], &more);
    let answer = ask(&proxy, "GET /old/x?y=1 HTTP/1.1\r\nHost: shop.example:8080\r\n\r\n").await;
    assert_eq!((answer.status, answer.field("location")), (308, Some("https://shop.example/old/x?y=1")));
    assert_eq!(answer.field("proxy-status"), None);
    for method in ["GET", "HEAD"] {
        let mut client = Raw::connect(proxy.address).await;
        client.send(format!("{method} /down HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let answer = client.response().await;
        assert_eq!((answer.status, answer.field("retry-after")), (503, Some("600")));
        assert_eq!(answer.field("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(answer.field("content-length"), Some("16"));
        assert_eq!(answer.field("proxy-status"), None);
        assert_eq!(answer.text(), if method == "GET" { "<p>back soon</p>" } else { "" });
        assert_eq!(client.get("/").await.text(), "ok", "the connection goes on");
    }
}

#[tokio::test]
async fn what_no_route_takes_is_404_with_the_nearest_and_405_with_allow() {
    let origin = Origin::start(ok()).await;
    let more = "[route.api]\nhosts = [\"api.example\"]\npath = \"/api\"\nmethods = [\"GET\", \"POST\"]\n[errors]\ndetail = \"full\"\n";
    let proxy = Proxy::unchecked(&[origin.address()], more);
    let answer = ask(&proxy, "GET /apix HTTP/1.1\r\nHost: api.example\r\n\r\n").await;
    let body = json(&answer);
    assert_eq!((answer.status, &body["cause"]), (404, &"no_route".into()));
    assert!(body["hint"].as_str().unwrap().contains("api.example /api"), "no nearest route in {body:#}");
    let answer = ask(&proxy, "PUT /api/x HTTP/1.1\r\nHost: API.example:99\r\n\r\n").await;
    assert_eq!((answer.status, answer.field("allow")), (405, Some("GET, POST")));
    let answer = ask(&proxy, "CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n\r\n").await;
    assert_eq!(answer.status, 405);
    assert_eq!(origin.record().connections, 0);
}

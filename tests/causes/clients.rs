//! What a client did wrong: each status of CONTRACT §3 with its cause, its one type of RFC 9209 and that type's
//! parameters.

use super::*;
use crate::support::origin::{Behaviour, Origin};

/// Listener limits that are easy to break.
const TIGHT: &str = "[listener.main]\nlimits.head = \"8KiB\"\nlimits.fields = 20\ntimeouts.head = \"300ms\"\ntimeouts.body = \"300ms\"\n\
                     [route.main]\nmax_body = \"1KiB\"\n[errors]\ndetail = \"full\"\n";

#[tokio::test]
async fn each_refusal_has_its_status_and_names_the_limit() {
    let origin = Origin::start(Behaviour::Echo).await;
    let proxy = Proxy::unchecked(&[origin.address()], TIGHT);
    let get = |fields: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let post = |fields: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}");
    let (invalid, large, late) = (Cause::ClientInvalid, Cause::ClientTooLarge, Cause::ClientTimeout);
    for (request, status, phrase, cause, said) in [
        ("what is this\r\n\r\n".to_owned(), 400, "Bad Request", invalid, "breaks the rules of HTTP"),
        (get("Host: b\r\n"), 400, "Bad Request", invalid, "more than one Host field"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400, "Bad Request", invalid, "no Host field"),
        ("GET /../.. HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400, "Bad Request", invalid, "climbs above the root"),
        (post("Transfer-Encoding: chunked\r\n", "zz\r\n"), 400, "Bad Request", invalid, "the chunks of its body"),
        ("GET / HTTP/1.1\r\nHost: a".to_owned(), 408, "Request Timeout", late, "timeouts.head"),
        (post("Content-Length: 9\r\n", "half"), 408, "Request Timeout", late, "timeouts.body"),
        (post("Content-Length: 2000\r\n", ""), 413, "Content Too Large", large, "max_body"),
        (
            post("Transfer-Encoding: chunked\r\n", &format!("7d0\r\n{}\r\n0\r\n\r\n", "x".repeat(2000))),
            413,
            "Content Too Large",
            large,
            "max_body",
        ),
        (format!("GET /{}", "x".repeat(9000)), 414, "URI Too Long", large, "limits.head"),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9000)), 414, "URI Too Long", large, "limits.head"),
        (get("Expect: the-unexpected\r\n"), 417, "Expectation Failed", invalid, "100-continue"),
        (get(&format!("A: {}\r\n", "x".repeat(9000))), 431, "Request Header Fields Too Large", large, "limits.head"),
        (get(&"A: b\r\n".repeat(21)), 431, "Request Header Fields Too Large", large, "limits.fields"),
        (post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), 501, "Not Implemented", invalid, "chunked"),
        (post("Transfer-Encoding: gzip\r\n", ""), 501, "Not Implemented", invalid, "chunked"),
        (post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"), 501, "Not Implemented", invalid, "chunked"),
    ] {
        let mut client = Raw::connect(proxy.address).await;
        client.send(&request).await;
        let answer = client.response().await;
        let begin = &request[..request.len().min(60)];
        assert_eq!(answer.status, status, "{begin:?}: {answer:?}");
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_else(|e| panic!("{e}: {answer:?}"));
        assert_eq!((&body["cause"], &body["status"]), (&cause.token().into(), &status.into()), "{begin:?} {body:#}");
        assert!(body["detail"].as_str().unwrap().contains(said), "{begin:?} {body:#}");
        let field = answer.field("proxy-status").unwrap();
        assert!(field.starts_with("causeway; error=http_request_error; "), "{begin:?} {field}");
        let part = format!("; status-code={status}; status-phrase=\"{phrase}\"; details=");
        assert!(field.contains(&part), "{begin:?} {field}");
    }
}

/// The form of the answer is the client's choice also where nothing but its Accept could be read.
#[tokio::test]
async fn what_cannot_be_read_is_answered_in_the_form_that_was_asked_for() {
    let origin = Origin::start(Behaviour::Echo).await;
    let proxy = Proxy::unchecked(&[origin.address()], TIGHT);
    let large = format!("A: {}", "x".repeat(9000));
    for (line, before, status) in [
        ("what is this", "", 400),
        ("GET / HTTP/9.9", "", 400),
        ("GET /a b HTTP/1.1", "", 400),
        ("GET /\u{1} HTTP/1.1", "", 400),
        ("GET / HTTP/1.1", "a : b\r\n", 400),
        ("GET / HTTP/1.1", "a: b\r\n folded\r\n", 400),
    ] {
        for (accept, kind) in [
            ("text/html,application/xhtml+xml", "text/html; charset=utf-8"),
            ("text/plain", "text/plain; charset=utf-8"),
            ("*/*", "application/problem+json"),
        ] {
            let mut client = Raw::connect(proxy.address).await;
            client.send(format!("{line}\r\nHost: a\r\nAccept: {accept}\r\n{before}\r\n")).await;
            let answer = client.response().await;
            assert_eq!((answer.status, answer.field("content-type")), (status, Some(kind)), "{line}: {accept}");
        }
    }
    // One that stands in front of what was too much is found too.
    let mut client = Raw::connect(proxy.address).await;
    client.send(format!("GET / HTTP/1.1\r\nAccept: text/plain\r\n{large}\r\n\r\n")).await;
    let answer = client.response().await;
    assert_eq!((answer.status, answer.field("content-type")), (431, Some("text/plain; charset=utf-8")));
}

#[tokio::test]
async fn what_is_not_routed_or_not_allowed_is_told_apart() {
    let origin = Origin::start(Behaviour::Echo).await;
    let proxy = Proxy::unchecked(&[origin.address()], "[route.main]\npath = \"/here\"\nmethods = [\"GET\"]\n");
    for (request, status) in [("GET /there", 404), ("POST /here", 405), ("CONNECT a:1", 405)] {
        let mut client = Raw::connect(proxy.address).await;
        client.send(format!("{request} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")).await;
        let answer = client.response().await;
        assert_eq!(answer.status, status, "{answer:?}");
        let wanted = Wanted { cause: Cause::NoRoute, status, attempt: None };
        proxy_status(&wanted, &answer, false);
    }
}

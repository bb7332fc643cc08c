//! What a gRPC client gets: a status of its own in the head of a 200, and no body.

use super::*;
use crate::support::origin::{Behaviour, Origin};
use crate::support::proxy::Proxy;
use crate::support::raw::{Raw, Response};

/// CONTRACT §4.
fn wanted(cause: Cause, status: u16) -> u16 {
    match (cause, status) {
        (Cause::NoRoute, _) => 12,
        (_, 400) => 13,
        (_, 401) => 16,
        (_, 403) => 7,
        (_, 413 | 431) => 8,
        (_, 408 | 504) => 4,
        _ => 14,
    }
}

fn told(exchange: &Exchange) -> (HeaderMap, usize) {
    let response = annotator().render(exchange, &verdict(exchange), Telling::new(Form::Grpc, true));
    assert_eq!(response.status(), 200);
    let (head, body) = response.into_parts();
    (head.headers, body.len())
}

#[test]
fn grpc_gets_trailers_only() {
    let status = |failure: Failure| {
        let exchange = own(failure);
        let response = annotator().render(&exchange, &verdict(&exchange), Telling::new(Form::Grpc, true));
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/grpc");
        response.headers()["grpc-status"].to_str().unwrap().parse::<u16>().unwrap()
    };
    assert_eq!(status(Failure::new(Cause::NoRoute)), 12);
    assert_eq!(status(Failure::new(Cause::ClientInvalid)), 13);
    assert_eq!(status(Failure::new(Cause::ClientTooLarge)), 8);
    assert_eq!(status(Failure::new(Cause::ClientTooLarge).status(431)), 8);
    assert_eq!(status(Failure::new(Cause::RequestTimeout)), 4);
    assert_eq!(status(Failure::new(Cause::ShuttingDown)), 14);
    let mut exchange = golden();
    exchange.pool = Some("100%".into());
    let response = annotator().render(&exchange, &verdict(&exchange), Telling::new(Form::Grpc, true));
    assert_eq!(response.headers()["grpc-status"], "14");
    assert_eq!(
        response.headers()["grpc-message"],
        "2 of 3 upstreams of pool \"100%25\" failed, 1 was not tried; request 4f6c2a91"
    );
}

#[test]
fn every_cause_has_its_code() {
    for &cause in Cause::ALL.iter().filter(|cause| cause.row().status >= 400 && cause.row().status != 499) {
        for status in
            [None, Some(400), Some(401), Some(403), Some(408), Some(413), Some(429), Some(431), Some(503), Some(504)]
        {
            let failure = Failure::new(cause);
            let exchange = own(match status {
                Some(status) => failure.status(status),
                None => failure,
            });
            let status = status.unwrap_or(cause.row().status);
            let (fields, length) = told(&exchange);
            assert_eq!(fields["grpc-status"], wanted(cause, status).to_string(), "{cause} {status}");
            assert_eq!(length, 0);
            let waits = matches!(status, 429 | 503);
            assert_eq!(fields.contains_key("grpc-retry-pushback-ms"), waits, "{cause} {status}");
            assert_eq!(fields.contains_key("retry-after"), waits, "{cause} {status}");
            assert!(fields["grpc-message"].to_str().unwrap().ends_with("; request 4f6c2a91"));
        }
    }
}

#[test]
fn its_message_is_percent_encoded() {
    let seen = Failure::new(Cause::ClientInvalid).seen("50% \u{e9}\r\n");
    let (fields, _) = told(&own(seen));
    assert_eq!(
        fields["grpc-message"],
        "The request breaks the rules of HTTP: 50%25 \\xc3\\xa9\\r\\n; request 4f6c2a91"
    );
    let mut exchange = golden();
    exchange.pool = Some("caf\u{e9}%".into());
    let (fields, _) = told(&exchange);
    assert!(fields["grpc-message"].to_str().unwrap().contains("pool \"caf\\xc3\\xa9%25\""), "{fields:?}");
}

async fn call(proxy: &Proxy, path: &str) -> Response {
    let mut client = Raw::connect(proxy.address).await;
    let fields = "Host: a\r\nContent-Type: application/grpc+proto\r\nTE: trailers\r\nContent-Length: 5\r\n";
    client.send(format!("POST {path} HTTP/1.1\r\n{fields}\r\n\0\0\0\0\0")).await;
    client.response().await
}

#[tokio::test]
async fn real_calls_get_trailers_only() {
    let code = |answer: &Response| {
        assert_eq!((answer.status, answer.body.len(), answer.complete), (200, 0, true), "{answer:?}");
        assert_eq!(answer.field("content-type"), Some("application/grpc"));
        assert!(answer.field("proxy-status").is_some() && answer.field("x-request-id").is_some(), "{answer:?}");
        answer.field("grpc-status").unwrap().parse::<u16>().unwrap()
    };
    let more = "[route.shop]\npath = \"/shop\"\n[route.small]\npath = \"/small\"\nmax_body = \"2B\"\n";
    let proxy = Proxy::unchecked(&[Origin::nobody()], more);
    assert_eq!(code(&call(&proxy, "/shop.Cart/Get").await), 12);
    assert_eq!(code(&call(&proxy, "/shop/Get").await), 14);
    assert_eq!(code(&call(&proxy, "/small/Get").await), 8);
    let app = Origin::start(Behaviour::Silent).await;
    let proxy = Proxy::unchecked(&[app.address()], "timeouts.read = \"50ms\"\n");
    assert_eq!(code(&call(&proxy, "/shop/Get").await), 4);
    let proxy = Proxy::unchecked(&[app.address()], "limits.in_flight = 1\n");
    let mut first = Raw::connect(proxy.address).await;
    first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    app.requests(2).await;
    let busy = call(&proxy, "/shop/Get").await;
    assert_eq!((code(&busy), busy.field("grpc-retry-pushback-ms")), (14, Some("1000")), "{busy:?}");
}

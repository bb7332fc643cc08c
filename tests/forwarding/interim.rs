//! 1xx: 100-continue asked for and refused, 103 dropped.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::*;

const MS: Duration = Duration::from_millis(1);
const ASKING: &str = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";

#[tokio::test]
async fn the_body_is_not_asked_for_before_the_upstream_asks() {
    let (listener, address) = by_hand().await;
    let proxy = Proxy::unchecked(&[address], "");
    let mut client = Raw::connect(proxy.address).await;
    client.send(ASKING).await;
    let (mut upstream, _) = listener.accept().await.unwrap();
    assert_eq!(fields(&head_of(&mut upstream).await, "expect"), ["100-continue"]);
    let early = tokio::time::timeout(300 * MS, client.stream.read_u8()).await;
    assert!(early.is_err(), "the client heard something before the upstream spoke");
    upstream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
    assert_eq!(client.response().await.status, 100);
    client.send("body").await;
    let mut body = [0; 4];
    upstream.read_exact(&mut body).await.unwrap();
    upstream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    assert_eq!((client.response().await.status, &body), (201, b"body"));
}

#[tokio::test]
async fn an_upstream_that_never_says_100_gets_the_body_all_the_same() {
    let origin = Origin::start(Behaviour::Echo).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let mut client = Raw::connect(proxy.address).await;
    client.send(ASKING).await;
    assert_eq!(client.response().await.status, 100, "after 1 s");
    client.send("body").await;
    assert_eq!(client.response().await.text(), "body");
    // A client that does not wait loses nothing either.
    let answer = ask(&proxy, &format!("{ASKING}body")).await;
    assert!(matches!(answer.status, 100 | 200), "{answer:?}");
    assert_eq!(origin.requests(2).await[1].body, b"body");
}

#[tokio::test]
async fn a_final_answer_first_passes_and_nothing_is_taken() {
    let origin = Origin::start(Behaviour::RefuseContinue).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let mut client = Raw::connect(proxy.address).await;
    client.send(ASKING).await;
    let answer = client.response().await;
    assert_eq!((answer.status, answer.text().as_str()), (417, "no"), "and no 100 before it");
    assert_eq!(answer.field("connection"), Some("close"), "the body could still come");
    assert_eq!(proxy.exchange(0).await.bytes_in, 0);
}

#[tokio::test]
async fn an_answer_without_the_100_has_its_clock() {
    let (listener, address) = by_hand().await;
    let proxy = Proxy::unchecked(&[address], "[pool.app.timeouts]\nbody = \"300ms\"\n");
    let mut client = Raw::connect(proxy.address).await;
    client.send(ASKING).await;
    let (mut upstream, _) = listener.accept().await.unwrap();
    head_of(&mut upstream).await;
    upstream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 10\r\n\r\nno").await.unwrap();
    let answer = client.response().await;
    assert!(answer.status == 504 && answer.text().contains("body_timeout"), "{answer:?}");
}

#[tokio::test]
async fn any_other_expectation_is_417() {
    let origin = Origin::start(ok()).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    for expect in ["200-ok", "100-continue, more", "100-continue=1"] {
        let answer = ask(&proxy, &format!("GET / HTTP/1.1\r\nHost: a\r\nExpect: {expect}\r\n\r\n")).await;
        assert_eq!(answer.status, 417, "{expect}");
    }
    assert_eq!(origin.record().connections, 0);
    // HTTP/1.0 knows none: it is ignored (RFC 9110 §10.1.1).
    assert_eq!(ask(&proxy, "GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").await.status, 200);
}

#[tokio::test]
async fn early_hints_are_dropped_and_the_answer_passes() {
    let origin = Origin::start(Behaviour::EarlyHints).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let mut client = Raw::connect(proxy.address).await;
    for _ in 0..3 {
        let answer = client.get("/").await;
        assert_eq!((answer.status, answer.text().as_str(), answer.field("link")), (200, "ok", None));
    }
    assert_eq!(origin.record().connections, 1, "the connection is kept");
}

//! Which protocol a connection speaks, on one port.

use super::wire::*;
use super::*;

#[tokio::test]
async fn the_preface_may_come_byte_by_byte() {
    let origin = Origin::start(ok()).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let mut peer = Peer::silent(proxy.address).await;
    peer.0.set_nodelay(true).unwrap();
    let all = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(HEADERS, BOTH, 1, &head_of("GET", "/", &[]))].concat();
    for byte in all {
        peer.bytes(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(peer.status(1).await, 200);
    assert_eq!(Raw::connect(proxy.address).await.get("/").await.status, 200, "HTTP/1 on the same port");
}

#[tokio::test]
async fn a_listener_of_one_protocol_refuses_the_other_in_words() {
    let origin = Origin::start(ok()).await;
    let proxy = Proxy::with("listener.main.protocols = [\"h2\"]", &[origin.address()], "");
    assert_eq!(ask(&client(&proxy).await, get("/")).await.0.status(), 200);
    let answer = Raw::connect(proxy.address).await.get("/").await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("listener.main protocols"), "{}", answer.text());
    assert_eq!(answer.field("connection"), Some("close"));

    let proxy = Proxy::with("listener.main.protocols = [\"h1\"]", &[origin.address()], "");
    assert_eq!(Raw::connect(proxy.address).await.get("/").await.status, 200);
    let mut raw = Raw::connect(proxy.address).await;
    raw.send(PREFACE).await;
    let answer = raw.response().await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("HTTP/2"), "{}", answer.text());
}

#[tokio::test]
async fn a_preface_behind_a_request_is_no_preface() {
    let origin = Origin::start(ok()).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let mut raw = Raw::connect(proxy.address).await;
    assert_eq!(raw.get("/").await.status, 200);
    raw.send(PREFACE).await;
    assert_eq!(raw.response().await.status, 400);
}

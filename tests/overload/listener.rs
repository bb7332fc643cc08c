//! `limits.in_flight` of a listener.

use super::*;

#[tokio::test]
async fn one_request_too_many_gets_its_503_and_the_next_a_place_again() {
    let app = Origin::start(Behaviour::Silent).await;
    let proxy = Proxy::changed(&[app.address()], FULL, |config| config.listeners[0].in_flight_limit = some(2));
    let (first, _second) = (ask(&proxy, "/a").await, ask(&proxy, "/b").await);
    app.requests(2).await;
    let mut client = Raw::connect(proxy.address).await;
    let answer = client.get("/c").await;
    let body = json(&answer);
    assert_eq!((answer.status, retry_after(&answer)), (503, 1), "{answer:?}");
    assert_eq!(body["cause"], "proxy_busy");
    assert!(answer.field("proxy-status").unwrap().contains("error=proxy_internal_response"), "{answer:?}");
    assert!(body["detail"].as_str().unwrap().contains("limits.in_flight"), "{body:#}");
    // The connection is as good as before, and a place is free when a client leaves.
    app.set(Behaviour::Ok(b"ok".to_vec()));
    first.abort();
    proxy.exchange(1).await;
    assert_eq!(client.get("/d").await.status, 200);
}

#[tokio::test]
async fn a_place_is_held_until_the_body_has_ended() {
    let app = Origin::start(Behaviour::StallInBody).await;
    let change = |config: &mut Config| config.listeners[0].in_flight_limit = some(1);
    let proxy = Proxy::changed(&[app.address()], "buffers.response = \"0B\"\n", change);
    let mut first = ask(&proxy, "/").await;
    let mut head = [0; 16];
    tokio::io::AsyncReadExt::read_exact(&mut first.stream, &mut head).await.unwrap();
    assert_eq!(Raw::connect(proxy.address).await.get("/").await.status, 503);
}

//! Connections, both ways: kept, reused, pipelined, stale, left by the client; and a road that leads back here.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::*;
use crate::support::raw::End;

#[tokio::test]
async fn one_upstream_connection_serves_one_client_after_another() {
    let origin = Origin::start(ok()).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let mut client = Raw::connect(proxy.address).await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.text(), "ok");
    }
    assert_eq!(origin.record().connections, 1);
    // New clients may land on the other worker, which has its own.
    for _ in 0..20 {
        ask(&proxy, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    }
    assert!(origin.record().connections <= 2, "{}", origin.record().connections);
    assert_eq!(origin.record().requests.len(), 40);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start(Behaviour::Echo).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let mut client = Raw::connect(proxy.address).await;
    let all: String = (0..9).map(|n| format!("PUT /{n} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n{n}")).collect();
    client.send(all).await;
    for n in 0..9 {
        assert_eq!(client.response().await.text(), n.to_string());
    }
}

#[tokio::test]
async fn http_1_0_closes_unless_it_asks() {
    let origin = Origin::start(ok()).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let mut client = Raw::connect(proxy.address).await;
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
        let answer = client.response().await;
        assert_eq!(answer.text(), "ok");
        assert!(answer.field("connection").is_some_and(|c| c.eq_ignore_ascii_case("keep-alive")), "{answer:?}");
    }
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.response().await.text(), "ok");
    assert_eq!(client.rest().await, (vec![], End::Eof));
    // Without Host the upstream gets its own address: HTTP/1.1 asks for one.
    let head = &origin.requests(3).await[0].head;
    assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
    assert_eq!(fields(head, "host"), [origin.address().to_string()]);
}

#[tokio::test]
async fn an_upstream_that_closes_kept_connections_loses_no_get() {
    let good = Origin::start(ok()).await;
    for behaviour in [Behaviour::StaleOnNext, Behaviour::StaleAfter(Duration::from_millis(1))] {
        let stale = Origin::start(behaviour.clone()).await;
        let proxy = Proxy::unchecked(&[stale.address(), good.address()], "");
        let mut client = Raw::connect(proxy.address).await;
        for round in 0..100 {
            let answer = client.get("/").await;
            assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{behaviour:?}, round {round}");
        }
        assert!(stale.record().connections > 1, "{behaviour:?} was never met");
    }
}

#[tokio::test]
async fn a_post_takes_no_connection_that_was_idle_for_long() {
    let origin = Origin::start(ok()).await;
    let proxy = Proxy::unchecked(&[origin.address()], "connections.idle = \"1s\"\n");
    let mut client = Raw::connect(proxy.address).await;
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(client.get("/").await.text(), "ok");
    client.send(post).await;
    assert_eq!(client.response().await.text(), "ok");
    assert_eq!(origin.record().connections, 1, "idle for less than a quarter of the limit");
    tokio::time::sleep(Duration::from_millis(300)).await;
    client.send(post).await;
    assert_eq!(client.response().await.text(), "ok");
    assert_eq!(origin.record().connections, 2, "idle for longer: a fresh one");
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_along() {
    let origin = Origin::start(Behaviour::Silent).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    for (round, reset) in [false, true].into_iter().enumerate() {
        let mut client = Raw::connect(proxy.address).await;
        client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
        origin.requests(round + 1).await;
        if reset {
            client.abort()
        } else {
            drop(client)
        }
        origin.until(|record| record.ended == round + 1).await;
        let seen = proxy.exchange(round).await;
        assert_eq!((seen.status, seen.cause), (499, Some("client_closed")), "{seen:?}");
        assert_eq!(seen.attempts[0].1, "client_closed");
    }
}

#[tokio::test]
async fn a_client_that_leaves_within_the_answer_ends_it() {
    let origin = Origin::start(Behaviour::Flood(50 << 20)).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let mut client = Raw::connect(proxy.address).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.stream.read_u8().await.unwrap();
    client.abort();
    origin.until(|record| record.ended == 1).await;
    let seen = proxy.exchange(0).await;
    assert_eq!((seen.status, seen.cause), (200, Some("client_closed")), "{seen:?}");
}

#[tokio::test]
async fn a_road_that_leads_back_here_is_a_loop() {
    let (relay, address) = by_hand().await;
    let home = Arc::new(OnceLock::new());
    let front = Arc::clone(&home);
    tokio::spawn(async move {
        while let Ok((mut from, _)) = relay.accept().await {
            let front: std::net::SocketAddr = *front.get().unwrap();
            tokio::spawn(async move {
                let mut to = TcpStream::connect(front).await.unwrap();
                let _ended = tokio::io::copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
    let proxy = Proxy::unchecked(&[address], "");
    home.set(proxy.address).unwrap();
    let answer = ask(&proxy, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(answer.status, 502);
    assert!(answer.text().contains("\"cause\": \"loop_detected\""), "{}", answer.text());
    assert!(answer.field("proxy-status").unwrap().contains("error=proxy_loop_detected"));
    let seen = proxy.exchange(0).await;
    assert_eq!((seen.status, seen.cause), (502, Some("loop_detected")));
}

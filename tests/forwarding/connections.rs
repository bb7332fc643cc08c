//! Connections, both ways: kept, reused, pipelined, stale, left by the client; and a road that leads back here.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::*;
use causeway::health::State;

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

/// CONTRACT §9 "No POST lost to the app's idle clock": at intervals that are as long as the clock itself.
#[tokio::test]
async fn no_post_is_lost_to_the_apps_idle_clock_once_it_is_known() {
    let clock = Duration::from_millis(400);
    let origin = Origin::start(Behaviour::IdleClock(clock)).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let mut client = Raw::connect(proxy.address).await;
    let idle_age = || proxy.server().pools()[0].members()[0].idle_age.learnt();
    for round in 1.. {
        assert!(round < 10, "never learnt");
        assert_eq!(client.get("/").await.status, 200);
        origin.until(|record| record.closed >= round).await;
        tokio::time::sleep(Duration::from_millis(600)).await; // the sweeper has looked
        if idle_age().is_some() {
            break;
        }
    }
    for round in 0..40_u64 {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").await;
        let answer = client.response().await;
        assert_eq!(answer.status, 200, "round {round}: {}", answer.text());
        tokio::time::sleep(clock - Duration::from_millis(2) + Duration::from_micros(100 * round)).await;
    }
}

/// It closes its kept connections each time at the same age, and each time it is gone for a moment: known by a request
/// that is refused, or by a check.
#[tokio::test]
async fn an_app_in_a_crash_loop_teaches_no_idle_clock() {
    let checks = "health = { type = \"tcp\", interval = \"50ms\", timeout = \"50ms\", healthy_after = 1, unhealthy_after = 1 }\n";
    for health in ["health.type = \"off\"\n", checks] {
        let mut origin = Origin::start(ok()).await;
        let pool = format!("[pool.app]\nupstreams = [\"{}\"]\nretry.deadline = \"300ms\"\n{health}", origin.address());
        let proxy = Proxy::start(&pool);
        let upstream = Arc::clone(&proxy.server().pools()[0].members()[0]);
        let mut client = Raw::connect(proxy.address).await;
        for crash in 0..4 {
            proxy.until(0, State::Ready).await;
            assert_eq!(client.get("/").await.status, 200, "{crash}");
            tokio::time::sleep(Duration::from_millis(400)).await;
            origin.stop().await;
            if health == checks {
                proxy.until(0, State::Evicted).await;
            } else {
                assert_eq!(client.get("/").await.status, 502, "{crash}");
            }
            tokio::time::sleep(Duration::from_millis(600)).await; // the sweeper has looked
            origin.restart().await;
            assert_eq!(upstream.idle_age.learnt(), None, "{crash}");
        }
    }
}

const FULL: &str = "errors.detail = \"full\"\n";

/// Of the first attempt in an annotated error.
fn first_hint(json: &str) -> String {
    let error: serde_json::Value = serde_json::from_str(json).unwrap();
    error["attempts"][0]["hint"].as_str().unwrap().to_owned()
}

/// LOOK.md: the hint of a `read_timeout` says whether that upstream is usually as slow.
#[tokio::test]
async fn a_timeout_says_whether_the_upstream_is_slow_or_stuck() {
    let origin = Origin::start(ok()).await;
    let config = "timeouts.read = \"400ms\"\n[route.reports]\npath = \"/\"\npool = \"app\"\n";
    for (usual, told) in [
        (ok(), "ms, so it is probably stuck rather than slow."),
        (
            Behaviour::Slow(Duration::from_millis(250)),
            "ms: it is slow rather than stuck. Only this route? [route.reports.timeouts] read = \"10s\"",
        ),
    ] {
        let proxy = Proxy::with(FULL, &[origin.address()], config);
        let mut client = Raw::connect(proxy.address).await;
        origin.set(usual);
        for round in 0..=20 {
            let recent = proxy.server().pools()[0].members()[0].recent.times(std::time::Instant::now());
            assert_eq!((recent.count, recent.p99.is_some()), (round, round >= 20));
            assert_eq!(client.get("/").await.status, 200);
        }
        origin.set(Behaviour::Silent);
        let late = client.get("/").await;
        let hint = first_hint(&late.text());
        assert!(
            hint.starts_with("It took the request, then was silent for 400.0 ms (limit: timeouts.read). Its p99 is "),
            "{hint}"
        );
        assert!(hint.ends_with(told), "{hint}");
    }
}

/// What is learnt of the idle clock stands in the hint of the failure that it brings about.
#[tokio::test]
async fn a_stale_connection_says_what_is_known_of_the_idle_clock() {
    let origin = Origin::start(Behaviour::StaleOnNext).await;
    let proxy = Proxy::with(FULL, &[origin.address()], "");
    let mut client = Raw::connect(proxy.address).await;
    let members = proxy.server().pools()[0].members();
    let (now, second) = (std::time::Instant::now(), Duration::from_secs(1));
    for at in [now + 5 * second, now + 6 * second] {
        members[0].idle_age.closed(2 * second, at, 4 * second);
    }
    assert_eq!(client.get("/").await.status, 200);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").await;
    let lost = client.response().await;
    let hint = first_hint(&lost.text());
    let told = "closed a kept connection as this request went out on it. It closes idle connections after about 2.0 s; \
                causeway keeps them for 1.8 s now.";
    assert!(hint.ends_with(told), "{hint}");
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
    // It is the first request that is answered for: its own id, and the upstream that led back.
    assert!(answer.text().contains(answer.field("x-request-id").unwrap()), "{answer:?}");
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["attempts"][0]["cause"], "loop_detected", "{body:#}");
    let seen = proxy.exchange(1).await;
    assert_eq!(seen.attempts, [(address.to_string(), "loop_detected".to_owned())]);
    let seen = proxy.exchange(0).await;
    assert_eq!((seen.status, seen.cause), (502, Some("loop_detected")));
}

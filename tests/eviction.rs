//! What traffic says of an upstream's health: evictions that begin, end and are bounded as CONTRACT §2 `passive` says.

use std::time::{Duration, Instant};

use causeway::health::State;

use crate::support::origin::{Behaviour, Origin};
use crate::support::proxy::{Proxy, Seen};
use crate::support::raw::Raw;

fn ok(body: &str) -> Behaviour {
    Behaviour::Ok(body.as_bytes().to_vec())
}

/// GETs one after another on one connection, each of them answered with 200.
async fn gets(proxy: &Proxy, count: usize) {
    let mut client = Raw::connect(proxy.address).await;
    for number in 0..count {
        let answer = client.get(&format!("/{number}")).await;
        assert_eq!(answer.status, 200, "GET {number}: {}", answer.text());
    }
}

/// Attempts that ended like that, over all that has finished so far.
fn ended(seen: &[Seen], outcome: &str) -> usize {
    seen.iter().flat_map(|seen| &seen.attempts).filter(|(_, ended)| ended == outcome).count()
}

#[tokio::test]
async fn three_connect_failures_in_a_row_evict_and_nobody_feels_it() {
    let good = Origin::start(ok("ok")).await;
    let proxy = Proxy::unchecked(&[Origin::nobody(), good.address()], "passive.evict = \"60s\"\n");
    gets(&proxy, 60).await;
    proxy.exchange(59).await;
    proxy.until(0, State::Evicted).await;
    let seen = proxy.exchanges();
    assert_eq!(ended(&seen, "connection_refused"), 3, "three, then no more");
    assert_eq!(ended(&seen, "200"), 60);
}

#[tokio::test]
async fn gateway_failures_evict_and_an_apps_own_500_never_does() {
    for (status, most) in [(503, Some(5)), (502, Some(5)), (504, Some(5)), (500, None), (404, None)] {
        let (sick, good) = (Origin::start(Behaviour::Status(status)).await, Origin::start(ok("ok")).await);
        let proxy = Proxy::unchecked(&[sick.address(), good.address()], "passive.evict = \"60s\"\n");
        let mut client = Raw::connect(proxy.address).await;
        for _ in 0..100 {
            let answer = client.get("/").await;
            assert!(answer.status == 200 || answer.status == status, "an answer passes as it is: {}", answer.status);
        }
        let asked = sick.record().requests.len();
        match most {
            Some(most) => assert_eq!(asked, most, "{status}"),
            None => assert!(asked > 20, "{status}: {asked}"),
        }
    }
}

#[tokio::test]
async fn what_comes_between_starts_the_count_anew() {
    let (shaky, good) = (Origin::start(ok("ok")).await, Origin::start(ok("ok")).await);
    let proxy = Proxy::unchecked(&[shaky.address(), good.address()], "passive.evict = \"60s\"\n");
    let mut client = Raw::connect(proxy.address).await;
    for _ in 0..5 {
        let before = shaky.record().requests.len();
        shaky.set(Behaviour::Status(503));
        while shaky.record().requests.len() < before + 4 {
            client.get("/").await;
        }
        shaky.set(ok("ok"));
        while shaky.record().requests.len() < before + 5 {
            client.get("/").await;
        }
    }
    assert_eq!(proxy.server().pools()[0].members()[0].health.state(), State::Ready);
}

#[tokio::test]
async fn the_last_usable_one_is_never_evicted() {
    for share in ["50%", "100%"] {
        let more = format!("passive = {{ evict = \"60s\", max_evicted = \"{share}\" }}\n");
        let proxy = Proxy::unchecked(&[Origin::nobody(), Origin::nobody()], &more);
        for _ in 0..20 {
            let answer = Raw::connect(proxy.address).await.get("/").await;
            assert_eq!(answer.status, 502);
        }
        let members = proxy.server().pools()[0].members();
        let ready = members.iter().filter(|upstream| upstream.health.state() == State::Ready).count();
        assert_eq!(ready, 1, "{share}");
        let last = proxy.exchange(19).await;
        assert_eq!(last.attempts.len(), 2, "the evicted one is the last resort: {last:?}");
    }
}

#[tokio::test]
async fn half_a_pool_is_the_most_that_traffic_evicts() {
    let good = Origin::start(ok("ok")).await;
    let upstreams = [Origin::nobody(), Origin::nobody(), Origin::nobody(), good.address(), good.address()];
    let proxy = Proxy::unchecked(&upstreams[..4], "passive.evict = \"60s\"\n");
    gets(&proxy, 80).await;
    let members = proxy.server().pools()[0].members();
    let evicted = members.iter().filter(|upstream| upstream.health.state() == State::Evicted).count();
    assert_eq!(evicted, 2);
}

#[tokio::test]
async fn after_its_time_one_request_tries_it_and_a_success_brings_it_back() {
    let (mut sick, good) = (Origin::start(ok("sick")).await, Origin::start(ok("ok")).await);
    let proxy = Proxy::unchecked(&[sick.address(), good.address()], "passive.evict = \"300ms\"\n");
    sick.stop().await;
    gets(&proxy, 30).await;
    proxy.until(0, State::Evicted).await;
    sick.restart().await;
    let since = Instant::now();
    let mut client = Raw::connect(proxy.address).await;
    while proxy.server().pools()[0].members()[0].health.state() != State::Ready {
        assert_eq!(client.get("/").await.status, 200);
        assert!(since.elapsed() < Duration::from_secs(10), "never tried again");
    }
    assert!(!sick.record().requests.is_empty());
}

#[tokio::test]
async fn a_tcp_check_does_not_bring_back_what_answers_badly() {
    let (sick, good) = (Origin::start(Behaviour::CloseBeforeHead).await, Origin::start(ok("ok")).await);
    let proxy = Proxy::start(&format!(
        "[pool.app]\nupstreams = [\"{}\", \"{}\"]\nhealth = {{ type = \"tcp\", interval = \"20ms\", timeout = \"20ms\" }}\npassive.evict = \"2s\"\n",
        sick.address(),
        good.address()
    ));
    proxy.until(0, State::Ready).await;
    proxy.until(1, State::Ready).await;
    let mut client = Raw::connect(proxy.address).await;
    let mut asked = 0;
    while proxy.server().pools()[0].members()[0].health.state() == State::Ready {
        assert_eq!(client.get("/").await.status, 200);
        asked += 1;
        assert!(asked < 1000, "never evicted");
    }
    let since = Instant::now();
    let passed = sick.record().connections;
    sick.until(|record| record.connections > passed + 20).await;
    let state = proxy.server().pools()[0].members()[0].health.state();
    if since.elapsed() < Duration::from_millis(1500) {
        assert_eq!(state, State::Evicted, "twenty TCP checks prove nothing of answers");
    }
}

#[tokio::test]
async fn a_tcp_check_brings_back_what_refused_connections() {
    let (mut sick, good) = (Origin::start(ok("sick")).await, Origin::start(ok("ok")).await);
    let proxy = Proxy::start(&format!(
        "[pool.app]\nupstreams = [\"{}\", \"{}\"]\nhealth = {{ type = \"tcp\", interval = \"50ms\", timeout = \"50ms\", unhealthy_after = 1000 }}\npassive = {{ evict = \"10m\", evict_max = \"10m\" }}\n",
        sick.address(),
        good.address()
    ));
    proxy.until(0, State::Ready).await;
    proxy.until(1, State::Ready).await;
    sick.stop().await;
    gets(&proxy, 30).await;
    proxy.until(0, State::Evicted).await;
    sick.restart().await;
    proxy.until(0, State::Ready).await;
}

#[tokio::test]
async fn a_failure_asks_for_a_check_at_once() {
    let (mut sick, good) = (Origin::start(ok("sick")).await, Origin::start(ok("ok")).await);
    let proxy = Proxy::start(&format!(
        "[pool.app]\nupstreams = [\"{}\", \"{}\"]\nhealth = {{ type = \"tcp\", interval = \"1h\", unhealthy_after = 1 }}\n",
        sick.address(),
        good.address()
    ));
    proxy.until(0, State::Ready).await;
    proxy.until(1, State::Ready).await;
    sick.stop().await;
    let mut client = Raw::connect(proxy.address).await;
    while proxy.exchanges().iter().all(|seen| seen.attempts.len() < 2) {
        assert_eq!(client.get("/").await.status, 200);
    }
    // One failure is not enough for traffic; the check that it asked for is.
    proxy.until(0, State::Evicted).await;
}

#[tokio::test]
async fn a_client_that_leaves_blames_nobody() {
    let (slow, good) = (Origin::start(Behaviour::Silent).await, Origin::start(ok("ok")).await);
    let proxy = Proxy::unchecked(
        &[slow.address()],
        "passive = { gateway_failures = 1, evict = \"60s\", max_evicted = \"100%\" }\n",
    );
    drop(good);
    for count in 1..4 {
        let mut client = Raw::connect(proxy.address).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        slow.until(|record| record.heads >= count).await;
        drop(client);
        assert_eq!(proxy.exchange(count - 1).await.cause, Some("client_closed"));
    }
    assert_eq!(proxy.server().pools()[0].members()[0].health.state(), State::Ready);
}

#[tokio::test]
async fn with_fail_all_evicted_is_a_502_at_once_that_says_since_when_and_why() {
    let proxy = Proxy::start(&format!(
        "[pool.app]\nupstreams = [\"{}\", \"{}\"]\nwhen_all_evicted = \"fail\"\nhealth = {{ type = \"tcp\", interval = \"5s\" }}\n[errors]\ndetail = \"full\"\n",
        Origin::nobody(),
        Origin::nobody()
    ));
    proxy.until(0, State::Evicted).await;
    proxy.until(1, State::Evicted).await;
    let answer = Raw::connect(proxy.address).await.get("/").await;
    assert_eq!(answer.status, 502);
    let status = answer.field("proxy-status").unwrap_or_default();
    assert!(status.contains("error=destination_unavailable"), "{status}");
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let rows = body["not_tried"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "{body:#}");
    for row in rows {
        assert_eq!((row["reason"].as_str(), row["state"].as_str()), (Some("evicted"), Some("evicted")), "{row:#}");
        assert_eq!(row["cause"], "connection_refused", "{row:#}");
        assert!(row["since"].is_string() && row["next_check_ms"].is_number() && row["message"].is_string(), "{row:#}");
    }
}

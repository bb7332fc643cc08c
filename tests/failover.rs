//! The promise: a client gets a 502 only when every upstream has failed or may not be tried any more.

use std::time::Duration;

use causeway::health::State;

use crate::support::origin::{Behaviour, Origin};
use crate::support::proxy::Proxy;
use crate::support::raw::{End, Raw};

fn ok(body: &str) -> Behaviour {
    Behaviour::Ok(body.as_bytes().to_vec())
}

fn json(body: &[u8]) -> serde_json::Value {
    serde_json::from_slice(body).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(body)))
}

#[tokio::test]
async fn a_request_of_any_method_and_size_survives_dead_upstreams() {
    let good = Origin::start(Behaviour::Echo).await;
    let proxy = Proxy::unchecked(&[Origin::nobody(), Origin::nobody(), good.address()], "");
    let body = vec![b'x'; 3 << 20];
    for round in 0..6 {
        let mut client = Raw::connect(proxy.address).await;
        client.send(format!("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len())).await;
        client.send(&body).await;
        let answer = client.response().await;
        assert_eq!((answer.status, answer.body.len()), (200, body.len()), "round {round}");
    }
    assert_eq!(good.record().requests.len(), 6);
    assert_eq!(proxy.exchange(5).await.status, 200);
}

#[tokio::test]
async fn when_all_fail_each_one_has_its_row() {
    let silent = Origin::start(Behaviour::Silent).await;
    let garbage = Origin::start(Behaviour::Garbage).await;
    let dead = Origin::nobody();
    let more = "timeouts.read = \"200ms\"\n[errors]\ndetail = \"full\"\n";
    let proxy = Proxy::unchecked(&[silent.address(), dead, garbage.address()], more);
    let answer = Raw::connect(proxy.address).await.get("/orders").await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.field("content-type"), Some("application/problem+json"));
    let body = json(&answer.body);
    let rows = body["attempts"].as_array().unwrap();
    let mut causes: Vec<&str> = rows.iter().map(|row| row["cause"].as_str().unwrap()).collect();
    causes.sort_unstable();
    assert_eq!(causes, ["connection_refused", "not_http", "read_timeout"], "{body:#}");
    assert_eq!(body["not_tried"].as_array().map(Vec::len), Some(0));
    assert_eq!(answer.field("x-request-id"), body["request_id"].as_str());
    for row in rows {
        assert_eq!(row["sent"], row["cause"] != "connection_refused", "{row}");
    }
}

#[tokio::test]
async fn a_post_that_was_sent_is_never_sent_again() {
    let crashing = Origin::start(Behaviour::CloseBeforeHead).await;
    let other = Origin::start(Behaviour::CloseBeforeHead).await;
    let proxy = Proxy::unchecked(&[crashing.address(), other.address()], "[errors]\ndetail = \"full\"\n");
    let mut client = Raw::connect(proxy.address).await;
    client.send("POST /pay HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").await;
    let answer = client.response().await;
    assert_eq!(answer.status, 502);
    let body = json(&answer.body);
    assert_eq!(body["attempts"][0]["cause"], "closed_without_response");
    assert_eq!(body["not_tried"][0]["reason"], "request_sent");
    assert_eq!(crashing.record().requests.len() + other.record().requests.len(), 1);
}

#[tokio::test]
async fn a_get_is_sent_again_whatever_broke() {
    for fault in [
        Behaviour::CloseBeforeHead,
        Behaviour::ResetBeforeHead,
        Behaviour::ResetOnAccept,
        Behaviour::Garbage,
        Behaviour::TlsAlert,
        Behaviour::H2Settings,
        Behaviour::HalfHead,
        Behaviour::BadHeader,
        Behaviour::CutBody { sent: 3, of: 9, reset: false },
        Behaviour::CutBody { sent: 3, of: 9, reset: true },
        Behaviour::StallInBody,
        Behaviour::Silent,
    ] {
        let bad = Origin::start(fault.clone()).await;
        let good = Origin::start(ok("good")).await;
        let proxy = Proxy::unchecked(
            &[bad.address(), good.address()],
            "timeouts.read = \"150ms\"\ntimeouts.body = \"150ms\"\n",
        );
        // The first choice is random: until the bad one was met, ask again.
        for round in 0.. {
            let answer = Raw::connect(proxy.address).await.get("/").await;
            assert_eq!((answer.status, answer.text().as_str()), (200, "good"), "{fault:?}");
            if proxy.exchange(round).await.rescued {
                break;
            }
            assert!(round < 60, "{fault:?} was never met");
        }
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_not_tried_elsewhere() {
    let a = Origin::start(Behaviour::HeadOf(70 << 10)).await;
    let b = Origin::start(Behaviour::HeadOf(70 << 10)).await;
    let proxy = Proxy::unchecked(&[a.address(), b.address()], "[errors]\ndetail = \"full\"\n");
    let answer = Raw::connect(proxy.address).await.get("/").await;
    let body = json(&answer.body);
    assert_eq!((answer.status, &body["cause"]), (502, &"response_head_too_large".into()));
    assert_eq!(body["not_tried"][0]["reason"], "final");
    assert!(body["attempts"][0]["hint"].as_str().unwrap().contains("buffers.response_head"), "{body:#}");
}

#[tokio::test]
async fn a_body_that_breaks_after_its_head_ends_visibly() {
    let cut = Origin::start(Behaviour::CutBody { sent: 200_000, of: 300_000, reset: false }).await;
    let proxy = Proxy::unchecked(&[cut.address()], "");
    let answer = Raw::connect(proxy.address).await.get("/").await;
    assert_eq!((answer.status, answer.complete), (200, false));
    let chunks = Origin::start(Behaviour::CutChunks).await;
    let proxy = Proxy::unchecked(&[chunks.address()], "");
    let answer = Raw::connect(proxy.address).await.get("/").await;
    assert_eq!((answer.status, answer.complete), (200, false));
    let seen = proxy.exchange(0).await;
    assert_eq!((seen.status, seen.cause), (200, Some("truncated_body")));
    // Where the end of the connection is the end of the message, a cut one ends by RST.
    let mut old = Raw::connect(proxy.address).await;
    old.send("GET / HTTP/1.0\r\n\r\n").await;
    let answer = old.response().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.end, End::Reset, "{answer:?}");
}

#[tokio::test]
async fn checks_keep_traffic_away_and_an_evicted_upstream_is_the_last_resort() {
    let mut app = Origin::start(ok("app")).await;
    let sick = Origin::start(Behaviour::Status(503)).await;
    let config = format!(
        "[pool.app]\nupstreams = [\"{}\", \"{}\"]\nhealth = {{ path = \"/healthz\", interval = \"50ms\", unhealthy_after = 1, healthy_after = 1 }}\n[errors]\ndetail = \"full\"\n",
        sick.address(),
        app.address()
    );
    let proxy = Proxy::start(&config);
    proxy.until(0, State::Evicted).await;
    proxy.until(1, State::Ready).await;
    let before = sick.record().requests.iter().filter(|request| request.head.starts_with("GET / ")).count();
    for _ in 0..20 {
        let answer = Raw::connect(proxy.address).await.get("/").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "app"));
    }
    let after = sick.record().requests.iter().filter(|request| request.head.starts_with("GET / ")).count();
    assert_eq!((before, after), (0, 0));
    // With the good one gone, the sick one is asked after all, and its own 503 passes as it is.
    app.stop().await;
    let answer = Raw::connect(proxy.address).await.get("/").await;
    assert_eq!((answer.status, answer.text().as_str()), (503, "status 503\n"));
    // Back after its checks pass again.
    app.restart().await;
    proxy.until(1, State::Ready).await;
    let answer = Raw::connect(proxy.address).await.get("/").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "app"));
}

#[tokio::test]
async fn with_fail_evicted_upstreams_are_named_not_tried() {
    let sick = Origin::start(Behaviour::Status(503)).await;
    let config = format!(
        "[pool.app]\nupstreams = [\"{}\"]\nwhen_all_evicted = \"fail\"\nhealth = {{ path = \"/healthz\", interval = \"5s\" }}\n[errors]\ndetail = \"full\"\n",
        sick.address()
    );
    let proxy = Proxy::start(&config);
    proxy.until(0, State::Evicted).await;
    let answer = Raw::connect(proxy.address).await.get("/").await;
    let body = json(&answer.body);
    assert_eq!(answer.status, 502);
    assert!(answer.field("proxy-status").unwrap().contains("error=destination_unavailable"), "{answer:?}");
    let row = &body["not_tried"][0];
    assert_eq!((&row["reason"], &row["cause"]), (&"evicted".into(), &"health_status".into()), "{body:#}");
    assert!(row["message"].as_str().unwrap().contains("GET /healthz gives 503, wanted 200-399"), "{body:#}");
    assert!(row["next_check_ms"].as_f64().is_some(), "{body:#}");
}

#[tokio::test]
async fn attempts_that_wait_fail_over_at_once_when_checks_evict() {
    let stalled = Origin::start(ok("a")).await;
    let good = Origin::start(ok("b")).await;
    let config = format!(
        "[pool.app]\nupstreams = [\"{}\", \"{}\"]\nhealth = {{ path = \"/\", interval = \"100ms\", timeout = \"200ms\", unhealthy_after = 2 }}\ntimeouts.read = \"30s\"\n",
        stalled.address(),
        good.address()
    );
    let proxy = Proxy::start(&config);
    proxy.until(0, State::Ready).await;
    proxy.until(1, State::Ready).await;
    stalled.set(Behaviour::Silent);
    // Several at once, so that some wait at the stalled one.
    let started = std::time::Instant::now();
    let mut asks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let address = proxy.address;
        asks.spawn(async move { Raw::connect(address).await.get("/x").await });
    }
    while let Some(answer) = asks.join_next().await {
        let answer = answer.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "b"));
    }
    assert!(started.elapsed() < Duration::from_secs(10), "they waited for timeouts.read");
    proxy.exchange(7).await;
    assert!(
        proxy.exchanges().iter().any(|seen| seen.attempts.iter().any(|(_, what)| what == "evicted")),
        "{:?}",
        proxy.exchanges()
    );
}

#[tokio::test]
async fn a_body_larger_than_the_replay_buffer_is_not_sent_twice() {
    let crashing = Origin::start(Behaviour::CloseBeforeHead).await;
    let other = Origin::start(Behaviour::CloseBeforeHead).await;
    let proxy = Proxy::unchecked(
        &[crashing.address(), other.address()],
        "buffers.request = \"1KiB\"\n[errors]\ndetail = \"full\"\n",
    );
    let body = vec![b'x'; 5000];
    let mut client = Raw::connect(proxy.address).await;
    client.send(format!("PUT /doc HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len())).await;
    client.send(&body).await;
    let answer = client.response().await;
    assert_eq!(answer.status, 502);
    assert_eq!(json(&answer.body)["not_tried"][0]["reason"], "body_not_kept");
    // Within the buffer, a PUT gets its second try.
    let mut client = Raw::connect(proxy.address).await;
    client.send("PUT /doc HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").await;
    assert_eq!(json(&client.response().await.body)["attempts"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn only_timeouts_are_a_504_and_the_whole_exchange_has_a_clock() {
    let a = Origin::start(Behaviour::Silent).await;
    let b = Origin::start(Behaviour::Silent).await;
    let proxy = Proxy::unchecked(&[a.address(), b.address()], "timeouts.read = \"100ms\"\n");
    assert_eq!(Raw::connect(proxy.address).await.get("/").await.status, 504);
    let proxy =
        Proxy::unchecked(&[a.address(), b.address()], "timeouts.request = \"100ms\"\n[errors]\ndetail = \"full\"\n");
    let answer = Raw::connect(proxy.address).await.get("/").await;
    let body = json(&answer.body);
    assert_eq!((answer.status, &body["cause"]), (504, &"request_timeout".into()), "{body:#}");
    assert_eq!(body["not_tried"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn retry_rules_of_the_route_hold() {
    let a = Origin::start(Behaviour::CloseBeforeHead).await;
    let b = Origin::start(Behaviour::CloseBeforeHead).await;
    let c = Origin::start(Behaviour::CloseBeforeHead).await;
    let more = "[route.once]\npath = \"/once\"\nretry.resend = 0\n[route.two]\npath = \"/two\"\nretry.attempts = 2\n[route.rest]\n[errors]\ndetail = \"full\"\n";
    let proxy = Proxy::unchecked(&[a.address(), b.address(), c.address()], more);
    for (path, attempts, reason) in [("/once", 1, "request_sent"), ("/two", 2, "attempts"), ("/", 3, "")] {
        let body = json(&Raw::connect(proxy.address).await.get(path).await.body);
        assert_eq!(body["attempts"].as_array().map(Vec::len), Some(attempts), "{path}");
        assert_eq!(body["not_tried"].as_array().map(Vec::len), Some(3 - attempts), "{path}");
        assert!(reason.is_empty() || body["not_tried"][0]["reason"] == reason, "{path}");
    }
}

/// The app's idle clock costs a GET nothing, even with one upstream and `attempts = 1`; a POST that was sent is not
/// repeated.
#[tokio::test]
async fn a_kept_connection_that_dies_is_no_attempt() {
    let app = Origin::start(Behaviour::StaleOnNext).await;
    let proxy = Proxy::unchecked(&[app.address()], "retry.attempts = 1\n");
    let mut client = Raw::connect(proxy.address).await;
    for round in 0..4 {
        assert_eq!(client.get("/").await.status, 200, "round {round}");
    }
    let seen = proxy.exchange(3).await;
    assert_eq!((seen.attempts.len(), seen.rescued), (1, false), "{seen:?}");
    let proxy = Proxy::unchecked(&[app.address()], "retry.resend = 0\n");
    let mut client = Raw::connect(proxy.address).await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(client.get("/").await.status, 502, "resend = 0 forbids it");
}

/// A kept connection that dies under a request is no attempt: where all others fail, its upstream is asked once more.
#[tokio::test]
async fn a_dead_neighbour_makes_no_good_upstream_worse() {
    for more in ["passive.connect_failures = \"off\"\n", "retry.attempts = 1\npassive.connect_failures = \"off\"\n"] {
        let good = Origin::start(Behaviour::StaleOnNext).await;
        let mut upstreams = vec![good.address()];
        if !more.starts_with("retry") {
            upstreams.extend([(); 3].map(|()| Origin::nobody()));
        }
        let proxy = Proxy::unchecked(&upstreams, more);
        for number in 0..80 {
            let answer = Raw::connect(proxy.address).await.get("/").await;
            assert_eq!(answer.status, 200, "{more}GET {number}: {}", answer.text());
        }
    }
}

//! `wait`: a request waits for an upstream to come back before its 502.

use super::*;
use causeway::config::address::Dial;
use causeway::health::State;

/// A pool of this one upstream, checked at the pace of tests, and evicted before it begins.
async fn down(app: &mut Origin, wait: Duration, more: &str) -> Proxy {
    app.stop().await;
    let config = format!(
        "[pool.app]\nupstreams = [\"{}\"]\nhealth = {{ interval = \"30ms\", healthy_after = 1, unhealthy_after = 1 }}\n{more}",
        app.address()
    );
    let proxy = Proxy::changed_file(&config, |config| pool(config).wait = wait);
    proxy.until(0, State::Evicted).await;
    proxy
}

fn waiting(proxy: &Proxy) -> usize {
    proxy.server().pools()[0].waiting.taken()
}

#[tokio::test]
async fn an_upstream_that_comes_back_gets_one_more_try() {
    for last_resort in ["try", "fail"] {
        let mut app = Origin::start(Behaviour::Ok(b"back".to_vec())).await;
        let more = format!("when_all_evicted = \"{last_resort}\"\n");
        let proxy = down(&mut app, Duration::from_secs(20), &more).await;
        let mut client = Raw::connect(proxy.address).await;
        client.send("POST /pay HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").await;
        until("it waits", || waiting(&proxy) == 1).await;
        app.restart().await;
        let answer = client.response().await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "back"), "{last_resort}");
        let seen = proxy.exchange(0).await;
        assert_eq!(seen.attempts.len(), if last_resort == "try" { 2 } else { 1 }, "{seen:?}");
        assert_eq!(waiting(&proxy), 0);
    }
}

#[tokio::test]
async fn after_the_wait_its_502_names_each_upstream() {
    let mut app = Origin::start(Behaviour::Ok(b"back".to_vec())).await;
    let proxy = down(&mut app, Duration::from_millis(60), &format!("when_all_evicted = \"fail\"\n{FULL}")).await;
    let started = Instant::now();
    let answer = Raw::connect(proxy.address).await.get("/").await;
    assert!(started.elapsed() >= Duration::from_millis(60));
    let body = json(&answer);
    assert!(body["detail"].as_str().unwrap().contains(", and it did not come back within "), "{body:#}");
    let row = &body["not_tried"][0];
    assert_eq!((answer.status, &row["reason"], &row["state"]), (502, &"evicted".into(), &"evicted".into()), "{body:#}");
    assert_eq!(row["cause"], "connection_refused");
    assert!(row["since"].is_string() && row["next_check_ms"].is_u64(), "{body:#}");
    assert_eq!(row["message"], "health check: nothing listens there", "{body:#}");
}

#[tokio::test]
async fn who_may_not_be_sent_again_does_not_wait() {
    let crashing = Origin::start(Behaviour::CloseBeforeHead).await;
    let proxy = Proxy::changed(&[crashing.address()], "", |config| pool(config).wait = Duration::from_secs(20));
    let mut client = Raw::connect(proxy.address).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").await;
    assert_eq!(client.response().await.status, 502);
}

#[tokio::test]
async fn the_whole_exchange_has_its_clock_while_it_waits() {
    let mut app = Origin::start(Behaviour::Ok(b"back".to_vec())).await;
    let more = "when_all_evicted = \"fail\"\ntimeouts.request = \"50ms\"\n";
    let proxy = down(&mut app, Duration::from_secs(20), more).await;
    let answer = Raw::connect(proxy.address).await.get("/").await;
    assert_eq!((answer.status, &json(&answer)["cause"]), (504, &"request_timeout".into()));
}

/// The clock of `retry.deadline` stands still: a request that was sent, waits longer than that, and is sent once more.
#[tokio::test]
async fn the_deadline_stands_still_meanwhile() {
    let mut app = Origin::start(Behaviour::CloseBeforeHead).await;
    let config = format!(
        "[pool.app]\nupstreams = [\"{}\"]\nretry.deadline = \"150ms\"\ntimeouts.read = \"100ms\"\nhealth = {{ interval = \"30ms\", healthy_after = 1, unhealthy_after = 1 }}\n",
        app.address()
    );
    let proxy = Proxy::changed_file(&config, |config| pool(config).wait = Duration::from_secs(20));
    proxy.until(0, State::Ready).await;
    let mut client = ask(&proxy, "/").await;
    until("it waits", || waiting(&proxy) == 1).await;
    app.stop().await;
    proxy.until(0, State::Evicted).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    app.set(Behaviour::Ok(b"back".to_vec()));
    app.restart().await;
    let answer = client.response().await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "back"));
}

#[tokio::test]
async fn a_client_that_leaves_waits_no_more() {
    let mut app = Origin::start(Behaviour::Ok(b"back".to_vec())).await;
    let proxy = down(&mut app, Duration::from_secs(20), "").await;
    let client = ask(&proxy, "/").await;
    until("it waits", || waiting(&proxy) == 1).await;
    client.abort();
    until("it has left", || waiting(&proxy) == 0).await;
    assert_eq!(proxy.exchange(0).await.cause, Some("client_closed"));
}

#[tokio::test]
async fn only_so_many_wait_and_the_next_has_its_502_at_once() {
    let mut app = Origin::start(Behaviour::Ok(b"back".to_vec())).await;
    let proxy = down(&mut app, Duration::from_secs(20), "").await;
    let room = proxy.server().pools()[0].waiting.clone();
    let places: Vec<_> = (0..1000).map(|_| room.enter(1000).expect("a place")).collect();
    let started = Instant::now();
    assert_eq!(Raw::connect(proxy.address).await.get("/").await.status, 502);
    assert!(started.elapsed() < Duration::from_secs(10));
    drop(places);
    let mut client = ask(&proxy, "/").await;
    until("it waits", || waiting(&proxy) == 1).await;
    app.restart().await;
    assert_eq!(client.response().await.status, 200);
}

/// A name without an address gets one while a request waits: the list of members is another then.
#[tokio::test]
async fn members_may_change_meanwhile() {
    let app = Origin::start(Behaviour::Ok(b"found".to_vec())).await;
    let config =
        "[pool.app]\nupstreams = [\"nowhere.invalid:80\"]\nhealth.type = \"off\"\ntimeouts.resolve = \"200ms\"\n";
    let proxy = Proxy::changed_file(config, |config| pool(config).wait = Duration::from_secs(20));
    let mut client = ask(&proxy, "/").await;
    until("it waits", || waiting(&proxy) == 1).await;
    let pool = &proxy.server().pools()[0];
    pool.set_addresses(0, Dial::Addresses(vec![app.address()]), Instant::now());
    let answer = client.response().await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "found"));
}

/// An answer that `on_status` would rather not have is an answer: nobody is waited for.
#[tokio::test]
async fn who_has_an_answer_does_not_wait() {
    let sick = Origin::start(Behaviour::Status(503)).await;
    let proxy = Proxy::changed(&[sick.address(), Origin::nobody()], "", |config| {
        pool(config).wait = Duration::from_secs(60);
        retry(config, |retry| assert!(retry.on_status.insert(503)));
    });
    let mut client = Raw::connect(proxy.address).await;
    for round in 0..60 {
        assert_eq!(client.get("/").await.status, 503);
        if proxy.exchange(round).await.attempts.len() == 2 {
            return;
        }
    }
    panic!("the sick one was never the first");
}

/// With the thresholds as they are by default, a short restart changes no state: that the checks pass again is the
/// news.
#[tokio::test]
async fn a_restart_that_evicted_nobody_is_a_comeback_too() {
    let mut app = Origin::start(Behaviour::Ok(b"back".to_vec())).await;
    let config = format!(
        "[pool.app]\nupstreams = [\"{}\"]\nwait = \"20s\"\nhealth = {{ interval = \"500ms\" }}\n",
        app.address()
    );
    let proxy = Proxy::start(&config);
    proxy.until(0, State::Ready).await;
    app.stop().await;
    let mut client = Raw::connect(proxy.address).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    until("it waits", || waiting(&proxy) == 1).await;
    app.restart().await;
    assert_eq!(client.response().await.status, 200);
}

/// Without checks, the end of an eviction by traffic is the chance: whoever waits takes it.
#[tokio::test]
async fn who_waits_takes_the_permit_of_probation() {
    let (mut app, mut other) =
        (Origin::start(Behaviour::Ok(b"back".to_vec())).await, Origin::start(Behaviour::Ok(b"back".to_vec())).await);
    let more = "wait = \"20s\"\nwhen_all_evicted = \"fail\"\npassive = { connect_failures = 1, evict = \"500ms\", max_evicted = \"100%\" }\n";
    let proxy = Proxy::unchecked(&[app.address(), other.address()], more);
    app.stop().await;
    other.stop().await;
    let mut client = Raw::connect(proxy.address).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    until("it waits", || waiting(&proxy) == 1).await;
    app.restart().await;
    other.restart().await;
    let answer = client.response().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn near_the_end_of_a_drain_who_waits_is_told() {
    let mut app = Origin::start(Behaviour::Ok(b"back".to_vec())).await;
    let proxy = down(&mut app, Duration::from_secs(20), "").await;
    let mut client = Raw::connect(proxy.address).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    until("it waits", || waiting(&proxy) == 1).await;
    let (_, answer) = tokio::join!(proxy.server().drain("TERM"), client.response());
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains("shutting_down") && answer.field("retry-after").is_some(), "{}", answer.head);
}

//! Another configuration while traffic goes on: what holds from now on, what is kept, what is refused.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use causeway::health::State;

use crate::support::origin::{Behaviour, Origin};
use crate::support::proxy::Proxy;
use crate::support::raw::{End, Raw};

mod listeners;
mod load;
mod process;

/// One pool `app` of this upstream, without checks, and more keys for the end of the file.
fn unchecked(upstream: SocketAddr, more: &str) -> String {
    format!("[pool.app]\nupstreams = [\"{upstream}\"]\nhealth.type = \"off\"\n{more}")
}

async fn fine() -> Origin {
    Origin::start(Behaviour::Ok(b"fine".to_vec())).await
}

#[tokio::test]
async fn a_changed_timeout_holds_for_requests_that_begin_then() {
    let origin = Origin::start(Behaviour::Slow(Duration::from_millis(600))).await;
    let proxy = Proxy::start(&unchecked(origin.address(), "timeouts.read = \"20s\"\n"));
    let mut before = Raw::connect(proxy.address).await;
    before.send("GET /before HTTP/1.1\r\nHost: a\r\n\r\n").await;
    origin.requests(1).await;
    proxy.reload(&unchecked(origin.address(), "timeouts.read = \"50ms\"\n")).await.unwrap();
    let mut after = Raw::connect(proxy.address).await;
    assert_eq!(after.get("/after").await.status, 504);
    assert_eq!(before.response().await.status, 200);
    assert_eq!(before.get("/again").await.status, 504, "the connection is kept, and its next request is a new one");
}

#[tokio::test]
async fn routes_and_pools_come_and_go() {
    let (one, two) = (fine().await, Origin::start(Behaviour::Ok(b"two".to_vec())).await);
    let proxy = Proxy::start(&unchecked(one.address(), ""));
    let mut client = Raw::connect(proxy.address).await;
    assert_eq!(client.get("/two").await.text(), "fine");
    let more = format!(
        "{}[pool.two]\nupstreams = [\"{}\"]\n[route.app]\npool = \"app\"\n[route.two]\npath = \"/two\"\npool = \"two\"\n",
        unchecked(one.address(), ""),
        two.address()
    );
    let app = Arc::clone(&proxy.server().pools()[0]);
    proxy.reload(&more).await.unwrap();
    assert_eq!(client.get("/two").await.text(), "two");
    assert_eq!(client.get("/other").await.text(), "fine");
    assert!(Arc::ptr_eq(&app, &proxy.server().pools()[0]), "nothing was said of it");
    let without = "[pool.app]\nupstreams = [\"127.0.0.1:9\"]\nhealth.type = \"off\"\n[route.main]\nrespond = { body = \"own\" }\n";
    proxy.reload(without).await.unwrap();
    assert_eq!(client.get("/two").await.text(), "own");
    assert_eq!(proxy.server().pools().len(), 1);
}

/// Whoever waits for a pool that is in no file any more waits for nobody.
#[tokio::test]
async fn who_waits_for_a_pool_that_leaves_is_told_at_once() {
    let (nobody, other) = (Origin::nobody(), fine().await);
    let config = "health = { type = \"tcp\", interval = \"200ms\", unhealthy_after = 1 }\nwait = \"60s\"\nwhen_all_evicted = \"fail\"\n";
    let proxy = Proxy::start(&format!("[pool.old]\nupstreams = [\"{nobody}\"]\n{config}"));
    let old = Arc::clone(&proxy.server().pools()[0]);
    proxy.until(0, State::Evicted).await;
    let mut client = Raw::connect(proxy.address).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    while old.waiting.taken() == 0 {
        tokio::task::yield_now().await;
    }
    proxy.reload(&unchecked(other.address(), "")).await.unwrap();
    let answer =
        tokio::time::timeout(Duration::from_secs(20), client.response()).await.expect("long before `wait` is over");
    assert_eq!(answer.status, 502, "{answer:?}");
    assert_eq!(client.get("/").await.text(), "fine");
}

/// What is known of an upstream does not begin anew, and neither does what was counted.
#[tokio::test]
async fn an_evicted_upstream_stays_evicted() {
    let (good, bad) = (fine().await, Origin::nobody());
    let config = |more: &str| {
        format!(
            "[pool.app]\nupstreams = [\"{bad}\", \"{}\"]\nhealth = {{ type = \"tcp\", interval = \"200ms\", \
             unhealthy_after = 1 }}\n{more}",
            good.address()
        )
    };
    let proxy = Proxy::start(&config(""));
    proxy.until(0, State::Evicted).await;
    let since = |proxy: &Proxy| proxy.server().pools()[0].members()[0].health.snapshot(std::time::Instant::now()).since;
    let out = since(&proxy);
    proxy.reload(&config("timeouts.read = \"7s\"\n")).await.unwrap();
    let upstream = Arc::clone(&proxy.server().pools()[0].members()[0]);
    assert_eq!(upstream.health.state(), State::Evicted);
    // Two clocks are read for it.
    let apart = since(&proxy).duration_since(out).unwrap_or_else(|error| error.duration());
    assert!(apart < Duration::from_millis(20), "{apart:?}");
    assert_eq!(Raw::connect(proxy.address).await.get("/").await.status, 200);
    assert_eq!(proxy.exchange(0).await.attempts.len(), 1, "nobody tried the one that is out");
}

/// A pool that is checked by another rule is: the tasks of the old one end, those of the new one run.
#[tokio::test]
async fn checks_follow_the_file() {
    // The other pool is checked all the time: a clock.
    let (origin, clock) = (fine().await, fine().await);
    let config = |health: &str| {
        let (app, clock) = (origin.address(), clock.address());
        format!(
            "[route.main]\npool = \"app\"\n[route.clock]\npath = \"/clock\"\npool = \"clock\"\n\
             [pool.app]\nupstreams = [\"{app}\"]\nhealth = {health}\n\
             [pool.clock]\nupstreams = [\"{clock}\"]\nhealth = {{ path = \"/tick\", interval = \"200ms\" }}\n"
        )
    };
    let proxy = Proxy::start(&config("{ path = \"/one\", interval = \"200ms\" }"));
    let asked = |path: &str| {
        let line = format!("GET {path} ");
        origin.record().requests.iter().filter(|request| request.head.starts_with(&line)).count()
    };
    origin.until(|record| record.requests.iter().filter(|r| r.head.starts_with("GET /one ")).count() >= 3).await;
    proxy.reload(&config("{ path = \"/two\", interval = \"200ms\" }")).await.unwrap();
    let one = asked("/one");
    origin.until(|record| record.requests.iter().filter(|r| r.head.starts_with("GET /two ")).count() >= 3).await;
    assert!(asked("/one") <= one + 1, "one that was under way at most");
    proxy.reload(&config("{ type = \"off\" }")).await.unwrap();
    let two = asked("/two");
    assert_eq!(Raw::connect(proxy.address).await.get("/").await.status, 200);
    let ticks = clock.record().requests.len();
    clock.until(|record| record.requests.len() >= ticks + 4).await;
    assert!(asked("/two") <= two + 1);
}

#[tokio::test]
async fn what_cannot_change_refuses_the_whole() {
    let (one, two) = (fine().await, Origin::start(Behaviour::Ok(b"two".to_vec())).await);
    let proxy = Proxy::start(&unchecked(one.address(), ""));
    for (key, line) in [("workers", "workers = 3\n"), ("log.events", "log.events = \"stdout\"\n")] {
        let why = proxy.reload(&format!("{line}{}", unchecked(two.address(), ""))).await.unwrap_err();
        assert!(why.contains(key) && why.contains("Restart") && why.contains("Nothing was changed"), "{why}");
    }
    assert_eq!(Raw::connect(proxy.address).await.get("/").await.text(), "fine");
}

/// A tunnel, and an answer that takes its time, go on with what they began with.
#[tokio::test]
async fn tunnels_and_downloads_live_through_it() {
    let (tunnel, download) = (
        Origin::start(Behaviour::Tunnel).await,
        Origin::start(Behaviour::Drip { bytes: 20, pause: Duration::from_millis(50) }).await,
    );
    let config = |more: &str| {
        let (tunnel, download) = (tunnel.address(), download.address());
        format!(
            "[pool.tunnel]\nupstreams = [\"{tunnel}\"]\nhealth.type = \"off\"\n{more}\
             [pool.download]\nupstreams = [\"{download}\"]\nhealth.type = \"off\"\n{more}\
             [route.tunnel]\npool = \"tunnel\"\n[route.download]\npath = \"/download\"\npool = \"download\"\n"
        )
    };
    let proxy = Proxy::start(&config(""));
    let (mut upgraded, mut slow) = (Raw::connect(proxy.address).await, Raw::connect(proxy.address).await);
    upgraded.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n").await;
    assert_eq!(upgraded.response().await.status, 101);
    slow.send("GET /download HTTP/1.1\r\nHost: a\r\n\r\n").await;
    download.requests(1).await;
    for round in 0..5 {
        proxy.reload(&config(&format!("timeouts.read = \"{}s\"\n", round + 3))).await.unwrap();
    }
    // Both pools are gone, and the routes to them.
    proxy.reload("[pool.app]\nupstreams = [\"127.0.0.1:9\"]\nhealth.type = \"off\"\n").await.unwrap();
    upgraded.send("still here").await;
    while !upgraded.buffer.ends_with(b"still here") {
        let mut part = [0; 64];
        let read = tokio::io::AsyncReadExt::read(&mut upgraded.stream, &mut part).await.unwrap();
        assert!(read > 0, "{:?}", upgraded.buffer);
        upgraded.buffer.extend_from_slice(&part[..read]);
    }
    let whole = slow.response().await;
    assert_eq!((whole.status, whole.body.len(), whole.complete, whole.end), (200, 20, true, End::Open));
    assert_eq!(slow.get("/download").await.status, 502, "the next request is the new configuration's");
}

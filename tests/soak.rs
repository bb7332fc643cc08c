//! The main promise under trouble at random: three upstreams are killed, stalled, slowed, reset and restarted, or take
//! connections and answer nonsense; one is always alive, and no GET fails; no POST is delivered twice.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::support::origin::{Behaviour, Origin};
use crate::support::proxy::Proxy;
use crate::support::raw::Raw;

/// How long it goes on.
const WHOLE: Duration = Duration::from_secs(20);
/// How long one upstream is the one that is left alone.
const SHIFT: Duration = Duration::from_millis(3500);
/// Longer than a request can take that meets the two others at their worst: `timeouts.read` twice, and some.
const OVERLAP: Duration = Duration::from_millis(1500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_get_fails_and_no_post_is_delivered_twice() {
    soak("health = { path = \"/healthz\", interval = \"200ms\" }").await;
}

/// Half-dead upstreams: their checks pass, their answers are none. Two of three at their worst are more trouble than
/// `retry.budget` and `max_evicted` are made for, so these are off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_where_checks_see_nothing_of_the_trouble() {
    let health = "health = { type = \"tcp\", interval = \"200ms\" }";
    soak(&format!("{health}\npassive = {{ evict = \"500ms\", evict_max = \"500ms\", max_evicted = \"100%\" }}\nretry.budget = \"off\"")).await;
}

async fn soak(health: &str) {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut origins = Vec::new();
    for _ in 0..3 {
        origins.push(Origin::start(fine()).await);
    }
    let list: Vec<String> = origins.iter().map(|origin| format!("\"{}\"", origin.address())).collect();
    let proxy =
        Proxy::start(&format!("[pool.app]\nupstreams = [{}]\n{health}\ntimeouts.read = \"500ms\"\n", list.join(", ")));
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..6)
        .map(|number| {
            let (address, stop) = (proxy.address, Arc::clone(&stop));
            tokio::spawn(async move {
                if number < 4 { gets(address, &stop).await } else { posts(address, number, &stop).await }
            })
        })
        .collect();

    trouble(&mut origins, fastrand::Rng::with_seed(seed)).await;

    stop.store(true, Relaxed);
    let mut answered = Vec::new();
    for client in clients {
        answered.push(client.await.unwrap_or_else(|panic| panic!("seed {seed}: {panic}")));
    }
    let mut delivered: HashMap<String, usize> = HashMap::new();
    for origin in &origins {
        for request in origin.record().requests.iter().filter(|request| request.head.starts_with("POST ")) {
            *delivered.entry(String::from_utf8_lossy(&request.body).into_owned()).or_default() += 1;
        }
    }
    let twice: Vec<_> = delivered.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "seed {seed}: delivered more than once: {twice:?}");
    let (gets, posts): (usize, usize) = (answered[..4].iter().sum(), answered[4..].iter().sum());
    let rescued = proxy.exchanges().iter().filter(|seen| seen.rescued).count();
    println!("{gets} GETs, {posts} POSTs answered, {} delivered, {rescued} rescued", delivered.len());
    assert!(
        gets > 500 && posts > 100 && rescued > 20,
        "seed {seed}: {gets} {posts} {rescued}: too quiet to prove much"
    );
    assert!(delivered.len() >= posts, "seed {seed}: an answer to what was never delivered");
}

fn fine() -> Behaviour {
    Behaviour::Ok(b"ok".to_vec())
}

/// Harms two, spares one; each is spared in turn, and both the old and the new one are well meanwhile.
async fn trouble(origins: &mut [Origin], mut rng: fastrand::Rng) {
    let start = Instant::now();
    let mut spared = 0;
    while start.elapsed() < WHOLE {
        let shift = Instant::now();
        while shift.elapsed() < SHIFT {
            let victim = (spared + rng.usize(1..3)) % 3;
            harm(&mut origins[victim], &mut rng).await;
            tokio::time::sleep(Duration::from_millis(rng.u64(20..200))).await;
        }
        let next = (spared + rng.usize(1..3)) % 3;
        heal(&mut origins[next]).await;
        tokio::time::sleep(OVERLAP).await;
        spared = next;
    }
}

async fn harm(origin: &mut Origin, rng: &mut fastrand::Rng) {
    match rng.u32(0..11) {
        0 => origin.stop().await,
        1 => {
            origin.stop().await;
            origin.restart().await;
        }
        2 => origin.set(Behaviour::Silent),
        3 => origin.set(Behaviour::ResetBeforeHead),
        4 => origin.set(Behaviour::ResetOnAccept),
        5 => origin.set(Behaviour::CloseBeforeHead),
        6 => origin.set(Behaviour::CutBody { sent: 1, of: 2, reset: false }),
        7 => origin.set(Behaviour::Slow(Duration::from_millis(300))),
        8 => origin.set(Behaviour::HalfHeadReset),
        9 => origin.set(Behaviour::Garbage),
        _ => heal(origin).await,
    }
}

async fn heal(origin: &mut Origin) {
    origin.set(fine());
    origin.stop().await; // those that still stall are gone
    origin.restart().await;
}

/// Until told to stop; every one must be 200. Says how many there were.
async fn gets(address: std::net::SocketAddr, stop: &AtomicBool) -> usize {
    let mut client = Raw::connect(address).await;
    let mut count = 0;
    while !stop.load(Relaxed) {
        let answer = client.get(&format!("/{count}")).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "GET {count}: {answer:?}");
        count += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    count
}

/// Until told to stop, each with a body of its own; they may fail. Says how many were answered by an upstream.
async fn posts(address: std::net::SocketAddr, client: usize, stop: &AtomicBool) -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let mut answered = 0;
    let mut connection = Raw::connect(address).await;
    while !stop.load(Relaxed) {
        let id = format!("{client}-{}", NEXT.fetch_add(1, Relaxed));
        connection.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{id}", id.len())).await;
        let answer = connection.response().await;
        assert!(matches!(answer.status, 200 | 502 | 504), "POST {id}: {answer:?}");
        answered += usize::from(answer.status == 200);
        if answer.field("connection") == Some("close") {
            connection = Raw::connect(address).await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    answered
}

//! Three times more requests than the upstreams can take: what they can take is still served, the rest is told at once.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::support::proxy::Proxy;
use crate::support::raw::Raw;

/// Requests that an upstream works on at once, and for how long each.
const HANDS: usize = 4;
const WORK: Duration = Duration::from_millis(40);
const WINDOW: Duration = Duration::from_secs(4);

/// An app with a few workers: what is more waits inside it, unseen.
async fn app() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let hands = Arc::new(Semaphore::new(HANDS));
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let hands = Arc::clone(&hands);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while stream.read_buf(&mut head).await.is_ok_and(|read| read > 0) {
                    if !head.ends_with(b"\r\n\r\n") {
                        continue;
                    }
                    head.clear();
                    let hand = hands.acquire().await.unwrap();
                    tokio::time::sleep(WORK).await;
                    drop(hand);
                    if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// Answers a second with as many clients as there are hands.
async fn capacity(address: SocketAddr, hands: usize) -> f64 {
    let (begun, mut clients) = (Instant::now(), JoinSet::new());
    for _ in 0..hands {
        clients.spawn(async move {
            let mut client = Raw::connect(address).await;
            for _ in 0..25 {
                assert_eq!(client.get("/").await.status, 200);
            }
        });
    }
    clients.join_all().await;
    (hands * 25) as f64 / begun.elapsed().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_three_times_its_capacity_a_pool_serves_what_it_can() {
    let (one, two) = (app().await, app().await);
    let more = format!("limits = {{ in_flight = {HANDS}, queue = 8, queue_timeout = \"200ms\" }}\n");
    let proxy = Proxy::unchecked(&[one, two], &more);
    let capacity = capacity(proxy.address, 2 * HANDS).await;

    let (begun, mut asks, mut sent) = (Instant::now(), JoinSet::new(), 0);
    while begun.elapsed() < WINDOW {
        while f64::from(sent) < begun.elapsed().as_secs_f64() * capacity * 3.0 {
            let address = proxy.address;
            asks.spawn(async move {
                let begun = Instant::now();
                let answer = Raw::connect(address).await.get("/").await;
                let retry_after = answer.field("retry-after").and_then(|seconds| seconds.parse::<u32>().ok());
                (answer.status, begun.elapsed(), retry_after)
            });
            sent += 1;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let answers = asks.join_all().await;
    let (served, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|(status, ..)| *status == 200);
    let goodput = served.len() as f64 / begun.elapsed().as_secs_f64();
    println!("{sent} sent, {} served, goodput {goodput:.0}/s of {capacity:.0}/s", served.len());
    assert!(goodput > 0.9 * capacity, "goodput {goodput:.0}/s of {capacity:.0}/s");
    for (status, took, retry_after) in refused {
        assert_eq!(status, 503);
        assert!(retry_after.is_some_and(|seconds| seconds >= 1), "a 503 without a time to come back");
        assert!(took < Duration::from_secs(2), "told after {took:?}");
    }
}

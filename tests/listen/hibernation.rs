//! A connection that is quiet gives its memory back, and nobody can tell from outside.

use std::num::NonZeroUsize;
use std::time::Instant;

use super::*;

/// Longer than a connection may be quiet before it hibernates.
const QUIET: Duration = Duration::from_millis(900);

impl Server {
    /// Waits until so many connections hibernate.
    async fn sleeping(&self, count: usize) {
        let there = async {
            while self.asleep.connections() != count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LONG, there).await.unwrap_or_else(|_| panic!("{} sleep, not {count}", self.asleep.connections()));
    }
}

async fn asleep(server: &Server) -> Client {
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\n\r\n").await;
    client.until("\r\n\r\nok").await;
    server.sleeping(1).await;
    client
}

#[tokio::test]
pub(super) async fn a_quiet_connection_sleeps_and_wakes_as_often_as_it_likes() {
    let server = start(listener()).await;
    let mut client = asleep(&server).await;
    for _ in 0..2 {
        client.send("POST /echo HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello").await;
        client.until("5\r\nhello\r\n0\r\n\r\n").await;
        server.sleeping(1).await;
    }
    // It also sleeps before its first request.
    let mut fresh = server.connect().await;
    server.sleeping(2).await;
    fresh.send("GET / HTTP/1.1\r\nconnection: close\r\n\r\n").await;
    assert!(fresh.whole().await.ends_with("ok"));
    server.sleeping(1).await;
}

#[tokio::test]
pub(super) async fn half_read_heads_survive_whole() {
    let server = start(listener()).await;
    let mut client = server.connect().await;
    // Read together with the request before it: it is held, and nobody was told.
    client.send("GET / HTTP/1.1\r\n\r\nPOST /echo HTTP/1.1\r\ncontent-le").await;
    client.until("\r\n\r\nok").await;
    tokio::time::sleep(QUIET).await;
    assert_eq!(server.asleep.connections(), 0, "half a head is no silence");
    client.send("ngth: 2\r\n\r\nab").await;
    client.until("ab\r\n0\r\n\r\n").await;
    // What wakes it is half a head.
    server.sleeping(1).await;
    client.send("GET / HT").await;
    tokio::time::sleep(QUIET).await;
    assert_eq!(server.asleep.connections(), 0);
    client.send("TP/1.1\r\n\r\n").await;
    client.until("\r\n\r\nok").await;
}

#[tokio::test]
pub(super) async fn pipelined_bytes_wake_it_and_are_served_in_order() {
    let server = start(listener()).await;
    let mut client = asleep(&server).await;
    client.send("GET /chunks HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\nGET /chu").await;
    let text = client.until("\r\n\r\nok").await;
    assert!(text.contains("two\r\n0\r\n\r\nHTTP/1.1 200"), "{text}");
    tokio::time::sleep(QUIET).await;
    client.send("nks HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nconnection: close\r\n\r\n").await;
    let text = client.whole().await;
    assert!(text.contains("two\r\n0\r\n\r\nHTTP/1.1 200") && text.ends_with("ok"), "{text}");
}

/// Empty lines before a request line are ignored (RFC 9112 §2.2); also where sleep falls between them.
#[tokio::test]
pub(super) async fn an_empty_line_behind_a_request_is_nothing() {
    let server = start(listener()).await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\n\r\n\r\n").await;
    client.until("\r\n\r\nok").await;
    tokio::time::sleep(QUIET).await;
    client.send("\r\nGET / HTTP/1.1\r\n\r\n").await;
    client.until("\r\n\r\nok").await;
}

#[tokio::test]
pub(super) async fn an_answer_that_nobody_takes_yet_is_not_lost() {
    let server = start(listener()).await;
    let mut client = server.connect().await;
    client.send("GET /big-at-once HTTP/1.1\r\n\r\n").await;
    tokio::time::sleep(QUIET).await;
    assert_eq!(server.asleep.connections(), 0, "the socket does not have it yet");
    client.until("\r\n\r\n").await;
    let mut body = vec![0; 8 << 20];
    timeout(LONG, client.0.read_exact(&mut body)).await.unwrap().unwrap();
    assert!(body.iter().all(|b| *b == b'x'));
    server.sleeping(1).await;
    client.send("GET / HTTP/1.1\r\n\r\n").await;
    client.until("\r\n\r\nok").await;
}

#[tokio::test]
pub(super) async fn while_a_request_is_answered_nothing_sleeps() {
    let mut server = start(listener()).await;
    let mut waits = server.connect().await;
    waits.send("GET /wait HTTP/1.1\r\n\r\n").await;
    assert_eq!(server.logged().await, "called /wait");
    let mut uploads = server.connect().await;
    uploads.send("POST /echo HTTP/1.1\r\ncontent-length: 4\r\n\r\nab").await;
    assert_eq!(server.logged().await, "called /echo");
    tokio::time::sleep(QUIET).await;
    assert_eq!(server.asleep.connections(), 0);
    server.go.notify_one();
    waits.until("waited").await;
    uploads.send("cd").await;
    uploads.until("abcd\r\n0\r\n\r\n").await;
    server.sleeping(2).await;
}

#[tokio::test]
pub(super) async fn the_keep_alive_clock_runs_on_in_sleep_and_from_the_last_answer() {
    let server = start(Listener { keep_alive: Duration::from_millis(1500), ..listener() }).await;
    let mut client = asleep(&server).await;
    client.send("GET / HTTP/1.1\r\n\r\n").await;
    client.until("\r\n\r\nok").await;
    let since = Instant::now();
    server.sleeping(1).await;
    assert_eq!(client.whole().await, "");
    let held = since.elapsed();
    assert!(held > Duration::from_millis(1400) && held < Duration::from_millis(1950), "closed after {held:?}");
}

#[tokio::test]
pub(super) async fn the_head_clock_runs_in_sleep_and_after_it() {
    let server = start(Listener { head_timeout: Duration::from_millis(700), ..listener() }).await;
    let mut silent = server.connect().await;
    server.sleeping(1).await;
    assert_eq!(silent.whole().await, "", "no byte of a head: no word");
    let mut client = asleep(&server).await;
    tokio::time::sleep(QUIET).await; // its head clock has not begun
    client.send("GET / HT").await;
    let since = Instant::now();
    assert!(client.whole().await.starts_with("HTTP/1.1 408 "));
    assert!(since.elapsed() > Duration::from_millis(600), "{:?}", since.elapsed());
    // The same for half a head that came with the request before it.
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\n\r\nGET / HT").await;
    client.until("\r\n\r\nok").await;
    assert!(client.whole().await.starts_with("HTTP/1.1 408 "));
}

#[tokio::test]
pub(super) async fn a_drain_wakes_nobody_for_nothing_and_serves_who_asks() {
    let server = start(listener()).await;
    let (mut asks, mut idle) = (asleep(&server).await, server.connect().await);
    idle.send("GET / HTTP/1.1\r\n\r\n").await;
    idle.until("\r\n\r\nok").await;
    server.sleeping(2).await;
    server.drain.begin();
    let since = Instant::now();
    tokio::time::sleep(SHORT).await;
    assert_eq!(server.asleep.connections(), 2);
    asks.send("GET / HTTP/1.1\r\n\r\n").await;
    let text = asks.whole().await;
    assert!(text.contains("connection: close\r\n") && text.ends_with("ok"), "{text}");
    assert_eq!(idle.whole().await, "");
    assert!(since.elapsed() > QUIET && since.elapsed() < 2 * QUIET, "{:?}", since.elapsed());
    drop((asks, idle));
    timeout(LONG, server.drain.ended()).await.unwrap();
}

#[tokio::test]
pub(super) async fn the_cut_ends_sleepers() {
    let server = start(listener()).await;
    let mut client = asleep(&server).await;
    server.drain.begin();
    assert_eq!(server.drain.cut(), 1);
    timeout(LONG, server.drain.ended()).await.unwrap();
    assert_eq!(client.whole().await, "");
}

/// Its place and its memory are free at once, not when a clock ends.
#[tokio::test]
pub(super) async fn a_sleeper_whose_client_leaves_is_gone() {
    let server = start(Listener { connections_limit: NonZeroUsize::new(1), ..listener() }).await;
    for abort in [false, true] {
        let client = asleep(&server).await;
        if abort {
            socket2::SockRef::from(client.0.tcp()).set_linger(Some(Duration::ZERO)).unwrap();
        }
        drop(client);
        server.sleeping(0).await;
        timeout(LONG, async {
            while server.drain.connections() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
pub(super) async fn a_tunnel_never_sleeps() {
    let server = start(listener()).await;
    let mut client = asleep(&server).await;
    client.send("GET /upgrade HTTP/1.1\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nbehind").await;
    client.until("behind").await;
    tokio::time::sleep(QUIET).await;
    assert_eq!(server.asleep.connections(), 0);
    client.send("more").await;
    client.until("more").await;
}

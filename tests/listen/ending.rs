//! Clients that leave, tunnels, the drain.

use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::time::Instant;

use super::*;

#[tokio::test]
pub(super) async fn the_handler_is_dropped_when_the_client_leaves() {
    let head = "POST /hold HTTP/1.1\r\ncontent-length: 1000000\r\n\r\n";
    // More than is read ahead, less than the kernel takes: behind a full window a FIN could not be seen.
    let with_body = format!("{head}{}", "x".repeat(40_000));
    let tasted = with_body.replace("/hold", "/taste");
    let pipelined = "GET /hold HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n";
    for request in ["GET /hold HTTP/1.1\r\n\r\n", pipelined, head, &with_body, &tasted] {
        let mut server = start(listener()).await;
        let mut client = server.connect().await;
        client.send(request).await;
        assert!(["called /hold", "called /taste"].contains(&&*server.logged().await));
        let since = Instant::now();
        drop(client);
        assert_eq!(server.logged().await, "dropped", "{request:.30}");
        assert!(since.elapsed() < Duration::from_secs(3), "{request:.30}: after {:?}", since.elapsed());
    }
}

#[tokio::test]
pub(super) async fn a_client_that_takes_nothing_of_its_answer_is_cut() {
    let mut server = start(Listener { body_timeout: 2 * SHORT, ..listener() }).await;
    for version in ["1.1", "1.0"] {
        let mut client = server.connect().await;
        client.send(format!("GET /big HTTP/{version}\r\n\r\n")).await;
        assert_eq!(server.logged().await, "called /big");
        let since = Instant::now();
        assert_eq!(server.logged().await, "dropped");
        assert!(since.elapsed() > SHORT, "cut after {:?}", since.elapsed());
        timeout(LONG, async {
            while server.drain.connections() > 0 {
                tokio::task::yield_now().await
            }
        })
        .await
        .unwrap();
        let (_, end) = client.rest().await;
        assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
pub(super) async fn a_slow_client_is_waited_for() {
    let server = start(Listener { body_timeout: 3 * SHORT, ..listener() }).await;
    let mut client = server.connect().await;
    client.send("GET /big HTTP/1.1\r\nconnection: close\r\n\r\n").await;
    let mut part = vec![0; 3 << 20];
    for _ in 0..5 {
        tokio::time::sleep(SHORT).await; // slower than the clock in all, never silent for so long
        timeout(LONG, client.0.read_exact(&mut part)).await.unwrap().unwrap();
    }
    assert!(client.whole().await.ends_with("\r\n0\r\n\r\n"));
}

#[tokio::test]
pub(super) async fn an_upgraded_connection_echoes_what_came_behind_its_head() {
    let one = Listener { connections_limit: NonZeroUsize::new(1), ..listener() };
    let mut server = start(one).await;
    let mut client = server.connect().await;
    client.send("GET /upgrade HTTP/1.1\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nbehind").await;
    let text = client.until("behind").await;
    assert!(text.starts_with("HTTP/1.1 101 ") && text.contains("connection: upgrade\r\n"), "{text}");
    client.send("more").await;
    client.until("more").await;

    // The tunnel holds its place: the next connection waits for it.
    let mut next = server.connect().await;
    next.send("GET / HTTP/1.1\r\n\r\n").await;
    assert!(timeout(SHORT, next.0.read_u8()).await.is_err());
    client.0.shutdown().await.unwrap();
    assert_eq!(client.whole().await, "");
    assert_eq!(server.logged().await, "called /upgrade");
    assert_eq!(server.logged().await, "tunnel ended");
    next.until("\r\n\r\nok").await;
}

#[tokio::test]
pub(super) async fn in_a_drain_idle_connections_end_after_a_second() {
    let server = start(listener()).await;
    let mut kept = server.connect().await;
    kept.send("GET / HTTP/1.1\r\n\r\n").await;
    kept.until("ok").await;
    let mut fresh = server.connect().await;
    let mut used = server.connect().await;
    used.send("GET / HTTP/1.1\r\n\r\n").await;
    used.until("ok").await;
    server.drain.begin();
    let since = Instant::now();
    used.send("GET / HTTP/1.1\r\n\r\n").await;
    let text = used.whole().await;
    assert!(text.contains("connection: close\r\n") && text.ends_with("ok"), "{text}");
    assert!(since.elapsed() < Duration::from_millis(900), "one more answer, and closed at once");
    assert_eq!(kept.whole().await, "");
    assert!(since.elapsed() > Duration::from_millis(900), "idle ones are kept a second: {:?}", since.elapsed());
    assert_eq!(fresh.whole().await, "");
    drop(used);
    timeout(LONG, server.drain.ended()).await.unwrap();
    assert!(since.elapsed() < Duration::from_secs(3));
    assert_eq!(TcpStream::connect(server.address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(server.drain.cut(), 0);
}

#[tokio::test]
pub(super) async fn in_a_drain_half_a_head_is_finished() {
    let server = start(listener()).await;
    let mut alone = server.connect().await;
    alone.send("GET / HTTP/1.1\r\nho").await;
    let mut behind = server.connect().await;
    behind.send("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nho").await;
    behind.until("ok").await;
    server.drain.begin();
    tokio::time::sleep(Duration::from_millis(1500)).await; // longer than idle connections are kept
    for client in [&mut alone, &mut behind] {
        client.send("st: a\r\n\r\n").await;
        let text = client.whole().await;
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("connection: close\r\n"), "{text}");
    }
    timeout(LONG, server.drain.ended()).await.unwrap();
}

#[tokio::test]
pub(super) async fn a_drain_takes_what_waits_in_the_backlog() {
    let server = start(listener()).await;
    // Nothing runs between these lines but the client: the accept loop sees all of them at once.
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let stream = std::net::TcpStream::connect(server.address).unwrap();
        stream.set_nonblocking(true).unwrap();
        waiting.push(Client(secure::Socket::Plain(TcpStream::from_std(stream).unwrap())));
    }
    server.drain.begin();
    for client in &mut waiting {
        client.send("GET / HTTP/1.1\r\n\r\n").await;
    }
    for client in &mut waiting {
        assert!(client.whole().await.ends_with("\r\n\r\nok"));
    }
    timeout(LONG, server.drain.ended()).await.unwrap();
}

/// The kernel keeps back who says nothing; a close would reset it.
#[tokio::test]
pub(super) async fn a_drain_waits_for_those_whom_the_kernel_keeps_back() {
    let server = start(listener()).await;
    let (mut asks, mut silent) = (server.connect().await, server.connect().await);
    tokio::time::sleep(SHORT).await;
    assert_eq!(server.drain.connections(), 0, "kept back");
    server.drain.begin();
    tokio::time::sleep(SHORT).await;
    asks.send("GET / HTTP/1.1\r\n\r\n").await;
    let text = asks.whole().await;
    assert!(text.contains("connection: close\r\n") && text.ends_with("ok"), "{text}");
    drop(asks);
    assert_eq!(silent.whole().await, "");
    timeout(LONG, server.drain.ended()).await.unwrap();
    assert_eq!(server.drain.cut(), 0);
}

#[tokio::test]
pub(super) async fn the_cut_waits_for_no_backlog() {
    let server = start(listener()).await;
    server.drain.begin();
    let since = Instant::now();
    assert!(timeout(SHORT, server.drain.ended()).await.is_err(), "clients may be kept back");
    server.drain.cut();
    timeout(LONG, server.drain.ended()).await.unwrap();
    assert!(since.elapsed() < Duration::from_millis(900), "{:?}", since.elapsed());
}

#[tokio::test]
pub(super) async fn the_cut_drops_what_remains() {
    let mut server = start(listener()).await;
    let mut held = server.connect().await;
    held.send("POST /hold HTTP/1.1\r\ncontent-length: 5\r\n\r\n").await;
    assert_eq!(server.logged().await, "called /hold");
    let mut tunnel = server.connect().await;
    tunnel.send("GET /upgrade HTTP/1.1\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nbehind").await;
    tunnel.until("behind").await;
    assert_eq!(server.logged().await, "called /upgrade");
    server.drain.begin();
    assert!(timeout(SHORT, server.drain.ended()).await.is_err());
    assert_eq!(server.drain.cut(), 2);
    timeout(LONG, server.drain.ended()).await.unwrap();
    assert_eq!(server.logged().await, "dropped");
    assert_eq!(held.rest().await.0, "");
    assert_eq!(tunnel.rest().await.0, "");
}

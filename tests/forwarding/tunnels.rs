//! `Upgrade`: tunnels with no configuration, and 101s that nobody asked for.

use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;

use super::*;

const ASKING: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";

#[tokio::test]
async fn bytes_pass_both_ways_after_a_101() {
    let origin = Origin::start(Behaviour::Tunnel).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let mut client = Raw::connect(proxy.address).await;
    // The first bytes come right behind the head, before any 101.
    client.send(format!("{ASKING}early ")).await;
    let answer = client.response().await;
    assert_eq!((answer.status, answer.field("upgrade")), (101, Some("echo")));
    assert!(answer.field("connection").is_some_and(|c| c.eq_ignore_ascii_case("upgrade")), "{answer:?}");
    let data: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
    client.send(&data).await;
    client.finish().await;
    let (echoed, _) = client.rest().await;
    assert_eq!(echoed.len(), "hello early ".len() + data.len());
    assert!(echoed.starts_with(b"hello early ") && echoed.ends_with(&data));
    let head = &origin.requests(1).await[0].head;
    assert_eq!(fields(head, "upgrade"), ["echo"]);
    assert!(fields(head, "connection")[0].eq_ignore_ascii_case("upgrade"));
    let seen = proxy.exchange(0).await;
    assert_eq!((seen.status, seen.bytes_out), (101, echoed.len() as u64));
    assert_eq!(seen.bytes_in, (data.len() + "early ".len()) as u64);
}

#[tokio::test]
async fn a_real_websocket_works_end_to_end() {
    let (listener, address) = by_hand().await;
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        let mut echoed = 0;
        while let Some(message) = socket.next().await {
            match message.unwrap() {
                Message::Binary(data) => {
                    echoed += data.len();
                    socket.send(Message::Binary(data)).await.unwrap();
                }
                Message::Close(_) => {}
                other => panic!("{other:?}"),
            }
        }
        echoed
    });
    let proxy = Proxy::unchecked(&[address], "");
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    let (mut socket, answer) =
        tokio_tungstenite::client_async("ws://shop.example/chat?room=1", stream).await.expect("a handshake");
    assert!(answer.headers().contains_key("x-request-id"));
    let data = vec![7u8; 64 << 10];
    for _ in 0..4 {
        socket.send(Message::Binary(data.clone().into())).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap().into_data(), data);
    }
    socket.close(None).await.unwrap();
    let last = socket.next().await;
    assert!(matches!(last, Some(Ok(Message::Close(_)))), "no close handshake: {last:?}");
    assert!(socket.next().await.is_none());
    drop(socket);
    assert_eq!(server.await.unwrap(), 4 * data.len());
    assert_eq!(proxy.exchange(0).await.status, 101);
}

#[tokio::test]
async fn a_101_that_nobody_asked_for_is_upgrade_failed() {
    let origin = Origin::start(Behaviour::Tunnel).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    for (request, what) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "no Upgrade at all"),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "another protocol"),
        ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: echo\r\n\r\n", "Connection does not name it"),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
            "h2c",
        ),
    ] {
        let answer = ask(&proxy, request).await;
        assert_eq!(answer.status, 502, "{what}");
        assert!(answer.text().contains("\"cause\": \"upgrade_failed\""), "{what}: {}", answer.text());
        let status = answer.field("proxy-status").unwrap();
        assert!(status.contains("error=http_upgrade_failed") && status.contains("received-status=101"), "{status}");
    }
}

#[tokio::test]
async fn h2c_is_not_carried_and_the_rest_is() {
    let origin = Origin::start(ok()).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let head = passed(
        &proxy,
        &origin,
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
    )
    .await;
    for gone in ["upgrade", "http2-settings", "connection"] {
        assert!(fields(&head, gone).is_empty(), "{gone}: {head}");
    }
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c, TLS/1.2, websocket\r\n\r\n";
    let head = passed(&proxy, &origin, request).await;
    assert_eq!(fields(&head, "upgrade"), ["websocket"]);
}

#[tokio::test]
async fn an_upgrade_that_is_refused_is_an_answer() {
    let origin = Origin::start(Behaviour::Status(426)).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let mut client = Raw::connect(proxy.address).await;
    for _ in 0..2 {
        client.send(ASKING).await;
        let answer = client.response().await;
        assert_eq!((answer.status, answer.text().as_str()), (426, "status 426\n"));
    }
}

#[tokio::test]
async fn a_tunnel_ends_with_its_upstream() {
    let (listener, address) = by_hand().await;
    let proxy = Proxy::unchecked(&[address], "");
    let mut client = Raw::connect(proxy.address).await;
    client.send(ASKING).await;
    let (mut upstream, _) = listener.accept().await.unwrap();
    head_of(&mut upstream).await;
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nbye";
    upstream.write_all(switch).await.unwrap();
    drop(upstream);
    assert_eq!(client.response().await.status, 101);
    let (last, _) = client.rest().await;
    assert_eq!(last, b"bye");
}

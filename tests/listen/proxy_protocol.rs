//! Proxies in front that say who the client is, and those that may not.

use causeway::client::introduction::{self, Client as Introduced};
use causeway::listen::proxy_protocol;

use super::*;

const TWO: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn introduced() -> Listener {
    Listener { proxy_protocol: Networks(vec!["127.0.0.0/8".parse().unwrap()]), ..listener() }
}

/// What the handler knows of a client that begins with these bytes.
async fn who(server: &Server, pieces: &[&[u8]]) -> String {
    let mut client = Client(secure::Socket::Plain(TcpStream::connect(server.address).await.unwrap()));
    for piece in pieces {
        client.send(piece).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
    client.send("GET /who HTTP/1.1\r\nconnection: close\r\n\r\n").await;
    let text = client.whole().await;
    text.split_once("\r\n\r\n").expect("an answer").1.to_owned()
}

/// The header that causeway writes itself.
fn written(from: &str, to: &str) -> Vec<u8> {
    introduction::header(Some(&Introduced { from: from.parse().unwrap(), to: to.parse().unwrap() }))
}

#[tokio::test]
async fn the_header_says_who_the_client_is() {
    let server = start(introduced()).await;
    let four = "192.0.2.7:50000 192.0.2.7 10.0.0.1:443";
    let six = "[2001:db8::7]:1 2001:db8::7 [2001:db8::1]:2";
    assert_eq!(who(&server, &[b"PROXY TCP4 192.0.2.7 10.0.0.1 50000 443\r\n"]).await, four);
    assert_eq!(who(&server, &[b"PRO", b"XY TCP4 192.0.2.7 10.0.", b"0.1 50000 443\r", b"\n"]).await, four);
    assert_eq!(who(&server, &[&written("192.0.2.7:50000", "10.0.0.1:443")]).await, four);
    assert_eq!(who(&server, &[&written("[::ffff:192.0.2.7]:50000", "[::ffff:10.0.0.1]:443")]).await, four);
    assert_eq!(who(&server, &[&written("[2001:db8::7]:1", "[2001:db8::1]:2")]).await, six);
    assert_eq!(who(&server, &[b"PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n"]).await, six);
    let long = [TWO, b"\x21\x11\x0f\xf0\xc0\0\x02\x07\x0a\0\0\x01\xc3\x50\x01\xbb", &vec![4; 4068]].concat();
    assert_eq!((long.len(), who(&server, &[&long]).await.as_str()), (proxy_protocol::LONGEST, four));
    let halves: Vec<&[u8]> = long.chunks(1000).collect();
    assert_eq!(who(&server, &halves).await, four);
    // A check by the proxy itself, and one that does not know: the socket's own.
    for header in [introduction::header(None), b"PROXY UNKNOWN\r\n".to_vec()] {
        let text = who(&server, &[&header]).await;
        assert!(text.starts_with("127.0.0.1:") && text.contains(" 127.0.0.1 127.0.0.1:"), "{text}");
    }
}

/// One header for a connection, whatever is asked by it.
#[tokio::test]
async fn a_header_counts_for_the_whole_connection() {
    let server = start(introduced()).await;
    let mut client = Client(secure::Socket::Plain(TcpStream::connect(server.address).await.unwrap()));
    let both = "GET /who HTTP/1.1\r\n\r\n".repeat(2);
    client.send([&written("192.0.2.7:1", "10.0.0.1:2")[..], both.as_bytes()].concat()).await;
    for _ in 0..2 {
        client.until("192.0.2.7:1 192.0.2.7 10.0.0.1:2").await;
    }
    client.send("PROXY UNKNOWN\r\n").await;
    assert!(client.whole().await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn without_a_header_the_connection_ends() {
    let server = start(Listener { head_timeout: SHORT, ..introduced() }).await;
    let too_long = [TWO, b"\x21\x11\x0f\xf1"].concat();
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 50000\r\n",
        b"PROXY TCP4 192.0.2.7",
        &[b'P'; 200],
        &too_long,
        b"",
    ] {
        let mut client = Client(secure::Socket::Plain(TcpStream::connect(server.address).await.unwrap()));
        client.send(bytes).await;
        assert_eq!(client.rest().await.0, "", "{}", bytes.escape_ascii());
    }
    let mut left = TcpStream::connect(server.address).await.unwrap();
    left.write_all(b"PROXY").await.unwrap();
    drop(left);
    while server.drain.connections() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn from_others_a_header_is_a_bad_request() {
    let elsewhere = || Listener { proxy_protocol: Networks(vec!["192.0.2.0/24".parse().unwrap()]), ..listener() };
    let headers = [b"PROXY TCP4 192.0.2.7 10.0.0.1 50000 443\r\n".to_vec(), written("192.0.2.7:1", "10.0.0.1:2")];
    for listener in [listener(), elsewhere(), secure::secure(elsewhere())] {
        let server = start(listener).await;
        for header in &headers {
            let mut client = Client(secure::Socket::Plain(TcpStream::connect(server.address).await.unwrap()));
            client.send([&header[..], b"GET / HTTP/1.1\r\n\r\n"].concat()).await;
            let text = client.whole().await;
            assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
            let why = "a PROXY header came from a peer that is not in listener.test.proxy_protocol";
            assert!(text.contains(why), "{text}");
        }
    }
}

#[tokio::test]
async fn the_header_stands_before_the_handshake() {
    let server = start(secure::secure(introduced())).await;
    for header in [b"PROXY TCP4 192.0.2.7 10.0.0.1 50000 443\r\n".to_vec(), written("192.0.2.7:50000", "10.0.0.1:443")]
    {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(&header).await.unwrap();
        let mut client = Client(secure::shaken_over(stream).await);
        client.send("GET /who HTTP/1.1\r\nconnection: close\r\n\r\n").await;
        assert!(client.whole().await.ends_with("192.0.2.7:50000 192.0.2.7 10.0.0.1:443"));
    }
}

#[tokio::test]
async fn a_drain_waits_for_a_header_and_the_cut_does_not() {
    let server = start(introduced()).await;
    let mut half = TcpStream::connect(server.address).await.unwrap();
    half.write_all(b"PROXY").await.unwrap();
    while server.drain.connections() == 0 {
        tokio::task::yield_now().await;
    }
    server.drain.begin();
    assert!(timeout(SHORT, half.read_u8()).await.is_err());
    server.drain.cut();
    timeout(LONG, server.drain.ended()).await.unwrap();
    assert!(timeout(LONG, half.read_u8()).await.unwrap().is_err());
}

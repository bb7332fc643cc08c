//! Handshakes towards upstreams of HTTP/2, which never see them: judged, turned into an extended CONNECT, or left out.

use super::*;
use crate::support::h2::Streams;
use crate::support::raw::{Raw, Response as Heard};

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";

async fn said(proxy: &Proxy, line: &str, fields: &str, body: &str) -> Heard {
    let mut client = Raw::connect(proxy.address).await;
    let text = format!(
        "{line} HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nAccept: application/json\r\n{fields}\r\n{body}"
    );
    client.send(text).await;
    timeout(LONG, client.response()).await.unwrap()
}

/// An upstream behind TLS that takes these protocols and no others.
async fn behind_tls(files: &Files, alpn: &'static [&'static str], connect: bool) -> (String, Seen) {
    let (tell, seen) = tokio::sync::mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = files.acceptor_of(alpn);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (tell, acceptor) = (tell.clone(), acceptor.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                match stream.get_ref().1.alpn_protocol() {
                    Some(b"h2") if connect => serve_h2(stream, tell).await,
                    Some(b"h2") => plain_h2(stream).await,
                    _ => serve_h1(Box::new(stream), tell).await,
                }
            });
        }
    });
    (format!("https://{address}"), seen)
}

/// Answers whatever it is asked with the Upgrade that it sees.
async fn plain_h2(stream: impl Io + 'static) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let upgrade = request.headers().contains_key("upgrade");
        let answer = Response::builder().header("got-upgrade", upgrade.to_string()).body(()).unwrap();
        respond.send_response(answer, true).unwrap();
    }
}

#[tokio::test]
async fn a_bad_handshake_is_refused_where_the_upstream_cannot_see_it() {
    let files = Files::new();
    let (name, _seen) = app(Speaks::H2, &files).await;
    let proxy = files.proxy(Speaks::H1, &name, "");
    let short = "Sec-WebSocket-Key: c2hvcnQ=\r\n";
    for (fields, status, words) in [
        (format!("{VERSION}{KEY}{KEY}"), 400, "more than one Sec-WebSocket-Key"),
        (VERSION.to_owned(), 400, "without a Sec-WebSocket-Key"),
        (format!("{VERSION}{short}"), 400, "is not 16 bytes in base64"),
        (KEY.to_owned(), 426, "Sec-WebSocket-Version is not 13"),
        (format!("Sec-WebSocket-Version: 8\r\n{KEY}"), 426, "Sec-WebSocket-Version is not 13"),
    ] {
        let answer = said(&proxy, "GET /chat?room=1", &format!("Upgrade: websocket\r\n{fields}"), "").await;
        assert!(answer.status == status && answer.text().contains(words), "{answer:?}");
        let version = (status == 426).then_some("13");
        assert_eq!(answer.field("sec-websocket-version"), version, "{answer:?}");
        assert_eq!(answer.field("upgrade"), version.map(|_| "websocket"), "{answer:?}");
        assert_eq!(proxy.exchanges().last().unwrap().cause, Some("client_invalid"));
    }
    // A good one still passes there.
    let mut socket = open(&files, &proxy, Speaks::H1).await;
    converse(&mut socket, true).await;
}

#[tokio::test]
async fn what_is_no_websocket_goes_on_as_a_request() {
    let files = Files::new();
    let plain = Streams::echo().await;
    let proxy = files.proxy(Speaks::H1, &format!("h2c://{}", plain.address()), "");
    let good = format!("{VERSION}{KEY}");
    for (line, fields, body) in [
        ("GET /", "Upgrade: foo\r\n".to_owned(), ""),
        ("GET /", "Upgrade: foo/1, bar\r\nContent-Length: 2\r\n".to_owned(), "hi"),
        ("POST /", format!("Upgrade: websocket\r\nContent-Length: 2\r\n{good}"), "hi"),
        ("GET /", format!("Upgrade: websocket\r\nContent-Length: 2\r\n{good}"), "hi"),
    ] {
        let answer = said(&proxy, line, &fields, body).await;
        assert_eq!((answer.status, answer.field("got-upgrade")), (200, None), "{line} {fields}: {answer:?}");
        assert!(answer.text().ends_with(body), "{answer:?}");
    }
}

/// Where both are spoken, HTTP/1.1; where HTTP/2 is spoken alone, the extended CONNECT.
#[tokio::test]
async fn a_websocket_behind_tls_is_carried_over_what_is_spoken_there() {
    let files = Files::new();
    for (alpn, connect) in
        [(&["h2", "http/1.1"][..], true), (&["h2", "http/1.1"], false), (&["http/1.1"], false), (&["h2"], true)]
    {
        let (name, mut seen) = behind_tls(&files, alpn, connect).await;
        for client in [Speaks::H1, Speaks::H2Tls] {
            let proxy = files.proxy(client, &name, "");
            for _ in 0..3 {
                let before = proxy.exchanges().len();
                let mut socket = open(&files, &proxy, client).await;
                let fields = timeout(LONG, seen.recv()).await.unwrap().unwrap();
                assert_eq!(fields.contains_key("sec-websocket-key"), alpn.contains(&"http/1.1"), "{alpn:?}");
                converse(&mut socket, true).await;
                drop(socket);
                let record = proxy.exchange(before).await;
                assert_eq!((record.status, record.cause), (101, None), "{alpn:?}");
                assert_eq!(record.attempts.len(), 1, "{alpn:?}: {record:?}");
            }
        }
    }
}

#[tokio::test]
async fn one_that_speaks_http2_alone_and_takes_none_is_told_so() {
    let files = Files::new();
    let (name, _seen) = behind_tls(&files, &["h2"], false).await;
    let proxy = files.proxy(
        Speaks::H1,
        &name,
        "passive = { gateway_failures = 1, connect_failures = 1 }\n[errors]\ndetail = \"full\"\n",
    );
    for _ in 0..2 {
        let answer = said(&proxy, "GET /chat", &format!("Upgrade: websocket\r\n{VERSION}{KEY}"), "").await;
        let text = answer.text();
        assert!(answer.status == 502 && text.contains("upgrade_failed"), "{text}");
        assert!(
            text.contains("It speaks HTTP/2 alone, and takes no WebSockets that way") && text.contains("ALPN http/1.1"),
            "{text}"
        );
        // Nothing came from it: no 101, and no protocol.
        assert!(!text.contains("101") && !text.contains("switched"), "{text}");
        assert!(text.contains("\"message\": \"it takes no WebSocket over HTTP/2\""), "{text}");
        assert!(!answer.field("proxy-status").unwrap_or_default().contains("received-status"), "{answer:?}");
    }
    // And that is no fault of its: other requests go on.
    for fields in ["Upgrade: foo\r\n", ""] {
        let answer = said(&proxy, "GET /", fields, "").await;
        assert_eq!((answer.status, answer.field("got-upgrade")), (200, Some("false")), "{answer:?}");
    }
}

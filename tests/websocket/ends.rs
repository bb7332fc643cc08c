//! How a tunnel ends, and what is no tunnel: by either side, by a break, by silence, by a drain; and a real browser.

use super::*;

const CLIENTS: [Speaks; 4] = [Speaks::H1, Speaks::H1Tls, Speaks::H2, Speaks::H2Tls];

#[tokio::test]
async fn each_direction_ends_by_itself() {
    let files = Files::new();
    for speaks in CLIENTS {
        let (proxy, mut upstream, mut client) = by_hand(&files, speaks, "").await;
        client.write_all(b"last words").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(rest(&mut upstream).await.unwrap(), "last words", "{speaks:?}");
        upstream.write_all(b"and mine").await.unwrap();
        drop(upstream);
        assert_eq!(rest(&mut client).await.unwrap(), "and mine", "{speaks:?}");
        let seen = proxy.exchange(0).await;
        assert_eq!((seen.status, seen.cause, seen.bytes_in, seen.bytes_out), (101, None, 10, 8), "{speaks:?}");
        assert_eq!(seen.ended_by, EndedBy::Client, "{speaks:?}");

        let (proxy, mut upstream, mut client) = by_hand(&files, speaks, "").await;
        upstream.shutdown().await.unwrap();
        assert_eq!(rest(&mut client).await.unwrap(), "");
        client.write_all(b"still here").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(rest(&mut upstream).await.unwrap(), "still here");
        assert_eq!(proxy.exchange(0).await.ended_by, EndedBy::Upstream, "{speaks:?}");
    }
}

#[tokio::test]
async fn a_break_is_seen_as_one_on_the_other_side() {
    let files = Files::new();
    for speaks in CLIENTS {
        // The client's: a stream is reset, a connection too.
        let (proxy, mut upstream, client) = by_hand(&files, speaks, "").await;
        drop(client);
        let end = rest(&mut upstream).await;
        let seen = if matches!(speaks, Speaks::H2 | Speaks::H2Tls) {
            assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset, "{speaks:?}");
            drop(upstream);
            let seen = proxy.exchange(0).await;
            assert_eq!(seen.cause, Some("client_closed"), "{speaks:?}");
            seen
        } else {
            drop(upstream);
            proxy.exchange(0).await
        };
        assert_eq!((seen.status, seen.ended_by), (101, EndedBy::Client), "{speaks:?}");
        // The upstream's.
        let (proxy, upstream, mut client) = by_hand(&files, speaks, "").await;
        upstream.set_zero_linger().unwrap();
        drop(upstream);
        let end = rest(&mut client).await;
        assert!(end.is_err(), "{speaks:?}: {end:?}");
        let seen = proxy.exchange(0).await;
        assert_eq!(
            (seen.status, seen.cause, seen.ended_by),
            (101, Some("truncated_body"), EndedBy::Upstream),
            "{speaks:?}"
        );
    }
}

#[tokio::test]
async fn a_tunnel_ends_with_its_connection() {
    let files = Files::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    drop(listener);
    let (name, mut seen) = app(Speaks::H1, &files).await;
    let proxy = files.proxy(Speaks::H2, &name, "");
    let (send, running) = client_h2(files.connect(&proxy, Speaks::H2).await).await;
    let (_, recv, stream) = tunnel(&send, 200).await;
    seen.recv().await.unwrap();
    running.abort();
    let record = proxy.exchange(0).await;
    assert_eq!((record.status, record.cause, record.ended_by), (101, Some("client_closed"), EndedBy::Client));
    drop((recv, stream));
}

#[tokio::test]
async fn silence_has_a_limit_and_talk_has_none() {
    let files = Files::new();
    for speaks in CLIENTS {
        let (proxy, mut upstream, mut client) = by_hand(&files, speaks, "timeouts.tunnel = \"400ms\"\n").await;
        for _ in 0..6 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            upstream.write_all(b".").await.unwrap();
            assert_eq!(timeout(LONG, client.read_u8()).await.unwrap().unwrap(), b'.');
        }
        let seen = proxy.exchange(0).await;
        assert_eq!(
            (seen.cause, seen.ended_by, seen.bytes_out),
            (Some("body_timeout"), EndedBy::Proxy, 6),
            "{speaks:?}"
        );
        let end = rest(&mut client).await;
        assert!(end.is_err() || end.unwrap().is_empty());
        assert_eq!(rest(&mut upstream).await.unwrap_or_default(), "");
    }
}

#[tokio::test]
async fn a_drain_lets_it_live_until_the_limit() {
    let files = Files::new();
    for speaks in CLIENTS {
        let (proxy, mut upstream, mut client) = by_hand(&files, speaks, "").await;
        let talk = async {
            loop {
                let told = upstream.write_all(b"x").await;
                if told.is_err() || timeout(LONG, client.read_u8()).await.unwrap().is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let began = tokio::time::Instant::now();
        let (cut, ()) = tokio::join!(proxy.server().drain("a test"), talk);
        assert!(began.elapsed() >= Duration::from_millis(1900), "{speaks:?}: {:?}", began.elapsed());
        let seen = proxy.exchange(0).await;
        assert_eq!((cut, seen.cause, seen.status), (1, Some("shutting_down"), 101), "{speaks:?}");
    }
}

/// What a client does not take is not asked of the upstream, and other streams of the connection go on.
#[tokio::test]
async fn back_pressure_reaches_the_other_side() {
    let files = Files::new();
    let (_proxy, mut upstream, mut client) = by_hand(&files, Speaks::H2, "").await;
    let piece = vec![b'x'; 64 << 10];
    let mut sent = 0;
    while let Ok(written) = timeout(Duration::from_millis(500), upstream.write(&piece)).await {
        sent += written.unwrap();
        assert!(sent < 64 << 20, "it takes everything");
    }
    upstream.shutdown().await.unwrap();
    assert_eq!(rest(&mut client).await.unwrap().len(), sent);
    // And the other way.
    let mut sent = 0;
    while let Ok(written) = timeout(Duration::from_millis(500), client.write(&piece)).await {
        sent += written.unwrap();
        assert!(sent < 64 << 20, "it takes everything");
    }
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut upstream).await.unwrap().len(), sent);
}

#[tokio::test]
async fn a_refusal_passes_as_it_is() {
    let origin = Origin::start(Behaviour::Status(403)).await;
    let files = Files::new();
    let proxy = files.proxy(Speaks::H2, &origin.address().to_string(), "");
    let (send, _) = client_h2(files.connect(&proxy, Speaks::H2).await).await;
    for _ in 0..3 {
        let (_, mut body, _stream) = tunnel(&send, 403).await;
        assert_eq!(timeout(LONG, body.data()).await.unwrap().unwrap().unwrap(), "status 403\n");
    }
    let head = origin.record().requests[0].head.to_ascii_lowercase();
    assert!(head.contains("upgrade: websocket\r\n") && head.contains("connection: upgrade\r\n"), "{head}");
    assert_eq!(proxy.exchange(0).await.status, 403);
}

#[tokio::test]
async fn a_101_must_prove_that_it_read_the_key() {
    let files = Files::new();
    for proof in ["", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"] {
        let answer =
            format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{proof}\r\n");
        let origin = Origin::start(Behaviour::Raw(answer.into_bytes())).await;
        let proxy = files.proxy(Speaks::H2, &origin.address().to_string(), "[errors]\ndetail = \"full\"\n");
        let (send, _) = client_h2(files.connect(&proxy, Speaks::H2).await).await;
        let (_, mut body, _stream) = tunnel(&send, 502).await;
        let said = timeout(LONG, body.data()).await.unwrap().unwrap().unwrap();
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains("upgrade_failed") && said.contains("does not prove that it read the key"), "{said}");
    }
}

#[tokio::test]
async fn what_no_upgrade_can_say_is_refused() {
    let files = Files::new();
    let origin = Origin::start(Behaviour::Ok("no".into())).await;
    let proxy = files.proxy(Speaks::H2, &origin.address().to_string(), "");
    let (send, _) = client_h2(files.connect(&proxy, Speaks::H2).await).await;
    let mut request = connect("/masque");
    request.extensions_mut().insert(Protocol::from_static("connect-udp"));
    let (answer, _stream) = send.clone().send_request(request, false).unwrap();
    let (head, mut body) = timeout(LONG, answer).await.unwrap().unwrap().into_parts();
    assert_eq!(head.status, StatusCode::NOT_IMPLEMENTED);
    let said = timeout(LONG, body.data()).await.unwrap().unwrap().unwrap();
    assert!(String::from_utf8_lossy(&said).contains("causeway carries websocket alone"), "{said:?}");
    assert!(origin.record().requests.is_empty());
}

/// A page on a TLS listener: Chromium opens its WebSocket on the HTTP/2 connection that it has.
#[tokio::test]
#[ignore = "needs chromium"]
async fn a_browser_speaks_it_over_http_2() {
    let files = Files::new();
    let (name, mut seen) = app(Speaks::H1, &files).await;
    let pages = Origin::start(Behaviour::Ok("<!doctype html><title>chat</title>".into())).await;
    let proxy = Proxy::start(&format!(
        "{}[pool.app]\nupstreams = [\"{name}\"]\nhealth.type = \"off\"\n\
         [pool.pages]\nupstreams = [\"{}\"]\nhealth.type = \"off\"\n\
         [route.chat]\npath = \"/chat\"\npool = \"app\"\n[route.rest]\npool = \"pages\"\n",
        files.listener(),
        pages.address()
    ));
    let mut page = Page::open_trusting_anybody(800, 600).await;
    let here = format!("https://127.0.0.1:{}/", proxy.address.port());
    page.go(&here).await;
    page.ask(
        "window.said = []; window.socket = new WebSocket(`wss://${location.host}/chat?room=1`, ['chat.v2']); socket.binaryType = 'arraybuffer'; \
         socket.onopen = () => { socket.send('hello'); socket.send(new Uint8Array(65536).fill(7)); socket.send('bye'); }; \
         socket.onmessage = (event) => said.push(event.data.byteLength ?? event.data); \
         socket.onclose = (event) => said.push([event.code, event.reason, event.wasClean, socket.protocol]); 0",
    )
    .await;
    page.until("said.length >= 3").await;
    let said = page.ask("JSON.stringify(said)").await;
    assert_eq!(said.as_str().unwrap(), r#"["hello",65536,[4002,"as you wish",true,"chat.v2"]]"#);
    let fields = seen.recv().await.unwrap();
    assert!(fields["user-agent"].to_str().unwrap().contains("Chrom"), "{fields:?}");
    let tunnel = async {
        for index in 0.. {
            let seen = proxy.exchange(index).await;
            if seen.status == 101 {
                return seen;
            }
        }
        unreachable!()
    };
    // A 101 of HTTP/2 is what an extended CONNECT is told as.
    let seen = timeout(LONG, tunnel).await.unwrap();
    assert_eq!((seen.version, seen.cause), (http::Version::HTTP_2, None));
}

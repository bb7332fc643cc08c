//! What a request may be (RFC 9113 §8): what is malformed reaches no upstream, what passes reaches it in one reading.

use super::wire::*;
use super::*;

#[tokio::test]
async fn what_is_malformed_is_never_forwarded() {
    let origin = Origin::start(ok()).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let (m, s, a, p) = ((":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/"));
    for (why, fields) in [
        ("an upper-case name", vec![m, s, a, p, ("X-Test", "a")]),
        ("an unknown pseudo-header", vec![m, s, a, p, (":test", "a")]),
        ("a pseudo-header of answers", vec![m, s, a, p, (":status", "200")]),
        ("a pseudo-header behind a field", vec![m, s, a, ("x", "y"), p]),
        ("connection", vec![m, s, a, p, ("connection", "keep-alive")]),
        ("transfer-encoding", vec![m, s, a, p, ("transfer-encoding", "chunked")]),
        ("upgrade", vec![m, s, a, p, ("upgrade", "websocket")]),
        ("keep-alive", vec![m, s, a, p, ("keep-alive", "1")]),
        ("te", vec![m, s, a, p, ("te", "trailers, deflate")]),
        ("no method", vec![s, a, p]),
        ("no scheme", vec![m, a, p]),
        ("no path", vec![m, s, a]),
        ("an empty path", vec![m, s, a, (":path", "")]),
        ("two methods", vec![m, m, s, a, p]),
        ("two paths", vec![m, s, a, p, p]),
        ("two schemes", vec![m, s, s, a, p]),
        ("a line end in a value", vec![m, s, a, p, ("x", "a\r\nHost: b")]),
        ("a bare line feed in a value", vec![m, s, a, p, ("x", "a\nb")]),
        ("NUL in a value", vec![m, s, a, p, ("x", "a\0b")]),
        ("a space in a name", vec![m, s, a, p, ("x y", "a")]),
        ("a colon in a name", vec![m, s, a, p, ("x:y", "a")]),
        ("a space in the path", vec![m, s, a, (":path", "/x HTTP/1.1")]),
        ("a line end in the path", vec![m, s, a, (":path", "/x\r\nHost: b")]),
        ("a line end in the authority", vec![m, s, (":authority", "a\r\nx: y"), p]),
        ("a space in the method", vec![(":method", "GET /x"), s, a, p]),
        ("a length that is none", vec![m, s, a, p, ("content-length", "+1")]),
        ("a length without a body", vec![m, s, a, p, ("content-length", "5")]),
        ("unequal lengths", vec![m, s, a, p, ("content-length", "0"), ("content-length", "5")]),
        ("extended CONNECT without a path", vec![(":method", "CONNECT"), s, a, (":protocol", "websocket")]),
        ("a :protocol without CONNECT", vec![m, s, a, p, (":protocol", "websocket")]),
    ] {
        let mut peer = Peer::connect(proxy.address).await;
        peer.send(HEADERS, BOTH, 1, &block(&fields)).await;
        loop {
            let frame = peer.next().await.unwrap_or_else(|| panic!("{why}: only an end"));
            match frame.kind {
                RST_STREAM => break assert_eq!(frame.stream, 1, "{why}"),
                GOAWAY => break,
                HEADERS => panic!("{why}: answered"),
                _ => {}
            }
        }
    }
    for (why, wanted, fields) in [
        ("a path without a slash", 400, vec![m, s, a, (":path", "x")]),
        ("an asterisk", 400, vec![m, s, a, (":path", "*")]),
        ("a query alone", 400, vec![m, s, a, (":path", "?x")]),
        ("another scheme", 400, vec![m, (":scheme", "ftp"), a, p]),
        ("another Host", 400, vec![m, s, a, p, ("host", "b")]),
        ("two Hosts", 400, vec![m, s, a, p, ("host", "a"), ("host", "a")]),
        ("no host at all", 400, vec![m, s, p]),
        ("a user in the authority", 400, vec![m, s, (":authority", "u@a"), p]),
        ("a value that begins with a space", 400, vec![m, s, a, p, ("x", " a")]),
        ("a value that ends with a tab", 400, vec![m, s, a, p, ("x", "a\t")]),
        ("CONNECT", 405, vec![(":method", "CONNECT"), (":authority", "a:80")]),
        ("climbing", 400, vec![m, s, a, (":path", "/../x")]),
    ] {
        let mut peer = Peer::connect(proxy.address).await;
        peer.send(HEADERS, BOTH, 1, &block(&fields)).await;
        let answer = async {
            loop {
                let frame = peer.next().await.unwrap_or_else(|| panic!("{why}"));
                match frame.kind {
                    RST_STREAM => return None,
                    HEADERS => return Some(frame.status()),
                    _ => {}
                }
            }
        };
        // h2 may refuse by itself what the guard would.
        let answer = answer.await;
        assert!(answer.is_none() || answer == Some(wanted), "{why}: {answer:?}");
    }
    assert!(origin.record().raw.is_empty(), "{}", sent(&origin));
}

#[tokio::test]
async fn a_request_reaches_an_h1_upstream_in_one_reading() {
    let origin = Origin::start(ok()).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let send = client(&proxy).await;
    let mut request = get("/x?y=%20");
    for (name, value) in [("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3"), ("te", "trailers"), ("x-own", "1")] {
        request.headers_mut().append(name, value.parse().unwrap());
    }
    let (answer, _) = ask(&send, request).await;
    assert_eq!((answer.status().as_u16(), answer.body().as_ref()), (200, &b"ok"[..]));
    assert!(answer.headers().contains_key("x-request-id") && answer.headers().contains_key("date"));
    assert!(!answer.headers().contains_key("connection"));
    let text = sent(&origin);
    assert!(text.starts_with("GET /x?y=%20 HTTP/1.1\r\nhost: a\r\n"), "{text}");
    for line in [
        "\r\ncookie: a=1; b=2; c=3\r\n",
        "\r\nx-forwarded-host: a\r\n",
        "\r\nx-forwarded-proto: http\r\n",
        "\r\nte: trailers\r\nconnection: TE\r\n",
        "\r\nx-forwarded-for: 127.0.0.1\r\n",
    ] {
        assert!(text.contains(line), "{line:?} in {text}");
    }
    assert_eq!(text.matches("cookie:").count(), 1, "{text}");
    assert_eq!(text.to_ascii_lowercase().matches("\r\nhost:").count(), 1, "{text}");
    assert!(text.contains("\r\nvia: 1.1 causeway-"), "{text}");
}

#[tokio::test]
async fn what_is_of_one_connection_stays_there() {
    let origin = Origin::start(raw(
        "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: close\r\nContent-Length: 2\r\nDate: Sat, 21 Nov 2026 21:00:00 GMT\r\n\r\nok",
    ))
    .await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let (answer, _) = ask(&client(&proxy).await, get("/")).await;
    let mut names: Vec<&str> = answer.headers().keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "date", "x-request-id"]);
    assert_eq!(answer.headers()["date"], "Sat, 21 Nov 2026 21:00:00 GMT");
}

#[tokio::test]
async fn a_head_that_is_too_large_gets_its_431_on_its_stream() {
    let origin = Origin::start(ok()).await;
    let proxy = Proxy::with("listener.main.limits = { head = \"8KiB\", fields = 20 }", &[origin.address()], "");
    let send = client(&proxy).await;
    for (count, size, limit) in [(1, 9 << 10, "limits.head"), (20, 10, "limits.fields")] {
        let mut request = get("/");
        for index in 0..count {
            let name: http::HeaderName = format!("x-{index}").parse().unwrap();
            request.headers_mut().insert(name, "v".repeat(size).parse().unwrap());
        }
        let (answer, _) = ask(&send, request).await;
        assert_eq!(answer.status(), 431, "{limit}");
        let told = String::from_utf8_lossy(answer.body());
        assert!(told.contains(limit), "{told}");
        assert!(answer.headers().contains_key("proxy-status"));
    }
    assert_eq!(ask(&send, get("/")).await.0.status(), 200);
    // Too large to be looked at: h2 answers by itself.
    let mut peer = Peer::connect(proxy.address).await;
    let long = "v".repeat(12 << 10);
    let block = head_of("GET", "/", &[("x-a", &long), ("x-b", &long), ("x-c", &long)]);
    let (first, rest) = block.split_at(16_000);
    peer.send(HEADERS, END_STREAM, 1, first).await;
    let (second, third) = rest.split_at(16_000);
    peer.send(CONTINUATION, 0, 1, second).await;
    peer.send(CONTINUATION, END_HEADERS, 1, third).await;
    assert_eq!(peer.status(1).await, 431);
    peer.lives().await;
}

#[tokio::test]
async fn own_answers_are_whole_and_say_nothing_of_connections() {
    let proxy = Proxy::unchecked(&[Origin::nobody()], "");
    let send = client(&proxy).await;
    let (answer, trailers) = ask(&send, get("/")).await;
    assert_eq!((answer.status().as_u16(), trailers), (502, None));
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert!(answer.headers().contains_key("content-length") && !answer.headers().contains_key("connection"));
    let mut head = get("/");
    *head.method_mut() = http::Method::HEAD;
    let (answer, _) = ask(&send, head).await;
    assert_eq!((answer.status().as_u16(), answer.body().len()), (502, 0));
    assert!(answer.headers().contains_key("content-length"));
    let mut grpc = post("/a.B/C");
    grpc.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    let mut ready = send.clone().ready().await.unwrap();
    let answer = ready.send_request(grpc, true).unwrap().0.await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["grpc-status"]), (200, &"14".parse().unwrap()));
    assert!(answer.body().is_end_stream(), "trailers alone: one frame");
}

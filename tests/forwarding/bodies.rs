//! Bodies, both ways: lengths, chunks, trailers, none at all; pace and limits.

use std::time::Duration;

use causeway::observe::exchange::EndedBy;
use tokio::io::AsyncWriteExt;

use super::*;
use crate::support::raw::End;

const MS: Duration = Duration::from_millis(1);

#[tokio::test]
async fn answers_without_a_body_keep_their_head_and_the_connection() {
    let origin = Origin::start(ok()).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let mut client = Raw::connect(proxy.address).await;
    for (method, answer, status, length) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\nETag: \"e\"\r\n\r\n", 200, Some("12345")),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: \"e\"\r\n\r\n", 200, None),
        ("GET", "HTTP/1.1 204 No Content\r\nETag: \"e\"\r\n\r\n", 204, None),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\nETag: \"e\"\r\n\r\n", 304, Some("77")), // of the body that it has not (RFC 9110 §8.6)
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: \"e\"\r\n\r\n", 200, Some("0")),
        ("HEAD", "HTTP/1.1 404 No\r\nContent-Length: 9\r\nETag: \"e\"\r\n\r\n", 404, Some("9")),
    ] {
        origin.set(raw(answer));
        client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let got = client.response().await;
        assert_eq!((got.status, got.field("etag"), got.body.len()), (status, Some("\"e\""), 0), "{answer}");
        assert_eq!(got.field("content-length"), length, "{answer}");
        assert_eq!(got.field("connection"), None, "{answer}");
        origin.set(ok());
        assert_eq!(client.get("/next").await.text(), "ok", "after {answer}");
    }
}

/// An app that adds trailers to the head would believe them (RFC 9110 §6.5.1).
#[tokio::test]
async fn no_trailer_says_what_a_head_may_not() {
    let origin = Origin::start(Behaviour::Echo).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let forged = "X-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n\
                  Via: 1.1 a\r\nX-Request-Id: forged00\r\nProxy-Connection: close\r\nX-Sum: 42\r\n";
    let request =
        format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n{forged}\r\n");
    assert_eq!(ask(&proxy, &request).await.text(), "hi");
    origin.requests(1).await;
    let bytes = String::from_utf8_lossy(&origin.record().raw).to_ascii_lowercase();
    assert!(bytes.ends_with("\r\n0\r\nx-sum: 42\r\n\r\n"), "{bytes}");
}

#[tokio::test]
async fn chunks_and_trailers_pass_both_ways() {
    let origin = Origin::start(Behaviour::Echo).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let request = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                   5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nX-Sum: 42\r\n\r\n";
    let answer = ask(&proxy, request).await;
    assert_eq!(answer.text(), "hello world");
    let sent = origin.requests(1).await[0].clone();
    assert_eq!(sent.body, b"hello world");
    assert_eq!(fields(&sent.head, "transfer-encoding"), ["chunked"]);
    assert!(fields(&sent.head, "content-length").is_empty());
    let bytes = String::from_utf8_lossy(&origin.record().raw).to_ascii_lowercase();
    assert!(bytes.ends_with("\r\n0\r\nx-sum: 42\r\n\r\n"), "{bytes}");

    origin.set(Behaviour::Trailers);
    let answer = ask(&proxy, "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n").await;
    assert_eq!((answer.text().as_str(), answer.trailers.to_ascii_lowercase().as_str()), ("hello", "x-sum: 42\n"));
    assert_eq!(answer.field("transfer-encoding"), Some("chunked"));
    let head = &origin.requests(2).await[1].head;
    assert_eq!((fields(head, "te"), fields(head, "connection")), (vec!["trailers"], vec!["TE"]));
    // Who did not ask for trailers gets the body whole, without them.
    let answer = ask(&proxy, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!((answer.text().as_str(), answer.trailers.as_str(), answer.complete), ("hello", "", true));
}

#[tokio::test]
async fn an_answer_of_unknown_length_has_an_end_that_can_be_seen() {
    let origin = Origin::start(Behaviour::CloseDelimited).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let mut client = Raw::connect(proxy.address).await;
    for _ in 0..2 {
        let answer = client.get("/").await;
        assert_eq!((answer.text().as_str(), answer.complete, answer.end), ("until the end", true, End::Open));
    }
    // In HTTP/1.0 the end of the connection is the end of the message.
    for behaviour in [Behaviour::CloseDelimited, Behaviour::Trailers] {
        origin.set(behaviour);
        let answer = ask(&proxy, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
        assert_eq!((answer.field("transfer-encoding"), answer.complete, answer.end), (None, true, End::Eof));
        assert!(["until the end", "hello"].contains(&answer.text().as_str()), "{answer:?}");
    }
}

#[tokio::test]
async fn the_first_event_arrives_before_the_end() {
    for framing in ["", "Content-Length: 100\r\n"] {
        let event = format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{framing}\r\ndata: 1\n\n");
        let origin = Origin::start(raw(&event)).await; // the rest never comes
        let proxy = Proxy::unchecked(&[origin.address()], "");
        let mut client = Raw::connect(proxy.address).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        while !String::from_utf8_lossy(&client.buffer).contains("data: 1\n\n") {
            let mut chunk = [0; 1024];
            let read = tokio::time::timeout(5000 * MS, client.stream.read(&mut chunk)).await;
            let count = read.expect("an event in time").unwrap();
            assert!(count > 0, "{:?}", String::from_utf8_lossy(&client.buffer));
            client.buffer.extend_from_slice(&chunk[..count]);
        }
    }
}

/// A slow client holds its upstream back: what causeway takes in is bounded by buffers of its own and of the kernel.
#[tokio::test]
async fn a_slow_client_holds_the_upstream_back() {
    const WHOLE: usize = 50 << 20;
    let origin = Origin::start(Behaviour::Flood(WHOLE)).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let mut client = Raw::connect(proxy.address).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    // It has come to rest when nothing more was taken for a while.
    let mut taken = origin.until(|record| record.flooded > 0).await.flooded;
    loop {
        tokio::time::sleep(200 * MS).await;
        let now = origin.record().flooded;
        if now == taken {
            break;
        }
        taken = now;
    }
    // Two socket pairs of up to 6 MB each (tcp_rmem, tcp_wmem); on loopback the kernel takes about 2.5 MB for each.
    assert!(taken < 16 << 20, "{taken} bytes were taken for a client that reads nothing");
    let answer = client.response().await;
    assert_eq!((answer.body.len(), answer.complete), (WHOLE, true));
    assert_eq!(proxy.exchange(0).await.bytes_out, WHOLE as u64);
}

/// The same the other way: an upstream that reads nothing holds the client back.
#[tokio::test]
async fn an_upstream_that_reads_nothing_holds_the_client_back() {
    let origin = Origin::start(Behaviour::NeverReads).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let mut client = Raw::connect(proxy.address).await;
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 50 << 20)).await;
    let (mut written, chunk) = (0, [b'x'; 16 << 10]);
    while let Ok(count) = tokio::time::timeout(500 * MS, client.stream.write(&chunk)).await {
        written += count.unwrap();
        assert!(written < 32 << 20, "causeway swallows what nobody takes");
    }
}

#[tokio::test]
async fn a_body_over_max_body_is_413() {
    let origin = Origin::start(Behaviour::Echo).await;
    let more = "[route.small]\npath = \"/small\"\nmax_body = \"1KiB\"\n[route.rest]\n";
    let proxy = Proxy::unchecked(&[origin.address()], more);
    // By Content-Length: before any upstream is asked.
    let answer = ask(&proxy, "POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n").await;
    assert_eq!((answer.status, answer.field("connection")), (413, Some("close")));
    assert!(answer.text().contains("client_too_large") && answer.text().contains("max_body"), "{}", answer.text());
    assert_eq!(origin.record().connections, 0);
    // By what comes.
    let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
    let head = "POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = ask(&proxy, &format!("{head}{chunk}1\r\nx\r\n0\r\n\r\n")).await;
    assert_eq!((answer.status, answer.field("connection")), (413, Some("close")), "{}", answer.text());
    assert!(answer.text().contains("client_too_large"), "{}", answer.text());
    assert_eq!(origin.record().requests.len(), 0, "nothing that could pass for a whole request");
    // At the limit it passes.
    let answer = ask(&proxy, &format!("{head}{chunk}0\r\n\r\n")).await;
    assert_eq!((answer.status, answer.body.len()), (200, 1024));
    let seen = proxy.exchange(2).await;
    assert_eq!((seen.bytes_in, seen.bytes_out), (1024, 1024));
}

/// 413 and closed while 20 MB go out: the client gets the 413, every time (HTTP.md "Early answers from upstream").
#[tokio::test]
async fn an_early_refusal_is_delivered() {
    let origin = Origin::start(Behaviour::EarlyRefusal).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let chunk = vec![b'x'; 1 << 20];
    for round in 0..30 {
        let mut client = Raw::connect(proxy.address).await;
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 20 << 20)).await;
        for _ in 0..20 {
            if client.try_send(&chunk).await.is_err() {
                break; // as curl does: read what was said
            }
        }
        let answer = client.response().await;
        assert_eq!((answer.status, answer.text().as_str()), (413, "big"), "round {round}");
    }
}

/// Trailers whose end could be read in two ways end the connection, and nobody takes a later answer for that of a
/// request that was swallowed; behind others the next request is read.
#[tokio::test]
async fn nothing_is_read_behind_broken_trailers() {
    let origin = Origin::start(Behaviour::Echo).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    for (end, status) in [("0\r\n\n", 400), ("0\r\nX: y\r\n\n", 400), ("0\r\nX: y\r\n\r\n", 200)] {
        let mut client = Raw::connect(proxy.address).await;
        let post = format!("POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n{end}");
        let path = if status == 200 { "/second" } else { "/swallowed" };
        client.send(format!("{post}GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert_eq!(client.response().await.status, status, "{end:?}");
        if status == 200 {
            assert_eq!(client.response().await.status, 200, "{end:?}: the second");
        } else {
            assert!(client.try_response().await.is_err(), "{end:?}: a second answer");
        }
    }
    assert!(!origin.record().requests.iter().any(|request| request.head.contains("swallowed")));
}

/// 499 is a word of the log: a client that closed its side in the middle of its body is not answered.
#[tokio::test]
async fn who_leaves_in_the_middle_of_a_body_gets_no_answer() {
    let origin = Origin::start(Behaviour::Echo).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    for framing in ["Content-Length: 9", "Transfer-Encoding: chunked"] {
        let mut client = Raw::connect(proxy.address).await;
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n2\r\nhi\r\n")).await;
        client.finish().await;
        assert!(client.try_response().await.is_err(), "{framing}");
        assert!(client.buffer.is_empty(), "{framing}: {}", String::from_utf8_lossy(&client.buffer));
    }
    for index in 0..2 {
        let seen = proxy.exchange(index).await;
        assert_eq!((seen.status, seen.cause), (499, Some("client_closed")));
    }
}

/// The app answers while it reads; who leaves then is told of as one that left.
#[tokio::test]
async fn who_leaves_an_upload_that_is_being_answered_has_left() {
    let app = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::unchecked(&[app.local_addr().unwrap()], "");
    let mut client = Raw::connect(proxy.address).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf").await;
    let (mut upstream, _) = app.accept().await.unwrap();
    upstream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await.unwrap();
    let mut byte = [0];
    let mut seen = Vec::new();
    while !seen.ends_with(b"half\r\n") {
        AsyncReadExt::read_exact(&mut client.stream, &mut byte).await.unwrap();
        seen.push(byte[0]);
    }
    drop(client);
    let seen = proxy.exchange(0).await;
    assert_eq!((seen.status, seen.cause, seen.ended_by), (200, Some("client_closed"), EndedBy::Client));
}

#[tokio::test]
async fn who_takes_nothing_of_its_answer_is_cut_and_the_record_says_so() {
    let origin = Origin::start(Behaviour::Ok(vec![b'x'; 32 << 20])).await;
    let proxy = Proxy::with("listener.main.timeouts.body = \"300ms\"\n", &[origin.address()], "");
    let mut client = Raw::connect(proxy.address).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let seen = proxy.exchange(0).await;
    assert_eq!((seen.status, seen.cause), (200, Some("client_timeout")));
}

/// The kernel holds megabytes, and takes no more until much of that is gone: a slow reader is no silent one.
#[tokio::test]
async fn who_takes_its_answer_slowly_is_not_cut() {
    let origin = Origin::start(Behaviour::Ok(vec![b'x'; 32 << 20])).await;
    let proxy = Proxy::with("listener.main.timeouts.body = \"900ms\"\n", &[origin.address()], "");
    let mut client = Raw::connect(proxy.address).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut piece = vec![0; 64 << 10];
    let since = std::time::Instant::now();
    while since.elapsed() < Duration::from_millis(3000) {
        AsyncReadExt::read_exact(&mut client.stream, &mut piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(client);
    assert_eq!(proxy.exchange(0).await.cause, Some("client_closed"));
}

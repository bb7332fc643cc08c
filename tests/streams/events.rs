//! Each event is at the client before the next one is sent; so is each token.

use bytes::Bytes;
use h2::RecvStream;

use super::*;

const GET: &str = "GET /events HTTP/1.1\r\nHost: a.test\r\nAccept: text/event-stream\r\nAccept-Encoding: gzip\r\n\r\n";
/// `compress` is on: an event stream is none of its business.
const COMPRESSED: &str = "[route.all]\npath = \"/\"\ncompress = true\n";
const LARGE: &str = "buffers.response = \"1MiB\"\n";

/// Three events, in turn; the connection with the proxy, in hand.
async fn in_turn(app: &App, client: &mut impl Stream, framing: &str) -> TcpStream {
    client.write_all(GET.as_bytes()).await.unwrap();
    let (mut server, _) = app.asked().await;
    let framed = |event: &str| if framing == CHUNKED { chunk(event) } else { event.to_owned() };
    say(&mut server, &format!("{SSE}{framing}\r\n")).await;
    // The head alone, before there is any event.
    let head = until(client, "\r\n\r\n").await.to_ascii_lowercase();
    assert!(head.contains("content-type: text/event-stream\r\n"), "{head}");
    assert!(!head.contains("content-encoding") && !head.contains("content-length"), "{head}");
    for event in ["data: 1\n\n", "id: 7\nevent: add\ndata: 2\n\n", ": still here\n\n"] {
        say(&mut server, &framed(event)).await;
        let read = until(client, if head.contains("chunked") { "\n\n\r\n" } else { "\n\n" }).await;
        assert!(read.contains(event), "{read:?}");
    }
    server
}

#[tokio::test]
async fn an_event_is_there_before_the_next_is_sent() {
    let (app, secure) = (App::start().await, Secure::new());
    for (top, more) in [("", ""), ("", COMPRESSED), ("", LARGE)] {
        let proxy = app.proxy(top, more);
        // Chunks, and a body that only its end delimits.
        for framing in [CHUNKED, ""] {
            let mut client = plain(&proxy).await;
            drop(in_turn(&app, &mut client, framing).await);
        }
    }
    for more in ["", COMPRESSED, LARGE] {
        let proxy = app.proxy(&secure.listener(), more);
        let mut client = secure.connect(&proxy, &[]).await;
        drop(in_turn(&app, &mut client, CHUNKED).await);
    }
}

/// The next piece of a body, whatever frames it comes in.
async fn data(body: &mut RecvStream) -> Bytes {
    let data = timeout(LONG, body.data()).await.expect("not held").unwrap().unwrap();
    body.flow_control().release_capacity(data.len()).unwrap();
    data
}

#[tokio::test]
async fn so_it_is_over_http_2() {
    let (app, secure) = (App::start().await, Secure::new());
    for more in ["", COMPRESSED, LARGE] {
        let proxy = app.proxy(&secure.listener(), more);
        let stream = secure.connect(&proxy, &["h2"]).await;
        let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::get("https://a.test/events").header("accept-encoding", "gzip").body(()).unwrap();
        let (answer, _) = send.send_request(request, true).unwrap();
        let (mut server, _) = app.asked().await;
        say(&mut server, &format!("{SSE}{CHUNKED}\r\n")).await;
        let answer = timeout(LONG, answer).await.expect("not held").unwrap();
        assert!(!answer.headers().contains_key("content-encoding"));
        let mut body = answer.into_body();
        for event in ["data: 1\n\n", "data: 2\n\n"] {
            say(&mut server, &chunk(event)).await;
            assert_eq!(data(&mut body).await, event);
        }
        say(&mut server, "0\r\n\r\n").await;
        let end = timeout(LONG, body.data()).await.unwrap();
        assert!(end.is_none_or(|end| end.unwrap().is_empty()) && body.is_end_stream());
    }
}

/// What an app writes is what its client reads: one read for each write, when there is time between them.
#[tokio::test]
async fn tokens_arrive_one_by_one() {
    let app = App::start().await;
    let proxy = app.proxy("", LARGE);
    let mut client = plain(&proxy).await;
    let question = "{\"stream\":true}";
    let head = format!(
        "POST /v1/chat HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        question.len()
    );
    client.write_all((head + question).as_bytes()).await.unwrap();
    let (mut server, _) = app.asked().await;
    let mut got = vec![0; question.len()];
    server.read_exact(&mut got).await.unwrap();
    assert_eq!(got, question.as_bytes());
    say(&mut server, &format!("{SSE}{CHUNKED}\r\n")).await;
    until(&mut client, "\r\n\r\n").await;
    for number in 0..100 {
        let token = chunk(&format!("data: {{\"token\":\"{number}\"}}\n\n"));
        say(&mut server, &token).await;
        let mut read = vec![0; 1 << 10];
        let length = timeout(LONG, client.read(&mut read)).await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&read[..length]), token);
    }
    // Two in one write are not torn apart into more, and an end is an end.
    say(&mut server, "0\r\n\r\n").await;
    assert_eq!(until(&mut client, "\r\n\r\n").await, "0\r\n\r\n");
}

/// A body of known length is held until it is whole, unless the app says that it must not be.
#[tokio::test]
async fn an_app_can_ask_that_nothing_is_held() {
    let app = App::start().await;
    let proxy = app.proxy("", LARGE);
    for field in ["X-Accel-Buffering: no", "x-accel-buffering: No", "Content-Type: text/event-stream; charset=utf-8"] {
        let mut client = plain(&proxy).await;
        client.write_all(GET.as_bytes()).await.unwrap();
        let (mut server, _) = app.asked().await;
        say(&mut server, &format!("HTTP/1.1 200 OK\r\n{field}\r\nContent-Length: 10\r\n\r\n")).await;
        until(&mut client, "\r\n\r\n").await;
        for half in ["hello", "world"] {
            say(&mut server, half).await;
            assert_eq!(until(&mut client, half).await, half);
        }
    }
    // One that says nothing is held: its first half alone brings nothing.
    let mut client = plain(&proxy).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    let (mut server, _) = app.asked().await;
    say(&mut server, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await;
    let mut one = [0];
    assert!(timeout(Duration::from_millis(100), client.read(&mut one)).await.is_err());
    say(&mut server, "world").await;
    until(&mut client, "helloworld").await;
}

#[tokio::test]
async fn a_client_that_comes_back_says_where_it_was() {
    let app = App::start().await;
    let proxy = app.proxy("", "");
    let mut client = plain(&proxy).await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nLast-Event-ID: 41\r\n\r\n").await.unwrap();
    let (mut server, head) = app.asked().await;
    assert!(head.to_ascii_lowercase().contains("\r\nlast-event-id: 41\r\n"), "{head}");
    say(&mut server, "HTTP/1.1 204 No Content\r\n\r\n").await;
    assert!(until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 204 "), "it is to stay away");
}

/// An app of HTTP/1.0 streams too: its end is the connection's.
#[tokio::test]
async fn an_app_of_http_1_0_streams() {
    let app = App::start().await;
    let proxy = app.proxy("", "");
    let mut client = plain(&proxy).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    let (mut server, _) = app.asked().await;
    say(&mut server, "HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").await;
    let head = until(&mut client, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        say(&mut server, event).await;
        assert!(until(&mut client, "\n\n\r\n").await.contains(event));
    }
    drop(server);
    assert!(until(&mut client, "0\r\n\r\n").await.starts_with("0\r\n"), "a clean end");
}

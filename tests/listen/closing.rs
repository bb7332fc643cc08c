//! What is kept, what is closed, and how; bodies on both sides.

use std::io::ErrorKind;
use std::time::Instant;

use super::*;

#[tokio::test]
pub(super) async fn pipelined_requests_are_answered_in_order() {
    let mut server = start(listener()).await;
    let mut client = server.connect().await;
    client.send("GET /chunks HTTP/1.1\r\n\r\nHEAD /chunks HTTP/1.1\r\n\r\nPOST /echo HTTP/1.1\r\ncontent-length: 3\r\n\r\nabcGET /a HTTP/1.1\r\nconnection: close\r\n\r\nGET /never HTTP/1.1\r\n\r\n").await;
    let text = client.whole().await;
    assert_eq!(text.matches("HTTP/1.1 200 OK\r\n").count(), 4, "{text}");
    assert!(text.contains("3\r\none\r\n3\r\ntwo\r\n0\r\n\r\nHTTP/1.1 200 OK"), "{text}");
    assert!(text.contains("abc") && text.ends_with("\r\n\r\nok"), "{text}");
    for path in ["/chunks", "/chunks", "/echo", "/a"] {
        assert_eq!(server.logged().await, format!("called {path}"));
    }
    assert!(server.log.try_recv().is_err());
}

#[tokio::test]
pub(super) async fn the_keep_alive_clock_runs_from_the_last_answer() {
    let server = start(Listener { keep_alive: 3 * SHORT, ..listener() }).await;
    let mut client = server.connect().await;
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\n\r\n").await;
        client.until("\r\n\r\nok").await;
    }
    let since = Instant::now();
    assert_eq!(client.whole().await, "");
    assert!(since.elapsed() > 2 * SHORT, "closed after {:?}", since.elapsed());
}

#[tokio::test]
pub(super) async fn the_head_clock_runs_on_kept_connections_too() {
    let server = start(Listener { head_timeout: SHORT, ..listener() }).await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\n\r\n").await;
    client.until("\r\n\r\nok").await;
    client.send("GET /").await;
    assert!(client.whole().await.starts_with("HTTP/1.1 408 "));
}

#[tokio::test]
pub(super) async fn http10_is_closed_unless_it_asks_to_be_kept() {
    let server = start(listener()).await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await;
    let text = client.until("\r\n\r\nok").await;
    assert!(text.contains("connection: keep-alive\r\n"), "{text}");
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    let text = client.whole().await;
    assert!(text.contains("connection: close\r\n"), "{text}");

    let mut client = server.connect().await;
    client.send("GET /chunks HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await;
    let text = client.whole().await;
    assert!(text.contains("connection: close\r\n") && text.ends_with("\r\n\r\nonetwo"), "{text}");
}

#[tokio::test]
pub(super) async fn continue_is_sent_when_the_body_is_polled_and_not_before() {
    let mut server = start(listener()).await;
    let mut client = server.connect().await;
    client.send("POST /when-told HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n").await;
    assert_eq!(server.logged().await, "called /when-told");
    assert!(timeout(SHORT, client.0.read_u8()).await.is_err(), "nothing may come before the body is polled");
    server.go.notify_one();
    client.until("HTTP/1.1 100 Continue\r\n\r\n").await;
    client.send("hello").await;
    let text = client.until("told").await;
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && !text.contains("connection: close"), "{text}");
}

#[tokio::test]
pub(super) async fn a_final_answer_in_place_of_continue_closes() {
    let server = start(listener()).await;
    let mut client = server.connect().await;
    client.send("POST /early HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n").await;
    let text = client.whole().await;
    assert!(text.starts_with("HTTP/1.1 502 ") && text.contains("connection: close\r\n"), "{text}");
}

#[tokio::test]
pub(super) async fn an_early_answer_survives_a_large_upload() {
    let server = start(listener()).await;
    // As Java's HttpClient sends it: this is no upgrade yet.
    for (path, upgrade) in
        [("/early", ""), ("/early", "connection: upgrade\r\nupgrade: h2c\r\n"), ("/early-stream", "")]
    {
        let mut client = server.connect().await;
        client.send(format!("POST {path} HTTP/1.1\r\n{upgrade}content-length: 20000000\r\n\r\n")).await;
        let (mut read, mut write) = tokio::io::split(&mut client.0);
        let upload = async {
            let chunk = vec![0; 1_000_000];
            for _ in 0..20 {
                write.write_all(&chunk).await.unwrap();
            }
        };
        let mut text = String::new();
        let ((), answer) = tokio::join!(upload, read.read_to_string(&mut text));
        answer.unwrap();
        assert!(text.starts_with("HTTP/1.1 502 ") && text.contains("connection: close\r\n"), "{text}");
        assert!(text.contains("nobody"), "{text}");
    }
}

/// The last answer is out, and bytes have come that the runtime has not heard of yet: a plain close would reset.
#[tokio::test]
pub(super) async fn what_comes_with_the_last_answer_does_not_reset_it_away() {
    let mut server = start(listener()).await;
    let mut client = server.connect().await;
    client.send("GET /wait HTTP/1.1\r\nconnection: close\r\n\r\n").await;
    assert_eq!(server.logged().await, "called /wait");
    tokio::time::sleep(SHORT).await; // it was looked for more, and there was nothing
    // From here to the answer nothing looks at the sockets: the loopback has these bytes, the runtime not.
    client.0.write_at_once(b"GET /never HTTP/1.1\r\n\r\n").await;
    server.go.notify_one();
    assert!(client.whole().await.ends_with("waited"));
}

/// Who did not ask for the close may be sending already: such bytes are taken for a while.
#[tokio::test]
pub(super) async fn a_close_of_our_own_lingers() {
    let mut server = start(listener()).await;
    let mut client = server.connect().await;
    client.send("GET /wait HTTP/1.1\r\n\r\n").await;
    assert_eq!(server.logged().await, "called /wait");
    server.drain.begin();
    server.go.notify_one();
    assert!(client.whole().await.contains("connection: close\r\n"));
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\n\r\n").await; // the second would fail after a reset
    }
}

/// Asking for another protocol changes nothing of an answer that does not switch: all of it arrives, though half of the
/// body never came. Java's HttpClient asks on every new connection.
#[tokio::test]
pub(super) async fn an_answer_in_place_of_an_upgrade_is_whole() {
    let server = start(listener()).await;
    let upgrade = "upgrade: h2c\r\ncontent-length: 20\r\n\r\n";
    let mut client = server.connect().await;
    client.send(format!("POST /big-at-once HTTP/1.1\r\nconnection: upgrade\r\n{upgrade}half of it")).await;
    let text = client.whole().await;
    assert_eq!(text.split_once("\r\n\r\n").unwrap().1.len(), 8 << 20);

    let mut client = server.connect().await;
    client.send(format!("POST /echo HTTP/1.1\r\nconnection: upgrade, close\r\n{upgrade}the whole of the body")).await;
    client.send("more than was announced".repeat(1000)).await;
    assert!(client.whole().await.ends_with("the whole of the bod\r\n0\r\n\r\n"));
}

#[tokio::test]
pub(super) async fn a_broken_answer_is_never_a_whole_one() {
    let server = start(listener()).await;
    let mut client = server.connect().await;
    client.send("GET /break HTTP/1.1\r\n\r\n").await;
    let (text, end) = client.rest().await;
    assert_eq!(end.is_err(), secure::now(), "over TLS the cut is seen by itself");
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("3\r\ntwo\r\n"), "{text}");

    let mut client = server.connect().await;
    client.send("GET /break-length HTTP/1.1\r\n\r\n").await;
    let (text, end) = client.rest().await;
    assert_eq!(end.is_err(), secure::now());
    assert!(text.ends_with("\r\n\r\nonetwo"), "{text}");

    let mut client = server.connect().await;
    client.send("GET /break HTTP/1.0\r\n\r\n").await;
    let (_, end) = client.rest().await;
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
pub(super) async fn a_panic_ends_one_connection() {
    let server = start(listener()).await;
    let mut other = server.connect().await;
    other.send("GET / HTTP/1.1\r\n\r\n").await;
    other.until("ok").await;
    let mut client = server.connect().await;
    client.send("GET /panic HTTP/1.1\r\n\r\n").await;
    assert_eq!(client.whole().await, "");
    other.send("GET / HTTP/1.1\r\n\r\n").await;
    other.until("ok").await;
}

#[tokio::test]
pub(super) async fn a_silent_body_gets_408() {
    let mut server = start(Listener { body_timeout: 3 * SHORT, ..listener() }).await;
    let mut client = server.connect().await;
    client.send("POST /echo HTTP/1.1\r\ncontent-length: 9\r\n\r\n").await;
    server.logged().await;
    for _ in 0..4 {
        tokio::time::sleep(SHORT).await; // slower than the clock in all, never silent for so long
        client.send("x").await;
    }
    let text = client.whole().await;
    assert!(text.starts_with("HTTP/1.1 408 ") && text.contains("connection: close\r\n"), "{text}");
    assert!(server.logged().await.starts_with("client_timeout: "));
}

#[tokio::test]
pub(super) async fn broken_chunks_get_400() {
    let mut server = start(listener()).await;
    let mut client = server.connect().await;
    client.send("POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nzzz\r\n").await;
    let text = client.whole().await;
    assert!(text.starts_with("HTTP/1.1 400 ") && text.contains("connection: close\r\n"), "{text}");
    server.logged().await;
    assert!(server.logged().await.starts_with("client_invalid: "));
}

/// Trailers that end as they should end the body, and nothing else.
#[tokio::test]
pub(super) async fn behind_trailers_comes_the_next_request() {
    let server = start(listener()).await;
    let mut client = server.connect().await;
    let post = "POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\na: b\r\n\r\n";
    client
        .send(format!(
            "{post}{}",
            post.replace("\r\na: b", "").replace("echo HTTP/1.1", "echo HTTP/1.1\r\nconnection: close")
        ))
        .await;
    let text = client.whole().await;
    assert!(text.matches("abc").count() == 2 && text.ends_with("0\r\n\r\n"), "{text}");
}

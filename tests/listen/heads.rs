//! Heads that cannot be read are refused with a full answer, or with silence.

use super::*;

async fn refused(listener: Listener, bytes: impl AsRef<[u8]>) -> String {
    let server = start(listener).await;
    let mut client = server.connect().await;
    client.send(bytes).await;
    client.whole().await
}

#[tokio::test]
pub(super) async fn broken_heads_get_a_full_answer() {
    for (bytes, seen) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], "TLS handshake"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2 came"),
        (b"what is this\r\n\r\n", "version"),
        (b"\x00\x00\x00", "method"),
        (b"GET / HTTP/1.1\r\nhost: a\rb: c\r\n\r\n", "a field"),
        (b"GET / HTTP/1.1\r\nhost: a\r\n folded\r\n\r\n", "a field is no word"),
        (b"GET / HTTP/1.1\r\nhost : a\r\n\r\n", "a field is no word"),
        (b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n", "Content-Length"),
        (b"GET / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n", "Transfer-Encoding"),
    ] {
        let h1 = Listener { protocols: Protocols { h1: true, h2: false }, ..listener() };
        let text = refused(h1, bytes).await;
        let name = String::from_utf8_lossy(bytes);
        assert!(text.starts_with("HTTP/1.1 400 Refused\r\nConnection: close\r\n"), "{name:?}: {text}");
        assert!(text.contains("\r\n\r\nclient_invalid: ") && text.contains(seen), "{name:?}: {text}");
    }
}

#[tokio::test]
pub(super) async fn heads_that_are_too_large_name_their_limit() {
    let fields = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(21));
    let text = refused(listener(), &fields).await;
    assert!(text.starts_with("HTTP/1.1 431 ") && text.contains("more than 20 fields"), "{text}");

    let mut a_hundred = listener();
    a_hundred.fields_limit = 100;
    let text = refused(a_hundred, format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101))).await;
    assert!(text.starts_with("HTTP/1.1 431 ") && text.contains("more than 100 fields"), "{text}");

    for end in ["", "\r\n\r\n"] {
        let text = refused(listener(), format!("GET / HTTP/1.1\r\na: {}{end}", "x".repeat(9000))).await;
        assert!(text.starts_with("HTTP/1.1 431 ") && text.contains("larger than 8 KiB"), "{text}");
    }

    // Whether the end of the line was read along with it makes no difference.
    for end in ["", " HTTP/1.1\r\nhost: a\r\n\r\n"] {
        let text = refused(listener(), format!("GET /{}{end}", "x".repeat(9000))).await;
        assert!(text.starts_with("HTTP/1.1 414 ") && text.contains("longer than 8 KiB"), "{text}");
    }

    let mut huge = listener();
    huge.head_limit = 1 << 20;
    let text = refused(huge, format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000))).await;
    assert!(text.starts_with("HTTP/1.1 414 ") && text.contains("65534 bytes"), "{text}");
}

#[tokio::test]
pub(super) async fn a_large_head_within_the_limit_is_served() {
    let server = start(Listener { head_limit: 256 << 10, ..listener() }).await;
    let mut client = server.connect().await;
    client.send(format!("GET / HTTP/1.1\r\nconnection: close\r\na: {}\r\n\r\n", "x".repeat(200 << 10))).await;
    assert!(client.whole().await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
pub(super) async fn half_a_head_gets_408_and_silence_gets_nothing() {
    let hasty = || Listener { head_timeout: SHORT, ..listener() };
    let text = refused(hasty(), "GET / HTTP/1.1\r\nhost: ").await;
    assert!(text.starts_with("HTTP/1.1 408 ") && text.contains("no complete head within 200.0 ms"), "{text}");
    assert_eq!(refused(hasty(), "").await, "");
    assert_eq!(refused(hasty(), "\r\n").await, "");
}

#[tokio::test]
pub(super) async fn a_refusal_comes_after_the_answers_before_it() {
    let server = start(listener()).await;
    let mut client = server.connect().await;
    client.send("GET /big HTTP/1.1\r\n\r\nGET /chunks HTTP/1.1\r\n\r\nbroken\x00\r\n\r\n").await;
    let text = client.whole().await;
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2);
    assert!(text.contains("0\r\n\r\nHTTP/1.1 400 Refused"), "{}", &text[text.len() - 300..]);
}

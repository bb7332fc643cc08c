//! What answers a look may be anybody: its bytes are escaped, and neither many nor slow ones hold a look up.

use causeway::probe::diagnose::CLOCK;

use super::*;

const EVIL: &[u8] = b"\x1b[2J\x1b]0;owned\x07<script>alert(1)</script>\"; Proxy-Status: x\x00\xff\r\nX-Evil: 1\r\n\r\n";

/// Sends these bytes to everybody who connects, again and again with this pause, before a word is heard.
async fn shouting(bytes: &'static [u8], pause: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                while stream.write_all(bytes).await.is_ok() {
                    tokio::time::sleep(pause).await;
                }
            });
        }
    });
    address
}

async fn timed(address: SocketAddr, cause: Cause) -> (Option<Finding>, Duration) {
    let started = Instant::now();
    let found = look(&endpoint(address), cause, &[]).await;
    (found, started.elapsed())
}

#[tokio::test]
async fn escape_sequences_and_html_come_out_as_text() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Silent to HTTP, evil to those who say nothing: the failure is a timeout, and the bytes are the look's own.
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut said = [0; 512];
                let asked = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut said)).await;
                if asked.is_err() {
                    let _ = stream.write_all(EVIL).await;
                }
                while stream.read(&mut said).await.is_ok_and(|read| read > 0) {}
            });
        }
    });
    let proxy = proxy(address);
    let said = hint(&proxy, Cause::ReadTimeout).await;
    assert!(said.contains("It does not speak HTTP (\\x1b[2J\\x1b]0;owned\\x07<script>"), "{said}");
    for accept in ["text/plain", "text/html", "*/*"] {
        let mut client = Raw::connect(proxy.address).await;
        client.send(format!("GET /x HTTP/1.1\r\nHost: test\r\nAccept: {accept}\r\n\r\n")).await;
        let answer = client.response().await;
        let (head, body) = (answer.head.clone(), answer.text());
        assert!(body.contains("script"), "the bytes are told: {body}");
        assert!(!head.contains("script") && !head.contains("X-Evil"), "{head}");
        for text in [&head, &body] {
            assert!(text.chars().all(|c| matches!(c, ' '..='~' | '\n' | '\r')), "{text:?}");
        }
        assert!(accept != "text/html" || !body.contains("<script>"), "{body}");
    }
}

#[tokio::test]
async fn a_flood_and_a_drip_end_a_look_in_time() {
    const FLOOD: &[u8] = &[b'x'; 1 << 16];
    for (address, cause) in [
        (shouting(FLOOD, Duration::ZERO).await, Cause::ReadTimeout),
        (shouting(FLOOD, Duration::ZERO).await, Cause::NotHttp),
        (shouting(b"x", Duration::from_millis(20)).await, Cause::ReadTimeout),
        (shouting(b"\r\n", Duration::from_millis(1)).await, Cause::ClosedWithoutResponse),
        (shouting(b"HTTP/1.1 200 OK\r\n", Duration::from_millis(20)).await, Cause::ReadTimeout),
        (shouting(b"SSH-2.0-", Duration::from_millis(20)).await, Cause::NotHttp),
    ] {
        let (found, took) = timed(address, cause).await;
        assert!(took < CLOCK + Duration::from_secs(3), "{cause}: {took:?}");
        assert!(found.is_none_or(|found| found.sentence.len() < 600));
    }
}

#[tokio::test]
async fn an_upstream_that_never_answers_costs_the_clock_and_a_handful_of_connections() {
    let origin = Origin::start(Behaviour::Silent).await;
    for cause in [Cause::ReadTimeout, Cause::ClosedWithoutResponse, Cause::NotHttp] {
        let (_, took) = timed(origin.address(), cause).await;
        assert!(took < CLOCK + Duration::from_secs(3), "{cause}: {took:?}");
    }
    let record = origin.until(|record| record.connections > 0 && record.ended == record.connections).await;
    assert!(record.connections <= 3 * 4, "{record:?}");
}

#[tokio::test]
async fn headers_without_an_end_are_left_alone() {
    let address =
        shouting(b"HTTP/1.1 200 OK\r\nX: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n", Duration::ZERO)
            .await;
    let (found, _) = timed(address, Cause::ReadTimeout).await;
    let said = found.expect("enough is enough").sentence;
    assert!(said.contains("a new GET / gives 200"), "{said}");
}

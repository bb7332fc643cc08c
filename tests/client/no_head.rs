//! A connection, and no response head.

use std::time::Instant;

use causeway::cause::{Cause, Phase};

use super::{Bench, MS, feed, full, get, post, text};
use crate::support::origin::{Behaviour, Origin};

#[tokio::test]
async fn every_answer_that_is_none_has_its_name() {
    let origin = Origin::start(Behaviour::Silent).await;
    let mut bench = Bench::at(origin.address());
    let rows = [
        (Behaviour::CloseBeforeHead, Cause::ClosedWithoutResponse, ""),
        (Behaviour::ResetBeforeHead, Cause::ResetBeforeHead, ""),
        (Behaviour::HalfHead, Cause::TruncatedHead, "27 bytes"),
        (Behaviour::HalfHeadReset, Cause::TruncatedHead, "27 bytes"),
        (Behaviour::Garbage, Cause::NotHttp, "SSH-2.0-OpenSSH\\r\\n"),
        (Behaviour::TlsAlert, Cause::SpeaksTls, "\\x15\\x03\\x01\\x00\\x02\\x02F"),
        (Behaviour::H2Settings, Cause::SpeaksH2, "\\x00\\x00\\x06\\x04"),
        (Behaviour::RawThenClose(b"HTTP/2.0 200 OK\r\n\r\n".to_vec()), Cause::SpeaksH2, "HTTP/2.0 200 OK"),
        (Behaviour::BadHeader, Cause::InvalidHead, "field name \"Bad Name\""),
        (Behaviour::Raw(b"HTTP/1.1 99 No\r\n\r\n".to_vec()), Cause::InvalidHead, "status line HTTP/1.1 99 No"),
        (
            Behaviour::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_vec()),
            Cause::InvalidHead,
            "Content-Length 1 and 2",
        ),
    ];
    for (behaviour, cause, seen) in rows {
        origin.set(behaviour.clone());
        let failure = bench.failure(get()).await;
        assert_eq!(
            (failure.cause, failure.phase, failure.sent),
            (cause, Phase::Head, true),
            "{behaviour:?}: {failure}"
        );
        assert!(failure.seen.as_deref().unwrap_or_default().starts_with(seen), "{behaviour:?}: {:?}", failure.seen);
        assert_eq!(failure.seen.is_none(), seen.is_empty());
    }
}

#[tokio::test]
async fn a_server_that_speaks_first_is_not_http_and_nothing_was_sent_in_vain() {
    let origin = Origin::start(Behaviour::Greets(b"220 mail ready\r\n".to_vec())).await;
    let mut bench = Bench::at(origin.address());
    for _ in 0..10 {
        let failure = bench.failure(get()).await;
        assert_eq!(failure.cause, Cause::NotHttp);
        assert!(failure.seen.as_deref().unwrap().starts_with("220 mail ready"));
    }
}

#[tokio::test]
async fn a_head_just_within_the_limit_passes_and_one_byte_more_does_not() {
    let origin = Origin::start(Behaviour::Silent).await;
    let mut bench = Bench::at(origin.address());
    for (limit, text) in [(8 << 10, "8 KiB"), (64 << 10, "64 KiB"), (1 << 20, "1 MiB")] {
        bench.buffers.response_head = limit;
        origin.set(Behaviour::HeadOf(limit));
        let mut bench = Bench { buffers: bench.buffers, ..Bench::at(origin.address()) };
        assert_eq!(bench.text().await, "ok", "{text}");
        origin.set(Behaviour::HeadOf(limit + 1));
        let failure = bench.failure(get()).await;
        assert_eq!((failure.cause, failure.phase, failure.sent), (Cause::ResponseHeadTooLarge, Phase::Head, true));
        assert_eq!(failure.limit.as_deref(), Some(text));
        let over = failure.oversize.unwrap();
        assert!(if over.whole { over.size == limit as u64 + 1 } else { over.size >= limit as u64 }, "{over:?}");
        assert!(over.whole || limit > 8 << 10, "all of a small one is there at once");
        let (name, bytes) = over.largest.unwrap();
        assert!(name == "X-Fill" && bytes > limit as u64 - 100 && bytes < limit as u64, "{name}: {bytes}");
    }
    origin.set(Behaviour::Fields(256));
    assert_eq!(bench.text().await, "ok");
    origin.set(Behaviour::Fields(257));
    let failure = bench.failure(get()).await;
    assert_eq!((failure.cause, failure.limit.as_deref()), (Cause::ResponseHeadTooLarge, Some("256 fields")));
    let over = failure.oversize.unwrap();
    assert!(over.whole && over.size > 256 * 8, "{over:?}");
    assert_eq!(over.largest, Some(("Content-Length".to_owned(), 19)));
}

#[tokio::test]
async fn what_is_largest_in_a_head_is_named_and_no_value_is_told() {
    let cookies: String = (0..300).map(|n| format!("Set-Cookie: secret-{n:03}={}\r\n", "v".repeat(80))).collect();
    let head = format!("HTTP/1.1 200 OK\r\nServer: a\r\nContent-Length: 2\r\n{}\r\n", &cookies[..250 * 104]);
    let mut bench = Bench::at(Origin::free());
    for (limit, body) in [(8 << 10, "ok"), (16 << 10, "ok")] {
        let origin = Origin::start(Behaviour::Raw(format!("{head}{body}").into_bytes())).await;
        bench = Bench { buffers: bench.buffers, ..Bench::at(origin.address()) };
        bench.buffers.response_head = limit;
        let failure = bench.failure(get()).await;
        assert_eq!(failure.cause, Cause::ResponseHeadTooLarge);
        assert!(!format!("{failure:?} {failure}").contains("secret"), "{failure:?}");
        let over = failure.oversize.unwrap();
        assert!(over.size >= limit as u64 && (!over.whole || over.size == head.len() as u64), "{over:?}");
        assert_eq!(over.largest.unwrap().0, "Set-Cookie");
    }
}

/// The rest of it is far behind the beginning that other texts are made from.
#[tokio::test]
async fn what_breaks_the_rules_is_named_wherever_it_stands() {
    let origin = Origin::start(Behaviour::Silent).await;
    let mut bench = Bench::at(origin.address());
    let fill = format!("X-Fill: {}\r\n", "x".repeat(5000));
    for (line, seen) in [
        ("Bad Name: 1\r\n", "field name \"Bad Name\""),
        ("X-Nul: a\0b\r\n", "field X-Nul has \\x00 in its value"),
        ("X-Long: a\r\n  b\r\n", "field X-Long goes on in a second line"),
        ("Content-Length: 3\r\n", "Content-Length 2 and 3"),
        ("Content-Length: 2x\r\n", "Content-Length 2x"),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{fill}{line}\r\nok");
        origin.set(Behaviour::Raw(answer.into_bytes()));
        let failure = bench.failure(get()).await;
        assert_eq!((failure.cause, failure.seen.as_deref()), (Cause::InvalidHead, Some(seen)));
    }
}

#[tokio::test]
async fn silence_after_the_request_is_read_timeout() {
    let origin = Origin::start(Behaviour::Silent).await;
    let mut bench = Bench::at(origin.address());
    bench.timeouts.read = 200 * MS;
    let start = Instant::now();
    let failure = bench.failure(get()).await;
    assert_eq!((failure.cause, failure.phase, failure.sent), (Cause::ReadTimeout, Phase::Head, true));
    assert_eq!(failure.limit.as_deref(), Some("200.0 ms"));
    assert!(start.elapsed() >= 200 * MS && start.elapsed() < 2000 * MS);
    origin.until(|record| record.ended == 1).await;
}

#[tokio::test]
async fn the_read_clock_runs_from_the_last_byte_of_the_request() {
    let origin = Origin::start(Behaviour::Slow(150 * MS)).await;
    let mut bench = Bench::at(origin.address());
    bench.timeouts.read = 600 * MS;
    bench.timeouts.write = 600 * MS;
    let (sender, _, body) = feed();
    tokio::spawn(async move {
        for _ in 0..8 {
            tokio::time::sleep(100 * MS).await;
            sender.send(Ok("slow ".into())).unwrap();
        }
    });
    let start = Instant::now();
    assert_eq!(text(bench.send(post(body)).await.unwrap()).await, "ok");
    assert!(start.elapsed() >= 900 * MS, "a slow client trips no clock of the upstream");
}

#[tokio::test]
async fn an_upstream_that_takes_nothing_is_write_timeout() {
    let origin = Origin::start(Behaviour::NeverReads).await;
    let mut bench = Bench::at(origin.address());
    bench.timeouts.write = 300 * MS;
    bench.timeouts.read = 100 * MS;
    let failure = bench.failure(post(full(vec![0; 32 << 20]))).await;
    assert_eq!((failure.cause, failure.phase, failure.sent), (Cause::WriteTimeout, Phase::Request, true));
    assert_eq!(failure.limit.as_deref(), Some("300.0 ms"));
}

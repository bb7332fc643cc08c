//! Clients that mean harm: what they may cost is bounded.

use super::wire::*;
use super::*;

/// CVE-2023-44487: requests that are taken back as soon as they are made.
#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let origin = Origin::start(Behaviour::Silent).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let mut peer = Peer::connect(proxy.address).await;
    let pair = |stream: u32| {
        [frame(HEADERS, BOTH, stream, &head_of("GET", "/", &[])), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])]
    };
    let all: Vec<u8> = (0..1000).flat_map(|n| pair(2 * n + 1).concat()).collect();
    peer.bytes(&all).await;
    peer.goes_away(Reason::ENHANCE_YOUR_CALM, "all at once").await;
    assert!(origin.record().requests.len() < 100);
    // One by one, so that each has begun.
    let mut peer = Peer::connect(proxy.address).await;
    for n in 0..400 {
        peer.bytes(&pair(2 * n + 1)[0]).await;
        peer.send(PING, 0, 0, b"begun so").await;
        let Some(frame) = peer.next().await else { return };
        if frame.kind == GOAWAY {
            return assert_eq!(frame.reason(), Reason::ENHANCE_YOUR_CALM);
        }
        peer.bytes(&pair(2 * n + 1)[1]).await;
    }
    panic!("400 requests were taken back, one by one");
}

/// CVE-2024-27316: a head that never ends.
#[tokio::test]
async fn a_flood_of_continuations_ends_the_connection() {
    let origin = Origin::start(ok()).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    for (why, piece) in [("long ones", block(&[("x-a", &"v".repeat(16_000))])), ("empty ones", Vec::new())] {
        let mut peer = Peer::connect(proxy.address).await;
        peer.send(HEADERS, END_STREAM, 1, &head_of("GET", "/", &[])).await;
        let all: Vec<u8> = (0..100).flat_map(|_| frame(CONTINUATION, 0, 1, &piece)).collect();
        peer.bytes(&all).await;
        let frames = peer.rest().await;
        assert!(frames.iter().any(|frame| frame.kind == GOAWAY), "{why}: {frames:?}");
    }
    assert!(origin.record().raw.is_empty());
}

/// More than are allowed at once: those are refused, and safe to be made again.
#[tokio::test]
async fn streams_beyond_the_limit_are_refused() {
    let origin = Origin::start(Behaviour::Silent).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let mut peer = Peer::connect(proxy.address).await;
    let all: Vec<u8> = (0..130).flat_map(|n| frame(HEADERS, BOTH, 2 * n + 1, &head_of("GET", "/", &[]))).collect();
    peer.bytes(&all).await;
    let mut refused = Vec::new();
    while refused.len() < 2 {
        let reset = peer.until(RST_STREAM).await;
        assert_eq!(reset.reason(), Reason::REFUSED_STREAM);
        refused.push(reset.stream);
    }
    assert_eq!(refused, [257, 259]);
    peer.lives().await;
}

/// Requests that are no requests, over and over.
#[tokio::test]
async fn a_flood_of_malformed_requests_ends_the_connection() {
    let origin = Origin::start(ok()).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let peer = Peer::connect(proxy.address).await;
    let all: Vec<u8> = (0..3000).flat_map(|n| frame(HEADERS, BOTH, 2 * n + 1, &block(&[(":method", "GET")]))).collect();
    let (mut reading, mut writing) = peer.0.into_split();
    let writing = tokio::spawn(async move {
        let _ = tokio::io::AsyncWriteExt::write_all(&mut writing, &all).await;
        writing
    });
    let mut read = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut reading, &mut read).await;
    drop(writing.await);
    let goaway = frame(GOAWAY, 0, 0, &[]);
    assert!(read.windows(6).any(|bytes| bytes == [&goaway[3..9]].concat()), "no GOAWAY");
    assert!(origin.record().raw.is_empty());
}

/// PINGs, SETTINGS and empty DATA without end: the client must read what they bring about, and what is kept of it is
/// bounded.
#[tokio::test]
async fn floods_of_small_frames_hold_nothing() {
    let origin = Origin::start(Behaviour::Silent).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    for (why, one) in [
        ("PING", frame(PING, 0, 0, b"flooding")),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[])),
        ("unknown", frame(0x55, 0, 0, b"x")),
    ] {
        let mut peer = Peer::connect(proxy.address).await;
        for _ in 0..50 {
            peer.bytes(&one.repeat(50)).await;
        }
        // It was read to its end, or the connection ended.
        peer.send(PING, 0, 0, b"the last").await;
        loop {
            match peer.next().await {
                None => break,
                Some(frame) if frame.kind == GOAWAY || frame.payload == b"the last" => break,
                Some(frame) => assert!(matches!(frame.kind, PING | SETTINGS | WINDOW_UPDATE), "{why}: {frame:?}"),
            }
        }
    }
}

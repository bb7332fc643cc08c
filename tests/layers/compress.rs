//! Compression: what, for whom, and how it ends.

use std::io;

use compression_codecs::core::util::PartialBuffer;
use compression_codecs::{BrotliDecoder, Decode, GzipDecoder, ZstdDecoder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// As far as it goes; `true`: to the end that says that it is whole.
fn decoded(coding: &str, bytes: &[u8]) -> io::Result<(Vec<u8>, bool)> {
    fn with(mut decoder: impl Decode, bytes: &[u8]) -> io::Result<(Vec<u8>, bool)> {
        let (mut input, mut out) = (PartialBuffer::new(bytes), Vec::new());
        loop {
            let mut piece = PartialBuffer::new(vec![0; 4096]);
            let done = decoder.decode(&mut input, &mut piece)?;
            let came = piece.written_len();
            out.extend_from_slice(piece.written());
            if done || (input.unwritten().is_empty() && came < 4096) {
                return Ok((out, done));
            }
        }
    }
    match coding {
        "gzip" => with(GzipDecoder::new(), bytes),
        "br" => with(BrotliDecoder::new(), bytes),
        "zstd" => with(ZstdDecoder::new(), bytes),
        other => panic!("{other}"),
    }
}

/// Text that shrinks, but not to nothing.
fn text(length: usize) -> Vec<u8> {
    let words = ["causeway ", "upstream ", "listener ", "route ", "pool\n"];
    let mut state = 7_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        words[(state >> 16) as usize % words.len()]
    };
    let mut out = String::new();
    while out.len() < length {
        out.push_str(next());
    }
    out.truncate(length);
    out.into_bytes()
}

const JSON: &str = "200 OK\r\nContent-Type: application/json\r\nETag: \"v1\"\r\nAccept-Ranges: bytes";

#[tokio::test]
async fn each_client_gets_what_it_takes() {
    // Held whole; and longer than what is held.
    for length in [2000, 300_000] {
        let body = text(length);
        let origin = answering(JSON, &body).await;
        let proxy = proxy(&origin, "compress = true");
        for (accept, wanted) in [
            ("gzip", Some("gzip")),
            ("gzip, deflate, br", Some("br")),
            ("gzip, deflate, br, zstd", Some("zstd")),
            ("br;q=0.5, gzip", Some("gzip")),
            ("gzip;q=0", None),
            ("identity;q=0", None),
            ("deflate", None),
        ] {
            let answer = get(&proxy, &format!("Accept-Encoding: {accept}\r\n")).await;
            assert_eq!((answer.status, answer.field("content-encoding")), (200, wanted), "{accept}: {answer:?}");
            assert!(answer.complete && answer.field("vary") == Some("Accept-Encoding"), "{accept}");
            let Some(coding) = wanted else {
                assert_eq!((answer.field("etag"), answer.body == body), (Some("\"v1\""), true), "{accept}");
                continue;
            };
            assert_eq!((answer.field("etag"), answer.field("accept-ranges")), (Some("W/\"v1\""), None));
            assert!(answer.body.len() < body.len() / 2, "{accept}: {} of {}", answer.body.len(), body.len());
            let (out, whole) = decoded(coding, &answer.body).unwrap();
            assert!(out == body && whole, "{accept}: {} of {}", out.len(), body.len());
            // The log tells what the client got.
            let seen = proxy.exchanges().pop();
            assert!(seen.is_none_or(|seen| seen.bytes_out <= body.len() as u64));
        }
        assert_eq!(get(&proxy, "").await.field("content-encoding"), None);
    }
}

#[tokio::test]
async fn the_log_counts_what_went_out() {
    let body = text(300_000);
    let origin = answering(JSON, &body).await;
    let proxy = proxy(&origin, "compress = true");
    let answer = get(&proxy, "Accept-Encoding: gzip\r\n").await;
    assert_eq!(proxy.exchange(0).await.bytes_out, answer.body.len() as u64);
}

#[tokio::test]
async fn head_says_what_get_would() {
    let origin = answering(JSON, &text(5000)).await;
    let proxy = proxy(&origin, "compress = true");
    let get = get(&proxy, "Accept-Encoding: gzip\r\n").await;
    origin.set(Behaviour::Raw(format!("HTTP/1.1 {JSON}\r\nContent-Length: 5000\r\n\r\n").into_bytes()));
    let head = ask(&proxy, "HEAD /x?y HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n").await;
    for field in ["content-encoding", "vary", "etag", "content-type", "accept-ranges"] {
        assert_eq!(head.field(field), get.field(field), "{field}: {head:?}");
    }
    assert_eq!(head.field("content-length"), None, "{head:?}");
    // Its name is the same where nothing changed.
    origin.set(Behaviour::Raw(b"HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\n\r\n".to_vec()));
    let same = super::get(&proxy, "Accept-Encoding: gzip\r\nIf-None-Match: W/\"v1\"\r\n").await;
    assert_eq!((same.status, same.field("etag")), (304, Some("W/\"v1\"")));
}

#[tokio::test]
async fn what_would_not_gain_or_may_not_change_stays_as_it_is() {
    let body = text(5000);
    for head in [
        "200 OK\r\nContent-Type: image/png",
        "200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip",
        "200 OK\r\nContent-Type: text/plain\r\nCache-Control: public, no-transform",
        "206 Partial Content\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-4999/9000",
        "200 OK\r\nContent-Type: text/event-stream",
        "200 OK\r\nContent-Type: application/grpc",
        "200 OK\r\nX-Nothing: said",
    ] {
        let origin = answering(&format!("{head}\r\nETag: \"v1\""), &body).await;
        let proxy = proxy(&origin, "compress = true");
        let answer = get(&proxy, "Accept-Encoding: gzip, br, zstd\r\n").await;
        assert!(answer.body == body && answer.field("etag") == Some("\"v1\""), "{head}: {answer:?}");
        assert_eq!(answer.field("content-length"), Some("5000"), "{head}");
        assert_eq!(answer.field("vary"), None, "{head}");
    }
    let origin = answering(JSON, &text(1000)).await;
    let answer = get(&proxy(&origin, "compress = true"), "Accept-Encoding: gzip\r\n").await;
    assert_eq!((answer.field("content-encoding"), answer.field("content-length")), (None, Some("1000")));
    // Nobody asked for it.
    let origin = answering(JSON, &body).await;
    let answer = get(&proxy(&origin, ""), "Accept-Encoding: gzip\r\n").await;
    assert_eq!((answer.field("content-encoding"), answer.field("vary")), (None, None));
}

#[tokio::test]
async fn answers_of_the_config_are_compressed_and_errors_are_not() {
    let long = "x".repeat(3000);
    let text = format!("[route.shop]\ncompress = true\nrespond = {{ body = \"{long}\" }}\n");
    let answer = get(&Proxy::start(&text), "Accept-Encoding: br\r\n").await;
    assert_eq!(answer.field("content-encoding"), Some("br"), "{answer:?}");
    assert_eq!(decoded("br", &answer.body).unwrap(), (long.into_bytes(), true));
    let proxy = Proxy::unchecked(&[Origin::nobody()], "[route.shop]\ncompress = true\n");
    let answer = get(&proxy, "Accept-Encoding: br\r\nAccept: text/html\r\n").await;
    assert_eq!((answer.status, answer.field("content-encoding")), (502, None), "{answer:?}");
}

#[tokio::test]
async fn a_body_that_breaks_never_looks_whole() {
    for coding in ["gzip", "br", "zstd"] {
        let body = text(200_000);
        for framing in ["Content-Length: 300000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n30d40\r\n"] {
            let head = format!("HTTP/1.1 {JSON}\r\n{framing}");
            let origin = Origin::start(Behaviour::RawThenClose([head.as_bytes(), &body].concat())).await;
            let proxy = proxy(&origin, "compress = true");
            let answer = get(&proxy, &format!("Accept-Encoding: {coding}\r\n")).await;
            assert_eq!((answer.status, answer.complete), (200, false), "{coding} {framing}");
            let (out, whole) = decoded(coding, &answer.body).unwrap();
            assert!(!whole && body.starts_with(&out), "{coding} {framing}");
            assert_eq!(proxy.exchange(0).await.cause, Some("truncated_body"), "{coding} {framing}");
        }
    }
}

/// Reads on until the chunks so far decode to this.
async fn until(client: &mut Raw, coding: &str, wanted: &[u8]) {
    let mut piece = [0; 4096];
    let there = async {
        loop {
            let count = client.stream.read(&mut piece).await.unwrap();
            assert!(count > 0, "the end came first");
            client.buffer.extend_from_slice(&piece[..count]);
            let Some(at) = client.buffer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
            let out = decoded(coding, &dechunked(&client.buffer[at + 4..])).map(|(out, _)| out).unwrap_or_default();
            if out == wanted {
                return;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), there).await.expect("it comes within a moment");
}

fn dechunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(at) = bytes.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..at]).unwrap(), 16).unwrap();
        let Some(data) = bytes.get(at + 2..at + 2 + size) else { break };
        out.extend_from_slice(data);
        bytes = bytes.get(at + 4 + size..).unwrap_or_default();
    }
    out
}

#[tokio::test]
async fn what_comes_slowly_goes_on_at_once() {
    for coding in ["gzip", "br", "zstd"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = Proxy::unchecked(&[address], "[route.shop]\ncompress = true\n");
        let mut client = Raw::connect(proxy.address).await;
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {coding}\r\n\r\n")).await;
        let (mut app, _): (TcpStream, _) = listener.accept().await.unwrap();
        let mut asked = [0; 4096];
        assert!(app.read(&mut asked).await.unwrap() > 0);
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";
        app.write_all(head).await.unwrap();
        let mut sent = Vec::new();
        for line in ["one\n", "two\n", "three\n"] {
            app.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes()).await.unwrap();
            sent.extend_from_slice(line.as_bytes());
            // Nothing more comes from the app before this has arrived.
            until(&mut client, coding, &sent).await;
        }
        app.write_all(b"0\r\n\r\n").await.unwrap();
        let answer = client.response().await;
        assert!(answer.complete && answer.field("content-encoding") == Some(coding));
        assert_eq!(decoded(coding, &answer.body).unwrap(), (sent, true));
    }
}

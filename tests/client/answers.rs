//! What passes, and in which shapes.

use causeway::cause::Cause;
use causeway::cause::Phase;
use http::Request;
use http_body::Body as _;
use http_body_util::BodyExt;

use super::{Bench, feed, full, post, text};
use crate::support::origin::{Behaviour, Origin};

#[tokio::test]
async fn a_plain_exchange_passes_and_keeps_its_connection() {
    let origin = Origin::start(Behaviour::Ok(b"hello".to_vec())).await;
    let mut bench = Bench::at(origin.address());
    let response = bench.get().await.unwrap();
    assert_eq!((response.status().as_u16(), response.body().size_hint().exact()), (200, Some(5)));
    assert_eq!((bench.progress.reused(), bench.progress.sent(), bench.progress.phase()), (false, true, Phase::Body));
    assert!(bench.progress.connect().is_some());
    assert_eq!(text(response).await, "hello");
    for _ in 0..10 {
        assert_eq!(bench.text().await, "hello");
        assert!(bench.progress.reused() && bench.progress.connect().is_none());
    }
    let record = origin.record();
    assert_eq!((record.connections, record.requests.len()), (1, 11));
    assert!(record.requests[0].head.starts_with("GET /path?query HTTP/1.1\r\nhost: origin\r\n"));
}

#[tokio::test]
async fn every_shape_of_answer_passes_and_those_with_an_end_keep_the_connection() {
    let origin = Origin::start(Behaviour::Ok(vec![])).await;
    let mut bench = Bench::at(origin.address());
    assert!(bench.get().await.unwrap().body().is_end_stream());
    for code in [204, 304, 404, 500, 503] {
        origin.set(Behaviour::Status(code));
        assert_eq!(bench.get().await.unwrap().into_body().collect().await.map(|_| ()).map_err(|f| f.cause), Ok(()));
    }
    let head = Request::head("/").header("host", "origin").body(full("")).unwrap();
    origin.set(Behaviour::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_vec()));
    let response = bench.send(head).await.unwrap();
    assert_eq!(response.headers()["content-length"], "5");
    assert!(response.body().is_end_stream());
    drop(response);
    origin.set(Behaviour::Trailers);
    let collected = bench.get().await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-sum"], "42");
    assert_eq!(collected.to_bytes(), "hello");
    origin.set(Behaviour::EarlyHints);
    assert_eq!(bench.text().await, "ok");
    origin.set(Behaviour::CloseDelimited);
    assert_eq!(bench.text().await, "until the end");
    assert_eq!(origin.record().connections, 2, "an answer to HEAD that speaks of a body ends its connection");
    origin.set(Behaviour::Ok(vec![]));
    bench.text().await;
    assert_eq!(origin.record().connections, 3, "a close-delimited answer ends its connection");
}

#[tokio::test]
async fn two_framings_are_refused_and_so_are_two_lengths() {
    for (framing, seen) in [
        ("Content-Length: 3\r\nTransfer-Encoding: chunked", "both Content-Length and Transfer-Encoding"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 3", "both Content-Length and Transfer-Encoding"),
        ("Content-Length: 3\r\nContent-Length: 5", "Content-Length 3 and 5"),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        let origin = Origin::start(Behaviour::Raw(answer.into_bytes())).await;
        let failure = Bench::at(origin.address()).get().await.unwrap_err();
        assert_eq!((failure.cause, failure.phase, failure.sent), (Cause::InvalidHead, Phase::Head, true), "{framing}");
        assert_eq!(failure.seen.as_deref(), Some(seen));
        origin.until(|record| record.ended == 1).await;
    }
}

#[tokio::test]
async fn bodies_go_up_whole_with_a_length_or_in_chunks() {
    let origin = Origin::start(Behaviour::Echo).await;
    let mut bench = Bench::at(origin.address());
    let large = vec![b'x'; 3 << 20];
    let response = bench.send(post(full(large.clone()))).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), large.len());
    for method in ["POST", "GET", "DELETE"] {
        let (sender, _, body) = feed();
        sender.send(Ok("one ".into())).unwrap();
        sender.send(Ok("two".into())).unwrap();
        drop(sender);
        let request = Request::builder().method(method).uri("/").header("host", "origin").body(body).unwrap();
        assert_eq!(text(bench.send(request).await.unwrap()).await, "one two", "{method}");
    }
    assert_eq!(origin.record().connections, 1);
}

/// What an app wrongly sends after its answer to HEAD must not be the answer of the next client.
#[tokio::test]
async fn a_body_behind_an_answer_to_head_reaches_nobody() {
    let origin = Origin::start(Behaviour::Raw(
        b"HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL".to_vec(),
    ))
    .await;
    let mut bench = Bench::at(origin.address());
    let head = Request::head("/").header("host", "origin").body(full("")).unwrap();
    assert_eq!(bench.send(head).await.unwrap().status(), 200);
    origin.set(Behaviour::Ok(b"mine".to_vec()));
    assert_eq!(bench.text().await, "mine");
}

#[tokio::test]
async fn a_transfer_coding_that_is_not_chunked_alone_is_refused() {
    for coding in ["gzip, chunked", "chunked, chunked", "gzip", "identity"] {
        let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        let origin = Origin::start(Behaviour::RawThenClose(answer.into_bytes())).await;
        let failure = Bench::at(origin.address()).get().await.unwrap_err();
        assert_eq!((failure.cause, failure.sent), (Cause::InvalidHead, true), "{coding}");
    }
}

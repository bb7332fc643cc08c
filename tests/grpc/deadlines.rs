//! `grpc-timeout`: kept, answered with a status, passed on with what is left of it, and blamed on nobody.

use std::time::{Duration, Instant};

use bytes::Bytes;
use causeway::health::State;
use http::Response;

use crate::support::h2::{Streams, trailers};
use crate::support::origin::{Behaviour, Origin};
use crate::support::proxy::Proxy;
use crate::support::raw::{self, Raw};

async fn call(proxy: &Proxy, timeout: &str, more: &str) -> raw::Response {
    let mut client = Raw::connect(proxy.address).await;
    let fields = format!("Content-Type: application/grpc\r\nTE: trailers\r\ngrpc-timeout: {timeout}\r\n{more}");
    client.send(format!("POST /a.B/C HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: 5\r\n\r\n\0\0\0\0\0")).await;
    client.response().await
}

#[tokio::test]
async fn a_call_ends_with_its_own_limit_and_nobody_is_blamed() {
    let (app, other) = (Origin::start(Behaviour::Silent).await, Origin::start(Behaviour::Silent).await);
    let more = "passive = { gateway_failures = 1, connect_failures = 1 }\n";
    let proxy = Proxy::unchecked(&[app.address(), other.address()], more);
    for index in 0..6 {
        let answer = call(&proxy, "50m", "").await;
        assert_eq!((answer.status, answer.field("grpc-status"), answer.complete), (200, Some("4"), true), "{answer:?}");
        let said = answer.field("grpc-message").unwrap();
        assert!(said.contains("the client's own limit, 50 ms, is over (grpc-timeout)"), "{said}");
        let seen = proxy.exchange(index).await;
        assert_eq!((seen.status, seen.cause, seen.attempts.len()), (408, Some("client_timeout"), 1), "{seen:?}");
    }
    let pool = &proxy.server().pools()[0];
    for upstream in pool.members().iter() {
        assert_eq!(upstream.health.state(), State::Ready);
        assert_eq!(upstream.health.snapshot(Instant::now()).traffic_failure, None);
    }
    app.until(|record| record.ended == record.connections).await;
}

#[tokio::test]
async fn the_smaller_limit_counts_and_nonsense_is_none() {
    let app = Origin::start(Behaviour::Silent).await;
    let proxy = Proxy::unchecked(&[app.address()], "timeouts = { request = \"150ms\", read = \"100ms\" }\n");
    for (timeout, cause) in
        [("20m", "client_timeout"), ("0n", "client_timeout"), ("9S", "read_timeout"), ("soon", "read_timeout")]
    {
        let answer = call(&proxy, timeout, "").await;
        assert_eq!(answer.field("grpc-status"), Some("4"), "{answer:?}");
        assert_eq!(proxy.exchanges().last().unwrap().cause, Some(cause), "{timeout}");
    }
    // It is a limit of gRPC alone.
    let mut client = Raw::connect(proxy.address).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\ngrpc-timeout: 1n\r\nContent-Length: 0\r\n\r\n").await;
    assert!(client.response().await.text().contains("read_timeout"));
}

#[tokio::test]
async fn an_attempt_that_follows_has_what_is_left() {
    let (slow, good) = (Origin::start(Behaviour::Silent).await, Origin::start(Behaviour::Ok(b"ok".to_vec())).await);
    let more = "balance = \"round_robin\"\ntimeouts.read = \"300ms\"\nretry.idempotency_key = true\n";
    let proxy = Proxy::unchecked(&[slow.address(), good.address()], more);
    let timeouts = |origin: &Origin| -> Vec<String> {
        let value = |head: &str| head.split("grpc-timeout: ").nth(1).unwrap().lines().next().unwrap().to_owned();
        origin.record().requests.iter().map(|request| value(&request.head)).collect()
    };
    for _ in 0..2 {
        assert_eq!(call(&proxy, "10S", "Idempotency-Key: a\r\n").await.text(), "ok");
    }
    let (first, second) = (timeouts(&slow), timeouts(&good));
    assert!(!first.is_empty() && first.iter().all(|time| time == "10S"), "as it came: {first:?}");
    let left: Vec<u32> = second.iter().filter_map(|time| time.strip_suffix('u')?.parse().ok()).collect();
    assert_eq!(left.len(), first.len(), "{second:?}");
    assert!(left.iter().all(|left| (5_000_000..=9_700_000).contains(left)), "{left:?}");
}

/// A stream that runs on when its client's time is over is cut, also for a client that has not noticed.
#[tokio::test]
async fn a_stream_that_outlasts_its_limit_is_cut() {
    let server = Streams::start(100, |_, mut answer| async move {
        let response = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
        let mut send = answer.send_response(response, false).unwrap();
        while send.send_data(Bytes::from_static(b"\0\0\0\0\x01x"), false).is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if std::future::poll_fn(|cx| std::task::Poll::Ready(send.poll_reset(cx).is_ready())).await {
                return;
            }
        }
        drop(send.send_trailers(trailers(&[("grpc-status", "0")])));
    })
    .await;
    let proxy =
        Proxy::start(&format!("[pool.app]\nupstreams = [\"h2c://{}\"]\nhealth.type = \"off\"\n", server.address()));
    let answer = call(&proxy, "100m", "").await;
    assert_eq!((answer.status, answer.complete), (200, false));
    let seen = proxy.exchange(0).await;
    assert_eq!((seen.status, seen.cause), (200, Some("client_timeout")));
}

/// Neither side is told of a fault: its time is over, and that is all.
#[tokio::test]
async fn a_stream_that_is_cut_is_cancelled_on_both_sides() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let server = Streams::start(100, move |_, mut answer| {
        let tell = tell.clone();
        async move {
            let response = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
            let mut send = answer.send_response(response, false).unwrap();
            send.send_data(Bytes::from_static(b"\0\0\0\0\x01x"), false).unwrap();
            tell.send(std::future::poll_fn(|cx| send.poll_reset(cx)).await.unwrap()).unwrap();
        }
    })
    .await;
    let proxy =
        Proxy::start(&format!("[pool.app]\nupstreams = [\"h2c://{}\"]\nhealth.type = \"off\"\n", server.address()));
    let stream = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
    let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post("http://a/b.C/D").header("content-type", "application/grpc");
    let request = request.header("te", "trailers").header("grpc-timeout", "100m").body(()).unwrap();
    let (answer, mut body) = send.send_request(request, false).unwrap();
    body.send_data(Bytes::from_static(b"\0\0\0\0\0"), true).unwrap();
    let mut recv = answer.await.unwrap().into_body();
    assert_eq!(recv.data().await.unwrap().unwrap(), "\0\0\0\0\x01x");
    let end = recv.data().await.unwrap().unwrap_err();
    assert!(end.is_reset() && end.reason() == Some(h2::Reason::CANCEL), "{end:?}");
    assert_eq!(told.recv().await, Some(h2::Reason::CANCEL));
}

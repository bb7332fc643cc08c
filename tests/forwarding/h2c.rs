//! Requests that come by HTTP/1.1 and go out by HTTP/2: the whole way through the proxy.

use bytes::Bytes;
use causeway::health::State;
use http::Response;

use crate::support::h2::{Fault, Frames, REFUSED_STREAM, Streams, trailers};
use crate::support::origin::{Behaviour, Origin};
use crate::support::proxy::Proxy;
use crate::support::raw::Raw;

fn proxy(upstreams: &[std::net::SocketAddr], more: &str) -> Proxy {
    let list: Vec<String> = upstreams.iter().map(|address| format!("\"h2c://{address}\"")).collect();
    Proxy::start(&format!("[pool.app]\nupstreams = [{}]\nhealth.type = \"off\"\n{more}", list.join(", ")))
}

#[tokio::test]
async fn requests_of_http_1_reach_an_upstream_of_http_2() {
    let origin = Streams::echo().await;
    let proxy = proxy(&[origin.address()], "[errors]\nproxy_status = \"all\"\n");
    let mut client = Raw::connect(proxy.address).await;
    for n in 0..3 {
        let body = "x".repeat(100_000 * n);
        let head = format!("POST /a?b HTTP/1.1\r\nHost: shop.example\r\nContent-Length: {}\r\n\r\n", body.len());
        client.send(head + &body).await;
        let answer = client.response().await;
        assert_eq!((answer.status, answer.body.len(), answer.complete), (200, body.len(), true));
        assert_eq!(answer.field("got"), Some("POST http://shop.example/a?b HTTP/2.0"));
        assert_eq!(answer.field("got-x-forwarded-host"), Some("shop.example"));
        assert!(answer.field("proxy-status").unwrap().contains("; next-protocol=h2c; "), "{answer:?}");
    }
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n").await;
    let answer = client.response().await;
    assert_eq!((answer.text().as_str(), answer.field("got-te")), ("hi", Some("trailers")));
    assert!(answer.trailers.to_ascii_lowercase().contains("x-sum: 7"), "{answer:?}");
}

/// gRPC as a client of HTTP/1.1 can see it: the message, and the status in the trailers of the chunks, where they are
/// announced.
#[tokio::test]
async fn grpc_has_its_status_behind_the_message() {
    let origin = Streams::start(100, |request, mut answer| async move {
        assert_eq!((&request.headers()["te"], request.method()), (&"trailers".parse().unwrap(), &http::Method::POST));
        let response = Response::builder()
            .header("content-type", "application/grpc")
            .header("trailer", "grpc-status, grpc-message")
            .body(())
            .unwrap();
        let mut send = answer.send_response(response, false).unwrap();
        send.send_data(Bytes::from_static(b"\0\0\0\0\x02hi"), false).unwrap();
        send.send_trailers(trailers(&[("grpc-status", "5"), ("grpc-message", "no such cart")])).unwrap();
    })
    .await;
    let proxy = proxy(&[origin.address()], "");
    let mut client = Raw::connect(proxy.address).await;
    client.send("POST /shop.Cart/Get HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nTE: trailers\r\nConnection: TE\r\nContent-Length: 5\r\n\r\n\0\0\0\0\0").await;
    let answer = client.response().await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b"\0\0\0\0\x02hi"[..]));
    let trailers = answer.trailers.to_ascii_lowercase();
    assert!(trailers.contains("grpc-status: 5") && trailers.contains("grpc-message: no such cart"), "{trailers}");
}

#[tokio::test]
async fn a_stream_that_was_refused_goes_elsewhere_whatever_the_method() {
    let (bad, good) = (Frames::start(Fault::Reset(REFUSED_STREAM)).await, Streams::echo().await);
    let more = "balance = \"round_robin\"\n[errors]\ndetail = \"full\"\n";
    let proxy = proxy(&[bad.address(), good.address()], more);
    let mut client = Raw::connect(proxy.address).await;
    for _ in 0..4 {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").await;
        assert_eq!(client.response().await.text(), "hi");
    }
    assert!(bad.record().requests >= 1);
    // One that was reset for another reason does not.
    bad.set(Fault::Reset(2));
    let mut failed = 0;
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").await;
        let answer = client.response().await;
        if answer.status == 502 {
            failed += 1;
            let said = answer.text();
            assert!(
                said.contains("\"cause\": \"h2_protocol_error\"") && said.contains("RST_STREAM with INTERNAL_ERROR"),
                "{said}"
            );
            assert!(answer.field("proxy-status").unwrap().contains("; next-protocol=h2c; "), "{answer:?}");
        }
    }
    assert_eq!(failed, 1);
}

/// A connection that leaves in order as the request arrives blames nobody, though there is nobody else to ask.
#[tokio::test]
async fn a_connection_that_leaves_is_replaced() {
    let origin = Frames::start(Fault::Ok("ok")).await;
    let proxy = proxy(&[origin.address()], "");
    let mut client = Raw::connect(proxy.address).await;
    assert_eq!(client.get("/").await.text(), "ok");
    for fault in [Fault::Disowns(0), Fault::Drops { reset: false }] {
        origin.set(fault);
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        origin.until(|record| record.requests % 2 == 0).await;
        origin.set(Fault::Ok("ok"));
        let answer = client.response().await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    }
}

#[tokio::test]
async fn an_upgrade_and_a_wrong_scheme_say_what_to_write() {
    let streams = Streams::echo().await;
    let full = "[errors]\ndetail = \"full\"\n";
    let upgrades = proxy(&[streams.address()], full);
    let mut client = Raw::connect(upgrades.address).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    let answer = client.response().await;
    assert_eq!(answer.status, 502);
    assert!(
        answer.text().contains("upgrade_failed") && answer.text().contains("takes no WebSockets that way"),
        "{}",
        answer.text()
    );

    let origin = Origin::start(Behaviour::Status(400)).await;
    let wrong = proxy(&[origin.address()], full);
    let mut client = Raw::connect(wrong.address).await;
    let answer = client.get("/").await;
    let hint = format!("Write \\\"http://{}\\\" in upstreams", origin.address());
    assert!(answer.status == 502 && answer.text().contains(&hint), "{}", answer.text());
}

#[tokio::test]
async fn checks_ask_over_http_2() {
    let origin = Streams::echo().await;
    let address = origin.address();
    let bad = Frames::start(Fault::Status(503)).await;
    for (address, state) in [(address, State::Ready), (bad.address(), State::Evicted)] {
        let proxy = Proxy::start(&format!("[pool.app]\nupstreams = [\"h2c://{address}\"]\nhealth.path = \"/hz\"\n"));
        proxy.until(0, state).await;
    }
    bad.until(|record| record.ended >= 1).await;
}

/// No stream is waited for at one upstream while another is idle; and where there is no other, it is.
#[tokio::test]
async fn where_all_streams_are_taken_another_upstream_is_asked() {
    const MOST: usize = 32; // connections, of one stream each
    let freed = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let held = std::sync::Arc::clone(&freed);
    let full = Streams::start(1, move |_, mut answer| {
        let held = std::sync::Arc::clone(&held);
        async move {
            held.acquire().await.unwrap().forget();
            drop(answer.send_response(Response::new(()), true));
        }
    })
    .await;
    let idle = Streams::start(100, |_, mut answer| async move {
        drop(answer.send_response(Response::builder().status(201).body(()).unwrap(), true));
    })
    .await;
    let more = format!(
        "[pool.app]\nupstreams = [\"h2c://{}\", \"h2c://{}\"]\nhealth.type = \"off\"\nbalance = \"round_robin\"\n",
        full.address(),
        idle.address()
    );
    let proxy = Proxy::changed_file(&more, |config| config.workers = std::num::NonZeroUsize::new(1));
    let mut waiting = Vec::new();
    let mut answered = 0;
    for _ in 0..2 * MOST + 20 {
        let mut client = Raw::connect(proxy.address).await;
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
        // One at a time: who has its stream at the full one answers nothing.
        match tokio::time::timeout(std::time::Duration::from_millis(200), client.response()).await {
            Ok(answer) => {
                assert_eq!(answer.status, 201);
                answered += 1;
            }
            Err(_) => waiting.push(client),
        }
    }
    assert_eq!((waiting.len(), answered), (MOST, MOST + 20));
    let seen = proxy.exchanges();
    let moved = seen.iter().filter(|seen| seen.attempts.len() == 2).collect::<Vec<_>>();
    assert_eq!(moved.len(), 20, "{seen:?}");
    assert!(moved.iter().all(|seen| seen.attempts[0].1 == "upstream_busy" && seen.status == 201), "{moved:?}");
    for upstream in proxy.server().pools()[0].members().iter() {
        assert_eq!(upstream.health.state(), State::Ready);
    }
    freed.add_permits(MOST);
    for mut client in waiting {
        assert_eq!(client.response().await.status, 200);
    }
}

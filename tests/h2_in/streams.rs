//! Exchanges by a real client: many at once, large, with trailers, answered early, broken off by either side.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::h2::{Streams, trailers};

use super::*;

/// A body of these bytes, in pieces.
async fn give(body: &mut h2::SendStream<Bytes>, mut data: Bytes, end: bool) -> Result<(), h2::Error> {
    while !data.is_empty() {
        body.reserve_capacity(data.len());
        let Some(room) = std::future::poll_fn(|cx| body.poll_capacity(cx)).await else {
            return Err(Reason::CANCEL.into());
        };
        let room = room?;
        let piece = data.split_to(room.min(data.len()));
        body.send_data(piece, end && data.is_empty())?;
    }
    Ok(())
}

#[tokio::test]
async fn many_streams_at_once() {
    let origin = Origin::start(Behaviour::Echo).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let send = client(&proxy).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..96_u8 {
        let mut send = send.clone().ready().await.unwrap();
        tasks.spawn(async move {
            let (answer, mut body) = send.send_request(post("/"), false).unwrap();
            let data = Bytes::from(vec![number; 1000 + 997 * usize::from(number)]);
            give(&mut body, data.clone(), true).await.unwrap();
            let (answer, _) = whole(answer.await.unwrap()).await.unwrap();
            assert_eq!((answer.status().as_u16(), answer.body() == &data), (200, true), "{number}");
        });
    }
    tasks.join_all().await;
    assert_eq!(proxy.exchanges().len(), 96);
}

#[tokio::test]
async fn large_bodies_pass_both_ways() {
    let origin = Origin::start(Behaviour::Echo).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let mut send = client(&proxy).await.ready().await.unwrap();
    let data: Bytes = (0..20_000_000_u32).map(|n| (n % 251) as u8).collect::<Vec<_>>().into();
    let (answer, mut body) = send.send_request(post("/"), false).unwrap();
    let (given, answer) = tokio::join!(give(&mut body, data.clone(), true), async { whole(answer.await?).await });
    given.unwrap();
    assert!(answer.unwrap().0.into_body() == data);
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let origin = Origin::start(raw(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: grpc-status\r\n\r\n2\r\nhi\r\n0\r\ngrpc-status: 0\r\nX-Sum: 42\r\n\r\n",
    ))
    .await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let mut send = client(&proxy).await.ready().await.unwrap();
    let (answer, mut body) = send.send_request(post("/"), false).unwrap();
    body.send_data("hello".into(), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "7".parse().unwrap());
    trailers.insert("x-forwarded-for", "6.6.6.6".parse().unwrap());
    body.send_trailers(trailers).unwrap();
    let (answer, trailers) = whole(answer.await.unwrap()).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.body().as_ref()), (200, &b"hi"[..]));
    let trailers = trailers.unwrap();
    assert_eq!(
        (trailers.len(), &trailers["grpc-status"], &trailers["x-sum"]),
        (2, &"0".parse().unwrap(), &"42".parse().unwrap())
    );
    let text = sent(&origin);
    assert!(text.contains("\r\ntransfer-encoding: chunked\r\n"), "{text}");
    assert!(text.ends_with("5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n"), "{text}");
}

/// Over HTTP/2 a body may have a length and trailers (RFC 9113 §8.1), and a short one of known length is held.
#[tokio::test]
async fn trailers_behind_a_body_of_known_length_arrive() {
    let origin = Streams::start(100, |_, mut answer| async move {
        let head = Response::builder().header("content-type", "application/grpc").header("content-length", "7");
        let mut send = answer.send_response(head.body(()).unwrap(), false).unwrap();
        send.send_data(Bytes::from_static(b"\0\0\0\0\x02hi"), false).unwrap();
        send.send_trailers(trailers(&[("grpc-status", "5")])).unwrap();
    })
    .await;
    let address = origin.address();
    let proxy = Proxy::start(&format!("[pool.app]\nupstreams = [\"h2c://{address}\"]\nhealth.type = \"off\"\n"));
    let (answer, behind) = ask(&client(&proxy).await, get("/")).await;
    assert_eq!((answer.status().as_u16(), answer.body().as_ref()), (200, &b"\0\0\0\0\x02hi"[..]));
    assert_eq!(behind.unwrap()["grpc-status"], "5");
    // A client of HTTP/1.1 has no place for them: its answer is whole, and so is its record.
    let mut plain = Raw::connect(proxy.address).await;
    assert_eq!(plain.get("/").await.body, b"\0\0\0\0\x02hi");
    assert_eq!(proxy.exchange(1).await.status, 200);
}

/// When nothing has moved for a while, nothing but the break itself can bring it to the client.
#[tokio::test]
async fn a_break_in_the_midst_of_silence_is_told_at_once() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::unchecked(&[listener.local_addr().unwrap()], "");
    let send = client(&proxy).await;
    let mut ready = send.clone().ready().await.unwrap();
    let (answer, _) = ready.send_request(get("/"), true).unwrap();
    let (mut upstream, _) = listener.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        upstream.read_buf(&mut head).await.unwrap();
    }
    upstream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await.unwrap();
    let mut body = answer.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "hello");
    tokio::time::sleep(Duration::from_millis(200)).await; // the silence
    drop(upstream);
    let broke = tokio::time::timeout(Duration::from_secs(2), body.data()).await.expect("it hears of it");
    assert_eq!(broke.unwrap().unwrap_err().reason(), Some(Reason::INTERNAL_ERROR));
}

#[tokio::test]
async fn an_early_answer_ends_the_upload_and_not_the_connection() {
    let proxy = Proxy::unchecked(&[Origin::nobody()], "");
    let send = client(&proxy).await;
    let mut ready = send.clone().ready().await.unwrap();
    let (answer, mut body) = ready.send_request(post("/"), false).unwrap();
    let upload = async {
        while give(&mut body, vec![b'x'; 64 << 10].into(), false).await.is_ok() {
            tokio::task::yield_now().await;
        }
        std::future::poll_fn(|cx| body.poll_reset(cx)).await.ok()
    };
    let (reason, answer) = tokio::join!(upload, async { whole(answer.await.unwrap()).await.unwrap() });
    assert_eq!(answer.0.status(), 502);
    assert_eq!(reason, Some(Reason::NO_ERROR));
    assert_eq!(ask(&send, get("/")).await.0.status(), 502, "the connection lives");
}

#[tokio::test]
async fn an_upstream_that_refuses_early_is_heard() {
    let origin = Origin::start(Behaviour::EarlyRefusal).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let mut send = client(&proxy).await.ready().await.unwrap();
    let (mut answer, mut body) = send.send_request(post("/"), false).unwrap();
    let upload = async {
        while give(&mut body, vec![b'x'; 64 << 10].into(), false).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer.unwrap(),
        () = upload => answer.await.unwrap(),
    };
    assert_eq!(answer.status(), 413);
}

#[tokio::test]
async fn a_body_that_breaks_off_ends_in_a_reset_behind_what_came() {
    let long = "x".repeat(100_000);
    let cut = Behaviour::RawThenClose(format!("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n{long}").into());
    let chunks = Behaviour::CutChunks;
    for (why, behaviour, came) in [("a length", cut, 100_000), ("chunks", chunks, 1)] {
        let origin = Origin::start(behaviour).await;
        let proxy = Proxy::unchecked(&[origin.address()], "");
        let send = client(&proxy).await;
        let mut ready = send.clone().ready().await.unwrap();
        let answer = ready.send_request(get("/"), true).unwrap().0.await.unwrap();
        assert_eq!(answer.status(), 200, "{why}");
        let mut body = answer.into_body();
        let mut all = 0;
        let error = loop {
            match body.data().await.unwrap_or_else(|| panic!("{why}: a clean end")) {
                Ok(data) => {
                    all += data.len();
                    body.flow_control().release_capacity(data.len()).unwrap();
                }
                Err(error) => break error,
            }
        };
        assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR), "{why}");
        assert!(all >= came, "{why}: {all} bytes before it");
        assert_eq!(proxy.exchange(0).await.status, 200);
        assert!(proxy.exchange(0).await.cause.is_some());
        origin.set(ok());
        assert_eq!(ask(&send, get("/")).await.0.status(), 200, "{why}: the connection lives");
    }
}

#[tokio::test]
async fn a_request_taken_back_ends_its_attempt() {
    let origin = Origin::start(Behaviour::Silent).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let send = client(&proxy).await;
    let mut ready = send.clone().ready().await.unwrap();
    let (answer, mut body) = ready.send_request(post("/"), false).unwrap();
    body.send_data("half".into(), false).unwrap();
    origin.until(|record| !record.raw.is_empty()).await;
    body.send_reset(Reason::CANCEL);
    drop(answer);
    let seen = proxy.exchange(0).await;
    assert_eq!((seen.status, seen.cause), (499, Some("client_closed")));
    origin.set(ok());
    assert_eq!(ask(&send, get("/")).await.0.status(), 200, "the connection lives");
}

#[tokio::test]
async fn a_client_that_leaves_takes_all_its_requests_back() {
    let origin = Origin::start(Behaviour::Silent).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let answers: Vec<_> = (0..3).map(|_| send.send_request(get("/"), true).unwrap()).collect();
    origin.requests(3).await;
    connection.abort();
    for index in 0..3 {
        assert_eq!(proxy.exchange(index).await.cause, Some("client_closed"));
    }
    drop(answers);
}

#[tokio::test]
async fn who_waits_for_100_continue_gets_it() {
    let origin = Origin::start(Behaviour::Continue).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let mut send = client(&proxy).await.ready().await.unwrap();
    let mut request = post("/");
    request.headers_mut().insert("expect", "100-continue".parse().unwrap());
    request.headers_mut().insert("content-length", "5".parse().unwrap());
    let (mut answer, mut body) = send.send_request(request, false).unwrap();
    let interim = std::future::poll_fn(|cx| answer.poll_informational(cx)).await.unwrap().unwrap();
    assert_eq!(interim.status(), 100);
    body.send_data("hello".into(), true).unwrap();
    assert_eq!(whole(answer.await.unwrap()).await.unwrap().0.body().as_ref(), b"hello");
}

#[tokio::test]
async fn a_body_unlike_its_length_is_the_clients_fault() {
    let origin = Origin::start(Behaviour::Echo).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    for (index, said, given) in [(0, "5", "hello world"), (1, "50", "hello")] {
        let mut peer = Peer::connect(proxy.address).await;
        peer.send(wire::HEADERS, wire::END_HEADERS, 1, &wire::head_of("POST", "/", &[("content-length", said)])).await;
        peer.send(wire::DATA, wire::END_STREAM, 1, given.as_bytes()).await;
        let reset = peer.until(wire::RST_STREAM).await;
        assert_eq!(reset.reason(), Reason::PROTOCOL_ERROR);
        let seen = proxy.exchange(index).await;
        assert!(matches!(seen.cause, Some("client_invalid" | "client_closed")), "{seen:?}");
    }
    assert_eq!(origin.record().requests.len(), 0, "no request was whole");
}

#[tokio::test]
async fn a_read_in_pieces_never_holds_the_others_up() {
    let origin = Origin::start(Behaviour::Ok(vec![b'x'; 1 << 20])).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let wide = h2::client::Builder::new().initial_connection_window_size(4 << 20).clone();
    let send = client_of(&proxy, &wide).await;
    let mut ready = send.clone().ready().await.unwrap();
    // Its window shuts, and nobody opens it.
    let held = ready.send_request(get("/"), true).unwrap().0.await.unwrap();
    origin.set(ok());
    for _ in 0..20 {
        let (answer, _) = tokio::time::timeout(Duration::from_secs(10), ask(&send, get("/"))).await.unwrap();
        assert_eq!(answer.body().as_ref(), b"ok");
    }
    drop(held);
}

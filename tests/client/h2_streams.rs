//! Many exchanges on one connection: none gets in the way of another, and there are as many connections as it takes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use causeway::cause::Cause;
use causeway::client::{Client, Order, Progress};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::Semaphore;

use super::{Bench, MS, TestBody, full, get, post, text};
use crate::support::h2::{CANCEL, Fault, Frames, Streams, give, trailers};

/// So many requests of this bench at the same time.
async fn at_once(bench: &Bench, count: usize, request: impl Fn(usize) -> Request<TestBody>) -> Vec<String> {
    let order = order(bench);
    let all = (0..count).map(|n| {
        let (client, request) = (&bench.client, request(n));
        async move {
            let answer = client.send(order, request, &Arc::new(Progress::default())).await;
            text(answer.unwrap_or_else(|failure| panic!("{n}: {failure} {:?}", failure.seen))).await
        }
    });
    futures_util::future::join_all(all).await
}

fn order(bench: &Bench) -> Order<'_> {
    Order {
        client: None,
        endpoint: &bench.endpoint,
        timeouts: &bench.timeouts,
        buffers: &bench.buffers,
        connections: &bench.connections,
        idle_age: &bench.idle_age,
        meter: &bench.meter,
        now: tokio::time::Instant::now(),
        replayable: true,
        fresh: false,
        expects_continue: false,
        elsewhere: false,
    }
}

#[tokio::test]
async fn a_burst_shares_one_connection() {
    let origin = Streams::echo().await;
    let mut bench = Bench::h2(origin.address());
    for _ in 0..3 {
        let answers = at_once(&bench, 32, |n| post(full(format!("body {n}")))).await;
        let wanted: BTreeSet<_> = (0..32).map(|n| format!("body {n}")).collect();
        assert_eq!(answers.into_iter().collect::<BTreeSet<_>>(), wanted);
    }
    assert_eq!(origin.connections.load(Ordering::Relaxed), 1);
    assert_eq!(bench.meter.counts().connections, 1);
    bench.text().await;
    assert!(bench.progress.reused() && bench.progress.connect().is_none());
}

#[tokio::test]
async fn a_head_goes_out_as_http_2_has_it() {
    let origin = Streams::echo().await;
    let mut bench = Bench::h2(origin.address());
    let request =
        Request::put("/a?b=c").header("host", "shop:8080").header("connection", "te").header("te", "trailers");
    let answer = bench.send(request.header("x-a", "1").body(full("four")).unwrap()).await.unwrap();
    let field = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(field("got").as_deref(), Some("PUT http://shop:8080/a?b=c HTTP/2.0"));
    assert_eq!((field("got-x-a").as_deref(), field("got-te").as_deref()), (Some("1"), Some("trailers")));
    assert_eq!(
        (field("got-host"), field("got-connection"), field("got-content-length").as_deref()),
        (None, None, Some("4"))
    );
    assert_eq!(answer.version(), http::Version::HTTP_2);
}

#[tokio::test]
async fn trailers_go_both_ways() {
    let origin = Streams::echo().await;
    let mut bench = Bench::h2(origin.address());
    let fields = [("x-sum", "7"), ("content-length", "9"), ("grpc-status", "0")];
    let frames = [Frame::data(Bytes::from("one")), Frame::data("two".into()), Frame::trailers(trailers(&fields))];
    let body = StreamBody::new(futures_util::stream::iter(frames.map(Ok))).boxed_unsync();
    let answer = bench.send(post(body)).await.unwrap().into_body().collect().await.unwrap();
    let got = answer.trailers().cloned().unwrap();
    assert_eq!((&got["x-sum"], &got["grpc-status"]), (&"7".parse().unwrap(), &"0".parse().unwrap()));
    assert!(!got.contains_key("content-length"), "never what framing stands on");
    assert_eq!(answer.to_bytes(), "onetwo");
}

#[tokio::test]
async fn twenty_megabytes_both_ways() {
    const SIZE: usize = 20 << 20;
    let origin = Streams::echo().await;
    let mut bench = Bench::h2(origin.address());
    let answer = bench.send(post(full(vec![b'x'; SIZE]))).await.unwrap();
    let got = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(got.len() == SIZE && got.iter().all(|byte| *byte == b'x'));
}

#[tokio::test]
async fn as_many_streams_as_the_upstream_takes_and_then_another_connection() {
    let origin = Frames::start(Fault::Slots(4)).await;
    let bench = Bench::h2(origin.address());
    let answers = at_once(&bench, 32, |_| get()).await;
    assert!(answers.iter().all(|answer| answer == "ok"));
    let record = origin.record();
    assert!(record.at_once <= 4 && record.connections <= 8, "{record:?}");
    // With no more connections than there may be, they wait for their turn.
    let origin = Frames::start(Fault::Slots(1)).await;
    let bench = Bench::h2(origin.address());
    assert_eq!(at_once(&bench, 100, |_| get()).await.len(), 100);
    let record = origin.record();
    assert!(record.at_once == 1 && record.connections <= 32, "{record:?}");
}

#[tokio::test]
async fn first_requests_share_the_fate_of_the_connection_that_is_on_its_way() {
    let origin = Frames::start(Fault::Answers(b"SSH-2.0-OpenSSH\r\n")).await;
    let bench = Bench::h2(origin.address());
    let order = order(&bench);
    let all = (0..16).map(|_| async { bench.client.send(order, get(), &Arc::default()).await.unwrap_err() });
    for failure in futures_util::future::join_all(all).await {
        assert_eq!((failure.cause, failure.sent), (Cause::NotHttp, false));
    }
    assert_eq!(origin.record().connections, 1);
}

#[tokio::test]
async fn a_request_that_is_given_up_resets_its_stream_alone() {
    let origin = Frames::start(Fault::Silent).await;
    let bench = Bench::h2(origin.address());
    let progress = Arc::new(Progress::default());
    let given_up = tokio::time::timeout(200 * MS, bench.client.send(order(&bench), get(), &progress)).await;
    assert!(given_up.is_err() && progress.sent(), "whoever drops it knows that it was sent");
    let record = origin.until(|record| record.resets == [(1, CANCEL)]).await;
    assert_eq!((record.connections, record.ended), (1, 0));
}

/// Endless bodies: what a client does not take is bounded by the stream's window.
#[tokio::test]
async fn a_slow_reader_holds_up_nobody_else() {
    let given = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&given);
    let origin = Streams::start(100, move |request, mut answer| {
        let count = Arc::clone(&count);
        async move {
            let mut send = answer.send_response(Response::new(()), false).unwrap();
            if request.uri().path() == "/post" {
                send.send_data("quick".into(), true).unwrap();
                return;
            }
            while give(&mut send, Bytes::from_static(&[b'x'; 4096])).await.is_some() {
                count.fetch_add(4096, Ordering::Relaxed);
            }
        }
    })
    .await;
    let mut bench = Bench::h2(origin.address());
    let mut slow = Vec::new();
    for _ in 0..8 {
        slow.push(bench.get().await.unwrap());
    }
    for _ in 0..20 {
        assert_eq!(text(bench.send(post(full(""))).await.unwrap()).await, "quick");
    }
    let mut before = 0;
    loop {
        tokio::time::sleep(100 * MS).await; // until nothing moves
        let now = given.load(Ordering::Relaxed);
        if now == before {
            break;
        }
        before = now;
    }
    assert!(before <= 8 * (128 << 10), "{before} bytes for 8 streams that nobody reads");
    assert_eq!(origin.connections.load(Ordering::Relaxed), 1);
    drop(slow);
    assert_eq!(text(bench.send(post(full(""))).await.unwrap()).await, "quick");
}

#[tokio::test]
async fn a_connection_ends_when_it_is_idle_or_old_or_its_client_goes() {
    let origin = Frames::start(Fault::Ok("ok")).await;
    let mut bench = Bench::h2(origin.address());
    bench.connections.idle = 300 * MS;
    let start = Instant::now();
    bench.text().await;
    origin.until(|record| record.ended == 1).await;
    assert!(start.elapsed() >= 300 * MS && start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(bench.meter.counts().connections, 0);

    bench.connections.idle = Duration::from_secs(60);
    bench.connections.max_age = Duration::ZERO;
    bench.text().await;
    bench.text().await;
    origin.until(|record| record.connections == 3).await;

    bench.connections.max_age = Duration::from_secs(60);
    bench.text().await;
    bench.client = Client::new();
    let ended = origin.until(|record| record.ended == 4).await;
    assert_eq!(ended.connections, 4);

    bench.connections.max_idle = 0;
    bench.text().await;
    origin.until(|record| record.ended == 5).await;
}

#[tokio::test]
async fn what_may_not_be_resent_takes_no_connection_that_was_idle_for_long() {
    let origin = Frames::start(Fault::Ok("ok")).await;
    let mut bench = Bench::h2(origin.address());
    (bench.connections.idle, bench.replayable) = (1200 * MS, false);
    bench.text().await;
    bench.text().await;
    assert!(bench.progress.reused());
    tokio::time::sleep(400 * MS).await;
    bench.text().await;
    assert!(!bench.progress.reused());
    assert_eq!(origin.record().connections, 2);
}

/// An upstream that leaves in order (RFC 9113 §6.8), again and again: what it takes it answers, the rest goes
/// elsewhere.
#[tokio::test]
async fn a_goaway_in_the_midst_of_things_loses_nothing() {
    let turns = Arc::new(Semaphore::new(1000));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let turns = Arc::clone(&turns);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                let mut served = 0;
                while let Some(Ok((_, mut answer))) = connection.accept().await {
                    served += 1;
                    if served == 5 {
                        connection.graceful_shutdown();
                    }
                    let turn = Arc::clone(&turns);
                    tokio::spawn(async move {
                        let _turn = turn.acquire().await;
                        tokio::time::sleep(5 * MS).await;
                        let mut send = answer.send_response(Response::new(()), false).unwrap();
                        send.send_data(Bytes::from_static(b"ok"), true).unwrap();
                    });
                }
            });
        }
    });
    let bench = Bench::h2(address);
    for _ in 0..10 {
        let answers = at_once(&bench, 16, |_| get()).await;
        assert!(answers.iter().all(|answer| answer == "ok"));
    }
    server.abort();
}

/// All connections are full, and grow old; a new one has room for those who wait.
#[tokio::test]
async fn a_new_connection_is_for_all_who_wait() {
    let (most, held) = (Arc::new(AtomicUsize::new(1)), Arc::new(AtomicUsize::new(0)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut bench = Bench::h2(listener.local_addr().unwrap());
    let (now, count) = (Arc::clone(&most), Arc::clone(&held));
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (most, held) = (now.load(Ordering::Relaxed) as u32, Arc::clone(&count));
            tokio::spawn(async move {
                let mut builder = h2::server::Builder::new();
                let mut connection = builder.max_concurrent_streams(most).handshake::<_, Bytes>(stream).await.unwrap();
                let mut kept = Vec::new();
                while let Some(Ok((request, mut answer))) = connection.accept().await {
                    if request.method() == "POST" {
                        held.fetch_add(1, Ordering::Relaxed);
                        kept.push(answer); // never answered
                    } else {
                        answer.send_response(Response::new(()), true).unwrap();
                    }
                }
            });
        }
    });
    let holds = async |wanted: usize| {
        while held.load(Ordering::Relaxed) < wanted {
            tokio::time::sleep(5 * MS).await;
        }
    };
    (bench.timeouts.connect, bench.timeouts.read) = (8000 * MS, 20_000 * MS);
    bench.connections.max_age = 1500 * MS;
    let (bench, progress) = (&bench, Arc::new(Progress::default()));
    let holding = (0..32).map(|_| bench.client.send(order(bench), post(full("")), &progress));
    let waiting = async {
        holds(32).await;
        let waiters = at_once(bench, 8, |_| get());
        let newcomer = async {
            tokio::time::sleep(1600 * MS).await; // the others are too old now
            most.store(100, Ordering::Relaxed);
            let _held = bench.client.send(order(bench), post(full("")), &progress).await;
        };
        tokio::select! {
            answers = waiters => assert_eq!(answers.len(), 8),
            () = newcomer => panic!("it is never answered"),
        }
    };
    tokio::select! {
        () = waiting => {}
        _ = futures_util::future::join_all(holding) => panic!("they are never answered"),
        () = tokio::time::sleep(6000 * MS) => panic!("those who wait were not woken"),
    }
    server.abort();
}

//! One request to one endpoint: every way in which it can go wrong has its cause, its phase and an exact `sent`.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use causeway::cause::{Cause, Failure, Phase};
use causeway::client::{Body, Client, Order, Progress, upgraded};
use causeway::config::Endpoint;
use causeway::config::address::Dial;
use causeway::config::model::{Buffers, Connections, Timeouts};
use http::{Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::support::origin::{Behaviour, Origin};

type Failing = Box<dyn Error + Send + Sync>;
type TestBody = http_body_util::combinators::UnsyncBoxBody<Bytes, Failing>;

const MS: Duration = Duration::from_millis(1);

/// A client and one endpoint, with short clocks.
struct Bench {
    client: Client<TestBody>,
    endpoint: Arc<Endpoint>,
    timeouts: Timeouts,
    buffers: Buffers,
    connections: Connections,
    replayable: bool,
    expects_continue: bool,
    progress: Arc<Progress>,
}

impl Bench {
    fn to(dial: Dial) -> Self {
        let second = Duration::from_secs(1);
        Self {
            client: Client::new(),
            endpoint: Arc::new(Endpoint::new("origin:80".into(), dial)),
            timeouts: Timeouts { connect: 2 * second, write: 5 * second, read: 5 * second, ..Timeouts::default() },
            buffers: Buffers::default(),
            connections: Connections::default(),
            replayable: true,
            expects_continue: false,
            progress: Arc::default(),
        }
    }

    fn at(address: std::net::SocketAddr) -> Self {
        Self::to(Dial::Addresses(vec![address]))
    }

    async fn send(&mut self, request: Request<TestBody>) -> Result<Response<Body>, Failure> {
        self.progress = Arc::default();
        let order = Order {
            endpoint: &self.endpoint,
            timeouts: &self.timeouts,
            buffers: &self.buffers,
            connections: &self.connections,
            replayable: self.replayable,
            expects_continue: self.expects_continue,
        };
        self.client.send(order, request, &self.progress).await
    }

    async fn get(&mut self) -> Result<Response<Body>, Failure> {
        self.send(get()).await
    }

    /// A GET and the whole of its answer.
    async fn text(&mut self) -> String {
        text(self.get().await.unwrap()).await
    }

    async fn failure(&mut self, request: Request<TestBody>) -> Failure {
        let failure = self.send(request).await.expect_err("a failure");
        assert_eq!(failure.sent, self.progress.sent(), "failure and progress agree: {failure}");
        failure
    }
}

fn get() -> Request<TestBody> {
    Request::get("/path?query").header("host", "origin").body(full("")).unwrap()
}

fn post(body: TestBody) -> Request<TestBody> {
    Request::post("/post").header("host", "origin").body(body).unwrap()
}

fn full(bytes: impl Into<Bytes>) -> TestBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn body_failure(response: Response<Body>) -> Failure {
    response.into_body().collect().await.expect_err("a body that fails")
}

/// A request body fed by hand, which counts how often it was asked.
struct Feed {
    frames: mpsc::UnboundedReceiver<Result<Bytes, Failing>>,
    polls: Arc<AtomicUsize>,
}

fn feed() -> (mpsc::UnboundedSender<Result<Bytes, Failing>>, Arc<AtomicUsize>, TestBody) {
    let (sender, frames) = mpsc::unbounded_channel();
    let polls = Arc::new(AtomicUsize::new(0));
    (sender, polls.clone(), Feed { frames, polls }.boxed_unsync())
}

impl http_body::Body for Feed {
    type Data = Bytes;
    type Error = Failing;
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failing>>> {
        self.polls.fetch_add(1, Ordering::Relaxed);
        self.frames.poll_recv(cx).map(|next| next.map(|result| result.map(Frame::data)))
    }
    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

// ---- answers

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
    origin.set(Behaviour::Trailers);
    let collected = bench.get().await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-sum"], "42");
    assert_eq!(collected.to_bytes(), "hello");
    origin.set(Behaviour::EarlyHints);
    assert_eq!(bench.text().await, "ok");
    origin.set(Behaviour::CloseDelimited);
    assert_eq!(bench.text().await, "until the end");
    assert_eq!(origin.record().connections, 1);
    origin.set(Behaviour::Ok(vec![]));
    bench.text().await;
    assert_eq!(origin.record().connections, 2, "a close-delimited answer ends its connection");
}

#[tokio::test]
async fn two_framings_are_one_and_the_connection_is_not_trusted_again() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let origin = Origin::start(Behaviour::Raw(answer.to_vec())).await;
    let mut bench = Bench::at(origin.address());
    for _ in 0..2 {
        let response = bench.get().await.unwrap();
        assert!(!response.headers().contains_key("content-length"));
        assert_eq!(text(response).await, "hello");
    }
    assert_eq!(origin.record().connections, 2);
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

// ---- connecting

#[tokio::test]
async fn nobody_there_is_connection_refused() {
    let failure = Bench::at(Origin::nobody()).failure(post(full("x"))).await;
    assert_eq!((failure.cause, failure.phase, failure.sent), (Cause::ConnectionRefused, Phase::Connect, false));
    assert!(failure.source.is_some());
}

#[tokio::test]
async fn a_full_backlog_is_connect_timeout() {
    // A listener that never accepts, its queue filled: the kernel drops further SYNs.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut held = Vec::new();
    while let Ok(connected) = tokio::time::timeout(200 * MS, tokio::net::TcpStream::connect(address)).await {
        held.push(connected.unwrap());
    }
    let mut bench = Bench::at(address);
    bench.timeouts.connect = 300 * MS;
    let failure = bench.failure(get()).await;
    assert_eq!((failure.cause, failure.phase, failure.sent), (Cause::ConnectTimeout, Phase::Connect, false));
    assert_eq!(failure.limit.as_deref(), Some("300.0 ms"));
}

#[tokio::test]
async fn a_name_without_an_address_fails_in_resolve() {
    let said = Some((Cause::DnsNotFound, "NXDOMAIN".to_string()));
    for (why, cause) in [(said, Cause::DnsNotFound), (None, Cause::DnsFailure)] {
        let failure = Bench::to(Dial::Unresolved(why)).failure(get()).await;
        assert_eq!((failure.cause, failure.phase, failure.sent), (cause, Phase::Resolve, false));
    }
}

#[tokio::test]
async fn localhost_is_dialled_on_both_families() {
    let origin = Origin::start(Behaviour::Ok(b"v4".to_vec())).await;
    let v6 = std::net::SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, origin.port()));
    for addresses in [vec![v6, origin.address()], vec![origin.address(), v6]] {
        let mut bench = Bench::to(Dial::Addresses(addresses));
        let start = Instant::now();
        assert_eq!(bench.text().await, "v4");
        assert!(start.elapsed() < 250 * MS, "a refusal does not wait for the head start to end");
    }
    let nobody = Origin::nobody();
    let v6 = std::net::SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, nobody.port()));
    let failure = Bench::to(Dial::Addresses(vec![nobody, v6])).failure(get()).await;
    assert_eq!(failure.cause, Cause::ConnectionRefused);
}

#[tokio::test]
async fn a_first_address_that_is_silent_does_not_hold_up_the_second() {
    let origin = Origin::start(Behaviour::Ok(b"second".to_vec())).await;
    let full = tokio::net::TcpSocket::new_v4().unwrap();
    full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = full.listen(0).unwrap();
    let mut held = Vec::new();
    let address = full.local_addr().unwrap();
    while let Ok(connected) = tokio::time::timeout(200 * MS, tokio::net::TcpStream::connect(address)).await {
        held.push(connected.unwrap());
    }
    let mut bench = Bench::to(Dial::Addresses(vec![address, origin.address()]));
    assert_eq!(bench.text().await, "second");
    assert!(bench.progress.connect().unwrap() >= 300 * MS);
}

#[tokio::test]
async fn a_reset_at_once_is_told_by_whether_anything_was_sent() {
    let origin = Origin::start(Behaviour::ResetOnAccept).await;
    let mut bench = Bench::at(origin.address());
    for _ in 0..20 {
        let failure = bench.failure(get()).await;
        match failure.sent {
            true => assert_eq!((failure.cause, failure.phase), (Cause::ResetBeforeHead, Phase::Head)),
            false => assert!(matches!(failure.cause, Cause::ConnectReset | Cause::ResetBeforeHead), "{failure}"),
        }
    }
}

// ---- no head

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
        (Behaviour::BadHeader, Cause::InvalidHead, "field line Bad Name: 1"),
        (Behaviour::Raw(b"HTTP/1.1 99 No\r\n\r\n".to_vec()), Cause::InvalidHead, "status line HTTP/1.1 99 No"),
        (
            Behaviour::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_vec()),
            Cause::InvalidHead,
            "Content-Length 2",
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
    }
    origin.set(Behaviour::Fields(1000));
    assert_eq!(bench.text().await, "ok");
    origin.set(Behaviour::Fields(1001));
    let failure = bench.failure(get()).await;
    assert_eq!((failure.cause, failure.limit.as_deref()), (Cause::ResponseHeadTooLarge, Some("1000 fields")));
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
    bench.timeouts.read = 300 * MS;
    bench.timeouts.write = 300 * MS;
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

// ---- early answers, 100-continue

#[tokio::test]
async fn an_early_answer_behind_a_write_error_is_delivered() {
    let origin = Origin::start(Behaviour::EarlyRefusal).await;
    let mut bench = Bench::at(origin.address());
    for round in 1..=30 {
        let response = bench.send(post(full(vec![0; 20 << 20]))).await.unwrap();
        assert_eq!(response.status().as_u16(), 413);
        assert_eq!(text(response).await, "big");
        assert_eq!(origin.record().connections, round, "never reused");
    }
}

#[tokio::test]
async fn a_write_error_with_no_answer_behind_it_is_the_cause() {
    let origin = Origin::start(Behaviour::ResetInRequest).await;
    let mut bench = Bench::at(origin.address());
    let failure = bench.failure(post(full(vec![0; 20 << 20]))).await;
    assert_eq!((failure.cause, failure.phase, failure.sent), (Cause::ResetBeforeHead, Phase::Request, true));
}

#[tokio::test]
async fn after_a_write_error_the_client_is_not_asked_for_more() {
    let origin = Origin::start(Behaviour::EarlyRefusal).await;
    let mut bench = Bench::at(origin.address());
    let (sender, polls, body) = feed();
    sender.send(Ok("first".into())).unwrap();
    let response = bench.send(post(body)).await.unwrap();
    assert_eq!(response.status().as_u16(), 413);
    origin.until(|record| record.ended == 1).await;
    for _ in 0..50 {
        let _ = sender.send(Ok(vec![0; 1 << 16].into()));
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(50 * MS).await;
    assert!(polls.load(Ordering::Relaxed) < 30, "polled {} times", polls.load(Ordering::Relaxed));
    drop(response);
}

#[tokio::test]
async fn the_body_waits_for_100_continue() {
    let origin = Origin::start(Behaviour::Continue).await;
    let mut bench = Bench::at(origin.address());
    bench.expects_continue = true;
    let (sender, _, body) = feed();
    sender.send(Ok("hello".into())).unwrap();
    drop(sender);
    let mut request = post(body);
    request.headers_mut().insert("expect", "100-continue".parse().unwrap());
    let start = Instant::now();
    assert_eq!(text(bench.send(request).await.unwrap()).await, "hello");
    assert!(start.elapsed() < 900 * MS, "it does not wait for the clock");
}

#[tokio::test]
async fn without_a_100_the_body_goes_out_after_a_second() {
    let origin = Origin::start(Behaviour::Echo).await;
    let mut bench = Bench::at(origin.address());
    bench.expects_continue = true;
    let start = Instant::now();
    assert_eq!(text(bench.send(post(full("late"))).await.unwrap()).await, "late");
    assert!(start.elapsed() >= 1000 * MS && start.elapsed() < 3000 * MS);
}

#[tokio::test]
async fn a_final_answer_in_place_of_100_leaves_the_body_unasked() {
    let origin = Origin::start(Behaviour::RefuseContinue).await;
    let mut bench = Bench::at(origin.address());
    bench.expects_continue = true;
    let (_sender, polls, body) = feed();
    let response = bench.send(post(body)).await.unwrap();
    assert_eq!(response.status().as_u16(), 417);
    tokio::time::sleep(1200 * MS).await; // longer than the gate's clock
    assert_eq!(text(response).await, "no");
    assert_eq!(polls.load(Ordering::Relaxed), 0);
    origin.until(|record| record.ended == 1).await; // not kept: the upstream still waits for a body
}

#[tokio::test]
async fn a_body_that_fails_is_the_clients_fault() {
    let origin = Origin::start(Behaviour::Echo).await;
    let mut bench = Bench::at(origin.address());
    let (sender, _, body) = feed();
    sender.send(Ok("some".into())).unwrap();
    sender.send(Err(Box::new(Failure::new(Cause::ClientTimeout)))).unwrap();
    let failure = bench.failure(post(body)).await;
    assert_eq!((failure.cause, failure.phase), (Cause::ClientClosed, Phase::Request));
    let source = failure.source.unwrap().downcast::<Failure>().unwrap();
    assert_eq!(source.cause, Cause::ClientTimeout);
    origin.until(|record| record.ended == 1 && record.requests.is_empty()).await;
}

// ---- bodies

#[tokio::test]
async fn every_body_that_breaks_off_has_its_name() {
    let origin = Origin::start(Behaviour::Silent).await;
    let mut bench = Bench::at(origin.address());
    bench.timeouts.body = 200 * MS;
    let cut = |sent, reset| Behaviour::CutBody { sent, of: 1024, reset };
    for (behaviour, cause, seen) in [
        (cut(512, false), Cause::TruncatedBody, "512 of 1024 bytes"),
        (cut(512, true), Cause::TruncatedBody, "512 of 1024 bytes"),
        (cut(0, false), Cause::TruncatedBody, "0 of 1024 bytes"),
        (Behaviour::CutChunks, Cause::TruncatedBody, "closed after 5 bytes"),
        (Behaviour::BadChunking, Cause::BadChunking, "after 5 bytes of content"),
        (Behaviour::StallInBody, Cause::BodyTimeout, ""),
    ] {
        origin.set(behaviour.clone());
        let failure = body_failure(bench.get().await.unwrap()).await;
        assert_eq!((failure.cause, failure.phase, failure.sent), (cause, Phase::Body, true), "{behaviour:?}");
        assert_eq!(failure.seen.as_deref().unwrap_or_default(), seen, "{behaviour:?}");
    }
    let record = origin.until(|record| record.ended == record.connections).await;
    assert_eq!(record.connections, 6, "none was used again");
}

#[tokio::test]
async fn a_drip_is_not_silence_and_a_slow_reader_is_not_either() {
    let origin = Origin::start(Behaviour::Drip { bytes: 8, pause: 100 * MS }).await;
    let mut bench = Bench::at(origin.address());
    bench.timeouts.body = 400 * MS;
    assert_eq!(bench.text().await, "xxxxxxxx");
    origin.set(Behaviour::Ok(vec![b'x'; 8 << 20]));
    let mut response = bench.get().await.unwrap();
    let mut got = response.frame().await.unwrap().unwrap().into_data().unwrap().len();
    tokio::time::sleep(600 * MS).await;
    while let Some(frame) = response.frame().await {
        got += frame.unwrap().into_data().unwrap().len();
    }
    assert_eq!(got, 8 << 20);
}

#[tokio::test]
async fn a_body_dropped_before_its_end_ends_the_connection() {
    let origin = Origin::start(Behaviour::Ok(vec![0; 8 << 20])).await;
    let mut bench = Bench::at(origin.address());
    let mut response = bench.get().await.unwrap();
    response.frame().await.unwrap().unwrap();
    drop(response);
    origin.until(|record| record.ended == 1).await;
}

// ---- kept connections

#[tokio::test]
async fn a_kept_connection_closed_while_idle_is_replaced_in_silence() {
    let origin = Origin::start(Behaviour::StaleAfter(Duration::ZERO)).await;
    let mut bench = Bench::at(origin.address());
    for round in 1..=20 {
        let (sender, polls, body) = feed();
        sender.send(Ok("once".into())).unwrap();
        drop(sender);
        let response = bench.send(post(body)).await.unwrap();
        assert_eq!(text(response).await, "ok", "round {round}");
        assert!(polls.load(Ordering::Relaxed) >= 1);
        origin.until(|record| record.closed == round).await; // the client's side may not have noticed yet
    }
    assert_eq!(origin.record().requests.len(), 20, "each reached the upstream exactly once");
}

#[tokio::test]
async fn a_restart_of_the_upstream_fails_nobody() {
    let mut origin = Origin::start(Behaviour::Ok(b"ok".to_vec())).await;
    let mut bench = Bench::at(origin.address());
    for _ in 0..5 {
        let (a, b, c) = (bench.get().await.unwrap(), bench.get().await.unwrap(), bench.get().await.unwrap());
        for response in [a, b, c] {
            assert_eq!(text(response).await, "ok");
        }
        origin.stop().await;
        origin.restart().await;
        assert_eq!(bench.text().await, "ok");
        assert!(!bench.progress.reused());
    }
}

#[tokio::test]
async fn a_kept_connection_closed_as_the_request_arrives_is_stale() {
    let origin = Origin::start(Behaviour::StaleOnNext).await;
    let mut bench = Bench::at(origin.address());
    assert_eq!(bench.text().await, "ok");
    let failure = bench.failure(get()).await;
    assert_eq!((failure.cause, failure.phase, failure.sent), (Cause::StaleConnection, Phase::Head, true));
    assert!(bench.progress.reused());
    assert_eq!(origin.record().connections, 1, "never sent again by the client itself");
}

#[tokio::test]
async fn bytes_that_nobody_asked_for_are_never_the_next_answer() {
    let origin = Origin::start(Behaviour::Unsolicited).await;
    let mut bench = Bench::at(origin.address());
    for _ in 0..10 {
        assert_eq!(bench.text().await, "ok");
        assert!(!bench.progress.reused());
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_time_without_being_asked_for() {
    for (idle, behaviour) in
        [(300 * MS, Behaviour::Ok(b"ok".to_vec())), (Duration::from_secs(60), Behaviour::KeepAlive(2))]
    {
        let origin = Origin::start(behaviour).await;
        let mut bench = Bench::at(origin.address());
        bench.connections.idle = idle;
        bench.text().await;
        let start = Instant::now();
        origin.until(|record| record.ended == 1).await;
        assert!(start.elapsed() >= 200 * MS && start.elapsed() < 2200 * MS, "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn limits_on_kept_connections_hold() {
    let origin = Origin::start(Behaviour::KeepAlive(1)).await;
    let mut bench = Bench::at(origin.address());
    bench.text().await;
    bench.text().await;
    assert_eq!(origin.record().connections, 2, "Keep-Alive: timeout=1 leaves no time to keep it");
    origin.set(Behaviour::Ok(b"ok".to_vec()));
    bench.connections.max_idle = 1;
    let (a, b) = (bench.get().await.unwrap(), bench.get().await.unwrap());
    assert_eq!((text(a).await, text(b).await), ("ok".into(), "ok".into()));
    origin.until(|record| record.ended == 3).await;
    bench.text().await;
    assert!(bench.progress.reused());
    bench.connections.max_age = Duration::ZERO;
    bench.text().await;
    bench.text().await;
    assert!(!bench.progress.reused());
}

#[tokio::test]
async fn what_may_not_be_resent_goes_out_on_a_fresh_connection() {
    let origin = Origin::start(Behaviour::Echo).await;
    let mut bench = Bench::at(origin.address());
    bench.connections.idle = 1000 * MS;
    bench.replayable = false;
    assert_eq!(text(bench.send(post(full("a"))).await.unwrap()).await, "a");
    assert_eq!(text(bench.send(post(full("b"))).await.unwrap()).await, "b");
    assert!(bench.progress.reused(), "idle for less than a quarter");
    tokio::time::sleep(300 * MS).await;
    assert_eq!(text(bench.send(post(full("c"))).await.unwrap()).await, "c");
    assert!(!bench.progress.reused());
    bench.replayable = true;
    bench.text().await;
    assert!(bench.progress.reused());
}

// ---- giving up, upgrades

#[tokio::test]
async fn who_gives_up_still_knows_how_far_it_came() {
    let origin = Origin::start(Behaviour::Silent).await;
    let mut bench = Bench::at(origin.address());
    assert!(tokio::time::timeout(100 * MS, bench.get()).await.is_err());
    assert_eq!((bench.progress.sent(), bench.progress.phase()), (true, Phase::Head));
    assert!(bench.progress.connect().is_some());
    origin.until(|record| record.ended == 1).await;

    let (_sender, _, body) = feed();
    assert!(tokio::time::timeout(100 * MS, bench.send(post(body))).await.is_err());
    assert_eq!((bench.progress.sent(), bench.progress.phase()), (true, Phase::Request));
    origin.until(|record| record.ended == 2).await;
}

#[tokio::test]
async fn a_101_becomes_a_tunnel() {
    let origin = Origin::start(Behaviour::Tunnel).await;
    let mut bench = Bench::at(origin.address());
    let request = Request::get("/").header("host", "origin").header("connection", "upgrade").header("upgrade", "echo");
    let mut response = bench.send(request.body(full("")).unwrap()).await.unwrap();
    assert_eq!(response.headers()["upgrade"], "echo");
    let upgrade = upgraded(&mut response).expect("a 101");
    drop(response);
    let mut tunnel = upgrade.await.unwrap();
    tunnel.write_all(b"world").await.unwrap();
    let mut got = [0; 11];
    tunnel.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"hello world");
    tunnel.shutdown().await.unwrap();
    assert_eq!(tunnel.read(&mut got).await.unwrap(), 0);
    origin.until(|record| record.ended == 1).await;
    origin.set(Behaviour::Ok(b"ok".to_vec()));
    assert!(upgraded(&mut bench.get().await.unwrap()).is_none());
}

#[tokio::test]
async fn an_upgrade_that_nobody_takes_ends_its_connection() {
    let origin = Origin::start(Behaviour::Tunnel).await;
    let mut bench = Bench::at(origin.address());
    drop(bench.get().await.unwrap());
    origin.until(|record| record.ended == 1).await;
    drop(upgraded(&mut bench.get().await.unwrap()));
    origin.until(|record| record.ended == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_holds_on_several_threads_too() {
    let origin = Origin::start(Behaviour::Trailers).await;
    let mut bench = Bench::at(origin.address());
    let requests = tokio::spawn(async move {
        for _ in 0..200 {
            assert_eq!(bench.text().await, "hello");
        }
    });
    requests.await.unwrap();
    assert_eq!(origin.record().requests.len(), 200);
}

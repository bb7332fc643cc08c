//! Health checks against real sockets: what passes, what fails and how it is told, and who is checked when.
#![allow(clippy::unwrap_used)] // in its helpers too

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use causeway::cause::Cause;
use causeway::config::address::Dial;
use causeway::config::model::{Check, Health, HttpCheck};
use causeway::config::{Address, Endpoint, Host};
use causeway::health::{State, Transition};
use causeway::pool::{Pool, Upstream};
use causeway::probe::{self, Facts, Failed, Outcome};
use http::{HeaderMap, Method};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::pools::{pool, quick};

mod grpc;
mod when;

/// Long enough for a loaded machine; a test that gets here has failed.
const PATIENCE: Duration = Duration::from_secs(20);

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn endpoint(port: u16) -> Arc<Endpoint> {
    Arc::new(Endpoint::literal(&Address::plain(Host::Ip(Ipv4Addr::LOCALHOST.into()), port)).unwrap())
}

fn http_check() -> HttpCheck {
    HttpCheck {
        path: "/healthz".to_owned(),
        method: Method::GET,
        host_header: None,
        headers: HeaderMap::new(),
        expect_status: vec![(200, 399)],
        expect_body: String::new(),
    }
}

fn http() -> Health {
    quick(Check::Http(http_check()))
}

/// Takes one connection, reads a request head, answers with these bytes, and closes (or holds it open).
async fn answer(listener: TcpListener, bytes: &'static [u8], hold: bool) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let head = read_head(&mut stream).await;
    stream.write_all(bytes).await.unwrap();
    if hold {
        let _ = stream.read(&mut [0; 1]).await;
    }
    head
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// One check of an origin that answers like that.
async fn check(health: Health, bytes: &'static [u8], hold: bool) -> (Outcome, String) {
    let (listener, port) = listener().await;
    let origin = tokio::spawn(answer(listener, bytes, hold));
    let outcome = probe::once(&endpoint(port), &health).await;
    (outcome, origin.await.unwrap())
}

async fn fails(health: Health, bytes: &'static [u8], hold: bool) -> Failed {
    check(health, bytes, hold).await.0.expect_err("the check must fail")
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nstatus: UP";

#[tokio::test]
async fn a_tcp_check_passes_where_somebody_listens_and_is_refused_where_nobody_does() {
    let (listener, port) = listener().await;
    let health = quick(Check::Tcp);
    let Facts { status, sentence, .. } = probe::once(&endpoint(port), &health).await.unwrap();
    assert!(status.is_none() && sentence.starts_with("TCP connect in "), "{sentence}");
    drop(listener);
    let failed = probe::once(&endpoint(port), &health).await.unwrap_err();
    assert_eq!(failed.failure.cause, Cause::ConnectionRefused);
    assert_eq!(
        failed.to_string(),
        "connection_refused. Nothing listens there. Is the app running, and is the port right?"
    );
}

#[tokio::test]
async fn an_http_check_passes_and_says_who_asks() {
    let (outcome, head) = check(http(), OK, false).await;
    let facts = outcome.unwrap();
    assert_eq!(facts.status, Some(200));
    assert!(facts.sentence.starts_with("GET /healthz gives 200 in "), "{}", facts.sentence);
    assert!(facts.connect.is_some());
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with("get /healthz http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nhost: 127.0.0.1:"), "{head}");
    assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
    assert!(
        head.contains(concat!("\r\nuser-agent: causeway/", env!("CARGO_PKG_VERSION"), " (health check)\r\n")),
        "{head}"
    );
}

#[tokio::test]
async fn a_wrong_status_is_told_with_the_wanted_one() {
    let failed = fails(http(), b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", false).await;
    assert_eq!(failed.failure.cause, Cause::HealthStatus);
    assert_eq!(failed.sentence, "GET /healthz gives 503, wanted 200-399");
}

#[tokio::test]
async fn the_wanted_text_must_be_in_the_body() {
    let wanting = |text: &str| quick(Check::Http(HttpCheck { expect_body: text.to_owned(), ..http_check() }));
    assert!(check(wanting("UP"), OK, false).await.0.is_ok());
    let failed = fails(wanting("READY"), OK, false).await;
    assert_eq!(failed.failure.cause, Cause::HealthBody);
    assert_eq!(failed.sentence, "GET /healthz gives 200, but its body does not contain \"READY\"");
}

#[tokio::test]
async fn more_than_64_kib_of_a_body_are_not_waited_for() {
    let (listener, port) = listener().await;
    let origin = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n").await.unwrap();
        let mut sent = 0;
        while sent < 64 << 20 && stream.write_all(&[b'x'; 65536]).await.is_ok() {
            sent += 65536;
        }
        sent
    });
    assert!(probe::once(&endpoint(port), &http()).await.is_ok());
    let sent = origin.await.unwrap();
    assert!(sent < 64 << 20, "the check read on: {sent} bytes");
}

#[tokio::test]
async fn silence_before_and_within_the_answer_have_their_own_causes() {
    let hurried = || Health { timeout: Duration::from_millis(200), ..http() };
    let silent = fails(hurried(), b"", true).await;
    assert_eq!(silent.failure.cause, Cause::ReadTimeout);
    assert!(silent.sentence.contains("no answer to GET /healthz within 200.0 ms (limit: health.timeout)"), "{silent}");
    let stalled = fails(hurried(), b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", true).await;
    assert_eq!(stalled.failure.cause, Cause::BodyTimeout);
}

#[tokio::test]
async fn what_breaks_in_traffic_has_the_same_name_in_a_check() {
    let closed = fails(http(), b"", false).await;
    assert_eq!(closed.failure.cause, Cause::ClosedWithoutResponse);
    let other = fails(http(), b"SSH-2.0-OpenSSH_9.6\r\n", false).await;
    assert_eq!(other.failure.cause, Cause::NotHttp);
    let cut = fails(http(), b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", false).await;
    assert_eq!(cut.failure.cause, Cause::TruncatedBody);
}

/// What was reported, in order: who, and to which state, or `None` for a result that changed nothing.
type Reports = Arc<Mutex<Vec<(String, Option<State>)>>>;

struct Watched {
    pool: Arc<Pool>,
    reports: Reports,
    results: mpsc::UnboundedReceiver<String>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

fn watch(pool: Arc<Pool>) -> Watched {
    let (reports, stop) = (Reports::default(), CancellationToken::new());
    let (tell, results) = mpsc::unbounded_channel();
    let log = Arc::clone(&reports);
    let report = move |_: &Pool, upstream: &Upstream, _: &Outcome, change: Option<&Transition>| {
        log.lock().unwrap().push((upstream.id.to_string(), change.map(|change| change.to)));
        let _ = tell.send(upstream.id.to_string());
    };
    let task = tokio::spawn(probe::watch(Arc::clone(&pool), report, stop.clone()));
    Watched { pool, reports, results, stop, task }
}

impl Watched {
    /// Until all members, in order, are in these states.
    async fn until(&self, states: &[State]) {
        let mut changes = self.pool.changes();
        let now = || self.pool.members().iter().map(|upstream| upstream.health.state()).collect::<Vec<_>>();
        let reached = async {
            while now() != states {
                changes.changed().await.unwrap();
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, reached).await;
        assert!(in_time.is_ok(), "wanted {states:?}, it is {:?}", now());
    }

    /// The ids of the next results, until this one's.
    async fn result_of(&mut self, id: &str) -> Vec<String> {
        let mut before = vec![];
        loop {
            let next = tokio::time::timeout(PATIENCE, self.results.recv()).await;
            match next.expect("a result in time").expect("the watch goes on") {
                this if this == id => return before,
                other => before.push(other),
            }
        }
    }

    async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.expect("it stops").unwrap();
    }
}

#[tokio::test]
async fn an_app_that_stops_is_evicted_and_comes_back() {
    let (listener, port) = listener().await;
    let watched = watch(pool(&[("127.0.0.1", port)], true, Some(quick(Check::Tcp))));
    watched.until(&[State::Ready]).await;
    drop(listener);
    watched.until(&[State::Evicted]).await;
    let seen = watched.pool.members()[0].health.snapshot(Instant::now());
    let (cause, sentence) = seen.last_failure.unwrap();
    assert_eq!(cause, Cause::ConnectionRefused);
    assert!(sentence.starts_with("connection_refused. Nothing listens there."), "{sentence}");
    let _again = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    watched.until(&[State::Ready]).await;
    let changes: Vec<_> = watched.reports.lock().unwrap().iter().filter_map(|(_, to)| *to).collect();
    assert_eq!(changes, [State::Ready, State::Evicted, State::Ready]);
    watched.end().await;
}

#[tokio::test]
async fn a_slow_upstream_delays_nobody() {
    let (slow, slow_port) = listener().await;
    let (quick_one, quick_port) = listener().await;
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = quick_one.accept().await.unwrap();
            read_head(&mut stream).await;
            stream.write_all(OK).await.unwrap();
        }
    });
    // `slow` takes connections (the kernel does) and never answers.
    let health = Health { timeout: PATIENCE, ..http() };
    let mut watched = watch(pool(&[("127.0.0.1", slow_port), ("127.0.0.1", quick_port)], true, Some(health)));
    for _ in 0..5 {
        assert_eq!(watched.result_of(&format!("127.0.0.1:{quick_port}")).await, [] as [String; 0]);
    }
    watched.until(&[State::Unknown, State::Ready]).await;
    watched.end().await;
    drop(slow);
}

#[tokio::test]
async fn checks_follow_the_members() {
    let (_listener, port) = listener().await;
    let mut watched = watch(pool(&[("app", port)], true, Some(quick(Check::Tcp))));
    let set = |dial| watched.pool.set_addresses(0, dial, Instant::now());
    let addresses = |list: &[u8]| Dial::Addresses(list.iter().map(|&last| ([127, 0, 0, last], port).into()).collect());

    set(Dial::Unresolved(Some((Cause::DnsNotFound, "no such name".to_owned()))));
    tokio::time::sleep(Duration::from_millis(100)).await; // five times the interval
    assert!(watched.results.try_recv().is_err(), "nothing is checked");
    let seen = watched.pool.members()[0].health.snapshot(Instant::now());
    assert_eq!((seen.state, seen.last_failure.map(|(cause, _)| cause)), (State::Unknown, Some(Cause::DnsNotFound)));

    set(addresses(&[1, 2]));
    watched.until(&[State::Ready, State::Evicted]).await;
    set(addresses(&[1]));
    watched.until(&[State::Ready]).await;
    let id = format!("app:{port}");
    while watched.results.try_recv().is_ok() {} // what was said before
    for _ in 0..5 {
        assert_eq!(watched.result_of(&id).await, [] as [String; 0], "one that left is checked no more");
    }
    watched.end().await;
}

#[tokio::test]
async fn a_name_that_is_being_asked_for_is_not_checked_yet() {
    let (_listener, port) = listener().await;
    let mut watched = watch(pool(&[("app", 1), ("127.0.0.1", port)], true, Some(quick(Check::Tcp))));
    for _ in 0..5 {
        assert_eq!(watched.result_of(&format!("127.0.0.1:{port}")).await, [] as [String; 0]);
    }
    watched.until(&[State::Unknown, State::Ready]).await;
    watched.end().await;
}

#[tokio::test]
async fn without_checks_there_is_nothing_to_watch() {
    watch(pool(&[("127.0.0.1", 1)], true, None)).task.await.unwrap();
}

//! Logs: golden lines, hostile bytes, and the promise that no reader can hold up traffic.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use causeway::cause::{Cause, Failure};
use causeway::config::model::{AccessFormat, Level, Log, LogTarget};
use causeway::observe::access_log::{AccessLog, Form, line};
use causeway::observe::events::{self, Events};
use causeway::observe::exchange::EndedBy;
use causeway::observe::metrics::Meter;
use causeway::observe::{Exchange, Outcome, Reason, TraceId};
use causeway::proxy::respond::verdict;
use http::{HeaderValue, Version};
use proptest::prelude::*;

use crate::respond::{attempt, exchange, failed, golden, skipped};

mod combined;
mod readers;
mod upstreams;

const LONG: Duration = Duration::from_secs(20);

fn rescued() -> Exchange {
    let mut exchange = exchange();
    exchange.version = Version::HTTP_2;
    exchange.client = "203.0.113.9:4711".parse().unwrap();
    exchange.attempts = vec![
        failed(1, Failure::new(Cause::ConnectionRefused).from(std::io::Error::other("os error 111")), 300),
        attempt(2, Outcome::Answered(200), 14_300),
    ];
    exchange.attempts[1].connect = Some(Duration::from_micros(200));
    exchange.attempts[1].head = Some(Duration::from_micros(13_800));
    exchange.status = 200;
    exchange.bytes_out = 5120;
    exchange.elapsed = Duration::from_micros(14_700);
    exchange.ended_by = EndedBy::Upstream;
    exchange
}

fn cut() -> Exchange {
    let mut exchange = golden();
    exchange.status = 502;
    exchange.failure = Some(verdict(&exchange).failure);
    exchange
}

fn text(form: Form, exchange: &Exchange) -> String {
    let mut out = Vec::new();
    line(&mut out, form, exchange);
    String::from_utf8(out).expect("a line is text")
}

#[test]
fn json_of_a_rescued_request() {
    assert_eq!(
        text(Form::Json, &rescued()),
        concat!(
            r#"{"time":"2026-11-20T14:22:46.318Z","request_id":"4f6c2a91b07de358c1a4e9d2637f8b05","client":"203.0.113.9","#,
            r#""listener":"web","method":"GET","host":"shop.example","uri":"/orders?page=2","protocol":"h2","status":200,"#,
            r#""bytes_in":0,"bytes_out":5120,"elapsed_ms":14.7,"route":"shop","pool":"app","upstream":"127.0.0.1:3001","#,
            r#""rescued":true,"attempts":[{"upstream":"127.0.0.1:3000","phase":"connect","cause":"connection_refused","#,
            r#""sent":false,"elapsed_ms":0.3},{"upstream":"127.0.0.1:3001","status":200,"reused":false,"connect_ms":0.2,"#,
            r#""head_ms":13.8,"body_ms":0.3,"elapsed_ms":14.3}],"ended_by":"upstream","user_agent":"curl/8.5.0"}"#,
        )
    );
}

/// The trace that the client's `traceparent` names; of a client that names none, there is no field.
#[test]
fn json_names_the_trace() {
    let mut exchange = rescued();
    exchange.trace_id = TraceId::of(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let text = text(Form::Json, &exchange);
    assert!(text.contains(r#"8b05","trace_id":"0af7651916cd43dd8448eb211c80319c","client":"203.0.113.9","#), "{text}");
}

#[test]
fn json_of_a_failed_request_holds_the_whole_trail() {
    let json: serde_json::Value = serde_json::from_str(&text(Form::Json, &cut())).unwrap();
    assert_eq!((&json["status"], &json["cause"]), (&502.into(), &"connection_refused".into()));
    assert_eq!(json["ended_by"], "proxy");
    assert_eq!(json["attempts"][1]["message"], "no response head within 5 s");
    assert_eq!(json["not_tried"][0]["message"], "GET /healthz gives 503, wanted 200-399");
    assert!(json.get("upstream").is_none() && json["rescued"] == false);
}

#[test]
fn a_client_that_went_away_is_499() {
    let mut exchange = rescued();
    exchange.status = 499;
    exchange.failure = Some(Arc::new(Failure::new(Cause::ClientClosed)));
    exchange.ended_by = EndedBy::Client;
    let json: serde_json::Value = serde_json::from_str(&text(Form::Json, &exchange)).unwrap();
    assert_eq!(
        (&json["status"], &json["cause"], &json["ended_by"]),
        (&499.into(), &"client_closed".into(), &"client".into())
    );
}

#[test]
fn human_lines() {
    assert_eq!(
        text(Form::Human, &rescued()),
        "14:22:46.318 200  GET shop.example/orders  14.7 ms  app/127.0.0.1:3001  rescued (127.0.0.1:3000 connection_refused)"
    );
    assert_eq!(
        text(Form::Human, &cut()),
        "14:22:46.318 502  GET shop.example/orders  5.0 s  app  connection_refused (127.0.0.1:3000 connection_refused, \
         127.0.0.1:3001 read_timeout, 127.0.0.1:3002 not tried: evicted)"
    );
    let mut plain = rescued();
    plain.attempts.remove(0);
    assert_eq!(text(Form::Human, &plain), "14:22:46.318 200  GET shop.example/orders  14.7 ms  app/127.0.0.1:3001");
}

#[test]
fn combined_lines() {
    assert_eq!(
        text(Form::Combined, &rescued()),
        r#"203.0.113.9 - - [20/Nov/2026:14:22:46 +0000] "GET /orders?page=2 HTTP/2.0" 200 5120 "-" "curl/8.5.0""#
    );
    let mut hostile = rescued();
    hostile.referer = Some(HeaderValue::from_bytes(b"a\"b\\c\xff").unwrap());
    assert!(text(Form::Combined, &hostile).contains(r#" "a\x22b\x5Cc\xFF" "#));
}

proptest! {
    #[test]
    fn any_user_agent_leaves_one_clean_line(raw in proptest::collection::vec(0x20u8..=255, 0..64)) {
        let mut exchange = rescued();
        let Ok(value) = HeaderValue::from_bytes(&raw) else { return Ok(()) };
        exchange.user_agent = Some(value.clone());
        exchange.host = Some(value);
        for form in [Form::Json, Form::Combined, Form::Human] {
            let line = text(form, &exchange);
            prop_assert!(line.bytes().all(|b| matches!(b, b' '..=b'~')), "{}", line);
        }
        let json: serde_json::Value = serde_json::from_str(&text(Form::Json, &exchange)).unwrap();
        prop_assert_eq!(json["user_agent"].as_str().unwrap(), String::from_utf8_lossy(&raw));
    }
}

fn log(path: &Path, access: AccessFormat) -> Log {
    let file = LogTarget::File(path.to_owned());
    Log { level: Level::Info, events: file.clone(), access, access_to: file }
}

#[test]
fn lines_of_many_threads_arrive_whole_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let access = AccessLog::start(&log(&path, AccessFormat::Json)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let access = access.clone();
            scope.spawn(move || {
                for number in 0..500 {
                    let mut exchange = rescued();
                    exchange.request_id = format!("{thread}-{number}").into();
                    access.write(&exchange);
                }
            });
        }
    });
    access.flush(LONG);
    let text = fs::read_to_string(&path).unwrap();
    let mut ids: Vec<_> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["request_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!((ids.len(), access.dropped()), (2000, 0));
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 2000);
}

#[test]
fn what_is_not_logged_leaves_no_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let access = AccessLog::start(&log(&path, AccessFormat::Combined)).unwrap();
    let mut exchange = rescued();
    exchange.logged = false;
    access.write(&exchange);
    access.flush(LONG);
    assert_eq!(fs::read_to_string(&path).unwrap(), "");
    AccessLog::off().write(&rescued());
    let missing = AccessLog::start(&log(&dir.path().join("no/such/dir"), AccessFormat::Json));
    assert!(missing.is_err());
    let off = AccessLog::start(&log(&dir.path().join("no/such/dir"), AccessFormat::Off));
    assert!(off.is_ok());
}

/// The lines that `say` leaves in an events log of its own, as JSON.
fn said(level: Level, say: impl FnOnce()) -> Vec<serde_json::Value> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.log");
    let mut log = log(&path, AccessFormat::Off);
    log.level = level;
    let (events, subscriber): (Events, _) = events::sink::subscriber(&log).unwrap();
    tracing::subscriber::with_default(subscriber, say);
    events.flush(LONG);
    fs::read_to_string(&path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn messages(say: impl FnOnce()) -> Vec<String> {
    said(Level::Info, say).iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn events_of_a_start() {
    let address = "[::]:8080".parse().unwrap();
    let meter = Meter::default();
    let member = |upstream| events::Member { pool: "app", upstream, meter: &meter };
    let said = messages(|| {
        events::starting(None, 4);
        events::listening("main", "http", address, true);
        events::upstream_ready(member("localhost:3000"), "TCP connect in 0.2 ms");
        let failure = Failure::new(Cause::ConnectionRefused);
        let said = "connection_refused. Nothing listens there. Is the app running, and is the port right?";
        let check = events::Check { failure: &failure, said, tcp: true };
        events::upstream_evicted(member("localhost:3001"), check, 1, upstreams::standing(1, 2));
        let pool = events::PoolSummary { name: "app", usable: 1, total: 2, checks: "TCP checks every 5 s" };
        events::serving(&[pool], "--health-path /healthz makes them HTTP checks");
    });
    assert_eq!(
        said,
        [
            concat!("causeway ", env!("CARGO_PKG_VERSION"), ", no config file, 4 workers"),
            "listening on http://[::]:8080 (IPv4 and IPv6)",
            "app/localhost:3000 ready: TCP connect in 0.2 ms",
            "app/localhost:3001 evicted: connection_refused. Nothing listens there. Is the app running, and is the port right?",
            "serving: pool app, 1 of 2 upstreams, TCP checks every 5 s (--health-path /healthz makes them HTTP checks)",
        ]
    );
}

#[test]
fn failed_requests_are_counted_rather_than_repeated() {
    let start = Instant::now();
    let at = |pool: &str, millis: u64| {
        let mut exchange = cut();
        exchange.pool = Some(pool.into());
        exchange.started = start;
        exchange.elapsed = Duration::from_millis(millis);
        exchange
    };
    let said = messages(|| {
        for exchange in [at("one", 0), at("one", 1), at("two", 2), at("one", 999), at("one", 1001)] {
            events::request_failed(&exchange);
        }
    });
    assert_eq!(said.len(), 3);
    assert_eq!(
        said[0],
        "request 4f6c2a91b07de358c1a4e9d2637f8b05 got 502: GET /orders (pool one): \
         127.0.0.1:3000 connection_refused: connection refused; \
         127.0.0.1:3001 read_timeout: no response head within 5 s; \
         127.0.0.1:3002 not tried: evicted (health_status)"
    );
    assert!(said[1].contains("(pool two)"));
    assert!(said[2].ends_with("(and 2 more since the last line)"), "{}", said[2]);
}

#[test]
fn events_of_an_end() {
    let said = messages(|| {
        let running = |connections, requests, tunnels| events::Running { connections, requests, tunnels };
        events::grace_begun("TERM", running(0, 0, 0), Duration::from_secs(5));
        events::drain_begun("TERM", running(3, 2, 1), Duration::from_secs(8));
        events::drain_begun("INT", running(1, 0, 0), Duration::from_millis(1500));
        events::drained(Duration::from_millis(1100), 3);
        events::drain_cut(1, 2, "a second signal");
    });
    assert_eq!(
        said,
        [
            "TERM: not ready any more, requests still taken for 5 s, 0 connections open",
            "TERM: draining, 3 connections open (2 requests in flight, 1 tunnel), 8 s to end",
            "INT: draining, 1 connection open, 1.5 s to end",
            "drained after 1.1 s, nothing was cut, 3 connections ended",
            "a second signal: 1 connection cut, 2 had ended",
        ]
    );
}

#[test]
fn a_shortage_of_files_is_told_with_its_remedy_and_once_in_ten_seconds() {
    let (now, pause) = (Instant::now(), Duration::from_millis(200));
    let full = std::io::Error::from_raw_os_error(24);
    let said = messages(|| {
        for millis in [0, 200, 400, 10_000] {
            events::accept_backoff("web", &full, pause, now + Duration::from_millis(millis));
        }
        events::accept_backoff("other", &full, pause, now);
    });
    let told = "takes no connections for 200 ms: Too many open files (os error 24). \
                Raise the limit of open files (ulimit -n), or lower limits.connections";
    assert_eq!(
        said,
        [format!("web {told}"), format!("web {told} (and 2 more since the last line)"), format!("other {told}")]
    );
}

#[test]
fn untrusted_peers_are_told_of_once_an_hour() {
    let now = Instant::now();
    let peer = "192.0.2.7".parse().unwrap();
    let said = messages(|| {
        events::untrusted_forwarded(peer, now);
        events::untrusted_forwarded(peer, now + Duration::from_secs(3599));
        events::untrusted_forwarded(peer, now + Duration::from_secs(3601));
    });
    assert_eq!(said.len(), 2);
    assert!(said[0].ends_with("trusted_proxies = [\"192.0.2.7\"]"), "{}", said[0]);
}

#[test]
fn levels_and_libraries() {
    let say = || {
        events::check_failed("app", "a", &Failure::new(Cause::ConnectTimeout));
        events::fatal("the end\u{1b}[31m");
        tracing::info!(target: "hickory_resolver", "chatter");
        tracing::warn!(target: "hickory_resolver", "trouble");
    };
    let messages =
        |level| said(level, say).iter().map(|l| l["message"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(messages(Level::Error), ["the end\u{1b}[31m"]);
    assert_eq!(messages(Level::Info), ["the end\u{1b}[31m", "trouble"]);
    assert_eq!(messages(Level::Debug).len(), 3);
    assert_eq!(messages(Level::Trace).len(), 4);
}

#[test]
fn of_a_ready_one_the_line_tells_no_old_failure() {
    let mut exchange = cut();
    exchange.not_tried = vec![skipped(3, Reason::RequestSent)];
    exchange.not_tried[0].state = causeway::health::State::Ready;
    let json: serde_json::Value = serde_json::from_str(&text(Form::Json, &exchange)).unwrap();
    assert_eq!(
        json["not_tried"][0],
        serde_json::json!({ "upstream": "127.0.0.1:3002", "reason": "request_sent", "state": "ready" })
    );
}

#[test]
fn an_unasked_not_tried_needs_no_check() {
    let mut exchange = cut();
    exchange.not_tried = vec![skipped(3, Reason::Unknown)];
    exchange.not_tried[0].last_failure = None;
    let json: serde_json::Value = serde_json::from_str(&text(Form::Json, &exchange)).unwrap();
    assert_eq!(json["not_tried"][0]["reason"], "unknown");
}

//! What the codec writes: hyper's server and httparse read the very request that was asked for, and nothing more.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use causeway::client::{Head, Outgoing};

use super::compare::script::{self, Script, Wire};
use super::compare::subject::{self, Rules, Shelf};
use super::compare::{Case, Fields, Kind, Tail, fields, timeless};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const EARLY: &[u8] = b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig";
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A body in these pieces; behind them it ends, or waits for ever.
struct Pieces {
    frames: VecDeque<Frame<Bytes>>,
    length: Option<u64>,
    endless: bool,
}

impl Pieces {
    fn new(pieces: &[&'static str], trailers: &[(&'static str, &'static str)]) -> Self {
        let mut frames: VecDeque<_> =
            pieces.iter().map(|piece| Frame::data(Bytes::from_static(piece.as_bytes()))).collect();
        if !trailers.is_empty() {
            frames.push_back(Frame::trailers(map(trailers)));
        }
        Self { frames, length: None, endless: false }
    }

    fn of_length(pieces: &[&'static str]) -> Self {
        let length = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { length: Some(length), ..Self::new(pieces, &[]) }
    }

    fn large(count: usize) -> Self {
        let frames = (0..count).map(|_| Frame::data(Bytes::from_static(&[b'x'; 5000]))).collect();
        Self { frames, length: None, endless: false }
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.frames.pop_front() {
            None if self.endless => Poll::Pending,
            frame => Poll::Ready(frame.map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty() && !self.endless
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

/// A request as somebody reads it.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    method: Method,
    target: String,
    fields: Fields,
    body: Bytes,
    trailers: Fields,
}

/// What hyper's server reads in these bytes.
async fn read_by_hyper(written: &[u8]) -> Vec<Seen> {
    let case = Case { kind: Kind::Get, answer: written, cuts: &[], pauses: false, early: true, tail: Tail::Eof };
    let (wire, _script) = script::connection(&case);
    let requests = Arc::new(Mutex::new(Vec::new()));
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let requests = requests.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.expect("a whole body");
            let trailers = body.trailers().map(fields).unwrap_or_default();
            let (target, fields) = (head.uri.to_string(), fields(&head.headers));
            requests.lock().unwrap().push(Seen {
                method: head.method,
                target,
                fields,
                body: body.to_bytes(),
                trailers,
            });
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.half_close(true).serve_connection(TokioIo::new(wire), service).await.expect("whole requests");
    std::mem::take(&mut *requests.lock().unwrap())
}

/// A connection whose other side says `answer` once it has a request's head.
fn connection(answer: &[u8]) -> (Wire, Script) {
    let tail = Tail::Silence;
    script::connection(&Case { kind: Kind::Get, answer, cuts: &[], pauses: false, early: false, tail })
}

/// Sends it, to its end, in writes of at most this many bytes, and gives what was written.
async fn written(request: Request<Pieces>, largest: usize) -> Vec<u8> {
    let (wire, script) = connection(b"");
    script.take(usize::MAX, largest);
    let (rules, shelf) = (Rules::new(), Shelf::new());
    // There is no answer: the read clock ends it when everything is written.
    subject::send(&mut subject::open(wire, &rules, &shelf), &rules, request, false).await.expect_err("no answer");
    script.written()
}

#[test]
fn hyper_reads_the_request_that_was_sent() {
    let runtime = timeless();
    let trailers = [("x-sum", "42"), ("x-sum", "43")];
    for (method, target, lines, body, length) in [
        ("GET", "/path?query", &[("a", "b"), ("a", "c"), ("z", "")][..], Pieces::new(&[], &[]), None),
        ("OPTIONS", "*", &[], Pieces::new(&[], &[]), None),
        ("HEAD", "/", &[], Pieces::new(&[], &[]), None),
        ("POST", "/empty", &[], Pieces::new(&[], &[]), Some("0")),
        ("PUT", "/empty", &[("content-length", "0")], Pieces::of_length(&[]), Some("0")),
        ("POST", "/length", &[("content-length", "10")], Pieces::of_length(&["hello", "world"]), Some("10")),
        ("GET", "/length", &[], Pieces::of_length(&["hello"]), Some("5")),
        ("POST", "/chunks", &[("transfer-encoding", "chunked")], Pieces::new(&["hello", "", "world"], &[]), None),
        ("DELETE", "/chunks", &[], Pieces::new(&["0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n"], &[]), None),
        ("POST", "/large", &[], Pieces::large(9), None),
        ("POST", "/trailers", &[("trailer", "x-sum")], Pieces::new(&["hello"], &trailers), None),
        ("POST", "/only-trailers", &[], Pieces::new(&[], &trailers), None),
        (
            "PATCH",
            "/lies",
            &[("content-length", "3"), ("transfer-encoding", "gzip")],
            Pieces::of_length(&["hello"]),
            Some("5"),
        ),
        ("GET", "/socket", &[("connection", "upgrade"), ("upgrade", "websocket")], Pieces::new(&[], &[]), None),
        ("M-SEARCH", "/other", &[], Pieces::new(&["x"], &[]), None),
    ] {
        let content: Vec<u8> = body.frames.iter().filter_map(Frame::data_ref).flatten().copied().collect();
        let behind = body.frames.iter().find_map(Frame::trailers_ref).map(fields).unwrap_or_default();
        let mut wanted: Fields = fields(&map(lines));
        wanted.retain(|(name, _)| !["content-length", "transfer-encoding"].contains(&name.as_str()));
        let framing = match length {
            Some(length) => vec![("content-length".to_owned(), Bytes::from(length))],
            None if content.is_empty() && behind.is_empty() => vec![],
            None => vec![("transfer-encoding".to_owned(), Bytes::from("chunked"))],
        };
        wanted.extend(framing);
        let mut body = Some(body);
        for largest in [usize::MAX, 7, 1] {
            let pieces = match body.take() {
                Some(body) => body,
                None => Pieces {
                    frames: [Frame::data(content.clone().into())]
                        .into_iter()
                        .filter(|_| !content.is_empty())
                        .chain((!behind.is_empty()).then(|| Frame::trailers(map(&trailers))))
                        .collect(),
                    length: length.map(|_| content.len() as u64),
                    endless: false,
                },
            };
            let mut request = Request::builder().method(method).uri(target).body(pieces).unwrap();
            *request.headers_mut() = map(lines);
            let bytes = runtime.block_on(written(request, largest));
            let seen = runtime.block_on(read_by_hyper(&bytes));
            let wanted = Seen {
                method: method.parse().unwrap(),
                target: target.into(),
                fields: wanted.clone(),
                body: content.clone().into(),
                trailers: behind.clone(),
            };
            assert_eq!(seen, [wanted], "in writes of {largest}: {}", bytes.escape_ascii());
        }
    }
}

#[test]
fn trailers_that_could_frame_or_route_stay_behind() {
    let trailers = [("content-length", "3"), ("host", "evil"), ("transfer-encoding", "gzip"), ("x-sum", "42")];
    let request = Request::post("/").body(Pieces::new(&["hello"], &trailers)).unwrap();
    let bytes = timeless().block_on(written(request, usize::MAX));
    assert!(bytes.ends_with(b"5\r\nhello\r\n0\r\nx-sum: 42\r\n\r\n"), "{}", bytes.escape_ascii());
}

/// The answer, and whether the connection was kept.
async fn exchange(body: Pieces, room: usize, answer: &[u8], expects: bool) -> (Vec<u8>, String, bool) {
    let (wire, script) = connection(answer);
    script.take(room, usize::MAX);
    let (mut rules, shelf) = (Rules::new(), Shelf::new());
    rules.expects_continue = expects;
    let request = Request::post("/").body(body).unwrap();
    let sent = subject::send(&mut subject::open(wire, &rules, &shelf), &rules, request, false).await;
    let body = sent.unwrap().into_body().collect().await.unwrap().to_bytes();
    let kept = shelf.take().is_some();
    (script.written(), String::from_utf8(body.to_vec()).unwrap(), kept)
}

#[test]
fn an_early_answer_is_taken_and_its_connection_is_not_used_again() {
    let runtime = timeless();
    let blocked = runtime.block_on(exchange(Pieces::large(100), 20_000, EARLY, false));
    assert_eq!((blocked.0.len(), blocked.1.as_str(), blocked.2), (20_000, "big", false), "the upstream takes no more");
    let slow = Pieces { endless: true, ..Pieces::new(&["hello"], &[]) };
    let slow = runtime.block_on(exchange(slow, usize::MAX, EARLY, false));
    assert_eq!((slow.1.as_str(), slow.2), ("big", false), "the client has not sent all");
    assert!(slow.0.ends_with(b"\r\n5\r\nhello\r\n"), "{}", slow.0.escape_ascii());
    let whole = runtime.block_on(exchange(Pieces::new(&["hello"], &[]), usize::MAX, ANSWER, false));
    assert_eq!((whole.1.as_str(), whole.2), ("ok", true));
}

#[test]
fn a_body_that_waits_for_100_goes_out_behind_it_or_not_at_all() {
    let runtime = timeless();
    let body = || Pieces::of_length(&["hello"]);
    let asked = runtime.block_on(exchange(body(), usize::MAX, &[CONTINUE, ANSWER].concat(), true));
    // Both came at once: the final answer may be taken before the body has gone out; then the connection has ended.
    assert_eq!((asked.1.as_str(), asked.0.ends_with(b"hello")), ("ok", asked.2), "{}", asked.0.escape_ascii());
    let refused = runtime.block_on(exchange(body(), usize::MAX, EARLY, true));
    assert_eq!((refused.1.as_str(), refused.2), ("big", false));
    assert!(refused.0.ends_with(b"\r\n\r\n"), "{}", refused.0.escape_ascii());
    runtime.block_on(async {
        let (wire, script) = connection(CONTINUE);
        let (mut rules, shelf) = (Rules::new(), Shelf::new());
        rules.expects_continue = true;
        let mut connection = subject::open(wire, &rules, &shelf);
        let request = Request::post("/").body(body()).unwrap();
        let answer = async {
            while !script.written().ends_with(b"hello") {
                tokio::task::yield_now().await;
            }
            script.send(ANSWER);
        };
        let (response, ()) = tokio::join!(subject::send(&mut connection, &rules, request, false), answer);
        assert_eq!(response.unwrap().into_body().collect().await.unwrap().to_bytes(), "ok");
        assert!(shelf.take().is_some());
    });
}

/// What is written for a head, and what httparse reads in it.
fn head_of(method: &Method, target: Option<&PathAndQuery>, lines: &[(HeaderName, HeaderValue)]) -> Vec<u8> {
    let mut head = Head::new(method, target);
    for (name, value) in lines {
        head.field(name, value);
    }
    let (wire, script) = connection(ANSWER);
    let (rules, shelf) = (Rules::new(), Shelf::new());
    let request = Outgoing::new(head, Empty::<Bytes>::new());
    let mut connection = subject::open(wire, &rules, &shelf);
    timeless().block_on(subject::send(&mut connection, &rules, request, false)).unwrap();
    script.written()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, rng_seed: RngSeed::Fixed(9112), ..ProptestConfig::default() })]

    /// Any bytes, wherever the types of a head take them.
    #[test]
    fn nothing_in_a_head_can_add_a_line(
        method in prop_oneof!["[A-Z]{1,8}", ".{1,8}"],
        target in prop_oneof!["/[ -~]{0,20}", "/.{0,20}", "(?s)/.{0,8}[ \r\n].{0,8}"],
        lines in prop::collection::vec(("[a-zA-Z0-9_!#-]{1,12}", prop::collection::vec(any::<u8>(), 0..20)), 0..8),
    ) {
        let Ok(method) = Method::from_bytes(method.as_bytes()) else { return Ok(()) };
        let target = PathAndQuery::from_maybe_shared(Bytes::from(target)).ok();
        let lines: Vec<_> = lines.iter().filter_map(|(name, value)| {
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(value).ok()?))
        }).filter(|(name, _)| name != "content-length" && name != "transfer-encoding").collect();
        let written = head_of(&method, target.as_ref(), &lines);
        let mut read = [httparse::EMPTY_HEADER; 16];
        let mut request = httparse::Request::new(&mut read);
        let length = request.parse(&written).map_err(|error| TestCaseError::fail(format!("{error}")))?;
        prop_assert_eq!(length, httparse::Status::Complete(written.len()));
        prop_assert_eq!(request.method, Some(method.as_str()));
        prop_assert_eq!(request.path, Some(target.as_ref().map_or("/", PathAndQuery::as_str)));
        let announced = [Method::POST, Method::PUT, Method::PATCH].contains(&method);
        prop_assert_eq!(request.headers.len(), lines.len() + usize::from(announced));
        for (read, (name, value)) in request.headers.iter().zip(&lines) {
            prop_assert_eq!(read.name, name.as_str());
            prop_assert_eq!(read.value, value.as_bytes().trim_ascii());
        }
    }
}

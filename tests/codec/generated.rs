//! Answers made up from pieces of the grammar, then broken.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngSeed, TestRunner};

use super::change::{change, changed};
use super::compare::{Case, Kind, Tail, check, timeless};

/// So many unless `PROPTEST_CASES` says otherwise; a few seconds.
const CASES: u32 = 4000;

/// Before the head.
const BEFORE: &[&str] = &[
    "\r\n",
    "\n",
    "\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
    "HTTP/1.0 100 \r\nContent-Length: 5\r\n\r\n",
    "HTTP/1.1 102\r\nConnection: close\r\n\r\n",
];
const STATUS: &[&str] = &[
    "HTTP/1.1 200 OK",
    "HTTP/1.1 200",
    "HTTP/1.0 200 OK",
    "HTTP/1.1 204 No Content",
    "HTTP/1.1 304 Not Modified",
    "HTTP/1.1 205 Reset",
    "HTTP/1.1 404 Not Found",
    "HTTP/1.1 500 ",
    "HTTP/1.1 101 Switching Protocols",
    "HTTP/1.2 200 OK",
    "HTTP/1.1 099 X",
    "HTTP/1.1  200 OK",
    "HTTP/2.0 200 OK",
    "HTTP/1.1 1000 OK",
    "http/1.1 200 OK",
];
const LINES: &[&str] = &[
    "A: b",
    "A:b",
    "B: ",
    "Set-Cookie: a=b; c",
    "Content-Length: 5",
    "Content-Length: 5, 5",
    "Content-Length: 0",
    "Content-Length: 05",
    "Content-Length: +5",
    "Content-Length: 6",
    "Content-Length: 5,",
    "content-length:5",
    "Transfer-Encoding: chunked",
    "transfer-encoding:CHUNKED",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: chunked, chunked",
    "Connection: close",
    "Connection: keep-alive",
    "Connection: upgrade",
    "Connection: a, close",
    "Upgrade: websocket",
    "Keep-Alive: timeout=5",
    "Trailer: X-T",
    " fold",
    "\tfold",
    "A : b",
    ": b",
    "no colon",
    "A\0: b",
    "A: b\0",
    "A: b\rC: d",
    "\u{e9}: a",
    "A: \u{e9}",
];
const CHUNK_ENDS: &[&str] = &["\r\n", "\r\n", "\r\n", "\r\n", ";a\r\n", ";a=\"b\"\r\n", " \r\n", "\n", "\r", ";\n\r\n"];
const LAST: &[&str] = &[
    "0\r\n\r\n",
    "0\r\n\r\n",
    "00\r\n\r\n",
    "0;a\r\n\r\n",
    "0\r\nX-T: 1\r\n\r\n",
    "0\r\nX-T: 1\r\nContent-Length: 3\r\n\r\n",
    "0\r\n",
    "0\n\n",
    "0\r\nX-T\r\n\r\n",
    "0\r\n X\r\n\r\n",
    "",
];
/// Behind the end.
const BEHIND: &[&str] =
    &["\r\n", "x", "0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL", "HTTP/1.1 100 C\r\n\r\n"];

#[derive(Clone, Debug)]
struct Generated {
    kind: Kind,
    answer: Vec<u8>,
    cuts: Vec<usize>,
    pauses: bool,
    early: bool,
    tail: Tail,
}

fn seldom(pieces: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop_oneof![8 => Just(""), 1 => select(pieces)]
}

fn chunks() -> impl Strategy<Value = String> {
    let size = prop_oneof![6 => Just(0_isize), 1 => -1..=1_isize];
    let chunk =
        ("[a-z]{1,20}", size, select(CHUNK_ENDS), prop_oneof![9 => Just("\r\n"), 1 => Just("\n"), 1 => Just("")]);
    let chunk = chunk.prop_map(|(data, off, line_end, end)| {
        format!("{:x}{line_end}{data}{end}", data.len().saturating_add_signed(off))
    });
    (prop::collection::vec(chunk, 0..4), select(LAST)).prop_map(|(chunks, last)| chunks.concat() + last)
}

fn generated() -> impl Strategy<Value = Generated> {
    let status = prop_oneof![6 => Just(STATUS[0]), 2 => select(&STATUS[..9]), 1 => select(STATUS)];
    let lines = prop_oneof![
        Just(vec!["Content-Length: 5"]),
        Just(vec!["Transfer-Encoding: chunked"]),
        prop::collection::vec(select(&LINES[..24]), 0..5),
        prop::collection::vec(select(LINES), 0..5),
    ];
    let end = prop_oneof![12 => Just("\r\n"), 1 => Just("\n")];
    let body = prop_oneof![Just("hello".to_owned()), chunks(), Just(String::new())];
    let answer = (seldom(BEFORE), status, lines, end, body, seldom(BEHIND));
    let answer = answer.prop_map(|(before, status, lines, end, body, behind)| {
        let lines: String = lines.iter().map(|line| format!("{line}{end}")).collect();
        format!("{before}{status}{end}{lines}{end}{body}{behind}").into_bytes()
    });
    let changes = prop_oneof![3 => Just(vec![]), 2 => prop::collection::vec(change(), 1..4)];
    let manner = (
        prop_oneof![4 => Just(Kind::Get), 1 => Just(Kind::Head), 1 => Just(Kind::Post), 1 => Just(Kind::Upgrade)],
        prop_oneof![5 => Just(Tail::Silence), 3 => Just(Tail::Eof), 1 => Just(Tail::Reset)],
        any::<bool>(),
        prop::bool::weighted(0.02),
        prop::collection::vec(any::<Index>(), 0..6),
    );
    (answer, changes, manner).prop_map(|(answer, changes, (kind, tail, pauses, early, cuts))| {
        let answer = changed(answer, &changes);
        let mut cuts: Vec<_> = cuts.iter().map(|at| at.index(answer.len() + 1)).collect();
        cuts.sort_unstable();
        Generated { kind, answer, cuts, pauses: pauses && !early, early, tail }
    })
}

#[test]
fn made_up_answers_are_never_taken_more_loosely_than_by_hyper() {
    let mut config = Config { failure_persistence: None, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    if std::env::var_os("PROPTEST_RNG_SEED").is_none() {
        config.rng_seed = RngSeed::Fixed(9112);
    }
    let runtime = timeless();
    let result = TestRunner::new(config).run(&generated(), |g| {
        let Generated { kind, answer, cuts, pauses, early, tail } = &g;
        let case = Case { kind: *kind, answer, cuts, pauses: *pauses, early: *early, tail: *tail };
        runtime.block_on(check(&case)).map(drop).map_err(TestCaseError::fail)
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

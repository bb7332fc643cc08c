//! Clients made up from pieces of the grammar, then broken.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngSeed, TestRunner};

use super::compare::subject::Subject;
use super::compare::{Case, Reads, check, one_thread};
use crate::codec::change::{change, changed};

/// So many unless `PROPTEST_CASES` says otherwise; a few seconds.
const CASES: u32 = 3000;

/// Before a line.
const BEFORE: &[&str] = &["\r\n", "\n", "\r\n\r\n", "\r", " ", "0\r\n\r\n"];
const METHODS: &[&str] = &["GET", "POST", "HEAD", "CONNECT", "OPTIONS", "get", "P{T", ""];
const TARGETS: &[&str] =
    &["/", "/a?b=c", "*", "http://a/b", "a:1", "//x", "/\u{e9}", "http://[", "/a b", "", "/#", "/a\0"];
const VERSIONS: &[&str] = &["HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1", "HTTP/1.1 ", ""];
const LINES: &[&str] = &[
    "Host: a",
    "A:b",
    "B: ",
    "Content-Length: 5",
    "Content-Length: 0",
    "Content-Length: 05",
    "Content-Length: 6",
    "content-length:5",
    "Transfer-Encoding: chunked",
    "transfer-encoding:CHUNKED",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: chunked, gzip",
    "Connection: close",
    "Connection: keep-alive",
    "Connection: upgrade",
    "Connection: a, close",
    "Upgrade: websocket",
    "Expect: 100-continue",
    "TE: trailers",
    "Trailer: X-T",
    "Content-Length: +5",
    "Content-Length: 5, 5",
    "Content-Length: 5,",
    "Content-Length: 9223372036854775808",
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
    "Connection: \u{e9}, keep-alive",
];
/// Those of them that are good in most requests.
const GOOD: usize = 21;
const CHUNK_ENDS: &[&str] = &["\r\n", "\r\n", "\r\n", "\r\n", ";a\r\n", ";a=\"b\"\r\n", " \r\n", "\n", "\r", ";\n\r\n"];
const LAST: &[&str] = &[
    "0\r\n\r\n",
    "0\r\n\r\n",
    "0\r\n\r\n",
    "00\r\n\r\n",
    "0;a\r\n\r\n",
    "0\r\nX-T: 1\r\n\r\n",
    "0\r\nX-T: 1\r\nContent-Length: 3\r\n\r\n",
    "0\r\n",
    "0\n\n",
    "0\r\nX-T\r\n\r\n",
    "0\r\nX-T: 1\n\r\n",
    "0\r\nGET / HTTP/1.1\r\n\r\n",
    "",
];

#[derive(Clone, Debug)]
struct Generated {
    stream: Vec<u8>,
    cuts: Vec<usize>,
    reads: Reads,
    hurries: bool,
}

fn mostly(good: &'static str, pieces: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop_oneof![9 => Just(good), 2 => select(pieces)]
}

fn chunks() -> impl Strategy<Value = String> {
    let size = prop_oneof![9 => Just(0_isize), 1 => -1..=1_isize];
    let chunk =
        ("[a-z]{1,20}", size, select(CHUNK_ENDS), prop_oneof![15 => Just("\r\n"), 1 => Just("\n"), 1 => Just("")]);
    let chunk = chunk.prop_map(|(data, off, line_end, end)| {
        format!("{:x}{line_end}{data}{end}", data.len().saturating_add_signed(off))
    });
    (prop::collection::vec(chunk, 0..4), select(LAST)).prop_map(|(chunks, last)| chunks.concat() + last)
}

fn request() -> impl Strategy<Value = String> {
    let line = (mostly("POST", METHODS), mostly("/", TARGETS), mostly("HTTP/1.1", VERSIONS));
    let line = line.prop_map(|(method, target, version)| format!("{method} {target} {version}"));
    let end = prop_oneof![12 => Just("\r\n"), 1 => Just("\n")];
    let framed = prop_oneof![
        Just((vec![], String::new())),
        Just((vec!["Content-Length: 5"], "hello".to_owned())),
        chunks().prop_map(|chunks| (vec!["Transfer-Encoding: chunked"], chunks)),
        chunks().prop_map(|chunks| (vec![], chunks)),
        Just((vec![], "hello".to_owned())),
    ];
    let lines = prop_oneof![
        Just(vec![]),
        prop::collection::vec(select(&LINES[..GOOD]), 0..3),
        prop::collection::vec(select(LINES), 0..3),
    ];
    let before = prop_oneof![12 => Just(""), 1 => select(BEFORE)];
    (before, line, end, framed, lines).prop_map(|(before, line, end, (mut framing, body), lines)| {
        framing.extend(lines);
        let lines: String = framing.iter().map(|line| format!("{line}{end}")).collect();
        format!("{before}{line}{end}{lines}{end}{body}")
    })
}

fn generated() -> impl Strategy<Value = Generated> {
    let stream = prop::collection::vec(request(), 1..4).prop_map(|requests| requests.concat().into_bytes());
    let changes = prop_oneof![3 => Just(vec![]), 2 => prop::collection::vec(change(), 1..4)];
    let manner = (
        prop_oneof![4 => Just(Reads::Whole), 1 => Just(Reads::Nothing)],
        any::<bool>(),
        prop::collection::vec(any::<Index>(), 0..6),
    );
    (stream, changes, manner).prop_map(|(stream, changes, (reads, hurries, cuts))| {
        let stream = changed(stream, &changes);
        // What nobody reads depends on what is there already.
        let cuts = if reads == Reads::Whole { cuts } else { vec![] };
        let mut cuts: Vec<_> = cuts.iter().map(|at| at.index(stream.len() + 1)).collect();
        cuts.sort_unstable();
        Generated { stream, cuts, reads, hurries }
    })
}

#[test]
fn made_up_requests_are_never_taken_more_loosely_than_by_hyper() {
    let mut config = Config { failure_persistence: None, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    if std::env::var_os("PROPTEST_RNG_SEED").is_none() {
        config.rng_seed = RngSeed::Fixed(9112);
    }
    let runtime = one_thread();
    let subject = runtime.block_on(async { Subject::start() });
    let result = TestRunner::new(config).run(&generated(), |g| {
        let Generated { stream, cuts, reads, hurries } = &g;
        let case = Case { stream, cuts, reads: *reads, hurries: *hurries };
        runtime.block_on(check(&case, &subject)).map(drop).map_err(TestCaseError::fail)
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

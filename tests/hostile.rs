//! Bytes that mean harm: HTML, terminal control, line ends, no UTF-8, very long; from clients and from upstreams. None
//! of it comes out raw, in any form of any error, in any field, in any line of a log.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use causeway::cause::{Cause, Failure, escape};
use causeway::observe::{Exchange, access_log};
use causeway::proxy::respond::{Annotator, Form, Telling, verdict};
use http::{HeaderValue, Method};
use proptest::prelude::*;
use serde_json::Value;

use crate::respond::{failed, golden};
use crate::support::origin::{Behaviour, Origin};
use crate::support::process::Causeway;
use crate::support::raw::{Raw, Response};
use crate::support::schema;

const HARM: &[&[u8]] = &[
    b"<script>alert(1)</script>",
    b"\"><img src=x onerror=alert(1)>",
    b"'onmouseover='alert(1)",
    b"</code></pre></title><h1>hello</h1><!--",
    b"\x1b[2J\x1b]0;title\x07\x1b[31m",
    b"\x9b31m\x85\xc2\x9b2J",
    b"a\r\nSet-Cookie: evil=1\r\n\r\n<p>",
    b"a\rb\nc\x0bd\x0ce",
    b"\xff\xfe\x80\xc3\x28\xed\xa0\x80",
    b"\x00\x08\x7f",
    "\u{202e}txt.exe\u{2028}\u{feff}".as_bytes(),
    b"{{status}}${HOME}$(reboot)`reboot`';reboot;'%0d%0a",
    b"\\\\\"\\\"; error=bug; details=\"",
];

/// Every tag that a page may have, as it stands in one without any harm.
fn known_tags() -> &'static BTreeSet<String> {
    static TAGS: LazyLock<BTreeSet<String>> = LazyLock::new(tags_without_harm);
    &TAGS
}

fn tags_without_harm() -> BTreeSet<String> {
    let mut tags = BTreeSet::new();
    for full in [true, false] {
        let mut exchange = golden();
        exchange.attempts.extend((4..20).map(|n| failed(n, Failure::new(Cause::ConnectionRefused), 1)));
        tags.extend(tags_of(&rendered(&exchange, Form::Html, full).1));
    }
    tags
}

/// What a browser would take for tags.
fn tags_of(page: &str) -> Vec<String> {
    let tag = |(at, _)| {
        let rest: &str = &page[at..];
        rest[..rest.find('>').map_or(rest.len(), |end| end + 1)].to_owned()
    };
    page.match_indices('<').map(tag).collect()
}

fn rendered(exchange: &Exchange, form: Form, full: bool) -> (Vec<(String, Vec<u8>)>, String) {
    let nearest = ["shop.example /api".to_owned()];
    let telling = Telling { nearest: &nearest, ..Telling::new(form, full) };
    let response = Annotator::new("causeway".into()).render(exchange, &verdict(exchange), telling);
    let fields = response.headers().iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    (fields.collect(), String::from_utf8(response.body().to_vec()).expect("UTF-8"))
}

/// Nothing but what a terminal shows.
fn assert_printable(text: &str, what: &str) {
    let raw = text.chars().find(|c| !matches!(c, ' '..='~' | '\n'));
    assert!(raw.is_none(), "{what}: {raw:?} came out raw:\n{}", escape(text.as_bytes()));
}

/// A body that is what its type says, and nothing that somebody wanted it to be.
fn assert_harmless(kind: &str, body: &str, tags: &BTreeSet<String>) {
    assert_printable(body, kind);
    if kind.starts_with("text/html") {
        for tag in tags_of(body) {
            assert!(tags.contains(&tag), "{tag} was made by somebody else:\n{body}");
        }
    } else if kind.contains("json") {
        schema::assert_error(&serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}:\n{body}")));
    }
}

/// An error about all of this.
fn about(bytes: &[u8], cause: Cause) -> Exchange {
    let mut exchange = golden();
    let text: Arc<str> = String::from_utf8_lossy(bytes).into();
    let field = || HeaderValue::from_bytes(bytes).ok();
    let path: String = escape(bytes).chars().filter(|c| !matches!(c, ' ' | '\\' | '#' | '?')).collect();
    exchange.uri = format!("/{path}?{path}").parse().unwrap_or(exchange.uri);
    exchange.method = Method::from_bytes(bytes).unwrap_or(Method::GET);
    // Ids from outside are of a closed alphabet, and names are the config's: both are tested with real requests below.
    (exchange.host, exchange.user_agent, exchange.referer) = (field(), field(), field());
    let failure = || Failure::new(cause).seen(bytes).from(std::io::Error::other(text.to_string()));
    exchange.attempts.push(failed(3, failure().sent(true), 1));
    exchange.not_tried[0].last_failure = Some((cause, format!("GET /{text} gives {text}")));
    exchange
}

/// All that is made of it.
fn check(exchange: &Exchange, tags: &BTreeSet<String>) {
    for full in [true, false] {
        for (form, kind) in
            [(Form::Html, "text/html"), (Form::Text, "text/plain"), (Form::Json, "json"), (Form::Grpc, "grpc")]
        {
            let (fields, body) = rendered(exchange, form, full);
            assert_harmless(kind, &body, tags);
            for (name, value) in fields.iter().filter(|(name, _)| name != "x-request-id") {
                assert!(value.iter().all(|b| matches!(b, b' '..=b'~')), "{name}: {}", escape(value));
                if name == "proxy-status" {
                    let list: sfv::List = sfv::Parser::new(&value[..]).parse().expect("a structured field");
                    assert_eq!(list.len(), 1, "{}", escape(value));
                }
            }
        }
    }
    for form in [access_log::Form::Json, access_log::Form::Combined, access_log::Form::Human] {
        let mut line = Vec::new();
        access_log::line(&mut line, form, exchange);
        let line = String::from_utf8(line).expect("UTF-8");
        let line = line.strip_suffix('\n').unwrap_or(&line);
        assert!(!line.contains('\n'), "two lines of one: {line:?}");
        let raw = line.chars().find(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{202e}' | '\u{feff}'));
        assert!(raw.is_none(), "{raw:?} in {}", escape(line.as_bytes()));
    }
}

#[test]
fn nothing_comes_out_raw() {
    let tags = known_tags();
    assert!(tags.len() > 30 && !tags.iter().any(|tag| tag.contains("script")), "{tags:?}");
    for harm in HARM {
        for cause in [Cause::NotHttp, Cause::InvalidHead, Cause::HealthStatus, Cause::DnsFailure] {
            check(&about(harm, cause), tags);
        }
    }
    check(&about(&HARM.concat().repeat(300), Cause::NotHttp), tags);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_at_all_come_out_raw(bytes in proptest::collection::vec(any::<u8>(), 0..200), cause in 0..Cause::ALL.len()) {
        check(&about(&bytes, Cause::ALL[cause]), known_tags());
    }
}

/// What an upstream can do with such bytes.
fn answers(harm: &[u8]) -> Vec<Vec<u8>> {
    let around = |before: &str, after: &str| [before.as_bytes(), harm, after.as_bytes()].concat();
    vec![
        around("", "\r\n\r\n"),
        around("HTTP/1.1 ", " OK\r\n\r\n"),
        around("HTTP/1.1 200 OK\r\n", ": x\r\n\r\n"),
        around("HTTP/1.1 200 OK\r\nContent-Length: ", "\r\n\r\n"),
        around("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x", "\r\n\r\n"),
        around("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", "\r\n\r\n"),
    ]
}

fn is_ours(answer: &Response) -> bool {
    answer.field("proxy-status").is_some()
}

/// An answer of causeway's own has its own fields alone, each printable, and a harmless body.
fn assert_ours(answer: &Response, tags: &BTreeSet<String>) {
    const FIELDS: &[&str] = &[
        "allow",
        "cache-control",
        "connection",
        "content-length",
        "content-security-policy",
        "content-type",
        "date",
        "proxy-status",
        "retry-after",
        "vary",
        "x-content-type-options",
        "x-request-id",
    ];
    for line in answer.head.lines().skip(1) {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?} is no field"));
        assert!(FIELDS.contains(&name.to_ascii_lowercase().as_str()), "{name} is none of ours: {answer:?}");
        assert_printable(value, name);
    }
    let kind = answer.field("content-type").unwrap().to_owned();
    assert_harmless(&kind, std::str::from_utf8(&answer.body).expect("UTF-8"), tags);
}

/// One line of a log, as JSON.
fn assert_line(line: &str) {
    let raw = line.chars().find(|c| c.is_control());
    assert!(raw.is_none(), "{raw:?} in {}", escape(line.as_bytes()));
    let parsed: Result<Value, _> = serde_json::from_str(line);
    assert!(parsed.is_ok_and(|value| value.is_object()), "no object: {line}");
}

fn config(detail: &str, upstreams: &str, more: &str) -> String {
    format!(
        "listen = \"127.0.0.1:0\"\nworkers = 1\nadmin.address = \"off\"\nlog.access = \"json\"\nerrors.detail = \"{detail}\"\n\
         trusted_proxies = [\"loopback\"]\n[pool.app]\nupstreams = [{upstreams}]\n{more}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_upstream_harms_nobody() {
    let tags = known_tags();
    let origin = Origin::start(Behaviour::Silent).await;
    for detail in ["full", "public"] {
        let more = "health.type = \"off\"\npassive.connect_failures = \"off\"\npassive.gateway_failures = \"off\"";
        let (mut causeway, address) = Causeway::run(&config(detail, &format!("\"{}\"", origin.address()), more));
        let long = HARM.concat().repeat(300);
        assert!(long.len() > 64 << 10, "{}", long.len());
        let (mut asked, mut failed) = (0, 0);
        for harm in HARM.iter().copied().chain([&*long]) {
            for answer in answers(harm) {
                origin.set(Behaviour::RawThenClose(answer));
                for accept in ["text/html", "text/plain", "*/*"] {
                    let mut client = Raw::connect(address).await;
                    client
                        .send(format!("GET / HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"))
                        .await;
                    let answer = client.response().await;
                    if is_ours(&answer) {
                        failed += 1;
                        assert_ours(&answer, tags);
                    }
                    asked += 1;
                }
            }
        }
        (0..asked).for_each(|_| assert_line(&causeway.line()));
        assert!(failed > 150, "only {failed} of these answers were errors");
        causeway.signal(rustix::process::Signal::TERM);
        let (_, events) = causeway.end();
        assert!(events.contains("not_http"), "{events}");
        events.lines().for_each(assert_line);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_check_harms_nobody() {
    let tags = known_tags();
    for harm in HARM.iter().copied() {
        let origin = Origin::start(Behaviour::RawThenClose([harm, b"\r\n\r\n"].concat())).await;
        let more = "when_all_evicted = \"fail\"\nhealth.path = \"/healthz\"";
        let (mut causeway, address) = Causeway::run(&config("full", &format!("\"{}\"", origin.address()), more));
        assert_line(&causeway.event("upstream_evicted"));
        for accept in ["text/html", "text/plain", "*/*"] {
            let mut client = Raw::connect(address).await;
            client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n")).await;
            let answer = client.response().await;
            assert_eq!(answer.status, 502, "{answer:?}");
            assert_ours(&answer, tags);
            assert_line(&causeway.line());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_client_harms_nobody() {
    let tags = known_tags();
    for detail in ["full", "public"] {
        let upstreams = format!("\"{}\"", Origin::nobody());
        let (mut causeway, address) = Causeway::run(&config(detail, &upstreams, "health.type = \"off\""));
        let long = HARM.concat().repeat(100);
        for harm in HARM.iter().copied().chain([&*long]) {
            for place in 0..8 {
                for accept in ["text/html", "text/plain", "*/*"] {
                    let lines = [&b"GET"[..], b"/", b"HTTP/1.1", b"Host", b"a", b"User-Agent", b"b", b"c"];
                    let put = |index: usize| if index == place { harm } else { lines[index] };
                    let (method, path) = (put(0), if place == 1 { [b"/", harm].concat() } else { b"/".to_vec() });
                    let mut head = [method, b" ", &path, b" ", put(2), b"\r\n"].concat();
                    head.extend_from_slice(format!("Accept: {accept}\r\nConnection: close\r\n").as_bytes());
                    head.extend(
                        [
                            put(3),
                            b": ",
                            put(4),
                            b"\r\n",
                            put(5),
                            b": ",
                            put(6),
                            b"\r\nX-Request-Id: ",
                            put(7),
                            b"\r\n\r\n",
                        ]
                        .concat(),
                    );
                    let mut client = Raw::connect(address).await;
                    // It may be refused before all of it is read.
                    let _ = client.try_send(&head).await;
                    let Ok(answer) = client.try_response().await else { continue };
                    assert!(answer.status >= 400 && is_ours(&answer), "{answer:?}");
                    assert_ours(&answer, tags);
                }
            }
        }
        causeway.signal(rustix::process::Signal::TERM);
        for _ in 0..100 {
            assert_line(&causeway.line());
        }
        let (_, events) = causeway.end();
        events.lines().for_each(assert_line);
    }
}

//! What is counted is what happened: faults are driven through a real proxy, and the page is held against what clients
//! saw.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use causeway::config::address::ListenAddress;

use crate::support::h2::{Fault, Frames};
use crate::support::origin::{Behaviour, Origin};
use crate::support::proxy::Proxy;
use crate::support::raw::Raw;
use crate::support::source;

/// Series to value: `errors_total{pool="app",code="502",cause="connection_refused"}`.
type Series = BTreeMap<String, f64>;

pub fn observed(config: &str) -> Proxy {
    let here = SocketAddr::from(([127, 0, 0, 1], 0));
    Proxy::changed_file(config, |config| config.admin = Some(ListenAddress::Exact(vec![here])))
}

pub async fn page(proxy: &Proxy, accept: &str) -> String {
    let mut client = Raw::connect(proxy.server().admin_address().unwrap()).await;
    client.send(format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n")).await;
    let answer = client.response().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.text()
}

async fn scrape(proxy: &Proxy) -> Series {
    let page = page(proxy, "*/*").await;
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    let series = samples.map(|line| {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        (series.trim_start_matches("causeway_").to_owned(), value.parse().unwrap_or_else(|e| panic!("{line}: {e}")))
    });
    series.collect()
}

/// The sum of the series of this family whose labels hold all of these.
fn sum(series: &Series, family: &str, labels: &[&str]) -> f64 {
    let of = |name: &str| name.split('{').next() == Some(family) && labels.iter().all(|label| name.contains(label));
    series.iter().filter(|(name, _)| of(name)).map(|(_, value)| value).sum()
}

pub async fn get(proxy: &Proxy, target: &str) -> u16 {
    Raw::connect(proxy.address).await.get(target).await.status
}

#[tokio::test]
async fn the_sum_over_causes_is_what_clients_saw() {
    let (good, slow) = (Origin::start(Behaviour::Ok("fine".into())).await, Origin::start(Behaviour::Silent).await);
    let cut = Origin::start(Behaviour::RawThenClose(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal".to_vec(),
    ))
    .await;
    let own = Origin::start(Behaviour::Status(500)).await;
    let nobody = Origin::nobody();
    let pool = |name: &str, upstreams: &[SocketAddr], more: &str| {
        let list: Vec<String> = upstreams.iter().map(|address| format!("\"{address}\"")).collect();
        format!(
            "[route.{name}]\npath = \"/{name}\"\npool = \"{name}\"\n\
             [pool.{name}]\nupstreams = [{}]\nhealth.type = \"off\"\npassive.connect_failures = \"off\"\n{more}",
            list.join(", ")
        )
    };
    let proxy = observed(
        &[
            pool("good", &[good.address()], ""),
            pool("rescue", &[nobody, good.address()], "balance = \"round_robin\"\n"),
            pool("dead", &[nobody], ""),
            pool("slow", &[slow.address()], "timeouts.read = \"50ms\"\n"),
            pool("cut", &[cut.address()], ""),
            pool("own", &[own.address()], ""),
        ]
        .concat(),
    );
    let mut saw: BTreeMap<u16, f64> = BTreeMap::new();
    let mut asked = 0;
    for (target, count) in
        [("/good", 7), ("/rescue", 10), ("/dead", 5), ("/slow", 2), ("/cut", 3), ("/own", 4), ("/x", 6)]
    {
        for _ in 0..count {
            *saw.entry(get(&proxy, target).await).or_default() += 1.0;
            asked += 1;
        }
    }
    let mut broken = Raw::connect(proxy.address).await;
    broken.send("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n").await;
    *saw.entry(broken.response().await.status).or_default() += 1.0;
    proxy.exchange(asked).await;

    let series = scrape(&proxy).await;
    for (status, count) in &saw {
        assert_eq!(sum(&series, "requests_total", &[&format!("code=\"{status}\"")]), *count, "{status}: {series:#?}");
    }
    assert_eq!(sum(&series, "requests_total", &[]), saw.values().sum::<f64>());
    // What causeway answered itself, and no 500 of the app's own.
    for status in [400, 404, 502, 504] {
        let said = sum(&series, "errors_total", &[&format!("code=\"{status}\"")]);
        assert_eq!(said, saw[&status], "{status}: {series:#?}");
    }
    assert_eq!(sum(&series, "errors_total", &["code=\"500\""]), 0.0);
    assert_eq!(sum(&series, "errors_total", &["cause=\"connection_refused\"", "pool=\"dead\""]), 5.0);
    let broke = sum(&series, "errors_total", &["code=\"200\"", "pool=\"cut\""]);
    assert_eq!(broke, 3.0, "an answer that broke off is an error whatever its status said");
    // Rescued requests, and what they were rescued from.
    let (failed, again) = (
        sum(&series, "attempt_failures_total", &["pool=\"rescue\""]),
        sum(&series, "retries_total", &["pool=\"rescue\""]),
    );
    assert!(failed >= 1.0 && failed == again, "{series:#?}");
    assert_eq!(sum(&series, "failovers_total", &["pool=\"rescue\""]), failed);
    assert_eq!(sum(&series, "upstream_requests_total", &["pool=\"rescue\"", "code=\"200\""]), 10.0);
    assert_eq!(sum(&series, "upstream_requests_total", &["pool=\"own\"", "code=\"500\""]), 4.0);
    assert_eq!(sum(&series, "request_duration_seconds_count", &["route=\"good\""]), 7.0);
    assert_eq!(sum(&series, "upstream_request_duration_seconds_count", &["pool=\"good\""]), 7.0);
    let connections =
        ["upstream_connects_total", "upstream_reuses_total"].map(|name| sum(&series, name, &["pool=\"good\""]));
    assert_eq!(connections.iter().sum::<f64>(), 7.0);
    assert_eq!(sum(&series, "requests_in_flight", &[]), 0.0);
}

#[tokio::test]
async fn checks_and_evictions_are_counted() {
    let origin = Origin::start(Behaviour::Status(503)).await;
    let proxy = observed(&format!("[pool.app]\nupstreams = [\"{}\"]\nhealth.path = \"/h\"\n", origin.address()));
    proxy.until(0, causeway::health::State::Evicted).await;
    let series = scrape(&proxy).await;
    assert_eq!(sum(&series, "upstream_up", &[]), 0.0);
    assert!(sum(&series, "health_checks_total", &["result=\"failed\""]) >= 1.0);
    assert_eq!(sum(&series, "evictions_total", &["kind=\"check\""]), 1.0);
    assert_eq!(sum(&series, "evictions_total", &["kind=\"traffic\""]), 0.0);
}

/// What the README promises is there, and the other way round.
#[tokio::test]
async fn the_readme_lists_them_all() {
    let proxy = observed("[pool.app]\nupstreams = [\"127.0.0.1:1\"]\nhealth.type = \"off\"\n");
    let page = page(&proxy, "*/*").await;
    let there: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let readme = source::read(Path::new("README.md"));
    let section = readme.split("## Metrics\n").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let words = section.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
    let promised: BTreeSet<&str> = words.filter(|word| word.starts_with("causeway_")).collect();
    let ours: BTreeSet<&str> = there.iter().copied().filter(|name| name.starts_with("causeway_")).collect();
    assert_eq!(promised, ours);
    assert_eq!(there.iter().filter(|name| name.starts_with("process_")).count(), 6);
}

/// Prometheus's own reader, on both formats.
#[tokio::test]
#[ignore = "needs prometheus"]
async fn promtool_finds_nothing_to_say() {
    let origin = Origin::start(Behaviour::Ok("fine".into())).await;
    let proxy = observed(&format!(
        "[pool.app]\nupstreams = [\"{}\", \"{}\"]\nbalance = \"round_robin\"\nhealth.type = \"off\"\n",
        origin.address(),
        Origin::nobody()
    ));
    for _ in 0..4 {
        assert_eq!(get(&proxy, "/").await, 200);
    }
    proxy.exchange(3).await;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(page(&proxy, "*/*").await.as_bytes()).unwrap();
    let out = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && said.trim().is_empty(), "{said}");
    let open = page(&proxy, "application/openmetrics-text; version=1.0.0").await;
    assert!(open.ends_with("# EOF\n"));
}

#[tokio::test]
async fn requests_that_share_a_connection_are_one_that_is_active() {
    let origin = Frames::start(Fault::Silent).await;
    let upstream = origin.address();
    let pool = format!("[pool.app]\nupstreams = [\"h2c://{upstream}\"]\nhealth.type = \"off\"\n");
    let proxy = observed(&pool);
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = Raw::connect(proxy.address).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        clients.push(client);
    }
    origin.until(|record| record.requests == 5).await;
    let series = scrape(&proxy).await;
    let of = |state: &str| sum(&series, "upstream_connections", &[state]);
    let connections = origin.record().connections as f64;
    assert!(connections < 5.0, "{connections}");
    assert_eq!((of("active"), of("idle")), (connections, 0.0));
}

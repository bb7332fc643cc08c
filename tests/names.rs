//! Names, services and lists: what they stand for changes under load, and no request fails of it.

pub mod dns;
mod lists;

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use causeway::cause::Cause;
use causeway::health::State;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::support::proxy::Proxy;
use crate::support::raw::Raw;
use dns::Dns;

/// An app that says its own address. Like a container, it is told to go, answers what it has, and is gone.
struct Instance {
    at: SocketAddr,
    task: tokio::task::JoinHandle<()>,
    ends: Arc<AtomicBool>,
}

impl Instance {
    /// At 127.0.0.LAST, at this port; 0 takes any.
    async fn at(last: u8, port: u16) -> Self {
        let listener = TcpListener::bind((IpAddr::from([127, 0, 0, last]), port)).await.unwrap();
        let at = listener.local_addr().unwrap();
        let ends = Arc::new(AtomicBool::new(false));
        let ending = Arc::clone(&ends);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, at, Arc::clone(&ending)));
            }
        });
        Self { at, task, ends }
    }

    /// Listens no more; what it has is answered.
    async fn stop(self) {
        self.ends.store(true, Ordering::Relaxed);
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

async fn serve(mut stream: TcpStream, at: SocketAddr, ends: Arc<AtomicBool>) {
    let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        head.extend_from_slice(&buffer[..length]);
        while let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            head.drain(..end + 4);
            let (body, last) = (at.to_string(), ends.load(Ordering::Relaxed));
            let close = if last { "Connection: close\r\n" } else { "" };
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{close}\r\n{body}", body.len());
            if stream.write_all(answer.as_bytes()).await.is_err() || last {
                return;
            }
        }
    }
}

/// A free port that these instances have in common.
async fn instances(lasts: &[u8]) -> Vec<Instance> {
    let first = Instance::at(lasts[0], 0).await;
    let port = first.at.port();
    let mut all = vec![first];
    for last in &lasts[1..] {
        all.push(Instance::at(*last, port).await);
    }
    all
}

fn ids(proxy: &Proxy) -> Vec<String> {
    proxy.server().pools()[0].members().iter().map(|one| one.id.to_string()).collect()
}

/// Waits until the first pool is like that.
async fn until(proxy: &Proxy, what: &str, is: impl Fn(&causeway::pool::Members) -> bool) {
    let pool = &proxy.server().pools()[0];
    let mut changes = pool.changes();
    let there = async {
        while !is(&pool.members()) {
            changes.changed().await.unwrap();
        }
    };
    let seen = tokio::time::timeout(Duration::from_secs(30), there).await;
    assert!(seen.is_ok(), "never {what}: {:?}", ids(proxy));
}

/// Waits until what cannot be had just now is that.
async fn until_stale(proxy: &Proxy, what: &str, is: impl Fn(&[causeway::pool::stale::Stale]) -> bool) {
    let pool = Arc::clone(&proxy.server().pools()[0]);
    until(proxy, what, |_| is(&pool.stale.all())).await;
}

async fn until_ready(proxy: &Proxy, wanted: &[&str]) {
    let all = |members: &causeway::pool::Members| {
        let ready = members.iter().all(|one| one.health.state() == State::Ready);
        ready && members.iter().map(|one| &*one.id).eq(wanted.iter().copied())
    };
    until(proxy, &format!("{wanted:?}"), all).await;
}

/// Requests all the time, one after the other on each of these connections; counts who failed.
struct Load {
    tasks: JoinSet<()>,
    ends: Arc<AtomicBool>,
    count: Arc<[AtomicUsize; 2]>,
}

impl Load {
    fn on(proxy: &Proxy, clients: usize) -> Self {
        let (ends, count) = (Arc::new(AtomicBool::new(false)), Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]));
        let mut tasks = JoinSet::new();
        for client in 0..clients {
            let (address, ends, count) = (proxy.address, Arc::clone(&ends), Arc::clone(&count));
            tasks.spawn(async move {
                let mut connection = Raw::connect(address).await;
                while !ends.load(Ordering::Relaxed) {
                    let method = if client % 2 == 0 { "GET" } else { "POST" };
                    let request = format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
                    connection.send(request).await;
                    let status = connection.response().await.status;
                    count[usize::from(status != 200)].fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            });
        }
        Self { tasks, ends, count }
    }

    /// How many were answered well; none may have failed.
    async fn end(mut self) -> usize {
        self.ends.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        assert_eq!(self.count[1].load(Ordering::Relaxed), 0, "failed requests");
        self.count[0].load(Ordering::Relaxed)
    }
}

fn config(dns: &Dns, upstream: &str, more: &str) -> String {
    format!(
        "name_servers = [\"{}\"]\n[pool.app]\nupstreams = [{upstream}]\n{more}\n[pool.app.health]\ninterval = \"200ms\"\n",
        dns.at
    )
}

#[tokio::test]
async fn instances_leave_and_join_under_load_and_no_request_fails() {
    let mut apps = instances(&[1, 2]).await;
    let port = apps[0].at.port();
    let dns = Dns::start().await;
    dns.a("app.test", 0, &[1, 2]);
    let proxy = Proxy::start(&config(&dns, &format!("\"app.test:{port}\""), ""));
    let id = |last: u8| format!("app.test:{port}@127.0.0.{last}");
    until_ready(&proxy, &[&id(1), &id(2)]).await;
    let load = Load::on(&proxy, 8);
    // Three rolls: the next one starts, its address comes; the oldest one's goes, and then it ends.
    for last in 3..=5_u8 {
        apps.push(Instance::at(last, port).await);
        dns.a("app.test", 0, &[last - 2, last - 1, last]);
        until_ready(&proxy, &[&id(last - 2), &id(last - 1), &id(last)]).await;
        dns.a("app.test", 0, &[last - 1, last]);
        until_ready(&proxy, &[&id(last - 1), &id(last)]).await;
        apps.remove(0).stop().await;
    }
    // Compose scales down to one, and up again.
    dns.a("app.test", 0, &[5]);
    until_ready(&proxy, &[&format!("app.test:{port}")]).await;
    apps.remove(0).stop().await;
    apps.push(Instance::at(4, port).await);
    dns.a("app.test", 0, &[4, 5]);
    until_ready(&proxy, &[&id(4), &id(5)]).await;
    assert!(load.end().await > 100);
}

#[tokio::test]
async fn one_that_vanishes_before_its_address_does_costs_no_get() {
    let mut apps = instances(&[1, 2]).await;
    let port = apps[0].at.port();
    let dns = Dns::start().await;
    dns.a("app.test", 0, &[1, 2]);
    let proxy = Proxy::start(&config(&dns, &format!("\"app.test:{port}\""), ""));
    until_ready(&proxy, &[&format!("app.test:{port}@127.0.0.1"), &format!("app.test:{port}@127.0.0.2")]).await;
    let load = Load::on(&proxy, 4);
    apps.remove(0).stop().await;
    until(&proxy, "evicted", |members| members.iter().any(|one| one.health.state() == State::Evicted)).await;
    dns.a("app.test", 0, &[2]);
    until_ready(&proxy, &[&format!("app.test:{port}")]).await;
    assert!(load.end().await > 50);
}

#[tokio::test]
async fn a_name_that_is_not_there_yet_stops_no_start_and_is_found_later() {
    let apps = instances(&[1]).await;
    let dns = Dns::start().await;
    let proxy = Proxy::start(&config(&dns, &format!("\"app.test:{}\"", apps[0].at.port()), ""));
    until(&proxy, "asked", |members| members[0].nameless()).await;
    let mut client = Raw::connect(proxy.address).await;
    let answer = client.get("/").await;
    let said = answer.text();
    assert!(answer.status == 502 && said.contains("dns_not_found"), "{said}");
    dns.a("app.test", 60, &[1]);
    until_ready(&proxy, &[&format!("app.test:{}", apps[0].at.port())]).await;
    assert_eq!(client.get("/").await.text(), apps[0].at.to_string());
}

#[tokio::test]
async fn the_last_good_addresses_stay_when_the_name_server_dies_or_knows_nothing_more() {
    let apps = instances(&[1, 2]).await;
    let port = apps[0].at.port();
    let mut dns = Dns::start().await;
    dns.a("app.test", 0, &[1, 2]);
    let proxy = Proxy::start(&config(&dns, &format!("\"app.test:{port}\""), ""));
    let both = [format!("app.test:{port}@127.0.0.1"), format!("app.test:{port}@127.0.0.2")];
    until_ready(&proxy, &[&both[0], &both[1]]).await;
    let load = Load::on(&proxy, 2);
    dns.forget("app.test");
    dns.asked_again(2).await;
    assert_eq!(ids(&proxy), both);
    let of = |cause, kept: usize| {
        move |stale: &[causeway::pool::stale::Stale]| {
            stale.len() == 1
                && stale[0].cause == cause
                && stale[0].kept == kept
                && stale[0].said.contains(" stay in use.")
        }
    };
    until_stale(&proxy, "not found", of(Cause::DnsNotFound, 2)).await;
    dns.stop();
    until_stale(&proxy, "without an answer", |stale| stale.iter().any(|one| one.cause != Cause::DnsNotFound)).await;
    assert_eq!(ids(&proxy), both);
    assert!(load.end().await > 50);
}

#[tokio::test]
async fn a_name_that_resolves_again_is_shown_no_more() {
    let apps = instances(&[1]).await;
    let port = apps[0].at.port();
    let dns = Dns::start().await;
    dns.a("app.test", 0, &[1]);
    let proxy = Proxy::start(&config(&dns, &format!("\"app.test:{port}\""), ""));
    until_ready(&proxy, &[&format!("app.test:{port}")]).await;
    assert_eq!(proxy.server().pools()[0].stale.all(), []);
    dns.forget("app.test");
    until_stale(&proxy, "stale", |stale| stale.len() == 1).await;
    let stale = proxy.server().pools()[0].stale.all();
    assert_eq!((&*stale[0].source, stale[0].kept), (&*format!("app.test:{port}"), 1));
    assert!(stale[0].said.ends_with(" Its last address stays in use."), "{}", stale[0].said);
    dns.a("app.test", 0, &[1]);
    until_stale(&proxy, "had again", <[_]>::is_empty).await;
}

#[tokio::test]
async fn a_truncated_answer_is_asked_for_again_over_tcp() {
    let apps = instances(&[1, 2, 3]).await;
    let port = apps[0].at.port();
    let dns = Dns::start().await;
    dns.a("app.test", 5, &[1, 2, 3]);
    dns.truncate(true);
    let proxy = Proxy::start(&config(&dns, &format!("\"app.test:{port}\""), ""));
    let wanted: Vec<_> = (1..=3).map(|last| format!("app.test:{port}@127.0.0.{last}")).collect();
    until_ready(&proxy, &wanted.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert!(dns.over_tcp() > 0);
}

#[tokio::test]
async fn a_service_has_ports_weights_and_backups_of_its_own() {
    let apps = [Instance::at(1, 0).await, Instance::at(1, 0).await, Instance::at(2, 0).await, Instance::at(3, 0).await];
    let ports: Vec<u16> = apps.iter().map(|app| app.at.port()).collect();
    let dns = Dns::start().await;
    // The first two share an address that stands beside the records, the third must be asked for.
    dns.a("one.test", 0, &[1]);
    dns.a("two.test", 0, &[2]);
    dns.a("spare.test", 0, &[3]);
    dns.srv(
        "_http._tcp.app.test",
        &[
            (10, 300, ports[0], "one.test"),
            (10, 100, ports[1], "one.test"),
            (10, 0, ports[2], "two.test"),
            (20, 9, ports[3], "spare.test"),
        ],
        &["one.test"],
    );
    let more = "host_header = \"upstream\"\nretry.on_status = [503]";
    let proxy = Proxy::start(&config(&dns, "\"srv:_http._tcp.app.test\"", more));
    let id = |at: &str| format!("srv:_http._tcp.app.test@{at}");
    let mut first = [ports[0], ports[1]];
    first.sort_unstable();
    let wanted = [
        id(&format!("127.0.0.1:{}", first[0])),
        id(&format!("127.0.0.1:{}", first[1])),
        id("127.0.0.2"),
        id("127.0.0.3"),
    ];
    until_ready(&proxy, &wanted.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let members = proxy.server().pools()[0].members();
    let share = |port: u16| {
        members.iter().find(|one| one.endpoint.dial.addresses()[0].port() == port).map(|one| (one.weight, one.backup))
    };
    let wanted = [(100, false), (33, false), (1, false), (9, true)].map(Some);
    assert_eq!([share(ports[0]), share(ports[1]), share(ports[2]), share(ports[3])], wanted);
    assert!(members.iter().any(|one| *one.endpoint.authority == *format!("app.test:{}", ports[2])));
    let mut seen = HashSet::new();
    let mut client = Raw::connect(proxy.address).await;
    for _ in 0..60 {
        seen.insert(client.get("/").await.text());
    }
    assert!(seen.contains(&apps[0].at.to_string()) && seen.contains(&apps[1].at.to_string()));
    assert!(!seen.contains(&apps[3].at.to_string()), "a backup");
    // The first rank goes away: the backups are the first rank now.
    dns.srv("_http._tcp.app.test", &[(20, 9, ports[3], "spare.test")], &[]);
    until_ready(&proxy, &["srv:_http._tcp.app.test"]).await;
    assert_eq!(client.get("/").await.text(), apps[3].at.to_string());
}

#[tokio::test]
async fn one_on_the_way_out_answers_what_it_has_and_sticky_clients_move() {
    let apps = instances(&[1, 2]).await;
    let port = apps[0].at.port();
    let dns = Dns::start().await;
    dns.a("app.test", 0, &[1, 2]);
    let proxy = Proxy::start(&config(&dns, &format!("\"app.test:{port}\""), "sticky = \"stay\""));
    until_ready(&proxy, &[&format!("app.test:{port}@127.0.0.1"), &format!("app.test:{port}@127.0.0.2")]).await;
    let mut client = Raw::connect(proxy.address).await;
    let answer = client.get("/").await;
    let (home, cookie) = (answer.text(), answer.field("set-cookie").unwrap().split(';').next().unwrap().to_owned());
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n");
    let stays: u8 = if home.starts_with("127.0.0.1:") { 1 } else { 2 };
    // Alone, and then beside the other again: the same home.
    dns.a("app.test", 0, &[stays]);
    until_ready(&proxy, &[&format!("app.test:{port}")]).await;
    dns.a("app.test", 0, &[1, 2]);
    until_ready(&proxy, &[&format!("app.test:{port}@127.0.0.1"), &format!("app.test:{port}@127.0.0.2")]).await;
    for _ in 0..10 {
        client.send(&request).await;
        assert_eq!(client.response().await.text(), home);
    }
    dns.a("app.test", 0, &[3 - stays]);
    until_ready(&proxy, &[&format!("app.test:{port}")]).await;
    client.send(&request).await;
    assert_ne!(client.response().await.text(), home);
}

#[tokio::test]
async fn without_checks_a_new_address_is_used_at_once() {
    let apps = instances(&[1, 2]).await;
    let port = apps[0].at.port();
    let dns = Dns::start().await;
    dns.a("app.test", 0, &[1]);
    let text = config(&dns, &format!("\"app.test:{port}\""), "").replace("interval = \"200ms\"", "type = \"off\"");
    let proxy = Proxy::start(&text);
    until_ready(&proxy, &[&format!("app.test:{port}")]).await;
    dns.a("app.test", 0, &[1, 2]);
    until_ready(&proxy, &[&format!("app.test:{port}@127.0.0.1"), &format!("app.test:{port}@127.0.0.2")]).await;
    let (mut client, mut seen) = (Raw::connect(proxy.address).await, HashSet::new());
    for _ in 0..50 {
        seen.insert(client.get("/").await.text());
    }
    assert_eq!(seen.len(), 2);
    drop(apps);
}

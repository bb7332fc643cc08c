//! Listeners that come, stay, change and go.

use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::*;
use crate::support::certificates::Authority;

/// Long enough that only a fault reaches it.
const LONG: Duration = Duration::from_secs(20);

fn second(address: SocketAddr) -> String {
    format!("[listener.second]\naddress = \"{address}\"\n")
}

/// Until nobody listens there any more: a listener that left still takes what the kernel keeps for it.
async fn closed(address: SocketAddr) {
    let begun = Instant::now();
    while TcpStream::connect(address).await.is_ok() {
        assert!(begun.elapsed() < LONG, "still open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn one_comes_and_one_goes() {
    let (origin, place) = (fine().await, Origin::free());
    let alone = unchecked(origin.address(), "");
    let both = format!("{}{alone}", second(place));
    let proxy = Proxy::start(&alone);
    let mut kept = Raw::connect(proxy.address).await;
    proxy.reload(&both).await.unwrap();
    let mut there = Raw::connect(place).await;
    assert_eq!(there.get("/").await.text(), "fine");
    assert_eq!(proxy.server().addresses()[1], ("second".into(), vec![place]));

    proxy.reload(&alone).await.unwrap();
    let last = there.get("/").await;
    assert_eq!((last.text().as_str(), last.field("connection")), ("fine", Some("close")), "one more, and then its end");
    assert_eq!(there.rest().await.1, End::Eof);
    closed(place).await;
    assert_eq!(kept.get("/").await.field("connection"), None, "the other one has nothing to do with it");
}

/// The address is still being closed when it is wanted again.
#[tokio::test]
async fn one_that_left_comes_back_at_once() {
    let (origin, place) = (fine().await, Origin::free());
    let alone = unchecked(origin.address(), "");
    let both = format!("{}{alone}", second(place));
    let proxy = Proxy::start(&both);
    let mut old = Raw::connect(place).await;
    assert_eq!(old.get("/").await.status, 200);
    proxy.reload(&alone).await.unwrap();
    proxy.reload(&both).await.unwrap();
    assert_eq!(Raw::connect(place).await.get("/").await.text(), "fine");
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.sock");
    let unix = format!("[listener.unix]\naddress = \"unix:{}\"\n{alone}", path.display());
    for config in [&unix, &alone, &unix] {
        proxy.reload(config).await.unwrap();
    }
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("fine"), "{answer}");
}

/// The kernel chose its port: it keeps that, and its connections, by whatever name.
#[tokio::test]
async fn another_name_is_no_other_socket() {
    let origin = fine().await;
    let proxy = Proxy::start(&unchecked(origin.address(), ""));
    let mut kept = Raw::connect(proxy.address).await;
    assert_eq!(kept.get("/").await.status, 200);
    // The tests' own `listen` would be a second one.
    let config = causeway::config::Config::from_toml(&format!(
        "workers = 2\nadmin.address = \"off\"\nlog.access = \"off\"\nlistener.front.address = \"127.0.0.1:0\"\n{}",
        unchecked(origin.address(), "")
    ))
    .unwrap();
    proxy.server().reload(config).await.unwrap();
    assert_eq!(proxy.server().addresses(), [("front".into(), vec![proxy.address])]);
    assert_eq!(kept.get("/").await.field("connection"), None);
    assert_eq!(Raw::connect(proxy.address).await.get("/").await.status, 200);
}

#[tokio::test]
async fn tls_is_for_connections_that_come_then() {
    let origin = fine().await;
    let (authority, folder) = (Authority::new(), TempDir::new().unwrap());
    authority.issue(&["a.test"], 2030).write(folder.path(), "a");
    let at = folder.path().display();
    let plain = unchecked(origin.address(), "");
    let secure =
        format!("[listener.main.tls]\ncertificates = [{{ cert = \"{at}/a.pem\", key = \"{at}/a.key\" }}]\n{plain}");
    let proxy = Proxy::start(&plain);
    let mut kept = Raw::connect(proxy.address).await;
    assert_eq!(kept.get("/").await.status, 200);
    proxy.reload(&secure).await.unwrap();
    assert_eq!(kept.get("/").await.text(), "fine", "it goes on as it began");
    let connector = TlsConnector::from(authority.client(&[&TLS13], &[], None));
    let shake = async || {
        let stream = TcpStream::connect(proxy.address).await.unwrap();
        let name = ServerName::try_from("a.test").unwrap();
        let mut stream = connector.connect(name, stream).await.unwrap();
        let resumed = stream.get_ref().1.handshake_kind();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("fine"), "{answer}");
        resumed
    };
    shake().await;
    // Another certificate: who was here before is known all the same.
    authority.issue(&["a.test"], 2031).write(folder.path(), "a");
    proxy.reload(&secure).await.unwrap();
    assert_eq!(shake().await, Some(rustls::HandshakeKind::Resumed));
    proxy.reload(&plain).await.unwrap();
    assert_eq!(Raw::connect(proxy.address).await.get("/").await.text(), "fine");
}

#[tokio::test]
async fn an_address_in_the_way_is_named_and_nothing_changes() {
    let (origin, place) = (fine().await, Origin::free());
    let proxy = Proxy::start(&format!("listen = \"{place}\"\n{}", unchecked(origin.address(), "")));
    let all = format!(":{}", place.port());
    let other = format!("listen = \"{all}\"\n{}", unchecked(Origin::nobody(), ""));
    let why = proxy.reload(&other).await.unwrap_err();
    let wanted =
        format!("listener main: {all} cannot be opened while {place} (listener main) is. Take that out and reload");
    assert!(why.starts_with(&wanted) && why.ends_with("Nothing was changed."), "{why}");
    assert_eq!(Raw::connect(place).await.get("/").await.text(), "fine");
}

/// More may come in at once; fewer, when enough of those that are in have gone.
#[tokio::test]
async fn the_limit_of_connections_counts_those_that_are_open() {
    let origin = fine().await;
    let limited =
        |most: usize| format!("[listener.main.limits]\nconnections = {most}\n{}", unchecked(origin.address(), ""));
    let proxy = Proxy::start(&limited(1));
    let mut first = Raw::connect(proxy.address).await;
    assert_eq!(first.get("/").await.status, 200);
    let mut waits = Raw::connect(proxy.address).await;
    waits.send("GET /waits HTTP/1.1\r\nHost: a\r\n\r\n").await;
    proxy.reload(&limited(2)).await.unwrap();
    assert_eq!(waits.response().await.status, 200);
    proxy.reload(&limited(1)).await.unwrap();
    assert_eq!((first.get("/").await.status, waits.get("/").await.status), (200, 200), "nobody is sent away");
    let mut third = Raw::connect(proxy.address).await;
    third.send("GET /third HTTP/1.1\r\nHost: a\r\n\r\n").await;
    drop(first);
    let early = tokio::time::timeout(Duration::from_millis(200), third.try_response()).await;
    assert!(early.is_err(), "one is in, and one may be");
    drop(waits);
    assert_eq!(third.response().await.status, 200);
}

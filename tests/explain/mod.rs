//! `explain`: requests that failed are kept, the admin address tells the whole trail of each, and the command prints
//! it.

mod lore;
mod trails;
mod words;

use std::net::SocketAddr;

use causeway::config::ListenAddress;
use serde_json::Value;

use crate::support::proxy::Proxy;
use crate::support::raw::{Raw, Response};

/// A proxy with an admin address, and that.
fn proxy(upstreams: &[SocketAddr], more: &str) -> (Proxy, SocketAddr) {
    let admin = |config: &mut causeway::config::Config| {
        config.admin = Some(ListenAddress::Exact(vec!["127.0.0.1:0".parse().unwrap()]));
    };
    let proxy = Proxy::changed(upstreams, more, admin);
    let admin = proxy.server().admin_address().unwrap();
    (proxy, admin)
}

/// One request on a connection of its own.
async fn ask(address: SocketAddr, line: &str, fields: &str) -> Response {
    let mut client = Raw::connect(address).await;
    let host =
        if fields.to_ascii_lowercase().contains("host: ") { String::new() } else { format!("Host: {address}\r\n") };
    client.send(format!("{line} HTTP/1.1\r\n{host}{fields}Connection: close\r\n\r\n")).await;
    client.response().await
}

fn json(answer: &Response) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|e| panic!("{e}: {answer:?}"))
}

/// The trail of a request, as JSON and as text.
async fn trail(admin: SocketAddr, id: &str) -> (Value, String) {
    let answer = ask(admin, &format!("GET /api/incidents/{id}"), "").await;
    assert_eq!((answer.status, answer.field("content-type")), (200, Some("application/json")), "{answer:?}");
    let text = ask(admin, &format!("GET /api/incidents/{id}"), "Accept: text/plain\r\n").await;
    assert_eq!((text.status, text.field("content-type")), (200, Some("text/plain; charset=utf-8")), "{text:?}");
    assert!(text.text().bytes().all(|b| matches!(b, b' '..=b'~' | b'\n')), "{}", text.text());
    (json(&answer), text.text())
}

/// All that is above the client's last words, but for the time, which ends with the last byte of the answer.
fn tells_the_account_of(trail: &str, told: &str) {
    let told = told.split("\nThis answer comes from").next().unwrap().trim_end();
    let first = |text: &str| {
        let (heading, rest) = text.split_once("\n\n").unwrap();
        let (first, rest) = rest.split_once("\n\n").unwrap();
        format!("{heading}\n\n{}\n\n{rest}", first.rsplit_once(", ").unwrap().0)
    };
    assert!(first(trail).starts_with(&first(told)), "{trail}\n\nThe client's:\n{told}");
}

//! A look inside from outside: what the admin address answers, and the commands that ask it.

mod commands;
mod drains;
pub mod openapi;
mod status;

use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};

use causeway::config::address::ListenAddress;
use serde_json::Value;

use crate::support::proxy::Proxy;
use crate::support::raw::{Raw, Response};

/// A proxy with an admin address, configured by this.
fn looked_into(config: &str) -> (Proxy, SocketAddr) {
    let here = SocketAddr::from(([127, 0, 0, 1], 0));
    let proxy = Proxy::changed_file(config, |config| config.admin = Some(ListenAddress::Exact(vec![here])));
    let admin = proxy.server().admin_address().unwrap();
    (proxy, admin)
}

/// Of these upstreams, unchecked, with more keys for the pool.
fn pool(upstreams: &[SocketAddr], more: &str) -> String {
    let list: Vec<String> = upstreams.iter().map(|address| format!("\"{address}\"")).collect();
    format!("[pool.app]\nupstreams = [{}]\nhealth.type = \"off\"\n{more}\n", list.join(", "))
}

async fn ask(admin: SocketAddr, method: &str, target: &str, fields: &str, body: &str) -> Response {
    let mut client = Raw::connect(admin).await;
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    client.send(format!("{method} {target} HTTP/1.1\r\nHost: {admin}\r\n{fields}{length}\r\n{body}")).await;
    client.response().await
}

async fn document(admin: SocketAddr, target: &str) -> Value {
    let answer = ask(admin, "GET", target, "", "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_slice(&answer.body).unwrap()
}

/// The real program with these words, asking that admin.
async fn causeway(admin: SocketAddr, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_causeway"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CAUSEWAY_")) {
        command.env_remove(name);
    }
    command.args(words).args(["--admin", &admin.to_string()]).stdin(Stdio::null());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

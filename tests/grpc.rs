//! gRPC from end to end: a real client and real servers (Debian's python3-grpcio, `tests/grpc/app.py`) with causeway
//! between them; and the deadlines of calls, for everybody.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use causeway::health::State;

use crate::support::certificates::Authority;
use crate::support::origin::Origin;
use crate::support::proxy::Proxy;

mod deadlines;
mod forms;

/// A Python of its own kind, which has the package.
fn app(words: &[&str]) -> Child {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/grpc/app.py");
    let mut command = Command::new("/usr/bin/python3");
    command.arg(script).args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().unwrap()
}

/// A server as a child; dropping it kills it, as `kill -9` does.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start() -> Self {
        let mut child = app(&["serve"]);
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port: u16 = line.trim().parse().unwrap();
        Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client as a child; dropping it kills it.
struct Client {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Client {
    fn start(words: &[&str]) -> Self {
        let mut child = app(words);
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line
    }

    /// What it still says, and whether all held.
    fn end(mut self) -> (bool, String) {
        let mut said = String::new();
        self.out.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().success(), said)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn holds(words: &[&str]) {
    let (success, said) = Client::start(words).end();
    assert!(success, "{said}");
}

fn config(upstreams: &[SocketAddr], more: &str) -> String {
    let list: Vec<String> = upstreams.iter().map(|address| format!("\"h2c://{address}\"")).collect();
    format!("[pool.app]\nupstreams = [{}]\n{more}", list.join(", "))
}

const UNCHECKED: &str = "health.type = \"off\"\n";

#[tokio::test]
#[ignore = "needs python3-grpcio"]
async fn all_shapes_pass_with_their_trailers() {
    let server = Server::start();
    let proxy = Proxy::start(&config(&[server.address], UNCHECKED));
    holds(&["call", &proxy.address.to_string()]);
    // The same behind TLS, where the client says what it speaks (ALPN); and by the name of its certificate.
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    authority.issue(&["localhost"], 2030).write(folder.path(), "a");
    std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let pair = format!("{{ cert = \"{}\", key = \"{}\" }}", file("a.pem"), file("a.key"));
    let tls = format!("[listener.main.tls]\ncertificates = [{pair}]\n");
    let secure = Proxy::start(&(tls + &config(&[server.address], UNCHECKED)));
    holds(&["call", &format!("localhost:{}", secure.address.port()), &file("ca.pem")]);
    // Of two servers one is not there: nobody notices.
    let proxy = Proxy::start(&config(
        &[Origin::nobody(), server.address],
        "health.type = \"off\"\nbalance = \"round_robin\"\n",
    ));
    holds(&["call", &proxy.address.to_string()]);
    assert!(proxy.exchanges().iter().any(|seen| seen.rescued));
}

#[tokio::test]
#[ignore = "needs python3-grpcio"]
async fn a_health_check_calls_the_service() {
    let server = Server::start();
    let proxy = Proxy::start(&config(&[server.address], "health = { type = \"grpc\", interval = \"200ms\" }\n"));
    proxy.until(0, State::Ready).await;
    drop(server);
    proxy.until(0, State::Evicted).await;
}

fn fails(proxy: &Proxy, method: &str, request: &str, timeout: &str) -> String {
    Client::start(&["fails", &proxy.address.to_string(), method, request, timeout]).end().1
}

#[tokio::test]
#[ignore = "needs python3-grpcio"]
async fn a_failure_is_a_status_with_causeways_words() {
    let full = "[errors]\ndetail = \"full\"\n";
    let proxy = Proxy::start(&config(&[Origin::nobody()], &format!("{UNCHECKED}{full}")));
    let said = fails(&proxy, "Echo", "hello", "20");
    assert!(said.starts_with("UNAVAILABLE The only upstream of pool \"app\" failed; request "), "{said}");
    assert!(said.contains("error=connection_refused"), "{said}");
    let server = Server::start();
    let proxy = Proxy::start(&config(&[server.address], &format!("{UNCHECKED}timeouts.request = \"200ms\"\n")));
    for method in ["Slow", "Wait"] {
        let said = fails(&proxy, method, "3", "20");
        assert!(said.starts_with("DEADLINE_EXCEEDED ") && said.contains("request_timeout"), "{said}");
    }
    // And one without a route.
    let proxy = Proxy::start(&(config(&[server.address], UNCHECKED) + "[route.shop]\npath = \"/shop.Cart\"\n"));
    let said = fails(&proxy, "Echo", "hello", "20");
    assert!(said.starts_with("UNIMPLEMENTED "), "{said}");
}

#[tokio::test]
#[ignore = "needs python3-grpcio"]
async fn a_server_that_is_killed_in_mid_stream_ends_the_call() {
    let server = Server::start();
    let proxy = Proxy::start(&config(&[server.address], UNCHECKED));
    let mut client = Client::start(&["cut", &proxy.address.to_string()]);
    assert_eq!(client.line().trim(), "streaming");
    let killed = Instant::now();
    drop(server);
    let said = client.line();
    assert!(said.starts_with("INTERNAL ") || said.starts_with("UNAVAILABLE "), "{said}");
    assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
}

/// Calls that may be sent again (the client says so with an idempotency key) lose nothing when one of two servers is
/// killed.
#[tokio::test]
#[ignore = "needs python3-grpcio"]
async fn a_server_that_is_killed_under_load_loses_no_call_that_may_be_sent_again() {
    let (doomed, server) = (Server::start(), Server::start());
    let more = "health = { type = \"grpc\", interval = \"200ms\" }\nretry = { idempotency_key = true }\n";
    let proxy = Proxy::start(&config(&[doomed.address, server.address], more));
    proxy.until(0, State::Ready).await;
    proxy.until(1, State::Ready).await;
    let mut client = Client::start(&["load", &proxy.address.to_string(), "3000"]);
    assert_eq!(client.line().trim(), "under way");
    drop(doomed);
    let (success, said) = client.end();
    assert!(success && said.is_empty(), "{said}");
    let exchanges = proxy.exchanges();
    assert!(exchanges.len() >= 3000 && exchanges.iter().all(|seen| seen.status == 200));
    let rescued = exchanges.iter().filter(|seen| seen.rescued).count();
    println!("{rescued} of {} were rescued", exchanges.len());
}

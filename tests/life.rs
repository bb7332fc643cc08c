//! A process from start to end: what it says, and the exit code that it leaves.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use rustix::process::Signal;

use crate::support::process::{Causeway, PATIENCE};

/// A configuration with free ports and one upstream.
fn config(listen: &str, upstream: &str) -> String {
    format!("listen = \"{listen}\"\n[admin]\naddress = \"127.0.0.1:0\"\n[pool.app]\nupstreams = [\"{upstream}\"]\n")
}

/// An upstream that takes connections and says nothing: good enough for TCP checks.
fn silent_upstream() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[test]
fn term_ends_it_with_0() {
    let (_upstream, address) = silent_upstream();
    let (causeway, _) = Causeway::run(&config("127.0.0.1:0", &address));
    causeway.signal(Signal::TERM);
    let (status, said) = causeway.end();
    assert_eq!(status.code(), Some(0), "{said}");
}

/// A drain stays open for a second more, for clients that the kernel keeps back; not if it may not last so long.
#[test]
fn an_idle_drain_lasts_no_longer_than_it_may() {
    for (timeout, longest) in [("8s", 3000), ("100ms", 900)] {
        let (_upstream, address) = silent_upstream();
        let shutdown = format!("[shutdown]\ntimeout = \"{timeout}\"\n");
        let (causeway, _) = Causeway::run(&format!("{}{shutdown}", config("127.0.0.1:0", &address)));
        let since = Instant::now();
        causeway.signal(Signal::TERM);
        let (status, said) = causeway.end();
        assert_eq!(status.code(), Some(0), "{said}");
        assert!(since.elapsed().as_millis() < longest, "{timeout}: {:?}", since.elapsed());
    }
}

/// Without a terminal, stdout is the access log and nothing else: one JSON object for each request.
#[test]
fn a_request_is_one_line_of_json() {
    let (upstream, address) = silent_upstream();
    drop(upstream); // nothing listens there now
    let (mut causeway, listen) = Causeway::run(&config("127.0.0.1:0", &address));
    let mut client = TcpStream::connect(listen).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"GET /orders HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    let line: serde_json::Value = serde_json::from_str(&causeway.line()).unwrap();
    assert_eq!(line["status"], 502, "{line}");
    assert_eq!(line["uri"], "/orders", "{line}");
    assert_eq!(line["attempts"][0]["cause"], "connection_refused", "{line}");
    assert_eq!(line["attempts"][0]["upstream"], address, "{line}");
}

/// A drain waits for what is in flight: the answer comes after the signal, whole.
#[test]
fn a_drain_loses_nothing_in_flight() {
    let (upstream, address) = silent_upstream();
    let (causeway, listen) =
        Causeway::run(&format!("{}[pool.app.health]\ntype = \"off\"\n", config("127.0.0.1:0", &address)));
    let mut client = TcpStream::connect(listen).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let (mut served, _) = upstream.accept().unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        served.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    causeway.signal(Signal::TERM);
    served.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nwhole"), "{answer}");
    let (status, said) = causeway.end();
    assert_eq!(status.code(), Some(0), "{said}");
}

/// Each step says how much there is, and the end what became of it.
#[test]
fn the_end_is_told_in_numbers() {
    let (upstream, address) = silent_upstream();
    let (mut causeway, listen) = Causeway::run(&format!(
        "{}[shutdown]\ngrace = \"100ms\"\ntimeout = \"1500ms\"\n[pool.app.health]\ntype = \"off\"\n",
        config("127.0.0.1:0", &address)
    ));
    let mut stuck = TcpStream::connect(listen).unwrap();
    stuck.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let _served = upstream.accept().unwrap();
    let mut kept = TcpStream::connect(listen).unwrap();
    kept.set_read_timeout(Some(PATIENCE)).unwrap();
    kept.write_all(b"TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n").unwrap();
    let mut part = [0; 4096];
    assert!(kept.read(&mut part).unwrap() > 0);
    causeway.signal(Signal::TERM);
    let numbers = |line: String| {
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        ["connections", "requests", "tunnels"].map(|key| line[key].as_u64().unwrap())
    };
    assert_eq!(numbers(causeway.event("\"event\":\"grace_begun\""))[1..], [1, 0]);
    assert_eq!(numbers(causeway.event("\"event\":\"drain_begun\""))[1..], [1, 0]);
    let end: serde_json::Value = serde_json::from_str(&causeway.event("\"event\":\"drain_cut\"")).unwrap();
    assert_eq!((end["cut"].as_u64(), end["ended"].as_u64()), (Some(1), Some(1)), "{end}");
    let (status, said) = causeway.end();
    assert_eq!(status.code(), Some(0), "{said}");
}

/// A drain that somebody is tired of: the request in flight would hold it for an hour.
#[test]
fn a_second_signal_stops_at_once() {
    let (upstream, address) = silent_upstream();
    let (mut causeway, listen) = Causeway::run(&format!(
        "{}[shutdown]\ntimeout = \"1h\"\n[pool.app.health]\ntype = \"off\"\n",
        config("127.0.0.1:0", &address)
    ));
    let mut client = TcpStream::connect(listen).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let _served = upstream.accept().unwrap();
    causeway.signal(Signal::TERM);
    causeway.event("drain");
    causeway.signal(Signal::TERM);
    let (status, said) = causeway.end();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("a second signal: 1 connection cut"), "{said}");
}

/// Their default is to kill.
#[test]
fn other_signals_do_not_kill() {
    let (mut causeway, listen) = Causeway::run(&format!("{}[log]\naccess_to = \"access.log\"\n", answering()));
    causeway.signal(Signal::USR2);
    causeway.signal(Signal::HUP);
    causeway.event("by HUP");
    causeway.signal(Signal::USR1);
    causeway.event("a log file was opened again");
    requests(listen, 1);
    causeway.signal(Signal::TERM);
    let (status, said) = causeway.end();
    assert_eq!(status.code(), Some(0), "{said}");
}

/// Lines of the access log are more than a pipe holds; nobody takes them.
#[test]
fn a_full_stdout_stalls_nothing() {
    let (reader, writer) = std::io::pipe().unwrap();
    let (causeway, listen) = Causeway::run_with_stdout(writer, &answering());
    requests(listen, 2000);
    causeway.signal(Signal::TERM);
    let (status, said) = causeway.end();
    assert_eq!(status.code(), Some(0), "{said}");
    drop(reader);
}

#[test]
fn a_closed_stdout_stalls_nothing() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let (causeway, listen) = Causeway::run_with_stdout(writer, &answering());
    requests(listen, 2000);
    causeway.signal(Signal::TERM);
    let (status, said) = causeway.end();
    assert_eq!(status.code(), Some(0), "{said}");
}

/// A configuration that answers by itself.
fn answering() -> String {
    let pool = config("127.0.0.1:0", "127.0.0.1:9");
    format!("{pool}[pool.app.health]\ntype = \"off\"\n[route.main]\nrespond = {{ body = \"served\" }}\n")
}

/// So many requests on one connection, each answered.
fn requests(address: SocketAddr, count: usize) {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    for number in 0..count {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nserved") {
            let mut part = [0; 4096];
            let read = client.read(&mut part).unwrap();
            assert!(read > 0, "no answer to request {number}: {}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&part[..read]);
        }
    }
}

#[test]
fn a_taken_port_is_one_clear_sentence_and_1() {
    let (taken, address) = silent_upstream();
    let port = taken.local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("causeway.toml");
    std::fs::write(&file, config(&format!("127.0.0.1:{port}"), &address)).unwrap();
    let (status, said) = Causeway::words(&["run", "--config", file.to_str().unwrap()]).end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(&port.to_string()), "does not name the port:\n{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn a_wrong_or_missing_config_is_78() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("causeway.toml");
    std::fs::write(&file, "lissten = \":8080\"\n[pool.app]\nupstreams = [\"127.0.0.1:3000\"]\n").unwrap();
    let (status, said) = Causeway::words(&["run", "--config", file.to_str().unwrap()]).end();
    assert_eq!(status.code(), Some(78), "{said}");
    assert!(said.contains(":1:1") && said.contains("`listen`"), "no place, or no nearest word:\n{said}");

    let (status, said) = Causeway::words(&["run", "--config", "nowhere.toml"]).end();
    assert_eq!(status.code(), Some(78), "{said}");
    assert!(said.contains("nowhere.toml"), "{said}");

    let (status, said) = Causeway::words(&["run"]).end();
    assert_eq!(status.code(), Some(78), "no file and no upstream: {said}");
    assert!(said.contains("--upstream"), "does not say what would do:\n{said}");

    let (status, said) = Causeway::words(&["rum"]).end();
    assert_eq!(status.code(), Some(2), "{said}");
}

/// Not every connection is one of TCP.
#[test]
fn the_start_line_says_what_the_checks_open() {
    for (upstreams, said) in [
        ("\"unix:/run/nobody/app.sock\"", "socket checks every 5 s"),
        ("\"https://127.0.0.1:9\"", "TLS checks every 5 s"),
        ("\"127.0.0.1:9\", \"h2c://127.0.0.1:10\"", "TCP checks every 5 s"),
        ("\"127.0.0.1:9\", \"https://127.0.0.1:10\"", "connection checks every 5 s"),
    ] {
        let config = format!(
            "listen = \"127.0.0.1:0\"\nadmin.address = \"off\"\n[pool.app]\nupstreams = [{upstreams}]\nhost_header = \"client\"\n"
        );
        let (mut causeway, _) = Causeway::run(&config);
        let line = causeway.event("serving: ");
        assert!(line.contains(said), "{line}");
    }
}

//! What runs out, and faults of our own: traffic goes on as far as it can, what cannot is refused with its reason, and
//! all is well again once there is enough.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use causeway::app::{Hooks, Server, panics};
use causeway::config::Config;
use causeway::observe::{Exchange, events};
use causeway::proxy::OnExchange;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

use crate::support::process::{Causeway, PATIENCE};

fn client(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

fn ask(client: &mut TcpStream, path: &str) {
    client.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).unwrap();
}

/// Up to the end of an answer whose body ends so.
fn answer(client: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let mut bytes = [0; 4096];
        let length = client.read(&mut bytes).unwrap();
        assert!(length > 0, "cut: {}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&bytes[..length]);
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn out_of_files_it_waits_and_serves_whom_it_has() {
    let config = "listen = \"127.0.0.1:0\"\nadmin.address = \"off\"\nworkers = 1\n\
        [route.all]\nrespond = { status = 200, body = \"served\" }\n";
    let (mut causeway, address) = Causeway::run(config);
    let mut kept = client(address);
    ask(&mut kept, "/");
    answer(&mut kept, "served");

    let open = std::fs::read_dir(format!("/proc/{}/fd", causeway.id())).unwrap().count() as u64;
    let causeway_id = i32::try_from(causeway.id()).ok().and_then(Pid::from_raw);
    // Only the soft limit: a hard one that was lowered stays low.
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = |current| {
        prlimit(causeway_id, Resource::Nofile, Rlimit { current: Some(current), maximum }).unwrap();
    };
    limit(open);
    let mut waits: Vec<TcpStream> = (0..3).map(|_| client(address)).collect();
    waits.iter_mut().for_each(|client| ask(client, "/"));
    let line = causeway.event("accept_backoff");
    assert!(line.contains("ulimit -n") && line.contains("limits.connections"), "{line}");
    for _ in 0..20 {
        ask(&mut kept, "/");
        assert!(answer(&mut kept, "served").starts_with("HTTP/1.1 200 "));
    }
    limit(open + 100);
    for mut client in waits {
        assert!(answer(&mut client, "served").starts_with("HTTP/1.1 200 "));
    }
}

/// A fault in what follows a request ends its connection, and nobody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_ends_one_connection_and_is_counted() {
    panics::tell();
    let on_exchange: OnExchange = Arc::new(|exchange: &Exchange| {
        assert!(exchange.status != 418, "on purpose: this is a test");
    });
    let config = Config::from_toml(
        "listen = \"127.0.0.1:0\"\nworkers = 1\nadmin.address = \"127.0.0.1:0\"\nlog.access = \"off\"\n\
         [route.tea]\npath = \"/tea\"\nrespond = { status = 418, body = \"tea\" }\n\
         [route.all]\nrespond = { status = 200, body = \"served\" }\n",
    )
    .unwrap();
    let server = Server::start(config, Hooks { on_exchange: Some(on_exchange), ..Hooks::default() }).unwrap();
    let address = server.addresses()[0].1[0];
    let before = events::panics();
    let other = tokio::task::spawn_blocking(move || {
        let mut other = client(address);
        ask(&mut other, "/");
        answer(&mut other, "served");
        let mut doomed = client(address);
        ask(&mut doomed, "/tea");
        let mut rest = Vec::new();
        // A reset is an end as well.
        let _ = doomed.read_to_end(&mut rest);
        ask(&mut other, "/");
        assert!(answer(&mut other, "served").starts_with("HTTP/1.1 200 "));
        other
    })
    .await
    .unwrap();
    assert_eq!(events::panics(), before + 1);
    let admin = server.admin_address().unwrap();
    let page = tokio::task::spawn_blocking(move || {
        let mut admin = client(admin);
        admin.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
        let mut page = String::new();
        admin.read_to_string(&mut page).unwrap();
        page
    })
    .await
    .unwrap();
    assert!(page.contains(&format!("causeway_panics_total {}\n", before + 1)), "{page}");
    drop(other);
    server.finish();
}

/// A request with half of its body: what came of it is kept for a retry.
fn half(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut client = client(address);
    let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", bytes.len() * 2);
    // Where memory is short, nobody takes it.
    client.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let _ = client.write_all(head.as_bytes()).and_then(|()| client.write_all(bytes));
    client
}

fn page(admin: SocketAddr, path: &str) -> String {
    let mut admin = client(admin);
    let head = format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", admin.peer_addr().unwrap());
    admin.write_all(head.as_bytes()).unwrap();
    let mut page = String::new();
    admin.read_to_string(&mut page).unwrap();
    page
}

fn metric(admin: SocketAddr, name: &str) -> String {
    let page = page(admin, "/metrics");
    let line = page.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}: {page}"));
    line.trim().to_owned()
}

/// More requests than there is memory for: those that are too many are refused with the reason, nobody is cut off by a
/// crash, and all is well when they are gone.
#[test]
fn out_of_memory_it_refuses_and_lives() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = upstream.local_addr().unwrap().port();
    // It takes every request body, and never answers one; `GET` it answers.
    std::thread::spawn(move || {
        for mut taken in upstream.incoming().flatten() {
            std::thread::Builder::new()
                .stack_size(128 << 10)
                .spawn(move || {
                    let mut bytes = vec![0; 8 << 10];
                    while let Ok(length @ 1..) = taken.read(&mut bytes) {
                        if bytes[..length].starts_with(b"GET ") {
                            let _ = taken.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nserved");
                        }
                    }
                })
                .unwrap();
        }
    });
    let config = format!(
        "listen = \"127.0.0.1:0\"\nadmin.address = \"127.0.0.1:0\"\nworkers = 1\nlog.access = \"off\"\n\
         [pool.app]\nupstreams = [\"127.0.0.1:{port}\"]\nhealth.type = \"off\"\n"
    );
    let (mut causeway, address) = Causeway::run_with_memory(140_000, &config);
    let admin = causeway.address("on http://");
    let mut kept = client(address);
    ask(&mut kept, "/");
    answer(&mut kept, "served");

    let body = vec![b'x'; 50 << 10];
    let mut halves: Vec<TcpStream> = Vec::new();
    while metric(admin, "causeway_memory_short ") == "0" {
        assert!(halves.len() < 4000, "it is never short");
        halves.extend((0..50).map(|_| half(address, &body)));
    }
    let line = causeway.event("memory_short");
    assert!(line.contains("memory is short") && line.contains("buffers.request"), "{line}");
    kept.write_all(format!("GET / HTTP/1.1\r\nhost: {address}\r\n\r\n").as_bytes()).unwrap();
    let refused = answer(&mut kept, "}\n");
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 2\r\n"), "{refused}");
    assert!(refused.contains("\"cause\": \"proxy_busy\"") && refused.contains("memory is short"), "{refused}");
    let status = page(admin, "/api/status");
    assert!(
        status.contains("\"memory\": \"memory is short (") || status.contains("\"memory\":\"memory is short ("),
        "{status}"
    );
    drop(halves);
    causeway.event("memory_back");
    let mut after = client(address);
    ask(&mut after, "/");
    assert!(answer(&mut after, "served").starts_with("HTTP/1.1 200 "));
    assert_eq!(metric(admin, "causeway_memory_short "), "0");
    assert_ne!(metric(admin, "causeway_memory_shortages_total "), "0");
    causeway.signal(Signal::TERM);
    let (status, said) = causeway.end();
    assert!(status.success(), "{status}: {said}");
}

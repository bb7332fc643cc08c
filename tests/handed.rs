//! The real binary with a socket that was handed over: it serves on it, and leaves it open for whoever comes next.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use rustix::process::Signal;

use crate::handover::Load;
use crate::support::process::{Causeway, PATIENCE};

const CONFIG: &str = "admin.address = \"off\"\n[listener.web]\naddress = \"fd:web\"\n\
    [route.all]\nrespond = { status = 200, body = \"fine\" }\n";

fn asked(socket: &TcpListener) -> TcpStream {
    let mut client = TcpStream::connect(socket.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    client
}

fn answer(mut client: TcpStream) -> String {
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_socket_is_handed_over_and_outlives_who_serves_it() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    // Before anybody serves: it waits in the backlog, as with systemd.
    let early = asked(&socket);
    for first in [Some(early), None] {
        let mut causeway = Causeway::run_with_socket("web", socket.try_clone().unwrap(), CONFIG);
        causeway.event("serving");
        let client = first.unwrap_or_else(|| asked(&socket));
        assert!(answer(client).ends_with("fine"));
        causeway.signal(Signal::TERM);
        let (status, said) = causeway.end();
        assert!(status.success(), "{said}");
    }
}

#[test]
fn a_socket_of_another_name_is_told() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let (status, said) = Causeway::run_with_socket("admin", socket, CONFIG).end();
    assert!(!status.success());
    assert!(said.contains("cannot listen on fd:web: nothing was handed over by that name, but fd:admin"), "{said}");
}

/// A second process gets the same socket, as `systemctl restart` does it (the old one ends first) or before the old one
/// ends.
#[test]
fn a_restart_under_load_loses_nothing() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let run = || {
        let mut causeway = Causeway::run_with_socket("web", socket.try_clone().unwrap(), CONFIG);
        causeway.event("serving");
        causeway
    };
    let end = |causeway: Causeway| {
        causeway.signal(Signal::TERM);
        let (status, said) = causeway.end();
        assert!(status.success() && said.contains("nothing was cut"), "{said}");
    };
    let mut old = run();
    let load = Load::on(socket.local_addr().unwrap());
    load.goes_on(50);
    for overlap in [true, false, true] {
        if overlap {
            let new = run();
            end(std::mem::replace(&mut old, new));
        } else {
            end(old);
            old = run();
        }
        load.goes_on(50);
    }
    load.end();
}

#[test]
fn a_socket_that_nobody_listens_on_is_told() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = CONFIG.replace("fd:web", "127.0.0.1:0");
    let mut causeway = Causeway::run_with_socket("forgotten", socket, &config);
    let line = causeway.event("sockets_unused");
    assert!(line.contains("nobody listens on fd:forgotten") && line.contains(".socket unit"), "{line}");
}

//! Listening sockets, and the limit of connections.

use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use tokio::net::UnixStream;

use super::*;

#[tokio::test]
async fn over_the_limit_the_next_waits_for_a_place() {
    let server = start(Listener { connections_limit: NonZeroUsize::new(2), ..listener() }).await;
    let (mut first, mut second, mut third) = (server.connect().await, server.connect().await, server.connect().await);
    for client in [&mut first, &mut second] {
        client.send("GET / HTTP/1.1\r\n\r\n").await;
        client.until("ok").await;
    }
    third.send("GET / HTTP/1.1\r\n\r\n").await;
    assert!(timeout(SHORT, third.0.read_u8()).await.is_err());
    drop(first);
    third.until("ok").await;
}

#[tokio::test]
async fn a_taken_port_is_an_error_and_siblings_share_theirs() {
    let address = ListenAddress::Exact(vec![([127, 0, 0, 1], 0).into()]);
    let bound = bind(&address, 3).unwrap();
    assert_eq!(bound.workers.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1]);
    for socket in bound.workers.iter().flatten() {
        assert_eq!(socket.local_addr().unwrap(), bound.addresses[0]);
    }
    let error = bind(&ListenAddress::Exact(bound.addresses.clone()), 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    let port = bound.addresses[0].port();
    let text = format!("cannot listen on 127.0.0.1:{port}: another program listens on that port already");
    assert!(error.to_string().starts_with(&text), "{error}");
    assert!(
        bind(&ListenAddress::Any(port), 2).unwrap_err().to_string().starts_with(&format!("cannot listen on :{port}: "))
    );
}

/// Set once on the listening sockets, it costs no system call for each connection.
#[tokio::test]
async fn accepted_sockets_delay_nothing() {
    for address in [ListenAddress::Exact(vec![([127, 0, 0, 1], 0).into()]), ListenAddress::Any(0)] {
        let bound = bind(&address, 1).unwrap();
        let _client = std::net::TcpStream::connect(("127.0.0.1", bound.addresses[0].port())).unwrap();
        let socket = &bound.workers[0][0];
        socket.set_nonblocking(false).unwrap();
        assert!(socket.accept().unwrap().0.nodelay().unwrap());
    }
}

#[tokio::test]
async fn any_is_both_families_and_localhost_is_both_loopbacks() {
    let any = bind(&ListenAddress::Any(0), 2).unwrap();
    let port = any.addresses[0].port();
    std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    if any.addresses[0].is_ipv6() {
        let localhost = vec![([127, 0, 0, 1], 0).into(), (std::net::Ipv6Addr::LOCALHOST, 0).into()];
        let both = bind(&ListenAddress::Exact(localhost), 2).unwrap();
        assert_eq!(both.addresses[0].port(), both.addresses[both.addresses.len() - 1].port());
        for address in &both.addresses {
            std::net::TcpStream::connect(address).unwrap();
        }
    }
    // An address that nobody has: documentation (RFC 5737).
    let error = bind(&ListenAddress::Exact(vec![([192, 0, 2, 1], 0).into()]), 1).unwrap_err();
    assert!(error.to_string().contains("this machine has no such address"), "{error}");
}

/// A path that nobody has.
fn free_path(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("causeway-{name}-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

fn on(path: &Path) -> ListenAddress {
    ListenAddress::Unix(path.to_str().unwrap().into())
}

async fn all_of(client: &mut UnixStream) -> String {
    let mut all = String::new();
    timeout(LONG, client.read_to_string(&mut all)).await.expect("an end of the connection").unwrap();
    all
}

#[tokio::test]
async fn a_path_of_the_dead_is_taken_over_and_one_of_the_living_is_not() {
    let path = free_path("taken");
    let first = bind(&on(&path), 2).unwrap();
    assert_eq!((first.addresses.len(), first.shared.len()), (0, 1));
    let error = bind(&on(&path), 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    let text = format!("cannot listen on unix:{}: another program listens there already", path.display());
    assert!(error.to_string().starts_with(&text), "{error}");
    drop(first);
    assert!(!path.exists(), "it is removed at the end");
    // A process that was killed leaves its file.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(std::fs::symlink_metadata(&path).unwrap().file_type().is_socket());
    let again = bind(&on(&path), 1).unwrap();
    // What somebody else has put there meanwhile stays.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "mine").unwrap();
    drop(again);
    let error = bind(&on(&path), 1).unwrap_err();
    assert!(error.to_string().contains("is there already, and is no socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    std::fs::remove_file(&path).unwrap();
    let error = bind(&on(&path.join("in/it")), 1).unwrap_err();
    assert!(error.to_string().contains("there is no folder"), "{error}");
}

#[tokio::test]
async fn over_a_path_all_is_as_over_tcp() {
    let path = free_path("served");
    let mut server = start(Listener { address: on(&path), keep_alive: SHORT, ..listener() }).await;
    for _ in 0..4 {
        let mut client = UnixStream::connect(&path).await.unwrap();
        client.write_all(b"GET /who HTTP/1.1\r\nconnection: close\r\n\r\n").await.unwrap();
        let text = all_of(&mut client).await;
        assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("127.0.0.1:0 127.0.0.1 127.0.0.1:0"), "{text}");
        assert_eq!(server.logged().await, "called /who");
    }
    // A refusal, with all of what was sent still unread.
    let mut client = UnixStream::connect(&path).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\na b: c\r\n\r\n").await.unwrap();
    assert!(all_of(&mut client).await.starts_with("HTTP/1.1 400 "));
    // The idle clock; and a client that leaves.
    let mut idle = UnixStream::connect(&path).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(all_of(&mut idle).await.ends_with("ok"));
    assert_eq!(server.logged().await, "called /");
    let mut gone = UnixStream::connect(&path).await.unwrap();
    gone.write_all(b"GET /hold HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(server.logged().await, "called /hold");
    drop(gone);
    assert_eq!(server.logged().await, "dropped");
    // A tunnel.
    let mut tunnel = UnixStream::connect(&path).await.unwrap();
    tunnel.write_all(b"GET /upgrade HTTP/1.1\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nto and fro").await.unwrap();
    tunnel.shutdown().await.unwrap();
    assert!(all_of(&mut tunnel).await.ends_with("to and fro"));
}

#[tokio::test]
async fn a_drain_answers_who_asks_over_a_path_and_removes_it() {
    let path = free_path("drain");
    let server = start(Listener { address: on(&path), ..listener() }).await;
    let mut kept = UnixStream::connect(&path).await.unwrap();
    kept.write_all(b"GET /wait HTTP/1.1\r\n\r\n").await.unwrap();
    while server.drain.connections() == 0 {
        tokio::task::yield_now().await;
    }
    // It waits in the backlog when the drain begins, and is served all the same.
    let mut late = std::os::unix::net::UnixStream::connect(&path).unwrap();
    io::Write::write_all(&mut late, b"GET / HTTP/1.1\r\n\r\n").unwrap();
    server.drain.begin();
    late.set_nonblocking(true).unwrap();
    let mut late = UnixStream::from_std(late).unwrap();
    let text = all_of(&mut late).await;
    assert!(text.contains("connection: close\r\n") && text.ends_with("ok"), "{text}");
    server.go.notify_one();
    assert!(all_of(&mut kept).await.ends_with("waited"));
    timeout(LONG, server.drain.ended()).await.unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn what_was_not_handed_over_is_an_error_that_says_so() {
    let error = bind(&ListenAddress::Handed("web".into()), 1).unwrap_err();
    let text = "cannot listen on fd:web: no socket was handed over. Start causeway by a systemd .socket unit";
    assert!(error.to_string().starts_with(text), "{error}");
}

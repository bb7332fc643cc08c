//! Listening sockets, and the limit of connections.

use std::io::ErrorKind;
use std::num::NonZeroUsize;

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

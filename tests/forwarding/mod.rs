//! What passes through, and how: asserted on the bytes at both ends.

mod bodies;
mod connections;
mod fields;
mod framing;
mod h2c;
mod interim;
mod targets;
mod tunnels;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use crate::support::origin::{Behaviour, Origin};
use crate::support::proxy::Proxy;
use crate::support::raw::{Raw, Response};

fn ok() -> Behaviour {
    Behaviour::Ok(b"ok".to_vec())
}

fn raw(answer: &str) -> Behaviour {
    Behaviour::Raw(answer.as_bytes().to_vec())
}

/// Asks on a connection of its own.
async fn ask(proxy: &Proxy, request: &str) -> Response {
    let mut client = Raw::connect(proxy.address).await;
    client.send(request).await;
    client.response().await
}

/// Asks, and returns the head as the origin got it; all heads before are forgotten.
async fn passed(proxy: &Proxy, origin: &Origin, request: &str) -> String {
    let before = origin.record().requests.len();
    let answer = ask(proxy, request).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    origin.requests(before + 1).await[before].head.clone()
}

/// All values of a field of a head.
fn fields<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
}

/// An upstream that the test plays itself.
async fn by_hand() -> (TcpListener, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Reads up to the end of a head and not one byte further.
async fn head_of(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

//! What a route asks for around its answer, through real sockets: who comes in, what is done to fields and bodies, and
//! in which order.

mod compress;
mod entry;
mod fields;

use crate::support::origin::{Behaviour, Origin};
use crate::support::proxy::Proxy;
use crate::support::raw::{Raw, Response};

/// A proxy with one route that asks for this.
fn proxy(origin: &Origin, keys: &str) -> Proxy {
    Proxy::unchecked(&[origin.address()], &format!("[route.shop]\n{keys}\n"))
}

/// A GET with these fields (each ended by CRLF), on a connection of its own.
async fn get(proxy: &Proxy, fields: &str) -> Response {
    ask(proxy, &format!("GET /x?y HTTP/1.1\r\nHost: shop.test:8080\r\n{fields}\r\n")).await
}

async fn ask(proxy: &Proxy, request: &str) -> Response {
    let mut client = Raw::connect(proxy.address).await;
    client.send(request).await;
    client.response().await
}

/// An origin that always answers with this head and body.
async fn answering(head: &str, body: &[u8]) -> Origin {
    let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len());
    Origin::start(Behaviour::Raw([head.as_bytes(), body].concat())).await
}

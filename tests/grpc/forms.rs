//! What gRPC looks like to clients of other protocols: gRPC-Web, and HTTP/1.1.

use crate::support::origin::{Behaviour, Origin};
use crate::support::proxy::Proxy;
use crate::support::raw::{Raw, Response};

async fn web(proxy: &Proxy) -> Response {
    let mut client = Raw::connect(proxy.address).await;
    let fields = "Host: a\r\nContent-Type: application/grpc-web+proto\r\nX-Grpc-Web: 1\r\nContent-Length: 5\r\n";
    client.send(format!("POST /a.B/C HTTP/1.1\r\n{fields}\r\n\0\0\0\0\0")).await;
    client.response().await
}

/// Its trailers are a part of the body: nothing on the way has to know of them.
#[tokio::test]
async fn grpc_web_passes_as_it_is() {
    let body = b"\0\0\0\0\x02hi\x80\0\0\0\x0fgrpc-status:0\r\n";
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/grpc-web+proto\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut whole = format!("{head}{:x}\r\n", body.len()).into_bytes();
    whole.extend_from_slice(body);
    whole.extend_from_slice(b"\r\n0\r\n\r\n");
    let app = Origin::start(Behaviour::Raw(whole)).await;
    let proxy = Proxy::unchecked(&[app.address()], "");
    let answer = web(&proxy).await;
    assert_eq!((answer.status, &answer.body[..], answer.complete), (200, &body[..], true), "{answer:?}");
    assert_eq!(answer.field("content-type"), Some("application/grpc-web+proto"));
    let sent = app.requests(1).await.remove(0);
    assert!(sent.head.to_ascii_lowercase().contains("\r\nx-grpc-web: 1\r\n") && sent.body == b"\0\0\0\0\0");
}

/// An error of causeway's own has its status in the head, in the client's own type: that is where a client of gRPC-Web
/// looks when there is no body.
#[tokio::test]
async fn errors_come_in_the_clients_own_type() {
    let proxy = Proxy::unchecked(&[Origin::nobody()], "");
    let answer = web(&proxy).await;
    assert_eq!((answer.status, answer.body.len(), answer.field("grpc-status")), (200, 0, Some("14")), "{answer:?}");
    assert_eq!(answer.field("content-type"), Some("application/grpc-web+proto"));
    assert!(answer.field("grpc-message").unwrap().contains("; request "), "{answer:?}");
}

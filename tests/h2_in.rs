//! HTTP/2 on a listener: what a proxy with real sockets makes of frames, right and wrong, and of real clients.

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use tokio::net::TcpStream;

use crate::support::origin::{Behaviour, Origin};
use crate::support::proxy::Proxy;
use crate::support::raw::Raw;
use wire::Peer;

mod clocks;
mod draining;
mod floods;
mod frames;
mod messages;
mod sniffing;
mod streams;
mod wire;

fn ok() -> Behaviour {
    Behaviour::Ok(b"ok".to_vec())
}

fn raw(answer: &str) -> Behaviour {
    Behaviour::Raw(answer.as_bytes().to_vec())
}

/// A client of the h2 crate; its connection runs until it ends.
async fn client(proxy: &Proxy) -> SendRequest<Bytes> {
    client_of(proxy, &h2::client::Builder::new()).await
}

async fn client_of(proxy: &Proxy, builder: &h2::client::Builder) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    let (send, connection) = builder.handshake(stream).await.unwrap();
    tokio::spawn(connection);
    send
}

fn get(path: &str) -> Request<()> {
    Request::get(format!("http://a{path}")).body(()).unwrap()
}

fn post(path: &str) -> Request<()> {
    Request::post(format!("http://a{path}")).body(()).unwrap()
}

/// The answer to a request without a body, whole.
async fn ask(send: &SendRequest<Bytes>, request: Request<()>) -> (Response<Bytes>, Option<HeaderMap>) {
    let mut send = send.clone().ready().await.unwrap();
    let (answer, _) = send.send_request(request, true).unwrap();
    whole(answer.await.unwrap()).await.unwrap()
}

/// All of an answer, its trailers beside it.
async fn whole(answer: Response<RecvStream>) -> Result<(Response<Bytes>, Option<HeaderMap>), h2::Error> {
    let (head, mut body) = answer.into_parts();
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        all.extend_from_slice(&data);
    }
    let trailers = body.trailers().await?;
    Ok((Response::from_parts(head, all.into()), trailers))
}

/// What the origin was sent last, as text.
fn sent(origin: &Origin) -> String {
    String::from_utf8_lossy(&origin.record().raw).into_owned()
}

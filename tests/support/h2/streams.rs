//! An upstream of the h2 crate, that behaves.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};

/// An upstream of the h2 crate: each request goes to `serve`.
pub struct Streams {
    address: SocketAddr,
    task: AbortHandle,
    pub connections: Arc<std::sync::atomic::AtomicUsize>,
}

impl Streams {
    pub async fn start<F>(
        most: u32,
        serve: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Send + Clone + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            let mut all = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let serve = serve.clone();
                let _ = stream.set_nodelay(true);
                all.spawn(async move {
                    let mut builder = h2::server::Builder::new();
                    builder
                        .max_concurrent_streams(most)
                        .initial_window_size(1 << 20)
                        .initial_connection_window_size(8 << 20);
                    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
                    let mut streams = JoinSet::new();
                    while let Some(Ok((request, answer))) = connection.accept().await {
                        streams.spawn(serve(request, answer));
                    }
                });
            }
        });
        Self { address, task: task.abort_handle(), connections }
    }

    /// The request's body comes back, and its trailers behind it.
    pub async fn echo() -> Self {
        Self::start(100, echo).await
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn echo(request: Request<RecvStream>, mut answer: SendResponse<Bytes>) {
    let (head, mut body) = request.into_parts();
    let mut response = Response::new(());
    for (name, value) in &head.headers {
        response.headers_mut().append(http::HeaderName::try_from(format!("got-{name}")).unwrap(), value.clone());
    }
    if let Some(announced) = head.headers.get("trailer") {
        response.headers_mut().insert("trailer", announced.clone());
    }
    let line = format!("{} {} {:?}", head.method, head.uri, head.version);
    response.headers_mut().insert("got", line.parse().unwrap());
    let Ok(mut send) = answer.send_response(response, false) else { return };
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
        if give(&mut send, data).await.is_none() {
            return;
        }
    }
    match body.trailers().await {
        Ok(Some(trailers)) => drop(send.send_trailers(trailers)),
        Ok(None) => drop(send.send_data(Bytes::new(), true)),
        Err(_) => {}
    }
}

/// Sends as the window allows; `None`: nobody takes it any more.
pub async fn give(send: &mut h2::SendStream<Bytes>, mut data: Bytes) -> Option<()> {
    while !data.is_empty() {
        send.reserve_capacity(data.len().min(64 << 10));
        let room = std::future::poll_fn(|cx| send.poll_capacity(cx)).await?.ok()?;
        let part = data.split_to(room.min(data.len()));
        send.send_data(part, false).ok()?;
    }
    Some(())
}

/// Trailers of these fields.
pub fn trailers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
}

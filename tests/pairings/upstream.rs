//! The upstream of a pairing: in HTTP/1.1 or HTTP/2, with TLS or without; small and exact.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::{Http, LONG, Wire};
use crate::support::tls_origin::Pair;

/// Takes TLS with this certificate, and these protocols (ALPN).
pub fn acceptor(pair: &Pair, alpn: &[&str]) -> TlsAcceptor {
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut config = builder.with_single_cert(pair.chain.clone(), pair.key.clone_key()).unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// How a new connection is served: without TLS in this protocol, or as its handshake agrees.
#[derive(Clone)]
pub enum Speaks {
    Plain(Http),
    Tls(TlsAcceptor),
}

/// What an upstream's exchanges share.
#[derive(Clone)]
struct Stage {
    seen: mpsc::UnboundedSender<String>,
    go: Arc<Semaphore>,
}

pub struct Upstream {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    /// Lets a body that is to be cut be cut.
    pub go: Arc<Semaphore>,
    seen: mpsc::UnboundedReceiver<String>,
    now: Arc<Mutex<(Speaks, Vec<AbortHandle>)>>,
    task: AbortHandle,
}

impl Upstream {
    pub async fn start(speaks: Speaks) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, go, now) =
            (Arc::<AtomicUsize>::default(), Arc::new(Semaphore::new(0)), Arc::new(Mutex::new((speaks, Vec::new()))));
        let (sender, seen) = mpsc::unbounded_channel();
        let (count, stage, current) =
            (Arc::clone(&connections), Stage { seen: sender, go: Arc::clone(&go) }, Arc::clone(&now));
        let task = tokio::spawn(async move {
            let mut all = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let _ = stream.set_nodelay(true);
                let mut current = current.lock().unwrap();
                let serving = serve(stream, current.0.clone(), stage.clone());
                current.1.push(all.spawn(async move { drop(serving.await) }));
            }
        });
        Self { address, connections, go, seen, now, task: task.abort_handle() }
    }

    /// It comes back as another: what stood is broken off.
    pub fn restart(&self, speaks: Speaks) {
        let mut now = self.now.lock().unwrap();
        now.0 = speaks;
        now.1.drain(..).for_each(|connection| connection.abort());
    }

    /// The next thing that it sees: `GET / HTTP/1.1`, `/hang ended`.
    pub async fn sees(&mut self) -> String {
        timeout(LONG, self.seen.recv()).await.ok().flatten().unwrap_or_else(|| "nothing".to_owned())
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, speaks: Speaks, stage: Stage) -> io::Result<()> {
    match speaks {
        Speaks::Plain(Http::One) => one(Box::new(stream), stage).await,
        Speaks::Plain(Http::Two) => two(Box::new(stream), stage).await,
        Speaks::Tls(acceptor) => {
            let stream = acceptor.accept(stream).await?;
            match stream.get_ref().1.alpn_protocol() {
                Some(b"h2") => two(Box::new(stream), stage).await,
                _ => one(Box::new(stream), stage).await,
            }
        }
    }
}

async fn line(wire: &mut BufStream<Wire>) -> io::Result<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(wire.read_u8().await?);
    }
    line.truncate(line.len() - 2);
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// In HTTP/1.1. What it leaves is broken off, without a goodbye of TLS.
async fn one(wire: Wire, stage: Stage) -> io::Result<()> {
    let mut wire = BufStream::new(wire);
    loop {
        let request = line(&mut wire).await?;
        let mut fields = HeaderMap::new();
        while let Some((name, value)) = line(&mut wire).await?.split_once(": ") {
            fields.append(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
        }
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        let _ = stage.seen.send(request);
        let answer: &[u8] = match &*path {
            "/trail" => b"",
            "/early" => b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge",
            "/cut" => b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\ncut",
            "/cut-unknown" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ncut\r\n",
            "/hang" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhey\r\n",
            "/silent" => b"",
            "/meet" => {
                stage.go.acquire().await.unwrap().forget();
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
            }
            _ => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        };
        wire.write_all(answer).await?;
        wire.flush().await?;
        match &*path {
            "/trail" => {
                let (mut body, mut sum) = (String::new(), String::new());
                while line(&mut wire).await.map(|size| size != "0")? {
                    body += &line(&mut wire).await?;
                }
                while let Some((name, value)) = line(&mut wire).await?.split_once(": ") {
                    if name.eq_ignore_ascii_case("x-sum") {
                        value.clone_into(&mut sum);
                    }
                }
                let head = "HTTP/1.1 200 OK\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked";
                let answer = format!("{head}\r\n\r\n{:x}\r\n{body}\r\n0\r\nx-sum: {sum}\r\n\r\n", body.len());
                wire.write_all(answer.as_bytes()).await?;
                wire.flush().await?;
            }
            "/cut" | "/cut-unknown" => {
                stage.go.acquire().await.unwrap().forget();
                return Ok(());
            }
            "/early" | "/hang" | "/silent" => {
                let mut rest = Vec::new();
                let _ = wire.read_to_end(&mut rest).await;
                if path != "/early" {
                    let _ = stage.seen.send(format!("{path} ended"));
                }
                return Ok(());
            }
            _ => {}
        }
    }
}

/// In HTTP/2.
async fn two(wire: Wire, stage: Stage) -> io::Result<()> {
    let mut connection = h2::server::handshake(wire).await.map_err(io::Error::other)?;
    let mut streams = JoinSet::new();
    while let Some(accepted) = connection.accept().await {
        let (request, answer) = accepted.map_err(io::Error::other)?;
        let stage = stage.clone();
        streams.spawn(async move { drop(stream(request, answer, stage).await) });
    }
    Ok(())
}

async fn stream(request: Request<RecvStream>, mut answer: SendResponse<Bytes>, stage: Stage) -> Result<(), h2::Error> {
    let path = request.uri().path().to_owned();
    let _ = stage.seen.send(format!("{} {path} {:?}", request.method(), request.version()));
    let head = |status: u16| Response::builder().status(status);
    match &*path {
        "/trail" => {
            let (body, trailers) = collected(request.into_body()).await?;
            let response = head(200).header("trailer", "x-sum").body(()).unwrap();
            let mut send = answer.send_response(response, false)?;
            send.send_data(body.into(), false)?;
            send.send_trailers(trailers.unwrap_or_default())?;
        }
        "/early" => {
            let mut send = answer.send_response(head(413).header("content-length", 5).body(()).unwrap(), false)?;
            send.send_data("large".into(), true)?;
        }
        "/cut" | "/cut-unknown" => {
            let response = if path == "/cut" { head(200).header("content-length", 9_000_000) } else { head(200) };
            let mut send = answer.send_response(response.body(()).unwrap(), false)?;
            send.send_data("cut".into(), false)?;
            stage.go.acquire().await.unwrap().forget();
            send.send_reset(Reason::INTERNAL_ERROR);
        }
        "/hang" => {
            let mut send = answer.send_response(head(200).body(()).unwrap(), false)?;
            send.send_data("hey".into(), false)?;
            let _ = poll_fn(|cx| send.poll_reset(cx)).await;
            let _ = stage.seen.send("/hang ended".to_owned());
        }
        "/silent" => {
            let _ = poll_fn(|cx| answer.poll_reset(cx)).await;
            let _ = stage.seen.send("/silent ended".to_owned());
        }
        _ => {
            let mut send = answer.send_response(head(200).header("content-length", 2).body(()).unwrap(), false)?;
            send.send_data("ok".into(), true)?;
        }
    }
    Ok(())
}

async fn collected(mut body: RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        all.extend_from_slice(&data);
    }
    Ok((all, body.trailers().await?))
}

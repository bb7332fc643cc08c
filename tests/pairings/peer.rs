//! Both ends of a pairing: an upstream and a client, each in HTTP/1.1 or HTTP/2, with TLS or without; small and exact.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::support::tls_origin::Pair;

/// Long enough that only a fault reaches it.
const LONG: Duration = Duration::from_secs(10);
/// What is sent of a body that says it has a million bytes.
const PART: usize = 32 << 10;

pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}
type Wire = Box<dyn Io>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Http {
    One,
    Two,
}

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

/// What a client asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body {
    None,
    /// `hello` in a chunk, and `x-sum: 7` behind it.
    Trailing,
    /// A part of what it announces; then nothing.
    Unfinished,
}

/// How an answer ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// As its protocol ends a message that is complete.
    Whole,
    /// The stream was reset; the connection goes on.
    Reset,
    /// Too early, by a close in order; in TLS with a goodbye.
    Closed,
    /// Too early, and the connection broke; in TLS without a goodbye.
    Broke,
}

#[derive(Debug)]
pub struct Answer {
    /// Status line and fields, as text in lower case.
    pub head: String,
    pub status: u16,
    pub body: String,
    pub trailers: String,
    pub end: End,
}

/// An exchange of a client that is under way; dropping it breaks it off.
pub enum Reading {
    One { wire: Wire, bytes: Vec<u8> },
    Two(Box<Two>),
}

pub struct Two {
    answer: Option<ResponseFuture>,
    response: Option<Response<RecvStream>>,
    bytes: Vec<u8>,
    _send: SendStream<Bytes>,
    _client: SendRequest<Bytes>,
}

/// Asks; `certificate`: in TLS, and this one is believed.
pub async fn ask(
    to: SocketAddr,
    http: Http,
    certificate: Option<&CertificateDer<'static>>,
    path: &str,
    body: Body,
) -> Reading {
    let stream = TcpStream::connect(to).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let wire: Wire = match certificate {
        None => Box::new(stream),
        Some(certificate) => Box::new(secured(stream, http, certificate).await),
    };
    match http {
        Http::One => ask_one(wire, path, body).await,
        Http::Two => ask_two(wire, if certificate.is_some() { "https" } else { "http" }, path, body).await,
    }
}

async fn secured(stream: TcpStream, http: Http, certificate: &CertificateDer<'static>) -> impl Io + use<> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![if http == Http::Two { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    let name = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

async fn ask_one(mut wire: Wire, path: &str, body: Body) -> Reading {
    let fixed = "Host: a\r\nConnection: close, TE\r\nTE: trailers\r\n";
    let request = match body {
        Body::None => format!("GET {path} HTTP/1.1\r\n{fixed}\r\n"),
        Body::Trailing => {
            let fields = format!("{fixed}Trailer: x-sum\r\nTransfer-Encoding: chunked\r\n");
            format!("POST {path} HTTP/1.1\r\n{fields}\r\n5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n")
        }
        Body::Unfinished => {
            format!("POST {path} HTTP/1.1\r\n{fixed}Content-Length: 1000000\r\n\r\n{}", "x".repeat(PART))
        }
    };
    wire.write_all(request.as_bytes()).await.unwrap();
    wire.flush().await.unwrap();
    Reading::One { wire, bytes: Vec::new() }
}

async fn ask_two(wire: Wire, scheme: &str, path: &str, body: Body) -> Reading {
    let (client, connection) = h2::client::handshake(wire).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let request = Request::builder().uri(format!("{scheme}://a{path}")).header("te", "trailers");
    let request = match body {
        Body::None => request,
        Body::Trailing => request.method("POST").header("trailer", "x-sum"),
        Body::Unfinished => request.method("POST").header("content-length", 1_000_000),
    };
    let (answer, mut send) = client.send_request(request.body(()).unwrap(), body == Body::None).unwrap();
    match body {
        Body::None => {}
        Body::Trailing => {
            send.send_data("hello".into(), false).unwrap();
            send.send_trailers([("x-sum".parse().unwrap(), "7".parse().unwrap())].into_iter().collect()).unwrap();
        }
        Body::Unfinished => send.send_data(vec![b'x'; PART].into(), false).unwrap(),
    }
    let answer = Some(answer);
    Reading::Two(Box::new(Two { answer, response: None, bytes: Vec::new(), _send: send, _client: client }))
}

impl Reading {
    /// Until this has come of the body.
    pub async fn until(&mut self, text: &str) -> Result<(), String> {
        let there = |bytes: &[u8]| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        let reading = async {
            match self {
                Self::One { wire, bytes } => {
                    while !there(bytes) {
                        if wire.read_buf(bytes).await.map_err(|error| error.to_string())? == 0 {
                            return Err(format!("closed after {:?}", String::from_utf8_lossy(bytes)));
                        }
                    }
                }
                Self::Two(two) => {
                    if let Some(answer) = two.answer.take() {
                        two.response = Some(answer.await.map_err(|error| error.to_string())?);
                    }
                    let Two { response: Some(response), bytes, .. } = &mut **two else { return Ok(()) };
                    while !there(bytes) {
                        let Some(data) = response.body_mut().data().await else { return Err("it ended".to_owned()) };
                        bytes.extend_from_slice(&data.map_err(|error| error.to_string())?);
                    }
                }
            }
            Ok(())
        };
        timeout(LONG, reading).await.map_err(|_elapsed| format!("{text} never came"))?
    }

    /// All that comes, and how it ends.
    pub async fn rest(self) -> Result<Answer, String> {
        let reading = async {
            match self {
                Self::One { mut wire, mut bytes } => {
                    // What is whole is not waited on: the other side may wait for the rest of the request.
                    loop {
                        let read = wire.read_buf(&mut bytes).await;
                        let answer = one_answer(&String::from_utf8_lossy(&bytes), read.is_ok());
                        if !matches!(read, Ok(1..)) || answer.as_ref().is_ok_and(|it| it.end == End::Whole) {
                            return answer;
                        }
                    }
                }
                Self::Two(two) => two.rest().await,
            }
        };
        timeout(LONG, reading).await.map_err(|_elapsed| "its answer never ended".to_owned())?
    }
}

impl Two {
    async fn rest(mut self) -> Result<Answer, String> {
        if let Some(answer) = self.answer.take() {
            self.response = Some(answer.await.map_err(|error| error.to_string())?);
        }
        let (head, mut body) = self.response.take().ok_or("no answer")?.into_parts();
        let mut end = End::Whole;
        let ended = |error: h2::Error| if error.is_reset() { End::Reset } else { End::Broke };
        while let Some(data) = body.data().await {
            match data {
                Ok(data) => self.bytes.extend_from_slice(&data),
                Err(error) => end = ended(error),
            }
        }
        let trailers = match body.trailers().await {
            Ok(trailers) => format!("{:?}", trailers.unwrap_or_default()),
            Err(error) => {
                end = ended(error);
                String::new()
            }
        };
        let text = format!("{:?}", head.headers).to_lowercase();
        let body = String::from_utf8_lossy(&self.bytes).into_owned();
        Ok(Answer { head: text, status: head.status.as_u16(), body, trailers, end })
    }
}

fn one_answer(text: &str, in_order: bool) -> Result<Answer, String> {
    let (head, mut rest) = text.split_once("\r\n\r\n").ok_or_else(|| format!("no head: {text:?}"))?;
    let head = head.to_lowercase();
    let status = head.get(9..12).and_then(|code| code.parse().ok()).ok_or("no status")?;
    let (mut body, mut trailers, mut whole) = (String::new(), String::new(), false);
    if head.contains("transfer-encoding: chunked") {
        while let Some((size, after)) = rest.split_once("\r\n") {
            let size = usize::from_str_radix(size, 16).map_err(|error| format!("{size:?}: {error}"))?;
            if size == 0 {
                whole = after.ends_with("\r\n");
                trailers = after.to_lowercase();
                break;
            }
            let Some(data) = after.get(..size) else { break };
            body += data;
            rest = after.get(size + 2..).unwrap_or_default();
        }
    } else {
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        whole = length == Some(rest.len());
        rest.clone_into(&mut body);
    }
    let end = match (whole, in_order) {
        (true, _) => End::Whole,
        (false, true) => End::Closed,
        (false, false) => End::Broke,
    };
    Ok(Answer { head, status, body, trailers, end })
}

//! The client of a pairing: in HTTP/1.1 or HTTP/2, with TLS or without; small and exact.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{Http, Io, LONG, Wire};

/// What is sent of a body that says it has a million bytes.
const PART: usize = 32 << 10;

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
        // An answer that came first may have ended the stream already.
        Body::Unfinished => drop(send.send_data(vec![b'x'; PART].into(), false)),
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
        let mut trailers = String::new();
        loop {
            match body.data().await {
                Some(Ok(data)) => self.bytes.extend_from_slice(&data),
                Some(Err(error)) => {
                    end = ended(error);
                    break;
                }
                None => match body.trailers().await {
                    Ok(found) => {
                        trailers = format!("{:?}", found.unwrap_or_default());
                        break;
                    }
                    Err(error) => {
                        end = ended(error);
                        break;
                    }
                },
            }
        }
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

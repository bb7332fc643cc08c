//! WebSockets through every pairing of what clients and upstreams speak: messages of all sizes, ends of all kinds,
//! clocks, refusals.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use causeway::observe::exchange::EndedBy;
use causeway::tunnel::{Duplex, handshake};
use futures_util::{SinkExt, StreamExt};
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::TLS13;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request as Asked, Response as Answer};
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};

use crate::support::certificates::{Authority, Issued};
use crate::support::chromium::Page;
use crate::support::origin::{Behaviour, Origin};
use crate::support::proxy::Proxy;

mod ends;
mod gone;
mod handshakes;

/// Long enough that only a fault reaches it.
const LONG: Duration = Duration::from_secs(20);

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

type Socket = WebSocketStream<Box<dyn Io>>;

/// What a client, or an upstream, speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    H1,
    H1Tls,
    H1Unix,
    H2,
    H2Tls,
}

/// Certificates as files: `a.pem` and `a.key` for `a.test` and 127.0.0.1, `ca.pem` for who signed it.
struct Files {
    authority: Authority,
    issued: Issued,
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        let authority = Authority::new();
        let issued = authority.issue(&["a.test", "127.0.0.1"], 2030);
        let folder = TempDir::new().unwrap();
        issued.write(folder.path(), "a");
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        Self { authority, issued, folder }
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn listener(&self) -> String {
        let (cert, key) = (self.file("a.pem"), self.file("a.key"));
        format!("[listener.main.tls]\ncertificates = [{{ cert = \"{cert}\", key = \"{key}\" }}]\n")
    }

    fn acceptor(&self) -> TlsAcceptor {
        self.acceptor_of(&[])
    }

    fn acceptor_of(&self, alpn: &[&str]) -> TlsAcceptor {
        let chain = vec![CertificateDer::from_pem_slice(self.issued.cert.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(self.issued.key.as_bytes()).unwrap();
        let provider = Arc::clone(causeway::config::certificate::provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = builder.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }

    /// A proxy whose clients speak this, before this upstream.
    fn proxy(&self, client: Speaks, upstream: &str, more: &str) -> Proxy {
        let tls = if matches!(client, Speaks::H1Tls | Speaks::H2Tls) { self.listener() } else { String::new() };
        let trust = match upstream.starts_with("https:") {
            true => format!("[pool.app.tls]\nca = \"{}\"\n", self.file("ca.pem")),
            false => String::new(),
        };
        let pool = format!("[pool.app]\nupstreams = [\"{upstream}\"]\nhealth.type = \"off\"\n{more}");
        Proxy::start(&format!("{tls}{pool}{trust}"))
    }

    /// A connection to the proxy, behind TLS where that is spoken.
    async fn connect(&self, proxy: &Proxy, speaks: Speaks) -> Box<dyn Io> {
        self.over(TcpStream::connect(proxy.address).await.unwrap(), speaks).await
    }

    /// The same over this connection.
    async fn over(&self, stream: TcpStream, speaks: Speaks) -> Box<dyn Io> {
        let alpn = match speaks {
            Speaks::H1Tls => "http/1.1",
            Speaks::H2Tls => "h2",
            _ => return Box::new(stream),
        };
        let connector = TlsConnector::from(self.authority.client(&[&TLS13], &[alpn], None));
        let name = ServerName::try_from("a.test").unwrap();
        Box::new(timeout(LONG, connector.connect(name, stream)).await.unwrap().unwrap())
    }
}

/// What the app has seen of a handshake.
type Seen = tokio::sync::mpsc::UnboundedReceiver<HeaderMap>;

/// An app that gives back every message, and closes with 4002 when it hears `bye`. Its name as an upstream, and what it
/// sees.
async fn app(speaks: Speaks, files: &Files) -> (String, Seen) {
    let (tell, seen) = tokio::sync::mpsc::unbounded_channel();
    if speaks == Speaks::H1Unix {
        let path = files.file("app.sock");
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve_h1(Box::new(stream), tell.clone()));
            }
        });
        return (format!("unix:{path}"), seen);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = files.acceptor();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (tell, acceptor) = (tell.clone(), acceptor.clone());
            tokio::spawn(async move {
                match speaks {
                    Speaks::H2 => serve_h2(stream, tell).await,
                    Speaks::H1Tls => serve_h1(Box::new(acceptor.accept(stream).await.unwrap()), tell).await,
                    _ => serve_h1(Box::new(stream), tell).await,
                }
            });
        }
    });
    let scheme = match speaks {
        Speaks::H2 => "h2c",
        Speaks::H1Tls => "https",
        _ => "http",
    };
    (format!("{scheme}://{address}"), seen)
}

type Tell = tokio::sync::mpsc::UnboundedSender<HeaderMap>;

async fn serve_h1(stream: Box<dyn Io>, tell: Tell) {
    #[allow(clippy::result_large_err)] // the library's own
    let seen = |request: &Asked, mut answer: Answer| -> Result<Answer, ErrorResponse> {
        tell.send(request.headers().clone()).unwrap();
        answer.headers_mut().insert("sec-websocket-protocol", "chat.v2".parse().unwrap());
        Ok(answer)
    };
    if let Ok(socket) = tokio_tungstenite::accept_hdr_async(stream, seen).await {
        echo(socket).await;
    }
}

async fn serve_h2(stream: impl Io + 'static, tell: Tell) {
    let mut connection =
        h2::server::Builder::new().enable_connect_protocol().handshake::<_, Bytes>(stream).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        assert_eq!(request.method(), Method::CONNECT);
        assert_eq!(request.extensions().get::<Protocol>().map(Protocol::as_str), Some("websocket"));
        assert_eq!(request.uri().path_and_query().unwrap(), "/chat?room=1");
        tell.send(request.headers().clone()).unwrap();
        let answer = Response::builder().header("sec-websocket-protocol", "chat.v2").body(()).unwrap();
        let send = respond.send_response(answer, false).unwrap();
        let io: Box<dyn Io> = Box::new(Duplex::new(request.into_body(), send));
        tokio::spawn(async move { echo(WebSocketStream::from_raw_socket(io, Role::Server, None).await).await });
    }
}

async fn echo(mut socket: Socket) {
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Text(text) if text.as_str() == "bye" => {
                let frame = CloseFrame { code: CloseCode::from(4002), reason: "as you wish".into() };
                socket.close(Some(frame)).await.unwrap();
            }
            message @ (Message::Text(_) | Message::Binary(_)) => socket.send(message).await.unwrap(),
            _ => {}
        }
    }
    // An end of its own, and then the client's: over HTTP/2, a stream that is dropped is reset.
    let mut io = socket.into_inner();
    let _ = io.shutdown().await;
    let _ = io.read_to_end(&mut Vec::new()).await;
}

fn connect(path: &str) -> Request<()> {
    let mut request = Request::connect(format!("http://a.test{path}"));
    request = request.header("sec-websocket-version", "13").header("sec-websocket-protocol", "chat.v1, chat.v2");
    let mut request = request.header("origin", "https://a.test").body(()).unwrap();
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    request
}

/// A client of HTTP/2, once it knows the proxy's settings; its connection runs until it ends.
async fn client_h2(io: impl Io + 'static) -> (SendRequest<Bytes>, tokio::task::JoinHandle<()>) {
    let (send, mut connection) = h2::client::handshake(io).await.unwrap();
    let mut pings = connection.ping_pong().unwrap();
    let running = tokio::spawn(async move { drop(connection.await) });
    // The settings come before all else.
    timeout(LONG, pings.ping(h2::Ping::opaque())).await.unwrap().unwrap();
    assert!(send.is_extended_connect_protocol_enabled());
    (send, running)
}

/// Opens one on this stream; its answer must be this.
async fn tunnel(send: &SendRequest<Bytes>, wanted: u16) -> (Response<()>, RecvStream, SendStream<Bytes>) {
    let mut send = send.clone().ready().await.unwrap();
    let (answer, stream) = send.send_request(connect("/chat?room=1"), false).unwrap();
    let (head, body) = timeout(LONG, answer).await.unwrap().unwrap().into_parts();
    assert_eq!(head.status, wanted, "{:?}", head.headers);
    (Response::from_parts(head, ()), body, stream)
}

/// A WebSocket to the app.
async fn open(files: &Files, proxy: &Proxy, speaks: Speaks) -> Socket {
    let io = files.connect(proxy, speaks).await;
    let (socket, fields) = if matches!(speaks, Speaks::H2 | Speaks::H2Tls) {
        let (send, _) = client_h2(io).await;
        let (head, recv, stream) = tunnel(&send, 200).await;
        for gone in ["sec-websocket-accept", "sec-websocket-key", "upgrade", "connection"] {
            assert!(!head.headers().contains_key(gone), "{gone}: {head:?}");
        }
        let io: Box<dyn Io> = Box::new(Duplex::new(recv, stream));
        (WebSocketStream::from_raw_socket(io, Role::Client, None).await, head.headers().clone())
    } else {
        let mut request =
            tokio_tungstenite::tungstenite::ClientRequestBuilder::new("ws://a.test/chat?room=1".parse().unwrap());
        request =
            request.with_sub_protocol("chat.v1").with_sub_protocol("chat.v2").with_header("origin", "https://a.test");
        let (socket, answer) = timeout(LONG, tokio_tungstenite::client_async(request, io)).await.unwrap().unwrap();
        (socket, answer.headers().clone())
    };
    assert_eq!(fields["sec-websocket-protocol"], "chat.v2");
    assert!(fields.contains_key("x-request-id"));
    socket
}

async fn next(socket: &mut Socket) -> Message {
    timeout(LONG, socket.next()).await.unwrap().expect("an end").unwrap()
}

/// The whole conversation; how many bytes of messages it had, at least, in each direction.
async fn converse(socket: &mut Socket, by_client: bool) -> u64 {
    let mut all = 0;
    for length in [0, 1, 125, 126, 64 << 10, 1 << 20] {
        let data: Bytes = (0..length).map(|n: usize| n as u8).collect::<Vec<_>>().into();
        socket.send(Message::Binary(data.clone())).await.unwrap();
        assert_eq!(next(socket).await.into_data(), data);
        all += length as u64;
    }
    for (part, opcode, last) in
        [("frag", Data::Text, false), ("men", Data::Continue, false), ("ted", Data::Continue, true)]
    {
        let frame = Frame::message(part, OpCode::Data(opcode), last);
        socket.send(Message::Frame(frame)).await.unwrap();
    }
    assert_eq!(next(socket).await, Message::text("fragmented"));
    socket.send(Message::Ping("are you there".into())).await.unwrap();
    assert_eq!(next(socket).await, Message::Pong("are you there".into()));
    let (code, reason) = if by_client {
        let frame = CloseFrame { code: CloseCode::from(4001), reason: "done".into() };
        socket.close(Some(frame)).await.unwrap();
        (4001, "done")
    } else {
        socket.send(Message::text("bye")).await.unwrap();
        (4002, "as you wish")
    };
    let Message::Close(Some(close)) = next(socket).await else { panic!("no close") };
    assert_eq!((u16::from(close.code), close.reason.as_str()), (code, reason));
    while let Some(Ok(_)) = timeout(LONG, socket.next()).await.unwrap() {}
    all
}

#[tokio::test]
async fn every_pairing_carries_a_whole_conversation() {
    for upstream in [Speaks::H1, Speaks::H1Tls, Speaks::H1Unix, Speaks::H2] {
        let files = Files::new();
        let (name, mut seen) = app(upstream, &files).await;
        for client in [Speaks::H1, Speaks::H1Tls, Speaks::H2, Speaks::H2Tls] {
            let proxy = files.proxy(client, &name, "");
            for by_client in [true, false] {
                let what = format!("{client:?} to {upstream:?}");
                let before = proxy.exchanges().len();
                let mut socket = open(&files, &proxy, client).await;
                let fields = timeout(LONG, seen.recv()).await.unwrap().unwrap();
                assert_eq!(fields.contains_key("sec-websocket-key"), upstream != Speaks::H2, "{what}");
                assert_eq!(
                    (&fields["origin"], &fields["sec-websocket-version"]),
                    (&"https://a.test".parse().unwrap(), &"13".parse().unwrap())
                );
                let proto = if matches!(client, Speaks::H1Tls | Speaks::H2Tls) { "https" } else { "http" };
                assert_eq!(fields["x-forwarded-proto"], proto, "{what}");
                let bytes = converse(&mut socket, by_client).await;
                drop(socket);
                let record = proxy.exchange(before).await;
                assert_eq!((record.status, record.cause), (101, None), "{what}");
                assert!(record.bytes_in > bytes && record.bytes_out > bytes, "{what}: {record:?}");
            }
        }
    }
}

/// An upstream by hand, that agrees to any handshake and has seen it; and what the client has of it.
async fn by_hand(files: &Files, client: Speaks, more: &str) -> (Proxy, TcpStream, Box<dyn Io>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = files.proxy(client, &listener.local_addr().unwrap().to_string(), more);
    let upstream = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            head.push(char::from(stream.read_u8().await.unwrap()));
        }
        let key =
            head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap_or_else(|| panic!("{head}"));
        assert!(head.starts_with("GET /chat?room=1 HTTP/1.1\r\n"), "{head}");
        let proof = handshake::accept(&key.parse().unwrap());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
            proof.to_str().unwrap()
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream
    };
    let io = files.connect(&proxy, client).await;
    let asking = async {
        if matches!(client, Speaks::H2 | Speaks::H2Tls) {
            let (send, _) = client_h2(io).await;
            let (_, recv, stream) = tunnel(&send, 200).await;
            return Box::new(Duplex::new(recv, stream)) as Box<dyn Io>;
        }
        let mut io = io;
        let asked = "GET /chat?room=1 HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        io.write_all(asked.as_bytes()).await.unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            head.push(char::from(io.read_u8().await.unwrap()));
        }
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        io
    };
    let (upstream, client) = timeout(LONG, async { tokio::join!(upstream, asking) }).await.unwrap();
    (proxy, upstream, client)
}

async fn rest(io: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut all = String::new();
    timeout(LONG, io.read_to_string(&mut all)).await.unwrap().map(|_| all)
}

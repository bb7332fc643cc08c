//! Connections over real loopback sockets: refusals, clocks, closing, tunnels, the drain. The handler is a toy; the client
//! is a raw socket.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use causeway::cause::Failure;
use causeway::config::address::ListenAddress;
use causeway::config::model::Listener;
use causeway::listen::{ConnInfo, Drain, Handler, Permits, RequestBody, accept, bind};
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

/// Long enough that only a fault reaches it.
const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);

fn listener() -> Listener {
    Listener {
        name: "test".into(),
        address: ListenAddress::Exact(vec![([127, 0, 0, 1], 0).into()]),
        head_timeout: LONG,
        body_timeout: LONG,
        keep_alive: LONG,
        head_limit: 8 << 10,
        fields_limit: 20,
        connections_limit: None,
    }
}

// --- the handler

#[derive(Clone)]
struct Toy {
    /// What happened, in order.
    log: mpsc::UnboundedSender<String>,
    /// Lets `/when-told` go on.
    go: Arc<Notify>,
}

/// Frames, an error perhaps; no length known.
struct Frames(VecDeque<io::Result<Frame<Bytes>>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = io::Error;
    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(self.0.pop_front())
    }
    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

fn frames(data: &[&'static str]) -> VecDeque<io::Result<Frame<Bytes>>> {
    data.iter().map(|data| Ok(Frame::data(Bytes::from_static(data.as_bytes())))).collect()
}

fn answer(status: u16, frames: VecDeque<io::Result<Frame<Bytes>>>) -> Response<Frames> {
    let mut answer = Response::new(Frames(frames));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    if let [Ok(only)] = answer.body().0.iter().collect::<Vec<_>>()[..] {
        let length = only.data_ref().unwrap().len();
        answer.headers_mut().insert("content-length", length.into());
    }
    answer
}

struct OnDrop(mpsc::UnboundedSender<String>);
impl Drop for OnDrop {
    fn drop(&mut self) {
        let _ = self.0.send("dropped".into());
    }
}

impl Handler for Toy {
    type Body = Frames;

    fn call(
        &self,
        mut request: Request<RequestBody>,
        conn: &Arc<ConnInfo>,
    ) -> impl Future<Output = Response<Frames>> + Send + 'static {
        let (toy, conn) = (self.clone(), conn.clone());
        async move {
            toy.log.send(format!("called {}", request.uri())).unwrap();
            let broken = || Err(io::Error::other("the upstream died"));
            match request.uri().path() {
                "/echo" => match request.into_body().collect().await {
                    Ok(body) => {
                        let mut answer = Response::new(Frames(VecDeque::new()));
                        answer.body_mut().0.push_back(Ok(Frame::data(body.to_bytes())));
                        answer
                    }
                    Err(failure) => {
                        toy.log.send(failure.to_string()).unwrap();
                        answer(failure.own_status(), frames(&["body failed"]))
                    }
                },
                "/early" => answer(502, frames(&["nobody is there"])),
                "/early-stream" => answer(502, frames(&["nobody ", "is ", "there"])),
                "/hold" => {
                    let _told = OnDrop(toy.log.clone());
                    std::future::pending().await
                }
                "/when-told" => {
                    toy.go.notified().await;
                    let body = request.into_body().collect().await.unwrap();
                    assert_eq!(body.to_bytes(), "hello");
                    answer(200, frames(&["told"]))
                }
                "/chunks" => answer(200, frames(&["one", "two"])),
                "/break" => {
                    let mut frames = frames(&["one", "two"]);
                    frames.push_back(broken());
                    answer(200, frames)
                }
                "/break-length" => {
                    let mut frames = frames(&["one", "two"]);
                    frames.push_back(broken());
                    let mut answer = answer(200, frames);
                    answer.headers_mut().insert("content-length", 100.into());
                    answer
                }
                "/big" => {
                    let data = Bytes::from(vec![b'x'; 64 << 10]);
                    answer(200, (0..128).map(|_| Ok(Frame::data(data.clone()))).collect())
                }
                "/upgrade" => {
                    let upgraded = hyper::upgrade::on(&mut request);
                    conn.drain.spawn(async move {
                        let mut io = hyper_util::rt::TokioIo::new(upgraded.await.unwrap());
                        let mut buf = [0; 1024];
                        while let Ok(n @ 1..) = io.read(&mut buf).await {
                            io.write_all(&buf[..n]).await.unwrap();
                        }
                        io.shutdown().await.unwrap();
                        toy.log.send("tunnel ended".into()).unwrap();
                    });
                    let mut answer = answer(101, frames(&[]));
                    answer.headers_mut().insert("connection", "upgrade".parse().unwrap());
                    answer.headers_mut().insert("upgrade", "echo".parse().unwrap());
                    answer
                }
                "/panic" => panic!("on purpose"),
                _ => answer(200, frames(&["ok"])),
            }
        }
    }

    fn refuse(&self, failure: Failure, raw: &[u8], conn: &Arc<ConnInfo>) -> Bytes {
        assert!(conn.peer.ip().is_loopback());
        let body = format!("{}: {} ({} raw)", failure.cause, failure.seen.as_deref().unwrap_or(""), raw.len());
        let (status, length) = (failure.own_status(), body.len());
        format!("HTTP/1.1 {status} Refused\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}").into()
    }
}

// --- the server and the client

struct Server {
    address: std::net::SocketAddr,
    drain: Drain,
    log: mpsc::UnboundedReceiver<String>,
    go: Arc<Notify>,
}

async fn start(listener: Listener) -> Server {
    let (log_in, log) = mpsc::unbounded_channel();
    let go = Arc::new(Notify::new());
    let handler = Toy { log: log_in, go: go.clone() };
    let drain = Drain::default();
    let mut bound = bind(&listener.address, 1).unwrap();
    let permits = Permits::new(listener.connections_limit);
    let listener = Arc::new(listener);
    for socket in bound.workers.remove(0) {
        tokio::spawn(accept::run(socket, listener.clone(), permits.clone(), drain.clone(), handler.clone()));
    }
    Server { address: bound.addresses[0], drain, log, go }
}

impl Server {
    async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }

    async fn logged(&mut self) -> String {
        timeout(LONG, self.log.recv()).await.expect("an entry in the log").unwrap()
    }
}

struct Client(TcpStream);

impl Client {
    async fn send(&mut self, text: impl AsRef<[u8]>) {
        self.0.write_all(text.as_ref()).await.unwrap();
    }

    /// All that comes until the connection ends, and how it ended.
    async fn rest(&mut self) -> (String, io::Result<()>) {
        let mut all = Vec::new();
        let end = timeout(LONG, self.0.read_to_end(&mut all)).await.expect("an end of the connection");
        (String::from_utf8(all).unwrap(), end.map(drop))
    }

    /// All that comes until a clean end.
    async fn whole(&mut self) -> String {
        let (text, end) = self.rest().await;
        end.unwrap();
        text
    }

    /// What comes until this text has come.
    async fn until(&mut self, end: &str) -> String {
        let mut all = Vec::new();
        while !all.ends_with(end.as_bytes()) {
            let byte = timeout(LONG, self.0.read_u8()).await;
            match byte.unwrap_or_else(|_| panic!("{end:?} within {:?}", String::from_utf8_lossy(&all))) {
                Ok(byte) => all.push(byte),
                Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&all)),
            }
        }
        String::from_utf8(all).unwrap()
    }
}

async fn refused(listener: Listener, bytes: impl AsRef<[u8]>) -> String {
    let server = start(listener).await;
    let mut client = server.connect().await;
    client.send(bytes).await;
    client.whole().await
}

// --- refusals

#[tokio::test]
async fn broken_heads_get_a_full_answer() {
    for (bytes, seen) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], "TLS handshake"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2 came"),
        (b"what is this\r\n\r\n", "invalid"),
        (b"\x00\x00\x00", "invalid"),
        (b"GET / HTTP/1.1\r\nhost: a\rb: c\r\n\r\n", "invalid"),
        (b"GET / HTTP/1.1\r\nhost: a\r\n folded\r\n\r\n", "invalid"),
        (b"GET / HTTP/1.1\r\nhost : a\r\n\r\n", "invalid"),
        (b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n", "content-length"),
        (b"GET / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n", "transfer-encoding"),
    ] {
        let text = refused(listener(), bytes).await;
        let name = String::from_utf8_lossy(bytes);
        assert!(text.starts_with("HTTP/1.1 400 Refused\r\nConnection: close\r\n"), "{name:?}: {text}");
        assert!(text.contains("\r\n\r\nclient_invalid: ") && text.contains(seen), "{name:?}: {text}");
    }
}

#[tokio::test]
async fn heads_that_are_too_large_name_their_limit() {
    let fields = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(21));
    let text = refused(listener(), &fields).await;
    assert!(text.starts_with("HTTP/1.1 431 ") && text.contains("more than 20 fields"), "{text}");

    let mut a_hundred = listener();
    a_hundred.fields_limit = 100;
    let text = refused(a_hundred, format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101))).await;
    assert!(text.starts_with("HTTP/1.1 431 ") && text.contains("more than 100 fields"), "{text}");

    for end in ["", "\r\n\r\n"] {
        let text = refused(listener(), format!("GET / HTTP/1.1\r\na: {}{end}", "x".repeat(9000))).await;
        assert!(text.starts_with("HTTP/1.1 431 ") && text.contains("larger than 8 KiB"), "{text}");
    }

    let text = refused(listener(), format!("GET /{}", "x".repeat(9000))).await;
    assert!(text.starts_with("HTTP/1.1 414 ") && text.contains("longer than 8 KiB"), "{text}");

    let mut huge = listener();
    huge.head_limit = 1 << 20;
    let text = refused(huge, format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000))).await;
    assert!(text.starts_with("HTTP/1.1 414 ") && text.contains("65534 bytes"), "{text}");
}

#[tokio::test]
async fn a_large_head_within_the_limit_is_served() {
    let server = start(Listener { head_limit: 256 << 10, ..listener() }).await;
    let mut client = server.connect().await;
    client.send(format!("GET / HTTP/1.1\r\nconnection: close\r\na: {}\r\n\r\n", "x".repeat(200 << 10))).await;
    assert!(client.whole().await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn half_a_head_gets_408_and_silence_gets_nothing() {
    let hasty = || Listener { head_timeout: SHORT, ..listener() };
    let text = refused(hasty(), "GET / HTTP/1.1\r\nhost: ").await;
    assert!(text.starts_with("HTTP/1.1 408 ") && text.contains("no complete head within 200.0 ms"), "{text}");
    assert_eq!(refused(hasty(), "").await, "");
    assert_eq!(refused(hasty(), "\r\n").await, "");
}

#[tokio::test]
async fn a_refusal_comes_after_the_answers_before_it() {
    let server = start(listener()).await;
    let mut client = server.connect().await;
    client.send("GET /big HTTP/1.1\r\n\r\nGET /chunks HTTP/1.1\r\n\r\nbroken\x00\r\n\r\n").await;
    let text = client.whole().await;
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2);
    assert!(text.contains("0\r\n\r\nHTTP/1.1 400 Refused"), "{}", &text[text.len() - 300..]);
}

// --- keeping and closing

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let mut server = start(listener()).await;
    let mut client = server.connect().await;
    client.send("GET /chunks HTTP/1.1\r\n\r\nHEAD /chunks HTTP/1.1\r\n\r\nPOST /echo HTTP/1.1\r\ncontent-length: 3\r\n\r\nabcGET /a HTTP/1.1\r\nconnection: close\r\n\r\nGET /never HTTP/1.1\r\n\r\n").await;
    let text = client.whole().await;
    assert_eq!(text.matches("HTTP/1.1 200 OK\r\n").count(), 4, "{text}");
    assert!(text.contains("3\r\none\r\n3\r\ntwo\r\n0\r\n\r\nHTTP/1.1 200 OK"), "{text}");
    assert!(text.contains("abc") && text.ends_with("\r\n\r\nok"), "{text}");
    for path in ["/chunks", "/chunks", "/echo", "/a"] {
        assert_eq!(server.logged().await, format!("called {path}"));
    }
    assert!(server.log.try_recv().is_err());
}

#[tokio::test]
async fn the_keep_alive_clock_runs_from_the_last_answer() {
    let server = start(Listener { keep_alive: 3 * SHORT, ..listener() }).await;
    let mut client = server.connect().await;
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\n\r\n").await;
        client.until("\r\n\r\nok").await;
    }
    let since = Instant::now();
    assert_eq!(client.whole().await, "");
    assert!(since.elapsed() > 2 * SHORT, "closed after {:?}", since.elapsed());
}

#[tokio::test]
async fn the_head_clock_runs_on_kept_connections_too() {
    let server = start(Listener { head_timeout: SHORT, ..listener() }).await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\n\r\n").await;
    client.until("\r\n\r\nok").await;
    client.send("GET /").await;
    assert!(client.whole().await.starts_with("HTTP/1.1 408 "));
}

#[tokio::test]
async fn http10_is_closed_unless_it_asks_to_be_kept() {
    let server = start(listener()).await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await;
    let text = client.until("\r\n\r\nok").await;
    assert!(text.contains("connection: keep-alive\r\n"), "{text}");
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    let text = client.whole().await;
    assert!(text.contains("connection: close\r\n"), "{text}");

    let mut client = server.connect().await;
    client.send("GET /chunks HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await;
    let text = client.whole().await;
    assert!(text.contains("connection: close\r\n") && text.ends_with("\r\n\r\nonetwo"), "{text}");
}

#[tokio::test]
async fn continue_is_sent_when_the_body_is_polled_and_not_before() {
    let mut server = start(listener()).await;
    let mut client = server.connect().await;
    client.send("POST /when-told HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n").await;
    assert_eq!(server.logged().await, "called /when-told");
    assert!(timeout(SHORT, client.0.read_u8()).await.is_err(), "nothing may come before the body is polled");
    server.go.notify_one();
    client.until("HTTP/1.1 100 Continue\r\n\r\n").await;
    client.send("hello").await;
    let text = client.until("told").await;
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && !text.contains("connection: close"), "{text}");
}

#[tokio::test]
async fn a_final_answer_in_place_of_continue_closes() {
    let server = start(listener()).await;
    let mut client = server.connect().await;
    client.send("POST /early HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n").await;
    let text = client.whole().await;
    assert!(text.starts_with("HTTP/1.1 502 ") && text.contains("connection: close\r\n"), "{text}");
}

#[tokio::test]
async fn an_early_answer_survives_a_large_upload() {
    let server = start(listener()).await;
    // As Java's HttpClient sends it: hyper must not take this for an upgrade.
    for (path, upgrade) in
        [("/early", ""), ("/early", "connection: upgrade\r\nupgrade: h2c\r\n"), ("/early-stream", "")]
    {
        let mut client = server.connect().await;
        client.send(format!("POST {path} HTTP/1.1\r\n{upgrade}content-length: 20000000\r\n\r\n")).await;
        let (mut read, mut write) = client.0.split();
        let upload = async {
            let chunk = vec![0; 1_000_000];
            for _ in 0..20 {
                write.write_all(&chunk).await.unwrap();
            }
        };
        let mut text = String::new();
        let ((), answer) = tokio::join!(upload, read.read_to_string(&mut text));
        answer.unwrap();
        assert!(text.starts_with("HTTP/1.1 502 ") && text.contains("connection: close\r\n"), "{text}");
        assert!(text.contains("nobody"), "{text}");
    }
}

#[tokio::test]
async fn a_large_answer_to_an_unread_upgrade_request_is_whole() {
    let server = start(listener()).await;
    let mut client = server.connect().await;
    client
        .send("POST /big HTTP/1.1\r\nconnection: upgrade\r\nupgrade: h2c\r\ncontent-length: 20\r\n\r\nhalf of it")
        .await;
    let text = client.whole().await;
    assert_eq!(text.bytes().filter(|&b| b == b'x').count(), 8 << 20);
    assert!(text.ends_with("\r\n0\r\n\r\n"));
}

#[tokio::test]
async fn a_broken_answer_is_never_a_whole_one() {
    let server = start(listener()).await;
    let mut client = server.connect().await;
    client.send("GET /break HTTP/1.1\r\n\r\n").await;
    let (text, _) = client.rest().await;
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("3\r\ntwo\r\n"), "{text}");

    let mut client = server.connect().await;
    client.send("GET /break-length HTTP/1.1\r\n\r\n").await;
    let (text, _) = client.rest().await;
    assert!(text.ends_with("\r\n\r\nonetwo"), "{text}");

    let mut client = server.connect().await;
    client.send("GET /break HTTP/1.0\r\n\r\n").await;
    let (_, end) = client.rest().await;
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_panic_ends_one_connection() {
    let server = start(listener()).await;
    let mut other = server.connect().await;
    other.send("GET / HTTP/1.1\r\n\r\n").await;
    other.until("ok").await;
    let mut client = server.connect().await;
    client.send("GET /panic HTTP/1.1\r\n\r\n").await;
    assert_eq!(client.whole().await, "");
    other.send("GET / HTTP/1.1\r\n\r\n").await;
    other.until("ok").await;
}

// --- the request's body

#[tokio::test]
async fn a_silent_body_gets_408() {
    let mut server = start(Listener { body_timeout: SHORT, ..listener() }).await;
    let mut client = server.connect().await;
    client.send("POST /echo HTTP/1.1\r\ncontent-length: 9\r\n\r\n").await;
    server.logged().await;
    for _ in 0..4 {
        tokio::time::sleep(SHORT / 2).await; // slower than the clock in all, never silent for so long
        client.send("x").await;
    }
    let text = client.whole().await;
    assert!(text.starts_with("HTTP/1.1 408 ") && text.contains("connection: close\r\n"), "{text}");
    assert!(server.logged().await.starts_with("client_timeout: "));
}

#[tokio::test]
async fn broken_chunks_get_400() {
    let mut server = start(listener()).await;
    let mut client = server.connect().await;
    client.send("POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nzzz\r\n").await;
    let text = client.whole().await;
    assert!(text.starts_with("HTTP/1.1 400 ") && text.contains("connection: close\r\n"), "{text}");
    server.logged().await;
    assert!(server.logged().await.starts_with("client_invalid: "));
}

#[tokio::test]
async fn chunked_bodies_with_trailers_keep_the_connection() {
    let server = start(listener()).await;
    let mut client = server.connect().await;
    client.send("POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\na: b\r\n\r\n").await;
    let text = client.until("0\r\n\r\n").await;
    assert!(text.contains("abc") && !text.contains("close"), "{text}");
    client.send("GET / HTTP/1.1\r\n\r\n").await;
    client.until("\r\n\r\nok").await;
}

// --- a client that leaves

#[tokio::test]
async fn the_handler_is_dropped_when_the_client_leaves() {
    let head = "POST /hold HTTP/1.1\r\ncontent-length: 1000000\r\n\r\n";
    // More than hyper reads ahead, less than the kernel takes: behind a full window a FIN could not be seen.
    let with_body = format!("{head}{}", "x".repeat(40_000));
    for request in ["GET /hold HTTP/1.1\r\n\r\n", "GET /hold HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n", head, &with_body]
    {
        let mut server = start(listener()).await;
        let mut client = server.connect().await;
        client.send(request).await;
        assert_eq!(server.logged().await, "called /hold");
        let since = Instant::now();
        drop(client);
        assert_eq!(server.logged().await, "dropped", "{request:.30}");
        assert!(since.elapsed() < Duration::from_secs(3), "{request:.30}: after {:?}", since.elapsed());
    }
}

// --- tunnels

#[tokio::test]
async fn an_upgraded_connection_echoes_what_came_behind_its_head() {
    let one = Listener { connections_limit: NonZeroUsize::new(1), ..listener() };
    let mut server = start(one).await;
    let mut client = server.connect().await;
    client.send("GET /upgrade HTTP/1.1\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nbehind").await;
    let text = client.until("behind").await;
    assert!(text.starts_with("HTTP/1.1 101 ") && text.contains("connection: upgrade\r\n"), "{text}");
    client.send("more").await;
    client.until("more").await;

    // The tunnel holds its place: the next connection waits for it.
    let mut next = server.connect().await;
    next.send("GET / HTTP/1.1\r\n\r\n").await;
    assert!(timeout(SHORT, next.0.read_u8()).await.is_err());
    client.0.shutdown().await.unwrap();
    assert_eq!(client.whole().await, "");
    assert_eq!(server.logged().await, "called /upgrade");
    assert_eq!(server.logged().await, "tunnel ended");
    next.until("\r\n\r\nok").await;
}

// --- sockets

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

// --- the drain

#[tokio::test]
async fn in_a_drain_idle_connections_end_after_a_second() {
    let server = start(listener()).await;
    let mut kept = server.connect().await;
    kept.send("GET / HTTP/1.1\r\n\r\n").await;
    kept.until("ok").await;
    let mut fresh = server.connect().await;
    let mut used = server.connect().await;
    used.send("GET / HTTP/1.1\r\n\r\n").await;
    used.until("ok").await;
    server.drain.begin();
    let since = Instant::now();
    used.send("GET / HTTP/1.1\r\n\r\n").await;
    let text = used.whole().await;
    assert!(text.contains("connection: close\r\n") && text.ends_with("ok"), "{text}");
    assert!(since.elapsed() < Duration::from_millis(500), "one more answer, and closed at once");
    assert_eq!(kept.whole().await, "");
    assert!(since.elapsed() > Duration::from_millis(900), "idle ones are kept a second: {:?}", since.elapsed());
    assert_eq!(fresh.whole().await, "");
    drop(used);
    timeout(LONG, server.drain.ended()).await.unwrap();
    assert!(since.elapsed() < Duration::from_secs(3));
    assert_eq!(TcpStream::connect(server.address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(server.drain.cut(), 0);
}

#[tokio::test]
async fn in_a_drain_half_a_head_is_finished() {
    let server = start(listener()).await;
    let mut alone = server.connect().await;
    alone.send("GET / HTTP/1.1\r\nho").await;
    let mut behind = server.connect().await;
    behind.send("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nho").await;
    behind.until("ok").await;
    server.drain.begin();
    tokio::time::sleep(Duration::from_millis(1500)).await; // longer than idle connections are kept
    for client in [&mut alone, &mut behind] {
        client.send("st: a\r\n\r\n").await;
        let text = client.whole().await;
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("connection: close\r\n"), "{text}");
    }
    timeout(LONG, server.drain.ended()).await.unwrap();
}

#[tokio::test]
async fn a_drain_takes_what_waits_in_the_backlog() {
    let server = start(listener()).await;
    // Nothing runs between these lines but the client: the accept loop sees all of them at once.
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let stream = std::net::TcpStream::connect(server.address).unwrap();
        stream.set_nonblocking(true).unwrap();
        waiting.push(Client(TcpStream::from_std(stream).unwrap()));
    }
    server.drain.begin();
    for client in &mut waiting {
        client.send("GET / HTTP/1.1\r\n\r\n").await;
    }
    for client in &mut waiting {
        assert!(client.whole().await.ends_with("\r\n\r\nok"));
    }
    timeout(LONG, server.drain.ended()).await.unwrap();
}

#[tokio::test]
async fn the_cut_drops_what_remains() {
    let mut server = start(listener()).await;
    let mut held = server.connect().await;
    held.send("POST /hold HTTP/1.1\r\ncontent-length: 5\r\n\r\n").await;
    assert_eq!(server.logged().await, "called /hold");
    let mut tunnel = server.connect().await;
    tunnel.send("GET /upgrade HTTP/1.1\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nbehind").await;
    tunnel.until("behind").await;
    assert_eq!(server.logged().await, "called /upgrade");
    server.drain.begin();
    assert!(timeout(SHORT, server.drain.ended()).await.is_err());
    assert_eq!(server.drain.cut(), 2);
    timeout(LONG, server.drain.ended()).await.unwrap();
    assert_eq!(server.logged().await, "dropped");
    assert_eq!(held.rest().await.0, "");
    assert_eq!(tunnel.rest().await.0, "");
}

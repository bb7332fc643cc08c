//! A misbehaving upstream: raw TCP, no HTTP library, one named fault at a time. It records what it was sent and lets
//! tests wait for that. Each [`Behaviour`] is a small script in [`serve`].

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// What the origin does with a request (or a connection).
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// 200 with this body, of known length.
    Ok(Vec<u8>),
    /// This status with a short body; 204 and 304 with none.
    Status(u16),
    /// These bytes, as they are, then the connection is kept.
    Raw(Vec<u8>),
    /// These bytes, as they are, then FIN.
    RawThenClose(Vec<u8>),
    /// 200 `ok` after this time.
    Slow(Duration),
    /// Takes the connection and everything sent, and never answers.
    Silent,
    /// Takes the connection and never reads.
    NeverReads,
    /// Reads the request, then RST.
    ResetBeforeHead,
    /// RST as soon as the connection stands.
    ResetOnAccept,
    /// Reads the request, then FIN.
    CloseBeforeHead,
    /// Speaks first, as SSH does.
    Greets(Vec<u8>),
    /// `SSH-2.0-OpenSSH` in place of an answer.
    Garbage,
    /// A TLS alert, as a TLS server answers plain text.
    TlsAlert,
    /// A SETTINGS frame and GOAWAY, as an HTTP/2 server answers HTTP/1.1.
    H2Settings,
    /// A response head of exactly this many bytes, and a body of two.
    HeadOf(usize),
    /// A response head with this many fields.
    Fields(usize),
    /// Half a status line and a field, then FIN.
    HalfHead,
    /// The same, then RST.
    HalfHeadReset,
    /// A field line without a name.
    BadHeader,
    /// `Content-Length: of`, but only so many bytes, then FIN (or RST).
    CutBody { sent: usize, of: usize, reset: bool },
    /// Chunks, then FIN before the last one.
    CutChunks,
    /// A chunk whose size is no number.
    BadChunking,
    /// Half the body, then silence.
    StallInBody,
    /// A body of so many bytes, one at a time, with this pause.
    Drip { bytes: usize, pause: Duration },
    /// 200 `ok`, kept; FIN as the next request arrives, with no word.
    StaleOnNext,
    /// 200 `ok`, kept; FIN after this idle time.
    StaleAfter(Duration),
    /// 413 after the first byte of a body, then closed at once: RST on what still comes.
    EarlyRefusal,
    /// RST after the first byte of a body.
    ResetInRequest,
    /// 103 with a Link, then 200 `ok`.
    EarlyHints,
    /// 100 where it was asked for, then the body, then 200 with it.
    Continue,
    /// 417 with the head alone, the body never read.
    RefuseContinue,
    /// 200 with chunks and a trailer.
    Trailers,
    /// 101, `hello ` right behind it, then an echo.
    Tunnel,
    /// 200 with no length: FIN ends it.
    CloseDelimited,
    /// 200 `ok`, with `Keep-Alive: timeout=N`.
    KeepAlive(u32),
    /// 200 `ok`, then bytes that nobody asked for.
    Unsolicited,
    /// 200 with the request's body.
    Echo,
}

/// One request, as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// Request line and fields, with the empty line.
    pub head: String,
    /// What came of the body, dechunked.
    pub body: Vec<u8>,
}

/// What was seen so far.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Connections taken.
    pub connections: usize,
    /// Connections that the origin has sent its FIN on, by plan.
    pub closed: usize,
    /// Connections that ended, whoever ended them.
    pub ended: usize,
    /// Request heads read.
    pub heads: usize,
    /// Requests read to their end.
    pub requests: Vec<Received>,
}

struct Shared {
    behaviour: Mutex<Behaviour>,
    record: watch::Sender<Record>,
}

/// A running origin; dropping it stops it.
pub struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: Option<AbortHandle>,
}

impl Origin {
    /// On a port of its own on 127.0.0.1.
    pub async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        Self::over(listener, behaviour)
    }

    /// On this address, once more.
    pub async fn start_at(address: SocketAddr, behaviour: Behaviour) -> Self {
        Self::over(bind(address).await, behaviour)
    }

    fn over(listener: TcpListener, behaviour: Behaviour) -> Self {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { behaviour: Mutex::new(behaviour), record: watch::Sender::default() });
        let mut origin = Self { address, shared, task: None };
        origin.accept(listener);
        origin
    }

    /// A port with nobody on it.
    pub fn nobody() -> SocketAddr {
        std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From the next request (or connection) on.
    pub fn set(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().unwrap() = behaviour;
    }

    /// Closes the port and every connection.
    pub async fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            while TcpStream::connect(self.address).await.is_ok() {
                tokio::task::yield_now().await;
            }
        }
    }

    /// The same port again, after [`Self::stop`].
    pub async fn restart(&mut self) {
        let listener = bind(self.address).await;
        self.accept(listener);
    }

    pub fn record(&self) -> Record {
        self.shared.record.borrow().clone()
    }

    /// Waits until so many requests were read to their end, and returns them.
    pub async fn requests(&self, count: usize) -> Vec<Received> {
        self.until(|record| record.requests.len() >= count).await.requests
    }

    /// Waits until the record is like that; fails the test after 10 s.
    pub async fn until(&self, is: impl Fn(&Record) -> bool) -> Record {
        let mut receiver = self.shared.record.subscribe();
        let found = tokio::time::timeout(Duration::from_secs(10), receiver.wait_for(|record| is(record))).await;
        match found {
            Ok(record) => record.unwrap().clone(),
            Err(_) => panic!("the origin never saw that: {:?}", self.record()),
        }
    }

    fn accept(&mut self, listener: TcpListener) {
        let shared = self.shared.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new(); // ends them all when it is dropped
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let _ = stream.set_nodelay(true);
                shared.record.send_modify(|record| record.connections += 1);
                let shared = shared.clone();
                connections.spawn(async move {
                    let _ended = serve(stream, &shared).await;
                    shared.record.send_modify(|record| record.ended += 1);
                });
                while connections.try_join_next().is_some() {}
            }
        });
        self.task = Some(task.abort_handle());
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn bind(address: SocketAddr) -> TcpListener {
    for _ in 0..200 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        if socket.bind(address).is_ok() {
            return socket.listen(1024).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{address} is not free again");
}

/// One connection, to its end.
async fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let now = || shared.behaviour.lock().unwrap().clone();
    let mut wire = Wire { stream, buffer: Vec::new(), shared };
    match now() {
        Behaviour::ResetOnAccept => return wire.reset(),
        Behaviour::NeverReads => return std::future::pending().await,
        Behaviour::Greets(bytes) => {
            wire.send(&bytes).await?;
            return wire.drain().await;
        }
        _ => {}
    }
    let mut answered = 0;
    loop {
        let Some(head) = wire.read_head().await? else { return Ok(()) };
        shared.record.send_modify(|record| record.heads += 1);
        let behaviour = now();
        match &behaviour {
            Behaviour::EarlyRefusal => {
                wire.read_any().await?;
                wire.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
                    .await?;
                return Ok(()); // closing with unread bytes resets
            }
            Behaviour::ResetInRequest => {
                wire.read_any().await?;
                return wire.reset();
            }
            Behaviour::Continue if field(&head, "expect").is_some() => {
                wire.send(b"HTTP/1.1 100 Continue\r\n\r\n").await?
            }
            Behaviour::RefuseContinue => {
                wire.send(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno").await?;
                return wire.drain().await;
            }
            _ => {}
        }
        let body = wire.read_body(&head).await?;
        let echo = body.clone();
        shared.record.send_modify(|record| record.requests.push(Received { head, body }));
        if answered > 0 && matches!(behaviour, Behaviour::StaleOnNext) {
            return wire.close().await;
        }
        if answer(&mut wire, &behaviour, &echo).await?.is_none() {
            return Ok(());
        }
        answered += 1;
    }
}

/// One answer; `None`: the connection is over.
async fn answer(wire: &mut Wire<'_>, behaviour: &Behaviour, echo: &[u8]) -> io::Result<Option<()>> {
    match behaviour {
        Behaviour::Ok(body) => wire.send(&ok(body)).await?,
        Behaviour::Continue | Behaviour::Echo => wire.send(&ok(echo)).await?,
        Behaviour::Status(204 | 304) => {
            let Behaviour::Status(code) = behaviour else { unreachable!() };
            wire.send(format!("HTTP/1.1 {code} Empty\r\n\r\n").as_bytes()).await?;
        }
        Behaviour::Status(code) => {
            let body = format!("status {code}\n");
            let head = format!("HTTP/1.1 {code} Status\r\nContent-Length: {}\r\n\r\n", body.len());
            wire.send((head + &body).as_bytes()).await?;
        }
        Behaviour::Raw(bytes) => wire.send(bytes).await?,
        Behaviour::RawThenClose(bytes) => {
            wire.send(bytes).await?;
            return ended(wire.close().await);
        }
        Behaviour::Slow(time) => {
            tokio::time::sleep(*time).await;
            wire.send(&ok(b"ok")).await?;
        }
        Behaviour::Silent => return ended(wire.drain().await),
        Behaviour::ResetBeforeHead => return ended(wire.reset()),
        Behaviour::CloseBeforeHead => return ended(wire.close().await),
        Behaviour::Garbage => {
            wire.send(b"SSH-2.0-OpenSSH\r\n").await?;
            return ended(wire.drain().await);
        }
        Behaviour::TlsAlert => {
            wire.send(b"\x15\x03\x01\x00\x02\x02\x46").await?;
            return ended(wire.close().await);
        }
        Behaviour::H2Settings => {
            wire.send(b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64").await?;
            wire.send(b"\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01").await?;
            return ended(wire.close().await);
        }
        Behaviour::HeadOf(size) => {
            let frame = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Fill: \r\n\r\n";
            let fill = "x".repeat(size - frame.len());
            let head = frame.replace("X-Fill: ", &format!("X-Fill: {fill}"));
            wire.send((head + "ok").as_bytes()).await?;
        }
        Behaviour::Fields(count) => {
            let fields: String = (1..*count).map(|n| format!("X-{n}: 1\r\n")).collect();
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{fields}\r\nok").as_bytes()).await?;
        }
        Behaviour::HalfHead => {
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Le").await?;
            return ended(wire.close().await);
        }
        Behaviour::HalfHeadReset => {
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Le").await?;
            tokio::time::sleep(Duration::from_millis(100)).await; // else the reset takes the bytes with it
            return ended(wire.reset());
        }
        Behaviour::BadHeader => {
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nBad Name: 1\r\n\r\nok").await?;
        }
        Behaviour::CutBody { sent, of, reset } => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {of}\r\n\r\n");
            wire.send((head + &"x".repeat(*sent)).as_bytes()).await?;
            if *reset {
                tokio::time::sleep(Duration::from_millis(100)).await;
                return ended(wire.reset());
            }
            return ended(wire.close().await);
        }
        Behaviour::CutChunks => {
            wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await?;
            return ended(wire.close().await);
        }
        Behaviour::BadChunking => {
            wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\nworld\r\n").await?;
            return ended(wire.drain().await);
        }
        Behaviour::StallInBody => {
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await?;
            return ended(wire.drain().await);
        }
        Behaviour::Drip { bytes, pause } => {
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n").as_bytes()).await?;
            for _ in 0..*bytes {
                tokio::time::sleep(*pause).await;
                wire.send(b"x").await?;
            }
        }
        Behaviour::StaleAfter(time) => {
            wire.send(&ok(b"ok")).await?;
            tokio::time::sleep(*time).await;
            return ended(wire.close().await);
        }
        Behaviour::EarlyHints => {
            wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n").await?;
            wire.send(&ok(b"ok")).await?;
        }
        Behaviour::Trailers => {
            wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n").await?;
            wire.send(b"5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n").await?;
        }
        Behaviour::Tunnel => {
            wire.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello ")
                .await?;
            let early = std::mem::take(&mut wire.buffer);
            wire.send(&early).await?;
            let (mut read, mut write) = wire.stream.split();
            tokio::io::copy(&mut read, &mut write).await?;
            return Ok(None);
        }
        Behaviour::CloseDelimited => {
            wire.send(b"HTTP/1.1 200 OK\r\n\r\nuntil the end").await?;
            return ended(wire.close().await);
        }
        Behaviour::KeepAlive(seconds) => {
            let head = format!("HTTP/1.1 200 OK\r\nKeep-Alive: timeout={seconds}\r\nContent-Length: 2\r\n\r\nok");
            wire.send(head.as_bytes()).await?;
        }
        Behaviour::Unsolicited => {
            wire.send(&[ok(b"ok"), ok(b"of another request")].concat()).await?;
        }
        Behaviour::StaleOnNext => wire.send(&ok(b"ok")).await?,
        // These end in `serve`.
        Behaviour::NeverReads
        | Behaviour::ResetOnAccept
        | Behaviour::Greets(_)
        | Behaviour::EarlyRefusal
        | Behaviour::ResetInRequest
        | Behaviour::RefuseContinue => return ended(wire.close().await),
    }
    Ok(Some(()))
}

fn ended(result: io::Result<()>) -> io::Result<Option<()>> {
    result.map(|()| None)
}

fn ok(body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    answer
}

/// A connection, and what was read too far.
struct Wire<'a> {
    stream: TcpStream,
    buffer: Vec<u8>,
    shared: &'a Shared,
}

impl Wire<'_> {
    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Reads once; an error at the end.
    async fn read_some(&mut self) -> io::Result<()> {
        let mut chunk = [0; 16 << 10];
        match self.stream.read(&mut chunk).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                self.buffer.extend_from_slice(&chunk[..n]);
                Ok(())
            }
        }
    }

    /// Has something of what comes next.
    async fn read_any(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() { self.read_some().await } else { Ok(()) }
    }

    /// `None` at the end of the connection.
    async fn read_head(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let rest = self.buffer.split_off(end + 4);
                let head = std::mem::replace(&mut self.buffer, rest);
                return Ok(Some(String::from_utf8_lossy(&head).into_owned()));
            }
            if let Err(error) = self.read_some().await {
                return if error.kind() == io::ErrorKind::UnexpectedEof { Ok(None) } else { Err(error) };
            }
        }
    }

    async fn read_body(&mut self, head: &str) -> io::Result<Vec<u8>> {
        if let Some(length) = field(head, "content-length") {
            return self.take(length.parse().unwrap()).await;
        }
        let mut body = Vec::new();
        if field(head, "transfer-encoding").is_some() {
            loop {
                let line = self.line().await?;
                let size = usize::from_str_radix(line.trim(), 16).expect("a chunk size");
                body.extend(self.take(size).await?);
                while size == 0 {
                    if self.line().await?.is_empty() {
                        return Ok(body); // trailers are left out
                    }
                }
                self.line().await?;
            }
        }
        Ok(body)
    }

    async fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < count {
            self.read_some().await?;
        }
        let rest = self.buffer.split_off(count);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line = self.take(end + 2).await?;
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            self.read_some().await?;
        }
    }

    /// Reads and forgets until the other side closes.
    async fn drain(&mut self) -> io::Result<()> {
        while self.read_some().await.is_ok() {
            self.buffer.clear();
        }
        Ok(())
    }

    /// FIN, then waits for the other side's.
    async fn close(&mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        self.shared.record.send_modify(|record| record.closed += 1);
        self.drain().await
    }

    /// RST.
    fn reset(&mut self) -> io::Result<()> {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

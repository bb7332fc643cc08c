//! A misbehaving upstream: raw TCP, no HTTP library, one named fault at a time. It records what it was sent and lets
//! tests wait for that. Each [`Behaviour`] is a small script in [`script`].

mod script;
mod wire;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
    /// 200 `ok` to each request; FIN on a connection that was idle for so long, as apps do.
    IdleClock(Duration),
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
    /// 200 with so many bytes, as fast as they are taken.
    Flood(usize),
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
    /// All that was read, byte by byte; of long bodies only the beginning.
    pub raw: Vec<u8>,
    /// Bytes of a [`Behaviour::Flood`] that the socket took.
    pub flooded: usize,
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

    fn over(listener: TcpListener, behaviour: Behaviour) -> Self {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { behaviour: Mutex::new(behaviour), record: watch::Sender::default() });
        let mut origin = Self { address, shared, task: None };
        origin.accept(listener);
        origin
    }

    /// A port that is free for somebody else to take.
    pub fn free() -> SocketAddr {
        std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
    }

    /// A port with nobody on it, for as long as the tests run: bound, so that nobody else gets it, and never listening.
    pub fn nobody() -> SocketAddr {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        std::mem::forget(socket);
        address
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
                    let _ended = script::serve(stream, &shared).await;
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

//! Connections over real loopback sockets: refusals, clocks, closing, tunnels, the drain. The handler is a toy; the
//! client is a raw socket.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use causeway::cause::Failure;
use causeway::config::address::ListenAddress;
use causeway::config::model::{Listener, Networks, Protocols};
use causeway::listen::{
    Asleep, ConnInfo, Drain, Handler, Permits, RequestBody, Secure, Stand, Switch, accept, bind, spread,
};
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

mod closing;
mod ending;
mod heads;
mod hibernation;
mod proxy_protocol;
mod secure;
mod sockets;

/// Long enough that only a fault reaches it.
const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);

fn listener() -> Listener {
    Listener {
        name: "test".into(),
        address: ListenAddress::Exact(vec![([127, 0, 0, 1], 0).into()]),
        protocols: Protocols::default(),
        head_timeout: LONG,
        body_timeout: LONG,
        keep_alive: LONG,
        head_limit: 8 << 10,
        fields_limit: 20,
        connections_limit: None,
        in_flight_limit: None,
        tls_timeout: LONG,
        tls: None,
        proxy_protocol: Networks::default(),
        redirect_https: false,
    }
}

#[derive(Clone)]
struct Toy {
    /// What happened, in order.
    log: mpsc::UnboundedSender<String>,
    /// Lets `/when-told` go on.
    go: Arc<Notify>,
}

/// Frames, an error perhaps; no length known.
struct Frames(VecDeque<io::Result<Frame<Bytes>>>, Option<OnDrop>);

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
    let mut answer = Response::new(Frames(frames, None));
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
        request: Request<RequestBody>,
        conn: &Arc<ConnInfo>,
    ) -> impl Future<Output = Response<Frames>> + Send + use<> {
        let (toy, conn) = (self.clone(), conn.clone());
        async move {
            toy.log.send(format!("called {}", request.uri())).unwrap();
            let broken = || Err(io::Error::other("the upstream died"));
            match request.uri().path() {
                "/echo" => match request.into_body().collect().await {
                    Ok(body) => {
                        let mut answer = Response::new(Frames(VecDeque::new(), None));
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
                "/taste" => {
                    let _told = OnDrop(toy.log.clone());
                    let mut body = request.into_body();
                    // What is there now; then it asks no more.
                    poll_fn(|cx| {
                        while let Poll::Ready(Some(Ok(_))) = Pin::new(&mut body).poll_frame(cx) {}
                        Poll::Ready(())
                    })
                    .await;
                    std::future::pending().await
                }
                "/when-told" => {
                    toy.go.notified().await;
                    let body = request.into_body().collect().await.unwrap();
                    assert_eq!(body.to_bytes(), "hello");
                    answer(200, frames(&["told"]))
                }
                "/wait" => {
                    toy.go.notified().await;
                    answer(200, frames(&["waited"]))
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
                    let mut answer = answer(200, (0..256).map(|_| Ok(Frame::data(data.clone()))).collect());
                    answer.body_mut().1 = Some(OnDrop(toy.log.clone()));
                    answer
                }
                "/big-at-once" => answer(200, [Ok(Frame::data(vec![b'x'; 8 << 20].into()))].into()),
                "/upgrade" => {
                    let upgraded = Switch::of(request.extensions()).expect("an Upgrade");
                    conn.drain.spawn(async move {
                        let mut io = upgraded.stands().await.unwrap();
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
                "/who" => {
                    let text = format!("{} {} {}", conn.peer, conn.peer_text.to_str().unwrap(), conn.local);
                    let mut answer = Response::new(Frames(VecDeque::new(), None));
                    answer.headers_mut().insert("content-length", text.len().into());
                    answer.body_mut().0.push_back(Ok(Frame::data(text.into())));
                    answer
                }
                "/panic" => panic!("on purpose"),
                _ => answer(200, frames(&["ok"])),
            }
        }
    }

    fn refuse(&self, failure: Failure, raw: &[u8], _: &Arc<ConnInfo>) -> Bytes {
        let body = format!("{}: {} ({} raw)", failure.cause, failure.seen.as_deref().unwrap_or(""), raw.len());
        let (status, length) = (failure.own_status(), body.len());
        format!("HTTP/1.1 {status} Refused\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}").into()
    }
}

struct Server {
    address: std::net::SocketAddr,
    drain: Drain,
    asleep: Asleep,
    log: mpsc::UnboundedReceiver<String>,
    go: Arc<Notify>,
}

async fn start(listener: Listener) -> Server {
    let listener = secure::or_plain(listener);
    let (log_in, log) = mpsc::unbounded_channel();
    let go = Arc::new(Notify::new());
    let handler = Toy { log: log_in, go: go.clone() };
    let asleep = Asleep::default();
    let bound = bind(&listener.address, 1).unwrap();
    let permits = Permits::new(listener.connections_limit, 1);
    let secure = Secure::new(&listener).unwrap();
    let stand = Arc::new(Stand::new(Arc::new(listener), secure, permits));
    let drain = stand.drain.clone();
    for socket in bound.workers.into_iter().flatten() {
        tokio::spawn(accept::run(socket, stand.clone(), asleep.clone(), handler.clone()));
    }
    for shared in bound.shared {
        // Two workers, as far as the sockets know; here they share a thread.
        let (spread, takers) = spread::over(2, 0);
        for taker in takers.into_iter().flatten() {
            tokio::spawn(accept::take(taker, stand.clone(), asleep.clone(), handler.clone()));
        }
        tokio::spawn(accept::run_shared((shared, spread), stand.clone(), asleep.clone(), handler.clone()));
    }
    tokio::task::yield_now().await; // it accepts now
    let address = bound.addresses.first().copied().unwrap_or(([127, 0, 0, 1], 0).into());
    Server { address, drain, asleep, log, go }
}

impl Server {
    async fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).await.unwrap();
        Client(secure::over(stream).await)
    }

    async fn logged(&mut self) -> String {
        timeout(LONG, self.log.recv()).await.expect("an entry in the log").unwrap()
    }
}

struct Client(secure::Socket);

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

//! One request to one endpoint: every way in which it can go wrong has its cause, its phase and an exact `sent`.

mod answers;
mod bodies;
mod connecting;
mod early;
mod giving_up;
mod h2_faults;
mod h2_streams;
mod kept;
mod no_head;
mod sockets;
mod tls;

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use causeway::cause::{Cause, Failure, Phase};
use causeway::client::{Body, Client, Order, Progress, introduction};
use causeway::config::Endpoint;
use causeway::config::address::{Dial, Scheme};
use causeway::config::model::{Buffers, Connections, Timeouts};
use causeway::health::IdleAge;
use causeway::observe::metrics::Meter;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use tokio::sync::mpsc;

type Failing = Box<dyn Error + Send + Sync>;
type TestBody = http_body_util::combinators::UnsyncBoxBody<Bytes, Failing>;

const MS: Duration = Duration::from_millis(1);

/// A client and one endpoint, with short clocks.
struct Bench {
    client: Client<TestBody>,
    endpoint: Arc<Endpoint>,
    timeouts: Timeouts,
    buffers: Buffers,
    connections: Connections,
    idle_age: Arc<IdleAge>,
    meter: Arc<Meter>,
    replayable: bool,
    fresh: bool,
    expects_continue: bool,
    introduced: Option<introduction::Client>,
    progress: Arc<Progress>,
}

impl Bench {
    fn to(dial: Dial) -> Self {
        let second = Duration::from_secs(1);
        Self {
            client: Client::new(),
            endpoint: Arc::new(Endpoint::new("origin:80".into(), dial)),
            timeouts: Timeouts { connect: 2 * second, write: 5 * second, read: 5 * second, ..Timeouts::default() },
            buffers: Buffers::default(),
            connections: Connections::default(),
            idle_age: Arc::default(),
            meter: Arc::default(),
            replayable: true,
            fresh: false,
            expects_continue: false,
            introduced: None,
            progress: Arc::default(),
        }
    }

    fn at(address: std::net::SocketAddr) -> Self {
        Self::to(Dial::Addresses(vec![address]))
    }

    /// Over HTTP/2.
    fn h2(address: std::net::SocketAddr) -> Self {
        let endpoint = Endpoint::new("origin:80".into(), Dial::Addresses(vec![address])).speaking(Scheme::H2c);
        Self { endpoint: Arc::new(endpoint), ..Self::at(address) }
    }

    async fn send(&mut self, request: Request<TestBody>) -> Result<Response<Body>, Failure> {
        self.progress = Arc::default();
        let order = Order {
            endpoint: &self.endpoint,
            timeouts: &self.timeouts,
            buffers: &self.buffers,
            connections: &self.connections,
            idle_age: &self.idle_age,
            meter: &self.meter,
            client: self.introduced.as_ref(),
            now: tokio::time::Instant::now(),
            replayable: self.replayable,
            fresh: self.fresh,
            expects_continue: self.expects_continue,
            elsewhere: false,
        };
        self.client.send(order, request, &self.progress).await
    }

    async fn get(&mut self) -> Result<Response<Body>, Failure> {
        self.send(get()).await
    }

    /// A GET and the whole of its answer.
    async fn text(&mut self) -> String {
        text(self.get().await.unwrap()).await
    }

    async fn failure(&mut self, request: Request<TestBody>) -> Failure {
        let failure = self.send(request).await.expect_err("a failure");
        assert_eq!(failure.sent, self.progress.sent(), "failure and progress agree: {failure}");
        failure
    }
}

fn get() -> Request<TestBody> {
    Request::get("/path?query").header("host", "origin").body(full("")).unwrap()
}

fn post(body: TestBody) -> Request<TestBody> {
    Request::post("/post").header("host", "origin").body(body).unwrap()
}

fn full(bytes: impl Into<Bytes>) -> TestBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn body_failure(response: Response<Body>) -> Failure {
    response.into_body().collect().await.expect_err("a body that fails")
}

/// A request body fed by hand, which counts how often it was asked.
struct Feed {
    frames: mpsc::UnboundedReceiver<Result<Bytes, Failing>>,
    polls: Arc<AtomicUsize>,
}

fn feed() -> (mpsc::UnboundedSender<Result<Bytes, Failing>>, Arc<AtomicUsize>, TestBody) {
    let (sender, frames) = mpsc::unbounded_channel();
    let polls = Arc::new(AtomicUsize::new(0));
    (sender, polls.clone(), Feed { frames, polls }.boxed_unsync())
}

impl http_body::Body for Feed {
    type Data = Bytes;
    type Error = Failing;
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failing>>> {
        self.polls.fetch_add(1, Ordering::Relaxed);
        self.frames.poll_recv(cx).map(|next| next.map(|result| result.map(Frame::data)))
    }
    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

//! What causeway's codec makes of an answer. The one file here that knows its interface.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use causeway::cause::Failure;
use causeway::client::h1::{Connection, Home, Sending};
use causeway::client::{Body, Order, Outgoing, Progress, upgraded};
use causeway::config::Endpoint;
use causeway::config::address::Dial;
use causeway::config::model::{Buffers, Connections, Timeouts};
use causeway::health::IdleAge;
use causeway::observe::metrics::Meter;
use http::Response;
use http_body::Body as _;
use tokio::time::timeout;
use tower::Service;

use super::script::{self, Script, Wire};
use super::{Again, Answer, Case, End, HEAD_LIMIT, Kind, Observed, RequestBody, SECOND, SILENCE};

/// Rules under which requests are sent.
#[derive(Debug)]
pub struct Rules {
    endpoint: Arc<Endpoint>,
    timeouts: Timeouts,
    buffers: Buffers,
    connections: Connections,
    idle_age: Arc<IdleAge>,
    meter: Arc<Meter>,
    pub expects_continue: bool,
}

/// Longer bodies are never asked for in one piece (`buffers.response`), bytes.
const HELD: u64 = 64 << 10;

/// A home with one place.
pub struct Shelf<B>(Mutex<Option<Connection<Wire, B>>>);

impl<B: Send> Home<Wire, B> for Shelf<B> {
    fn keep(self: Arc<Self>, connection: Connection<Wire, B>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
    }
}

impl<B> Shelf<B> {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(None)))
    }

    pub fn take(&self) -> Option<Connection<Wire, B>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Rules {
    pub fn new() -> Self {
        let limit = SILENCE / 3;
        Self {
            endpoint: Arc::new(Endpoint::new("origin:80".into(), Dial::Unresolved(None))),
            timeouts: Timeouts { write: limit, read: limit, body: 2 * SILENCE, ..Timeouts::default() },
            buffers: Buffers { response_head: HEAD_LIMIT, ..Buffers::default() },
            connections: Connections::default(),
            idle_age: Arc::default(),
            meter: Arc::default(),
            expects_continue: false,
        }
    }

    pub fn order(&self) -> Order<'_> {
        Order {
            endpoint: &self.endpoint,
            timeouts: &self.timeouts,
            buffers: &self.buffers,
            connections: &self.connections,
            idle_age: &self.idle_age,
            meter: &self.meter,
            client: None,
            now: tokio::time::Instant::now(),
            replayable: true,
            fresh: false,
            expects_continue: self.expects_continue,
            elsewhere: false,
        }
    }
}

/// A connection on which nothing was sent.
pub fn open<B>(wire: Wire, rules: &Rules, shelf: &Arc<Shelf<B>>) -> Connection<Wire, B>
where
    B: Send + 'static,
{
    let home: Arc<dyn Home<Wire, B>> = shelf.clone();
    Connection::new(wire, rules.order(), Arc::downgrade(&home))
}

/// One exchange, as causeway's client makes it: a kept connection is asked first whether it still stands.
///
/// # Errors
/// The codec's.
pub async fn send<B>(
    connection: &mut Connection<Wire, B>,
    rules: &Rules,
    request: impl Into<Outgoing<B>>,
    kept: bool,
) -> Result<Response<Body>, Failure>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if kept {
        std::future::poll_fn(|cx| Service::<Sending<'_, B>>::poll_ready(connection, cx)).await?;
    }
    let progress = Arc::new(Progress::default());
    connection.call(Sending { order: rules.order(), request: request.into(), progress: &progress }).await
}

/// Runs on [`super::timeless`]. Bodies are read piece by piece.
pub async fn observe(case: &Case<'_>) -> Observed {
    seen(case, false).await
}

/// The same, but bodies of known length are asked for in one piece.
pub async fn observe_whole(case: &Case<'_>) -> Observed {
    seen(case, true).await
}

async fn seen(case: &Case<'_>, whole: bool) -> Observed {
    let (wire, script) = script::connection(case);
    let (rules, shelf) = (Rules::new(), Shelf::new());
    let mut response = match send(&mut open(wire, &rules, &shelf), &rules, case.kind.request(), false).await {
        Ok(response) => response,
        Err(failure) => return Observed::Refused(format!("{failure}, seen {:?}", failure.seen)),
    };
    let (version, status, fields) = (response.version(), response.status(), super::fields(response.headers()));
    if let Some(upgrade) = upgraded(&mut response) {
        let end = match upgrade.await {
            Ok(tunnel) => End::Tunnel(super::drain(tunnel).await),
            Err(failure) => End::Cut(failure.to_string()),
        };
        return Observed::Answered(Answer {
            version,
            status,
            fields,
            body: Bytes::new(),
            trailers: None,
            end,
            again: Again::Closed,
        });
    }
    let body = response.into_body();
    let (body, trailers, end) = match body.size_hint().exact() {
        Some(length) if whole && length <= HELD => match timeout(SILENCE, body.whole()).await {
            Ok(Ok(body)) => (body.bytes, None, End::Complete),
            Ok(Err(failure)) => (Bytes::new(), None, End::Cut(failure.to_string())),
            Err(_elapsed) => (Bytes::new(), None, End::Waits),
        },
        _ => super::read(body).await,
    };
    let again = if end == End::Complete { again(&shelf, &rules, &script).await } else { Again::Closed };
    Observed::Answered(Answer { version, status, fields, body, trailers, end, again })
}

async fn again(shelf: &Shelf<RequestBody>, rules: &Rules, script: &Script) -> Again {
    script.answer_next(SECOND);
    let Some(mut connection) = shelf.take() else { return Again::Closed };
    match send(&mut connection, rules, Kind::Get.request(), true).await {
        Ok(response) => {
            let status = response.status();
            let (body, _, end) = super::read(response.into_body()).await;
            Again::judge(status, &body, &end)
        }
        Err(_) => Again::Closed,
    }
}

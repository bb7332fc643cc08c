//! One request to one endpoint: an answer, or a [`Failure`] with its exact cause.
//!
//! This is the whole seam between causeway and the wire to an upstream. Behind it: [`open()`] ([`connect`], the PROXY
//! header, [`tls`]), [`Stream`] (what HTTP runs over), `reuse` (kept connections), `head` (the request's head as
//! bytes), [`h1`] (the codec and the clocks), `h2` (the same over shared connections), `classify` (facts to a
//! [`Failure`]) and `body` (what follows a head). A client belongs to one worker. Nothing here chooses an upstream,
//! retries one that failed, or knows health.

mod body;
mod classify;
pub mod connect;
pub mod h1;
mod h2;
mod head;
pub mod introduction;
mod open;
mod reuse;
mod stream;
pub mod tls;

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderName, Response};
use tokio::time::Instant;
use tower::Service;

use crate::cause::{Cause, Failure, Phase, alert};
use crate::config::Endpoint;
use crate::config::address::Scheme;
use crate::config::model::{Buffers, Connections, Timeouts};
use crate::health::IdleAge;
use crate::observe::metrics::Meter;

pub use body::{Body, Tunnel, Upgrade, Whole, upgraded};
use h1::{Connection, Exchange, Home, Sending};
use h2::{Dialling, Sent};
pub use head::{Head, Outgoing};
pub use open::{Offer, Opening, open};
use reuse::Kept;
pub use stream::Stream;
use tls::Session;

/// The worker's client: kept connections for every endpoint, for requests with bodies of type `B`.
pub struct Client<B> {
    kept: Arc<Kept<Connection<Stream, B>>>,
    lines: Arc<h2::Lines>,
    adds: Option<HeaderName>,
}

impl<B> fmt::Debug for Client<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// What to send where, and how long to wait.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// Where to.
    pub endpoint: &'a Arc<Endpoint>,
    /// The route's clocks (`resolve`, `request` and `tunnel` are not ours).
    pub timeouts: &'a Timeouts,
    /// `response_head` and `response` (how far to read ahead) are ours.
    pub buffers: &'a Buffers,
    /// Rules for kept connections. `max_idle` is already this worker's share.
    pub connections: &'a Connections,
    /// What is learnt of the upstream's own idle clock: kept connections stay below it, and teach more of it.
    pub idle_age: &'a Arc<IdleAge>,
    /// Where its connections are counted.
    pub meter: &'a Arc<Meter>,
    /// For whom, where the upstream wants to know (`proxy_protocol = true`): a connection is for this client alone, and
    /// not kept.
    pub client: Option<&'a introduction::Client>,
    /// The attempt begins now, or began a moment ago: whoever knows it saves a look at the clock.
    pub now: Instant,
    /// The request may be resent. If not, only a connection idle for less than a quarter of the limit in force is used
    /// (CONTRACT §9 "No POST lost to the app's idle clock").
    pub replayable: bool,
    /// No kept connection is used: the last one was found dead.
    pub fresh: bool,
    /// The request asks for 100-continue: its body is first polled on the upstream's 100 or after 1 s.
    pub expects_continue: bool,
    /// Another upstream could take it: where all streams of HTTP/2 that this one allows are taken, none is waited for,
    /// and the failure is [`crate::cause::Cause::UpstreamBusy`], with nothing sent.
    pub elsewhere: bool,
}

impl<'a> Order<'a> {
    fn opening(&self, offer: Offer) -> Opening<'a> {
        Opening { endpoint: self.endpoint, timeouts: self.timeouts, client: self.client, offer }
    }
}

/// How far an attempt has come: shared, so that whoever gives up on it (eviction, deadline, client gone) by dropping
/// the future still knows.
#[derive(Debug, Default)]
pub struct Progress {
    phase: AtomicU8,
    sent: AtomicBool,
    connect_micros: AtomicU64,
    reused: AtomicBool,
    shared: AtomicBool,
    head_bytes: AtomicU64,
    session: OnceLock<Box<Session>>,
}

impl Progress {
    const PHASES: [Phase; 7] =
        [Phase::Queue, Phase::Resolve, Phase::Connect, Phase::Tls, Phase::Request, Phase::Head, Phase::Body];

    /// Where it is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        Self::PHASES[usize::from(self.phase.load(Relaxed))]
    }

    /// Whether the socket, or the TLS session on it, took a byte of the request.
    #[must_use]
    pub fn sent(&self) -> bool {
        self.sent.load(Relaxed)
    }

    /// How long the connection took; `None` on a kept one, or before it stood.
    #[must_use]
    pub fn connect(&self) -> Option<Duration> {
        match self.connect_micros.load(Relaxed) {
            0 => None,
            micros => Some(Duration::from_micros(micros)),
        }
    }

    /// The TLS session of a new connection; `None` on a kept one, without TLS, or before it stood.
    #[must_use]
    pub fn session(&self) -> Option<&Session> {
        self.session.get().map(|session| &**session)
    }

    /// On a kept connection.
    #[must_use]
    pub fn reused(&self) -> bool {
        self.reused.load(Relaxed)
    }

    /// What was spoken, by its ALPN identifier (RFC 9209 §2.1.3), to an upstream of this scheme.
    #[must_use]
    pub fn protocol(&self, scheme: Scheme) -> &'static str {
        match (self.shared.load(Relaxed), scheme) {
            (false, _) => "http/1.1",
            (true, Scheme::Https) => "h2",
            (true, Scheme::Http | Scheme::H2c) => "h2c",
        }
    }

    /// Bytes of the latest response head, as far as it was read; 0 before it has begun.
    #[must_use]
    pub fn head_bytes(&self) -> u64 {
        self.head_bytes.load(Relaxed)
    }

    fn set_head_bytes(&self, bytes: usize) {
        self.head_bytes.store(bytes as u64, Relaxed);
    }

    fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }

    fn set_sent(&self) {
        self.sent.store(true, Relaxed);
    }

    /// The upstream has promised that it did nothing with it (CONTRACT §9 "Sent").
    fn take_back(&self) {
        self.sent.store(false, Relaxed);
    }

    fn set_session(&self, session: Session) {
        // One more for the same attempt follows on a kept connection that died; the first had none then.
        let _ = self.session.set(Box::new(session));
    }

    fn set_connect(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.connect_micros.store(micros.max(1), Relaxed);
    }
}

impl<B> Client<B>
where
    B: http_body::Body<Data = bytes::Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// A client with no connections.
    #[must_use]
    pub fn new() -> Self {
        Self { kept: Arc::new(Kept::new()), lines: Arc::default(), adds: None }
    }

    /// The same, for who gives each answer this field: answers may have it already, and where the upstream sent none it
    /// has no value. So a new one takes the place of a value, and not a place of its own.
    #[must_use]
    pub fn adding(field: HeaderName) -> Self {
        Self { adds: Some(field), ..Self::new() }
    }

    /// Sends the request and waits for the response head, under the clocks of `order`. A kept connection that is found
    /// dead is passed over in silence. One whose death shows only as the request is written takes the request along:
    /// then the failure is [`crate::cause::Cause::StaleConnection`], and the caller sends it again with
    /// [`Order::fresh`]. Dropping the future ends the attempt and its connection.
    ///
    /// # Errors
    /// The one [`Failure`] that ended it, with phase and `sent`. A failure of the request body itself (the client's
    /// fault) is reported as [`crate::cause::Cause::ClientClosed`] with the body's error as source; the caller knows
    /// better.
    pub fn send<'a>(
        &'a self,
        order: Order<'a>,
        request: impl Into<Outgoing<B>>,
        progress: &'a Arc<Progress>,
    ) -> Attempt<'a, B> {
        let sending = Sending { order, request: request.into(), progress };
        if order.endpoint.scheme == Scheme::H2c {
            return Attempt(Way::Other(Box::pin(self.shared(sending))));
        }
        Attempt(match self.kept(&order) {
            Some(mut connection) => {
                progress.reused.store(true, Relaxed);
                Way::Kept(connection.call(sending))
            }
            // Seldom, and large: not a part of every request's future.
            None => Way::Other(Box::pin(self.fresh(sending))),
        })
    }

    /// Over HTTP/2, by prior knowledge.
    async fn shared(&self, sending: Sending<'_, B>) -> Result<Response<Body>, Failure> {
        let (opening, progress) = (sending.order.opening(Offer::Http2), sending.progress);
        match self.lines.send(sending, false, || Box::pin(open(opening, progress))).await? {
            Sent::Answered(response) => Ok(response),
            Sent::Http1(..) => Err(Failure::new(Cause::Bug).seen("HTTP/1.1 was agreed on without TLS")),
        }
    }

    /// In TLS, as the upstream wants it: HTTP/2 on a connection that requests share, or HTTP/1.1.
    async fn agreed(&self, mut sending: Sending<'_, B>) -> Result<Response<Body>, Failure> {
        let Sending { order, progress, .. } = sending;
        let (opening, mut ready) = (order.opening(Offer::Both), None);
        for _ in 0..2 {
            let dial = || -> Dialling<'_> {
                match ready.take() {
                    Some(stream) => Box::pin(std::future::ready(Ok(stream))),
                    None => Box::pin(open(opening, progress)),
                }
            };
            let stream = match self.lines.send(sending, true, dial).await? {
                Sent::Answered(response) => return Ok(response),
                Sent::Http1(back, stream) => {
                    sending = back;
                    stream
                }
            };
            progress.reused.store(false, Relaxed);
            let stream = match stream {
                Some(stream) => stream,
                None => open(opening, progress).await?,
            };
            if !stream.is_h2() {
                return self.alone(stream, sending).await;
            }
            self.lines.speaks_http2(order.endpoint.key);
            ready = Some(stream);
        }
        // Now it takes this, now that.
        let stream = open(order.opening(Offer::Http1), progress).await?;
        self.alone(stream, sending).await
    }

    fn kept(&self, order: &Order<'_>) -> Option<Connection<Stream, B>> {
        if order.fresh {
            return None;
        }
        loop {
            let connection = self.kept.take(order.endpoint.key, !order.replayable, order.now)?;
            // The runtime may not have heard yet that it was closed, and such a request has only one try.
            if order.replayable || connection.io().is_some_and(Stream::is_quiet) {
                return Some(connection);
            }
        }
    }

    async fn fresh(&self, sending: Sending<'_, B>) -> Result<Response<Body>, Failure> {
        let Sending { order, progress, .. } = sending;
        progress.reused.store(false, Relaxed);
        // What is for one client, or becomes something else, shares no connection.
        let shares = |head: &Head| !order.endpoint.proxy_protocol && !head.upgrades();
        if order.endpoint.scheme == Scheme::Https && shares(&sending.request.head) {
            return Box::pin(self.agreed(sending)).await;
        }
        let upgrades = sending.request.head.upgrades();
        if upgrades && self.lines.speaks_http2_alone(order.endpoint.key) {
            return Box::pin(self.upgraded(sending)).await;
        }
        match open(order.opening(Offer::Http1), progress).await {
            Ok(stream) => self.alone(stream, sending).await,
            Err(failure) if upgrades && failure.alert == Some(alert::NO_APPLICATION_PROTOCOL) => {
                if order.endpoint.proxy_protocol {
                    // What the client asked for is no fault of an upstream that speaks HTTP/2 alone.
                    let seen = "nothing but HTTP/2 with it";
                    return Err(Failure::new(Cause::UpgradeFailed).in_phase(Phase::Queue).seen(seen));
                }
                Box::pin(self.upgraded(sending)).await
            }
            Err(failure) => Err(failure),
        }
    }

    /// An upgrade to who speaks HTTP/2 alone: a WebSocket is a stream like others there, and of any other nothing is
    /// said. That it is so is remembered for as long as it goes well, so that only the first one is turned away in a
    /// handshake.
    async fn upgraded(&self, sending: Sending<'_, B>) -> Result<Response<Body>, Failure> {
        let key = sending.order.endpoint.key;
        let answered = self.agreed(sending).await;
        self.lines.spoke_http2_alone(key, answered.is_ok());
        answered
    }

    /// In HTTP/1.1, on this new connection.
    async fn alone(&self, stream: Stream, sending: Sending<'_, B>) -> Result<Response<Body>, Failure> {
        let order = sending.order;
        let home: Arc<dyn Home<Stream, B>> = self.kept.clone();
        let mut connection = Connection::new(stream, order, Arc::downgrade(&home)).adding(self.adds.clone());
        let exchange: Exchange<'_, _, _> = connection.call(sending);
        exchange.await
    }
}

/// A request on its way to the response head: see [`Client::send`].
pub struct Attempt<'a, B>(Way<'a, B>);

enum Way<'a, B> {
    /// On a kept connection, as nearly always.
    Kept(Exchange<'a, Stream, B>),
    Other(Pin<Box<dyn Future<Output = Result<Response<Body>, Failure>> + Send + 'a>>),
}

impl<B> Future for Attempt<'_, B>
where
    B: http_body::Body<Data = bytes::Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Output = Result<Response<Body>, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Way::Kept(exchange) => Pin::new(exchange).poll(cx),
            Way::Other(attempt) => attempt.as_mut().poll(cx),
        }
    }
}

impl<B> fmt::Debug for Attempt<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt").finish_non_exhaustive()
    }
}

impl<B: Send + 'static> Home<Stream, B> for Kept<Connection<Stream, B>> {
    fn keep(self: Arc<Self>, connection: Connection<Stream, B>) {
        if let Some((key, limits)) = connection.resting() {
            Self::keep(&self, key, connection, limits);
        }
    }
}

impl<B> Default for Client<B>
where
    B: http_body::Body<Data = bytes::Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn default() -> Self {
        Self::new()
    }
}

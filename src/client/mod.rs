//! One request to one endpoint: an answer, or a [`Failure`] with its exact cause.
//!
//! This is the whole seam between causeway and the wire to an upstream. Behind it: [`connect`] (dial), `reuse` (kept
//! connections), `io` (the wrapper that counts bytes and remembers what it saw), `gate` (in front of the request body),
//! `h1` (the codec and the clocks), `classify` (facts to a [`Failure`]) and `body` (what follows a head). A client
//! belongs to one worker. Nothing here chooses an upstream, retries one that failed, or knows health.

mod body;
mod classify;
pub mod connect;
mod gate;
mod h1;
mod io;
mod reuse;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::{Request, Response};
use tokio::time::Instant;

use crate::cause::{Failure, Phase};
use crate::config::Endpoint;
use crate::config::model::{Buffers, Connections, Timeouts};

pub use body::{Body, Tunnel, Upgrade, upgraded};
use h1::{Connection, Home, Unanswered};

/// How many kept connections one request may find dead before it gets a fresh one.
const KEPT_TRIES: usize = 2;

/// The worker's client: kept connections for every endpoint, for requests with bodies of type `B`.
pub struct Client<B> {
    kept: Arc<Home<B>>,
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
    /// The request may be resent. If not, only a connection idle for less than a quarter of the limit in force is used
    /// (CONTRACT §9 "No POST lost to the app's idle clock").
    pub replayable: bool,
    /// No kept connection is used: the last one was found dead.
    pub fresh: bool,
    /// The request asks for 100-continue: its body is first polled on the upstream's 100 or after 1 s.
    pub expects_continue: bool,
}

/// How far an attempt has come: shared, so that whoever gives up on it (eviction, deadline, client gone) by dropping the
/// future still knows.
#[derive(Debug, Default)]
pub struct Progress {
    phase: AtomicU8,
    sent: AtomicBool,
    connect_micros: AtomicU64,
    reused: AtomicBool,
}

impl Progress {
    const PHASES: [Phase; 6] = [Phase::Queue, Phase::Resolve, Phase::Connect, Phase::Request, Phase::Head, Phase::Body];

    /// Where it is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        Self::PHASES[usize::from(self.phase.load(Relaxed))]
    }

    /// Whether the socket took a byte of the request.
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

    /// On a kept connection.
    #[must_use]
    pub fn reused(&self) -> bool {
        self.reused.load(Relaxed)
    }

    fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }

    fn set_sent(&self) {
        self.sent.store(true, Relaxed);
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
        Self { kept: Arc::new(Home::new()) }
    }

    /// Sends the request (origin-form target, final header fields) and waits for the response head, under the clocks of
    /// `order`. A kept connection found dead with nothing sent is replaced in silence: once by another kept one, then by
    /// a fresh one. One whose death shows only as the request is written takes the request along: then the failure is
    /// [`crate::cause::Cause::StaleConnection`] with nothing sent, and the caller sends it again with [`Order::fresh`]. Dropping the future ends the attempt and its connection.
    ///
    /// # Errors
    /// The one [`Failure`] that ended it, with phase and `sent`. A failure of the request body itself (the client's
    /// fault) is reported as [`crate::cause::Cause::ClientClosed`] with the body's error as source; the caller knows better.
    pub async fn send(
        &self,
        order: Order<'_>,
        request: Request<B>,
        progress: &Arc<Progress>,
    ) -> Result<Response<Body>, Failure> {
        let mut request = h1::prepared(request);
        for _ in 0..if order.fresh { 0 } else { KEPT_TRIES } {
            let Some(connection) = self.kept.take(order.endpoint.key, !order.replayable, Instant::now()) else { break };
            progress.reused.store(true, Relaxed);
            match connection.exchange(order, request, progress).await {
                Ok(response) => return Ok(response),
                Err(Unanswered::Failed(failure)) => return Err(failure),
                Err(Unanswered::Unsent(back, _died_idle)) => request = *back,
            }
        }
        progress.reused.store(false, Relaxed);
        progress.set_phase(Phase::Connect);
        let start = Instant::now();
        let stream = connect::dial(order.endpoint, order.timeouts.connect).await?;
        progress.set_connect(start.elapsed());
        let connection = Connection::open(stream, order, &self.kept).await?;
        match connection.exchange(order, request, progress).await {
            Ok(response) => Ok(response),
            Err(Unanswered::Failed(failure) | Unanswered::Unsent(_, failure)) => Err(failure),
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

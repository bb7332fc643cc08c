//! One request to one endpoint: an answer, or a [`Failure`] with its exact cause.
//!
//! This is the whole seam between causeway and the wire to an upstream. Behind it: [`connect`] (dial, clocks), [`reuse`]
//! (kept connections), [`io`] (the wrapper that counts bytes and remembers what it saw) and [`h1`] (the codec). A client
//! belongs to one worker. Nothing here chooses an upstream, retries one that failed, or knows health.

pub mod connect;
pub mod h1;
pub mod io;
pub mod reuse;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64};
use std::time::Duration;

use http::{Request, Response};

use crate::cause::{Failure, Phase};
use crate::config::Endpoint;
use crate::config::model::{Buffers, Connections, Timeouts};

pub use h1::Body;

/// The worker's client: kept connections for every endpoint, for requests with bodies of type `B`.
#[derive(Debug)]
pub struct Client<B> {
    _todo: std::marker::PhantomData<fn(B)>,
}

/// What to send where, and how long to wait.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// Where to.
    pub endpoint: &'a Arc<Endpoint>,
    /// The route's clocks (`resolve`, `request` and `tunnel` are not ours).
    pub timeouts: &'a Timeouts,
    /// `response_head` is ours.
    pub buffers: &'a Buffers,
    /// Rules for kept connections. `max_idle` is already this worker's share.
    pub connections: &'a Connections,
    /// The request may be resent. If not, only a connection idle for less than a quarter of the limit in force is used
    /// (CONTRACT §9 "No POST lost to the app's idle clock").
    pub replayable: bool,
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
    /// Where it is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        todo!()
    }
    /// Whether the socket took a byte of the request.
    #[must_use]
    pub fn sent(&self) -> bool {
        todo!()
    }
    /// How long the connection took; `None` on a kept one, or before it stood.
    #[must_use]
    pub fn connect(&self) -> Option<Duration> {
        todo!()
    }
    /// On a kept connection.
    #[must_use]
    pub fn reused(&self) -> bool {
        todo!()
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
        todo!()
    }

    /// Sends the request (origin-form target, final header fields) and waits for the response head, under the clocks of
    /// `order`. A kept connection found dead with nothing sent is replaced in silence: once by another kept one, then by
    /// a fresh one. Dropping the future ends the attempt and its connection.
    ///
    /// # Errors
    /// The one [`Failure`] that ended it, with phase and `sent`. A failure of the request body itself (the client's
    /// fault) is reported as [`crate::cause::Cause::ClientClosed`] with the body's error as source; the caller knows better.
    pub async fn send(
        &self,
        _order: Order<'_>,
        _request: Request<B>,
        _progress: &Arc<Progress>,
    ) -> Result<Response<Body>, Failure> {
        todo!()
    }
}

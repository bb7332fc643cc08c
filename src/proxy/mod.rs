//! Traffic: from a parsed request to an answer. [`Service::handle`] is the table of contents.
//!
//! ```text
//!  guard    guard      what no upstream should see       ── refusal → respond
//!  route    route      host, path, method                ── none    → respond (404, 405)
//!  layers   layers     only what the route asks for      ── refusal → respond (403, 429, 401)
//!  forward  forward    pick, attempt, report, judge      ── gave up → respond (502, 504, 503)
//!  answer   body       counted; its end is the record's end
//! ```
//!
//! Nothing here dials (that is `client`), accepts (that is `listen`) or decides on health: it reports what came of
//! attempts, and `health` judges.

mod affinity;
mod attempt;
mod body;
mod cap;
mod carry;
mod deadline;
mod explain;
mod forward;
mod guard;
mod headers;
mod held;
mod hooks;
mod known;
mod layers;
mod notes;
mod own;
mod panic;
mod record;
mod renew;
mod replay;
pub mod respond;
pub mod retry;
mod shared;
mod upgrade;
mod waiting;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, Response, Version, request};

use crate::cause::{Cause, Failure};
use crate::client::Client;
use crate::config::model::{Action, Detail};
use crate::listen::{ConnInfo, Handler, RequestBody};
use crate::memory;
use crate::observe::exchange::EndedBy;
use crate::observe::{RequestId, TraceId, events, login};
use crate::route;

pub use body::Body;
use headers::Ours;
pub use held::let_go;
pub use hooks::{Hooks, OnExchange, OnTransition};
use layers::Visit;
use notes::Notes;
use record::Open;
pub use shared::Proxy;

/// What a worker answers requests with: the service of the configuration in force.
#[derive(Debug)]
pub struct Front(ArcSwap<Service>);

impl Front {
    /// For one worker.
    #[must_use]
    pub fn new(proxy: Arc<Proxy>) -> Self {
        Self(ArcSwap::from_pointee(Service { proxy, client: Arc::new(Client::adding(respond::X_REQUEST_ID)) }))
    }

    /// From now on requests are answered by this one; those that have begun keep theirs. Connections to upstreams go
    /// on.
    pub fn renew(&self, proxy: Arc<Proxy>) {
        let client = Arc::clone(&self.0.load().client);
        self.0.store(Arc::new(Service { proxy, client }));
    }
}

/// One configuration's proxy as one worker runs it, with the worker's own client.
#[derive(Debug)]
struct Service {
    proxy: Arc<Proxy>,
    client: Arc<Client<replay::ReplayBody>>,
}

/// A request that came past the guard, less its body: on loan from the parsed head, for as long as it is being
/// answered.
#[derive(Clone, Copy, Debug)]
struct Asked<'a> {
    parts: &'a request::Parts,
    conn: &'a Arc<ConnInfo>,
    notes: &'a Notes<'a>,
    passed: &'a guard::Passed<'a>,
    ours: &'a Ours<'a>,
    request_id: &'a RequestId,
}

impl Asked<'_> {
    /// The host the client asked for; empty if none.
    fn host(&self) -> &str {
        // The guard has looked at each of its bytes.
        self.passed.host.as_ref().and_then(|host| std::str::from_utf8(host.as_bytes()).ok()).unwrap_or_default()
    }
}

impl Service {
    /// One request, top to bottom. Its body is taken out of `body`, so that the future has room for one.
    async fn handle(&self, parts: &request::Parts, body: &mut RequestBody, conn: &Arc<ConnInfo>) -> Response<Body> {
        // 1. guard
        let notes = Notes::of(&parts.headers);
        let passed = match self.guard(parts, &notes, conn) {
            Ok(passed) => passed,
            Err(failure) => return self.turn_away(parts, &notes, conn, failure),
        };
        let ours = self.ours(parts, &passed, conn);
        let request_id = request_id(&ours, parts);
        let asked = Asked { parts, conn, notes: &notes, passed: &passed, ours: &ours, request_id: &request_id };
        let mut open = self.open(&asked);
        match self.proxy.caps.enter(&conn.listener.name) {
            Ok(place) => open.place = place,
            Err(failure) => return self.refuse(open, &asked, failure),
        }

        if conn.listener.redirect_https && !ours.secure() {
            return self.to_https(open, &asked);
        }

        // 2. route
        let Some(path) = route::normal(parts.uri.path()) else {
            let failure = Failure::new(Cause::ClientInvalid).seen("its path climbs above the root");
            return self.refuse(open, &asked, failure);
        };
        if passed.max_forwards == Some(0) {
            return self.last_hop(open, &asked);
        }
        let routes = &self.proxy.routes;
        let host = if routes.names_hosts() { asked.host() } else { "" };
        let route = match routes.find((!host.is_empty()).then_some(host), &path, &parts.method) {
            Ok(route) => route,
            Err(miss) => return self.no_route(open, &asked, &path, &miss),
        };
        drop(path);
        open.exchange.route = Some(Arc::clone(&route.name));
        open.exchange.logged = route.access_log;

        // 3. what the route asks for; then forward, or answer as configured
        if let Some(layers) = &route.layers {
            let visit = Visit { service: self, open, asked: &asked, body, route };
            // As large as all the rest, and most routes ask for nothing.
            return Box::pin(layers::through(layers, visit)).await;
        }
        match &route.action {
            Action::Forward(to) => forward::forward(self, open, &asked, body, route, to).await,
            Action::Redirect(redirect) => self.redirect(open, &asked, redirect),
            Action::Respond(respond) => self.respond(open, &asked, respond),
        }
    }

    /// All that must hold of a request before it is looked at further.
    fn guard<'a>(
        &self,
        parts: &'a request::Parts,
        notes: &Notes<'a>,
        conn: &ConnInfo,
    ) -> Result<guard::Passed<'a>, Failure> {
        if parts.version == Version::HTTP_2 {
            guard::check_h2(parts, &conn.listener)?;
        }
        let passed = guard::check(parts, notes, |token| self.proxy.is_own(token))?;
        if conn.drain.last_second() {
            return Err(Failure::new(Cause::ShuttingDown));
        }
        if memory::is_short() {
            return Err(memory::refusal());
        }
        match &conn.tls {
            Some(session) => guard::at_home(session, passed),
            None => Ok(passed),
        }
    }

    /// What the guard refuses.
    #[cold]
    fn turn_away(
        &self,
        parts: &request::Parts,
        notes: &Notes<'_>,
        conn: &Arc<ConnInfo>,
        failure: Failure,
    ) -> Response<Body> {
        if failure.cause == Cause::LoopDetected {
            self.proxy.came_back(conn.local);
        }
        let passed = guard::Passed::default();
        let ours = self.ours(parts, &passed, conn);
        let request_id = request_id(&ours, parts);
        let asked = Asked { parts, conn, notes, passed: &passed, ours: &ours, request_id: &request_id };
        self.refuse(self.open(&asked), &asked, failure)
    }

    fn ours<'a>(&self, parts: &'a request::Parts, passed: &guard::Passed<'_>, conn: &'a ConnInfo) -> Ours<'a> {
        let peer = (conn.peer.ip(), &conn.peer_text, conn.tls.is_some());
        Ours::new(&parts.headers, peer, passed.host.as_deref(), &self.proxy.config.trusted_proxies)
    }

    /// Opens the record.
    fn open(&self, asked: &Asked<'_>) -> Box<Open> {
        let Asked { parts, conn, notes, passed, ours, request_id } = asked;
        let client = if ours.client == conn.peer.ip() { conn.peer } else { SocketAddr::new(ours.client, 0) };
        let began = (Instant::now(), SystemTime::now());
        self.proxy.requests.begin();
        // On the heap first, and filled there: it is large.
        let mut open =
            Open::new(RequestId::clone(request_id), client, began, Arc::clone(&self.proxy), Arc::clone(conn));
        let exchange = &mut open.exchange;
        if notes.forwarded && !ours.trusted() {
            events::untrusted_forwarded(conn.peer.ip(), exchange.started);
        }
        exchange.method = parts.method.clone();
        exchange.idempotent = retry::idempotent(&parts.method);
        exchange.uri = parts.uri.clone();
        exchange.version = parts.version;
        exchange.host = passed.host.as_deref().or(notes.host).cloned();
        exchange.user_agent = notes.user_agent.cloned();
        exchange.referer = notes.referer.cloned();
        exchange.login = notes.authorization.filter(|value| login::is_basic(value)).map(secret);
        exchange.trace_id = notes.traceparent.and_then(|value| TraceId::of(value.as_bytes()));
        exchange.trace = self.proxy.traces.begin(&parts.headers);
        open
    }

    /// The answer to a head that could not be read, as bytes.
    fn refuse_head(&self, failure: Failure, raw: &[u8], conn: &Arc<ConnInfo>) -> Bytes {
        let scan = respond::scan(raw);
        let (mut parts, ()) = Request::new(()).into_parts();
        (parts.method, parts.uri, parts.headers) = (scan.method, scan.uri, scan.headers);
        let (notes, passed) = (Notes::of(&parts.headers), guard::Passed::default());
        let ours = self.ours(&parts, &passed, conn);
        let request_id = request_id(&ours, &parts);
        let asked = Asked { parts: &parts, conn, notes: &notes, passed: &passed, ours: &ours, request_id: &request_id };
        let mut open = self.open(&asked);
        // A head that could not be read proves nothing: what it did not say must not open the addresses.
        let errors = &self.proxy.config.errors;
        let mut telling = self.telling(&asked);
        telling.full &= errors.detail != Detail::Auto || errors.full_for.contains(asked.ours.client);
        open.exchange.failure = Some(Arc::new(failure));
        let verdict = respond::verdict(&open.exchange);
        open.exchange.status = verdict.status.as_u16();
        open.exchange.elapsed = open.exchange.started.elapsed();
        let response = self.proxy.annotator.render(&open.exchange, &verdict, telling);
        open.exchange.bytes_out = response.body().len() as u64;
        open.end(EndedBy::Proxy);
        respond::refuse_bytes(response)
    }
}

impl Handler for Arc<Front> {
    type Body = Body;

    fn call(
        &self,
        request: Request<RequestBody>,
        conn: &Arc<ConnInfo>,
    ) -> impl Future<Output = Response<Body>> + Send + use<> {
        let (service, conn) = (self.0.load_full(), Arc::clone(conn));
        let (parts, mut body) = request.into_parts();
        // On the heap: it is large, and the task of a connection keeps its size for life.
        Box::pin(async move {
            let handling = pin!(service.handle(&parts, &mut body, &conn));
            panic::caught(handling, || service.bug(&conn, parts.headers.get(header::ACCEPT))).await
        })
    }

    fn refuse(&self, failure: Failure, raw: &[u8], conn: &Arc<ConnInfo>) -> Bytes {
        self.0.load().refuse_head(failure, raw, conn)
    }
}

/// The client's own, if it may bring one and did.
fn request_id(ours: &Ours<'_>, parts: &request::Parts) -> RequestId {
    ours.inbound_request_id(&parts.headers).unwrap_or_else(new_request_id)
}

/// So marked, nothing prints it.
fn secret(value: &HeaderValue) -> HeaderValue {
    let mut value = value.clone();
    value.set_sensitive(true);
    value
}

/// The digits of an id, as the owner of their bytes.
struct Id([[u8; 2]; 16]);

impl AsRef<[u8]> for Id {
    fn as_ref(&self) -> &[u8] {
        self.0.as_flattened()
    }
}

/// Each byte as two lower-case hex digits.
static HEX: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < pairs.len() {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    pairs
};

/// 128 random bits as 32 lower-case hex digits. An id, not a secret.
fn new_request_id() -> RequestId {
    let id = fastrand::u128(..).to_ne_bytes().map(|byte| HEX[usize::from(byte)]);
    RequestId::of(Bytes::from_owner(Id(id)))
}

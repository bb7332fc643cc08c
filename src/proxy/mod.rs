//! Traffic: from a parsed request to an answer. [`Service::handle`] is the table of contents.
//!
//! ```text
//!  guard    guard      what no upstream should see       ── refusal → respond
//!  route    route      host, path, method                ── none    → respond (404, 405)
//!  forward  forward    pick, attempt, report, judge      ── gave up → respond (502, 504, 503)
//!  answer   body       counted; its end is the record's end
//! ```
//!
//! Nothing here dials (that is `client`), accepts (that is `listen`) or changes health (that is `probe`).

mod attempt;
mod body;
mod forward;
mod guard;
mod headers;
mod panic;
mod record;
mod replay;
pub mod respond;
pub mod retry;
mod upgrade;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri, request};
use hyper::upgrade::OnUpgrade;

use crate::cause::{Cause, Failure};
use crate::client::Client;
use crate::config::Config;
use crate::config::model::{Action, Detail, Piece, Redirect, Respond};
use crate::listen::{ConnInfo, Handler, RequestBody};
use crate::observe::access_log::AccessLog;
use crate::observe::exchange::EndedBy;
use crate::observe::{Exchange, events};
use crate::pool::Pool;
use crate::route::{self, Miss, Table};

pub use body::Body;
use headers::Ours;
use record::Open;
use respond::{Annotator, Form, Telling};

/// What somebody wants to hear of finished exchanges (the demo's narrator).
pub type OnExchange = Arc<dyn Fn(&Exchange) + Send + Sync>;

/// All that requests need: immutable, shared by all workers. A request keeps the value it started with.
pub struct Proxy {
    config: Config,
    routes: Table,
    pools: Vec<Arc<Pool>>,
    annotator: Annotator,
    /// `1.1 NAME-xxxxxx`, and the token alone.
    via: HeaderValue,
    via_token: String,
    access_log: AccessLog,
    on_exchange: Option<OnExchange>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").field("via", &self.via_token).finish_non_exhaustive()
    }
}

impl Proxy {
    /// Puts it together. `pools` are those of the config, in its order.
    #[must_use]
    pub fn new(config: Config, pools: Vec<Arc<Pool>>, access_log: AccessLog, on_exchange: Option<OnExchange>) -> Self {
        let via_token = format!("{}-{:06x}", config.name, fastrand::u32(..) & 0xff_ffff);
        let via =
            HeaderValue::from_str(&format!("1.1 {via_token}")).unwrap_or(HeaderValue::from_static("1.1 causeway"));
        let routes = Table::compile(config.routes.iter().cloned().map(Arc::new));
        let annotator = Annotator::new(Arc::clone(&config.name)).configured_by(config.file.as_deref());
        Self { config, routes, pools, annotator, via, via_token, access_log, on_exchange }
    }

    /// An exchange has ended: the one place where its record reaches the log and whoever listens.
    fn finish(&self, exchange: &Exchange) {
        if exchange.status >= 500 && exchange.failure.is_some() {
            events::request_failed(exchange);
        }
        if exchange.logged {
            self.access_log.write(exchange);
        }
        if let Some(on_exchange) = &self.on_exchange {
            on_exchange(exchange);
        }
    }
}

/// The proxy as one worker runs it: the shared value and the worker's own client.
#[derive(Clone, Debug)]
pub struct Service {
    proxy: Arc<Proxy>,
    client: Arc<Client<replay::ReplayBody>>,
}

/// A request that passed the guard, less its body.
#[derive(Debug)]
struct Asked {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    conn: Arc<ConnInfo>,
    on_upgrade: Mutex<Option<OnUpgrade>>,
    passed: guard::Passed,
    ours: Ours,
    request_id: HeaderValue,
    full_detail: bool,
}

impl Asked {
    /// The host the client asked for; empty if none.
    fn host(&self) -> &str {
        self.passed.host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or_default()
    }

    /// How an answer of causeway's own is to look.
    fn form(&self) -> Form {
        Form::of(&self.headers)
    }
}

impl Service {
    /// For one worker.
    #[must_use]
    pub fn new(proxy: Arc<Proxy>) -> Self {
        Self { proxy, client: Arc::new(Client::new()) }
    }

    /// One request, top to bottom.
    async fn handle(self, request: Request<RequestBody>, conn: Arc<ConnInfo>) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        let on_upgrade = parts.extensions.remove::<OnUpgrade>();

        // 1. guard
        let checked = guard::check(&parts, &self.proxy.via_token);
        let checked = checked.and_then(|passed| {
            if conn.drain.last_second() { Err(Failure::new(Cause::ShuttingDown)) } else { Ok(passed) }
        });
        let (passed, refusal) = match checked {
            Ok(passed) => (passed, None),
            Err(failure) => (guard::Passed::default(), Some(failure)),
        };
        let (mut open, asked) = self.open(parts, passed, on_upgrade, conn);
        if let Some(failure) = refusal {
            return self.refuse(open, &asked, failure);
        }

        // 2. route
        let Some(path) = route::normal(asked.uri.path()) else {
            return self.refuse(
                open,
                &asked,
                Failure::new(Cause::ClientInvalid).seen("its path climbs above the root"),
            );
        };
        if asked.passed.max_forwards == Some(0) {
            return self.last_hop(open, &asked);
        }
        let host = asked.host();
        let route = match self.proxy.routes.find((!host.is_empty()).then_some(host), &path, &asked.method) {
            Ok(route) => Arc::clone(route),
            Err(miss) => return self.no_route(open, &asked, &path, &miss),
        };
        drop(path);
        open.exchange.route = Some(Arc::clone(&route.name));
        open.exchange.logged = route.access_log;

        // 3. forward, or answer as configured
        match &route.action {
            Action::Forward(forward) => {
                open.exchange.pool = Some(Arc::clone(&self.proxy.pools[forward.pool].config.name));
                forward::forward(&self, open, asked, body, &route, forward).await
            }
            Action::Redirect(redirect) => self.redirect(open, &asked, redirect),
            Action::Respond(respond) => self.respond(open, &asked, respond),
        }
    }

    /// Opens the record.
    fn open(
        &self,
        parts: request::Parts,
        passed: guard::Passed,
        on_upgrade: Option<OnUpgrade>,
        conn: Arc<ConnInfo>,
    ) -> (Box<Open>, Asked) {
        let config = &self.proxy.config;
        let trusted = config.trusted_proxies.contains(conn.peer.ip());
        let inbound = if trusted { headers::inbound_request_id(&parts.headers) } else { None };
        let request_id: Arc<str> = inbound.map_or_else(new_request_id, Arc::from);
        let id_value = HeaderValue::from_str(&request_id).unwrap_or(HeaderValue::from_static("unknown"));
        let ours = Ours::new(
            &parts.headers,
            conn.peer,
            passed.host.as_ref(),
            &config.trusted_proxies,
            &self.proxy.via,
            &id_value,
        );
        let client = if ours.client == conn.peer.ip() { conn.peer } else { SocketAddr::new(ours.client, 0) };
        let mut exchange =
            Exchange::new(request_id, client, Arc::clone(&conn.listener.name), (Instant::now(), SystemTime::now()));
        if !trusted && headers::claims_forwarded(&parts.headers) {
            events::untrusted_forwarded(conn.peer.ip(), exchange.started);
        }
        exchange.method = parts.method.clone();
        exchange.idempotent = retry::idempotent(&parts.method);
        exchange.uri = parts.uri.clone();
        exchange.version = parts.version;
        exchange.host = passed.host.clone().or_else(|| parts.headers.get(header::HOST).cloned());
        exchange.user_agent = parts.headers.get(header::USER_AGENT).cloned();
        exchange.referer = parts.headers.get(header::REFERER).cloned();
        let full_detail = respond::detail_is_full(
            &config.errors,
            conn.peer.ip(),
            ours.client,
            &parts.headers,
            exchange.host.as_ref(),
            conn.local.port(),
        );
        let open = Open::new(exchange, Arc::clone(&self.proxy), conn.drain.clone());
        let asked = Asked {
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
            conn,
            on_upgrade: Mutex::new(on_upgrade),
            passed,
            ours,
            request_id: id_value,
            full_detail,
        };
        (open, asked)
    }

    /// causeway refuses before any upstream was asked.
    fn refuse(&self, open: Box<Open>, asked: &Asked, failure: Failure) -> Response<Body> {
        self.annotate(open, asked, Arc::new(failure))
    }

    /// The annotated error of this failure.
    fn annotate(&self, mut open: Box<Open>, asked: &Asked, failure: Arc<Failure>) -> Response<Body> {
        open.exchange.failure = Some(failure);
        self.gave_up(open, asked, Telling::new(asked.form(), asked.full_detail))
    }

    /// The annotated error of an exchange that causeway answers itself: the record says all.
    fn gave_up(&self, mut open: Box<Open>, asked: &Asked, telling: Telling<'_>) -> Response<Body> {
        let verdict = respond::verdict(&open.exchange);
        open.exchange.status = verdict.status.as_u16();
        open.exchange.failure = Some(Arc::clone(&verdict.failure));
        open.exchange.elapsed = open.exchange.started.elapsed();
        let response = self.proxy.annotator.render(&open.exchange, &verdict, telling);
        self.own(open, asked, response)
    }

    /// An answer of causeway's own, whole.
    fn own(&self, mut open: Box<Open>, asked: &Asked, response: Response<Bytes>) -> Response<Body> {
        let (head, bytes) = response.into_parts();
        open.exchange.status = if open.exchange.status == 0 { head.status.as_u16() } else { open.exchange.status };
        if open.exchange.failure.is_none() {
            open.end(EndedBy::Proxy);
        }
        let body = if asked.method == Method::HEAD { Body::headless(open) } else { Body::once(bytes, open) };
        Response::from_parts(head, body)
    }

    fn no_route(&self, mut open: Box<Open>, asked: &Asked, path: &str, miss: &Miss) -> Response<Body> {
        let host = asked.host();
        let failure = Failure::new(Cause::NoRoute).seen(format!("{} {host}{path}", asked.method));
        let allow = match miss {
            Miss::NoRoute => String::new(),
            Miss::Method(allowed) => allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", "),
        };
        let failure = if matches!(miss, Miss::NoRoute) { failure } else { failure.status(405) };
        open.exchange.failure = Some(Arc::new(failure));
        let nearest = self.proxy.routes.nearest(host);
        self.gave_up(
            open,
            asked,
            Telling { allow: &allow, nearest: &nearest, ..Telling::new(asked.form(), asked.full_detail) },
        )
    }

    fn redirect(&self, open: Box<Open>, asked: &Asked, redirect: &Redirect) -> Response<Body> {
        let host = asked.host();
        let name = match host.rfind(':') {
            Some(colon) if !host[colon..].contains(']') => &host[..colon],
            _ => host,
        };
        let target = asked.uri.path_and_query().map_or("/", |target| target.as_str());
        let location: String = redirect
            .0
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.as_str(),
                Piece::Host => name,
                Piece::Path => target,
            })
            .collect();
        let fields = [(header::LOCATION, location)];
        self.plain(open, asked, StatusCode::PERMANENT_REDIRECT, fields, Bytes::new())
    }

    fn respond(&self, open: Box<Open>, asked: &Asked, respond: &Respond) -> Response<Body> {
        let status = StatusCode::from_u16(respond.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        let kind = respond.content_type.to_str().unwrap_or("text/plain").to_owned();
        let retry = respond.retry_after.map(|seconds| (header::RETRY_AFTER, seconds.to_string()));
        let fields = [(header::CONTENT_TYPE, kind)].into_iter().chain(retry);
        self.plain(open, asked, status, fields, respond.body.clone())
    }

    /// Max-Forwards has come to its end here: we are the final recipient (RFC 9110 §7.6.2, §9.3.7, §9.3.8).
    fn last_hop(&self, open: Box<Open>, asked: &Asked) -> Response<Body> {
        if asked.method == Method::OPTIONS {
            return self.plain(open, asked, StatusCode::OK, [], Bytes::new());
        }
        let secret = |name: &HeaderName| {
            *name == header::AUTHORIZATION || *name == header::COOKIE || *name == header::PROXY_AUTHORIZATION
        };
        let mut echo = format!("TRACE {} HTTP/1.1\r\n", asked.uri).into_bytes();
        for (name, value) in asked.headers.iter().filter(|(name, _)| !secret(name)) {
            echo.extend_from_slice(name.as_str().as_bytes());
            echo.extend_from_slice(b": ");
            echo.extend_from_slice(value.as_bytes());
            echo.extend_from_slice(b"\r\n");
        }
        self.plain(open, asked, StatusCode::OK, [(header::CONTENT_TYPE, "message/http".to_owned())], Bytes::from(echo))
    }

    fn plain(
        &self,
        open: Box<Open>,
        asked: &Asked,
        status: StatusCode,
        fields: impl IntoIterator<Item = (HeaderName, String)>,
        body: Bytes,
    ) -> Response<Body> {
        let length = body.len();
        let mut response = Response::new(body);
        *response.status_mut() = status;
        for (name, value) in fields {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
        if status != StatusCode::NO_CONTENT {
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        response.headers_mut().insert(respond::X_REQUEST_ID, asked.request_id.clone());
        self.own(open, asked, response)
    }

    /// The answer to a request whose handling panicked. Its record is in the log already.
    fn bug(&self, conn: &Arc<ConnInfo>, accept: Option<HeaderValue>) -> Response<Body> {
        let left = panic::left();
        let id = left.as_ref().map_or_else(new_request_id, |left| Arc::clone(&left.request_id));
        let mut exchange =
            Exchange::new(id, conn.peer, Arc::clone(&conn.listener.name), (Instant::now(), SystemTime::now()));
        exchange.method = left.map_or(Method::GET, |left| left.method);
        exchange.failure = Some(Arc::new(Failure::new(Cause::Bug)));
        let verdict = respond::verdict(&exchange);
        let said = accept.into_iter().map(|accept| (header::ACCEPT, accept)).collect();
        self.proxy.annotator.render(&exchange, &verdict, Telling::new(Form::of(&said), false)).map(Body::unrecorded)
    }
}

impl Handler for Service {
    type Body = Body;

    fn call(
        &self,
        request: Request<RequestBody>,
        conn: &Arc<ConnInfo>,
    ) -> impl Future<Output = Response<Body>> + Send + 'static {
        let (this, conn) = (self.clone(), Arc::clone(conn));
        let accept = request.headers().get(header::ACCEPT).cloned();
        // On the heap at once: hyper moves a service's future several times, and this one is some 6 KB.
        let handled = Box::pin(self.clone().handle(request, Arc::clone(&conn)));
        async move { panic::caught(handled).await.unwrap_or_else(|| this.bug(&conn, accept)) }
    }

    fn refuse(&self, failure: Failure, raw: &[u8], conn: &Arc<ConnInfo>) -> Bytes {
        let scan = respond::scan(raw);
        let (mut parts, ()) = Request::new(()).into_parts();
        (parts.method, parts.uri, parts.headers) = (scan.method, scan.uri, scan.headers);
        let (mut open, asked) = self.open(parts, guard::Passed::default(), None, Arc::clone(conn));
        // A head that could not be read proves nothing: what it did not say must not open the addresses.
        let errors = &self.proxy.config.errors;
        let full = asked.full_detail && (errors.detail != Detail::Auto || errors.full_for.contains(asked.ours.client));
        open.exchange.failure = Some(Arc::new(failure));
        let verdict = respond::verdict(&open.exchange);
        open.exchange.status = verdict.status.as_u16();
        open.exchange.elapsed = open.exchange.started.elapsed();
        let response = self.proxy.annotator.render(&open.exchange, &verdict, Telling::new(asked.form(), full));
        open.exchange.bytes_out = response.body().len() as u64;
        open.end(EndedBy::Proxy);
        respond::refuse_bytes(response)
    }
}

/// 128 random bits as 32 lower-case hex digits. An id, not a secret.
fn new_request_id() -> Arc<str> {
    let mut id = [0u8; 32];
    let mut bits = fastrand::u128(..);
    for digit in &mut id {
        *digit = b"0123456789abcdef"[(bits & 15) as usize];
        bits >>= 4;
    }
    Arc::from(std::str::from_utf8(&id).unwrap_or_default())
}

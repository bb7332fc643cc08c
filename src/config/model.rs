//! The configuration as the rest of causeway sees it: typed, merged, complete, and impossible to get wrong.
//!
//! Every value here has been checked by `compile`; nothing downstream validates again. `None` in an optional limit
//! means "off".

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method};
use ipnet::IpNet;

use super::address::{Address, ListenAddress};

/// Everything that was said, with the defaults for what was not.
#[derive(Clone, Debug)]
pub struct Config {
    /// This proxy, in Proxy-Status and Via.
    pub name: Arc<str>,
    /// Worker threads; `None`: one for each core that the process may use.
    pub workers: Option<NonZeroUsize>,
    /// Whose forwarded fields and request ids are believed.
    pub trusted_proxies: Networks,
    /// At least one.
    pub listeners: Vec<Listener>,
    /// Where the admin answers; `None`: off.
    pub admin: Option<ListenAddress>,
    /// What is logged, and where to.
    pub log: Log,
    /// How the end goes.
    pub shutdown: Shutdown,
    /// At least one; without a `[route]`, one called `main` that takes every request to the only pool.
    pub routes: Vec<Route>,
    /// In the order of the file; [`Forward::pool`] is an index into it.
    pub pools: Vec<Arc<Pool>>,
    /// What clients are told.
    pub errors: Errors,
    /// The file it came from, if any.
    pub file: Option<PathBuf>,
}

/// A set of CIDRs. Lists are short: a linear scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(pub Vec<IpNet>);

impl Networks {
    /// Is this address in one of them? IPv4-mapped IPv6 addresses count as IPv4.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|net| net.contains(&ip))
    }
}

/// `[listener.NAME]`.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name in the config; `main` for the short form `listen`.
    pub name: Arc<str>,
    /// Where it binds.
    pub address: ListenAddress,
    /// A request head must be complete: else 408.
    pub head_timeout: Duration,
    /// Longest silence inside a request body while causeway waits to read: else 408; and of a client that takes nothing of
    /// its answer: cut.
    pub body_timeout: Duration,
    /// Longest idle time between two requests.
    pub keep_alive: Duration,
    /// Bytes of a request head: else 431, 414 for the request line. 8 KiB to 1 MiB.
    pub head_limit: usize,
    /// Fields of a request: else 431.
    pub fields_limit: usize,
    /// Connections at once; `None`: as many as RLIMIT_NOFILE allows ("auto").
    pub connections_limit: Option<NonZeroUsize>,
}

/// `[log]`.
#[derive(Clone, Debug)]
pub struct Log {
    /// The least severe event that is logged.
    pub level: Level,
    /// Where events go.
    pub events: LogTarget,
    /// The shape of the access log.
    pub access: AccessFormat,
    /// Where the access log goes.
    pub access_to: LogTarget,
}

/// Severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the words say it
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// A place for lines.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the words say it
pub enum LogTarget {
    Stderr,
    Stdout,
    File(PathBuf),
}

/// The shape of the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessFormat {
    /// Human on a terminal, else JSON.
    Auto,
    /// One object a line.
    Json,
    /// The combined log format of Apache and nginx.
    Combined,
    /// None.
    Off,
}

/// `[shutdown]`.
#[derive(Clone, Copy, Debug)]
pub struct Shutdown {
    /// `/readyz` says no, new requests still come in.
    pub grace: Duration,
    /// Then what still runs is cut.
    pub timeout: Duration,
}

/// `[route.NAME]`.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name in the config.
    pub name: Arc<str>,
    /// Empty: any host.
    pub hosts: Vec<HostPattern>,
    /// Starts with `/`; no trailing slash but for `/` itself; normal form (RFC 3986 §6.2.2).
    pub path: String,
    /// Empty: any method.
    pub methods: Vec<Method>,
    /// What happens to a request that matches.
    pub action: Action,
    /// Bytes of a request body: else 413.
    pub max_body: Option<u64>,
    /// Whether its requests stand in the access log.
    pub access_log: bool,
}

/// One entry of `hosts`, lower case, no port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// `api.example.com`
    Exact(String),
    /// `*.example.com`, held as `.example.com`: one or more labels in front.
    Suffix(String),
}

/// What a route does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send it to a pool.
    Forward(Box<Forward>),
    /// 308 to another place.
    Redirect(Redirect),
    /// An answer of causeway's own.
    Respond(Respond),
}

/// A route to a pool, with the pool's settings already merged with the route's own.
#[derive(Clone, Debug)]
pub struct Forward {
    /// Index into [`Config::pools`].
    pub pool: usize,
    /// What the upstream sees in place of [`Route::path`]; `None`: the target as received.
    pub replace_prefix: Option<String>,
    /// Pool and route merged; the route wins.
    pub timeouts: Timeouts,
    /// Pool and route merged; the route wins.
    pub retry: Retry,
}

/// `redirect = "…"`: a target with the placeholders `{{host}}` and `{{path}}` (path and query) split out at load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect(pub Vec<Piece>);

/// A piece of a redirect's target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it stands.
    Text(String),
    /// The request's host, without its port.
    Host,
    /// The request's path and query, as received.
    Path,
}

/// `respond = { status, file | body, content_type, retry_after }`.
#[derive(Clone, Debug)]
pub struct Respond {
    /// 200 to 599.
    pub status: u16,
    /// The bytes of `file`, read at load, or of `body`.
    pub body: bytes::Bytes,
    /// From `content_type`, else from the file's ending, else `text/plain; charset=utf-8`.
    pub content_type: HeaderValue,
    /// Whole seconds for Retry-After.
    pub retry_after: Option<u64>,
}

/// `[pool.NAME]`.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Its name in the config.
    pub name: Arc<str>,
    /// At least one.
    pub upstreams: Vec<Entry>,
    /// What the upstream sees as Host.
    pub host_header: HostHeader,
    /// Are evicted upstreams tried as a last resort? (`when_all_evicted = "try"`)
    pub last_resort: bool,
    /// Active checks; `None`: off.
    pub health: Option<Health>,
    /// As the pool says; routes carry the merged ones.
    pub timeouts: Timeouts,
    /// As the pool says; routes carry the merged ones.
    pub retry: Retry,
    /// How much is kept in memory.
    pub buffers: Buffers,
    /// Kept connections.
    pub connections: Connections,
}

/// One entry of `upstreams`.
#[derive(Clone, Debug)]
pub struct Entry {
    /// `name = "b"`, if given: the id in place of the address.
    pub name: Option<Arc<str>>,
    /// Where it lives.
    pub address: Address,
}

impl Entry {
    /// Its name, else its address: the id of its upstream while it has one address.
    #[must_use]
    pub fn id(&self) -> Arc<str> {
        self.name.clone().unwrap_or_else(|| self.address.to_string().into())
    }
}

/// `host_header`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostHeader {
    /// The client's is kept.
    Client,
    /// The upstream's address.
    Upstream,
    /// This one.
    Literal(HeaderValue),
}

/// `[pool.NAME.health]`.
#[derive(Clone, Debug)]
pub struct Health {
    /// What a check does.
    pub check: Check,
    /// `None`: the upstream's own.
    pub port: Option<u16>,
    /// Between two checks, ±20 %; 1 s while changing, 2 s while down (never longer than this).
    pub interval: Duration,
    /// From resolve to the last body byte read.
    pub timeout: Duration,
    /// Passes in a row that end an eviction.
    pub healthy_after: u32,
    /// Failures in a row that evict.
    pub unhealthy_after: u32,
}

/// What a check does.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // one for each pool
pub enum Check {
    /// Open a connection, close it.
    Tcp,
    /// A request, and what its answer must be.
    Http(HttpCheck),
}

/// An HTTP check.
#[derive(Clone, Debug)]
pub struct HttpCheck {
    /// Path and query, starting with `/`.
    pub path: String,
    /// `GET` unless said.
    pub method: Method,
    /// `None`: the upstream's address.
    pub host_header: Option<HeaderValue>,
    /// Sent with the check, over causeway's own.
    pub headers: HeaderMap,
    /// Inclusive ranges; never empty.
    pub expect_status: Vec<(u16, u16)>,
    /// Must be in the first 64 KiB of the body; empty: anything.
    pub expect_body: String,
}

/// `[pool.NAME.timeouts]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// A name must have an address.
    pub resolve: Duration,
    /// The connection must stand.
    pub connect: Duration,
    /// The upstream takes nothing of the request.
    pub write: Duration,
    /// Until the response head is complete, from the last byte of the request.
    pub read: Duration,
    /// Longest silence inside the response body.
    pub body: Duration,
    /// The whole exchange.
    pub request: Option<Duration>,
    /// Silence in an upgraded connection.
    pub tunnel: Option<Duration>,
}

/// `[pool.NAME.retry]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Upstreams tried in total; `None`: all.
    pub attempts: Option<NonZeroUsize>,
    /// How many attempts may follow after bytes were sent; `None`: all.
    pub resend: Option<usize>,
    /// A POST or PATCH with Idempotency-Key may be resent.
    pub idempotency_key: bool,
    /// From the complete request head: after it nothing is resent; `None`: no end.
    pub deadline: Option<Duration>,
}

/// `[pool.NAME.buffers]`, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffers {
    /// Of a request body, kept for a resend.
    pub request: usize,
    /// The largest response head. 8 KiB to 16 MiB.
    pub response_head: usize,
    /// A body of known length up to this is complete before the client sees its status.
    pub response: usize,
}

/// `[pool.NAME.connections]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// An idle connection is closed after this, or the upstream's `Keep-Alive: timeout` less 1 s.
    pub idle: Duration,
    /// Idle connections kept for each upstream, over all workers; 0: none is kept.
    pub max_idle: usize,
    /// No connection is used for longer.
    pub max_age: Duration,
}

/// `[errors]`.
#[derive(Clone, Debug)]
pub struct Errors {
    /// What clients are told.
    pub detail: Detail,
    /// Clients that get full detail too.
    pub full_for: Networks,
    /// `proxy_status = "all"`: every response names its upstream.
    pub proxy_status_on_all: bool,
}

/// `errors.detail`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Full on loopback with no sign of another proxy, else public.
    Auto,
    /// Addresses and all.
    Full,
    /// Causes and request id.
    Public,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            resolve: Duration::from_secs(2),
            connect: Duration::from_secs(3),
            write: Duration::from_secs(60),
            read: Duration::from_secs(60),
            body: Duration::from_secs(300),
            request: None,
            tunnel: Some(Duration::from_secs(3600)),
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: None, resend: None, idempotency_key: false, deadline: Some(Duration::from_secs(30)) }
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self { request: 64 << 10, response_head: 64 << 10, response: 64 << 10 }
    }
}

impl Default for Connections {
    fn default() -> Self {
        Self { idle: Duration::from_secs(4), max_idle: 128, max_age: Duration::from_secs(3600) }
    }
}

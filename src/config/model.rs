//! The configuration as the rest of causeway sees it: typed, merged, complete, and impossible to get wrong.
//!
//! Every value here has been checked by `compile`; nothing downstream validates again. `None` in an optional limit
//! means "off".

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method};
use ipnet::IpNet;

use super::address::ListenAddress;

mod check;
mod layers;
mod notify;
mod page;
mod pool;
mod pool_tls;
mod secure;
mod token;

pub use check::{Check, GrpcCheck, Health, HttpCheck};
pub use layers::{FieldRules, FieldValue, Layers, Rate, Users};
pub use notify::{Notify, Webhook};
pub use page::{Page, Part, Placeholder};
pub use pool::{
    Balance, Buffers, Connections, Entry, HashKey, HostHeader, Limits, Passive, Pool, Retry, Statuses, Timeouts,
};
pub use pool_tls::{Contents, PoolTls};
pub use secure::ListenerTls;
pub use token::Token;

/// Everything that was said, with the defaults for what was not.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// By what right somebody on another machine may change something there; `None`: nobody may.
    pub admin_token: Option<Token>,
    /// What is logged, and where to.
    pub log: Log,
    /// How the end goes.
    pub shutdown: Shutdown,
    /// The socket at which a newer process takes the listening sockets over; `None`: none may.
    pub hand_over: Option<PathBuf>,
    /// At least one; without a `[route]`, one called `main` that takes every request to the only pool.
    pub routes: Vec<Route>,
    /// In the order of the file; [`Forward::pool`] is an index into it.
    pub pools: Vec<Arc<Pool>>,
    /// What clients are told.
    pub errors: Errors,
    /// Who is told of each change of an upstream.
    pub notify: Notify,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name in the config; `main` for the short form `listen`.
    pub name: Arc<str>,
    /// Where it binds.
    pub address: ListenAddress,
    /// What is spoken there.
    pub protocols: Protocols,
    /// A request head must be complete: else 408.
    pub head_timeout: Duration,
    /// Longest silence inside a request body while causeway waits to read: else 408; and of a client that takes nothing
    /// of its answer: cut.
    pub body_timeout: Duration,
    /// Longest idle time between two requests.
    pub keep_alive: Duration,
    /// Bytes of a request head: else 431, 414 for the request line. 8 KiB to 1 MiB.
    pub head_limit: usize,
    /// Fields of a request: else 431.
    pub fields_limit: usize,
    /// Connections at once; `None`: as many as RLIMIT_NOFILE allows ("auto").
    pub connections_limit: Option<NonZeroUsize>,
    /// Requests at once over all its connections; `None`: any number.
    pub in_flight_limit: Option<NonZeroUsize>,
    /// Peers that must begin with a PROXY header, and whose word on the client's address holds; none: no header is
    /// read.
    pub proxy_protocol: Networks,
    /// 308 to https:// for every request that did not come by TLS.
    pub redirect_https: bool,
    /// A TLS handshake must be complete, counted from the accept: else the connection is closed.
    pub tls_timeout: Duration,
    /// `None`: it speaks plain HTTP.
    pub tls: Option<Arc<ListenerTls>>,
}

/// `protocols` of a listener: one of them, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocols {
    /// HTTP/1.1, and HTTP/1.0.
    pub h1: bool,
    /// HTTP/2: with TLS by ALPN, else by prior knowledge.
    pub h2: bool,
}

impl Default for Protocols {
    fn default() -> Self {
        Self { h1: true, h2: true }
    }
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// `/readyz` says no, new requests still come in.
    pub grace: Duration,
    /// Then what still runs is cut.
    pub timeout: Duration,
}

/// `[route.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// What else it asks for; `None`: nothing.
    pub layers: Option<Box<Layers>>,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send it to a pool.
    Forward(Box<Forward>),
    /// 308 to another place.
    Redirect(Redirect),
    /// An answer of causeway's own.
    Respond(Respond),
}

/// A route to a pool, with the pool's settings already merged with the route's own.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// `[errors]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors {
    /// What clients are told.
    pub detail: Detail,
    /// Clients that get full detail too.
    pub full_for: Networks,
    /// `proxy_status = "all"`: every response names its upstream.
    pub proxy_status_on_all: bool,
    /// Failing upstreams are looked at more closely.
    pub diagnosis: bool,
    /// In place of causeway's own HTML page.
    pub page: Option<Arc<Page>>,
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

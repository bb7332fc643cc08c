//! What the configuration says of a pool, with the defaults for what is unsaid.

use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::{Health, PoolTls};
use crate::config::address::{Address, Host};

/// `[pool.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its name in the config.
    pub name: Arc<str>,
    /// At least one. The last one stands for `upstreams_file`, if there is one.
    pub upstreams: Vec<Entry>,
    /// `name_servers`: who is asked for names, in place of those of /etc/resolv.conf; none: those.
    pub name_servers: Arc<[SocketAddr]>,
    /// What the upstream sees as Host.
    pub host_header: HostHeader,
    /// Are evicted upstreams tried as a last resort? (`when_all_evicted = "try"`)
    pub last_resort: bool,
    /// How one of several is chosen.
    pub balance: Balance,
    /// The name of the cookie by which a client stays with its upstream.
    pub sticky: Option<Arc<str>>,
    /// How long an upstream takes to come to its full share after a recovery; zero: none.
    pub slow_start: Duration,
    /// How long a request may wait for any upstream to be usable before its 502; zero: not at all.
    pub wait: Duration,
    /// Active checks; `None`: off.
    pub health: Option<Health>,
    /// What traffic says of health.
    pub passive: Passive,
    /// What is too much.
    pub limits: Limits,
    /// As the pool says; routes carry the merged ones.
    pub timeouts: Timeouts,
    /// As the pool says; routes carry the merged ones.
    pub retry: Retry,
    /// How much is kept in memory.
    pub buffers: Buffers,
    /// Kept connections.
    pub connections: Connections,
    /// For upstreams behind `https://`; `None`: there are none.
    pub tls: Option<Arc<PoolTls>>,
}

impl Pool {
    /// A pool of these upstreams, with the defaults for all else, and unchecked.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, upstreams: Vec<Entry>) -> Self {
        Self {
            name: name.into(),
            upstreams,
            name_servers: Arc::default(),
            host_header: HostHeader::Client,
            last_resort: true,
            balance: Balance::P2c,
            sticky: None,
            slow_start: Duration::from_secs(10),
            wait: Duration::ZERO,
            health: None,
            passive: Passive::default(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            retry: Retry::default(),
            buffers: Buffers::default(),
            connections: Connections::default(),
            tls: None,
        }
    }

    /// `upstreams_file`: the list that something else keeps.
    #[must_use]
    pub fn upstreams_file(&self) -> Option<&Arc<Path>> {
        self.upstreams.iter().find_map(|entry| match &entry.address.host {
            Host::Listed(path) => Some(path),
            _ => None,
        })
    }
}

/// One entry of `upstreams`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `name = "b"`, if given: the id in place of the address.
    pub name: Option<Arc<str>>,
    /// Where it lives.
    pub address: Address,
    /// Its share beside the others', for each of its addresses: 1 to 100.
    pub weight: u8,
    /// Used only while no other is usable.
    pub backup: bool,
    /// Attempts at once on each of its addresses, over the pool's word; `None`: the pool's. "off" below a pool that has
    /// a limit is `NonZeroUsize::MAX`.
    pub in_flight: Option<NonZeroUsize>,
    /// A connection begins with a PROXY header, version 2.
    pub proxy_protocol: bool,
}

impl Entry {
    /// An entry that says its address and nothing else.
    #[must_use]
    pub const fn new(address: Address) -> Self {
        Self { name: None, address, weight: 1, backup: false, in_flight: None, proxy_protocol: false }
    }

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

/// `balance`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balance {
    /// Two at random, the less busy one.
    P2c,
    /// In turn, smoothly by weight.
    RoundRobin,
    /// The least busy of all.
    LeastInFlight,
    /// The one with the lowest peak latency of two, which decays.
    Ewma,
    /// The same upstream for the same key (rendezvous hashing).
    Hash(HashKey),
}

/// What `balance = "hash:…"` looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The client's address, found through `trusted_proxies`.
    ClientIp,
    /// The path, without its query.
    Path,
    /// The first value of this field.
    Header(HeaderName),
    /// This cookie.
    Cookie(Arc<str>),
}

impl fmt::Display for Balance {
    /// As the file writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::P2c => f.write_str("p2c"),
            Self::RoundRobin => f.write_str("round_robin"),
            Self::LeastInFlight => f.write_str("least_in_flight"),
            Self::Ewma => f.write_str("ewma"),
            Self::Hash(HashKey::ClientIp) => f.write_str("hash:client_ip"),
            Self::Hash(HashKey::Path) => f.write_str("hash:path"),
            Self::Hash(HashKey::Header(name)) => write!(f, "hash:header:{name}"),
            Self::Hash(HashKey::Cookie(name)) => write!(f, "hash:cookie:{name}"),
        }
    }
}

/// `[pool.NAME.passive]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passive {
    /// Connect failures in a row that evict; `None`: they never do.
    pub connect_failures: Option<NonZeroU32>,
    /// Gateway failures in a row that evict; `None`: they never do.
    pub gateway_failures: Option<NonZeroU32>,
    /// How long the first eviction lasts, ±20 %.
    pub evict: Duration,
    /// No eviction lasts longer; and after so long in good health the next is the first again.
    pub evict_max: Duration,
    /// How much of the pool traffic may evict, in percent, counted after the eviction.
    pub max_evicted: u8,
}

/// `[pool.NAME.limits]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Attempts at once on each upstream; `None`: any number.
    pub in_flight: Option<NonZeroUsize>,
    /// Requests that may wait for a slot.
    pub queue: usize,
    /// How long each of them may.
    pub queue_timeout: Duration,
}

/// `[pool.NAME.timeouts]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// A name must have an address.
    pub resolve: Duration,
    /// The connection must stand.
    pub connect: Duration,
    /// And the TLS session on it.
    pub tls: Duration,
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
    /// Answers that count as failures while another attempt is allowed.
    pub on_status: Statuses,
    /// Resends, in percent of the requests of the last 10 s (and 10 a second besides); `None`: any number.
    pub budget: Option<u32>,
}

/// A set of status codes from 400 to 599.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statuses([u64; 4]);

impl Statuses {
    /// Adds one; false if it is not from 400 to 599.
    pub const fn insert(&mut self, status: u16) -> bool {
        if status < 400 || status > 599 {
            return false;
        }
        let bit = (status - 400) as usize;
        self.0[bit / 64] |= 1 << (bit % 64);
        true
    }

    /// Is there none?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        matches!(self.0, [0, 0, 0, 0])
    }

    /// Is it one of them?
    #[must_use]
    pub const fn contains(&self, status: u16) -> bool {
        if status < 400 || status > 599 {
            return false;
        }
        let bit = (status - 400) as usize;
        self.0[bit / 64] & (1 << (bit % 64)) != 0
    }
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

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            resolve: Duration::from_secs(2),
            connect: Duration::from_secs(3),
            tls: Duration::from_secs(5),
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
        Self {
            attempts: None,
            resend: None,
            idempotency_key: false,
            deadline: Some(Duration::from_secs(30)),
            on_status: Statuses::default(),
            budget: Some(20),
        }
    }
}

impl Default for Passive {
    fn default() -> Self {
        Self {
            connect_failures: NonZeroU32::new(3),
            gateway_failures: NonZeroU32::new(5),
            evict: Duration::from_secs(5),
            evict_max: Duration::from_secs(60),
            max_evicted: 50,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { in_flight: None, queue: 0, queue_timeout: Duration::from_secs(1) }
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

//! Addresses as people write them, and endpoints as sockets need them.
//!
//! [`Address`] is what the file says (`"app:3000"`); [`Endpoint`] is what can be dialled now. Names are turned into
//! endpoints by `pool::resolve`, never here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cause::Cause;

/// Where an upstream lives, as the config says it: `"app:3000"`, `"10.0.0.1:3000"`, `"[::1]:3000"`, `"3000"`,
/// `"http://app:3000"`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The part before the port.
    pub host: Host,
    /// 80 for `http://` without one.
    pub port: u16,
}

/// The host of an [`Address`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// `localhost`, or a bare port: one upstream, dialled on both families.
    Localhost,
    /// A literal address.
    Ip(IpAddr),
    /// A name for the resolver; each of its addresses is an upstream. Lower case.
    Name(Arc<str>),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Localhost => f.write_str("localhost"),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Address {
    /// `host:port`, the form that ids, logs and the Host field use.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// One thing that can be dialled. Made once for each upstream and shared; connections are kept by [`Endpoint::key`].
#[derive(Debug)]
pub struct Endpoint {
    /// Unique in this process: what kept connections are filed under.
    pub key: u64,
    /// `host:port` as the config says it, for texts, and for Host when `host_header = "upstream"`.
    pub authority: Arc<str>,
    /// Where to dial: one address, or both families of `localhost`; or why there is none yet.
    pub dial: Dial,
}

/// Where to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dial {
    /// These addresses, in order of preference; never empty.
    Addresses(Vec<SocketAddr>),
    /// The name has no address (a `dns_*` cause); what the resolver said. `None`: not asked yet.
    Unresolved(Option<(Cause, String)>),
}

impl Endpoint {
    /// A new endpoint with a key of its own.
    #[must_use]
    pub fn new(authority: Arc<str>, dial: Dial) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self { key: NEXT.fetch_add(1, Ordering::Relaxed), authority, dial }
    }

    /// The endpoint of an address that needs no resolver; `None` for names.
    #[must_use]
    pub fn literal(address: &Address) -> Option<Self> {
        let addresses = match &address.host {
            Host::Ip(ip) => vec![SocketAddr::new(*ip, address.port)],
            Host::Localhost => vec![
                SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port),
                SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), address.port),
            ],
            Host::Name(_) => return None,
        };
        Some(Self::new(address.to_string().into(), Dial::Addresses(addresses)))
    }
}

/// Where a listener binds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// `":8080"`: both families (`[::]` with `IPV6_V6ONLY` off, or `0.0.0.0` where the kernel has no IPv6).
    Any(u16),
    /// These addresses, e.g. `"127.0.0.1:8080"`; `"localhost:8080"` is both loopbacks; never empty.
    Exact(Vec<SocketAddr>),
}

impl ListenAddress {
    /// The port that was asked for; 0 lets the kernel choose.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Self::Any(port) => *port,
            Self::Exact(addresses) => addresses[0].port(),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any(port) => write!(f, ":{port}"),
            Self::Exact(addresses) => write!(f, "{}", addresses[0]),
        }
    }
}

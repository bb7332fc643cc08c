//! What can be dialled now, and how it is spoken to. It dials nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::model::PoolTls;
use super::{Address, HTTPS, Host, Scheme};
use crate::cause::{Cause, bare};

/// One thing that can be dialled. Made once for each upstream and shared; connections are kept by [`Endpoint::key`].
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Unique in this process: what kept connections are filed under.
    pub key: u64,
    /// As the config says it, for texts and commands: `host:port`, `https://host:port`, `unix:/path`.
    pub authority: Arc<str>,
    /// How to speak to it.
    pub scheme: Scheme,
    /// Where to dial: one address, or both families of `localhost`, or a socket; or why there is none yet.
    pub dial: Dial,
    /// Whom to believe, where it speaks TLS.
    pub tls: Option<Arc<PoolTls>>,
    /// A connection begins with a PROXY header (`proxy_protocol = true`).
    pub proxy_protocol: bool,
}

/// Where to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dial {
    /// These addresses, in order of preference; never empty.
    Addresses(Vec<SocketAddr>),
    /// A socket of this machine: a path, or `@name` in the abstract namespace.
    Socket(Arc<str>),
    /// The name has no address (a `dns_*` cause); what the resolver said. `None`: not asked yet.
    Unresolved(Option<(Cause, String)>),
}

impl Dial {
    /// Whether this is one of the addresses.
    #[must_use]
    pub fn has(&self, address: SocketAddr) -> bool {
        self.addresses().contains(&address)
    }

    /// The addresses; none of a socket, or of a name that has none.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        match self {
            Self::Addresses(addresses) => addresses,
            Self::Socket(_) | Self::Unresolved(_) => &[],
        }
    }
}

impl Endpoint {
    /// A new endpoint with a key of its own, spoken to in plain HTTP/1.1.
    #[must_use]
    pub fn new(authority: Arc<str>, dial: Dial) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let key = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { key, authority, scheme: Scheme::Http, dial, tls: None, proxy_protocol: false }
    }

    /// The same, spoken to in this way.
    #[must_use]
    pub fn speaking(mut self, scheme: Scheme) -> Self {
        self.scheme = scheme;
        self
    }

    /// The same, with these settings of TLS; they matter only for `https://`.
    #[must_use]
    pub fn with_tls(mut self, tls: Option<Arc<PoolTls>>) -> Self {
        self.tls = tls;
        self
    }

    /// Another place, with a key of its own, spoken to as this one is.
    #[must_use]
    pub fn like(&self, authority: Arc<str>, dial: Dial) -> Self {
        Self {
            scheme: self.scheme,
            tls: self.tls.clone(),
            proxy_protocol: self.proxy_protocol,
            ..Self::new(authority, dial)
        }
    }

    /// The endpoint of an address that needs no resolver; `None` for names.
    #[must_use]
    pub fn literal(address: &Address) -> Option<Self> {
        let dial = match &address.host {
            Host::Ip(ip) => Dial::Addresses(vec![SocketAddr::new(*ip, address.port)]),
            Host::Localhost => Dial::Addresses(vec![
                SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port),
                SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), address.port),
            ]),
            Host::Unix(path) => Dial::Socket(Arc::clone(path)),
            Host::Name(_) | Host::Service(_) | Host::Listed(_) => return None,
        };
        Some(Self::new(address.to_string().into(), dial).speaking(address.scheme))
    }

    /// What it is called in a Host field: `host:port`, without the port of `https://` itself; a socket is `localhost`.
    #[must_use]
    pub fn host(&self) -> &str {
        match (&self.dial, self.authority.strip_prefix(HTTPS)) {
            (Dial::Socket(_), _) => "localhost",
            (_, Some(https)) => https.strip_suffix(":443").unwrap_or(https),
            (_, None) => bare(&self.authority),
        }
    }

    /// Its host without scheme, port and brackets: the name that its certificate must have, unless `tls.server_name`
    /// says another.
    #[must_use]
    pub fn name(&self) -> &str {
        let bare = bare(&self.authority);
        bare.rsplit_once(':').map_or(bare, |(host, _)| host).trim_matches(['[', ']'])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_field_and_a_certificate_have_the_bare_name() {
        for (text, host, name) in [
            ("https://app", "app", "app"),
            ("https://app:8443", "app:8443", "app"),
            ("https://[::1]:8443", "[::1]:8443", "::1"),
            ("app:3000", "app:3000", "app"),
            ("http://app:443", "app:443", "app"),
        ] {
            let address = Address::parse(text).unwrap();
            let dial = Dial::Unresolved(None);
            let endpoint = Endpoint::new(address.to_string().into(), dial).speaking(address.scheme);
            assert_eq!((endpoint.host(), endpoint.name()), (host, name), "{text}");
        }
    }
}

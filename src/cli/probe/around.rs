//! What the config says of the addresses around an upstream: where causeway itself listens, and who has an address
//! already. So a look here suggests what the running proxy would suggest. It opens nothing.

use std::net::SocketAddr;

use crate::cause::{Cause, Finding};
use crate::config::address::Dial;
use crate::config::{Address, Config, Endpoint, Host, here};
use crate::pool::insight::Asker;
use crate::probe::diagnose;

/// A failure that was met.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) cause: Cause,
    /// The upstream is one of the config; else somebody may well want to ask a listener.
    pub(super) configured: bool,
    pub(super) asker: Asker,
    /// At the port of the checks: another one would not be the upstream's.
    pub(super) elsewhere: bool,
}

/// See the module. Without a config there is nothing around.
#[derive(Clone, Debug, Default)]
pub(super) struct Around {
    own: Vec<SocketAddr>,
    upstreams: Vec<Address>,
    name_servers: Vec<SocketAddr>,
}

impl Around {
    pub(super) fn of(config: &Config) -> Self {
        let listeners = config.listeners.iter().map(|listener| &listener.address).chain(&config.admin);
        let entries = config.pools.iter().flat_map(|pool| {
            let checks = pool.health.as_ref().and_then(|health| health.port);
            let ports = move |address: Address| {
                checks.map(|port| Address { port, ..address.clone() }).into_iter().chain([address])
            };
            pool.upstreams.iter().flat_map(move |entry| ports(entry.address.clone()))
        });
        Self {
            own: listeners
                .flat_map(|address| here::sockets(address, address.port()))
                .filter(|address| address.port() != 0)
                .collect(),
            upstreams: entries.collect(),
            name_servers: config.pools.first().map(|pool| pool.name_servers.to_vec()).unwrap_or_default(),
        }
    }

    /// Whether a connection to it comes back to causeway, if that runs here.
    pub(super) fn is_own(&self, endpoint: &Endpoint) -> bool {
        addresses(endpoint).iter().any(|address| diagnose::is_own(*address, &self.own))
    }

    /// What explains this failure.
    pub(super) async fn explains(&self, endpoint: &Endpoint, seen: Seen) -> Option<Finding> {
        let asked_for = !seen.configured && self.is_own(endpoint);
        let around = diagnose::Around {
            own: if asked_for { &[] } else { &self.own },
            named: &self.named(endpoint),
            proven: seen.elsewhere,
            asker: seen.asker,
            host: None,
            name_servers: &self.name_servers,
        };
        diagnose::look_around(endpoint, seen.cause, around).await.map(|found| found.finding)
    }

    /// The addresses that upstreams of the config have, as far as they can be told without a name server: those with
    /// the name of this one have its addresses.
    fn named(&self, endpoint: &Endpoint) -> Vec<SocketAddr> {
        let own_name = endpoint.name();
        let of = |address: &Address| match (&address.host, Endpoint::literal(address)) {
            (_, Some(literal)) => addresses(&literal).to_vec(),
            (Host::Name(name), None) if **name == *own_name => {
                addresses(endpoint).iter().map(|at| SocketAddr::new(at.ip(), address.port)).collect()
            }
            (_, None) => Vec::new(),
        };
        self.upstreams.iter().flat_map(of).collect()
    }
}

fn addresses(endpoint: &Endpoint) -> &[SocketAddr] {
    match &endpoint.dial {
        Dial::Addresses(addresses) => addresses,
        Dial::Socket(_) | Dial::Unresolved(_) => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around() -> Around {
        let text = "[listener.main]\naddress = \":8080\"\n[pool.app]\nupstreams = [\"3000\", \"127.0.0.1:3001\", \"app:3000\", \"app:3001\", \"db:1\"]\n";
        Around::of(&Config::from_toml(text).unwrap())
    }

    fn at(authority: &str, addresses: &[&str]) -> Endpoint {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Endpoint::new(authority.into(), Dial::Addresses(addresses))
    }

    #[test]
    fn upstreams_with_one_name_have_its_addresses() {
        let named = around().named(&at("app:3002", &["10.0.0.5:3002"]));
        let said: Vec<_> = named.iter().map(ToString::to_string).collect();
        assert_eq!(said, ["127.0.0.1:3000", "[::1]:3000", "127.0.0.1:3001", "10.0.0.5:3000", "10.0.0.5:3001"]);
    }

    #[test]
    fn listeners_and_the_admin_address_are_causeways_own() {
        let around = around();
        for (address, own) in
            [("127.0.0.1:8080", true), ("[::1]:8080", true), ("127.0.0.1:9901", true), ("127.0.0.1:3000", false)]
        {
            assert_eq!(around.is_own(&at(address, &[address])), own, "{address}");
        }
    }
}

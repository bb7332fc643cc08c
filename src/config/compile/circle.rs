//! Addresses that lead back to causeway itself: an upstream that is one of its own listeners, or two sockets of its own
//! that cannot stand beside one another.
//! Sends nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::super::address::{Address, Host, ListenAddress};
use super::super::context::Context;
use super::super::here;
use super::super::model::Listener;
use super::super::problem::Place;

/// Where causeway itself listens.
pub(super) struct Own<'a> {
    pub listeners: &'a [(Listener, Place)],
    pub admin: Option<&'a ListenAddress>,
}

/// A word about an upstream that is causeway itself.
pub(super) fn upstream(cx: &Context, address: &Address, place: &Place, own: &Own<'_>) {
    if let Some((listener, _)) = own.listeners.iter().find(|(listener, _)| reaches(address, &listener.address)) {
        let message = format!("{address} is causeway's own listener `{}`", listener.name);
        let hint = "requests would come back in a circle (loop_detected); write the app's address, or listen elsewhere";
        cx.warn(place, message, hint);
    } else if own.admin.is_some_and(|admin| reaches(address, admin)) {
        let message = format!("{address} is causeway's own admin address");
        cx.warn(place, message, "it answers no request of a client; write the app's address");
    }
}

/// Would a connection to this address, made on this machine, end at that listener?
fn reaches(upstream: &Address, listener: &ListenAddress) -> bool {
    let ways: Vec<IpAddr> = match &upstream.host {
        Host::Localhost => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        Host::Ip(ip) => vec![*ip],
        Host::Unix(path) => return matches!(listener, ListenAddress::Unix(own) if own == path),
        Host::Name(_) | Host::Service(_) | Host::Listed(_) => return false,
    };
    let sockets = here::sockets(listener, listener.port());
    ways.iter().any(|way| sockets.iter().any(|bound| here::takes(*bound, SocketAddr::new(*way, upstream.port))))
}

/// Can two sockets of one process not listen on these two? They share a port, and an address of it.
pub(super) fn collide(a: &ListenAddress, b: &ListenAddress) -> bool {
    match (a, b) {
        (ListenAddress::Unix(_) | ListenAddress::Handed(_), _)
        | (_, ListenAddress::Unix(_) | ListenAddress::Handed(_)) => a == b,
        _ if a.port() != b.port() || a.port() == 0 => false,
        (ListenAddress::Any(_), _) | (_, ListenAddress::Any(_)) => true,
        (ListenAddress::Exact(a), ListenAddress::Exact(b)) => a.iter().any(|a| {
            b.iter().any(|b| {
                let either = a.ip().is_unspecified() || b.ip().is_unspecified();
                a == b || (a.is_ipv4() == b.is_ipv4() && either)
            })
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_seen_in_every_spelling() {
        for (upstream, listener, circle) in [
            ("8080", ":8080", true),
            ("http://localhost:8080", ":8080", true),
            ("127.0.0.1:8080", ":8080", true),
            ("127.0.0.7:8080", ":8080", true),
            ("[::1]:8080", ":8080", true),
            ("8080", "127.0.0.1:8080", true),
            ("127.0.0.1:8080", "8080", true),
            ("[::1]:8080", "localhost:8080", true),
            ("127.0.0.1:8080", "0.0.0.0:8080", true),
            ("192.0.2.1:8080", "192.0.2.1:8080", true),
            ("8081", ":8080", false),
            ("192.0.2.1:8080", ":8080", false),
            ("127.0.0.1:8080", "192.0.2.1:8080", false),
            ("127.0.0.1:8080", "[::1]:8080", false),
            ("[::1]:8080", "0.0.0.0:8080", false),
            ("127.0.0.1:8080", "[::]:8080", false),
            ("app:8080", ":8080", false),
            ("unix:/run/a.sock", "unix:/run/a.sock", true),
            ("unix:/run/a.sock", "unix:/run/b.sock", false),
            ("unix:/run/a.sock", ":8080", false),
            ("8080", "fd:http", false),
        ] {
            let (address, bound) = (Address::parse(upstream).unwrap(), ListenAddress::parse(listener).unwrap());
            assert_eq!(reaches(&address, &bound), circle, "{upstream} {listener}");
        }
    }

    #[test]
    fn two_that_share_a_port_collide_where_they_share_an_address() {
        for (a, b, taken) in [
            (":1", ":1", true),
            (":1", "127.0.0.1:1", true),
            ("0.0.0.0:1", ":1", true),
            ("0.0.0.0:1", "127.0.0.1:1", true),
            ("localhost:1", "[::1]:1", true),
            ("0.0.0.0:1", "[::1]:1", false),
            ("127.0.0.1:1", "[::1]:1", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            (":1", ":2", false),
            (":0", ":0", false),
            ("unix:/a", "unix:/a", true),
            ("unix:/a", "unix:/b", false),
            ("fd:a", "fd:a", true),
            ("fd:a", "unix:/a", false),
        ] {
            let (a, b) = (ListenAddress::parse(a).unwrap(), ListenAddress::parse(b).unwrap());
            assert_eq!((collide(&a, &b), collide(&b, &a)), (taken, taken), "{a} {b}");
        }
    }
}

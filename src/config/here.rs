//! Which addresses are this machine's, and which lead to a socket of causeway's own: the one answer that `check` and a
//! closer look at an upstream share. Asks the kernel which way a packet would go; sends none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::ListenAddress;

/// What a listener listens on, by socket family, with this port in place of 0: `":8080"` is `[::]` and `0.0.0.0`.
#[must_use]
pub fn sockets(listener: &ListenAddress, port: u16) -> Vec<SocketAddr> {
    let at = |ip: IpAddr| SocketAddr::new(ip, port);
    match listener {
        ListenAddress::Any(_) => vec![at(Ipv6Addr::UNSPECIFIED.into()), at(Ipv4Addr::UNSPECIFIED.into())],
        ListenAddress::Exact(addresses) => addresses.iter().map(|address| at(address.ip())).collect(),
        ListenAddress::Unix(_) | ListenAddress::Handed(_) => Vec::new(),
    }
}

/// Would a connection to this address, made on this machine, end at a socket that listens on `bound`? `0.0.0.0` takes
/// no IPv6, and `[::]` no IPv4: see [`sockets`].
#[must_use]
pub fn takes(bound: SocketAddr, address: SocketAddr) -> bool {
    takes_if(bound, address, is_here)
}

/// The same, told which addresses this machine has.
fn takes_if(bound: SocketAddr, address: SocketAddr, is_here: impl Fn(IpAddr) -> bool) -> bool {
    let (own, ip) = (bound.ip().to_canonical(), address.ip().to_canonical());
    let any = || own.is_unspecified() && own.is_ipv4() == ip.is_ipv4() && is_here(ip);
    bound.port() == address.port() && (own == ip || any())
}

/// Whether this machine has the address: to its own addresses it goes out from the very same one. Sends nothing. (To
/// bind a socket to it would be no proof where net.ipv4.ip_nonlocal_bind is set.)
#[must_use]
pub fn is_here(ip: IpAddr) -> bool {
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let from = || {
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect((ip, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    ip.is_loopback() || from() == Some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    #[test]
    fn a_wildcard_stands_for_every_address_of_its_family() {
        let here = |ip: IpAddr| ip == at("10.0.0.9:1").ip() || ip.is_loopback();
        for (address, own, wanted) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.2:80", "127.0.0.1:80", false),
            ("127.0.0.1:80", "0.0.0.0:80", true),
            ("10.0.0.9:80", "0.0.0.0:80", true),
            ("10.0.0.8:80", "0.0.0.0:80", false),
            ("[::1]:80", "0.0.0.0:80", false),
            ("[::1]:80", "[::]:80", true),
            ("127.0.0.1:80", "[::]:80", false),
            ("10.0.0.9:80", "[::]:80", false),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80", true),
        ] {
            assert_eq!(takes_if(at(own), at(address), here), wanted, "{address} {own}");
        }
        assert!(is_here(at("127.0.0.1:1").ip()) && !is_here(at("192.0.2.77:1").ip()));
    }

    #[test]
    fn a_port_alone_is_both_families() {
        let sockets = |text: &str| sockets(&ListenAddress::parse(text).unwrap(), 81);
        assert_eq!(sockets(":80"), [at("[::]:81"), at("0.0.0.0:81")]);
        assert_eq!((sockets("[::]:80"), sockets("10.0.0.9:80")), (vec![at("[::]:81")], vec![at("10.0.0.9:81")]));
    }
}

//! Where causeway stands: its own listeners, this machine, its network, a container. Reads what the system says; sends nothing.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;

/// Whether a connection to this address comes to one of causeway's own listeners.
pub(super) fn is_own(address: SocketAddr, own: &[SocketAddr]) -> bool {
    is_one_of(address, own, is_here)
}

/// The same, told which addresses this machine has.
fn is_one_of(address: SocketAddr, own: &[SocketAddr], is_here: impl Fn(IpAddr) -> bool) -> bool {
    let ip = address.ip().to_canonical();
    own.iter().filter(|own| own.port() == address.port()).any(|own| match own.ip().to_canonical() {
        IpAddr::V4(any) if any.is_unspecified() => ip.is_ipv4() && is_here(ip),
        IpAddr::V6(any) if any.is_unspecified() => is_here(ip),
        own => own == ip,
    })
}

/// Whether this machine has the address: to its own addresses it goes out from the very same one. Sends nothing. (To bind a socket
/// to it would be no proof where net.ipv4.ip_nonlocal_bind is set.)
pub(super) fn is_here(ip: IpAddr) -> bool {
    let any: IpAddr = if ip.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let from = || {
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect((ip, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    ip.is_loopback() || from() == Some(ip)
}

/// This machine, or a private network (RFC 1918, RFC 6598, RFC 4193): where a guess at another port bothers no stranger.
pub(super) fn is_near(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_loopback() || ip.is_private() || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(ip) => ip == Ipv6Addr::LOCALHOST || ip.is_unique_local(),
    }
}

/// Whether causeway runs in a container that has a network of its own, as far as can be told. A pod shares its network among
/// its containers: there, `localhost` may well be the app.
pub(super) fn is_contained() -> bool {
    let pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let marked = ["/.dockerenv", "/run/.containerenv"].iter().any(|file| Path::new(file).exists());
    let group = std::fs::read_to_string("/proc/1/cgroup").unwrap_or_default();
    is_one(pod, marked, &group)
}

fn is_one(pod: bool, marked: bool, group: &str) -> bool {
    let named = ["docker", "containerd", "libpod", "/lxc/"].iter().any(|name| group.contains(name));
    !pod && !group.contains("kubepods") && (marked || named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    #[test]
    fn a_wildcard_stands_for_every_address_of_this_machine() {
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
            ("10.0.0.9:80", "[::]:80", true),
            ("10.0.0.8:80", "[::]:80", false),
        ] {
            assert_eq!(is_one_of(at(address), &[at(own)], here), wanted, "{address} {own}");
        }
        assert!(is_here(at("127.0.0.1:1").ip()) && !is_here(at("192.0.2.77:1").ip()));
    }

    #[test]
    fn near_is_where_no_stranger_is() {
        for (ip, near) in [
            ("127.0.0.1:1", true),
            ("10.1.2.3:1", true),
            ("172.31.0.1:1", true),
            ("172.32.0.1:1", false),
            ("100.64.0.1:1", true),
            ("169.254.169.254:1", false),
            ("8.8.8.8:1", false),
            ("[::1]:1", true),
            ("[fd00::1]:1", true),
            ("[fe80::1]:1", false),
            ("[2001:db8::1]:1", false),
        ] {
            assert_eq!(is_near(at(ip).ip()), near, "{ip}");
        }
    }

    #[test]
    fn a_pod_is_no_container_of_its_own() {
        assert!(is_one(false, true, "0::/\n") && is_one(false, false, "1:cpu:/docker/4f6c\n"));
        assert!(!is_one(false, false, "0::/init.scope\n"));
        assert!(!is_one(true, true, "0::/\n") && !is_one(false, true, "1:cpu:/kubepods/besteffort\n"));
    }
}

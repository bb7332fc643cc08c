//! Where causeway stands: its own listeners, this machine, its network, a container. Reads what the system says; sends
//! nothing.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::config::here;

/// Whether a connection to this address comes to one of causeway's own listeners.
#[must_use]
pub fn is_own(address: SocketAddr, own: &[SocketAddr]) -> bool {
    own.iter().any(|bound| here::takes(*bound, address))
}

/// This machine, or a private network (RFC 1918, RFC 6598, RFC 4193): where a guess at another port bothers no
/// stranger.
pub(super) fn is_near(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_loopback() || ip.is_private() || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(ip) => ip == Ipv6Addr::LOCALHOST || ip.is_unique_local(),
    }
}

/// Whether causeway runs in a container that has a network of its own, as far as can be told. A pod shares its network
/// among its containers: there, `localhost` may well be the app. Reads files, in a thread for that.
pub(super) async fn is_contained() -> bool {
    tokio::task::spawn_blocking(reads_contained).await.unwrap_or(false)
}

fn reads_contained() -> bool {
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

//! The header of the PROXY protocol, version 2, that stands in front of everything on a connection: who the client is.
//! Pure.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Both ends of the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The client, as causeway knows it (through `trusted_proxies`).
    pub from: SocketAddr,
    /// Where it connected to causeway.
    pub to: SocketAddr,
}

/// What every header begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2; the connection is causeway's own, a check for example.
const LOCAL: u8 = 0x20;
/// Version 2; the connection is for this client.
const PROXY: u8 = 0x21;

/// The header; without a client, one that says so (LOCAL).
#[must_use]
pub fn header(client: Option<&Client>) -> Vec<u8> {
    let mut out = SIGNATURE.to_vec();
    let Some(Client { from, to }) = client else {
        out.extend_from_slice(&[LOCAL, 0, 0, 0]);
        return out;
    };
    out.push(PROXY);
    match (from.ip(), to.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            out.extend_from_slice(&[0x11, 0, 12]); // TCP over IPv4, 12 bytes
            out.extend_from_slice(&source.octets());
            out.extend_from_slice(&destination.octets());
        }
        (source, destination) => {
            out.extend_from_slice(&[0x21, 0, 36]); // TCP over IPv6, 36 bytes
            out.extend_from_slice(&six(source).octets());
            out.extend_from_slice(&six(destination).octets());
        }
    }
    out.extend_from_slice(&from.port().to_be_bytes());
    out.extend_from_slice(&to.port().to_be_bytes());
    out
}

fn six(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_the_one_of_the_specification() {
        let of = |from: &str, to: &str| header(Some(&Client { from: from.parse().unwrap(), to: to.parse().unwrap() }));
        let four = of("192.0.2.7:50000", "10.0.0.1:443");
        assert_eq!(four, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\xc3\x50\x01\xbb");
        let six = of("[2001:db8::7]:1", "[::1]:2");
        assert_eq!((six.len(), &six[12..18]), (52, &b"\x21\x21\0\x24\x20\x01"[..]));
        assert_eq!(of("[2001:db8::7]:1", "10.0.0.1:2").len(), 52);
        assert_eq!(header(None), b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    }
}

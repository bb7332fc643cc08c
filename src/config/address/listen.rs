//! Where a listener binds, as people write it. It binds nothing.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::super::problem::Wrong;
use super::{Host, host_and_port, socket};

/// Where a listener binds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// `":8080"`: both families (`[::]` with `IPV6_V6ONLY` off, or `0.0.0.0` where the kernel has no IPv6).
    Any(u16),
    /// These addresses, e.g. `"127.0.0.1:8080"`; `"localhost:8080"` is both loopbacks; never empty.
    Exact(Vec<SocketAddr>),
    /// A socket of this machine: its absolute path, or `@name` in the abstract namespace of Linux.
    Unix(Arc<str>),
    /// The sockets of this name that whoever started causeway handed over (`LISTEN_FDNAMES`).
    Handed(Arc<str>),
}

impl ListenAddress {
    /// The port that was asked for; 0 lets the kernel choose, or there is none.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Self::Any(port) => *port,
            Self::Exact(addresses) => addresses[0].port(),
            Self::Unix(_) | Self::Handed(_) => 0,
        }
    }

    /// Where it is reached from this machine: a wildcard at its own family's loopback. Without an address of its own:
    /// port 0.
    #[must_use]
    pub fn reached_at(&self) -> SocketAddr {
        let at = match self {
            Self::Exact(addresses) => addresses[0],
            Self::Any(_) | Self::Unix(_) | Self::Handed(_) => {
                SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), self.port())
            }
        };
        match at.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), at.port()),
            IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), at.port()),
            IpAddr::V4(_) | IpAddr::V6(_) => at,
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any(port) => write!(f, ":{port}"),
            Self::Exact(addresses) => write!(f, "{}", addresses[0]),
            Self::Unix(path) => write!(f, "unix:{path}"),
            Self::Handed(name) => write!(f, "fd:{name}"),
        }
    }
}

impl ListenAddress {
    /// Where to listen: `":8080"`, `"127.0.0.1:8080"`, `"[::1]:8080"`, `"localhost:8080"`, `"8080"` (localhost),
    /// `"unix:/run/causeway.sock"`, `"fd:NAME"`.
    ///
    /// # Errors
    /// What is wrong with it, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, Wrong> {
        let sample = "write \":8080\" (any address) or \"127.0.0.1:8080\"";
        if let Some(path) = socket::said(text) {
            return socket::path(text, path).map(Self::Unix);
        }
        if let Some(name) = text.strip_prefix("fd:") {
            return handed(text, name).map(Self::Handed);
        }
        if let Some((_, rest)) = text.split_once("://") {
            let hint = format!("write \"{}\"", rest.split('/').next().unwrap_or(rest));
            return Err(Wrong::new(format!("\"{text}\": a listener's address has no scheme"), hint));
        }
        let (host, port) = host_and_port(text, text, None, 8080)?;
        match host {
            "" => Ok(Self::Any(port)),
            "*" => Err(Wrong::new(format!("\"{text}\" is not an address"), format!("write \":{port}\""))),
            host => match super::host(text, host)? {
                Host::Ip(ip) => Ok(Self::Exact(vec![SocketAddr::new(ip, port)])),
                Host::Localhost => Ok(Self::Exact(vec![
                    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port),
                    SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port),
                ])),
                Host::Unix(_) | Host::Service(_) | Host::Listed(_) => {
                    Err(Wrong::new(format!("\"{text}\" is not an address"), sample))
                }
                Host::Name(name) => {
                    Err(Wrong::new(format!("\"{text}\": to listen takes an IP address, and {name} is a name"), sample))
                }
            },
        }
    }

    /// Is it reachable from this machine alone?
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Any(_) => false,
            Self::Exact(addresses) => addresses.iter().all(|a| a.ip().is_loopback()),
            Self::Unix(_) => true,
            // Nobody knows before the start.
            Self::Handed(_) => false,
        }
    }
}

/// The name of sockets that are handed over, as systemd takes it (FileDescriptorName=): printable, without a colon.
fn handed(text: &str, name: &str) -> Result<Arc<str>, Wrong> {
    let fits = |c: char| c.is_ascii_graphic() && !":\"'\\`".contains(c);
    if name.is_empty() || name.len() > 255 || !name.chars().all(fits) {
        let what = format!("\"{text}\" names no socket that could be handed over");
        return Err(Wrong::new(what, "write \"fd:NAME\", with the FileDescriptorName= of the .socket unit"));
    }
    Ok(name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_addresses() {
        assert_eq!(ListenAddress::parse(":8080"), Ok(ListenAddress::Any(8080)));
        assert_eq!(ListenAddress::parse("127.0.0.1:0").unwrap().port(), 0);
        assert_eq!(ListenAddress::parse("8080"), ListenAddress::parse("localhost:8080"));
        assert!(ListenAddress::parse("localhost:1").unwrap().is_loopback());
        assert!(!ListenAddress::parse("0.0.0.0:1").unwrap().is_loopback());
        for text in ["unix:/run/a.sock", "unix:@a", "fd:web", "fd:causeway.socket"] {
            assert_eq!(ListenAddress::parse(text).unwrap().to_string(), text);
        }
        for (text, wanted) in [
            ("*:80", "write \":80\""),
            ("http://[::]:80/", "write \"[::]:80\""),
            ("app:80", "app is a name"),
            ("fd:", "FileDescriptorName="),
            ("fd:a:b", "FileDescriptorName="),
            ("unix:run/a.sock", "begins with /"),
            ("0.0.0.0", "has no port"),
        ] {
            let wrong = ListenAddress::parse(text).unwrap_err().to_string();
            assert!(wrong.contains(wanted), "{text}: {wrong}");
        }
    }
}

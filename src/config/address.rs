//! Addresses as people write them, and endpoints as sockets need them.
//!
//! [`Address`] is what the file says (`"app:3000"`); [`Endpoint`] is what can be dialled now. Names are turned into
//! endpoints by `pool::resolve`, never here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::problem::Wrong;

mod authority;
mod endpoint;
mod socket;

pub use authority::{host_and_digits, without_port};
pub use endpoint::{Dial, Endpoint};

/// Where an upstream lives, as the config says it: `"app:3000"`, `"10.0.0.1:3000"`, `"[::1]:3000"`, `"3000"`,
/// `"http://app:3000"`, `"https://app"`, `"unix:/run/app.sock"`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// How to speak to it.
    pub scheme: Scheme,
    /// The part before the port.
    pub host: Host,
    /// 80 for `http://` without one, 443 for `https://`; 0 for a socket, which has none.
    pub port: u16,
}

/// How an upstream is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// HTTP/1.1: `http://`, and whatever says nothing.
    #[default]
    Http,
    /// TLS, and in it what ALPN agrees on: `https://`.
    Https,
    /// HTTP/2 without TLS, by prior knowledge (RFC 9113 §3.3): `h2c://`.
    H2c,
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
    /// A socket of this machine: its absolute path, or `@name` in the abstract namespace of Linux.
    Unix(Arc<str>),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Localhost => f.write_str("localhost"),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Self::Name(name) => f.write_str(name),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

impl fmt::Display for Address {
    /// `host:port`, `https://host:port`, `h2c://host:port` or `unix:/path`: the form that ids, logs and commands use.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.scheme) {
            (Host::Unix(_), _) => write!(f, "{}", self.host),
            (host, Scheme::Https) => write!(f, "{HTTPS}{host}:{}", self.port),
            (host, Scheme::H2c) => write!(f, "h2c://{host}:{}", self.port),
            (host, Scheme::Http) => write!(f, "{host}:{}", self.port),
        }
    }
}

/// What stands before the addresses that are spoken to in TLS.
const HTTPS: &str = "https://";

/// Where the admin listens, and is asked, unless somebody says otherwise.
pub const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9901);

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

    /// Where it is reached from this machine: a wildcard at its own family's loopback. Without an address of its own: port 0.
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

impl Address {
    /// Plain HTTP/1.1 there.
    #[must_use]
    pub const fn plain(host: Host, port: u16) -> Self {
        Self { scheme: Scheme::Http, host, port }
    }

    /// Where an upstream lives: `"app:3000"`, `"10.0.0.1:3000"`, `"[::1]:3000"`, `"3000"`, `"http://app"`, `"https://app"`,
    /// `"unix:/run/app.sock"`.
    ///
    /// # Errors
    /// What is wrong with it, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, Wrong> {
        if let Some(path) = socket::said(text) {
            return Ok(Self::plain(Host::Unix(socket::path(text, path)?), 0));
        }
        let (scheme, rest, default_port) = without_scheme(text)?;
        let not_here = |what, hint: String| Wrong::new(format!("\"{text}\": an address holds no {what}"), hint);
        if let Some(slash) = rest.find(['/', '?', '#']) {
            let hint = format!("write \"{}\"; to change the path, give a route replace_prefix", &rest[..slash]);
            return Err(not_here("path", hint));
        }
        if let Some(at) = rest.rfind('@') {
            return Err(not_here("user", format!("write \"{}\"", &rest[at + 1..])));
        }
        let (host, port) = host_and_port(text, rest, default_port, 3000)?;
        if port == 0 {
            return Err(Wrong::new(format!("\"{text}\": nothing can be reached at port 0"), "write the app's port"));
        }
        let host = match host {
            "" => {
                let hint = format!("write \"localhost:{port}\", or the app's address");
                return Err(Wrong::new(format!("\"{text}\" has no host"), hint));
            }
            host => self::host(text, host)?,
        };
        if let Host::Ip(ip) = host
            && ip.is_unspecified()
        {
            let hint = format!("write \"localhost:{port}\", or the app's address");
            return Err(Wrong::new(format!("\"{text}\": {ip} is where to listen, not where an app lives"), hint));
        }
        Ok(Self { scheme, host, port })
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
            host => match self::host(text, host)? {
                Host::Ip(ip) => Ok(Self::Exact(vec![SocketAddr::new(ip, port)])),
                Host::Localhost => Ok(Self::Exact(vec![
                    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port),
                    SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port),
                ])),
                Host::Unix(_) => Err(Wrong::new(format!("\"{text}\" is not an address"), sample)),
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

/// The scheme, the text behind it, and the port that stands for none; an error for what this version does not speak.
fn without_scheme(text: &str) -> Result<(Scheme, &str, Option<u16>), Wrong> {
    let later = |scheme: &str| {
        let hint = "this version takes \"host:port\", \"http://host\", \"https://host\" and \"unix:/path\"";
        Err(Wrong::new(format!("\"{text}\": this version does not speak {scheme} yet"), hint))
    };
    if let Some((scheme, rest)) = text.split_once("://") {
        return match scheme.to_ascii_lowercase().as_str() {
            "http" => Ok((Scheme::Http, rest, Some(80))),
            "https" => Ok((Scheme::Https, rest, Some(443))),
            "h2c" => Ok((Scheme::H2c, rest, Some(80))),
            other => {
                let ours = match other {
                    "h2" | "http2" | "grpc" => "h2c://",
                    "wss" | "grpcs" | "tls" | "ssl" => "https://",
                    _ => "",
                };
                let hint = format!("write \"{ours}{}\"", rest.split('/').next().unwrap_or(rest));
                Err(Wrong::new(format!("\"{text}\": there is no scheme {other}://"), hint))
            }
        };
    }
    // "http:3000" is a host of that name.
    for slip in ["http:/", "http//", "https:/", "https//"] {
        if let Some(rest) = text.strip_prefix(slip) {
            let hint = format!("write \"{}://{rest}\"", slip.trim_end_matches(['/', ':']));
            return Err(Wrong::new(format!("\"{text}\": a scheme ends with ://"), hint));
        }
    }
    match text.split(':').next() {
        Some("srv") => later("srv:"),
        Some("fd") => later("fd:"),
        _ => Ok((Scheme::Http, text, None)),
    }
}

/// Host (without brackets round IPv6, empty before a leading colon) and port. `3000` is `localhost:3000`.
/// `sample`: a port for the hints.
fn host_and_port<'a>(text: &str, rest: &'a str, default: Option<u16>, sample: u16) -> Result<(&'a str, u16), Wrong> {
    let is_digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if default.is_none() && is_digits(rest) {
        return Ok(("localhost", port(text, rest)?));
    }
    let bare_v6 = rest.parse::<Ipv6Addr>().is_ok();
    if bare_v6 {
        // `::1:3000` reads as an address; its last group was meant as a port where it can be one and the rest stays whole.
        let ported = rest
            .rsplit_once(':')
            .filter(|(ip, port)| port.len() > 3 && is_digits(port) && ip.parse::<Ipv6Addr>().is_ok());
        let meant = match ported {
            Some((ip, port)) => format!("write \"[{ip}]:{port}\""),
            None => format!("write \"[{rest}]:{}\"", default.unwrap_or(sample)),
        };
        return Err(Wrong::new(format!("\"{text}\" has no port"), meant));
    }
    let (host, after) = match rest.rfind(':') {
        Some(colon) if !rest[colon..].contains(']') => (&rest[..colon], Some(&rest[colon + 1..])),
        _ => (rest, None),
    };
    match (after, default) {
        (Some(digits), _) => Ok((host, port(text, digits)?)),
        (None, Some(port)) => Ok((host, port)),
        (None, None) if host.is_empty() => Err(Wrong::new("this address is empty", "write \"host:port\"")),
        (None, None) => {
            let plain = self::host(text, host).is_ok();
            let hint = if plain {
                format!("write \"{host}:{sample}\", with its port")
            } else {
                format!("write it like \"127.0.0.1:{sample}\"")
            };
            Err(Wrong::new(format!("\"{text}\" has no port"), hint))
        }
    }
}

fn port(text: &str, digits: &str) -> Result<u16, Wrong> {
    let valid = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    valid.then(|| digits.parse().ok()).flatten().ok_or_else(|| {
        let start = digits.bytes().take_while(u8::is_ascii_digit).count();
        let meant = match digits {
            "http" => Some("80"),
            "https" => Some("443"),
            more if start < more.len() && more[..start].parse::<u16>().is_ok() => Some(&more[..start]),
            _ => None,
        };
        let before = text.strip_suffix(digits).filter(|_| !digits.is_empty());
        let hint = match (before, meant) {
            (Some(before), Some(port)) => format!("write \"{}{port}\"", before.trim_start()),
            _ => "a port is a number from 1 to 65535".to_owned(),
        };
        Wrong::new(format!("\"{text}\": \"{digits}\" is not a port"), hint)
    })
}

/// An IP address (IPv4-mapped ones are IPv4), `localhost`, or a name in lower case.
fn host(text: &str, host: &str) -> Result<Host, Wrong> {
    if let Some(inside) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        return match inside.parse::<Ipv6Addr>() {
            Ok(ip) => Ok(Host::Ip(IpAddr::V6(ip).to_canonical())),
            Err(_) => Err(Wrong::new(
                format!("\"{text}\": [{inside}] is not an IPv6 address"),
                "write it like \"[::1]:3000\"",
            )),
        };
    }
    if let Ok(ip) = host.parse::<Ipv4Addr>() {
        return Ok(Host::Ip(IpAddr::V4(ip)));
    }
    if host.parse::<Ipv6Addr>().is_ok() {
        return Err(Wrong::new(
            format!("\"{text}\": an IPv6 address stands in brackets"),
            format!("write \"[{host}]:PORT\""),
        ));
    }
    let name = host.to_ascii_lowercase();
    if name == "localhost" || name == "localhost." {
        return Ok(Host::Localhost);
    }
    let labels = name.strip_suffix('.').unwrap_or(&name);
    let fine =
        |l: &str| (1..=63).contains(&l.len()) && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if labels.len() > 253 || !labels.split('.').all(fine) {
        let variable = host.trim_matches(['$', '{', '}', '%', '(', ')']);
        let word = !variable.is_empty() && variable.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let hint = match host {
            "*" => "write \"localhost\" in its place, or the app's address".into(),
            _ if host.trim() != host => "take the spaces out".into(),
            _ if word && host.starts_with(['$', '{', '%']) => format!("a variable is written ${{{variable}}}"),
            _ => "a name has letters, digits, \"-\", \"_\" and \".\"".to_owned(),
        };
        return Err(Wrong::new(format!("\"{text}\": \"{host}\" is not a name or an IP address"), hint));
    }
    if labels.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
        return Err(Wrong::new(
            format!("\"{text}\": \"{host}\" is not an IP address"),
            "write it like \"10.0.0.1:3000\"",
        ));
    }
    Ok(Host::Name(name.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn upstream_addresses() {
        for (text, wanted) in [
            ("3000", "localhost:3000"),
            ("localhost:3000", "localhost:3000"),
            ("App.Internal:80", "app.internal:80"),
            ("http://app", "app:80"),
            ("https://app", "https://app:443"),
            ("HTTPS://[::1]:8443", "https://[::1]:8443"),
            ("unix:/run/app.sock", "unix:/run/app.sock"),
            ("HTTP://10.0.0.1:81", "10.0.0.1:81"),
            ("h2c://app", "h2c://app:80"),
            ("H2C://[::1]:50051", "h2c://[::1]:50051"),
            ("[::1]:3000", "[::1]:3000"),
            ("[::ffff:10.0.0.1]:3000", "10.0.0.1:3000"),
            ("my_app-1:3000", "my_app-1:3000"),
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), wanted);
        }
        for (text, wanted) in [
            ("app", "has no port: write \"app:3000\""),
            ("http://app:3000/v1", "no path: write \"app:3000\"; to change the path, give a route replace_prefix"),
            ("http://app/", "replace_prefix"),
            ("h2c://app/x", "no path: write \"app\""),
            ("srv:_http._tcp.app", "does not speak srv: yet"),
            ("fd:3", "does not speak fd: yet"),
            ("ftp://app", "no scheme ftp://"),
            ("grpc://app:50051", "write \"h2c://app:50051\""),
            ("wss://app/chat", "write \"https://app\""),
            ("app:0", "port 0"),
            ("app:70000", "\"70000\" is not a port"),
            ("app:+80", "is not a port"),
            ("::1", "write \"[::1]:3000\""),
            ("::1:4000", "write \"[::1]:4000\""),
            ("::1:80:", "is not a port"),
            ("[::g]:80", "not an IPv6 address"),
            ("10.0.0.256:80", "not an IP address"),
            ("10.0.1:80", "not an IP address"),
            ("0.0.0.0:80", "where to listen"),
            (":3000", "has no host"),
            ("user@app:80", "holds no user: write \"app:80\""),
            ("a b:80", "not a name"),
            ("", "empty"),
        ] {
            let wrong = Address::parse(text).unwrap_err().to_string();
            assert!(wrong.contains(wanted), "{text}: {wrong}");
        }
    }

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

    proptest! {
        #[test]
        fn there_and_back(text in "\\PC{0,20}|(https?://)?([a-z.]{1,9}|[0-9]{1,3}(\\.[0-9]{1,3}){3}|\\[[0-9a-f:]{2,9}\\]):[0-9]{1,5}") {
            if let Ok(address) = Address::parse(&text) {
                prop_assert_eq!(Address::parse(&address.to_string()), Ok(address));
            }
            if let Ok(address) = ListenAddress::parse(&text) {
                prop_assert_eq!(ListenAddress::parse(&address.to_string()).map(|a| a.port()), Ok(address.port()));
            }
        }
    }
}

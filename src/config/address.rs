//! Addresses as people write them, and endpoints as sockets need them.
//!
//! [`Address`] is what the file says (`"app:3000"`); [`Endpoint`] is what can be dialled now. Names are turned into
//! endpoints by `pool::resolve`, never here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use super::problem::Wrong;

mod authority;
mod endpoint;
mod listen;
mod service;
mod socket;

pub use authority::{host_and_digits, without_port};
pub use endpoint::{Dial, Endpoint};
pub use listen::ListenAddress;

/// Where an upstream lives, as the config says it: `"app:3000"`, `"10.0.0.1:3000"`, `"[::1]:3000"`, `"3000"`,
/// `"http://app:3000"`, `"https://app"`, `"unix:/run/app.sock"`, `"srv:_http._tcp.app.internal"`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// How to speak to it.
    pub scheme: Scheme,
    /// The part before the port.
    pub host: Host,
    /// 80 for `http://` without one, 443 for `https://`; 0 for a socket, which has none, and for a service, whose
    /// records have it.
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
    /// A name for the resolver, too: its SRV records say where it runs, each place is an upstream. Lower case.
    Service(Arc<str>),
    /// What the file of `upstreams_file` lists; each target is an upstream, or several. The key makes it, no text does.
    Listed(Arc<Path>),
}

impl Host {
    /// Whether it may stand for several upstreams, others tomorrow than today.
    #[must_use]
    pub const fn may_be_several(&self) -> bool {
        matches!(self, Self::Name(_) | Self::Service(_) | Self::Listed(_))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Localhost => f.write_str("localhost"),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Self::Name(name) => f.write_str(name),
            Self::Unix(path) => write!(f, "unix:{path}"),
            Self::Service(name) => write!(f, "srv:{name}"),
            Self::Listed(_) => f.write_str(UPSTREAMS_FILE),
        }
    }
}

impl fmt::Display for Address {
    /// `host:port`, `https://host:port`, `h2c://host:port`, `unix:/path` or `srv:name`: the form that ids, logs and
    /// commands use.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.scheme) {
            (Host::Unix(_) | Host::Listed(_), _) => write!(f, "{}", self.host),
            (Host::Service(name), Scheme::Https) => write!(f, "srv:{HTTPS}{name}"),
            (Host::Service(name), Scheme::H2c) => write!(f, "srv:h2c://{name}"),
            // Its own label would say another.
            (Host::Service(name), Scheme::Http) if name.starts_with("_https.") || name.starts_with("_h2c.") => {
                write!(f, "srv:http://{name}")
            }
            (Host::Service(_), Scheme::Http) => write!(f, "{}", self.host),
            (host, Scheme::Https) => write!(f, "{HTTPS}{host}:{}", self.port),
            (host, Scheme::H2c) => write!(f, "h2c://{host}:{}", self.port),
            (host, Scheme::Http) => write!(f, "{host}:{}", self.port),
        }
    }
}

/// The key of a pool whose list something else keeps; what that list is called in ids and texts.
pub const UPSTREAMS_FILE: &str = "upstreams_file";

/// What stands before the addresses that are spoken to in TLS.
const HTTPS: &str = "https://";

/// Where the admin listens, and is asked, unless somebody says otherwise.
pub const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9901);

impl Address {
    /// Plain HTTP/1.1 there.
    #[must_use]
    pub const fn plain(host: Host, port: u16) -> Self {
        Self { scheme: Scheme::Http, host, port }
    }

    /// Where an upstream lives: `"app:3000"`, `"10.0.0.1:3000"`, `"[::1]:3000"`, `"3000"`, `"http://app"`,
    /// `"https://app"`, `"unix:/run/app.sock"`, `"srv:_http._tcp.app.internal"`.
    ///
    /// # Errors
    /// What is wrong with it, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, Wrong> {
        if let Some(path) = socket::said(text) {
            return Ok(Self::plain(Host::Unix(socket::path(text, path)?), 0));
        }
        if let Some(rest) = service::said(text) {
            return service::parse(text, rest);
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

/// The scheme, the text behind it, and the port that stands for none; an error for what this version does not speak.
fn without_scheme(text: &str) -> Result<(Scheme, &str, Option<u16>), Wrong> {
    let later = |scheme: &str| {
        let hint = "upstreams are \"host:port\", \"http://host\", \"https://host\", \"unix:/path\" and \"srv:name\"";
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
        // `::1:3000` reads as an address; its last group was meant as a port where it can be one and the rest stays
        // whole.
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

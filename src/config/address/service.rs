//! `srv:_http._tcp.app.internal`: a service whose records say where it runs (RFC 2782). It asks nobody.

use std::net::SocketAddr;

use super::super::problem::Wrong;
use super::{Address, Host, Scheme, host};

/// What stands behind `srv:`, if this is such an address.
pub(super) fn said(text: &str) -> Option<&str> {
    text.strip_prefix("srv:")
}

/// The name of a service, with how it is spoken to: `https://` or `h2c://` before it, else what its own label says
/// (`_https`, `_h2c`), else plain HTTP/1.1.
///
/// # Errors
/// What is wrong with it, and what to write instead.
pub(super) fn parse(text: &str, rest: &str) -> Result<Address, Wrong> {
    let wrong = |what: &str, hint: String| Err(Wrong::new(format!("\"{text}\": {what}"), hint));
    let (scheme, name) = match rest.split_once("://") {
        Some((scheme, name)) => match scheme.to_ascii_lowercase().as_str() {
            "http" => (Some(Scheme::Http), name),
            "https" => (Some(Scheme::Https), name),
            "h2c" => (Some(Scheme::H2c), name),
            _ => {
                let meant = name.split('/').next().unwrap_or_default();
                return wrong(
                    "behind srv: stands the name of a service",
                    format!("write \"srv:{meant}\", or \"srv:https://{meant}\""),
                );
            }
        },
        None => (None, rest),
    };
    if let Some(slash) = name.find(['/', '?', '#']) {
        let hint = format!("write \"srv:{}\"; to change the path, give a route replace_prefix", &name[..slash]);
        return wrong("an address holds no path", hint);
    }
    if let Some((name, _)) = name.rsplit_once(':') {
        return wrong("the port of a service is in its records", format!("write \"srv:{name}\""));
    }
    let Host::Name(name) = host(text, name)? else {
        let hint = "write it like \"srv:_http._tcp.app.internal\"".to_owned();
        return wrong("this is an address, and no name with SRV records", hint);
    };
    let scheme = scheme.unwrap_or_else(|| match name.split('.').next() {
        Some("_https") => Scheme::Https,
        Some("_h2c") => Scheme::H2c,
        _ => Scheme::Http,
    });
    Ok(Address { scheme, host: Host::Service(name), port: 0 })
}

impl Address {
    /// What one of its places is called in texts and, with `host_header = "upstream"`, in its Host: as the address
    /// itself; of a service, whose port is in its records, `NAME:PORT` with its own name. What the records point to is
    /// no word to trust: anybody who can change an answer could choose whose certificate is wanted.
    #[must_use]
    pub fn called_at(&self, at: Option<SocketAddr>) -> String {
        match (&self.host, at) {
            (Host::Service(_), Some(at)) => {
                let host = Host::Name(self.service_name().into());
                Self { scheme: self.scheme, host, port: at.port() }.to_string()
            }
            _ => self.to_string(),
        }
    }

    /// The name that a service has without the labels `_service._protocol`: what its certificate must have, and its
    /// Host. Of any other address: the host.
    #[must_use]
    pub fn service_name(&self) -> String {
        let Host::Service(name) = &self.host else { return self.host.to_string() };
        let bare = || name.strip_prefix('_')?.split_once("._")?.1.split_once('.').map(|(_, domain)| domain);
        bare().filter(|domain| !domain.is_empty()).unwrap_or(name).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_a_name_with_a_way_to_speak() {
        for (text, shown, scheme, name) in [
            ("srv:_http._tcp.App.Internal", "srv:_http._tcp.app.internal", Scheme::Http, "app.internal"),
            ("srv:web.service.consul", "srv:web.service.consul", Scheme::Http, "web.service.consul"),
            ("srv:_https._tcp.app", "srv:https://_https._tcp.app", Scheme::Https, "app"),
            ("srv:https://_web._tcp.app.", "srv:https://_web._tcp.app.", Scheme::Https, "app."),
            ("srv:h2c://_grpc._tcp.app", "srv:h2c://_grpc._tcp.app", Scheme::H2c, "app"),
            ("srv:http://_https._tcp.app", "srv:http://_https._tcp.app", Scheme::Http, "app"),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!((&*address.to_string(), address.scheme, &*address.service_name()), (shown, scheme, name));
            assert_eq!(Address::parse(shown), Ok(address));
        }
    }

    #[test]
    fn what_is_no_service_says_why() {
        for (text, wanted) in [
            ("srv:_http._tcp.app:80", "the port of a service is in its records: write \"srv:_http._tcp.app\""),
            ("srv:_http._tcp.app/x", "no path: write \"srv:_http._tcp.app\""),
            ("srv:10.0.0.1", "no name with SRV records"),
            ("srv:localhost", "no name with SRV records"),
            ("srv:ftp://app", "write \"srv:app\", or \"srv:https://app\""),
            ("srv:", "is not a name"),
            ("https://srv:_http._tcp.app", "is not a port"),
        ] {
            let wrong = Address::parse(text).unwrap_err().to_string();
            assert!(wrong.contains(wanted), "{text}: {wrong}");
        }
    }
}

//! Who is told addresses: `errors.detail` and `errors.full_for` (CONTRACT §2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, HeaderValue};

use crate::config::address::host_and_digits;
use crate::config::model::{Detail, Errors};

/// Does this client get full detail? `peer`: the other side of the socket; `client`: found through `trusted_proxies`;
/// `host`: the authority of an absolute target, else the Host field, with its port; `port`: the listener's own, and
/// `unsaid` the one that a host without a port means on this connection.
///
/// A head that could not be read must not come here with `Auto`: what it did not say proves nothing.
#[must_use]
pub fn detail_is_full(
    errors: &Errors,
    peer: IpAddr,
    client: IpAddr,
    headers: &HeaderMap,
    host: Option<&HeaderValue>,
    (port, unsaid): (u16, u16),
) -> bool {
    if errors.full_for.contains(client) {
        return true;
    }
    match errors.detail {
        Detail::Full => true,
        Detail::Public => false,
        Detail::Auto => {
            peer.to_canonical().is_loopback()
                && host.and_then(|host| host.to_str().ok()).is_some_and(|host| is_this_machine(host, port, unsaid))
                && !headers.keys().any(|name| tells_of_a_proxy(name.as_str()))
        }
    }
}

/// `localhost`, 127.0.0.0/8 or `[::1]`, with the listener's port.
fn is_this_machine(host: &str, port: u16, unsaid: u16) -> bool {
    let (name, said) = host_and_digits(host);
    let said = said.map_or(Some(unsaid), |digits| digits.parse().ok());
    let local = name.eq_ignore_ascii_case("localhost")
        || name.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
        || name
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .is_some_and(|ip| ip.parse() == Ok(Ipv6Addr::LOCALHOST));
    local && said == Some(port)
}

/// Field names are lower case in a `HeaderMap`.
fn tells_of_a_proxy(name: &str) -> bool {
    matches!(name, "forwarded" | "via" | "x-real-ip") || name.starts_with("x-forwarded-")
}

//! A host as clients ask for it, with a port or without: the one place that tells the two apart, so that who is let in,
//! who is sent where, and what is logged are of one mind. Pure.

/// The host, and the digits of its port if it names one (perhaps none: `shop.example:`). IPv6 keeps its brackets; what
/// stands behind a colon and is no number is a part of the host, and so is all of an IPv6 address that has no brackets.
#[must_use]
pub fn host_and_digits(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && is_one(host) => (host, Some(port)),
        _ => (authority, None),
    }
}

/// The host without its port.
#[must_use]
pub fn without_port(authority: &str) -> &str {
    host_and_digits(authority).0
}

/// May a port follow?
fn is_one(host: &str) -> bool {
    !host.contains(':') || host.ends_with(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_its_port() {
        for (authority, host, port) in [
            ("shop.example", "shop.example", None),
            ("shop.example:8443", "shop.example", Some("8443")),
            ("shop.example:", "shop.example", Some("")),
            ("shop.example:x", "shop.example:x", None),
            ("shop.example:80:81", "shop.example:80:81", None),
            ("127.0.0.1:1", "127.0.0.1", Some("1")),
            ("[::1]", "[::1]", None),
            ("[::1]:443", "[::1]", Some("443")),
            ("[::1", "[::1", None),
            ("::1", "::1", None),
            (":80", "", Some("80")),
            ("", "", None),
        ] {
            assert_eq!(host_and_digits(authority), (host, port), "{authority}");
            assert_eq!(without_port(authority), host);
        }
    }
}

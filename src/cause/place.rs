//! An upstream's address, as it stands in sentences and commands.

use std::net::IpAddr;

/// An upstream's address without the scheme by which it says how it is spoken to.
#[must_use]
pub fn bare(address: &str) -> &str {
    address.strip_prefix("https://").or_else(|| address.strip_prefix("h2c://")).unwrap_or(address)
}

/// This command, with the address in the place of `{address}`, and spoken to as its scheme says.
#[must_use]
pub fn command_at(command: &str, address: &str) -> String {
    addressed(command.to_owned(), address)
}

/// With the address in its place: `host:port`, one with a scheme, or `unix:/path`, which stand in URLs each in its own
/// way.
pub(super) fn addressed(text: String, address: &str) -> String {
    let bare = bare(address);
    let host = bare.rsplit_once(':').map_or(bare, |(host, _)| host).trim_matches(['[', ']']);
    let text = match (address.strip_prefix("unix:"), bare.len() < address.len()) {
        (Some(path), _) => {
            let socket = match path.strip_prefix('@') {
                Some(name) => format!("--abstract-unix-socket {name} http://localhost"),
                None => format!("--unix-socket {path} http://localhost"),
            };
            text.replace("probe http://{address}/", "probe {address}")
                .replace("http://{address}", &socket)
                .replace("Nothing listens on {address}", "Nobody listens on {address}")
                .replace(", and is the port right?", "? The file of a socket stays behind when its app ends.")
        }
        // What speaks TLS is asked as that.
        (None, true) if address.starts_with("h2c://") && text.contains("https://{address}") => {
            text.replace("https://{address}", "https://{authority}")
        }
        (None, true) if address.starts_with("h2c://") => text
            .replace("\"http://{address}\"", "\"http://{authority}\"")
            .replace("probe http://{address}", "probe {address}")
            .replace(" --http2-prior-knowledge", "")
            .replace("curl -i", "curl --http2-prior-knowledge -i")
            .replace("http://{address}", "http://{authority}"),
        (None, true) => text.replace("http://{address}", "{address}"),
        (None, false) => text,
    };
    text.replace("{address}", address).replace("{authority}", bare).replace("{host}", host)
}

/// Is that one of the addresses by which a machine calls itself?
pub(super) fn is_here(address: &str) -> bool {
    let bare = bare(address);
    let host = bare.rsplit_once(':').map_or(bare, |(host, _)| host).trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

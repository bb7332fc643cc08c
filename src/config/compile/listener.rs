//! `listen` and `[listener.NAME]`.

use std::net::Ipv4Addr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use super::super::address::ListenAddress;
use super::super::model::{Listener, ListenerTls, Protocols};
use super::super::problem::{Place, Wrong};
use super::super::read::Section;
use super::super::tree::{Node, Value};
use super::pool::count;
use super::unknown::line;
use super::{access, certificates, circle};

/// All listeners, and where their addresses stand. `listen` is short for the address of `[listener.main]`.
pub(super) fn listeners(root: &Section<'_>) -> Vec<(Listener, Place)> {
    let short = root.parse("listen", ":8080", ListenAddress::parse);
    let short_place = root.place_of("listen");
    let mut named = root.named("listener");
    if named.is_empty() || (short_place.is_some() && named.iter().all(|(name, _)| &**name != "main")) {
        named.insert(0, ("main".into(), root.absent("listener.NAME")));
    }
    let mut listeners: Vec<(Listener, Place)> = Vec::new();
    for (name, section) in named {
        let own = section.parse("address", ":8080", ListenAddress::parse);
        let own_place = section.value_place("address");
        let (said_here, valid) = (own_place.is_some(), own.is_some());
        let main = &*name == "main";
        let (short, short_place) = if main { (short.clone(), short_place) } else { (None, None) };
        if let (Some(said), Some(here)) = (short_place, own_place)
            && own.is_some()
            && short.is_some()
            && short != own
        {
            let message = format!("`listen`{} says another address for this listener", line(said));
            section.cx.error(here, message, "take one of them out");
        }
        if !main && !said_here && section.present() && !section.misspelt("address") {
            section.cx.error(
                &section.place,
                format!("listener `{name}` has no address"),
                "add address = \":8080\" to it",
            );
        }
        let address = own.or(short).unwrap_or(ListenAddress::Any(8080));
        let place = own_place.or(short_place).unwrap_or(&section.place).clone();
        let taken = listeners.iter().find(|(other, _)| circle::collide(&other.address, &address));
        if let Some((other, _)) = taken.filter(|_| valid) {
            let message = if other.address == address {
                format!("listener `{}` has this address already", other.name)
            } else {
                format!("{address} and {} (listener `{}`) cannot both be listened on", other.address, other.name)
            };
            section.cx.error(&place, message, "give it another port, or take it out");
        }
        if let Some(place) = access::everybody(&section, "proxy_protocol").filter(|_| !address.is_loopback()) {
            let message = "everybody may say who the client is: no address can be believed";
            section.cx.warn(place, message, "name the addresses of the proxies in front, or write \"private\"");
        }
        let tls = certificates::tls(&section);
        let secure = section.has("tls");
        if address.port() == 443 && !secure {
            let message = "browsers speak TLS to port 443, and causeway speaks plain HTTP there";
            section.cx.warn(
                &place,
                message,
                format!("write [listener.{name}.tls] with its certificates, or take port 80"),
            );
        }
        if let Some(useless) = section.value_place_in("timeouts", "tls").filter(|_| !secure) {
            let hint = format!("write [listener.{name}.tls] with its certificates, or take it out");
            section.cx.warn(useless, format!("`timeouts.tls` does nothing: listener `{name}` has no [tls]"), hint);
        }
        let listener = listener(name, address, tls, &section);
        if listener.redirect_https && secure {
            let at = section.value_place("redirect_https").unwrap_or(&section.place);
            let message = format!(
                "`redirect_https` does nothing: listener `{}` has [tls], and takes no plain HTTP",
                listener.name
            );
            let hint = "write it in one without [tls], like [listener.plain] with address = \":80\"";
            section.cx.warn(at, message, hint);
        }
        around_socket(&section, &listener, &place);
        listeners.push((listener, place));
    }
    listeners
}

/// What is foolish about a listener on a path.
fn around_socket(section: &Section<'_>, listener: &Listener, place: &Place) {
    let Listener { address: address @ ListenAddress::Unix(path), proxy_protocol: peers, .. } = listener else { return };
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    if !folder.is_empty() && !std::path::Path::new(folder).is_dir() {
        let hint = "make it before the start (in a systemd unit: RuntimeDirectory=), or write another path";
        section.cx.warn(place, format!("{address}: there is no folder {folder} on this machine"), hint);
    }
    if let Some(useless) = section.value_place("proxy_protocol")
        && !peers.0.is_empty()
        && !peers.contains(Ipv4Addr::LOCALHOST.into())
    {
        let message = "no header is read here: whoever comes by a socket of this machine counts as 127.0.0.1";
        section.cx.warn(useless, message, "write proxy_protocol = [\"loopback\"]");
    }
}

fn listener(name: Arc<str>, address: ListenAddress, tls: Option<Arc<ListenerTls>>, section: &Section<'_>) -> Listener {
    let timeouts = section.section("timeouts");
    let limits = section.section("limits");
    let connections = limits.number_or("connections", 1..=10_000_000, &[("auto", 0)], |n| n).unwrap_or(0);
    Listener {
        name,
        address,
        protocols: protocols(section),
        proxy_protocol: access::networks(section, "proxy_protocol"),
        head_timeout: timeouts.time("head", Duration::from_secs(10)),
        body_timeout: timeouts.time("body", Duration::from_secs(60)),
        keep_alive: timeouts.time("keep_alive", Duration::from_secs(75)),
        head_limit: limits.size("head", 32 << 10, 8 << 10..=1 << 20),
        fields_limit: limits.number("fields", 100, 1..=10_000) as usize,
        connections_limit: NonZeroUsize::new(connections as usize),
        in_flight_limit: limits.number_or("in_flight", 1..=10_000_000, &[("off", None)], count).flatten(),
        tls_timeout: timeouts.time("tls", Duration::from_secs(5)),
        tls,
        redirect_https: section.flag("redirect_https", false),
    }
}

/// Both, where nothing is said.
fn protocols(section: &Section<'_>) -> Protocols {
    let said = section.texts("protocols", "h1", protocol);
    if said.is_empty() {
        if let Some(Node { value: Value::Array(items), place, .. }) = section.node("protocols")
            && items.is_empty()
        {
            let hint = "write protocols = [\"h1\", \"h2\"], or leave it out";
            section.cx.error(place, "a listener without a protocol answers nobody", hint);
        }
        return Protocols::default();
    }
    said.iter()
        .fold(Protocols { h1: false, h2: false }, |all, one| Protocols { h1: all.h1 || one.h1, h2: all.h2 || one.h2 })
}

fn protocol(text: &str) -> Result<Protocols, Wrong> {
    let hint = match text.to_ascii_lowercase().as_str() {
        "h1" if text == "h1" => return Ok(Protocols { h1: true, h2: false }),
        "h2" if text == "h2" => return Ok(Protocols { h1: false, h2: true }),
        "h1" | "http" | "http1" | "http/1" | "http/1.1" => "write \"h1\"",
        "h2" | "http2" | "http/2" | "h2c" | "grpc" => "write \"h2\"",
        _ => "write \"h1\" or \"h2\"",
    };
    Err(Wrong::new(format!("\"{text}\" is not a word for `protocols`"), hint))
}

//! The entries of `upstreams`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::Arc;

use super::super::address::{Address, Host, ListenAddress};
use super::super::model::{Entry, Listener};
use super::super::problem::{Place, Wrong};
use super::super::read::Section;
use super::super::tree::{Node, Table, Value};
use super::elsewhere;
use super::pool::count;

/// All of them.
pub(super) fn upstreams(pool: &str, section: &Section<'_>, listeners: &[(Listener, Place)]) -> Vec<Entry> {
    if section.cx.learned.is_some() {
        table_entry(section, &Node { value: Value::Table(Table::default()), place: section.place.clone() });
    }
    let list = section.list("upstreams", "\"127.0.0.1:3000\"");
    let missing = match section.node("upstreams") {
        Some(node) => matches!(&node.value, Value::Array(items) if items.is_empty()),
        None => section.present() && !section.misspelt("upstreams"),
    };
    if missing {
        let place = section.place_of("upstreams").unwrap_or(&section.place);
        section.cx.error(place, format!("pool `{pool}` has no upstreams"), "write upstreams = [\"127.0.0.1:3000\"]");
    }
    let mut entries: Vec<(Entry, &Place)> = Vec::new();
    for node in list {
        let Some(entry) = entry(section, node) else { continue };
        let twin = entries.iter().find(|(other, _)| other.id() == entry.id());
        if twin.is_some() && entry.name.is_some() {
            let message = format!("two upstreams of pool `{pool}` are called `{}`", entry.id());
            section.cx.error(&node.place, message, "give one of them another name");
        } else if entries.iter().any(|(other, _)| other.address == entry.address) {
            let message = format!("{} stands twice in pool `{pool}`", entry.address);
            section.cx.warn(&node.place, message, "take one of them out");
            if twin.is_some() {
                continue;
            }
        }
        if let Some((listener, _)) = listeners.iter().find(|(l, _)| is_itself(&entry.address, &l.address)) {
            let message = format!("{} is causeway's own listener `{}`", entry.address, listener.name);
            section.cx.warn(&node.place, message, "requests would come back in a circle; write the app's address");
        }
        entries.push((entry, &node.place));
    }
    entries.into_iter().map(|(entry, _)| entry).collect()
}

/// With the pool's `in_flight` known: "off" says nothing where the pool has no limit.
pub(super) fn limited(mut entries: Vec<Entry>, in_flight: Option<NonZeroUsize>) -> Vec<Entry> {
    for entry in entries.iter_mut().filter(|entry| in_flight.is_none() && entry.in_flight == Some(NonZeroUsize::MAX)) {
        entry.in_flight = None;
    }
    entries
}

/// `"127.0.0.1:3000"`, or `{ address = "127.0.0.1:3000", name = "b", … }`.
fn entry(section: &Section<'_>, node: &Node) -> Option<Entry> {
    match &node.value {
        Value::Text(text) => {
            let parsed = Address::parse(text)
                .map_err(|wrong| elsewhere::entry(text, &node.place, &section.path).unwrap_or(wrong));
            Some(Entry::new(section.cx.take(&node.place, parsed)?))
        }
        Value::Integer(port) if node.place.origin.text.is_none() => {
            let address = section.cx.take(&node.place, Address::parse(&port.to_string()))?;
            Some(Entry::new(address))
        }
        Value::Table(_) => table_entry(section, node),
        other => {
            let hint = match other {
                Value::Integer(port) => format!("write \"{port}\""),
                _ => "write \"127.0.0.1:3000\" or { address = \"127.0.0.1:3000\", name = \"b\" }".into(),
            };
            section.cx.error(&node.place, format!("an upstream is text or a table, not {}", other.kind()), hint);
            None
        }
    }
}

fn table_entry(section: &Section<'_>, node: &Node) -> Option<Entry> {
    let item = section.item("upstreams", node);
    let address = item.parse("address", "127.0.0.1:3000", Address::parse);
    let name = item.parse("name", "b", upstream_name);
    let weight = item.number("weight", 1, 1..=100);
    let backup = item.flag("backup", false);
    let off = [("off", Some(NonZeroUsize::MAX))];
    let in_flight = item.number_or("in_flight", 1..=1_000_000, &off, count).flatten();
    if item.place_of("address").is_none() && !item.misspelt("address") {
        section.cx.error(&node.place, "this upstream has no address", "write { address = \"127.0.0.1:3000\" }");
    }
    Some(Entry { name, weight: u8::try_from(weight).unwrap_or(1), backup, in_flight, address: address? })
}

/// Would a connection to this address on this machine reach that listener?
fn is_itself(upstream: &Address, listener: &ListenAddress) -> bool {
    let local: Vec<IpAddr> = match &upstream.host {
        Host::Localhost => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        Host::Ip(ip) if ip.is_loopback() => vec![*ip],
        Host::Ip(_) | Host::Name(_) => return false,
    };
    upstream.port == listener.port()
        && match listener {
            ListenAddress::Any(_) => true,
            ListenAddress::Exact(bound) => bound.iter().any(|b| b.ip().is_unspecified() || local.contains(&b.ip())),
        }
}

/// Names of upstreams are ids in labels and commands: POOL/NAME, NAME@IP.
fn upstream_name(text: &str) -> Result<Arc<str>, Wrong> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if !(1..=64).contains(&text.len()) || !text.bytes().all(fine) {
        let hint = "use 1 to 64 letters, digits, \"-\", \"_\" and \".\"";
        return Err(Wrong::new(format!("\"{text}\" cannot be the name of an upstream"), hint));
    }
    Ok(text.into())
}

//! The entries of `upstreams`.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::Arc;

use super::super::address::{Address, Host, Scheme, UPSTREAMS_FILE};
use super::super::model::Entry;
use super::super::problem::{Place, Wrong};
use super::super::read::Section;
use super::super::targets;
use super::super::tree::{Node, Table, Value};
use super::circle::{self, Own};
use super::elsewhere;
use super::pool::count;
use super::unknown::line;

/// All of them.
pub(super) fn upstreams(pool: &str, section: &Section<'_>, own: &Own<'_>) -> Vec<Entry> {
    if section.cx.learned.is_some() {
        table_entry(section, &Node { value: Value::Table(Table::default()), place: section.place.clone() });
    }
    let list = section.list("upstreams", "\"127.0.0.1:3000\"");
    let listed = listed(section, own);
    let missing = match section.node("upstreams") {
        _ if listed.is_some() => false,
        Some(node) => matches!(&node.value, Value::Array(items) if items.is_empty()),
        None => {
            let misnamed = elsewhere::misnamed("pool.NAME", "upstreams", section.keys());
            section.present() && !section.misspelt("upstreams") && !misnamed
        }
    };
    if missing {
        let place = section.place_of("upstreams").unwrap_or(&section.place);
        section.cx.error(place, format!("pool `{pool}` has no upstreams"), "write upstreams = [\"127.0.0.1:3000\"]");
    }
    let mut entries: Vec<(Entry, &Place)> = Vec::new();
    // The first with each id, and the first few with each place: thousands of entries are not held against each other.
    let (mut ids, mut places): (HashMap<Arc<str>, usize>, HashMap<Address, Vec<usize>>) = Default::default();
    for node in list {
        let Some(entry) = entry(section, node) else { continue };
        let twin = ids.contains_key(&entry.id());
        let near = places.entry(place(&entry.address)).or_default();
        if twin && entry.name.is_some() {
            let message = format!("two upstreams of pool `{pool}` are called `{}`", entry.id());
            section.cx.error(&node.place, message, "give one of them another name");
        } else if let Some(again) = near
            .iter()
            .map(|index| &entries[*index])
            .find_map(|(other, at)| again(pool, &entry, other, (at, &node.place)))
        {
            section.cx.warn(&node.place, again.message, again.hint);
            if twin {
                continue;
            }
        }
        circle::upstream(section.cx, &entry.address, &node.place, own);
        if entry.address.port == 443 && entry.address.scheme != Scheme::Https {
            let message = format!("{}: causeway speaks plain HTTP there, and port 443 is for TLS", entry.address);
            section.cx.warn(&node.place, message, format!("write \"https://{}\"", entry.address.host));
        }
        ids.entry(entry.id()).or_insert(entries.len());
        if near.iter().all(|index| entries[*index].0.address != entry.address) {
            near.push(entries.len());
        }
        entries.push((entry, &node.place));
    }
    entries.into_iter().map(|(entry, _)| entry).chain(listed).collect()
}

/// The entry that stands for `upstreams_file`. A list that is missing or faulty is no reason not to start: as with a
/// name that does not resolve yet, the pool has no upstream of it until there is one.
fn listed(section: &Section<'_>, own: &Own<'_>) -> Option<Entry> {
    let (name, place) = section.text(UPSTREAMS_FILE, "upstreams.json", "").filter(|(name, _)| !name.is_empty())?;
    let path = section.cx.base.join(name);
    match targets::read(&path) {
        Ok(targets) => targets.iter().for_each(|target| circle::upstream(section.cx, &target.address, place, own)),
        Err(problem) if problem.place.span.is_none() => {
            let message = format!("{}: {}", path.display(), problem.message);
            section.cx.warn(place, message, "the pool has no upstream of it until there is a list");
        }
        Err(problem) => section.cx.problems.borrow_mut().push(*problem),
    }
    Some(Entry::new(Address::plain(Host::Listed(path.into()), 0)))
}

/// What is said about an entry that stands for the same app as an earlier one.
fn again(pool: &str, entry: &Entry, other: &Entry, (that, this): (&Place, &Place)) -> Option<Wrong> {
    let (address, line) = (&entry.address, || before(that, this));
    if address == &other.address {
        let hint = if entry.id() == other.id() {
            "it is taken once; for a larger share of the requests, write { address = \"...\", weight = 2 }"
        } else {
            "it gets a double share, and one failure counts as two; take one of them out"
        };
        return Some(Wrong::new(format!("{address} stands twice in pool `{pool}`{}", line()), hint));
    }
    // `localhost` is dialled on both families, so that these two meet.
    let local = |host: &Host| matches!(host, Host::Localhost);
    let first = |host: &Host| matches!(host, Host::Ip(ip) if *ip == Ipv4Addr::LOCALHOST || *ip == Ipv6Addr::LOCALHOST);
    let (one, two) = (&address.host, &other.address.host);
    let same = address.port == other.address.port && ((local(one) && first(two)) || (first(one) && local(two)));
    same.then(|| {
        let message = format!("{address} and {}{} are the same place, twice in pool `{pool}`", other.address, line());
        Wrong::new(message, "it gets a double share, and one failure counts as two; take one of them out")
    })
}

/// One for all addresses that may be the same place: both loopbacks stand with `localhost`.
fn place(address: &Address) -> Address {
    let local = matches!(address.host, Host::Ip(ip) if ip == Ipv4Addr::LOCALHOST || ip == Ipv6Addr::LOCALHOST);
    if local { Address { host: Host::Localhost, ..address.clone() } } else { address.clone() }
}

/// " (line 4)", where that is another line than this one's.
fn before(that: &Place, this: &Place) -> String {
    let of = |place: &Place| place.line_and_column().map(|(line, _)| line);
    if of(that) == of(this) { String::new() } else { line(that) }
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
    let name = item.parse("name", "b", targets::name);
    let weight = item.number("weight", 1, 1..=100);
    let backup = item.flag("backup", false);
    let proxy_protocol = item.flag("proxy_protocol", false);
    let off = [("off", Some(NonZeroUsize::MAX))];
    let in_flight = item.number_or("in_flight", 1..=1_000_000, &off, count).flatten();
    if let (Some(Address { scheme: Scheme::H2c, .. }), true) = (&address, proxy_protocol) {
        let place = item.value_place("proxy_protocol").unwrap_or(&node.place);
        let message = "clients share the connections of h2c://, and a PROXY header names one client";
        section.cx.error(place, message, "take proxy_protocol out: X-Forwarded-For names the client of each request");
    }
    if let (Some(Address { host: Host::Service(_), .. }), Some(place)) = (&address, item.place_of("weight")) {
        let message = "the weights of a srv: entry are in its records";
        section.cx.error(place, message, "take weight out; backup = true makes backups of all of them");
    }
    let misnamed = elsewhere::misnamed("pool.NAME.upstreams", "address", item.keys());
    if item.place_of("address").is_none() && !item.misspelt("address") && !misnamed {
        section.cx.error(&node.place, "this upstream has no address", "write { address = \"127.0.0.1:3000\" }");
    }
    Some(Entry {
        name,
        weight: u8::try_from(weight).unwrap_or(1),
        backup,
        in_flight,
        proxy_protocol,
        address: address?,
    })
}

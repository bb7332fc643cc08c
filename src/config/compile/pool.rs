//! `[pool.NAME]`, and the tables of a pool that a route may override.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::Arc;

use super::super::address::{Address, Host, ListenAddress};
use super::super::model::{Buffers, Connections, Entry, HostHeader, Listener, Pool, Retry, Timeouts};
use super::super::problem::{Place, Wrong};
use super::super::read::Section;
use super::super::tree::{Node, Table, Value};
use super::super::units::duration_text;
use super::{health, words};

/// A pool, and what the routes to it need to know besides.
pub(super) struct Read {
    pub pool: Pool,
    /// Where its name stands.
    pub place: Place,
}

/// All pools, in the order of the file.
pub(super) fn pools(root: &Section<'_>, listeners: &[(Listener, Place)]) -> Vec<Read> {
    root.named("pool").into_iter().map(|(name, section)| pool(name, &section, listeners)).collect()
}

fn pool(name: Arc<str>, section: &Section<'_>, listeners: &[(Listener, Place)]) -> Read {
    let upstreams = upstreams(&name, section, listeners);
    let host_header = section.parse("host_header", "client", |text| match text {
        "client" => Ok(HostHeader::Client),
        "upstream" => Ok(HostHeader::Upstream),
        literal => words::host_value(literal).map(HostHeader::Literal),
    });
    let last_resort = section.choice("when_all_evicted", &[("try", true), ("fail", false)]).unwrap_or(true);
    let health = health::health(&section.section("health"));
    let (timeouts, retry) = clocks(section, Timeouts::default(), Retry::default());
    let pool = Pool {
        host_header: host_header.unwrap_or(HostHeader::Client),
        last_resort,
        health,
        timeouts,
        retry,
        buffers: buffers(&section.section("buffers")),
        connections: connections(&section.section("connections")),
        ..Pool::new(name, upstreams)
    };
    Read { pool, place: section.place.clone() }
}

/// The tables `timeouts` and `retry` of a pool or a route, over what holds without them.
pub(super) fn clocks(section: &Section<'_>, base: Timeouts, retry_base: Retry) -> (Timeouts, Retry) {
    let (t, r) = (section.section("timeouts"), section.section("retry"));
    let problems = section.cx.problems.borrow().len();
    let timeouts = Timeouts {
        resolve: t.time("resolve", base.resolve),
        connect: t.time("connect", base.connect),
        write: t.time("write", base.write),
        read: t.time("read", base.read),
        body: t.time("body", base.body),
        request: t.time_or_off("request", base.request),
        tunnel: t.time_or_off("tunnel", base.tunnel),
    };
    let attempts = r.number_or("attempts", 1..=1000, &[("all", None)], |n| NonZeroUsize::new(n as usize));
    let resend = r.number_or("resend", 0..=1000, &[("all", None), ("off", Some(0))], |n| Some(n as usize));
    let retry = Retry {
        attempts: attempts.unwrap_or(retry_base.attempts),
        resend: resend.unwrap_or(retry_base.resend),
        idempotency_key: r.flag("idempotency_key", retry_base.idempotency_key),
        deadline: r.time_or_off("deadline", retry_base.deadline),
        ..retry_base
    };
    let here = t.value_place("read").or_else(|| r.value_place("deadline"));
    if let (Some(place), Some(deadline)) = (here, retry.deadline)
        && timeouts.read >= deadline
        && section.cx.problems.borrow().len() == problems
    {
        let (read, deadline) = (duration_text(timeouts.read), duration_text(deadline));
        let message = format!("timeouts.read ({read}) is not below retry.deadline ({deadline})");
        section.cx.warn(place, message, "a request that waits for a silent upstream will not fail over; lower read");
    }
    (timeouts, retry)
}

fn buffers(section: &Section<'_>) -> Buffers {
    let default = Buffers::default();
    Buffers {
        request: section.size("request", default.request, 0..=1 << 30),
        response_head: section.size("response_head", default.response_head, 8 << 10..=16 << 20),
        response: section.size("response", default.response, 0..=1 << 30),
    }
}

fn connections(section: &Section<'_>) -> Connections {
    let default = Connections::default();
    let most = u32::try_from(default.max_idle).unwrap_or(u32::MAX);
    Connections {
        idle: section.time("idle", default.idle),
        max_idle: section.number("max_idle", most, 0..=1_000_000) as usize,
        max_age: section.time("max_age", default.max_age),
    }
}

fn upstreams(pool: &str, section: &Section<'_>, listeners: &[(Listener, Place)]) -> Vec<Entry> {
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

/// `"127.0.0.1:3000"`, or `{ address = "127.0.0.1:3000", name = "b" }`.
fn entry(section: &Section<'_>, node: &Node) -> Option<Entry> {
    match &node.value {
        Value::Text(text) => {
            let address = section.cx.take(&node.place, Address::parse(text))?;
            Some(Entry::new(address))
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
    if item.place_of("address").is_none() && !item.misspelt("address") {
        section.cx.error(&node.place, "this upstream has no address", "write { address = \"127.0.0.1:3000\" }");
    }
    Some(Entry { name, ..Entry::new(address?) })
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

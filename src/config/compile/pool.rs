//! `[pool.NAME]`: the keys of the pool itself, and what is kept of messages and connections.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;

use super::super::address::Host;
use super::super::model::{Balance, Buffers, Connections, Entry, Health, HostHeader, Pool, Retry, Timeouts};
use super::super::problem::{Place, Severity, Wrong};
use super::super::read::Section;
use super::super::units::duration_text;
use super::circle::Own;
use super::{balance, clocks, entries, foolish, health, passive, pool_tls, words};

/// More are not asked.
const MOST_SERVERS: usize = 8;

/// A pool, and what the routes to it need to know besides.
pub(super) struct Read {
    pub pool: Pool,
    /// Where its name stands.
    pub place: Place,
}

/// All pools, in the order of the file.
pub(super) fn pools(root: &Section<'_>, name_servers: &Arc<[SocketAddr]>, own: &Own<'_>) -> Vec<Read> {
    let mut named = root.named("pool");
    if named.len() > 1 {
        named.retain(|(name, section)| !is_a_table(name, section));
    }
    named.into_iter().map(|(name, section)| pool(name, &section, own, name_servers)).collect()
}

/// Who is asked for names; none: those of /etc/resolv.conf.
pub(super) fn name_servers(root: &Section<'_>) -> Arc<[SocketAddr]> {
    let servers = root.texts_with_places("name_servers", "127.0.0.1:8600", name_server);
    if let Some((_, place)) = servers.get(MOST_SERVERS) {
        let message = format!("more than {MOST_SERVERS} name servers");
        root.cx.error(place, message, "each one that is silent takes time from timeouts.resolve; name those nearby");
    }
    servers.into_iter().map(|(server, _)| server).collect()
}

/// An IP address, with a port where that is not 53.
fn name_server(text: &str) -> Result<SocketAddr, Wrong> {
    let bare = text
        .parse()
        .ok()
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6));
    let parsed = text.parse().ok().or_else(|| Some(SocketAddr::new(bare?, 53)));
    let usable = parsed.filter(|at: &SocketAddr| at.port() != 0 && !at.ip().is_unspecified());
    usable.map(|at| SocketAddr::new(at.ip().to_canonical(), at.port())).ok_or_else(|| {
        Wrong::new(
            format!("\"{text}\" is not the address of a name server"),
            "write it like \"10.0.0.2\" or \"127.0.0.1:8600\"",
        )
    })
}

/// `[pool.health]`, without an upstream: a table of a pool, and its name was forgotten.
fn is_a_table(name: &str, section: &Section<'_>) -> bool {
    let table =
        matches!(name, "health" | "passive" | "timeouts" | "retry" | "buffers" | "connections" | "limits" | "tls");
    let forgotten = table && !section.has("upstreams") && !section.has("upstreams_file") && section.present();
    if forgotten {
        let hint = format!("did you mean [pool.NAME.{name}], with the name of a pool?");
        section.cx.error(&section.place, format!("[pool.{name}] would be a pool, and it has no upstreams"), hint);
        section.leave();
    }
    forgotten
}

fn pool(name: Arc<str>, section: &Section<'_>, own: &Own<'_>, name_servers: &Arc<[SocketAddr]>) -> Read {
    let problems = section.cx.problems.borrow().len();
    let default = Pool::new(Arc::clone(&name), entries::upstreams(&name, section, own));
    let host_header = section.parse("host_header", "client", |text| match text {
        "client" => Ok(HostHeader::Client),
        "upstream" => Ok(HostHeader::Upstream),
        literal => words::host_value(literal).map(HostHeader::Literal),
    });
    let last_resort = section.choice("when_all_evicted", &[("try", true), ("fail", false)]).unwrap_or(true);
    let (balance, sticky) = balance::balance(section);
    let (slow_start, wait) =
        (section.duration_or_off("slow_start", default.slow_start), section.duration_or_off("wait", default.wait));
    let health_said = section.section("health");
    let health = health::health(&health_said);
    no_port_of_its_own(&health_said, health.as_ref(), &default.upstreams);
    let passive_said = section.section("passive");
    let (timeouts, retry) = clocks::clocks(section, Timeouts::default(), Retry::default());
    let limits_said = section.section("limits");
    let limits = passive::limits(&limits_said);
    let tls = pool_tls::tls(&section.section("tls"), &default.upstreams);
    let pool = Pool {
        upstreams: entries::limited(default.upstreams, limits.in_flight),
        name_servers: Arc::clone(name_servers),
        host_header: host_header.unwrap_or(HostHeader::Client),
        last_resort,
        balance: balance.unwrap_or(Balance::P2c),
        sticky,
        slow_start,
        wait,
        health,
        passive: passive::passive(&passive_said),
        limits,
        timeouts,
        retry,
        buffers: buffers(&section.section("buffers")),
        connections: connections(&section.section("connections")),
        tls,
        name,
    };
    // What could not be read is no reason to call the rest foolish.
    if section.cx.problems.borrow().iter().skip(problems).all(|problem| problem.severity == Severity::Warning) {
        let tables = foolish::Tables { limits: &limits_said, passive: &passive_said, health: &health_said };
        foolish::pool(section, &tables, &pool);
        pool_tls::hosts(section, &pool.upstreams, &pool.host_header);
    }
    Read { pool, place: section.place.clone() }
}

/// A socket has no port, so that none can take its place for checks.
fn no_port_of_its_own(section: &Section<'_>, health: Option<&Health>, upstreams: &[Entry]) {
    let socket = upstreams.iter().find(|entry| matches!(entry.address.host, Host::Unix(_)));
    if let (Some(entry), Some(_)) = (socket, health.and_then(|health| health.port)) {
        let place = section.value_place("port").unwrap_or(&section.place);
        section.cx.error(place, format!("{} has no port to check", entry.address), "take `port` out");
    }
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
    let connections = Connections {
        idle: section.time("idle", default.idle),
        max_idle: section.number("max_idle", most, 0..=1_000_000) as usize,
        max_age: section.time("max_age", default.max_age),
    };
    if let (Some(place), true) = (section.value_place("idle"), connections.idle >= connections.max_age) {
        let (idle, age) = (duration_text(connections.idle), duration_text(connections.max_age));
        let message = format!("connections.idle ({idle}) is never reached: max_age ({age}) ends a connection first");
        section.cx.warn(place, message, "lower idle, or raise max_age");
    }
    connections
}

/// A limit of how many, which is never zero.
pub(super) fn count(n: u32) -> Option<NonZeroUsize> {
    NonZeroUsize::new(n as usize)
}

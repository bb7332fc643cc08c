//! What nginx, HAProxy and Caddy call a thing, and what it is called here: for keys that nothing reads, and for words
//! that stand behind an address there.

use super::super::address::Address;
use super::super::problem::{Place, Wrong};

/// What they say; the tables of ours where they may say it (a beginning of their kind); the table where ours belongs;
/// ours, or `!` and what to do.
type Word = (&'static [&'static str], &'static str, &'static str, &'static str);

const POOL: &str = "pool.NAME";
const ENTRY: &str = "pool.NAME.upstreams";
const HEALTH: &str = "pool.NAME.health";
const PASSIVE: &str = "pool.NAME.passive";
const TIMEOUTS: &str = "pool.NAME.timeouts";

const WORDS: &[Word] = &[
    (&["max_fails"], "", PASSIVE, "connect_failures and gateway_failures"),
    (&["fail_timeout", "fail_duration"], "", PASSIVE, "evict"),
    (&["max_conns", "maxconn"], ENTRY, ENTRY, "in_flight"),
    (&["max_conns", "maxconn"], POOL, "pool.NAME.limits", "in_flight"),
    (&["max_conns", "maxconn"], "", "listener.NAME.limits", "connections"),
    (&["maxqueue"], "", "pool.NAME.limits", "queue"),
    (&["down", "disabled"], ENTRY, ENTRY, "!take this upstream out"),
    (&["rise"], "", HEALTH, "healthy_after"),
    (&["fall"], "", HEALTH, "unhealthy_after"),
    (&["inter", "fastinter", "downinter", "health_interval"], "", HEALTH, "interval"),
    (&["check"], POOL, HEALTH, "!checks are on by default: take it out"),
    (&["httpchk", "health_uri"], "", HEALTH, "path"),
    (&["health_port"], "", HEALTH, "port"),
    (&["slowstart"], "", POOL, "slow_start"),
    (&["lb_policy", "lb_method"], "", POOL, "balance"),
    (&["lb_try_duration"], "", POOL, "wait"),
    (&["least_conn", "leastconn"], "", POOL, "balance = \"least_in_flight\""),
    (&["ip_hash"], "", POOL, "balance = \"hash:client_ip\""),
    (&["proxy_next_upstream", "next_upstream", "retry_on"], "", "pool.NAME.retry", "on_status"),
    (&["proxy_next_upstream_tries", "retries", "lb_retries"], "", "pool.NAME.retry", "attempts"),
    (&["proxy_next_upstream_timeout"], "", "pool.NAME.retry", "deadline"),
    (&["keepalive"], POOL, "pool.NAME.connections", "max_idle"),
    (&["keepalive_timeout", "keepalive_time"], POOL, "pool.NAME.connections", "idle"),
    (&["keepalive_timeout"], "", "listener.NAME.timeouts", "keep_alive"),
    (&["proxy_read_timeout", "read_timeout"], "", TIMEOUTS, "read"),
    (&["proxy_send_timeout", "write_timeout"], "", TIMEOUTS, "write"),
    (&["proxy_connect_timeout", "connect_timeout", "dial_timeout"], "", TIMEOUTS, "connect"),
    (&["proxy_buffer_size"], "", "pool.NAME.buffers", "response_head"),
    (&["client_max_body_size"], "", "route.NAME", "max_body"),
    (&["client_header_timeout"], "", "listener.NAME.timeouts", "head"),
    (&["client_body_timeout"], "", "listener.NAME.timeouts", "body"),
    (&["client_header_buffer_size", "large_client_header_buffers"], "", "listener.NAME.limits", "head"),
    (&["proxy_pass", "use_backend", "default_backend"], "", "route.NAME", "pool"),
    (&["server_name"], "", "route.NAME", "hosts"),
    (&["set_real_ip_from"], "", "", "trusted_proxies"),
];

/// What to write for a key of another proxy in a table of this kind. `home`: where a table of ours is, as `to [pool.app]`.
pub(super) fn key(kind: &str, key: &str, home: &dyn Fn(&str) -> String) -> Option<String> {
    let key = key.to_ascii_lowercase().replace('-', "_");
    let meant = |(theirs, within, ..): &&Word| theirs.contains(&key.as_str()) && kind.starts_with(within);
    let (_, _, there, ours) = WORDS.iter().find(meant)?;
    Some(match ours.strip_prefix('!') {
        Some(what) => what.into(),
        None if *there == kind => format!("write {ours}"),
        None if ours.contains(" and ") => format!("write {ours}, which belong {}", home(there)),
        None => format!("write {ours}, which belongs {}", home(there)),
    })
}

/// An upstream's text that says more than its address, as `127.0.0.1:3000 weight=3 backup` does in nginx; `None` where the
/// address is what is wrong. `pool`: `pool.app`.
pub(super) fn entry(text: &str, place: &Place, pool: &str) -> Option<Wrong> {
    let mut words = text.split_ascii_whitespace().map(|word| word.trim_end_matches([';', ',']));
    let address = words.next().filter(|address| Address::parse(address).is_ok())?;
    let (mut table, mut more) = (format!("address = \"{address}\""), String::new());
    let mut rest = words.peekable();
    rest.peek()?;
    while let Some(word) = rest.next() {
        let (name, said) = word.split_once('=').unwrap_or((word, ""));
        // HAProxy puts the number behind a space.
        let number = said.parse::<u32>().ok().or_else(|| {
            let number = rest.peek().filter(|_| said.is_empty())?.parse().ok()?;
            rest.next();
            Some(number)
        });
        match (name, number) {
            ("weight", Some(weight @ 1..=100)) => table.push_str(&format!(", weight = {weight}")),
            ("max_conns" | "maxconn", Some(most @ 1..=1_000_000)) => table.push_str(&format!(", in_flight = {most}")),
            ("backup", None) => table.push_str(", backup = true"),
            _ => {
                let home = |there: &str| format!("to [{}]", there.replacen(POOL, pool, 1));
                if let Some(hint) = key(ENTRY, name, &home).filter(|_| more.is_empty()) {
                    more = format!("; for {name}, {hint}");
                }
            }
        }
    }
    let wrong = |hint| Some(Wrong::new(format!("\"{text}\" says more than an address"), hint));
    if place.origin.text.is_none() {
        return wrong(format!("write \"{address}\" alone; the rest takes a config file{more}"));
    }
    let plain = !table.contains(',');
    wrong(if plain { format!("write \"{address}\"{more}") } else { format!("write {{ {table} }}{more}") })
}

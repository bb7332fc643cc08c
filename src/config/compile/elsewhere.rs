//! What nginx, HAProxy and Caddy call a thing, and what it is called here: for keys that nothing reads, and for words
//! that stand behind an address there.

use super::super::address::Address;
use super::super::problem::{Place, Wrong};

/// What they say; the tables of ours where they may say it (a beginning of their kind, or behind a `=` all of it); the
/// table where ours belongs; ours, or `!` and what to do.
type Word = (&'static [&'static str], &'static str, &'static str, &'static str);

const POOL: &str = "pool.NAME";
const ENTRY: &str = "pool.NAME.upstreams";
const HEALTH: &str = "pool.NAME.health";
const PASSIVE: &str = "pool.NAME.passive";
const TIMEOUTS: &str = "pool.NAME.timeouts";
const ROUTE: &str = "route.NAME";

const NEW_POOL: &str = "!write a line [pool.app], and below it upstreams = [\"127.0.0.1:3000\"]";
const NO_FIELDS: &str = "!fields are for a route to change: [route.NAME.request_headers] with set = { X-Name = \"value\" }, or response_headers; Host is host_header of a pool";
const TLS: &str =
    "!write [listener.NAME.tls], and below it certificates = [{ cert = \"site.pem\", key = \"site.key\" }]";
const TLS_HERE: &str = "!write certificates = [{ cert = \"site.pem\", key = \"site.key\" }]";
const SUPERVISED: &str = "!take it out: whatever starts causeway, like systemd or Docker, sees to it";

const WORDS: &[Word] = &[
    // At the top of the file.
    (
        &["upstream", "upstreams", "backend", "backends", "servers", "services", "targets", "reverse_proxy"],
        "=",
        "",
        NEW_POOL,
    ),
    (
        &["server", "http", "proxy"],
        "=",
        "",
        "!clients come in at `listen`; a line [pool.app], and upstreams below it, says where requests go",
    ),
    (
        &["frontend", "frontends", "entrypoints", "bind", "host", "port", "addr", "address", "listen_address"],
        "=",
        "",
        "!write listen = \":8080\" at the top of the file",
    ),
    (&["location", "locations", "rule", "rules"], "=", "", "!write a line [route.NAME], and below it path = \"/\""),
    (
        &["global", "defaults", "main", "settings", "causeway"],
        "=",
        "",
        "!its keys stand at the top of the file, or in a table",
    ),
    (&["worker_processes", "nbthread", "threads"], "", "", "workers"),
    (&["worker_connections", "max_connections"], "", "listener.NAME.limits", "connections"),
    (&["daemon", "user", "group", "pid", "pidfile", "chroot"], "=", "", SUPERVISED),
    (
        &["include", "includes", "import"],
        "=",
        "",
        "!take it out: a config is one file; ${VAR} comes from the environment",
    ),
    (&["version"], "=", "", "!take it out: the file needs none"),
    (&["timeout"], "=", "", "!say which: read, connect and others belong to [pool.app.timeouts]"),
    (&["log_level", "loglevel"], "", "log", "level"),
    (&["error_log"], "", "log", "events"),
    (&["access_log"], "=", "log", "access_to"),
    (&["access_log", "file", "path", "output"], "=log", "log", "access_to for requests, and events for all else"),
    (&["format", "log_format"], "=log", "log", "access"),
    (&["port", "listen", "bind", "host"], "=admin", "admin", "address"),
    (&["enabled", "enable"], "=admin", "", "!to switch it off, write address = \"off\""),
    (
        &["cert", "key", "cert_file", "key_file", "certificate_file", "ssl_certificate", "ssl_certificate_key", "pem"],
        "=listener.NAME.tls",
        "",
        TLS_HERE,
    ),
    (&["sni", "servername", "hostname", "host"], "=pool.NAME.tls", "pool.NAME.tls", "server_name"),
    (&["ca_file", "cafile", "ca_cert", "root_ca", "trust", "roots"], "=pool.NAME.tls", "pool.NAME.tls", "ca"),
    (
        &["insecure", "insecure_skip_verify", "skip_verify", "proxy_ssl_verify"],
        "=pool.NAME.tls",
        "pool.NAME.tls",
        "verify",
    ),
    (&["ssl", "ssl_certificate", "ssl_certificate_key", "certificate", "cert", "https"], "", "", TLS),
    // In a pool and its tables.
    (&["host", "hostname", "ip", "url", "uri", "server", "target"], ENTRY, ENTRY, "address"),
    (&["port"], ENTRY, "", "!it stands behind the host in address, like \"127.0.0.1:3000\""),
    (
        &[
            "servers",
            "server",
            "targets",
            "target",
            "backends",
            "backend",
            "addresses",
            "address",
            "nodes",
            "members",
            "endpoints",
            "hosts",
            "host",
            "url",
            "urls",
        ],
        "=pool.NAME",
        POOL,
        "upstreams",
    ),
    (&["port"], "=pool.NAME", "", "!it stands behind the host in each address, like \"app:3000\""),
    (&["weights"], "=pool.NAME", ENTRY, "weight"),
    (&["strategy", "algorithm", "policy", "method", "load_balancing"], "=pool.NAME", POOL, "balance"),
    (&["cookie", "sticky_session", "sticky_sessions", "session_affinity"], "=pool.NAME", POOL, "sticky"),
    (&["timeout"], "=pool.NAME", "", "!say which: [pool.NAME.timeouts] has connect, read, write, body and request"),
    (&["timeout"], "=route.NAME", "", "!say which: [route.NAME.timeouts] has connect, read, write, body and request"),
    (
        &["health_check", "healthcheck", "health_path", "healthcheck_path", "check_path", "probe"],
        "=pool.NAME",
        HEALTH,
        "path",
    ),
    (&["enabled", "enable"], HEALTH, "", "!to switch checks off, write type = \"off\""),
    (&["host"], HEALTH, HEALTH, "host_header"),
    (&["url", "uri", "endpoint"], HEALTH, HEALTH, "path"),
    (&["every", "period", "frequency"], HEALTH, HEALTH, "interval"),
    (&["status", "statuses", "expected_status", "expect"], HEALTH, HEALTH, "expect_status"),
    (&["healthy_threshold", "success_threshold", "successes", "passes"], HEALTH, HEALTH, "healthy_after"),
    (&["unhealthy_threshold", "failure_threshold", "failures", "fails"], HEALTH, HEALTH, "unhealthy_after"),
    (&["server", "response", "header"], TIMEOUTS, TIMEOUTS, "read"),
    (&["client"], TIMEOUTS, "listener.NAME.timeouts", "body"),
    (&["send"], TIMEOUTS, TIMEOUTS, "write"),
    (&["total", "overall"], TIMEOUTS, TIMEOUTS, "request"),
    (&["idle", "keepalive", "keep_alive"], TIMEOUTS, "pool.NAME.connections", "idle"),
    (&["queue"], TIMEOUTS, "pool.NAME.limits", "queue_timeout"),
    (&["check"], TIMEOUTS, HEALTH, "timeout"),
    // In a route.
    (&["location", "prefix", "path_prefix", "paths", "match", "rule", "uri", "url"], "=route.NAME", ROUTE, "path"),
    (&["domain", "domains", "vhost"], "=route.NAME", ROUTE, "hosts"),
    (&["strip_prefix", "strip_path"], "=route.NAME", "", "!write it as path, and replace_prefix = \"/\""),
    (&["rewrite"], "=route.NAME", ROUTE, "replace_prefix"),
    (&["upstream", "backend", "service", "to", "proxy", "reverse_proxy"], "=route.NAME", ROUTE, "pool"),
    (
        &["upstreams", "servers", "backends", "targets"],
        "=route.NAME",
        "",
        "!put them below a line [pool.NAME], and write pool = \"NAME\" here",
    ),
    (&["return", "status"], "=route.NAME", "", "!write respond = { status = 503 }"),
    (&["root", "file_server", "static"], "=route.NAME", "", "!causeway serves no files: send them to an app that does"),
    (&["set_header", "add_header", "proxy_set_header", "headers", "header", "header_up"], "=route.NAME", "", NO_FIELDS),
    (&["set_header", "add_header", "proxy_set_header", "headers", "header", "header_up"], "=pool.NAME", "", NO_FIELDS),
    (&["code", "status_code"], "route.NAME.respond", "route.NAME.respond", "status"),
    (&["content", "text", "html", "message"], "route.NAME.respond", "route.NAME.respond", "body"),
    (&["page", "path"], "route.NAME.respond", "route.NAME.respond", "file"),
    // In any table.
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

/// What to write for a key of another proxy in a table of this kind. `home`: where a table of ours is, as
/// `to [pool.app]`.
pub(super) fn key(kind: &str, key: &str, home: &dyn Fn(&str) -> String) -> Option<String> {
    let key = key.to_ascii_lowercase().replace('-', "_");
    // What a route says of its clocks is what a pool says.
    let kind = if kind == "route.NAME.timeouts" { TIMEOUTS } else { kind };
    let there = |within: &str| match within.strip_prefix('=') {
        Some(all) => kind == all,
        None => kind.starts_with(within),
    };
    let meant = |(theirs, within, ..): &&Word| theirs.contains(&key.as_str()) && there(within);
    let (_, _, there, ours) = WORDS.iter().find(meant)?;
    Some(match ours.strip_prefix('!') {
        Some(what) => what.into(),
        None if *there == kind => format!("write {ours}"),
        None if ours.contains(" and ") => format!("write {ours}, which belong {}", home(there)),
        None => format!("write {ours}, which belongs {}", home(there)),
    })
}

/// Is one of these keys, at the top of the file, what other proxies call a pool?
pub(super) fn is_a_pool<'k>(mut keys: impl Iterator<Item = &'k str>) -> bool {
    keys.any(|said| key("", said, &|_| String::new()).is_some_and(|hint| hint.contains("[pool.app], and")))
}

/// Is one of these keys another proxy's word for ours in this table? Then ours is not missing, but misnamed.
pub(super) fn misnamed<'k>(kind: &str, ours: &str, mut keys: impl Iterator<Item = &'k str>) -> bool {
    keys.any(|said| key(kind, said, &|_| String::new()).is_some_and(|hint| hint == format!("write {ours}")))
}

/// Several addresses in one text.
fn several(text: &str) -> Option<Wrong> {
    let parts: Vec<&str> = text.split([',', ' ']).filter(|part| !part.is_empty()).collect();
    let addresses = parts.len() > 1 && parts.iter().all(|part| part.contains(':') && Address::parse(part).is_ok());
    let each: Vec<String> = parts.iter().map(|part| format!("\"{part}\"")).collect();
    addresses.then(|| Wrong::new(format!("\"{text}\" is more than one address"), format!("write {}", each.join(", "))))
}

/// An upstream's text that says more than its address, as `127.0.0.1:3000 weight=3 backup` does in nginx; `None` where
/// the address is what is wrong. `pool`: `pool.app`.
pub(super) fn entry(text: &str, place: &Place, pool: &str) -> Option<Wrong> {
    if let Some(several) = several(text) {
        return Some(several);
    }
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

//! What a pool may say beside its upstreams: that every key arrives where it is looked for, and what holds unsaid.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use causeway::config::model::{
    Action, Balance, Check, GrpcCheck, HashKey, Limits, Listener, Passive, Pool, Retry, Statuses,
};
use causeway::config::problem::Severity;
use causeway::config::{Config, Flags};
use proptest::prelude::*;

use super::{check, loaded, said};

const POOL: &str = "[pool.app]\nupstreams = [\"127.0.0.1:3000\", \"127.0.0.1:3001\"]\n";

/// The only pool of a file of these lines in `[pool.app]`.
fn pool(lines: &str) -> Pool {
    let config = Config::from_toml(&format!("{POOL}{lines}\n")).unwrap_or_else(|p| panic!("{lines}: {p:#?}"));
    Pool::clone(&config.pools[0])
}

fn retry(config: &Config, route: usize) -> Retry {
    let Action::Forward(forward) = &config.routes[route].action else { panic!() };
    forward.retry
}

fn statuses(list: &[u16]) -> Statuses {
    let mut set = Statuses::default();
    assert!(list.iter().all(|&status| set.insert(status)));
    set
}

fn listener(lines: &str) -> Listener {
    Config::from_toml(&format!("{lines}{POOL}")).unwrap().listeners.remove(0)
}

#[test]
fn unsaid_it_is_as_the_contract_has_it() {
    let pool = pool("");
    assert_eq!((pool.balance, pool.sticky), (Balance::P2c, None));
    assert_eq!((pool.slow_start, pool.wait), (Duration::from_secs(10), Duration::ZERO));
    let passive = Passive {
        connect_failures: NonZeroU32::new(3),
        gateway_failures: NonZeroU32::new(5),
        evict: Duration::from_secs(5),
        evict_max: Duration::from_secs(60),
        max_evicted: 50,
    };
    assert_eq!(pool.passive, passive);
    assert_eq!(pool.limits, Limits { in_flight: None, queue: 0, queue_timeout: Duration::from_secs(1) });
    assert_eq!((pool.retry.on_status, pool.retry.budget), (Statuses::default(), Some(20)));
    let entry = &pool.upstreams[0];
    assert_eq!((entry.weight, entry.backup, entry.in_flight), (1, false, None));
    assert_eq!(listener("").in_flight_limit, None);
}

#[test]
fn every_entry_has_its_own_share() {
    let text = r#"
[pool.app]
limits.in_flight = 50
upstreams = [
  "10.0.0.1:1",
  { address = "10.0.0.2:1", weight = 100, in_flight = 200 },
  { address = "10.0.0.3:1", backup = true, in_flight = "off" },
]
"#;
    let config = Config::from_toml(text).unwrap();
    let shares: Vec<_> = config.pools[0].upstreams.iter().map(|e| (e.weight, e.backup, e.in_flight)).collect();
    let limit = NonZeroUsize::new;
    assert_eq!(shares, [(1, false, None), (100, false, limit(200)), (1, true, limit(usize::MAX))]);
    // Where the pool has no limit there is nothing to switch off.
    let config = Config::from_toml(&text.replace("= 50", "= \"off\"")).unwrap();
    assert_eq!(config.pools[0].upstreams[2].in_flight, None);
}

#[test]
fn balance_and_sticky() {
    for (word, wanted) in [
        ("p2c", Balance::P2c),
        ("round_robin", Balance::RoundRobin),
        ("least_in_flight", Balance::LeastInFlight),
        ("ewma", Balance::Ewma),
        ("hash:client_ip", Balance::Hash(HashKey::ClientIp)),
        ("hash:path", Balance::Hash(HashKey::Path)),
        ("hash:header:X-User", Balance::Hash(HashKey::Header("x-user".parse().unwrap()))),
        ("hash:cookie:Sid", Balance::Hash(HashKey::Cookie("Sid".into()))),
    ] {
        assert_eq!(pool(&format!("balance = \"{word}\"")).balance, wanted);
    }
    // The cookie decides for those who have it, the key for the others.
    let both = pool("balance = \"hash:client_ip\"\nsticky = \"Node.1\"");
    assert_eq!((both.balance, both.sticky.as_deref()), (Balance::Hash(HashKey::ClientIp), Some("Node.1")));
    assert_eq!(pool("sticky = \"\"").sticky, None);
}

#[test]
fn times_and_counts_that_may_be_off() {
    let off =
        pool("slow_start = \"off\"\nwait = \"2s\"\npassive = { connect_failures = \"off\", gateway_failures = 1 }");
    assert_eq!((off.slow_start, off.wait), (Duration::ZERO, Duration::from_secs(2)));
    assert_eq!((off.passive.connect_failures, off.passive.gateway_failures), (None, NonZeroU32::new(1)));
    assert_eq!(pool("slow_start = \"0s\"").slow_start, Duration::ZERO);
    let passive = pool("passive = { evict = \"1s\", evict_max = \"1s\", max_evicted = \"100%\" }").passive;
    assert_eq!((passive.evict, passive.evict_max, passive.max_evicted), (passive.evict_max, passive.evict, 100));
    let limits = pool("limits = { in_flight = 7, queue = 30, queue_timeout = \"250ms\" }").limits;
    let wanted = Limits { in_flight: NonZeroUsize::new(7), queue: 30, queue_timeout: Duration::from_millis(250) };
    assert_eq!(limits, wanted);
    assert_eq!(pool("limits.queue = \"off\"").limits.queue, 0);
    assert_eq!(listener("[listener.main.limits]\nin_flight = 9\n").in_flight_limit, NonZeroUsize::new(9));
}

#[test]
fn a_route_has_its_own_statuses_and_budget() {
    let text = format!(
        "{POOL}retry = {{ on_status = [502, 503], budget = \"5%\" }}\n[route.own]\npath = \"/own\"\n\
         retry = {{ on_status = [429, 599, 400, 400], budget = \"off\" }}\n[route.none]\npath = \"/none\"\n\
         retry.on_status = []\n[route.same]\n"
    );
    let config = Config::from_toml(&text).unwrap();
    let of = |route| (retry(&config, route).on_status, retry(&config, route).budget);
    assert_eq!(of(0), (statuses(&[400, 429, 599]), None));
    assert_eq!(of(1), (Statuses::default(), Some(5)));
    assert_eq!(of(2), (statuses(&[502, 503]), Some(5)));
}

#[test]
fn a_grpc_check_names_a_service_or_none() {
    let check = |lines: &str| match pool(lines).health.map(|health| health.check) {
        Some(Check::Grpc(check)) => check,
        other => panic!("{other:?}"),
    };
    let GrpcCheck { service, host_header, headers } = check("health.type = \"grpc\"");
    assert_eq!((service.as_str(), host_header, headers.len()), ("", None, 0));
    let check = check(
        "health = { type = \"grpc\", path = \"shop.v1.Cart\", host_header = \"cart.shop\", headers = { X-Key = \"1\" } }",
    );
    assert_eq!((check.service.as_str(), check.host_header.unwrap().to_str().unwrap()), ("shop.v1.Cart", "cart.shop"));
    assert_eq!(check.headers["x-key"], "1");
    let Some(health) = pool("health = { type = \"grpc\", port = 9000, interval = \"10s\" }").health else { panic!() };
    assert_eq!((health.port, health.interval), (Some(9000), Duration::from_secs(10)));
}

#[test]
fn flags_and_variables_reach_every_kind_of_value() {
    let set = [
        "pool.app.balance=hash:cookie:sid",
        "pool.app.retry.on_status=[502, 503]",
        "pool.app.retry.budget=50%",
        "pool.app.passive.max_evicted=30%",
        "pool.app.passive.connect_failures=off",
        "pool.app.limits.queue=10",
    ];
    let flags =
        Flags { upstreams: vec!["3000".into(), "3001".into()], set: set.map(Into::into).to_vec(), ..Flags::default() };
    let env = [("CAUSEWAY_SET", "pool.app.limits.in_flight=20; pool.app.wait=3s; listener.main.limits.in_flight=100")];
    let config = loaded(&[], &flags, &env).unwrap().config;
    let pool = &config.pools[0];
    assert_eq!(pool.balance, Balance::Hash(HashKey::Cookie("sid".into())));
    assert_eq!((pool.retry.on_status, pool.retry.budget), (statuses(&[502, 503]), Some(50)));
    assert_eq!((pool.passive.max_evicted, pool.passive.connect_failures), (30, None));
    assert_eq!((pool.limits.queue, pool.limits.in_flight.map(NonZeroUsize::get)), (10, Some(20)));
    assert_eq!((pool.wait, config.listeners[0].in_flight_limit), (Duration::from_secs(3), NonZeroUsize::new(100)));
}

/// What is sensible is not called foolish.
#[test]
fn no_warning_where_there_is_nothing_to_warn_of() {
    for lines in [
        "limits = { in_flight = 5, queue = 10, queue_timeout = \"5s\" }",
        "passive.max_evicted = \"50%\"",
        "wait = \"30s\"",
        "balance = \"hash:client_ip\"\nsticky = \"node\"",
        "retry.on_status = [502]\n[route.once]\nretry.attempts = 1",
        "retry = { on_status = [], attempts = 1 }",
        "health = { type = \"grpc\", port = 9000 }",
        "timeouts.request = \"30s\"",
        "timeouts = { read = \"10s\", request = \"20s\" }\n[route.strict]\ntimeouts.request = \"2s\"",
        "timeouts.read = \"20s\"\n[route.slow]\ntimeouts.read = \"2m\"\nretry.deadline = \"5m\"",
        "timeouts.read = \"2m\"\nretry.resend = \"off\"",
        "retry.deadline = \"off\"",
        "when_all_evicted = \"fail\"\nhealth = { path = \"/up\", expect_status = \"204\" }",
        "health = { path = \"/up\", method = \"HEAD\" }",
        "health.type = \"off\"",
        "host_header = \"a.example\"\nhealth = { path = \"/up\", host_header = \"b.example\" }",
        "host_header = \"a.example\"",
        "connections = { idle = \"1m\", max_idle = 0 }\nbuffers.request = \"0B\"",
        "[route.all]\n[route.tls]\nhosts = [\"a.example\"]\nredirect = \"https://{{host}}{{path}}\"",
        "[route.all]\n[route.old]\npath = \"/old\"\nredirect = \"/new\"\n[route.older]\npath = \"/older\"\nredirect = \"/v2{{path}}\"",
        "[route.all]\n[route.apex]\nhosts = [\"a.example\"]\nredirect = \"https://www.a.example{{path}}\"",
    ] {
        assert_eq!(said(&format!("{POOL}{lines}\n")), "", "{lines}");
    }
    // An entry may have a limit where the pool has none; a name may have many addresses.
    for whole in [
        "[pool.app]\nupstreams = [\"127.0.0.1:3000\", \"[::1]:3000\", \"app:3000\", \"app.:3000\", \"10.1.1.1:8080\"]\n",
        "listen = \"127.0.0.1:80\"\ntrusted_proxies = [\"0.0.0.0/0\"]\n[pool.app]\nupstreams = [\"a:1\"]\nretry.attempts = 3\n",
        "trusted_proxies = [\"private\"]\n[pool.app]\nupstreams = [\"3000\"]\n[errors]\nfull_for = [\"10.0.0.0/8\"]\n",
        "[listener.a]\naddress = \"127.0.0.1:80\"\n[listener.b]\naddress = \"[::1]:80\"\n[pool.app]\nupstreams = [\"3000\"]\n",
    ] {
        assert_eq!(said(whole), "", "{whole}");
    }
    let own = "[pool.app]\nupstreams = [{ address = \"a:1\", in_flight = 5 }]\nlimits.queue = 5\npassive.max_evicted = \"1%\"\n";
    assert_eq!(said(own), "");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    /// A value within its bounds is taken to the letter; one outside is one error, at that value.
    #[test]
    fn numbers_are_taken_within_their_bounds_alone(n in 0u32..2000, key in 0usize..8) {
        let (line, least, most) = [
            (format!("upstreams = [{{ address = \"a:1\", weight = {n} }}, \"b:1\"]"), 1, 100),
            (format!("upstreams = [{{ address = \"a:1\", in_flight = {n} }}]"), 1, 1_000_000),
            (format!("upstreams = [\"a:1\"]\npassive.connect_failures = {n}"), 1, 1000),
            (format!("upstreams = [\"a:1\"]\npassive.gateway_failures = {n}"), 1, 1000),
            (format!("upstreams = [\"a:1\"]\npassive.max_evicted = \"{n}%\""), 0, 100),
            (format!("upstreams = [\"a:1\"]\nretry.on_status = [{n}]"), 400, 599),
            (format!("upstreams = [\"a:1\"]\nretry.budget = \"{n}%\""), 0, 1000),
            (format!("upstreams = [\"a:1\"]\nlimits.in_flight = {n}"), 1, 1_000_000),
        ][key].clone();
        match check(&format!("[pool.app]\n{line}\n")) {
            Ok((config, _)) => {
                prop_assert!((least..=most).contains(&n), "{line}");
                let (pool, number) = (&config.pools[0], n as usize);
                let limit = |limit: Option<NonZeroUsize>| limit.map(NonZeroUsize::get) == Some(number);
                let failures = |count: Option<NonZeroU32>| count.map(NonZeroU32::get) == Some(n);
                let taken = match key {
                    0 => u32::from(pool.upstreams[0].weight) == n && pool.upstreams[1].weight == 1,
                    1 => limit(pool.upstreams[0].in_flight),
                    2 => failures(pool.passive.connect_failures),
                    3 => failures(pool.passive.gateway_failures),
                    4 => u32::from(pool.passive.max_evicted) == n,
                    5 => (400..=599).all(|s| retry(&config, 0).on_status.contains(s) == (u32::from(s) == n)),
                    6 => retry(&config, 0).budget == Some(n),
                    _ => limit(pool.limits.in_flight),
                };
                prop_assert!(taken, "{line}");
            }
            Err(problems) => {
                prop_assert!(!(least..=most).contains(&n), "{line}: {problems:#?}");
                let errors = problems.iter().filter(|problem| problem.severity != Severity::Warning);
                prop_assert_eq!(errors.count(), 1);
            }
        }
    }

    /// A clock is called late exactly where another one is sooner: the whole request's, else the deadline's.
    #[test]
    fn a_clock_that_never_strikes_is_told(read in 1u64..9, request in 1u64..9, deadline in 1u64..9) {
        let clocks = format!("timeouts = {{ read = \"{read}s\", request = \"{request}s\" }}\nretry.deadline = \"{deadline}s\"\n");
        let all = said(&format!("{POOL}{clocks}"));
        prop_assert_eq!(all.contains("is never reached"), read >= request, "{}", all);
        prop_assert_eq!(all.contains("is not below retry.deadline"), read < request && read >= deadline, "{}", all);
        // A route that is stricter than its pool gets no word, one that is laxer does.
        let split = said(&format!("{POOL}timeouts.request = \"{request}s\"\nretry.deadline = \"off\"\n[route.a]\ntimeouts.read = \"{read}s\"\n"));
        prop_assert_eq!(split.contains("of the pool ends it all"), read >= request, "{}", split);
        let split = said(&format!("{POOL}timeouts.read = \"{read}s\"\n[route.a]\ntimeouts.request = \"{request}s\"\n"));
        prop_assert_eq!(split, "");
    }

    /// No pair of evictions is taken in which the first is longer than the longest.
    #[test]
    fn the_first_eviction_is_never_the_longer(first in 1u64..200, most in 1u64..200) {
        let text = format!("{POOL}passive = {{ evict = \"{first}s\", evict_max = \"{most}s\" }}\n");
        prop_assert_eq!(check(&text).is_ok(), first <= most);
    }
}

#[test]
fn tls_of_a_pool_is_read_with_all_that_is_wrong() {
    let problems = |text: &str| match Config::from_toml(text) {
        Ok(_) => String::new(),
        Err(problems) => problems.iter().map(|problem| format!("{problem:?}\n")).collect(),
    };
    let authority = crate::support::tls_origin::Authority::new();
    let (one, two) = (authority.issue(&["a.test"], 2090), authority.issue(&["b.test"], 2090));
    let pool = "[pool.app]\nupstreams = [\"https://app\"]\nhost_header = \"upstream\"\n[pool.app.tls]\n";
    for (lines, wanted) in [
        ("ca = \"no-such.pem\"\ncert = \"x.pem\"\n", &["cannot read no-such.pem", "`cert` has no key"][..]),
        ("server_name = \"https://x\"", &["is not a name or an IP address"]),
        (&format!("ca = {:?}", one.key_file), &["holds a key, and no certificate"]),
        (&format!("cert = {:?}\nkey = {:?}", one.cert_file, two.key_file), &["this key is not the one of `cert`"]),
        (&format!("cert = {:?}\nkey = {:?}", one.cert_file, one.cert_file), &["holds a certificate, and no key"]),
    ] {
        let said = problems(&format!("{pool}{lines}"));
        assert!(wanted.iter().all(|wanted| said.contains(wanted)), "{lines}: {said}");
    }
    let good = format!("{pool}ca = {:?}\ncert = {:?}\nkey = {:?}", authority.file(), one.cert_file, one.key_file);
    let config = Config::from_toml(&good).unwrap();
    let tls = config.pools[0].tls.as_ref().unwrap();
    assert!(tls.verify && tls.server_name.is_none() && config.pools[0].timeouts.tls == Duration::from_secs(5));
    let text = "[pool.app]\nupstreams = [\"unix:/run/app.sock\"]\nhealth.port = 9000\n";
    assert!(problems(text).contains("unix:/run/app.sock has no port to check"), "{}", problems(text));
}

#[test]
fn name_servers_are_addresses_and_every_pool_asks_them() {
    let config = |line: &str| Config::from_toml(&format!("{line}\n[pool.app]\nupstreams = [\"app:1\"]\n"));
    let servers = |line: &str| config(line).unwrap().pools[0].name_servers.to_vec();
    let at = |text: &str| text.parse().unwrap();
    assert_eq!(servers(""), []);
    let said = "name_servers = [\"127.0.0.1:8600\", \"10.0.0.2\", \"fd00::1\", \"[fd00::2]\", \"[fd00::3]:5353\"]";
    let wanted = ["127.0.0.1:8600", "10.0.0.2:53", "[fd00::1]:53", "[fd00::2]:53", "[fd00::3]:5353"].map(at);
    assert_eq!(servers(said), wanted);
    for wrong in ["dns.internal", "0.0.0.0", "10.0.0.1:0", ""] {
        let problems = config(&format!("name_servers = [\"{wrong}\"]")).unwrap_err();
        assert!(problems[0].message.contains("not the address of a name server"), "{problems:?}");
    }
}

#[test]
fn a_service_has_its_weights_in_its_records_and_may_be_a_backup() {
    let config = |entry: &str| Config::from_toml(&format!("[pool.app]\nupstreams = [\"3000\", {entry}]\n"));
    let entry = "{ address = \"srv:_http._tcp.app\", name = \"b\", backup = true }";
    assert!(config(entry).unwrap().pools[0].upstreams[1].backup);
    let problems = config("{ address = \"srv:_http._tcp.app\", weight = 2 }").unwrap_err();
    assert!(problems[0].message.contains("are in its records"), "{problems:?}");
}

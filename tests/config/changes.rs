//! What a reload says has changed: all that did, once, in short lines, and no secret.

use std::collections::BTreeSet;

use causeway::config::{Change, Config, What, changes};
use proptest::prelude::*;

/// Keys of a file, what each is called when it changes, and two things that it can say.
const KEYS: [(&str, &str, [&str; 2]); 27] = [
    ("name", "name", ["\"causeway\"", "\"edge\""]),
    ("workers", "workers", ["\"auto\"", "3"]),
    ("trusted_proxies", "trusted_proxies", ["[\"10.0.0.0/8\"]", "[\"10.0.0.0/8\", \"loopback\"]"]),
    ("listener.web.address", "listener.web.address", ["\":8080\"", "\":8081\""]),
    ("listener.web.protocols", "listener.web.protocols", ["[\"h1\"]", "[\"h1\", \"h2\"]"]),
    ("listener.web.timeouts.head", "listener.web.timeouts.head", ["\"10s\"", "\"5s\""]),
    ("listener.web.limits.fields", "listener.web.limits.fields", ["100", "50"]),
    ("admin.address", "admin.address", ["\"127.0.0.1:9901\"", "\"off\""]),
    ("log.level", "log.level", ["\"info\"", "\"debug\""]),
    ("log.access_to", "log.access_to", ["\"stdout\"", "\"a.log\""]),
    ("shutdown.grace", "shutdown.grace", ["\"0s\"", "\"2s\""]),
    ("route.api.path", "route.api.path", ["\"/api\"", "\"/v2\""]),
    ("route.api.max_body", "route.api.max_body", ["\"off\"", "\"1MiB\""]),
    ("route.api.timeouts.read", "route.api.timeouts.read", ["\"5s\"", "\"6s\""]),
    (
        "route.api.request_headers.set",
        "route.api.request_headers.set.x-key",
        ["{ X-Key = \"s3cret-1\" }", "{ X-Key = \"s3cret-2\" }"],
    ),
    ("route.old.redirect", "route.old.redirect", ["\"https://a\"", "\"https://joe:s3cret@a\""]),
    ("pool.app.balance", "pool.app.balance", ["\"p2c\"", "\"ewma\""]),
    ("pool.app.sticky", "pool.app.sticky", ["\"\"", "\"sid\""]),
    ("pool.app.timeouts.read", "pool.app.timeouts.read", ["\"60s\"", "\"30s\""]),
    ("pool.app.retry.attempts", "pool.app.retry.attempts", ["\"all\"", "2"]),
    ("pool.app.retry.on_status", "pool.app.retry.on_status", ["[]", "[503]"]),
    ("pool.app.health.path", "pool.app.health.path", ["\"/h?key=s3cret-1\"", "\"/h?key=s3cret-2\""]),
    ("pool.app.limits.in_flight", "pool.app.limits.in_flight", ["\"off\"", "10"]),
    ("pool.app.connections.max_idle", "pool.app.connections.max_idle", ["128", "16"]),
    ("pool.app.upstreams", "pool.app.upstreams", ["[\"10.0.0.1:1\"]", "[\"10.0.0.1:1\", \"10.0.0.2:1\"]"]),
    ("errors.detail", "errors.detail", ["\"auto\"", "\"public\""]),
    ("notify.command", "notify.command", ["[\"tell\", \"s3cret-1\"]", "[\"tell\", \"s3cret-2\"]"]),
];

const REST: &str = "route.api.pool = \"app\"\nroute.rest.pool = \"app\"\nroute.old.path = \"/old\"\n";

fn config(text: &str) -> Config {
    Config::from_toml(text).unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"))
}

fn of(said: &[bool]) -> Config {
    let lines =
        KEYS.iter().zip(said).map(|((key, _, values), said)| format!("{key} = {}\n", values[usize::from(*said)]));
    config(&(lines.collect::<String>() + REST))
}

fn lines(old: &str, new: &str) -> Vec<String> {
    changes(&config(old), &config(new)).iter().map(ToString::to_string).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_key_that_changed_is_told_once_and_no_other(
        old in proptest::collection::vec(any::<bool>(), KEYS.len()),
        new in proptest::collection::vec(any::<bool>(), KEYS.len()),
    ) {
        let (was, is) = (of(&old), of(&new));
        prop_assert_eq!(changes(&was, &was), []);
        let told = changes(&was, &is);
        let keys: BTreeSet<&str> = told.iter().map(|change| change.key.as_str()).collect();
        let changed = KEYS.iter().zip(old.iter().zip(&new)).filter(|(_, (old, new))| old != new);
        let wanted: BTreeSet<&str> = changed.map(|((_, called, _), _)| *called).collect();
        prop_assert_eq!(&keys, &wanted);
        prop_assert_eq!(keys.len(), told.len());
        let back: BTreeSet<String> = changes(&is, &was).into_iter().map(|change| change.key).collect();
        prop_assert_eq!(back.iter().map(String::as_str).collect::<BTreeSet<_>>(), keys);
        for change in &told {
            let line = change.to_string();
            prop_assert!(line.is_ascii() && line.len() < 200 && !line.contains('\n'), "{}", line);
            prop_assert!(!format!("{change:?}{line}").contains("s3cret"), "{}", line);
        }
    }
}

const APP: &str = "[pool.app]\nupstreams = [\"10.0.0.1:3000\", { address = \"10.0.0.2:3000\", name = \"b\" }]\n";

#[test]
fn a_change_is_a_short_line() {
    for (old, new, wanted) in [
        ("", "timeouts.read = \"30s\"\n", &["pool.app.timeouts.read: 60s -> 30s"][..]),
        ("", "[route.api]\npath = \"/api\"\n", &["route.api: new", "route.main: gone"]),
        ("[route.a]\npath = \"/a\"\n[route.b]\n", "[route.b]\n", &["route.a: gone"]),
        (
            "",
            "health.path = \"/h\"\n",
            &[
                "pool.app.health.type: tcp -> http",
                "pool.app.health.path: unset -> /h",
                "pool.app.health.method: unset -> GET",
                "pool.app.health.expect_status: unset -> 200-399",
            ],
        ),
        (
            "[route.a]\n",
            "[route.a]\nredirect = \"https://x\"\n",
            &["route.a.redirect: unset -> https://x", "route.a.pool: app -> unset"],
        ),
        (
            "[route.a]\n",
            "[route.a]\nrespond = { status = 503, body = \"no\" }\n",
            &[
                "route.a.respond.status: unset -> 503",
                "route.a.respond.content_type: unset -> text/plain; charset=utf-8",
                "route.a.respond.retry_after: unset -> off",
                "route.a.respond.body: unset -> 2 bytes",
                "route.a.pool: app -> unset",
            ],
        ),
        ("sticky = \"\"\n", "sticky = \"sid\"\n", &["pool.app.sticky: \"\" -> sid"]),
        // What is said, and holds anyway, is no change.
        ("", "balance = \"p2c\" # as it was\n", &[]),
    ] {
        let (old, new) = (format!("{APP}{old}"), format!("{APP}{new}"));
        assert_eq!(lines(&old, &new), wanted, "{new}");
    }
}

#[test]
fn an_item_of_a_list_comes_goes_and_changes() {
    let of = |list: &str| format!("[pool.app]\nupstreams = [{list}]\n");
    let two = of("\"10.0.0.1:3000\", \"10.0.0.2:3000\"");
    for (old, new, wanted) in [
        (&two, of("\"10.0.0.1:3000\", \"10.0.0.2:3000\", \"10.0.0.3:3000\""), "pool.app.upstreams: + 10.0.0.3:3000"),
        (&two, of("\"10.0.0.1:3000\", \"10.0.0.3:3000\""), "pool.app.upstreams: + 10.0.0.3:3000, - 10.0.0.2:3000"),
        (&two, of("\"10.0.0.2:3000\", \"10.0.0.1:3000\""), "pool.app.upstreams: in another order"),
        (
            &two,
            of("\"10.0.0.1:3000\", { address = \"10.0.0.2:3000\", weight = 5 }"),
            "pool.app.upstreams[10.0.0.2:3000].weight: 1 -> 5",
        ),
        (
            &two,
            of("\"10.0.0.1:3000\", { address = \"10.0.0.2:3000\", name = \"b\" }"),
            "pool.app.upstreams[10.0.0.2:3000].name: unset -> b",
        ),
        (&two, format!("{two}health.type = \"off\"\n"), "pool.app.health.type: tcp -> off"),
        (
            &format!("{two}health.type = \"off\"\n"),
            format!("{two}health.path = \"/h\"\n"),
            "pool.app.health.type: off -> http",
        ),
    ] {
        assert_eq!(lines(old, &new), [wanted]);
    }
    let many: Vec<String> = (1..=20).map(|n| format!("\"10.0.1.{n}:1\"")).collect();
    let line = lines(&two, &of(&many.join(", "))).concat();
    assert!(line.ends_with("+ 10.0.1.6:1 and 16 more"), "{line}");
    let told = changes(&config(&two), &config(&of(&many.join(", "))));
    assert!(
        matches!(&told[..], [Change { what: What::Items { added, removed }, .. }] if added.len() == 20 && removed.len() == 2)
    );
}

/// A route that says nothing of its own goes by its pool: that is told of the pool.
#[test]
fn a_pools_clock_is_told_once() {
    let routes: String = (0..50).map(|n| format!("[route.r{n}]\npath = \"/{n}\"\n")).collect();
    let of = |clock: &str| format!("{APP}timeouts.read = \"{clock}\"\n{routes}[route.own]\ntimeouts.read = \"30s\"\n");
    assert_eq!(lines(&of("60s"), &of("30s")), ["pool.app.timeouts.read: 60s -> 30s"]);
    assert_eq!(
        lines(&of("60s"), &of("60s").replace("read = \"30s\"", "read = \"60s\"")),
        ["route.own.timeouts.read: 30s -> 60s"]
    );
}

#[test]
fn what_is_in_a_file_is_told_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let issue = |name: &str| {
        let site = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        write("site.pem", &site.cert.pem());
        write("site.key", &site.signing_key.serialize_pem());
    };
    let (pem, key) = (file("site.pem"), file("site.key"));
    let text = format!(
        "admin.token_file = \"{}\"\nerrors.page = \"{}\"\n\
         [listener.web]\naddress = \":1\"\ntls.certificates = [{{ cert = \"{pem}\", key = \"{key}\" }}]\n\
         {APP}[route.a]\nbasic_auth = \"{}\"\n[route.s]\npath = \"/s\"\nrespond = {{ status = 503, file = \"{}\" }}\n",
        file("token"),
        file("page.html"),
        file("users"),
        file("sorry.txt"),
    );
    issue("a.test");
    write("token", "s3cret-s3cret-s3cret-1");
    write("page.html", "one {{cause}}");
    write("sorry.txt", "one");
    write("users", "joe:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC\n");
    let old = Config::from_toml(&text).unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert_eq!(changes(&old, &config(&text)), []);
    issue("a.test");
    write("token", "s3cret-s3cret-s3cret-2");
    write("page.html", "two {{cause}}");
    write("sorry.txt", "two");
    write("users", "ann:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC\n");
    let told: Vec<String> = changes(&old, &config(&text)).iter().map(ToString::to_string).collect();
    let changed = |key: &str| format!("{key}: its contents changed");
    let certificates = format!("listener.web.tls.certificates[{pem}]");
    assert_eq!(
        told,
        [
            changed(&format!("{certificates}.cert")),
            changed(&format!("{certificates}.key")),
            changed("admin.token_file"),
            changed("route.a.basic_auth"),
            changed("route.s.respond.body"),
            changed("errors.page"),
        ]
    );
}

//! What a person who writes a configuration sees: what is accepted, and the exact words about what is not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use causeway::config::compile::{compile, known};
use causeway::config::load::load_from;
use causeway::config::model::{AccessFormat, Action, Check, Detail, HostPattern, Level, Piece};
use causeway::config::problem::render;
use causeway::config::source::{File, gather};
use causeway::config::{Config, Flags, LoadError, Loaded, Problem};
use proptest::prelude::*;

mod certificates;
mod changes;
mod listener;
mod pool;
mod reach;

/// As `causeway check causeway.toml` reads it: the problems, or the config and its warnings.
fn check(text: &str) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    compile(&gather(Some(File { name: "causeway.toml", text }), &Flags::default(), &|_| None), None)
}

/// What is printed about a file.
fn said(text: &str) -> String {
    match check(text) {
        Ok((_, warnings)) => render(&warnings),
        Err(problems) => render(&problems),
    }
}

/// Where a test's own file stands.
fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("causeway.toml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

/// Loads with an environment of its own, and looks for files only where it is told to.
fn loaded(places: &[PathBuf], flags: &Flags, env: &[(&str, &str)]) -> Result<Loaded, LoadError> {
    let env: BTreeMap<&str, &str> = env.iter().copied().collect();
    load_from(places, flags, &|name| env.get(name).map(|value| (*value).to_owned()))
}

fn upstreams(config: &Config, pool: usize) -> Vec<String> {
    config.pools[pool].upstreams.iter().map(|entry| entry.id().to_string()).collect()
}

/// The example of LOOK.md, to the letter.
#[test]
fn all_problems_at_once_as_look_has_them() {
    let text = r#"listen = ":8080"
[pool.app]
upstreams = ["127.0.0.1:3000", "127.0.0.1:3001"]
balanse = "p2c"

[pool.app.timeouts]
listen = ":8080"
connect = "3 sec"

[route.api]
path = "/api"
pool = "ap"
"#;
    let wanted = r#"causeway.toml:4:1: unknown key `balanse` in [pool.app]
  balanse = "p2c"
  ^^^^^^^ did you mean `balance`?
causeway.toml:7:1: `listen` does not belong in [pool.app.timeouts]
  listen = ":8080"
  ^^^^^^ move it to the top of the file, above the first [table]
causeway.toml:8:11: "3 sec" is not a duration
  connect = "3 sec"
            ^^^^^^^ write "3s" (units: ms, s, m, h)
causeway.toml:12:8: there is no pool `ap`
  pool = "ap"
         ^^^^ did you mean `app` (line 2)?
4 problems. Nothing was started or changed.
"#;
    assert_eq!(said(text), wanted);
}

/// Each: what somebody wrote, and all that is said about it.
#[test]
fn what_is_wrong_is_said_in_these_words() {
    let pool = "[pool.app]\nupstreams = [\"3000\"]\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/problems.txt");
    let cases = std::fs::read_to_string(&path).unwrap();
    let mut wanted_all = String::new();
    for case in cases.split("\n----\n").filter(|case| !case.trim().is_empty()) {
        let (text, _) = case.split_once("\n====\n").expect("a case is a file, ====, what is said");
        let whole = format!("{text}\n").replace("POOL\n", pool);
        wanted_all.push_str(&format!("{text}\n====\n{}\n----\n", said(&whole).trim_end()));
    }
    if std::env::var_os("BLESS").is_some() {
        return std::fs::write(path, wanted_all).unwrap();
    }
    assert_eq!(cases, wanted_all, "BLESS=1 cargo test writes the new words into tests/config/problems.txt");
    let shown = wanted_all.split("\n----\n").filter_map(|case| Some(case.split_once("\n====\n")?.1));
    let is_long = |line: &&str| line.len() > 80 && !line.starts_with("causeway.toml:") || !line.is_ascii();
    let long: Vec<&str> = shown.flat_map(str::lines).filter(is_long).collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn the_smallest_file_has_the_defaults_of_the_contract() {
    let config = Config::from_toml("[pool.app]\nupstreams = [\"127.0.0.1:3000\", \"127.0.0.1:3001\"]\n").unwrap();
    let [listener] = config.listeners.as_slice() else { panic!("{:?}", config.listeners) };
    assert_eq!((&*listener.name, listener.address.to_string().as_str()), ("main", ":8080"));
    assert_eq!(listener.head_timeout, Duration::from_secs(10));
    assert_eq!((listener.head_limit, listener.fields_limit, listener.connections_limit), (32 << 10, 100, None));
    assert_eq!(config.admin.as_ref().unwrap().to_string(), "127.0.0.1:9901");
    assert_eq!((config.log.level, config.log.access), (Level::Info, AccessFormat::Auto));
    assert_eq!(config.shutdown.timeout, Duration::from_secs(8));
    assert_eq!(config.errors.detail, Detail::Auto);
    let [route] = config.routes.as_slice() else { panic!("{:?}", config.routes) };
    assert_eq!((&*route.name, route.path.as_str(), route.max_body), ("main", "/", None));
    let health = config.pools[0].health.as_ref().unwrap();
    assert!(matches!(health.check, Check::Tcp), "{health:?}");
    assert_eq!((health.healthy_after, health.unhealthy_after), (2, 3));
    assert!(config.pools[0].last_resort && config.trusted_proxies.0.is_empty());
}

#[test]
fn a_route_overrides_its_pool_key_by_key() {
    let text = r#"
[pool.app]
upstreams = ["3000"]
timeouts = { read = "9s", connect = "1s" }
retry.deadline = "20s"
[route.slow]
path = "/slow/"
timeouts.read = "15s"
retry = { attempts = 2, resend = "off" }
[route.rest]
"#;
    let config = Config::from_toml(text).unwrap();
    let Action::Forward(slow) = &config.routes[0].action else { panic!() };
    assert_eq!((slow.timeouts.read, slow.timeouts.connect), (Duration::from_secs(15), Duration::from_secs(1)));
    assert_eq!(slow.retry.deadline, Some(Duration::from_secs(20)));
    assert_eq!((slow.retry.attempts.map(|n| n.get()), slow.retry.resend), (Some(2), Some(0)));
    assert_eq!(config.routes[0].path, "/slow");
    let Action::Forward(rest) = &config.routes[1].action else { panic!() };
    assert_eq!((rest.timeouts.read, rest.retry.attempts), (Duration::from_secs(9), None));
}

#[test]
fn routes_redirect_and_respond() {
    let text = r#"
[route.old]
hosts = ["OLD.example:80", "*.old.example", "old.example"]
redirect = "https://{{host}}/new{{path}}"
[route.down]
respond = { status = 503, body = "Back soon.", retry_after = "2m" }
"#;
    let config = Config::from_toml(text).unwrap();
    let hosts = vec![HostPattern::Exact("old.example".into()), HostPattern::Suffix(".old.example".into())];
    assert_eq!(config.routes[0].hosts, hosts);
    let Action::Redirect(redirect) = &config.routes[0].action else { panic!() };
    let text = |text: &str| Piece::Text(text.into());
    assert_eq!(redirect.0, [text("https://"), Piece::Host, text("/new"), Piece::Path]);
    let Action::Respond(respond) = &config.routes[1].action else { panic!() };
    assert_eq!((respond.status, respond.retry_after, &respond.body[..]), (503, Some(120), &b"Back soon."[..]));
    assert_eq!(respond.content_type, "text/plain; charset=utf-8");
}

#[test]
fn words_for_networks_and_mapped_addresses() {
    let text = "trusted_proxies = [\"private\", \"::ffff:192.0.2.0/120\"]\n[route.a]\nrespond = {}\n";
    let config = Config::from_toml(text).unwrap();
    for (ip, trusted) in [
        ("10.1.2.3", true),
        ("::ffff:172.16.0.1", true),
        ("fd00::1", true),
        ("192.0.2.9", true),
        ("127.0.0.1", false),
        ("8.8.8.8", false),
    ] {
        assert_eq!(config.trusted_proxies.contains(ip.parse().unwrap()), trusted, "{ip}");
    }
}

#[test]
fn without_a_file() {
    let words = |upstreams: &[&str]| upstreams.iter().map(|&u| u.to_owned()).collect::<Vec<_>>();
    let flags = Flags {
        upstreams: words(&["3000", "app:3001"]),
        listen: Some(":1".into()),
        health_path: Some("/healthz".into()),
        admin: Some("off".into()),
        set: words(&["pool.app.timeouts.read=5s", "workers=2", "name=edge"]),
        ..Flags::default()
    };
    let config = loaded(&[], &flags, &[]).unwrap().config;
    assert_eq!(upstreams(&config, 0), ["localhost:3000", "app:3001"]);
    assert_eq!((&*config.pools[0].name, config.listeners[0].address.port(), config.admin.is_none()), ("app", 1, true));
    assert!(matches!(&config.pools[0].health.as_ref().unwrap().check, Check::Http(http) if http.path == "/healthz"));
    assert_eq!((config.pools[0].timeouts.read, config.workers.unwrap().get()), (Duration::from_secs(5), 2));
    assert!(config.file.is_none());

    let env = [
        ("CAUSEWAY_UPSTREAMS", "app:3000, app:3001,"),
        ("CAUSEWAY_LISTEN", "8081"),
        ("CAUSEWAY_LOG", "debug"),
        ("CAUSEWAY_DETAIL", "public"),
        ("CAUSEWAY_SET", "pool.app.retry.attempts=1; shutdown.grace=\"1s\";"),
        ("CAUSEWAY_ADMIN", ""),
    ];
    let config = loaded(&[], &Flags::default(), &env).unwrap().config;
    assert_eq!(upstreams(&config, 0), ["app:3000", "app:3001"]);
    assert_eq!((config.log.level, config.errors.detail), (Level::Debug, Detail::Public));
    assert_eq!(config.pools[0].retry.attempts.unwrap().get(), 1);
    assert_eq!(config.shutdown.grace, Duration::from_secs(1));
    assert!(config.admin.is_some());
}

#[test]
fn a_flag_beats_the_environment_beats_the_file() {
    let text = "listen = \":1\"\n[pool.app]\nupstreams = [\"3000\"]\n[log]\nlevel = \"warn\"\n";
    let (_folder, path) = written(text);
    let places = [path.with_file_name("none.toml"), path.clone()];
    let env = [("CAUSEWAY_LISTEN", ":2"), ("CAUSEWAY_UPSTREAMS", "4000,4001"), ("CAUSEWAY_SET", "log.level=error")];
    let flags = Flags { listen: Some(":3".into()), ..Flags::default() };
    let config = loaded(&places, &flags, &env).unwrap().config;
    assert_eq!(config.listeners.iter().map(|l| l.address.port()).collect::<Vec<_>>(), [3]);
    assert_eq!(
        (upstreams(&config, 0), config.log.level),
        (vec!["localhost:4000".into(), "localhost:4001".into()], Level::Error)
    );
    assert_eq!(config.file, Some(path.clone()));
    let config = loaded(&places, &Flags::default(), &env).unwrap().config;
    assert_eq!(config.listeners[0].address.port(), 2);

    // --upstream means no file, unless one is named: then one of them is a mistake.
    let flags = Flags { upstreams: vec!["5000".into()], ..Flags::default() };
    assert_eq!(upstreams(&loaded(&places, &flags, &[]).unwrap().config, 0), ["localhost:5000"]);
    let named = Flags { config: Some(path.clone()), ..flags.clone() };
    let env = [("CAUSEWAY_CONFIG", path.to_str().unwrap())];
    for error in [loaded(&[], &named, &[]).unwrap_err(), loaded(&[], &flags, &env).unwrap_err()] {
        assert_eq!(error.exit_code(), 2, "{error}");
    }
}

#[test]
fn a_listener_by_name_takes_the_flag_when_it_is_the_only_one() {
    let text = "[listener.web]\naddress = \":1\"\nlimits.head = \"8KiB\"\n[pool.web]\nupstreams = [\"3000\"]\n";
    let (_folder, path) = written(text);
    let flags = Flags { listen: Some(":2".into()), health_path: Some("/up".into()), ..Flags::default() };
    let config = loaded(&[path], &flags, &[]).unwrap().config;
    assert_eq!((config.listeners.len(), config.listeners[0].address.port()), (1, 2));
    assert_eq!((&*config.listeners[0].name, config.listeners[0].head_limit), ("web", 8 << 10));
    assert!(matches!(&config.pools[0].health.as_ref().unwrap().check, Check::Http(http) if http.path == "/up"));
}

#[test]
fn nothing_to_run_and_nothing_to_read() {
    let error = loaded(&[PathBuf::from("/nonexistent/causeway.toml")], &Flags::default(), &[]).unwrap_err();
    assert!(matches!(error, LoadError::NothingConfigured));
    assert_eq!(error.exit_code(), 78);
    assert!(error.to_string().contains("  causeway run --upstream 3000\n"), "{error}");
    let flags = Flags { config: Some("/nonexistent/x.toml".into()), ..Flags::default() };
    let error = loaded(&[], &flags, &[]).unwrap_err();
    assert_eq!(error.exit_code(), 78);
    assert!(error.to_string().starts_with("Cannot read /nonexistent/x.toml: No such file"), "{error}");
}

#[test]
fn flags_and_variables_are_named_in_problems() {
    let flags = Flags {
        upstreams: vec!["http://app/x".into()],
        set: [
            "pool.app.retry.on_status=503",
            "pool.app.balanse=p2c",
            "pool.app.timeouts.read=5",
            "listen.x=1",
            "x",
            "a b=1",
        ]
        .map(Into::into)
        .to_vec(),
        listen: Some("*:80".into()),
        ..Flags::default()
    };
    let env = [("CAUSEWAY_LOG", "verbose"), ("CAUSEWAY_SET", "workers=many")];
    let said = loaded(&[], &flags, &env).unwrap_err().to_string();
    for wanted in [
        "--set pool.app.balanse=p2c: unknown key `balanse` in [pool.app]\n  did you mean `balance`?",
        "--set pool.app.timeouts.read=5: \"5\" is not a duration\n  write \"5s\"",
        "--upstream http://app/x: \"http://app/x\": an address holds no path\n  write \"app\"; to change the path, give a route replace_prefix",
        "--listen *:80: \"*:80\" is not an address\n  write \":80\"",
        "CAUSEWAY_LOG: \"verbose\" is not a word for `level`\n  write ",
        "CAUSEWAY_SET=workers=many: `workers` cannot be \"many\"\n  write \"auto\" or a whole number",
        "--set x: there is no \"=\"\n  write KEY=VALUE, like pool.app.timeouts.read=5s",
        "--set a b=1: \"a b\" is not a key\n  write it like pool.app.timeouts.read",
        "--set pool.app.retry.on_status=503: `on_status` takes a list, not a number\n  write on_status = [503]",
        "9 problems.",
    ] {
        assert!(said.contains(wanted), "{wanted}\n---\n{said}");
    }
}

/// Paths in a file start at its folder.
#[test]
fn files_are_found_beside_the_file_that_names_them() {
    let (folder, path) = written("[route.a]\nrespond = { file = \"a.html\" }\n[log]\naccess_to = \"access.log\"\n");
    std::fs::write(folder.path().join("a.html"), "<p>").unwrap();
    let config = loaded(std::slice::from_ref(&path), &Flags::default(), &[]).unwrap().config;
    let Action::Respond(respond) = &config.routes[0].action else { panic!() };
    assert_eq!((&respond.body[..], respond.content_type.to_str().unwrap()), (&b"<p>"[..], "text/html; charset=utf-8"));
    let log = causeway::config::model::LogTarget::File(folder.path().join("access.log"));
    assert_eq!(config.log.access_to, log);
    std::fs::remove_file(folder.path().join("a.html")).unwrap();
    let said = loaded(&[path], &Flags::default(), &[]).unwrap_err().to_string();
    assert!(said.contains("a.html: No such file"), "{said}");
}

#[test]
fn the_examples_load_without_a_word() {
    for name in [
        "causeway.toml",
        "examples/minimal.toml",
        "examples/two-apps.toml",
        "examples/maintenance.toml",
        "examples/own-page.toml",
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
        let flags = Flags { config: Some(path), ..Flags::default() };
        let loaded = loaded(&[], &flags, &[]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(loaded.warnings, [], "{name}");
    }
}

const REFERENCE: &str = include_str!("../config/causeway.toml");

/// The reference with every `#key = default` made a line of its own.
fn uncommented() -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    REFERENCE.lines().map(line).collect()
}

#[test]
fn the_reference_tells_the_true_defaults() {
    let read = |text: &str| match check(text) {
        Ok((config, _)) => format!("{config:#?}"),
        Err(problems) => panic!("{}", render(&problems)),
    };
    let upstreams = "upstreams = [\"127.0.0.1:3000\", { address = \"127.0.0.1:3001\", name = \"second\" }]";
    let smallest = read(&format!("[pool.app]\n{upstreams}\n"));
    assert_eq!(read(REFERENCE), smallest);
    assert_eq!(read(&uncommented()), smallest);
}

#[test]
fn the_reference_has_every_key_and_no_other() {
    let mut written = BTreeSet::new();
    walk("", &uncommented().parse().unwrap(), &mut written);
    // The examples: `#   redirect = "…"` stands in the route above it, others below the table that is part of the
    // example.
    let mut home = "route.NAME".to_owned();
    for line in REFERENCE.lines() {
        let example = line.strip_prefix("#   ").and_then(|line| Some((line, line.parse::<toml::Table>().ok()?)));
        match example {
            Some((line, table)) if line.starts_with('[') => {
                walk("", &table, &mut written);
                home = line.trim_matches(['[', ']']).replace(".main.", ".NAME.");
            }
            Some((_, table)) => walk(&home, &table, &mut written),
            None if line.is_empty() => "route.NAME".clone_into(&mut home),
            None => {}
        }
    }
    // "Any key of [pool.NAME.timeouts] and [pool.NAME.retry]": said once, not repeated.
    let repeated = |kind: &str| matches!(kind, "route.NAME.timeouts" | "route.NAME.retry");
    let known: BTreeSet<String> =
        known().iter().filter(|k| !repeated(&k.kind)).map(|k| format!("{}.{}", k.kind, k.key)).collect();
    assert_eq!(written, known);
}

/// Writes down `pool.NAME.timeouts.read` for each key of a table.
fn walk(kind: &str, table: &toml::Table, out: &mut BTreeSet<String>) {
    for (key, value) in table {
        let path = format!("{kind}.{key}");
        let path = path.trim_start_matches('.');
        out.insert(format!("{kind}.{key}"));
        let tables = value.as_array().into_iter().flatten().chain([value]).filter_map(toml::Value::as_table);
        for inner in tables {
            if matches!(path, "pool" | "route" | "listener") {
                inner.values().for_each(|one| walk(&format!("{path}.NAME"), one.as_table().unwrap(), out));
            } else {
                walk(path, inner, out);
            }
        }
    }
}

/// Text that is nearly a configuration.
fn nearly() -> impl Strategy<Value = String> {
    let known = known();
    let keys: Vec<String> = known.iter().map(|k| k.key.to_owned()).chain(["x".into(), "NAME".into()]).collect();
    let tables: Vec<String> = known.iter().map(|k| k.kind.replace("NAME", "app")).filter(|t| !t.is_empty()).collect();
    let value = prop_oneof![
        Just("\"app\"".to_owned()),
        Just("[\"3000\", {address = \"a:1\", name = \"x\"}]".to_owned()),
        Just("{}".to_owned()),
        Just("1979-05-27".to_owned()),
        "[0-9]{1,22}",
        "\"[a-z0-9:/.*{}$%-]{0,12}\"",
        "\"[0-9]{1,4}(ms|s|m|h|B|KiB|MiB)\"",
        "\\[(\"[a-z0-9:/.*-]{0,9}\",?){0,3}\\]",
        "\\PC{0,6}",
        "\"\\PC{0,6}\"",
        "\"[0-9.]{0,4}%?\"",
        "\"(p2c|ewma|off|hash(:(client_ip|path|header|cookie)(:[a-zA-Z-]{0,4})?)?)\"",
        "\\[([0-9]{1,4},?){0,3}\\]",
        "\\[\\{address = \"a:1\", (weight|backup|in_flight) = ([0-9]{1,4}|true|\"off\")\\}\\]",
    ];
    let line = prop_oneof![
        6 => (prop::sample::select(keys), value).prop_map(|(key, value)| format!("{key} = {value}\n")),
        3 => prop::sample::select(tables).prop_map(|table| format!("[{table}]\n")),
        1 => "\\PC{0,20}\n",
    ];
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn no_text_is_too_strange(text in prop_oneof![nearly(), "\\PC{0,60}", any::<String>()]) {
        let said = said(&text);
        prop_assert!(said.is_ascii());
        match check(&text) {
            Ok(_) => prop_assert!(!said.contains("Nothing was started")),
            Err(problems) => prop_assert!(!problems.is_empty() && said.ends_with("Nothing was started or changed.\n")),
        }
    }

    #[test]
    fn no_flag_is_too_strange(key in "[a-z.\"= ]{0,12}|\\PC{0,8}", value in "\\PC{0,12}", text in nearly()) {
        let flags = Flags { set: vec![format!("{key}={value}")], listen: Some(value.clone()), ..Flags::default() };
        let env = |_: &str| Some(value.clone());
        let sources = gather(Some(File { name: "f", text: &text }), &flags, &env);
        let _ = render(&compile(&sources, None).map_or_else(|p| p, |(_, p)| p));
    }
}

//! Every text about a cause names only keys and commands that exist, and what it says to write can be written.

use std::process::Command;

use causeway::cause::Cause;
use causeway::config::Config;
use causeway::config::compile;

/// Programs that a step may name; all others are this one's commands.
const TOOLS: &[&str] = &[
    "curl",
    "getent",
    "ip",
    "ss",
    "sysctl",
    "ulimit",
    "cat",
    "df",
    "docker",
    "htpasswd",
    "journalctl",
    "openssl",
    "date",
];

/// Every key with its table in front, `pool.NAME.timeouts.read`.
fn keys() -> Vec<String> {
    let known = compile::known().into_iter().filter(|known| !known.table);
    known
        .map(|known| if known.kind.is_empty() { known.key.to_owned() } else { format!("{}.{}", known.kind, known.key) })
        .collect()
}

/// A key is of a pool unless it says more.
fn exists(keys: &[String], key: &str) -> bool {
    keys.iter().any(|known| known == key || *known == format!("pool.NAME.{key}"))
}

#[test]
fn its_limits_are_keys() {
    let keys = keys();
    for cause in Cause::ALL {
        for (key, _) in cause.lore().limits {
            assert!(exists(&keys, key), "{cause}: {key}");
        }
    }
}

#[test]
fn its_sentences_name_only_keys_that_exist() {
    let keys = keys();
    let tables =
        ["timeouts.", "buffers.", "connections.", "retry.", "limits.", "health.", "passive.", "errors.", "shutdown."];
    for cause in Cause::ALL {
        let lore = cause.lore();
        let steps = lore.steps.iter().flat_map(|(what, how)| [*what, *how]);
        for text in lore.reasons.iter().copied().chain(steps).chain(lore.limits.iter().map(|(_, what)| *what)) {
            for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || "._".contains(c))) {
                let word = word.trim_matches('.');
                assert!(!tables.iter().any(|table| word.starts_with(table)) || exists(&keys, word), "{cause}: {word}");
            }
        }
    }
}

/// `connections.idle = "1s"`, of a pool; `[route.NAME.timeouts] read = "5m"`, as it stands.
#[test]
fn what_it_says_to_write_can_be_written() {
    const POOL: &str = "[pool.app]\nupstreams = [\"127.0.0.1:1\"]\n";
    let mut written = 0;
    for (cause, how) in Cause::ALL.iter().flat_map(|cause| cause.lore().steps.iter().map(move |(_, how)| (cause, *how)))
    {
        let Some((key, value)) = how.split_once(" = ") else { continue };
        let how = how.replace("POOL", "app").replace("NAME", "main").replace("ADDRESS:PLAIN_PORT", "127.0.0.1:2");
        let how = how.replace("ADDRESS:OTHER_PORT", "127.0.0.1:3").replace("ADDRESS:PORT", "127.0.0.1:4");
        let file = match how.split_once("] ") {
            Some((table, line)) if key.starts_with('[') => format!("{POOL}{table}]\n{line}\n"),
            _ if key == "upstreams" => format!("[pool.app]\n{how}\n"),
            _ if key == "trusted_proxies" => format!("{how}\n{POOL}"),
            _ if key == "server.keepAliveTimeout" => continue,
            // A body is looked for only in an answer to something.
            _ if key == "health.expect_body" || key == "health.expect_status" || key == "health.host_header" => {
                format!("{POOL}health.path = \"/\"\n{how}\n")
            }
            _ => format!("{POOL}{how}\n"),
        };
        if let Err(problems) = Config::from_toml(&file) {
            panic!("{cause}: {how} ({value})\n{problems:#?}");
        }
        written += 1;
    }
    assert!(written > 20, "only {written}");
}

#[test]
fn its_commands_exist() {
    let help = Command::new(env!("CARGO_BIN_EXE_causeway")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let own: Vec<_> = help.lines().filter_map(|line| line.split_whitespace().next()).collect();
    for (cause, how) in Cause::ALL.iter().flat_map(|cause| cause.lore().steps.iter().map(move |(_, how)| (cause, *how)))
    {
        let mut words = how.split_ascii_whitespace();
        match words.next() {
            Some("causeway") => assert!(words.next().is_some_and(|word| own.contains(&word)), "{cause}: {how}"),
            // A command begins with a tool; all else is a line of a config or a word of advice.
            Some(word) if how.contains(" -") => assert!(TOOLS.contains(&word), "{cause}: {how}"),
            _ => {}
        }
        // The commands find out by themselves where the proxy is to be asked.
        assert!(!how.contains("9901"), "{cause}: {how}");
    }
}

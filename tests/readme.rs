//! What the README says is so: its files load, its commands exist, its defaults and its numbers are the code's.

mod picture;

use std::path::Path;
use std::process::Command;

use causeway::cause::Cause;
use causeway::config::Config;

use crate::support::source;

/// Fenced blocks of one language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(said) = line.strip_prefix("```") {
            let block: Vec<_> = lines.by_ref().take_while(|l| *l != "```").collect();
            if said == language {
                found.push(block.join("\n"));
            }
        }
    }
    found
}

/// What stands between backticks outside of fenced blocks.
fn spans(text: &str) -> Vec<&str> {
    let prose = text.split("\n```").step_by(2);
    prose.flat_map(|part| part.lines().flat_map(|line| line.split('`').skip(1).step_by(2))).collect()
}

#[test]
fn its_config_files_load() {
    let blocks = blocks(&source::read("README.md"), "toml");
    assert!(blocks.len() >= 2);
    for block in blocks {
        if let Err(problems) = Config::from_toml(&block) {
            panic!("README:\n{block}\n{problems:#?}");
        }
    }
}

/// Each line of a text as a command that starts with `causeway `, if it is one, held against what the binary says of
/// itself.
struct Commands {
    listed: Vec<String>,
    checked: usize,
}

impl Commands {
    fn new() -> Self {
        let words = help(&[]).lines().filter_map(|line| line.split_whitespace().next().map(Into::into)).collect();
        Self { listed: words, checked: 0 }
    }

    fn hold(&mut self, file: &str, line: &str) {
        let line = line.split(" #").next().unwrap_or_default();
        let mut words = line.split_whitespace().skip_while(|w| *w != "causeway").skip(1);
        let Some(command) = words.next().filter(|w| w.bytes().all(|b| b.is_ascii_lowercase())) else { return };
        assert!(self.listed.iter().any(|w| w == command), "{file}: `{line}`: no such command");
        let help = help(&[command]);
        for flag in words.filter(|w| w.starts_with("--")) {
            assert!(help.contains(flag), "{file}: `{line}`: causeway {command} has no {flag}");
        }
        self.checked += 1;
    }
}

fn help(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_causeway")).args(words).arg("--help").output().unwrap();
    assert!(output.status.success(), "causeway {words:?} --help: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn its_commands_exist() {
    let mut commands = Commands::new();
    let text = source::read("README.md");
    let shell = blocks(&text, "sh").join("\n").replace("cargo run --release -- ", "causeway ");
    for line in shell.lines().chain(spans(&text)) {
        commands.hold("README", line);
    }
    assert!(commands.checked > 8, "only {} commands found in the README", commands.checked);
}

/// An alert wakes somebody: what it tells them to type is there. A command is what follows "Next" up to the end of its
/// clause, and what is asked for in the file's head (`--admin ADDR`) is there too.
#[test]
fn the_commands_of_the_alerts_exist() {
    const FILE: &str = "config/deploy/alerts.yml";
    let mut commands = Commands::new();
    let text = source::read(FILE).replace("\n            ", " ");
    let alerts = text.split("- alert: ").skip(1);
    for (alert, told) in alerts.filter_map(|alert| alert.split_once("Next")) {
        let before = commands.checked;
        for (at, _) in told.match_indices("causeway ") {
            let clause = told[at..].split([',', '.', ';', '(', ':', '\n']).next().unwrap();
            commands.hold(FILE, clause);
        }
        assert!(commands.checked > before, "{}: nothing to type", alert.lines().next().unwrap());
    }
    assert!(commands.checked > 15, "only {} commands found in {FILE}", commands.checked);
    let flags = text.split(|c: char| !(c.is_ascii_lowercase() || c == '-')).filter(|word| word.starts_with("--"));
    for flag in flags {
        for command in ["status", "explain"] {
            assert!(help(&[command]).contains(flag), "{FILE}: causeway {command} has no {flag}");
        }
    }
}

/// Each row of its tables that names a key and a default: said or unsaid, the result is the same.
#[test]
fn its_defaults_are_the_defaults() {
    const BASE: &str = "[listener.main]\naddress = \":8080\"\n[pool.app]\nupstreams = [\"127.0.0.1:3000\"]\n";
    let unsaid = format!("{:?}", Config::from_toml(BASE).expect("the base loads"));
    let text = source::read("README.md");
    let mut checked = 0;
    for row in text.lines().filter(|l| l.starts_with("| `pool.NAME.") || l.starts_with("| `listener.NAME.")) {
        let (key, value) = (spans(row)[0], spans(row)[1]);
        let (table, key) = key.rsplit_once('.').unwrap();
        let table = table.replace("pool.NAME", "pool.app").replace("listener.NAME", "listener.main");
        // The base ends within the table of the pool.
        let header = if table == "pool.app" { String::new() } else { format!("[{table}]\n") };
        let said = format!("{BASE}{header}{key} = {value}\n");
        match Config::from_toml(&said) {
            Ok(config) => assert_eq!(format!("{config:?}"), unsaid, "README: not the default: {row}"),
            Err(problems) => panic!("README: {row}\n{problems:#?}"),
        }
        checked += 1;
    }
    assert!(checked > 20, "only {checked} defaults found in the README");
}

#[test]
fn its_number_of_causes_is_right() {
    source::kept("README.md", |readme| {
        let (before, after) = readme.split_once(" causes.*").unwrap();
        let (before, _) = before.rsplit_once(' ').unwrap();
        format!("{before} {} causes.*{after}", Cause::ALL.len())
    });
}

#[test]
fn its_environment_variables_are_read() {
    let code: String = source::rust_files("src").iter().map(source::read).collect();
    for file in ["README.md", "config/deploy/compose.yaml"] {
        let text = source::read(file);
        for word in text.split(|c: char| !(c.is_ascii_uppercase() || c == '_')).filter(|w| w.starts_with("CAUSEWAY_")) {
            assert!(code.contains(&format!("\"{word}\"")), "{file}: nothing reads {word}");
        }
    }
}

#[test]
fn its_links_lead_somewhere() {
    for file in ["README.md", "CHANGELOG.md"] {
        let text = source::read(file);
        for link in text.split("](").skip(1).filter_map(|t| t.split(')').next()).filter(|l| !l.contains("://")) {
            assert!(source::root().join(link).exists(), "{file}: {link} is not there");
            assert!(Path::new(link).is_relative(), "{file}: {link}");
        }
    }
}

//! What `config/deploy/kubernetes*.yaml` gives to Kubernetes: its configuration compiles, its words are commands, its
//! clocks fit.

use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

use causeway::config::{Config, Flags, load};

use crate::support::source;

const GATEWAY: &str = "config/deploy/kubernetes.yaml";
const SIDECAR: &str = "config/deploy/kubernetes-sidecar.yaml";

/// The lines of a block (`key: |`), without their indentation.
fn block(text: &str, key: &str) -> String {
    let mut lines = text.lines().skip_while(|line| line.trim() != format!("{key}: |"));
    let indent = |line: &str| line.len() - line.trim_start().len();
    let own = indent(lines.next().expect(key));
    let inside = lines.take_while(|line| line.trim().is_empty() || indent(line) > own);
    inside.map(|line| line.get(own + 2..).unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// What follows `key:` on each line that has it, without comments.
fn values<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let said = |line: &'a str| line.trim_start().trim_start_matches("- ").strip_prefix(key)?.strip_prefix(": ");
    text.lines().filter_map(said).map(|value| value.split(" #").next().unwrap_or(value).trim()).collect()
}

fn patience(text: &str) -> Duration {
    let said = values(text, "terminationGracePeriodSeconds");
    Duration::from_secs(said[0].parse().unwrap())
}

/// The variables of a container: `- { name: N, value: "V" }`.
fn variables(text: &str) -> HashMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.trim().strip_prefix("- { name: ")?.split_once(", value: \""));
    pairs.map(|(name, value)| (name.to_owned(), value.trim_end_matches("\" }").to_owned())).collect()
}

#[test]
fn the_config_of_the_gateway_compiles_and_ends_in_time() {
    let text = source::read(GATEWAY);
    let config = Config::from_toml(&block(&text, "causeway.toml")).unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert_eq!(config.pools.len(), 1);
    assert!(config.shutdown.grace + config.shutdown.timeout < patience(&text));
}

#[test]
fn the_variables_of_the_sidecar_are_a_config_that_ends_in_time() {
    let text = source::read(SIDECAR);
    let variables = variables(&text);
    assert_eq!(variables.len(), 4, "{variables:?}");
    let folder = tempfile::TempDir::new().unwrap();
    let empty = folder.path().join("causeway.toml");
    std::fs::write(&empty, "").unwrap();
    let flags = Flags { config: Some(empty), ..Flags::default() };
    let loaded = load(&flags, &|name| variables.get(name).cloned()).unwrap_or_else(|error| panic!("{error}"));
    assert!(loaded.warnings.is_empty(), "{:#?}", loaded.warnings);
    assert!(loaded.config.shutdown.grace + loaded.config.shutdown.timeout < patience(&text));
    assert!(loaded.config.admin.is_some());
}

#[test]
fn the_words_of_their_containers_are_commands() {
    for file in [GATEWAY, SIDECAR] {
        let text = source::read(file);
        for words in values(&text, "args") {
            let words: Vec<String> =
                serde_json::from_str(words).unwrap_or_else(|error| panic!("{file}: {words}: {error}"));
            let help = Command::new(env!("CARGO_BIN_EXE_causeway")).args(&words).arg("--help").output().unwrap();
            assert!(help.status.success(), "{file}: {words:?}: {}", String::from_utf8_lossy(&help.stderr));
        }
    }
}

#[test]
fn their_probes_ask_for_what_the_admin_has() {
    let known = source::read("src/admin/routes.rs");
    for file in [GATEWAY, SIDECAR] {
        let text = source::read(file);
        let paths =
            text.split("httpGet: { path: ").skip(1).map(|rest| rest.split([',', ' ']).next().unwrap_or_default());
        let paths: Vec<_> = paths.map(|path| path.trim_matches('"')).collect();
        assert!(paths.len() >= 2);
        for path in paths.iter().filter(|path| **path != "/healthz") {
            assert!(known.contains(&format!("  {path} ")), "{file}: {path}");
        }
    }
}

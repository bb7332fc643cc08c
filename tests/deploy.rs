//! What `config/deploy/` gives to Prometheus and Grafana asks for what `/metrics` has, and says what a person can do
//! next.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use causeway::cause::Cause;
use serde_json::Value;

use crate::metrics::{get, observed, page};
use crate::support::certificates::Authority;
use crate::support::origin::{Behaviour, Origin};
use crate::support::source;

const ALERTS: &str = "config/deploy/alerts.yml";
const ALERTS_TESTED: &str = "config/deploy/alerts.test.yml";
const SCRAPED: &str = "config/deploy/prometheus.yml";
const BOARD: &str = "config/deploy/grafana.json";

/// What Prometheus adds to each series that it fetches.
const ADDED: [&str; 2] = ["job", "instance"];

/// Each sample's name to its labels.
type Known = BTreeMap<String, BTreeSet<String>>;

/// A page on which every family has a sample: there were a rescue, an error and an answer.
async fn known() -> Known {
    let good = Origin::start(Behaviour::Ok("fine".into())).await;
    let (good, nobody) = (good.address(), Origin::nobody());
    let folder = tempfile::TempDir::new().unwrap();
    Authority::new().issue(&["a.test"], 2030).write(folder.path(), "a");
    let shown = folder.path().display();
    let tls = format!("certificates = [{{ cert = \"{shown}/a.pem\", key = \"{shown}/a.key\" }}]");
    let proxy = observed(&format!(
        "[listener.secure]\naddress = \"127.0.0.2:0\"\n[listener.secure.tls]\n{tls}\n\
         [route.dead]\npath = \"/dead\"\npool = \"dead\"\n[route.app]\npool = \"app\"\n\
         [pool.dead]\nupstreams = [\"{nobody}\"]\nhealth.type = \"off\"\n\
         [pool.app]\nupstreams = [\"{good}\", \"{nobody}\"]\nbalance = \"round_robin\"\nhealth.type = \"off\"\n"
    ));
    for (target, status) in [("/", 200), ("/", 200), ("/dead", 502)] {
        assert_eq!(get(&proxy, target).await, status);
    }
    proxy.exchange(2).await;
    let mut known = Known::from([("up".to_owned(), BTreeSet::new())]);
    for line in page(&proxy, "*/*").await.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split(' ').next()) {
            known.entry(family.to_owned()).or_default();
        } else if !line.starts_with('#') {
            let words = words(line);
            known.entry(words[0].clone()).or_default().extend(labels(&words));
        }
    }
    let told = known.iter().filter(|(_, labels)| labels.contains("cause")).count();
    assert_eq!(told, 3, "errors, retries and failed attempts: {known:#?}");
    known
}

/// A line or a query as names, strings and signs.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$');
        let length = match first {
            '"' => rest[1..].find('"').map_or(rest.len(), |at| at + 2),
            c if is_name(c) => rest.find(|c| !is_name(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        if !first.is_whitespace() {
            words.push(rest[..length].to_owned());
        }
        rest = &rest[length..];
    }
    words
}

/// The names in front of `=`, `=~`, `!=` and `!~` in braces.
fn labels(words: &[String]) -> BTreeSet<String> {
    let before = words.windows(2).filter(|pair| matches!(&*pair[1], "=" | "!") && !is_sign(&pair[0]));
    before.map(|pair| pair[0].clone()).collect()
}

fn is_sign(word: &str) -> bool {
    !word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// Every metric of a query is on the page, and has the labels that it is chosen by; what it is grouped by, one of them
/// has.
fn holds(query: &str, known: &Known) {
    let words = words(query);
    let mut there: BTreeSet<String> = ADDED.iter().map(|label| (*label).to_owned()).collect();
    let named = |word: &str| word == "up" || word.starts_with("causeway_") || word.starts_with("process_");
    for (at, word) in words.iter().enumerate().filter(|(_, word)| named(word)) {
        let has = known.get(word).unwrap_or_else(|| panic!("{word} is not on the page: {query}"));
        there.extend(has.iter().cloned());
        if words.get(at + 1).is_some_and(|next| next == "{") {
            let braces: Vec<String> = words[at + 1..].iter().take_while(|word| *word != "}").cloned().collect();
            for label in labels(&braces) {
                assert!(has.contains(&label) || ADDED.contains(&&*label), "{word} has no {label}: {query}");
            }
        }
    }
    for (at, _) in words.iter().enumerate().filter(|(_, word)| matches!(&***word, "by" | "on" | "group_left")) {
        let group = words[at + 1..].iter().take_while(|word| *word != ")");
        for label in group.filter(|word| !is_sign(word)) {
            assert!(there.contains(label), "nothing here has {label}: {query}");
        }
    }
}

/// Each alert's name and its text.
fn alerts() -> Vec<(String, String)> {
    let text = source::read(ALERTS);
    let alerts = text.split("- alert: ").skip(1).map(|alert| alert.split_once('\n').unwrap());
    alerts.map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
}

/// The text of a key of an alert, on one line or on several.
fn value(alert: &str, key: &str) -> String {
    let (before, after) = alert.split_once(&format!("{key}: ")).unwrap_or_else(|| panic!("no {key}: {alert}"));
    let depth = before.len() - before.rfind('\n').map_or(0, |at| at + 1);
    let deeper = |line: &&str| line.len() - line.trim_start().len() > depth;
    let mut lines = after.lines();
    let first = lines.next().unwrap().trim_start_matches(">-");
    let rest: Vec<&str> = lines.take_while(deeper).map(str::trim).collect();
    [first.trim(), &rest.join(" ")].concat().trim().to_owned()
}

fn board() -> Value {
    serde_json::from_str(&source::read(BOARD)).unwrap()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key}: {value}"))
}

/// The queries of all panels, with Grafana's own words replaced.
fn queries(board: &Value) -> Vec<String> {
    let panels = board["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row");
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    targets.map(|target| text(target, "expr").replace("$__rate_interval", "1m")).collect()
}

#[tokio::test]
async fn the_alerts_ask_for_what_is_there() {
    let known = known().await;
    let alerts = alerts();
    assert!(alerts.len() > 10);
    for (_, alert) in alerts {
        holds(&value(&alert, "expr"), &known);
    }
}

#[test]
fn every_alert_says_what_to_do_next() {
    let tested = source::read(ALERTS_TESTED);
    for (name, alert) in alerts() {
        let (summary, description) = (value(&alert, "summary"), value(&alert, "description"));
        assert!(description.contains("Next") && description.contains("causeway "), "{name}: {description}");
        let severity = value(&alert, "severity");
        assert!(severity.starts_with("critical") || severity.starts_with("warning"), "{name}: {severity}");
        // What it counts by cause names the cause; and every label that it names it has.
        let query = value(&alert, "expr");
        let by: BTreeSet<&str> = query
            .split(" by (")
            .skip(1)
            .flat_map(|rest| rest.split(')').next().unwrap().split(", "))
            .chain(ADDED)
            .collect();
        if by.contains("cause") {
            assert!(description.contains("causeway explain {{ $labels.cause }}"), "{name}: {description}");
        }
        for label in [summary, description].concat().split("$labels.").skip(1) {
            let label = label.split(|c: char| !c.is_ascii_lowercase()).next().unwrap();
            assert!(by.contains(label) || query.starts_with("causeway_upstream_up "), "{name} has no {label}");
        }
        assert!(tested.contains(&format!("alertname: {name}\n        eval_time")), "{name} is never seen to fire");
    }
}

/// A cause that nothing is ever called would make an alert that never fires.
#[test]
fn the_causes_they_name_exist() {
    let tokens: BTreeSet<&str> = Cause::ALL.iter().map(|cause| cause.token()).collect();
    let mut seen = 0;
    for text in [source::read(ALERTS), source::read(ALERTS_TESTED)] {
        for said in text.split("cause=").skip(1) {
            let said = said.trim_start_matches('~').trim_start_matches('"').split('"').next().unwrap();
            for cause in said.split('|') {
                assert!(tokens.contains(cause), "no cause is called {cause}");
                seen += 1;
            }
        }
        for said in text.split("causeway explain ").skip(1) {
            let said = said.split(|c: char| !(c.is_ascii_lowercase() || c == '_')).next().unwrap();
            assert!(said.is_empty() || tokens.contains(said), "causeway explain {said}");
        }
    }
    assert!(seen > 10);
}

#[tokio::test]
async fn the_board_asks_for_what_is_there() {
    let (board, known) = (board(), known().await);
    let queries = queries(&board);
    assert!(queries.len() > 20);
    queries.iter().for_each(|query| holds(query, &known));
    // And the other way round: a number that nobody can see is not worth counting.
    let asked: BTreeSet<String> = queries.iter().flat_map(|query| words(query)).collect();
    let family = |name: &str| ["_bucket", "_sum", "_count"].iter().any(|end| name.ends_with(end));
    let unseen: Vec<&String> = known
        .keys()
        .filter(|name| name.starts_with("causeway_") && !family(name))
        .filter(|name| !asked.contains(*name) && !asked.contains(&format!("{name}_bucket")))
        .collect();
    assert!(unseen.is_empty(), "on the page and not on the board: {unseen:?}");
}

#[test]
fn the_board_is_sound() {
    let board = board();
    let variables = board["templating"]["list"].as_array().unwrap();
    let names: Vec<&str> = variables.iter().map(|variable| text(variable, "name")).collect();
    assert_eq!(names, ["datasource", "instance", "pool"]);
    let panels = board["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "an id stands twice");
    let mut taken = BTreeSet::new();
    for panel in panels {
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{panel}");
        for cell in (at("y")..at("y") + at("h")).flat_map(|y| (at("x")..at("x") + at("w")).map(move |x| (x, y))) {
            assert!(taken.insert(cell), "{} lies over another panel", panel["title"]);
        }
        if panel["type"] != "row" {
            assert!(!text(panel, "title").is_empty() && !text(panel, "description").is_empty());
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "no source of one machine: {panel}");
            let queries = panel["targets"].as_array().unwrap().iter().map(|target| text(target, "expr"));
            queries.for_each(|query| assert!(query.contains("$instance") || !query.contains('{'), "{query}"));
        }
    }
}

fn promtool(words: &[&str]) {
    let out = Command::new("promtool").current_dir(source::root()).args(words).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "promtool {words:?}: {said}");
}

#[test]
#[ignore = "needs prometheus"]
fn promtool_reads_and_tries_the_alerts() {
    promtool(&["check", "config", SCRAPED]);
    promtool(&["check", "rules", "--lint-fatal", ALERTS]);
    promtool(&["test", "rules", ALERTS_TESTED]);
}

/// The queries of the board, as rules, since that is what promtool reads.
#[test]
#[ignore = "needs prometheus"]
fn promtool_reads_the_queries_of_the_board() {
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("board.yml");
    let rules: Vec<Value> = queries(&board())
        .iter()
        .enumerate()
        .map(|(number, query)| serde_json::json!({ "record": format!("query_{number}"), "expr": query }))
        .collect();
    // JSON is YAML.
    let groups = serde_json::json!({ "groups": [{ "name": "board", "rules": rules }] });
    std::fs::write(&file, groups.to_string()).unwrap();
    promtool(&["check", "rules", Path::new(&file).to_str().unwrap()]);
}

/// `None`: there is no systemd here.
fn systemd_analyze(words: &[&str], folder: &Path) -> Option<Output> {
    Command::new("systemd-analyze").current_dir(folder).args(words).output().ok()
}

#[test]
fn systemd_reads_the_units() {
    let folder = tempfile::tempdir().unwrap();
    for unit in ["causeway.service", "causeway.socket"] {
        let text = source::read(format!("config/deploy/{unit}"));
        // It looks for the program, too.
        let text = text.replace("/usr/local/bin/causeway run", &format!("{} run", env!("CARGO_BIN_EXE_causeway")));
        std::fs::write(folder.path().join(unit), text).unwrap();
    }
    let verified = systemd_analyze(&["verify", "./causeway.service", "./causeway.socket"], folder.path());
    let Some(Output { status, stdout, stderr }) = verified else { return };
    let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    assert!(status.success() && said.is_empty(), "{said}");
    let threshold = ["security", "--offline=yes", "--threshold=20", "./causeway.service"];
    let secure = systemd_analyze(&threshold, folder.path()).unwrap();
    assert!(secure.status.success(), "{}", String::from_utf8_lossy(&secure.stdout));
}

/// What the unit says of the stop is true for the shutdown's defaults, and the socket's name is the one that the file
/// tells to use.
#[test]
fn the_units_fit_the_defaults() {
    let (service, socket) =
        (source::read("config/deploy/causeway.service"), source::read("config/deploy/causeway.socket"));
    let value = |text: &str, key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no {key}")).to_owned()
    };
    let config = causeway::config::Config::from_toml("[route.all]\nrespond = { status = 200 }\n").unwrap();
    let limit = (config.shutdown.grace + config.shutdown.timeout).as_secs();
    assert!(value(&service, "TimeoutStopSec").parse::<u64>().unwrap() > limit + 2);
    assert_eq!(value(&service, "Type"), "notify");
    assert_eq!(value(&service, "ExecReload"), "/bin/kill -HUP $MAINPID");
    assert!(socket.contains(&format!("listen = \"fd:{}\"", value(&socket, "FileDescriptorName"))));
    assert_eq!(value(&socket, "Backlog"), "4096");
}

//! Gathers what was said into one tree: flags over environment over the file.
//!
//! Reads no file and no environment by itself: text and lookups are arguments. Knows which flag stands for which key,
//! and nothing about what keys mean.

use std::path::PathBuf;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::compile::CERT_FILE;
use super::expand::expand;
use super::problem::{Origin, Place, Problem, Wrong};
use super::syntax;
use super::tree::{Entry, Node, Table, Value};

/// What the command line says about the configuration.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--config FILE`.
    pub config: Option<PathBuf>,
    /// `--listen ADDR`.
    pub listen: Option<String>,
    /// `--upstream ADDR`, each: the pool `app`, without a file.
    pub upstreams: Vec<String>,
    /// `--health-path PATH`.
    pub health_path: Option<String>,
    /// `--admin ADDR`.
    pub admin: Option<String>,
    /// `--set KEY=VALUE`, each.
    pub set: Vec<String>,
}

/// A file's name and text.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// As the problems name it.
    pub name: &'a str,
    /// The TOML.
    pub text: &'a str,
}

/// All that was said.
#[derive(Debug)]
pub struct Sources {
    /// The merged tree, variables expanded.
    pub root: Table,
    /// What problems about the whole are pinned to: the file, else the command line.
    pub whole: Arc<Origin>,
    /// What could not be read or expanded.
    pub problems: Vec<Problem>,
    /// The file is not TOML: what the tree holds is a guess, and nothing more is said about it.
    pub broken: bool,
    /// The file of roots that the environment names (`SSL_CERT_FILE`).
    pub cert_file: Option<PathBuf>,
}

/// Merges file, environment and flags, the later over the earlier, and expands `${VAR}`.
#[must_use]
pub fn gather(file: Option<File<'_>>, flags: &Flags, env: &dyn Fn(&str) -> Option<String>) -> Sources {
    let mut problems = Vec::new();
    let (root, whole) = match file {
        Some(file) => parse(file, &mut problems),
        None => (Table::default(), origin("causeway run", None)),
    };
    let broken = !problems.is_empty();
    let mut merge = Merge { root, problems };
    // An empty variable is an unset one: compose files pass those.
    let env_text = |name: &str| env(name).filter(|value| !value.trim().is_empty());
    if let Some(all) = env_text("CAUSEWAY_SET") {
        all.split(';').filter(|one| !one.trim().is_empty()).for_each(|one| merge.set("CAUSEWAY_SET", one.trim()));
    }
    let split = |list: String| list.split(',').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect();
    let upstreams: Vec<String> = env_text("CAUSEWAY_UPSTREAMS").map(split).unwrap_or_default();
    merge.upstreams(&upstreams, |_| origin("CAUSEWAY_UPSTREAMS", None));
    merge.text("CAUSEWAY_LISTEN", env_text("CAUSEWAY_LISTEN"), &["listen"]);
    merge.text("CAUSEWAY_HEALTH_PATH", env_text("CAUSEWAY_HEALTH_PATH"), &["health_path"]);
    merge.text("CAUSEWAY_ADMIN", env_text("CAUSEWAY_ADMIN"), &["admin", "address"]);
    merge.text("CAUSEWAY_LOG", env_text("CAUSEWAY_LOG"), &["log", "level"]);
    merge.text("CAUSEWAY_DETAIL", env_text("CAUSEWAY_DETAIL"), &["errors", "detail"]);
    flags.set.iter().for_each(|one| merge.set("--set", one));
    merge.upstreams(&flags.upstreams, |one| origin(&format!("--upstream {one}"), Some(one)));
    merge.text("--listen", flags.listen.clone(), &["listen"]);
    merge.text("--health-path", flags.health_path.clone(), &["health_path"]);
    merge.text("--admin", flags.admin.clone(), &["admin", "address"]);
    expand(&mut merge.root, env, &mut merge.problems);
    let cert_file = env_text(CERT_FILE).map(PathBuf::from);
    Sources { root: merge.root, whole, problems: merge.problems, broken, cert_file }
}

/// The tree so far, and what went wrong with it.
struct Merge {
    root: Table,
    problems: Vec<Problem>,
}

impl Merge {
    /// A flag or variable that stands for one key.
    fn text(&mut self, name: &str, value: Option<String>, path: &[&str]) {
        let Some(value) = value else { return };
        let name = if name.starts_with('-') { format!("{name} {value}") } else { name.to_owned() };
        let origin = origin(&name, Some(&value));
        match path {
            // The only one there is, whatever its name, else the one that the short form makes.
            ["listen"] => match only(&self.root, "listener") {
                Some(one) if self.root.get("listen").is_none() => {
                    self.put(&["listener", &one, "address"], Value::Text(value), &origin);
                }
                _ => {
                    self.forget_main_address();
                    self.put(path, Value::Text(value), &origin);
                }
            },
            ["health_path"] => {
                let pool = only(&self.root, "pool").unwrap_or_else(|| "app".into());
                self.put(&["pool", &pool, "health", "path"], Value::Text(value), &origin);
            }
            path => self.put(path, Value::Text(value), &origin),
        }
    }

    /// `pool.app.upstreams`.
    fn upstreams(&mut self, addresses: &[String], origin: impl Fn(&str) -> Arc<Origin>) {
        let Some(first) = addresses.first() else { return };
        let whole = origin(first);
        let node = |one: &String| Node { value: Value::Text(one.clone()), place: Place::whole(&origin(one)) };
        self.put(&["pool", "app", "upstreams"], Value::Array(addresses.iter().map(node).collect()), &whole);
    }

    /// `--set KEY=VALUE`: the value as TOML, else as text.
    fn set(&mut self, name: &str, said: &str) {
        let separator = if name.starts_with('-') { ' ' } else { '=' };
        let Some((key, value)) = said.split_once('=') else {
            let origin = origin(&format!("{name}{separator}{said}"), None);
            let wrong = Wrong::new("there is no \"=\"", "write KEY=VALUE, like pool.app.timeouts.read=5s");
            return self.problems.push(Problem::error(&Place::whole(&origin), wrong));
        };
        let (key, value) = (key.trim(), value.trim());
        let origin = origin(&format!("{name}{separator}{said}"), Some(value));
        let Some(path) = key_path(key) else {
            let wrong = Wrong::new(format!("\"{key}\" is not a key"), "write it like pool.app.timeouts.read");
            return self.problems.push(Problem::error(&Place::whole(&origin), wrong));
        };
        let value = match DeValue::parse(value) {
            Ok(parsed) => converted(parsed.into_inner(), &|_| Place::whole(&origin)),
            Err(_) => Value::Text(value.into()),
        };
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        if path == ["listen"] {
            self.forget_main_address();
        }
        self.put(&path, value, &origin);
    }

    /// `listen` and `[listener.main] address` are one key: the later word takes the place of the earlier.
    fn forget_main_address(&mut self) {
        let Some(Value::Table(listeners)) =
            self.root.0.iter_mut().find(|e| e.key == "listener").map(|e| &mut e.node.value)
        else {
            return;
        };
        if let Some(Value::Table(main)) = listeners.0.iter_mut().find(|e| e.key == "main").map(|e| &mut e.node.value) {
            main.0.retain(|entry| entry.key != "address");
        }
    }

    fn put(&mut self, path: &[&str], value: Value, origin: &Arc<Origin>) {
        if path == ["listener", "main", "address"] {
            self.root.0.retain(|entry| entry.key != "listen");
        }
        if let Err(key) = self.root.set(path, value, origin) {
            let wrong = Wrong::new(format!("`{key}` is not a table, so nothing can be set in it"), "");
            self.problems.push(Problem::error(&Place::whole(origin), wrong));
        }
    }
}

/// The tree of a file; every syntax error becomes a problem.
fn parse(file: File<'_>, problems: &mut Vec<Problem>) -> (Table, Arc<Origin>) {
    let origin = Arc::new(Origin::new(file.name.into(), Some(file.text.into()), None));
    let (table, errors) = DeTable::parse_recoverable(file.text);
    let place = |span| Place { origin: Arc::clone(&origin), span: Some(span) };
    let foreign = if errors.is_empty() { None } else { syntax::foreign(file.text) };
    if let Some((span, wrong)) = foreign {
        problems.push(Problem::error(&place(span), wrong));
    } else {
        for error in without_echoes(file.text, errors) {
            let span = error.span().unwrap_or(0..0);
            let wrong = syntax::explained(file.text, span.start, error.message());
            problems.push(Problem::error(&place(span), wrong));
        }
    }
    let root = converted_table(table.into_inner(), &place);
    (root, origin)
}

/// One error a line, and one for a list that does not end: the parser stumbles over every line behind it.
fn without_echoes(text: &str, mut errors: Vec<toml::de::Error>) -> Vec<toml::de::Error> {
    let start = |error: &toml::de::Error| error.span().map_or(0, |span| span.start.min(text.len()));
    errors.sort_by_key(start);
    let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let line = |error: &toml::de::Error| ends.partition_point(|end| *end < start(error));
    errors.dedup_by_key(|error| line(error));
    let mut last = None;
    errors.retain(|error| {
        let list = error.message().contains("array").then(|| line(error));
        let echo = list.is_some() && last.is_some_and(|last| list <= Some(last + 1));
        last = list;
        !echo
    });
    errors
}

fn converted(value: DeValue<'_>, place: &dyn Fn(std::ops::Range<usize>) -> Place) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix());
            parsed.map_or(Value::Other("a number beyond 64 bits"), Value::Integer)
        }
        DeValue::Float(_) => Value::Other("a number with a point"),
        DeValue::Boolean(yes) => Value::Boolean(yes),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(items) => {
            let node = |item: toml::Spanned<DeValue<'_>>| {
                let place_of = place(item.span());
                Node { value: converted(item.into_inner(), place), place: place_of }
            };
            Value::Array(items.into_iter().map(node).collect())
        }
        DeValue::Table(table) => Value::Table(converted_table(table, place)),
    }
}

fn converted_table(table: DeTable<'_>, place: &dyn Fn(std::ops::Range<usize>) -> Place) -> Table {
    let mut entries: Vec<_> = table.into_iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let entry = |(key, value): (toml::Spanned<_>, toml::Spanned<DeValue<'_>>)| {
        let (key_place, value_place) = (place(key.span()), place(value.span()));
        let key: std::borrow::Cow<'_, str> = key.into_inner();
        Entry {
            key: key.into_owned(),
            place: key_place,
            node: Node { value: converted(value.into_inner(), place), place: value_place },
        }
    };
    Table(entries.into_iter().map(entry).collect())
}

/// The keys of a dotted key, quoted parts too.
fn key_path(key: &str) -> Option<Vec<String>> {
    let text = format!("{key} = 0");
    let mut table = DeTable::parse(&text).ok()?.into_inner();
    let mut path = Vec::new();
    loop {
        let mut entries = table.into_iter();
        let (key, value) = entries.next()?;
        if entries.next().is_some() {
            return None;
        }
        path.push(key.into_inner().into_owned());
        match value.into_inner() {
            DeValue::Table(inner) => table = inner,
            DeValue::Integer(_) => return Some(path),
            DeValue::String(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) => {
                return None;
            }
        }
    }
}

/// The only key of a table of the root.
fn only(root: &Table, key: &str) -> Option<String> {
    match root.table(key)?.0.as_slice() {
        [one] => Some(one.key.clone()),
        _ => None,
    }
}

fn origin(name: &str, said: Option<&str>) -> Arc<Origin> {
    Arc::new(Origin::new(name.into(), None, said.map(Into::into)))
}

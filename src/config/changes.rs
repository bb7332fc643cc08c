//! What differs between two configurations, as few short lines as say it all. Secrets are told apart and never shown.
//!
//! Looked for in what holds, not in what was written: a comment, or a default that is said now, changes nothing. Pure.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde_json::{Map, Value};

use super::document::{marked, unmarked};
use super::model::Config;
use super::problem::ascii;

/// Characters of a value that are kept, and that are shown.
const KEPT: usize = 1000;
const SHOWN: usize = 48;
/// Items of a list that are shown.
const ITEMS: usize = 6;
/// The tables whose names are the operator's own.
const NAMED: [&str; 3] = ["listener", "route", "pool"];
/// What a route has of its pool, where it does not say otherwise.
const INHERITED: [&str; 2] = ["timeouts", "retry"];

/// One difference. [`fmt::Display`] is one line of ASCII: `pool.app.timeouts.read: 60s -> 30s`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// `pool.app.timeouts.read`, `route.api`; of one item of a list, `pool.app.upstreams[10.0.0.1:3000].weight`.
    pub key: String,
    /// What became of it.
    pub what: What,
}

/// What became of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Another value; `None`: the key does not apply.
    Set {
        /// Until now.
        from: Option<String>,
        /// From now on.
        to: Option<String>,
    },
    /// A list with other items.
    Items {
        /// New ones.
        added: Vec<String>,
        /// Those that are gone.
        removed: Vec<String>,
    },
    /// A list with the same items in another order.
    Order,
    /// A listener, a route or a pool, whole.
    New,
    /// A listener, a route or a pool is gone.
    Gone,
    /// What it names is the same, and what is in it is not: a file, a secret.
    Contents,
}

/// All differences, in the order of the file.
#[must_use]
pub fn changes(old: &Config, new: &Config) -> Vec<Change> {
    let (mut was, mut is) = (marked(old), marked(new));
    leave_out_what_follows(&mut was, &mut is);
    leave_out_checks_that_end(&mut was, &is);
    leave_out_checks_that_end(&mut is, &was);
    let mut found = Found(Vec::new());
    found.compare("", Some(&was), Some(&is));
    found.0
}

/// A pool's clock that changes is told once, and not for each route that goes by it.
fn leave_out_what_follows(was: &mut Value, is: &mut Value) {
    let names: Vec<String> = is["route"].as_object().into_iter().flat_map(Map::keys).cloned().collect();
    for route in names {
        for table in INHERITED {
            let keys = [&*was, &*is].map(|all| all["route"][&route][table].as_object().into_iter().flat_map(Map::keys));
            let keys: HashSet<String> = keys.into_iter().flatten().cloned().collect();
            let follows = |all: &Value, key: &str| {
                let own = &all["route"][&route];
                let pool = own["pool"].as_str().unwrap_or_default();
                own[table].get(key).is_none_or(|value| *value == all["pool"][pool][table][key])
            };
            let leave: Vec<_> = keys.iter().filter(|key| follows(was, key) && follows(is, key)).collect();
            for all in [&mut *was, &mut *is] {
                if let Some(own) = all["route"].get_mut(&route).and_then(|own| own.get_mut(table)?.as_object_mut()) {
                    leave.iter().for_each(|key| drop(own.shift_remove(*key)));
                }
            }
        }
    }
}

/// Where checks are switched off, that says all; and the other way round, that they are on.
fn leave_out_checks_that_end(was: &mut Value, is: &Value) {
    for (name, pool) in is["pool"].as_object().into_iter().flatten() {
        let own = was["pool"].get_mut(name).and_then(|pool| pool.get_mut("health")?.as_object_mut());
        if let (Some("off"), Some(own)) = (pool["health"]["type"].as_str(), own) {
            own.retain(|key, _| key == "type");
        }
    }
}

/// Of those that went and came, those that are one upstream with another name: its address, and both names.
fn renamed(
    removed: &[String],
    before: &HashMap<String, &Value>,
    added: &[String],
    after: &HashMap<String, &Value>,
) -> Vec<(String, String, String)> {
    let address =
        |name: &String, all: &HashMap<String, &Value>| Some(all.get(name)?.get("address")?.as_str()?.to_owned());
    let mut news: HashMap<String, &String> =
        added.iter().filter_map(|name| Some((address(name, after)?, name))).collect();
    let both = |old: &String| {
        let address = address(old, before)?;
        let new = news.remove(&address)?.clone();
        Some((address, old.clone(), new))
    };
    removed.iter().filter_map(both).collect()
}

struct Found(Vec<Change>);

impl Found {
    fn tell(&mut self, key: &str, what: What) {
        self.0.push(Change { key: key.to_owned(), what });
    }

    fn compare(&mut self, key: &str, was: Option<&Value>, is: Option<&Value>) {
        if was == is || was.is_none_or(is_empty) && is.is_none_or(is_empty) {
            return;
        }
        match (was, is) {
            (Some(Value::Object(was)), Some(Value::Object(is))) => self.tables(key, was, is),
            (Some(Value::Array(was)), Some(Value::Array(is))) => self.lists(key, was, is),
            // A table that was not there: `timeouts` of a route that begins to forward.
            (None, Some(Value::Object(is))) => self.tables(key, &Map::new(), is),
            (Some(Value::Object(was)), None) => self.tables(key, was, &Map::new()),
            _ => {
                let (from, to) = (was.map(text), is.map(text));
                let what = if from == to { What::Contents } else { What::Set { from, to } };
                self.tell(key, what);
            }
        }
    }

    fn tables(&mut self, key: &str, was: &Map<String, Value>, is: &Map<String, Value>) {
        let gone = was.keys().filter(|name| !is.contains_key(*name));
        for name in is.keys().chain(gone) {
            let below = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            match (was.get(name), is.get(name)) {
                (None, Some(_)) if NAMED.contains(&key) => self.tell(&below, What::New),
                (Some(_), None) if NAMED.contains(&key) => self.tell(&below, What::Gone),
                (was, is) => self.compare(&below, was, is),
            }
        }
    }

    fn lists(&mut self, key: &str, was: &[Value], is: &[Value]) {
        let (was, is) = (items(was), items(is));
        let (before, after): (HashMap<_, _>, HashMap<_, _>) =
            (was.iter().cloned().collect(), is.iter().cloned().collect());
        let not_in = |all: &[(String, &Value)], others: &HashMap<String, &Value>| -> Vec<String> {
            all.iter().map(|(name, _)| name).filter(|name| !others.contains_key(*name)).cloned().collect()
        };
        let (added, removed) = (not_in(&is, &before), not_in(&was, &after));
        let (mut added, mut removed) = (added, removed);
        let mut called: HashMap<String, String> = HashMap::new();
        for (address, old, new) in renamed(&removed, &before, &added, &after) {
            removed.retain(|name| *name != old);
            added.retain(|name| *name != new);
            self.compare(&format!("{key}[{address}]"), before.get(&old).copied(), after.get(&new).copied());
            called.insert(old, new);
        }
        let same = added.is_empty() && removed.is_empty();
        if !same {
            self.tell(key, What::Items { added, removed });
        } else if was.iter().map(|(name, _)| called.get(name).unwrap_or(name)).ne(is.iter().map(|(name, _)| name)) {
            self.tell(key, What::Order);
        }
        let mut contents = false;
        for (name, is) in &is {
            match before.get(name) {
                Some(was) if is.is_object() => self.compare(&format!("{key}[{name}]"), Some(was), Some(is)),
                Some(was) => contents |= was != is,
                None => {}
            }
        }
        if contents {
            self.tell(key, What::Contents);
        }
    }
}

/// Each with what it is called; of two that are called the same, the second is the second.
fn items(all: &[Value]) -> Vec<(String, &Value)> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let named = all.iter().map(|item| {
        let name = text(item);
        let times = seen.entry(name.clone()).or_default();
        *times += 1;
        (if *times > 1 { format!("{name} ({times})") } else { name }, item)
    });
    named.collect()
}

/// As people would say it: of a table in a list, its name.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) if unmarked(text).is_empty() => "\"\"".to_owned(),
        Value::String(text) => cut(unmarked(text), KEPT),
        Value::Array(all) if all.is_empty() => "none".to_owned(),
        Value::Array(all) => cut(&all.iter().map(text).collect::<Vec<_>>().join(", "), KEPT),
        Value::Object(all) => match ["name", "address", "cert"].iter().find_map(|key| all.get(*key)) {
            Some(name) => text(name),
            None => {
                let said = all.iter().filter(|(_, value)| !is_empty(value));
                cut(&said.map(|(key, value)| format!("{key} = {}", text(value))).collect::<Vec<_>>().join(", "), KEPT)
            }
        },
    }
}

/// Does it say nothing, as a key that is not there?
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(_) | Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        Value::Array(all) => all.is_empty(),
        Value::Object(all) => all.values().all(is_empty),
    }
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |text: &str| cut(&ascii(text), SHOWN);
        f.write_str(&cut(&ascii(&self.key), 2 * SHOWN))?;
        match &self.what {
            What::Set { from, to } => {
                let shown = |value: &Option<String>| value.as_deref().map_or_else(|| "unset".to_owned(), short);
                write!(f, ": {} -> {}", shown(from), shown(to))
            }
            What::Items { added, removed } => {
                let all = added.iter().map(|item| ("+", item)).chain(removed.iter().map(|item| ("-", item)));
                for (index, (sign, item)) in all.take(ITEMS).enumerate() {
                    write!(f, "{} {sign} {}", if index == 0 { ":" } else { "," }, short(item))?;
                }
                let more = (added.len() + removed.len()).saturating_sub(ITEMS);
                if more > 0 { write!(f, " and {more} more") } else { Ok(()) }
            }
            What::Order => f.write_str(": in another order"),
            What::New => f.write_str(": new"),
            What::Gone => f.write_str(": gone"),
            What::Contents => f.write_str(": its contents changed"),
        }
    }
}

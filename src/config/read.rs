//! Reading one table of the tree, key by key.
//!
//! A [`Section`] remembers which keys were asked for; when it is dropped, every other key in it is unknown. So the code
//! that reads a key is the only place that makes it exist: there is no second list to keep in step.

mod tables;

use std::cell::{Cell, RefCell};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::advice;
use super::context::{Context, Known, Unknown, either, nearest};
use super::problem::{Place, Wrong};
use super::tree::{Entry, Node, Table, Value};
use super::units;

/// A table that is being read; present or not, all its keys are asked for.
pub(super) struct Section<'a> {
    pub cx: &'a Context,
    table: Option<&'a Table>,
    kind: String,
    /// With the names of the file: `pool.app.timeouts`.
    pub path: String,
    /// Where its name stands.
    pub place: Place,
    asked: RefCell<Vec<&'static str>>,
    left: Cell<bool>,
}

impl<'a> Section<'a> {
    /// The root of the tree.
    pub(super) fn root(cx: &'a Context, table: &'a Table, place: Place) -> Self {
        let (kind, path) = (String::new(), String::new());
        Self { cx, table: Some(table), kind, path, place, asked: RefCell::default(), left: Cell::default() }
    }

    /// Was this table said at all?
    pub(super) fn present(&self) -> bool {
        self.table.is_some()
    }

    /// The keys that were said.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.table.into_iter().flat_map(|table| &table.0).map(|entry| entry.key.as_str())
    }

    /// Reads nothing of this table, and says nothing of what is in it.
    pub(super) fn leave(&self) {
        self.left.set(true);
    }

    /// Where a key of this table was said, if it was.
    pub(super) fn place_of(&self, key: &str) -> Option<&'a Place> {
        Some(&self.table?.get(key)?.place)
    }

    /// Was this key said? Does not count as reading it.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.get(key).is_some())
    }

    /// Is there a key that was probably meant to be this one? Then its absence needs no word of its own.
    pub(super) fn misspelt(&self, key: &str) -> bool {
        let keys = self.table.iter().flat_map(|table| &table.0);
        keys.filter(|entry| entry.key != key).any(|entry| nearest(&entry.key, [key].into_iter()).is_some())
    }

    /// Where the value of a key stands, if it was said.
    pub(super) fn value_place(&self, key: &str) -> Option<&'a Place> {
        Some(&self.table?.get(key)?.node.place)
    }

    /// Where the value of a key of a table in this table stands, if it was said. Does not count as reading it.
    pub(super) fn value_place_in(&self, table: &str, key: &str) -> Option<&'a Place> {
        Some(&self.table?.table(table)?.get(key)?.node.place)
    }

    /// The value of a key.
    pub(super) fn node(&self, key: &'static str) -> Option<&'a Node> {
        self.ask(key, false);
        Some(&self.table?.get(key)?.node)
    }

    /// A text, and where it stands. `sample`: what a right value looks like; `unit`: what a bare number lacks.
    pub(super) fn text(&self, key: &'static str, sample: &str, unit: &str) -> Option<(&'a str, &'a Place)> {
        let node = self.node(key)?;
        if let Some(text) = node.text() {
            return Some((text, &node.place));
        }
        let meant = match &node.value {
            Value::Integer(n) if sample.starts_with(':') => format!(":{n}"),
            Value::Integer(n) => format!("{n}{unit}"),
            // Statuses.
            Value::Array(items) if sample.starts_with('2') && items.iter().all(|item| item.number().is_some()) => {
                items.iter().filter_map(Node::number).map(|n| n.to_string()).collect::<Vec<_>>().join(", ")
            }
            Value::Text(_) | Value::Boolean(_) | Value::Array(_) | Value::Table(_) | Value::Other(_) => sample.into(),
        };
        let message = format!("`{key}` takes text in quotes, not {}", node.value.kind());
        self.cx.error(&node.place, message, format!("write {key} = \"{meant}\""));
        None
    }

    /// A text that a parser understands.
    pub(super) fn parse<T>(
        &self,
        key: &'static str,
        sample: &str,
        parser: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let (text, place) = self.text(key, sample, "")?;
        self.cx.take(place, parser(text))
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let (text, place) = self.text(key, words[0].0, "")?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let all: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let lower = text.to_ascii_lowercase();
        let longer = || words.iter().map(|(word, _)| *word).find(|word| word.len() > 2 && lower.starts_with(word));
        let hint = match nearest(&lower, words.iter().map(|(word, _)| *word)).or_else(longer) {
            Some(word) => format!("did you mean \"{word}\"?"),
            None => format!("write {}", either(&all)),
        };
        self.cx.error(place, format!("\"{text}\" is not a word for `{key}`"), hint);
        None
    }

    /// A duration.
    pub(super) fn duration(&self, key: &'static str, default: Duration) -> Duration {
        let Some((text, place)) = self.text(key, "5s", "s") else { return default };
        if text == "off" {
            let hint = "write a duration; a long one, like \"24h\", comes close to off";
            self.cx.error(place, format!("`{key}` cannot be off"), hint);
            return default;
        }
        self.cx.take(place, units::duration(text)).unwrap_or(default)
    }

    /// A duration that is not zero.
    pub(super) fn time(&self, key: &'static str, default: Duration) -> Duration {
        let duration = self.duration(key, default);
        self.not_zero(key, duration).unwrap_or(default)
    }

    /// A duration that is not zero, or "off".
    pub(super) fn time_or_off(&self, key: &'static str, default: Option<Duration>) -> Option<Duration> {
        let Some((text, place)) = self.text(key, "5s", "s") else { return default };
        if text == "off" {
            return None;
        }
        let off = |wrong: Wrong| {
            if units::means_off(text) { Wrong { hint: "write \"off\"".into(), ..wrong } } else { wrong }
        };
        let Some(duration) = self.cx.take(place, units::duration(text).map_err(off)) else { return default };
        self.not_zero(key, duration)
    }

    /// A duration, zero where it is "off".
    pub(super) fn duration_or_off(&self, key: &'static str, default: Duration) -> Duration {
        match self.text(key, "5s", "s") {
            None => default,
            Some(("off", _)) => Duration::ZERO,
            Some((text, place)) => self.cx.take(place, units::duration(text)).unwrap_or(default),
        }
    }

    fn not_zero(&self, key: &'static str, duration: Duration) -> Option<Duration> {
        if duration.is_zero() {
            let place = self.node(key).map_or(&self.place, |node| &node.place);
            self.cx.error(place, format!("`{key}` is over before it begins"), "write a longer one, like \"5s\"");
            return None;
        }
        Some(duration)
    }

    /// A size in bytes within bounds.
    pub(super) fn size(&self, key: &'static str, default: usize, bounds: RangeInclusive<u64>) -> usize {
        let read = self.text(key, "64KiB", "B").and_then(|(text, place)| {
            let size = if text == "off" && bounds.contains(&0) { Ok(0) } else { units::size(text) };
            let size = self.cx.take(place, size)?;
            if !bounds.contains(&size) {
                let (least, most) = (units::size_text(*bounds.start()), units::size_text(*bounds.end()));
                let hint = format!("write one from \"{least}\" to \"{most}\"");
                let side = if size < *bounds.start() { "small" } else { "large" };
                self.cx.error(place, format!("\"{text}\" is too {side} for `{key}`"), hint);
                return None;
            }
            usize::try_from(size).ok()
        });
        read.unwrap_or(default)
    }

    /// Whole percents up to `most`, like "20%".
    pub(super) fn percent(&self, key: &'static str, most: u32) -> Option<u32> {
        let (text, place) = self.text(key, "20%", "%")?;
        self.cx.take(place, units::percent(text, most))
    }

    /// A whole number within bounds, or one of some words.
    pub(super) fn number_or<T: Copy>(
        &self,
        key: &'static str,
        bounds: RangeInclusive<u32>,
        words: &[(&str, T)],
        number: impl FnOnce(u32) -> T,
    ) -> Option<T> {
        let node = self.node(key)?;
        let said = if let Value::Text(text) = &node.value { Some(text.as_str()) } else { None };
        if let Some((_, value)) = words.iter().find(|(word, _)| Some(*word) == said) {
            return Some(*value);
        }
        let valid = match node.value {
            Value::Integer(n) => u32::try_from(n).ok().filter(|n| bounds.contains(n)),
            Value::Text(_) | Value::Boolean(_) | Value::Array(_) | Value::Table(_) | Value::Other(_) => None,
        };
        if valid.is_none() {
            let mut forms: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            forms.push(format!("a whole number from {} to {}", bounds.start(), bounds.end()));
            let message = match &node.value {
                Value::Integer(n) => format!("`{key}` cannot be {n}"),
                Value::Text(text) => format!("`{key}` cannot be \"{text}\""),
                other => format!("`{key}` takes a number, not {}", other.kind()),
            };
            let hint = advice::unquoted(&node.value, &bounds).unwrap_or_else(|| format!("write {}", either(&forms)));
            self.cx.error(&node.place, message, hint);
        }
        valid.map(number)
    }

    /// A whole number within bounds.
    pub(super) fn number(&self, key: &'static str, default: u32, bounds: RangeInclusive<u32>) -> u32 {
        self.number_or(key, bounds, &[], |n| n).unwrap_or(default)
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, key: &'static str, default: bool) -> bool {
        let Some(node) = self.node(key) else { return default };
        match &node.value {
            Value::Boolean(yes) => *yes,
            other => {
                let message = format!("`{key}` takes true or false, not {}", other.kind());
                self.cx.error(&node.place, message, advice::flag(key, other));
                default
            }
        }
    }

    /// The items of a list; empty when it was not said.
    pub(super) fn list(&self, key: &'static str, sample: &str) -> &'a [Node] {
        match self.node(key) {
            None => &[],
            Some(Node { value: Value::Array(items), .. }) => items,
            Some(node) => {
                let said = if let Value::Integer(number) = node.value { number.to_string() } else { String::new() };
                let inner = match &node.value {
                    Value::Table(table) => {
                        table.0.iter().filter_map(|entry| entry.node.text()).collect::<Vec<_>>().join(",")
                    }
                    _ => said,
                };
                let inner = if sample.starts_with('{') { "" } else { &*inner };
                let items = advice::items(node.text().filter(|_| !sample.starts_with('{')).unwrap_or(inner), sample);
                let message = format!("`{key}` takes a list, not {}", node.value.kind());
                self.cx.error(&node.place, message, format!("write {key} = [{items}]"));
                &[]
            }
        }
    }

    /// The texts of a list, each through a parser.
    pub(super) fn texts<T>(
        &self,
        key: &'static str,
        sample: &str,
        parser: impl FnMut(&str) -> Result<T, Wrong>,
    ) -> Vec<T> {
        self.texts_with_places(key, sample, parser).into_iter().map(|(item, _)| item).collect()
    }

    /// The same, and where each stands.
    pub(super) fn texts_with_places<T>(
        &self,
        key: &'static str,
        sample: &str,
        mut parser: impl FnMut(&str) -> Result<T, Wrong>,
    ) -> Vec<(T, &'a Place)> {
        let mut out = Vec::new();
        for item in self.list(key, &format!("\"{sample}\"")) {
            match item.text() {
                Some(text) => out.extend(self.cx.take(&item.place, parser(text)).map(|found| (found, &item.place))),
                None => {
                    let message = format!("`{key}` is a list of texts in quotes, and this is {}", item.value.kind());
                    self.cx.error(&item.place, message, format!("write {key} = [\"{sample}\"]"));
                }
            }
        }
        out
    }

    fn ask(&self, key: &'static str, table: bool) {
        let mut asked = self.asked.borrow_mut();
        if asked.contains(&key) {
            return;
        }
        asked.push(key);
        if let Some(learned) = &self.cx.learned {
            learned.borrow_mut().push(Known { kind: self.kind.clone(), key, table });
        }
    }
}

impl Drop for Section<'_> {
    /// What nobody asked for is unknown.
    fn drop(&mut self) {
        let asked = self.asked.borrow();
        let unread = |entry: &&Entry| !self.left.get() && !asked.contains(&entry.key.as_str());
        for entry in self.table.iter().flat_map(|table| &table.0).filter(unread) {
            self.cx.unknown.borrow_mut().push(Unknown {
                kind: self.kind.clone(),
                path: self.path.clone(),
                key: entry.key.clone(),
                place: entry.place.clone(),
                table: matches!(entry.node.value, Value::Table(_)),
                inner: inner(&entry.node.value),
            });
        }
    }
}

/// The keys of a table.
fn inner(value: &Value) -> Vec<String> {
    match value {
        Value::Table(table) => table.0.iter().map(|entry| entry.key.clone()).collect(),
        Value::Text(_) | Value::Integer(_) | Value::Boolean(_) | Value::Array(_) | Value::Other(_) => Vec::new(),
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.into() } else { format!("{path}.{key}") }
}

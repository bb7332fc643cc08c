//! Tables in tables: those with a name of ours, those with names of the file, and those whose keys are free.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::super::advice;
use super::super::problem::{Place, Wrong};
use super::super::tree::{Node, Table, Value};
use super::{Section, join};

impl<'a> Section<'a> {
    /// A table in this table.
    pub(in crate::config) fn section(&self, key: &'static str) -> Self {
        self.ask(key, true);
        let (kind, path) = (join(&self.kind, key), join(&self.path, key));
        let entry = self.table.and_then(|table| table.get(key));
        let table = entry.and_then(|entry| self.as_table(&entry.node, &path, &kind));
        let place = entry.map_or(&self.place, |entry| &entry.place).clone();
        Self { cx: self.cx, table, kind, path, place, asked: RefCell::default(), left: Cell::default() }
    }

    /// A table of this kind that nobody said: all its defaults.
    pub(in crate::config) fn absent(&self, kind: &str) -> Self {
        let (kind, path) = (kind.into(), String::new());
        Self {
            cx: self.cx,
            table: None,
            kind,
            path,
            place: self.place.clone(),
            asked: RefCell::default(),
            left: Cell::default(),
        }
    }

    /// The tables in a table of named tables, in the order of the file.
    pub(in crate::config) fn named(&self, key: &'static str) -> Vec<(Arc<str>, Self)> {
        self.ask(key, true);
        let kind = join(&join(&self.kind, key), "NAME");
        let made = |name: &str, table, place: &Place| {
            let path = join(&join(&self.path, key), name);
            let section = Self {
                cx: self.cx,
                table,
                kind: kind.clone(),
                path,
                place: place.clone(),
                asked: RefCell::default(),
                left: Cell::default(),
            };
            (name.into(), section)
        };
        if self.cx.learned.is_some() {
            return vec![made("NAME", None, &self.place)];
        }
        let Some(entry) = self.table.and_then(|table| table.get(key)) else { return Vec::new() };
        let Some(tables) = self.as_table(&entry.node, key, &kind) else { return Vec::new() };
        let mut out = Vec::new();
        let sample = if key == "pool" { "app" } else { "main" };
        for entry in &tables.0 {
            let path = join(key, &entry.key);
            let tables = match &entry.node.value {
                Value::Table(_) => true,
                Value::Array(items) => items.iter().all(|item| matches!(item.value, Value::Table(_))),
                Value::Text(_) | Value::Integer(_) | Value::Boolean(_) | Value::Other(_) => false,
            };
            if !tables {
                let hint = format!("put it below a header with a name of your choice, like [{key}.{sample}]");
                self.cx.error(
                    &entry.place,
                    format!("`{}` stands in [{key}], which has only named tables", entry.key),
                    hint,
                );
            } else if let Some(table) = self.as_table(&entry.node, &path, &kind) {
                self.cx.take(&entry.place, name(&entry.key));
                out.push(made(&entry.key, Some(table), &entry.place));
            }
        }
        out
    }

    /// A table that is an item of a list. In learning, there is one.
    pub(in crate::config) fn item(&self, key: &'static str, node: &'a Node) -> Self {
        let table = if let Value::Table(table) = &node.value { Some(table) } else { None };
        let (kind, path) = (join(&self.kind, key), join(&self.path, key));
        Self {
            cx: self.cx,
            table,
            kind,
            path,
            place: node.place.clone(),
            asked: RefCell::default(),
            left: Cell::default(),
        }
    }

    /// The keys and texts of a table whose keys are free.
    pub(in crate::config) fn free(&self, key: &'static str) -> Vec<(&'a str, &'a Place, &'a str, &'a Place)> {
        let Some(node) = self.node(key) else { return Vec::new() };
        let Some(table) = self.as_table(node, &join(&self.path, key), "") else { return Vec::new() };
        let mut out = Vec::new();
        for entry in &table.0 {
            match entry.node.text() {
                Some(text) => out.push((entry.key.as_str(), &entry.place, text, &entry.node.place)),
                None => {
                    let message = format!("`{}` takes text in quotes, not {}", entry.key, entry.node.value.kind());
                    self.cx.error(&entry.node.place, message, "");
                }
            }
        }
        out
    }

    fn as_table(&self, node: &'a Node, path: &str, kind: &str) -> Option<&'a Table> {
        let header = if kind.ends_with("NAME") && !path.contains('.') { format!("{path}.NAME") } else { path.into() };
        match &node.value {
            Value::Table(table) => Some(table),
            Value::Array(_) => {
                let (message, hint) = match kind {
                    "" => {
                        (format!("`{path}` is a table, and this is a list"), "write it like { X-Probe = \"1\" }".into())
                    }
                    _ => (
                        format!("`{path}` is not a list of tables"),
                        format!("everything has a name: write [{header}]"),
                    ),
                };
                self.cx.error(&node.place, message, hint);
                None
            }
            other => {
                let message = format!("`{path}` is a table, and this is {}", other.kind());
                let below = || format!("write its keys below a [{header}] line");
                self.cx.error(&node.place, message, advice::table(kind, other).unwrap_or_else(below));
                None
            }
        }
    }
}

/// Names become metric labels and parts of addresses of the admin API.
fn name(name: &str) -> Result<(), Wrong> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if !(1..=64).contains(&name.len()) || !name.bytes().all(fine) {
        let hint = "use 1 to 64 letters, digits, \"-\" and \"_\"";
        return Err(Wrong::new(format!("\"{name}\" cannot be a name"), hint));
    }
    Ok(())
}

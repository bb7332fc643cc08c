//! The one tree that file, flags and environment are gathered into: values that know where they were said.

use std::sync::Arc;

use super::problem::{Origin, Place};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// What was said.
    pub value: Value,
    /// Where.
    pub place: Place,
}

/// What can be said. What no key takes (dates, numbers with a point) is kept as its name alone.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // the words say it
pub enum Value {
    Text(String),
    Integer(i64),
    Boolean(bool),
    Array(Vec<Node>),
    Table(Table),
    Other(&'static str),
}

/// Keys and values, in the order they were said.
#[derive(Clone, Debug, Default)]
pub struct Table(pub Vec<Entry>);

/// One key of a [`Table`].
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub place: Place,
    /// What it says.
    pub node: Node,
}

impl Node {
    /// Its text: as it stands, or what a flag or variable has in the place of one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Integer(_) | Value::Boolean(_) | Value::Other(_) => self.place.origin.said.as_deref(),
            Value::Array(_) | Value::Table(_) => None,
        }
    }
}

impl Node {
    /// Its number.
    #[must_use]
    pub const fn number(&self) -> Option<i64> {
        if let Value::Integer(number) = self.value { Some(number) } else { None }
    }
}

impl Value {
    /// What it is, for "takes a duration, not …".
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(_) => "a number",
            Self::Boolean(_) => "true or false",
            Self::Array(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(kind) => kind,
        }
    }
}

impl Table {
    /// The entry of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.key == key)
    }

    /// The table of a key, if it is one.
    #[must_use]
    pub fn table(&self, key: &str) -> Option<&Self> {
        match &self.get(key)?.node.value {
            Value::Table(table) => Some(table),
            Value::Text(_) | Value::Integer(_) | Value::Boolean(_) | Value::Array(_) | Value::Other(_) => None,
        }
    }

    /// Sets the value at a path, over what is there; tables on the way are made.
    ///
    /// # Errors
    /// The key on the way that is not a table.
    pub fn set(&mut self, path: &[&str], value: Value, origin: &Arc<Origin>) -> Result<(), String> {
        let Some((key, rest)) = path.split_first() else { return Ok(()) };
        let place = Place::whole(origin);
        let at = match self.0.iter().position(|entry| entry.key == *key) {
            Some(at) => at,
            None => {
                let node = Node { value: Value::Table(Self::default()), place: place.clone() };
                self.0.push(Entry { key: (*key).into(), place: place.clone(), node });
                self.0.len() - 1
            }
        };
        let entry = &mut self.0[at];
        if rest.is_empty() {
            *entry = Entry { key: (*key).into(), place: place.clone(), node: Node { value, place } };
            return Ok(());
        }
        match &mut entry.node.value {
            Value::Table(table) => table.set(rest, value, origin),
            Value::Text(_) | Value::Integer(_) | Value::Boolean(_) | Value::Array(_) | Value::Other(_) => {
                Err((*key).into())
            }
        }
    }
}

//! What tracing is in a build without it: the same words, of types that have no value, so that all of it compiles to
//! nothing.

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue};

use crate::observe::Exchange;

/// No request has one.
#[derive(Clone, Debug)]
pub enum Context {}

/// No attempt has one.
#[derive(Clone, Debug)]
pub enum Parent {}

/// Exports nothing.
#[derive(Clone, Debug)]
pub struct Traces;

impl Context {
    /// See `context`.
    pub fn attempt(&mut self, _now: Instant) -> Parent {
        match *self {}
    }
}

impl Parent {
    /// See `context`.
    #[must_use]
    pub const fn traceparent(&self) -> &HeaderValue {
        match *self {}
    }

    /// See `context`.
    #[must_use]
    pub const fn fresh(&self) -> bool {
        match *self {}
    }
}

impl Traces {
    /// The only one.
    #[must_use]
    pub const fn off() -> Self {
        Self
    }

    /// Off.
    #[must_use]
    pub const fn from_env(_service: &str) -> Self {
        Self
    }

    /// None.
    #[must_use]
    pub const fn begin(&self, _fields: &HeaderMap) -> Option<Context> {
        None
    }

    /// Nothing.
    pub const fn end(&self, _exchange: &Exchange) {}

    /// At once.
    pub const fn flush(&self, _at_most: Duration) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_it_takes_room() {
        assert_eq!([size_of::<Option<Context>>(), size_of::<Option<Parent>>(), size_of::<Traces>()], [0; 3]);
    }
}

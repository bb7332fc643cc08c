//! Names and lists that cannot be had just now, while what was known of them stays in use: for whoever looks. Nothing
//! is asked or decided here; [`super::resolve`] says what came of its questions.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::cause::Cause;

/// One that cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale {
    /// `app.internal:3000`, or `upstreams_file /etc/apps.json`.
    pub source: String,
    /// Why, in a word.
    pub cause: Cause,
    /// Why, and what stays in use: whole sentences.
    pub said: String,
    /// How many addresses, or targets of a list, stay in use.
    pub kept: usize,
    /// From when on.
    pub since: Instant,
}

/// Those of a pool, by what they are called.
#[derive(Debug, Default)]
pub struct Stales(Mutex<BTreeMap<String, Stale>>);

impl Stales {
    /// All of them, sorted by what they are called.
    #[must_use]
    pub fn all(&self) -> Vec<Stale> {
        self.lock().values().cloned().collect()
    }

    /// It cannot be had. One that could not be had before has not been had since then. `false`: that was known.
    pub(super) fn tell(&self, stale: Stale) -> bool {
        let mut all = self.lock();
        let since = all.get(&stale.source).map_or(stale.since, |before| before.since);
        let stale = Stale { since, ..stale };
        all.insert(stale.source.clone(), stale.clone()).is_none_or(|before| before != stale)
    }

    /// It was had, or nobody asks for it any more. `false`: that was known.
    pub(super) fn end(&self, source: &str) -> bool {
        self.lock().remove(source).is_some()
    }

    /// Only these are asked for.
    pub(super) fn keep(&self, asked: impl Fn(&str) -> bool) {
        self.lock().retain(|source, _| asked(source));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Stale>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_is_stale_since_the_first_word_of_it() {
        let (all, now) = (Stales::default(), Instant::now());
        let stale = |source: &str, said: &str, since| Stale {
            source: source.to_owned(),
            cause: Cause::DnsTimeout,
            said: said.to_owned(),
            kept: 1,
            since,
        };
        assert!(all.tell(stale("b:1", "late", now)) && !all.tell(stale("b:1", "late", now)));
        all.tell(stale("b:1", "later", now + Duration::from_secs(1)));
        all.tell(stale("a:1", "late", now));
        assert_eq!(all.all(), [stale("a:1", "late", now), stale("b:1", "later", now)]);
        all.keep(|source| source == "b:1");
        assert_eq!(all.all().len(), 1);
        assert!(all.end("b:1") && !all.end("b:1"));
        assert_eq!(all.all(), []);
    }
}

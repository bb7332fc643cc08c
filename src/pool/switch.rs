//! The operator's words on the upstreams of a pool, by id: they hold for those who come later, too (CONTRACT §9).

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use crate::config::address::Host;
use crate::config::model::Entry;
use crate::health::{Operator, Transition};

use super::{Pool, Upstream};

/// More words than this are not kept for ids that nobody has now.
const MOST: usize = 4096;

/// No upstream and no entry of the pool has this id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotFound;

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the pool has no upstream with this id")
    }
}

impl std::error::Error for NotFound {}

/// What the operator last said of each id.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// Of entries, by id: they cover all addresses.
    entries: HashMap<Arc<str>, Operator>,
    /// Of single addresses (`NAME@IP`), said after the word on their entry.
    ones: HashMap<Arc<str>, Operator>,
}

impl Words {
    /// The word that holds for the upstream with this id, of this family and of the entry with that id.
    pub(super) fn on(&self, id: &str, family: &str, entry: &str) -> Operator {
        let one = self.ones.get(id).or_else(|| self.ones.get(family));
        one.or_else(|| self.entries.get(entry)).copied().unwrap_or_default()
    }

    /// The words for a new file: an entry that stays where it is takes its words along to its new id; one at another
    /// place has those that were said of its id. `former`: for each new entry, which of the old ones it is.
    pub(super) fn renew(&mut self, old: &[Entry], new: &[Entry], former: &[Option<usize>]) {
        if self.entries.is_empty() && self.ones.is_empty() {
            return;
        }
        let (entries, ones) = (std::mem::take(&mut self.entries), std::mem::take(&mut self.ones));
        let moved: HashSet<Arc<str>> = former.iter().flatten().map(|&index| old[index].id()).collect();
        for (entry, former) in new.iter().zip(former) {
            let (id, before) = (entry.id(), former.map_or_else(|| entry.id(), |index| old[index].id()));
            if former.is_none() && moved.contains(&before) {
                continue;
            }
            let prefix = format!("{before}@");
            let of = |one: &Arc<str>| Some(format!("{id}@{}", one.strip_prefix(&prefix)?).into());
            self.ones.extend(ones.iter().filter_map(|(one, word)| Some((of(one)?, *word))));
            if let Some(word) = entries.get(&before) {
                self.entries.insert(id, *word);
            }
        }
        if new.iter().any(|entry| matches!(entry.address.host, Host::Listed(_))) {
            // What is of no entry may be of a target of the list.
            let entry = |one: &str| one.split_once('@').map_or(one, |(entry, _)| entry).to_owned();
            let known: HashSet<Arc<str>> = old.iter().map(Entry::id).collect();
            self.ones.extend(ones.into_iter().filter(|(one, _)| !known.contains(&*entry(one))));
        }
    }
}

impl Pool {
    /// The operator's word on an upstream, or on all addresses of an entry: those of now and those that come later.
    /// Tells whose state it changed. The newest word holds.
    ///
    /// # Errors
    /// [`NotFound`], if no upstream and no entry has this id.
    pub fn switch(
        &self,
        id: &str,
        operator: Operator,
        now: Instant,
    ) -> Result<Vec<(Arc<Upstream>, Transition)>, NotFound> {
        let mut words = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let members = self.members();
        let entry = members.config.upstreams.iter().position(|entry| *entry.id() == *id);
        if let Some(entry) = entry {
            words.entries.insert(members.config.upstreams[entry].id(), operator);
            // Newer than the words on its single addresses, those who are away included, and on the targets of a list.
            let prefix = format!("{id}@");
            let inside = |one: &str| members.iter().any(|m| m.entry == entry && (*m.id == *one || *m.family == *one));
            words.ones.retain(|one, _| !one.starts_with(&prefix) && !inside(one));
        } else if members.iter().any(|one| *one.id == *id || *one.family == *id) {
            if words.ones.len() >= MOST {
                words.ones.retain(|id, _| members.iter().any(|one| one.id == *id || one.family == *id));
            }
            let prefix = format!("{id}@");
            words.ones.retain(|one, _| !one.starts_with(&prefix));
            words.ones.insert(id.into(), operator);
        } else {
            return Err(NotFound);
        }
        let covered =
            members.iter().filter(|one| entry.map_or(*one.id == *id || *one.family == *id, |entry| one.entry == entry));
        let switched = |one: &Arc<Upstream>| Some((Arc::clone(one), one.health.switch(operator, now)?));
        let changed: Vec<_> = covered.filter_map(switched).collect();
        drop(words);
        if !changed.is_empty() {
            self.touch();
        }
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{addresses, pool, unchecked};
    use super::*;
    use crate::config::address::Dial;
    use crate::health::State;

    fn resolve(pool: &Pool, list: &[&str]) {
        pool.set_addresses(0, Dial::Addresses(addresses(list)), Instant::now());
    }

    fn states(pool: &Pool) -> Vec<State> {
        pool.members().iter().map(|one| one.health.state()).collect()
    }

    #[test]
    fn a_word_on_a_name_holds_for_all_its_addresses_now_and_later() {
        let pool = pool(&["app:1", "10.0.0.9:1"], unchecked());
        resolve(&pool, &["10.0.0.1:1", "10.0.0.2:1"]);
        let changed = pool.switch("app:1", Operator::Draining, Instant::now()).unwrap();
        assert_eq!(changed.iter().map(|(one, _)| &*one.id).collect::<Vec<_>>(), ["app:1@10.0.0.1", "app:1@10.0.0.2"]);
        resolve(&pool, &["10.0.0.2:1", "10.0.0.3:1"]);
        assert_eq!(states(&pool), [State::Draining, State::Draining, State::Ready]);
        resolve(&pool, &["10.0.0.4:1"]);
        assert_eq!(states(&pool), [State::Draining, State::Ready]);
        assert_eq!(pool.switch("app:1", Operator::Enabled, Instant::now()).unwrap().len(), 1);
        assert_eq!(states(&pool), [State::Ready, State::Ready]);
    }

    #[test]
    fn a_word_on_one_address_holds_for_it_alone_even_when_it_comes_back() {
        let pool = pool(&["app:1"], unchecked());
        resolve(&pool, &["10.0.0.1:1", "10.0.0.2:1"]);
        pool.switch("app:1@10.0.0.2", Operator::Disabled, Instant::now()).unwrap();
        assert_eq!(states(&pool), [State::Ready, State::Disabled]);
        resolve(&pool, &["10.0.0.1:1", "10.0.0.3:1"]);
        assert_eq!(states(&pool), [State::Ready, State::Ready]);
        resolve(&pool, &["10.0.0.1:1", "10.0.0.2:1"]);
        assert_eq!(states(&pool), [State::Ready, State::Disabled]);
        pool.switch("app:1", Operator::Enabled, Instant::now()).unwrap();
        resolve(&pool, &["10.0.0.1:1", "10.0.0.3:1"]);
        resolve(&pool, &["10.0.0.1:1", "10.0.0.2:1"]);
        assert_eq!(states(&pool), [State::Ready, State::Ready], "the newest word holds");
    }

    #[test]
    fn one_address_may_stay_in_while_its_name_is_out() {
        let pool = pool(&["app:1"], unchecked());
        resolve(&pool, &["10.0.0.1:1", "10.0.0.2:1"]);
        pool.switch("app:1", Operator::Disabled, Instant::now()).unwrap();
        pool.switch("app:1@10.0.0.2", Operator::Enabled, Instant::now()).unwrap();
        assert_eq!(states(&pool), [State::Disabled, State::Ready]);
    }

    #[test]
    fn an_id_that_nobody_has_is_said_so_and_the_same_word_twice_changes_nothing() {
        let pool = pool(&["10.0.0.1:1"], unchecked());
        assert_eq!(pool.switch("10.0.0.2:1", Operator::Disabled, Instant::now()).unwrap_err(), NotFound);
        let mut changes = pool.changes();
        for count in [1, 0] {
            let changed = pool.switch("10.0.0.1:1", Operator::Disabled, Instant::now()).unwrap();
            assert_eq!((changed.len(), changes.has_changed().unwrap()), (count, count == 1));
            changes.mark_unchanged();
        }
    }
}

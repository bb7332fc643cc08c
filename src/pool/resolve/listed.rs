//! `upstreams_file`: follows a list that something else keeps. It is looked at every 2 s through whatever links lead to
//! it, and compared by what it says: a file that takes another's place is seen, and so is a link that is turned to
//! another folder, as Kubernetes turns `..data`. What cannot be used changes nothing: the last good list stays, and
//! people are told once.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

use crate::cause::Cause;
use crate::config::address::{Address, Dial, UPSTREAMS_FILE};
use crate::config::model::Entry;
use crate::config::{Endpoint, targets};
use crate::observe::events;

use super::{Found, Place, Pool, Stale, Why, asks, found, place};

/// How often the file is looked at.
const EVERY: Duration = Duration::from_secs(2);

/// Follows the list at this path for the entry at this index.
pub(super) async fn follow(pool: Arc<Pool>, entry: usize, path: Arc<Path>) {
    let mut list = List { pool, entry, path, targets: None, heard: Arc::default(), told: None };
    let (mut names, mut running) = (JoinSet::new(), HashMap::new());
    let mut last: Option<Result<Vec<u8>, String>> = None;
    // What is wrong is told when it is still so at the next look: who writes in place needs a moment.
    let mut wrong: Option<String> = None;
    let mut look = interval(EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = look.tick() => {
                let path = Arc::clone(&list.path);
                // A disk may be slow, and whatever else runs on this thread may not wait for it.
                let Ok(bytes) = tokio::task::spawn_blocking(move || targets::bytes(&path)).await else { continue };
                if last.as_ref() == Some(&bytes) {
                    if let Some(wrong) = wrong.take() {
                        list.refuse(&wrong);
                    }
                    continue;
                }
                let read = bytes.as_ref().map_err(Clone::clone).and_then(|bytes| list.read(bytes));
                last = Some(bytes);
                match read {
                    Ok(targets) => {
                        wrong = None;
                        list.take(targets);
                        list.follow_names(&mut names, &mut running);
                        list.show();
                    }
                    Err(why) => {
                        list.miss(&why);
                        wrong = Some(why);
                    }
                }
            }
            () = list.heard.news.notified() => list.show(),
            Some(Err(ended)) = names.join_next() => {
                // A bug must not leave a name unresolved in silence.
                if let Ok(panic) = ended.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }
}

/// What the names of the list stand for, as far as that is known.
#[derive(Debug, Default)]
struct Heard {
    known: Mutex<HashMap<Address, Result<Vec<Place>, Why>>>,
    news: Notify,
}

struct List {
    pool: Arc<Pool>,
    entry: usize,
    path: Arc<Path>,
    /// The last good list; `None`: there was none yet.
    targets: Option<Vec<Arc<Entry>>>,
    heard: Arc<Heard>,
    /// Since when people know that there is none that could be used.
    told: Option<Instant>,
}

impl List {
    /// The targets in these bytes; without those that stand in `upstreams`, too.
    fn read(&self, bytes: &[u8]) -> Result<Vec<Arc<Entry>>, String> {
        let targets = targets::parse(&self.path, bytes).map_err(|problem| targets::told(&problem))?;
        let beside = &self.pool.config.upstreams;
        let known = |target: &Entry| beside.iter().any(|own| own.address == target.address || own.id() == target.id());
        Ok(targets.into_iter().filter(|target| !known(target)).map(Arc::new).collect())
    }

    /// A new list is in force.
    fn take(&mut self, targets: Vec<Arc<Entry>>) {
        let addresses = |list: &[Arc<Entry>]| list.iter().map(|target| target.address.clone()).collect::<HashSet<_>>();
        let after = self.told.take().map(|since| since.elapsed());
        if self.pool.stale.end(&self.called()) {
            self.pool.touch();
        }
        if after.is_some() || self.targets.as_ref().is_some_and(|old| *old != targets) {
            let old = self.targets.as_deref().unwrap_or_default();
            let (before, now) = (addresses(old), addresses(&targets));
            let only = |list: &[Arc<Entry>], others: &HashSet<Address>| -> Vec<String> {
                list.iter().filter(|one| !others.contains(&one.address)).map(|one| one.address.to_string()).collect()
            };
            let (came, went) = (only(&targets, &before), only(old, &now));
            let list = (&*self.path, targets.len());
            events::upstreams_file_taken(&self.pool.config.name, list, &came, &went, after);
        }
        self.targets = Some(targets);
    }

    /// People are told that there is no list that could be used.
    fn refuse(&mut self, why: &str) {
        let (kept, source) = (self.kept(), self.called());
        events::upstreams_file_refused(&self.pool.config.name, &self.path, why, kept);
        let since = *self.told.get_or_insert_with(Instant::now);
        // Where nobody is in use, the entry itself says so.
        if let Some(kept) = kept {
            let said = format!("{why}; {}.", events::list_stays(Some(kept)));
            self.pool.stale.tell(Stale { source, cause: Cause::DnsFailure, said, kept, since });
            self.pool.touch();
        }
    }

    fn called(&self) -> String {
        format!("{UPSTREAMS_FILE} {}", self.path.display())
    }

    /// There is no list that could be used: who is in use stays, and where nobody ever was, the reason is told.
    fn miss(&self, why: &str) {
        let Some(said) = self.pool.config.upstreams.get(self.entry) else { return };
        if self.kept().is_none() {
            let why = (Cause::DnsFailure, format!("{}: {why}", self.called()));
            self.pool.set_found(self.entry, vec![Found::new(said, Dial::Unresolved(Some(why)))], Instant::now());
        }
    }

    /// How many targets are in use, those from before a reload included; `None`: there never was a list.
    fn kept(&self) -> Option<usize> {
        if let Some(targets) = &self.targets {
            return Some(targets.len());
        }
        let own = self.pool.config.upstreams.get(self.entry)?.id();
        let members = self.pool.members();
        let in_use = members.iter().filter(|one| one.entry == self.entry && one.family != own);
        // One target may have several addresses.
        let targets = in_use.map(|one| &one.endpoint.authority).collect::<HashSet<_>>().len();
        (targets > 0).then_some(targets)
    }

    /// One task for each name of the list.
    fn follow_names(&self, names: &mut JoinSet<()>, running: &mut HashMap<Address, AbortHandle>) {
        let targets = self.targets.as_deref().unwrap_or_default();
        let named = || targets.iter().filter(|target| target.address.host.may_be_several());
        let wanted: HashSet<&Address> = named().map(|target| &target.address).collect();
        running.retain(|address, task| {
            wanted.contains(address) || {
                task.abort();
                self.pool.stale.end(&address.to_string());
                false
            }
        });
        self.known(|known| known.retain(|address, _| wanted.contains(address)));
        for target in named() {
            if running.contains_key(&target.address) {
                continue;
            }
            let known = self.carried(target);
            if !known.is_empty() {
                self.known(|all| all.insert(target.address.clone(), Ok(known.clone())));
            }
            let (pool, heard, address) = (Arc::clone(&self.pool), Arc::clone(&self.heard), target.address.clone());
            let task = names.spawn(async move {
                let tell = |outcome: Result<&[Place], &Why>| {
                    let outcome = outcome.map(<[Place]>::to_vec).map_err(Clone::clone);
                    heard.known.lock().unwrap_or_else(PoisonError::into_inner).insert(address.clone(), outcome);
                    heard.news.notify_one();
                };
                super::follow(&pool, &address, known, asks(&pool, &address), tell).await;
            });
            running.insert(target.address.clone(), task);
        }
    }

    /// What the target had before a reload.
    fn carried(&self, target: &Entry) -> Vec<Place> {
        let shown = target.address.to_string();
        let of = |one: &&Arc<crate::pool::Upstream>| {
            one.entry == self.entry && (*one.endpoint.authority == *shown || *one.family == *shown)
        };
        self.pool
            .members()
            .iter()
            .filter(of)
            .filter_map(|one| place(&one.endpoint.dial, one.weight, one.backup))
            .collect()
    }

    fn known<T>(&self, with: impl FnOnce(&mut HashMap<Address, Result<Vec<Place>, Why>>) -> T) -> T {
        with(&mut self.heard.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives the pool what is known now.
    fn show(&self) {
        let Some(targets) = &self.targets else { return };
        let all = self.known(|known| {
            let of = |target: &Arc<Entry>| {
                let one = |dial| vec![Found::new(target, dial)];
                let found = match (Endpoint::literal(&target.address), known.get(&target.address)) {
                    (Some(literal), _) => one(literal.dial),
                    (None, Some(outcome)) => found(target, outcome.as_deref()),
                    (None, None) => one(Dial::Unresolved(None)),
                };
                found.into_iter().map(|found| Found { of: Some(Arc::clone(target)), ..found }).collect::<Vec<_>>()
            };
            targets.iter().flat_map(of).collect()
        });
        self.pool.set_found(self.entry, all, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::super::tests::{addresses, pool};
    use super::*;
    use crate::config::Address;
    use crate::config::address::Host;

    /// After a reload nothing has been read yet, and what is in use is not nothing.
    #[test]
    fn a_list_that_cannot_be_read_after_a_reload_leaves_who_is_in_use() {
        let listed = Entry::new(Address::plain(Host::Listed(Path::new("/list").into()), 0));
        let pool = Arc::new(pool(&[], |config| config.upstreams.push(listed.clone())));
        let own = Arc::clone(&pool);
        let (path, heard) = (Path::new("/list").into(), Arc::default());
        let list = List { pool: own, entry: 0, path, targets: None, heard, told: None };
        let states = || pool.members().iter().map(|one| one.id.to_string()).collect::<Vec<_>>();
        list.miss("gone");
        assert_eq!((list.kept(), states()), (None, vec![listed.id().to_string()]));
        let target = Arc::new(Entry::new(Address::parse("app:1").unwrap()));
        let at = |address: &str| Found {
            of: Some(Arc::clone(&target)),
            ..Found::new(&target, Dial::Addresses(addresses(&[address])))
        };
        pool.set_found(0, vec![at("10.0.0.1:1"), at("10.0.0.2:1")], Instant::now());
        list.miss("gone");
        assert_eq!((list.kept(), states()), (Some(1), vec!["app:1@10.0.0.1".into(), "app:1@10.0.0.2".into()]));
    }
}

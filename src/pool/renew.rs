//! A pool for a new file: another view of what is true of the pool whatever the file says. It cannot fail.
//!
//! An upstream stays if its place does: host and port, or the path of its socket; of a name, all of its addresses.
//! Whatever else its entry says now, it keeps health, load, counters and what was learnt of it. Its endpoint it keeps
//! while it is dialled and spoken to in the same way: no connection that was made otherwise is used again. Nothing here
//! asks a name server or an upstream.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use crate::config::Endpoint;
use crate::config::address::{Address, Dial, Host, Scheme};
use crate::config::model::{self, Entry};
use crate::observe::events;

use super::members::{Found, endpoint, ids, push};
use super::upstream::limit;
use super::{Members, Pool, Upstream, first};

impl Pool {
    /// The same pool as a new file has it, for all that is asked of it from now on. Requests that have begun keep the
    /// view that they started with, and its settings; the upstreams are those of the new file for them, too.
    #[must_use]
    pub fn renewed(&self, config: Arc<model::Pool>, now: Instant) -> Self {
        let mut words = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.members.load_full();
        let former = former(&old.config.upstreams, &config.upstreams);
        words.renew(&old.config.upstreams, &config.upstreams, &former);
        let mut stay: Vec<Vec<&Arc<Upstream>>> = vec![Vec::new(); old.config.upstreams.len()];
        old.iter().for_each(|one| stay[one.entry].push(one));
        let (mut list, mut changed) = (Vec::with_capacity(old.len() + 8), Vec::new());
        for (index, entry) in config.upstreams.iter().enumerate() {
            let Some(former) = former[index] else {
                let fresh = first(&config, (index, entry), (now, &self.bell, &self.queue));
                fresh.health.switch(words.on(&fresh.id, &fresh.family, &entry.id()), now);
                push(&mut list, Arc::new(fresh));
                continue;
            };
            let before = &old.config.upstreams[former];
            for (one, ids) in stay[former].iter().zip(new_ids(entry, &stay[former])) {
                let carried = carried(one, before, (index, entry), ids, &config);
                if old.config.health != config.health || carried.endpoint.key != one.endpoint.key {
                    carried.health.forget_plan();
                }
                if config.health.is_none() && !matches!(carried.endpoint.dial, Dial::Unresolved(_)) {
                    let change = carried.health.checks_end(now);
                    changed.extend(change.map(|_| (Arc::clone(&carried.id), &one.meter)));
                }
                push(&mut list, Arc::new(carried));
            }
        }
        self.members.store(Arc::new(Members::new(list, &config, Some(&old))));
        self.due.look_again(self.evictions.lock().unwrap_or_else(PoisonError::into_inner));
        drop(words);
        self.touch();
        for (id, meter) in changed {
            let member = events::Member { pool: &config.name, upstream: &id, meter };
            events::upstream_ready(member, "its checks are off");
        }
        Self { config, live: Arc::clone(&self.live) }
    }

    /// It is in no file any more: whoever waits for one of its upstreams to come back does so in vain, and hears of it.
    pub fn leave(&self) {
        self.gone.store(true, Ordering::Release);
        self.touch();
    }

    /// Is it in no file any more?
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Is this the view that the upstreams are made for? Else a newer file is in force.
    #[must_use]
    pub fn is_in_force(&self) -> bool {
        Arc::ptr_eq(&self.members.load().config, &self.config)
    }

    /// Does this while no other file can come into force; `None`: one has.
    pub fn while_in_force<T>(&self, act: impl FnOnce() -> T) -> Option<T> {
        let _words = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_in_force().then(act)
    }
}

/// For each upstream of an entry its id, its family and its place to the balance. Targets of a list keep theirs.
fn new_ids(entry: &Entry, all: &[&Arc<Upstream>]) -> Vec<[Arc<str>; 3]> {
    if is_list(entry) {
        return all.iter().map(|one| [&one.id, &one.family, &one.place].map(Arc::clone)).collect();
    }
    let found: Vec<Found> = all.iter().map(|one| Found::new(entry, one.endpoint.dial.clone())).collect();
    ids(entry, &found).into_iter().map(|(id, place)| [id, entry.id(), place]).collect()
}

/// An upstream that stays, as its entry has it now. A share or a rank that was not the entry's own stays as well.
fn carried(
    one: &Upstream,
    before: &Entry,
    (index, entry): (usize, &Entry),
    [id, family, place]: [Arc<str>; 3],
    config: &model::Pool,
) -> Upstream {
    let endpoint = match (speaks_alike(&one.endpoint, config, entry), is_list(entry)) {
        (true, _) => Arc::clone(&one.endpoint),
        (false, false) => Arc::new(endpoint(config, entry, one.endpoint.dial.clone())),
        (false, true) => {
            let like = one.endpoint.like(Arc::clone(&one.endpoint.authority), one.endpoint.dial.clone());
            Arc::new(like.with_tls(config.tls.clone()))
        }
    };
    let former = if place == one.place { one.former.clone() } else { Some(Arc::clone(&one.place)) };
    let weight = if one.weight == before.weight { entry.weight } else { one.weight };
    let backup = entry.backup || one.backup && !before.backup;
    let limit = limit(config, Some(entry));
    // Its ordinal is given with its place in the list.
    Upstream { id, family, place, former, ordinal: 0, entry: index, endpoint, limit, weight, backup, ..one.share() }
}

/// Is it spoken to as before? Of a list, each target says itself how, but for TLS.
fn speaks_alike(endpoint: &Endpoint, config: &model::Pool, entry: &Entry) -> bool {
    let tls = || match (&endpoint.tls, &config.tls) {
        (Some(old), Some(new)) => old.is_like(new),
        (old, new) => old.is_none() && new.is_none(),
    };
    let said = endpoint.scheme == entry.address.scheme && endpoint.proxy_protocol == entry.proxy_protocol;
    (said || is_list(entry)) && (endpoint.scheme != Scheme::Https || tls())
}

fn is_list(entry: &Entry) -> bool {
    matches!(entry.address.host, Host::Listed(_))
}

/// Which of the old entries each new one is, if any: that of its place. Where several have one place, those with the
/// same id first, then those that are spoken to in the same way, then in their order.
pub(super) fn former(old: &[Entry], new: &[Entry]) -> Vec<Option<usize>> {
    let mut places: HashMap<Address, Vec<usize>> = HashMap::new();
    for (index, entry) in old.iter().enumerate() {
        places.entry(place(entry)).or_default().push(index);
    }
    let mut former = vec![None; new.len()];
    let like: [fn(&Entry, &Entry) -> bool; 3] =
        [|old, new| old.id() == new.id(), |old, new| old.address == new.address, |_, _| true];
    for like in like {
        for (found, entry) in former.iter_mut().zip(new).filter(|(found, _)| found.is_none()) {
            if let Slot::Occupied(mut left) = places.entry(place(entry))
                && let Some(at) = left.get().iter().position(|index| like(&old[*index], entry))
            {
                *found = Some(left.get_mut().remove(at));
            }
        }
    }
    former
}

/// Where it is, however it is spoken to.
fn place(entry: &Entry) -> Address {
    let host = match &entry.address.host {
        // There is one list, wherever its file lies.
        Host::Listed(_) => Host::Listed(Path::new("").into()),
        host => host.clone(),
    };
    Address { scheme: Scheme::default(), host, port: entry.address.port }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};
    use std::num::NonZeroUsize;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::balance::token;
    use super::super::pick::{Ask, Choice, Next};
    use super::super::tests::{addresses, checked, pool, unchecked};
    use super::*;
    use crate::cause::Cause;
    use crate::health::{Event, Operator, Policy, Proof, State};

    fn changed(pool: &Pool, change: impl FnOnce(&mut model::Pool)) -> Pool {
        let mut config = model::Pool::clone(&pool.config);
        change(&mut config);
        pool.renewed(Arc::new(config), Instant::now())
    }

    fn shown(pool: &Pool) -> Vec<String> {
        pool.members().iter().map(|one| one.id.to_string()).collect()
    }

    fn states(pool: &Pool) -> Vec<State> {
        pool.members().iter().map(|one| one.health.state()).collect()
    }

    fn said(pool: &Pool, index: usize, event: Event) {
        let policy = Policy { healthy_after: 1, unhealthy_after: 1 };
        pool.members()[index].health.record(event, None, policy, Instant::now());
    }

    fn next(pool: &Pool) -> Next {
        Choice::new(pool).next(pool, Ask { replayable: true, unknown_too: true }, Instant::now)
    }

    const PASSED: Event = Event::CheckPassed(Proof::Answers);
    const FAILED: Event = Event::CheckFailed(Cause::HealthStatus);

    #[test]
    fn an_upstream_stays_where_it_is_whatever_it_is_called() {
        let old = pool(&["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"], checked());
        said(&old, 0, PASSED);
        said(&old, 1, FAILED);
        let before = old.members();
        let new = changed(&old, |config| {
            config.upstreams.remove(2);
            config.upstreams.reverse();
            config.upstreams[0].name = Some("b".into());
            (config.upstreams[0].weight, config.upstreams[0].backup) = (7, true);
            let mut fresh = config.upstreams[0].clone();
            (fresh.name, fresh.address.port) = (None, 2);
            config.upstreams.insert(1, fresh);
        });
        assert_eq!(shown(&new), ["b", "10.0.0.2:2", "10.0.0.1:1"]);
        assert_eq!(states(&new), [State::Evicted, State::Unknown, State::Ready]);
        let after = new.members();
        assert_eq!(after.iter().map(|one| one.ordinal).collect::<Vec<_>>(), [1, 2, 3]);
        for (one, was) in [(&after[0], &before[1]), (&after[2], &before[0])] {
            assert!(Arc::ptr_eq(&one.endpoint, &was.endpoint) && Arc::ptr_eq(&one.meter, &was.meter));
            assert!(Arc::ptr_eq(&one.in_flight, &was.in_flight) && Arc::ptr_eq(&one.idle_age, &was.idle_age));
        }
        assert!(after[0].backup && Arc::ptr_eq(&old.members(), &after), "the old view has the same upstreams");
        let sticky = |id: &str| after.balancer.position(token("app", id));
        assert_eq!((sticky("b"), sticky("10.0.0.2:1"), sticky("10.0.0.3:1")), (Some(0), Some(0), None));
    }

    #[test]
    fn a_name_keeps_its_addresses() {
        let old = pool(&["app:1", "10.0.0.9:1"], checked());
        old.set_addresses(0, Dial::Addresses(addresses(&["10.0.0.1:1", "10.0.0.2:1"])), Instant::now());
        said(&old, 0, PASSED);
        let new = changed(&old, |config| {
            config.upstreams.reverse();
            config.upstreams[1].name = Some("n".into());
        });
        assert_eq!(shown(&new), ["10.0.0.9:1", "n@10.0.0.1", "n@10.0.0.2"]);
        assert_eq!(states(&new), [State::Unknown, State::Ready, State::Unknown]);
        old.set_addresses(0, Dial::Addresses(addresses(&["10.0.0.7:1"])), Instant::now());
        assert_eq!(new.members().len(), 3, "what the old view hears is not for the new one");
        new.set_addresses(1, Dial::Addresses(addresses(&["10.0.0.1:1"])), Instant::now());
        assert_eq!((shown(&new), states(&new)[1]), (vec!["10.0.0.9:1".into(), "n".into()], State::Ready));
        assert!(new.is_in_force() && !old.is_in_force());
        assert_eq!((new.while_in_force(|| 1), old.while_in_force(|| 1)), (Some(1), None));
    }

    #[test]
    fn what_records_and_lists_said_stays_until_they_say_something_else() {
        let now = Instant::now();
        let listed = |path: &str| Entry::new(Address::plain(Host::Listed(Path::new(path).into()), 0));
        let old = pool(&["app:1"], |config| {
            config.upstreams.push(listed("/a"));
            config.upstreams[0].address.host = Host::Service("_http._tcp.app".into());
        });
        let at = |address: &str, weight, backup, of: Option<&Arc<Entry>>| Found {
            dial: Dial::Addresses(addresses(&[address])),
            weight,
            backup,
            of: of.cloned(),
        };
        let target =
            Arc::new(Entry { proxy_protocol: true, ..Entry::new(Address::parse("h2c://10.0.0.9:9").unwrap()) });
        old.set_found(0, vec![at("10.0.0.1:80", 7, false, None), at("10.0.0.2:80", 1, true, None)], now);
        old.set_found(1, vec![at("10.0.0.9:9", 3, false, Some(&target))], now);
        old.switch("h2c://10.0.0.9:9", Operator::Draining, now).unwrap();
        let before = old.members();
        let new = changed(&old, |config| {
            config.upstreams[0].name = Some("s".into());
            config.upstreams[0].weight = 2;
            config.upstreams[1] = listed("/b");
            config.upstreams.reverse();
        });
        let after = new.members();
        assert_eq!(shown(&new), ["h2c://10.0.0.9:9", "s@10.0.0.1", "s@10.0.0.2"]);
        assert_eq!(after.iter().map(|one| one.weight).collect::<Vec<_>>(), [3, 7, 2]);
        assert_eq!(after.iter().map(|one| one.backup).collect::<Vec<_>>(), [false, false, true]);
        for (one, was) in after.iter().zip([&before[2], &before[0], &before[1]]) {
            assert!(Arc::ptr_eq(&one.health, &was.health) && Arc::ptr_eq(&one.endpoint, &was.endpoint), "{}", one.id);
        }
        let other = Arc::new(Entry::new(Address::parse("10.0.0.8:9").unwrap()));
        new.set_found(0, vec![at("10.0.0.8:9", 1, false, Some(&other))], now);
        new.set_found(0, vec![at("10.0.0.9:9", 3, false, Some(&target))], now);
        assert_eq!(states(&new)[0], State::Draining, "the word on a target of the list holds, and the list has moved");
    }

    #[test]
    fn no_connection_is_used_that_was_made_otherwise() {
        let tls = || crate::config::compile::usual_tls(None).unwrap();
        let old = pool(&["10.0.0.1:1"], |config| {
            config.upstreams[0].address.scheme = Scheme::Https;
            config.tls = Some(tls());
        });
        let same = changed(&old, |config| config.tls = Some(tls()));
        let key = |pool: &Pool| pool.members()[0].endpoint.key;
        assert_eq!(key(&same), key(&old), "the same in other places");
        let health = Arc::clone(&old.members()[0].health);
        let before = key(&old);
        let blind = changed(&same, |config| {
            let tls = config.tls.as_mut().map(Arc::make_mut).unwrap();
            tls.verify = false;
        });
        assert_ne!(key(&blind), before);
        assert!(Arc::ptr_eq(&blind.members()[0].health, &health));
        let before = key(&blind);
        let plain = changed(&blind, |config| config.upstreams[0].address.scheme = Scheme::Http);
        assert_ne!(key(&plain), before);
        assert_eq!((shown(&plain), &*plain.members()[0].endpoint.authority), (vec!["10.0.0.1:1".into()], "10.0.0.1:1"));
        let before = key(&plain);
        let other = changed(&plain, |config| config.tls = None);
        assert_eq!(key(&other), before, "what it does not speak is nothing to it");
        assert!(Arc::ptr_eq(&other.members()[0].health, &health));
    }

    #[test]
    fn without_checks_nobody_is_unknown_or_evicted_by_them() {
        let old = pool(&["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1", "app:1"], checked());
        said(&old, 0, PASSED);
        said(&old, 1, FAILED);
        old.switch("10.0.0.3:1", Operator::Draining, Instant::now()).unwrap();
        let new = changed(&old, |config| config.health = None);
        assert_eq!(states(&new), [State::Ready, State::Ready, State::Draining, State::Unknown]);
        let why = new.members()[1].health.snapshot(Instant::now()).last_failure;
        assert_eq!(why, None);
        let again = changed(&new, |config| checked()(config));
        assert_eq!(states(&again), states(&new), "until a check says otherwise");
        assert!(again.members()[0].health.planned().is_none());
    }

    #[test]
    fn a_planned_check_stays_planned_while_it_is_the_same_check() {
        let old = pool(&["10.0.0.1:1"], checked());
        let at = Instant::now() + Duration::from_secs(4);
        old.members()[0].health.plan(at);
        let planned = |pool: &Pool| pool.members()[0].health.planned();
        let same = changed(&old, |config| config.upstreams[0].weight = 3);
        assert_eq!(planned(&same), Some(at));
        let other = changed(&same, |config| config.health.as_mut().unwrap().timeout = Duration::from_secs(1));
        assert_eq!(planned(&other), None);
        other.members()[0].health.plan(at);
        let elsewhere = changed(&other, |config| config.upstreams[0].address.scheme = Scheme::H2c);
        assert_eq!(planned(&elsewhere), None);
    }

    #[test]
    fn the_operators_words_follow_a_rename_and_hold_for_the_id() {
        let now = Instant::now();
        let old = pool(&["10.0.0.1:1", "10.0.0.2:1", "app:1"], unchecked());
        let old = changed(&old, |config| config.upstreams[0].name = Some("a".into()));
        old.set_addresses(2, Dial::Addresses(addresses(&["10.0.0.5:1", "10.0.0.6:1"])), now);
        old.switch("a", Operator::Disabled, now).unwrap();
        old.switch("app:1@10.0.0.6", Operator::Draining, now).unwrap();
        let wanted = [State::Disabled, State::Ready, State::Ready, State::Draining];
        assert_eq!(states(&old), wanted);
        // Both names are others, and the first one's is the second's.
        let new = changed(&old, |config| {
            config.upstreams[0].name = None;
            config.upstreams[1].name = Some("a".into());
            config.upstreams[2].name = Some("n".into());
        });
        assert_eq!(states(&new), wanted);
        new.set_addresses(2, Dial::Addresses(addresses(&["10.0.0.5:1"])), now);
        new.set_addresses(2, Dial::Addresses(addresses(&["10.0.0.5:1", "10.0.0.6:1"])), now);
        assert_eq!(states(&new), wanted, "of one that comes back, too");
        new.switch("a", Operator::Draining, now).unwrap();
        let moved = changed(&new, |config| config.upstreams[1].address.port = 7);
        assert_eq!(
            states(&moved)[..2],
            [State::Disabled, State::Draining],
            "the word is on the id, wherever that lives"
        );
        let gone = changed(&moved, |config| drop(config.upstreams.remove(1)));
        let back = changed(&gone, |config| config.upstreams.push(moved.config.upstreams[1].clone()));
        assert_eq!(states(&back).last(), Some(&State::Ready), "the file did not know it: it is new");
    }

    #[tokio::test]
    async fn limits_that_come_and_go_strand_nobody() {
        let old = pool(&["10.0.0.1:1"], |config| config.limits.queue = 9);
        let [Next::Try(first), Next::Try(second)] = [next(&old), next(&old)] else { panic!("no limit") };
        let tight = changed(&old, |config| config.limits.in_flight = NonZeroUsize::new(1));
        let mut choice = Choice::new(&tight);
        let ask = Ask { replayable: true, unknown_too: true };
        assert!(matches!(choice.next(&tight, ask, Instant::now), Next::Busy), "they count, though they came before");
        let mut ticket = tight.queue.join(9).unwrap();
        ticket.turn().await;
        assert!(matches!(choice.next(&tight, ask, Instant::now), Next::Busy));
        ticket.found_nothing(false);
        drop((first, second));
        tokio::time::timeout(Duration::from_secs(5), ticket.turn()).await.expect("whoever left has told");
        let Next::Try(third) = choice.next(&tight, ask, Instant::now) else { panic!("a slot is free") };
        ticket.served();
        // And without a limit, whoever waits for a slot has one.
        let mut late = Choice::new(&tight);
        assert!(matches!(late.next(&tight, ask, Instant::now), Next::Busy));
        let mut ticket = tight.queue.join(9).unwrap();
        ticket.turn().await;
        ticket.found_nothing(false);
        let wide = changed(&tight, |config| config.limits.in_flight = None);
        tokio::time::timeout(Duration::from_secs(5), ticket.turn()).await.expect("woken by the change");
        late.renew(&tight);
        assert!(matches!(late.next(&tight, ask, Instant::now), Next::Try(_)), "for the old view, too");
        drop(third);
        assert_eq!(wide.members()[0].in_flight.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_new_file_wakes_those_who_wait_for_anybody() {
        let old = pool(&["10.0.0.1:1"], unchecked());
        old.switch("10.0.0.1:1", Operator::Disabled, Instant::now()).unwrap();
        let (mut changes, mut choice) = (old.changes(), Choice::new(&old));
        let ask = Ask { replayable: true, unknown_too: true };
        assert!(matches!(choice.next(&old, ask, Instant::now), Next::None));
        changes.mark_unchanged();
        let _new = changed(&old, |config| {
            let mut second = config.upstreams[0].clone();
            second.address.port = 2;
            config.upstreams.push(second);
        });
        assert!(changes.has_changed().unwrap());
        choice.renew(&old);
        let Next::Try(pick) = choice.next(&old, ask, Instant::now) else { panic!("there is a new one") };
        assert_eq!(&*pick.upstream.id, "10.0.0.1:2");
    }

    /// What an entry may say: where it is, its name, how it is spoken to, and all the rest.
    type Said = (u8, Option<u8>, u8, bool, u8);

    fn file(said: &[Said], health: bool) -> model::Pool {
        let (mut places, mut names) = (HashSet::new(), HashSet::new());
        let entry = |(place, name, scheme, proxy_protocol, weight): &Said| {
            let name = name.filter(|name| names.insert(*name));
            let fresh = places.insert(*place);
            if !fresh && name.is_none() {
                return None; // only a name tells two of one place apart
            }
            let host = match place {
                0..3 => Host::Ip([10, 0, 0, *place].into()),
                _ => Host::Name(format!("app{place}").into()),
            };
            let address = Address { scheme: [Scheme::Http, Scheme::H2c][usize::from(scheme % 2)], host, port: 80 };
            let name = name.map(|name| format!("n{name}").into());
            Some(Entry { name, weight: *weight, proxy_protocol: *proxy_protocol, ..Entry::new(address) })
        };
        let mut config = model::Pool::new("app", said.iter().filter_map(entry).collect());
        if health {
            checked()(&mut config);
        }
        config
    }

    fn files() -> impl Strategy<Value = (Vec<Said>, bool, Vec<(u8, u8)>)> {
        let said = (0..6_u8, proptest::option::of(0..4_u8), any::<u8>(), any::<bool>(), 1..100_u8);
        let names = proptest::collection::vec((any::<u8>(), 0..4_u8), 0..4);
        (proptest::collection::vec(said, 1..7), any::<bool>(), names)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        #[test]
        fn any_file_after_any_other(files in proptest::collection::vec(files(), 2..6)) {
            let mut now = Instant::now();
            let mut pool: Option<Pool> = None;
            for (said, health, names) in files {
                now += Duration::from_millis(10);
                let config = Arc::new(file(&said, health));
                let Some(old) = pool else {
                    pool = Some(Pool::new(config, now));
                    continue;
                };
                let before = old.members();
                let new = old.renewed(Arc::clone(&config), now);
                let after = new.members();
                prop_assert_eq!(after.iter().map(|one| &one.id).collect::<BTreeSet<_>>().len(), after.len());
                prop_assert!(after.iter().enumerate().all(|(index, one)| one.ordinal == index + 1));
                let mut kept = HashSet::new();
                for one in after.iter() {
                    let entry = &config.upstreams[one.entry];
                    prop_assert_eq!(&*one.endpoint.authority, &entry.address.to_string());
                    let was = before.iter().find(|was| Arc::ptr_eq(&was.health, &one.health));
                    let twins = |entries: &[Entry]| entries.iter().filter(|other| place(other) == place(entry)).count();
                    let stays = was.is_some();
                    prop_assert!(stays || twins(&old.config.upstreams) < twins(&config.upstreams));
                    let Some(was) = was else { continue };
                    let whence = &old.config.upstreams[was.entry];
                    prop_assert_eq!(place(whence), place(entry));
                    prop_assert_eq!(&was.endpoint.dial, &one.endpoint.dial);
                    prop_assert!(Arc::ptr_eq(&was.meter, &one.meter) && Arc::ptr_eq(&was.in_flight, &one.in_flight));
                    let alike = whence.address == entry.address && whence.proxy_protocol == entry.proxy_protocol;
                    prop_assert_eq!(was.endpoint.key == one.endpoint.key, alike, "{} {}", was.id, one.id);
                    prop_assert!(kept.insert(was.endpoint.key), "one is two now");
                }
                // Of a name all addresses stay, or none.
                for (index, entry) in config.upstreams.iter().enumerate() {
                    let mine = || after.iter().filter(|one| one.entry == index);
                    let of = |one: &Arc<Upstream>| before.iter().find(|was| Arc::ptr_eq(&was.health, &one.health));
                    let from: BTreeSet<_> = mine().map(|one| of(one).map(|was| was.entry)).collect();
                    prop_assert_eq!(from.len(), 1, "{}", entry.id());
                    if let Some(Some(from)) = from.first() {
                        prop_assert_eq!(before.iter().filter(|was| was.entry == *from).count(), mine().count());
                    }
                }
                for one in after.iter().filter(|_| !health) {
                    let nowhere = matches!(one.endpoint.dial, Dial::Unresolved(_));
                    prop_assert_eq!(one.health.state() == State::Unknown, nowhere, "{}", one.id);
                }
                for (which, count) in names {
                    let entry = usize::from(which) % config.upstreams.len();
                    if matches!(config.upstreams[entry].address.host, Host::Name(_)) {
                        let list = (0..count).map(|last| ([10, 0, 1, last], 80).into()).collect();
                        new.set_addresses(entry, Dial::Addresses(list), now);
                    }
                }
                pool = Some(new);
            }
        }
    }
}

//! What was found for an entry becomes the entry's upstreams: who stays keeps endpoint, health and load, who is new
//! begins unknown, who is gone gets nothing new. It asks nobody: [`super::resolve`] does.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use crate::config::Endpoint;
use crate::config::address::{Dial, Host};
use crate::config::model::{self, Entry};
use crate::health::Health;

use super::{Members, Pool, Upstream, resolve};

/// One upstream that was found for an entry: an address of its name, or a target of its list.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where to dial: one address, both families of `localhost`, a socket; or why there is none.
    pub dial: Dial,
    /// Its share beside the others': 1 to 100.
    pub weight: u8,
    /// Used only while no other is usable.
    pub backup: bool,
    /// The target of `upstreams_file` that it stands for; `None`: the entry itself.
    pub of: Option<Arc<Entry>>,
}

impl Found {
    /// As the entry says it.
    #[must_use]
    pub const fn new(said: &Entry, dial: Dial) -> Self {
        Self { dial, weight: said.weight, backup: said.backup, of: None }
    }
}

impl Pool {
    /// Replaces the addresses of the entry at this index, sorted and each once, with the entry's own weight and rank.
    pub fn set_addresses(&self, entry: usize, dial: Dial, now: Instant) {
        let Some(said) = self.config.upstreams.get(entry) else { return };
        let found = split(dial).into_iter().map(|dial| Found::new(said, dial)).collect();
        self.set_found(entry, found, now);
    }

    /// Replaces what was found for the entry at this index, in this order; upstreams that stay keep endpoint, health
    /// and load. What has no address is one upstream, and keeps those too while that lasts: it is unknown, with the
    /// reason as its last failure (CONTRACT §2). Nothing found: the entry has no upstream (an empty list).
    pub fn set_found(&self, entry: usize, found: Vec<Found>, now: Instant) {
        let Some(said) = self.config.upstreams.get(entry) else { return };
        let words = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.members.load();
        if !Arc::ptr_eq(&old.config, &self.config) {
            return; // a newer file is in force: its own names are asked for
        }
        let mine: Vec<&Arc<Upstream>> = old.iter().filter(|upstream| upstream.entry == entry).collect();
        let (ids, entry_id) = (ids(said, &found), said.id());
        // The same name in a list may be spoken to otherwise now.
        let as_it_is = |one: &Upstream, found: &Found, id: &Arc<str>| {
            (one.weight, one.backup, &one.id, &one.endpoint.dial) == (found.weight, found.backup, id, &found.dial)
                && *one.endpoint.authority == *authority(found.of.as_deref().unwrap_or(said), &found.dial)
        };
        let all = || mine.iter().zip(&found).zip(&ids);
        if mine.len() == found.len() && all().all(|((one, found), (id, _))| as_it_is(one, found, id)) {
            return;
        }
        let mut fresh = found.into_iter().zip(ids).map(|(Found { dial, weight, backup, of }, (id, place))| {
            let said = of.as_deref().unwrap_or(said);
            let (family, authority) = (said.id(), authority(said, &dial));
            let same =
                mine.iter().find(|one| *one.endpoint.authority == *authority && stays(&one.endpoint.dial, &dial));
            let one = match same {
                Some(same) => Upstream { endpoint: with_dial(&same.endpoint, dial), ..same.share() },
                None => {
                    let health = first_health(&self.config, &dial, now);
                    health.switch(words.on(&id, &family, &entry_id), now);
                    let endpoint = endpoint(&self.config, said, dial);
                    Upstream::fresh(
                        &self.config,
                        (entry, Arc::clone(&id)),
                        endpoint,
                        health,
                        (now, &self.bell, &self.queue),
                    )
                }
            };
            Upstream { id, family, place, weight, backup, ..one }
        });
        let mut members = Vec::with_capacity(old.len() + 8);
        for index in 0..self.config.upstreams.len() {
            if index == entry {
                fresh.by_ref().for_each(|upstream| push(&mut members, Arc::new(upstream)));
            } else {
                old.iter().filter(|other| other.entry == index).for_each(|other| push(&mut members, Arc::clone(other)));
            }
        }
        for upstream in members.iter().filter(|upstream| upstream.entry == entry) {
            if let Dial::Unresolved(Some(why)) = &upstream.endpoint.dial {
                let failure = resolve::failure(why, self.config.timeouts.resolve);
                let sentence = format!("{}. {}", failure.cause, failure.hint(&upstream.endpoint.authority));
                upstream.health.note(failure.cause, sentence);
            }
        }
        self.members.store(Arc::new(Members::new(members, &self.config, Some(&old))));
        self.touch();
    }
}

/// Adds a member in the next place.
pub(super) fn push(members: &mut Vec<Arc<Upstream>>, upstream: Arc<Upstream>) {
    let ordinal = members.len() + 1;
    members.push(if upstream.ordinal == ordinal {
        upstream
    } else {
        Arc::new(Upstream { ordinal, ..upstream.share() })
    });
}

/// Ready at once where nothing is checked and there is something to dial.
pub(super) fn first_health(config: &model::Pool, dial: &Dial, now: Instant) -> Health {
    match dial {
        Dial::Addresses(_) | Dial::Socket(_) if config.health.is_none() => Health::unchecked(now),
        Dial::Addresses(_) | Dial::Socket(_) | Dial::Unresolved(_) => Health::new(now),
    }
}

/// The endpoint of an entry, or of one of its addresses.
pub(super) fn endpoint(config: &model::Pool, entry: &Entry, dial: Dial) -> Endpoint {
    let plain = Endpoint::new(authority(entry, &dial).into(), dial).speaking(entry.address.scheme);
    Endpoint { proxy_protocol: entry.proxy_protocol, ..plain.with_tls(config.tls.clone()) }
}

fn authority(entry: &Entry, dial: &Dial) -> String {
    entry.address.called_at(dial.addresses().first().copied())
}

/// Each address of a name is an upstream; the name server's order changes with every answer, ours does not.
pub(super) fn split(dial: Dial) -> Vec<Dial> {
    match dial {
        Dial::Addresses(mut addresses) if !addresses.is_empty() => {
            addresses.sort_unstable();
            addresses.dedup();
            addresses.into_iter().map(|address| Dial::Addresses(vec![address])).collect()
        }
        Dial::Addresses(_) => vec![Dial::Unresolved(None)],
        Dial::Socket(_) | Dial::Unresolved(_) => vec![dial],
    }
}

/// Whether an upstream with this dial goes on as the one with that dial: the same address, or still none.
pub(super) fn stays(old: &Dial, new: &Dial) -> bool {
    old == new || matches!((old, new), (Dial::Unresolved(_), Dial::Unresolved(_)))
}

/// The endpoint, with its key, or with another reason for having no address.
pub(super) fn with_dial(endpoint: &Arc<Endpoint>, dial: Dial) -> Arc<Endpoint> {
    if endpoint.dial == dial {
        return Arc::clone(endpoint);
    }
    Arc::new(Endpoint { dial, ..Endpoint::clone(endpoint) })
}

/// For each one its id (CONTRACT §9), and who it is to the balance: what has one address has the bare id, one of
/// several is `NAME@IP`, or `NAME@IP:PORT` where two share an IP.
pub(super) fn ids(said: &Entry, found: &[Found]) -> Vec<(Arc<str>, Arc<str>)> {
    let ip = |dial: &Dial| dial.addresses().first().map(SocketAddr::ip);
    // How many each family has, and how many each of its IP addresses.
    let mut sizes: HashMap<Arc<str>, usize> = HashMap::new();
    let mut at: HashMap<(Arc<str>, IpAddr), usize> = HashMap::new();
    for one in found {
        let family = one.of.as_deref().unwrap_or(said).id();
        if let Some(ip) = ip(&one.dial) {
            *at.entry((Arc::clone(&family), ip)).or_default() += 1;
        }
        *sizes.entry(family).or_default() += 1;
    }
    let id = |one: &Found| {
        let said = one.of.as_deref().unwrap_or(said);
        let family = said.id();
        let several = sizes.get(&family).is_some_and(|size| *size > 1);
        let shared = ip(&one.dial).is_some_and(|ip| at.get(&(Arc::clone(&family), ip)).is_some_and(|count| *count > 1));
        let own = id_of_one(said, &one.dial, shared);
        // So that who is alone for a while is the same one again beside others.
        let asked_for = matches!(said.address.host, Host::Name(_) | Host::Service(_));
        let id = if several { Arc::clone(&own) } else { family };
        let place = if asked_for { own } else { Arc::clone(&id) };
        (id, place)
    };
    found.iter().map(id).collect()
}

/// The id of one of several: `NAME@IP`, with its port where it shares the IP; `NAME@ADDRESS` where there is no IP.
pub(super) fn id_of_one(entry: &Entry, dial: &Dial, shared: bool) -> Arc<str> {
    match dial.addresses().first() {
        Some(address) if shared => format!("{}@{address}", entry.id()).into(),
        Some(address) => format!("{}@{}", entry.id(), address.ip()).into(),
        None if entry.name.is_some() => format!("{}@{}", entry.id(), entry.address).into(),
        None => entry.id(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{addresses, checked, pool, unchecked};
    use super::*;
    use crate::config::Address;
    use crate::config::address::Scheme;
    use crate::health::{Event, Operator, Policy, Proof, State};

    fn at(address: &str, weight: u8, backup: bool) -> Found {
        Found { dial: Dial::Addresses(addresses(&[address])), weight, backup, of: None }
    }

    fn shown(pool: &Pool) -> Vec<(String, u8, bool)> {
        pool.members().iter().map(|one| (one.id.to_string(), one.weight, one.backup)).collect()
    }

    fn target(text: &str, name: Option<&str>) -> Arc<Entry> {
        Arc::new(Entry { name: name.map(Into::into), ..Entry::new(Address::parse(text).unwrap()) })
    }

    #[test]
    fn a_port_is_in_the_id_where_two_share_an_ip() {
        let pool = pool(&["app:1"], unchecked());
        pool.set_found(
            0,
            vec![at("10.0.0.1:80", 3, false), at("10.0.0.1:81", 1, true), at("10.0.0.2:80", 1, false)],
            Instant::now(),
        );
        let wanted = [("app:1@10.0.0.1:80", 3, false), ("app:1@10.0.0.1:81", 1, true), ("app:1@10.0.0.2", 1, false)];
        assert_eq!(shown(&pool), wanted.map(|(id, weight, backup)| (id.to_owned(), weight, backup)));
        // Another weight alone is news, and the same upstream.
        let before = pool.members();
        pool.set_found(0, vec![at("10.0.0.1:80", 5, false)], Instant::now());
        assert_eq!(shown(&pool), [("app:1".to_owned(), 5, false)]);
        assert!(Arc::ptr_eq(&before[0].endpoint, &pool.members()[0].endpoint));
    }

    #[test]
    fn who_is_alone_for_a_while_is_the_same_to_the_balance_beside_others() {
        let pool = pool(&["app:1"], unchecked());
        pool.set_found(0, vec![at("10.0.0.1:1", 1, false)], Instant::now());
        let alone = Arc::clone(&pool.members()[0].place);
        pool.set_found(0, vec![at("10.0.0.1:1", 1, false), at("10.0.0.2:1", 1, false)], Instant::now());
        assert_eq!((&*alone, &*pool.members()[0].place), ("app:1@10.0.0.1", "app:1@10.0.0.1"));
    }

    #[test]
    fn targets_of_a_list_have_ids_of_their_own_and_a_name_covers_its_group() {
        let pool = pool(&["app:1", "10.0.0.9:1"], checked());
        let of = |text: &str, name: Option<&str>, dial| Found {
            of: Some(target(text, name)),
            ..Found::new(&target(text, name), dial)
        };
        let dial = |address: &str| Dial::Addresses(addresses(&[address]));
        let list = || {
            vec![
                of("10.0.0.1:80", None, dial("10.0.0.1:80")),
                of("web:80", Some("b"), dial("10.0.0.2:80")),
                of("unix:/run/a", Some("b"), Dial::Socket("/run/a".into())),
                of("db:80", None, Dial::Unresolved(None)),
            ]
        };
        pool.set_found(0, list(), Instant::now());
        let ids = |pool: &Pool| pool.members().iter().map(|one| one.id.to_string()).collect::<Vec<_>>();
        assert_eq!(ids(&pool), ["10.0.0.1:80", "b@10.0.0.2", "b@unix:/run/a", "db:80", "10.0.0.9:1"]);
        let policy = Policy { healthy_after: 1, unhealthy_after: 1 };
        pool.members()[0].health.record(Event::CheckPassed(Proof::Answers), None, policy, Instant::now());
        assert_eq!(pool.switch("b", Operator::Draining, Instant::now()).unwrap().len(), 2);
        let mut next = list();
        next.remove(1);
        next.push(of("web2:80", Some("b"), dial("10.0.0.3:80")));
        pool.set_found(0, next, Instant::now());
        assert_eq!(ids(&pool), ["10.0.0.1:80", "b@unix:/run/a", "db:80", "b@10.0.0.3", "10.0.0.9:1"]);
        let states: Vec<_> = pool.members().iter().map(|one| one.health.state()).collect();
        use State::{Draining, Ready, Unknown};
        assert_eq!(states, [Ready, Draining, Unknown, Draining, Unknown]);
        // The word on the entry is newer, and is for all of it.
        pool.switch("app:1", Operator::Enabled, Instant::now()).unwrap();
        assert!(pool.members().iter().all(|one| one.health.state() != Draining));
        pool.set_found(0, Vec::new(), Instant::now());
        assert_eq!(ids(&pool), ["10.0.0.9:1"]);
    }

    #[test]
    fn a_target_that_is_spoken_to_otherwise_is_another_endpoint() {
        let pool = pool(&["app:1"], unchecked());
        let set = |text: &str| {
            let of = Some(target(text, Some("b")));
            pool.set_found(0, vec![Found { of, ..at("10.0.0.1:80", 1, false) }], Instant::now());
            let members = pool.members();
            (members[0].endpoint.scheme, members[0].endpoint.key)
        };
        let (plain, again, other) = (set("10.0.0.1:80"), set("10.0.0.1:80"), set("h2c://10.0.0.1:80"));
        assert_eq!((plain.0, other.0), (Scheme::Http, Scheme::H2c));
        assert!(plain.1 == again.1 && plain.1 != other.1);
    }
}

//! Pools: the upstreams of each, what is known of them, and the choice of the next one.
//!
//! [`Pool`] holds its members behind one swap (a name's addresses come and go); [`pick`] chooses; [`report`] tells
//! health what came of it; [`members`] makes upstreams of what was found for an entry; [`insight`] keeps what a closer
//! look found; [`recent`] counts how long answers took; [`stale`] keeps what cannot be had just now; [`switch`] takes the operator's word; [`resolve`] turns names
//! into members. Nothing here sends a request.

pub mod balance;
pub mod budget;
mod due;
pub mod insight;
mod members;
pub mod pick;
pub mod queue;
pub mod recent;
mod renew;
pub mod report;
pub mod resolve;
pub mod room;
pub mod stale;
pub mod switch;
mod tried;
mod upstream;

use std::ops::Deref;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use crate::config::address::Dial;
use crate::config::model::Entry;
use crate::config::{self, Endpoint};
use crate::health::State;

use balance::{Balancer, Member};
use budget::Budget;
use due::Due;
use insight::Asker;
use members::{endpoint, first_health, push};
use queue::Queue;
use room::Room;
use stale::Stales;
use switch::Words;

pub use members::Found;
pub use upstream::Upstream;

/// A pool as one file has it, shared by all workers. A request keeps the view that it started with; what it says of
/// upstreams is for all views.
#[derive(Debug)]
pub struct Pool {
    /// What the file says of it.
    pub config: Arc<config::model::Pool>,
    live: Arc<Live>,
}

/// What is true of a pool whatever the file says: it outlives a reload, and every view of the pool has the same.
#[derive(Debug)]
pub struct Live {
    /// No file has it any more, and nobody checks its upstreams.
    gone: AtomicBool,
    /// Its upstreams now. A request keeps the list it started with for its first try.
    members: ArcSwap<Members>,
    /// Held while one list is made from another, so that two names answered at once do not undo each other: what the
    /// operator said of each id.
    writer: Mutex<Words>,
    /// Held while traffic evicts one, so that two evictions at once are counted one after the other.
    evictions: Mutex<()>,
    /// From when on it is worth looking for one on probation.
    due: Due,
    /// Changes with each new list, and with each change of an upstream's state: for probes, `/readyz` and waiting
    /// requests.
    changes: watch::Sender<u64>,
    /// Requests that wait for a slot.
    pub queue: Arc<Queue>,
    /// What its requests leave for resends.
    pub budget: Budget,
    /// Requests that wait for any upstream to be ready (`wait`).
    pub waiting: Room,
    /// Names and lists that cannot be had just now, while what was known of them stays in use.
    pub stale: Stales,
    /// Rings when a closer look at one of its upstreams is wanted.
    bell: Arc<Notify>,
}

impl Deref for Pool {
    type Target = Live;

    fn deref(&self) -> &Live {
        &self.live
    }
}

/// The upstreams of a pool at one moment, in the order of the file (then of the addresses).
#[derive(Debug)]
pub struct Members {
    list: Vec<Arc<Upstream>>,
    /// The rule by which one of them is chosen.
    pub balancer: Balancer,
    /// Some upstream has a limit of attempts at once.
    limited: bool,
    /// The file's word that they are made for.
    config: Arc<config::model::Pool>,
}

impl Members {
    fn new(list: Vec<Arc<Upstream>>, config: &Arc<config::model::Pool>, previous: Option<&Self>) -> Self {
        let member = |upstream: &Arc<Upstream>| Member {
            token: balance::token(&config.name, &upstream.place),
            weight: upstream.weight,
        };
        let members: Vec<Member> = list.iter().map(member).collect();
        let balancer = Balancer::new(&config.balance, &members, previous.map(|previous| &previous.balancer));
        let former = list.iter().enumerate().filter_map(|(index, one)| Some((one.former.as_deref()?, index)));
        let balancer = balancer.knowing(former.map(|(id, index)| (balance::token(&config.name, id), index)));
        let limited = list.iter().any(|upstream| upstream.limit < usize::MAX);
        Self { list, balancer, limited, config: Arc::clone(config) }
    }
}

impl Deref for Members {
    type Target = [Arc<Upstream>];

    fn deref(&self) -> &Self::Target {
        &self.list
    }
}

impl Pool {
    /// A pool as the file has it: literal addresses are members at once, a name is one unresolved member until
    /// [`resolve`] has spoken.
    #[must_use]
    pub fn new(config: Arc<config::model::Pool>, now: Instant) -> Self {
        let (bell, queue) = (Arc::default(), Queue::new());
        let mut list = Vec::with_capacity(config.upstreams.len());
        for said in config.upstreams.iter().enumerate() {
            push(&mut list, Arc::new(first(&config, said, (now, &bell, &queue))));
        }
        let members = Members::new(list, &config, None);
        let live = Live {
            gone: AtomicBool::new(false),
            members: ArcSwap::from_pointee(members),
            writer: Mutex::default(),
            evictions: Mutex::default(),
            due: Due::new(now),
            changes: watch::Sender::new(0),
            queue,
            budget: Budget::new(now),
            waiting: Room::default(),
            stale: Stales::default(),
            bell,
        };
        Self { config, live: Arc::new(live) }
    }

    /// The members now (cheap: one swap load).
    #[must_use]
    pub fn members(&self) -> Arc<Members> {
        self.members.load_full()
    }

    /// Whether any upstream has a limit of attempts at once.
    #[must_use]
    pub fn limited(&self) -> bool {
        self.members.load().limited
    }

    /// How many are ready.
    #[must_use]
    pub fn usable(&self) -> usize {
        self.members.load().iter().filter(|upstream| upstream.health.state() == State::Ready).count()
    }

    /// Whether every member has its first result, or is never checked; the resolver's word on a name without an address
    /// is a result, too.
    #[must_use]
    pub fn checked(&self) -> bool {
        let spoken = |upstream: &Arc<Upstream>| upstream.health.state() != State::Unknown || upstream.nameless();
        self.config.health.is_none() || self.members.load().iter().all(spoken)
    }

    /// How long a request waits at most for a first result (see [`pick::Next::Wait`]): `health.timeout`, or
    /// `timeouts.resolve` where only a name is waited for.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.config.health.as_ref().map_or(self.config.timeouts.resolve, |health| health.timeout)
    }

    /// Who met the failure that took this upstream out; see [`Asker::of_checks`].
    #[must_use]
    pub fn asker(&self, upstream: &Upstream, by_traffic: bool) -> Option<Asker> {
        match &self.config.health {
            Some(health) if !by_traffic => Asker::of_checks(health, &upstream.endpoint),
            _ => Some(Asker::Traffic),
        }
    }

    /// Resolves when a closer look at one of its upstreams is wanted (see [`insight::Insight::wanted`]); heard once.
    pub async fn look_wanted(&self) {
        self.bell.notified().await;
    }

    /// For those who wait: changes on every change of members or of a member's state.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Tells those who wait (called after each transition).
    pub fn touch(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
        self.queue.changed();
    }
}

/// The upstream of an entry of which nothing is known yet.
fn first(
    config: &config::model::Pool,
    (index, entry): (usize, &Entry),
    (now, bell, queue): (Instant, &Arc<Notify>, &Arc<Queue>),
) -> Upstream {
    let dial = Endpoint::literal(&entry.address).map_or(Dial::Unresolved(None), |endpoint| endpoint.dial);
    let endpoint = endpoint(config, entry, dial);
    let health = first_health(config, &endpoint.dial, now);
    Upstream::fresh(config, (index, entry.id()), endpoint, health, (now, bell, queue))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::cause::Cause;
    use crate::config::address::{Address, Host};
    use crate::config::model::Check;
    use crate::health::{Event, Policy, Proof};

    pub(super) fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|address| address.parse().unwrap()).collect()
    }

    /// A pool of these upstreams: `"10.0.0.1:1"`, or `"app:1"` for a name.
    pub(super) fn pool(list: &[&str], change: impl Fn(&mut config::model::Pool)) -> Pool {
        let entry = |text: &&str| {
            let (host, port) = text.rsplit_once(':').unwrap();
            let host = host.parse().map_or_else(|_| Host::Name(host.into()), Host::Ip);
            Entry::new(Address::plain(host, port.parse().unwrap()))
        };
        let mut config = config::model::Pool::new("app", list.iter().map(entry).collect());
        change(&mut config);
        Pool::new(Arc::new(config), Instant::now())
    }

    pub(super) fn unchecked() -> impl Fn(&mut config::model::Pool) {
        |_| {}
    }

    pub(super) fn checked() -> impl Fn(&mut config::model::Pool) {
        |pool| {
            pool.health = Some(config::model::Health {
                check: Check::Tcp,
                port: None,
                interval: Duration::from_secs(5),
                timeout: Duration::from_secs(2),
                healthy_after: 2,
                unhealthy_after: 3,
            });
        }
    }

    fn ids(pool: &Pool) -> Vec<String> {
        pool.members().iter().map(|upstream| upstream.id.to_string()).collect()
    }

    fn resolve(pool: &Pool, entry: usize, list: &[&str]) {
        pool.set_addresses(entry, Dial::Addresses(addresses(list)), Instant::now());
    }

    #[test]
    fn literals_are_members_at_once_and_a_name_is_one_unresolved_member() {
        let pool = pool(&["10.0.0.1:1", "app:1"], unchecked());
        assert_eq!(ids(&pool), ["10.0.0.1:1", "app:1"]);
        assert_eq!(pool.members()[0].health.state(), State::Ready);
        assert_eq!(pool.members()[1].health.state(), State::Unknown);
        assert_eq!(pool.members()[1].endpoint.dial, Dial::Unresolved(None));
        assert_eq!(pool.usable(), 1);
    }

    #[test]
    fn ids_and_ordinals_follow_the_addresses_of_a_name() {
        let pool = pool(&["app:1", "10.0.0.9:1"], unchecked());
        resolve(&pool, 0, &["10.0.0.2:1", "10.0.0.1:1", "10.0.0.2:1"]);
        assert_eq!(ids(&pool), ["app:1@10.0.0.1", "app:1@10.0.0.2", "10.0.0.9:1"]);
        assert_eq!(pool.members().iter().map(|u| u.ordinal).collect::<Vec<_>>(), [1, 2, 3]);
        resolve(&pool, 0, &["10.0.0.2:1"]);
        assert_eq!(ids(&pool), ["app:1", "10.0.0.9:1"]);
        assert_eq!(pool.members().iter().map(|u| u.ordinal).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(&*pool.members()[0].endpoint.authority, "app:1");
    }

    #[test]
    fn upstreams_that_stay_keep_endpoint_health_and_load() {
        let pool = pool(&["app:1", "10.0.0.9:1"], checked());
        resolve(&pool, 0, &["10.0.0.1:1", "10.0.0.2:1"]);
        let before = pool.members();
        before[1].in_flight.fetch_add(1, Ordering::Relaxed);
        resolve(&pool, 0, &["10.0.0.2:1", "10.0.0.3:1"]);
        let after = pool.members();
        assert!(Arc::ptr_eq(&before[1].endpoint, &after[0].endpoint));
        assert_eq!(after[0].in_flight.load(Ordering::Relaxed), 1);
        let policy = Policy { healthy_after: 1, unhealthy_after: 1 };
        before[1].health.record(Event::CheckPassed(Proof::Answers), None, policy, Instant::now());
        assert_eq!(after[0].health.state(), State::Ready, "an old list and the new one see the same health");
        assert_eq!(after[1].health.state(), State::Unknown, "a new address has its own");
        assert!(Arc::ptr_eq(&before[2], &after[2]), "other entries are not touched");
    }

    #[test]
    fn the_same_answer_changes_nothing() {
        let pool = pool(&["app:1"], unchecked());
        resolve(&pool, 0, &["10.0.0.1:1", "10.0.0.2:1"]);
        let (before, mut changes) = (pool.members(), pool.changes());
        changes.mark_unchanged();
        resolve(&pool, 0, &["10.0.0.2:1", "10.0.0.1:1"]);
        assert!(Arc::ptr_eq(&before, &pool.members()) && !changes.has_changed().unwrap());
    }

    #[test]
    fn another_reason_for_having_no_address_keeps_key_and_health() {
        let pool = pool(&["app:1"], checked());
        let before = pool.members();
        for cause in [Cause::DnsTimeout, Cause::DnsNotFound] {
            let dial = Dial::Unresolved(Some((cause, "said so".to_owned())));
            pool.set_addresses(0, dial.clone(), Instant::now());
            let after = pool.members();
            assert_eq!((after[0].endpoint.key, &after[0].endpoint.dial), (before[0].endpoint.key, &dial));
            assert!(Arc::ptr_eq(&before[0].health, &after[0].health));
        }
        resolve(&pool, 0, &["10.0.0.1:1"]);
        assert_ne!(pool.members()[0].endpoint.key, before[0].endpoint.key);
    }

    #[test]
    fn a_name_without_an_address_is_unknown_and_says_why() {
        let pool = pool(&["app:1"], checked());
        assert!(!pool.checked(), "the resolver has not spoken");
        let why = Some((Cause::DnsTimeout, "no answer within 2.0 s".to_owned()));
        pool.set_addresses(0, Dial::Unresolved(why), Instant::now());
        let seen = pool.members()[0].health.snapshot(Instant::now());
        assert_eq!(seen.state, State::Unknown);
        let said = "dns_timeout. No name server answered for app:1 within 2.0 s (limit: timeouts.resolve). \
                    Is it reachable from here?";
        assert_eq!(seen.last_failure, Some((Cause::DnsTimeout, said.to_owned())));
        assert!(pool.checked());
        resolve(&pool, 0, &["10.0.0.1:1"]);
        assert!(!pool.checked(), "now there is something to check");
        assert_eq!(pool.members()[0].health.snapshot(Instant::now()).last_failure, None);
    }

    #[test]
    fn a_pool_is_checked_when_every_member_has_spoken() {
        let pool = pool(&["10.0.0.1:1", "10.0.0.2:1"], checked());
        let policy = Policy { healthy_after: 2, unhealthy_after: 3 };
        for (index, event) in
            [Event::CheckPassed(Proof::Answers), Event::CheckFailed(Cause::ConnectionRefused)].into_iter().enumerate()
        {
            assert!(!pool.checked());
            pool.members()[index].health.record(event, None, policy, Instant::now());
        }
        assert!(pool.checked());
        assert_eq!(pool.usable(), 1);
    }
}

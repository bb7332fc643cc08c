//! The choice of the next upstream for a request: tiers, then balance; each upstream once.
//!
//! Tiers: ready → unknown (those without an address last) → evicted (only as a last resort, where the pool allows it). A [`Pick`] is a guard: while it
//! lives, it counts as in flight on its upstream. Nothing here judges whether another try is allowed.
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fastrand::Rng;

use crate::health::State;

use super::balance;
use super::queue::Queue;
use super::{Members, Pool, Upstream};

/// The upstreams of one request: the list it started with, and which of them were tried.
#[derive(Debug)]
pub struct Choice {
    members: Arc<Members>,
    tried: Tried,
    last_resort: bool,
    rng: Rng,
    /// Where upstreams have limits: who is told of a free slot.
    queue: Option<Arc<Queue>>,
}

/// What `Choice::next` found.
#[derive(Debug)]
pub enum Next {
    /// Try this one.
    Try(Pick),
    /// Nobody is ready and somebody is unknown, who may yet have a result: wait for a change ([`Pool::changes`]), at most [`Pool::patience`], then
    /// [`Choice::renew`] and ask again; once the patience is over, with `unknown_too`.
    Wait,
    /// The best of those that are left have as many attempts as they may have at once.
    Busy,
    /// Every upstream that may be tried was tried.
    None,
}

/// One upstream, taken for one attempt.
#[derive(Debug)]
#[allow(clippy::manual_non_exhaustive)] // the attribute would not keep the rooms of this crate from making one
pub struct Pick {
    /// Who.
    pub upstream: Arc<Upstream>,
    /// Evicted, and tried because nobody else was left.
    pub last_resort: bool,
    /// Nobody but a choice makes one: the count goes up with it and down with its end, and this is told then.
    queue: Option<Arc<Queue>>,
}

impl Choice {
    /// A fresh choice over the pool's members now.
    #[must_use]
    pub fn new(pool: &Pool) -> Self {
        Self::with_rng(pool, Rng::new())
    }

    /// The same with a random source of one's own, for tests that must repeat.
    #[must_use]
    pub fn with_rng(pool: &Pool, rng: Rng) -> Self {
        let queue = pool.limited().then(|| Arc::clone(&pool.queue));
        Self { members: pool.members(), tried: Tried::default(), last_resort: pool.config.last_resort, rng, queue }
    }

    /// The next upstream. `unknown_too`: the wait for first results is over, or was not worth it.
    pub fn next(&mut self, unknown_too: bool) -> Next {
        let Self { members, tried, last_resort, rng, queue } = self;
        loop {
            // The best rank among those that have no slot left: nobody of a lower one is asked in their stead.
            let busy = Cell::new(u8::MAX);
            let rank = |index: usize| {
                let upstream = &members[index];
                let rank = match upstream.health.state() {
                    _ if tried.contains(index) => return None,
                    State::Ready => READY,
                    State::Unknown if upstream.nameless() => NAMELESS,
                    State::Unknown => AWAITED,
                    State::Evicted if *last_resort => EVICTED,
                    State::Evicted | State::Draining | State::Disabled => return None,
                };
                if queue.is_some() && upstream.in_flight.load(Ordering::Relaxed) >= upstream.limit {
                    busy.set(busy.get().min(rank));
                    return None;
                }
                Some(rank)
            };
            let load = |index: usize| members[index].in_flight.load(Ordering::Relaxed);
            let (index, rank) = match balance::choose(members.len(), rng, rank, load) {
                Some((index, rank)) if rank <= busy.get() => (index, rank),
                None if busy.get() == u8::MAX => return Next::None,
                Some(_) | None => return Next::Busy,
            };
            let upstream = &members[index];
            if rank == AWAITED && !unknown_too {
                return Next::Wait;
            }
            if upstream.claim() {
                tried.insert(index);
                let pick = Pick { upstream: Arc::clone(upstream), last_resort: rank == EVICTED, queue: queue.clone() };
                return Next::Try(pick);
            }
        }
    }

    /// This one becomes a choice once more, tried or not, among the pool's members of now.
    pub fn again(&mut self, pool: &Pool, upstream: &Upstream) {
        self.renew(pool);
        let same = |member: &Arc<Upstream>| member.endpoint.key == upstream.endpoint.key;
        if let Some(index) = self.members.iter().position(same) {
            self.tried.unmark(index);
        }
    }

    /// Takes the pool's members of now, after a wait: a name may have got its addresses. What was tried stays tried.
    pub fn renew(&mut self, pool: &Pool) {
        let members = pool.members();
        if Arc::ptr_eq(&members, &self.members) {
            return;
        }
        let was_tried = |upstream: &Arc<Upstream>| {
            let same = |old: &Arc<Upstream>| old.endpoint.key == upstream.endpoint.key;
            self.members.iter().position(same).is_some_and(|index| self.tried.contains(index))
        };
        let mut tried = Tried { count: self.tried.count, ..Tried::default() };
        members.iter().enumerate().filter(|(_, upstream)| was_tried(upstream)).for_each(|(index, _)| tried.mark(index));
        (self.members, self.tried) = (members, tried);
    }

    /// How many were tried.
    #[must_use]
    pub const fn tried(&self) -> usize {
        self.tried.count
    }

    /// The members that were not tried, for the record.
    pub fn untried(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.members.iter().enumerate().filter(|(index, _)| !self.tried.contains(*index)).map(|(_, upstream)| upstream)
    }

    /// All members, tried or not.
    #[must_use]
    pub fn members(&self) -> &Members {
        &self.members
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        // `SeqCst` for the sake of the queue: see `Queue::join`.
        self.upstream.in_flight.fetch_sub(1, Ordering::SeqCst);
        if let Some(queue) = &self.queue {
            queue.freed();
        }
    }
}

const READY: u8 = 0;
/// Its first check, or its name, is being waited for.
const AWAITED: u8 = 1;
const NAMELESS: u8 = 2;
const EVICTED: u8 = 3;

/// A set of indexes, without allocation for the first 64.
#[derive(Debug, Default)]
struct Tried {
    low: u64,
    high: Vec<usize>,
    /// How many tries there were: more than the set holds once a tried one has left the pool.
    count: usize,
}

impl Tried {
    fn contains(&self, index: usize) -> bool {
        if index < 64 { self.low & (1 << index) != 0 } else { self.high.contains(&index) }
    }

    fn insert(&mut self, index: usize) {
        self.mark(index);
        self.count += 1;
    }

    fn mark(&mut self, index: usize) {
        if index < 64 {
            self.low |= 1 << index;
        } else {
            self.high.push(index);
        }
    }

    fn unmark(&mut self, index: usize) {
        if index < 64 {
            self.low &= !(1 << index);
        } else {
            self.high.retain(|&other| other != index);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::tests::{addresses, checked, pool, unchecked};
    use super::*;
    use crate::cause::Cause;
    use crate::config::address::Dial;
    use crate::health::{Event, Policy};

    const POLICY: Policy = Policy { healthy_after: 1, unhealthy_after: 1 };

    fn set(pool: &Pool, index: usize, event: Event) {
        pool.members()[index].health.record(event, None, POLICY, Instant::now());
    }

    fn take(choice: &mut Choice, unknown_too: bool) -> (String, bool) {
        match choice.next(unknown_too) {
            Next::Try(pick) => (pick.upstream.id.to_string(), pick.last_resort),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn ready_then_unknown_then_evicted_each_once() {
        let pool = pool(&["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"], checked());
        set(&pool, 0, Event::CheckFailed(Cause::ConnectionRefused));
        set(&pool, 2, Event::CheckPassed);
        let mut choice = Choice::new(&pool);
        assert_eq!(take(&mut choice, false), ("10.0.0.3:1".to_owned(), false));
        assert!(matches!(choice.next(false), Next::Wait), "an unknown one is waited for");
        assert_eq!(take(&mut choice, true), ("10.0.0.2:1".to_owned(), false));
        assert_eq!(choice.untried().map(|u| u.ordinal).collect::<Vec<_>>(), [1]);
        assert_eq!(take(&mut choice, true), ("10.0.0.1:1".to_owned(), true));
        assert!(matches!(choice.next(true), Next::None));
        assert_eq!((choice.tried(), choice.untried().count()), (3, 0));
    }

    #[test]
    fn without_last_resort_an_evicted_one_is_no_choice() {
        let pool = pool(&["10.0.0.1:1"], |pool| {
            checked()(pool);
            pool.last_resort = false;
        });
        set(&pool, 0, Event::CheckFailed(Cause::ConnectionRefused));
        assert!(matches!(Choice::new(&pool).next(true), Next::None));
    }

    #[test]
    fn a_first_result_during_the_wait_is_seen() {
        let pool = pool(&["10.0.0.1:1", "10.0.0.2:1"], checked());
        let mut choice = Choice::new(&pool);
        assert!(matches!(choice.next(false), Next::Wait));
        set(&pool, 1, Event::CheckPassed);
        assert_eq!(take(&mut choice, false).0, "10.0.0.2:1");
    }

    #[test]
    fn a_pick_counts_while_it_lives() {
        let pool = pool(&["10.0.0.1:1"], unchecked());
        let upstream = Arc::clone(&pool.members()[0]);
        let Next::Try(pick) = Choice::new(&pool).next(false) else { panic!("one is ready") };
        assert_eq!(upstream.in_flight.load(Ordering::Relaxed), 1);
        drop(pick);
        assert_eq!(upstream.in_flight.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn after_a_wait_the_addresses_of_a_name_are_choices_and_the_tried_stay_tried() {
        let pool = pool(&["10.0.0.9:1", "app:1"], unchecked());
        let mut choice = Choice::new(&pool);
        assert_eq!(take(&mut choice, false).0, "10.0.0.9:1");
        assert!(matches!(choice.next(false), Next::Wait), "a name that is being asked for is waited for");
        pool.set_addresses(1, Dial::Addresses(addresses(&["10.0.0.2:1", "10.0.0.1:1"])), Instant::now());
        choice.renew(&pool);
        let mut rest = [take(&mut choice, false).0, take(&mut choice, false).0];
        rest.sort();
        assert_eq!(rest, ["app:1@10.0.0.1", "app:1@10.0.0.2"]);
        assert!(matches!(choice.next(true), Next::None));
        assert_eq!(choice.tried(), 3);
    }

    #[test]
    fn a_name_without_addresses_is_tried_without_a_wait() {
        for pool in [pool(&["app:1"], unchecked()), pool(&["app:1"], checked())] {
            assert!(matches!(Choice::new(&pool).next(false), Next::Wait), "the resolver has not spoken");
            pool.set_addresses(0, Dial::Unresolved(Some((Cause::DnsNotFound, "no".to_owned()))), Instant::now());
            assert_eq!(take(&mut Choice::new(&pool), false), ("app:1".to_owned(), false));
        }
    }

    #[test]
    fn a_name_without_addresses_comes_after_those_awaited_and_before_the_evicted() {
        let pool = pool(&["app:1", "10.0.0.1:1", "10.0.0.2:1"], checked());
        pool.set_addresses(0, Dial::Unresolved(Some((Cause::DnsNotFound, "no".to_owned()))), Instant::now());
        set(&pool, 1, Event::CheckFailed(Cause::ConnectionRefused));
        let mut choice = Choice::new(&pool);
        assert!(matches!(choice.next(false), Next::Wait), "10.0.0.2 may have a result soon");
        let order = [take(&mut choice, true), take(&mut choice, true), take(&mut choice, true)];
        let wanted = [("10.0.0.2:1", false), ("app:1", false), ("10.0.0.1:1", true)];
        assert_eq!(order, wanted.map(|(id, last_resort)| (id.to_owned(), last_resort)));
    }

    #[test]
    fn a_hundred_members_are_tried_once_each() {
        let list: Vec<_> = (1..=100).map(|i| format!("10.0.0.{i}:1")).collect();
        let pool = pool(&list.iter().map(String::as_str).collect::<Vec<_>>(), unchecked());
        let mut choice = Choice::with_rng(&pool, Rng::with_seed(3));
        let mut seen: Vec<_> = (0..100).map(|_| take(&mut choice, false).0).collect();
        assert!(matches!(choice.next(true), Next::None));
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 100);
    }
}

//! The choice of the next upstream for a request: tiers, then balance; each upstream once.
//!
//! Tiers: on probation (if the request can be sent again) → ready → backups on probation and ready → on probation (if
//! it cannot) → unknown (those without an address last) → evicted (only as a last resort, where the pool allows it). Of
//! equals in all else, backups come last. Never one that is disabled; one that is draining only for a client whose
//! sticky cookie names it. A [`Pick`] is a guard: while it lives,
//! it counts as in flight on its upstream. Nothing here judges whether another try is allowed.

mod rank;

use std::cell::{Cell, LazyCell};
use std::sync::atomic::Ordering;
use std::sync::{Arc, TryLockError};
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::health::Permit;

use super::balance;
use super::report::Told;
use super::tried::Tried;
use super::{Members, Pool, Upstream};
use rank::{
    AWAITED, AWAITED_BACKUP, BACKUP, EVICTED, LATE_PROBATION, LATE_PROBATION_BACKUP, PROBATION, PROBATION_BACKUP, Seen,
};

/// While somebody evicted by traffic can not be tried for another reason, this is how often it is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The upstreams of one request: those that there were at its last try, and which of them were tried.
#[derive(Debug)]
pub struct Choice {
    members: Arc<Members>,
    tried: Tried,
    last_resort: bool,
    slow_start: Duration,
    belongs: Belongs,
    rng: Rng,
}

/// What of a request says where it belongs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Belongs {
    /// The key of `balance = "hash:…"`.
    pub key: Option<u64>,
    /// Whom the sticky cookie names.
    pub token: Option<u64>,
}

/// What a choice depends on besides the upstreams.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask {
    /// The request could be sent again, so a failed try costs it time and no error: it goes first where one is on
    /// probation.
    pub replayable: bool,
    /// The wait for first results is over, or was not worth it.
    pub unknown_too: bool,
}

/// What `Choice::next` found.
#[derive(Debug)]
pub enum Next {
    /// Try this one.
    Try(Pick),
    /// Nobody is ready and somebody is unknown, who may yet have a result: wait for a change ([`Pool::changes`]), at
    /// most [`Pool::patience`], then [`Choice::renew`] and ask again; once the patience is over, with `unknown_too`.
    Wait,
    /// Those that are left are at their limit (`in_flight`), or come after such ones: a slot would have to be waited
    /// for.
    Busy,
    /// Every upstream that may be tried was tried.
    None,
}

/// One upstream, taken for one attempt. Only a choice makes one: the count of attempts goes up with it and down with
/// its end, and [`Pick::report`] tells health what came of it.
#[derive(Debug)]
pub struct Pick {
    /// Who.
    pub upstream: Arc<Upstream>,
    /// Evicted, and tried because nobody else was left.
    pub last_resort: bool,
    /// The leave to try one that is evicted, until the outcome.
    pub(super) permit: Option<Permit>,
    pub(super) told: Told,
}

impl Choice {
    /// A fresh choice over the pool's members now.
    #[must_use]
    pub fn new(pool: &Pool) -> Self {
        Self::with_rng(pool, Rng::new())
    }

    /// The same for a request that belongs somewhere.
    #[must_use]
    pub fn belonging(self, belongs: Belongs) -> Self {
        Self { belongs, ..self }
    }

    /// The same with a random source of one's own, for tests that must repeat.
    #[must_use]
    pub fn with_rng(pool: &Pool, rng: Rng) -> Self {
        let members = pool.members();
        let (last_resort, slow_start) = (pool.config.last_resort, pool.config.slow_start);
        let belongs = Belongs::default();
        Self { members, tried: Tried::default(), last_resort, slow_start, belongs, rng }
    }

    /// The next upstream of this pool. `now` is asked for only where traffic has evicted somebody.
    pub fn next(&mut self, pool: &Pool, ask: Ask, now: impl FnOnce() -> Instant) -> Next {
        if self.tried.count > 0 {
            // Who has left the pool meanwhile gets nothing new, and who has come may help.
            self.renew(pool);
        }
        let now = LazyCell::new(now);
        if pool.due.is_now(|| *now)
            && !self.at_home()
            && let Some(pick) = self.on_probation(pool, ask.replayable, *now)
        {
            return Next::Try(pick);
        }
        loop {
            let Self { members, tried, last_resort, slow_start, belongs, rng, .. } = self;
            // The best of those at their limit.
            let busy = Cell::new(u8::MAX);
            let preferred = belongs.token.and_then(|token| members.balancer.position(token));
            let wanted = balance::Ask { rng, key: belongs.key, preferred };
            let seen = Seen {
                members,
                tried,
                ask,
                last_resort: *last_resort,
                slow_start: *slow_start,
                home: preferred,
                busy: &busy,
                now: || *now,
            };
            let found = members.balancer.choose(wanted, &seen);
            let (index, rank) = match found {
                // A backup helps out while others are busy, but nobody less than ready does.
                Some((_, rank)) if rank > BACKUP && busy.get() < rank => return Next::Busy,
                Some((_, AWAITED | AWAITED_BACKUP)) if !ask.unknown_too => return Next::Wait,
                Some(found) => found,
                None if busy.get() < u8::MAX => return Next::Busy,
                None => return Next::None,
            };
            // Else somebody else took the last slot, or the permit, since it was looked at.
            if let Some(pick) = self.take(index, rank, || *now) {
                return Next::Try(pick);
            }
        }
    }

    /// Does the sticky cookie name one that is usable?
    fn at_home(&self) -> bool {
        let index = self.belongs.token.and_then(|token| self.members.balancer.position(token));
        index.is_some_and(|index| {
            let home = &self.members[index];
            (home.usual() || home.keeps_clients()) && !self.tried.contains(index)
        })
    }

    /// One whose eviction by traffic has had its time, if nobody tries it yet: no backup, those have their turn.
    fn on_probation(&mut self, pool: &Pool, replayable: bool, now: Instant) -> Option<Pick> {
        // Such a request takes it only after another such time: then there may be no others.
        let grace = if replayable { Duration::ZERO } else { pool.config.passive.evict };
        // Who is not the first to look need not look.
        let looks = match pool.evictions.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        if !Arc::ptr_eq(&self.members, &pool.members.load()) {
            return None;
        }
        let (mut found, mut next) = (None, None::<Instant>);
        for (index, upstream) in self.members.iter().enumerate() {
            let look = upstream.health.look();
            if !look.evicted_by_traffic() {
                continue;
            }
            let at = match upstream.health.permit_at(look) {
                Some(at) if at > now => at,
                Some(_) if upstream.backup || upstream.full() => now + LOOK_AGAIN,
                Some(at) if at + grace <= now && found.is_none() && !self.tried.contains(index) => {
                    found = Some(index);
                    now + LOOK_AGAIN // it may be back soon, with or without an outcome
                }
                Some(at) => at,
                None => now + LOOK_AGAIN,
            };
            next = Some(next.map_or(at, |next| next.min(at)));
        }
        pool.due.set(&looks, next);
        drop(looks);
        found.and_then(|index| self.take(index, PROBATION, || now))
    }

    /// Takes this one, unless its last slot or its permit has gone.
    fn take(&mut self, index: usize, rank: u8, now: impl FnOnce() -> Instant) -> Option<Pick> {
        let upstream = &self.members[index];
        if !upstream.occupy() {
            return None;
        }
        let last_resort = rank >= EVICTED;
        let mut pick = Pick { upstream: Arc::clone(upstream), last_resort, permit: None, told: Told::Nothing };
        if matches!(rank, PROBATION | PROBATION_BACKUP | LATE_PROBATION | LATE_PROBATION_BACKUP) {
            pick.permit = Some(upstream.health.claim(now())?);
        }
        self.tried.insert(index);
        Some(pick)
    }

    /// This one may be tried once more, tried or not, among the pool's members of now: it came back while the request
    /// waited (CONTRACT §9 `wait`).
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
        let mut tried = Tried::after(self.tried.count);
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

impl Pick {
    /// Evicted by traffic, and tried whether it is well again.
    #[must_use]
    pub const fn on_probation(&self) -> bool {
        self.permit.is_some()
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        // `SeqCst` for the sake of the queue: see `Queue::join`.
        self.upstream.in_flight.fetch_sub(1, Ordering::SeqCst);
        self.upstream.queue.freed();
    }
}

impl Upstream {
    /// Takes a slot, unless it has as many as it may.
    fn occupy(&self) -> bool {
        if self.limit == usize::MAX {
            self.in_flight.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        let more = |running: usize| (running < self.limit).then_some(running + 1);
        self.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::tests::{addresses, checked, pool, unchecked};
    use super::*;
    use crate::cause::Cause;
    use crate::config::address::Dial;
    use crate::health::{Blame, Event, Failed, Operator, Policy, Proof, State};

    const PASSED: Event = Event::CheckPassed(Proof::Answers);
    const POLICY: Policy = Policy { healthy_after: 1, unhealthy_after: 1 };

    fn set(pool: &Pool, index: usize, event: Event) {
        pool.members()[index].health.record(event, None, POLICY, Instant::now());
    }

    /// The next one for a request that can be sent again.
    fn next(choice: &mut Choice, pool: &Pool, unknown_too: bool) -> Next {
        choice.next(pool, Ask { replayable: true, unknown_too }, Instant::now)
    }

    fn take(choice: &mut Choice, pool: &Pool, unknown_too: bool) -> (String, bool) {
        match next(choice, pool, unknown_too) {
            Next::Try(pick) => (pick.upstream.id.to_string(), pick.last_resort),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_client_stays_with_one_that_drains_until_that_is_sick() {
        let pool = pool(&["10.0.0.1:1", "10.0.0.2:1"], checked());
        set(&pool, 0, PASSED);
        set(&pool, 1, PASSED);
        pool.switch("10.0.0.1:1", Operator::Draining, Instant::now()).unwrap();
        let token = balance::token("app", "10.0.0.1:1");
        let stays = |pool: &Pool| {
            let belongs = Belongs { key: None, token: Some(token) };
            take(&mut Choice::new(pool).belonging(belongs), pool, false).0
        };
        assert_eq!(stays(&pool), "10.0.0.1:1");
        let mut tried = Choice::new(&pool).belonging(Belongs { key: None, token: Some(token) });
        assert_eq!(take(&mut tried, &pool, false).0, "10.0.0.1:1");
        assert_eq!(take(&mut tried, &pool, false).0, "10.0.0.2:1", "once, as everybody");
        for _ in 0..50 {
            assert_eq!(take(&mut Choice::new(&pool), &pool, false).0, "10.0.0.2:1", "nobody else goes there");
        }
        set(&pool, 0, Event::CheckFailed(Cause::ConnectionRefused));
        assert_eq!(stays(&pool), "10.0.0.2:1");
        set(&pool, 0, PASSED);
        pool.switch("10.0.0.1:1", Operator::Disabled, Instant::now()).unwrap();
        assert_eq!(stays(&pool), "10.0.0.2:1", "out of service is out of service");
    }

    #[test]
    fn ready_then_unknown_then_evicted_each_once() {
        let pool = pool(&["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"], checked());
        set(&pool, 0, Event::CheckFailed(Cause::ConnectionRefused));
        set(&pool, 2, PASSED);
        let mut choice = Choice::new(&pool);
        assert_eq!(take(&mut choice, &pool, false), ("10.0.0.3:1".to_owned(), false));
        assert!(matches!(next(&mut choice, &pool, false), Next::Wait), "an unknown one is waited for");
        assert_eq!(take(&mut choice, &pool, true), ("10.0.0.2:1".to_owned(), false));
        assert_eq!(choice.untried().map(|u| u.ordinal).collect::<Vec<_>>(), [1]);
        assert_eq!(take(&mut choice, &pool, true), ("10.0.0.1:1".to_owned(), true));
        assert!(matches!(next(&mut choice, &pool, true), Next::None));
        assert_eq!((choice.tried(), choice.untried().count()), (3, 0));
    }

    #[test]
    fn a_second_try_goes_to_none_that_has_left_and_to_who_has_come() {
        let pool = pool(&["app:1"], unchecked());
        let set = |list: &[&str]| pool.set_addresses(0, Dial::Addresses(addresses(list)), Instant::now());
        set(&["10.0.0.1:1", "10.0.0.2:1"]);
        let mut choice = Choice::new(&pool);
        let first = take(&mut choice, &pool, false).0;
        let stays = if first.ends_with('1') { "10.0.0.1:1" } else { "10.0.0.2:1" };
        set(&[stays, "10.0.0.3:1"]);
        assert_eq!(take(&mut choice, &pool, false).0, "app:1@10.0.0.3");
        assert!(matches!(next(&mut choice, &pool, false), Next::None), "the first one was tried");
        assert_eq!((choice.tried(), choice.untried().count()), (2, 0));
    }

    #[test]
    fn without_last_resort_an_evicted_one_is_no_choice() {
        let pool = pool(&["10.0.0.1:1"], |pool| {
            checked()(pool);
            pool.last_resort = false;
        });
        set(&pool, 0, Event::CheckFailed(Cause::ConnectionRefused));
        assert!(matches!(next(&mut Choice::new(&pool), &pool, true), Next::None));
    }

    #[test]
    fn a_first_result_during_the_wait_is_seen() {
        let pool = pool(&["10.0.0.1:1", "10.0.0.2:1"], checked());
        let mut choice = Choice::new(&pool);
        assert!(matches!(next(&mut choice, &pool, false), Next::Wait));
        set(&pool, 1, PASSED);
        assert_eq!(take(&mut choice, &pool, false).0, "10.0.0.2:1");
    }

    #[test]
    fn a_pick_counts_while_it_lives() {
        let pool = pool(&["10.0.0.1:1"], unchecked());
        let upstream = Arc::clone(&pool.members()[0]);
        let Next::Try(pick) = next(&mut Choice::new(&pool), &pool, false) else { panic!("one is ready") };
        assert_eq!(upstream.in_flight.load(Ordering::Relaxed), 1);
        drop(pick);
        assert_eq!(upstream.in_flight.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn after_a_wait_the_addresses_of_a_name_are_choices_and_the_tried_stay_tried() {
        let pool = pool(&["10.0.0.9:1", "app:1"], unchecked());
        let mut choice = Choice::new(&pool);
        assert_eq!(take(&mut choice, &pool, false).0, "10.0.0.9:1");
        assert!(matches!(next(&mut choice, &pool, false), Next::Wait), "a name that is being asked for is waited for");
        pool.set_addresses(1, Dial::Addresses(addresses(&["10.0.0.2:1", "10.0.0.1:1"])), Instant::now());
        choice.renew(&pool);
        let mut rest = [take(&mut choice, &pool, false).0, take(&mut choice, &pool, false).0];
        rest.sort();
        assert_eq!(rest, ["app:1@10.0.0.1", "app:1@10.0.0.2"]);
        assert!(matches!(next(&mut choice, &pool, true), Next::None));
        assert_eq!(choice.tried(), 3);
    }

    #[test]
    fn a_name_without_addresses_is_tried_without_a_wait() {
        for pool in [pool(&["app:1"], unchecked()), pool(&["app:1"], checked())] {
            assert!(matches!(next(&mut Choice::new(&pool), &pool, false), Next::Wait), "the resolver has not spoken");
            pool.set_addresses(0, Dial::Unresolved(Some((Cause::DnsNotFound, "no".to_owned()))), Instant::now());
            assert_eq!(take(&mut Choice::new(&pool), &pool, false), ("app:1".to_owned(), false));
        }
    }

    #[test]
    fn a_name_without_addresses_comes_after_those_awaited_and_before_the_evicted() {
        let pool = pool(&["app:1", "10.0.0.1:1", "10.0.0.2:1"], checked());
        pool.set_addresses(0, Dial::Unresolved(Some((Cause::DnsNotFound, "no".to_owned()))), Instant::now());
        set(&pool, 1, Event::CheckFailed(Cause::ConnectionRefused));
        let mut choice = Choice::new(&pool);
        assert!(matches!(next(&mut choice, &pool, false), Next::Wait), "10.0.0.2 may have a result soon");
        let order = [take(&mut choice, &pool, true), take(&mut choice, &pool, true), take(&mut choice, &pool, true)];
        let wanted = [("10.0.0.2:1", false), ("app:1", false), ("10.0.0.1:1", true)];
        assert_eq!(order, wanted.map(|(id, last_resort)| (id.to_owned(), last_resort)));
    }

    #[test]
    fn a_hundred_members_are_tried_once_each() {
        let list: Vec<_> = (1..=100).map(|i| format!("10.0.0.{i}:1")).collect();
        let pool = pool(&list.iter().map(String::as_str).collect::<Vec<_>>(), unchecked());
        let mut choice = Choice::with_rng(&pool, Rng::with_seed(3));
        let mut seen: Vec<_> = (0..100).map(|_| take(&mut choice, &pool, false).0).collect();
        assert!(matches!(next(&mut choice, &pool, true), Next::None));
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 100);
    }

    /// Takes one for a request that can be sent again, or not, as if it were this late.
    fn pick(choice: &mut Choice, pool: &Pool, replayable: bool, now: Instant) -> Option<Pick> {
        match choice.next(pool, Ask { replayable, unknown_too: true }, || now) {
            Next::Try(pick) => Some(pick),
            Next::Wait | Next::Busy | Next::None => None,
        }
    }

    /// Traffic evicts this one.
    fn refuse(pool: &Pool, index: usize, now: Instant) {
        let failed = Failed { blame: Blame::Connect, cause: Cause::ConnectionRefused, jitter: 0.5 };
        let health = &pool.members()[index].health;
        for _ in 0..3 {
            health.failed(failed, "no".to_owned(), None, &pool.config.passive, now, || Some(()));
        }
        assert_eq!(health.state(), State::Evicted);
    }

    #[test]
    fn a_request_that_can_be_sent_again_goes_first_where_one_is_on_probation() {
        let pool = pool(&["10.0.0.1:1", "10.0.0.2:1"], unchecked());
        let start = Instant::now();
        refuse(&pool, 0, start);
        let later = start + Duration::from_secs(6);
        for _ in 0..20 {
            let early = pick(&mut Choice::new(&pool), &pool, true, start).unwrap();
            assert_eq!(early.upstream.ordinal, 2, "not before its time");
            let once = pick(&mut Choice::new(&pool), &pool, false, later).unwrap();
            assert_eq!(once.upstream.ordinal, 2, "not with a request that can be lost");
        }
        let first = pick(&mut Choice::new(&pool), &pool, true, later).unwrap();
        assert!(first.on_probation() && first.upstream.ordinal == 1 && !first.last_resort);
        let second = pick(&mut Choice::new(&pool), &pool, true, later + Duration::from_secs(1)).unwrap();
        assert_eq!((second.on_probation(), second.upstream.ordinal), (false, 2), "never two on probation");
        drop(first);
        let third = pick(&mut Choice::new(&pool), &pool, true, later + Duration::from_secs(2)).unwrap();
        assert!(third.on_probation(), "the permit of one that learnt nothing goes to the next");
    }

    #[test]
    fn a_request_that_cannot_be_sent_again_is_on_probation_only_where_nobody_is_ready() {
        let pool = pool(&["10.0.0.1:1"], unchecked());
        let start = Instant::now();
        refuse(&pool, 0, start);
        let resort = pick(&mut Choice::new(&pool), &pool, false, start).unwrap();
        assert!(resort.last_resort && !resort.on_probation());
        let probation = pick(&mut Choice::new(&pool), &pool, false, start + Duration::from_secs(6)).unwrap();
        assert!(probation.on_probation() && !probation.last_resort);
    }

    #[test]
    fn the_clock_is_not_asked_while_traffic_has_evicted_nobody() {
        let pool = pool(&["10.0.0.1:1", "10.0.0.2:1"], checked());
        set(&pool, 0, Event::CheckFailed(Cause::ConnectionRefused));
        let ask = Ask { replayable: true, unknown_too: true };
        let _first = Choice::new(&pool).next(&pool, ask, Instant::now);
        let mut choice = Choice::new(&pool);
        for _ in 0..3 {
            choice.next(&pool, ask, || panic!("nobody is on probation"));
        }
    }

    #[test]
    fn backups_serve_while_no_other_is_usable_and_in_the_same_order() {
        let pool = pool(&["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1", "10.0.0.4:1"], |pool| {
            checked()(pool);
            pool.upstreams[1].backup = true;
            pool.upstreams[3].backup = true;
        });
        set(&pool, 1, PASSED);
        set(&pool, 3, Event::CheckFailed(Cause::ConnectionRefused));
        set(&pool, 2, Event::CheckFailed(Cause::ConnectionRefused));
        let order = |pool: &Pool| {
            let mut choice = Choice::new(pool);
            [(); 4].map(|()| pick(&mut choice, pool, true, Instant::now()).unwrap().upstream.ordinal)
        };
        assert_eq!(order(&pool), [2, 1, 3, 4], "a ready backup, the unknown one, the evicted ones");
        set(&pool, 0, PASSED);
        assert_eq!(order(&pool), [1, 2, 3, 4]);
    }

    #[test]
    fn what_the_operator_took_out_is_no_choice_and_no_last_resort() {
        let pool = pool(&["10.0.0.1:1", "10.0.0.2:1"], unchecked());
        pool.switch("10.0.0.1:1", Operator::Draining, Instant::now()).unwrap();
        pool.switch("10.0.0.2:1", Operator::Disabled, Instant::now()).unwrap();
        let mut choice = Choice::new(&pool);
        assert!(matches!(next(&mut choice, &pool, true), Next::None));
        assert_eq!(choice.untried().count(), 2);
    }

    #[test]
    fn one_at_its_limit_is_passed_over_and_when_all_are_it_is_said() {
        let one = |n: usize| std::num::NonZeroUsize::new(n);
        let pool = pool(&["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"], |pool| {
            pool.limits.in_flight = one(1);
            pool.upstreams[1].in_flight = one(2);
        });
        refuse(&pool, 2, Instant::now());
        let mut held: Vec<_> =
            (0..3).map(|_| pick(&mut Choice::new(&pool), &pool, true, Instant::now()).unwrap()).collect();
        held.sort_by_key(|pick| pick.upstream.ordinal);
        assert_eq!(held.iter().map(|pick| pick.upstream.ordinal).collect::<Vec<_>>(), [1, 2, 2]);
        let mut choice = Choice::new(&pool);
        assert!(matches!(next(&mut choice, &pool, true), Next::Busy), "the evicted one is no way out");
        held.pop();
        assert_eq!(take(&mut choice, &pool, true).0, "10.0.0.2:1");
        drop(held);
    }

    #[test]
    fn a_limit_is_exact_among_threads() {
        let pool = pool(&["10.0.0.1:1"], |pool| pool.limits.in_flight = std::num::NonZeroUsize::new(3));
        let tries = |_| {
            let mut most = 0;
            for _ in 0..2000 {
                if let Some(pick) = pick(&mut Choice::new(&pool), &pool, true, Instant::now()) {
                    most = most.max(pick.upstream.in_flight.load(Ordering::Relaxed));
                    std::thread::yield_now();
                }
            }
            most
        };
        let most = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..6).map(|n| scope.spawn(move || tries(n))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).max()
        });
        assert_eq!(most, Some(3));
        assert_eq!(pool.members()[0].in_flight.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn one_that_came_back_gets_its_one_more_try() {
        let pool = pool(&["10.0.0.1:1", "10.0.0.2:1"], unchecked());
        let mut choice = Choice::new(&pool);
        take(&mut choice, &pool, true);
        take(&mut choice, &pool, true);
        assert!(matches!(next(&mut choice, &pool, true), Next::None));
        choice.again(&pool, &pool.members()[1]);
        assert_eq!(take(&mut choice, &pool, true).0, "10.0.0.2:1");
        assert_eq!(choice.tried(), 3);
    }
}

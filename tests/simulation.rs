//! A seeded simulation: thousands of histories of checks, requests and name changes over one pool, held against a model
//! that is too simple to be wrong, and against the invariants of the house.
//!
//! A failure prints its seed; `CAUSEWAY_SEED=n cargo test simulation` runs that history alone.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use causeway::cause::Cause;
use causeway::config::address::Dial;
use causeway::config::model::Check;
use causeway::health::{Event, Policy, State};
use causeway::pool::pick::{Choice, Next, Pick};
use causeway::pool::{Pool, Upstream};
use fastrand::Rng;

use crate::pools::{pool, quick};

const HISTORIES: u64 = 3000;

#[test]
fn every_history_keeps_the_invariants() {
    let named = std::env::var("CAUSEWAY_SEED").ok().map(|seed| seed.parse().expect("CAUSEWAY_SEED is a number"));
    let seeds = named.map_or(0..HISTORIES, |seed: u64| seed..seed + 1);
    let mut seen = Seen::default();
    for seed in seeds {
        let told = TellsSeed(seed);
        History::new(seed).run(&mut seen);
        std::mem::forget(told);
    }
    if named.is_none() {
        let Seen { ready, unknown, evicted, waits, none, evictions, returns, renewals } = seen;
        for (what, count) in [
            ("picks of ready ones", ready),
            ("picks of unknown ones", unknown),
            ("last resorts", evicted),
            ("waits", waits),
            ("requests that tried all", none),
            ("evictions", evictions),
            ("returns", returns),
            ("renewals after a wait", renewals),
        ] {
            assert!(count > 1000, "the histories hardly ever had {what}: {count}");
        }
    }
}

/// Prints the seed if it is dropped by a panic.
struct TellsSeed(u64);

impl Drop for TellsSeed {
    fn drop(&mut self) {
        eprintln!("this history again: CAUSEWAY_SEED={} cargo test simulation", self.0);
    }
}

/// How often something happened over all histories: a simulation that never gets anywhere proves nothing.
#[derive(Default)]
struct Seen {
    ready: usize,
    unknown: usize,
    evicted: usize,
    waits: usize,
    none: usize,
    evictions: usize,
    returns: usize,
    renewals: usize,
}

/// What the model knows of one upstream: all its results, from which the state follows by definition.
#[derive(Default)]
struct Model {
    results: Vec<bool>,
    state: Option<bool>,
    in_flight: usize,
    /// How likely its next check passes.
    luck: f64,
}

impl Model {
    fn result(&mut self, passed: bool, policy: Policy) {
        self.results.push(passed);
        let last = |count: u32, of: bool| {
            let count = count as usize;
            self.results.len() >= count && self.results[self.results.len() - count..].iter().all(|&result| result == of)
        };
        if self.results.len() == 1 {
            self.state = Some(passed);
        } else if last(policy.unhealthy_after, false) {
            self.state = Some(false);
        } else if last(policy.healthy_after, true) {
            self.state = Some(true);
        }
    }

    const fn state(&self) -> State {
        match self.state {
            None => State::Unknown,
            Some(true) => State::Ready,
            Some(false) => State::Evicted,
        }
    }
}

/// A request on its way.
struct Request {
    choice: Choice,
    tried: Vec<u64>,
    renewed: bool,
    pick: Option<Pick>,
}

struct History {
    rng: Rng,
    pool: Arc<Pool>,
    policy: Policy,
    last_resort: bool,
    models: HashMap<u64, Model>,
    requests: Vec<Request>,
    now: Instant,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let literals = if rng.u8(..20) == 0 { rng.u8(65..90) } else { rng.u8(1..8) };
        let hosts: Vec<_> = (0..literals).map(|last| format!("10.0.0.{last}")).collect();
        let mut upstreams: Vec<_> = hosts.iter().map(|host| (host.as_str(), 80)).collect();
        upstreams.insert(rng.usize(..=upstreams.len()), ("app", 80));
        let last_resort = rng.bool();
        let policy = Policy { healthy_after: rng.u32(1..4), unhealthy_after: rng.u32(1..5) };
        let pool = pool(&upstreams, last_resort, Some(quick(Check::Tcp)));
        Self { rng, pool, policy, last_resort, models: HashMap::new(), requests: vec![], now: Instant::now() }
    }

    fn run(mut self, seen: &mut Seen) {
        for _ in 0..self.rng.usize(20..200) {
            self.now += Duration::from_millis(self.rng.u64(..2000));
            match self.rng.u8(..100) {
                0..45 => self.check(seen),
                45..55 => self.begin(),
                55..93 => self.step(seen),
                93..98 => self.names(),
                _ => self.luck(),
            }
            self.compare();
        }
        let members: Vec<_> = self.requests.iter().flat_map(|request| request.choice.members().clone()).collect();
        self.requests.clear();
        for upstream in members.iter().chain(&*self.pool.members()) {
            assert_eq!(upstream.in_flight.load(Ordering::Relaxed), 0, "{} is still busy at the end", upstream.id);
        }
    }

    /// One check result for a random member.
    fn check(&mut self, seen: &mut Seen) {
        let members = self.pool.members();
        let upstream = &members[self.rng.usize(..members.len())];
        let luck = self.rng.f64();
        let model = self.models.entry(upstream.endpoint.key).or_insert_with(|| Model { luck, ..Model::default() });
        let passed = self.rng.f64() < model.luck;
        let before = model.state();
        model.result(passed, self.policy);
        let event = if passed { Event::CheckPassed } else { Event::CheckFailed(Cause::ConnectionRefused) };
        let change = upstream.health.record(event, None, self.policy, self.now);
        assert_eq!(change.is_some(), before != model.state(), "{} from {before:?}, passed: {passed}", upstream.id);
        if let Some(change) = change {
            assert_eq!((change.from, change.to), (before, model.state()));
            seen.evictions += usize::from(change.to == State::Evicted);
            seen.returns += usize::from((change.from, change.to) == (State::Evicted, State::Ready));
        }
    }

    /// Somebody's luck turns.
    fn luck(&mut self) {
        let luck = [0.0, 0.5, 1.0][self.rng.usize(..3)];
        let members = self.pool.members();
        let key = members[self.rng.usize(..members.len())].endpoint.key;
        self.models.entry(key).or_default().luck = luck;
    }

    /// The name gets other addresses.
    fn names(&mut self) {
        let before = self.pool.members();
        let Some(entry) = self.pool.config.upstreams.iter().position(|entry| &*entry.id() == "app:80") else { return };
        let list: Vec<SocketAddr> = (0..self.rng.u8(1..5)).map(|_| ([10, 0, 1, self.rng.u8(..5)], 80).into()).collect();
        self.pool.set_addresses(entry, Dial::Addresses(list.clone()), self.now);
        let after = self.pool.members();
        for (index, upstream) in after.iter().enumerate() {
            assert_eq!(upstream.ordinal, index + 1);
            let stayed =
                before.iter().find(|old| old.entry == upstream.entry && old.endpoint.dial == upstream.endpoint.dial);
            if let Some(old) = stayed {
                assert!(Arc::ptr_eq(&old.health, &upstream.health), "{} lost its health", upstream.id);
                assert_eq!(old.endpoint.key, upstream.endpoint.key);
            }
        }
        let mine = after.iter().filter(|upstream| upstream.entry == entry).count();
        assert_eq!(mine, list.iter().collect::<std::collections::HashSet<_>>().len());
        let mut ids: Vec<_> = after.iter().map(|upstream| &upstream.id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), after.len(), "two upstreams with one id");
    }

    fn begin(&mut self) {
        let choice = Choice::with_rng(&self.pool, self.rng.fork());
        self.requests.push(Request { choice, tried: vec![], renewed: false, pick: None });
    }

    /// The next thing that happens to a request: its attempt ends, and it is done or makes the next one.
    fn step(&mut self, seen: &mut Seen) {
        if self.requests.is_empty() {
            return;
        }
        let index = self.rng.usize(..self.requests.len());
        let mut request = self.requests.swap_remove(index);
        if let Some(pick) = request.pick.take() {
            self.model(&pick.upstream).in_flight -= 1;
            if self.rng.u8(..4) == 0 {
                return; // answered
            }
        }
        let unknown_too = self.rng.u8(..4) == 0;
        let untried: Vec<_> = request.choice.untried().cloned().collect();
        let of = |state: State| untried.iter().filter(|upstream| upstream.health.state() == state).count();
        let (ready, unknown, evicted) = (of(State::Ready), of(State::Unknown), of(State::Evicted));
        match request.choice.next(unknown_too) {
            Next::Try(pick) => {
                let upstream = &pick.upstream;
                let key = upstream.endpoint.key;
                assert!(!request.tried.contains(&key), "{} is tried twice by one request", upstream.id);
                assert!(untried.iter().any(|other| other.endpoint.key == key), "{} was no choice", upstream.id);
                request.tried.push(key);
                let state = upstream.health.state();
                assert_eq!(pick.last_resort, state == State::Evicted);
                match state {
                    State::Ready => seen.ready += 1,
                    State::Unknown => {
                        seen.unknown += 1;
                        assert!(ready == 0 && unknown_too, "an unknown one is picked, {ready} ready ones are left");
                    }
                    State::Evicted => {
                        seen.evicted += 1;
                        assert!(self.last_resort && ready == 0 && unknown == 0, "an evicted one is picked too early");
                    }
                    State::Draining | State::Disabled => panic!("nobody has switched it"),
                }
                self.model(upstream).in_flight += 1;
                request.pick = Some(pick);
                self.requests.push(request);
            }
            Next::Wait => {
                seen.waits += 1;
                assert!(ready == 0 && unknown > 0 && !unknown_too, "nothing to wait for");
                if self.rng.bool() {
                    request.choice.renew(&self.pool);
                    request.renewed = true;
                    seen.renewals += 1;
                    let now = self.pool.members();
                    assert!(
                        now.iter().map(|u| u.endpoint.key).eq(request.choice.members().iter().map(|u| u.endpoint.key))
                    );
                }
                self.requests.push(request);
            }
            Next::Busy => panic!("there are no limits"),
            Next::None => {
                seen.none += 1;
                assert_eq!(ready + unknown, 0, "it gives up while somebody could be tried");
                assert!(evicted == 0 || !self.last_resort, "it gives up before the last resort");
                let Request { choice, tried, renewed, .. } = request;
                assert_eq!(choice.tried(), tried.len());
                for upstream in choice.members() {
                    let was_tried = tried.contains(&upstream.endpoint.key);
                    let untried = choice.untried().any(|other| other.endpoint.key == upstream.endpoint.key);
                    assert!(was_tried != untried, "{} is in both lists, or in none", upstream.id);
                }
                assert!(renewed || tried.len() + choice.untried().count() == choice.members().len());
            }
        }
    }

    fn model(&mut self, upstream: &Upstream) -> &mut Model {
        self.models.entry(upstream.endpoint.key).or_default()
    }

    /// The pool and the model agree on every member.
    fn compare(&self) {
        let members = self.pool.members();
        let fresh = Model::default();
        let model = |upstream: &Upstream| self.models.get(&upstream.endpoint.key).unwrap_or(&fresh);
        for upstream in members.iter() {
            assert_eq!(upstream.health.state(), model(upstream).state(), "{}", upstream.id);
            assert_eq!(upstream.in_flight.load(Ordering::Relaxed), model(upstream).in_flight, "{}", upstream.id);
        }
        let of = |state: State| members.iter().filter(|upstream| model(upstream).state() == state).count();
        assert_eq!(self.pool.usable(), of(State::Ready));
        assert_eq!(self.pool.checked(), of(State::Unknown) == 0);
    }
}

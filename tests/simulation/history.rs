//! One history: a pool, what happens to it, and the model beside it.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use causeway::cause::Cause;
use causeway::config::address::Dial;
use causeway::config::model::{self, Check, Passive};
use causeway::config::{Address, Host};
use causeway::health::{By, Event, Operator, Policy, Proof, State};
use causeway::pool::pick::{Choice, Pick};
use causeway::pool::{Pool, Upstream};
use fastrand::Rng;

use super::Seen;
use super::model::Model;
use crate::pools::quick;

/// A request on its way.
pub struct Request {
    pub id: u64,
    /// As the file had it when the request began.
    pub pool: Arc<Pool>,
    pub choice: Choice,
    pub replayable: bool,
    pub tried: Vec<u64>,
    pub renewed: bool,
    pub pick: Option<Pick>,
    /// Health has had the last word on this attempt.
    pub told: bool,
}

pub struct History {
    pub rng: Rng,
    pub pool: Arc<Pool>,
    pub policy: Policy,
    pub models: HashMap<u64, Model>,
    /// All that the operator said, in order.
    pub words: Vec<(String, Operator)>,
    /// There was a new file: an upstream may have more requests than it may have now.
    pub reloaded: bool,
    pub requests: Vec<Request>,
    begun: u64,
    pub now: Instant,
    /// When somebody on probation was looked for last.
    pub looked: Instant,
}

impl History {
    pub fn new(seed: u64) -> Self {
        // What evictions are jittered with.
        fastrand::seed(seed);
        let mut rng = Rng::with_seed(seed);
        let literals = if rng.u8(..20) == 0 { rng.u8(65..90) } else { rng.u8(1..8) };
        let entry = |host: Host| model::Entry::new(Address::plain(host, 80));
        let literal = |last: u8| entry(Host::Ip(IpAddr::from([10, 0, 0, last])));
        let mut upstreams: Vec<_> = (0..literals).map(literal).collect();
        upstreams.insert(rng.usize(..=upstreams.len()), entry(Host::Name("app".into())));
        let backups = if rng.bool() { rng.f64() * 0.6 } else { 0.0 };
        let limits = if rng.bool() { rng.f64() } else { 0.0 };
        for upstream in &mut upstreams {
            upstream.backup = rng.f64() < backups;
            upstream.in_flight = NonZeroUsize::new(rng.usize(1..4)).filter(|_| rng.f64() < limits);
        }
        let passive = passive(&mut rng);
        let health = (rng.u8(..4) > 0).then(|| quick(Check::Tcp));
        let pool = model::Pool::new("app", upstreams);
        let config = model::Pool { last_resort: rng.bool(), health, passive, ..pool };
        let policy = Policy { healthy_after: rng.u32(1..4), unhealthy_after: rng.u32(1..5) };
        let now = Instant::now();
        let pool = Arc::new(Pool::new(Arc::new(config), now));
        let (models, words, requests) = (HashMap::new(), vec![], vec![]);
        let mut history =
            Self { rng, pool, policy, models, words, reloaded: false, requests, begun: 0, now, looked: now };
        history.meet(&mut Seen::default());
        history
    }

    pub fn run(mut self, seen: &mut Seen) {
        for _ in 0..self.rng.usize(20..200) {
            self.now += Duration::from_millis(if self.rng.bool() { self.rng.u64(..100) } else { self.rng.u64(..2000) });
            match self.rng.u8(..100) {
                0..22 => self.check(seen),
                22..35 => self.begin(),
                35..91 => self.step(seen),
                91..93 => self.names(seen),
                93 => self.reload(seen),
                94..97 => self.switch(seen),
                _ => self.luck(),
            }
            self.compare();
        }
        let members: Vec<_> = self.requests.iter().flat_map(|request| request.choice.members().to_vec()).collect();
        self.requests.clear();
        for upstream in members.iter().chain(self.pool.members().iter()) {
            assert_eq!(upstream.in_flight.load(Ordering::Relaxed), 0, "{} is still busy at the end", upstream.id);
            let model = self.model(upstream);
            let away = model.away.is_some() && upstream.health.state() == State::Evicted;
            let permit = upstream.health.look().permit_from().is_some();
            assert!(!away || permit || upstream.health.look().checks_fail(), "{}: the permit is lost", upstream.id);
        }
    }

    pub fn model(&mut self, upstream: &Upstream) -> &mut Model {
        self.models.get_mut(&upstream.meter.key()).expect("every member was met")
    }

    /// Makes models of new members.
    pub fn meet(&mut self, seen: &mut Seen) {
        for upstream in self.pool.members().iter() {
            let (luck, now) = (self.rng.f64(), self.now);
            let id = self.pool.config.upstreams[upstream.entry].id();
            let word = |(of, _): &&(String, Operator)| *of == *upstream.id || *of == *id;
            let operator = self.words.iter().rfind(word).map(|(_, operator)| *operator).unwrap_or_default();
            let dialled = matches!(upstream.endpoint.dial, Dial::Addresses(_));
            let verdict = (self.pool.config.health.is_none() && dialled).then_some(true);
            self.models.entry(upstream.meter.key()).or_insert_with(|| {
                seen.later += usize::from(operator != Operator::Enabled);
                Model::new(verdict, operator, luck, now)
            });
        }
    }

    fn any(&mut self) -> Arc<Upstream> {
        let members = self.pool.members();
        Arc::clone(&members[self.rng.usize(..members.len())])
    }

    /// One check result for a random member.
    fn check(&mut self, seen: &mut Seen) {
        let upstream = self.any();
        if self.pool.config.health.is_none() || matches!(upstream.endpoint.dial, Dial::Unresolved(_)) {
            return;
        }
        let (policy, now) = (self.policy, self.now);
        let (chance, http) = (self.rng.f64(), self.rng.u8(..3) == 0);
        let model = self.model(&upstream);
        let passed = chance < model.luck;
        let (before, away, verdict) = (model.state(), model.away.is_some(), model.verdict);
        model.check(passed, http, policy, now);
        let (after, still) = (model.state(), model.away.is_some());
        let evicted = model.verdict == Some(false) && verdict != Some(false);
        seen.proofs += usize::from(away && !still);
        seen.no_proofs += usize::from(passed && still);
        seen.both += usize::from(still && evicted);
        let proof = if http { Proof::Answers } else { Proof::Connects };
        let event = if passed { Event::CheckPassed(proof) } else { Event::CheckFailed(Cause::ConnectionRefused) };
        let change = upstream.health.record(event, None, policy, now);
        let wanted = (before != after).then_some((before, after, By::Checks));
        assert_eq!(change.map(|c| (c.from, c.to, c.by)), wanted, "{}, passed: {passed}", upstream.id);
        seen.evictions += usize::from(change.is_some_and(|change| change.to == State::Evicted));
        seen.returns += usize::from((before, after) == (State::Evicted, State::Ready));
    }

    /// Somebody's luck turns.
    fn luck(&mut self) {
        let luck = [0.0, 0.2, 0.5, 0.9, 1.0][self.rng.usize(..5)];
        let upstream = self.any();
        self.model(&upstream).luck = luck;
    }

    /// The operator says something, of one or of all addresses of the name.
    fn switch(&mut self, seen: &mut Seen) {
        let upstream = self.any();
        let name = self.pool.config.upstreams[self.name()].id().to_string();
        let id = if self.rng.bool() { name } else { upstream.id.to_string() };
        let said = self.rng.u8(..4);
        let operator = [Operator::Enabled, Operator::Enabled, Operator::Draining, Operator::Disabled][said as usize];
        let changed = self.pool.switch(&id, operator, self.now).expect("somebody has this id");
        let mut wanted = vec![];
        for member in self.pool.members().iter() {
            if *member.id == *id || *self.pool.config.upstreams[member.entry].id() == *id {
                let model = self.model(member);
                let before = model.state();
                seen.drained += usize::from(before == State::Evicted && operator != Operator::Enabled);
                model.operator = operator;
                if before != model.state() {
                    wanted.push((member.id.clone(), before, model.state()));
                }
            }
        }
        seen.switches += usize::from(!wanted.is_empty());
        let changed: Vec<_> = changed.into_iter().map(|(one, c)| (one.id.clone(), c.from, c.to)).collect();
        assert_eq!(changed, wanted);
        self.words.push((id, operator));
        assert!(self.pool.switch("nobody", operator, self.now).is_err());
    }

    /// The entry with the name.
    fn name(&self) -> usize {
        let is_name = |entry: &model::Entry| matches!(entry.address.host, Host::Name(_));
        self.pool.config.upstreams.iter().position(is_name).expect("it is there")
    }

    /// The name gets other addresses.
    fn names(&mut self, seen: &mut Seen) {
        let before = self.pool.members();
        let entry = self.name();
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
        assert_eq!(mine, list.iter().collect::<HashSet<_>>().len());
        let ids: HashSet<_> = after.iter().map(|upstream| &upstream.id).collect();
        assert_eq!(ids.len(), after.len(), "two upstreams with one id");
        self.meet(seen);
    }

    fn begin(&mut self) {
        let (pool, choice) = (Arc::clone(&self.pool), Choice::with_rng(&self.pool, self.rng.fork()));
        let (id, replayable) = (self.begun, self.rng.u8(..3) > 0);
        self.begun += 1;
        let (tried, renewed, pick, told) = (vec![], false, None, false);
        self.requests.push(Request { id, pool, choice, replayable, tried, renewed, pick, told });
    }

    /// The next thing that happens to a request: its attempt goes on, or ends, and it is done or makes the next one.
    fn step(&mut self, seen: &mut Seen) {
        if self.requests.is_empty() {
            return;
        }
        let index = self.rng.usize(..self.requests.len());
        let mut request = self.requests.swap_remove(index);
        if request.pick.is_some() {
            if self.goes_on(&mut request, seen) {
                self.requests.push(request);
                return;
            }
            if self.rng.u8(..3) == 0 {
                return; // answered, or nobody waits any more
            }
        }
        if self.chooses(&mut request, seen) {
            self.requests.push(request);
        }
    }

    /// The pool and the model agree on every member.
    fn compare(&self) {
        let members = self.pool.members();
        let model = |upstream: &Upstream| &self.models[&upstream.meter.key()];
        for upstream in members.iter() {
            let model = model(upstream);
            let look = upstream.health.look();
            assert_eq!(look.state(), model.state(), "{}", upstream.id);
            assert_eq!(look.checks_fail(), model.verdict == Some(false), "{}", upstream.id);
            assert_eq!(look.evicted_by_traffic(), model.away.is_some(), "{}", upstream.id);
            assert_eq!(upstream.in_flight.load(Ordering::Relaxed), model.in_flight, "{}", upstream.id);
            assert!(self.reloaded || model.in_flight <= upstream.limit, "{} is over its limit", upstream.id);
        }
        let of = |state: State| members.iter().filter(|upstream| model(upstream).state() == state).count();
        assert_eq!(self.pool.usable(), of(State::Ready));
    }
}

pub fn passive(rng: &mut Rng) -> Passive {
    let evict = Duration::from_millis(rng.u64(500..5000));
    Passive {
        connect_failures: NonZeroU32::new(rng.u32(0..4)),
        gateway_failures: NonZeroU32::new(rng.u32(0..4)),
        evict,
        evict_max: evict * rng.u32(1..9),
        max_evicted: [0, 34, 50, 80, 100][rng.usize(..5)],
    }
}

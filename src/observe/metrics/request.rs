//! What clients asked and got: by listener, route, method and code; how long it took; errors, retries and rescues.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::cause::Cause;
use crate::observe::{Exchange, Outcome};

use super::code::{CODES, Codes, METHODS, method_place};
use super::duration::{Durations, Histogram};
use super::shard::{Counter, Shards};

/// Listeners that left whose series go on.
const FORMER: usize = 8;

/// See the module. One for the life of a configuration; what it counts in goes over to the next
/// ([`Requests::renewed`]).
#[derive(Debug)]
pub struct Requests {
    /// Few, and known by their first letters: cheaper than a hash.
    listeners: BTreeMap<Arc<str>, usize>,
    routes: BTreeMap<Arc<str>, usize>,
    /// Name and pool of each route, both empty in the last place: a request without a route.
    ways: Vec<(Arc<str>, Arc<str>)>,
    /// By listener, then by way; behind those of all listeners those of one that is no more.
    asked: Vec<Arc<Shards<OnceLock<Box<Asked>>>>>,
    /// By way.
    took: Vec<Arc<Shards<Histogram>>>,
    /// Requests of each pool that are not those of its routes of now (modulo 2^64): a route that has left, or came to
    /// it with a past of its own.
    past: BTreeMap<Arc<str>, u64>,
    total: Arc<Total>,
    book: Arc<Mutex<Book>>,
}

#[derive(Debug, Default)]
struct Total {
    begun: Shards<Counter>,
    ended: Shards<Counter>,
}

/// Answers by method; codes are counted from the first request with that method on.
#[derive(Debug, Default)]
struct Asked([OnceLock<Box<Codes>>; METHODS.len()]);

/// What happens only when something goes wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rare {
    /// Errors that clients saw: pool (empty without one), status, cause.
    pub errors: BTreeMap<(Arc<str>, u16, Cause), u64>,
    /// Attempts after one that failed by this cause, by pool.
    pub retries: BTreeMap<(Arc<str>, Cause), u64>,
    /// Requests that were rescued, by pool.
    pub failovers: BTreeMap<Arc<str>, u64>,
}

/// The same, and whose it is.
#[derive(Debug, Default)]
struct Book {
    rare: Rare,
    /// The pools that there are; `None`: those of the first configuration.
    pools: Option<BTreeSet<Arc<str>>>,
}

impl Book {
    /// Series of pools that have left end, and none begins again with a request that ends late.
    fn renew(&mut self, pools: &BTreeSet<Arc<str>>) {
        self.pools = Some(pools.clone());
        let mut rare = std::mem::take(&mut self.rare);
        rare.errors.retain(|(pool, ..), _| self.has(pool));
        rare.retries.retain(|(pool, _), _| self.has(pool));
        rare.failovers.retain(|pool, _| self.has(pool));
        self.rare = rare;
    }

    fn has(&self, pool: &Arc<str>) -> bool {
        pool.is_empty() || self.pools.as_ref().is_none_or(|pools| pools.contains(pool))
    }
}

/// A series of answers: its labels, and how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers<'a> {
    /// The listener's name.
    pub listener: &'a str,
    /// The route's name; empty without one.
    pub route: &'a str,
    /// The pool's name; empty without one.
    pub pool: &'a str,
    /// See [`METHODS`].
    pub method: &'static str,
    /// A place in [`CODES`].
    pub code: usize,
    /// So many.
    pub count: u64,
}

impl Requests {
    /// For these listeners, and these routes with their pools (empty: the route answers itself).
    #[must_use]
    pub fn new(listeners: Vec<Arc<str>>, routes: Vec<(Arc<str>, Arc<str>)>) -> Self {
        let mut ways = routes;
        ways.push((Arc::from(""), Arc::from("")));
        let cells = (listeners.len() + 1) * ways.len();
        Self {
            routes: ways.iter().enumerate().map(|(index, (name, _))| (Arc::clone(name), index)).collect(),
            listeners: listeners.into_iter().enumerate().map(|(index, name)| (name, index)).collect(),
            asked: (0..cells).map(|_| Arc::default()).collect(),
            took: ways.iter().map(|_| Arc::default()).collect(),
            ways,
            past: BTreeMap::new(),
            total: Arc::default(),
            book: Arc::default(),
        }
    }

    /// The same for another configuration. Series whose labels stay go on in the same cells, those of requests that
    /// began before too; the others end. Listeners that left count as if they were there, the last [`FORMER`] of them:
    /// their connections drain, and their name may come back. `pools`: all that there are, with a route or without.
    #[must_use]
    pub fn renewed(
        &self,
        listeners: Vec<Arc<str>>,
        routes: Vec<(Arc<str>, Arc<str>)>,
        pools: &BTreeSet<Arc<str>>,
    ) -> Self {
        let mut former: Vec<(&Arc<str>, usize)> = self.listeners.iter().map(|(name, index)| (name, *index)).collect();
        former.sort_unstable_by_key(|(_, index)| *index);
        let former = former.into_iter().map(|(name, _)| name).filter(|name| !listeners.contains(name)).take(FORMER);
        let former: Vec<_> = former.cloned().collect();
        let mut new = Self::new(listeners.into_iter().chain(former).collect(), routes);
        // Read once, so that what ends meanwhile is counted once.
        let counts: Vec<u64> = self.took.iter().map(|took| took.all().map(Histogram::count).sum()).collect();
        let mut past = self.sums(&counts);
        past.retain(|pool, _| pool.is_empty() || pools.contains(pool));
        for (way, (route, pool)) in new.ways.iter().enumerate() {
            let Some(&old) = self.routes.get(route) else { continue };
            new.took[way] = Arc::clone(&self.took[old]);
            let sum = past.entry(Arc::clone(pool)).or_default();
            *sum = sum.wrapping_sub(counts[old]);
            if self.ways[old].1 != *pool {
                continue; // the labels of its answers are others
            }
            for (name, listener) in &new.listeners {
                if let Some(before) = self.listeners.get(name) {
                    let cells = &self.asked[before * self.ways.len() + old];
                    new.asked[listener * new.ways.len() + way] = Arc::clone(cells);
                }
            }
        }
        self.book().renew(pools);
        (new.past, new.total, new.book) = (past, Arc::clone(&self.total), Arc::clone(&self.book));
        new
    }

    /// A request's head is complete.
    pub fn begin(&self) {
        self.total.begun.mine().add();
    }

    /// A request has ended.
    pub fn end(&self, exchange: &Exchange) {
        self.total.ended.mine().add();
        let none = self.ways.len() - 1;
        let way = exchange.route.as_ref().and_then(|route| self.routes.get(route)).copied().unwrap_or(none);
        let listener = self.listeners.get(&exchange.listener).copied().unwrap_or(self.listeners.len());
        let asked = self.asked[listener * self.ways.len() + way].mine().get_or_init(Box::default);
        asked.0[method_place(&exchange.method)].get_or_init(Box::default).add(exchange.status);
        self.took[way].mine().observe(exchange.elapsed);
        if exchange.failure.is_some() || exchange.attempts.len() > 1 {
            self.went_wrong(exchange);
        }
    }

    fn went_wrong(&self, exchange: &Exchange) {
        let pool = exchange.pool.clone().unwrap_or_default();
        let mut book = self.book();
        if !book.has(&pool) {
            return;
        }
        let rare = &mut book.rare;
        if let Some(failure) = &exchange.failure {
            *rare.errors.entry((Arc::clone(&pool), exchange.status, failure.cause)).or_default() += 1;
        }
        for pair in exchange.attempts.windows(2) {
            // An answer that counts as a failure has the cause of a check that gets it.
            let cause = match &pair[0].outcome {
                Outcome::Failed(failure) => failure.cause,
                Outcome::Answered(_) => Cause::HealthStatus,
            };
            *rare.retries.entry((Arc::clone(&pool), cause)).or_default() += 1;
        }
        if exchange.rescued() {
            *rare.failovers.entry(pool).or_default() += 1;
        }
    }

    /// Requests that have begun and not ended.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        // The ended ones first: what ends in between was begun before.
        let ended: u64 = self.total.ended.all().map(Counter::get).sum();
        self.total.begun.all().map(Counter::get).sum::<u64>().saturating_sub(ended)
    }

    /// Every series with an answer in it.
    #[must_use]
    pub fn answers(&self) -> Vec<Answers<'_>> {
        let mut listeners: Vec<(&str, usize)> = self.listeners.iter().map(|(name, index)| (&**name, *index)).collect();
        listeners.sort_unstable_by_key(|(_, index)| *index);
        let mut answers = Vec::new();
        for (listener, index) in listeners {
            for (way, (route, pool)) in self.ways.iter().enumerate() {
                let cells = || self.asked[index * self.ways.len() + way].all().filter_map(OnceLock::get);
                for (place, method) in METHODS.into_iter().enumerate() {
                    let mut sum = [0; CODES.len() + 1];
                    for codes in cells().filter_map(|asked| asked.0[place].get()) {
                        sum.iter_mut().zip(codes.counts()).for_each(|(sum, here)| *sum += here);
                    }
                    let counted = sum.into_iter().enumerate().filter(|(_, count)| *count > 0);
                    answers.extend(counted.map(|(code, count)| Answers { listener, route, pool, method, code, count }));
                }
            }
        }
        answers
    }

    /// How long requests took: the route's name (empty: none), and the sum over all workers.
    #[must_use]
    pub fn durations(&self) -> Vec<(&str, Durations)> {
        let sum = |shards: &Shards<Histogram>| {
            let mut sum = Durations::default();
            shards.all().for_each(|histogram| histogram.add_to(&mut sum));
            sum
        };
        self.ways.iter().zip(&self.took).map(|((route, _), took)| (&**route, sum(took))).collect()
    }

    /// Requests that have ended, by pool; those without one under the empty name.
    #[must_use]
    pub fn by_pool(&self) -> BTreeMap<Arc<str>, u64> {
        let counts: Vec<u64> = self.took.iter().map(|took| took.all().map(Histogram::count).sum()).collect();
        self.sums(&counts)
    }

    /// By pool, where the routes have counted so many.
    fn sums(&self, counts: &[u64]) -> BTreeMap<Arc<str>, u64> {
        let mut sums = self.past.clone();
        for ((_, pool), count) in self.ways.iter().zip(counts) {
            let sum = sums.entry(Arc::clone(pool)).or_default();
            *sum = sum.wrapping_add(*count);
        }
        sums
    }

    /// What went wrong.
    #[must_use]
    pub fn troubles(&self) -> Rare {
        self.book().rare.clone()
    }

    /// A panic under this lock leaves at worst an error uncounted.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::{Duration, Instant, SystemTime};

    use http::Method;
    use proptest::prelude::*;

    use super::super::code::code_label;
    use super::super::shard::enter;
    use super::*;
    use crate::cause::Failure;
    use crate::observe::{Attempt, RequestId};

    fn requests() -> Requests {
        Requests::new(
            vec!["web".into(), "intern".into()],
            vec![("shop".into(), "app".into()), ("down".into(), "".into())],
        )
    }

    fn exchange(listener: &str, route: Option<&str>, status: u16) -> Exchange {
        let client = SocketAddr::from(([127, 0, 0, 1], 1));
        let began = (Instant::now(), SystemTime::now());
        let mut exchange = Exchange::new(RequestId::from("0123456789abcdef"), client, listener.into(), began);
        (exchange.route, exchange.status) = (route.map(Arc::from), status);
        exchange.pool = route.filter(|route| *route == "shop").map(|_| "app".into());
        exchange
    }

    fn attempt(outcome: Outcome) -> Attempt {
        Attempt {
            upstream: "a:1".into(),
            ordinal: 1,
            authority: "a:1".into(),
            protocol: "http/1.1",
            outcome,
            reused: false,
            connect: None,
            head: None,
            elapsed: Duration::ZERO,
            last_resort: false,
            finding: None,
        }
    }

    #[test]
    fn every_answer_is_in_one_series_whoever_counted_it() {
        let requests = requests();
        let count = |worker: usize| {
            enter(worker);
            for (listener, route, status) in [
                ("web", Some("shop"), 200),
                ("web", None, 404),
                ("intern", Some("down"), 503),
                ("web", Some("shop"), 299),
            ] {
                requests.begin();
                requests.end(&Exchange { method: Method::PUT, ..exchange(listener, route, status) });
            }
        };
        std::thread::scope(|scope| {
            (0..3).for_each(|worker| drop(scope.spawn(move || count(worker))));
        });
        let answers = requests.answers();
        let said: Vec<_> =
            answers.iter().map(|a| (a.listener, a.route, a.pool, a.method, code_label(a.code), a.count)).collect();
        let wanted = [
            ("web", "shop", "app", "PUT", "200".to_owned(), 3),
            ("web", "shop", "app", "PUT", "other".to_owned(), 3),
            ("web", "", "", "PUT", "404".to_owned(), 3),
            ("intern", "down", "", "PUT", "503".to_owned(), 3),
        ];
        assert_eq!(said, wanted);
        assert_eq!(requests.in_flight(), 0);
        let took: Vec<_> = requests.durations().into_iter().map(|(route, took)| (route, took.count())).collect();
        assert_eq!(took, [("shop", 6), ("down", 3), ("", 3)]);
    }

    #[test]
    fn what_went_wrong_is_counted_by_cause() {
        let requests = requests();
        let refused = || Arc::new(Failure::new(Cause::ConnectionRefused));
        let mut rescued = exchange("web", Some("shop"), 200);
        rescued.attempts = vec![attempt(Outcome::Failed(refused())), attempt(Outcome::Answered(200))];
        requests.end(&rescued);
        let mut failed = exchange("web", Some("shop"), 502);
        failed.attempts = vec![attempt(Outcome::Failed(refused()))];
        failed.failure = Some(refused());
        requests.end(&failed);
        let rare = requests.troubles();
        let app: Arc<str> = "app".into();
        assert_eq!(rare.errors, [((app.clone(), 502, Cause::ConnectionRefused), 1)].into());
        assert_eq!(rare.retries, [((app.clone(), Cause::ConnectionRefused), 1)].into());
        assert_eq!(rare.failovers, [(app, 1)].into());
    }

    #[test]
    fn series_whose_labels_stay_go_on_and_the_others_end() {
        let one = requests();
        let failed = |pool: &str, route: &str| {
            let mut exchange = exchange("web", Some(route), 502);
            exchange.pool = Some(pool.into());
            exchange.failure = Some(Arc::new(Failure::new(Cause::ConnectionRefused)));
            exchange
        };
        let begin_and_end = |requests: &Requests, exchange: &Exchange| {
            requests.begin();
            requests.end(exchange);
        };
        begin_and_end(&one, &exchange("web", Some("shop"), 200));
        begin_and_end(&one, &exchange("intern", Some("shop"), 200));
        begin_and_end(&one, &failed("app", "shop"));
        one.begin();
        // A listener goes, one comes, and the routes stand in another order.
        let routes = |pool: &str| vec![("new".into(), "late".into()), ("shop".into(), pool.into())];
        let pools = |list: &[&str]| list.iter().map(|pool| (*pool).into()).collect::<BTreeSet<Arc<str>>>();
        let two = one.renewed(vec!["other".into(), "web".into()], routes("app"), &pools(&["app", "late"]));
        assert_eq!((one.in_flight(), two.in_flight()), (1, 1));
        one.end(&failed("app", "shop"));
        begin_and_end(&two, &exchange("web", Some("shop"), 200));
        begin_and_end(&two, &exchange("gone", Some("new"), 200));
        let said = |requests: &Requests| -> Vec<(String, String, String, u64)> {
            let all = requests.answers();
            all.iter().map(|a| (a.listener.into(), a.route.into(), code_label(a.code), a.count)).collect()
        };
        let series =
            |listener: &str, route: &str, code: &str, count| (listener.into(), route.into(), code.into(), count);
        let intern = series("intern", "shop", "200", 1);
        let web = [series("web", "shop", "200", 2), series("web", "shop", "502", 2)];
        assert_eq!(said(&two), [&web[..], std::slice::from_ref(&intern)].concat(), "one that left counts on");
        let back = two.renewed(vec!["intern".into()], routes("app"), &pools(&["app", "late"]));
        assert_eq!(said(&back), [&[intern], &web[..]].concat(), "and is the same when it comes back");
        assert_eq!((two.in_flight(), two.by_pool()[&Arc::from("app")], two.by_pool()[&Arc::from("late")]), (0, 5, 1));
        assert_eq!(two.troubles().errors, [(("app".into(), 502, Cause::ConnectionRefused), 2)].into());
        // The route goes to another pool: its answers are other series, its durations are not, and each pool has its
        // own.
        let three = two.renewed(vec!["web".into()], routes("late"), &pools(&["app", "late"]));
        let took = |requests: &Requests| -> BTreeMap<String, u64> {
            requests.durations().into_iter().map(|(route, took)| (route.to_owned(), took.count())).collect()
        };
        assert_eq!((said(&three), took(&three)["shop"]), (vec![], 5));
        assert_eq!((three.by_pool()[&Arc::from("app")], three.by_pool()[&Arc::from("late")]), (5, 1));
        begin_and_end(&three, &failed("late", "shop"));
        assert_eq!((three.by_pool()[&Arc::from("app")], three.by_pool()[&Arc::from("late")]), (5, 2));
        // The pool goes, and what ends late begins no series again.
        let four = three.renewed(vec!["web".into()], routes("late"), &pools(&["late"]));
        two.end(&failed("app", "shop"));
        assert_eq!(four.troubles().errors, [(("late".into(), 502, Cause::ConnectionRefused), 1)].into());
        assert_eq!(four.by_pool().keys().map(|pool| &**pool).collect::<Vec<_>>(), ["", "late"]);
    }

    proptest! {
        /// However configurations follow each other, and whichever of them a request ends in: nothing is lost but with
        /// its labels, and nothing goes down.
        #[test]
        fn no_counter_goes_down(
            files in proptest::collection::vec(proptest::collection::vec((0..3_u8, 0..3_u8), 0..4), 1..8),
            ends in proptest::collection::vec((0..8_usize, 0..3_u8, 0..8_usize), 0..60),
        ) {
            let (mut all, mut ends) = (vec![requests()], ends.into_iter());
            let pools: BTreeSet<Arc<str>> = ["app", "0", "1", "2"].map(Arc::from).into();
            for file in files {
                let mut ways: BTreeMap<u8, u8> = BTreeMap::new();
                ways.extend(file);
                let routes = ways.iter().map(|(route, pool)| (route.to_string().into(), pool.to_string().into())).collect();
                let last = all.last().unwrap();
                let (took, by_pool) = (last.durations(), last.by_pool());
                let next = last.renewed(vec!["web".into()], routes, &pools);
                for (route, now) in next.durations() {
                    let before = took.iter().find(|(name, _)| *name == route).map_or(0, |(_, took)| took.count());
                    prop_assert_eq!(now.count(), before);
                }
                for (pool, now) in next.by_pool() {
                    prop_assert_eq!(now, by_pool.get(&pool).copied().unwrap_or_default(), "{}", pool);
                }
                all.push(next);
                for (which, route, _) in ends.by_ref().take(6) {
                    let requests = &all[which % all.len()];
                    requests.begin();
                    requests.end(&exchange("web", Some(&route.to_string()), 200));
                }
                let last = all.last().unwrap();
                prop_assert!(last.by_pool().values().all(|count| *count < 1000), "{:?}", last.by_pool());
                prop_assert_eq!(last.in_flight(), 0);
            }
        }
    }

    #[test]
    fn what_has_begun_and_not_ended_is_in_flight() {
        let requests = requests();
        requests.begin();
        requests.begin();
        requests.end(&exchange("web", None, 404));
        assert_eq!(requests.in_flight(), 1);
    }
}

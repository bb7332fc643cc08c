//! What clients asked and got: by listener, route, method and code; how long it took; errors, retries and rescues.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::cause::Cause;
use crate::observe::{Exchange, Outcome};

use super::code::{CODES, Codes, METHODS, method_place};
use super::duration::{Durations, Histogram};
use super::shard::{Counter, Shards};

/// See the module. One for the life of a configuration.
#[derive(Debug)]
pub struct Requests {
    /// Few, and known by their first letters: cheaper than a hash.
    listeners: BTreeMap<Arc<str>, usize>,
    routes: BTreeMap<Arc<str>, usize>,
    /// Name and pool of each route, both empty in the last place: a request without a route.
    ways: Vec<(Arc<str>, Arc<str>)>,
    /// By listener, then by way.
    asked: Vec<Shards<OnceLock<Box<Asked>>>>,
    /// By way.
    took: Vec<Shards<Histogram>>,
    begun: Shards<Counter>,
    ended: Shards<Counter>,
    rare: Mutex<Rare>,
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
        let cells = listeners.len().max(1) * ways.len();
        Self {
            routes: ways.iter().enumerate().map(|(index, (name, _))| (Arc::clone(name), index)).collect(),
            listeners: listeners.into_iter().enumerate().map(|(index, name)| (name, index)).collect(),
            asked: (0..cells).map(|_| Shards::default()).collect(),
            took: ways.iter().map(|_| Shards::default()).collect(),
            ways,
            begun: Shards::default(),
            ended: Shards::default(),
            rare: Mutex::default(),
        }
    }

    /// A request's head is complete.
    pub fn begin(&self) {
        self.begun.mine().add();
    }

    /// A request has ended.
    pub fn end(&self, exchange: &Exchange) {
        self.ended.mine().add();
        let none = self.ways.len() - 1;
        let way = exchange.route.as_ref().and_then(|route| self.routes.get(route)).copied().unwrap_or(none);
        let listener = self.listeners.get(&exchange.listener).copied().unwrap_or_default();
        let asked = self.asked[listener * self.ways.len() + way].mine().get_or_init(Box::default);
        asked.0[method_place(&exchange.method)].get_or_init(Box::default).add(exchange.status);
        self.took[way].mine().observe(exchange.elapsed);
        if exchange.failure.is_some() || exchange.attempts.len() > 1 {
            self.went_wrong(exchange);
        }
    }

    fn went_wrong(&self, exchange: &Exchange) {
        let pool = exchange.pool.clone().unwrap_or_default();
        let mut rare = self.rare();
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
        let ended: u64 = self.ended.all().map(Counter::get).sum();
        self.begun.all().map(Counter::get).sum::<u64>().saturating_sub(ended)
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
        let mut sums: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        for ((_, pool), took) in self.ways.iter().zip(&self.took) {
            *sums.entry(Arc::clone(pool)).or_default() += took.all().map(Histogram::count).sum::<u64>();
        }
        sums
    }

    /// What went wrong.
    #[must_use]
    pub fn troubles(&self) -> Rare {
        self.rare().clone()
    }

    /// A panic under this lock leaves at worst an error uncounted.
    fn rare(&self) -> MutexGuard<'_, Rare> {
        self.rare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::{Duration, Instant, SystemTime};

    use http::Method;

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
    fn what_has_begun_and_not_ended_is_in_flight() {
        let requests = requests();
        requests.begin();
        requests.begin();
        requests.end(&exchange("web", None, 404));
        assert_eq!(requests.in_flight(), 1);
    }
}

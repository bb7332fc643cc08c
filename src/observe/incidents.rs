//! The failed requests of late, whole, for whoever asks afterwards: the last 1,000 that causeway or its upstreams
//! failed, and apart from them the last 200 that were the client's own fault or had no route, so that a scanner pushes
//! out nobody.
//!
//! A worker that keeps one makes a copy that is bounded and holds no buffer of a connection, and takes a short lock:
//! half a microsecond, no I/O, no wait. What is kept never exceeds [`MEMORY`], whatever clients and upstreams send.
//! Nothing here is written anywhere.

mod copy;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::cause::{Cause, Fault};

use super::exchange::Exchange;

/// So many requests that failed are kept.
pub const MOST: usize = 1000;
/// So many of the clients' own faults.
pub const MOST_OF_CLIENTS: usize = 200;
/// All of them together take no more bytes than this. A usual one takes 2 to 3 KiB; only pools of dozens of upstreams,
/// or clients with the longest targets, make it fewer than [`MOST`].
pub const MEMORY: usize = 18 << 20;
const MEMORY_OF_CLIENTS: usize = 2 << 20;

/// The beginning of an id that is enough to find it.
pub const ENOUGH: usize = 8;

/// One failed request.
#[derive(Debug)]
pub struct Incident {
    /// causeway's own number for it, from 1 at its start: an id may come twice, this one does not.
    pub sequence: u64,
    /// The record, cut to bounds: see [`Omitted`].
    pub exchange: Exchange,
    /// What the record had more.
    pub omitted: Omitted,
}

/// What did not fit into an [`Incident`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Omitted {
    /// Rows of attempts behind the first 64.
    pub attempts: usize,
    /// Rows of upstreams that were not tried behind the first 64.
    pub not_tried: usize,
    /// Bytes of the request's target behind the first 1,024.
    pub target: usize,
}

/// See the module. Shared by all workers and the admin.
#[derive(Debug)]
pub struct Incidents {
    recorded: AtomicU64,
    ours: Mutex<Ring>,
    clients: Mutex<Ring>,
}

/// How many there are, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Kept now.
    pub kept: usize,
    /// Recorded since the start.
    pub recorded: u64,
    /// When the oldest of them began.
    pub since: Option<SystemTime>,
}

impl Default for Incidents {
    fn default() -> Self {
        Self {
            recorded: AtomicU64::new(0),
            ours: Mutex::new(Ring::new(MOST, MEMORY - MEMORY_OF_CLIENTS)),
            clients: Mutex::new(Ring::new(MOST_OF_CLIENTS, MEMORY_OF_CLIENTS)),
        }
    }
}

impl Incidents {
    /// Keeps this exchange, which has ended, if it failed.
    pub fn record(&self, exchange: &Exchange) {
        let Some(whose) = Whose::of(exchange) else { return };
        let sequence = self.recorded.fetch_add(1, Ordering::Relaxed) + 1;
        let incident = Arc::new(copy::of(exchange, sequence));
        let weight = copy::weight(&incident);
        let ring = match whose {
            Whose::Ours => &self.ours,
            Whose::Client => &self.clients,
        };
        // Each that has to go is let go of outside of the lock: it is a dozen allocations.
        while let Some(gone) = lock(ring).keep(weight, &incident) {
            drop(gone);
        }
    }

    /// All that are kept, the newest first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Incident>> {
        let mut all: Vec<_> = lock(&self.ours).kept.iter().map(|(_, incident)| Arc::clone(incident)).collect();
        all.extend(lock(&self.clients).kept.iter().map(|(_, incident)| Arc::clone(incident)));
        all.sort_unstable_by_key(|incident| std::cmp::Reverse(incident.sequence));
        all
    }

    /// Those with this id, else those whose id begins so (with [`ENOUGH`] characters), the newest first.
    #[must_use]
    pub fn find(&self, id: &str) -> Vec<Arc<Incident>> {
        let (mut found, all) = (Vec::new(), self.all());
        if all.iter().any(|incident| *incident.exchange.request_id == *id) {
            found.extend(all.into_iter().filter(|incident| *incident.exchange.request_id == *id));
        } else if id.len() >= ENOUGH {
            found.extend(all.into_iter().filter(|incident| incident.exchange.request_id.starts_with(id)));
        }
        found
    }

    /// How many there are, and since when.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let all = self.all();
        let since = all.iter().map(|incident| incident.exchange.at).min();
        Standing { kept: all.len(), recorded: self.recorded.load(Ordering::Relaxed), since }
    }
}

/// Whose fault it was that a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// causeway's, the network's or an upstream's.
    Ours,
    /// The client's own; or it asked for what nobody offers.
    Client,
}

impl Whose {
    /// `None`: nothing failed, or a client went away in the midst of its answer, as many do.
    fn of(exchange: &Exchange) -> Option<Self> {
        let cause = exchange.failure.as_ref()?.cause;
        match cause {
            Cause::ClientClosed if exchange.answering().is_some() => None,
            // It did not wait for the end of an error of causeway's own.
            Cause::ClientClosed if (500..600).contains(&exchange.status) => Some(Self::Ours),
            Cause::NoRoute => Some(Self::Client),
            _ if cause.row().fault == Fault::Client => Some(Self::Client),
            _ => Some(Self::Ours),
        }
    }
}

/// The newest ones that fit, each with its weight, the oldest first.
#[derive(Debug)]
struct Ring {
    kept: VecDeque<(usize, Arc<Incident>)>,
    most: usize,
    weight: usize,
    memory: usize,
}

impl Ring {
    const fn new(most: usize, memory: usize) -> Self {
        Self { kept: VecDeque::new(), most, weight: 0, memory }
    }

    /// Keeps it if there is room, else makes some and gives back what has to go: to be asked again then.
    fn keep(&mut self, weight: usize, incident: &Arc<Incident>) -> Option<Arc<Incident>> {
        if self.kept.len() < self.most && self.weight + weight <= self.memory {
            self.kept.push_back((weight, Arc::clone(incident)));
            self.weight += weight;
            return None;
        }
        let (weight, gone) = self.kept.pop_front()?;
        self.weight -= weight;
        Some(gone)
    }
}

/// A panic under this lock leaves at worst one incident less.
fn lock(ring: &Mutex<Ring>) -> MutexGuard<'_, Ring> {
    ring.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant, UNIX_EPOCH};

    use http::{HeaderValue, Method};
    use proptest::prelude::*;

    use super::super::exchange::{Attempt, EndedBy, NotTried, Outcome, Reason};
    use super::*;
    use crate::cause::{Failure, Finding};
    use crate::health::State;

    fn exchange(id: &str) -> Exchange {
        let client = "127.0.0.1:50000".parse().unwrap();
        Exchange::new(id.into(), client, "web".into(), (Instant::now(), UNIX_EPOCH + Duration::from_secs(1)))
    }

    fn failed(id: &str, cause: Cause) -> Exchange {
        let status = cause.row().status;
        Exchange { status, failure: Some(Arc::new(Failure::new(cause))), ended_by: EndedBy::Proxy, ..exchange(id) }
    }

    fn attempt(failure: &Arc<Failure>) -> Attempt {
        Attempt {
            upstream: "127.0.0.1:3000".into(),
            ordinal: 1,
            authority: "127.0.0.1:3000".into(),
            protocol: "http/1.1",
            outcome: Outcome::Failed(Arc::clone(failure)),
            reused: false,
            connect: None,
            head: None,
            elapsed: Duration::from_micros(300),
            last_resort: false,
            finding: None,
        }
    }

    /// As large as anybody can make one.
    fn huge(id: &str) -> Exchange {
        let long = "x".repeat(70_000);
        let mut exchange = failed(id, Cause::NotHttp);
        exchange.uri = format!("/{long}").parse().unwrap_or_else(|_| format!("/{}", &long[..60_000]).parse().unwrap());
        exchange.method = Method::from_bytes(&long.as_bytes()[..30_000]).unwrap();
        exchange.host = Some(HeaderValue::from_str(&long).unwrap());
        exchange.user_agent = Some(HeaderValue::from_str(&long).unwrap());
        exchange.referer = Some(HeaderValue::from_str(&long).unwrap());
        let failure = || {
            let mut failure = Failure::new(Cause::NotHttp).limit(&long).seen(&long);
            failure.oversize =
                Some(Box::new(crate::cause::Oversize { size: 1, whole: true, largest: Some((long.clone(), 70_000)) }));
            Arc::new(failure)
        };
        let finding = Some(Arc::new(Finding::new(Cause::NotHttp, long.clone()).write(long.clone()).command(&*long)));
        exchange.attempts = (0..200).map(|_| Attempt { finding: finding.clone(), ..attempt(&failure()) }).collect();
        let Outcome::Failed(lead) = &exchange.attempts[0].outcome else { panic!() };
        exchange.failure = Some(Arc::clone(lead));
        let skip = NotTried {
            upstream: "b".into(),
            ordinal: 2,
            authority: "127.0.0.1:3001".into(),
            reason: Reason::Final,
            state: State::Ready,
            last_failure: Some((Cause::HealthStatus, long.clone())),
            finding,
            in_flight_limit: None,
            by_traffic: false,
            since: UNIX_EPOCH,
            held_for: Duration::ZERO,
            next_check: None,
            ends_in: None,
        };
        exchange.not_tried = vec![skip; 100];
        exchange
    }

    fn ids(found: &[Arc<Incident>]) -> Vec<&str> {
        found.iter().map(|incident| &*incident.exchange.request_id).collect()
    }

    #[test]
    fn what_is_kept_and_where() {
        let incidents = Incidents::default();
        incidents.record(&Exchange { status: 503, ..exchange("an-upstreams-own-503") });
        let mut gone = Exchange { status: 200, ..failed("gone-while-it-read", Cause::ClientClosed) };
        gone.attempts =
            vec![Attempt { outcome: Outcome::Answered(200), ..attempt(&Arc::new(Failure::new(Cause::ClientClosed))) }];
        incidents.record(&gone);
        assert_eq!(incidents.standing(), Standing { kept: 0, recorded: 0, since: None });
        for (id, cause) in [("refused", Cause::ConnectionRefused), ("no-route", Cause::NoRoute)] {
            incidents.record(&failed(id, cause));
        }
        incidents.record(&Exchange { status: 200, ..failed("cut-after-its-head", Cause::TruncatedBody) });
        incidents.record(&failed("gone-before-its-answer", Cause::ClientClosed));
        incidents.record(&Exchange { status: 502, ..failed("gone-before-its-502", Cause::ClientClosed) });
        let all = incidents.all();
        let wanted = ["gone-before-its-502", "gone-before-its-answer", "cut-after-its-head", "no-route", "refused"];
        assert_eq!(ids(&all), wanted);
        assert_eq!((lock(&incidents.ours).kept.len(), lock(&incidents.clients).kept.len()), (3, 2));
        let since = Some(UNIX_EPOCH + Duration::from_secs(1));
        assert_eq!(incidents.standing(), Standing { kept: 5, recorded: 5, since });
    }

    #[test]
    fn a_scanner_pushes_out_nobody_but_others_like_it() {
        let incidents = Incidents::default();
        for number in 0..MOST + 5 {
            incidents.record(&failed(&format!("refused-{number:08}"), Cause::ConnectionRefused));
        }
        for number in 0..5000 {
            incidents.record(&failed(&format!("scanner-{number:08}"), Cause::NoRoute));
        }
        let all = incidents.all();
        assert_eq!(all.len(), MOST + MOST_OF_CLIENTS);
        assert_eq!(&*all[0].exchange.request_id, "scanner-00004999");
        assert!(incidents.find("refused-00000004").is_empty() && incidents.find("refused-00000005").len() == 1);
        assert!(all.is_sorted_by_key(|incident| std::cmp::Reverse(incident.sequence)));
    }

    #[test]
    fn an_id_is_found_by_its_beginning_and_all_that_have_it_are() {
        let incidents = Incidents::default();
        for id in ["4f6c2a91b07de358", "chosen-by-a-peer", "4f6c2a91ffffffff", "chosen-by-a-peer", "4f6c2a91"] {
            incidents.record(&failed(id, Cause::ReadTimeout));
        }
        let sequences = |id: &str| incidents.find(id).iter().map(|incident| incident.sequence).collect::<Vec<_>>();
        assert_eq!(sequences("chosen-by-a-peer"), [4, 2]);
        assert_eq!(sequences("4f6c2a91"), [5], "the whole of one goes before the beginning of others");
        assert_eq!(sequences("4f6c2a91b"), [1]);
        assert_eq!(sequences("chosen-b"), [4, 2]);
        assert!(sequences("4f6c2a9").is_empty(), "too short");
        assert!(sequences("nobody-has-this").is_empty());
    }

    #[test]
    fn memory_has_a_bound_whatever_is_sent() {
        let incidents = Incidents::default();
        let huge = huge("huge-one");
        incidents.record(&huge);
        let [one] = &incidents.all()[..] else { panic!() };
        let omitted = Omitted { attempts: 136, not_tried: 36, target: one.omitted.target };
        assert_eq!((one.omitted, one.omitted.target > 50_000), (omitted, true));
        let kept = &one.exchange;
        assert!(kept.uri.path().len() == 1024 && kept.method.as_str().len() <= 64 && kept.referer.is_none());
        assert!(kept.host.as_ref().unwrap().len() == 256 && kept.user_agent.as_ref().unwrap().len() == 256);
        let Outcome::Failed(first) = &kept.attempts[0].outcome else { panic!() };
        assert!(Arc::ptr_eq(first, kept.failure.as_ref().unwrap()), "it is still that attempt that leads");
        assert!(first.seen.as_ref().unwrap().len() <= 515 && copy::weight(one) < 512 << 10, "{}", copy::weight(one));
        for _ in 0..150 {
            incidents.record(&huge);
        }
        let all = incidents.all();
        let weight: usize = all.iter().map(|incident| copy::weight(incident)).sum();
        assert!(all.len() > 30 && weight <= MEMORY, "{} of them, {weight} bytes", all.len());
        for number in 0..MOST {
            incidents.record(&failed(&format!("small-{number:08}"), Cause::ConnectionRefused));
        }
        assert_eq!(incidents.all().len(), MOST, "small ones have room again");
    }

    /// By hand, in a release build: `cargo test --release what_one_costs -- --ignored --nocapture`.
    #[test]
    #[ignore = "measures"]
    fn what_one_costs() {
        let incidents = Incidents::default();
        let mut exchange = failed("4f6c2a91b07de358c1a4e9d2637f8b05", Cause::ConnectionRefused);
        exchange.uri = "/orders/4711?page=2".parse().unwrap();
        exchange.host = Some(HeaderValue::from_static("shop.example"));
        exchange.user_agent = Some(HeaderValue::from_static("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Firefox/128.0"));
        let failure = Arc::new(Failure::new(Cause::ConnectionRefused).from(std::io::Error::from_raw_os_error(111)));
        exchange.attempts = (0..3).map(|_| attempt(&failure)).collect();
        exchange.failure = Some(failure);
        let each = |threads: u32| {
            let begun = Instant::now();
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| (0..200_000).for_each(|_| incidents.record(&exchange)));
                }
            });
            begun.elapsed().as_nanos() / 200_000
        };
        let (alone, both) = (each(1), each(2));
        let weight = copy::weight(&incidents.all()[0]);
        println!("{alone} ns each, {both} ns with two at once; {weight} bytes each with three attempts");
        assert!(alone < 20_000, "50,000 a second would keep a worker busy");
    }

    #[test]
    fn a_copy_pins_no_buffer() {
        let buffer = bytes::Bytes::from(b"/path-of-a-large-buffer".to_vec());
        let mut exchange = failed("a-request-id", Cause::ConnectionRefused);
        exchange.uri = http::Uri::from_maybe_shared(buffer.clone()).unwrap();
        exchange.host = HeaderValue::from_maybe_shared(buffer.slice(1..)).ok();
        let incidents = Incidents::default();
        incidents.record(&exchange);
        let [one] = &incidents.all()[..] else { panic!() };
        assert_eq!((&one.exchange.uri, &one.exchange.host), (&exchange.uri, &exchange.host));
        drop(exchange);
        assert!(buffer.is_unique(), "nobody else holds it");
    }

    proptest! {
        #[test]
        fn the_newest_are_kept_in_order_and_both_bounds_hold(weights in proptest::collection::vec(1..60_usize, 0..80)) {
            let mut ring = Ring::new(10, 100);
            for (index, weight) in weights.iter().enumerate() {
                let incident = Arc::new(copy::of(&failed("a-request-id", Cause::Bug), index as u64));
                let mut gone = None;
                while let Some(one) = ring.keep(*weight, &incident) {
                    gone = Some(weights[one.sequence as usize]);
                }
                prop_assert!(ring.kept.len() <= 10 && ring.weight <= 100);
                prop_assert_eq!(ring.weight, ring.kept.iter().map(|(weight, _)| weight).sum::<usize>());
                let first = index + 1 - ring.kept.len();
                prop_assert!(ring.kept.iter().map(|(_, kept)| kept.sequence).eq((first..=index).map(|n| n as u64)));
                let in_vain = gone.is_some_and(|gone| ring.kept.len() < 10 && ring.weight + gone <= 100);
                prop_assert!(!in_vain, "what went last could have stayed");
            }
        }

        #[test]
        fn any_target_is_kept_up_to_its_bound(target in "[!-~&&[^#\"<>\\\\^`{|}]]{0,40}", repeat in 1..80_usize) {
            let Ok(uri) = format!("/{}", target.repeat(repeat)).parse::<http::Uri>() else { return Ok(()) };
            let mut exchange = failed("a-request-id", Cause::ConnectionRefused);
            exchange.uri = uri.clone();
            let kept = copy::of(&exchange, 1);
            let (whole, cut) = (uri.to_string(), kept.exchange.uri.to_string());
            prop_assert!(whole.starts_with(&cut));
            prop_assert_eq!(cut.len() + kept.omitted.target, whole.len());
            prop_assert!(cut.len() == whole.len().min(1024));
        }
    }
}

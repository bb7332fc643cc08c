//! One choice by each rule, of upstreams that are all ready and busy, as many and as far apart in memory as those of a pool.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use causeway::config::model::{Balance, HashKey};
use causeway::pool::balance::{Ask, Balancer, Candidates, Latency, Member, Share, token};
use fastrand::Rng;

use super::cases::Case;

/// What of an upstream a choice looks at.
struct One {
    state: AtomicU8,
    in_flight: AtomicUsize,
    recovered: AtomicU64,
    latency: Latency,
}

struct All(Vec<Arc<One>>, Instant);

impl Candidates for All {
    fn rank(&self, index: usize) -> Option<u8> {
        match self.0[index].state.load(Ordering::Relaxed) {
            0 => Some(0),
            1 => Some(1),
            _ => None,
        }
    }
    fn in_flight(&self, index: usize) -> usize {
        self.0[index].in_flight.load(Ordering::Relaxed)
    }
    fn share(&self, index: usize) -> Share {
        match self.0[index].recovered.load(Ordering::Relaxed) {
            0 => Share::FULL,
            ms => growing(self.1, ms),
        }
    }
    fn latency(&self, index: usize) -> &Latency {
        &self.0[index].latency
    }
    fn now(&self) -> Instant {
        self.1
    }
}

#[cold]
fn growing(since: Instant, ms: u64) -> Share {
    Share::after(since.elapsed() + Duration::from_millis(ms), Duration::from_secs(10))
}

/// A hash of the client's address.
pub(super) const HASH: Balance = Balance::Hash(HashKey::ClientIp);

/// All of one weight, or of weights from 1 to 100.
pub(super) fn choose(rule: &Balance, upstreams: usize, weighted: bool) -> Case {
    let start = Instant::now();
    let mut rng = Rng::with_seed(4711);
    let one = |index: usize| {
        let latency = Latency::new(start);
        latency.observe(Duration::from_micros(900 + index as u64), start);
        let in_flight = AtomicUsize::new(1 + index % 5);
        Arc::new(One { state: AtomicU8::new(0), in_flight, recovered: AtomicU64::new(0), latency })
    };
    let all = All((0..upstreams).map(one).collect(), start + Duration::from_millis(20));
    let member = |index: usize| Member {
        token: token("app", &format!("10.0.{}.{}:80", index / 256, index % 256)),
        weight: if weighted { 1 + (index % 100) as u8 } else { 1 },
    };
    let balancer = Balancer::new(rule, &(0..upstreams).map(member).collect::<Vec<_>>(), None);
    Box::new(move || {
        let key = Some(rng.u64(..));
        let ask = Ask { rng: &mut rng, key, preferred: None };
        black_box(black_box(&balancer).choose(ask, black_box(&all)));
    })
}

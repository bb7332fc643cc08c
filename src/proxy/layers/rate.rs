//! `rate_limit`: so many requests for each client address, an IPv6 one by its /64, in a table that cannot grow.
//!
//! The rule is GCRA: one number for each client, the time at which it would be back to nothing. So "100/s" lets 100
//! through at once, and then one every 10 ms; there is no window at whose edge twice as many pass. Answers carry
//! RateLimit-Limit, RateLimit-Remaining and RateLimit-Reset (whole seconds until all are back), the fields of
//! draft-ietf-httpapi-ratelimit-headers that clients know.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue};

use crate::cause::{Cause, Failure};
use crate::config::model::Rate;

use super::Visit;
use super::gate::{Fields, Gate, Word};

/// The table's parts, each with a lock of its own.
const SHARDS: usize = 64;
/// Clients in each part: 65,536 in all, about 3 MiB when all are there.
const ROOM: usize = 1024;

/// A rate, in nanoseconds: at most so much may a client be ahead of the clock.
#[derive(Clone, Copy, Debug)]
struct Rule {
    /// Between two requests of a client that is at its limit.
    each: u64,
    /// For all of a burst.
    burst: u64,
    count: u32,
}

/// What came of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Verdict {
    /// `Some`: not now; in so long the next one passes.
    again: Option<Duration>,
    remaining: u64,
    /// Until all are back.
    reset: Duration,
}

impl Rule {
    fn of(rate: Rate) -> Self {
        let each = (u64::try_from(rate.per.as_nanos()).unwrap_or(u64::MAX) / u64::from(rate.count)).max(1);
        Self { each, burst: each * u64::from(rate.count), count: rate.count }
    }

    /// Counts a request at this time. `back`: when its client would be back to nothing.
    fn count(&self, back: &AtomicU64, now: u64) -> Verdict {
        let step = |back: u64| {
            let next = back.max(now) + self.each;
            (next - now <= self.burst).then_some(next)
        };
        let (again, ahead) = match back.fetch_update(Relaxed, Relaxed, step) {
            Ok(before) => (None, before.max(now) + self.each - now),
            Err(before) => {
                let ahead = before.saturating_sub(now);
                (Some(Duration::from_nanos((ahead + self.each).saturating_sub(self.burst))), ahead)
            }
        };
        let remaining = if again.is_some() { 0 } else { self.burst.saturating_sub(ahead) / self.each };
        Verdict { again, remaining, reset: Duration::from_nanos(ahead) }
    }
}

/// The counters of one route.
#[derive(Debug)]
pub(super) struct Limiter {
    rule: Rule,
    rate: Rate,
    began: Instant,
    keyed: RandomState,
    shards: Box<[RwLock<HashMap<u64, AtomicU64>>]>,
}

impl Limiter {
    pub(super) fn new(rate: Rate, began: Instant) -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::default()).collect();
        Self { rule: Rule::of(rate), rate, began, keyed: RandomState::new(), shards }
    }

    /// What it lets through.
    pub(super) const fn rate(&self) -> Rate {
        self.rate
    }

    fn count(&self, client: IpAddr, now: Instant) -> Verdict {
        let now = u64::try_from(now.saturating_duration_since(self.began).as_nanos()).unwrap_or(u64::MAX / 2);
        let key = key(client);
        // Which clients share a part is nobody's to choose.
        let shard = &self.shards[self.keyed.hash_one(key) as usize % SHARDS];
        if let Some(back) = shard.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return self.rule.count(back, now);
        }
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        if shard.len() >= ROOM && !shard.contains_key(&key) {
            make_room(&mut shard, now);
        }
        self.rule.count(shard.entry(key).or_default(), now)
    }
}

/// Those that are back to nothing are as good as new. If there is none, the one that is nearest to it goes: whoever
/// comes from many addresses pushes out those that have asked for little, never the counter of one that is at its
/// limit.
fn make_room(shard: &mut HashMap<u64, AtomicU64>, now: u64) {
    shard.retain(|_, back| *back.get_mut() > now);
    if shard.len() >= ROOM
        && let Some(least) = shard.iter().min_by_key(|(_, back)| back.load(Relaxed)).map(|(key, _)| *key)
    {
        shard.remove(&least);
    }
}

/// One client: an IPv4 address, or the network that an IPv6 one is in. No IPv6 network in use looks like an IPv4
/// address: those below ::/8 are reserved (RFC 4291 §2.4), and loopback is told from 0.0.0.0 by the mark.
pub(super) fn key(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(ip) => u64::from(ip.to_bits()),
        IpAddr::V6(ip) => ((ip.to_bits() >> 64) as u64) | if ip.segments()[0] == 0 { 1 << 48 } else { 0 },
    }
}

static LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
static REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
static RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

impl Gate for Limiter {
    fn ask(&self, visit: &Visit<'_>) -> Word {
        let verdict = self.count(visit.asked.ours.client, visit.open.exchange.started);
        let reset = verdict.reset.as_millis().div_ceil(1000) as u64;
        let fields: Fields = vec![
            (LIMIT.clone(), HeaderValue::from(self.rule.count)),
            (REMAINING.clone(), HeaderValue::from(verdict.remaining)),
            (RESET.clone(), HeaderValue::from(reset)),
        ];
        match verdict.again {
            None => Word::Pass(fields),
            Some(again) => {
                let limit = format!("{} requests {}", self.rate.count, spelled(self.rate.per));
                let limit = format!("{limit} (limit: route.{}.rate_limit)", visit.route.name);
                let failure = Failure::new(Cause::RateLimited).limit(limit).again(again);
                Word::Stop(Box::new(failure), fields)
            }
        }
    }
}

fn spelled(per: Duration) -> &'static str {
    match per.as_secs() {
        3600 => "an hour",
        60 => "a minute",
        _ => "a second",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(count: u32, seconds: u64) -> Rate {
        Rate { count, per: Duration::from_secs(seconds) }
    }

    #[test]
    fn as_many_at_once_then_one_at_a_time() {
        let rule = Rule::of(rate(10, 1));
        let back = AtomicU64::new(0);
        for left in (0..10).rev() {
            let verdict = rule.count(&back, 5);
            assert_eq!((verdict.again, verdict.remaining), (None, left));
        }
        assert_eq!(rule.count(&back, 5).again, Some(Duration::from_millis(100)));
        assert_eq!(rule.count(&back, 100_000_005).again, None);
        assert_eq!(rule.count(&back, 100_000_005).again, Some(Duration::from_millis(100)));
        let verdict = rule.count(&back, 2_000_000_000);
        assert_eq!((verdict.remaining, verdict.reset), (9, Duration::from_millis(100)));
    }

    #[test]
    fn a_flood_of_addresses_grows_nothing_and_frees_nobody() {
        let began = Instant::now();
        let limiter = Limiter::new(rate(5, 3600), began);
        let busy: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..9 {
            limiter.count(busy, began);
        }
        for n in 0..100_000_u32 {
            limiter.count(IpAddr::V4(n.into()), began + Duration::from_millis(1));
        }
        let kept: usize = limiter.shards.iter().map(|shard| shard.read().unwrap().len()).sum();
        assert!(kept <= SHARDS * ROOM, "{kept}");
        assert!(limiter.count(busy, began + Duration::from_millis(2)).again.is_some());
    }

    #[test]
    fn one_network_of_ipv6_is_one_client() {
        let key = |text: &str| key(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1:2"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("::1"), key("0.0.0.0"));
    }

    proptest! {
        /// In any stretch of time no more pass than a burst and what came back meanwhile; and who is refused passes
        /// after the time that it was told.
        #[test]
        fn never_more_than_the_rate(
            count in 1..200_u32,
            seconds in prop_oneof![Just(1_u64), Just(60), Just(3600)],
            pauses in proptest::collection::vec(0..2_000_000_000_u64, 1..300),
        ) {
            let rule = Rule::of(rate(count, seconds));
            let back = AtomicU64::new(0);
            let (mut now, mut passed) = (0_u64, Vec::new());
            for pause in pauses {
                now += pause;
                let verdict = rule.count(&back, now);
                prop_assert!(verdict.remaining < u64::from(count));
                prop_assert!(verdict.reset <= Duration::from_secs(seconds));
                match verdict.again {
                    None => passed.push(now),
                    Some(again) => {
                        prop_assert!(!again.is_zero() && again <= Duration::from_nanos(rule.each));
                        let later = AtomicU64::new(back.load(Relaxed));
                        prop_assert_eq!(rule.count(&later, now + again.as_nanos() as u64).again, None);
                    }
                }
            }
            for (first, from) in passed.iter().enumerate() {
                for (last, to) in passed.iter().enumerate().skip(first) {
                    let most = u64::from(count) + (to - from) / rule.each;
                    prop_assert!(((last - first) as u64) < most);
                }
            }
        }
    }
}

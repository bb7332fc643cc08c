//! What an attempt says of its upstream's health: the outcome goes to the lane of traffic, and `max_evicted` holds.
//!
//! Nothing here judges what follows for the request.

use std::sync::{MutexGuard, PoisonError};
use std::time::Instant;

use crate::cause::{self, Cause, Failure, Phase};
use crate::health::{Blame, Failed, Proof, State, Transition};
use crate::observe::events;

use super::pick::Pick;
use super::{Pool, Upstream};

/// What came of an attempt.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    /// A response head came, and its body is still under way: proves the connection, ends a probation, and may still be
    /// followed by one of the others.
    Head {
        /// Its status.
        status: u16,
    },
    /// An answer, whole.
    Answered {
        /// Its status.
        status: u16,
    },
    /// It failed, before or after the head.
    Failed(&'a Failure),
    /// Nothing was learnt: the client went away, or a limit of our own ended it.
    Neutral,
}

/// How much of an attempt's outcome health has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Told {
    #[default]
    Nothing,
    Head,
    All,
}

/// Whether, and for what, a failed attempt blames its upstream (CAUSES).
///
/// A failure that forbids another attempt would have happened at every other upstream as well (a head that is too
/// large) or is our own limit (`timeouts.request`): it says nothing of this one. So does a kept connection that died,
/// which is how an app with a short keep-alive looks. So does a stream that was refused: that is how an upstream says
/// that it is at its limit, or leaves in order. And a name without an address has nobody behind it who could be
/// evicted.
#[must_use]
pub fn blame(cause: Cause) -> Option<Blame> {
    let row = cause.row();
    match (row.fault, row.phase) {
        (cause::Fault::Client | cause::Fault::Proxy, _) => None,
        _ if row.retry == cause::Retry::Never => None,
        _ if matches!(cause, Cause::StaleConnection | Cause::H2StreamRefused) => None,
        (_, Phase::Queue | Phase::Resolve) => None,
        (_, Phase::Connect | Phase::Tls) => Some(Blame::Connect),
        (_, Phase::Request | Phase::Head | Phase::Body) => Some(Blame::Gateway),
    }
}

/// Answers that count as gateway failures. (CONTRACT §2 `passive.gateway_failures`; a 500 is the app's own affair.)
const fn is_gateway_failure(status: u16) -> bool {
    matches!(status, 502..=504)
}

impl Pick {
    /// Tells health what came of the attempt; tells what that changed. The first whole outcome counts, and a pick that
    /// is dropped without one blames nobody.
    ///
    /// In good health this costs one atomic load.
    pub fn report(&mut self, pool: &Pool, outcome: Outcome<'_>, now: Instant) -> Option<Transition> {
        let (failed, sentence) = match outcome {
            _ if self.told == Told::All => return None,
            Outcome::Neutral => {
                self.told = Told::All;
                self.permit = None;
                return None;
            }
            Outcome::Head { status } | Outcome::Answered { status } if is_gateway_failure(status) => {
                (Some((Blame::Gateway, Cause::HealthStatus)), format!("it answered {status} to a request"))
            }
            Outcome::Head { .. } | Outcome::Answered { .. } => (None, String::new()),
            Outcome::Failed(failure) => {
                let hint = || format!("{}. {}", failure.cause, failure.hint(&self.upstream.endpoint.authority));
                match blame(failure.cause) {
                    Some(blame) => (Some((blame, failure.cause)), hint()),
                    None => return self.report(pool, Outcome::Neutral, now),
                }
            }
        };
        let health = &self.upstream.health;
        let change = match failed {
            None => {
                let head = matches!(outcome, Outcome::Head { .. });
                self.told = if head { Told::Head } else { Told::All };
                health.answered(if head { Proof::Connects } else { Proof::Answers }, self.permit.take(), now)
            }
            Some((blame, cause)) => {
                self.told = Told::All;
                let failed = Failed { blame, cause, jitter: fastrand::f64() };
                let allow = || pool.may_evict(&self.upstream, now);
                health.failed(failed, sentence, self.permit.take(), &pool.config.passive, now, allow)
            }
        };
        if change.is_some_and(|change| change.to == State::Evicted) {
            pool.due.look_again(pool.evictions.lock().unwrap_or_else(PoisonError::into_inner));
        }
        if change.is_some() || pool.waiting.taken() > 0 && health.ready_anew(now) {
            pool.touch();
        }
        change
    }
}

impl Pool {
    /// Leave for traffic to evict this upstream, which is not evicted yet: `max_evicted` is kept with it, and another
    /// one stays ready. While the leave is held, nobody else gets one.
    fn may_evict(&self, upstream: &Upstream, now: Instant) -> Option<MutexGuard<'_, ()>> {
        let leave = self.evictions.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut all, mut out, mut others, mut member) = (0_u64, 1_u64, false, false);
        for other in self.members.load().iter() {
            let same = other.endpoint.key == upstream.endpoint.key;
            member |= same;
            match other.health.state() {
                State::Draining | State::Disabled => continue,
                State::Evicted => out += u64::from(!same),
                State::Ready => others |= !same,
                State::Unknown => {}
            }
            all += 1;
        }
        let kept = out * 100 <= u64::from(self.config.passive.max_evicted) * all;
        if member && others && !kept {
            let percent = self.config.passive.max_evicted;
            events::eviction_withheld(&self.config.name, &upstream.id, percent, now);
        }
        (member && others && kept).then_some(leave)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::pick::{Ask, Choice, Next};
    use super::super::tests::{pool, unchecked};
    use super::*;

    /// An attempt at that one, which ends like this.
    fn attempt(pool: &Pool, ordinal: usize, outcome: Outcome<'_>, now: Instant) -> Option<Transition> {
        loop {
            let ask = Ask { replayable: false, unknown_too: true };
            let Next::Try(mut pick) = Choice::new(pool).next(pool, ask, || now) else { panic!("nobody is left") };
            if pick.upstream.ordinal == ordinal {
                return pick.report(pool, outcome, now);
            }
        }
    }

    fn refused(pool: &Pool, ordinal: usize, times: usize) -> Option<Transition> {
        let failure = Failure::new(Cause::ConnectionRefused);
        (0..times).find_map(|_| attempt(pool, ordinal, Outcome::Failed(&failure), Instant::now()))
    }

    #[test]
    fn who_is_to_blame() {
        use Blame::{Connect, Gateway};
        for &cause in Cause::ALL {
            let wanted = match cause.token() {
                "unreachable" | "connection_refused" | "connect_timeout" | "connect_reset" | "socket_missing"
                | "speaks_plaintext" | "tls_timeout" | "tls_alert" | "tls_cert_expired" | "tls_cert_name"
                | "tls_cert_untrusted" | "tls_failure" => Some(Connect),
                "closed_without_response"
                | "reset_before_head"
                | "truncated_head"
                | "not_http"
                | "speaks_tls"
                | "speaks_h2"
                | "invalid_head"
                | "bad_chunking"
                | "read_timeout"
                | "write_timeout"
                | "truncated_body"
                | "body_timeout"
                | "h2_protocol_error"
                | "health_status"
                | "health_body" => Some(Gateway),
                _ => None,
            };
            assert_eq!(blame(cause), wanted, "{cause}");
        }
    }

    #[test]
    fn three_refused_connections_evict_and_the_record_says_why() {
        let pool = pool(&["10.0.0.1:1", "10.0.0.2:1"], unchecked());
        let mut changes = pool.changes();
        let change = refused(&pool, 2, 3).unwrap();
        assert_eq!((change.to, change.in_a_row, change.cause), (State::Evicted, 3, Some(Cause::ConnectionRefused)));
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        let seen = pool.members()[1].health.snapshot(Instant::now());
        let why = "connection_refused. Nothing listens on 10.0.0.2:1. Is the app running, and is the port right?";
        assert_eq!(seen.last_failure, Some((Cause::ConnectionRefused, why.to_owned())));
    }

    #[test]
    fn an_apps_own_500_never_evicts_and_five_503_do() {
        let pool = pool(&["10.0.0.1:1", "10.0.0.2:1"], unchecked());
        let answer = |status| attempt(&pool, 1, Outcome::Answered { status }, Instant::now());
        assert!((0..50).all(|_| answer(500).is_none()));
        for status in [502, 503, 504, 503, 500, 503, 503, 503, 503] {
            assert_eq!(answer(status), None);
        }
        assert_eq!(answer(502).unwrap().in_a_row, 5);
    }

    #[test]
    fn bodies_that_break_off_are_in_a_row_whatever_their_heads_promised() {
        let pool = pool(&["10.0.0.1:1", "10.0.0.2:1"], unchecked());
        let cut = Failure::new(Cause::TruncatedBody);
        let mut told = 0;
        while pool.members()[0].health.state() == State::Ready {
            let ask = Ask::default();
            let Next::Try(mut pick) = Choice::new(&pool).next(&pool, ask, Instant::now) else { panic!("ready") };
            if pick.upstream.ordinal == 1 {
                pick.report(&pool, Outcome::Head { status: 200 }, Instant::now());
                pick.report(&pool, Outcome::Failed(&cut), Instant::now());
                pick.report(&pool, Outcome::Failed(&cut), Instant::now());
                told += 1;
            }
        }
        assert_eq!(told, 5, "each counts once");
    }

    #[test]
    fn at_most_half_and_never_the_last() {
        let list: Vec<_> = (1..=5).map(|i| format!("10.0.0.{i}:1")).collect();
        let pool = pool(&list.iter().map(String::as_str).collect::<Vec<_>>(), unchecked());
        assert!(refused(&pool, 1, 3).is_some() && refused(&pool, 2, 3).is_some());
        assert!(refused(&pool, 3, 30).is_none(), "three of five are more than half");
        pool.members()[0].health.switch(crate::health::Operator::Disabled, Instant::now());
        assert!(refused(&pool, 3, 3).is_some(), "two of four are not");
        let pair = super::super::tests::pool(&["10.0.0.1:1"], |pool| pool.passive.max_evicted = 100);
        assert!(refused(&pair, 1, 30).is_none());
    }

    #[test]
    fn two_evictions_at_once_do_not_take_one_too_many() {
        for _ in 0..200 {
            let list: Vec<_> = (1..=4).map(|i| format!("10.0.0.{i}:1")).collect();
            let pool = pool(&list.iter().map(String::as_str).collect::<Vec<_>>(), unchecked());
            let (told, failure) = (AtomicUsize::new(0), Failure::new(Cause::ConnectionRefused));
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        for _ in 0..30 {
                            let next = Choice::new(&pool).next(&pool, Ask::default(), Instant::now);
                            let Next::Try(mut pick) = next else { panic!("two are ready") };
                            let change = pick.report(&pool, Outcome::Failed(&failure), Instant::now());
                            told.fetch_add(usize::from(change.is_some()), Ordering::Relaxed);
                        }
                    });
                }
            });
            assert_eq!((told.into_inner(), pool.usable()), (2, 2));
        }
    }
}

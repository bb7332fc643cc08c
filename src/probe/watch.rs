//! One task for each upstream of a pool: check, record, tell, wait for its time or for a wish.
//!
//! No task waits for another, so a slow upstream delays nobody's checks. The tasks follow the members: a new one is
//! checked at once (many new ones within a moment: see [`pace::stagger`]), one that left is checked no more. Under a
//! new file whoever is checked as before has its next check when it was planned; a check that was under way counts for
//! nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use fastrand::Rng;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use crate::cause::Cause;
use crate::config::address::Dial;
use crate::config::model::Health;
use crate::health::{Event, Policy, Proof, Transition};
use crate::pool::{Members, Pool, Upstream};

use super::{Failed, Outcome, diagnose, once, pace};

/// Checks every upstream of the pool until `stop`; returns at once if its checks are off.
///
/// `report` hears of every result, with what it changed, after the upstream's health has it and before
/// [`Pool::changes`] tells those who wait. It must not block.
pub async fn watch<R>(pool: Arc<Pool>, report: R, stop: CancellationToken)
where
    R: Fn(&Pool, &Upstream, &Outcome, Option<&Transition>) + Send + Sync + 'static,
{
    let Some(timeout) = pool.config.health.as_ref().map(|health| health.timeout) else { return };
    let report = Arc::new(report);
    let mut changes = pool.changes();
    let mut tasks = JoinSet::new();
    let mut running: HashMap<u64, AbortHandle> = HashMap::new();
    let mut seen: Option<Arc<Members>> = None;
    loop {
        changes.mark_unchanged();
        let members = pool.members();
        if !pool.is_in_force() {
            return stop.cancelled().await; // its checks are those of a newer file
        }
        if !seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &members)) {
            // A name without an address leaves nothing to check: it is unknown until it has one (CONTRACT §2).
            let wanted = || members.iter().filter(|upstream| !matches!(upstream.endpoint.dial, Dial::Unresolved(_)));
            let is_new = |upstream: &&Arc<Upstream>| !running.contains_key(&upstream.endpoint.key);
            let (new, now) = (wanted().filter(is_new).count(), Instant::now());
            let mut begun = 0;
            let left: HashMap<u64, AbortHandle> = wanted()
                .map(|upstream| {
                    let key = upstream.endpoint.key;
                    let begin = || {
                        let first = pace::first(begun, new, timeout, upstream.health.planned(), now);
                        begun += 1;
                        tasks.spawn(follow(Arc::clone(&pool), Arc::clone(upstream), Arc::clone(&report), first))
                    };
                    (key, running.remove(&key).unwrap_or_else(begin))
                })
                .collect();
            running.values().for_each(AbortHandle::abort);
            running = left;
            seen = Some(members);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            _ = changes.changed() => {}
            Some(ended) = tasks.join_next() => {
                // A bug must not leave an upstream unchecked in silence.
                if let Err(ended) = ended && let Ok(panic) = ended.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }
}

/// Checks one upstream until it is no member any more; for the first time at `next`.
async fn follow<R>(pool: Arc<Pool>, mut upstream: Arc<Upstream>, report: Arc<R>, mut next: Instant)
where
    R: Fn(&Pool, &Upstream, &Outcome, Option<&Transition>) + Send + Sync + 'static,
{
    let Some(health) = &pool.config.health else { return };
    let (mut rng, mut started) = (Rng::new(), Instant::now());
    loop {
        if next > started {
            tokio::select! {
                () = sleep_until(next.into()) => {}
                () = upstream.health.check_wanted() => {
                    let next = pace::wanted(started, next);
                    upstream.health.plan(next);
                    sleep_until(next.into()).await;
                }
            }
            let Some(member) = still_member(&pool, &upstream) else { return };
            upstream = member;
        }
        started = Instant::now();
        let outcome = once(&upstream.endpoint, health).await;
        let Some(member) = still_member(&pool, &upstream) else { return };
        upstream = member;
        let recorded = record(&pool, &upstream, &outcome, health, &*report, &mut rng, started);
        let Some(later) = recorded else { return };
        next = later;
    }
}

/// Puts the result of the check that began at `started` where it belongs; says when the next one begins. `None`: it
/// counts for nothing, since another file is in force.
fn record<R>(
    pool: &Pool,
    upstream: &Upstream,
    outcome: &Outcome,
    health: &Health,
    report: &R,
    rng: &mut Rng,
    started: Instant,
) -> Option<Instant>
where
    R: Fn(&Pool, &Upstream, &Outcome, Option<&Transition>),
{
    let (event, why) = match outcome {
        Ok(facts) => {
            let proof = if facts.status.is_some() { Proof::Answers } else { Proof::Connects };
            (Event::CheckPassed(proof), None)
        }
        Err(failed) => (Event::CheckFailed(failed.failure.cause), Some(failed.sentence.clone())),
    };
    let now = Instant::now();
    let (change, next) = pool.while_in_force(|| {
        match (pool.asker(upstream, false), outcome, event) {
            (Some(asker), Err(failed), _) if is_explained(failed) => {
                upstream.insight.ask(asker, failed.failure.cause, now);
            }
            (Some(_), Ok(_), Event::CheckPassed(proof)) => upstream.insight.works(proof),
            _ => {}
        }
        if let Err(failed) = outcome {
            upstream.idle_age.check_failed(failed.failure.cause, now);
        }
        upstream.meter.checked(outcome.is_ok());
        let change = upstream.health.record(event, why, Policy::from(health), now);
        // Before anybody is told: who hears of an eviction may ask when the next check is.
        let next = started + pace::jitter(upstream.health.pace(health.interval), rng);
        upstream.health.plan(next);
        (change, next)
    })?;
    report(pool, upstream, outcome, change.as_ref());
    if change.is_some() || pool.waiting.taken() > 0 && upstream.health.ready_anew(now) {
        pool.touch();
    }
    Some(next)
}

/// Whether a look may explain it: of statuses that are not wanted, only that of a port of TLS.
fn is_explained(failed: &Failed) -> bool {
    let tls = || failed.seen.head.as_ref().is_some_and(|head| diagnose::may_be_tls(head.status));
    failed.failure.cause != Cause::HealthStatus || tls()
}

/// The member that this upstream is now: its id or ordinal may be another.
fn still_member(pool: &Pool, upstream: &Upstream) -> Option<Arc<Upstream>> {
    let members = pool.members();
    let same = |other: &&Arc<Upstream>| other.endpoint.key == upstream.endpoint.key;
    // It is nearly always where it was.
    members.get(upstream.ordinal - 1).filter(same).or_else(|| members.iter().find(same)).cloned()
}

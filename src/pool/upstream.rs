//! One upstream of a pool: where it is, how it is, how busy it is, what is known of it besides. It decides nothing.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::Notify;

use crate::config::address::Dial;
use crate::config::model::Entry;
use crate::config::{self, Endpoint};
use crate::health::{Health, IdleAge, State};
use crate::observe::metrics::Meter;

use super::balance::Latency;
use super::insight::Insight;
use super::queue::Queue;
use super::recent::Recent;

/// One upstream: where it is, how it is, how busy it is.
///
/// When the members change, one that stays gets a new `Upstream` if its id or ordinal is another now; endpoint, health
/// and load are the same shared ones.
#[derive(Debug)]
pub struct Upstream {
    /// The entry's name (else its address) while the entry has one address, else `NAME@IP`.
    pub id: Arc<str>,
    /// What a word on all its like names: its entry's id, or that of its target in `upstreams_file`.
    pub family: Arc<str>,
    /// Who it is to the balance: its id; of a name's address `NAME@IP`, however many there are.
    pub place: Arc<str>,
    /// Who it was to the balance before, if it was somebody else: clients with a cookie of that one stay.
    pub former: Option<Arc<str>>,
    /// Its place among the members, from 1: what public texts call it (`app/1`).
    pub ordinal: usize,
    /// Its entry's index in the config.
    pub entry: usize,
    /// What to dial. Its key stays with it for as long as it is a member.
    pub endpoint: Arc<Endpoint>,
    /// Its health.
    pub health: Arc<Health>,
    /// Attempts running on it now.
    pub in_flight: Arc<AtomicUsize>,
    /// How long its answers take (`balance = "ewma"`).
    pub latency: Arc<Latency>,
    /// How long its answers took lately.
    pub recent: Arc<Recent>,
    /// What is known of it beyond its health.
    pub insight: Arc<Insight>,
    /// When it closes idle connections, as far as that is known.
    pub idle_age: Arc<IdleAge>,
    /// What it did.
    pub meter: Arc<Meter>,
    /// The most of them at once, over all workers; without a limit, more than there can be.
    pub limit: usize,
    /// Its share beside the others': 1 to 100.
    pub weight: u8,
    /// Used only while no other is usable.
    pub backup: bool,
    /// Who waits for a slot: whoever leaves it tells, since the pool may have got limits meanwhile.
    pub(super) queue: Arc<Queue>,
}

impl Upstream {
    /// The resolver has said that its name has no address: there is nothing to check, and nothing to wait for.
    #[must_use]
    pub fn nameless(&self) -> bool {
        matches!(self.endpoint.dial, Dial::Unresolved(Some(_)))
    }

    /// Is it one that gets requests in good times: ready, and no backup?
    #[must_use]
    pub fn usual(&self) -> bool {
        !self.backup && self.health.state() == State::Ready
    }

    /// Is it on its way out, and well? Then the clients whose sticky cookie names it stay, until their session ends. No
    /// backup: they are there for others.
    #[must_use]
    pub fn keeps_clients(&self) -> bool {
        let look = self.health.look();
        !self.backup && look.state() == State::Draining && !look.checks_fail() && !look.evicted_by_traffic()
    }

    /// Whether it has as many attempts as it may.
    #[must_use]
    pub fn full(&self) -> bool {
        self.limit < usize::MAX && self.in_flight.load(Ordering::Relaxed) >= self.limit
    }

    /// How many attempts it may have at once, if that is limited.
    #[must_use]
    pub fn most(&self) -> Option<usize> {
        (self.limit < usize::MAX).then_some(self.limit)
    }

    /// One that has no load and no place yet.
    pub(super) fn fresh(
        config: &config::model::Pool,
        (entry, id): (usize, Arc<str>),
        endpoint: Endpoint,
        health: Health,
        (now, bell, queue): (Instant, &Arc<Notify>, &Arc<Queue>),
    ) -> Self {
        let said = config.upstreams.get(entry);
        Self {
            idle_age: Arc::new(IdleAge::new(Arc::clone(&config.name), Arc::clone(&id))),
            family: said.map_or_else(|| Arc::clone(&id), Entry::id),
            place: Arc::clone(&id),
            id,
            former: None,
            ordinal: 0,
            entry,
            endpoint: Arc::new(endpoint),
            health: Arc::new(health),
            in_flight: Arc::default(),
            latency: Arc::new(Latency::new(now)),
            recent: Arc::new(Recent::new(now)),
            insight: Arc::new(Insight::new(Arc::clone(bell))),
            meter: Arc::default(),
            limit: limit(config, said),
            weight: said.map_or(1, |said| said.weight),
            backup: said.is_some_and(|said| said.backup),
            queue: Arc::clone(queue),
        }
    }

    /// Another `Upstream` of the same endpoint, health and load.
    pub(super) fn share(&self) -> Self {
        Self {
            id: Arc::clone(&self.id),
            family: Arc::clone(&self.family),
            place: Arc::clone(&self.place),
            former: self.former.clone(),
            ordinal: self.ordinal,
            entry: self.entry,
            endpoint: Arc::clone(&self.endpoint),
            health: Arc::clone(&self.health),
            in_flight: Arc::clone(&self.in_flight),
            latency: Arc::clone(&self.latency),
            recent: Arc::clone(&self.recent),
            insight: Arc::clone(&self.insight),
            idle_age: Arc::clone(&self.idle_age),
            meter: Arc::clone(&self.meter),
            limit: self.limit,
            weight: self.weight,
            backup: self.backup,
            queue: Arc::clone(&self.queue),
        }
    }
}

/// How many attempts at once an upstream of this entry may have.
pub(super) fn limit(config: &config::model::Pool, said: Option<&Entry>) -> usize {
    said.and_then(|said| said.in_flight).or(config.limits.in_flight).map_or(usize::MAX, NonZeroUsize::get)
}

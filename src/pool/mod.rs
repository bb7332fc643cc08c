//! Pools: the upstreams of each, what is known of them, and the choice of the next one.
//!
//! [`Pool`] holds its members behind one swap (a name's addresses come and go); [`pick`] chooses; [`resolve`] turns names
//! into members. Nothing here sends a request.

pub mod balance;
pub mod pick;
pub mod resolve;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::config::{self, Endpoint};
use crate::health::Health;

/// A pool, shared by all workers.
#[derive(Debug)]
pub struct Pool {
    /// What the file says of it.
    pub config: Arc<config::model::Pool>,
    /// Its upstreams now. A request keeps the list it started with.
    members: ArcSwap<Members>,
    /// Changes with each new list, and with each change of an upstream's state: for probes, `/readyz` and waiting requests.
    changes: watch::Sender<u64>,
}

/// The upstreams of a pool at one moment, in the order of the file (then of the addresses).
pub type Members = Vec<Arc<Upstream>>;

/// One upstream: where it is, how it is, how busy it is.
#[derive(Debug)]
pub struct Upstream {
    /// The entry's name (else its address) while the entry has one address, else `NAME@IP`.
    pub id: Arc<str>,
    /// Its place among the members, from 1: what public texts call it (`app/1`).
    pub ordinal: usize,
    /// What to dial.
    pub endpoint: Arc<Endpoint>,
    /// Its health.
    pub health: Health,
    /// Attempts running on it now.
    pub in_flight: AtomicUsize,
}

impl Pool {
    /// A pool as the file has it: literal addresses are members at once, a name is one unresolved member until
    /// [`resolve`] has spoken.
    #[must_use]
    pub fn new(_config: Arc<config::model::Pool>, _now: Instant) -> Self {
        todo!()
    }
    /// The members now (cheap: one swap load).
    #[must_use]
    pub fn members(&self) -> Arc<Members> {
        todo!()
    }
    /// Replaces the addresses of the entry at this index; upstreams that stay keep health and load. Says what came and went.
    pub fn set_addresses(&self, _entry: usize, _dial: config::address::Dial, _now: Instant) {
        todo!()
    }
    /// For those who wait: changes on every change of members or of a member's state.
    pub fn changes(&self) -> watch::Receiver<u64> {
        todo!()
    }
    /// How many are ready.
    #[must_use]
    pub fn usable(&self) -> usize {
        todo!()
    }
    /// Whether every member has its first result.
    #[must_use]
    pub fn checked(&self) -> bool {
        todo!()
    }
    /// Tells those who wait (called by `probe` after each transition and each first result).
    pub fn touch(&self) {
        todo!()
    }
}

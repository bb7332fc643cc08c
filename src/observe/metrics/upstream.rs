//! What one upstream did: answers, failures, connections, checks, evictions. It lives with the upstream.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::cause::Cause;
use crate::health::{By, State};

use super::code::{CODES, Codes};
use super::duration::{Durations, Histogram};
use super::shard::{Counter, Shards};

/// What an upstream can become. None becomes unknown: it begins so.
pub const CHANGES: [State; 4] = [State::Ready, State::Evicted, State::Draining, State::Disabled];

/// See the module.
#[derive(Debug)]
pub struct Meter {
    key: u64,
    /// A cell is made when its worker first counts here: a thousand upstreams are not for every worker.
    cells: Shards<OnceLock<Box<Cell>>>,
    failures: Mutex<BTreeMap<Cause, u64>>,
    opened: Shards<Counter>,
    closed: Shards<Counter>,
    passed: Counter,
    failed: Counter,
    evictions: [Counter; 2],
    changes: [Counter; CHANGES.len()],
}

#[derive(Debug, Default)]
struct Cell {
    codes: Codes,
    took: Histogram,
    connect: Histogram,
    reuses: Counter,
}

/// What a [`Meter`] has counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Answers, by their place in [`CODES`].
    pub codes: [u64; CODES.len() + 1],
    /// From the start of an attempt to the head of its answer.
    pub took: Durations,
    /// How long connections took to stand; their number is that of connects.
    pub connect: Durations,
    /// Attempts on a kept connection.
    pub reuses: u64,
    /// Connections that are open.
    pub connections: u64,
    /// Attempts that failed.
    pub failures: BTreeMap<Cause, u64>,
    /// Checks that passed, and that failed.
    pub checks: (u64, u64),
    /// Evictions by checks, and by traffic.
    pub evictions: (u64, u64),
    /// Changes of its state, by their place in [`CHANGES`].
    pub changes: [u64; CHANGES.len()],
}

impl Default for Meter {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            key: NEXT.fetch_add(1, Relaxed),
            cells: Shards::default(),
            failures: Mutex::default(),
            opened: Shards::default(),
            closed: Shards::default(),
            passed: Counter::default(),
            failed: Counter::default(),
            evictions: Default::default(),
            changes: Default::default(),
        }
    }
}

impl Meter {
    /// Unique in this process: whoever compares what was counted with what it had been goes by it.
    #[must_use]
    pub const fn key(&self) -> u64 {
        self.key
    }

    /// A connection to it stands; it is counted until what this gives is dropped.
    #[must_use]
    pub fn open(self: &Arc<Self>) -> Open {
        self.opened.mine().add();
        Open(Arc::clone(self))
    }

    /// An attempt has its answer's head. `connect`: on a connection of its own, which took so long.
    pub fn answered(&self, status: u16, took: Duration, connect: Option<Duration>) {
        let cell = self.cell();
        cell.codes.add(status);
        cell.took.observe(took);
        cell.connected(connect);
    }

    /// An attempt failed. `reused`: on a kept connection.
    pub fn failed(&self, cause: Cause, connect: Option<Duration>, reused: bool) {
        if connect.is_some() || reused {
            self.cell().connected(connect);
        }
        self.broke(cause);
    }

    /// An answer broke off after its head; its attempt is counted already.
    pub fn broke(&self, cause: Cause) {
        *self.failures().entry(cause).or_default() += 1;
    }

    /// A check has ended.
    pub fn checked(&self, passed: bool) {
        if passed { &self.passed } else { &self.failed }.add();
    }

    /// It was evicted; the operator's word is no eviction.
    pub fn evicted(&self, by: By) {
        match by {
            By::Checks => self.evictions[0].add(),
            By::Traffic => self.evictions[1].add(),
            By::Operator => {}
        }
    }

    /// Its state is another one now.
    pub fn changed(&self, to: State) {
        if let Some(place) = CHANGES.iter().position(|state| *state == to) {
            self.changes[place].add();
        }
    }

    /// Answers.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.cells.all().filter_map(OnceLock::get).map(|cell| cell.took.count()).sum()
    }

    /// Attempts that failed, by cause.
    #[must_use]
    pub fn failed_by_cause(&self) -> BTreeMap<Cause, u64> {
        self.failures().clone()
    }

    /// All that was counted.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            codes: [0; CODES.len() + 1],
            took: Durations::default(),
            connect: Durations::default(),
            reuses: 0,
            connections: 0,
            failures: self.failures().clone(),
            checks: (self.passed.get(), self.failed.get()),
            evictions: (self.evictions[0].get(), self.evictions[1].get()),
            changes: std::array::from_fn(|place| self.changes[place].get()),
        };
        for cell in self.cells.all().filter_map(OnceLock::get) {
            counts.codes.iter_mut().zip(cell.codes.counts()).for_each(|(all, here)| *all += here);
            cell.took.add_to(&mut counts.took);
            cell.connect.add_to(&mut counts.connect);
            counts.reuses += cell.reuses.get();
        }
        // The closed ones first: what closes in between was opened before.
        let closed: u64 = self.closed.all().map(Counter::get).sum();
        counts.connections = self.opened.all().map(Counter::get).sum::<u64>().saturating_sub(closed);
        counts
    }

    fn cell(&self) -> &Cell {
        self.cells.mine().get_or_init(Box::default)
    }

    /// A panic under this lock leaves at worst a failure uncounted.
    fn failures(&self) -> MutexGuard<'_, BTreeMap<Cause, u64>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open connection, as its meter counts it.
#[derive(Debug)]
pub struct Open(Arc<Meter>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.closed.mine().add();
    }
}

impl Cell {
    fn connected(&self, connect: Option<Duration>) {
        match connect {
            Some(took) => self.connect.observe(took),
            None => self.reuses.add(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_happened_is_what_is_counted() {
        let meter = Meter::default();
        meter.answered(200, 3 * MS, Some(MS));
        meter.answered(503, 2 * MS, None);
        meter.failed(Cause::ConnectionRefused, None, false);
        meter.failed(Cause::ReadTimeout, Some(MS), false);
        meter.failed(Cause::ReadTimeout, None, true);
        meter.checked(true);
        meter.evicted(By::Traffic);
        meter.evicted(By::Operator);
        [State::Evicted, State::Ready, State::Evicted, State::Unknown].into_iter().for_each(|to| meter.changed(to));
        let counts = meter.counts();
        let codes: Vec<u64> = counts.codes.iter().copied().filter(|count| *count > 0).collect();
        assert_eq!((codes, counts.took.count(), counts.took.total), (vec![1, 1], 2, 5 * MS));
        assert_eq!((counts.connect.count(), counts.reuses), (2, 2));
        assert_eq!(counts.failures, [(Cause::ConnectionRefused, 1), (Cause::ReadTimeout, 2)].into());
        assert_eq!((counts.checks, counts.evictions), ((1, 0), (0, 1)));
        assert_eq!(counts.changes, [1, 2, 0, 0]);
    }

    #[test]
    fn one_that_gets_no_requests_costs_little() {
        let meter = Meter::default();
        meter.checked(false);
        assert!(meter.cells.all().all(|cell| cell.get().is_none()));
    }
}

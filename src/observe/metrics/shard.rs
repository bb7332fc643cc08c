//! One cell for each worker, each on cache lines of its own: counting contends with nobody, reading adds them up.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

/// No more cells than this, however many cores there are.
const MOST: usize = 64;

thread_local! {
    static WORKER: Cell<usize> = const { Cell::new(0) };
}

/// This thread counts in that worker's cells from here on. A thread that never says so counts in the first one's;
/// several may share a cell, which is slower and no less right.
pub fn enter(worker: usize) {
    WORKER.set(worker);
}

/// A cell for each worker.
#[derive(Debug)]
pub struct Shards<T>(Box<[Own<T>]>);

/// Two lines: the next one is fetched along with the first.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Own<T>(T);

impl<T: Default> Default for Shards<T> {
    fn default() -> Self {
        Self((0..width()).map(|_| Own::default()).collect())
    }
}

impl<T> Shards<T> {
    /// This thread's.
    pub fn mine(&self) -> &T {
        let worker = WORKER.get();
        // Looked at first: a remainder is the slowest of all that is done here, and seldom needed.
        &self.0.get(worker).unwrap_or_else(|| &self.0[worker % self.0.len()]).0
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|own| &own.0)
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// So many more.
    pub fn more(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// How many.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// One for each core that this process may use.
fn width() -> usize {
    static WIDTH: OnceLock<usize> = OnceLock::new();
    *WIDTH.get_or_init(|| thread::available_parallelism().map_or(1, usize::from).min(MOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_threads_counted_is_the_sum() {
        let counts: Shards<Counter> = Shards::default();
        thread::scope(|scope| {
            for worker in 0..4 {
                let counts = &counts;
                scope.spawn(move || {
                    enter(worker);
                    (0..1000).for_each(|_| counts.mine().add());
                });
            }
        });
        assert_eq!(counts.all().map(Counter::get).sum::<u64>(), 4000);
    }

    #[test]
    fn no_two_workers_share_a_cache_line() {
        assert_eq!((align_of::<Own<Counter>>(), size_of::<Own<Counter>>()), (128, 128));
    }
}

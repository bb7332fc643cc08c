//! How many connections a listener may have open at once, over all workers; a number that a reload may change, and
//! those that are open then still count.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::AcqRel, Ordering::Acquire};

use rustix::process::{Resource, getrlimit};
use tokio::sync::Semaphore;

/// Descriptors that are left to logs, checks, listeners and the runtime when the limit is `auto`.
const RESERVED: u64 = 128;

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Permits(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    left: Semaphore,
    all: AtomicUsize,
    /// So many of those that are out are not given back: the number was made smaller while they were.
    surplus: AtomicUsize,
}

/// One connection's: the semaphore has forgotten it, and gets it back when this is dropped.
#[derive(Debug)]
pub(super) struct Permit(Permits);

impl Permits {
    /// `None`: as many as RLIMIT_NOFILE allows, at two descriptors (client and upstream) for each, divided among all
    /// the `automatic` listeners of the process.
    #[must_use]
    pub fn new(limit: Option<NonZeroUsize>, automatic: usize) -> Self {
        let all = most(limit, automatic);
        Self(Arc::new(Inner { left: Semaphore::new(all), all: all.into(), surplus: 0.into() }))
    }

    /// The same with another limit. Nothing is closed: where more are open than that, none comes in until enough have
    /// ended.
    pub fn resize(&self, limit: Option<NonZeroUsize>, automatic: usize) {
        let all = most(limit, automatic);
        let before = self.0.all.swap(all, AcqRel);
        if all >= before {
            let more = all - before;
            self.0.left.add_permits(more - self.write_off(more));
            return;
        }
        self.0.surplus.fetch_add(before - all, AcqRel);
        loop {
            let owed = self.write_off(usize::MAX);
            let taken = self.0.left.forget_permits(owed);
            self.0.surplus.fetch_add(owed - taken, AcqRel);
            if taken == 0 {
                return;
            }
        }
    }

    /// How many are open.
    #[must_use]
    pub fn taken(&self) -> usize {
        let all = self.0.all.load(Acquire).saturating_add(self.0.surplus.load(Acquire));
        all.saturating_sub(self.0.left.available_permits())
    }

    /// One, if one is left.
    pub(super) fn one(&self) -> Option<Permit> {
        self.0.left.try_acquire().ok()?.forget();
        Some(Permit(self.clone()))
    }

    /// Waits for one.
    pub(super) async fn next(&self) -> Option<Permit> {
        self.0.left.acquire().await.ok()?.forget();
        Some(Permit(self.clone()))
    }

    /// Takes at most so many off the surplus, and says how many.
    fn write_off(&self, most: usize) -> usize {
        let mut taken = 0;
        // It never refuses.
        let _ = self.0.surplus.fetch_update(AcqRel, Acquire, |surplus| {
            taken = surplus.min(most);
            Some(surplus - taken)
        });
        taken
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Self(of) = self;
        if of.0.surplus.load(Acquire) == 0 || of.write_off(1) == 0 {
            of.0.left.add_permits(1);
        }
    }
}

fn most(limit: Option<NonZeroUsize>, automatic: usize) -> usize {
    let files = || getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    limit.map_or_else(|| share(files(), automatic), NonZeroUsize::get).min(Semaphore::MAX_PERMITS)
}

/// What one of so many listeners may have open of so many files.
fn share(files: u64, listeners: usize) -> usize {
    let all = usize::try_from(files.saturating_sub(RESERVED) / 2).unwrap_or(usize::MAX);
    (all / listeners.max(1)).max(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn automatic_listeners_share_the_files() {
        assert_eq!(share(1024, 1), 448);
        assert_eq!(share(1024, 2), 224);
        assert_eq!(share(64, 2), 16);
        let room = |automatic| Permits::new(None, automatic).0.left.available_permits();
        assert!(room(2) <= room(1).div_ceil(2).max(16));
        assert_eq!(Permits::new(NonZeroUsize::new(5), 2).0.left.available_permits(), 5);
    }

    #[test]
    fn a_smaller_number_counts_those_that_are_open_and_a_larger_one_lets_in_the_rest() {
        let permits = Permits::new(NonZeroUsize::new(5), 1);
        let mut open: Vec<Permit> = (0..4).map(|_| permits.one().unwrap()).collect();
        permits.resize(NonZeroUsize::new(2), 1);
        assert_eq!(permits.taken(), 4);
        assert!(permits.one().is_none());
        open.truncate(2);
        assert!(permits.one().is_none() && permits.taken() == 2);
        open.pop();
        open.push(permits.one().unwrap());
        assert!(permits.one().is_none());
        permits.resize(NonZeroUsize::new(1), 1);
        permits.resize(NonZeroUsize::new(3), 1);
        open.push(permits.one().unwrap());
        assert!(permits.one().is_none() && permits.taken() == 3);
        open.clear();
        assert_eq!((permits.taken(), permits.0.left.available_permits()), (0, 3));
    }
}

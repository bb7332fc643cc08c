//! bcrypt, away from the workers: it takes 50 to 300 ms of a core for each password. So few run at a time that traffic keeps its
//! cores, and so few wait that a flood of wrong passwords is answered at once.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::cause::{Cause, Failure};

/// How many passwords may wait for their turn.
const WAITING: usize = 64;
/// For how long.
const PATIENCE: Duration = Duration::from_secs(5);

/// For all routes and workers.
#[derive(Debug)]
pub(in crate::proxy::layers) struct Hashing {
    /// Half of the cores, at least one.
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Hashing {
    pub(in crate::proxy::layers) fn new() -> Arc<Self> {
        let cores = available_parallelism().map_or(1, NonZeroUsize::get);
        Arc::new(Self { turns: Arc::new(Semaphore::new((cores / 2).max(1))), waiting: AtomicUsize::new(0) })
    }

    /// Is this the password of this hash? `known`: asked once it is its turn, since that may answer it by then.
    ///
    /// # Errors
    /// When too many wait already, or the turn does not come.
    pub(super) async fn is(
        &self,
        password: Vec<u8>,
        hash: String,
        known: impl Fn() -> bool,
    ) -> Result<bool, Box<Failure>> {
        let busy = || {
            let again = Duration::from_secs(1);
            Box::new(Failure::new(Cause::ProxyBusy).seen("too many passwords wait to be checked").again(again))
        };
        let turn = {
            let Some(_place) = Place::take(&self.waiting) else { return Err(busy()) };
            let Ok(Ok(turn)) = timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned()).await else {
                return Err(busy());
            };
            turn
        };
        if known() {
            return Ok(true);
        }
        // The turn goes along: it ends with the work, not with a client that went away.
        let work = tokio::task::spawn_blocking(move || {
            let right = bcrypt::verify(password, &hash);
            drop(turn);
            right
        });
        match work.await {
            Ok(right) => Ok(right.unwrap_or(false)),
            Err(_) => Err(Box::new(Failure::new(Cause::Bug))),
        }
    }
}

/// A place in the row, given back when it is dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Option<Self> {
        let step = |count| (count < WAITING).then_some(count + 1);
        waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).ok().map(|_| Self(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_row_is_told_at_once_and_empties() {
        let hashing = Hashing::new();
        let all = hashing.turns.available_permits() as u32;
        let turns = Arc::clone(&hashing.turns).acquire_many_owned(all).await.unwrap();
        let hash = bcrypt::hash("right", 4).unwrap();
        let ask = |hashing: Arc<Hashing>| {
            let hash = hash.clone();
            tokio::spawn(async move { hashing.is(b"right".to_vec(), hash, || false).await })
        };
        let waiting: Vec<_> = (0..WAITING).map(|_| ask(Arc::clone(&hashing))).collect();
        while hashing.waiting.load(Ordering::Relaxed) < WAITING {
            tokio::task::yield_now().await;
        }
        let refused = hashing.is(b"right".to_vec(), hash.clone(), || false).await.unwrap_err();
        assert_eq!((refused.cause, refused.again), (Cause::ProxyBusy, Some(Duration::from_secs(1))));
        drop(turns);
        for task in waiting {
            assert!(task.await.unwrap().unwrap());
        }
        assert_eq!(hashing.waiting.load(Ordering::Relaxed), 0);
        assert!(!hashing.is(b"wrong".to_vec(), hash.clone(), || false).await.unwrap());
        assert!(hashing.is(b"wrong".to_vec(), hash, || true).await.unwrap());
    }
}

//! bcrypt, away from the workers: it takes 50 to 300 ms of a core for each password. So few run at a time that traffic
//! keeps its cores, and so few wait that a flood of wrong passwords is answered at once. One client has few of the
//! places: whoever floods keeps nobody else from logging in.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::cause::{Cause, Failure};

/// How many passwords may wait for their turn.
const WAITING: usize = 64;
/// How many of one client: what is before another's password in the row.
const EACH: usize = 8;
/// For how long.
const PATIENCE: Duration = Duration::from_secs(5);

/// For all routes and workers.
#[derive(Debug)]
pub(in crate::proxy::layers) struct Hashing {
    /// Half of the cores, at least one.
    turns: Arc<Semaphore>,
    /// By clients: how many wait of each, and never a zero. Its size has the bound of all places.
    waiting: Mutex<HashMap<u64, usize>>,
}

impl Hashing {
    pub(in crate::proxy::layers) fn new() -> Arc<Self> {
        let cores = available_parallelism().map_or(1, NonZeroUsize::get);
        Arc::new(Self { turns: Arc::new(Semaphore::new((cores / 2).max(1))), waiting: Mutex::default() })
    }

    /// Is this the password of this hash? `known`: asked once it is its turn, since that may answer it by then.
    /// `client`: who asks.
    ///
    /// # Errors
    /// When too many wait already, or the turn does not come.
    pub(super) async fn is(
        &self,
        client: u64,
        password: Vec<u8>,
        hash: String,
        known: impl Fn() -> bool,
    ) -> Result<bool, Box<Failure>> {
        let busy = || {
            let again = Duration::from_secs(1);
            Box::new(Failure::new(Cause::ProxyBusy).seen("too many passwords wait to be checked").again(again))
        };
        let turn = {
            let Some(_place) = Place::take(&self.waiting, client) else { return Err(busy()) };
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
struct Place<'a>(&'a Mutex<HashMap<u64, usize>>, u64);

impl<'a> Place<'a> {
    fn take(waiting: &'a Mutex<HashMap<u64, usize>>, client: u64) -> Option<Self> {
        let mut all = lock(waiting);
        let own = all.get(&client).copied().unwrap_or(0);
        if own >= EACH || all.values().sum::<usize>() >= WAITING {
            return None;
        }
        all.insert(client, own + 1);
        Some(Self(waiting, client))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut all = lock(self.0);
        match all.get_mut(&self.1) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(all.remove(&self.1)),
        }
    }
}

/// A panic under this lock leaves numbers that are sound.
fn lock(waiting: &Mutex<HashMap<u64, usize>>) -> MutexGuard<'_, HashMap<u64, usize>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
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
        let ask = |client: usize| {
            let (hashing, hash) = (Arc::clone(&hashing), hash.clone());
            tokio::spawn(async move { hashing.is(client as u64, b"right".to_vec(), hash, || false).await })
        };
        let count = || lock(&hashing.waiting).values().sum::<usize>();
        let mut waiting: Vec<_> = (0..EACH).map(|_| ask(0)).collect();
        while count() < EACH {
            tokio::task::yield_now().await;
        }
        let refused = ask(0).await.unwrap().unwrap_err();
        assert_eq!(refused.cause, Cause::ProxyBusy, "one client has no more of the places");
        waiting.extend((EACH..WAITING).map(|n| ask(n / EACH)));
        while count() < WAITING {
            tokio::task::yield_now().await;
        }
        let refused = ask(99).await.unwrap().unwrap_err();
        assert_eq!((refused.cause, refused.again), (Cause::ProxyBusy, Some(Duration::from_secs(1))));
        drop(turns);
        for task in waiting {
            assert!(task.await.unwrap().unwrap());
        }
        assert!(lock(&hashing.waiting).is_empty());
        assert!(!hashing.is(0, b"wrong".to_vec(), hash.clone(), || false).await.unwrap());
        assert!(hashing.is(0, b"wrong".to_vec(), hash, || true).await.unwrap());
    }
}

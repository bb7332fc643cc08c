//! How many connections of a worker hibernate, and the word that more have begun to.
//!
//! It counts and tells; what becomes of the memory that they let go is decided where the workers are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::Notify;

/// A worker's sleeping connections; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Asleep(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    count: AtomicUsize,
    more: Notify,
}

impl Asleep {
    /// Connections that hold nothing but their socket and their clocks.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.count.load(Relaxed)
    }

    /// Resolves when a connection has fallen asleep since this last resolved. For one caller.
    pub async fn more(&self) {
        self.0.more.notified().await;
    }

    /// Counts a connection for as long as the guard lives.
    pub(super) fn one(&self) -> One {
        self.0.count.fetch_add(1, Relaxed);
        self.0.more.notify_one();
        One(self.clone())
    }
}

/// One sleeping connection.
pub(super) struct One(Asleep);

impl Drop for One {
    fn drop(&mut self) {
        self.0.0.count.fetch_sub(1, Relaxed);
    }
}

//! The request bodies of this worker that hold more than a little: where memory is short, they are asked to let go.
//!
//! A list of weak links, one for each thread. A body without much in it never comes here.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use super::replay::{self, Source};

/// A body from which so many bytes were taken is one of them.
pub(super) const LEAST: u64 = (16 << 10) + 1;
/// A client that has been silent for so long within its body is not waited for, where letting go is not enough.
const SILENT: Duration = Duration::from_secs(1);

thread_local! {
    static HELD: RefCell<Vec<Weak<Mutex<Source>>>> = const { RefCell::new(Vec::new()) };
}

/// One more.
pub(super) fn add(source: &Arc<Mutex<Source>>) {
    HELD.with_borrow_mut(|held| {
        // Before the list grows: it is at most twice as long as there ever were bodies at once.
        if held.len() == held.capacity() {
            held.retain(|source| source.strong_count() > 0);
            // Room for as many again, or the next one would look through them all once more.
            held.reserve(held.len() + 1);
        }
        held.push(Arc::downgrade(source));
    });
}

/// Memory is short: the bodies of requests on this thread keep nothing for a retry. `lasts`: that was not enough, and
/// requests whose client is silent within its body are refused.
pub fn let_go(lasts: bool, now: Instant) {
    // Whoever is woken runs later, and may add itself then.
    HELD.with_borrow_mut(|held| {
        held.retain(|source| {
            let Some(source) = source.upgrade() else { return false };
            replay::let_go(&source, lasts.then_some(SILENT), now);
            true
        });
        held.shrink_to_fit();
    });
}

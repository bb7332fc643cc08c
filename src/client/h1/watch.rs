//! The moment at which something happens on an idle connection: nobody waits for it, so it is noted by the waker that
//! the runtime calls. It does not know what has happened.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Wake;
use std::time::Duration;

use tokio::time::Instant;

/// See the module.
#[derive(Debug)]
pub(super) struct Watch {
    start: Instant,
    /// Nanoseconds after `start`; 0: nothing has happened.
    moment: AtomicU64,
}

impl Watch {
    pub(super) const fn new(start: Instant) -> Self {
        Self { start, moment: AtomicU64::new(0) }
    }

    /// When something has happened since the last time this was asked.
    pub(super) fn noted(&self) -> Option<Instant> {
        match self.moment.load(Relaxed) {
            0 => None,
            nanos => {
                self.moment.store(0, Relaxed);
                Some(self.start + Duration::from_nanos(nanos))
            }
        }
    }
}

impl Wake for Watch {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let nanos = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.moment.store(nanos.max(1), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_once() {
        let start = Instant::now();
        let watch = Arc::new(Watch::new(start));
        assert_eq!(watch.noted(), None);
        std::task::Waker::from(Arc::clone(&watch)).wake();
        assert!(watch.noted().is_some_and(|at| at > start && at <= Instant::now()));
        assert_eq!(watch.noted(), None);
    }
}

//! The latest events of level info and above, for those who follow them: each is the object of its log line.
//!
//! Who tells an event waits for nobody: it is kept here, and those who follow are woken to fetch it. Who is too slow
//! has missed what was kept no longer, and is told so. Bounded, in events and in bytes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// Events that are kept.
pub const KEPT: usize = 500;
/// Bytes of their lines. The newest one is kept whatever its size.
const BYTES: usize = 2 << 20;

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    /// Its place in the order of all events.
    pub sequence: u64,
    /// Its name, `upstream_evicted`; empty for what a library said.
    pub event: String,
    /// The object of its log line, without the end of line.
    pub json: String,
}

/// The events that are kept, and who follows them.
#[derive(Debug)]
pub struct Feed {
    kept: Mutex<Kept>,
    newest: watch::Sender<u64>,
}

#[derive(Debug)]
struct Kept {
    events: VecDeque<Arc<Told>>,
    bytes: usize,
    /// Of the next one.
    next: u64,
}

/// What somebody has not seen yet, in order.
#[derive(Debug)]
pub struct News {
    /// As many as are kept.
    pub events: Vec<Arc<Told>>,
    /// There were others before them, which are kept no longer.
    pub missed: u64,
}

impl Feed {
    /// An empty one. `first`: the sequence of its first event; a process that starts later takes a larger one, so that
    /// who has seen events of the one before it can go on.
    #[must_use]
    pub fn new(first: u64) -> Self {
        let kept = Kept { events: VecDeque::new(), bytes: 0, next: first.max(1) };
        Self { newest: watch::Sender::new(kept.next - 1), kept: Mutex::new(kept) }
    }

    /// Something has happened.
    pub fn tell(&self, event: String, json: String) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = kept.next;
        kept.next += 1;
        kept.bytes += json.len();
        kept.events.push_back(Arc::new(Told { sequence, event, json }));
        while kept.events.len() > KEPT || kept.bytes > BYTES && kept.events.len() > 1 {
            let gone = kept.events.pop_front().map_or(0, |gone| gone.json.len());
            kept.bytes -= gone;
        }
        // Under the lock, so that the number never goes back.
        self.newest.send_replace(sequence);
    }

    /// What came behind this sequence. One that is still to come was given by another process: everything is new.
    #[must_use]
    pub fn after(&self, sequence: u64) -> News {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = if sequence < kept.next { sequence } else { 0 };
        let begin = kept.events.partition_point(|told| told.sequence <= seen);
        let events: Vec<_> = kept.events.range(begin..).cloned().collect();
        let oldest = events.first().map_or(kept.next, |told| told.sequence);
        News { missed: oldest - 1 - seen.min(oldest - 1), events }
    }

    /// The last so many of them.
    #[must_use]
    pub fn last(&self, most: usize) -> Vec<Arc<Told>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.events.range(kept.events.len().saturating_sub(most)..).cloned().collect()
    }

    /// The sequence of the newest, whenever it changes.
    #[must_use]
    pub fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sequences(events: &[Arc<Told>]) -> Vec<u64> {
        events.iter().map(|told| told.sequence).collect()
    }

    proptest! {
        /// Whoever asks again and again, from where the last answer ended, gets each event once and in order, or hears
        /// how many it missed.
        #[test]
        fn nothing_comes_twice_and_what_is_lost_is_counted(steps in proptest::collection::vec((0..700_u64, any::<bool>()), 1..8)) {
            let feed = Feed::new(1000);
            let (mut told, mut seen, mut got, mut lost) = (0, 999, 0, 0);
            for (count, asks) in steps {
                for _ in 0..count {
                    feed.tell("event".into(), "{}".into());
                }
                told += count;
                prop_assert_eq!(*feed.newest().borrow(), 999 + told);
                if asks {
                    let news = feed.after(seen);
                    let wanted: Vec<_> = (seen + news.missed + 1..=999 + told).collect();
                    prop_assert_eq!(sequences(&news.events), wanted);
                    prop_assert!(news.events.len() <= KEPT);
                    (got, lost, seen) = (got + news.events.len() as u64, lost + news.missed, 999 + told);
                    prop_assert_eq!(got + lost, told);
                }
            }
        }
    }

    #[test]
    fn large_ones_are_fewer() {
        let feed = Feed::new(1);
        for _ in 0..5 {
            feed.tell("large".into(), "x".repeat(BYTES / 2));
        }
        assert_eq!(sequences(&feed.after(0).events), [4, 5]);
        feed.tell("larger".into(), "x".repeat(BYTES + 1));
        assert_eq!((sequences(&feed.last(50)), feed.after(0).missed), (vec![6], 5));
    }

    #[test]
    fn who_comes_from_another_process_gets_all_there_is() {
        let feed = Feed::new(100);
        assert!(feed.after(0).events.is_empty());
        feed.tell("one".into(), "{}".into());
        assert_eq!(sequences(&feed.after(7000).events), [100]);
        assert_eq!(sequences(&feed.after(50).events), [100], "of an earlier one");
        assert!(feed.after(100).events.is_empty() && feed.after(100).missed == 0);
    }
}

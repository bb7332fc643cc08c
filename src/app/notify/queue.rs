//! Changes that wait to be handed on: bounded, in order. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::observe::events::Told;
use crate::observe::events::feed::News;

/// Changes that wait; when there are more, the oldest are left out.
pub(super) const MOST: usize = 64;

/// The events that are changes of an upstream.
const CHANGES: [&str; 4] = ["upstream_ready", "upstream_back", "upstream_evicted", "upstream_switched"];

#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Arc<Told>>,
    lost: u64,
}

impl Queue {
    /// Takes the changes among what is new.
    pub(super) fn take(&mut self, news: News) {
        for told in news.events.into_iter().filter(|told| CHANGES.contains(&told.event.as_str())) {
            if self.waiting.len() >= MOST {
                self.waiting.pop_front();
                self.lost += 1;
            }
            self.waiting.push_back(told);
        }
    }

    /// The one that has waited longest.
    pub(super) fn next(&mut self) -> Option<Arc<Told>> {
        self.waiting.pop_front()
    }

    /// Does none wait?
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many were left out since this was asked last.
    pub(super) fn lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(events: impl Iterator<Item = (u64, &'static str)>) -> News {
        let told = |(sequence, event): (u64, &str)| Arc::new(Told { sequence, event: event.into(), json: "{}".into() });
        News { events: events.map(told).collect(), missed: 0 }
    }

    #[test]
    fn only_changes_wait_and_in_order() {
        let mut queue = Queue::default();
        queue.take(news([(1, "upstream_evicted"), (2, "request_failed"), (3, "upstream_back"), (4, "")].into_iter()));
        assert_eq!([queue.next(), queue.next()].map(|told| told.unwrap().sequence), [1, 3]);
        assert!(queue.next().is_none() && queue.lost() == 0);
    }

    #[test]
    fn the_oldest_are_left_out_and_counted() {
        let mut queue = Queue::default();
        queue.take(news((1..=70).map(|sequence| (sequence, "upstream_back"))));
        assert_eq!((queue.lost(), queue.lost()), (6, 0));
        let left: Vec<_> = std::iter::from_fn(|| queue.next()).map(|told| told.sequence).collect();
        assert_eq!(left, (7..=70).collect::<Vec<_>>());
    }
}

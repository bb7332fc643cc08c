//! The bounded queue of requests that wait for a slot, when every upstream that they may use has as many requests as
//! `limits.in_flight` allows. First come, first served, over all workers; one freed slot wakes one waiter.
//!
//! [`mod@line`] is the order, pure; this adds the lock and the wake-ups. It knows no upstreams: whoever is woken looks
//! for a slot himself. While nobody waits, a freed slot costs one load.

mod line;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use line::{After, Key, Line};

/// The queue of one pool.
#[derive(Debug)]
pub struct Queue {
    /// How many are in the line, for readers without the lock.
    waiting: AtomicUsize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    line: Line,
    sleepers: BTreeMap<Key, Arc<Notify>>,
}

/// A place in the queue. Dropped, it leaves; a slot that was meant for it then goes to the next.
#[derive(Debug)]
pub struct Ticket {
    queue: Arc<Queue>,
    key: Key,
    wake: Arc<Notify>,
    /// It looks before it sleeps.
    looks: bool,
    served: bool,
}

impl Queue {
    /// Nobody waits.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { waiting: AtomicUsize::new(0), inner: Mutex::default() })
    }

    /// How many wait: a newcomer goes to the end of the line while there are any.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// The last place in the line; `None` when all of them (`limits.queue`) are taken.
    #[must_use]
    pub fn join(self: &Arc<Self>, places: usize) -> Option<Ticket> {
        if places == 0 {
            return None;
        }
        let wake = Arc::new(Notify::new());
        let mut inner = self.lock();
        let (key, looks) = inner.line.join(places)?;
        inner.sleepers.insert(key, Arc::clone(&wake));
        self.waiting.store(inner.line.len(), Ordering::SeqCst);
        drop(inner);
        // Whoever frees a slot counts down first, then looks at `waiting` (both `SeqCst`): either it sees this one
        // here, or this one sees the slot when it looks.
        fence(Ordering::SeqCst);
        Some(Ticket { queue: Arc::clone(self), key, wake, looks, served: false })
    }

    /// A slot is free: called after the upstream's count went down (`SeqCst`). One load while nobody waits.
    pub fn freed(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.tell(Line::freed);
        }
    }

    /// There may be other slots than before: an upstream came back, or the members changed.
    pub fn changed(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.tell(Line::changed);
        }
    }

    fn tell(&self, what: impl FnOnce(&mut Line) -> Option<Key>) {
        let mut inner = self.lock();
        let next = what(&mut inner.line);
        let wake = next.and_then(|key| inner.sleepers.get(&key).cloned());
        drop(inner);
        if let Some(wake) = wake {
            wake.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // What the lock guards is whole after every statement.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Resolves when there may be a slot: look, then say [`Ticket::served`] or [`Ticket::found_nothing`]. May be
    /// cancelled at any time.
    pub async fn turn(&mut self) {
        if !std::mem::take(&mut self.looks) {
            self.wake.notified().await;
        }
    }

    /// There was none. `picky`: some upstream of the pool is no choice for this request that is one for others (it was
    /// tried before), so others may have more luck.
    pub fn found_nothing(&mut self, picky: bool) {
        let Self { queue, key, looks, .. } = self;
        queue.tell(|line| match line.found_nothing(*key, picky) {
            After::Again => {
                *looks = true;
                None
            }
            After::Sleep(next) => next,
        });
    }

    /// It has a slot.
    pub fn served(mut self) {
        self.served = true;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Self { queue, key, served, .. } = self;
        let mut inner = queue.lock();
        inner.sleepers.remove(key);
        drop(inner);
        queue.tell(|line| {
            let next = line.leave(*key, *served);
            queue.waiting.store(line.len(), Ordering::SeqCst);
            next
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// More than any test has who wait.
    const PLACES: usize = 10_000;

    /// Slots as a pool has them: a count, claimed by comparing.
    struct Slots {
        limit: usize,
        taken: AtomicUsize,
        most: AtomicUsize,
    }

    impl Slots {
        fn claim(&self) -> bool {
            let more = |taken| (taken < self.limit).then_some(taken + 1);
            let claimed = self.taken.fetch_update(Ordering::SeqCst, Ordering::Relaxed, more);
            if let Ok(before) = claimed {
                self.most.fetch_max(before + 1, Ordering::Relaxed);
            }
            claimed.is_ok()
        }

        fn free(&self, queue: &Queue) {
            self.taken.fetch_sub(1, Ordering::SeqCst);
            queue.freed();
        }
    }

    /// Waits until it has a slot, or gives up at a random moment.
    async fn take(slots: &Slots, queue: &Arc<Queue>, patience: Option<Duration>) -> bool {
        if queue.waiting() == 0 && slots.claim() {
            return true;
        }
        let Some(mut ticket) = queue.join(PLACES) else { return false };
        let looking = async {
            loop {
                ticket.turn().await;
                if slots.claim() {
                    return ticket.served();
                }
                ticket.found_nothing(false);
            }
        };
        match patience {
            Some(patience) => tokio::time::timeout(patience, looking).await.is_ok(),
            None => {
                looking.await;
                true
            }
        }
    }

    /// Many tasks on several threads, a few slots, some that give up: nobody who waits for ever is left behind, and
    /// never are there more at once than slots.
    #[test]
    fn no_wake_up_is_lost_among_threads() {
        for seed in 0..6 {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
            runtime.block_on(async {
                let slots = Arc::new(Slots { limit: 3, taken: AtomicUsize::new(0), most: AtomicUsize::new(0) });
                let queue = Queue::new();
                let mut rng = fastrand::Rng::with_seed(seed);
                let mut tasks = tokio::task::JoinSet::new();
                for _ in 0..2000 {
                    let (slots, queue) = (Arc::clone(&slots), Arc::clone(&queue));
                    let (spins, patience) = (rng.u32(0..200), rng.u64(0..3000));
                    let patience = rng.bool().then(|| Duration::from_micros(patience));
                    tasks.spawn(async move {
                        let had = take(&slots, &queue, patience).await;
                        if had {
                            (0..spins).for_each(|_| std::hint::spin_loop());
                            if spins % 3 == 0 {
                                tokio::task::yield_now().await;
                            }
                            slots.free(&queue);
                        }
                        assert!(had || patience.is_some());
                    });
                }
                let all = async { while tasks.join_next().await.transpose().expect("no task fails").is_some() {} };
                tokio::time::timeout(Duration::from_secs(60), all).await.expect("somebody was never woken");
                assert_eq!((slots.taken.load(Ordering::SeqCst), queue.waiting()), (0, 0), "seed {seed}");
                assert_eq!(slots.most.load(Ordering::Relaxed), 3);
            });
        }
    }

    #[tokio::test]
    async fn first_come_first_served() {
        let slots = Arc::new(Slots { limit: 1, taken: AtomicUsize::new(0), most: AtomicUsize::new(0) });
        let queue = Queue::new();
        assert!(take(&slots, &queue, None).await);
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..50 {
            let (slots, queue, order) = (Arc::clone(&slots), Arc::clone(&queue), Arc::clone(&order));
            tasks.spawn(async move {
                assert!(take(&slots, &queue, None).await);
                order.lock().unwrap().push(number);
                slots.free(&queue);
            });
        }
        while queue.waiting() < 50 {
            tokio::task::yield_now().await;
        }
        assert!(queue.join(50).is_none(), "all places are taken");
        slots.free(&queue);
        while tasks.join_next().await.is_some() {}
        assert_eq!(*order.lock().unwrap(), (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn without_places_nobody_waits() {
        assert!(Queue::new().join(0).is_none());
    }
}

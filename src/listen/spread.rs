//! One worker accepts for all where a socket cannot be opened once for each of them (`unix:`, `fd:`): each connection
//! goes to the worker that has the fewest of that socket's. It reads and writes nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use super::permits::Permit;
use super::socket::Loose;

/// A connection on its way to another worker. No more wait than there are permits.
pub(super) struct Passed {
    pub(super) socket: Loose,
    pub(super) peer: SocketAddr,
    pub(super) permit: Permit,
    pub(super) seat: Seat,
}

/// Where the connections of one socket go. Held by the worker that accepts them; when it is gone, the takers end.
#[derive(Debug)]
pub struct Spread {
    /// One for each worker; without a way: the one that accepts.
    workers: Vec<(Arc<AtomicUsize>, Option<mpsc::UnboundedSender<Passed>>)>,
}

/// Where a worker gets its share of another worker's connections.
#[derive(Debug)]
pub struct Taker(mpsc::UnboundedReceiver<Passed>);

/// What worker `own` accepts with, and what each of the others takes from (`None`: its own place), in their order.
#[must_use]
pub fn over(workers: usize, own: usize) -> (Spread, Vec<Option<Taker>>) {
    let (workers, takers) = (0..workers.max(1))
        .map(|index| {
            let (to, from) = mpsc::unbounded_channel();
            let others = index != own;
            ((Arc::default(), others.then_some(to)), others.then_some(Taker(from)))
        })
        .unzip();
    (Spread { workers }, takers)
}

/// A connection's place on a worker; given back when it ends.
#[derive(Debug)]
pub(super) struct Seat(Arc<AtomicUsize>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Spread {
    /// A seat where the fewest are taken, and the way there; `None`: it is here.
    pub(super) fn seat(&self) -> (Seat, Option<&mpsc::UnboundedSender<Passed>>) {
        let fewest = self.workers.iter().min_by_key(|(taken, _)| taken.load(Ordering::Relaxed));
        // Never empty.
        let (taken, to) = fewest.map_or_else(|| (Arc::default(), None), |(taken, to)| (Arc::clone(taken), to.as_ref()));
        taken.fetch_add(1, Ordering::Relaxed);
        (Seat(taken), to)
    }
}

impl Taker {
    /// The next one; `None` when there will be no more.
    pub(super) async fn next(&mut self) -> Option<Passed> {
        self.0.recv().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_goes_where_the_fewest_are() {
        let (spread, takers) = over(3, 1);
        assert_eq!(takers.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
        let count = || spread.workers.iter().map(|(taken, _)| taken.load(Ordering::Relaxed)).collect::<Vec<_>>();
        let mut seats: Vec<Seat> = (0..6).map(|_| spread.seat().0).collect();
        assert_eq!(count(), [2, 2, 2]);
        drop(seats.remove(1));
        assert_eq!(count(), [2, 1, 2]);
        let (_seat, to) = spread.seat();
        assert!(to.is_none() && count() == [2, 2, 2]);
    }
}

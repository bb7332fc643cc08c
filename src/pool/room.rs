//! A number of places for the whole process: a bound on how many are somewhere at once. It makes nobody wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many are in.
#[derive(Clone, Debug, Default)]
pub struct Room(Arc<AtomicUsize>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Place(Arc<AtomicUsize>);

impl Room {
    /// A place, unless `most` are taken.
    #[must_use]
    pub fn enter(&self, most: usize) -> Option<Place> {
        let place = Place(Arc::clone(&self.0));
        (self.0.fetch_add(1, Ordering::Relaxed) < most).then_some(place)
    }

    /// How many are in.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_and_no_more() {
        let room = Room::default();
        let first = room.enter(2);
        let second = room.enter(2);
        assert!(first.is_some() && second.is_some() && room.enter(2).is_none());
        assert_eq!(room.taken(), 2, "who was refused is not in");
        drop(first);
        assert!(room.enter(2).is_some());
        assert_eq!(room.taken(), 1);
    }
}

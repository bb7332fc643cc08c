//! The order of those who wait for a slot, and whom a freed slot wakes. Pure: no clock, no lock, no wake-up of its own.
//!
//! One freed slot wakes one waiter, the first that sleeps. A slot that the woken one cannot use (it tried that upstream
//! before) or does not live to use goes on to the next. What is less certain (an upstream came back, something was
//! freed while all were awake) makes a chain instead: whoever is served wakes the next, until one finds nothing.

use std::collections::VecDeque;

/// A place in the line.
pub(super) type Key = u64;

/// Who waits, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Line {
    waiters: VecDeque<(Key, State)>,
    next: Key,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Until somebody wakes it.
    Asleep,
    /// Awake for one slot that was freed.
    Sure,
    /// Awake to look what there is: nothing, one slot or several. `again`: more happened while it looked.
    Looking { again: bool },
}

/// What a waiter does after it looked in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// Look once more.
    Again,
    /// Sleep; and this one is to be woken in its stead.
    Sleep(Option<Key>),
}

impl Line {
    /// How many wait, awake or asleep.
    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    /// The last place, unless all are taken. True: it looks for a slot before it sleeps, as nobody else is about to.
    pub(super) fn join(&mut self, places: usize) -> Option<(Key, bool)> {
        if self.waiters.len() >= places {
            return None;
        }
        let key = self.next;
        self.next += 1;
        let looks = match self.waiters.iter_mut().rev().find(|(_, state)| *state != State::Asleep) {
            // Those that sleep have seen that there is nothing for them; one that is awake will pass on what it leaves.
            Some((_, state)) => {
                *state = State::Looking { again: true };
                false
            }
            None => true,
        };
        self.waiters.push_back((key, if looks { State::Looking { again: false } } else { State::Asleep }));
        Some((key, looks))
    }

    /// A slot is free: whom to wake.
    pub(super) fn freed(&mut self) -> Option<Key> {
        match self.waiters.iter_mut().find(|(_, state)| *state != State::Sure) {
            Some((key, state @ State::Asleep)) => {
                *state = State::Sure;
                Some(*key)
            }
            Some((_, looking)) => {
                *looking = State::Looking { again: true };
                None
            }
            None => self.wake_first(State::Sure),
        }
    }

    /// Something may have become free: whom to wake to have a look.
    pub(super) fn changed(&mut self) -> Option<Key> {
        self.wake_first(State::Looking { again: false })
    }

    /// It looked and there was nothing for it. `picky`: some upstream was no choice for it that is one for others.
    pub(super) fn found_nothing(&mut self, key: Key, picky: bool) -> After {
        let Some(index) = self.index(key) else { return After::Sleep(None) };
        let state = std::mem::replace(&mut self.waiters[index].1, State::Asleep);
        match state {
            State::Looking { again: true } => {
                self.waiters[index].1 = State::Looking { again: false };
                After::Again
            }
            State::Asleep => After::Sleep(None),
            // Where one that may take any upstream finds none, nobody does.
            State::Sure | State::Looking { .. } if !picky => After::Sleep(None),
            State::Sure | State::Looking { .. } => {
                let behind = self.waiters.iter_mut().skip(index + 1).find(|(_, other)| *other == State::Asleep);
                After::Sleep(behind.map(|(key, other)| {
                    *other = state;
                    *key
                }))
            }
        }
    }

    /// It leaves, with a slot or without; whom to wake in its stead.
    pub(super) fn leave(&mut self, key: Key, served: bool) -> Option<Key> {
        let (_, state) = self.index(key).and_then(|index| self.waiters.remove(index))?;
        match state {
            State::Asleep => None,
            State::Sure if served => None,
            State::Sure => self.wake_first(State::Sure),
            State::Looking { .. } => self.wake_first(State::Looking { again: false }),
        }
    }

    /// Wakes the first that sleeps, for this; if all are awake, the last of them will look once more and pass it on.
    fn wake_first(&mut self, state: State) -> Option<Key> {
        if let Some((key, asleep)) = self.waiters.iter_mut().find(|(_, state)| *state == State::Asleep) {
            *asleep = state;
            return Some(*key);
        }
        if let Some((_, awake)) = self.waiters.back_mut() {
            *awake = State::Looking { again: true };
        }
        None
    }

    fn index(&self, key: Key) -> Option<usize> {
        self.waiters.binary_search_by_key(&key, |(key, _)| *key).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn line(waiters: usize) -> (Line, Vec<Key>) {
        let mut line = Line::default();
        let keys = (0..waiters)
            .map(|_| {
                let (key, looks) = line.join(100).unwrap();
                assert!(looks, "all in front of it sleep");
                assert_eq!(line.found_nothing(key, false), After::Sleep(None));
                key
            })
            .collect();
        (line, keys)
    }

    #[test]
    fn a_freed_slot_wakes_the_first_and_nobody_else() {
        let (mut line, keys) = line(3);
        assert_eq!(line.freed(), Some(keys[0]));
        assert_eq!(line.freed(), Some(keys[1]));
        assert_eq!(line.leave(keys[0], true), None);
        assert_eq!(line.leave(keys[1], true), None);
        assert_eq!((line.len(), line.freed()), (1, Some(keys[2])));
    }

    #[test]
    fn one_that_is_gone_passes_its_slot_on() {
        let (mut line, keys) = line(3);
        assert_eq!(line.freed(), Some(keys[0]));
        assert_eq!(line.leave(keys[0], false), Some(keys[1]), "it was woken, and gave up");
        assert_eq!(line.leave(keys[2], false), None, "it slept");
        assert_eq!(line.leave(keys[1], true), None);
    }

    #[test]
    fn a_slot_that_is_no_choice_for_the_first_goes_to_the_next() {
        let (mut line, keys) = line(3);
        assert_eq!(line.freed(), Some(keys[0]));
        assert_eq!(line.found_nothing(keys[0], true), After::Sleep(Some(keys[1])));
        assert_eq!(line.found_nothing(keys[1], false), After::Sleep(None), "there is none");
        assert_eq!(line.freed(), Some(keys[0]), "each keeps its place");
    }

    #[test]
    fn a_change_is_a_chain_of_looks() {
        let (mut line, keys) = line(3);
        assert_eq!(line.changed(), Some(keys[0]));
        assert_eq!(line.leave(keys[0], true), Some(keys[1]));
        assert_eq!(line.found_nothing(keys[1], false), After::Sleep(None));
    }

    #[test]
    fn what_is_freed_while_all_are_awake_is_not_lost() {
        let (mut line, keys) = line(1);
        assert_eq!((line.freed(), line.freed()), (Some(keys[0]), None));
        let (late, looks) = line.join(100).unwrap();
        assert!(!looks, "somebody is awake");
        assert_eq!(line.leave(keys[0], true), Some(late));
    }

    #[test]
    fn there_are_only_so_many_places() {
        let mut line = Line::default();
        assert!(line.join(0).is_none());
        assert!(line.join(1).is_some() && line.join(1).is_none());
    }

    /// Slots of two upstreams, waiters that may take both or one of them, and any order of events. When nobody is
    /// awake, no free slot is of use to anybody who sleeps.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        Join { a: bool, b: bool },
        Free { a: bool },
        Act { which: usize },
        Leave { which: usize },
        Return,
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = prop_oneof![
            4 => (any::<bool>(), any::<bool>()).prop_map(|(a, b)| Event::Join { a: a || !b, b }),
            4 => any::<bool>().prop_map(|a| Event::Free { a }),
            6 => (0..8_usize).prop_map(|which| Event::Act { which }),
            1 => (0..8_usize).prop_map(|which| Event::Leave { which }),
            1 => Just(Event::Return),
        ];
        proptest::collection::vec(event, 0..120)
    }

    #[derive(Default)]
    struct World {
        line: Line,
        /// What each may take, and whether it is awake.
        waiters: BTreeMap<Key, ((bool, bool), bool)>,
        free: [usize; 2],
    }

    impl World {
        fn wake(&mut self, key: Option<Key>) {
            if let Some(key) = key {
                let (_, awake) = self.waiters.get_mut(&key).expect("only who waits is woken");
                assert!(!*awake, "nobody is woken twice");
                *awake = true;
            }
        }

        fn act(&mut self, key: Key) {
            let ((a, b), _) = self.waiters[&key];
            let slot = [a, b].into_iter().enumerate().position(|(index, may)| may && self.free[index] > 0);
            if let Some(slot) = slot {
                self.free[slot] -= 1;
                self.waiters.remove(&key);
                let next = self.line.leave(key, true);
                return self.wake(next);
            }
            if let After::Sleep(next) = self.line.found_nothing(key, !(a && b)) {
                self.waiters.get_mut(&key).unwrap().1 = false;
                self.wake(next);
            }
        }

        fn awake(&self) -> Vec<Key> {
            self.waiters.iter().filter(|(_, (_, awake))| *awake).map(|(key, _)| *key).collect()
        }

        fn on(&mut self, event: Event) {
            match event {
                Event::Join { a, b } => {
                    let (key, looks) = self.line.join(usize::MAX).unwrap();
                    self.waiters.insert(key, ((a, b), looks));
                }
                Event::Free { a } => {
                    self.free[usize::from(!a)] += 1;
                    let next = self.line.freed();
                    self.wake(next);
                }
                Event::Return => {
                    self.free = [self.free[0] + 2, self.free[1] + 2];
                    let next = self.line.changed();
                    self.wake(next);
                }
                Event::Act { which } => {
                    let awake = self.awake();
                    if !awake.is_empty() {
                        self.act(awake[which % awake.len()]);
                    }
                }
                Event::Leave { which } => {
                    let all: Vec<Key> = self.waiters.keys().copied().collect();
                    if !all.is_empty() {
                        let key = all[which % all.len()];
                        self.waiters.remove(&key);
                        let next = self.line.leave(key, false);
                        self.wake(next);
                    }
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn no_wake_up_is_lost_in_any_order_of_events(events in events()) {
            let mut world = World::default();
            for event in events {
                world.on(event);
            }
            for _ in 0..10_000 {
                match world.awake().first() {
                    Some(&key) => world.act(key),
                    None => break,
                }
            }
            prop_assert!(world.awake().is_empty(), "they wake each other for ever");
            for (key, ((a, b), _)) in &world.waiters {
                let of_use = *a && world.free[0] > 0 || *b && world.free[1] > 0;
                prop_assert!(!of_use, "{key} sleeps while {:?} are free", world.free);
            }
            prop_assert_eq!(world.line.len(), world.waiters.len());
        }
    }
}

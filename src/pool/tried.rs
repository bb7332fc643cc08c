//! Which members of a list a request has tried: a set of small numbers, and a count. It knows no upstreams.

/// A set of indexes, without allocation for the first 64.
#[derive(Debug, Default)]
pub(super) struct Tried {
    low: u64,
    /// From 64 on, 64 in each.
    high: Vec<u64>,
    /// How many tries there were: more than the set holds once a tried one has left the pool.
    pub(super) count: usize,
}

impl Tried {
    /// None of a new list, after so many tries.
    pub(super) fn after(count: usize) -> Self {
        Self { count, ..Self::default() }
    }

    pub(super) fn contains(&self, index: usize) -> bool {
        let word = if index < 64 { Some(&self.low) } else { self.high.get(index / 64 - 1) };
        word.is_some_and(|word| word & (1 << (index % 64)) != 0)
    }

    pub(super) fn insert(&mut self, index: usize) {
        self.mark(index);
        self.count += 1;
    }

    pub(super) fn mark(&mut self, index: usize) {
        *self.word(index) |= 1 << (index % 64);
    }

    pub(super) fn unmark(&mut self, index: usize) {
        *self.word(index) &= !(1 << (index % 64));
    }

    fn word(&mut self, index: usize) -> &mut u64 {
        if index < 64 {
            return &mut self.low;
        }
        let at = index / 64 - 1;
        if self.high.len() <= at {
            self.high.resize(at + 1, 0);
        }
        &mut self.high[at]
    }
}

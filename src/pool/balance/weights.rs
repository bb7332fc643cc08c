//! The weights of a list of members, and one of them drawn by weight at the same cost for any number (alias method).

use fastrand::Rng;

/// See the module.
#[derive(Debug)]
pub(super) struct Weights {
    each: Box<[u8]>,
    mean: f32,
    /// `None`: all weigh the same.
    alias: Option<Alias>,
}

/// For each index as many parts of `total` as it is itself when it is drawn, and who it is else (Vose 1991).
#[derive(Debug)]
struct Alias {
    total: u32,
    slots: Box<[(u32, u32)]>,
}

impl Weights {
    /// Weights of 1 to 100; 0 counts as 1.
    pub(super) fn new(mut each: Box<[u8]>) -> Self {
        each.iter_mut().for_each(|weight| *weight = (*weight).clamp(1, 100));
        let total: u32 = each.iter().map(|&weight| u32::from(weight)).sum();
        let unequal = each.windows(2).any(|pair| pair[0] != pair[1]);
        let alias = unequal.then(|| Alias::new(&each, total));
        #[allow(clippy::cast_precision_loss)] // a mean
        let mean = total as f32 / each.len().max(1) as f32;
        Self { each, mean, alias }
    }

    /// How many members there are.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.each.len()
    }

    pub(super) fn each(&self) -> &[u8] {
        &self.each
    }

    #[inline]
    pub(super) fn of(&self, index: usize) -> u8 {
        self.each[index]
    }

    /// Of all members.
    #[inline]
    pub(super) const fn mean(&self) -> f32 {
        self.mean
    }

    /// All weigh the same.
    #[inline]
    pub(super) const fn equal(&self) -> bool {
        self.alias.is_none()
    }

    /// One of the members (there is one), as often as its weight is of all.
    #[inline]
    pub(super) fn draw(&self, rng: &mut Rng) -> usize {
        let slot = rng.usize(..self.each.len());
        match &self.alias {
            None => slot,
            Some(alias) => {
                let (own, other) = alias.slots[slot];
                if rng.u32(..alias.total) < own { slot } else { other as usize }
            }
        }
    }
}

impl Alias {
    #[allow(clippy::cast_possible_truncation)] // indexes of members, and parts of the total
    fn new(each: &[u8], total: u32) -> Self {
        // What each has to give, in units in which a slot holds `total`: whoever has more fills up one that has less.
        let mut parts: Vec<u64> = each.iter().map(|&weight| u64::from(weight) * each.len() as u64).collect();
        let whole = u64::from(total);
        let mut slots: Box<[(u32, u32)]> = (0..each.len() as u32).map(|index| (total, index)).collect();
        let (mut poor, mut rich): (Vec<usize>, Vec<usize>) = (0..each.len()).partition(|&index| parts[index] < whole);
        while let (Some(low), Some(&high)) = (poor.pop(), rich.last()) {
            slots[low] = (parts[low] as u32, high as u32);
            parts[high] -= whole - parts[low];
            if parts[high] < whole {
                rich.pop();
                poor.push(high);
            }
        }
        Self { total, slots }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_slots_hold_each_members_weight_exactly(each in proptest::collection::vec(1..=100_u8, 2..300)) {
            let total = each.iter().map(|&w| u32::from(w)).sum();
            let alias = Alias::new(&each, total);
            let mut held = vec![0_u64; each.len()];
            for (index, &(own, other)) in alias.slots.iter().enumerate() {
                prop_assert!(own <= total);
                held[index] += u64::from(own);
                held[other as usize] += u64::from(total - own);
            }
            let wanted: Vec<u64> = each.iter().map(|&w| u64::from(w) * each.len() as u64).collect();
            prop_assert_eq!(held, wanted);
        }
    }

    #[test]
    fn weights_outside_their_range_are_brought_into_it() {
        assert_eq!(Weights::new([0, 255].into()).each(), [1, 100]);
        assert!(Weights::new([7, 7].into()).equal() && !Weights::new([7, 8].into()).equal());
    }
}

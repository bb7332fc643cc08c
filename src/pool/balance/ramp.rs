//! Slow start: how much of an upstream's weight holds while it is fresh from a recovery. The factor grows with time,
//! from a tenth to the whole. Since when, is told.

use std::time::Duration;

use fastrand::Rng;

/// A part of a weight, in 1,024ths: never nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u16);

const WHOLE: u16 = 1024;
/// A tenth: an upstream that gets next to nothing learns next to nothing.
const LEAST: u16 = 103;

impl Share {
    /// All of it.
    pub const FULL: Self = Self(WHOLE);

    /// So long after a recovery, of a slow start of this length.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // below 1,024
    pub fn after(since: Duration, whole: Duration) -> Self {
        if since >= whole {
            return Self::FULL;
        }
        let part = since.as_nanos() * u128::from(WHOLE) / whole.as_nanos();
        Self((part as u16).max(LEAST))
    }

    /// No part is missing.
    #[must_use]
    #[inline]
    pub const fn is_full(self) -> bool {
        self.0 == WHOLE
    }

    /// Of a weight, in 1,024ths.
    #[inline]
    pub(super) const fn of(self, weight: u8) -> u32 {
        self.0 as u32 * weight as u32
    }

    /// Yes, as often as this is of the whole.
    #[inline]
    pub(super) fn joins(self, rng: &mut Rng) -> bool {
        self.is_full() || rng.u16(..WHOLE) < self.0
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #[test]
        fn it_grows_from_a_tenth_to_the_whole_and_never_shrinks(whole in 1..100_000_u64, a in 0..120_000_u64, b in 0..120_000_u64) {
            let at = |ms| Share::after(Duration::from_millis(ms), Duration::from_millis(whole));
            prop_assert!(at(a.min(b)) <= at(a.max(b)));
            prop_assert!(at(a).0 >= LEAST);
            prop_assert_eq!(at(a).is_full(), a >= whole);
        }
    }

    #[test]
    fn half_way_it_is_half() {
        assert_eq!(Share::after(Duration::from_secs(5), Duration::from_secs(10)), Share(512));
        assert_eq!(Share::after(Duration::ZERO, Duration::from_secs(10)), Share(LEAST));
        assert_eq!(Share::after(Duration::ZERO, Duration::ZERO), Share::FULL);
    }

    #[test]
    fn it_joins_as_often_as_its_share() {
        let mut rng = Rng::with_seed(5);
        let joined = (0..10_000).filter(|_| Share(512).joins(&mut rng)).count();
        assert!((4_800..5_200).contains(&joined), "{joined}");
        assert!((0..100).all(|_| Share::FULL.joins(&mut rng)));
    }
}

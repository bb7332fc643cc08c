//! A hash that is the same in every process and every version: FNV-1a, 64 bits, with the finaliser of SplitMix64.
//!
//! FNV-1a is fixed for ever and good for short texts, but its upper bits lag behind; the finaliser spreads every bit
//! over all of them. It is no secret: who knows it can send many keys to one upstream. Nothing here guards anything.

/// A hash in the making.
#[derive(Clone, Copy, Debug)]
pub struct Stable(u64);

impl Stable {
    /// Of nothing yet.
    #[must_use]
    #[allow(clippy::new_without_default)] // a hash has no default, it has a beginning
    pub const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// With these bytes after those before.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)))
    }

    /// With these bytes, told apart from what follows: `ab` and `c` is not `a` and `bc`.
    #[must_use]
    pub fn word(self, bytes: &[u8]) -> Self {
        self.bytes(bytes).bytes(&(bytes.len() as u64).to_le_bytes())
    }

    /// The hash.
    #[must_use]
    pub const fn finish(self) -> u64 {
        mix(self.0)
    }
}

/// Spreads every bit over all of them; two inputs never meet.
#[inline]
pub(super) const fn mix(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_it_always_was() {
        // FNV-1a of "" and of "foobar", from its reference; SplitMix64's first output for the seed 0.
        assert_eq!(Stable::new().0, 0xcbf2_9ce4_8422_2325);
        assert_eq!(Stable::new().bytes(b"foobar").0, 0x8594_4171_f739_67e8);
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn words_have_ends() {
        let of = |a: &[u8], b: &[u8]| Stable::new().word(a).word(b).finish();
        assert_ne!(of(b"ab", b"c"), of(b"a", b"bc"));
        assert_ne!(of(b"", b"a"), of(b"a", b""));
    }

    #[test]
    fn neighbours_are_far_apart() {
        let of = |n: u32| Stable::new().bytes(n.to_string().as_bytes()).finish();
        let flipped: u32 = (0..10_000).map(|n| (of(n) ^ of(n + 1)).count_ones()).sum();
        assert!((310_000..330_000).contains(&flipped), "half of 64 bits each time, not {flipped} in 10,000");
    }
}

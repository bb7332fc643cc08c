//! The trace that a request belongs to, as its client says it (W3C Trace Context, `traceparent`). It is read, never
//! made or changed.

use std::num::NonZeroU128;

/// 32 hex digits, not all of them 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(NonZeroU128);

impl TraceId {
    /// Of such a field; `None` where it is not one (W3C Trace Context §3.2.2).
    #[must_use]
    pub fn of(traceparent: &[u8]) -> Option<Self> {
        let (head, rest) = traceparent.split_first_chunk::<55>()?;
        let [v1, v2, b'-', id @ .., b'-', _, _] = head else { return None };
        let (id, parent) = id.split_first_chunk::<32>()?;
        let [b'-', parent @ ..] = parent else { return None };
        let version = number(&[*v1, *v2])?;
        let fits = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.first().is_none_or(|byte| *byte == b'-'),
        };
        let known = number(parent)? != 0 && number(&head[53..]).is_some();
        NonZeroU128::new(number(id)?).filter(|_| fits && known).map(Self)
    }

    /// Its digits.
    #[must_use]
    pub fn digits(self) -> [u8; 32] {
        let mut digits = [0; 32];
        for (place, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(self.0.get().to_be_bytes()) {
            *place = [byte >> 4, byte & 15].map(|digit| if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
        }
        digits
    }
}

/// Of lower-case hex digits.
fn number(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(id in 1..=u128::MAX, parent in 1..=u64::MAX, flags: u8, version in 0..0xff_u8) {
            let text = format!("{version:02x}-{id:032x}-{parent:016x}-{flags:02x}");
            let read = TraceId::of(text.as_bytes()).unwrap();
            prop_assert_eq!(read.digits().to_vec(), format!("{id:032x}").into_bytes());
        }

        #[test]
        fn any_bytes_are_borne(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = TraceId::of(&bytes);
        }
    }

    #[test]
    fn what_is_none_is_none() {
        let (id, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        let of = |text: String| TraceId::of(text.as_bytes());
        assert!(of(format!("00-{id}-{parent}-01")).is_some());
        assert!(of(format!("cc-{id}-{parent}-01-what-comes-later")).is_some());
        for wrong in [
            format!("00-{id}-{parent}-01-more"),
            format!("cc-{id}-{parent}-01.more"),
            format!("ff-{id}-{parent}-01"),
            format!("00-{}-{parent}-01", "0".repeat(32)),
            format!("00-{id}-{}-01", "0".repeat(16)),
            format!("00-{}-{parent}-01", id.to_ascii_uppercase()),
            format!("00-{id}-{parent}-0g"),
            format!("00_{id}-{parent}-01"),
            format!("00-{id}-{parent}-0"),
        ] {
            assert_eq!(of(wrong.clone()), None, "{wrong}");
        }
    }
}

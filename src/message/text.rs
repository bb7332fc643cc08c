//! The text of heads: room that is filled from its beginning, several pieces at a time, and keeps its memory.

use http::{HeaderName, HeaderValue};

/// Most heads fit without growing.
const ROOM: usize = 1 << 10;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Text(Vec<u8>);

impl Text {
    /// Makes room for a head.
    pub(crate) fn open(&mut self) {
        self.0.reserve(ROOM);
    }

    /// All that was put.
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The same, for good.
    pub(crate) fn into_vec(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets what was put, and keeps the room.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// These, one behind the other: one look at the room for all of them.
    #[inline]
    pub(crate) fn put<const N: usize>(&mut self, parts: [&[u8]; N]) {
        self.0.reserve(parts.iter().map(|part| part.len()).sum());
        for part in parts {
            self.0.extend_from_slice(part);
        }
    }

    /// A field, and the end of its line. Two copies: what stands between is written by itself.
    #[inline]
    pub(crate) fn field(&mut self, name: &HeaderName, value: &HeaderValue) {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
        self.0.reserve(name.len() + value.len() + 4);
        self.0.extend_from_slice(name);
        self.0.extend_from_slice(b": ");
        self.0.extend_from_slice(value);
        self.0.extend_from_slice(b"\r\n");
    }
}

/// Decimal digits.
pub(crate) fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b"0123456789"[(number % 10) as usize];
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(mut number: usize, digits: &mut [u8; 16]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdef"[number & 15];
        number >>= 4;
        if number == 0 {
            return &digits[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_standard_library() {
        for number in [0, 9, 10, 16_384, u64::MAX] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string().as_bytes());
            let size = number as usize;
            assert_eq!(hex(size, &mut [0; 16]), format!("{size:x}").as_bytes());
        }
    }

    #[test]
    fn what_is_put_stands_in_order_however_long_it_is() {
        let mut text = Text::default();
        let long = "x".repeat(3 * ROOM);
        text.put([b"a", long.as_bytes()]);
        text.put([b"b"]);
        assert_eq!(text.as_slice(), format!("a{long}b").as_bytes());
        text.clear();
        text.open();
        text.field(&HeaderName::from_static("c"), &HeaderValue::from_static("d"));
        assert_eq!((text.as_slice(), text.len()), (&b"c: d\r\n"[..], 6));
    }
}

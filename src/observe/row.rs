//! One line in the making: its pieces go, one behind the other, into room that is made once for all of them. What does
//! not fit is left out, and the whole is written again with more room.
//!
//! Every request has such a line: the pieces that nearly all of them have are written by hand. It knows nothing of what
//! a line says.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::json;

/// Nearly all lines fit into this.
const USUAL: usize = 768;

/// See the module. It stays within one function: what is rare in a line is put together elsewhere and comes as bytes.
#[derive(Debug)]
pub(super) struct Row<'a> {
    room: &'a mut [u8],
    full: bool,
}

/// Appends the line that `write` writes; it is written again as long as it finds too little room.
pub(super) fn append(out: &mut Vec<u8>, mut write: impl FnMut(Row<'_>) -> Row<'_>) {
    let (from, mut size) = (out.len(), USUAL);
    loop {
        out.resize(from + size, 0);
        let row = write(Row { room: &mut out[from..], full: false });
        let (left, full) = (row.room.len(), row.full);
        if !full {
            out.truncate(from + size - left);
            return;
        }
        out.truncate(from);
        size *= 2;
    }
}

// Inlined, all of them: where the next piece goes is known without a look into memory, and so is what has one length.
impl Row<'_> {
    /// These bytes, as they are.
    #[inline(always)]
    pub(super) fn plain(&mut self, bytes: impl AsRef<[u8]>) {
        let (bytes, room) = (bytes.as_ref(), std::mem::take(&mut self.room));
        match room.split_at_mut_checked(bytes.len()) {
            Some((place, rest)) => {
                place.copy_from_slice(bytes);
                self.room = rest;
            }
            None => self.full = true,
        }
    }

    /// The first `length` of these bytes.
    #[inline(always)]
    fn first_of<const N: usize>(&mut self, bytes: [u8; N], length: usize) {
        let room = std::mem::take(&mut self.room);
        match room.first_chunk_mut::<N>() {
            Some(place) => {
                *place = bytes;
                self.room = room.get_mut(length..).unwrap_or_default();
            }
            None => self.full = true,
        }
    }

    /// The inside of a JSON string, as [`json::escaped`] writes it.
    #[inline(always)]
    pub(super) fn string(&mut self, bytes: &[u8]) {
        if json::copied(self.room, bytes) {
            self.room = std::mem::take(&mut self.room).get_mut(bytes.len()..).unwrap_or_default();
        } else {
            self.plain(specials(bytes));
        }
    }

    /// A number.
    #[inline(always)]
    pub(super) fn number(&mut self, number: u64) {
        let [a, b] = json::PAIRS[(number / 100 % 100) as usize];
        let [c, d] = json::PAIRS[(number % 100) as usize];
        match number {
            0..10 => self.plain([d]),
            10..100 => self.plain([c, d]),
            100..1000 => self.plain([b, c, d]),
            1000..10_000 => self.plain([a, b, c, d]),
            _ => {
                let (digits, at) = json::digits(number);
                self.plain(&digits[at..]);
            }
        }
    }

    /// Milliseconds with one decimal, as [`json::millis`] writes them.
    #[inline(always)]
    pub(super) fn millis(&mut self, duration: Duration) {
        let tenths = json::tenths(duration);
        let [whole, tenth] = json::PAIRS[(tenths % 100) as usize];
        if tenths < 100 {
            self.plain([whole, b'.', tenth]);
        } else {
            self.number(tenths / 10);
            self.plain([b'.', tenth]);
        }
    }

    /// An address as `Display` has it.
    #[inline(always)]
    pub(super) fn address(&mut self, ip: IpAddr) {
        match ip {
            IpAddr::V4(ip) => {
                let (text, length) = dotted(ip);
                self.first_of(text, length);
            }
            IpAddr::V6(ip) => self.plain(ip.to_string()),
        }
    }
}

#[cold]
fn specials(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(2 * bytes.len());
    json::escaped(&mut text, bytes);
    text
}

/// Each byte in decimal, with a dot behind it.
static OCTETS: [[u8; 4]; 256] = {
    let mut octets = [[0; 4]; 256];
    let mut n = 0;
    while n < octets.len() {
        let [a, b, c] = [b'0' + (n / 100) as u8, b'0' + (n / 10 % 10) as u8, b'0' + (n % 10) as u8];
        octets[n] = match n {
            0..10 => [c, b'.', 0, 0],
            10..100 => [b, c, b'.', 0],
            _ => [a, b, c, b'.'],
        };
        n += 1;
    }
    octets
};

/// The text of an address, and how long it is.
pub(super) fn dotted(ip: Ipv4Addr) -> ([u8; 16], usize) {
    let (mut text, mut at) = ([0; 16], 0);
    for octet in ip.octets() {
        if let Some(place) = text.get_mut(at..at + 4) {
            place.copy_from_slice(&OCTETS[usize::from(octet)]);
        }
        at += 2 + usize::from(octet >= 10) + usize::from(octet >= 100);
    }
    (text, at - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_are_what_json_makes_of_them(
            texts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..700), 0..4),
            words in proptest::collection::vec("[ -~]{0,40}", 0..30),
            number in any::<u64>(), bits in 0..64_u32, nanos in 0..1_000_000_000_u32,
        ) {
            let (number, took) = (number >> bits, Duration::new(number >> bits >> 8, nanos));
            let (mut out, mut wanted) = (b"before".to_vec(), b"before".to_vec());
            append(&mut out, |mut row| {
                texts.iter().for_each(|text| row.string(text));
                words.iter().for_each(|word| row.string(word.as_bytes()));
                words.iter().for_each(|word| row.plain(word));
                row.number(number);
                row.millis(took);
                row
            });
            texts.iter().for_each(|text| json::escaped(&mut wanted, text));
            words.iter().for_each(|word| json::escaped(&mut wanted, word.as_bytes()));
            words.iter().for_each(|word| wanted.extend_from_slice(word.as_bytes()));
            json::number(&mut wanted, number);
            json::millis(&mut wanted, took);
            prop_assert_eq!(out, wanted);
        }

        #[test]
        fn an_address_is_what_fmt_makes_of_it(four: [u8; 4], six: [u16; 8], before in 0..800_usize) {
            for ip in [IpAddr::from(four), IpAddr::from(six)] {
                let (mut out, space) = (Vec::new(), " ".repeat(before));
                append(&mut out, |mut row| {
                    row.plain(&space);
                    row.address(ip);
                    row
                });
                prop_assert_eq!(out, (space + &ip.to_string()).into_bytes());
            }
        }
    }
}

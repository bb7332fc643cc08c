//! JSON strings and small numbers, written straight into a buffer, ASCII only.
//!
//! What comes out can neither end its string nor speak to a terminal. Documents with a layout of their own are put
//! together by those who know it (`access_log`, `proxy::respond`); others are values, written by [`document`].

use std::io;
use std::time::Duration;

use serde::Serialize as _;
use serde_json::Value;
use serde_json::ser::{Formatter, PrettyFormatter};

/// What can be written to.
pub trait Out {
    /// Appends text.
    fn text(&mut self, text: &str);
    /// Appends a byte that is ASCII.
    fn ascii(&mut self, byte: u8);
    /// Appends bytes that are.
    fn plain(&mut self, bytes: &[u8]);
}

impl Out for String {
    #[inline]
    fn text(&mut self, text: &str) {
        self.push_str(text);
    }
    #[inline]
    fn ascii(&mut self, byte: u8) {
        self.push(char::from(byte));
    }
    fn plain(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.ascii(*byte));
    }
}

impl Out for Vec<u8> {
    #[inline]
    fn text(&mut self, text: &str) {
        self.extend_from_slice(text.as_bytes());
    }
    #[inline]
    fn ascii(&mut self, byte: u8) {
        self.push(byte);
    }
    #[inline]
    fn plain(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Appends `text` as a JSON string, quotes included.
#[inline]
pub fn string(out: &mut impl Out, text: &str) {
    out.ascii(b'"');
    escaped(out, text.as_bytes());
    out.ascii(b'"');
}

/// Appends bytes that should be UTF-8 as the inside of a JSON string; what is not becomes U+FFFD.
#[inline]
pub fn escaped(out: &mut impl Out, bytes: &[u8]) {
    if is_plain(bytes) { out.plain(bytes) } else { specials(out, bytes) }
}

/// Appends a duration in milliseconds with one decimal: `14.7`.
#[inline]
pub fn millis(out: &mut impl Out, duration: Duration) {
    let tenths = tenths(duration);
    number(out, tenths / 10);
    out.plain(&[b'.', digit(tenths)]);
}

/// The same, as a value: it is written as [`millis`] writes it.
#[must_use]
pub fn millis_value(duration: Duration) -> Value {
    (tenths(duration) as f64 / 10.0).into()
}

/// Whole milliseconds, for what takes seconds: how long a state has held, when the next check is.
#[must_use]
pub fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Tenths of milliseconds.
#[inline]
pub(super) fn tenths(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(10_000).saturating_add(u64::from(duration.subsec_micros() + 50) / 100)
}

/// Appends a number. By hand: an access log line has a dozen of them, most of few digits, and `fmt` costs more than the
/// digits.
#[inline]
pub fn number(out: &mut impl Out, number: u64) {
    match number {
        0..10 => out.ascii(digit(number)),
        10..100 => out.plain(&[digit(number / 10), digit(number)]),
        100..1000 => out.plain(&[digit(number / 100), digit(number / 10), digit(number)]),
        _ => long(out, number),
    }
}

fn long(out: &mut impl Out, number: u64) {
    let (digits, at) = digits(number);
    out.plain(&digits[at..]);
}

/// The digits of a number that is not 0, and where they begin.
pub(super) fn digits(mut number: u64) -> ([u8; 20], usize) {
    let (mut digits, mut at) = ([0; 20], 20);
    while number > 0 {
        at -= 1;
        digits[at] = digit(number);
        number /= 10;
    }
    (digits, at)
}

/// The numbers below 100, in two digits.
pub(super) static PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < pairs.len() {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

/// The last one.
#[inline]
const fn digit(number: u64) -> u8 {
    b'0' + (number % 10) as u8
}

/// Is there nothing to escape, as nearly always? Eight bytes at once; the last eight may overlap those before them.
#[inline]
fn is_plain(bytes: &[u8]) -> bool {
    match bytes.last_chunk() {
        // Ends at the first that is not: most texts are of one or two words, too few for wide registers.
        Some(last) => oddities(*last) == 0 && bytes.as_chunks().0.iter().all(|word| oddities(*word) == 0),
        None => bytes.iter().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')),
    }
}

/// Copies these bytes to the beginning of this room; false if there is something to escape, or too little room. One
/// copy of this code for all texts of a line: it is fetched once.
#[inline(never)]
pub(super) fn copied(room: &mut [u8], bytes: &[u8]) -> bool {
    let Some(place) = room.get_mut(..bytes.len()) else { return false };
    place.copy_from_slice(bytes);
    is_plain(bytes)
}

/// Each term sets the highest bit of a byte that is not `' '..='~'`, or is `"` or `\`. A borrow leaves only a byte that
/// is found anyway, so it hides nothing and accuses nobody.
#[inline]
const fn oddities(word: [u8; 8]) -> u64 {
    const fn all(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    let word = u64::from_ne_bytes(word);
    let not_ascii = word | word.wrapping_add(all(1));
    let below_space = word.wrapping_sub(all(b' '));
    let quote = (word ^ all(b'"')).wrapping_sub(all(1));
    let backslash = (word ^ all(b'\\')).wrapping_sub(all(1));
    (not_ascii | below_space | quote | backslash) & all(0x80)
}

#[cold]
fn specials(out: &mut impl Out, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.text("\\\""),
                '\\' => out.text("\\\\"),
                '\n' => out.text("\\n"),
                '\r' => out.text("\\r"),
                '\t' => out.text("\\t"),
                ' '..='~' => out.ascii(c as u8),
                _ => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        out.text(&format!("\\u{unit:04x}"));
                    }
                }
            }
        }
        if !chunk.invalid().is_empty() {
            out.text("\\ufffd");
        }
    }
}

/// A whole document, indented, with a final end of line.
#[must_use]
pub fn document(value: &Value) -> String {
    let mut out = Vec::new();
    let mut writer = serde_json::Serializer::with_formatter(&mut out, Ascii(PrettyFormatter::new()));
    // Memory takes everything, and a value has nothing that is no JSON.
    let _ = value.serialize(&mut writer);
    out.push(b'\n');
    String::from_utf8(out).unwrap_or_default()
}

/// Indents, and writes strings as all others here are written.
struct Ascii<'a>(PrettyFormatter<'a>);

impl Formatter for Ascii<'_> {
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }
    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }
    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }
    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }
    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }
    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }
    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }
    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut out = Vec::with_capacity(fragment.len());
        escaped(&mut out, fragment.as_bytes());
        writer.write_all(&out)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reads_back_as_what_was_written(text in any::<String>()) {
            let mut out = String::new();
            string(&mut out, &text);
            prop_assert!(out.bytes().all(|b| matches!(b, b' '..=b'~')));
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }

        #[test]
        fn a_document_reads_back_and_is_ascii(text in any::<String>(), number in any::<i64>()) {
            let value = serde_json::json!({ text.clone(): [text, number, null, { "a": [], "b": {} }], "c": 0.1 });
            let out = document(&value);
            prop_assert!(out.bytes().all(|b| matches!(b, b' '..=b'~' | b'\n')));
            prop_assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), value);
        }

        #[test]
        fn words_are_looked_at_byte_by_byte(word: [u8; 8], place in 0..8_usize, byte: u8) {
            let clean = |b: &u8| matches!(b, b' '..=b'~') && !b"\"\\".contains(b);
            let mut nearly = [b'a'; 8];
            nearly[place] = byte;
            for word in [word, nearly] {
                prop_assert_eq!(oddities(word) == 0, word.iter().all(clean), "{:?}", word);
            }
        }

        #[test]
        fn any_bytes_make_a_string(raw in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut out = String::new();
            escaped(&mut out, &raw);
            prop_assert!(out.is_ascii());
            prop_assert_eq!(serde_json::from_str::<String>(&format!("\"{out}\"")).unwrap(), String::from_utf8_lossy(&raw));
            let mut same = Vec::new();
            escaped(&mut same, &raw);
            prop_assert_eq!(same, out.into_bytes());
        }
    }

    proptest! {
        #[test]
        fn numbers_have_all_their_digits(any: u64, width in 0..64u32) {
            for value in [any >> width, 10_u64.pow(width % 20), 10_u64.pow(width % 20) - 1, u64::MAX] {
                let mut out = String::new();
                number(&mut out, value);
                prop_assert_eq!(out, value.to_string());
            }
        }
    }

    #[test]
    fn milliseconds_have_one_decimal() {
        let mut out = String::new();
        for micros in [0, 49, 50, 300, 14_700, 5_001_200, 999_960] {
            millis(&mut out, Duration::from_micros(micros));
            out.push(' ');
        }
        assert_eq!(out, "0.0 0.0 0.1 0.3 14.7 5001.2 1000.0 ");
    }

    proptest! {
        /// A log line, an error's body and a document of the admin say the same number of the same duration.
        #[test]
        fn milliseconds_are_spelled_in_one_way(micros in 0..1_000_000_000_000_u64, width in 0..40_u32) {
            let duration = Duration::from_micros(micros >> width);
            let mut out = String::new();
            millis(&mut out, duration);
            prop_assert_eq!(millis_value(duration).to_string(), out);
            prop_assert_eq!(whole_millis(duration), (micros >> width) / 1000);
        }
    }
}

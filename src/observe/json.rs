//! JSON strings and small numbers, written straight into a buffer, ASCII only.
//!
//! What comes out can neither end its string nor speak to a terminal. Whole documents are put together by those who
//! know their shape (`access_log`, `proxy::respond`).

use std::fmt::Write;
use std::time::Duration;

/// Appends `text` as a JSON string, quotes included.
pub fn string(out: &mut String, text: &str) {
    out.push('"');
    escaped(out, text);
    out.push('"');
}

/// Appends bytes that should be UTF-8 as a JSON string; what is not becomes U+FFFD.
pub fn bytes(out: &mut String, bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return string(out, text);
    }
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        escaped(out, chunk.valid());
        if !chunk.invalid().is_empty() {
            out.push_str("\\ufffd");
        }
    }
    out.push('"');
}

/// Appends a duration in milliseconds with one decimal: `14.7`.
pub fn millis(out: &mut String, duration: Duration) {
    let tenths =
        duration.as_secs().saturating_mul(10_000).saturating_add(u64::from(duration.subsec_micros() + 50) / 100);
    number(out, tenths / 10);
    out.push('.');
    digit(out, tenths % 10);
}

/// Appends a number. By hand: an access log line has a dozen of them, most of one digit, and `fmt` costs more than the digits.
#[inline]
pub fn number(out: &mut String, number: u64) {
    if number < 10 { digit(out, number) } else { digits(out, number) }
}

fn digits(out: &mut String, number: u64) {
    if number >= 100 {
        self::number(out, number / 100);
    }
    digit(out, number / 10 % 10);
    digit(out, number % 10);
}

fn digit(out: &mut String, digit: u64) {
    out.push(char::from(b'0' + digit as u8));
}

fn escaped(out: &mut String, text: &str) {
    if plain(text) { out.push_str(text) } else { specials(out, text) }
}

/// Is there nothing to escape, as nearly always? Eight bytes at once; the last eight may overlap those before them.
fn plain(text: &str) -> bool {
    let bytes = text.as_bytes();
    if let Some(last) = bytes.last_chunk() {
        return plain_word(*last) && bytes.as_chunks().0.iter().all(|word| plain_word(*word));
    }
    let mut word = [b' '; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    plain_word(word)
}

/// Each term sets the highest bit of a byte that is not `' '..='~'`, or is `"` or `\`. A borrow leaves only a byte that is
/// found anyway, so it hides nothing and accuses nobody.
const fn plain_word(word: [u8; 8]) -> bool {
    const fn all(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    let word = u64::from_ne_bytes(word);
    let not_ascii = word | word.wrapping_add(all(1));
    let below_space = word.wrapping_sub(all(b' '));
    let quote = (word ^ all(b'"')).wrapping_sub(all(1));
    let backslash = (word ^ all(b'\\')).wrapping_sub(all(1));
    (not_ascii | below_space | quote | backslash) & all(0x80) == 0
}

fn specials(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
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
        fn words_are_looked_at_byte_by_byte(word: [u8; 8], place in 0..8_usize, byte: u8) {
            let clean = |b: &u8| matches!(b, b' '..=b'~') && !b"\"\\".contains(b);
            let mut nearly = [b'a'; 8];
            nearly[place] = byte;
            for word in [word, nearly] {
                prop_assert_eq!(plain_word(word), word.iter().all(clean), "{:?}", word);
            }
        }

        #[test]
        fn any_bytes_make_a_string(raw in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut out = String::new();
            bytes(&mut out, &raw);
            prop_assert!(out.is_ascii());
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), String::from_utf8_lossy(&raw));
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
}

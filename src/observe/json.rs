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
    let tenths = u64::try_from((duration.as_micros() + 50) / 100).unwrap_or(u64::MAX);
    number(out, tenths / 10);
    out.push('.');
    number(out, tenths % 10);
}

/// Appends a number. By hand: an access log line has a dozen of them, and `fmt` costs more than the digits.
pub fn number(out: &mut String, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend(digits[at..].iter().map(|digit| char::from(*digit)));
}

fn escaped(out: &mut String, text: &str) {
    // The stretches that need nothing (nearly always all of it) go over in one piece each.
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|b| !matches!(b, b' '..=b'~') || b == b'"' || b == b'\\') {
        let (plain, from) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = from.chars();
        let Some(special) = chars.next() else { return };
        match special {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ => {
                for unit in special.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
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
        fn any_bytes_make_a_string(raw in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut out = String::new();
            bytes(&mut out, &raw);
            prop_assert!(out.is_ascii());
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), String::from_utf8_lossy(&raw));
        }
    }

    #[test]
    fn numbers_have_all_their_digits() {
        let mut out = String::new();
        for value in [0, 7, 10, 5120, u64::MAX] {
            number(&mut out, value);
            out.push(' ');
        }
        assert_eq!(out, "0 7 10 5120 18446744073709551615 ");
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

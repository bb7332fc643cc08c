//! Bytes, times and sizes, as they stand in sentences.

use std::time::Duration;

/// Bytes from outside as printable ASCII: `\r`, `\n`, `\t`, `\xNN` for the rest.
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace("\\'", "'").replace("\\\"", "\"")
}

/// A duration as in sentences: `0.3 ms`, `41 s`, `5.0 s`.
#[must_use]
pub fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 1.0 {
        format!("{:.1} ms", seconds * 1e3)
    } else if seconds < 10.0 {
        format!("{seconds:.1} s")
    } else if seconds < 120.0 {
        format!("{seconds:.0} s")
    } else if seconds < 7200.0 {
        format!("{:.0} min", seconds / 60.0)
    } else {
        format!("{:.1} h", seconds / 3600.0)
    }
}

/// A number of bytes as in sentences: `64 KiB`, `8193 bytes`.
#[must_use]
pub fn sized(bytes: u64) -> String {
    let (number, unit) = exact(bytes);
    format!("{number} {}", unit.unwrap_or("bytes"))
}

/// A number of bytes in the largest unit that keeps it exact; `None`: bytes.
#[must_use]
pub const fn exact(bytes: u64) -> (u64, Option<&'static str>) {
    match bytes {
        0 => (0, None),
        _ if bytes.is_multiple_of(1 << 30) => (bytes >> 30, Some("GiB")),
        _ if bytes.is_multiple_of(1 << 20) => (bytes >> 20, Some("MiB")),
        _ if bytes.is_multiple_of(1 << 10) => (bytes >> 10, Some("KiB")),
        _ => (bytes, None),
    }
}

/// With a capital first letter, as at the start of a sentence.
#[must_use]
pub fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_like_those_of_the_config() {
        let said = [0, 64 << 10, 1 << 20, 3 << 30, 8193].map(sized);
        assert_eq!(said, ["0 bytes", "64 KiB", "1 MiB", "3 GiB", "8193 bytes"]);
    }
}

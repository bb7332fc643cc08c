//! Which protocol somebody speaks who does not speak HTTP/1, by the first bytes: for the name of the failure, and for a
//! closer look. Pure: the bytes are a stranger's.

/// What follows the empty lines that may stand before a status line.
#[must_use]
pub fn skip_empty_lines(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
    &bytes[start..]
}

/// A record of TLS: an alert, or one of a handshake (RFC 8446 §5.1).
#[must_use]
pub const fn is_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [0x15 | 0x16, 0x03] | [0x15 | 0x16, 0x03, 0..=4, ..])
}

/// As far as it goes, the beginning of an HTTP/1 answer.
#[must_use]
pub fn begins_http1(bytes: &[u8]) -> bool {
    let bytes = skip_empty_lines(bytes);
    !bytes.is_empty() && bytes.iter().zip(b"HTTP/1.").all(|(is, wanted)| is == wanted)
}

/// A frame of HTTP/2 in place of a status line: SETTINGS on stream 0 (RFC 9113 §3.4), or GOAWAY; or HTTP/2 by its name.
#[must_use]
pub fn is_h2(bytes: &[u8]) -> bool {
    let frame = bytes.len() >= 9 && bytes[0] == 0 && matches!(bytes[3], 0x04 | 0x07) && bytes[5..9] == [0; 4];
    frame || bytes.starts_with(b"HTTP/2") || bytes.starts_with(b"PRI * HTTP/2")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_told_apart() {
        for (bytes, tls, h2) in [
            (&b"\x15\x03\x03\x00\x02\x02\x46"[..], true, false),
            (b"\x16\x03\x01\x00\x7a\x02", true, false),
            (b"\x15\x03", true, false),
            (b"\x15\x03\x09", false, false),
            (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03", false, true),
            (b"\x00\x00\x08\x07\x00\x00\x00\x00\x00", false, true),
            (b"\x00\x00\x12\x04\x00\x00\x00\x00\x01", false, false),
            (b"HTTP/2.0 200\r\n", false, true),
            (b"HTTP/1.1 200 OK\r\n", false, false),
            (b"", false, false),
        ] {
            assert_eq!((is_tls(bytes), is_h2(bytes)), (tls, h2), "{}", bytes.escape_ascii());
        }
        assert_eq!((skip_empty_lines(b"\r\n\nH\r\n"), skip_empty_lines(b"\r\n")), (&b"H\r\n"[..], &b""[..]));
    }
}

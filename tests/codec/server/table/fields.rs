//! Field lines: names, colons, values, line ends, how many and how large.

use super::super::compare::{FIELDS_LIMIT, HEAD_LIMIT};
use super::{Row, get, kept, refused};

pub fn rows() -> Vec<Row> {
    let line = |line: &[u8]| [b"GET / HTTP/1.1\r\nA: b\r\n", line, b"\r\nHost: a\r\n\r\n"].concat();
    vec![
        kept("a field", line(b"X: y")),
        kept("a field twice", line(b"a: c\r\nA: d")),
        kept("fields in their order", line(b"Z: 1\r\nY: 2\r\nZ: 3\r\nX: 4\r\nY: 5")),
        kept("two hosts", line(b"Host: b")),
        kept("no space behind the colon", line(b"X:y")),
        kept("a tab behind the colon", line(b"X:\ty")),
        kept("white space around the value", line(b"X: \t y z \t ")),
        kept("an empty value", line(b"X:")),
        kept("a value of spaces", line(b"X:   ")),
        kept("a value with a tab", line(b"X: a\tb")),
        kept("a value with colons", line(b"X: a: b: c")),
        kept("a value of obs-text", line(b"X: caf\xe9 \xff\x80")),
        kept("a value of UTF-8", line("X: caf\u{e9} \u{20ac}".as_bytes())),
        kept("every sign that a name may have", line(b"!#$%&'*+-.^_`|~09azAZ: y")),
        kept("a name of 1000 bytes", line(&[&[b'n'; 1000][..], b": y"].concat())),
        kept("a value of 4000 bytes", line(&[b"X: ", &[b'v'; 4000][..]].concat())),
        refused("a fold", line(b"X: a\r\n b")),
        refused("a fold with a tab", line(b"X: a\r\n\tb")),
        refused("a fold of nothing", line(b"X: a\r\n ")),
        refused("a fold of a framing field", line(b"Transfer-Encoding:\r\n chunked")),
        refused("a fold behind the line", b"GET / HTTP/1.1\r\n A: b\r\n\r\n"),
        refused("a space before the colon", line(b"X : y")),
        refused("a tab before the colon", line(b"X\t: y")),
        refused("a space before the colon of a length", line(b"Content-Length : 5")),
        refused("a space before the colon of a coding", line(b"Transfer-Encoding : chunked")),
        refused("no colon", line(b"X")),
        refused("no colon, but a space", line(b"X y")),
        refused("no name", line(b": y")),
        refused("nothing but a colon", line(b":")),
        refused("a name with a space", line(b"X Y: z")),
        refused("a name with a NUL", line(b"X\0: y")),
        refused("a name with a CR", line(b"X\r: y")),
        refused("a name with a control byte", line(b"X\x08: y")),
        refused("a name of obs-text", line(b"caf\xe9: y")),
        refused("a name with a slash", line(b"X/Y: z")),
        refused("a name in brackets", line(b"[X]: z")),
        refused("a name in quotes", line(b"\"X\": z")),
        refused("a name with an at sign", line(b"X@Y: z")),
        refused("a name with a vertical tab", line(b"Transfer-Encoding\x0b: chunked")),
        refused("a value with a NUL", line(b"X: a\0b")),
        refused("a value with an escape", line(b"X: \x1b[31m")),
        refused("a value with a DEL", line(b"X: a\x7fb")),
        refused("a value with a vertical tab", line(b"X: a\x0bb")),
        refused("a value with a form feed", line(b"X: \x0c")),
        refused("a value with a CR", line(b"X: a\rb")),
        refused("a value with a CR at its end", line(b"X: a\r")),
        refused("a value with a CR at its start", line(b"X: \ra")),
        refused("a smuggled line behind a CR", line(b"X: a\rTransfer-Encoding: chunked")),
        kept("a line that ends in LF", line(b"X: a\nY: b")),
        kept("a last line that is LF", b"GET / HTTP/1.1\r\nHost: a\r\n\n"),
        refused("a last line that is CR", b"GET / HTTP/1.1\r\nHost: a\r\n\rGET / HTTP/1.1\r\n\r\n"),
        refused("a last line that is CR CR LF", b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n"),
        refused("a last line with a space", b"GET / HTTP/1.1\r\nHost: a\r\n \r\n"),
        kept("as many fields as may be", get(&vec!["X: y"; FIELDS_LIMIT])),
        refused("one field more", get(&vec!["X: y"; FIELDS_LIMIT + 1])),
        kept("a head a byte below the limit", sized(HEAD_LIMIT - 1)),
        refused("a head of the limit", sized(HEAD_LIMIT)),
        refused("a head of a byte more", sized(HEAD_LIMIT + 1)),
        refused("a head of twice the limit", sized(HEAD_LIMIT * 2)),
        refused("a head of 100 KiB", sized(100 << 10)),
        refused("a head that never ends", [&b"GET / HTTP/1.1\r\nX: "[..], &[b'x'; 100 << 10]].concat()),
    ]
}

/// A request whose head has so many bytes.
fn sized(bytes: usize) -> Vec<u8> {
    let lines = |value: &str| get(&["Host: a", &format!("X: {value}")]);
    let filler = bytes - lines("").len();
    lines(&"x".repeat(filler))
}

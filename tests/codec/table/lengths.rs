//! Content-Length, Transfer-Encoding, both, neither.

use super::{Row, cut, kept, message, ok, once, refused};

pub fn rows() -> Vec<Row> {
    let length = |value: &str| ok(&[&format!("Content-Length: {value}")], "hello");
    let coding = |value: &str| ok(&[&format!("Transfer-Encoding: {value}")], "5\r\nhello\r\n0\r\n\r\n");
    let old = |lines: &[&str], body: &str| message("HTTP/1.0 200 OK", lines, body);
    vec![
        kept("a length", length("5")),
        kept("a length of nothing", ok(&["Content-Length: 0"], "")),
        once("a length of nothing, and a body", length("0")),
        kept("a length with leading zeros", length("0000000000000000000000000005")),
        kept("a length with white space around it", length(" \t 5 \t ")),
        kept("a length in another case", ok(&["cOnTeNt-LeNgTh: 5"], "hello")),
        once("a length that is less than what comes", length("3")),
        cut("a length that is more than what comes", length("7")),
        cut("a length and nothing behind it", ok(&["Content-Length: 5"], "")),
        kept("the same length on two lines", ok(&["Content-Length: 5", "Content-Length: 5"], "hello")),
        kept("the same length twice on one line", length("5, 5")),
        kept("the same length twice on one line, no space", length("5,5")),
        kept("the same length, differently written", length("5, 05")),
        kept("the same length on three lines", ok(&["Content-Length: 5", "X: y", "Content-Length: 5, 5"], "hello")),
        refused("two lengths on two lines", ok(&["Content-Length: 5", "Content-Length: 4"], "hello")),
        refused("two lengths on two lines, the longer last", ok(&["Content-Length: 4", "Content-Length: 5"], "hello")),
        refused("two lengths on one line", length("5, 4")),
        refused("a good and an empty length", ok(&["Content-Length: 5", "Content-Length:"], "hello")),
        refused("a good and a bad length", ok(&["Content-Length: 5", "Content-Length: x"], "hello")),
        refused("a length with a trailing comma", length("5,")),
        refused("a length with a leading comma", length(",5")),
        refused("a length with two commas", length("5,,5")),
        refused("a length of a comma", length(",")),
        refused("an empty length", length("")),
        refused("a length of spaces", length("   ")),
        refused("a positive length", length("+5")),
        refused("a negative length", length("-5")),
        refused("a length of minus nothing", length("-0")),
        refused("a fraction of a length", length("5.0")),
        refused("a length with an exponent", length("5e0")),
        refused("a length in hex", length("0x5")),
        refused("a length in hex digits", length("a")),
        refused("a length with a separator", length("5_0")),
        refused("a length of two words", length("5 5")),
        refused("a length with a semicolon", length("5;")),
        refused("a length in quotes", length("\"5\"")),
        refused("a length in fullwidth digits", length("\u{ff15}")),
        refused("a length and a vertical tab", length("5\u{b}")),
        cut("a length of 2^63 - 1", length("9223372036854775807")),
        refused("a length of 2^63", length("9223372036854775808")),
        refused("a length of 2^64 - 3", length("18446744073709551613")),
        refused("a length of 2^64 - 2", length("18446744073709551614")),
        refused("a length of 2^64 - 1", length("18446744073709551615")),
        refused("a length of 2^64", length("18446744073709551616")),
        refused("a length of 2^64 + 5", length("18446744073709551621")),
        refused("a length of forty digits", length("1000000000000000000000000000000000000005")),
        once("neither length nor coding", ok(&[], "hello")),
        once("neither, and nothing behind it", ok(&[], "")),
        once("neither, in 1.0", old(&[], "hello")),
        once("neither, in 1.0 that says keep-alive", old(&["Connection: keep-alive"], "hello")),
        once("neither, in 1.1 that says keep-alive", ok(&["Connection: keep-alive"], "hello")),
        kept("a coding", coding("chunked")),
        kept("a coding in another case", coding("ChUnKeD")),
        kept("a coding with white space around it", coding(" \t chunked \t ")),
        refused("a coding in 1.0", old(&["Transfer-Encoding: chunked"], "5\r\nhello\r\n0\r\n\r\n")),
        refused("a coding of identity in 1.0", old(&["Transfer-Encoding: identity"], "hello")),
        refused("a coding and a length in 1.0", old(&["Transfer-Encoding: chunked", "Content-Length: 5"], "hello")),
        refused("chunked twice", coding("chunked, chunked")),
        refused("chunked on two lines", {
            ok(&["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], "5\r\nhello\r\n0\r\n\r\n")
        }),
        refused("gzip under chunked", coding("gzip, chunked")),
        refused("gzip and chunked on two lines", {
            ok(&["Transfer-Encoding: gzip", "Transfer-Encoding: chunked"], "5\r\nhello\r\n0\r\n\r\n")
        }),
        refused("chunked and identity on two lines", {
            ok(&["Transfer-Encoding: chunked", "Transfer-Encoding: identity"], "5\r\nhello\r\n0\r\n\r\n")
        }),
        refused("gzip over chunked", coding("chunked, gzip")),
        refused("gzip alone", ok(&["Transfer-Encoding: gzip"], "hello")),
        refused("identity", ok(&["Transfer-Encoding: identity"], "hello")),
        refused("identity and a length", ok(&["Transfer-Encoding: identity", "Content-Length: 5"], "hello")),
        refused("identity, chunked", coding("identity, chunked")),
        refused("a coding that only looks like it", coding("xchunked")),
        refused("a coding that begins like it", coding("chunkedx")),
        refused("a coding with a parameter", coding("chunked;q=1")),
        refused("a coding in quotes", coding("\"chunked\"")),
        refused("a coding with a trailing comma", coding("chunked,")),
        refused("a coding with a leading comma", coding(", chunked")),
        refused("an empty coding", coding("")),
        refused("an empty coding before a good one", {
            ok(&["Transfer-Encoding:", "Transfer-Encoding: chunked"], "5\r\nhello\r\n0\r\n\r\n")
        }),
        refused("a coding with a vertical tab", coding("\u{b}chunked")),
        refused("a coding with a form feed", coding("chunked\u{c}")),
        refused("a coding with a letter that is no ASCII", coding("chun\u{212a}ed")),
        refused("both framings", ok(&["Content-Length: 3", "Transfer-Encoding: chunked"], "5\r\nhello\r\n0\r\n\r\n")),
        refused("both framings, the other way round", {
            ok(&["Transfer-Encoding: chunked", "Content-Length: 5"], "5\r\nhello\r\n0\r\n\r\n")
        }),
        refused("both framings, that say the same", {
            ok(&["Content-Length: 15", "Transfer-Encoding: chunked"], "5\r\nhello\r\n0\r\n\r\n")
        }),
        refused("both framings, with a bad length", {
            ok(&["Content-Length: x", "Transfer-Encoding: chunked"], "5\r\nhello\r\n0\r\n\r\n")
        }),
        refused("both framings, with two lengths", {
            let lines = ["Content-Length: 3", "Transfer-Encoding: chunked", "Content-Length: 4"];
            ok(&lines, "5\r\nhello\r\n0\r\n\r\n")
        }),
        refused("both framings, and no chunks", ok(&["Content-Length: 5", "Transfer-Encoding: chunked"], "hello")),
        kept(
            "a Transfer-Encoding in the name's second half",
            ok(&["X-Transfer-Encoding: x", "Content-Length: 5"], "hello"),
        ),
        kept("a content coding", ok(&["Content-Encoding: chunked", "Content-Length: 5"], "hello")),
        kept("a TE field", ok(&["TE: chunked", "Content-Length: 5"], "hello")),
        kept("a large body", ok(&["Content-Length: 70000"], vec![b'x'; 70_000])),
    ]
}

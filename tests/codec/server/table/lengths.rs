//! Content-Length, Transfer-Encoding, both, neither.

use super::{Row, kept, message, once, post, refused, waits};

pub fn rows() -> Vec<Row> {
    let length = |value: &str| post(&[&format!("Content-Length: {value}")], "hello");
    let coding = |value: &str| post(&[&format!("Transfer-Encoding: {value}")], "5\r\nhello\r\n0\r\n\r\n");
    let old = |lines: &[&str], body: &str| message("POST / HTTP/1.0", lines, body);
    let chunks = "5\r\nhello\r\n0\r\n\r\n";
    vec![
        kept("a length", length("5")),
        kept("a length of nothing", post(&["Content-Length: 0"], "")),
        kept("a length of nothing, and a body", length("0")),
        kept("a length with leading zeros", length("0000000000000000000000000005")),
        kept("a length with white space around it", length(" \t 5 \t ")),
        kept("a length in another case", post(&["cOnTeNt-LeNgTh: 5"], "hello")),
        kept("a length that is less than what comes", length("3")),
        waits("a length that is more than what comes", length("7")),
        waits("a length and nothing behind it", post(&["Content-Length: 5"], "")),
        kept("a length, and a request in the body", post(&["Content-Length: 22"], "GET /evil HTTP/1.1\r\n\r\n")),
        kept("a length, and a request behind the body", [length("5"), post(&[], "")].concat()),
        kept("a GET with a body", message("GET / HTTP/1.1", &["Content-Length: 5"], "hello")),
        kept("a HEAD with a body", message("HEAD / HTTP/1.1", &["Content-Length: 5"], "hello")),
        kept("a CONNECT with a body", message("CONNECT a:1 HTTP/1.1", &["Content-Length: 5"], "hello")),
        kept("a POST without a length", post(&[], "")),
        kept("the same length on two lines", post(&["Content-Length: 5", "Content-Length: 5"], "hello")),
        kept("the same length on two lines, differently written", {
            post(&["Content-Length: 5", "Content-Length: 05"], "hello")
        }),
        refused("the same length twice on one line", length("5, 5")),
        refused("two lengths on two lines", post(&["Content-Length: 5", "Content-Length: 4"], "hello")),
        refused(
            "two lengths on two lines, the longer last",
            post(&["Content-Length: 4", "Content-Length: 5"], "hello"),
        ),
        refused("two lengths on one line", length("5, 4")),
        refused("a good and an empty length", post(&["Content-Length: 5", "Content-Length:"], "hello")),
        refused("a good and a bad length", post(&["Content-Length: 5", "Content-Length: x"], "hello")),
        refused("a length with a trailing comma", length("5,")),
        refused("a length with a leading comma", length(",5")),
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
        waits("a length of 2^63 - 1", length("9223372036854775807")),
        refused("a length of 2^63", length("9223372036854775808")),
        refused("a length of 2^64 - 3", length("18446744073709551613")),
        refused("a length of 2^64 - 1", length("18446744073709551615")),
        refused("a length of 2^64", length("18446744073709551616")),
        refused("a length of 2^64 + 5", length("18446744073709551621")),
        refused("a length of forty digits", length("1000000000000000000000000000000000000005")),
        once("a length in 1.0", old(&["Content-Length: 5"], "hello")),
        once("neither length nor coding in 1.0", old(&[], "")),
        once("neither length nor coding in 1.0, and a body", old(&[], "hello")),
        kept("a coding", coding("chunked")),
        kept("a coding in another case", coding("ChUnKeD")),
        kept("a coding with white space around it", coding(" \t chunked \t ")),
        kept("a GET with chunks", message("GET / HTTP/1.1", &["Transfer-Encoding: chunked"], chunks)),
        refused("a coding in 1.0", old(&["Transfer-Encoding: chunked"], chunks)),
        refused("a coding in 1.0 that is to be kept", {
            old(&["Transfer-Encoding: chunked", "Connection: keep-alive"], chunks)
        }),
        refused("a coding of identity in 1.0", old(&["Transfer-Encoding: identity"], "hello")),
        refused("a coding and a length in 1.0", old(&["Transfer-Encoding: chunked", "Content-Length: 5"], "hello")),
        refused("chunked twice", coding("chunked, chunked")),
        refused("chunked on two lines", post(&["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], chunks)),
        refused("gzip under chunked", coding("gzip, chunked")),
        refused(
            "gzip and chunked on two lines",
            post(&["Transfer-Encoding: gzip", "Transfer-Encoding: chunked"], chunks),
        ),
        refused("chunked and identity on two lines", {
            post(&["Transfer-Encoding: chunked", "Transfer-Encoding: identity"], chunks)
        }),
        refused("gzip over chunked", coding("chunked, gzip")),
        refused("gzip alone", post(&["Transfer-Encoding: gzip"], "hello")),
        refused("identity", post(&["Transfer-Encoding: identity"], "hello")),
        refused("identity and a length", post(&["Transfer-Encoding: identity", "Content-Length: 5"], "hello")),
        refused("identity, chunked", coding("identity, chunked")),
        refused("a coding that only looks like it", coding("xchunked")),
        refused("a coding that begins like it", coding("chunkedx")),
        refused("a coding with a parameter", coding("chunked;q=1")),
        refused("a coding in quotes", coding("\"chunked\"")),
        refused("a coding with a trailing comma", coding("chunked,")),
        refused("a coding with a leading comma", coding(", chunked")),
        refused("an empty coding", coding("")),
        refused(
            "an empty coding before a good one",
            post(&["Transfer-Encoding:", "Transfer-Encoding: chunked"], chunks),
        ),
        refused(
            "an empty coding behind a good one",
            post(&["Transfer-Encoding: chunked", "Transfer-Encoding:"], chunks),
        ),
        refused("a coding with a vertical tab", coding("\u{b}chunked")),
        refused("a coding with a form feed", coding("chunked\u{c}")),
        refused("a coding with a letter that is no ASCII", coding("chun\u{212a}ed")),
        once("both framings", post(&["Content-Length: 3", "Transfer-Encoding: chunked"], chunks)),
        once("both framings, the other way round", post(&["Transfer-Encoding: chunked", "Content-Length: 5"], chunks)),
        once("both framings, that say the same", post(&["Content-Length: 15", "Transfer-Encoding: chunked"], chunks)),
        once("both framings, and a request behind", {
            [post(&["Content-Length: 6", "Transfer-Encoding: chunked"], "0\r\n\r\n"), post(&[], "")].concat()
        }),
        refused("both framings, with a bad length first", {
            post(&["Content-Length: x", "Transfer-Encoding: chunked"], chunks)
        }),
        refused("both framings, with a bad length behind", {
            post(&["Transfer-Encoding: chunked", "Content-Length: x"], chunks)
        }),
        refused("both framings, with two lengths", {
            post(&["Content-Length: 3", "Transfer-Encoding: chunked", "Content-Length: 4"], chunks)
        }),
        kept(
            "a coding in the name's second half",
            post(&["X-Transfer-Encoding: chunked", "Content-Length: 5"], "hello"),
        ),
        kept("a content coding", post(&["Content-Encoding: chunked", "Content-Length: 5"], "hello")),
        kept("a TE field", post(&["TE: chunked", "Content-Length: 5"], "hello")),
        kept("a large body", post(&["Content-Length: 70000"], vec![b'x'; 70_000])),
        kept("two large bodies", post(&["Content-Length: 30000"], vec![b'x'; 30_000]).repeat(2)),
    ]
}

//! What a client says of the connection, and what it expects.

use super::{Row, get, kept, message, once, post, waits};

pub fn rows() -> Vec<Row> {
    let says = |options: &str| get(&["Host: a", &format!("Connection: {options}")]);
    let old = |options: &str| message("GET / HTTP/1.0", &[&format!("Connection: {options}")], "");
    vec![
        once("close", says("close")),
        once("close, and a request behind", says("close").repeat(2)),
        once("close in another case", says("CLOSE")),
        once("close among others", says("a, close , b")),
        once("close on a second line", get(&["Connection: a", "Connection: close"])),
        once("close and keep-alive", says("close, keep-alive")),
        once("keep-alive and close", says("keep-alive, close")),
        once("keep-alive behind close, on two lines", get(&["Connection: close", "Connection: keep-alive"])),
        once("close next to obs-text", b"GET / HTTP/1.1\r\nConnection: \xe9, close\r\n\r\n"),
        kept("keep-alive", says("keep-alive")),
        kept("a word that begins like close", says("closed")),
        kept("a word of two", says("not close")),
        kept("no word", says("")),
        kept("Keep-Alive", get(&["Keep-Alive: timeout=5"])),
        kept("Proxy-Connection", get(&["Proxy-Connection: close"])),
        once("1.0", message("GET / HTTP/1.0", &[], "")),
        kept("1.0 that is to be kept", old("keep-alive")),
        kept("1.0 that is to be kept, twice", old("Keep-Alive").repeat(2)),
        once("1.0 that is to be kept and closed", old("keep-alive, close")),
        once("1.0 that is to be closed and kept, on two lines", {
            message("GET / HTTP/1.0", &["Connection: close", "Connection: keep-alive"], "")
        }),
        kept("1.0 that is to be kept next to obs-text", b"GET / HTTP/1.0\r\nConnection: \xe9, keep-alive\r\n\r\n"),
        kept("1.0 that is to be kept, with a body", {
            message("POST / HTTP/1.0", &["Connection: keep-alive", "Content-Length: 5"], "hello")
        }),
        kept("an upgrade", get(&["Connection: upgrade", "Upgrade: websocket"])),
        kept("an upgrade, and a request behind", get(&["Connection: upgrade", "Upgrade: h2c"]).repeat(2)),
        kept("an upgrade with a body", {
            post(&["Connection: upgrade", "Upgrade: websocket", "Content-Length: 5"], "hello")
        }),
        kept("an upgrade of nothing", get(&["Upgrade: websocket"])),
        once("an upgrade in 1.0", message("GET / HTTP/1.0", &["Connection: upgrade", "Upgrade: a"], "")),
        kept("an expectation and its body", post(&["Expect: 100-continue", "Content-Length: 5"], "hello")),
        waits("an expectation without its body", post(&["Expect: 100-continue", "Content-Length: 5"], "")),
        waits("an expectation and half of its body", post(&["Expect: 100-continue", "Content-Length: 5"], "he")),
        kept("an expectation and chunks", {
            post(&["Expect: 100-continue", "Transfer-Encoding: chunked"], "5\r\nhello\r\n0\r\n\r\n")
        }),
        kept("an expectation of nothing", get(&["Expect: 100-continue"])),
        kept("an expectation in another case", post(&["eXpect: 100-Continue", "Content-Length: 5"], "hello")),
        kept("another expectation", post(&["Expect: 200-ok", "Content-Length: 5"], "hello")),
        once("an expectation in 1.0", {
            message("POST / HTTP/1.0", &["Expect: 100-continue", "Content-Length: 5"], "hello")
        }),
        kept("trailers that are welcome", get(&["TE: trailers", "Connection: TE"])),
    ]
}

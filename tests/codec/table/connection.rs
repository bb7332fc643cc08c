//! What decides over the connection: its field, the version, bytes behind the end, bytes before the request.

use super::{Row, kept, message, ok, once, refused};

pub fn rows() -> Vec<Row> {
    let new = |value: &str| ok(&[&format!("Connection: {value}"), "Content-Length: 5"], "hello");
    let old = |lines: &[&str]| message("HTTP/1.0 200 OK", &[lines, &["Content-Length: 5"]].concat(), "hello");
    let behind = |junk: &str| ok(&["Content-Length: 5"], format!("hello{junk}"));
    let early = |row: Row| Row { early: true, ..row };
    vec![
        once("close", new("close")),
        once("close in another case", new("Close")),
        once("close among others", new("foo, close ,bar")),
        once("close behind empty members", new(", ,close")),
        once("close on a second line", ok(&["Connection: foo", "Connection: close", "Content-Length: 5"], "hello")),
        once("close before keep-alive", new("close, keep-alive")),
        once("close behind keep-alive", new("keep-alive, close")),
        once("close on a line before keep-alive", {
            ok(&["Connection: close", "Connection: keep-alive", "Content-Length: 5"], "hello")
        }),
        once("close on a line behind keep-alive", {
            ok(&["Connection: keep-alive", "Connection: close", "Content-Length: 5"], "hello")
        }),
        once("close under a chunked body", {
            ok(&["Connection: close", "Transfer-Encoding: chunked"], "5\r\nhello\r\n0\r\n\r\n")
        }),
        kept("keep-alive", new("keep-alive")),
        kept("another word", new("foo")),
        kept("a word that contains close", new("closed")),
        kept("two words that contain close", new("not close")),
        kept("close in quotes", new("\"close\"")),
        kept("an empty Connection", new("")),
        kept(
            "Connection with obs-text",
            [&b"HTTP/1.1 200 OK\r\nConnection: \xe9\r\nContent-Length: 5\r\n\r\nhello"[..]].concat(),
        ),
        once(
            "close next to obs-text",
            [&b"HTTP/1.1 200 OK\r\nConnection: close, \xe9\r\nContent-Length: 5\r\n\r\nhello"[..]].concat(),
        ),
        kept("Proxy-Connection: close", ok(&["Proxy-Connection: close", "Content-Length: 5"], "hello")),
        kept("an idle time", ok(&["Keep-Alive: timeout=5, max=100", "Content-Length: 5"], "hello")),
        kept("Connection that names the length", new("content-length")),
        once("1.0", old(&[])),
        kept("1.0 that says keep-alive", old(&["Connection: keep-alive"])),
        kept("1.0 that says Keep-Alive", old(&["Connection: Keep-Alive", "Keep-Alive: timeout=5"])),
        kept("1.0 that says keep-alive on a second line", old(&["Connection: foo", "Connection: keep-alive"])),
        once("1.0 that says close", old(&["Connection: close"])),
        once("1.0 that says both", old(&["Connection: keep-alive, close"])),
        once("1.0 that says both on two lines", old(&["Connection: keep-alive", "Connection: close"])),
        once(
            "1.0 that says keep-alive next to obs-text",
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive, \xe9\r\nContent-Length: 5\r\n\r\nhello",
        ),
        once("1.0 with Keep-Alive alone", old(&["Keep-Alive: timeout=5"])),
        kept("204 in 1.0 that says keep-alive", message("HTTP/1.0 204 No", &["Connection: keep-alive"], "")),
        once("a byte behind the end", behind("x")),
        once("a CRLF behind the end", behind("\r\n")),
        once("a LF behind the end", behind("\n")),
        once("a space behind the end", behind(" ")),
        once("a NUL behind the end", behind("\0")),
        once("an answer behind the end", behind("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL")),
        once("half an answer behind the end", behind("HTTP/1.1 200 OK\r\nContent-")),
        once("the second answer behind the end", behind("HTTP/1.1 203 Second\r\nContent-Length: 3\r\n\r\nbad")),
        once("a 100 behind the end", behind("HTTP/1.1 100 Continue\r\n\r\n")),
        once("a 408 behind the end", behind("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n")),
        once("an answer behind an empty one", {
            ok(&["Content-Length: 0"], "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL")
        }),
        early(refused("an answer before the request", ok(&["Content-Length: 5"], "hello"))),
        early(refused("a 100 before the request", "HTTP/1.1 100 Continue\r\n\r\n")),
        early(refused("half an answer before the request", "HTTP/1.1 200 OK\r\nContent-Le")),
        early(refused("a 408 before the request", {
            "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        })),
        early(refused("a CRLF before the request", "\r\n")),
        early(refused("a banner before the request", "220 smtp.example ESMTP\r\n")),
    ]
}

//! Answers that have no body, whatever they say; interim answers; tunnels.

use super::{Row, kept, message, ok, once, refused, tunnel};

pub fn rows() -> Vec<Row> {
    let status = |line: &str, lines: &[&str], body: &str| message(&format!("HTTP/1.1 {line}"), lines, body);
    let after = |interim: &str| format!("{interim}HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let switch = |lines: &[&str], body: &str| message("HTTP/1.1 101 Switching Protocols", lines, body);
    vec![
        kept("204", status("204 No Content", &[], "")),
        kept("204 with a length of nothing", status("204 No Content", &["Content-Length: 0"], "")),
        once("204 with a length", status("204 No Content", &["Content-Length: 5"], "")),
        once("204 with a length and a body", status("204 No Content", &["Content-Length: 5"], "hello")),
        once("204 with a body", status("204 No Content", &[], "hello")),
        once("204 that is chunked", status("204 No Content", &["Transfer-Encoding: chunked"], "")),
        once("204 with chunks", status("204 No Content", &["Transfer-Encoding: chunked"], "0\r\n\r\n")),
        refused("204 with two lengths", status("204 No Content", &["Content-Length: 5", "Content-Length: 6"], "")),
        refused("204 with a bad length", status("204 No Content", &["Content-Length: x"], "")),
        once("204 that closes", status("204 No Content", &["Connection: close"], "")),
        kept("304", status("304 Not Modified", &["ETag: \"x\""], "")),
        kept("304 with a length", status("304 Not Modified", &["Content-Length: 5"], "")),
        once("304 with a length and a body", status("304 Not Modified", &["Content-Length: 5"], "hello")),
        once("304 that is chunked", status("304 Not Modified", &["Transfer-Encoding: chunked"], "")),
        once("304 with chunks", status("304 Not Modified", &["Transfer-Encoding: chunked"], "0\r\n\r\n")),
        refused("304 with both framings", {
            status("304 Not Modified", &["Transfer-Encoding: chunked", "Content-Length: 5"], "")
        }),
        kept("205 with a length of nothing", status("205 Reset Content", &["Content-Length: 0"], "")),
        kept("205 with a length", status("205 Reset Content", &["Content-Length: 5"], "hello")),
        kept("205 with chunks", status("205 Reset Content", &["Transfer-Encoding: chunked"], "0\r\n\r\n")),
        once("205 with neither", status("205 Reset Content", &[], "")),
        kept("a body that is an answer", {
            ok(&["Content-Length: 42"], "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL")
        }),
        kept("100", after("HTTP/1.1 100 Continue\r\n\r\n")),
        kept("100 twice", after(&"HTTP/1.1 100 Continue\r\n\r\n".repeat(2))),
        kept("100 with fields", after("HTTP/1.1 100 Continue\r\nX-A: b\r\n\r\n")),
        kept("100 with a length of nothing", after("HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n")),
        kept("100 with a length", after("HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n")),
        refused("100 with a length and a body", after("HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nhello")),
        kept("100 that is chunked", after("HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n")),
        refused("100 with chunks", after("HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
        kept("100 that closes", after("HTTP/1.1 100 Continue\r\nConnection: close\r\n\r\n")),
        kept("100 in 1.0", after("HTTP/1.0 100 Continue\r\n\r\n")),
        refused("100 and nothing else", "HTTP/1.1 100 Continue\r\n\r\n"),
        refused("100 and half a head", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"),
        refused("100 and junk", "HTTP/1.1 100 Continue\r\n\r\njunk\r\n\r\n"),
        kept("102", after("HTTP/1.1 102 Processing\r\n\r\n")),
        kept("103", after("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")),
        kept("103, 103, 100, 199", {
            let codes = ["103 A", "103 B", "100 C", "199 D"].map(|code| format!("HTTP/1.1 {code}\r\n\r\n"));
            after(&codes.concat())
        }),
        kept("30 times 103", after(&"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n".repeat(30))),
        kept("1000 times 103", after(&"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n".repeat(1000))),
        refused("1001 times 103", after(&"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n".repeat(1001))),
        refused("103 over the limit", after(&format!("HTTP/1.1 103 Early Hints\r\nA: {}\r\n\r\n", "b".repeat(8200)))),
        kept("CRLFs behind a 100", after("HTTP/1.1 100 Continue\r\n\r\n\r\n\r\n")),
        kept("100 and 204", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"),
        tunnel("101 behind a 100", {
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
        }),
        tunnel("101", switch(&["Connection: upgrade", "Upgrade: websocket"], "")),
        tunnel("101 with bytes behind it", switch(&["Connection: upgrade", "Upgrade: websocket"], "hello")),
        tunnel("101 with an answer behind it", {
            switch(&["Connection: upgrade", "Upgrade: websocket"], "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        }),
        tunnel("101 with a length", {
            switch(&["Connection: upgrade", "Upgrade: websocket", "Content-Length: 3"], "hello")
        }),
        tunnel("101 that is chunked", {
            let lines = ["Connection: upgrade", "Upgrade: websocket", "Transfer-Encoding: chunked"];
            switch(&lines, "5\r\nhello\r\n0\r\n\r\n")
        }),
        tunnel("101 for another protocol", switch(&["Connection: upgrade", "Upgrade: h2c"], "hello")),
        tunnel("101 for two protocols", switch(&["Connection: upgrade", "Upgrade: websocket, h2c"], "hello")),
        tunnel("101 without Upgrade", switch(&["Connection: upgrade"], "hello")),
        tunnel("101 without Connection", switch(&["Upgrade: websocket"], "hello")),
        tunnel("101 that closes", switch(&["Connection: upgrade, close", "Upgrade: websocket"], "hello")),
        tunnel(
            "101 in 1.0",
            message("HTTP/1.0 101 Switching", &["Connection: upgrade", "Upgrade: websocket"], "hello"),
        ),
        tunnel("101 without fields", switch(&[], "hello")),
        kept("200 with Upgrade", ok(&["Connection: upgrade", "Upgrade: websocket", "Content-Length: 5"], "hello")),
        kept("426", status("426 Upgrade Required", &["Upgrade: h2c", "Content-Length: 0"], "")),
    ]
}

//! No request is read in two ways: what an upstream gets has one framing, and nothing hides in it.

use super::*;

const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";

/// Each is sent with [`HIDDEN`] right behind it. An upstream may see the outer request, in one reading, or nothing.
#[tokio::test]
async fn nothing_ambiguous_reaches_an_upstream() {
    for (what, request) in [
        ("CL and TE", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (
            "TE and CL",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 40\r\n\r\n0\r\n\r\n",
        ),
        ("two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 34\r\n\r\n"),
        ("a list of lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 34\r\n\r\n"),
        ("a signed length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n"),
        ("a length in hex", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x0\r\n\r\n"),
        ("a length of nothing", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n"),
        ("gzip, chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        ("chunked twice", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
        (
            "chunked on two lines",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        ),
        ("identity", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n"),
        ("xchunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\nContent-Length: 0\r\n\r\n"),
        ("a tab in TE", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\u{b}chunked\r\n\r\n0\r\n\r\n"),
        ("a space before the colon", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
        ("an obsolete fold", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
        ("a fold of a harmless field", "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n\tTransfer-Encoding: chunked\r\n\r\n"),
        ("a bare CR", "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\rContent-Length: 34\r\n\r\n"),
        ("a NUL", "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\0\r\n\r\n"),
        ("TE in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("a bad chunk size", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n"),
        ("a signed chunk size", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+0\r\n\r\n"),
        (
            "a huge chunk size",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n",
        ),
        ("LF in chunks", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\n0\n\n"),
        ("a chunk too long", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n"),
        ("a field without a name", "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n"),
        ("a line without a colon", "GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n"),
        ("two spaces in the request line", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a target with a space", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("another version", "GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
    ] {
        let origin = Origin::start(Behaviour::Echo).await;
        let proxy = Proxy::unchecked(&[origin.address()], "");
        let mut client = Raw::connect(proxy.address).await;
        client.send(format!("{request}{HIDDEN}")).await;
        let answer = client.response().await;
        assert!(matches!(answer.status, 200 | 400 | 501), "{what}: {answer:?}");
        assert_eq!(answer.field("connection"), Some("close"), "{what}: {}", answer.status);
        let (rest, _) = client.rest().await;
        assert!(rest.is_empty(), "{what}: a second answer: {}", String::from_utf8_lossy(&rest));
        if answer.status != 200 {
            assert!(answer.field("proxy-status").is_some_and(|s| s.contains("http_request_error")), "{what}");
        }
        // What came through: at most one head, with one framing, and the body that it speaks of.
        let bytes = String::from_utf8_lossy(&origin.record().raw).into_owned();
        assert!(!bytes.contains("/hidden"), "{what} let this through:\n{bytes}");
        let head = bytes.split("\r\n\r\n").next().unwrap_or_default();
        let framing = fields(head, "content-length").len() + fields(head, "transfer-encoding").len();
        assert!(framing <= 1, "{what}: two framings in\n{head}");
        assert!(fields(head, "transfer-encoding").iter().all(|coding| *coding == "chunked"), "{what}:\n{head}");
        assert!(head.lines().all(|line| !line.starts_with([' ', '\t']) && !line.contains('\r')), "{what}:\n{head}");
    }
}

/// Whatever a lenient reader would make of it: a body is never dropped in silence.
#[tokio::test]
async fn a_coding_that_is_no_single_chunked_is_told_and_reaches_no_upstream() {
    let origin = Origin::start(Behaviour::Echo).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    for coding in ["chunked,", ",chunked", "chunked\u{a0}", "", "chunked\r\nTransfer-Encoding:", "gzip", "chunked;q=1"]
    {
        let mut client = Raw::connect(proxy.address).await;
        client
            .send(format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n2\r\nhi\r\n0\r\n\r\n"))
            .await;
        let answer = client.response().await;
        assert_eq!((answer.status, answer.field("connection")), (501, Some("close")), "{coding:?}");
        assert!(client.rest().await.0.is_empty(), "{coding:?}: a second answer");
    }
    assert!(origin.record().raw.is_empty());
}

/// An upstream's answer with two framings is read in one, and what follows on that connection is nobody's answer.
#[tokio::test]
async fn no_answer_is_split_in_two() {
    let hidden = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhidden";
    for (what, answer) in [
        (
            "TE and CL",
            format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n2\r\nok\r\n0\r\n\r\n{hidden}"
            ),
        ),
        ("too much", format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{hidden}")),
        ("a body behind 304", format!("HTTP/1.1 304 Not Modified\r\n\r\n{hidden}")),
        ("two lengths", format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 5\r\n\r\nok{hidden}")),
    ] {
        let origin = Origin::start(raw(&answer)).await;
        let proxy = Proxy::unchecked(&[origin.address()], "");
        let mut client = Raw::connect(proxy.address).await;
        for _ in 0..3 {
            let got = client.get("/").await;
            assert!(!got.text().contains("hidden"), "{what}: {got:?}");
            assert!(got.fields("content-length").len() + got.fields("transfer-encoding").len() <= 1, "{what}: {got:?}");
            assert!(matches!((got.status, got.text().as_str()), (200, "ok") | (304, "") | (502, _)), "{what}: {got:?}");
        }
    }
}

/// Here nobody doubts where the request ends: it is refused, and the next one is answered.
#[tokio::test]
async fn a_host_that_is_not_one_valid_host_is_400() {
    let origin = Origin::start(ok()).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let mut client = Raw::connect(proxy.address).await;
    for hosts in ["", "Host: a\r\nHost: b\r\n", "Host: a/b\r\n", "Host: x@a\r\n", "Host: a b\r\n", "Host:\r\n"] {
        client.send(format!("GET /bad HTTP/1.1\r\n{hosts}\r\n")).await;
        assert_eq!(client.response().await.status, 400, "{hosts:?}");
        assert_eq!(client.get("/next").await.text(), "ok");
    }
    assert!(origin.record().requests.iter().all(|request| request.head.starts_with("GET /next ")));
}

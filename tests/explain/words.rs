//! The command, from its words to its exit code, against a proxy that runs.

use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output, Stdio};

use super::*;
use crate::support::origin::Origin;
use crate::support::process::Causeway;

fn explain(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_causeway"));
    command.arg("explain").args(words).stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CAUSEWAY_")) {
        command.env_remove(name);
    }
    command.current_dir(std::env::temp_dir()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn free() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// A proxy whose only upstream is not there.
fn broken() -> (Causeway, SocketAddr, SocketAddr) {
    let config = format!(
        "listen = \"127.0.0.1:0\"\nadmin.address = \"127.0.0.1:0\"\n[pool.app]\nupstreams = [\"{}\"]\nhealth.type = \"off\"\n",
        Origin::nobody()
    );
    let (mut causeway, address) = Causeway::run(&config);
    let admin = causeway.address("health on http://");
    (causeway, address, admin)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_request_by_the_beginning_of_its_id() {
    let (mut causeway, address, admin) = broken();
    let told = ask(address, "GET /orders?page=2", "Accept: text/plain\r\n").await;
    causeway.line(); // its record is written
    let (id, admin) = (told.field("x-request-id").unwrap(), admin.to_string());
    let out = explain(&[&id[..8], "--admin", &admin]);
    assert_eq!((out.status.code(), out.stderr.len()), (Some(0), 0), "{out:?}");
    let printed = text(&out.stdout);
    tells_the_account_of(&printed, &told.text());
    assert!(printed.contains("\nThe attempts, in order\n"), "{printed}");
    assert!(printed.contains("Asked     GET /orders?page=2\n") && printed.contains(id), "{printed}");
    let out = explain(&[id, "--admin", &admin, "--json"]);
    let json: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((out.status.code(), &json["request_id"]), (Some(0), &id.into()));
    // As the admin itself answers, to curl.
    let (whole, _) = trail(admin.parse().unwrap(), id).await;
    assert_eq!(whole, json);

    let out = explain(&["0123456789abcdef", "--admin", &admin]);
    assert_eq!(out.status.code(), Some(1));
    let sentence =
        "causeway explain: No failed request has an id that begins with 0123456789abcdef. 1 is kept, the oldest of 2";
    assert!(text(&out.stderr).starts_with(sentence), "{out:?}");
}

#[test]
fn without_a_proxy_it_is_69() {
    for admin in [&*free(), "off", "not an address"] {
        let out = explain(&["4f6c2a91", "--admin", admin]);
        assert_eq!((out.status.code(), out.stdout.len()), (Some(69), 0), "{out:?}");
        assert!(text(&out.stderr).contains("--admin ADDR"), "{out:?}");
    }
}

#[test]
fn somebody_else_at_the_address_cannot_speak_to_the_terminal() {
    use std::io::{Read as _, Write as _};
    let page = "HTTP/1.1 200 OK\r\nServer: \x1b[31mx/1\r\nContent-Type: text/html\r\n\r\n<h1>Welcome</h1>\n";
    for (answer, code) in [
        ("SSH-2.0-x\r\n", 69),
        (page, 69),
        ("HTTP/1.1 200 OK\r\n\r\n\x1b]0;title\x07\u{9b}31m text\n", 69),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nhello\n", 69),
        ("HTTP/1.1 404 No\r\nContent-Type: text/html\r\n\r\n<h1>Not Found</h1>\n", 69),
        ("HTTP/1.1 500 No\r\nContent-Type: text/plain\r\n\r\n\x1b[31m\n", 1),
        ("HTTP/1.1 403 No\r\n\r\n", 69),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let out = explain(&["4f6c2a91", "--admin", &address]);
        served.join().unwrap();
        assert_eq!(out.status.code(), Some(code), "{out:?}");
        let all = text(&out.stdout) + &text(&out.stderr);
        assert!(all.bytes().all(|b| matches!(b, b' '..=b'~' | b'\n')), "{all:?}");
        if code == 69 {
            assert!(all.contains("something else") && all.contains("--admin ADDR") && out.stdout.is_empty(), "{all}");
        }
        if answer == page {
            let said = format!("{address} answers, but not as causeway does (200, text/html, \\u{{1b}}[31mx/1):");
            assert!(all.contains(&said), "{all}");
        }
    }
}

#[test]
fn no_other_server_is_taken_for_causeway() {
    use std::io::{Read as _, Write as _};
    let said = |kind: &str, body: &str, words: &[&str]| {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let mut command = Command::new(env!("CARGO_BIN_EXE_causeway"));
        let out = command.args(words).args(["--admin", &address]).stdin(Stdio::null()).output().unwrap();
        served.join().unwrap();
        (out.status.code(), text(&out.stdout), text(&out.stderr))
    };
    for (kind, body) in [("application/json", "{}"), ("text/html", "<html></html>"), ("application/json", "[1]")] {
        for words in [&["status"][..], &["explain", "--json", "4f6c2a91"], &["drain", "app/a:1"]] {
            let (code, out, err) = said(kind, body, words);
            assert!(code == Some(69) && out.is_empty(), "{words:?} {kind}: {code:?} {out} {err}");
            assert!(err.contains("answers, but not as causeway does (200, ") && err.contains("--admin ADDR"), "{err}");
        }
    }
}

#[test]
fn names_that_others_give_are_known() {
    for (words, wanted) in [
        (&["worker_connections are not enough"][..], &["files_exhausted", "loop_detected"][..]),
        (
            &["2026/11/20 14:02:51 [alert] 31#31: 512 worker_connections are not enough while connecting to upstream"],
            &["files_exhausted", "loop_detected"],
        ),
        (&["SC--"], &["connection_refused", "dns_not_found", "unreachable"]),
        (&["sH--"], &["read_timeout"]),
        (&["CDVN"], &["client_closed"]),
        (&["bad gateway"], &["connection_refused", "closed_without_response"]),
        (&["502", "Bad", "Gateway"], &["connection_refused"]),
        (&["Gateway Timeout"], &["connect_timeout", "read_timeout"]),
        (&["service unavailable"], &["upstream_busy", "proxy_busy", "shutting_down"]),
        (&["L4CON"], &["connection_refused"]),
        (&["URX"], &["connection_refused", "connect_timeout", "reset_before_head"]),
        (&["DR"], &["client_closed"]),
        (&["DT"], &["request_timeout"]),
        (&["NC"], &["no_route"]),
        (&["DO"], &["proxy_busy"]),
        (&["CQ--"], &["client_closed"]),
        (&["cH--"], &["client_timeout"]),
        (&["target_connection_error"], &["connection_refused", "connect_timeout", "unreachable"]),
        (
            &[
                "2026/11/20 14:02:51 [error] 31#31: *7 connect() failed (110: Connection timed out) while connecting to upstream",
            ],
            &["connect_timeout"],
        ),
        (&["writev() failed (32: Broken pipe) while sending request to upstream"], &["reset_before_head"]),
        (&["no resolver defined to resolve app"], &["dns_failure"]),
        (&["upstream rejected request with error 7"], &["h2_stream_refused"]),
        (&["upstream server temporarily disabled while connecting to upstream"], &["evicted"]),
        (&["client sent HTTP/1.1 request without \"Host\" header"], &["client_invalid"]),
        (&["user \"x\" was not found in \"/etc/nginx/.htpasswd\""], &["unauthorized"]),
        (&["L7TOUT"], &["read_timeout"]),
    ] {
        let out = explain(words);
        let page = text(&out.stdout);
        for cause in wanted {
            assert!(
                page.starts_with(&format!("{cause}: ")) || page.contains(&format!("\n  {cause} ")),
                "{words:?}: {page}"
            );
        }
    }
}

#[test]
fn a_word_that_may_be_an_id_is_said_to_be_no_cause() {
    let out = explain(&["nonsense", "--admin", &free()]);
    let said = "causeway explain: no cause is called \"nonsense\"; if it is a request id: nothing listens on ";
    assert!(out.status.code() == Some(69) && text(&out.stderr).starts_with(said), "{out:?}");
    let out = explain(&["4f6c2a91", "--admin", &free()]);
    assert!(text(&out.stderr).starts_with("causeway explain: nothing listens on "), "{out:?}");
}

#[test]
fn what_it_tells_to_type_asks_the_proxy_that_was_meant() {
    let page = text(&explain(&["read_timeout", "--admin", "127.0.0.1:9902"]).stdout);
    assert!(page.contains("causeway status --admin 127.0.0.1:9902\n") && !page.contains(":9901"), "{page}");
}

#[test]
fn a_cause_by_any_of_its_names() {
    let page = text(&explain(&["read_timeout"]).stdout);
    assert!(page.starts_with("read_timeout: the upstream took the request and did not answer in time\n"), "{page}");
    for words in [
        &["READ-TIMEOUT"][..],
        &["sH"],
        &["524"],
        &["read"],
        &["upstream", "timed", "out", "while", "reading", "response"],
    ] {
        let out = explain(words);
        assert_eq!((out.status.code(), text(&out.stdout)), (Some(0), page.clone()), "{words:?}");
    }
    let json: Value = serde_json::from_slice(&explain(&["--json", "read_timeout"]).stdout).unwrap();
    assert_eq!((&json["cause"], &json["limits"][0]["default"]), (&"read_timeout".into(), &"60s".into()));
}

#[test]
fn several_are_a_list_and_none_is_1() {
    let out = explain(&[]);
    assert!(
        out.status.success() && text(&out.stdout).contains("\n  connection_refused      nothing listens"),
        "{out:?}"
    );
    let out = explain(&["502"]);
    assert!(out.status.success() && text(&out.stdout).contains("  connection_refused "), "{out:?}");
    assert!(!text(&out.stdout).contains("  read_timeout "), "{out:?}");
    let out = explain(&["red_timeout"]);
    let said = "causeway explain: no cause is called \"red_timeout\". Did you mean read_timeout?\nAll causes: causeway explain\n";
    assert_eq!((out.status.code(), text(&out.stderr)), (Some(1), said.to_owned()));
    let out = explain(&["\u{1b}[31m"]);
    assert!(out.status.code() == Some(1) && !out.stderr.contains(&0x1b), "{out:?}");
    assert_eq!(explain(&["--nonsense"]).status.code(), Some(2));
    let json: Value = serde_json::from_slice(&explain(&["--json"]).stdout).unwrap();
    assert_eq!(json["causes"].as_array().unwrap().len(), causeway::cause::Cause::ALL.len());
}

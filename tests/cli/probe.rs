//! `causeway probe`: what it finds at real upstreams, good and bad, and what it says of it.

use serde_json::Value;

use super::*;
use crate::support::origin::{Behaviour, Origin};
use crate::support::source;

/// `causeway probe` in an empty folder, or beside this config.
fn probe(words: &[&str], config: Option<&str>) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    if let Some(config) = config {
        std::fs::write(folder.path().join("causeway.toml"), config).unwrap();
    }
    let out = causeway(&[&["probe"], words].concat()).current_dir(&folder).output().unwrap();
    let said = text(&out.stdout) + &text(&out.stderr);
    assert!(said.bytes().all(|b| b == b'\n' || (b' '..=b'~').contains(&b)), "{said:?}");
    (out.status.code().unwrap(), said)
}

/// The lines without their times.
fn shape(said: &str) -> String {
    let untimed = |line: &str| {
        let mut words: Vec<&str> = line.split_inclusive(' ').collect();
        let bare = |word: &str| word.trim_end_matches([' ', '.']).to_owned();
        let unit = (1..words.len())
            .find(|at| ["ms", "s"].contains(&bare(words[*at]).as_str()) && bare(words[at - 1]).parse::<f64>().is_ok());
        if let Some(unit) = unit {
            (words[unit - 1], words[unit]) = ("T ", if words[unit].contains('.') { "ms." } else { "ms " });
        }
        words.concat().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    said.lines().map(|line| untimed(line) + "\n").collect()
}

async fn one(behaviour: Behaviour, words: &[&str]) -> (i32, String, String) {
    let origin = Origin::start(behaviour).await;
    let address = origin.address().to_string();
    let (code, said) = probe(&[&[address.as_str()], words].concat(), None);
    (code, said, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_upstream_is_shown_phase_by_phase() {
    let (code, said, at) = one(Behaviour::Ok(b"hello".to_vec()), &[]).await;
    let wanted = format!(
        "{at} usable\nconnect T ms {at}\nrequest T ms GET /, Host: {at}\n\
         head T ms 200, 1 field, 38 bytes (limit 64 KiB)\nbody T ms 5 bytes, complete\n1 of 1 usable, T ms.\n"
    );
    assert_eq!((code, shape(&said)), (0, wanted));
    assert!(said.lines().all(|line| line.len() <= 80), "{said}");
}

#[test]
fn nobody_listens() {
    let at = Origin::nobody().to_string();
    let (code, said) = probe(&[&at], None);
    let start = format!("{at} not usable\nconnect T ms connection_refused: nothing listens on this port\n");
    assert!(code == 1 && shape(&said).starts_with(&start), "{said}");
    assert!(said.ends_with("\n0 of 1 usable. Next: causeway explain connection_refused\n"), "{said}");
}

/// A port with nobody on it right above one where an app answers.
async fn next_to_an_app() -> (Origin, String) {
    loop {
        let app = Origin::start(Behaviour::Ok(b"hello".to_vec())).await;
        let above = SocketAddr::new(app.address().ip(), app.port().saturating_add(1));
        if let Ok(free) = TcpListener::bind(above) {
            drop(free);
            return (app, above.to_string());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_config_has_already_is_not_suggested() {
    let (app, nobody) = next_to_an_app().await;
    let suggests = |said: &str| said.contains(&format!("Did you mean {}?", app.port()));
    let (code, said) = probe(&[&nobody], None);
    assert!(code == 1 && suggests(&said), "{said}");
    for more in [format!("\"{}\"", app.address()), format!("\"{}\"", app.port())] {
        let (code, said) = probe(&[], Some(&format!("[pool.app]\nupstreams = [\"{nobody}\", {more}]\n")));
        assert!(code == 1 && said.contains("nothing listens on this port") && !suggests(&said), "{said}");
    }
    // Nor is a listener of causeway's own.
    let config = format!("[listener.main]\naddress = \"{}\"\n[pool.app]\nupstreams = [\"{nobody}\"]\n", app.address());
    let (code, said) = probe(&[], Some(&config));
    assert!(code == 1 && !suggests(&said), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_causeway_itself_is_told_so() {
    let own = Origin::start(Behaviour::Status(502)).await;
    let at = own.address().to_string();
    let config = format!("[listener.main]\naddress = \"{at}\"\n[pool.app]\nupstreams = [\"{at}\"]\n");
    let (code, said) = probe(&[], Some(&config));
    let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains(&format!("{at} is causeway's own address: write the app's address in its place.")), "{said}");
    assert!(code == 1 && said.ends_with("Next: causeway explain loop_detected\n"), "{said}");
    // Somebody who asks for that listener wants to know whether it answers.
    let config = config.replace(&format!("upstreams = [\"{at}\"]"), "upstreams = [\"127.0.0.1:1\"]");
    let (code, said) = probe(&[&at], Some(&config));
    assert!(code == 0 && !said.contains("own address"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_has_its_phase_and_its_cause() {
    for (behaviour, line) in [
        (Behaviour::Garbage, "head T ms not_http: not HTTP: SSH-2.0-OpenSSH\\r\\n"),
        (Behaviour::TlsAlert, "head T ms speaks_tls: "),
        (Behaviour::HeadOf(70_000), "head T ms response_head_too_large: "),
        (Behaviour::HalfHead, "head T ms truncated_head: "),
        (Behaviour::CloseBeforeHead, "head T ms closed_without_response: "),
        (Behaviour::ResetBeforeHead, "head T ms reset_before_head: "),
        (Behaviour::CutBody { sent: 5, of: 10, reset: false }, "body T ms truncated_body: "),
        (Behaviour::BadChunking, "body T ms bad_chunking: "),
    ] {
        let named = format!("{behaviour:?}");
        let (code, said, _) = one(behaviour, &[]).await;
        assert!(code == 1 && shape(&said).contains(&format!("\n{line}")), "{named}: {said}");
        let cause = line.split(' ').nth(3).unwrap().trim_end_matches(':');
        assert!(said.ends_with(&format!("\n0 of 1 usable. Next: causeway explain {cause}\n")), "{named}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_app_is_waited_for_as_long_as_is_said() {
    let begun = Instant::now();
    let (code, said, _) = one(Behaviour::Silent, &["--timeout", "300ms"]).await;
    assert!(code == 1 && begun.elapsed() < PATIENCE, "{said}");
    assert!(said.contains("read_timeout: it took the request, then was silent for"), "{said}");
    assert!(said.contains("300.0 ms") && said.contains("(limit: --timeout)"), "{said}");
    assert!(!said.contains("timeouts.read"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_ends_ends() {
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(200_000));
    for (behaviour, code, part) in [
        (Behaviour::Flood(1 << 30), 0, "64.0 KiB read, the rest left"),
        (Behaviour::Raw(endless.into_bytes()), 0, "64.0 KiB read, the rest left"),
        (Behaviour::Raw(b"HTTP/1.1 200 OK\r\n\r\nhi".to_vec()), 0, "2 bytes so far, and still open after"),
        (Behaviour::StallInBody, 1, "body_timeout"),
        (Behaviour::Greets(vec![0x1b; 1 << 20]), 1, "not_http: not HTTP: \\x1b\\x1b"),
        (Behaviour::Raw("HTTP/1.1 102 Processing\r\n\r\n".repeat(2000).into_bytes()), 1, "invalid_head"),
        (Behaviour::NeverReads, 1, "read_timeout"),
    ] {
        let named = format!("{behaviour:?}").chars().take(60).collect::<String>();
        let begun = Instant::now();
        let (got, said, _) = one(behaviour, &["--timeout", "400ms"]).await;
        let one_line = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(got == code && one_line.contains(part), "{named}: {said}");
        assert!(begun.elapsed() < PATIENCE, "{named}");
    }
}

/// One upstream with an HTTP check.
fn with_check(address: &str) -> String {
    format!("[pool.app]\nupstreams = [\"{address}\"]\nhost_header = \"upstream\"\nhealth.path = \"/healthz\"\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_check_does_not_want_is_explained() {
    let status = |code: u16, more: &str| {
        Behaviour::Raw(format!("HTTP/1.1 {code} X\r\n{more}Content-Length: 0\r\n\r\n").into_bytes())
    };
    for (behaviour, part) in [
        (status(404, ""), "404: the app answers, but has no /healthz. Set health.path to one that it has"),
        (status(401, ""), "401: the app wants a login for /healthz. Set health.headers"),
        (status(403, ""), "403: the app refuses /healthz."),
        (status(503, ""), "503: the app says itself that it is not well, or a proxy there has no app behind it."),
        (
            status(503, "Proxy-Status: edge; error=connection_refused\r\n"),
            "503: that is another proxy, which got no answer",
        ),
    ] {
        let origin = Origin::start(behaviour).await;
        let at = origin.address().to_string();
        let (code, said) = probe(&[], Some(&with_check(&at)));
        let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(code == 1 && flat.contains(part), "{said}");
        assert!(
            flat.contains("health_status: GET /healthz gives ") && flat.contains("pool app 0 of 1 usable"),
            "{said}"
        );
        assert!(!flat.contains("Health check health check"), "{said}");
        // The address alone finds the same settings; a URL is a question of its own.
        let (code, said) = probe(&[&at], Some(&with_check(&at)));
        assert!(code == 1 && said.contains("not usable   (as in pool app)"), "{said}");
        assert_eq!(probe(&[&format!("http://{at}/orders")], Some(&with_check(&at))).0, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_https_is_explained_even_where_it_passes() {
    let moved = "HTTP/1.1 301 X\r\nLocation: https://shop.example/\x1b[31m\r\nContent-Length: 0\r\n\r\n";
    let (code, said, at) = one(Behaviour::Raw(moved.as_bytes().to_vec()), &[]).await;
    // An escape is no character of a field: such an answer is none.
    assert!(code == 1 && said.contains("invalid_head"), "{said}");
    let moved = "HTTP/1.1 301 X\r\nLocation: https://shop.example/\u{e9}\r\nContent-Length: 0\r\n\r\n";
    let origin = Origin::start(Behaviour::Raw(moved.as_bytes().to_vec())).await;
    let at = (at, origin.address().to_string()).1;
    let (code, said) = probe(&[], Some(&with_check(&at)));
    let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        code == 0 && flat.contains("301 to https://shop.example/\\xc3\\xa9: the app redirects plain HTTP"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn localhost_with_one_family_is_found_and_told() {
    let origin = Origin::start(Behaviour::Ok(b"hi".to_vec())).await;
    let port = origin.port();
    let (code, said) = probe(&[&port.to_string()], None);
    assert!(code == 0 && said.contains(&format!("  127.0.0.1:{port}\n")), "{said}");
    // Where the kernel has IPv6 it refuses; where it has none, that is another cause.
    assert!(said.contains(&format!("[::1]:{port}  ")), "{said}");
    if said.contains("connection_refused") {
        assert!(said.contains(&format!("It listens on 127.0.0.1:{port} alone")), "{said}");
    }
}

#[test]
fn a_name_without_an_address_is_told_in_its_phase() {
    let (code, said) = probe(&["nobody.invalid:3000"], None);
    assert!(code == 1 && said.starts_with("nobody.invalid:3000   not usable\n  resolve "), "{said}");
    assert!(said.contains(": causeway explain dns_"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_has_the_same_facts() {
    let good = Origin::start(Behaviour::Ok(b"hello".to_vec())).await;
    let (good, dead) = (good.address().to_string(), Origin::nobody().to_string());
    let config = format!("[pool.app]\nupstreams = [\"{good}\", {{ address = \"{dead}\", name = \"b\" }}]\n");
    let (code, said) = probe(&["--json"], Some(&config));
    assert_eq!(code, 1);
    let all: Vec<Value> = serde_json::from_str(&said).unwrap();
    let dead_one = &all[1];
    assert_eq!(dead_one["upstream"], "b");
    assert_eq!((&dead_one["address"], &dead_one["pool"]), (&Value::from(dead.as_str()), &Value::from("app")));
    assert_eq!((&dead_one["usable"], &dead_one["cause"]), (&Value::from(false), &Value::from("connection_refused")));
    assert_eq!(dead_one["phase"], "connect");
    assert!(dead_one["hint"].as_str().unwrap().starts_with(&format!("Nothing listens on {dead}.")), "{said}");
    assert!(dead_one["command"].is_string() && dead_one["steps"][0]["cause"] == "connection_refused", "{said}");
    assert!(dead_one["steps"][0]["elapsed_ms"].is_number() && dead_one["steps"][0]["ok"] == false, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_of_a_good_one_has_every_phase() {
    let (code, said, at) = one(Behaviour::Ok(b"hello".to_vec()), &["--json"]).await;
    let all: Vec<Value> = serde_json::from_str(&said).unwrap();
    let steps = all[0]["steps"].as_array().unwrap();
    let phases: Vec<_> = steps.iter().map(|step| step["phase"].as_str().unwrap()).collect();
    assert_eq!((code, phases), (0, vec!["connect", "request", "head", "body", "upgrade"]));
    assert_eq!(all[0]["upstream"], at);
    assert!(all[0]["usable"] == true && all[0].get("cause").is_none() && steps[2]["status"] == 200, "{said}");
    assert!(steps[2]["bytes"] == 38 && steps[3]["bytes"] == 5 && steps[3]["complete"] == true, "{said}");
}

/// The sample in the README is what it says.
#[tokio::test(flavor = "multi_thread")]
async fn the_readme_shows_a_real_run() {
    let good = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nServer: app\r\n\r\nok\n";
    let (good, bad) = (Origin::start(Behaviour::Raw(good.into())).await, Origin::start(Behaviour::Status(404)).await);
    let (good, bad) = (good.address().to_string(), bad.address().to_string());
    let config = format!("[pool.app]\nupstreams = [\"{good}\", \"{bad}\"]\nhealth.path = \"/healthz\"\n");
    let (code, said) = probe(&[], Some(&config));
    let said = shape(&said.replace(&good, "127.0.0.1:3000").replace(&bad, "127.0.0.1:3001"));
    let readme = source::read("README.md");
    let sample = readme.split("$ causeway probe\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!((code, said), (1, shape(sample)));
}

#[test]
fn the_other_exit_codes() {
    assert_eq!(probe(&["not an address"], None).0, 2);
    let (code, said) = probe(&["unix:app.sock"], None);
    assert!(code == 2 && said.contains("the path of a socket begins with /"), "{said}");
    let (code, said) = probe(&[], None);
    assert!(code == 78 && said.contains("causeway probe 3000"), "{said}");
    assert_eq!(probe(&[], Some("nonsense = 1\n")).0, 78);
    assert_eq!(probe(&["--config", "no-such-file.toml", "3000"], None).0, 78);
    // A config that nobody asked for is no reason not to look at an address.
    let (code, said) = probe(&[&Origin::nobody().to_string()], Some("nonsense = 1\n"));
    assert!(code == 1 && said.contains("The config has problems"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_names_upstreams_too() {
    let origin = Origin::start(Behaviour::Ok(b"hi".to_vec())).await;
    let folder = tempfile::tempdir().unwrap();
    let mut command = causeway(&["probe"]);
    command.env("CAUSEWAY_UPSTREAMS", origin.address().to_string()).current_dir(&folder);
    let out = command.output().unwrap();
    let said = text(&out.stdout);
    assert!(out.status.success() && said.starts_with("pool app   1 of 1 usable\n"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_finds_an_app_that_closes_idle_connections_too_soon() {
    // After the first answer it is idle for as long; the second one may meet the close.
    let origin = Origin::start(Behaviour::Ok(b"hi".to_vec())).await;
    let at = origin.address().to_string();
    let config = format!("[pool.app]\nupstreams = [\"{at}\"]\nconnections.idle = \"1500ms\"\n");
    let (code, said) = probe(&["--deep"], Some(&config));
    let flat = shape(&said);
    assert_eq!(code, 0, "{said}");
    for line in [
        "\nupgrade T ms does not upgrade here (200)\n",
        "\nhost T ms 200 for Host: client.example, as for ",
        "\nmethod T ms ",
        "\nchunked T ms 200 to a request body in chunks\n",
        "\nagain T ms 200 on the same connection\n",
    ] {
        assert!(flat.contains(line), "{line}: {said}");
    }
    assert!(said.contains("  still open\n"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_says_what_to_set_for_an_app_that_closes_sooner() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(impatient(stream, Duration::from_millis(1500)));
        }
    });
    let (code, said) = probe(&["--deep", &at], None);
    let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(code == 0 && flat.contains("closed by the app after "), "{said}");
    assert!(
        flat.contains("sooner than connections.idle (4.0 s): causeway learns that; or set connections.idle = "),
        "{said}"
    );
}

/// Answers every request, and closes after this time without one, as gunicorn and Node do.
async fn impatient(mut stream: tokio::net::TcpStream, idle: Duration) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut bytes = [0; 4096];
    while let Ok(Ok(1..)) = tokio::time::timeout(idle, stream.read(&mut bytes)).await {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_is_found() {
    let switches = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = vec![0; 4096];
            let read = stream.read(&mut bytes).await.unwrap_or(0);
            let asked = String::from_utf8_lossy(&bytes[..read]).to_ascii_lowercase();
            let is_upgrade = asked.contains("\r\nupgrade: websocket\r\n") && asked.contains("sec-websocket-key: ");
            let ok = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
            let _ = stream.write_all(if is_upgrade { switches } else { ok }.as_bytes()).await;
        }
    });
    let (code, said) = probe(&[&at], None);
    assert!(code == 0 && said.contains("101: speaks WebSocket here\n"), "{said}");
}

#[test]
fn a_thousand_dead_upstreams_take_no_longer_than_a_few() {
    let port = Origin::nobody().port();
    let upstreams: Vec<_> = (0..1000).map(|n| format!("\"127.0.{}.{}:{port}\"", 1 + n / 250, 1 + n % 250)).collect();
    let begun = Instant::now();
    let (code, said) = probe(&[], Some(&format!("[pool.app]\nupstreams = [{}]\n", upstreams.join(","))));
    assert!(code == 1 && said.ends_with("0 of 1000 usable. Next: causeway explain connection_refused\n"), "{code}");
    assert!(begun.elapsed() < 3 * PATIENCE, "{:?}", begun.elapsed());
}

/// Its head comes byte by byte, and never to its end: that is no silence.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_was_begun_is_no_silence() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nServer: slow\r\n").await;
                let _ = stream.read(&mut [0; 1]).await;
            });
        }
    });
    let (code, said) = probe(&[&at, "--timeout", "500ms"], None);
    let line =
        "read_timeout: it took the request, then sent 31 bytes of a response head, and not the rest within 500.0 ms";
    let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(code == 1 && flat.contains(line) && !flat.contains("silent"), "{said}");
}

/// An upgrade that nobody asked for does not fail.
#[tokio::test(flavor = "multi_thread")]
async fn http2_alone_has_no_failed_upgrade() {
    let origin = crate::support::h2::Streams::echo().await;
    let at = format!("h2c://{}", origin.address());
    let (code, said) = probe(&[&at, "--deep"], None);
    assert!(code == 0 && !said.contains("upgrade_failed"), "{said}");
    assert!(shape(&said).contains("\nupgrade T ms speaks HTTP/2, and takes no WebSocket over it\n"), "{said}");
    assert!(shape(&said).contains("\nagain T ms not tried: it speaks HTTP/2 alone\n"), "{said}");
}

//! The whole program, from its words to its exit.

use super::*;
use std::io::Lines;
use std::process::ChildStdout;

use rustix::process::Signal;

use crate::support::process::Causeway;

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(words: &[&str]) -> (Self, Lines<BufReader<ChildStdout>>) {
        let mut child = causeway(words).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        (Self(child), lines)
    }

    fn end(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, Signal::TERM).unwrap();
        self.0.wait().unwrap().code()
    }
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: text/plain\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn nothing_configured_is_78() {
    let empty = tempfile::tempdir().unwrap();
    let out = causeway(&["run"]).current_dir(&empty).output().unwrap();
    assert_eq!(out.status.code(), Some(78), "{out:?}");
    assert_eq!(causeway(&["run", "--config", "no-such-file.toml"]).output().unwrap().status.code(), Some(78));
    let both = ["run", "--config", "no-such-file.toml", "--upstream", "3000"];
    assert_eq!(causeway(&both).output().unwrap().status.code(), Some(2));
}

/// A machine reads one object a line, warnings about the config included; and a port that is taken is said once.
#[test]
fn a_start_without_a_terminal_says_everything_as_events() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("causeway.toml");
    let upstreams = "upstreams = [\"127.0.0.1:1\", \"127.0.0.1:1\"]";
    std::fs::write(&file, format!("listen = \"{taken}\"\n[pool.app]\n{upstreams}\n")).unwrap();
    let file = file.to_str().unwrap();
    let mut command = causeway(&["run", "--config", file, "--admin", "127.0.0.1:0"]);
    let out = command.env("CAUSEWAY_UPSTREAM", "127.0.0.1:1").output().unwrap();
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    let said = text(&out.stderr);
    let events: Vec<serde_json::Value> = said.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let [twice, variable, fatal] = events.as_slice() else { panic!("{said}") };
    assert_eq!((&twice["event"], &twice["level"]), (&"config_warning".into(), &"warn".into()));
    assert_eq!((&twice["file"], &twice["line"], &twice["column"]), (&file.into(), &3.into(), &29.into()));
    assert_eq!(twice["message"], "127.0.0.1:1 stands twice in pool `app`");
    assert!(twice["hint"].as_str().unwrap().starts_with("it is taken once; "), "{said}");
    assert_eq!((&variable["file"], &variable["line"]), (&"CAUSEWAY_UPSTREAM".into(), &serde_json::Value::Null));
    assert_eq!(variable["hint"], "did you mean CAUSEWAY_UPSTREAMS?");
    let port = taken.port();
    let wanted = format!(
        "listener main: cannot listen on {taken}: another program listens on that port already; \
         \"ss -ltnp 'sport = :{port}'\" shows which"
    );
    assert_eq!((&fatal["event"], &fatal["message"]), (&"fatal".into(), &wanted.into()));
}

#[test]
fn an_admin_address_that_is_taken_need_not_be_had() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap().to_string();
    let empty = tempfile::tempdir().unwrap();
    let words = ["run", "--upstream", "1", "--listen", "127.0.0.1:0", "--admin", &taken];
    let out = causeway(&words).current_dir(&empty).output().unwrap();
    let said = text(&out.stderr);
    let wanted = format!("admin: cannot listen on {taken}: another program listens on that port already;");
    assert!(out.status.code() == Some(1) && said.contains(&wanted), "{said}");
    assert!(
        said.contains(". The admin address may be another: --admin ADDR, or --admin off (admin.address)"),
        "{said}"
    );
}

#[test]
fn a_variable_that_nobody_reads_is_told_with_the_right_one() {
    let empty = tempfile::tempdir().unwrap();
    let run = |word: &str, name: &str, value: &str| {
        let out = causeway(&[word]).current_dir(&empty).env(name, value).output().unwrap();
        (out.status.code(), text(&out.stdout) + &text(&out.stderr))
    };
    let (code, said) = run("run", "CAUSEWAY_UPSTREAM", "app:3000");
    let wanted =
        "CAUSEWAY_UPSTREAM: warning: causeway reads no variable of this name\n  did you mean CAUSEWAY_UPSTREAMS?\n";
    assert!(code == Some(78) && said.starts_with(wanted) && said.contains("Nothing is configured"), "{said}");
    std::fs::write(empty.path().join("causeway.toml"), "[pool.app]\nupstreams = [\"${CAUSEWAY_APP}:3000\"]\n").unwrap();
    let (code, said) = run("check", "CAUSEWAY_APP", "10.0.0.1");
    assert_eq!((code, said.as_str()), (Some(0), "causeway.toml is fine: 1 listener, 1 route, 1 pool, 1 upstream.\n"));
    let (code, said) = run("check", "CAUSEWAY_UPSTREAM", "x");
    assert!(
        code == Some(78) && said.contains("CAUSEWAY_UPSTREAM: warning") && said.contains("1 problem, 1 warning."),
        "{said}"
    );
}

#[test]
fn run_origin_and_healthcheck_make_a_working_proxy() {
    let (_origin, mut said) = Running::start(&["origin", "--listen", "127.0.0.1:0", "--name", "one"]);
    let upstream = said.next().unwrap().unwrap().rsplit_once("http://").unwrap().1.to_owned();
    let mut proxy =
        Causeway::words(&["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--upstream", &upstream]);
    let listen = proxy.address("listening on http://").to_string();
    let admin = proxy.address("health on http://").to_string();
    let begun = Instant::now();
    while code(&["healthcheck", "--admin", &admin, "--pool", "all"]) != 0 {
        assert!(begun.elapsed() < PATIENCE, "never ready");
    }
    let answer = get(&listen, "/hello");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("one answers GET /hello"), "{answer}");
    assert!(answer.contains("x-forwarded-for: 127.0.0.1"), "{answer}");
    assert!(get(&admin, "/readyz?verbose").contains("pool app: 1 of 1 upstreams usable"));
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.end().0.code(), Some(0));
    assert_eq!(code(&["healthcheck", "--admin", &admin]), 1);
}

/// `origin --fail CAUSE` keeps its promise: a proxy in front of it names that cause. (After `bad_chunking` the head
/// is gone already, so no answer can name it.)
#[test]
fn each_fault_is_named_by_the_proxy_in_front() {
    const CAUSES: [&str; 18] = [
        "connect_reset",
        "stale_connection",
        "closed_without_response",
        "reset_before_head",
        "truncated_head",
        "not_http",
        "speaks_tls",
        "speaks_h2",
        "invalid_head",
        "response_head_too_large",
        "read_timeout",
        "write_timeout",
        "request_timeout",
        "truncated_body",
        "body_timeout",
        "upgrade_failed",
        "health_status",
        "health_body",
    ];
    // Ports of the kernel's choice: one that was free a moment ago may be another test's by now.
    let mut config = "listen = \"127.0.0.1:0\"\nworkers = 1\nadmin.address = \"127.0.0.1:0\"\n".to_owned();
    let mut origins = Vec::new();
    for cause in CAUSES {
        let (origin, mut said) = Running::start(&["origin", "--listen", "127.0.0.1:0", "--fail", cause]);
        let upstream = said.next().unwrap().unwrap().rsplit_once("http://").unwrap().1.to_owned();
        origins.push((origin, said));
        config += &format!(
            "[route.{cause}]\npath = \"/{cause}\"\npool = \"{cause}\"\n\
             [pool.{cause}]\nupstreams = [\"{upstream}\"]\n"
        );
        config += match cause {
            "request_timeout" => "timeouts.request = \"400ms\"\n",
            "read_timeout" => "timeouts.read = \"300ms\"\n",
            "write_timeout" => "timeouts.write = \"300ms\"\n",
            "body_timeout" => "timeouts.body = \"300ms\"\n",
            "health_status" => "when_all_evicted = \"fail\"\nhealth.path = \"/healthz\"\n",
            "health_body" => "when_all_evicted = \"fail\"\nhealth = { path = \"/healthz\", expect_body = \"ok\" }\n",
            _ => "",
        };
    }
    let (mut proxy, listen) = Causeway::run(&config);
    let (listen, admin) = (listen.to_string(), proxy.address("health on http://").to_string());
    let begun = Instant::now();
    while code(&["healthcheck", "--admin", &admin]) != 0 {
        assert!(begun.elapsed() < PATIENCE, "never ready");
    }
    for cause in CAUSES {
        let body = match cause {
            "write_timeout" => vec![b'x'; 32 << 20],
            _ => Vec::new(),
        };
        if cause == "stale_connection" {
            assert!(get(&listen, "/stale_connection").starts_with("HTTP/1.1 200 "));
        }
        let mut stream = TcpStream::connect(&listen).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let method = if body.is_empty() && cause != "stale_connection" { "GET" } else { "POST" };
        let head = format!("{method} /{cause} HTTP/1.1\r\nHost: {listen}\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).unwrap();
        // Answered before all of it was taken, so that the rest may find nobody.
        let mut writer = stream.try_clone().unwrap();
        let writing = std::thread::spawn(move || drop(writer.write_all(&body)));
        let mut answer = Vec::new();
        let mut part = [0; 4096];
        while !answer.ends_with(b"\n}\n") {
            let n = stream.read(&mut part).unwrap_or(0);
            assert!(n > 0, "{cause}: {}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&part[..n]);
        }
        let named = |cause: &str| text(&answer).contains(&format!("\"cause\": \"{cause}\""));
        // The reset may find the request on its way already.
        let late = cause == "connect_reset" && named("reset_before_head");
        assert!(named(cause) || late, "{cause}: {}", text(&answer));
        drop(stream);
        writing.join().unwrap();
    }
}

#[test]
fn the_demo_shows_a_failover_and_a_502_that_says_why() {
    let (demo, lines) = Running::start(&["demo", "--for", "20s"]);
    let mut lines = lines.map(Result::unwrap);
    let app = lines.find_map(|line| Some(line.split_once("the app")?.1.trim().to_owned())).unwrap();
    let port = app.rsplit_once(':').unwrap().1.to_owned();
    lines.find(|line| line.ends_with("one, two and three are ready.")).unwrap();
    let answer = get(&format!("127.0.0.1:{port}"), "/all-down");
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    let mut block = lines.by_ref().skip_while(|line| !line.contains("GET /all-down (pool down): the client saw 502"));
    block.next().unwrap();
    let rows: Vec<String> = block.take(3).collect();
    for who in ["gone    connection_refused", "silent  read_timeout", "sick    not tried"] {
        assert!(rows.iter().any(|row| row.contains(who)), "{who}: {rows:#?}");
    }
    lines.find(|line| line.contains("two is stopped, on purpose.")).unwrap();
    // A failed request asks for checks at once: what comes first, its story or the eviction, is a race.
    let mut meanwhile: Vec<String> = Vec::new();
    lines
        .find(|line| {
            line.contains("two is started again.") || {
                meanwhile.push(line.clone());
                false
            }
        })
        .unwrap();
    for words in [
        "GET / on two: ",
        "Rescued: the client saw 200 after ",
        "two evicted: connection_refused, 3 in a row. 2 of 3 upstreams left.",
    ] {
        assert!(meanwhile.iter().any(|line| line.contains(words)), "not told: {words}: {meanwhile:#?}");
    }
    for words in ["two is back: 2 checks passed. 3 of 3 upstreams.", " requests of its own: 0 failed, "] {
        assert!(lines.any(|line| line.contains(words)), "not told, or not in its turn: {words}");
    }
    assert_eq!(demo.end(), Some(0));
}

//! The program as a user starts it: exit codes, sentences, and what `origin` really puts on the wire.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(10);

fn causeway(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_causeway"));
    command.args(words).stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CAUSEWAY_")) {
        command.env_remove(name);
    }
    command
}

fn output(words: &[&str]) -> Output {
    causeway(words).output().unwrap()
}

fn code(words: &[&str]) -> i32 {
    output(words).status.code().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

mod words {
    use super::*;

    #[test]
    fn the_version_is_the_packages() {
        let out = output(&["--version"]);
        assert_eq!(text(&out.stdout), format!("causeway {}\n", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn usage_errors_exit_2() {
        for wrong in [
            &["nonsense"][..],
            &[],
            &["run", "--nonsense"],
            &["origin", "--fail", "nonsense"],
            &["origin", "--fail", "dns_timeout"],
            &["origin", "--fail", "not_http:0"],
            &["origin", "--fail", "not_http", "--fail", "read_timeout"],
            &["origin", "--status", "99"],
            &["origin", "--delay", "3 sec"],
            &["demo", "--for", "soon"],
        ] {
            assert_eq!(code(wrong), 2, "{wrong:?}");
        }
    }

    #[test]
    fn an_impossible_fault_lists_the_possible_ones() {
        let said = text(&output(&["origin", "--fail", "connection_refused"]).stderr);
        assert!(said.contains("stop the origin") && said.contains("closed_without_response"), "{said}");
    }

    #[test]
    fn alone_it_prints_short_help() {
        let out = output(&[]);
        let help = text(&out.stderr);
        for command in ["run", "demo", "check", "origin", "healthcheck"] {
            assert!(help.lines().any(|line| line.trim_start().starts_with(command)), "{command}: {help}");
        }
        assert!(help.lines().count() < 25, "{help}");
    }

    #[test]
    fn help_is_ascii_and_narrow() {
        for words in [&["run", "--help"][..], &["origin", "--help"], &["healthcheck", "--help"], &["demo", "--help"]] {
            let out = output(words);
            let help = text(&out.stdout);
            assert!(out.status.success() && help.is_ascii(), "{help}");
            assert!(help.lines().all(|line| line.len() <= 80), "{help}");
        }
    }
}

mod healthcheck {
    use super::*;

    /// An admin that answers each request with these bytes, and tells what it was asked.
    fn admin(answer: &'static str) -> (String, std::sync::mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (send, asked) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut line = String::new();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                reader.read_line(&mut line).unwrap();
                let mut rest = String::new();
                while reader.read_line(&mut rest).is_ok_and(|n| n > 2) {}
                let _ = send.send(line.trim_end().to_owned());
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        (address, asked)
    }

    #[test]
    fn ready_is_0_and_silent() {
        let (address, asked) = admin("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nready\n");
        let out = output(&["healthcheck", "--admin", &address]);
        assert_eq!((out.status.code(), out.stdout.len(), out.stderr.len()), (Some(0), 0, 0));
        assert_eq!(asked.recv_timeout(PATIENCE).unwrap(), "GET /readyz HTTP/1.1");
        assert_eq!(code(&["healthcheck", "--admin", &address, "--pool", "a b"]), 0);
        assert_eq!(asked.recv_timeout(PATIENCE).unwrap(), "GET /readyz?pool=a%20b HTTP/1.1");
        let by_environment = causeway(&["healthcheck"]).env("CAUSEWAY_ADMIN", &address).output().unwrap();
        assert_eq!(by_environment.status.code(), Some(0));
    }

    #[test]
    fn not_ready_is_1_with_the_admins_own_reason() {
        let (address, _asked) = admin("HTTP/1.1 503 Service Unavailable\r\n\r\nnot ready: shutting down\nmore\n");
        let out = output(&["healthcheck", "--admin", &address]);
        assert_eq!(out.status.code(), Some(1));
        assert_eq!(text(&out.stderr), "causeway healthcheck: not ready: shutting down\n");
    }

    #[test]
    fn no_proxy_is_1() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let out = output(&["healthcheck", "--admin", &free]);
        assert_eq!(out.status.code(), Some(1));
        assert!(text(&out.stderr).contains("nothing listens"), "{out:?}");
        assert_eq!(code(&["healthcheck", "--admin", "not an address"]), 1);
        assert_eq!(code(&["healthcheck", "--admin", "off"]), 1);
    }

    #[test]
    fn what_is_not_http_is_1() {
        let (address, _asked) = admin("SSH-2.0-x\r\n");
        assert_eq!(code(&["healthcheck", "--admin", &address]), 1);
    }

    #[test]
    fn a_silent_admin_is_1_within_the_limit() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let begun = Instant::now();
        let out = output(&["healthcheck", "--admin", &listener.local_addr().unwrap().to_string()]);
        assert_eq!(out.status.code(), Some(1));
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }

    #[test]
    fn never_2() {
        assert_eq!(code(&["healthcheck", "--nonsense"]), 1);
        assert_eq!(code(&["healthcheck", "nonsense"]), 1);
        assert_eq!(code(&["healthcheck", "--help"]), 0);
    }
}

mod origin {
    use super::*;
    use std::io::ErrorKind;

    /// A running `causeway origin`, ended with the test.
    struct Origin {
        child: Child,
        address: SocketAddr,
    }

    impl Drop for Origin {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    fn start(words: &[&str]) -> Origin {
        let all = [&["origin", "--listen", "127.0.0.1:0"], words].concat();
        let mut child = causeway(&all).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().rsplit_once("http://").unwrap().1.parse().unwrap();
        Origin { child, address }
    }

    fn connect(origin: &Origin) -> TcpStream {
        let stream = TcpStream::connect(origin.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn get(path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: app\r\n\r\n")
    }

    /// All that comes back until the other side ends it, and how it ended.
    fn raw(origin: &Origin, request: &str) -> (Vec<u8>, Result<(), ErrorKind>) {
        let mut stream = connect(origin);
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        let end = stream.read_to_end(&mut bytes).map(|_| ()).map_err(|error| error.kind());
        (bytes, end)
    }

    fn fault(cause: &str, request: &str) -> (Vec<u8>, Result<(), ErrorKind>) {
        raw(&start(&["--fail", cause]), request)
    }

    /// One whole answer of known length from a kept connection.
    fn answer(stream: &mut TcpStream) -> String {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while !bytes.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            bytes.push(byte[0]);
        }
        let head = text(&bytes);
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap().parse().unwrap();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        head + &text(&body)
    }

    /// Nothing (more) comes within a moment, and the connection stays open.
    fn silent(stream: &mut TcpStream) -> bool {
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let read = stream.read(&mut [0]).map_err(|error| error.kind());
        matches!(read, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }

    #[test]
    fn a_good_one_says_who_it_is_and_what_it_got() {
        let origin = start(&["--name", "one"]);
        let mut stream = connect(&origin);
        stream
            .write_all(
                b"POST /a?b HTTP/1.1\r\nHost: shop\r\nX-Forwarded-For: 192.0.2.1\r\nCookie: secret\r\n\
                  Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n",
            )
            .unwrap();
        let mut interim = [0; 25];
        stream.read_exact(&mut interim).unwrap();
        assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"5\r\nhello\r\n0\r\n\r\n").unwrap();
        let said = answer(&mut stream);
        assert!(said.starts_with("HTTP/1.1 200 OK\r\n") && said.contains("one answers POST /a?b"), "{said}");
        assert!(said.contains("5 bytes of body") && said.contains("x-forwarded-for: 192.0.2.1"), "{said}");
        assert!(!said.contains("secret"), "{said}");
        stream.write_all(b"GET / HTTP/1.1\r\nAccept: application/json\r\n\r\n").unwrap();
        let said = answer(&mut stream);
        let json: serde_json::Value = serde_json::from_str(said.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!((&json["origin"], &json["method"]), (&"one".into(), &"GET".into()));
        stream.write_all(b"GET /<script> HTTP/1.1\r\nAccept: text/html\r\n\r\n").unwrap();
        assert!(answer(&mut stream).contains("GET /&lt;script&gt;"));
    }

    #[test]
    fn head_has_a_length_and_no_body() {
        let (bytes, end) = raw(&start(&["--size", "1KiB"]), "HEAD / HTTP/1.0\r\n\r\n");
        let said = text(&bytes);
        assert!(said.contains("Content-Length: 1024\r\n") && said.ends_with("\r\n\r\n"), "{said}");
        assert_eq!(end, Ok(()));
    }

    #[test]
    fn size_status_and_delay_are_as_told() {
        let origin = start(&["--size", "100KiB", "--status", "503", "--delay", "300ms"]);
        let begun = Instant::now();
        let (bytes, end) = raw(&origin, "GET / HTTP/1.0\r\n\r\n");
        assert!(begun.elapsed() >= Duration::from_millis(300));
        let head = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        assert!(bytes.starts_with(b"HTTP/1.1 503 Service Unavailable\r\n"));
        assert_eq!((bytes.len() - head, end), (100 << 10, Ok(())));
        let (health, _) = raw(&start(&[]), "GET /healthz HTTP/1.0\r\n\r\n");
        assert!(text(&health).ends_with("\r\n\r\nok\n"));
    }

    #[test]
    fn it_ends_well_when_asked_to() {
        let mut origin = start(&[]);
        let _kept = connect(&origin);
        let pid = rustix::process::Pid::from_child(&origin.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert_eq!(origin.child.wait().unwrap().code(), Some(0));
    }

    #[test]
    fn a_taken_port_is_one_sentence() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let out = output(&["origin", "--listen", &address]);
        assert_eq!(out.status.code(), Some(1));
        assert_eq!(text(&out.stderr), format!("causeway origin: {address} is taken. Choose another with --listen.\n"));
    }

    #[test]
    fn an_upgrade_to_echo_echoes() {
        let origin = start(&[]);
        let mut stream = connect(&origin);
        stream.write_all(b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly").unwrap();
        let mut bytes =
            vec![0; "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nearly".len()];
        stream.read_exact(&mut bytes).unwrap();
        assert!(bytes.starts_with(b"HTTP/1.1 101 ") && bytes.ends_with(b"\r\n\r\nearly"));
        stream.write_all(b"late").unwrap();
        let mut late = [0; 4];
        stream.read_exact(&mut late).unwrap();
        assert_eq!(&late, b"late");
    }

    #[test]
    fn events_come_one_by_one() {
        let origin = start(&["--name", "one"]);
        let mut stream = connect(&origin);
        stream.write_all(get("/events").as_bytes()).unwrap();
        let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
        assert!(lines.any(|line| line == "Content-Type: text/event-stream"));
        assert!(lines.any(|line| line == "data: one has counted to 0"));
        assert!(lines.any(|line| line == "data: one has counted to 1"));
    }

    #[test]
    fn faults_before_a_byte_of_an_answer() {
        assert_eq!(fault("closed_without_response", &get("/")), (Vec::new(), Ok(())));
        assert_eq!(fault("reset_before_head", &get("/")), (Vec::new(), Err(ErrorKind::ConnectionReset)));
        let origin = start(&["--fail", "connect_reset"]);
        assert_eq!(connect(&origin).read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        let origin = start(&["--fail", "read_timeout"]);
        let mut stream = connect(&origin);
        stream.write_all(get("/").as_bytes()).unwrap();
        assert!(silent(&mut stream));
    }

    #[test]
    fn faults_in_the_head() {
        let bytes = |cause| fault(cause, &get("/")).0;
        let truncated = text(&bytes("truncated_head"));
        assert!(truncated.starts_with("HTTP/1.1 200 OK\r\n") && !truncated.contains("\r\n\r\n"), "{truncated}");
        assert!(bytes("not_http").starts_with(b"SSH-2.0-"));
        assert!(bytes("speaks_tls").starts_with(b"\x15\x03\x03\x00\x02\x02"));
        assert!(bytes("speaks_h2").starts_with(b"\0\0\0\x04\0\0\0\0\0")); // an empty SETTINGS frame
        assert_eq!(text(&bytes("invalid_head")).matches("Content-Length: ").count(), 2);
        let huge = bytes("response_head_too_large");
        assert!(huge.len() > 16 << 20 && huge.ends_with(b"\r\n\r\n"), "{}", huge.len());
        assert!(text(&huge).lines().all(|line| line.len() <= 8 << 10));
        let origin = start(&["--fail", "upgrade_failed"]);
        let mut stream = connect(&origin);
        stream.write_all(get("/").as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        assert!(line.starts_with("HTTP/1.1 101 "), "{line}");
    }

    #[test]
    fn faults_in_the_body() {
        let (bytes, end) = fault("truncated_body", &get("/"));
        let said = text(&bytes);
        let (head, body) = said.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("Content-Length: 1024") && body.len() == 512 && end == Ok(()), "{said}");
        assert!(fault("bad_chunking", &get("/")).0.ends_with(b"\r\nXYZ\r\n"));
        let origin = start(&["--fail", "body_timeout", "--size", "100B"]);
        let mut stream = connect(&origin);
        stream.write_all(get("/").as_bytes()).unwrap();
        let mut bytes = Vec::new();
        let mut part = [0; 256];
        while text(&bytes).split_once("\r\n\r\n").is_none_or(|(_, body)| body.len() < 50) {
            let n = stream.read(&mut part).unwrap();
            bytes.extend_from_slice(&part[..n]);
        }
        assert!(silent(&mut stream));
        let origin = start(&["--fail", "request_timeout"]);
        let mut stream = connect(&origin);
        stream.write_all(get("/").as_bytes()).unwrap();
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n...") {
            let n = stream.read(&mut part).unwrap();
            assert!(n > 0);
            bytes.extend_from_slice(&part[..n]);
        }
    }

    #[test]
    fn a_stale_connection_dies_with_its_second_request() {
        let origin = start(&["--fail", "stale_connection"]);
        let mut stream = connect(&origin);
        stream.write_all(get("/").as_bytes()).unwrap();
        assert!(answer(&mut stream).starts_with("HTTP/1.1 200 "));
        stream.write_all(get("/").as_bytes()).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn write_timeout_never_reads_a_body() {
        let origin = start(&["--fail", "write_timeout"]);
        let mut stream = connect(&origin);
        stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        stream.write_all(b"POST / HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n").unwrap();
        let mut written = 0_u64;
        let end = loop {
            match stream.write(&[0; 64 << 10]) {
                Ok(n) => written += n as u64,
                Err(error) => break error.kind(),
            }
        };
        assert!(matches!(end, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{end:?} after {written} bytes");
        assert!(written < 100_000_000);
        let mut other = connect(&origin);
        other.write_all(get("/").as_bytes()).unwrap();
        assert!(answer(&mut other).starts_with("HTTP/1.1 200 "), "a request without a body is answered");
    }

    #[test]
    fn health_faults_are_for_healthz_alone() {
        for (cause, status) in [("health_status", "503"), ("health_body", "200")] {
            let origin = start(&["--fail", cause]);
            let health = text(&raw(&origin, "GET /healthz HTTP/1.0\r\n\r\n").0);
            assert!(health.starts_with(&format!("HTTP/1.1 {status} ")) && health.ends_with("unwell\n"), "{health}");
            assert!(text(&raw(&origin, "GET / HTTP/1.0\r\n\r\n").0).starts_with("HTTP/1.1 200 "));
        }
    }

    #[test]
    fn a_percentage_is_a_share_of_the_requests() {
        let origin = start(&["--fail", "closed_without_response:50"]);
        let bad = (0..200).filter(|_| raw(&origin, "GET / HTTP/1.0\r\n\r\n").0.is_empty()).count();
        assert!((50..150).contains(&bad), "{bad} of 200"); // 7 standard deviations
    }
}

/// The whole program, from its words to its exit.
mod whole {
    use super::*;
    use std::io::Lines;
    use std::process::ChildStdout;

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
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
            self.0.wait().unwrap().code()
        }
    }

    fn free() -> String {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
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

    #[test]
    fn run_origin_and_healthcheck_make_a_working_proxy() {
        let (_origin, mut said) = Running::start(&["origin", "--listen", "127.0.0.1:0", "--name", "one"]);
        let upstream = said.next().unwrap().unwrap().rsplit_once("http://").unwrap().1.to_owned();
        let (listen, admin) = (free(), free());
        let words = ["run", "--listen", &listen, "--admin", &admin, "--upstream", &upstream];
        let (proxy, _lines) = Running::start(&words);
        let begun = Instant::now();
        while code(&["healthcheck", "--admin", &admin, "--pool", "all"]) != 0 {
            assert!(begun.elapsed() < PATIENCE, "never ready");
        }
        let answer = get(&listen, "/hello");
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("one answers GET /hello"), "{answer}");
        assert!(answer.contains("x-forwarded-for: 127.0.0.1"), "{answer}");
        assert!(get(&admin, "/readyz?verbose").contains("pool app: 1 of 1 upstreams usable"));
        assert_eq!(proxy.end(), Some(0));
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
        let (listen, admin) = (free(), free());
        let mut config = format!("listen = \"{listen}\"\nworkers = 1\nadmin.address = \"{admin}\"\n");
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
                "health_body" => {
                    "when_all_evicted = \"fail\"\nhealth = { path = \"/healthz\", expect_body = \"ok\" }\n"
                }
                _ => "",
            };
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("causeway.toml");
        std::fs::write(&file, config).unwrap();
        let (_proxy, _lines) = Running::start(&["run", "--config", file.to_str().unwrap()]);
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
            let head =
                format!("{method} /{cause} HTTP/1.1\r\nHost: {listen}\r\nContent-Length: {}\r\n\r\n", body.len());
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
        let mut block =
            lines.by_ref().skip_while(|line| !line.contains("GET /all-down (pool down): the client saw 502"));
        block.next().unwrap();
        let rows: Vec<String> = block.take(3).collect();
        for who in ["gone    connection_refused", "silent  read_timeout", "sick    not tried"] {
            assert!(rows.iter().any(|row| row.contains(who)), "{who}: {rows:#?}");
        }
        for words in [
            "two is stopped, on purpose.",
            "GET / on two: ",
            "Rescued: the client saw 200 after ",
            "two evicted: connection_refused, 3 in a row. 2 of 3 upstreams left.",
            "two is started again.",
            "two is back: 2 checks passed. 3 of 3 upstreams.",
            " requests of its own: 0 failed, ",
        ] {
            assert!(lines.any(|line| line.contains(words)), "not told, or not in its turn: {words}");
        }
        assert_eq!(demo.end(), Some(0));
    }
}

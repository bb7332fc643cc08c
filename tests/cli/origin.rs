//! What `causeway origin` really puts on the wire.

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

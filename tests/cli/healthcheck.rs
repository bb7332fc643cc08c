//! `causeway healthcheck`: 0 or 1, never 2.

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

//! Any bytes from a client, or from an upstream that speaks HTTP/2, through a whole proxy in this process, over
//! loopback: it never panics, never answers that it has a bug, and never keeps a connection whose client has said its
//! last.
//!
//! The first byte says who sends the rest: a client in HTTP/1.1, one in HTTP/2 (bytes, or frames with a length that is
//! right), or an upstream in HTTP/2.

#![no_main]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use causeway::app::{Hooks, Server};
use causeway::config::Config;
use libfuzzer_sys::fuzz_target;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// Longer than any clock of the config below, and two of them after one another.
const PATIENCE: Duration = Duration::from_secs(9);

/// What the upstream of HTTP/2 says behind its SETTINGS.
static SAID: Mutex<Vec<u8>> = Mutex::new(Vec::new());

fuzz_target!(|bytes: &[u8]| {
    let [kind, bytes @ ..] = bytes else { return };
    match kind % 4 {
        0 => ask(bytes),
        1 => ask(&[PREFACE, SETTINGS, bytes].concat()),
        2 => ask(&[PREFACE, SETTINGS, &frames(bytes)].concat()),
        _ => {
            *SAID.lock().unwrap_or_else(PoisonError::into_inner) = frames(bytes);
            ask(b"GET /h2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        }
    }
});

/// Sends all of it, and its end; reads until the proxy's.
fn ask(bytes: &[u8]) {
    static PROXY: OnceLock<SocketAddr> = OnceLock::new();
    let proxy = *PROXY.get_or_init(start);
    let (begun, mut answer) = (Instant::now(), Vec::new());
    let Ok(mut stream) = TcpStream::connect(proxy) else { return };
    let _ = stream.set_read_timeout(Some(PATIENCE));
    if stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write)).is_ok() {
        let _ = stream.read_to_end(&mut answer);
    }
    assert!(begun.elapsed() < PATIENCE, "it keeps the connection: {}", answer.escape_ascii());
    let bug = b"HTTP/1.1 500 ";
    assert!(!answer.windows(bug.len()).any(|part| part == bug), "{}", answer.escape_ascii());
}

/// Frames of these bytes: of each, four are type, flags, stream and length.
fn frames(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let [kind, flags, stream, length, rest @ ..] = bytes {
        let (payload, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        out.extend([0, 0, payload.len() as u8, kind % 11, *flags, 0, 0, 0, stream % 8]);
        out.extend(payload);
        bytes = rest;
    }
    out
}

fn start() -> SocketAddr {
    // As Rust's own main does: here it is libFuzzer's, and a write to somebody who has left would end the process.
    // SAFETY: to ignore a signal asks nothing of the program.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let (h1, h2) = (origin(answer_h1), origin(answer_h2));
    let limit = "1s";
    let text = format!(
        "listen = \"127.0.0.1:0\"\nworkers = 1\nadmin.address = \"off\"\nlog.access = \"off\"\nlog.level = \"error\"\n\
         trusted_proxies = [\"loopback\"]\n\
         [listener.main.timeouts]\nhead = \"{limit}\"\nbody = \"{limit}\"\nkeep_alive = \"{limit}\"\n\
         [route.main]\npool = \"h1\"\ncompress = true\n[route.h2]\npath = \"/h2\"\npool = \"h2\"\n\
         [pool.h1]\nupstreams = [\"{h1}\"]\nsticky = \"stick\"\nhealth.type = \"off\"\n\
         [pool.h1.timeouts]\nread = \"{limit}\"\nbody = \"{limit}\"\nwrite = \"{limit}\"\ntunnel = \"{limit}\"\n\
         [pool.h2]\nupstreams = [\"h2c://{h2}\"]\nhealth.type = \"off\"\npassive = {{ connect_failures = \"off\", gateway_failures = \"off\" }}\n\
         [pool.h2.timeouts]\nread = \"{limit}\"\nbody = \"{limit}\"\nwrite = \"{limit}\"\n"
    );
    let config = Config::from_toml(&text).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let server = Server::start(config, Hooks::default()).unwrap_or_else(|error| panic!("{error}"));
    let address = server.addresses()[0].1[0];
    // It ends with the process.
    std::mem::forget(server);
    address
}

fn origin(answer: fn(TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("{error}"));
    let address = listener.local_addr().unwrap_or_else(|error| panic!("{error}"));
    thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(thread::spawn(move || answer(stream)))));
    address
}

/// Answers whatever is read.
fn answer_h1(mut stream: TcpStream) {
    let mut read = [0; 4096];
    while stream.read(&mut read).is_ok_and(|length| length > 0) {
        if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok").is_err() {
            return;
        }
    }
}

/// Says what is to be said to the first request, and its end.
fn answer_h2(mut stream: TcpStream) {
    let _ = stream.read(&mut [0; 4096]);
    let said = SAID.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let _ = stream.write_all(&[SETTINGS, &said].concat());
    let _ = stream.set_read_timeout(Some(Duration::from_millis(20)));
    let _ = stream.read(&mut [0; 4096]);
}

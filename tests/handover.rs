//! One real process takes the sockets over from another, with clients in every state: no request is lost, and whoever
//! dies on the way takes nothing with it.

mod app;
mod reloaded;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use rustix::process::Signal;
use tempfile::TempDir;

use self::app::App;
use crate::support::certificates::Authority;
use crate::support::process::{Causeway, PATIENCE};

/// Where two processes meet, and their files.
struct Meeting {
    folder: TempDir,
    app: App,
}

impl Meeting {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), app: App::start() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self, workers: usize, more: &str) -> String {
        format!(
            "listen = \"127.0.0.1:0\"\nworkers = {workers}\nadmin.address = \"127.0.0.3:0\"\nlog.access = \"off\"\n\
             hand_over = \"{}\"\n[shutdown]\ngrace = \"60s\"\ntimeout = \"15s\"\n\
             [pool.app]\nupstreams = [\"{}\"]\nhealth.interval = \"50ms\"\nretry.attempts = 1\n{more}",
            self.path("hand-over").display(),
            self.app.address
        )
    }

    fn run(&self, workers: usize) -> (Causeway, SocketAddr) {
        Causeway::run(&self.config(workers, ""))
    }
}

fn client(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// A request's answer up to its end; the connection may stay.
#[track_caller]
fn answer(client: &mut impl std::io::Read) -> String {
    let mut text = Vec::new();
    loop {
        let mut bytes = [0; 4096];
        let length = client.read(&mut bytes);
        let length = match length {
            Ok(length) => length,
            Err(e) => panic!("{e}: {}", String::from_utf8_lossy(&text)),
        };
        text.extend_from_slice(&bytes[..length]);
        let so_far = String::from_utf8_lossy(&text);
        if let Some((head, body)) = so_far.split_once("\r\n\r\n") {
            let of = head
                .to_ascii_lowercase()
                .split("content-length: ")
                .nth(1)
                .map(|rest| rest.lines().next().unwrap().parse::<usize>().unwrap());
            if of == Some(body.len()) {
                return so_far.into_owned();
            }
        }
        assert!(length > 0, "cut: {so_far:?}");
    }
}

fn get(address: SocketAddr) -> String {
    let mut client = client(address);
    client.write_all(b"GET /fast HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    answer(&mut client)
}

/// Clients that never stop asking: each on a connection for each request, or on one for as long as it lasts.
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    pub fn on(address: SocketAddr) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let clients = (0..6)
            .map(|number| {
                let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
                std::thread::spawn(move || {
                    let mut kept = None;
                    while !stop.load(Ordering::Relaxed) {
                        let mut connection = kept.take().unwrap_or_else(|| client(address));
                        connection.write_all(b"GET /fast HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
                        let answer = answer(&mut connection);
                        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
                        answered.fetch_add(1, Ordering::Relaxed);
                        if number % 2 == 0 && !answer.to_ascii_lowercase().contains("connection: close") {
                            kept = Some(connection);
                        }
                    }
                })
            })
            .collect();
        Self { stop, answered, clients }
    }

    /// Waits until so many more were answered.
    pub fn goes_on(&self, more: usize) {
        let goal = self.answered.load(Ordering::Relaxed) + more;
        let end = std::time::Instant::now() + PATIENCE;
        while self.answered.load(Ordering::Relaxed) < goal {
            assert!(std::time::Instant::now() < end, "nothing is answered any more");
            assert!(self.clients.iter().all(|client| !client.is_finished()), "a client failed");
            std::thread::yield_now();
        }
    }

    pub fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().for_each(|client| client.join().unwrap());
        self.answered.load(Ordering::Relaxed)
    }
}

fn ended_well(old: Causeway) -> String {
    let (status, said) = old.end();
    assert!(status.success(), "{said}");
    assert!(said.contains("nothing was cut"), "{said}");
    said
}

#[test]
fn clients_in_every_state_lose_nothing() {
    let meeting = Meeting::new();
    let authority = Authority::new();
    authority.issue(&["a.test"], 2090).write(meeting.folder.path(), "a");
    let folder = meeting.folder.path().display().to_string();
    let config = meeting.config(
        2,
        &format!(
            "[listener.secure]\naddress = \"127.0.0.2:0\"\n\
             tls.certificates = [{{ cert = \"{folder}/a.pem\", key = \"{folder}/a.key\" }}]\n\
             [listener.path]\naddress = \"unix:{folder}/listen\"\n\
             [listener.tight]\naddress = \"127.0.0.4:0\"\nlimits.connections = 2\n"
        ),
    );
    let (mut old, plain) = Causeway::run(&config);
    let secure = old.address("listening on https://");
    let tight = old.address("listening on http://");
    let admin = old.address("health on http://");
    old.event("\"serving\"");
    let load = Load::on(plain);

    // Kept alive and idle.
    let mut idle = client(plain);
    idle.write_all(b"GET /fast HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    answer(&mut idle);
    // Half a head.
    let mut half = client(plain);
    half.write_all(b"GET /fast HTTP/1.1\r\nhos").unwrap();
    // In the middle of an upload, and of a download.
    let mut upload = client(plain);
    upload.write_all(b"POST /up HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n12345").unwrap();
    let mut download = client(plain);
    download.write_all(b"GET /half HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut first = [0; 5];
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        download.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    download.read_exact(&mut first).unwrap();
    // A WebSocket.
    let mut socket = client(plain);
    socket
        .write_all(
            b"GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
              sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    // TLS, after its handshake and in the middle of it.
    let name = || rustls::pki_types::ServerName::try_from("a.test").unwrap();
    let tls = |connection| {
        let config = authority.client(rustls::ALL_VERSIONS, &["http/1.1"], None);
        rustls::StreamOwned::new(rustls::ClientConnection::new(config, name()).unwrap(), connection)
    };
    let mut agreed = tls(client(secure));
    agreed.write_all(b"GET /fast HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    answer(&mut agreed);
    let mut begun = tls(client(secure));
    begun.conn.write_tls(&mut begun.sock).unwrap();
    // Two have all the room there is; those behind them wait in the queues of the kernel.
    let held: Vec<TcpStream> = (0..2)
        .map(|_| {
            let mut held = client(tight);
            held.write_all(b"GET /fast HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
            answer(&mut held);
            held
        })
        .collect();
    let queued: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut queued = client(tight);
            queued.write_all(b"GET /fast HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
            queued
        })
        .collect();
    load.goes_on(50);

    let (mut new, address) = Causeway::run(&config);
    assert_eq!(address, plain);
    new.event("taken over from process");
    old.event("has taken over");
    load.goes_on(50);

    // One more request on each kept connection, as in any drain.
    idle.write_all(b"GET /fast HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    assert!(answer(&mut idle).starts_with("HTTP/1.1 200 "));
    agreed.write_all(b"GET /fast HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    assert!(answer(&mut agreed).starts_with("HTTP/1.1 200 "));
    half.write_all(b"t: a\r\n\r\n").unwrap();
    assert!(answer(&mut half).starts_with("HTTP/1.1 200 "));
    upload.write_all(b"67890").unwrap();
    assert!(answer(&mut upload).ends_with("\r\n\r\n1234567890"));
    begun.write_all(b"GET /fast HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    assert!(answer(&mut begun).starts_with("HTTP/1.1 200 "));
    for mut queued in queued {
        assert!(answer(&mut queued).starts_with("HTTP/1.1 200 "));
    }
    drop(held);
    meeting.app.go_on();
    let mut rest = vec![0; app::LAST];
    download.read_exact(&mut rest).unwrap();
    assert!(&first == b"first" && rest.iter().all(|&byte| byte == b'-'));
    socket.write_all(b"hello").unwrap();
    let mut echo = [0; 5];
    socket.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"hello");
    drop(socket);

    // Every address changed hands: the path, the admin and the hand-over itself.
    let mut over_path = UnixStream::connect(meeting.path("listen")).unwrap();
    over_path.write_all(b"GET /fast HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    assert!(answer(&mut over_path).starts_with("HTTP/1.1 200 "));
    ended_well(old);
    assert!(meeting.path("listen").exists() && meeting.path("hand-over").exists());
    let mut status = client(admin);
    status.write_all(b"GET /readyz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    assert!(answer(&mut status).starts_with("HTTP/1.1 200 "));
    assert!(load.end() > 100);
    new.signal(Signal::KILL);
}

/// Whatever number of workers each has; and the last one takes its files with it.
#[test]
fn one_follows_another_under_load() {
    let meeting = Meeting::new();
    let (mut old, address) = meeting.run(2);
    old.event("\"serving\"");
    let mode = std::fs::metadata(meeting.path("hand-over")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let load = Load::on(address);
    for workers in [3, 1, 2, 2] {
        load.goes_on(50);
        let (mut new, its) = meeting.run(workers);
        assert_eq!(its, address);
        new.event("taken over from process");
        ended_well(old);
        load.goes_on(50);
        old = new;
    }
    load.end();
    old.signal(Signal::TERM);
    // This one has a grace.
    old.event("not ready any more");
    old.signal(Signal::TERM);
    assert!(old.end().0.success());
    assert!(!meeting.path("hand-over").exists());
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_newer_one_that_dies_takes_nothing_with_it() {
    let meeting = Meeting::new();
    let listen = format!("[listener.path]\naddress = \"unix:{}\"\n", meeting.path("listen").display());
    let (mut old, address) = Causeway::run(&meeting.config(2, &listen));
    old.event("\"serving\"");
    let load = Load::on(address);
    // Before its word: the check of this one never comes to an end.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let never = format!(
        "{listen}[route.never]\npath = \"/never\"\npool = \"never\"\n[route.all]\npool = \"app\"\n[pool.never]\nupstreams = [\"{}\"]\n\
         health.path = \"/\"\nhealth.timeout = \"9s\"\nhealth.interval = \"20s\"\n",
        silent.local_addr().unwrap()
    );
    for _ in 0..2 {
        let (new, its) = Causeway::run(&meeting.config(2, &never));
        assert_eq!(its, address);
        load.goes_on(50);
        drop(new); // killed
        old.event("did not take over: it left. This one serves on");
        load.goes_on(50);
    }
    // One that cannot start at all.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let more = format!("[listener.more]\naddress = \"{}\"\n", taken.local_addr().unwrap());
    let file = meeting.path("causeway.toml");
    std::fs::write(&file, meeting.config(2, &format!("{listen}{more}"))).unwrap();
    let (status, said) = Causeway::words(&["run", "--config", file.to_str().unwrap()]).end();
    assert!(!status.success() && said.contains("another program listens on that port"), "{said}");
    old.event("did not take over: it left. This one serves on");
    load.goes_on(50);

    let mut over_path = UnixStream::connect(meeting.path("listen")).unwrap();
    over_path.write_all(b"GET /fast HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    assert!(answer(&mut over_path).starts_with("HTTP/1.1 200 "));
    load.end();
}

#[test]
fn an_older_one_that_does_not_answer_is_told() {
    let meeting = Meeting::new();
    let (mut old, address) = meeting.run(1);
    old.event("\"serving\"");
    old.signal(Signal::STOP);
    let file = meeting.path("causeway.toml");
    std::fs::write(&file, meeting.config(1, "")).unwrap();
    let (status, said) = Causeway::words(&["run", "--config", file.to_str().unwrap()]).end();
    assert!(!status.success() && said.contains("it did not answer within 5 s. End it first"), "{said}");
    old.signal(Signal::CONT);
    assert!(get(address).ends_with("fine"));

    // Dead, it leaves a file that is nobody's.
    old.signal(Signal::KILL);
    old.end();
    assert!(meeting.path("hand-over").exists());
    let (mut new, address) = meeting.run(1);
    new.event("\"serving\"");
    assert!(get(address).ends_with("fine"));
}

#[test]
fn junk_harms_nobody() {
    let meeting = Meeting::new();
    let (mut old, address) = meeting.run(2);
    old.event("\"serving\"");
    let version = br#"{"causeway_hand_over":99}"#;
    let other = [&u32::try_from(version.len()).unwrap().to_be_bytes()[..], version].concat();
    for junk in [&b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..], b"", b"\0\0\0\x02{]", &other] {
        let mut line = UnixStream::connect(meeting.path("hand-over")).unwrap();
        line.write_all(junk).unwrap();
        line.shutdown(std::net::Shutdown::Write).unwrap();
        old.event("did not take over");
        let mut said = Vec::new();
        let _ = line.read_to_end(&mut said);
        assert_eq!(!said.is_empty(), junk == other, "{}", String::from_utf8_lossy(&said));
    }
    let (mut new, its) = meeting.run(2);
    assert_eq!(its, address);
    new.event("taken over from process");
    assert!(ended_well(old).contains("it speaks version 1 of this"));
    assert!(get(address).ends_with("fine"));
}

/// What the newer one has no use for ends as in any drain; what only it has is its own.
#[test]
fn addresses_come_and_go() {
    let meeting = Meeting::new();
    let (mut old, _) = Causeway::run(&meeting.config(2, "[listener.went]\naddress = \"127.0.0.4:0\"\n"));
    let went = old.address("listening on http://");
    old.event("\"serving\"");
    assert!(get(went).ends_with("fine"));
    let (mut new, stayed) = Causeway::run(&meeting.config(2, "[listener.came]\naddress = \"127.0.0.5:0\"\n"));
    let came = new.address("listening on http://");
    new.event("taken over from process");
    ended_well(old);
    for address in [stayed, came] {
        assert!(get(address).ends_with("fine"));
    }
    assert!(TcpStream::connect(went).is_err());
}

//! What happens is told as it happens: `/api/events` has what the log has, and `[notify]` hands changes on, one after
//! another.

mod webhook;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::process::{Causeway, PATIENCE};

/// One upstream that nobody checks and where nobody listens, and the admin's address. `more`: keys for the end of the
/// file.
fn run(more: &str) -> (Causeway, SocketAddr, SocketAddr) {
    run_with_env(&[], more)
}

/// The same, with these in its environment.
fn run_with_env(env: &[(&str, &str)], more: &str) -> (Causeway, SocketAddr, SocketAddr) {
    let config = "listen = \"127.0.0.1:0\"\nlog.access = \"off\"\nadmin.address = \"127.0.0.1:0\"\n\
                  [pool.app]\nupstreams = [\"127.0.0.1:9\"]\nhealth.type = \"off\"\npassive.connect_failures = \"off\"\n";
    let (mut causeway, listen) = Causeway::run_with_env(env, &format!("{config}{more}"));
    let admin = causeway.address("health on http://");
    (causeway, listen, admin)
}

fn send(address: SocketAddr, request: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    BufReader::new(stream)
}

fn ask(address: SocketAddr, request: &str) -> String {
    let mut answer = String::new();
    let request = format!("{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    send(address, &request).read_to_string(&mut answer).unwrap();
    answer
}

fn fail(listen: SocketAddr) {
    assert!(ask(listen, "GET /orders").starts_with("HTTP/1.1 502 "));
}

/// The operator's word on the upstream.
fn switch(admin: SocketAddr, state: &str) {
    let body = format!("{{\"state\":\"{state}\"}}");
    let length = body.len();
    let head =
        format!("PUT /api/pools/app/upstreams/127.0.0.1:9/state HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n");
    let mut answer = String::new();
    send(admin, &format!("{head}Content-Length: {length}\r\n\r\n{body}")).read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// Server-sent events, as a browser reads them.
struct Stream {
    lines: BufReader<TcpStream>,
    head: String,
}

#[derive(Debug)]
struct Event {
    id: u64,
    name: String,
    data: String,
}

impl Stream {
    fn open(admin: SocketAddr, target: &str, fields: &str) -> Self {
        let mut lines = send(admin, &format!("GET {target} HTTP/1.1\r\nHost: {admin}\r\n{fields}\r\n"));
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(lines.read_line(&mut head).unwrap() > 0, "{head}");
        }
        Self { lines, head }
    }

    /// A line of the body. Those of the chunks begin with no word of an event.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        (self.lines.read_line(&mut line).unwrap() > 0).then(|| line.trim_end().to_owned())
    }

    fn next(&mut self) -> Option<Event> {
        let mut event = Event { id: 0, name: String::new(), data: String::new() };
        loop {
            let line = self.line()?;
            match line.split_once(": ") {
                Some(("id", id)) => event.id = id.parse().unwrap(),
                Some(("event", name)) => event.name = name.to_owned(),
                Some(("data", data)) => return Some(Event { data: data.to_owned(), ..event }),
                _ => {}
            }
        }
    }

    /// The next of this name.
    fn event(&mut self, name: &str) -> Event {
        std::iter::from_fn(|| self.next()).find(|event| event.name == name).unwrap_or_else(|| panic!("no {name}"))
    }
}

#[test]
fn the_stream_has_what_the_log_has_byte_for_byte() {
    let (mut causeway, listen, admin) = run("");
    let mut stream = Stream::open(admin, "/api/events", "Accept: text/event-stream\r\nSec-Fetch-Site: same-origin\r\n");
    assert!(stream.head.starts_with("HTTP/1.1 200 ") && stream.head.contains("text/event-stream"), "{}", stream.head);
    let first = stream.next().unwrap();
    assert_eq!(first.name, "starting", "what was before is told, too");
    fail(listen);
    let failed = stream.event("request_failed");
    assert_eq!(failed.data, causeway.event("request_failed"));
    assert!(failed.id > first.id);
    // Whoever hears of it can ask for it.
    let id = serde_json::from_str::<Value>(&failed.data).unwrap()["request_id"].as_str().unwrap().to_owned();
    assert!(ask(admin, &format!("GET /api/incidents/{id}")).starts_with("HTTP/1.1 200 "));
    switch(admin, "draining");
    assert_eq!(stream.event("upstream_switched").data, causeway.event("upstream_switched"));
}

#[test]
fn who_comes_back_gets_what_came_meanwhile() {
    let (_causeway, _, admin) = run("");
    let seen = Stream::open(admin, "/api/events", "").event("admin_listening").id;
    switch(admin, "draining");
    switch(admin, "enabled");
    let states = |stream: &mut Stream| {
        [(), ()].map(|()| {
            let event = stream.event("upstream_switched");
            (event.id, serde_json::from_str::<Value>(&event.data).unwrap()["to"].as_str().unwrap().to_owned())
        })
    };
    let by_field = states(&mut Stream::open(admin, "/api/events?after=1", &format!("Last-Event-ID: {seen}\r\n")));
    assert_eq!(by_field.each_ref().map(|(_, to)| &**to), ["draining", "ready"]);
    let mut by_query = Stream::open(admin, &format!("/api/events?after={}", by_field[0].0), "");
    assert_eq!(by_query.next().unwrap().id, by_field[1].0);
    // Of a process before this one.
    assert_eq!(Stream::open(admin, "/api/events?after=5", "").next().unwrap().name, "starting");
    assert!(ask(admin, "GET /api/events?after=x").starts_with("HTTP/1.1 400 "));
}

/// The log's own level is no matter of the stream: a page needs the whole story.
#[test]
fn a_quiet_log_makes_no_quiet_stream() {
    // Nothing is said on stderr, so the ports are chosen here.
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (listen, admin) = (free(), free());
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("causeway.toml");
    let config = format!(
        "listen = \"{listen}\"\nlog = {{ level = \"error\", access = \"off\" }}\nadmin.address = \"{admin}\"\n\
         [pool.app]\nupstreams = [\"127.0.0.1:9\"]\nhealth.type = \"off\"\n"
    );
    std::fs::write(&file, config).unwrap();
    let causeway = Causeway::words(&["run", "--config", file.to_str().unwrap()]);
    let begun = Instant::now();
    while TcpStream::connect(admin).is_err() {
        assert!(begun.elapsed() < PATIENCE, "it does not listen");
        std::thread::yield_now();
    }
    let mut stream = Stream::open(admin, "/api/events", "");
    assert_eq!(stream.next().unwrap().name, "starting");
    causeway.signal(Signal::TERM);
    let (status, said) = causeway.end();
    assert_eq!((status.code(), said.as_str()), (Some(0), ""));
}

#[test]
fn the_end_is_told_and_then_the_stream_ends() {
    let (causeway, _, admin) = run("");
    let mut stream = Stream::open(admin, "/api/events", "");
    causeway.signal(Signal::TERM);
    stream.event("drain_begun");
    stream.event("drained");
    let rest: Vec<_> = std::iter::from_fn(|| stream.line()).collect();
    assert_eq!(rest.last().map(String::as_str), Some(""), "the last chunk: {rest:?}");
    assert!(rest.contains(&"0".to_owned()), "{rest:?}");
    assert_eq!(causeway.end().0.code(), Some(0));
}

#[test]
fn there_are_only_so_many_streams() {
    let (_causeway, _, admin) = run("");
    let mut open: Vec<_> = (0..64).map(|_| Stream::open(admin, "/api/events", "")).collect();
    assert!(open.iter().all(|stream| stream.head.starts_with("HTTP/1.1 200 ")));
    let refused = ask(admin, "GET /api/events");
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("64 streams are open"), "{refused}");
    assert!(ask(admin, "HEAD /api/events").starts_with("HTTP/1.1 200 "), "which takes no place");
    // One that is closed has its place back, as soon as that is seen.
    drop(open.pop());
    while !Stream::open(admin, "/api/events", "").head.starts_with("HTTP/1.1 200 ") {}
}

#[test]
fn no_page_of_another_site_may_follow() {
    let (_causeway, _, admin) = run("");
    for fields in ["Host: rebound.example\r\n", "Host: 127.0.0.1\r\nSec-Fetch-Site: cross-site\r\n"] {
        let mut answer = String::new();
        let request = format!("GET /api/events HTTP/1.1\r\n{fields}Connection: close\r\n\r\n");
        send(admin, &request).read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    }
}

/// One line tells of the first; the others are counted, and told of without another failure to tell of.
#[test]
fn a_storm_is_one_line_and_a_count() {
    let (mut causeway, listen, admin) = run("");
    let mut stream = Stream::open(admin, "/api/events", "");
    let begun = Instant::now();
    for _ in 0..20 {
        fail(listen);
    }
    let mut told: u64 = 1;
    while told < 20 {
        let event: Value = serde_json::from_str(&stream.event("requests_failed").data).unwrap();
        assert_eq!((&event["pool"], &event["cause"]), (&"app".into(), &"connection_refused".into()));
        let more = event["more"].as_u64().unwrap();
        // On a busy machine the storm may last for more than a second, and has a second line of its own then.
        told += if begun.elapsed().as_secs() < 4 { more } else { 20 };
    }
    let line = causeway.event("requests_failed");
    assert!(line.contains(" of pool app failed within a second of the last line: connection_refused"), "{line}");
}

#[test]
fn a_command_is_told_of_each_change_in_order() {
    let folder = tempfile::TempDir::new().unwrap();
    let fifo = folder.path().join("told");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // Open for both, so that it does not end with the first who writes to it.
    let told = std::fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    let script =
        format!("read -r line; echo \"$CAUSEWAY_EVENT $CAUSEWAY_POOL/$CAUSEWAY_UPSTREAM $line\" > {}", fifo.display());
    let (mut causeway, _, admin) = run(&format!("[notify]\ncommand = [\"sh\", \"-c\", '''{script}''']\n"));
    switch(admin, "draining");
    switch(admin, "disabled");
    switch(admin, "enabled");
    let mut lines = BufReader::new(told).lines();
    for to in ["draining", "disabled", "ready"] {
        let line = lines.next().unwrap().unwrap();
        let json = line.strip_prefix("upstream_switched app/127.0.0.1:9 ").unwrap_or_else(|| panic!("{line}"));
        assert_eq!(json, causeway.event("upstream_switched"));
        assert_eq!(serde_json::from_str::<Value>(json).unwrap()["to"], to);
    }
}

#[test]
fn a_command_that_fails_is_a_line_of_the_log() {
    let (mut causeway, _, admin) = run("[notify]\ncommand = [\"sh\", \"-c\", \"exit 7\"]\n");
    switch(admin, "draining");
    let line = causeway.event("notify_failed");
    assert!(line.contains("notify.command was not told of upstream_switched: exit status: 7"), "{line}");
}

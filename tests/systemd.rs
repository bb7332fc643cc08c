//! The real binary under a service manager that is this test: what it hears, when, and what it never hears.

use std::io::Write as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use causeway::app::systemd::Systemd;
use causeway::app::{Hooks, Server};
use causeway::config::Config;
use causeway::proxy::OnExchange;
use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};

use crate::support::process::{Causeway, PATIENCE};

const CONFIG: &str = "listen = \"127.0.0.1:0\"\nadmin.address = \"off\"\nworkers = 2\n\
    [route.all]\nrespond = { status = 200, body = \"fine\" }\n";

struct Manager(UnixDatagram);

impl Manager {
    fn at(folder: &tempfile::TempDir) -> (Self, String) {
        let path = folder.path().join("notify");
        (Self::of(UnixDatagram::bind(&path).unwrap()), path.to_str().unwrap().to_owned())
    }

    fn of(socket: UnixDatagram) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    fn hears(&self) -> String {
        let mut bytes = [0; 4096];
        let length = self.0.recv(&mut bytes).expect("the manager was told nothing");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    /// The next word that holds this.
    fn hears_of(&self, text: &str) -> String {
        loop {
            let said = self.hears();
            if said.contains(text) {
                return said;
            }
        }
    }
}

#[test]
fn a_manager_hears_of_the_start_and_of_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let (manager, path) = Manager::at(&folder);
    let (mut causeway, address) = Causeway::run_with_env(&[("NOTIFY_SOCKET", &path)], CONFIG);
    assert!(manager.hears().starts_with(&format!("READY=1\nSTATUS=listening on {address}")));
    assert_eq!(manager.hears_of("STATUS="), format!("STATUS=listening on {address}\n"));
    causeway.event("serving");
    causeway.signal(Signal::TERM);
    assert_eq!(manager.hears(), "STOPPING=1\nSTATUS=TERM: draining\n");
    let (status, said) = causeway.end();
    assert!(status.success(), "{said}");
}

/// `systemctl reload` waits for the end of a reload, and knows by the clock that it is of this one.
#[test]
fn a_manager_hears_when_a_reload_begins_and_when_it_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let (manager, path) = Manager::at(&folder);
    let (mut causeway, address) = Causeway::run_with_env(&[("NOTIFY_SOCKET", &path)], CONFIG);
    causeway.event("serving");
    assert_eq!(manager.hears_of("\nSTATUS=").matches("READY=1").count(), 1);
    assert_eq!(manager.hears_of("STATUS="), format!("STATUS=listening on {address}\n"));
    let mut before = 0;
    for (config, status, event) in [
        (&*CONFIG.replace("fine", "better"), format!("listening on {address}"), "config_reloaded"),
        ("lissten = 1\n", format!("listening on {address}; the last reload was refused"), "config_refused"),
        (CONFIG, format!("listening on {address}"), "config_reloaded"),
    ] {
        let now = clock_gettime(ClockId::Monotonic);
        let sent = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        causeway.write(config);
        causeway.signal(Signal::HUP);
        let said = manager.hears();
        let micros = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap_or_else(|| panic!("{said}"));
        let micros: i64 = micros.lines().next().unwrap().parse().unwrap();
        assert!(micros >= sent && micros > before, "{said}");
        before = micros;
        assert_eq!(manager.hears(), format!("READY=1\nSTATUS={status}\n"));
        causeway.event(event);
    }
    causeway.signal(Signal::TERM);
    manager.hears_of("STOPPING=1");
    assert!(causeway.end().0.success());
}

#[test]
fn a_manager_with_an_abstract_name_hears_that_causeway_is_alive() {
    let name = format!("causeway-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = Manager::of(UnixDatagram::bind_addr(&address).unwrap());
    let variables = [("NOTIFY_SOCKET", &*format!("@{name}")), ("WATCHDOG_USEC", "400000")];
    let (causeway, _) = Causeway::run_with_env(&variables, CONFIG);
    manager.hears_of("READY=1");
    for _ in 0..3 {
        manager.hears_of("WATCHDOG=1");
    }
    causeway.signal(Signal::TERM);
    manager.hears_of("STOPPING=1");
    assert!(causeway.end().0.success());
}

#[test]
fn a_watchdog_that_is_another_process_is_not_fed() {
    let folder = tempfile::tempdir().unwrap();
    let (manager, path) = Manager::at(&folder);
    let variables = [("NOTIFY_SOCKET", &*path), ("WATCHDOG_USEC", "20000"), ("WATCHDOG_PID", "1")];
    let (mut causeway, _) = Causeway::run_with_env(&variables, CONFIG);
    causeway.event("serving");
    causeway.signal(Signal::TERM);
    loop {
        let said = manager.hears();
        assert!(!said.contains("WATCHDOG"), "{said}");
        if said.contains("STOPPING") {
            break;
        }
    }
    assert!(causeway.end().0.success());
}

/// What traffic calls on a worker blocks it here, as a fault in causeway might.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_worker_is_stuck_nobody_is_told_that_causeway_is_alive() {
    let folder = tempfile::tempdir().unwrap();
    let (manager, path) = Manager::at(&folder);
    let (go_on, stuck) = std::sync::mpsc::channel::<()>();
    let stuck = std::sync::Mutex::new(stuck);
    let on_exchange: OnExchange = Arc::new(move |_| {
        // An error once the test is over.
        let _ = stuck.lock().unwrap().recv();
    });
    let config = Config::from_toml(&format!("log.access = \"off\"\n{CONFIG}")).unwrap();
    let server = Server::start(config, Hooks { on_exchange: Some(on_exchange), ..Hooks::default() }).unwrap();
    let systemd = Systemd::of([Some(path.into()), Some("200000".into()), None], 1);
    let within = Duration::from_millis(50);
    assert!(server.silent(Duration::from_secs(10)).await.is_empty());

    let mut client = std::net::TcpStream::connect(server.addresses()[0].1[0]).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    while server.silent(within).await.is_empty() {}
    let silent = server.silent(within).await;
    assert!(silent.len() == 1 && silent[0].starts_with("worker-"), "{silent:?}");
    tokio::select! {
        never = systemd.watchdog(&server) => match never {},
        () = tokio::time::sleep(Duration::from_millis(600)) => {}
    }
    manager.0.set_nonblocking(true).unwrap();
    assert!(manager.0.recv(&mut [0; 100]).is_err(), "it was told that all is well");

    go_on.send(()).unwrap();
    manager.0.set_nonblocking(false).unwrap();
    tokio::select! {
        never = systemd.watchdog(&server) => match never {},
        said = tokio::task::spawn_blocking(move || manager.hears()) => assert_eq!(said.unwrap(), "WATCHDOG=1\n"),
    }
    drop(go_on);
    server.finish();
}

/// What is run for it might speak for causeway else.
#[test]
fn no_child_gets_what_the_manager_said() {
    let folder = tempfile::tempdir().unwrap();
    let (manager, path) = Manager::at(&folder);
    let told = folder.path().join("told");
    let config = format!(
        "{CONFIG}[notify]\ncommand = [\"sh\", \"-c\", \"env > {told}.part; mv {told}.part {told}\"]\n\
         [pool.a]\nupstreams = [\"127.0.0.1:9\"]\nhealth.interval = \"50ms\"\n\
         [route.more]\npath = \"/more\"\npool = \"a\"\n",
        told = told.display()
    );
    let variables = [("NOTIFY_SOCKET", &*path), ("WATCHDOG_USEC", "60000000"), ("LISTEN_FDS", "0")];
    let (mut causeway, _) = Causeway::run_with_env(&variables, &config);
    causeway.event("upstream_evicted");
    let end = std::time::Instant::now() + PATIENCE;
    while !told.exists() {
        assert!(std::time::Instant::now() < end, "the command was not run");
        std::thread::yield_now();
    }
    let environment = std::fs::read_to_string(&told).unwrap();
    assert!(environment.contains("CAUSEWAY_"), "{environment}");
    for name in ["NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_"] {
        assert!(!environment.contains(name), "{environment}");
    }
    drop(manager);
}

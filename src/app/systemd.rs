//! Tells the service manager how it goes (sd_notify(3)): ready, reloading, stopping, and alive. Without a manager it
//! does nothing.
//!
//! It never tells that causeway is alive while one of its threads does not answer, and never waits for the manager
//! longer than [`PATIENCE`].

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::Server;
use crate::observe::events;
use crate::sys;

/// For a manager that does not read.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes of a status: it is one line in `systemctl status`.
const STATUS: usize = 500;

const SOCKET: &str = "NOTIFY_SOCKET";
const EVERY: &str = "WATCHDOG_USEC";
const WHOSE: &str = "WATCHDOG_PID";

/// What the manager said to this process.
static SAID: OnceLock<[Option<OsString>; 3]> = OnceLock::new();

/// Takes the manager's variables out of the environment, so that no child speaks for causeway. To be called before any
/// thread is started; afterwards it does nothing.
pub fn take() {
    SAID.get_or_init(|| sys::taken_variables([SOCKET, EVERY, WHOSE]));
}

/// The way to the manager.
#[derive(Debug, Default)]
pub struct Systemd {
    way: Option<(UnixDatagram, SocketAddr)>,
    /// How often it wants to hear that causeway is alive.
    watchdog: Option<Duration>,
    /// What was said last; a word that changes nothing is not said.
    status: Mutex<String>,
}

impl Systemd {
    /// The manager that [`take`] found; one that cannot be reached is an event.
    #[must_use]
    pub fn from_env() -> Self {
        let said = SAID.get().cloned().unwrap_or_default();
        Self::of(said, std::process::id())
    }

    /// The same from the values of NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, for the process of this id.
    #[must_use]
    pub fn of([socket, every, whose]: [Option<OsString>; 3], own: u32) -> Self {
        let Some(socket) = socket.filter(|socket| !socket.is_empty()) else { return Self::default() };
        let way = match way(socket.as_bytes()) {
            Ok(way) => Some(way),
            Err(error) => {
                events::manager_not_told(&socket.to_string_lossy(), &error);
                None
            }
        };
        let number = |text: Option<OsString>| text.and_then(|text| text.to_str()?.parse::<u64>().ok());
        let ours = whose.is_none_or(|whose| whose.to_str().is_some_and(|pid| pid.parse() == Ok(own)));
        let watchdog = number(every).filter(|&micros| ours && micros > 0).map(Duration::from_micros);
        Self { watchdog: watchdog.filter(|_| way.is_some()), way, status: Mutex::default() }
    }

    /// It listens (also again, after [`Self::reloading`]).
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\n{}", self.line(status)));
    }

    /// What `systemctl status` shows.
    pub fn status(&self, status: &str) {
        let line = self.line(status);
        if !line.is_empty() {
            self.tell(&line);
        }
    }

    /// A reload has begun; [`Self::ready`] tells its end, however it went.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000);
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\n{}", self.line("reading the configuration again")));
    }

    /// The end has begun.
    pub fn stopping(&self, status: &str) {
        self.tell(&format!("STOPPING=1\n{}", self.line(status)));
    }

    /// Another process is the service from now on; this one says nothing more.
    pub fn replaced_by(&self, pid: u32) {
        self.tell(&format!("MAINPID={pid}\n"));
    }

    /// Tells the manager that causeway is alive, as often as it wants that twice, and only while every thread answers.
    /// What it hears no more it starts again.
    pub async fn watchdog(&self, server: &Server) -> Infallible {
        let Some(half) = self.watchdog.map(|every| every / 2) else { return std::future::pending().await };
        let mut turn = tokio::time::interval(half);
        turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut silent = Vec::new();
        loop {
            turn.tick().await;
            let now_silent = server.silent(half / 2).await;
            if now_silent.is_empty() {
                self.tell("WATCHDOG=1\n");
            } else if now_silent != silent {
                events::threads_silent(&now_silent, half / 2);
            }
            silent = now_silent;
        }
    }

    /// `STATUS=`, or nothing where it says the same as before.
    fn line(&self, status: &str) -> String {
        let cut = status.floor_char_boundary(STATUS);
        let status: String = status[..cut].chars().filter(|c| !c.is_control()).collect();
        let mut last = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if self.way.is_none() || *last == status {
            return String::new();
        }
        last.clone_from(&status);
        format!("STATUS={status}\n")
    }

    fn tell(&self, text: &str) {
        let Some((socket, manager)) = &self.way else { return };
        if let Err(error) = socket.send_to_addr(text.as_bytes(), manager) {
            events::manager_not_told(&format!("{manager:?}"), &error);
        }
    }
}

/// A path, or `@name` in the abstract namespace.
fn way(socket: &[u8]) -> io::Result<(UnixDatagram, SocketAddr)> {
    let manager = match socket.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(socket))?,
    };
    let own = UnixDatagram::unbound()?;
    own.set_write_timeout(Some(PATIENCE))?;
    Ok((own, manager))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(socket: &str, every: &str, whose: Option<&str>) -> Systemd {
        Systemd::of([Some(socket.into()), Some(every.into()), whose.map(Into::into)], 7)
    }

    #[test]
    fn the_watchdog_is_for_who_is_meant() {
        let every = |every, whose| said("@causeway-test-nobody", every, whose).watchdog;
        assert_eq!(every("3000000", Some("7")), Some(Duration::from_secs(3)));
        assert_eq!(every("3000000", None), Some(Duration::from_secs(3)));
        assert_eq!(every("3000000", Some("8")), None, "another process's");
        assert_eq!(every("0", None), None);
        assert_eq!(every("x", None), None);
        assert_eq!(said("", "3000000", None).watchdog, None, "nobody listens");
    }

    #[test]
    fn a_path_and_an_abstract_name_are_spoken_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("causeway-test-{}", std::process::id());
        let managers = [
            (UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap().to_owned()),
            (UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap(), format!("@{name}")),
        ];
        for (manager, socket) in managers {
            manager.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let next = || {
                let mut bytes = [0; 1000];
                let length = manager.recv(&mut bytes).unwrap();
                String::from_utf8_lossy(&bytes[..length]).into_owned()
            };
            let systemd = said(&socket, "", None);
            systemd.ready("fine\nX=1");
            assert_eq!(next(), "READY=1\nSTATUS=fineX=1\n");
            systemd.status("fine\nX=1");
            systemd.ready("fine\nX=1");
            assert_eq!(next(), "READY=1\n", "what is known is not said again");
            systemd.reloading();
            let text = next();
            let micros = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().split('\n').next().unwrap();
            assert!(micros.parse::<u64>().unwrap() > 0);
            systemd.replaced_by(9);
            assert_eq!(next(), "MAINPID=9\n");
            systemd.stopping("TERM");
            assert_eq!(next(), "STOPPING=1\nSTATUS=TERM\n");
        }
    }
}

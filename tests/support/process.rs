//! The real binary as a child: started with a file of its own, watched by its lines, ended by its id.
//!
//! Waiting is for lines, never for a time; a line that does not come within [`PATIENCE`] is a failure that shows what
//! was said instead. Everything here blocks: in an async test that also runs an upstream, use the multi-threaded
//! flavour.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long a line, or the end, may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// One causeway process; dropping it kills it.
pub struct Causeway {
    child: Child,
    folder: TempDir,
    events: Receiver<String>,
    seen: Vec<String>,
    access: Receiver<String>,
}

impl Causeway {
    /// `causeway run` with this configuration, once it listens; use port 0 and ask [`Self::address`].
    pub fn run(config: &str) -> (Self, SocketAddr) {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("causeway.toml");
        std::fs::write(&file, config).unwrap();
        let mut causeway = Self::start(folder, &["run", "--config", file.to_str().unwrap()]);
        let address = causeway.address("listening on http://");
        (causeway, address)
    }

    /// The same, which looks after its file.
    pub fn run_watching(config: &str) -> (Self, SocketAddr) {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("causeway.toml");
        std::fs::write(&file, config).unwrap();
        let mut causeway = Self::start(folder, &["run", "--watch", "--config", file.to_str().unwrap()]);
        let address = causeway.address("listening on http://");
        (causeway, address)
    }

    /// The same, with a stdout of its own: [`Self::line`] sees nothing of it.
    pub fn run_with_stdout(stdout: impl Into<Stdio>, config: &str) -> (Self, SocketAddr) {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("causeway.toml");
        std::fs::write(&file, config).unwrap();
        let command = Command::new(env!("CARGO_BIN_EXE_causeway"));
        let mut causeway = Self::spawn(folder, command, &["run", "--config", file.to_str().unwrap()], stdout.into());
        let address = causeway.address("listening on http://");
        (causeway, address)
    }

    /// The same, with these in its environment.
    pub fn run_with_env(env: &[(&str, &str)], config: &str) -> (Self, SocketAddr) {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("causeway.toml");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_causeway"));
        command.envs(env.iter().copied());
        let words = ["run", "--config", file.to_str().unwrap()];
        let mut causeway = Self::spawn(folder, command, &words, Stdio::piped());
        let address = causeway.address("listening on http://");
        (causeway, address)
    }

    /// The same, in a process that may have so many files open.
    pub fn run_with_files(files: usize, config: &str) -> (Self, SocketAddr) {
        Self::run_limited(&format!("ulimit -n {files}"), config)
    }

    /// The same, in a process that may map so many KiB.
    pub fn run_with_memory(kibibytes: usize, config: &str) -> (Self, SocketAddr) {
        Self::run_limited(&format!("ulimit -v {kibibytes}"), config)
    }

    fn run_limited(limit: &str, config: &str) -> (Self, SocketAddr) {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("causeway.toml");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{limit} && exec \"$@\""), "sh", env!("CARGO_BIN_EXE_causeway")]);
        let words = ["run", "--config", file.to_str().unwrap()];
        let mut causeway = Self::spawn(folder, command, &words, Stdio::piped());
        let address = causeway.address("listening on http://");
        (causeway, address)
    }

    /// The same, with this socket handed over by that name, as systemd does it (sd_listen_fds(3)).
    pub fn run_with_socket(name: &str, socket: impl Into<OwnedFd>, config: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("causeway.toml");
        std::fs::write(&file, config).unwrap();
        // The shell becomes the process whose id it says; descriptor 3 is the first that is handed over.
        let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ exec \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_causeway")]);
        command.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", name);
        let words = ["run", "--config", file.to_str().unwrap()];
        Self::spawn_with(folder, command, &words, Stdio::from(socket.into()), Stdio::piped())
    }

    /// `causeway` with these words, in an empty folder and without any `CAUSEWAY_…` of the environment.
    pub fn words(words: &[&str]) -> Self {
        Self::start(TempDir::new().unwrap(), words)
    }

    fn start(folder: TempDir, words: &[&str]) -> Self {
        Self::spawn(folder, Command::new(env!("CARGO_BIN_EXE_causeway")), words, Stdio::piped())
    }

    fn spawn(folder: TempDir, command: Command, words: &[&str], stdout: Stdio) -> Self {
        Self::spawn_with(folder, command, words, Stdio::null(), stdout)
    }

    fn spawn_with(folder: TempDir, mut command: Command, words: &[&str], stdin: Stdio, stdout: Stdio) -> Self {
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CAUSEWAY_")) {
            command.env_remove(name);
        }
        command.args(words).current_dir(folder.path()).stdin(stdin);
        let mut child = command.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
        let events = lines_of(child.stderr.take().unwrap());
        let access = child.stdout.take().map_or_else(|| channel().1, lines_of);
        Self { child, folder, events, seen: Vec::new(), access }
    }

    /// The next line of stderr that holds `text`.
    pub fn event(&mut self, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        while let Ok(line) = self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
            self.seen.push(line);
            if let Some(line) = self.seen.last().filter(|line| line.contains(text)) {
                return line.clone();
            }
        }
        panic!("no line with {text:?}; it said:\n{}", self.seen.join("\n"));
    }

    /// The address that follows `text` in the next event that holds it: `listening on http://`, `health on http://`.
    pub fn address(&mut self, text: &str) -> SocketAddr {
        let line = self.event(text);
        let rest = line.split(text).nth(1).unwrap_or_default();
        let address: String = rest.chars().take_while(|c| c.is_ascii_hexdigit() || "[]:.".contains(*c)).collect();
        address.parse().unwrap_or_else(|e| panic!("{line}: {e}"))
    }

    /// The next line of stdout, without its line end: of the access log, as a rule.
    pub fn line(&mut self) -> String {
        self.access
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|e| panic!("no line: {e}; it said:\n{}", self.seen.join("\n")))
    }

    /// Sends a signal, by its id.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where it runs; its configuration is `causeway.toml` there.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes its configuration anew: in one step, as whoever cares does.
    pub fn write(&self, config: &str) {
        let (new, file) = (self.folder().join("new.toml"), self.folder().join("causeway.toml"));
        std::fs::write(&new, config).unwrap();
        std::fs::rename(&new, &file).unwrap();
    }

    /// Waits for its end; returns how it ended and all that it said on stderr.
    pub fn end(mut self) -> (ExitStatus, String) {
        let end = Instant::now() + PATIENCE;
        // The pipe closes when the process ends: that is the event.
        while let Ok(line) = self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
            self.seen.push(line);
        }
        let said = self.seen.join("\n");
        assert!(Instant::now() < end, "it did not end; it said:\n{said}");
        (self.child.wait().unwrap(), said)
    }
}

impl Drop for Causeway {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines_of(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (send, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

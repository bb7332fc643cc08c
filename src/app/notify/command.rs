//! One run of `notify.command`: the event on stdin and in the environment, the end awaited, and made where it does not
//! come.
//!
//! Not by `tokio::process`: that puts a lock in front of every sleep of every worker. The end of the child is an event
//! of its pidfd all the same. Of what it says on stderr the beginning is told: a script that loops there would fill the
//! disk with our log.

use std::convert::Infallible;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::time::{sleep, timeout};

use crate::config::NOTIFIED;
use crate::config::problem::ascii;
use crate::observe::events::{self, Told};

/// Bytes of a variable: the kernel takes no more than 128 KiB. On stdin it is whole.
const LONGEST: usize = 4 << 10;
/// Where the kernel has no pidfd, the child's end is looked for so often.
const LOOK: Duration = Duration::from_millis(50);
/// Bytes of its stderr that are told of one run; the rest is read and dropped, so that it is not held up.
const SAID: usize = 2 << 10;
/// For the kernel to end what was killed.
const KILLED: Duration = Duration::from_secs(1);

/// Runs it. An error is the end of a sentence: `exit status: 1`.
pub(super) async fn run(command: &[String], told: &Told, limit: Duration) -> Result<(), String> {
    let Some((program, words)) = command.split_first() else { return Ok(()) };
    let mut command = Command::new(program);
    command.args(words).envs(environment(told));
    // A group of its own: a Ctrl-C is not for it, and what it has started ends with it.
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{} cannot be run: {error}", ascii(program)))?;
    let group = Pid::from_raw(child.id().cast_signed());
    let end = group.and_then(|pid| pidfd_open(pid, PidfdFlags::NONBLOCK).ok());
    // No pipe, but something that is readable one day, which is all that is asked of it here.
    let end = end.and_then(|end| pipe::Receiver::from_owned_fd_unchecked(end).ok());
    let (stdin, stderr) = (child.stdin.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from));
    let mut said = Said { stderr: stderr.and_then(|fd| pipe::Receiver::from_owned_fd(fd).ok()), ..Said::default() };
    let ended = tokio::select! {
        ended = timeout(limit, ended(&mut child, end.as_ref())) => ended,
        never = tell(stdin, told) => match never {},
        never = said.hear() => match never {},
    };
    said.rest();
    if !said.first.is_empty() {
        events::notify_said(told, &String::from_utf8_lossy(&said.first), said.more);
    }
    match ended {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(status.to_string()),
        Ok(Err(error)) => Err(format!("its end was not seen: {error}")),
        Err(_) => {
            if let Some(group) = group {
                // Not reaped yet, so the id is still its own.
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = timeout(KILLED, self::ended(&mut child, end.as_ref())).await;
            Err(format!("it had not ended after {} s and was killed", limit.as_secs()))
        }
    }
}

/// The event as one line, then the end of the input. Who does not read it is none the worse for it.
async fn tell(stdin: Option<OwnedFd>, told: &Told) -> Infallible {
    if let Some(Ok(mut stdin)) = stdin.map(pipe::Sender::from_owned_fd) {
        let _ = stdin.write_all(format!("{}\n", told.json).as_bytes()).await;
    }
    std::future::pending().await
}

/// What it says on stderr.
#[derive(Default)]
struct Said {
    stderr: Option<pipe::Receiver>,
    first: Vec<u8>,
    /// Bytes behind those.
    more: usize,
}

impl Said {
    async fn hear(&mut self) -> Infallible {
        let mut piece = [0; 4 << 10];
        while let Some(stderr) = &mut self.stderr {
            match stderr.read(&mut piece).await {
                Ok(read @ 1..) => self.keep(&piece[..read]),
                _ => self.stderr = None,
            }
        }
        std::future::pending().await
    }

    /// What stands in the pipe when it has ended: no more than a pipe holds, for what it has started may go on.
    fn rest(&mut self) {
        let mut piece = [0; 4 << 10];
        for _ in 0..16 {
            match self.stderr.as_ref().map(|stderr| stderr.try_read(&mut piece)) {
                Some(Ok(read @ 1..)) => self.keep(&piece[..read]),
                _ => return,
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let kept = bytes.len().min(SAID - self.first.len());
        self.first.extend_from_slice(&bytes[..kept]);
        self.more += bytes.len() - kept;
    }
}

async fn ended(child: &mut Child, end: Option<&pipe::Receiver>) -> io::Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        match end {
            Some(end) => end.readable().await?,
            None => sleep(LOOK).await,
        }
    }
}

/// Its variables: of what the event does not say, an empty one.
fn environment(told: &Told) -> impl Iterator<Item = (&'static str, String)> {
    let said: Value = serde_json::from_str(&told.json).unwrap_or_default();
    NOTIFIED.into_iter().map(move |name| {
        let key = name.trim_start_matches("CAUSEWAY_").to_ascii_lowercase();
        let text = said.get(key).and_then(Value::as_str).map(ascii).unwrap_or_default();
        (name, text.get(..LONGEST).map(str::to_owned).unwrap_or(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const LIMIT: Duration = Duration::from_secs(10);

    fn told() -> Told {
        let json = r#"{"event":"upstream_evicted","pool":"app","upstream":"b","message":"a\u001b\u0000b"}"#;
        Told { sequence: 1, event: "upstream_evicted".into(), json: json.into() }
    }

    async fn sh(script: &str, limit: Duration) -> Result<(), String> {
        run(&["sh".into(), "-c".into(), script.into()], &told(), limit).await
    }

    #[tokio::test]
    async fn it_is_told_all_there_is() {
        let script = r#"read -r line
            [ "$CAUSEWAY_EVENT,$CAUSEWAY_POOL,$CAUSEWAY_UPSTREAM,$CAUSEWAY_CAUSE" = upstream_evicted,app,b, ] || exit 2
            case "$line" in '{"event":"upstream_evicted",'*) ;; *) exit 3;; esac
            printf %s "$CAUSEWAY_MESSAGE" | tr -d ' -~' | grep -q . && exit 4
            read -r more; [ -z "$more" ]"#;
        assert_eq!(sh(script, LIMIT).await, Ok(()));
    }

    #[tokio::test]
    async fn how_it_failed_is_said() {
        assert_eq!(sh("exit 3", LIMIT).await, Err("exit status: 3".into()));
        let missing = run(&["/no/such/program".into()], &told(), LIMIT).await.unwrap_err();
        assert!(missing.starts_with("/no/such/program cannot be run: No such file"), "{missing}");
    }

    #[tokio::test]
    async fn what_it_says_is_kept_only_in_part_and_holds_it_up_in_nothing() {
        let (reader, writer) = io::pipe().unwrap();
        let mut said = Said { stderr: pipe::Receiver::from_owned_fd(reader.into()).ok(), ..Said::default() };
        let flood = std::thread::spawn(move || io::Write::write_all(&mut { writer }, &[b'x'; 1 << 20]));
        let all = async {
            while said.stderr.is_some() {
                let _ = timeout(Duration::from_millis(20), said.hear()).await;
            }
        };
        timeout(LIMIT, all).await.unwrap();
        flood.join().unwrap().unwrap();
        assert_eq!((said.first.len(), said.more), (SAID, (1 << 20) - SAID));
        assert_eq!(sh("head -c 1000000 /dev/zero >&2", LIMIT).await, Ok(()), "more than a pipe holds");
    }

    /// A whole group: the shell, and what it waits for.
    #[tokio::test]
    async fn one_that_does_not_end_is_killed_with_all_it_started() {
        let (reader, writer) = io::pipe().unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&writer);
        let begun = Instant::now();
        let script = format!("exec 9>/proc/{}/fd/{fd}; trap '' TERM; sleep 600 & wait", std::process::id());
        let ended = sh(&script, Duration::from_millis(200)).await;
        assert_eq!(ended, Err("it had not ended after 0 s and was killed".into()));
        drop(writer);
        // Open for as long as one of them lives.
        let mut reader = pipe::Receiver::from_owned_fd(reader.into()).unwrap();
        let mut byte = [0; 1];
        let read = tokio::io::AsyncReadExt::read(&mut reader, &mut byte);
        assert_eq!(timeout(LIMIT, read).await.unwrap().unwrap(), 0);
        assert!(begun.elapsed() < LIMIT);
    }

    #[tokio::test]
    async fn one_that_reads_nothing_holds_up_nothing() {
        let told = Told { json: format!("{{\"message\":\"{}\"}}", "x".repeat(100_000)), ..told() };
        // More than a pipe holds, though not more than the environment takes.
        assert_eq!(run(&["true".into()], &told, LIMIT).await, Ok(()));
    }
}

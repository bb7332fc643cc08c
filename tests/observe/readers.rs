//! Who reads a log: in time, late, never, no more; and what is put in its place. None of them holds up traffic.

use std::fs;
use std::time::{Duration, Instant};

use causeway::config::model::AccessFormat;
use causeway::observe::access_log::AccessLog;

use super::{LONG, log, rescued};

#[test]
fn a_line_arrives_without_another_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let access = AccessLog::start(&log(&fd_path(&writer), AccessFormat::Combined)).unwrap();
    let begun = Instant::now();
    access.write(&rescued());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(reader), &mut line).unwrap();
    assert!(line.ends_with("\"curl/8.5.0\"\n"));
    // 200 ms promised; the rest is for a busy machine.
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    drop(dir);
}

fn fd_path(pipe: &impl std::os::fd::AsRawFd) -> std::path::PathBuf {
    format!("/proc/self/fd/{}", pipe.as_raw_fd()).into()
}

#[test]
fn a_reader_that_takes_nothing_holds_up_nobody() {
    let (reader, writer) = std::io::pipe().unwrap();
    let access = AccessLog::start(&log(&fd_path(&writer), AccessFormat::Json)).unwrap();
    let exchange = rescued();
    let begun = Instant::now();
    while access.dropped() == 0 {
        access.write(&exchange);
        assert!(begun.elapsed() < LONG, "nothing was ever dropped: the queue has no bound");
    }
    let begun = Instant::now();
    access.flush(Duration::from_millis(50));
    assert!(begun.elapsed() < LONG, "flush waits for its time only");
    drop(reader); // the blocked write ends with EPIPE, and the process lives
}

#[test]
fn a_closed_reader_costs_lines_and_nothing_else() {
    let (reader, writer) = std::io::pipe().unwrap();
    let access = AccessLog::start(&log(&fd_path(&writer), AccessFormat::Json)).unwrap();
    drop(reader);
    access.write(&rescued());
    access.flush(LONG);
    assert_eq!(access.dropped(), 1);
    access.write(&rescued());
    access.flush(LONG);
    assert_eq!(access.dropped(), 2);
}

/// A named pipe without a reader: the start does not hang on it, lines that it cannot hold are dropped and counted, and
/// USR1 opens what was put in its place.
#[test]
fn a_pipe_that_nobody_reads_holds_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let (started, log) = (std::sync::mpsc::channel(), log(&path, AccessFormat::Json));
    std::thread::spawn(move || started.0.send(AccessLog::start(&log).unwrap()));
    let access = started.1.recv_timeout(LONG).expect("it waits for a reader");
    let (exchange, begun) = (rescued(), Instant::now());
    while access.dropped() == 0 {
        access.write(&exchange);
        assert!(begun.elapsed() < LONG, "nothing was ever dropped: the queue has no bound");
    }
    fs::remove_file(&path).unwrap();
    access.reopen();
    access.flush(LONG);
    access.write(&exchange);
    access.flush(LONG);
    let text = fs::read_to_string(&path).unwrap();
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last["request_id"], "4f6c2a91b07de358c1a4e9d2637f8b05");
    assert!(text.lines().count() > 1000, "what waited in memory was not lost");
}

/// A reader that comes late finds what the pipe could hold; one that comes back goes on.
#[test]
fn a_late_reader_of_a_pipe_finds_the_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let access = AccessLog::start(&log(&path, AccessFormat::Combined)).unwrap();
    access.write(&rescued());
    access.flush(LONG);
    let read = || {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(fs::File::open(&path).unwrap()), &mut line).unwrap();
        line
    };
    assert!(read().ends_with("\"curl/8.5.0\"\n"));
    access.write(&rescued());
    access.flush(LONG);
    assert!(read().ends_with("\"curl/8.5.0\"\n"));
    assert_eq!(access.dropped(), 0);
}

#[test]
fn reopening_follows_a_rotation() {
    let dir = tempfile::tempdir().unwrap();
    let (path, old) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
    let access = AccessLog::start(&log(&path, AccessFormat::Combined)).unwrap();
    access.write(&rescued());
    access.flush(LONG);
    fs::rename(&path, &old).unwrap();
    access.reopen();
    access.flush(LONG);
    access.write(&rescued());
    access.flush(LONG);
    for file in [&old, &path] {
        assert_eq!(fs::read_to_string(file).unwrap().lines().count(), 1, "{file:?}");
    }
}

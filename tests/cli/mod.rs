//! The program as a user starts it: exit codes, sentences, and what `origin` really puts on the wire.

mod files;
mod healthcheck;
mod hosts;
mod origin;
mod probe;
mod whole;
mod words;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(10);

fn causeway(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_causeway"));
    command.args(words).stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CAUSEWAY_")) {
        command.env_remove(name);
    }
    command
}

fn output(words: &[&str]) -> Output {
    causeway(words).output().unwrap()
}

fn code(words: &[&str]) -> i32 {
    output(words).status.code().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

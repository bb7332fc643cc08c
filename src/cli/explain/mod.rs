//! `causeway explain`: what a cause means and what to do, by any word that people have for it; or the whole trail of a
//! failed request, asked of the running proxy.
//!
//! [`mod@meaning`] finds out what a word means, `facts` reads the table of causes and the defaults, `page` writes one
//! cause, `list` several. What comes from the proxy is printed without anything that could speak to a terminal.

mod facts;
mod list;
mod meaning;
mod page;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use crate::cause::Cause;
use crate::config::problem::ascii;
use crate::observe::json;

use super::ask::{Answer, Question, escaped};
use meaning::{Meaning, meaning};

/// For all of asking.
const LIMIT: Duration = Duration::from_secs(10);
/// Of an answer, as many bytes are read.
const ANSWER: u64 = 16 << 20;

/// The words of `causeway explain`.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// A cause (read_timeout, or a part of it), a status (502), what another proxy says
    /// ("upstream timed out", sH), or a request id: 8 characters of it are enough.
    /// Nothing: all causes
    #[arg(value_name = "CAUSE|REQUEST-ID")]
    words: Vec<String>,
    /// This is a request id, whatever it looks like
    #[arg(long, value_name = "REQUEST-ID", conflicts_with = "words")]
    id: Option<String>,
    /// The running proxy's admin address; else CAUSEWAY_ADMIN, the config's, 127.0.0.1:9901
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// 0: explained; 1: nothing has that name or id; 69: no proxy to ask.
#[must_use]
pub fn run(args: &ExplainArgs) -> ExitCode {
    if let Some(id) = &args.id {
        return request(args, id, "");
    }
    let words = args.words.join(" ");
    match meaning(&words) {
        Meaning::All => causes(args, Cause::ALL, ""),
        Meaning::One(cause) if args.json => print(&json::document(&page::json(cause, &flag(args)))),
        Meaning::One(cause) => print(&page::text(cause, &flag(args))),
        Meaning::Several(causes_) => causes(args, &causes_, &words),
        // An id that somebody chose, or a name that nobody has.
        Meaning::Request if !words.bytes().any(|b| b.is_ascii_digit()) => {
            request(args, &words, &format!("no cause is called \"{}\"; if it is a request id: ", ascii(&words)))
        }
        Meaning::Request => request(args, &words, ""),
        Meaning::Nothing(near) => nothing(&words, near),
    }
}

/// What a command that asks the proxy needs besides, to ask the same one: with a space in front.
fn flag(args: &ExplainArgs) -> String {
    args.admin.as_deref().map_or_else(String::new, |admin| format!(" --admin {}", quoted(&ascii(admin))))
}

/// As one word of a shell.
fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b':' | b'-' | b'_' | b'/');
    if word.bytes().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

fn causes(args: &ExplainArgs, causes: &[Cause], words: &str) -> ExitCode {
    if args.json { print(&json::document(&list::json(causes))) } else { print(&list::text(causes, words)) }
}

/// `before`: what is said in front of why there is no trail.
fn request(args: &ExplainArgs, id: &str, before: &str) -> ExitCode {
    let accept = if args.json { "application/json" } else { "text/plain" };
    let target = format!("/api/incidents/{}", escaped(id));
    let question = Question { admin: args.admin.clone(), target, accept, limit: LIMIT, most: ANSWER };
    let answer = match question.ask() {
        Ok(answer) => answer,
        Err(why) => return no_proxy(&format!("{before}{why}")),
    };
    if !is_ours(&answer, args.json) {
        return no_proxy(&format!("{before}{}", answer.of_somebody_else()));
    }
    match answer.status {
        200 => {
            let code = print(&answer.body.lines().map(|line| ascii(line) + "\n").collect::<String>());
            if answer.cut { super::failed("explain", &"the answer was too long, its end is missing") } else { code }
        }
        _ => {
            let why = ascii(answer.body.lines().next().unwrap_or_default());
            super::failed("explain", &format!("{before}{why}"))
        }
    }
}

/// Is that what causeway's admin answers: a trail, or a sentence on why there is none?
fn is_ours(answer: &Answer, json: bool) -> bool {
    let Answer { status, kind, body, cut, .. } = answer;
    match (*status, kind.as_str()) {
        (200, "application/json") if json => {
            *cut || serde_json::from_str(body).is_ok_and(|trail: Value| trail["request_id"].is_string())
        }
        (200, "text/plain") if !json => body.contains("\nThe request\n  Asked "),
        (400.., "text/plain") => body.lines().next().is_some_and(|why| !why.trim().is_empty()),
        _ => false,
    }
}

fn nothing(words: &str, near: Option<Cause>) -> ExitCode {
    let meant = near.map_or_else(String::new, |near| format!(" Did you mean {near}?"));
    let words = ascii(words);
    super::failed("explain", &format!("no cause is called \"{words}\".{meant}\nAll causes: causeway explain"))
}

fn no_proxy(why: &str) -> ExitCode {
    let why = format!("{why}\nIt must be asked at the address that admin.address has: --admin ADDR says which.");
    let _ = super::failed("explain", &why);
    ExitCode::from(super::EXIT_NO_PROXY)
}

/// A closed standard output is no reason to panic.
fn print(text: &str) -> ExitCode {
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

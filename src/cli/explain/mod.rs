//! `causeway explain`: what a cause means and what to do, by any word that people have for it; or the whole trail of a failed
//! request, asked of the running proxy.
//!
//! [`mod@meaning`] finds out what a word means, `facts` reads the table of causes and the defaults, `page` writes one cause,
//! `list` several. What comes from the proxy is printed without anything that could speak to a terminal.

mod facts;
mod list;
mod meaning;
mod page;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

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
        return request(args, id);
    }
    let words = args.words.join(" ");
    match meaning(&words) {
        Meaning::All => causes(args, Cause::ALL, ""),
        Meaning::One(cause) if args.json => print(&json::document(&page::json(cause))),
        Meaning::One(cause) => print(&page::text(cause)),
        Meaning::Several(causes_) => causes(args, &causes_, &words),
        Meaning::Request => request(args, &words),
        Meaning::Nothing(near) => nothing(&words, near),
    }
}

fn causes(args: &ExplainArgs, causes: &[Cause], words: &str) -> ExitCode {
    if args.json { print(&json::document(&list::json(causes))) } else { print(&list::text(causes, words)) }
}

fn request(args: &ExplainArgs, id: &str) -> ExitCode {
    let accept = if args.json { "application/json" } else { "text/plain" };
    let target = format!("/api/incidents/{}", escaped(id));
    let question = Question { admin: args.admin.clone(), target, accept, limit: LIMIT, most: ANSWER };
    let Answer { admin, status, body, cut } = match question.ask() {
        Ok(answer) => answer,
        Err(why) => return no_proxy(&why.to_string()),
    };
    match status {
        200 => {
            let code = print(&body.lines().map(|line| ascii(line) + "\n").collect::<String>());
            if cut { super::failed("explain", &"the answer was too long, its end is missing") } else { code }
        }
        0 => no_proxy(&format!("{} does not speak HTTP: is it causeway's admin address?", ascii(&admin))),
        _ => match body.lines().next() {
            Some(why) => super::failed("explain", &ascii(why)),
            None => super::failed("explain", &format!("{} answered {status}", ascii(&admin))),
        },
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

//! `causeway status`: the running proxy's pools at a glance, once or for as long as somebody watches.
//!
//! [`document`] is what the admin says, [`table`] what people see of it. It changes nothing.

pub(super) mod document;
mod table;
mod watch;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::config::problem::ascii;

use super::ask::{Question, Unasked};
use super::run::variable;
use document::Status;
use table::Paper;

/// For all of asking.
const LIMIT: Duration = Duration::from_secs(10);
/// Of an answer, as many bytes are read: enough for tens of thousands of upstreams.
const ANSWER: u64 = 64 << 20;

/// The words of `causeway status`.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// As JSON: what GET /api/status says
    #[arg(long)]
    json: bool,
    /// Looks again every second, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// The running proxy's admin address; else CAUSEWAY_ADMIN, the config's, 127.0.0.1:9901
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
}

/// A look.
#[derive(Debug)]
pub(super) struct Looked {
    /// What it says.
    pub(super) status: Status,
    /// The same as it came.
    text: String,
    /// Who said it: to be asked again without a look into the config.
    pub(super) admin: String,
}

/// Why there is no status.
#[derive(Debug)]
pub(super) enum NoStatus {
    /// Nobody answers there, or nobody who is causeway.
    NoProxy(String),
    /// It answered, and this was not it.
    Refused(String),
}

/// 0: every pool is usable; 1: one is not; 69: no proxy to ask.
#[must_use]
pub fn run(args: &StatusArgs) -> ExitCode {
    if args.watch {
        return watch::run(args);
    }
    match ask(args.admin.clone(), LIMIT) {
        Ok(Looked { status, text, .. }) => {
            let paper = Paper { width: terminal().map(|(columns, _)| columns), colour: colour(), short: false };
            print(&if args.json { text } else { table::render(&status, paper) });
            code(&status)
        }
        Err(why) => no_status("status", &why),
    }
}

/// Asks once.
pub(super) fn ask(admin: Option<String>, limit: Duration) -> Result<Looked, NoStatus> {
    let question = Question { admin, target: "/api/status".into(), accept: "application/json", limit, most: ANSWER };
    let answer = question.ask().map_err(|why: Unasked| NoStatus::NoProxy(why.to_string()))?;
    let (asked, admin) = (answer.admin.clone(), ascii(&answer.admin));
    let somebody_else = || Err(NoStatus::NoProxy(answer.of_somebody_else()));
    match (answer.status, answer.kind.as_str()) {
        (200, "application/json") if answer.cut => Err(NoStatus::Refused("the answer was too long".into())),
        (200, "application/json") => match serde_json::from_str::<Status>(&answer.body) {
            // Every causeway says its version.
            Ok(status) if !status.version.is_empty() => {
                let text = answer.body.lines().map(|line| ascii(line) + "\n").collect();
                Ok(Looked { status, text, admin: asked })
            }
            _ => somebody_else(),
        },
        (400.., "text/plain") if answer.status != 404 => Err(NoStatus::Refused(match answer.body.lines().next() {
            Some(why) => ascii(why),
            None => format!("{admin} answered {}", answer.status),
        })),
        _ => somebody_else(),
    }
}

/// Says why, and gives the exit code.
pub(super) fn no_status(command: &str, why: &NoStatus) -> ExitCode {
    match why {
        NoStatus::Refused(why) => super::failed(command, why),
        NoStatus::NoProxy(why) => {
            let remedy = "It is asked at the address that admin.address has: --admin ADDR says which.";
            let _ = super::failed(command, &format!("{why}\n{remedy}"));
            ExitCode::from(super::EXIT_NO_PROXY)
        }
    }
}

fn code(status: &Status) -> ExitCode {
    if status.usable() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Columns and rows, if that is where the output goes.
fn terminal() -> Option<(usize, usize)> {
    let out = std::io::stdout();
    let size = out.is_terminal().then(|| rustix::termios::tcgetwinsize(&out).ok()).flatten()?;
    // One that does not know its size says 0.
    let or = |number: u16, other| if number == 0 { other } else { usize::from(number) };
    Some((or(size.ws_col, 80), or(size.ws_row, 24)))
}

/// Only on a terminal; `NO_COLOR` is honoured (no-color.org).
fn colour() -> bool {
    std::io::stdout().is_terminal() && variable("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// False where nobody reads any more.
fn print(text: &str) -> bool {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

//! `causeway reload`: asks the running proxy to read its configuration again, waits, and says what changed or what is
//! wrong.
//!
//! Nothing is read here but the answer: what counts is the file as the proxy sees it, with the flags that it was
//! started with.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use crate::config::problem::{ascii, count};

use super::ask::{Answer, Change, Question};
use super::operator;
use super::status::{NoStatus, no_status};

/// For all of asking: longer than the proxy lets a reload take.
const LIMIT: Duration = Duration::from_secs(40);
/// Of an answer, as many bytes are read.
const ANSWER: u64 = 64 << 20;
/// What follows the problems.
const KEPT: &str = "Nothing was changed; the old configuration stays in force.";

/// The words of `causeway reload`.
#[derive(Args, Debug)]
pub struct ReloadArgs {
    /// As JSON: what POST /api/reload says
    #[arg(long)]
    json: bool,
    /// The running proxy's admin address; else CAUSEWAY_ADMIN, the config's, 127.0.0.1:9901
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
    /// For a proxy on another machine: what its admin.token_file holds; else CAUSEWAY_TOKEN_FILE
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// The new configuration is in force.
#[derive(Debug, Deserialize)]
struct Done {
    text: Vec<String>,
    warnings: Vec<Warning>,
}

#[derive(Debug, Deserialize)]
struct Warning {
    text: String,
}

/// The old one still is.
#[derive(Debug, Deserialize)]
struct NotDone {
    #[serde(rename = "problems")]
    _problems: Vec<serde_json::Value>,
    text: String,
}

/// What came back.
enum Came {
    Done(Done),
    NotDone(NotDone),
    /// It cannot be asked now, or not at all, or not by us.
    Nobody(String),
}

/// 0: the configuration of now is in force; 78: it cannot be used; 69: no proxy that could be asked, also because it
/// does not let us (401, 403): nothing is known of the configuration then (CONTRACT §1).
#[must_use]
pub fn run(args: &ReloadArgs) -> ExitCode {
    let token = match operator::token(args.token_file.as_deref()) {
        Ok(token) => token,
        Err(why) => return not_asked(&why),
    };
    let accept = "application/json";
    let question =
        Question { admin: args.admin.clone(), target: "/api/reload".into(), accept, limit: LIMIT, most: ANSWER };
    let answer = match question.post(Change { body: String::new(), token }) {
        Ok(answer) => answer,
        Err(why) => return no_status("reload", &NoStatus::NoProxy(why.to_string())),
    };
    let (text, code) = match came(&answer) {
        Came::Done(done) => (reloaded(&done), ExitCode::SUCCESS),
        Came::NotDone(not) => (not_reloaded(&not.text), ExitCode::from(super::EXIT_CONFIG)),
        Came::Nobody(why) => return not_asked(&why),
    };
    if args.json || code == ExitCode::SUCCESS {
        let text = if args.json { lines(&answer.body) } else { text };
        let _ = std::io::stdout().write_all(text.as_bytes());
    } else {
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
    code
}

fn not_asked(why: &dyn std::fmt::Display) -> ExitCode {
    let _ = super::failed("reload", why);
    ExitCode::from(super::EXIT_NO_PROXY)
}

fn came(answer: &Answer) -> Came {
    let somebody_else = || {
        let remedy = "It is asked at the address that admin.address has: --admin ADDR says which.";
        Came::Nobody(format!("{}\n{remedy}", answer.of_somebody_else()))
    };
    let first = || answer.body.lines().next().map(ascii).filter(|line| !line.is_empty());
    match (answer.status, answer.kind.as_str()) {
        (200, "application/json") => serde_json::from_str(&answer.body).map_or_else(|_| somebody_else(), Came::Done),
        (409 | 422, "application/json") => {
            serde_json::from_str(&answer.body).map_or_else(|_| somebody_else(), Came::NotDone)
        }
        (401 | 403, "text/plain") => first().map_or_else(somebody_else, Came::Nobody),
        (404 | 405, "text/plain") if answer.body.contains("causeway admin") => {
            Came::Nobody("this causeway is of a version that cannot reload: restart it to apply changes".into())
        }
        (500.., "text/plain") => first().map_or_else(somebody_else, Came::Nobody),
        _ => somebody_else(),
    }
}

/// What is foolish first, as `causeway check` has it, then what changed.
fn reloaded(done: &Done) -> String {
    let mut out: String = done.warnings.iter().map(|warning| lines(&warning.text)).collect();
    match done.text.len() {
        0 => out.push_str("Nothing has changed.\n"),
        changes => {
            out.push_str(&format!("The new configuration is in force: {}.\n", count(changes, "change")));
            done.text.iter().for_each(|line| out.push_str(&format!("  {}\n", ascii(line))));
        }
    }
    out
}

/// What `causeway check` prints, but for its last word: here the proxy runs on.
fn not_reloaded(text: &str) -> String {
    let text = lines(text);
    let text = text.trim_end();
    let less =
        ["Nothing was started or changed.", "Nothing was changed."].iter().find_map(|end| text.strip_suffix(end));
    match less {
        Some(text) => format!("{text}{KEPT}\n"),
        None => format!("{text}\n{KEPT}\n"),
    }
}

/// Nothing that came from the proxy speaks to the terminal.
fn lines(text: &str) -> String {
    text.lines().map(|line| ascii(line) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_changed_or_that_nothing_did() {
        let of = |text: &[&str], warnings: &[&str]| {
            let warnings = warnings.iter().map(|text| Warning { text: (*text).into() }).collect();
            reloaded(&Done { text: text.iter().map(|line| (*line).into()).collect(), warnings })
        };
        assert_eq!(of(&[], &[]), "Nothing has changed.\n");
        assert_eq!(
            of(&["pool.app.timeouts.read: 60s -> 30s", "route.api: \u{1b}[1mnew"], &["f:1:1: warning: hm\n  a\n  ^"]),
            "f:1:1: warning: hm\n  a\n  ^\nThe new configuration is in force: 2 changes.\n  \
             pool.app.timeouts.read: 60s -> 30s\n  route.api: \\u{1b}[1mnew\n"
        );
    }

    #[test]
    fn what_is_wrong_ends_with_what_holds() {
        let check = "f:1:1: no\n  a\n  ^ hm\n1 problem. Nothing was started or changed.\n";
        assert_eq!(not_reloaded(check), format!("f:1:1: no\n  a\n  ^ hm\n1 problem. {KEPT}\n"));
        assert_eq!(not_reloaded("web: taken. Nothing was changed.\n"), format!("web: taken. {KEPT}\n"));
        assert_eq!(not_reloaded("listener web: taken.\n"), format!("listener web: taken.\n{KEPT}\n"));
    }
}

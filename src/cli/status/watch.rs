//! `causeway status --watch`: the table, drawn again in place every second until somebody ends it.
//!
//! It writes over its own lines and nobody else's, so what stood on the terminal before stays, and what it said last is
//! left there.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::config::problem::ascii;

use super::table::{self, Paper, held};
use super::{Looked, NoStatus, Status, StatusArgs, ask, code, colour, print, terminal};

/// From one look to the next.
const EVERY: Duration = Duration::from_secs(1);
/// For one look: a proxy that does not answer is told of soon.
const LIMIT: Duration = Duration::from_secs(3);

/// Until Ctrl-C; the exit code is that of the last look.
pub(super) fn run(args: &StatusArgs) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return super::super::failed("status", &error),
    };
    let code = runtime.block_on(watch(args));
    // A look that is still under way is not waited for.
    runtime.shutdown_background();
    code
}

async fn watch(args: &StatusArgs) -> ExitCode {
    let mut end = std::pin::pin!(super::super::asked_to_end());
    let (mut drawn, mut seen, mut whom) = (0, None, args.admin.clone());
    let mut last = ExitCode::from(super::super::EXIT_NO_PROXY);
    loop {
        let begun = Instant::now();
        let admin = whom.clone();
        let look = tokio::task::spawn_blocking(move || ask(admin, LIMIT));
        let looked = tokio::select! {
            () = &mut end => return last,
            looked = look => looked,
        };
        let Ok(looked) = looked else { return ExitCode::FAILURE };
        let text = match &looked {
            Ok(Looked { status, text, admin }) => {
                (last, seen, whom) = (code(status), Some(begun), Some(admin.clone()));
                if args.json { one_line(text) } else { page(status) }
            }
            Err(why) => {
                last = ExitCode::from(super::super::EXIT_NO_PROXY);
                gone(why, seen.map(|seen| begun - seen))
            }
        };
        let written = match terminal() {
            Some((columns, rows)) if !args.json => {
                let text = fitted(&text, columns, rows);
                let over = if drawn > 0 { format!("\x1b[{drawn}F") } else { String::new() };
                drawn = text.lines().count();
                print(&format!("{over}\x1b[J{text}"))
            }
            _ if args.json && looked.is_err() => {
                eprint!("{text}");
                true
            }
            _ => print(&text),
        };
        if !written {
            return last;
        }
        tokio::select! {
            () = &mut end => return last,
            () = tokio::time::sleep(EVERY.saturating_sub(begun.elapsed())) => {}
        }
    }
}

/// All of it where that fits, else those that are not ready.
fn page(status: &Status) -> String {
    let size = terminal();
    let paper = Paper { width: size.map(|(columns, _)| columns), colour: colour(), short: false };
    let whole = table::render(status, paper);
    match size {
        Some((_, rows)) if whole.lines().count() >= rows => table::render(status, Paper { short: true, ..paper }),
        Some(_) => whole,
        None => whole + "\n",
    }
}

fn gone(why: &NoStatus, ago: Option<Duration>) -> String {
    let (NoStatus::NoProxy(why) | NoStatus::Refused(why)) = why;
    let ago = ago.map_or_else(String::new, |ago| {
        format!(" It last answered {} ago.", held(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)))
    });
    format!("No proxy: {}\nAsking again every second.{ago} Ctrl-C ends it.\n", ascii(why))
}

fn one_line(document: &str) -> String {
    let parsed = serde_json::from_str::<serde_json::Value>(document);
    let mut out = String::new();
    for c in parsed.map_or_else(|_| String::new(), |value| value.to_string()).chars() {
        match c {
            ' '..='~' => out.push(c),
            _ => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}"))),
        }
    }
    out + "\n"
}

/// No line so long that the terminal breaks it, and not so many that the first one leaves it: else they could not be
/// found again.
fn fitted(text: &str, columns: usize, rows: usize) -> String {
    let most = rows.saturating_sub(1).max(2);
    let count = text.lines().count();
    let mut out: String =
        text.lines().take(if count > most { most - 1 } else { most }).map(|line| clip(line, columns)).collect();
    if count > most {
        out.push_str(&clip(&format!("  ... and {} more lines: causeway status", count - (most - 1)), columns));
    }
    out
}

/// So many columns of a line; colours take none.
fn clip(line: &str, columns: usize) -> String {
    let (mut out, mut used, mut inside) = (String::new(), 0, false);
    for c in line.chars() {
        inside |= c == '\x1b';
        if inside || used < columns {
            out.push(c);
        }
        used += usize::from(!inside);
        inside &= c != 'm';
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_fits() {
        let text = "\x1b[31mred\x1b[0m and long\n2\n3\n4\n5\n";
        assert_eq!(fitted(text, 5, 24), "\x1b[31mred\x1b[0m a\n2\n3\n4\n5\n");
        assert_eq!(fitted(text, 80, 5), "\x1b[31mred\x1b[0m and long\n2\n3\n  ... and 2 more lines: causeway status\n");
        assert_eq!(fitted(text, 80, 6), text);
        assert_eq!(fitted(text, 80, 0).lines().count(), 2);
    }

    #[test]
    fn a_proxy_that_is_gone_is_said_to_be() {
        let why = NoStatus::NoProxy("nothing listens on 127.0.0.1:9901".into());
        let text = gone(&why, Some(Duration::from_secs(12)));
        assert!(text.contains("No proxy: nothing listens") && text.contains("It last answered 12s ago."), "{text}");
        assert!(!gone(&why, None).contains("last answered"));
    }
}

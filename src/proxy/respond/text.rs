//! The annotated error as plain text: ASCII, 80 columns.

use std::fmt::Write;

use http::StatusCode;

use crate::observe::time::Utc;
use crate::observe::told::spoken;

use super::words::{Kind, Row, Story, ago};

const WIDTH: usize = 80;

pub(super) fn render(story: &Story<'_>, name: &str) -> String {
    let mut out = format!("{} {}\n\n", story.status.as_u16(), reason_phrase(story.status));
    if story.full {
        full(&mut out, story, name)
    } else {
        public(&mut out, story)
    }
    out
}

/// The phrase of the status line; RFC names for the few that the http crate words differently.
pub(super) fn reason_phrase(status: StatusCode) -> &'static str {
    match status.as_u16() {
        413 => "Content Too Large",
        _ => status.canonical_reason().unwrap_or("Error"),
    }
}

fn full(out: &mut String, story: &Story<'_>, name: &str) {
    let (detail, asked) = (&story.detail, &story.asked);
    match detail.strip_suffix('.') {
        Some(detail) if !story.rows.is_empty() => wrap(out, "", &format!("{detail}: {asked}.")),
        _ => wrap(out, "", &format!("{detail} {asked}.")),
    }
    let digits = story.rows.len().to_string().len();
    let column = story.rows.iter().map(|row| row.upstream.len()).max().unwrap_or_default();
    for (index, row) in story.rows.iter().enumerate() {
        out.push('\n');
        let indent = " ".repeat(digits + 2);
        let number = index + 1;
        let upstream = &row.upstream;
        line(out, &format!("{number:>digits$}  {upstream:<column$}   {}", what(row)), &tail(row), &indent);
        wrap(out, &indent, &row.hint);
        next(out, &indent, row.command.as_deref());
    }
    out.push('\n');
    // Rows say what to do, each for itself; none says when to come back.
    if story.rows.is_empty() || story.status == StatusCode::SERVICE_UNAVAILABLE {
        wrap(out, "", &story.hint);
        next(out, "", story.command.as_deref());
        if !(story.hint.is_empty() && story.command.is_none()) {
            out.push('\n');
        }
    }
    if !story.sent.is_empty() {
        wrap(out, "", &story.sent);
        out.push('\n');
    }
    let exchange = story.exchange;
    let _ = writeln!(out, "This answer comes from the proxy ({name}), not from the app.");
    let _ = writeln!(out, "Request {}, {}", exchange.request_id, Utc::from(exchange.at + exchange.elapsed).plain());
    out.push_str("The access log has the whole trail under this request id.\n");
}

fn public(out: &mut String, story: &Story<'_>) {
    wrap(out, "", &format!("{} {}", story.detail, story.hint));
    if !story.rows.is_empty() {
        out.push('\n');
        cells(out, &story.rows);
    }
    if !story.sent.is_empty() {
        out.push('\n');
        wrap(out, "", &story.sent);
    }
    let _ = write!(out, "\nIf you report this, quote the request: {}\n", story.exchange.request_id);
}

/// `app/1   connection_refused        app/2   read_timeout`: as many in a line as fit.
fn cells(out: &mut String, rows: &[Row<'_>]) {
    let cells: Vec<_> = rows.iter().map(|row| format!("{}   {}", row.upstream, row.kind.word())).collect();
    let mut column = 0;
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            if column + 8 + cell.len() > WIDTH {
                out.push('\n');
                column = 0;
            } else {
                out.push_str("        ");
                column += 8;
            }
        }
        out.push_str(cell);
        column += cell.len();
    }
    out.push('\n');
}

fn what(row: &Row<'_>) -> String {
    match &row.kind {
        Kind::Failed(attempt, failure) if attempt.last_resort => format!("{} (last resort)", failure.cause),
        Kind::Failed(_, failure) => failure.cause.token().to_owned(),
        Kind::NotTried(skip) => {
            let mut what = format!("not tried: {}", skip.reason.token());
            if skip.state.token() == skip.reason.token() {
                let _ = write!(what, " {}", ago(skip.held_for));
            }
            if let Some((cause, _)) = skip.trouble() {
                let _ = write!(what, " ({cause})");
            }
            what
        }
    }
}

fn tail(row: &Row<'_>) -> String {
    match &row.kind {
        Kind::Failed(attempt, failure) => format!("{:<8}{:>9}", failure.phase.token(), spoken(attempt.elapsed)),
        Kind::NotTried(_) => String::new(),
    }
}

/// `left` and, flush right, `tail`; the tail goes under a left side that leaves it no room.
fn line(out: &mut String, left: &str, tail: &str, indent: &str) {
    let room = WIDTH - tail.len();
    let _ = match tail {
        "" => writeln!(out, "{left}"),
        _ if left.len() + 2 <= room => writeln!(out, "{left:<room$}{tail}"),
        _ => writeln!(out, "{left}\n{indent}{tail}"),
    };
}

fn next(out: &mut String, indent: &str, command: Option<&str>) {
    if let Some(command) = command {
        let _ = writeln!(out, "{indent}Next: {command}");
    }
}

/// Breaks at spaces; a word longer than a line stays whole.
pub(super) fn wrap(out: &mut String, indent: &str, text: &str) {
    let mut column = 0;
    for word in text.split_ascii_whitespace() {
        if column == 0 {
            out.push_str(indent);
            column = indent.len();
        } else if column + 1 + word.len() > WIDTH {
            out.push('\n');
            out.push_str(indent);
            column = indent.len();
        } else {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += word.len();
    }
    if column > 0 {
        out.push('\n');
    }
}

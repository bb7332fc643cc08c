//! The annotated error as plain text: ASCII, 80 columns.

use std::fmt::Write;

use http::StatusCode;

use crate::cause::columns::{WIDTH, paragraph};
use crate::observe::time::Utc;
use crate::observe::told::spoken;

use super::groups::{Group, groups};
use super::trail::Trail;
use super::words::{Kind, Row, Story, ago};

pub(super) fn render(story: &Story<'_>, name: &str, trail: &Trail) -> String {
    let mut out = format!("{}\n\n", heading(story.status));
    if story.full {
        full(&mut out, story);
        foot(&mut out, story, name, trail);
    } else {
        public(&mut out, story);
    }
    out
}

/// `502 Bad Gateway`: the first line.
pub(super) fn heading(status: StatusCode) -> String {
    format!("{} {}", status.as_u16(), reason_phrase(status))
}

/// What happened and what to do, with all detail: what stands between the first line and the last ones, ended.
pub(super) fn account(story: &Story<'_>) -> String {
    let mut out = String::new();
    full(&mut out, story);
    out.truncate(out.trim_end().len());
    out
}

/// The phrase of the status line; RFC names for the few that the http crate words differently.
pub(super) fn reason_phrase(status: StatusCode) -> &'static str {
    match status.as_u16() {
        413 => "Content Too Large",
        _ => status.canonical_reason().unwrap_or("Error"),
    }
}

/// Ends with an empty line.
fn full(out: &mut String, story: &Story<'_>) {
    let (detail, asked) = (&story.detail, &story.asked);
    match detail.strip_suffix('.') {
        Some(detail) if !story.rows.is_empty() => paragraph(out, 0, &format!("{detail}: {asked}.")),
        _ => paragraph(out, 0, &format!("{detail} {asked}.")),
    }
    let groups = groups(&story.rows, true);
    let digits = groups.len().to_string().len();
    let column = groups.iter().map(|group| group.first.upstream.len()).max().unwrap_or_default();
    let indent = digits + 2;
    for (index, group) in groups.iter().enumerate() {
        out.push('\n');
        let number = index + 1;
        let row = group.first;
        let upstream = &row.upstream;
        line(out, &format!("{number:>digits$}  {upstream:<column$}   {}", what(row)), &tail(group), indent);
        paragraph(out, indent, &row.hint);
        next(out, indent, row.command.as_deref());
        others(out, indent, group);
    }
    out.push('\n');
    // Rows say what to do, each for itself; none says when to come back.
    if story.rows.is_empty() || story.status == StatusCode::SERVICE_UNAVAILABLE {
        paragraph(out, 0, &story.hint);
        next(out, 0, story.command.as_deref());
        if !(story.hint.is_empty() && story.command.is_none()) {
            out.push('\n');
        }
    }
    let exchange = story.exchange;
    // What may be repeated has done no harm: the rows say where it went.
    if !story.sent.is_empty() && !exchange.idempotent {
        paragraph(out, 0, &story.sent);
        out.push('\n');
    }
}

/// Who speaks, and where to read more.
fn foot(out: &mut String, story: &Story<'_>, name: &str, trail: &Trail) {
    let exchange = story.exchange;
    let _ = writeln!(out, "This answer comes from the proxy ({name}), not from the app.");
    let _ = writeln!(out, "Request {}, {}", exchange.request_id, Utc::from(exchange.at + exchange.elapsed).plain());
    match trail {
        Trail::Command { whole, .. } => next(out, 0, Some(whole)),
        Trail::Log => out.push_str("The access log of the proxy has the details under this id.\n"),
        Trail::Lost => {}
    }
}

fn public(out: &mut String, story: &Story<'_>) {
    paragraph(out, 0, &format!("{} {}", story.detail, story.hint));
    if !story.rows.is_empty() {
        out.push('\n');
        cells(out, &story.rows);
    }
    if !story.sent.is_empty() {
        out.push('\n');
        paragraph(out, 0, &story.sent);
    }
    let _ = write!(out, "\nIf you report this, quote the request: {}\n", story.exchange.request_id);
}

/// `app/1   connection_refused        app/2   read_timeout`: as many in a line as fit; those that say the same under
/// each other.
fn cells(out: &mut String, rows: &[Row<'_>]) {
    let groups = groups(rows, false);
    let cell = |row: &Row<'_>| format!("{}   {}", row.upstream, row.kind.word());
    let mut column = 0;
    for (index, group) in groups.iter().enumerate() {
        let cell = cell(group.first);
        if column > 0 && column + 8 + cell.len() > WIDTH {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push_str("        ");
            column += 8;
        }
        out.push_str(&cell);
        column += cell.len();
        if !group.others.is_empty() || index + 1 == groups.len() {
            out.push('\n');
            column = 0;
            others(out, 3, group);
        }
    }
}

/// `And 11 others the same way: …`
fn others(out: &mut String, indent: usize, group: &Group<'_, '_>) {
    let (names, rest) = group.named();
    if names.is_empty() {
        return;
    }
    let others = if group.others.len() == 1 { "other" } else { "others" };
    let more = if rest > 0 { format!(" and {rest} more; the JSON form names each") } else { String::new() };
    paragraph(out, indent, &format!("And {} {others} the same way: {}{more}.", group.others.len(), names.join(", ")));
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

/// Phase and time; of several, the longest.
fn tail(group: &Group<'_, '_>) -> String {
    match (&group.first.kind, group.slowest()) {
        (Kind::Failed(_, failure), Some(slowest)) => format!("{:<8}{:>9}", failure.phase.token(), spoken(slowest)),
        _ => String::new(),
    }
}

/// `left` and, flush right, `tail`; the tail goes under a left side that leaves it no room.
fn line(out: &mut String, left: &str, tail: &str, indent: usize) {
    let room = WIDTH - tail.len();
    let _ = match tail {
        "" => writeln!(out, "{left}"),
        _ if left.len() + 2 <= room => writeln!(out, "{left:<room$}{tail}"),
        _ => writeln!(out, "{left}\n{:indent$}{tail}", ""),
    };
}

fn next(out: &mut String, indent: usize, command: Option<&str>) {
    if let Some(command) = command {
        let _ = writeln!(out, "{:indent$}Next: {command}", "");
    }
}

//! The annotated error as a page: one column, no script, no outside file; everything from outside is escaped.

use std::fmt::Write;

use http::{Method, StatusCode};

use crate::cause::{self, capitalised};
use crate::observe::time::Utc;
use crate::observe::told::spoken;

use super::groups::{Group, groups};
use super::trail::Trail;
use super::words::{Kind, Row, Story, ago};

/// The page needs its own style and its empty icon, and nothing else: whatever stood in it by mistake would not run.
pub(super) const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/// The frame; `{{name}}` marks the places.
const PAGE: &str = include_str!("page.html");

pub(super) fn render(story: &Story<'_>, name: &str, trail: &Trail) -> String {
    let body = if story.full { full(story) } else { public(story) };
    let foot = foot(story, name, trail);
    let status = story.status.as_u16().to_string();
    let mut out = String::with_capacity(PAGE.len() + body.len() + foot.len() + 64);
    // One pass over the frame, so that a `{{body}}` in a path stays what it is.
    for (index, piece) in PAGE.split("{{").enumerate() {
        let Some((place, rest)) = piece.split_once("}}").filter(|_| index > 0) else {
            out.push_str(piece);
            continue;
        };
        out.push_str(match place {
            "status" => &status,
            "heading" => story.heading,
            "body" => &body,
            "foot" => &foot,
            _ => "",
        });
        out.push_str(rest);
    }
    out
}

fn full(story: &Story<'_>) -> String {
    let mut out = String::new();
    // The name of the pool stands out well enough on a page.
    let pool = cause::escape(story.exchange.pool.as_deref().unwrap_or_default().as_bytes());
    let detail = story.detail.replacen(&format!("pool \"{pool}\""), &format!("pool {pool}"), 1);
    let detail = below(story, &detail);
    let _ = writeln!(out, "<p class=\"lead\">{} {}.</p>", escape(&detail), escape(&story.asked));
    if !story.rows.is_empty() {
        out.push_str("<h2>What happened</h2>\n<ol role=\"list\">\n");
        for group in groups(&story.rows, true) {
            card(&mut out, &group);
        }
        out.push_str("</ol>\n");
    }
    paragraph(&mut out, &story.sent);
    let again = again(story);
    // A single card says all of it already, but for when to come back.
    let alone = story.rows.len() == 1 && story.status != StatusCode::SERVICE_UNAVAILABLE;
    let told = alone || story.hint.is_empty() && story.command.is_none();
    if !told && story.rows.is_empty() {
        // There is nothing to tell apart: no heading.
        paragraph(&mut out, &story.hint);
        command(&mut out, story.command.as_deref());
    } else if !told {
        out.push_str("<h2>What to do first</h2>\n");
        paragraph(&mut out, &story.hint);
        command(&mut out, story.command.as_deref());
    }
    out.push_str(again);
    out
}

fn public(story: &Story<'_>) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "<p class=\"lead\">{}</p>",
        escape(format!("{} {}", below(story, &story.detail), story.hint).trim())
    );
    paragraph(&mut out, &story.sent);
    if !story.rows.is_empty() {
        out.push_str("<ol role=\"list\" class=\"short\">\n");
        for group in groups(&story.rows, false) {
            let row = group.first;
            let (class, upstream, word) = (class(row), escape(&row.upstream), row.kind.word());
            let _ = write!(out, "<li class=\"{class}\"><b>{upstream}</b> <code>{word}</code>");
            others(&mut out, &group);
            out.push_str("</li>\n");
        }
        out.push_str("</ol>\n");
    }
    out.push_str(again(story));
    out
}

/// The detail, without what the heading has said.
fn below(story: &Story<'_>, detail: &str) -> String {
    if story.heading.starts_with("This site ") {
        return detail.replacen("behind this site", "behind it", 1);
    }
    let rest = match story.status.as_u16() {
        413 => detail.strip_prefix("The request is larger than allowed: "),
        _ => None,
    };
    rest.map_or_else(|| detail.to_owned(), capitalised)
}

fn foot(story: &Story<'_>, name: &str, trail: &Trail) -> String {
    let id = escape(&story.exchange.request_id);
    let at = Utc::from(story.exchange.at + story.exchange.elapsed).plain();
    let mut out = String::new();
    let _ = if story.full {
        let name = escape(name);
        writeln!(
            out,
            "<p>This page comes from the proxy {name}, not from the app.</p>\n\
             <p>Request <code class=\"id\">{id}</code> <span class=\"at\">{at}</span></p>"
        )
    } else {
        writeln!(
            out,
            "<p>Reporting this? Quote the request: <code class=\"id\">{id}</code> <span class=\"at\">{at}</span></p>"
        )
    };
    let _ = match (trail, story.full) {
        (Trail::Command { whole, .. }, true) => {
            writeln!(out, "<p>Details: <code class=\"id\">{}</code></p>", escape(whole))
        }
        (Trail::Command { plain, .. }, false) => {
            writeln!(out, "<p><small>Details: <code class=\"id\">{}</code> on the proxy.</small></p>", escape(plain))
        }
        (Trail::Log, true) => writeln!(out, "<p>The access log of the proxy has the details under this id.</p>"),
        (Trail::Log, false) => {
            writeln!(
                out,
                "<p><small>Details: the access log of the proxy has them under this request's id.</small></p>"
            )
        }
        (Trail::Lost, _) => Ok(()),
    };
    out
}

fn card(out: &mut String, group: &Group<'_, '_>) {
    let row = group.first;
    let upstream = escape(&row.upstream);
    let (mark, word, time) = match &row.kind {
        Kind::Failed(attempt, failure) => {
            let mark = if attempt.last_resort { "failed, last resort" } else { "failed" };
            let upto = if group.others.is_empty() { "" } else { "up to " };
            let time = spoken(group.slowest().unwrap_or(attempt.elapsed));
            (mark, failure.cause.token(), format!("{}, {upto}{time}", failure.phase.token()))
        }
        Kind::NotTried(skip) => {
            let reason = skip.reason.token();
            let since = if skip.state.token() == reason { ago(skip.held_for) } else { String::new() };
            match skip.trouble() {
                Some((cause, _)) => ("not tried", cause.token(), format!("{reason} {since}").trim().to_owned()),
                None => ("not tried", reason, since),
            }
        }
    };
    let time = if time.is_empty() { time } else { format!(" <span class=\"time\">{time}</span>") };
    let _ = writeln!(
        out,
        "<li class=\"{}\"><div class=\"row\"><span class=\"mark\">{mark}</span> <b>{upstream}</b> \
         <code>{word}</code>{time}</div>",
        class(row)
    );
    paragraph(out, &row.hint);
    command(out, row.command.as_deref());
    others(out, group);
    out.push_str("</li>\n");
}

/// Those that say the same, folded up.
fn others(out: &mut String, group: &Group<'_, '_>) {
    let (names, rest) = group.named();
    if names.is_empty() {
        return;
    }
    let count = group.others.len();
    let more = if rest > 0 { format!(" and {rest} more; the JSON form names each") } else { String::new() };
    let others = if count == 1 { "other" } else { "others" };
    let _ = write!(
        out,
        "<details><summary>and {count} {others} the same way</summary><p>{}{more}.</p></details>",
        escape(&names.join(", "))
    );
}

fn class(row: &Row<'_>) -> &'static str {
    match row.kind {
        Kind::Failed(..) => "failed",
        Kind::NotTried(_) => "skipped",
    }
}

/// A plain link to the same address, where asking again changes nothing. Relative to the page itself: no scheme, host
/// or path from outside can lead elsewhere.
fn again(story: &Story<'_>) -> &'static str {
    let repeatable = matches!(story.exchange.method, Method::GET | Method::HEAD);
    if repeatable && story.status.is_server_error() {
        "<p class=\"again\"><a href=\"\">Try again</a></p>\n"
    } else {
        ""
    }
}

fn paragraph(out: &mut String, text: &str) {
    if !text.is_empty() {
        let _ = writeln!(out, "<p>{}</p>", escape(text));
    }
}

fn command(out: &mut String, command: Option<&str>) {
    if let Some(command) = command {
        let _ = writeln!(out, "<pre><code>{}</code></pre>", escape(command));
    }
}

/// As text between tags and within a quoted attribute. What a browser could not show becomes a sign that it can.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ if c.is_control() => out.push('\u{fffd}'),
            _ => out.push(c),
        }
    }
    out
}

//! The annotated error as a page: one column, no script, no outside file; everything from outside is escaped.

use std::fmt::Write;

use http::{Method, StatusCode};

use crate::observe::time::Utc;
use crate::observe::told::spoken;

use super::words::{Kind, Row, Story, ago};

/// The frame; `{{name}}` marks the places.
const PAGE: &str = include_str!("page.html");

pub(super) fn render(story: &Story<'_>, name: &str) -> String {
    let body = if story.full { full(story) } else { public(story) };
    let foot = foot(story, name);
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
    let _ = writeln!(out, "<p>{} {}.</p>", escape(&story.detail), escape(&story.asked));
    if !story.rows.is_empty() {
        out.push_str("<h2>What happened</h2>\n<ol>\n");
        for row in &story.rows {
            card(&mut out, row);
        }
        out.push_str("</ol>\n");
    }
    if !story.sent.is_empty() {
        let _ = writeln!(out, "<p>{}</p>", escape(&story.sent));
    }
    let again = again(story);
    // A single card says all of it already, but for when to come back.
    let alone = story.rows.len() == 1 && story.status != StatusCode::SERVICE_UNAVAILABLE;
    let told = alone || story.hint.is_empty() && story.command.is_none();
    if !told {
        out.push_str("<h2>What to do first</h2>\n");
        paragraph(&mut out, &story.hint);
        command(&mut out, story.command.as_deref());
    }
    out.push_str(&again);
    out
}

fn public(story: &Story<'_>) -> String {
    let mut out = String::new();
    paragraph(&mut out, format!("{} {}", story.detail, story.hint).trim());
    paragraph(&mut out, &story.sent);
    if !story.rows.is_empty() {
        out.push_str("<ol>\n");
        for row in &story.rows {
            let class = class(row);
            let (upstream, word) = (escape(&row.upstream), row.kind.word());
            let _ = writeln!(
                out,
                "<li class=\"{class}\"><div class=\"row\"><b>{upstream}</b> <code>{word}</code></div></li>"
            );
        }
        out.push_str("</ol>\n");
    }
    out.push_str(&again(story));
    out
}

fn foot(story: &Story<'_>, name: &str) -> String {
    let id = escape(&story.exchange.request_id);
    let at = Utc::from(story.exchange.at + story.exchange.elapsed).plain();
    let name = escape(name);
    if story.full {
        format!(
            "<p>This page comes from the proxy {name}, not from the app.</p>\n\
             <p>Request <code class=\"id\">{id}</code>, {at}</p>\n\
             <p>The access log has the whole trail under this request id.</p>\n"
        )
    } else {
        format!(
            "<p>Reporting this? Quote the request: <code class=\"id\">{id}</code>, {at}</p>\n\
             <p><small>For the operator: the access log of the proxy has the details under this id.</small></p>\n"
        )
    }
}

fn card(out: &mut String, row: &Row<'_>) {
    let upstream = escape(&row.upstream);
    let (mark, word, time) = match &row.kind {
        Kind::Failed(attempt, failure) => {
            let mark = if attempt.last_resort { "failed, last resort" } else { "failed" };
            (mark, failure.cause.token(), format!("{}, {}", failure.phase.token(), spoken(attempt.elapsed)))
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
         <span class=\"how\"><code>{word}</code>{time}</span></div>",
        class(row)
    );
    paragraph(out, &row.hint);
    command(out, row.command.as_deref());
    out.push_str("</li>\n");
}

fn class(row: &Row<'_>) -> &'static str {
    match row.kind {
        Kind::Failed(..) => "failed",
        Kind::NotTried(_) => "skipped",
    }
}

/// A plain link to the same address, where asking again changes nothing.
fn again(story: &Story<'_>) -> String {
    let exchange = story.exchange;
    if !story.status.is_server_error() || !matches!(exchange.method, Method::GET | Method::HEAD) {
        return String::new();
    }
    // Relative to the page itself: no scheme, host or path from outside can lead elsewhere.
    "<p><a href=\"\">Try again</a></p>\n".to_owned()
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

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

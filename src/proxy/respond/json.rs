//! The annotated error as `application/problem+json` (RFC 9457), laid out for a person's eye: short fields share a line.

use std::fmt::Display;

use crate::cause::Phase;
use crate::health::State;
use crate::observe::json;
use crate::observe::time::Utc;

use super::text::reason_phrase;
use super::words::{Kind, Row, Story};

/// `"name": value` pairs of one line; `None` values are left out.
type Pairs = Vec<Option<(&'static str, String)>>;

pub(super) fn render(story: &Story<'_>) -> String {
    let exchange = story.exchange;
    let id = &exchange.request_id;
    let hint = join(&story.hint, if exchange.idempotent { "" } else { &story.sent });
    let mut lines = vec![
        line(vec![
            text("type", "about:blank"),
            text("title", reason_phrase(story.status)),
            value("status", story.status.as_u16()),
        ]),
        line(vec![text("detail", &story.detail)]),
        line(vec![text("hint", &hint)]),
        line(vec![text("cause", story.cause.token()), text("request_id", id)]),
        line(vec![text("instance", &format!("/api/incidents/{id}"))]),
        line(vec![
            exchange.route.as_deref().and_then(|route| text("route", route)),
            exchange.pool.as_deref().and_then(|pool| text("pool", pool)),
            Some(("elapsed_ms", millis(exchange.elapsed))),
        ]),
    ];
    let (tried, not_tried): (Vec<_>, Vec<_>) = story.rows.iter().partition(|row| matches!(row.kind, Kind::Failed(..)));
    lines.push(list("attempts", &tried));
    lines.push(list("not_tried", &not_tried));
    lines.retain(|line| !line.is_empty());
    format!("{{\n  {}\n}}\n", lines.join(",\n  "))
}

fn list(name: &str, rows: &[&Row<'_>]) -> String {
    if rows.is_empty() {
        return format!("\"{name}\": []");
    }
    let objects: Vec<_> = rows.iter().map(|row| object(row)).collect();
    format!("\"{name}\": [\n    {} ]", objects.join(",\n    "))
}

fn object(row: &Row<'_>) -> String {
    let lines = match &row.kind {
        Kind::Failed(attempt, failure) => vec![
            line(vec![
                text("upstream", &row.upstream),
                row.address.and_then(|address| text("address", address)),
                text("phase", Phase::token(failure.phase)),
                text("cause", failure.cause.token()),
                value("sent", failure.sent),
                Some(("elapsed_ms", millis(attempt.elapsed))),
                attempt.last_resort.then(|| ("last_resort", "true".to_owned())),
            ]),
            line(vec![text("message", &row.message), row.command.as_deref().and_then(|c| text("command", c))]),
            line(vec![text("hint", &row.hint)]),
        ],
        Kind::NotTried(skip) => {
            // With public detail there is no message, and no clockwork either; of a ready one, nothing is amiss.
            let told = !row.message.is_empty() && skip.state != State::Ready;
            let since = Utc::from(skip.since).seconds().to_string();
            let next = skip.next_check.map(|next| next.as_millis());
            let first = vec![
                text("upstream", &row.upstream),
                row.address.and_then(|address| text("address", address)),
                text("reason", skip.reason.token()),
                text("state", skip.state.token()),
                skip.trouble().and_then(|(cause, _)| text("cause", cause.token())),
                text("since", if told { &since } else { "" }),
                next.filter(|_| told).map(|next| ("next_check_ms", next.to_string())),
            ];
            vec![
                line(first),
                line(vec![text("message", &row.message), row.command.as_deref().and_then(|c| text("command", c))]),
            ]
        }
    };
    let lines: Vec<_> = lines.into_iter().filter(|line| !line.is_empty()).collect();
    format!("{{ {} }}", lines.join(",\n      "))
}

fn line(pairs: Pairs) -> String {
    pairs.into_iter().flatten().map(|(name, value)| format!("\"{name}\": {value}")).collect::<Vec<_>>().join(", ")
}

/// Empty texts are left out: with public detail there is nothing to say.
fn text(name: &'static str, text: &str) -> Option<(&'static str, String)> {
    let mut out = String::new();
    json::string(&mut out, text);
    (!text.is_empty()).then_some((name, out))
}

#[allow(clippy::unnecessary_wraps)] // one shape for all pairs
fn value(name: &'static str, value: impl Display) -> Option<(&'static str, String)> {
    Some((name, value.to_string()))
}

fn millis(duration: std::time::Duration) -> String {
    let mut out = String::new();
    json::millis(&mut out, duration);
    out
}

fn join(text: &str, more: &str) -> String {
    format!("{text} {more}").trim().to_owned()
}

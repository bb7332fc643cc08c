//! The annotated error as `application/problem+json` (RFC 9457), laid out for a person's eye: short fields share a
//! line.

use serde_json::{Map, Value};

use crate::cause::Phase;
use crate::health::State;
use crate::observe::json::{self, millis_value, whole_millis};
use crate::observe::time::Utc;

use super::text::reason_phrase;
use super::words::{Kind, Row, Story};

/// A field; `None` is left out.
type Field = Option<(&'static str, Value)>;
/// The fields that share a line.
type Line = Vec<Field>;
/// The lines of an upstream.
type Object = Vec<Line>;

/// All that is said, in order.
struct Document {
    head: Vec<Line>,
    attempts: Vec<Object>,
    not_tried: Vec<Object>,
}

/// As text.
pub(super) fn render(story: &Story<'_>) -> String {
    let Document { head, attempts, not_tried } = document(story);
    let mut lines: Vec<_> = head.into_iter().map(line).filter(|line| !line.is_empty()).collect();
    lines.extend([list("attempts", attempts), list("not_tried", not_tried)]);
    format!("{{\n  {}\n}}\n", lines.join(",\n  "))
}

/// The same as a value, for whoever has more to say.
pub(super) fn account(story: &Story<'_>) -> Map<String, Value> {
    let Document { head, attempts, not_tried } = document(story);
    let object = |lines: Vec<Line>| -> Map<String, Value> {
        lines.into_iter().flatten().flatten().map(|(name, value)| (name.to_owned(), value)).collect()
    };
    let mut all = object(head);
    for (name, objects) in [("attempts", attempts), ("not_tried", not_tried)] {
        all.insert(name.to_owned(), objects.into_iter().map(object).collect());
    }
    all
}

fn document(story: &Story<'_>) -> Document {
    let exchange = story.exchange;
    let id = &exchange.request_id;
    let hint = join(&story.hint, if exchange.idempotent { "" } else { &story.sent });
    let head = vec![
        vec![
            text("type", "about:blank"),
            text("title", reason_phrase(story.status)),
            value("status", story.status.as_u16()),
        ],
        vec![text("detail", &story.detail)],
        vec![text("hint", &hint)],
        vec![text("cause", story.cause.token()), text("request_id", id)],
        vec![text("instance", &format!("/api/incidents/{id}"))],
        vec![
            exchange.route.as_deref().and_then(|route| text("route", route)),
            exchange.pool.as_deref().and_then(|pool| text("pool", pool)),
            value("elapsed_ms", millis_value(exchange.elapsed)),
        ],
    ];
    let (tried, not_tried): (Vec<_>, Vec<_>) = story.rows.iter().partition(|row| matches!(row.kind, Kind::Failed(..)));
    Document {
        head,
        attempts: tried.into_iter().map(object).collect(),
        not_tried: not_tried.into_iter().map(object).collect(),
    }
}

fn object(row: &Row<'_>) -> Object {
    let said = || vec![text("message", &row.message), row.command.as_deref().and_then(|c| text("command", c))];
    match &row.kind {
        Kind::Failed(attempt, failure) => vec![
            vec![
                text("upstream", &row.upstream),
                row.address.and_then(|address| text("address", address)),
                text("phase", Phase::token(failure.phase)),
                text("cause", failure.cause.token()),
                value("sent", failure.sent),
                value("elapsed_ms", millis_value(attempt.elapsed)),
                attempt.last_resort.then(|| ("last_resort", true.into())),
            ],
            said(),
            vec![text("hint", &row.hint)],
        ],
        Kind::NotTried(skip) => {
            // With public detail there is no message, and no clockwork either; of a ready one, nothing is amiss.
            let told = !row.message.is_empty() && skip.state != State::Ready;
            let since = Utc::from(skip.since).seconds().to_string();
            let next = skip.next_check.filter(|_| told);
            vec![
                vec![
                    text("upstream", &row.upstream),
                    row.address.and_then(|address| text("address", address)),
                    text("reason", skip.reason.token()),
                    text("state", skip.state.token()),
                    skip.trouble().and_then(|(cause, _)| text("cause", cause.token())),
                    text("since", if told { &since } else { "" }),
                    next.and_then(|next| value("next_check_ms", whole_millis(next))),
                ],
                said(),
            ]
        }
    }
}

/// Empty texts are left out: with public detail there is nothing to say.
fn text(name: &'static str, text: &str) -> Field {
    (!text.is_empty()).then(|| (name, text.into()))
}

#[allow(clippy::unnecessary_wraps)] // one shape for all fields
fn value(name: &'static str, value: impl Into<Value>) -> Field {
    Some((name, value.into()))
}

fn list(name: &str, objects: Vec<Object>) -> String {
    if objects.is_empty() {
        return format!("\"{name}\": []");
    }
    let rendered = |object: Object| {
        let lines: Vec<_> = object.into_iter().map(line).filter(|line| !line.is_empty()).collect();
        format!("{{ {} }}", lines.join(",\n      "))
    };
    let objects: Vec<_> = objects.into_iter().map(rendered).collect();
    format!("\"{name}\": [\n    {} ]", objects.join(",\n    "))
}

fn line(fields: Line) -> String {
    let field = |(name, value): (&str, Value)| match value {
        Value::String(text) => {
            let mut out = format!("\"{name}\": ");
            json::string(&mut out, &text);
            out
        }
        other => format!("\"{name}\": {other}"),
    };
    fields.into_iter().flatten().map(field).collect::<Vec<_>>().join(", ")
}

fn join(text: &str, more: &str) -> String {
    format!("{text} {more}").trim().to_owned()
}

//! Several causes, or all of them: one line each, in the order in which a request can meet them.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::cause::columns::WIDTH;
use crate::cause::{Cause, Fault, Phase};
use crate::config::problem::ascii;

/// Columns of a name.
const NAME: usize = 24;

type Holds = fn(Cause) -> bool;

/// The groups, in order; the client's own faults and what is no request stand for themselves.
const GROUPS: [(&str, Holds); 9] = [
    ("the client and its request", |cause| cause.row().fault == Fault::Client),
    ("queue: before an upstream is asked", |cause| of_a_request(cause) == Some(Phase::Queue)),
    ("resolve: finding its address", |cause| of_a_request(cause) == Some(Phase::Resolve)),
    ("connect: opening the connection", |cause| of_a_request(cause) == Some(Phase::Connect)),
    ("tls: making it a TLS session", |cause| of_a_request(cause) == Some(Phase::Tls)),
    ("request: sending the request", |cause| of_a_request(cause) == Some(Phase::Request)),
    ("head: waiting for the head of the answer", |cause| of_a_request(cause) == Some(Phase::Head)),
    ("body: reading the rest of it", |cause| of_a_request(cause) == Some(Phase::Body)),
    ("of health checks alone", |cause| cause.row().status == 0),
];

fn of_a_request(cause: Cause) -> Option<Phase> {
    (cause.row().fault != Fault::Client && cause.row().status != 0).then_some(cause.row().phase)
}

/// As text. `words`: what they all mean; empty for the list of all.
pub(super) fn text(causes: &[Cause], words: &str) -> String {
    let mut out = String::new();
    if !words.is_empty() {
        let _ = writeln!(out, "\"{}\" may be one of these {}:\n", shortened(words), causes.len());
    }
    for (title, holds) in GROUPS {
        let mut of_group = causes.iter().filter(|cause| holds(**cause)).peekable();
        if of_group.peek().is_some() {
            let _ = writeln!(out, "{title}");
        }
        for cause in of_group {
            let _ = writeln!(out, "  {:<NAME$}{}", cause.token(), brief(*cause));
        }
    }
    out.push_str("\nMore about one: causeway explain CAUSE\n");
    if !words.is_empty() {
        out.push_str("Which it was for a request: causeway explain REQUEST-ID (X-Request-Id)\n");
    }
    out
}

/// As JSON.
pub(super) fn json(causes: &[Cause]) -> Value {
    let row = |cause: &Cause| json!({ "cause": cause.token(), "phase": cause.row().phase.token(), "status": cause.row().status, "means": cause.row().means });
    json!({ "causes": causes.iter().map(row).collect::<Vec<_>>() })
}

/// In one line. Where it begins with the upstream, that is clear.
fn brief(cause: Cause) -> &'static str {
    let means = cause.row().means;
    match cause.lore().brief {
        "" if means.len() + NAME + 2 > WIDTH => means.strip_prefix("the upstream ").unwrap_or(means),
        "" => means,
        brief => brief,
    }
}

fn shortened(words: &str) -> String {
    let words = ascii(words);
    if words.len() > 40 { format!("{}...", &words[..37]) } else { words }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_one_line_of_80_columns() {
        let list = text(Cause::ALL, "");
        for cause in Cause::ALL {
            let lines = list.lines().filter(|line| line.split_ascii_whitespace().next() == Some(cause.token())).count();
            assert_eq!(lines, 1, "{cause}:\n{list}");
        }
        assert!(list.is_ascii() && list.lines().all(|line| line.len() <= WIDTH), "{list}");
        assert_eq!(json(Cause::ALL)["causes"].as_array().unwrap().len(), Cause::ALL.len());
    }
}

//! What a look at an upstream has found: facts and sentences, written by `text` and `json` as they are.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::cause::{Cause, Failure, Finding, Phase};

/// One upstream.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    /// Whose settings applied.
    pub(super) pool: Option<Arc<str>>,
    /// As the running proxy calls it (CONTRACT §9), for scripts; printable ASCII.
    pub(super) id: String,
    /// What it was asked for as, for people; printable ASCII.
    pub(super) name: String,
    /// `host:port`.
    pub(super) address: String,
    /// In the order of time.
    pub(super) steps: Vec<Step>,
    /// Why it is not usable.
    pub(super) trouble: Option<Trouble>,
    /// Whole sentences about what works, and yet may surprise.
    pub(super) notes: Vec<String>,
    /// The time of resolve, connect, request, head and body.
    pub(super) elapsed: Duration,
}

/// One line of a report.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// A phase (CONTRACT §5), or what else was asked: `check upgrade again idle host method chunked`.
    pub(super) phase: &'static str,
    pub(super) elapsed: Duration,
    pub(super) ok: bool,
    /// For people; printable ASCII.
    pub(super) said: String,
    /// For scripts.
    pub(super) facts: Vec<(&'static str, Value)>,
}

/// Why an upstream is not usable.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) cause: Cause,
    pub(super) phase: Phase,
    /// What is the matter, and what to do.
    pub(super) hint: String,
    /// What to do, where the line above it says what is the matter.
    pub(super) advice: String,
    /// What a closer look has found.
    pub(super) finding: Option<Finding>,
    /// What to type next.
    pub(super) command: String,
}

impl Report {
    pub(super) const fn usable(&self) -> bool {
        self.trouble.is_none()
    }
}

impl Step {
    pub(super) fn new(phase: &'static str, elapsed: Duration, said: impl Into<String>) -> Self {
        Self { phase, elapsed, ok: true, said: said.into(), facts: Vec::new() }
    }

    /// The same, gone wrong.
    pub(super) fn failed(mut self) -> Self {
        self.ok = false;
        self
    }

    /// The same, with a fact.
    pub(super) fn fact(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.facts.push((name, value.into()));
        self
    }

    /// The same, with the cause of its failure.
    pub(super) fn because(self, cause: Cause) -> Self {
        self.failed().fact("cause", cause.token())
    }
}

impl Trouble {
    /// This failure at `address`, and what was found about it. `limit`: what set the time that ran out, like
    /// `limit: health.timeout`.
    pub(super) fn of(failure: &Failure, address: &str, limit: &str, finding: Option<Finding>) -> Self {
        Self {
            cause: failure.cause,
            phase: failure.phase,
            hint: limited(&failure.explained(address, finding.as_ref()), limit),
            advice: limited(&failure.advice(address, finding.as_ref()), limit),
            command: match finding.as_ref().and_then(|finding| finding.command.clone()) {
                Some(command) => command,
                None => format!("causeway explain {}", failure.cause),
            },
            finding,
        }
    }

    /// The same, with a word of its own on what to do.
    pub(super) fn advised(mut self, advice: String) -> Self {
        self.hint = format!("{} {advice}", self.hint);
        self.advice = advice;
        self
    }
}

/// What is the matter, behind its cause: `connection_refused: nothing listens on this port`. `limit`: as in
/// [`Trouble::of`].
pub(super) fn matter(failure: &Failure, limit: &str) -> String {
    let cause = failure.cause;
    let matter = match (cause, &failure.seen) {
        (Cause::ConnectionRefused, _) => "nothing listens on this port".to_owned(),
        (Cause::HealthStatus | Cause::HealthBody, Some(seen)) => seen.clone(),
        // Its hint begins with all that is known of the size.
        (Cause::ResponseHeadTooLarge, _) => failure.matter("").trim_end_matches('.').replacen("Its ", "its ", 1),
        _ if cause.row().message.contains("{seen}") => failure.message().into_owned(),
        _ => failure.short(),
    };
    match &failure.limit {
        Some(_) if cause.row().timeout => format!("{cause}: {matter} ({limit})"),
        _ => format!("{cause}: {matter}"),
    }
}

/// The hints name the keys of traffic; here another limit may have run out.
fn limited(text: &str, limit: &str) -> String {
    ["timeouts.connect", "timeouts.tls", "timeouts.read", "timeouts.write", "timeouts.body"]
        .iter()
        .fold(text.to_owned(), |text, key| text.replace(&format!("(limit: {key})"), &format!("({limit})")))
}

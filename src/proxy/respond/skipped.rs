//! The row of an upstream that was not tried: why, since when, what had failed there, when it may go better.

use std::borrow::Cow;

use crate::cause::{Cause, Failure, capitalised};
use crate::config::problem::ascii;
use crate::health::State;
use crate::observe::told::waited;
use crate::observe::{Exchange, NotTried, Reason};

use super::command::{after_check, checked_path, dialled};
use super::overload;
use super::words::{Kind, Row, address, join, public, small};

/// `lead`: the cause that stands for the whole exchange.
pub(super) fn row_of_skip<'a>(exchange: &Exchange, skip: &'a NotTried, lead: Cause, pool: &str, full: bool) -> Row<'a> {
    let kind = Kind::NotTried(skip);
    if !full {
        return public(pool, skip.ordinal, kind);
    }
    let check = skip.trouble();
    let reason = reason(skip, exchange, lead);
    let (why, told) = check.map(|(cause, sentence)| why(skip, *cause, sentence)).unzip();
    let told: Option<String> = match (&skip.finding, &why) {
        (Some(finding), Some(why)) => told.map(|told: String| finding.behind(&capitalised(why), &told)),
        _ => told,
    };
    let by_health = matches!(skip.reason, Reason::Evicted | Reason::Unknown);
    let mut hint = match told {
        Some(told) if by_health => told,
        _ if skip.state == State::Ready && skip.reason != Reason::Busy => join("It is ready.".to_owned(), &reason),
        _ => reason.clone().into_owned(),
    };
    if by_health && let Some(chance) = next_chance(skip) {
        hint = join(hint, &chance);
    }
    Row {
        upstream: Cow::Borrowed(&skip.upstream),
        address: address(&skip.upstream, &skip.authority),
        kind,
        message: why.unwrap_or_else(|| small(reason.split(". ").next().unwrap_or_default().trim_end_matches('.'))),
        hint,
        command: after_check(skip, check),
    }
}

/// `Next one in 1.2 s.`, of checks; of an eviction by traffic, its end.
fn next_chance(skip: &NotTried) -> Option<String> {
    let end = skip.ends_in.map(|end| format!("It may be tried again in {}.", waited(end)));
    // "One" is a check where the words before are about one.
    let next = if skip.by_traffic || skip.finding.is_some() { "Next check" } else { "Next one" };
    let check = skip.next_check.map(|check| format!("{next} in {}.", waited(check)));
    let both: Vec<_> = [end, check].into_iter().flatten().collect();
    (!both.is_empty()).then(|| both.join(" "))
}

/// What to do about a failed check; an answer that is not wanted speaks for itself.
fn remedy(cause: Cause, skip: &NotTried) -> String {
    match cause {
        Cause::HealthStatus | Cause::HealthBody => String::new(),
        _ => Failure::new(cause).remedy(&dialled(&skip.upstream, &skip.authority)),
    }
}

/// `GET /healthz gives 503, wanted 200-399` → `health check GET /healthz gives …`; other facts get a colon.
fn of_check(sentence: &str) -> String {
    let sentence = sentence.strip_prefix("health check ").unwrap_or(sentence);
    if checked_path(sentence).is_some() {
        format!("health check {sentence}")
    } else {
        format!("health check: {sentence}")
    }
}

/// What failed there: as a bare fact, and as sentences with what to do.
fn why(skip: &NotTried, cause: Cause, sentence: &str) -> (String, String) {
    let who = if skip.by_traffic { "attempts failed" } else { "health check" };
    // Printable already, in so far as it came from outside; a backslash in it is one of an escape.
    let sentence = ascii(sentence).replace(&*skip.authority, &dialled(&skip.upstream, &skip.authority));
    // `connection_refused. Nothing listens there. Is the app running, …`: it says what to do itself.
    if let Some(rest) = sentence.strip_prefix(cause.token()).and_then(|rest| rest.strip_prefix(". ")) {
        let rest = small(rest);
        let remedy = Failure::new(cause).remedy(&dialled(&skip.upstream, &skip.authority));
        // Not at the first full stop: that may be one of the upstream's.
        let fact = match rest.strip_suffix(&remedy) {
            Some(fact) if !remedy.is_empty() => fact.trim_end(),
            _ => rest.split(". ").next().unwrap_or_default(),
        };
        let fact = fact.trim_end_matches(['.', '?']);
        return (format!("{who}: {fact}"), format!("{}: {rest}", capitalised(who)));
    }
    let sentence = sentence.trim_end_matches('.');
    let fact = if skip.by_traffic { format!("{who}: {sentence}") } else { of_check(sentence) };
    let stop = if fact.ends_with(['?', '!']) { "" } else { "." };
    let told = join(capitalised(&fact) + stop, &remedy(cause, skip));
    (fact, told)
}

/// Why one was not tried, where its health is not the reason. `lead`: the cause that stands for the whole exchange.
fn reason(skip: &NotTried, exchange: &Exchange, lead: Cause) -> Cow<'static, str> {
    Cow::Borrowed(match skip.reason {
        Reason::Evicted => "Its health checks or its answers fail.",
        Reason::Draining => Cause::Draining.row().hint,
        Reason::Disabled => Cause::Disabled.row().hint,
        Reason::Busy => return Cow::Owned(overload::upstream(skip.in_flight_limit)),
        Reason::Budget => {
            "So many requests of this pool had been sent again that this one was not, to spare its upstreams (limit: retry.budget). Find out why attempts fail, or raise it."
        }
        Reason::RequestSent if exchange.idempotent => "The request had been sent as often as retry.resend allows.",
        Reason::RequestSent => {
            let method = &exchange.method;
            return Cow::Owned(format!("The {method} had already been sent, and a {method} is not sent twice."));
        }
        Reason::BodyNotKept => "The request body was larger than buffers.request, so it could not be sent again.",
        Reason::Attempts => "As many upstreams had been tried as retry.attempts allows.",
        Reason::Deadline if lead == Cause::RequestTimeout => "No time was left for it: timeouts.request was over.",
        Reason::Deadline if lead == Cause::ClientTimeout => "No time was left for it: the client's own limit was over.",
        Reason::Deadline => {
            "No time was left for it: retry.deadline was over. Lower timeouts.read or raise retry.deadline."
        }
        Reason::ClientGone => "The client had gone away.",
        Reason::Unknown => "No health check has answered yet.",
        Reason::Final => "Not tried: another upstream would probably have done the same.",
    })
}

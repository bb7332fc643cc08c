//! What an annotated error says, before it has a form: heading, sentences, one row for each upstream.
//!
//! The one place that decides what a client may be told. With public detail nothing secret is ever put into a
//! [`Story`], so no form can leak it.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;

use crate::cause::{Cause, Failure, Fault, escape};
use crate::observe::told::{once, spoken, waited};
use crate::observe::{Attempt, Exchange, NotTried, Reason};

use super::command::{after_attempt, dialled, which_route};
use super::skipped::row_of_skip;
use super::verdict::Verdict;
use super::{Telling, overload};

/// Everything that the forms need.
pub(super) struct Story<'a> {
    pub(super) exchange: &'a Exchange,
    pub(super) status: StatusCode,
    pub(super) cause: Cause,
    pub(super) full: bool,
    /// `No upstream could answer`
    pub(super) heading: &'static str,
    /// `2 of 3 upstreams of pool "app" failed, 1 was not tried.`
    pub(super) detail: String,
    /// What to do, or empty.
    pub(super) hint: String,
    /// The one command to begin with.
    pub(super) command: Option<String>,
    /// `GET /orders, 5.0 s`; empty with public detail.
    pub(super) asked: String,
    /// Where something was sent, and what that means; empty if nothing was.
    pub(super) sent: String,
    /// Seconds, for a 503.
    pub(super) retry_after: u64,
    /// Attempts in order, then who was not tried.
    pub(super) rows: Vec<Row<'a>>,
}

/// One upstream.
pub(super) struct Row<'a> {
    /// Its id, or `app/1` with public detail.
    pub(super) upstream: Cow<'a, str>,
    /// `host:port`, where its id does not say so. `None` with public detail.
    pub(super) address: Option<&'a str>,
    pub(super) kind: Kind<'a>,
    /// A bare fact, no sentence. Empty with public detail.
    pub(super) message: String,
    /// Sentences. Empty with public detail.
    pub(super) hint: String,
    /// `None` with public detail.
    pub(super) command: Option<String>,
}

/// What happened to it.
pub(super) enum Kind<'a> {
    Failed(&'a Attempt, &'a Failure),
    NotTried(&'a NotTried),
}

impl Kind<'_> {
    /// `read_timeout`, `evicted`: one word for short lists.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Failed(_, failure) => failure.cause.token(),
            Self::NotTried(skip) => skip.reason.token(),
        }
    }
}

impl<'a> Story<'a> {
    /// `file`: the config's, as it can stand in a command.
    pub(super) fn new(exchange: &'a Exchange, verdict: &Verdict, telling: Telling<'_>, file: Option<&str>) -> Self {
        let full = telling.full;
        let failure = &*verdict.failure;
        let pool = exchange.pool.as_deref().unwrap_or("pool");
        let failed =
            exchange.failures().map(|(attempt, failure)| row_of_attempt(exchange, attempt, failure, pool, full));
        let skipped = exchange.not_tried.iter().map(|skip| row_of_skip(exchange, skip, failure.cause, pool, full));
        let rows: Vec<_> = failed.chain(skipped).collect();
        let upstreams_failed = match failure.cause {
            Cause::Evicted | Cause::Draining | Cause::Disabled | Cause::UpstreamBusy | Cause::QueueTimeout => true,
            Cause::RequestTimeout => !full,
            cause => verdict.attempt.is_some() && cause.row().fault != Fault::Client,
        };
        let mut story = Self {
            exchange,
            status: verdict.status,
            cause: failure.cause,
            full,
            heading: heading(verdict.status, failure.cause, full),
            detail: String::new(),
            hint: String::new(),
            command: None,
            asked: String::new(),
            sent: sent(exchange, verdict, full),
            retry_after: super::retry_after(exchange, failure),
            rows,
        };
        if upstreams_failed {
            story.of_upstreams(verdict, pool);
        } else {
            story.of_its_own(failure, telling, file);
        }
        if full {
            story.asked = format!("{} {}, {}", exchange.method, path(exchange), spoken(exchange.elapsed));
        }
        story
    }

    fn of_upstreams(&mut self, verdict: &Verdict, pool: &str) {
        let busy = self.status == StatusCode::SERVICE_UNAVAILABLE;
        let again = format!("Try again in {} s.", self.retry_after);
        if !self.full {
            self.detail = match self.status {
                StatusCode::GATEWAY_TIMEOUT => "The servers behind this site did not answer in time.",
                _ if busy => "The servers behind this site are busy.",
                _ => "The servers behind this site did not answer.",
            }
            .to_owned();
            self.hint = if busy { again } else { "Trying again later may help.".to_owned() };
            return;
        }
        self.detail = tally(self.exchange, verdict.cause(), pool);
        if busy && verdict.attempt.is_none() {
            self.hint = join(overload::pool(&verdict.failure, self.exchange, pool), &again);
            self.command = verdict.failure.command("");
            return;
        }
        let lead = verdict.attempt.and_then(|index| self.exchange.attempts.get(index));
        if let Some(attempt) = lead {
            let failure = &*verdict.failure;
            let dialled = dialled(&attempt.upstream, &attempt.authority);
            let advice = failure.advice(&dialled, attempt.finding.as_deref());
            self.hint = join(format!("Start with {dialled}: {}.", failure.short()), &advice);
            self.command = after_attempt(self.exchange, attempt, failure);
        } else if let Some(row) = self.rows.first() {
            // Its hint is a sentence of its own; after a colon it begins small.
            self.hint = format!("Start with {}: {}", row.upstream, small(&row.hint));
            self.command = row.command.clone();
        }
    }

    fn of_its_own(&mut self, failure: &Failure, telling: Telling<'_>, file: Option<&str>) {
        let Telling { allow, nearest, .. } = telling;
        let theirs = failure.cause.row().fault == Fault::Client;
        self.detail = match self.status.as_u16() {
            404 => "No route takes this address.".to_owned(),
            405 => format!("This address takes {} only.", if allow.is_empty() { "other methods" } else { allow }),
            500 => "This is a fault in causeway, not in the app. Please report it with the request id.".to_owned(),
            503 if failure.cause == Cause::ShuttingDown => "The proxy is restarting.".to_owned(),
            503 if failure.cause == Cause::ProxyBusy && !self.full => "The proxy is busy.".to_owned(),
            401 if !self.full => "This address wants a name and a password.".to_owned(),
            403 if !self.full => "You may not use this address from where you are.".to_owned(),
            429 if !self.full => "That was more requests than one client may send here.".to_owned(),
            417 => said("The only expectation that can be met is 100-continue", failure),
            421 => said("This connection was made for another host; a new one would do", failure),
            501 => said("The only transfer coding that is understood is chunked, once", failure),
            503 if failure.cause == Cause::ProxyBusy && self.full && failure.seen.is_some() => {
                said("causeway is busy", failure)
            }
            503 if failure.cause == Cause::ProxyBusy => overload::listener(failure, &self.exchange.listener),
            // The client's own doing, and its limit, are told to everybody: nothing in it is about an upstream.
            _ if theirs || self.full => once(failure.hint("the upstream"), failure),
            _ => "The proxy could not handle this request.".to_owned(),
        };
        if super::may_come_back(self.status) {
            self.hint = format!("Try again in {} s.", self.retry_after);
        } else if self.full && self.status == StatusCode::NOT_FOUND && !nearest.is_empty() {
            self.hint = format!("Nearest routes: {}", nearest.join(", "));
        }
        if self.full && !theirs {
            self.command = match failure.cause {
                Cause::NoRoute => file.and_then(|file| which_route(self.exchange, file)),
                Cause::LoopDetected => file.map(|file| format!("causeway check {file}")),
                _ => failure.command(""),
            };
        }
    }
}

/// A fact, and what was seen of it.
fn said(fact: &str, failure: &Failure) -> String {
    failure.seen.as_ref().map_or_else(|| format!("{fact}."), |seen| format!("{fact}: {seen}."))
}

/// The first 8 characters of a request id: enough to find it.
pub(super) fn short_id(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// The path as received, escaped, cut at 80 characters, without its query (which may hold secrets).
pub(super) fn path(exchange: &Exchange) -> String {
    let mut path = escape(exchange.uri.path().as_bytes());
    if path.len() > 80 {
        path.truncate(77);
        path.push_str("...");
    }
    path
}

fn heading(status: StatusCode, cause: Cause, full: bool) -> &'static str {
    match status.as_u16() {
        400 => "The request could not be understood",
        401 => "A name and a password are wanted here",
        403 => "Not for everybody",
        404 => "Nothing is routed here",
        405 => "This method is not allowed here",
        408 => "The request took too long to arrive",
        413 => "The request is too large",
        414 => "The address is too long",
        417 => "The request expects what cannot be done",
        429 => "Too many requests",
        421 => "This connection belongs to another site",
        431 => "The head of the request is too large",
        500 => "A fault in causeway",
        501 => "The request's transfer coding is not supported",
        502 if cause == Cause::LoopDetected => "The request went in a circle",
        502 if full => "No upstream could answer",
        503 if cause == Cause::ShuttingDown => "Restarting",
        503 => "Too busy right now",
        504 => "The upstreams took too long",
        _ => "This site cannot be reached right now",
    }
}

/// One that came back may have failed twice.
fn upstreams_that_failed(exchange: &Exchange) -> usize {
    let mut upstreams: Vec<_> = exchange.failures().map(|(attempt, _)| &attempt.upstream).collect();
    upstreams.sort_unstable();
    upstreams.dedup();
    upstreams.len()
}

/// `2 of 3 upstreams of pool "app" failed, 1 was not tried.`
fn tally(exchange: &Exchange, lead: Cause, pool: &str) -> String {
    let (failed, skipped) = (upstreams_that_failed(exchange), exchange.not_tried.len());
    let total = exchange.pool_size.max(failed + skipped);
    let pool = escape(pool.as_bytes());
    let was = if skipped == 1 { "was" } else { "were" };
    // Nothing else keeps a request away from evicted ones while none waits for a slot.
    let setting = exchange.not_tried.iter().any(|skip| skip.reason == Reason::Evicted);
    let forbidden = if setting && lead == Cause::Evicted { " (when_all_evicted = \"fail\")" } else { "" };
    let said = match (failed, skipped, total) {
        (0, _, 0) => format!("The pool \"{pool}\" has no upstream now: its upstreams_file lists none."),
        (0, _, 1) => format!("The only upstream of pool \"{pool}\" could not be tried{forbidden}."),
        (0, _, _) => format!("None of the {total} upstreams of pool \"{pool}\" could be tried{forbidden}."),
        (_, _, 1) => format!("The only upstream of pool \"{pool}\" failed."),
        (_, 0, _) => format!("{failed} of {total} upstreams of pool \"{pool}\" failed."),
        _ => format!("{failed} of {total} upstreams of pool \"{pool}\" failed, {skipped} {was} not tried."),
    };
    if exchange.waited.is_zero() {
        return said;
    }
    let none = if total == 1 { "it did not come" } else { "none came" };
    format!("{}, and {none} back within {} (limit: wait).", said.trim_end_matches('.'), spoken(exchange.waited))
}

fn sent(exchange: &Exchange, verdict: &Verdict, full: bool) -> String {
    let takers = exchange.failures().filter(|(_, failure)| failure.sent);
    let takers: Vec<_> = takers.map(|(attempt, _)| dialled(&attempt.upstream, &attempt.authority)).collect();
    let repeats = exchange.idempotent;
    let warning = if repeats { "" } else { "It may have taken effect there. Check before you send it again." };
    let harmless = full && !repeats && verdict.status.is_server_error() && verdict.cause() != Cause::Bug;
    match (takers.len(), full) {
        (0, _) if harmless && !exchange.sent() => "Sent to no app: it is safe to send again.".to_owned(),
        (0, _) => String::new(),
        (_, false) if repeats => String::new(),
        (_, false) => "The request may have taken effect. Check before you send it again.".to_owned(),
        (1, true) => join(format!("Sent to an app: once ({}).", takers[0]), warning),
        (many, true) => join(format!("Sent to an app: {many} times ({}).", some(&takers)), warning),
    }
}

/// At most eight names; the rest is counted.
fn some(names: &[Cow<'_, str>]) -> String {
    const MOST: usize = 8;
    match names.len().saturating_sub(MOST) {
        0 => names.join(", "),
        rest => format!("{} and {rest} more", names[..MOST].join(", ")),
    }
}

fn row_of_attempt<'a>(
    exchange: &Exchange,
    attempt: &'a Attempt,
    failure: &'a Failure,
    pool: &str,
    full: bool,
) -> Row<'a> {
    let kind = Kind::Failed(attempt, failure);
    if !full {
        return public(pool, attempt.ordinal, kind);
    }
    Row {
        upstream: Cow::Borrowed(&attempt.upstream),
        address: address(&attempt.upstream, &attempt.authority),
        kind,
        message: once(failure.message().into_owned(), failure),
        hint: once(
            failure.explained(&dialled(&attempt.upstream, &attempt.authority), attempt.finding.as_deref()),
            failure,
        ),
        command: after_attempt(exchange, attempt, failure),
    }
}

/// An upstream's address, where its id is a name.
pub(super) fn address<'a>(upstream: &str, authority: &'a str) -> Option<&'a str> {
    (upstream != authority).then_some(authority)
}

/// `app/1`: what everybody may know of an upstream.
pub(super) fn public_name(pool: &str, ordinal: usize) -> String {
    format!("{}/{ordinal}", escape(pool.as_bytes()))
}

pub(super) fn public<'a>(pool: &str, ordinal: usize, kind: Kind<'a>) -> Row<'a> {
    let upstream = Cow::Owned(public_name(pool, ordinal));
    Row { upstream, address: None, kind, message: String::new(), hint: String::new(), command: None }
}

/// A sentence as it stands behind a colon.
pub(super) fn small(text: &str) -> String {
    let mut text = text.to_owned();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    text
}

pub(super) fn join(mut text: String, more: &str) -> String {
    if !more.is_empty() {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(more);
    }
    text
}

/// `41 s ago`, for how long a state has held.
pub(super) fn ago(held: Duration) -> String {
    format!("{} ago", waited(held))
}

//! Clocks that another one always beats, and words about resending where nothing is ever resent: legal, and not what
//! their author thinks. Warnings, each with what to do.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::super::model::{Retry, Timeouts};
use super::super::read::Section;
use super::super::units::duration_text;

/// Looks at the tables `timeouts` and `retry` of a pool or a route, and at what holds with them. Only what is said in
/// these tables gets a word: a route that is stricter than its pool is no mistake.
pub(super) fn look(t: &Section<'_>, r: &Section<'_>, timeouts: &Timeouts, retry: &Retry) {
    let beaten = within_the_request(t, timeouts);
    let never = never(retry);
    if never.is_none() {
        within_the_deadline(t, r, timeouts, retry, &beaten);
    }
    resends(r, retry, never);
}

/// A part of the exchange that may take longer than the whole: which ones got their word.
fn within_the_request(t: &Section<'_>, timeouts: &Timeouts) -> Vec<&'static str> {
    let Some(request) = timeouts.request else { return Vec::new() };
    let parts = [
        ("resolve", timeouts.resolve),
        ("connect", timeouts.connect),
        ("write", timeouts.write),
        ("read", timeouts.read),
        ("body", timeouts.body),
    ];
    let mut beaten = Vec::new();
    for (key, part) in parts.into_iter().filter(|(_, part)| *part >= request) {
        let Some(place) = t.value_place(key) else { continue };
        let (part, whole) = (duration_text(part), duration_text(request));
        let whose = if t.has("request") { "" } else { " of the pool" };
        let message =
            format!("timeouts.{key} ({part}) is never reached: timeouts.request ({whole}){whose} ends it all");
        t.cx.warn(place, message, format!("lower {key}, or raise request"));
        beaten.push(key);
    }
    beaten
}

/// Waiting for one upstream until it is too late for another.
fn within_the_deadline(t: &Section<'_>, r: &Section<'_>, timeouts: &Timeouts, retry: &Retry, beaten: &[&str]) {
    let Some(deadline) = retry.deadline else { return };
    let late = |key: &str, clock: Duration| clock >= deadline && !beaten.contains(&key);
    let text = |key: &str, clock| {
        let (clock, deadline) = (duration_text(clock), duration_text(deadline));
        format!("timeouts.{key} ({clock}) is not below retry.deadline ({deadline})")
    };
    if late("read", timeouts.read) {
        let consequence = "an app that hangs uses up the whole deadline, and nothing is sent again";
        if let Some(place) = t.value_place("read") {
            t.cx.warn(place, text("read", timeouts.read), format!("{consequence}; lower read, or raise deadline"));
        } else if let Some(place) = r.value_place("deadline") {
            t.cx.warn(place, text("read", timeouts.read), format!("{consequence}; set timeouts.read below it"));
        }
    }
    if let (Some(place), true) = (t.value_place("connect"), late("connect", timeouts.connect)) {
        let hint = "after one upstream that takes no connection, nothing that was sent is sent again; lower connect";
        t.cx.warn(place, text("connect", timeouts.connect), hint);
    }
}

/// Why nothing is ever sent again, if so.
fn never(retry: &Retry) -> Option<&'static str> {
    match (retry.attempts.map(NonZeroUsize::get), retry.resend) {
        (Some(1), _) => Some("attempts = 1"),
        (_, Some(0)) => Some("resend = \"off\""),
        _ => None,
    }
}

/// Conditions of what never happens, or hardly.
fn resends(r: &Section<'_>, retry: &Retry, never: Option<&str>) {
    let said = [
        ("on_status", !retry.on_status.is_empty(), "another upstream is never asked"),
        ("idempotency_key", retry.idempotency_key, "nothing is sent again, with that key or without"),
        ("deadline", retry.deadline.is_some(), "nothing is sent again, early or late"),
        ("budget", retry.budget.is_some(), "nothing is sent again, so nothing is counted"),
    ];
    if let Some(never) = never {
        for (key, _, why) in said.iter().filter(|(_, set, _)| *set) {
            if let Some(place) = r.place_of(key) {
                r.cx.warn(place, format!("`{key}` does nothing: {never}"), *why);
            }
        }
        return;
    }
    let scant = !retry.on_status.is_empty() && retry.budget == Some(0);
    if let (Some(place), true) = (r.place_of("on_status").or_else(|| r.place_of("budget")), scant) {
        let message = "`on_status` sends on 10 requests a second at the most: budget = \"0%\"";
        r.cx.warn(place, message, "raise budget; a request above it gets the answer that is not wanted");
    }
}

//! The whole trail of a failed request, for whoever asks afterwards: the annotated error as the client had it with full
//! detail, and all that it had no room for.
//!
//! It is made here alone, from the incident and from what is known of its upstreams by now; `admin` only hands it out.
//! Nothing here asks an upstream anything.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::cause::columns::{labelled, wrap};
use crate::cause::{Cause, Finding, escape};
use crate::config::problem::ascii;
use crate::observe::access_log::protocol;
use crate::observe::exchange::EndedBy;
use crate::observe::json::millis_value;
use crate::observe::time::Utc;
use crate::observe::told::{self, spoken};
use crate::observe::{Attempt, Exchange, Incident, Outcome};
use crate::pool::{Pool, Upstream};
use crate::route::{self, Miss};

use super::Proxy;
use super::respond::{self, Annotator, Form, Telling, Verdict};

/// What the client got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Got {
    /// The annotated error.
    Error,
    /// An upstream's answer, whose end is missing.
    Part,
    /// Nothing: it went away before, or the drain cut it.
    Nothing,
}

impl Got {
    fn of(exchange: &Exchange) -> Self {
        let begun = |attempt: &Attempt| match (&attempt.outcome, &exchange.failure) {
            (Outcome::Failed(own), Some(failure)) => Arc::ptr_eq(own, failure) && attempt.head.is_some(),
            _ => false,
        };
        if matches!(exchange.status, 0 | 499) {
            Self::Nothing
        } else if exchange.answering().is_some() || exchange.attempts.iter().any(begun) {
            Self::Part
        } else {
            Self::Error
        }
    }
}

/// What is known now of an upstream that stands in an incident.
#[derive(Debug, Default)]
struct Now {
    state: Option<&'static str>,
    /// What a look has found since.
    found: Option<Arc<Finding>>,
}

impl Proxy {
    /// The trail as JSON: the fields of the annotated error, and more.
    #[must_use]
    pub fn trail(&self, incident: &Incident, now: Instant) -> Value {
        let exchange = &incident.exchange;
        let mut trail =
            self.retold(exchange, |annotator, verdict, telling| annotator.account(exchange, verdict, telling));
        let failures = exchange.failures().count();
        let told = trail.get_mut("attempts").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
        let mut told = told.into_iter().filter(|_| failures > 0);
        let attempts: Vec<_> =
            exchange.attempts.iter().map(|attempt| self.attempt(exchange, attempt, &mut told, now)).collect();
        trail.insert("attempts".into(), attempts.into());
        for (row, skip) in
            trail.get_mut("not_tried").and_then(Value::as_array_mut).into_iter().flatten().zip(&exchange.not_tried)
        {
            let cause = skip.trouble().map(|(cause, _)| (*cause, skip.by_traffic));
            let known = self.now(exchange, &skip.upstream, cause, skip.finding.as_ref(), now);
            if let Some(row) = row.as_object_mut() {
                row.insert("held_ms".into(), millis_value(skip.held_for));
                known.put(row);
            }
        }
        trail.insert("status".into(), exchange.status.into());
        if Got::of(exchange) != Got::Error {
            trail.remove("title");
        }
        trail.append(&mut self.request(incident));
        trail.into()
    }

    /// The trail as text.
    #[must_use]
    pub fn trail_text(&self, incident: &Incident, now: Instant) -> String {
        let exchange = &incident.exchange;
        let (heading, account) =
            self.retold(exchange, |annotator, verdict, telling| annotator.account_text(exchange, verdict, telling));
        let cause = exchange.failure.as_ref().map_or("", |failure| failure.cause.token());
        let mut out = match Got::of(exchange) {
            Got::Error => heading,
            Got::Part => format!("{}, then cut off: {cause}", phrase(exchange.status)),
            Got::Nothing if exchange.status == 0 => "No answer: the drain cut the connection".to_owned(),
            Got::Nothing => "499: the client went away before it had an answer".to_owned(),
        };
        let _ = write!(out, "\n\n{account}\n\nThe request\n");
        request_text(&mut out, incident);
        if !exchange.attempts.is_empty() {
            out.push_str("\nThe attempts, in order\n");
        }
        let digits = exchange.attempts.len().to_string().len();
        for (index, attempt) in exchange.attempts.iter().enumerate() {
            let cause = failure(attempt).map(|cause| (cause, true));
            let known = self.now(exchange, &attempt.upstream, cause, attempt.finding.as_ref(), now);
            let (number, upstream) = (index + 1, escape(attempt.upstream.as_bytes()));
            let indent = digits + 4;
            let state = known.state.map_or_else(String::new, |state| format!(" Now it is {state}."));
            let line = format!("{upstream}: {}.{state}", course(attempt));
            wrap(&mut out, &format!("  {number:>digits$}  "), indent, &line);
            if let Outcome::Failed(failure) = &attempt.outcome {
                let whole = told::whole(failure);
                if whole != told::once(failure.message().into_owned(), failure) {
                    wrap(&mut out, &" ".repeat(indent), indent, &ascii(&whole));
                }
            }
            known.text(&mut out, indent);
        }
        for (count, what) in
            [(incident.omitted.attempts, "attempts"), (incident.omitted.not_tried, "rows of those not tried")]
        {
            if count > 0 {
                let _ = writeln!(out, "  And {count} more {what}, which are not kept.");
            }
        }
        self.since_then(&mut out, exchange, now);
        out
    }

    /// As it was told to the client, or would have been, with all detail.
    fn retold<T>(&self, exchange: &Exchange, tell: impl FnOnce(&Annotator, &Verdict, Telling<'_>) -> T) -> T {
        let judged = respond::verdict(exchange);
        // Of rows that are not kept the verdict knows nothing; what the client got is in the record.
        let status = StatusCode::from_u16(exchange.status).ok().filter(|_| Got::of(exchange) == Got::Error);
        let verdict = Verdict { status: status.unwrap_or(judged.status), ..judged };
        let host = exchange.host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or_default();
        let (mut allow, mut nearest) = (String::new(), Vec::new());
        if verdict.cause() == Cause::NoRoute {
            nearest = self.routes.nearest(host);
            let path = route::normal(exchange.uri.path()).unwrap_or_default();
            let miss = self.routes.find((!host.is_empty()).then_some(host), &path, &exchange.method);
            if let Err(Miss::Method(allowed)) = miss {
                allow = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
            }
        }
        let telling = Telling { allow: &allow, nearest: &nearest, ..Telling::new(Form::Json, true) };
        tell(&self.annotator, &verdict, telling)
    }

    /// An attempt: what the client was told of it (the next of `told`, if it failed), and its times.
    fn attempt(
        &self,
        exchange: &Exchange,
        attempt: &Attempt,
        told: &mut impl Iterator<Item = Value>,
        now: Instant,
    ) -> Value {
        let mut row = Map::new();
        match &attempt.outcome {
            Outcome::Failed(failure) => {
                if let Some(Value::Object(told)) = told.next() {
                    row = told;
                }
                row.insert("full_message".into(), told::whole(failure).into());
            }
            Outcome::Answered(status) => {
                row.insert("upstream".into(), (*attempt.upstream).into());
                if attempt.upstream != attempt.authority {
                    row.insert("address".into(), (*attempt.authority).into());
                }
                row.insert("status".into(), (*status).into());
                row.insert("elapsed_ms".into(), millis_value(attempt.elapsed));
            }
        }
        row.insert("reused".into(), attempt.reused.into());
        let times = [("connect_ms", attempt.connect), ("head_ms", attempt.head), ("body_ms", attempt.body())];
        for (name, time) in times {
            if let Some(time) = time {
                row.insert(name.into(), millis_value(time));
            }
        }
        let cause = failure(attempt).map(|cause| (cause, true));
        self.now(exchange, &attempt.upstream, cause, attempt.finding.as_ref(), now).put(&mut row);
        row.into()
    }

    /// What the annotated error does not say of the request.
    fn request(&self, incident: &Incident) -> Map<String, Value> {
        let exchange = &incident.exchange;
        let text = |field: &Option<http::HeaderValue>| {
            field.as_ref().map(|field| String::from_utf8_lossy(field.as_bytes()).into_owned())
        };
        let mut more = json!({
            "sequence": incident.sequence,
            "time": Utc::from(exchange.at).millis().to_string(),
            "method": exchange.method.as_str(),
            "host": text(&exchange.host),
            "uri": exchange.uri.to_string(),
            "uri_omitted": incident.omitted.target,
            "protocol": protocol(exchange.version),
            "client": exchange.client.ip().to_string(),
            "listener": &*exchange.listener,
            "user_agent": text(&exchange.user_agent),
            "bytes_in": exchange.bytes_in,
            "bytes_out": exchange.bytes_out,
            "waited_ms": millis_value(exchange.waited),
            "first_check_ms": millis_value(exchange.waits.first_check),
            "queued_ms": millis_value(exchange.waits.slot),
            "ended_by": exchange.ended_by.token(),
            "cut": Got::of(exchange) == Got::Part,
            "pool_size": exchange.pool_size,
            "attempts_omitted": incident.omitted.attempts,
            "not_tried_omitted": incident.omitted.not_tried,
        });
        more.as_object_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The upstream that had this id then, if it is there still.
    fn member(&self, exchange: &Exchange, id: &str) -> Option<(&Pool, Arc<Upstream>)> {
        let name = exchange.pool.as_deref()?;
        let pool = self.pools.iter().find(|pool| *pool.config.name == *name)?;
        let upstream = pool.members().iter().find(|upstream| *upstream.id == *id).cloned()?;
        Some((pool, upstream))
    }

    /// `cause`: of the failure, and whether a request met it.
    fn now(
        &self,
        exchange: &Exchange,
        id: &str,
        cause: Option<(Cause, bool)>,
        told: Option<&Arc<Finding>>,
        now: Instant,
    ) -> Now {
        let Some((pool, upstream)) = self.member(exchange, id) else { return Now::default() };
        let found =
            cause.and_then(|(cause, by_traffic)| upstream.insight.of(pool.asker(&upstream, by_traffic)?, cause, now));
        let found = found.filter(|found| told.is_none_or(|told| told.sentence != found.sentence));
        Now { state: Some(upstream.health.state().token()), found }
    }

    /// How those are now that were not tried.
    fn since_then(&self, out: &mut String, exchange: &Exchange, now: Instant) {
        let mut first = true;
        for skip in &exchange.not_tried {
            let cause = skip.trouble().map(|(cause, _)| (*cause, skip.by_traffic));
            let known = self.now(exchange, &skip.upstream, cause, skip.finding.as_ref(), now);
            let Some(state) = known.state else { continue };
            if std::mem::take(&mut first) {
                out.push_str("\nThose not tried, as they are now\n");
            }
            let _ = writeln!(out, "  {}: {state}", escape(skip.upstream.as_bytes()));
            if let Some(found) = &known.found {
                wrap(out, "    ", 4, &found.sentence);
            }
        }
    }
}

impl Now {
    fn put(&self, row: &mut Map<String, Value>) {
        if let Some(state) = self.state {
            row.insert("state_now".into(), state.into());
        }
        if let Some(found) = &self.found {
            row.insert("found_later".into(), found.sentence.clone().into());
            for (name, text) in [("write", &found.write), ("command_now", &found.command)] {
                if let Some(text) = text {
                    row.insert(name.into(), text.clone().into());
                }
            }
        }
    }

    fn text(&self, out: &mut String, indent: usize) {
        let lead = " ".repeat(indent);
        if let Some(found) = &self.found {
            wrap(out, &lead, indent, &format!("Found since then: {}", found.sentence));
            if let Some(write) = &found.write {
                let _ = writeln!(out, "{lead}  {write}");
            }
            if let Some(command) = &found.command {
                let _ = writeln!(out, "{lead}Next: {command}");
            }
        }
    }
}

fn request_text(out: &mut String, incident: &Incident) {
    let Incident { exchange, omitted, sequence } = incident;
    let field =
        |field: &Option<http::HeaderValue>| field.as_ref().map_or_else(String::new, |field| escape(field.as_bytes()));
    let mut target = escape(exchange.uri.to_string().as_bytes());
    if omitted.target > 0 {
        let _ = write!(target, "... ({} bytes more)", omitted.target);
    }
    labelled(out, "Asked", &format!("{} {target}", exchange.method));
    let host = field(&exchange.host);
    labelled(out, "Host", if host.is_empty() { "none was sent" } else { &host });
    let agent = exchange.user_agent.as_ref().map_or_else(String::new, |_| format!("; {}", field(&exchange.user_agent)));
    labelled(out, "Client", &format!("{}{agent}", exchange.client.ip()));
    let listener = escape(exchange.listener.as_bytes());
    labelled(out, "Listener", &format!("{listener}, {}", protocol(exchange.version)));
    if let Some(route) = &exchange.route {
        labelled(out, "Route", &escape(route.as_bytes()));
    }
    if let Some(pool) = &exchange.pool {
        labelled(out, "Pool", &escape(pool.as_bytes()));
    }
    labelled(
        out,
        "Began",
        &format!("{} UTC", Utc::from(exchange.at).millis().to_string().replace('T', " ").trim_end_matches('Z')),
    );
    let by = match exchange.ended_by {
        EndedBy::Upstream => "the upstream",
        EndedBy::Proxy => "causeway",
        EndedBy::Client => "the client",
    };
    labelled(out, "Ended", &format!("after {}, by {by}", spoken(exchange.elapsed)));
    for (waited, what) in [
        (exchange.waits.first_check, "the first result of a health check (health.timeout at the most)"),
        (exchange.waits.slot, "a slot of an upstream (limits.queue_timeout at the most)"),
        (exchange.waited, "an upstream to come back (wait)"),
    ] {
        if !waited.is_zero() {
            labelled(out, "Waited", &format!("{} for {what}", spoken(waited)));
        }
    }
    let bytes = format!(
        "{} of the request's body read, {} of the answer's body written",
        exchange.bytes_in, exchange.bytes_out
    );
    labelled(out, "Bytes", &bytes);
    labelled(out, "Id", &format!("{}, number {sequence} since the start", exchange.request_id));
}

/// `a new connection in 0.2 ms, failed in head after 5.0 s: read_timeout, something was sent`
fn course(attempt: &Attempt) -> String {
    let mut course = match (attempt.reused, attempt.connect) {
        (true, _) => "on a kept connection".to_owned(),
        (false, Some(took)) => format!("a new connection in {}", spoken(took)),
        (false, None) => "no connection".to_owned(),
    };
    if let Some(head) = attempt.head {
        let _ = write!(course, ", the response head {} later", spoken(head));
    }
    let elapsed = spoken(attempt.elapsed);
    let _ = match &attempt.outcome {
        Outcome::Answered(status) => write!(course, ", answered {status}, over after {elapsed}"),
        Outcome::Failed(failure) => {
            let sent = if failure.sent { "something" } else { "nothing" };
            let (phase, cause) = (failure.phase.token(), failure.cause);
            write!(course, ", failed in {phase} after {elapsed}: {cause}, {sent} was sent")
        }
    };
    if attempt.last_resort {
        course.push_str(", as a last resort");
    }
    course
}

fn failure(attempt: &Attempt) -> Option<Cause> {
    match &attempt.outcome {
        Outcome::Failed(failure) => Some(failure.cause),
        Outcome::Answered(_) => None,
    }
}

fn phrase(status: u16) -> String {
    let phrase = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    phrase.map_or_else(|| status.to_string(), |phrase| format!("{status} {phrase}"))
}

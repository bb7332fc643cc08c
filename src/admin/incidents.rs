//! The requests that failed of late: `/api/incidents`, and one with its whole trail under `/api/incidents/ID` (CONTRACT
//! §6).

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::cause::columns::wrap;
use crate::cause::{Cause, escape};
use crate::config::problem::ascii;
use crate::observe::incidents::{self, ENOUGH, Standing};
use crate::observe::json::millis_value;
use crate::observe::time::Utc;
use crate::observe::{Exchange, Incident, Incidents, told};
use crate::pool::Pool;
use crate::proxy::Proxy;
use crate::proxy::respond::Form;

use super::answer::{Answer, Refusal, document, text};
use super::ready::decoded;

/// Rows of a list, unless `limit` says otherwise.
const ROWS: usize = 100;
/// With the same id, so many are told whole; of those before there is a line each.
const WHOLE: usize = 10;
/// Characters of an id, ours or a trusted peer's (CONTRACT §4).
const LONGEST: usize = 128;
/// Upstreams that a line names.
const NAMED: usize = 4;

/// The list, the newest first. `query`: `limit=`, `cause=`, `pool=`; others mean nothing here.
pub(super) fn list(incidents: &Incidents, pools: &[Arc<Pool>], query: &str) -> Result<Answer, Refusal> {
    let (mut limit, mut cause, mut pool) = (ROWS, None, None);
    for (key, value) in query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))) {
        match (key, decoded(value)) {
            ("limit", value) => limit = limit_of(&value)?,
            ("cause", value) => cause = Some(cause_of(&value)?),
            ("pool", value) => pool = Some(pool_of(pools, value)?),
            _ => {}
        }
    }
    let wanted = |exchange: &Exchange| {
        let leads = exchange.failure.as_ref().map(|failure| failure.cause);
        cause.is_none_or(|cause| leads == Some(cause))
            && pool.as_ref().is_none_or(|pool| exchange.pool.as_deref() == Some(pool))
    };
    let rows: Vec<_> = incidents
        .all()
        .iter()
        .filter(|incident| wanted(&incident.exchange))
        .take(limit)
        .map(|incident| row(incident))
        .collect();
    let Standing { kept, recorded, since } = incidents.standing();
    let since = since.map(|since| Utc::from(since).seconds().to_string());
    Ok(document(&json!({ "kept": kept, "recorded": recorded, "since": since, "incidents": rows })))
}

/// One by its id or the beginning of it, whole: as text where that is wanted, else as JSON. Of several the newest
/// leads, and the others follow.
pub(super) fn one(proxy: &Proxy, id: &str, fields: &HeaderMap) -> Result<Answer, Refusal> {
    let id = decoded(id);
    let found = proxy.incidents().find(&id);
    let Some((newest, earlier)) = found.split_first() else {
        return Err((StatusCode::NOT_FOUND, nobody(&id, proxy.incidents().standing())));
    };
    let now = Instant::now();
    let (whole, rest) = earlier.split_at(earlier.len().min(WHOLE - 1));
    if Form::of(fields) == Form::Text {
        let mut all = proxy.trail_text(newest, now);
        for (index, incident) in whole.iter().enumerate() {
            let _ = write!(all, "\n---- {} of {} with this id, an earlier one ----\n\n", index + 2, found.len());
            all.push_str(&proxy.trail_text(incident, now));
        }
        for (index, incident) in rest.iter().enumerate() {
            let lead = if index == 0 { "\n---- earlier still ----\n\n" } else { "" };
            let (time, status) = (Utc::from(incident.exchange.at).plain(), incident.exchange.status);
            wrap(&mut all, lead, 2, &format!("{time}: {status}, {}", ascii(&summary(incident))));
        }
        return Ok(text(StatusCode::OK, all));
    }
    let mut trail = proxy.trail(newest, now);
    if let Some(trail) = trail.as_object_mut().filter(|_| !earlier.is_empty()) {
        let whole = whole.iter().map(|incident| proxy.trail(incident, now));
        let earlier: Vec<_> = whole.chain(rest.iter().map(|incident| row(incident))).collect();
        trail.insert("earlier".into(), earlier.into());
    }
    Ok(document(&trail))
}

fn row(incident: &Incident) -> Value {
    let exchange = &incident.exchange;
    json!({
        "id": &*exchange.request_id,
        "sequence": incident.sequence,
        "time": Utc::from(exchange.at).millis().to_string(),
        "status": exchange.status,
        "cause": exchange.failure.as_ref().map(|failure| failure.cause.token()),
        "method": exchange.method.as_str(),
        "host": exchange.host.as_ref().map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned()),
        "path": exchange.uri.path(),
        "route": exchange.route.as_deref(),
        "pool": exchange.pool.as_deref(),
        "elapsed_ms": millis_value(exchange.elapsed),
        "summary": summary(incident),
    })
}

/// `127.0.0.1:3000 connection_refused, 127.0.0.1:3002 not tried: evicted`, else what the failure was.
fn summary(incident: &Incident) -> String {
    let exchange = &incident.exchange;
    let failed = exchange.failures().map(|(attempt, failure)| format!("{} {}", attempt.upstream, failure.cause));
    let skipped = exchange.not_tried.iter().map(|skip| format!("{} not tried: {}", skip.upstream, skip.reason.token()));
    let rows: Vec<_> = failed.chain(skipped).collect();
    let more = rows.len().saturating_sub(NAMED) + incident.omitted.attempts + incident.omitted.not_tried;
    match (&exchange.failure, more) {
        (Some(failure), _) if rows.is_empty() => told::once(failure.message().into_owned(), failure),
        (_, 0) => rows.join(", "),
        _ => format!("{} and {more} more", rows[..rows.len().min(NAMED)].join(", ")),
    }
}

fn limit_of(text: &str) -> Result<usize, Refusal> {
    let most = incidents::MOST + incidents::MOST_OF_CLIENTS;
    let limit = text.parse().ok().filter(|limit| (1..=most).contains(limit));
    limit.ok_or_else(|| (StatusCode::BAD_REQUEST, format!("limit is a number from 1 to {most}.")))
}

fn cause_of(text: &str) -> Result<Cause, Refusal> {
    let cause = Cause::ALL.iter().find(|cause| cause.token() == text);
    let unknown = || format!("No cause is called {}. `causeway explain` lists them all.", escape(text.as_bytes()));
    cause.copied().ok_or_else(|| (StatusCode::BAD_REQUEST, unknown()))
}

fn pool_of(pools: &[Arc<Pool>], name: String) -> Result<String, Refusal> {
    if pools.iter().any(|pool| *pool.config.name == *name) {
        return Ok(name);
    }
    let known: Vec<_> = pools.iter().map(|pool| &*pool.config.name).collect();
    let name = escape(name.as_bytes());
    Err((StatusCode::NOT_FOUND, format!("There is no pool {name}. Known here: {}.", known.join(", "))))
}

fn nobody(id: &str, standing: Standing) -> String {
    let short = match id.chars().count() {
        0..ENOUGH => format!(" At least {ENOUGH} characters of it are needed."),
        _ => String::new(),
    };
    // What is longer is no id of anything: there is no need to repeat all of it.
    let cut = id.char_indices().nth(LONGEST).map_or(id, |(end, _)| &id[..end]);
    let dots = if cut.len() < id.len() { "..." } else { "" };
    let id = escape(cut.as_bytes());
    let kept = match standing {
        Standing { since: Some(since), kept, .. } => {
            let are = if kept == 1 { "1 is kept".to_owned() } else { format!("{kept} are kept") };
            format!("{are}, the oldest of {}", Utc::from(since).plain())
        }
        Standing { .. } => "None has failed since causeway was started".to_owned(),
    };
    format!("No failed request has an id that begins with {id}{dots}.{short} {kept}. The access log has those before.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_nobody_is_told_so_in_a_few_words() {
        let none = Standing { kept: 0, recorded: 0, since: None };
        let wide = "\u{fc}".repeat(ENOUGH - 1);
        assert!(nobody(&wide, none).contains("At least 8 characters"), "bytes are no characters");
        assert!(!nobody("4f6c2a91", none).contains("At least"));
        let long = nobody(&"\u{1b}x".repeat(5000), none);
        assert!(long.len() < 1000 && long.is_ascii() && !long.contains('\u{1b}') && long.contains("..."), "{long}");
    }
}

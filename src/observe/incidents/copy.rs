//! A copy of a record that lives on: cut to bounds, in memory of its own, and how much of that there is.
//!
//! What is shared with others (names of the pool, failures, findings) is shared only while it is small.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Uri};

use crate::cause::{Failure, Finding, Oversize};

use super::super::exchange::{Attempt, Exchange, NotTried, Outcome};
use super::{Incident, Omitted};

/// Bytes of a target.
const TARGET: usize = 1024;
/// Bytes of a host and of a user agent.
const FIELD: usize = 256;
/// Bytes of a method.
const METHOD: usize = 64;
/// Rows of attempts, and rows of those not tried.
const ROWS: usize = 64;
/// Bytes of a sentence.
const SENTENCE: usize = 512;
/// What an allocation costs besides its bytes, and the two counts of an `Arc`.
const EACH: usize = 32;

/// The copy. It ends where the record was: an exchange that has ended.
pub(super) fn of(exchange: &Exchange, sequence: u64) -> Incident {
    let (uri, target) = target(&exchange.uri);
    let attempts: Vec<_> = exchange.attempts.iter().take(ROWS).map(attempt).collect();
    let failure = exchange.failure.as_ref().map(|failure| lead(exchange, &attempts, failure));
    let began = (exchange.started, exchange.at);
    let mut copy = Exchange::new(exchange.request_id.clone(), exchange.client, Arc::clone(&exchange.listener), began);
    copy.method = method(&exchange.method);
    copy.uri = uri;
    copy.host = exchange.host.as_ref().map(field);
    copy.version = exchange.version;
    copy.user_agent = exchange.user_agent.as_ref().map(field);
    copy.trace_id = exchange.trace_id;
    copy.route = exchange.route.clone();
    copy.pool = exchange.pool.clone();
    copy.pool_size = exchange.pool_size;
    copy.attempts = attempts;
    copy.not_tried = exchange.not_tried.iter().take(ROWS).map(not_tried).collect();
    copy.idempotent = exchange.idempotent;
    copy.status = exchange.status;
    copy.failure = failure;
    copy.bytes_in = exchange.bytes_in;
    copy.bytes_out = exchange.bytes_out;
    copy.elapsed = exchange.elapsed;
    copy.ended_by = exchange.ended_by;
    copy.waited = exchange.waited;
    copy.waits = exchange.waits;
    copy.kept = exchange.kept;
    copy.logged = exchange.logged;
    let omitted = Omitted {
        attempts: exchange.attempts.len().saturating_sub(ROWS),
        not_tried: exchange.not_tried.len().saturating_sub(ROWS),
        target,
    };
    Incident { sequence, exchange: copy, omitted }
}

/// Bytes that an incident takes, at the most: what is shared counts as if it were its own.
pub(super) fn weight(incident: &Incident) -> usize {
    let exchange = &incident.exchange;
    let field = |field: &Option<HeaderValue>| field.as_ref().map_or(0, |field| field.len() + EACH);
    let names = [&exchange.route, &exchange.pool].into_iter().flatten().map(|name| name.len()).sum::<usize>();
    let uri = exchange.uri.path().len()
        + exchange.uri.query().map_or(0, str::len)
        + exchange.uri.authority().map_or(0, |authority| authority.as_str().len());
    size_of::<Incident>()
        + exchange.request_id.len()
        + exchange.method.as_str().len()
        + (names + uri + 8 * EACH)
        + field(&exchange.host)
        + field(&exchange.user_agent)
        + exchange.failure.as_deref().map_or(0, of_failure)
        + exchange.attempts.iter().map(of_attempt).sum::<usize>()
        + exchange.not_tried.iter().map(of_skip).sum::<usize>()
}

fn of_attempt(attempt: &Attempt) -> usize {
    let outcome = match &attempt.outcome {
        Outcome::Failed(failure) => of_failure(failure),
        Outcome::Answered(_) => 0,
    };
    let names = attempt.upstream.len() + attempt.authority.len() + 2 * EACH;
    size_of::<Attempt>() + names + outcome + attempt.finding.as_deref().map_or(0, of_finding)
}

fn of_skip(skip: &NotTried) -> usize {
    let names = skip.upstream.len() + skip.authority.len() + 2 * EACH;
    let said = skip.last_failure.as_ref().map_or(0, |(_, said)| said.capacity() + EACH);
    size_of::<NotTried>() + names + said + skip.finding.as_deref().map_or(0, of_finding)
}

/// What the system said is an error number or a sentence of ours.
fn of_failure(failure: &Failure) -> usize {
    let texts = [&failure.limit, &failure.seen].into_iter().flatten().map(|text| text.capacity() + EACH).sum::<usize>();
    let largest = failure.oversize.as_ref().and_then(|oversize| oversize.largest.as_ref());
    let oversize = largest.map_or(0, |(name, _)| size_of::<Oversize>() + name.capacity() + 2 * EACH);
    let behind = failure.behind.as_ref().map_or(0, |members| members.len() + EACH);
    size_of::<Failure>() + texts + oversize + behind + failure.source.as_ref().map_or(0, |_| 4 * EACH) + EACH
}

fn of_finding(finding: &Finding) -> usize {
    let more = [&finding.write, &finding.command].into_iter().flatten().map(|text| text.capacity() + EACH);
    size_of::<Finding>() + finding.sentence.capacity() + more.sum::<usize>() + 2 * EACH
}

/// In a buffer of its own, and how many bytes it had more.
fn target(uri: &Uri) -> (Uri, usize) {
    let whole;
    let text = match uri.path_and_query() {
        Some(target) if uri.scheme().is_none() && uri.authority().is_none() => target.as_str(),
        _ => {
            whole = uri.to_string();
            &whole
        }
    };
    let kept = &text[..text.floor_char_boundary(TARGET)];
    let copy = Uri::from_maybe_shared(Bytes::copy_from_slice(kept.as_bytes()));
    (copy.unwrap_or_default(), text.len() - kept.len())
}

fn method(method: &Method) -> Method {
    let name = method.as_str();
    if name.len() <= METHOD {
        method.clone()
    } else {
        Method::from_bytes(&name.as_bytes()[..METHOD]).unwrap_or_default()
    }
}

fn field(field: &HeaderValue) -> HeaderValue {
    let bytes = field.as_bytes();
    HeaderValue::from_bytes(&bytes[..bytes.len().min(FIELD)]).unwrap_or(HeaderValue::from_static(""))
}

fn attempt(attempt: &Attempt) -> Attempt {
    let mut copy = attempt.clone();
    if let Outcome::Failed(failure) = &mut copy.outcome
        && let Some(small) = cut_failure(failure)
    {
        *failure = Arc::new(small);
    }
    copy.finding = copy.finding.map(finding);
    copy
}

fn not_tried(skip: &NotTried) -> NotTried {
    let mut copy = skip.clone();
    if let Some((_, said)) = &mut copy.last_failure {
        cut(said);
    }
    copy.finding = copy.finding.map(finding);
    copy
}

/// The failure that ended it all: where it is an attempt's, the copy's own.
fn lead(exchange: &Exchange, attempts: &[Attempt], failure: &Arc<Failure>) -> Arc<Failure> {
    let is = |attempt: &Attempt| matches!(&attempt.outcome, Outcome::Failed(own) if Arc::ptr_eq(own, failure));
    match exchange.attempts.iter().position(is).and_then(|at| attempts.get(at)).map(|attempt| &attempt.outcome) {
        Some(Outcome::Failed(own)) => Arc::clone(own),
        _ => cut_failure(failure).map_or_else(|| Arc::clone(failure), Arc::new),
    }
}

/// A smaller one, where it is too large to be shared. What the system said goes then: it cannot be copied.
fn cut_failure(failure: &Failure) -> Option<Failure> {
    let long = |text: &Option<String>| text.as_ref().is_some_and(|text| text.capacity() > 2 * SENTENCE);
    let largest = failure.oversize.as_ref().and_then(|oversize| oversize.largest.as_ref());
    if !long(&failure.limit) && !long(&failure.seen) && largest.is_none_or(|(name, _)| name.capacity() <= 2 * FIELD) {
        return None;
    }
    let mut copy = Failure::new(failure.cause).in_phase(failure.phase).sent(failure.sent);
    copy.limit = failure.limit.as_deref().map(shortened);
    copy.seen = failure.seen.as_deref().map(shortened);
    copy.oversize = failure.oversize.clone();
    if let Some((name, _)) = copy.oversize.as_mut().and_then(|oversize| oversize.largest.as_mut()) {
        cut(name);
    }
    (copy.status, copy.received, copy.alert) = (failure.status, failure.received, failure.alert);
    Some(copy)
}

fn finding(finding: Arc<Finding>) -> Arc<Finding> {
    let long = |text: &String| text.capacity() > 2 * SENTENCE;
    if !long(&finding.sentence) && ![&finding.write, &finding.command].into_iter().flatten().any(long) {
        return finding;
    }
    // A line or a command that is cut does something else.
    let whole = |text: &Option<String>| text.clone().filter(|text| !long(text));
    Arc::new(Finding {
        sentence: shortened(&finding.sentence),
        write: whole(&finding.write),
        command: whole(&finding.command),
        ..*finding
    })
}

fn shortened(text: &str) -> String {
    let mut text = text.to_owned();
    cut(&mut text);
    text
}

/// Cut, with a mark, and in memory that is no larger.
fn cut(text: &mut String) {
    if text.len() > SENTENCE {
        text.truncate(text.floor_char_boundary(SENTENCE));
        text.push_str("...");
    }
    text.shrink_to_fit();
}

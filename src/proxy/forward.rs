//! The attempt loop: pick, attempt, report, judge.
//!
//! While nothing was sent, every upstream gets its turn; after that, only what may be resent. The loop holds no lock
//! and buffers no body ([`replay`](super::replay) keeps what was taken); what it waits for is in
//! [`waiting`](super::waiting).

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Response, Uri, header, uri};

use crate::cause::{self, Cause, Failure};
use crate::config::model::{Balance, Forward, Route};
use crate::health::State;
use crate::listen::RequestBody;
use crate::memory;
use crate::observe::Reason;
use crate::pool::pick::{Belongs, Choice, Next};
use crate::pool::{Pool, balance};
use crate::route;

use super::affinity;
use super::attempt::{Answer, Setting};
use super::body::Body;
use super::deadline::Deadline;
use super::headers::to_client;
use super::record::Open;
use super::replay::{Replay, too_large};
use super::respond::PROXY_STATUS;
use super::retry::{Tally, Verdict};
use super::waiting::Patience;
use super::{Asked, Service, upgrade};

/// Forwards one request to a pool: an upstream's answer, or the annotated error.
pub(super) async fn forward(
    service: &Service,
    mut open: Box<Open>,
    asked: &Asked<'_>,
    body: &mut RequestBody,
    route: &Route,
    forward: &Forward,
) -> Response<Body> {
    let pool = &service.proxy.pools[forward.pool];
    open.exchange.pool = Some(Arc::clone(&pool.config.name));
    let target = match target(asked, route, forward, body) {
        Ok(target) => target,
        Err(failure) => return service.refuse(open, asked, failure),
    };
    let body = std::mem::replace(body, RequestBody::none(Duration::ZERO));
    let replay =
        Replay::new(body, pool.config.buffers.request, route.max_body.map(|max| (max, Arc::clone(&route.name))));
    open.body = Some(replay.clone());
    let setting = Setting {
        service,
        asked,
        forward,
        pool,
        started: open.exchange.started,
        target: &target,
        prefix: forward.replace_prefix.as_ref().map(|_| route.path.as_str()),
        rules: route.layers.as_ref().map(|layers| &layers.request_headers).filter(|rules| !rules.is_empty()),
        replay: &replay,
        idempotent: open.exchange.idempotent
            || (forward.retry.idempotency_key && asked.parts.headers.contains_key("idempotency-key")),
        end: Deadline::of(asked.parts, forward.timeouts.request, open.exchange.started),
    };
    open.exchange.idempotent = setting.idempotent;
    open.pool = forward.pool;
    if forward.retry.budget.is_some() {
        pool.budget.request(setting.started);
    }
    let (mut choice, mut patience) =
        (Choice::new(pool).belonging(belongs(asked, pool)), Patience::new(setting.started));
    let (mut tally, mut kept) = (Tally::default(), None);
    let stop = loop {
        // 1. pick
        let pick = match patience.next(&setting, &mut choice) {
            Next::Try(pick) => pick,
            // Rare, and as large as all the rest.
            other => {
                let picked = Box::pin(patience.pick(other, &setting, &mut choice, &mut tally)).await;
                open.exchange.waits = patience.waits;
                match picked {
                    Ok(pick) => pick,
                    Err(_) if patience.once_more(&setting, &mut choice, &mut tally) => continue,
                    Err(stop) => break stop,
                }
            }
        };

        // 2. attempt
        tally.attempts += 1;
        tally.resends += usize::from(tally.sent);
        let paid = tally.sent;
        // The first attempt begins with the request, which saves a look at the clock; unless a layer may have waited, for
        // a password.
        let first = open.exchange.attempts.is_empty() && !patience.waited && route.layers.is_none();
        let began = if first { open.exchange.started } else { Instant::now() };
        let running = open.begin(pick, began);
        let failure = match setting.attempt(running, &choice, tally).await {
            Ok(answer) if setting.sends_on(&answer, &choice, tally) => {
                let now = Instant::now();
                kept = Some(open.keep(answer, now));
                tally.sent = true;
                patience.has_answer(now);
                continue;
            }
            Ok(answer) => {
                open.answered(&answer, Instant::now());
                return answered(&setting, open, answer);
            }
            Err(failure) => {
                if failure.cause == Cause::StaleConnection {
                    patience.died(&running.pick.upstream);
                }
                replay.failure().map_or(failure, |own| own.sent(running.progress.sent()))
            }
        };

        // 3. report
        let now = Instant::now();
        let failure = open.failed(failure, now);
        if paid && !failure.sent && forward.retry.budget.is_some() {
            pool.budget.give_back(now);
        }
        // Who refuses our certificate has read nothing of what followed it. Other alerts may come in the midst of the
        // work.
        tally.sent |= failure.sent && !failure.alert.is_some_and(cause::alert::refuses_certificate);
        patience.failed(now);

        // 4. judge
        if failure.cause.row().fault == cause::Fault::Client {
            let reason = match failure.cause {
                Cause::ClientClosed => Reason::ClientGone,
                Cause::ClientTimeout if setting.overdue_now() => Reason::Deadline,
                _ => Reason::Final,
            };
            left_over(&mut open, pool, &choice, reason, now);
            return service.annotate(open, asked, failure);
        }
        if failure.cause == Cause::ProxyBusy {
            // Memory is short, and its body had to go: no upstream has to do with it.
            left_over(&mut open, pool, &choice, Reason::Final, now);
            return service.refuse(open, asked, memory::refusal());
        }
        match setting.verdict(&failure, &choice, &tally, now) {
            Verdict::Next => {}
            Verdict::Stop(_) if failure.cause == Cause::RequestTimeout => break Reason::Deadline.into(),
            Verdict::Stop(Reason::Attempts) if patience.once_more(&setting, &mut choice, &mut tally) => {}
            Verdict::Stop(Reason::Attempts) if patience.outlasts(pool, &choice) => {}
            Verdict::Stop(reason) => break reason.into(),
        }
    };
    if let Some(kept) = kept.filter(|kept| kept.complete() || !setting.overdue_now()) {
        let answer = open.passes(*kept);
        return answered(&setting, open, answer);
    }
    left_over(&mut open, pool, &choice, stop.reason, Instant::now());
    open.exchange.waited = tally.waited;
    open.exchange.failure = stop.failure.map(Arc::new);
    service.gave_up(open, asked, service.telling(asked))
}

/// Who got no turn, and why: the state of each, where that alone is a reason; else what ended the tries.
fn left_over(open: &mut Open, pool: &Pool, choice: &Choice, stopped: Reason, now: Instant) {
    open.exchange.pool_size = choice.members().len();
    let why = |state: State| match (state, stopped) {
        (State::Draining, _) => Reason::Draining,
        (State::Disabled, _) => Reason::Disabled,
        (State::Evicted, _) if !pool.config.last_resort => Reason::Evicted,
        (State::Evicted, Reason::Busy) => Reason::Evicted,
        (State::Unknown, Reason::Evicted | Reason::Busy) => Reason::Unknown,
        (State::Ready | State::Unknown | State::Evicted, _) => stopped,
    };
    open.not_tried(choice.untried().map(|upstream| (upstream, why(upstream.health.state()))), now);
}

/// The target as the upstream sees it, in origin form; and the last bounds that need the route.
fn target<'a>(
    asked: &Asked<'a>,
    route: &Route,
    forward: &Forward,
    body: &RequestBody,
) -> Result<Cow<'a, Uri>, Failure> {
    if let (Some(max), Some(length)) = (route.max_body, http_body::Body::size_hint(body).exact())
        && length > max
    {
        return Err(too_large(Some(length), max, &route.name));
    }
    let (uri, path_and_query) = (&asked.parts.uri, asked.parts.uri.path_and_query());
    let received = path_and_query.map_or("/", uri::PathAndQuery::as_str);
    let Some(replacement) = &forward.replace_prefix else {
        if uri.authority().is_none() {
            return Ok(Cow::Borrowed(uri));
        }
        let mut parts = uri::Parts::default();
        parts.path_and_query = path_and_query.cloned().or_else(|| Some(uri::PathAndQuery::from_static("/")));
        return Uri::from_parts(parts)
            .map(Cow::Owned)
            .map_err(|error| Failure::new(Cause::ClientInvalid).seen("its target").from(error));
    };
    if received == "*" {
        return Ok(Cow::Borrowed(uri));
    }
    let refused = || {
        Failure::new(Cause::ClientInvalid)
            .seen(format!("the prefix {} of its target is written with escapes or dots", route.path))
    };
    let target = route::replace_prefix(received, &route.path, replacement);
    target.and_then(|target| target.parse().ok()).map(Cow::Owned).ok_or_else(refused)
}

/// Where the request belongs, in a pool that goes by that.
fn belongs(asked: &Asked<'_>, pool: &Pool) -> Belongs {
    let (parts, config) = (asked.parts, &pool.config);
    let token = config.sticky.as_ref().and_then(|name| affinity::token(&parts.headers, name));
    let key = match &config.balance {
        Balance::Hash(rule) => affinity::key(rule, asked.ours.client, parts.uri.path(), &parts.headers),
        Balance::P2c | Balance::RoundRobin | Balance::LeastInFlight | Balance::Ewma => None,
    };
    Belongs { key, token }
}

/// An upstream's answer, on its way to the client.
fn answered(setting: &Setting<'_>, mut open: Box<Open>, answer: Answer) -> Response<Body> {
    let service = setting.service;
    let (mut head, body) = match answer {
        Answer::Held(response) => {
            let (head, whole) = response.into_parts();
            (head, Ok(whole))
        }
        Answer::Streaming(response) => {
            let (head, body) = response.into_parts();
            (head, Err(body))
        }
        Answer::Switched(response) => return upgrade::switch(setting, open, response),
    };
    open.exchange.status = head.status.as_u16();
    finish_head(service, &open, setting.asked, &mut head.headers);
    if head.status == http::StatusCode::NO_CONTENT {
        // RFC 9110 §8.6
        head.headers.remove(header::CONTENT_LENGTH);
    }
    head.extensions.clear();
    head.version = http::Version::HTTP_11;
    let body = match body {
        Ok(whole) => Body::once(whole.bytes, open).followed_by(whole.trailers),
        Err(_) if setting.asked.parts.method == http::Method::HEAD => Body::headless(open),
        Err(body) => Body::stream(body, open, setting.end),
    };
    Response::from_parts(head, body)
}

/// The fields that causeway adds to, and takes from, an upstream's answer.
pub(super) fn finish_head(service: &Service, open: &Open, asked: &Asked<'_>, headers: &mut http::HeaderMap) {
    to_client(headers, asked.request_id.value());
    let pool = &service.proxy.pools[open.pool];
    if let Some(name) = &pool.config.sticky
        && let Some(answering) = open.exchange.answering()
    {
        let (members, said) = (pool.members(), affinity::token(&asked.parts.headers, name));
        let served = balance::token(&pool.config.name, &answering.upstream);
        let usable = |token| members.balancer.position(token).is_some_and(|at| members[at].usual());
        if affinity::owed(said, served, usable)
            && let Some(cookie) = affinity::set_cookie(name, served, asked.ours.secure())
        {
            headers.append(header::SET_COOKIE, cookie);
        }
    }
    if service.proxy.config.errors.proxy_status_on_all
        && let (Some(last), Ok(received)) =
            (open.exchange.answering(), http::StatusCode::from_u16(open.exchange.status))
    {
        let next_hop = if service.full_detail(asked) {
            last.authority.to_string()
        } else {
            format!("{}/{}", open.exchange.pool.as_deref().unwrap_or_default(), last.ordinal)
        };
        headers.append(PROXY_STATUS, service.proxy.annotator.passing(&next_hop, last.protocol, received));
    }
}

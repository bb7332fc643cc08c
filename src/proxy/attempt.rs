//! One try at one upstream: send, wait for the head, hold a short body; ended early by eviction or by the whole
//! exchange's clock. It never chooses an upstream and never judges what follows.

use std::net::SocketAddr;
use std::pin::pin;

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode, Uri, Version, response};

use crate::cause::{self, Cause, Failure, Phase};
use crate::client::{self, Head, Order, Outgoing, Progress, introduction};
use crate::config::address::Scheme;
use crate::config::model::{FieldRules, Forward, HostHeader};
use crate::health::State;
use crate::observe::trace::Parent;
use crate::observe::{Reason, events};
use crate::pool::pick::{Choice, Pick};
use crate::pool::{Pool, Upstream};
use crate::tunnel::handshake;

use super::body::holdable;
use super::deadline::Deadline;
use super::headers::{Shape, to_upstream, values};
use super::layers::fields::{self, Facts};
use super::record::Running;
use super::replay::Replay;
use super::respond::PROXY_STATUS;
use super::retry::{Case, Tally, Verdict, judge};
use super::{Asked, Service};

/// What a successful attempt has in hand.
#[derive(Debug)]
pub(super) enum Answer {
    /// A short answer, complete.
    Held(Response<client::Whole>),
    /// A head, and a body that comes.
    Streaming(Response<client::Body>),
    /// 101 to a protocol that was asked for.
    Switched(Response<client::Body>),
}

impl Answer {
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Held(response) => response.status(),
            Self::Streaming(response) | Self::Switched(response) => response.status(),
        }
        .as_u16()
    }
}

/// The surroundings of an attempt: the same for every try of a request.
#[derive(Debug)]
pub(super) struct Setting<'a> {
    pub(super) service: &'a Service,
    pub(super) asked: &'a Asked<'a>,
    pub(super) forward: &'a Forward,
    pub(super) pool: &'a Pool,
    /// When the request head was complete.
    pub(super) started: std::time::Instant,
    /// The target as the upstream sees it.
    pub(super) target: &'a Uri,
    /// The route's path, where it is replaced.
    pub(super) prefix: Option<&'a str>,
    /// The route's rules for the fields of requests.
    pub(super) rules: Option<&'a FieldRules>,
    pub(super) replay: &'a Replay,
    pub(super) idempotent: bool,
    /// The end of the whole exchange.
    pub(super) end: Option<Deadline>,
}

impl Setting<'_> {
    /// One try.
    ///
    /// # Errors
    /// The failure that ended it; a failure of the client's own body is not in it (see [`Replay::failure`]).
    pub(super) async fn attempt(&self, running: &Running, choice: &Choice, tally: Tally) -> Result<Answer, Failure> {
        let Running { pick: Pick { upstream, .. }, progress, .. } = running;
        let later = self.later(running);
        let fields = later.as_deref().unwrap_or(&self.asked.parts.headers);
        // On the heap: few upstreams want it.
        let client = upstream.endpoint.proxy_protocol.then(|| Box::new(self.introduced()));
        let order = Order {
            endpoint: &upstream.endpoint,
            timeouts: &self.forward.timeouts,
            buffers: &self.pool.config.buffers,
            connections: &self.pool.config.connections,
            idle_age: &upstream.idle_age,
            meter: &upstream.meter,
            client: client.as_deref(),
            now: running.started.into(),
            replayable: self.idempotent && self.replay.whole(),
            fresh: false,
            expects_continue: self.asked.passed.expects_continue,
            // Nobody waits for a stream of HTTP/1.1.
            elsewhere: upstream.endpoint.scheme != Scheme::Http && self.has_another(choice, tally),
        };
        let work = pin!(async {
            let response = self.response(&order, running, fields, (choice, &tally)).await?;
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                return self.switched(response);
            }
            if !self.holds(&response)? {
                return Ok(Answer::Streaming(response));
            }
            let (head, mut body) = response.into_parts();
            let whole = match body.at_hand() {
                Some(whole) => whole,
                None => body.whole().await.map_err(|failure| behind(failure, &head))?,
            };
            Ok(Answer::Held(Response::from_parts(head, whole)))
        });
        if self.end.is_none() && !may_leave(running, choice) {
            // Nothing but itself can end it.
            return work.await;
        }
        tokio::select! {
            biased;
            answer = work => answer,
            () = self.overdue() => Err(self.request_timeout(progress)),
            () = self.evicted(running, choice, &tally) => {
                Err(Failure::new(Cause::Evicted).in_phase(progress.phase()).sent(progress.sent()))
            }
        }
    }

    /// The head of an answer. Where a kept connection died, perhaps on a fresh one.
    async fn response(
        &self,
        order: &Order<'_>,
        running: &Running,
        fields: &HeaderMap,
        (choice, tally): (&Choice, &Tally),
    ) -> Result<Response<client::Body>, Failure> {
        let Running { pick: Pick { upstream, .. }, progress, parent, .. } = running;
        let request = || self.request(upstream, parent.as_ref(), fields);
        let failure = match self.service.client.send(*order, request(), progress).await {
            Err(failure) if self.replaces(&failure, choice, *tally) => failure,
            answered => return answered,
        };
        let again = self.service.client.send(Order { fresh: true, ..*order }, request(), progress);
        // Rare, and as large as all the rest.
        Box::pin(again).await.map_err(|next| {
            let sent = next.sent || failure.sent;
            next.sent(sent)
        })
    }

    /// Could the next attempt be at somebody who is ready, after one that sends nothing?
    fn has_another(&self, choice: &Choice, tally: Tally) -> bool {
        choice.untried().any(|other| other.health.state() == State::Ready && !other.backup)
            && judge(&self.case(cause::Retry::Any, tally, false), &self.forward.retry) == Verdict::Next
    }

    /// Who the client is, for an upstream that wants to know before all else.
    fn introduced(&self) -> introduction::Client {
        let (conn, ours) = (self.asked.conn, self.asked.ours.client);
        let from = if ours == conn.peer.ip() { conn.peer } else { SocketAddr::new(ours, 0) };
        introduction::Client { from, to: conn.local }
    }

    /// A kept connection that died is no attempt and blames nobody: the request goes out again on a fresh one, if
    /// nothing was sent; or if it may be resent and there is nobody else to take it.
    fn replaces(&self, failure: &Failure, choice: &Choice, tally: Tally) -> bool {
        let no_attempt = Tally { attempts: 0, ..tally };
        failure.cause == Cause::StaleConnection
            && (!failure.sent || choice.untried().next().is_none())
            && judge(&self.case(cause::Retry::Any, no_attempt, failure.sent), &self.forward.retry) == Verdict::Next
            && (!failure.sent || self.affords(&Tally { sent: true, ..tally }, std::time::Instant::now()))
    }

    fn request_timeout(&self, progress: &Progress) -> Failure {
        let (phase, sent) = (progress.phase(), progress.sent());
        let unsaid = || Failure::new(Cause::RequestTimeout).in_phase(phase).sent(sent);
        self.end.map_or_else(unsaid, |end| end.failure(phase, sent))
    }

    /// The fields of a gRPC call that waited, or that others have failed: it has less time left than its client gave
    /// it. On the heap: few requests have them.
    fn later(&self, running: &Running) -> Option<Box<HeaderMap>> {
        self.end?;
        let gone = running.started.saturating_duration_since(self.started);
        let left = if gone.is_zero() { None } else { Deadline::with_what_is_left(&self.asked.parts.headers, gone) };
        left.map(Box::new)
    }

    fn request(
        &self,
        upstream: &Upstream,
        parent: Option<&Parent>,
        fields: &HeaderMap,
    ) -> Outgoing<super::replay::ReplayBody> {
        let asked = self.asked;
        let client = asked.passed.host.as_deref();
        let literal;
        let host = match &self.pool.config.host_header {
            HostHeader::Client if client.is_some() => client,
            HostHeader::Literal(host) => Some(host),
            HostHeader::Client | HostHeader::Upstream => {
                literal = HeaderValue::from_str(upstream.endpoint.host()).ok();
                literal.as_ref()
            }
        };
        let shape = Shape {
            host,
            asked: client,
            request_id: asked.request_id.value(),
            via: &self.service.proxy.via,
            upgrade: asked.passed.upgrade.as_ref(),
            max_forwards: asked.passed.max_forwards,
            prefix: self.prefix,
            parent,
        };
        let mut head = Head::new(&asked.parts.method, self.target.path_and_query());
        let mut put = |name: &HeaderName, value: &HeaderValue| head.field(name, value);
        let (notes, ours) = (asked.notes, asked.ours);
        match self.rules {
            None => to_upstream(fields, notes, ours, &shape, put),
            Some(rules) => {
                let kept = |name: &HeaderName, value: &HeaderValue| {
                    if !rules.replaces(name) {
                        put(name, value);
                    }
                };
                to_upstream(fields, notes, ours, &shape, kept);
                fields::put(rules, &Facts::new(asked, &upstream.id, &self.pool.config.name), put);
            }
        }
        Outgoing::new(head, self.replay.attempt())
    }

    /// Is this answer held until it is complete?
    ///
    /// # Errors
    /// The failure that it tells of.
    fn holds(&self, response: &Response<client::Body>) -> Result<bool, Failure> {
        if self.came_round(response) {
            return Err(Failure::new(Cause::LoopDetected).in_phase(Phase::Head).sent(true).received(502));
        }
        Ok(holdable(response, &self.asked.parts.method, self.pool.config.buffers.response))
    }

    /// Is it our own word that this very request has been here before? Then the upstream is causeway itself, or leads
    /// back to it; of another causeway's loop the token is another one's.
    fn came_round(&self, response: &Response<client::Body>) -> bool {
        let token = &self.service.proxy.via_token;
        let is_ours = |line: &HeaderValue| {
            line.to_str().is_ok_and(|line| line.contains("error=proxy_loop_detected") && line.contains(token))
        };
        response.status() == StatusCode::BAD_GATEWAY && response.headers().get_all(&PROXY_STATUS).iter().any(is_ours)
    }

    /// A tunnel opens only after a 101 with a protocol that was asked for (RFC 9110 §7.8), and a request body read to
    /// its end.
    fn switched(&self, response: Response<client::Body>) -> Result<Answer, Failure> {
        let asked = self.asked.passed.upgrade.as_ref().and_then(|value| value.to_str().ok()).unwrap_or_default();
        let failed = |seen: String| Failure::new(Cause::UpgradeFailed).in_phase(Phase::Head).sent(true).seen(seen);
        let mut protocols = values(response.headers(), &header::UPGRADE).peekable();
        if protocols.peek().is_none() {
            return Err(failed("101 without an Upgrade field".into()));
        }
        for protocol in protocols {
            if !asked.split(',').any(|wanted| wanted.trim().eq_ignore_ascii_case(protocol)) {
                let wanted = if asked.is_empty() { "no upgrade".to_owned() } else { format!("\"{asked}\"") };
                return Err(failed(format!("101 to \"{protocol}\", and the client asked for {wanted}")));
            }
        }
        // Over HTTP/2 the key is causeway's, and nobody else would look.
        let ours = self.asked.parts.version == Version::HTTP_2;
        if ours && !handshake::proves(response.headers(), &self.asked.parts.headers) {
            return Err(failed("Sec-WebSocket-Accept is not the answer to Sec-WebSocket-Key".into()));
        }
        if !self.replay.read_to_end() {
            return Err(failed("101 before the request body was complete".into()));
        }
        Ok(Answer::Switched(response))
    }

    /// The end of the whole exchange has come.
    pub(super) fn overdue_now(&self) -> bool {
        self.end.is_some_and(|end| end.over())
    }

    /// Resolves at the end of the whole exchange.
    async fn overdue(&self) {
        match self.end {
            Some(end) => tokio::time::sleep_until(end.at).await,
            None => std::future::pending().await,
        }
    }

    /// Resolves when checks evict this upstream while the request waits for its head, the request may be resent, and
    /// there is somebody ready to take it (CONTRACT §9 "Rescue on eviction"). Others wait on.
    async fn evicted(&self, running: &Running, choice: &Choice, tally: &Tally) {
        let Running { pick: Pick { upstream, .. }, progress, .. } = running;
        if !may_leave(running, choice) {
            return std::future::pending().await;
        }
        loop {
            let mut evicted = std::pin::pin!(upstream.health.evicted());
            evicted.as_mut().enable();
            if upstream.health.look().checks_fail() {
                break;
            }
            evicted.await;
        }
        // Somebody else may become ready only later.
        let mut changes = self.pool.changes();
        loop {
            let may_leave = progress.phase() != Phase::Body
                && judge(&self.case(cause::Retry::Any, *tally, progress.sent()), &self.forward.retry) == Verdict::Next
                && choice.untried().any(|other| other.health.state() == State::Ready);
            let affords = || {
                let sent = Tally { sent: tally.sent || progress.sent(), ..*tally };
                self.affords(&sent, std::time::Instant::now())
            };
            if may_leave && upstream.health.look().checks_fail() && affords() {
                return;
            }
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// The facts for a verdict after this many attempts, the last of which got something out or not.
    pub(super) fn case(&self, row: cause::Retry, tally: Tally, sent: bool) -> Case {
        Case {
            row,
            sent: tally.sent || sent,
            idempotent: self.idempotent,
            body_kept: self.replay.whole(),
            attempts: tally.attempts,
            resends: tally.resends,
            elapsed: self.started.elapsed().saturating_sub(tally.waited),
        }
    }

    /// What follows a failed attempt (its bytes are in the tally already). A resend is paid for here, from the pool's
    /// budget; one that an eviction brought about has paid when it left.
    pub(super) fn verdict(
        &self,
        failure: &Failure,
        choice: &Choice,
        tally: &Tally,
        now: std::time::Instant,
    ) -> Verdict {
        let verdict = judge(&self.case(failure.cause.row().retry, *tally, false), &self.forward.retry);
        let paid = failure.cause == Cause::Evicted || choice.untried().next().is_none();
        match verdict {
            Verdict::Next if !paid && !self.affords(tally, now) => Verdict::Stop(Reason::Budget),
            verdict => verdict,
        }
    }

    /// One more attempt, as far as the pool's retry budget goes. Free while nothing was sent.
    pub(super) fn affords(&self, tally: &Tally, now: std::time::Instant) -> bool {
        let Some(percent) = self.forward.retry.budget.filter(|_| tally.sent) else { return true };
        let may = self.pool.budget.take(percent, now);
        if !may {
            events::retry_budget_exhausted(&self.pool.config.name, percent, now);
        }
        may
    }

    /// Does this answer count as a failure, and may another upstream be asked for a better one (`retry.on_status`)? It
    /// can be kept meanwhile: whole, or as a body that nobody reads yet.
    pub(super) fn sends_on(&self, answer: &Answer, choice: &Choice, tally: Tally) -> bool {
        let whole = matches!(answer, Answer::Held(_));
        let tally = Tally { sent: true, ..tally };
        self.forward.retry.on_status.contains(answer.status())
            && (whole || self.replay.read_to_end())
            && choice.untried().any(|other| self.may_be_tried(other))
            && judge(&self.case(cause::Retry::Any, tally, true), &self.forward.retry) == Verdict::Next
            && self.affords(&tally, std::time::Instant::now())
    }

    fn may_be_tried(&self, upstream: &Upstream) -> bool {
        match upstream.health.state() {
            State::Ready | State::Unknown => true,
            State::Evicted => self.pool.config.last_resort,
            State::Draining | State::Disabled => false,
        }
    }
}

/// Is there somebody else for a request whose upstream is evicted?
fn may_leave(running: &Running, choice: &Choice) -> bool {
    !running.pick.last_resort && choice.untried().next().is_some()
}

/// A body that ended early, behind this head: what of its failure is known from that.
#[cold]
fn behind(failure: Failure, head: &response::Parts) -> Failure {
    let failure = failure.sent(true).received(head.status.as_u16());
    let lines = head.headers.get_all(&PROXY_STATUS).iter().filter_map(|line| line.to_str().ok());
    failure.behind(&lines.collect::<Vec<_>>().join(", "))
}

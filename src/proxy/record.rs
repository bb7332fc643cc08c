//! The open record of a request: filled on the way, finished exactly once, whatever happens.
//!
//! It travels with the request and then with its response body. Dropped before its end was told, it says that the
//! client went away: so a future that is dropped still leaves its line in the log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

use http::HeaderValue;

use crate::cause::{Cause, Failure, Fault};
use crate::client::Progress;
use crate::config::model::{Action, Balance, HostHeader};
use crate::health::{By, State};
use crate::listen::ConnInfo;
use crate::observe::exchange::EndedBy;
use crate::observe::trace::Parent;
use crate::observe::{Attempt, Exchange, NotTried, Outcome, Reason, RequestId, events};
use crate::pool::balance::Latency;
use crate::pool::pick::Pick;
use crate::pool::room::Place;
use crate::pool::{Upstream, report};

use super::attempt::Answer;
use super::known::{self, Asked, Waits};
use super::replay::Replay;
use super::{Proxy, panic};

/// An exchange that has not ended.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) exchange: Exchange,
    proxy: Arc<Proxy>,
    running: Option<Running>,
    /// The index of the pool that it goes to, once there are attempts.
    pub(super) pool: usize,
    /// The row of the attempt whose answer goes on to the client.
    row: usize,
    /// Its place among the listener's requests, where that has a limit.
    pub(super) place: Option<Place>,
    /// Where the request body's bytes are counted.
    pub(super) body: Option<Replay>,
    /// Whether it was causeway that cut it.
    conn: Arc<ConnInfo>,
    /// The end was told.
    ended: bool,
}

/// An answer that counts as a failure (`retry.on_status`), until a better one comes or all attempts have ended.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) answer: Answer,
    /// The attempt that it comes from, while its body still runs.
    running: Option<Running>,
    row: usize,
}

impl Kept {
    /// Nothing of it is still to come.
    pub(super) const fn complete(&self) -> bool {
        matches!(self.answer, Answer::Held(_))
    }
}

/// The attempt that runs now.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) pick: Pick,
    pub(super) started: Instant,
    pub(super) progress: Arc<Progress>,
    /// What the upstream hears of the trace.
    pub(super) parent: Option<Parent>,
}

impl Open {
    /// Of a request that began at this moment, on both clocks.
    pub(super) fn new(
        id: RequestId,
        client: SocketAddr,
        began: (Instant, SystemTime),
        proxy: Arc<Proxy>,
        conn: Arc<ConnInfo>,
    ) -> Box<Self> {
        Box::new(Self {
            exchange: Exchange::new(id, client, Arc::clone(&conn.listener.name), began),
            proxy,
            running: None,
            pool: 0,
            row: 0,
            place: None,
            body: None,
            conn,
            ended: false,
        })
    }

    /// An attempt begins.
    pub(super) fn begin(&mut self, pick: Pick, now: Instant) -> &Running {
        let parent = self.exchange.trace.as_mut().map(|trace| trace.attempt(now));
        self.running.insert(Running { pick, started: now, progress: Arc::default(), parent })
    }

    /// The attempt has its head: the record gets its row, the upstream stays in flight until the body's end.
    pub(super) fn answered(&mut self, answer: &Answer, now: Instant) {
        let status = answer.status();
        self.timed(now, |latency, took| latency.observe(took, now));
        self.report(
            match answer {
                Answer::Held(_) | Answer::Switched(_) => report::Outcome::Answered { status },
                Answer::Streaming(_) => report::Outcome::Head { status },
            },
            now,
        );
        if let Some(running) = &self.running {
            running.pick.upstream.insight.answers(status, now);
            self.row = self.exchange.attempts.len();
            let row = running.row(Outcome::Answered(status), now);
            running.pick.upstream.recent.observe(row.elapsed, now);
            running.pick.upstream.meter.answered(status, row.elapsed, row.connect);
            add(&mut self.exchange.attempts, row);
        }
    }

    /// The attempt has an answer that is kept while others are asked for a better one. One that is complete lets go of
    /// its upstream.
    pub(super) fn keep(&mut self, answer: Answer, now: Instant) -> Box<Kept> {
        self.answered(&answer, now);
        let running = self.running.take().filter(|_| !matches!(answer, Answer::Held(_)));
        Box::new(Kept { answer, running, row: self.row })
    }

    /// It passes after all.
    pub(super) fn passes(&mut self, kept: Kept) -> Answer {
        self.exchange.kept = true;
        (self.running, self.row) = (kept.running, kept.row);
        kept.answer
    }

    /// The attempt failed.
    pub(super) fn failed(&mut self, failure: Failure, now: Instant) -> Arc<Failure> {
        let failure = Arc::new(failure);
        if failure.cause.row().fault == Fault::Upstream {
            self.timed(now, |latency, took| latency.failed(took, now));
        }
        self.report(report::Outcome::Failed(&failure), now);
        if let Some(running) = self.running.take() {
            let asked = Asked { host: self.host(), waits: self.waits() };
            let finding = known::of(&running.pick.upstream, failure.cause, asked, now);
            running.pick.upstream.idle_age.failed(failure.cause, now);
            let row = Attempt { finding, ..running.row(Outcome::Failed(Arc::clone(&failure)), now) };
            running.pick.upstream.meter.failed(failure.cause, row.connect, row.reused);
            add(&mut self.exchange.attempts, row);
        }
        failure
    }

    /// These upstreams got no turn, for this reason.
    pub(super) fn not_tried<'a>(&mut self, upstreams: impl Iterator<Item = (&'a Arc<Upstream>, Reason)>, now: Instant) {
        for (upstream, reason) in upstreams {
            // It was to be tried once more, and has its row.
            if self.exchange.attempts.iter().any(|row| row.ordinal == upstream.ordinal && row.upstream == upstream.id) {
                continue;
            }
            let health = upstream.health.snapshot(now);
            let by_traffic = health.eviction.is_some_and(|eviction| eviction.by == By::Traffic);
            let by_health = matches!(reason, Reason::Evicted | Reason::Unknown) && health.state != State::Ready;
            let trouble = health.last_failure.as_ref().filter(|_| by_health);
            let asker = self.proxy.pools.get(self.pool).and_then(|pool| pool.asker(upstream, by_traffic));
            let known = trouble.zip(asker).and_then(|((cause, _), asker)| upstream.insight.of(asker, *cause, now));
            self.exchange.not_tried.push(NotTried {
                upstream: Arc::clone(&upstream.id),
                ordinal: upstream.ordinal,
                authority: Arc::clone(&upstream.endpoint.authority),
                reason,
                state: health.state,
                finding: known,
                last_failure: health.last_failure,
                since: health.since,
                held_for: health.held_for,
                in_flight_limit: upstream.most(),
                next_check: health.next_check,
                by_traffic,
                ends_in: health.eviction.and_then(|eviction| eviction.ends_in),
            });
        }
    }

    /// The answer broke off after its head had gone out.
    pub(super) fn broke(&mut self, failure: Failure) {
        let failure = Arc::new(failure);
        self.report(report::Outcome::Failed(&failure), Instant::now());
        if let Some(last) = self.exchange.attempts.get_mut(self.row) {
            last.outcome = Outcome::Failed(Arc::clone(&failure));
        }
        if let Some(running) = &self.running {
            running.pick.upstream.meter.broke(failure.cause);
        }
        // A client that leaves in the midst of its upload breaks the answer to it.
        let by = if failure.cause == Cause::ClientClosed { EndedBy::Client } else { EndedBy::Proxy };
        self.exchange.failure = Some(failure);
        self.end(by);
    }

    /// A tunnel's connection broke; its 101 was an answer all the same.
    pub(super) fn tunnel_broke(&mut self, error: std::io::Error) {
        self.exchange.failure =
            Some(Arc::new(Failure::new(Cause::TruncatedBody).sent(true).seen("the tunnel broke").from(error)));
        self.end(EndedBy::Upstream);
    }

    /// The Host that went out, where it is not the upstream's own address.
    fn host(&self) -> Option<&HeaderValue> {
        match &self.proxy.pools.get(self.pool)?.config.host_header {
            HostHeader::Client => self.exchange.host.as_ref(),
            HostHeader::Literal(host) => Some(host),
            HostHeader::Upstream => None,
        }
    }

    /// Where the request came by, and how long that waits for a head.
    fn waits(&self) -> Option<Waits<'_>> {
        let name = self.exchange.route.as_deref()?;
        let route = self.proxy.config.routes.iter().find(|route| *route.name == *name)?;
        match &route.action {
            Action::Forward(forward) => Some(Waits { route: name, read: forward.timeouts.read }),
            Action::Redirect(_) | Action::Respond(_) => None,
        }
    }

    /// The pool's balance learns how long the running attempt took, if it goes by that.
    fn timed(&self, now: Instant, tell: impl FnOnce(&Latency, Duration)) {
        if let (Some(Running { pick, started, .. }), Some(pool)) = (&self.running, self.proxy.pools.get(self.pool))
            && pool.config.balance == Balance::Ewma
        {
            tell(&pick.upstream.latency, now.saturating_duration_since(*started));
        }
    }

    /// Health learns what came of the running attempt: the first whole outcome counts.
    fn report(&mut self, outcome: report::Outcome<'_>, now: Instant) {
        let Some(Running { pick, .. }) = &mut self.running else { return };
        let Some(pool) = self.proxy.pools.get(self.pool) else { return };
        if let Some(change) = pick.report(pool, outcome, now) {
            self.proxy.changed(pool, &pick.upstream, &change);
        }
    }

    /// Dropped in the middle: by a panic, by the cut of a drain, or because the client went away.
    fn unended(&mut self, now: Instant) {
        let answered = self.exchange.status != 0;
        let cause = if std::thread::panicking() {
            Cause::Bug
        } else if self.conn.drain.was_cut() {
            Cause::ShuttingDown
        } else if self.conn.stalled.load(Relaxed) {
            Cause::ClientTimeout
        } else {
            Cause::ClientClosed
        };
        self.exchange.ended_by = if cause == Cause::ClientClosed { EndedBy::Client } else { EndedBy::Proxy };
        let running = self.running.as_ref().filter(|_| !answered);
        let failure = match running {
            Some(running) => Failure::new(cause).in_phase(running.progress.phase()).sent(running.progress.sent()),
            None => Failure::new(cause),
        };
        let failure = if running.is_some() { self.failed(failure, now) } else { Arc::new(failure) };
        if !answered {
            // The cut of a drain is no answer: the client sees its connection end.
            self.exchange.status = if cause == Cause::ShuttingDown { 0 } else { failure.own_status() };
        }
        self.exchange.failure = Some(failure);
    }

    /// The end, and who made it. Only the first word counts.
    pub(super) fn end(&mut self, by: EndedBy) {
        if !self.ended {
            self.ended = true;
            self.exchange.ended_by = by;
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let now = Instant::now();
        if !self.ended {
            self.unended(now);
        } else if self.exchange.failure.is_none() {
            self.report(report::Outcome::Answered { status: self.exchange.status }, now);
        }
        let elapsed = now.saturating_duration_since(self.exchange.started);
        if let (Some(Running { started, .. }), Some(last)) = (&self.running, self.exchange.attempts.get_mut(self.row)) {
            // The first attempt begins with the request.
            let first = *started == self.exchange.started;
            last.elapsed = if first { elapsed } else { now.saturating_duration_since(*started) };
        }
        if let Some(body) = &self.body {
            self.exchange.bytes_in = body.taken();
        }
        self.exchange.elapsed = elapsed;
        // Whoever hears that this one has ended finds its place free.
        self.place = None;
        self.proxy.finish(&self.exchange);
        if self.exchange.attempts.len() > 1 {
            events::request_suspect(&self.exchange, now);
        }
        if std::thread::panicking() {
            panic::leave(&self.exchange);
        }
    }
}

/// Nearly always there is one attempt: it gets room for one.
#[inline]
fn add(rows: &mut Vec<Attempt>, row: Attempt) {
    if rows.is_empty() {
        *rows = vec![row];
    } else {
        rows.push(row);
    }
}

impl Running {
    #[inline]
    fn row(&self, outcome: Outcome, now: Instant) -> Attempt {
        let elapsed = now.saturating_duration_since(self.started);
        let connect = self.progress.connect();
        let head = match outcome {
            Outcome::Answered(_) => Some(connect.map_or(elapsed, |connect| elapsed.saturating_sub(connect))),
            Outcome::Failed(_) => None,
        };
        let upstream = &self.pick.upstream;
        Attempt {
            upstream: Arc::clone(&upstream.id),
            ordinal: upstream.ordinal,
            authority: Arc::clone(&upstream.endpoint.authority),
            protocol: self.progress.protocol(upstream.endpoint.scheme),
            outcome,
            reused: self.progress.reused(),
            connect,
            head,
            elapsed,
            last_resort: self.pick.last_resort,
            finding: None,
        }
    }
}

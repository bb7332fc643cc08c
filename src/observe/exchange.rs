//! The one record of a request: what was asked, every attempt, what the client got.
//!
//! The forward loop fills it; the annotated error, the access log and the events read it. It reaches [`AccessLog`]
//! exactly once, at the end of the response body.
//!
//! [`AccessLog`]: super::access_log::AccessLog
use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderValue, Method, Uri, Version};

use crate::cause::{Cause, Failure, Finding, Phase};
use crate::health::State;

use super::trace;
use super::trace_id::TraceId;

/// One request, from its complete head to the last byte of its answer.
#[derive(Debug)]
pub struct Exchange {
    /// 32 lower-case hex digits, or what a trusted peer sent (8 to 128 of `A-Za-z0-9._-`).
    pub request_id: RequestId,
    /// When the request head was complete: monotonic, for durations.
    pub started: Instant,
    /// The same moment on the wall clock, for texts.
    pub at: SystemTime,
    /// The client, found through trusted proxies. The port is 0 where only an address is known.
    pub client: SocketAddr,
    /// The listener's name.
    pub listener: Arc<str>,
    /// As received.
    pub method: Method,
    /// As received (origin, absolute or asterisk form).
    pub uri: Uri,
    /// The host, from the target or Host; empty if neither.
    pub host: Option<HeaderValue>,
    /// As received.
    pub version: Version,
    /// For the access log.
    pub user_agent: Option<HeaderValue>,
    /// For the combined format.
    pub referer: Option<HeaderValue>,
    /// The field of a Basic login, marked as a secret: the combined format has its user.
    pub login: Option<HeaderValue>,
    /// The trace that the client says it belongs to.
    pub trace_id: Option<TraceId>,
    /// The route's name, once known.
    pub route: Option<Arc<str>>,
    /// The pool's name, once known.
    pub pool: Option<Arc<str>>,
    /// Upstreams in the pool; known once causeway answers for it.
    pub pool_size: usize,
    /// In order.
    pub attempts: Vec<Attempt>,
    /// Every upstream of the pool that has no attempt.
    pub not_tried: Vec<NotTried>,
    /// The request may be repeated without harm: by its method, or by an Idempotency-Key that the route believes.
    pub idempotent: bool,
    /// What the client got; 499 if it went away first; 0 until known, and for good if the cut of a drain came first.
    pub status: u16,
    /// The failure, where causeway made the answer itself (or cut it).
    pub failure: Option<Arc<Failure>>,
    /// Bytes of the request body that were read.
    pub bytes_in: u64,
    /// Bytes of the response body that were handed over.
    pub bytes_out: u64,
    /// From `started` to the end; zero until the end.
    pub elapsed: Duration,
    /// Who made the end.
    pub ended_by: EndedBy,
    /// How long it waited for an upstream to come back (`wait`).
    pub waited: Duration,
    /// What else it waited for before an attempt.
    pub waits: Waits,
    /// The answer that the client got counted as a failure (`retry.on_status`); it passed because nobody had a better
    /// one.
    pub kept: bool,
    /// `route.access_log`.
    pub logged: bool,
    /// Its place in a trace, where causeway exports those.
    pub trace: Option<trace::Context>,
}

/// The id of a request: a field's value that reads as text, so that both share one allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// Of an id in its alphabet, without a copy; of anything that no field can hold it makes `unknown`.
    ///
    /// No two are the same, so HTTP/2 must not keep them for the next (RFC 7541 §7.1.3, "never indexed"): h2 would look
    /// through all that it has kept with each answer, which was a tenth of the work.
    #[must_use]
    pub fn of(id: Bytes) -> Self {
        let mut value = HeaderValue::from_maybe_shared(id).unwrap_or(HeaderValue::from_static("unknown"));
        value.set_sensitive(true);
        Self(value)
    }

    /// As it goes into a field.
    #[must_use]
    pub const fn value(&self) -> &HeaderValue {
        &self.0
    }
}

impl<T: AsRef<[u8]>> From<T> for RequestId {
    fn from(id: T) -> Self {
        Self::of(Bytes::copy_from_slice(id.as_ref()))
    }
}

impl Deref for RequestId {
    type Target = str;

    fn deref(&self) -> &str {
        std::str::from_utf8(self.0.as_bytes()).unwrap_or("unknown")
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

/// Who made the end of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// The answer was complete.
    Upstream,
    /// causeway answered, or cut the answer.
    Proxy,
    /// The client went away.
    Client,
}

/// One try at one upstream.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The upstream's id.
    pub upstream: Arc<str>,
    /// Its place in the pool, from 1.
    pub ordinal: usize,
    /// `host:port`, for hints and commands.
    pub authority: Arc<str>,
    /// What it was spoken to in, by its ALPN identifier.
    pub protocol: &'static str,
    /// What came of it.
    pub outcome: Outcome,
    /// On a kept connection.
    pub reused: bool,
    /// How long the connection took; `None` on a kept one, or where it never stood.
    pub connect: Option<Duration>,
    /// From the start of the attempt to its head, less `connect`.
    pub head: Option<Duration>,
    /// From its start to its end (to its head, while the body still runs).
    pub elapsed: Duration,
    /// Evicted, and tried because nobody else was left.
    pub last_resort: bool,
    /// What is known of its failure besides.
    pub finding: Option<Arc<Finding>>,
}

/// What came of an attempt.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The upstream answered with this status.
    Answered(u16),
    /// It failed.
    Failed(Arc<Failure>),
}

/// An upstream without an attempt, and why.
#[derive(Clone, Debug)]
pub struct NotTried {
    /// The upstream's id.
    pub upstream: Arc<str>,
    /// Its place in the pool, from 1.
    pub ordinal: usize,
    /// `host:port`, for hints and commands.
    pub authority: Arc<str>,
    /// Why not.
    pub reason: Reason,
    /// What it was then.
    pub state: State,
    /// The failure that explains its state, of a check or of traffic: cause and sentence.
    pub last_failure: Option<(Cause, String)>,
    /// What is known of that failure besides.
    pub finding: Option<Arc<Finding>>,
    /// It was traffic that failed there, not a check.
    pub by_traffic: bool,
    /// When `state` began.
    pub since: SystemTime,
    /// How long it had held.
    pub held_for: Duration,
    /// How many requests it may have at once.
    pub in_flight_limit: Option<usize>,
    /// Until its next check.
    pub next_check: Option<Duration>,
    /// Until its eviction by traffic ends.
    pub ends_in: Option<Duration>,
}

/// Why an upstream was not tried (CONTRACT §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its checks or its answers fail, and the pool says `when_all_evicted = "fail"`.
    Evicted,
    /// The operator gives it nothing new.
    Draining,
    /// The operator has switched it off.
    Disabled,
    /// Something was sent, and the method is not idempotent (or `retry.resend` is used up).
    RequestSent,
    /// Something was sent, and the body did not fit `buffers.request`.
    BodyNotKept,
    /// `retry.attempts` is used up.
    Attempts,
    /// `retry.deadline` or `timeouts.request` has passed.
    Deadline,
    /// `retry.budget` is used up.
    Budget,
    /// Nobody is left to answer.
    ClientGone,
    /// It has as many requests as `limits.in_flight` allows.
    Busy,
    /// No check has spoken yet.
    Unknown,
    /// The last failure forbids another attempt.
    Final,
}

impl Reason {
    /// The word of log, metric and page.
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Evicted => "evicted",
            Self::Draining => "draining",
            Self::Disabled => "disabled",
            Self::RequestSent => "request_sent",
            Self::BodyNotKept => "body_not_kept",
            Self::Attempts => "attempts",
            Self::Deadline => "deadline",
            Self::Budget => "budget",
            Self::ClientGone => "client_gone",
            Self::Busy => "busy",
            Self::Unknown => "unknown",
            Self::Final => "final",
        }
    }
}

/// What a request waited for before it could be tried, and how long; it is part of what the whole took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// The first result of a check: nobody was ready, and somebody unknown.
    pub first_check: Duration,
    /// A slot of an upstream that had as many requests as it may have (`limits.queue`).
    pub slot: Duration,
}

impl Exchange {
    /// A record that begins at this moment (on both clocks), of which no more is known than who asks, and where.
    #[inline]
    #[must_use]
    pub fn new(
        request_id: RequestId,
        client: SocketAddr,
        listener: Arc<str>,
        (started, at): (Instant, SystemTime),
    ) -> Self {
        Self {
            request_id,
            started,
            at,
            client,
            listener,
            method: Method::GET,
            uri: Uri::default(),
            host: None,
            version: Version::HTTP_11,
            user_agent: None,
            referer: None,
            login: None,
            trace_id: None,
            route: None,
            pool: None,
            pool_size: 0,
            attempts: Vec::new(),
            not_tried: Vec::new(),
            idempotent: false,
            status: 0,
            failure: None,
            bytes_in: 0,
            bytes_out: 0,
            elapsed: Duration::ZERO,
            ended_by: EndedBy::Client,
            waited: Duration::ZERO,
            waits: Waits::default(),
            kept: false,
            logged: true,
            trace: None,
        }
    }

    /// The client got an upstream's answer after another upstream had failed.
    #[must_use]
    pub fn rescued(&self) -> bool {
        self.attempts.len() > 1 && !self.kept && self.answering().is_some()
    }

    /// The upstream whose answer the client got (or began to get).
    #[must_use]
    pub fn answered_by(&self) -> Option<&Arc<str>> {
        self.answering().map(|attempt| &attempt.upstream)
    }

    /// The attempt whose answer the client got (or began to get): the last one, or one that was kept while later ones
    /// failed.
    #[must_use]
    pub fn answering(&self) -> Option<&Attempt> {
        let answered = |attempt: &&Attempt| matches!(attempt.outcome, Outcome::Answered(_));
        if self.kept { self.attempts.iter().rfind(answered) } else { self.attempts.last().filter(answered) }
    }

    /// The upstreams that took this request and dropped its connection: with several of them, the request is suspect.
    pub fn droppers(&self) -> impl Iterator<Item = &Attempt> {
        let dropped = |cause| {
            use Cause::{ClosedWithoutResponse, ResetBeforeHead, TruncatedBody, TruncatedHead};
            matches!(cause, ClosedWithoutResponse | ResetBeforeHead | TruncatedHead | TruncatedBody)
        };
        self.failures().filter(move |(_, failure)| failure.sent && dropped(failure.cause)).map(|(attempt, _)| attempt)
    }

    /// The failures of all attempts, in order.
    pub fn failures(&self) -> impl Iterator<Item = (&Attempt, &Failure)> {
        self.attempts.iter().filter_map(|attempt| match &attempt.outcome {
            Outcome::Failed(failure) => Some((attempt, &**failure)),
            Outcome::Answered(_) => None,
        })
    }

    /// Whether any attempt got a byte of the request out.
    #[must_use]
    pub fn sent(&self) -> bool {
        self.attempts.iter().any(|attempt| match &attempt.outcome {
            Outcome::Failed(failure) => failure.sent,
            Outcome::Answered(_) => true,
        })
    }

    /// The phase of a failed attempt.
    #[must_use]
    pub fn phase(attempt: &Attempt) -> Option<Phase> {
        match &attempt.outcome {
            Outcome::Failed(failure) => Some(failure.phase),
            Outcome::Answered(_) => None,
        }
    }
}

impl Attempt {
    /// From the response head to the end; `None` before there was a head.
    #[must_use]
    pub fn body(&self) -> Option<Duration> {
        let behind = self.elapsed.saturating_sub(self.head?);
        Some(self.connect.map_or(behind, |connect| behind.saturating_sub(connect)))
    }
}

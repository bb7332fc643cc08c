//! What a client is told, as a pure function of the record: one status, one leading cause (CONTRACT §3).

use std::sync::Arc;

use http::StatusCode;

use crate::cause::{Cause, Failure, Fault};
use crate::observe::{Attempt, Exchange, NotTried, Outcome, Reason};

/// The status and the failure that stand for a whole exchange.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What the client gets. 499: nothing, it went away.
    pub status: StatusCode,
    /// The most informative failure: its cause goes to Proxy-Status, log and body. Without any attempt it says why
    /// there was none: `evicted`, or `draining` or `disabled` where that is why all got nothing.
    pub failure: Arc<Failure>,
    /// The attempt that it comes from, as an index into [`Exchange::attempts`]; `None`: the proxy's or the client's
    /// own.
    pub attempt: Option<usize>,
}

impl Verdict {
    /// The leading cause.
    #[must_use]
    pub fn cause(&self) -> Cause {
        self.failure.cause
    }
}

/// Judges an exchange that causeway answers itself. [`Exchange::failure`], where it is none of the attempts' own, ends
/// the exchange by itself (no route, a request limit, a full queue, `timeouts.request`, shutting down, a bug); else the
/// attempts speak.
#[must_use]
pub fn verdict(exchange: &Exchange) -> Verdict {
    let attempt_of = |failure: &Arc<Failure>| exchange.attempts.iter().position(|a| is(a, failure));
    if let Some(failure) = &exchange.failure
        && attempt_of(failure).is_none()
    {
        return Verdict { status: code(failure.own_status()), failure: failure.clone(), attempt: None };
    }
    // Nobody answered, and somebody was not asked only because it is at its limit.
    if exchange.not_tried.iter().any(|skip| skip.reason == Reason::Busy) {
        let failure = Arc::new(Failure::new(Cause::UpstreamBusy));
        return Verdict { status: StatusCode::SERVICE_UNAVAILABLE, failure, attempt: None };
    }
    let failed = || {
        exchange.attempts.iter().enumerate().filter_map(|(index, attempt)| match &attempt.outcome {
            Outcome::Failed(failure) => Some((index, failure)),
            Outcome::Answered(_) => None,
        })
    };
    let Some((index, leading)) = failed().min_by_key(|(_, failure)| rank(failure.cause)) else {
        let failure = Arc::new(Failure::new(nobody(exchange)));
        return Verdict { status: StatusCode::BAD_GATEWAY, failure, attempt: None };
    };
    let all = |test: fn(&Failure) -> bool| failed().all(|(_, failure)| test(failure));
    let status = if leading.cause.row().fault == Fault::Client || leading.cause == Cause::RequestTimeout {
        code(leading.own_status())
    } else if all(|failure| failure.cause == Cause::FilesExhausted) {
        StatusCode::SERVICE_UNAVAILABLE
    } else if all(|failure| failure.cause == Cause::Bug) {
        StatusCode::INTERNAL_SERVER_ERROR
    } else if all(|failure| failure.cause.row().timeout) {
        StatusCode::GATEWAY_TIMEOUT
    } else {
        StatusCode::BAD_GATEWAY
    };
    Verdict { status, failure: leading.clone(), attempt: Some(index) }
}

/// Why nobody was tried: the operator's word, where that is all there is to it.
fn nobody(exchange: &Exchange) -> Cause {
    let by_word = |skip: &NotTried| matches!(skip.reason, Reason::Draining | Reason::Disabled);
    match exchange.not_tried.as_slice() {
        [] => Cause::Evicted,
        all if all.iter().all(|skip| skip.reason == Reason::Disabled) => Cause::Disabled,
        all if all.iter().all(by_word) => Cause::Draining,
        _ => Cause::Evicted,
    }
}

fn is(attempt: &Attempt, failure: &Arc<Failure>) -> bool {
    matches!(&attempt.outcome, Outcome::Failed(own) if Arc::ptr_eq(own, failure))
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY)
}

/// How little a cause tells: the least leads (CAUSES: TLS or HTTP shape, refused, reset, timeout, name). What ends an
/// exchange whatever else failed stands in front of all; among equals, the first attempt leads.
const fn rank(cause: Cause) -> u8 {
    match cause {
        Cause::ClientClosed | Cause::ClientTimeout | Cause::ClientInvalid | Cause::ClientTooLarge => 0,
        Cause::RequestTimeout | Cause::NoRoute | Cause::ProxyBusy | Cause::ShuttingDown => 1,
        Cause::Denied | Cause::Unauthorized | Cause::RateLimited => 1,
        Cause::SpeaksPlaintext
        | Cause::TlsAlert
        | Cause::TlsCertExpired
        | Cause::TlsCertName
        | Cause::TlsCertUntrusted
        | Cause::TlsFailure
        | Cause::NotHttp
        | Cause::SpeaksTls
        | Cause::SpeaksH2
        | Cause::InvalidHead
        | Cause::ResponseHeadTooLarge
        | Cause::BadChunking
        | Cause::UpgradeFailed
        | Cause::LoopDetected
        | Cause::H2ProtocolError
        | Cause::HealthStatus
        | Cause::HealthBody => 2,
        Cause::ConnectionRefused | Cause::SocketMissing | Cause::SocketDenied | Cause::Unreachable => 3,
        Cause::PortsExhausted | Cause::FilesExhausted => 4,
        Cause::TruncatedHead | Cause::TruncatedBody => 5,
        Cause::ClosedWithoutResponse | Cause::ResetBeforeHead | Cause::H2StreamRefused => 6,
        Cause::ConnectReset | Cause::StaleConnection => 7,
        Cause::ReadTimeout | Cause::WriteTimeout | Cause::BodyTimeout => 8,
        Cause::ConnectTimeout | Cause::TlsTimeout => 9,
        Cause::DnsNotFound | Cause::DnsFailure | Cause::DnsTimeout => 10,
        Cause::Evicted | Cause::Draining | Cause::Disabled | Cause::UpstreamBusy | Cause::QueueTimeout => 11,
        Cause::Bug => 12,
    }
}

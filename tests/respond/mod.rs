//! The annotated error: golden texts, every cause in every form, nothing secret in public, verdicts, negotiation.

mod causes;
mod commands;
mod detail;
mod forms;
mod golden;
mod grpc;
mod overload;
mod own_page;
mod pages;
mod proxy_status;
mod schema;
mod verdicts;

use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use causeway::cause::{Cause, Failure, Fault, Oversize};
use causeway::config::model::{Detail, Errors, Networks};
use causeway::health::State;
use causeway::observe::exchange::EndedBy;
use causeway::observe::{Attempt, Exchange, NotTried, Outcome, Reason};
use causeway::proxy::respond::{Annotator, Form, Telling, Verdict, detail_is_full, refuse_bytes, scan, verdict};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use proptest::prelude::*;

pub(crate) fn exchange() -> Exchange {
    Exchange {
        request_id: "4f6c2a91b07de358c1a4e9d2637f8b05".into(),
        started: Instant::now(),
        at: UNIX_EPOCH + Duration::from_millis(1_795_184_566_318),
        client: "127.0.0.1:50000".parse().unwrap(),
        listener: "web".into(),
        method: Method::GET,
        idempotent: true,
        uri: "/orders?page=2".parse().unwrap(),
        host: Some(HeaderValue::from_static("shop.example")),
        version: Version::HTTP_11,
        user_agent: Some(HeaderValue::from_static("curl/8.5.0")),
        referer: None,
        login: None,
        trace_id: None,
        route: Some("shop".into()),
        pool: Some("app".into()),
        pool_size: 3,
        attempts: Vec::new(),
        not_tried: Vec::new(),
        status: 0,
        failure: None,
        bytes_in: 0,
        bytes_out: 0,
        elapsed: Duration::from_micros(5_001_200),
        ended_by: EndedBy::Proxy,
        waited: Duration::ZERO,
        waits: causeway::observe::exchange::Waits::default(),
        kept: false,
        logged: true,
        trace: None,
    }
}

pub(crate) fn attempt(ordinal: usize, outcome: Outcome, micros: u64) -> Attempt {
    let authority: Arc<str> = format!("127.0.0.1:{}", 2999 + ordinal).into();
    Attempt {
        upstream: authority.clone(),
        ordinal,
        authority,
        protocol: "http/1.1",
        outcome,
        reused: false,
        connect: None,
        head: None,
        elapsed: Duration::from_micros(micros),
        last_resort: false,
        finding: None,
    }
}

pub(crate) fn failed(ordinal: usize, failure: Failure, micros: u64) -> Attempt {
    attempt(ordinal, Outcome::Failed(Arc::new(failure)), micros)
}

pub(crate) fn skipped(ordinal: usize, reason: Reason) -> NotTried {
    let authority: Arc<str> = format!("127.0.0.1:{}", 2999 + ordinal).into();
    NotTried {
        upstream: authority.clone(),
        ordinal,
        authority,
        reason,
        state: State::Evicted,
        last_failure: Some((Cause::HealthStatus, "GET /healthz gives 503, wanted 200-399".to_owned())),
        since: UNIX_EPOCH + Duration::from_secs(1_795_184_530),
        held_for: Duration::from_secs(41),
        by_traffic: false,
        finding: None,
        in_flight_limit: None,
        next_check: Some(Duration::from_millis(1200)),
        ends_in: None,
    }
}

/// The setting of the golden samples.
pub(crate) fn golden() -> Exchange {
    let mut exchange = exchange();
    exchange.attempts = vec![
        failed(1, Failure::new(Cause::ConnectionRefused), 300),
        failed(2, Failure::new(Cause::ReadTimeout).sent(true).limit("5.0 s"), 5_000_600),
    ];
    exchange.not_tried = vec![skipped(3, Reason::Evicted)];
    exchange
}

fn annotator() -> Annotator {
    Annotator::new("causeway".into())
}

fn body(exchange: &Exchange, form: Form, full: bool) -> String {
    let response = annotator().render(exchange, &verdict(exchange), Telling::new(form, full));
    let body = String::from_utf8(response.body().to_vec()).unwrap();
    if form == Form::Json {
        crate::support::schema::assert_error(&serde_json::from_str(&body).unwrap());
    }
    body
}

/// What LOOK shows first: the full text of a 502.
pub(crate) fn golden_text() -> String {
    body(&golden(), Form::Text, true)
}

const FORMS: [Form; 4] = [Form::Json, Form::Html, Form::Text, Form::Grpc];

/// A failure that carries everything it could.
fn loaded(cause: Cause) -> Failure {
    Failure::new(cause).limit("77 s").seen("SEEN-BYTES").from(std::io::Error::other("SOURCE-TEXT"))
}

fn one_failure(cause: Cause) -> Exchange {
    let mut exchange = exchange();
    exchange.attempts = vec![failed(1, loaded(cause), 300)];
    exchange.not_tried = vec![skipped(2, Reason::Final), skipped(3, Reason::Evicted)];
    exchange
}

fn own(failure: Failure) -> Exchange {
    let mut exchange = exchange();
    exchange.failure = Some(Arc::new(failure));
    (exchange.route, exchange.pool, exchange.pool_size) = (None, None, 0);
    exchange
}

fn own_failure(cause: Cause) -> Exchange {
    own(loaded(cause))
}

const REASONS: [Reason; 12] = [
    Reason::Evicted,
    Reason::RequestSent,
    Reason::BodyNotKept,
    Reason::Attempts,
    Reason::Deadline,
    Reason::Budget,
    Reason::Busy,
    Reason::Draining,
    Reason::Disabled,
    Reason::ClientGone,
    Reason::Unknown,
    Reason::Final,
];

fn judged(failures: Vec<Failure>, own: Option<Failure>) -> (u16, Cause) {
    let mut exchange = exchange();
    exchange.attempts = failures.into_iter().enumerate().map(|(i, f)| failed(i + 1, f, 1)).collect();
    exchange.failure = own.map(Arc::new);
    let Verdict { status, failure, .. } = verdict(&exchange);
    (status.as_u16(), failure.cause)
}

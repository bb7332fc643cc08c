//! A request as traffic sends it, asked once and judged by nobody: `causeway probe` shows what it met.
//!
//! It goes the way of a check: the same client, a connection of its own, at most 64 KiB of the body, a limit for all of
//! it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderName, HeaderValue, UPGRADE, USER_AGENT};
use http::uri::PathAndQuery;
use http::{Method, Request};
use tokio::time::Instant;

use crate::cause::{Cause, Failure};
use crate::config::Endpoint;
use crate::config::model::Buffers;

use super::Seen;
use super::http::{Clock, Payload, ask, read};

/// Who asks.
const AGENT: &str = concat!("causeway/", env!("CARGO_PKG_VERSION"), " (probe)");

/// What is asked, and how.
#[derive(Clone, Debug)]
pub struct Visit {
    /// `GET` as a rule.
    pub method: Method,
    /// Path and query.
    pub target: PathAndQuery,
    /// `None`: the upstream's address.
    pub host: Option<HeaderValue>,
    /// Asks to go on as a WebSocket (RFC 6455 §4.1).
    pub upgrade: bool,
    /// A short body, in chunks.
    pub chunked: bool,
    /// For all of it, from connect to the last byte read.
    pub limit: Duration,
    /// `response_head` is the limit of the head.
    pub buffers: Buffers,
}

/// What came of it.
#[derive(Debug)]
pub struct Visited {
    /// What it met, phase by phase.
    pub seen: Seen,
    /// From its start to its end.
    pub elapsed: Duration,
    /// The status, whatever it is; or the failure, as traffic would have it.
    pub result: Result<u16, Failure>,
}

impl Visit {
    /// `GET` of this target.
    #[must_use]
    pub fn get(target: PathAndQuery, limit: Duration) -> Self {
        let buffers = Buffers::default();
        Self { method: Method::GET, target, host: None, upgrade: false, chunked: false, limit, buffers }
    }

    /// The request; `once`: its connection is for it alone.
    pub(super) fn request(&self, authority: &str, once: bool) -> Result<Request<Payload>, Failure> {
        let unfit = |error: http::Error| Failure::new(Cause::Bug).from(error);
        let body = if self.chunked {
            Payload::Chunked(Some(Bytes::from_static(b"causeway probe\n")))
        } else {
            Payload::Nothing
        };
        let mut request = Request::builder().method(&self.method).uri(self.target.clone()).body(body).map_err(unfit)?;
        let host = match &self.host {
            Some(host) => host.clone(),
            None => HeaderValue::from_str(authority).map_err(|error| unfit(error.into()))?,
        };
        let fields = request.headers_mut();
        fields.insert(HOST, host);
        fields.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        if self.upgrade {
            fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
            let field = HeaderName::from_static;
            // Sixteen bytes that mean nothing, as the RFC wants them; they are there to be echoed, not to be secret.
            fields.insert(field("sec-websocket-key"), HeaderValue::from_static("Y2F1c2V3YXkgcHJvYmUgIQ=="));
            fields.insert(field("sec-websocket-version"), HeaderValue::from_static("13"));
        } else if once {
            fields.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(request)
    }
}

/// Asks once, on a fresh connection.
pub async fn visit(endpoint: &Arc<Endpoint>, visit: &Visit) -> Visited {
    let started = Instant::now();
    let mut seen = Seen::default();
    let result = asked(endpoint, visit, &mut seen).await;
    Visited { seen, elapsed: started.elapsed(), result }
}

async fn asked(endpoint: &Arc<Endpoint>, visit: &Visit, seen: &mut Seen) -> Result<u16, Failure> {
    let clock = Clock::start(visit.limit);
    let request = visit.request(endpoint.host(), true)?;
    let response = ask(endpoint, request, clock, &visit.buffers, seen).await?;
    let status = response.status();
    // What follows a 101 is another protocol.
    if status != http::StatusCode::SWITCHING_PROTOCOLS {
        let known = http_body::Body::size_hint(response.body()).exact().is_some();
        match read(response.into_body(), clock, seen).await {
            // A stream may go on for as long as it likes.
            Err(failure) if failure.cause == Cause::BodyTimeout && !known => {}
            read => drop(read?),
        }
    }
    Ok(status.as_u16())
}

//! The annotated error: from the record of an exchange to a complete answer that says which upstream failed, how, and
//! what to do.
//!
//! [`mod@verdict`] picks status and leading cause; [`detail`] says who is told addresses; [`accept`] picks the form;
//! `words` is what it says (`skipped` of those not tried, `overload` of limits, `command` what to type next, `trail`
//! where to read more); `json`, `text`, `html` (or `own_page`) and `grpc` are how it looks (`groups`: rows that say the
//! same, together). Nothing here decides whether to try again, and nothing waits.

pub mod accept;
mod command;
pub mod detail;
mod groups;
mod grpc;
mod html;
mod json;
mod overload;
mod own_page;
mod proxy_status;
mod skipped;
mod text;
mod trail;
pub mod verdict;
mod words;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, DATE, HeaderName,
    RETRY_AFTER as RETRY_AFTER_FIELD, SEC_WEBSOCKET_VERSION, UPGRADE, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, Response, StatusCode};
use serde_json::{Map, Value};

use crate::cause::{Cause, Failure};
use crate::config::Config;
use crate::config::model::Page;
use crate::observe::Exchange;

pub use accept::{Form, Scan, scan};
pub use detail::detail_is_full;
pub use verdict::{Verdict, verdict};

use trail::Keeps;
use words::Story;

/// The field that carries the member of each proxy on the way (RFC 9209).
pub const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
/// The request's id.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Seconds in Retry-After of a 503, where nothing tells a better time: a restart takes about as long.
const RETRY_AFTER: u64 = 2;

/// Makes annotated errors in this deployment's name.
#[derive(Clone, Debug)]
pub struct Annotator {
    name: Arc<str>,
    file: Option<Arc<str>>,
    keeps: Keeps,
    page: Option<Arc<Page>>,
}

/// How one client is to be told.
#[derive(Clone, Copy, Debug)]
pub struct Telling<'a> {
    /// See [`Form::of`].
    pub form: Form,
    /// See [`detail_is_full`].
    pub full: bool,
    /// For 405: the methods that the path takes, `GET, HEAD`; else empty.
    pub allow: &'a str,
    /// For 404 with full detail: the nearest routes, `shop.example /api`; may be empty.
    pub nearest: &'a [String],
    /// The client speaks TLS, to causeway or to whom it trusts in front.
    pub secure: bool,
}

impl<'a> Telling<'a> {
    /// Without what only 404 and 405 need.
    #[must_use]
    pub const fn new(form: Form, full: bool) -> Self {
        Self { form, full, allow: "", nearest: &[], secure: false }
    }
}

impl Annotator {
    /// `name`: this deployment, as in Proxy-Status and Via. What failed is kept where commands look for it.
    #[must_use]
    pub const fn new(name: Arc<str>) -> Self {
        Self { name, file: None, keeps: Keeps::usual(), page: None }
    }

    /// As this configuration has it.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let annotator = Self::new(Arc::clone(&config.name)).configured_by(config.file.as_deref());
        Self { keeps: Keeps::of(config), page: config.errors.page.clone(), ..annotator }
    }

    /// The same, knowing its config file: commands about the configuration can name it. Without one, or with a path
    /// that a shell would not take as it is, there are no such commands.
    #[must_use]
    pub fn configured_by(mut self, file: Option<&Path>) -> Self {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.~".contains(&b);
        let sound = |path: &&str| !path.is_empty() && !path.starts_with('-') && path.bytes().all(plain);
        self.file = file.and_then(Path::to_str).filter(sound).map(Arc::from);
        self
    }

    /// The complete answer. [`Exchange::elapsed`] must be up to date. To HEAD the body is empty, the fields are those
    /// of GET.
    #[must_use]
    pub fn render(&self, exchange: &Exchange, verdict: &Verdict, telling: Telling<'_>) -> Response<Bytes> {
        let story = Story::new(exchange, verdict, telling, self.file.as_deref());
        // A visitor who is told that nothing is here needs no word about the proxy.
        let worth = telling.full || verdict.status.is_server_error();
        let trail = if worth { self.keeps.trail(exchange) } else { trail::Trail::Lost };
        let page = |content_type, body| page(&story, content_type, body, &exchange.method);
        let mut response = match (telling.form, &self.page) {
            (Form::Grpc, _) => grpc::render(&story, "application/grpc"),
            (Form::GrpcWeb, _) => grpc::render(&story, "application/grpc-web+proto"),
            (Form::Json, _) => page("application/problem+json", json::render(&story)),
            (Form::Html, Some(own)) => {
                let attempt = verdict.attempt.and_then(|index| exchange.attempts.get(index));
                let upstream = attempt.map(|attempt| (&*attempt.upstream, attempt.ordinal));
                page("text/html; charset=utf-8", own_page::render(own, &story, upstream, telling.secure))
            }
            (Form::Html, None) => page("text/html; charset=utf-8", html::render(&story, &self.name, &trail)),
            (Form::Text, _) => page("text/plain; charset=utf-8", text::render(&story, &self.name, &trail)),
        };
        let fields = response.headers_mut();
        // What an operator's own page needs is theirs to say.
        if telling.form == Form::Html && self.page.is_none() {
            fields.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(html::POLICY));
        }
        fields.insert(PROXY_STATUS, proxy_status::error(&self.name, exchange, verdict, telling.full));
        fields.insert(X_REQUEST_ID, exchange.request_id.value().clone());
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        fields.insert(VARY, HeaderValue::from_static("Accept"));
        if may_come_back(verdict.status) {
            fields.insert(RETRY_AFTER_FIELD, HeaderValue::from(story.retry_after));
        }
        if verdict.status == StatusCode::UPGRADE_REQUIRED {
            // RFC 6455 §4.4, RFC 9110 §15.5.22
            fields.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
            fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        }
        if verdict.status == StatusCode::METHOD_NOT_ALLOWED
            && let Ok(allow) = HeaderValue::from_str(telling.allow)
        {
            fields.insert(ALLOW, allow);
        }
        response
    }

    /// What [`Annotator::render`] says as JSON, with all detail and whatever the method, for whoever asks afterwards.
    #[must_use]
    pub fn account(&self, exchange: &Exchange, verdict: &Verdict, telling: Telling<'_>) -> Map<String, Value> {
        json::account(&Story::new(exchange, verdict, telling, self.file.as_deref()))
    }

    /// The same as text: the first line, and what stands below it. Who speaks, and where to read more, is not in it.
    #[must_use]
    pub fn account_text(&self, exchange: &Exchange, verdict: &Verdict, telling: Telling<'_>) -> (String, String) {
        let story = Story::new(exchange, verdict, telling, self.file.as_deref());
        (text::heading(story.status), text::account(&story))
    }

    /// This proxy's member of Proxy-Status for an answer that an upstream gave (`errors.proxy_status = "all"`).
    #[must_use]
    pub fn passing(&self, next_hop: &str, next_protocol: &str, received: StatusCode) -> HeaderValue {
        proxy_status::passing(&self.name, next_hop, next_protocol, received)
    }
}

/// A complete answer as HTTP/1.1 bytes, for a head that could not be read: the connection closes after it.
#[must_use]
pub fn refuse_bytes(mut response: Response<Bytes>) -> Bytes {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(SystemTime::now())) {
        response.headers_mut().insert(DATE, date);
    }
    let status = response.status();
    let mut out = format!("HTTP/1.1 {} {}\r\n", status.as_u16(), text::reason_phrase(status)).into_bytes();
    for (name, value) in response.headers() {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(response.body());
    out.into()
}

/// A status that says: later. Only the client's hurry, or the proxy's own limits, are in the way.
const fn may_come_back(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

/// In how many seconds, at least one, it may go better: when a slot may be free, else at the next check, or the end of
/// an eviction.
fn retry_after(exchange: &Exchange, failure: &Failure) -> u64 {
    let (whole, cause) = (|time: Duration| time.as_millis().div_ceil(1000).max(1) as u64, failure.cause);
    if let Some(again) = failure.again {
        return whole(again);
    }
    if matches!(cause, Cause::UpstreamBusy | Cause::QueueTimeout | Cause::ProxyBusy) {
        return 1;
    }
    let chances = exchange.not_tried.iter().flat_map(|skip| [skip.next_check, skip.ends_in]).flatten();
    chances.min().map_or(RETRY_AFTER, whole)
}

fn page(story: &Story<'_>, content_type: &'static str, body: String, method: &Method) -> Response<Bytes> {
    let length = body.len();
    let mut response = Response::new(if method == Method::HEAD { Bytes::new() } else { body.into() });
    *response.status_mut() = story.status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    // No browser may take text for a page.
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

//! The HTTP check: a request of our own on a fresh connection, and what its answer must be.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, LOCATION, UPGRADE, USER_AGENT};
use http::{Method, Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::cause::{Cause, Failure, Phase, escape};
use crate::client::{Body, Client, Order, Progress};
use crate::config::Endpoint;
use crate::config::model::{Buffers, Connections, HttpCheck, Timeouts};

use super::{AGENT, BodySeen, HeadSeen, Seen, TlsSeen, late};

/// The most of a body that is read.
const BODY: usize = 64 << 10;

/// What proxies say of an answer (RFC 9209).
pub(super) const PROXY_STATUS: &str = "proxy-status";

/// So much of a `Location` or an `Upgrade` is kept.
const TOLD: usize = 200;

/// Asks, and judges the answer.
pub(super) async fn check(
    endpoint: &Arc<Endpoint>,
    check: &HttpCheck,
    limit: Duration,
    seen: &mut Seen,
) -> Result<u16, Failure> {
    let clock = Clock::start(limit);
    let request = request(check, endpoint.host())?;
    let response = ask(endpoint, request, clock, &Buffers::default(), seen).await?;

    let status = response.status().as_u16();
    if !check.expect_status.iter().any(|&(first, last)| (first..=last).contains(&status)) {
        let said = format!("{} {} gives {status}, wanted {}", check.method, check.path, ranges(&check.expect_status));
        return Err(Failure::new(Cause::HealthStatus).seen(said));
    }
    let body = read(response.into_body(), clock, seen).await?;
    if !contains(&body, check.expect_body.as_bytes()) {
        let (method, path, wanted) = (&check.method, &check.path, &check.expect_body);
        let said = format!("{method} {path} gives {status}, but its body does not contain \"{wanted}\"");
        return Err(Failure::new(Cause::HealthBody).seen(said));
    }
    Ok(status)
}

/// Until when, and how long that is in all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) deadline: Instant,
    pub(super) limit: Duration,
}

impl Clock {
    pub(super) fn start(limit: Duration) -> Self {
        Self { deadline: Instant::now() + limit, limit }
    }
}

/// What goes behind the head of a request.
#[derive(Debug)]
pub(super) enum Payload {
    Nothing,
    /// Of a length that is not said: it goes out in chunks.
    Chunked(Option<Bytes>),
}

impl http_body::Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(match &mut *self {
            Self::Nothing => None,
            Self::Chunked(bytes) => bytes.take().map(|bytes| Ok(Frame::data(bytes))),
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Nothing => SizeHint::with_exact(0),
            Self::Chunked(_) => SizeHint::default(),
        }
    }
}

/// One request on a connection of its own, to the head of its answer.
pub(super) async fn ask(
    endpoint: &Arc<Endpoint>,
    request: Request<Payload>,
    Clock { deadline, limit }: Clock,
    buffers: &Buffers,
    seen: &mut Seen,
) -> Result<Response<Body>, Failure> {
    // A client with no connections, for this one request: so the connection is fresh, and closed at the end.
    let client = Client::<Payload>::new();
    let timeouts =
        Timeouts { connect: limit, tls: limit, write: limit, read: limit, body: limit, ..Timeouts::default() };
    let connections = Connections { max_idle: 0, ..Connections::default() };
    let order = Order {
        endpoint,
        timeouts: &timeouts,
        buffers,
        connections: &connections,
        idle_age: &Arc::default(),
        meter: &Arc::default(),
        client: None,
        now: Instant::now(),
        replayable: true,
        fresh: true,
        expects_continue: false,
        elsewhere: false,
    };
    let progress = Arc::new(Progress::default());
    let started = Instant::now();
    let mut out = None;
    let answered = {
        let mut send = pin!(client.send(order, request, &progress));
        // The request is out when the client begins to wait for the head.
        let watched = poll_fn(|cx| {
            let polled = send.as_mut().poll(cx);
            if out.is_none() && matches!(progress.phase(), Phase::Head | Phase::Body) {
                out = Some(Instant::now());
            }
            polled
        });
        timeout_at(deadline, watched).await
    };
    seen.connect = progress.connect();
    seen.tls = progress.session().map(TlsSeen::of);
    let stood = started + seen.connect.unwrap_or_default() + seen.tls.as_ref().map(|tls| tls.took).unwrap_or_default();
    seen.request = out.map(|out| out.saturating_duration_since(stood));
    let late = |_elapsed| {
        let failure = late(progress.phase(), progress.sent(), limit);
        match progress.head_bytes() {
            begun @ 1.. if failure.cause == Cause::ReadTimeout => failure.seen(format!("{begun} bytes")),
            _ => failure,
        }
    };
    let response = answered.map_err(late)??;
    let fields = response.headers();
    seen.head = Some(HeadSeen {
        took: out.map_or(Duration::ZERO, |out| out.elapsed()),
        status: response.status().as_u16(),
        fields: fields.len(),
        bytes: progress.head_bytes(),
        location: fields.get(LOCATION).map(told),
        upgrade: fields.get(UPGRADE).map(told),
        proxys_own: fields.get_all(PROXY_STATUS).iter().any(says_error),
    });
    Ok(response)
}

/// The beginning of a value.
fn told(value: &HeaderValue) -> String {
    escape(&value.as_bytes()[..value.len().min(TOLD)])
}

/// Whether a member has the parameter `error`; between quotes it is a word like others.
fn says_error(members: &HeaderValue) -> bool {
    let mut bare = members.as_bytes().split(|byte| *byte == b'"').step_by(2);
    bare.any(|part| part.windows(6).any(|word| word == b"error="))
}

/// The whole body, or its first 64 KiB: the rest is nobody's business.
pub(super) async fn read(body: Body, clock: Clock, seen: &mut Seen) -> Result<Vec<u8>, Failure> {
    let started = Instant::now();
    let (mut bytes, mut complete) = (Vec::new(), false);
    let read = timeout_at(clock.deadline, first_bytes(body, &mut bytes, &mut complete)).await;
    seen.body = Some(BodySeen { took: started.elapsed(), bytes: bytes.len() as u64, complete });
    read.map_err(|_elapsed| late(Phase::Body, true, clock.limit))??;
    Ok(bytes)
}

async fn first_bytes(mut body: Body, bytes: &mut Vec<u8>, complete: &mut bool) -> Result<(), Failure> {
    while bytes.len() < BODY {
        let Some(frame) = body.frame().await else {
            *complete = true;
            return Ok(());
        };
        if let Some(data) = frame?.data_ref() {
            bytes.extend_from_slice(&data[..data.len().min(BODY - bytes.len())]);
        }
    }
    Ok(())
}

fn request(check: &HttpCheck, authority: &str) -> Result<Request<Payload>, Failure> {
    let unfit = |error: http::Error| Failure::new(Cause::Bug).from(error);
    let mut request =
        Request::builder().method(&check.method).uri(check.path.as_str()).body(Payload::Nothing).map_err(unfit)?;
    let host = match &check.host_header {
        Some(host) => host.clone(),
        None => HeaderValue::from_str(authority).map_err(|error| unfit(error.into()))?,
    };
    let fields = request.headers_mut();
    fields.insert(HOST, host);
    fields.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    // RFC 9110 §8.6: a method that expects a body says that there is none.
    if [Method::POST, Method::PUT, Method::PATCH].contains(&check.method) {
        fields.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    for name in check.headers.keys() {
        fields.remove(name);
    }
    for (name, value) in &check.headers {
        fields.append(name, value.clone());
    }
    // Whatever the config says: the connection is for this request alone.
    fields.insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(request)
}

fn contains(body: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || body.windows(wanted.len()).any(|part| part == wanted)
}

/// `200-399`, `200, 204`.
fn ranges(ranges: &[(u16, u16)]) -> String {
    let range = |&(first, last): &(u16, u16)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    ranges.iter().map(range).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn a_proxy_that_passes_an_answer_on_has_not_made_it() {
        let says = |text: &'static str| says_error(&HeaderValue::from_static(text));
        assert!(says("edge; error=connection_refused") && says("a, b; details=\"x\"; error=dns_timeout"));
        assert!(!says("edge; received-status=503") && !says("edge; details=\"error=none\""));
    }

    fn check() -> HttpCheck {
        HttpCheck {
            path: "/healthz?full".to_owned(),
            method: Method::GET,
            host_header: None,
            headers: HeaderMap::new(),
            expect_status: vec![(200, 399)],
            expect_body: String::new(),
        }
    }

    #[test]
    fn the_request_says_who_asks_and_keeps_no_connection() {
        let request = request(&check(), "127.0.0.1:3000").unwrap();
        assert_eq!((request.method(), request.uri()), (&Method::GET, &"/healthz?full".parse().unwrap()));
        let fields = request.headers();
        assert_eq!(
            (&fields[HOST], &fields[CONNECTION]),
            (&"127.0.0.1:3000".parse().unwrap(), &"close".parse().unwrap())
        );
        assert_eq!(fields[USER_AGENT], concat!("causeway/", env!("CARGO_PKG_VERSION"), " (health check)"));
        assert!(!fields.contains_key(CONTENT_LENGTH));
    }

    #[test]
    fn the_fields_of_the_config_win_over_our_own() {
        let mut check = check();
        check.method = Method::POST;
        check.host_header = Some(HeaderValue::from_static("shop.example"));
        check.headers.append(USER_AGENT, HeaderValue::from_static("uptime"));
        check.headers.append("x-key", HeaderValue::from_static("1"));
        check.headers.append("x-key", HeaderValue::from_static("2"));
        check.headers.append(CONNECTION, HeaderValue::from_static("keep-alive"));
        let request = request(&check, "127.0.0.1:3000").unwrap();
        let fields = request.headers();
        assert_eq!(
            (&fields[HOST], &fields[USER_AGENT]),
            (&"shop.example".parse().unwrap(), &"uptime".parse().unwrap())
        );
        assert_eq!((fields.get_all("x-key").iter().count(), &fields[CONTENT_LENGTH]), (2, &"0".parse().unwrap()));
        assert_eq!(fields.get_all(CONNECTION).iter().collect::<Vec<_>>(), ["close"]);
    }

    #[test]
    fn wanted_ranges_and_texts() {
        assert_eq!(ranges(&[(200, 399)]), "200-399");
        assert_eq!(ranges(&[(200, 200), (204, 299)]), "200, 204-299");
        assert!(contains(b"status: UP", b"UP") && contains(b"", b"") && !contains(b"DOWN", b"UP"));
    }
}

//! The gRPC check: one call of `grpc.health.v1.Health/Check` over HTTP/2 on a fresh connection, whose answer must be
//! SERVING.
//!
//! `ask` speaks over any stream, so that TLS can stand below it. `message` has the two messages, `first` the first
//! bytes that came, for the answers that are no HTTP/2. Nothing here runs on behind the call's back, and the body, the
//! fields and the time it takes all have a limit.

mod first;
mod message;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE, USER_AGENT};
use http::uri::{PathAndQuery, Uri};
use http::{Method, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use crate::cause::{Cause, Failure, Phase, escape};
use crate::client::{Offer, Opening, Progress, open};
use crate::config::Endpoint;
use crate::config::address::Scheme;
use crate::config::model::{Check, GrpcCheck, Timeouts};

use super::{AGENT, Passed, asked, late};
use first::First;
use message::Status;

const PATH: &str = "/grpc.health.v1.Health/Check";
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The most of an answer's fields, and of its trailers, in bytes as HTTP/2 counts them.
const FIELDS: u32 = 16 << 10;

/// How long the goodbye may take, which tells the server that the connection ends as it should.
const GOODBYE: Duration = Duration::from_millis(50);

/// Asks, and judges the answer.
pub(super) async fn check(endpoint: &Arc<Endpoint>, check: &GrpcCheck, limit: Duration) -> Result<Passed, Failure> {
    let started = Instant::now();
    let timeouts = Timeouts { connect: limit, tls: limit, ..Timeouts::default() };
    let (progress, opening) =
        (Progress::default(), Opening { endpoint, timeouts: &timeouts, client: None, offer: Offer::Http2 });
    let opened = timeout_at(started + limit, open(opening, &progress)).await;
    let stream = opened.map_err(|_elapsed| late(progress.phase(), false, limit))??;
    let connect = progress.connect().unwrap_or_default();
    let secure = endpoint.scheme == Scheme::Https;
    let call = Call { request: request(check, endpoint.host(), secure)?, check, deadline: started + limit, limit };
    call.ask(stream).await?;
    Ok((Some(connect), Some(200)))
}

/// One call, and until when.
struct Call<'a> {
    request: Request<()>,
    check: &'a GrpcCheck,
    deadline: Instant,
    limit: Duration,
}

impl Call<'_> {
    async fn ask(self, stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), Failure> {
        let first = Arc::new(First::default());
        let judge = |broken: Broken, end: Option<h2::Error>| match broken {
            Broken::Here(failure) => failure,
            // Why the connection ended says more than that it did.
            Broken::Wire(error, phase) => {
                let error = end.filter(h2::Error::is_go_away).unwrap_or(error);
                failure(&error, &first.bytes(), phase, self.check)
            }
        };
        let mut builder = h2::client::Builder::new();
        builder.enable_push(false).max_header_list_size(FIELDS).initial_window_size(16 << 10);
        let shaken = timeout_at(self.deadline, builder.handshake(first::Watched::new(stream, &first))).await;
        let (mut sender, connection) = shaken
            .map_err(|_elapsed| late(Phase::Request, false, self.limit))?
            .map_err(|error| judge(Broken::Wire(error, Phase::Head), None))?;
        let mut connection = std::pin::pin!(connection);
        let read = {
            let mut exchange = std::pin::pin!(self.exchange(&mut sender));
            tokio::select! {
                biased;
                read = &mut exchange => read.map_err(|broken| judge(broken, None))?,
                // Its end is the end of all that it carries: the exchange hears of it.
                end = &mut connection => exchange.await.map_err(|broken| judge(broken, end.err()))?,
            }
        };
        drop(sender);
        let _ = timeout_at(self.deadline.min(Instant::now() + GOODBYE), connection).await;
        judged(&read, self.check)
    }

    /// The call itself; somebody else moves the connection.
    async fn exchange(&self, sender: &mut h2::client::SendRequest<Bytes>) -> Result<Read, Broken> {
        let late = |phase| move |_elapsed| Broken::Here(late(phase, true, self.limit));
        let wire = |phase| move |error| Broken::Wire(error, phase);
        let sent = async {
            std::future::poll_fn(|cx| sender.poll_ready(cx)).await?;
            let (head, mut body) = sender.send_request(self.request.clone(), false)?;
            body.send_data(message::request(&self.check.service), true)?;
            Ok(head)
        };
        let sent = timeout_at(self.deadline, sent).await.map_err(late(Phase::Request))?;
        let head = sent.map_err(wire(Phase::Head))?;
        let head = timeout_at(self.deadline, head).await.map_err(late(Phase::Head))?.map_err(wire(Phase::Head))?;
        opening(&head, self.check).map_err(Broken::Here)?;
        timeout_at(self.deadline, rest(head)).await.map_err(late(Phase::Body))?.map_err(wire(Phase::Body))
    }
}

/// What ended a call.
enum Broken {
    /// Something that is known here.
    Here(Failure),
    /// The stream, in this phase.
    Wire(h2::Error, Phase),
}

/// `POST /grpc.health.v1.Health/Check`.
fn request(check: &GrpcCheck, authority: &str, secure: bool) -> Result<Request<()>, Failure> {
    let unfit = |error: http::Error| Failure::new(Cause::Bug).from(error);
    let authority = check.host_header.as_ref().map_or(authority.as_bytes(), HeaderValue::as_bytes);
    let uri = Uri::builder()
        .scheme(if secure { "https" } else { "http" })
        .authority(authority)
        .path_and_query(PathAndQuery::from_static(PATH));
    let uri = uri.build().map_err(unfit)?;
    let mut request = Request::builder().method(Method::POST).uri(uri).body(()).map_err(unfit)?;
    let fields = request.headers_mut();
    fields.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    for (name, value) in &check.headers {
        fields.insert(name.clone(), value.clone());
    }
    // Whatever the config says: without these it is no call.
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    fields.insert(TE, HeaderValue::from_static("trailers"));
    *request.version_mut() = http::Version::HTTP_2;
    Ok(request)
}

/// What came behind a head that may be gRPC's.
struct Read {
    /// `None`: longer than a message may be.
    body: Option<Bytes>,
    /// The status, from the trailers, or from the head where there are none.
    status: Option<HeaderValue>,
    said: Option<HeaderValue>,
}

/// Is it an answer of gRPC at all?
fn opening(head: &Response<h2::RecvStream>, check: &GrpcCheck) -> Result<(), Failure> {
    let status = head.status().as_u16();
    if status != 200 {
        let what = format!("gives HTTP {status}, wanted 200: that may not be the app's gRPC port");
        return Err(unwanted(Cause::HealthStatus, check, &what));
    }
    let kind = head.headers().get(CONTENT_TYPE).map_or(&b"no type"[..], HeaderValue::as_bytes);
    if !kind.get(..16).is_some_and(|start| start.eq_ignore_ascii_case(b"application/grpc")) {
        let kind = shortened(kind);
        let what = format!("gives HTTP 200 with {kind}, wanted application/grpc: that may not be the app's gRPC port");
        return Err(unwanted(Cause::HealthBody, check, &what));
    }
    Ok(())
}

/// Reads the message and the trailers.
async fn rest(head: Response<h2::RecvStream>) -> Result<Read, h2::Error> {
    let (parts, mut stream) = head.into_parts();
    let mut body = BytesMut::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        if body.len() + data.len() > message::PREFIX + message::LONGEST {
            return Ok(Read { body: None, status: None, said: None });
        }
        body.extend_from_slice(&data);
    }
    let trailers = stream.trailers().await?;
    let field = |name: &HeaderName| {
        let of = |fields: &HeaderMap| fields.get(name).cloned();
        trailers.as_ref().and_then(of).or_else(|| of(&parts.headers))
    };
    Ok(Read { body: Some(body.freeze()), status: field(&GRPC_STATUS), said: field(&GRPC_MESSAGE) })
}

/// Is the answer SERVING?
fn judged(read: &Read, check: &GrpcCheck) -> Result<(), Failure> {
    let wrong_body = |what: &str| Err(unwanted(Cause::HealthBody, check, &format!("gives {what}")));
    let Some(body) = &read.body else { return wrong_body("more than 4 KiB: that is no answer of a health service") };
    let number = read.status.as_ref().map(|status| status.to_str().ok().and_then(|status| status.parse::<u16>().ok()));
    match number {
        Some(Some(0)) => {}
        Some(Some(code)) => {
            let said = read.said.as_ref().map(|said| shortened(said.as_bytes())).filter(|said| !said.is_empty());
            return Err(unwanted(Cause::HealthStatus, check, &refused(code, said, &check.service)));
        }
        Some(None) => return wrong_body("a grpc-status that is no number"),
        None => return wrong_body("an answer without grpc-status"),
    }
    match message::answer(body) {
        Ok(Status::Serving) => Ok(()),
        Ok(other) => {
            let fix = if other == Status::ServiceUnknown { unknown(&check.service) } else { String::new() };
            Err(unwanted(Cause::HealthStatus, check, &format!("gives {other}, wanted SERVING{fix}")))
        }
        Err(what) => wrong_body(what),
    }
}

/// What a grpc-status other than OK means here, and what to do.
fn refused(code: u16, said: Option<String>, service: &str) -> String {
    let fix = match code {
        5 => unknown(service),
        7 | 16 => ": let the check in, or send what it takes with health.headers".into(),
        12 => ": add the service grpc.health.v1.Health to the server, or set health.type = \"tcp\"".into(),
        _ => said.map(|said| format!(": {said}")).unwrap_or_default(),
    };
    match CODES.get(usize::from(code)) {
        Some(name) => format!("gives {name} ({code}){fix}"),
        None => format!("gives grpc-status {code}{fix}"),
    }
}

fn unknown(service: &str) -> String {
    match service {
        "" => ": the server does not know the service \"\", which stands for itself; name one in health.path".into(),
        service => format!(": register \"{service}\" with its health service, or correct health.path"),
    }
}

const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// An answer that is not wanted: `gRPC Health/Check gives NOT_SERVING, wanted SERVING`.
fn unwanted(cause: Cause, check: &GrpcCheck, what: &str) -> Failure {
    Failure::new(cause).sent(true).seen(format!("{} {what}", asked(&Check::Grpc(check.clone()))))
}

/// What a peer says, printable and of a length that fits a line.
fn shortened(bytes: &[u8]) -> String {
    let end = bytes.len().min(100);
    escape(&bytes[..end])
}

/// Why a call ended without an answer. `first`: the first bytes that came.
fn failure(error: &h2::Error, first: &[u8], phase: Phase, check: &GrpcCheck) -> Failure {
    let reason = error.reason().map_or_else(String::new, |reason| format!("{reason:?}"));
    let reset = error.get_io().is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset);
    let failure = match first {
        [] if reset => Failure::new(Cause::ResetBeforeHead),
        [] => Failure::new(Cause::ClosedWithoutResponse),
        // An alert or a handshake (RFC 8446 §5.1).
        [0x15 | 0x16, 3, ..] => Failure::new(Cause::SpeaksTls),
        _ if first.starts_with(b"HTTP/1") => {
            let line = first.split(|&b| b == b'\r' || b == b'\n').next().unwrap_or(first);
            let what = format!(
                "gives \"{}\": it speaks HTTP/1.1 there, and gRPC takes HTTP/2; set health.port to the app's gRPC port, \
                 or health.type = \"http\"",
                shortened(line)
            );
            return unwanted(Cause::HealthStatus, check, &what);
        }
        // A server begins with SETTINGS on stream 0 (RFC 9113 §3.4), or, in haste, with GOAWAY.
        [_, _, _, kind, ..] if !matches!(kind, 4 | 7) => {
            Failure::new(Cause::NotHttp).seen(&first[..first.len().min(32)])
        }
        _ if phase == Phase::Body => {
            Failure::new(Cause::TruncatedBody).seen(if reason.is_empty() { "closed" } else { &reason })
        }
        _ if error.is_remote() && error.is_reset() => {
            let refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
            Failure::new(if refused { Cause::H2StreamRefused } else { Cause::H2ProtocolError })
                .seen(format!("RST_STREAM with {reason}"))
        }
        _ if error.is_remote() && error.is_go_away() => {
            // Goodbye without a reproach (RFC 9113 §6.8).
            let leaving = error.reason() == Some(h2::Reason::NO_ERROR);
            Failure::new(if leaving { Cause::H2StreamRefused } else { Cause::H2ProtocolError })
                .seen(format!("GOAWAY with {reason}"))
        }
        _ if reset => Failure::new(Cause::ResetBeforeHead),
        _ if error.is_io() => Failure::new(Cause::ClosedWithoutResponse),
        _ => Failure::new(Cause::H2ProtocolError).seen(format!("{reason} in what it sent")),
    };
    failure.sent(true).from(error.to_string())
}

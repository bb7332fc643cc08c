//! gRPC checks against servers that behave and misbehave: what passes, and what each failure is called.

use bytes::Bytes;
use causeway::config::model::GrpcCheck;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderName, HeaderValue, Request, Response};

use super::*;

const SERVING: &[u8] = b"\0\0\0\0\x02\x08\x01";
const NOT_SERVING: &[u8] = b"\0\0\0\0\x02\x08\x02";

/// What a server does with the call.
#[derive(Clone)]
struct Answer {
    status: u16,
    head: Vec<(&'static str, &'static str)>,
    body: Option<Vec<u8>>,
    trailers: Option<Vec<(&'static str, &'static str)>>,
    end: End,
}

/// Where it stops.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Well,
    /// RST_STREAM in place of an answer, or within its body.
    Reset(Reason),
    /// GOAWAY in place of an answer.
    GoAway(Reason),
    /// The connection is closed in place of an answer.
    Closed,
    /// Nothing comes in place of the trailers.
    Silent,
}

const TYPE: (&str, &str) = ("content-type", "application/grpc");

fn answer(body: &[u8]) -> Answer {
    let (head, trailers) = (vec![TYPE], Some(vec![("grpc-status", "0")]));
    Answer { status: 200, head, body: Some(body.to_vec()), trailers, end: End::Well }
}

fn ending(end: End) -> Answer {
    Answer { end, ..answer(SERVING) }
}

/// Trailers-only.
fn refusing(head: &[(&'static str, &'static str)]) -> Answer {
    Answer { head: [&[TYPE], head].concat(), body: None, trailers: None, ..answer(SERVING) }
}

/// What the server saw of the call: the head, and the message.
type Seen = (http::request::Parts, Vec<u8>);

/// Serves one connection, and whether that ended as it should.
async fn serve(listener: TcpListener, answer: Answer) -> (Option<Seen>, bool) {
    let (stream, _) = listener.accept().await.unwrap();
    let Ok(mut connection) = h2::server::handshake(stream).await else { return (None, false) };
    let Some(Ok((request, respond))) = connection.accept().await else { return (None, false) };
    match answer.end {
        End::Closed => return (None, false),
        End::GoAway(reason) => connection.abrupt_shutdown(reason),
        End::Well | End::Reset(_) | End::Silent => {}
    }
    let call = tokio::spawn(handle(request, respond, answer));
    let mut well = true;
    while let Some(next) = connection.accept().await {
        well &= next.is_ok();
        if !well {
            break;
        }
    }
    (call.await.unwrap(), well)
}

async fn handle(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, answer: Answer) -> Option<Seen> {
    let (parts, mut body) = request.into_parts();
    let mut message = Vec::new();
    while let Some(data) = body.data().await {
        message.extend_from_slice(&data.ok()?);
    }
    if matches!((answer.end, &answer.body), (End::GoAway(_), _) | (End::Silent, None)) {
        std::future::pending::<()>().await;
    }
    if let (End::Reset(reason), None) = (answer.end, &answer.body) {
        respond.send_reset(reason);
        return None;
    }
    let mut head = Response::builder().status(answer.status).body(()).unwrap();
    for (name, value) in answer.head {
        head.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let alone = answer.body.is_none() && answer.trailers.is_none();
    let mut stream = respond.send_response(head, alone).ok()?;
    if let Some(body) = answer.body {
        let last = answer.trailers.is_none() && answer.end == End::Well;
        stream.send_data(body.into(), last).ok()?;
    }
    match (answer.end, answer.trailers) {
        (End::Reset(reason), _) => {
            // Behind the data, which may still be on its way.
            tokio::time::sleep(Duration::from_millis(50)).await;
            stream.send_reset(reason);
        }
        (End::Silent, _) => std::future::pending().await,
        (_, Some(trailers)) if !alone => {
            let field = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
            stream.send_trailers(trailers.into_iter().map(field).collect()).ok()?;
        }
        _ => {}
    }
    Some((parts, message))
}

fn grpc_check(service: &str) -> GrpcCheck {
    GrpcCheck { service: service.to_owned(), host_header: None, headers: HeaderMap::new() }
}

fn grpc(service: &str) -> Health {
    quick(Check::Grpc(grpc_check(service)))
}

async fn failing(health: Health, answer: Answer) -> Failed {
    let (listener, port) = listener().await;
    let server = tokio::spawn(serve(listener, answer));
    let outcome = probe::once(&endpoint(port), &health).await;
    server.abort();
    outcome.expect_err("the check must fail")
}

/// A server that is no HTTP/2 at all: it reads what comes, says this, and closes or holds the connection.
async fn raw(health: Health, bytes: &'static [u8], hold: bool) -> Failed {
    let (listener, port) = listener().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        if hold {
            let _ = stream.read_to_end(&mut Vec::new()).await;
        } else {
            // An end, not a reset: all that came is read.
            stream.shutdown().await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
        preface
    });
    let outcome = probe::once(&endpoint(port), &health).await;
    if !hold {
        assert_eq!(&server.await.unwrap(), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    }
    outcome.expect_err("the check must fail")
}

#[tokio::test]
async fn serving_passes_and_says_who_asks_for_what() {
    let (listener, port) = listener().await;
    let server = tokio::spawn(serve(listener, answer(SERVING)));
    let mut check = grpc_check("shop.v1.Cart");
    check.headers.insert("x-key", HeaderValue::from_static("1"));
    let facts = probe::once(&endpoint(port), &quick(Check::Grpc(check))).await.unwrap();
    assert!(facts.sentence.starts_with("gRPC Health/Check of shop.v1.Cart gives SERVING in "), "{}", facts.sentence);
    assert!(facts.connect.is_some());
    let (seen, well) = server.await.unwrap();
    let (head, message) = seen.unwrap();
    assert!(well, "the connection ends with GOAWAY");
    assert_eq!((head.method, head.uri.path()), (Method::POST, "/grpc.health.v1.Health/Check"));
    assert_eq!(head.uri.authority().unwrap().as_str(), format!("127.0.0.1:{port}"));
    let agent = concat!("causeway/", env!("CARGO_PKG_VERSION"), " (health check)");
    for (name, value) in
        [("content-type", "application/grpc"), ("te", "trailers"), ("user-agent", agent), ("x-key", "1")]
    {
        assert_eq!(head.headers[name], value);
    }
    assert_eq!(message, b"\0\0\0\0\x0e\x0a\x0cshop.v1.Cart");
}

#[tokio::test]
async fn the_whole_server_is_asked_about_with_the_host_of_the_config() {
    let (listener, port) = listener().await;
    // A type with a suffix, and a field that this causeway does not know.
    let head = vec![("content-type", "application/grpc+proto")];
    let server = tokio::spawn(serve(listener, Answer { head, ..answer(b"\0\0\0\0\x05\x1a\x01x\x08\x01") }));
    let check = GrpcCheck { host_header: Some(HeaderValue::from_static("cart.shop")), ..grpc_check("") };
    let facts = probe::once(&endpoint(port), &quick(Check::Grpc(check))).await.unwrap();
    assert!(facts.sentence.starts_with("gRPC Health/Check gives SERVING in "), "{}", facts.sentence);
    let (head, message) = server.await.unwrap().0.unwrap();
    assert_eq!((head.uri.authority().unwrap().as_str(), &message[..]), ("cart.shop", &[0; 5][..]));
}

#[tokio::test]
async fn what_a_server_says_in_place_of_serving_is_told_with_the_fix() {
    let with = |change: fn(&mut Answer)| {
        let mut changed = answer(SERVING);
        change(&mut changed);
        changed
    };
    let status = Cause::HealthStatus;
    let body = Cause::HealthBody;
    for (answer, cause, wanted) in [
        (answer(NOT_SERVING), status, "gives NOT_SERVING, wanted SERVING"),
        (answer(b"\0\0\0\0\0"), status, "gives UNKNOWN, wanted SERVING"),
        (
            answer(b"\0\0\0\0\x02\x08\x03"),
            status,
            "gives SERVICE_UNKNOWN, wanted SERVING: register \"shop.Cart\" with its health service, or correct health.path",
        ),
        (answer(b"\0\0\0\0\x02\x08\x09"), status, "gives the serving status 9, wanted SERVING"),
        (
            refusing(&[("grpc-status", "5"), ("grpc-message", "unknown service")]),
            status,
            "gives NOT_FOUND (5): register \"shop.Cart\" with its health service, or correct health.path",
        ),
        (
            refusing(&[("grpc-status", "12")]),
            status,
            "gives UNIMPLEMENTED (12): add the service grpc.health.v1.Health to the server, or set health.type = \"tcp\"",
        ),
        (
            refusing(&[("grpc-status", "16")]),
            status,
            "gives UNAUTHENTICATED (16): let the check in, or send what it takes with health.headers",
        ),
        (
            refusing(&[("grpc-status", "13"), ("grpc-message", "no%20database")]),
            status,
            "gives INTERNAL (13): no%20database",
        ),
        (refusing(&[("grpc-status", "99")]), status, "gives grpc-status 99"),
        // The status of the trailers is the last word, whatever the message says.
        (with(|a| a.trailers = Some(vec![("grpc-status", "14")])), status, "gives UNAVAILABLE (14)"),
        (with(|a| a.status = 404), status, "gives HTTP 404, wanted 200: that may not be the app's gRPC port"),
        (
            with(|a| a.head = vec![("content-type", "text/html")]),
            body,
            "gives HTTP 200 with text/html, wanted application/grpc: that may not be the app's gRPC port",
        ),
        (
            with(|a| a.head = vec![]),
            body,
            "gives HTTP 200 with no type, wanted application/grpc: that may not be the app's gRPC port",
        ),
        (refusing(&[("grpc-status", "0")]), body, "gives no message"),
        (refusing(&[]), body, "gives an answer without grpc-status"),
        (refusing(&[("grpc-status", "fine")]), body, "gives a grpc-status that is no number"),
        (with(|a| a.trailers = None), body, "gives an answer without grpc-status"),
        (answer(b"\x01\0\0\0\x02\x08\x01"), body, "gives a compressed message, which nobody asked for"),
        (answer(b"\0\0\0\0\x09\x08\x01"), body, "gives a message that is cut off"),
        (answer(b"\0\0\0\0\x02\x0b\x01"), body, "gives a message that is no HealthCheckResponse"),
        (answer(&[SERVING, SERVING].concat()), body, "gives more than one message"),
        (answer(&[0; 6000]), body, "gives more than 4 KiB: that is no answer of a health service"),
    ] {
        let failed = failing(grpc("shop.Cart"), answer).await;
        assert_eq!(failed.sentence, format!("gRPC Health/Check of shop.Cart {wanted}"));
        assert_eq!((failed.failure.cause, failed.failure.sent), (cause, true), "{wanted}");
    }
}

#[tokio::test]
async fn a_call_that_is_broken_off_says_how() {
    let no_body = |end| Answer { body: None, ..ending(end) };
    for (answer, cause, wanted) in [
        (
            no_body(End::Reset(Reason::REFUSED_STREAM)),
            Cause::H2StreamRefused,
            "h2_stream_refused. It ended gRPC Health/Check with an error of HTTP/2: RST_STREAM with REFUSED_STREAM.",
        ),
        (
            no_body(End::Reset(Reason::INTERNAL_ERROR)),
            Cause::H2ProtocolError,
            "h2_protocol_error. It ended gRPC Health/Check with an error of HTTP/2: RST_STREAM with INTERNAL_ERROR.",
        ),
        (
            no_body(End::GoAway(Reason::ENHANCE_YOUR_CALM)),
            Cause::H2ProtocolError,
            "h2_protocol_error. It ended gRPC Health/Check with an error of HTTP/2: GOAWAY with ENHANCE_YOUR_CALM.",
        ),
        (ending(End::Reset(Reason::INTERNAL_ERROR)), Cause::TruncatedBody, "INTERNAL_ERROR"),
        (no_body(End::Closed), Cause::ClosedWithoutResponse, "closed_without_response. "),
    ] {
        let failed = failing(grpc(""), answer).await;
        assert!(failed.sentence.contains(wanted), "{wanted}: {}", failed.sentence);
        assert_eq!(failed.failure.cause, cause, "{failed}");
    }
}

#[tokio::test]
async fn what_speaks_no_http2_is_told_by_its_first_bytes() {
    let http1 = raw(grpc(""), b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", false).await;
    assert_eq!(http1.failure.cause, Cause::HealthStatus);
    assert_eq!(
        http1.sentence,
        "gRPC Health/Check gives \"HTTP/1.1 400 Bad Request\": it speaks HTTP/1.1 there, and gRPC takes HTTP/2; \
         set health.port to the app's gRPC port, or health.type = \"http\""
    );
    let ssh = raw(grpc(""), b"SSH-2.0-OpenSSH_9.6\r\n", false).await;
    assert_eq!(ssh.failure.cause, Cause::NotHttp);
    assert!(ssh.sentence.contains("SSH-2.0-OpenSSH_9.6"), "{ssh}");
    let tls = raw(grpc(""), b"\x15\x03\x01\x00\x02\x02\x46", false).await;
    assert_eq!(tls.failure.cause, Cause::SpeaksTls, "{tls}");
    let closed = raw(grpc(""), b"", false).await;
    assert_eq!(closed.failure.cause, Cause::ClosedWithoutResponse, "{closed}");
    // SETTINGS as they must be, then a frame larger than allowed.
    let broken = raw(grpc(""), b"\0\0\0\x04\0\0\0\0\0\xff\xff\xff\0\0\0\0\0\x01", false).await;
    assert_eq!(broken.failure.cause, Cause::H2ProtocolError, "{broken}");
    assert!(broken.sentence.contains("HTTP/2: FRAME_SIZE_ERROR in what it sent"), "{broken}");
}

#[tokio::test]
async fn the_whole_check_has_one_clock() {
    let hurried = |service| Health { timeout: Duration::from_millis(200), ..grpc(service) };
    let mute = raw(hurried(""), b"", true).await;
    assert_eq!(mute.failure.cause, Cause::ReadTimeout);
    let wanted = "read_timeout. It gave no answer to gRPC Health/Check within 200.0 ms (limit: health.timeout).";
    assert_eq!(mute.sentence, wanted);
    let silent = failing(hurried("x"), Answer { body: None, ..ending(End::Silent) }).await;
    assert_eq!(silent.failure.cause, Cause::ReadTimeout, "{silent}");
    let stalled = failing(hurried("x"), ending(End::Silent)).await;
    assert_eq!(stalled.failure.cause, Cause::BodyTimeout, "{stalled}");
    assert!(stalled.elapsed < Duration::from_secs(1));
}

#[tokio::test]
async fn nobody_there_is_what_it_is_for_every_check() {
    let (listener, port) = listener().await;
    drop(listener);
    let failed = probe::once(&endpoint(port), &grpc("")).await.unwrap_err();
    assert_eq!(failed.failure.cause, Cause::ConnectionRefused);
}

/// Bytes of any kind in place of an answer: a failure with a name, in time.
#[tokio::test]
async fn no_answer_is_too_strange() {
    let mut rng = fastrand::Rng::with_seed(4);
    for _ in 0..200 {
        let mut bytes: Vec<u8> = match rng.u8(..3) {
            0 => vec![],
            1 => b"\0\0\0\x04\0\0\0\0\0".to_vec(),
            _ => b"\0\0\0\x04\0\0\0\0\0\0\0\x01\x01\x04\0\0\0\x01\x88".to_vec(),
        };
        bytes.extend((0..rng.usize(0..60)).map(|_| rng.u8(..)));
        let (listener, port) = listener().await;
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        let outcome = probe::once(&endpoint(port), &grpc("")).await;
        let failed = outcome.expect_err("noise is not SERVING");
        assert!(failed.sentence.is_ascii() && !failed.sentence.is_empty());
        server.await.unwrap();
    }
}

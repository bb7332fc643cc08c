//! The HTTP check: a request of our own on a fresh connection, and what its answer must be.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, USER_AGENT};
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use tokio::time::{Instant, timeout_at};

use crate::cause::{Cause, Failure, Phase};
use crate::client::{Body, Client, Order, Progress};
use crate::config::Endpoint;
use crate::config::model::{Buffers, Connections, HttpCheck, Timeouts};

use super::{AGENT, Passed, late};

/// The most of a body that is read.
const BODY: usize = 64 << 10;

/// Asks, and judges the answer.
pub(super) async fn check(endpoint: &Arc<Endpoint>, check: &HttpCheck, limit: Duration) -> Result<Passed, Failure> {
    let deadline = Instant::now() + limit;
    let request = request(check, &endpoint.authority)?;
    // A client with no connections, for this one request: so the connection is fresh, and closed at the end.
    let client = Client::<Empty<Bytes>>::new();
    let timeouts = Timeouts { connect: limit, write: limit, read: limit, body: limit, ..Timeouts::default() };
    let connections = Connections { max_idle: 0, ..Connections::default() };
    let order = Order {
        endpoint,
        timeouts: &timeouts,
        buffers: &Buffers::default(),
        connections: &connections,
        replayable: true,
        fresh: true,
        expects_continue: false,
    };
    let progress = Arc::new(Progress::default());
    let sent = timeout_at(deadline, client.send(order, request, &progress)).await;
    let response = sent.map_err(|_elapsed| late(progress.phase(), progress.sent(), limit))??;

    let status = response.status().as_u16();
    if !check.expect_status.iter().any(|&(first, last)| (first..=last).contains(&status)) {
        let said = format!("{} {} gives {status}, wanted {}", check.method, check.path, ranges(&check.expect_status));
        return Err(Failure::new(Cause::HealthStatus).seen(said));
    }
    let read = timeout_at(deadline, first_bytes(response.into_body())).await;
    let body = read.map_err(|_elapsed| late(Phase::Body, true, limit))??;
    if !contains(&body, check.expect_body.as_bytes()) {
        let (method, path, wanted) = (&check.method, &check.path, &check.expect_body);
        let said = format!("{method} {path} gives {status}, but its body does not contain \"{wanted}\"");
        return Err(Failure::new(Cause::HealthBody).seen(said));
    }
    Ok((progress.connect(), Some(status)))
}

fn request(check: &HttpCheck, authority: &str) -> Result<Request<Empty<Bytes>>, Failure> {
    let unfit = |error: http::Error| Failure::new(Cause::Bug).from(error);
    let mut request =
        Request::builder().method(&check.method).uri(check.path.as_str()).body(Empty::new()).map_err(unfit)?;
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

/// The whole body, or its first 64 KiB: the rest is nobody's business.
async fn first_bytes(mut body: Body) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    while bytes.len() < BODY
        && let Some(frame) = body.frame().await
    {
        if let Some(data) = frame?.data_ref() {
            bytes.extend_from_slice(&data[..data.len().min(BODY - bytes.len())]);
        }
    }
    Ok(bytes)
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

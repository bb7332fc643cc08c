//! One POST to `notify.url`: the event as its body, any 2xx is a yes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use http::{Method, Request};
use http_body_util::Full;
use tokio::time::timeout;

use crate::client::{Client, Order, Progress};
use crate::config::Endpoint;
use crate::config::address::Dial;
use crate::config::model::{Buffers, Connections, PoolTls, Timeouts, Webhook};
use crate::observe::events::Told;
use crate::observe::told::whole;
use crate::pool::resolve;

/// Posts it. An error is the end of a sentence: `it answered 500`.
pub(super) async fn post(hook: &Webhook, told: &Told, limit: Duration) -> Result<(), String> {
    match timeout(limit, exchange(hook, told, limit)).await {
        Ok(Ok(200..=299)) => Ok(()),
        Ok(Ok(status)) => Err(format!("it answered {status}")),
        Ok(Err(why)) => Err(why),
        Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
    }
}

async fn exchange(hook: &Webhook, told: &Told, limit: Duration) -> Result<u16, String> {
    let endpoint = Arc::new(endpoint(hook, limit).await?.with_tls(hook.tls.as_ref().map(http1)));
    let request = request(hook, &endpoint, told).map_err(|error| error.to_string())?;
    let timeouts =
        Timeouts { connect: limit, tls: limit, write: limit, read: limit, body: limit, ..Timeouts::default() };
    let order = Order {
        endpoint: &endpoint,
        timeouts: &timeouts,
        buffers: &Buffers::default(),
        connections: &Connections { max_idle: 0, ..Connections::default() },
        idle_age: &Arc::default(),
        meter: &Arc::default(),
        client: None,
        now: tokio::time::Instant::now(),
        replayable: false,
        fresh: true,
        expects_continue: false,
        elsewhere: false,
    };
    // A client of its own: a fresh connection, closed at the end. The body of the answer is nobody's business.
    let answer = Client::<Full<Bytes>>::new().send(order, request, &Arc::new(Progress::default())).await;
    answer.map(|answer| answer.status().as_u16()).map_err(|failure| format!("{}: {}", failure.cause, whole(&failure)))
}

/// Names are asked for each time: that is seldom.
async fn endpoint(hook: &Webhook, limit: Duration) -> Result<Endpoint, String> {
    let address = &hook.address;
    if let Some(literal) = Endpoint::literal(address) {
        return Ok(literal);
    }
    let found = resolve::look_up(address, &hook.name_servers, limit)
        .await
        .map_err(|(cause, said)| format!("{cause}: {said}"))?;
    let found = found.places.iter().map(|place| place.at).collect();
    Ok(Endpoint::new(address.to_string().into(), Dial::Addresses(found)).speaking(address.scheme))
}

/// One request, and then the connection is closed: nothing for HTTP/2 to share.
fn http1(tls: &Arc<PoolTls>) -> Arc<PoolTls> {
    Arc::new(PoolTls { traffic: Arc::clone(&tls.http1), ..PoolTls::clone(tls) })
}

fn request(hook: &Webhook, endpoint: &Endpoint, told: &Told) -> Result<Request<Full<Bytes>>, http::Error> {
    let request = Request::builder().method(Method::POST).uri(hook.target.as_str());
    let request = request
        .header(HOST, endpoint.host())
        .header(USER_AGENT, HeaderValue::from_static(concat!("causeway/", env!("CARGO_PKG_VERSION"))))
        .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .header(CONNECTION, HeaderValue::from_static("close"));
    request.body(Full::from(format!("{}\n", told.json)))
}

//! The causes of what may not be tried: slots and places that are taken, an upstream that was taken out.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use causeway::config::Config;
use causeway::health::{Operator, State};
use tokio::net::TcpListener;

use super::*;
use crate::support::origin::{Behaviour, Origin};

fn get(accept: &str) -> String {
    format!("GET {PATH} HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n")
}

/// With one request on its way at an upstream that does not answer, what the next one is told.
async fn beside_one(cause: Cause, change: impl Fn(&mut Config)) {
    for full in [true, false] {
        let origin = Origin::start(Behaviour::Silent).await;
        let detail = if full { "full" } else { "public" };
        let more = format!("[errors]\ndetail = \"{detail}\"\n");
        let proxy = Proxy::changed(&[origin.address()], &more, &change);
        let mut first = Raw::connect(proxy.address).await;
        first.send("GET /first HTTP/1.1\r\nHost: a\r\n\r\n").await;
        origin.requests(1).await;
        let wanted = Wanted { cause, status: cause.row().status, attempt: None };
        let secrets = [origin.address().to_string(), PATH.to_owned()];
        checked(&wanted, full, &secrets, async |accept| ask(&proxy, &get(accept), b"").await).await;
        let answer = ask(&proxy, &get("text/plain"), b"").await;
        assert!(answer.field("retry-after").is_some(), "{answer:?}");
        let command = format!("Next: causeway explain {cause}");
        assert_eq!(answer.text().contains(&command), full, "{}", answer.text());
        let number = answer.text().contains("limits.in_flight = 1 is reached: it has 1 request.");
        assert_eq!(number, full && cause != Cause::ProxyBusy, "{}", answer.text());
    }
}

fn one(config: &mut Config, queue: usize) {
    let limits = &mut Arc::make_mut(&mut config.pools[0]).limits;
    (limits.in_flight, limits.queue) = (NonZeroUsize::new(1), queue);
    limits.queue_timeout = Duration::from_millis(50);
}

#[tokio::test]
async fn no_slot_at_all() {
    beside_one(Cause::UpstreamBusy, |config| one(config, 0)).await;
}

#[tokio::test]
async fn no_slot_in_time() {
    beside_one(Cause::QueueTimeout, |config| one(config, 5)).await;
}

#[tokio::test]
async fn no_place_at_the_listener() {
    beside_one(Cause::ProxyBusy, |config| config.listeners[0].in_flight_limit = NonZeroUsize::new(1)).await;
}

#[tokio::test]
async fn the_operators_word_is_the_reason() {
    let origin = Origin::start(Behaviour::Echo).await;
    for (word, cause) in [(Operator::Draining, Cause::Draining), (Operator::Disabled, Cause::Disabled)] {
        for full in [true, false] {
            let detail = if full { "full" } else { "public" };
            let proxy = Proxy::unchecked(&[origin.address()], &format!("[errors]\ndetail = \"{detail}\"\n"));
            assert_eq!(ask(&proxy, &get("*/*"), b"").await.status, 200);
            proxy.server().pools()[0].switch(&origin.address().to_string(), word, Instant::now()).unwrap();
            let wanted = Wanted { cause, status: 502, attempt: None };
            let secrets = [origin.address().to_string(), PATH.to_owned()];
            checked(&wanted, full, &secrets, async |accept| ask(&proxy, &get(accept), b"").await).await;
            let body: Value = serde_json::from_slice(&ask(&proxy, &get("*/*"), b"").await.body).unwrap();
            let row = &body["not_tried"][0];
            assert_eq!((&row["reason"], &row["state"]), (&cause.token().into(), &cause.token().into()), "{body:#}");
            let command = full.then(|| format!("causeway explain {cause}"));
            assert_eq!(row["command"].as_str(), command.as_deref(), "{body:#}");
        }
    }
    assert!(origin.record().requests.len() == 4, "only those before the operator's word");
}

/// The port of the first is closed while it has the request: its checks fail, and the request goes to the second, which
/// fails in its own way.
#[tokio::test]
async fn evicted_while_it_had_the_request() {
    let stalled = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stalled_at = stalled.local_addr().unwrap();
    let backup = Origin::start(Behaviour::CloseBeforeHead).await;
    let proxy = Proxy::start(&format!(
        "[pool.app]\nupstreams = [\"{stalled_at}\", {{ address = \"{}\", backup = true }}]\n\
         health = {{ type = \"tcp\", interval = \"100ms\", timeout = \"200ms\", unhealthy_after = 2 }}\n[errors]\ndetail = \"full\"\n",
        backup.address()
    ));
    proxy.until(0, State::Ready).await;
    proxy.until(1, State::Ready).await;
    let mut client = Raw::connect(proxy.address).await;
    client.send(get("*/*")).await;
    // Checks connect and close; the one that sends is the request.
    let held = loop {
        let (stream, _) = stalled.accept().await.unwrap();
        stream.readable().await.unwrap();
        if stream.peek(&mut [0; 1]).await.is_ok_and(|read| read > 0) {
            break stream;
        }
    };
    drop(stalled);
    let answer = client.response().await;
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, &body["cause"]), (502, &"closed_without_response".into()), "{body:#}");
    let row = &body["attempts"][0];
    assert_eq!((&row["cause"], &row["upstream"]), (&Cause::Evicted.token().into(), &stalled_at.to_string().into()));
    assert_eq!((&row["phase"], &row["sent"]), (&"head".into(), &true.into()), "{body:#}");
    assert_eq!(row["command"], format!("causeway probe {stalled_at}"), "{body:#}");
    let details = answer.field("proxy-status").unwrap();
    assert!(details.contains("2 failed: evicted, closed_without_response;"), "{details}");
    drop(held);
}

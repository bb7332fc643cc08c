//! The causes that need more than one answer of one upstream: names, drains, limits of the machine, the log alone.

use std::time::Duration;

use causeway::config::model::Action;
use causeway::health::State;

use super::*;
use crate::support::origin::{Behaviour, Origin};

const MS: Duration = Duration::from_millis(1);

fn get(accept: &str) -> String {
    format!("GET {PATH} HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n")
}

/// Which of the three it is depends on the machine's name service; that it is one of them, and its row, do not.
#[tokio::test]
async fn a_name_without_an_address_is_a_cause_of_dns() {
    for full in [true, false] {
        let detail = if full { "full" } else { "public" };
        let proxy = Proxy::start(&format!(
            "[pool.app]\nupstreams = [\"app.invalid:8099\"]\nhealth.type = \"off\"\ntimeouts.resolve = \"200ms\"\n[errors]\ndetail = \"{detail}\"\n"
        ));
        // The first look-up has to end before there is a word on it.
        let first = ask(&proxy, &get("*/*"), b"").await;
        let mut body: Value = serde_json::from_slice(&first.body).unwrap();
        for _ in 0..100 {
            if body["cause"] != "dns_failure" {
                break;
            }
            tokio::time::sleep(10 * MS).await;
            body = serde_json::from_slice(&ask(&proxy, &get("*/*"), b"").await.body).unwrap();
        }
        let dns = [Cause::DnsNotFound, Cause::DnsFailure, Cause::DnsTimeout];
        let cause = dns.into_iter().find(|cause| body["cause"] == cause.token()).unwrap_or_else(|| panic!("{body:#}"));
        let wanted = Wanted { cause, status: cause.row().status, attempt: Some((Phase::Resolve, false)) };
        let secrets = ["app.invalid".to_owned(), ":8099".to_owned(), PATH.to_owned()];
        checked(&wanted, full, &secrets, async |accept| ask(&proxy, &get(accept), b"").await).await;
    }
}

#[tokio::test]
async fn an_evicted_upstream_is_named_with_what_its_checks_say() {
    let origin = Origin::start(Behaviour::Status(503)).await;
    for (check, cause) in
        [("", Cause::HealthStatus), (", expect_status = \"503\", expect_body = \"fine\"", Cause::HealthBody)]
    {
        for full in [true, false] {
            let detail = if full { "full" } else { "public" };
            let proxy = Proxy::start(&format!(
                "[pool.app]\nupstreams = [\"{}\"]\nwhen_all_evicted = \"fail\"\nhealth = {{ path = \"/hz\"{check} }}\n[errors]\ndetail = \"{detail}\"\n",
                origin.address()
            ));
            proxy.until(0, State::Evicted).await;
            let wanted = Wanted { cause: Cause::Evicted, status: 502, attempt: None };
            let secrets = [origin.address().to_string(), "/hz".to_owned(), PATH.to_owned()];
            checked(&wanted, full, &secrets, async |accept| ask(&proxy, &get(accept), b"").await).await;
            let body: Value = serde_json::from_slice(&ask(&proxy, &get("*/*"), b"").await.body).unwrap();
            let row = &body["not_tried"][0];
            assert_eq!((&row["reason"], &row["state"]), (&"evicted".into(), &"evicted".into()), "{body:#}");
            assert_eq!(row["cause"], cause.token(), "{body:#}");
        }
    }
}

#[tokio::test]
async fn what_comes_in_the_last_second_is_told_to_come_back() {
    let origin = Origin::start(Behaviour::Echo).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    // Half a head keeps a connection through the drain; Proxy's shutdown.timeout is 2 s.
    let mut client = Raw::connect(proxy.address).await;
    client.send("GET / HTTP/1.1\r\n").await;
    let mut accepted = Raw::connect(proxy.address).await;
    assert_eq!(accepted.get("/").await.status, 200);
    let late = async {
        tokio::time::sleep(1300 * MS).await;
        client.send("Host: a\r\n\r\n").await;
        client.response().await
    };
    let (_, answer) = tokio::join!(proxy.server().drain("a test"), late);
    assert_eq!((answer.status, answer.field("connection")), (503, Some("close")), "{answer:?}");
    let again: u64 = answer.field("retry-after").and_then(|s| s.parse().ok()).expect("Retry-After");
    assert!(again >= 1);
    proxy_status(&Wanted { cause: Cause::ShuttingDown, status: 503, attempt: None }, &answer, false);
    assert!(answer.text().contains("\"cause\": \"shutting_down\""), "{}", answer.text());
}

#[tokio::test]
async fn broken_chunks_end_the_answer_visibly_and_stand_in_the_log() {
    let origin = Origin::start(Behaviour::BadChunking).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let answer = ask(&proxy, &get("*/*"), b"").await;
    assert_eq!((answer.status, answer.complete), (200, false));
    let seen = proxy.exchange(0).await;
    assert_eq!((seen.status, seen.cause), (200, Some("bad_chunking")), "nothing was held: the head is out");
    assert_eq!(seen.attempts[0].1, "bad_chunking");
}

#[tokio::test]
async fn a_client_that_left_is_499_in_the_log() {
    let origin = Origin::start(Behaviour::Silent).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let mut client = Raw::connect(proxy.address).await;
    client.send(get("*/*")).await;
    origin.requests(1).await;
    drop(client);
    let seen = proxy.exchange(0).await;
    assert_eq!((seen.status, seen.cause), (499, Some("client_closed")));
}

/// The cut of a drain is no answer: what the client sees is the end of its connection, and the log has no status for
/// it.
#[tokio::test]
async fn a_request_that_the_drain_cuts_has_no_status() {
    let origin = Origin::start(Behaviour::Silent).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let mut client = Raw::connect(proxy.address).await;
    client.send(get("*/*")).await;
    origin.requests(1).await;
    proxy.server().drain("a test").await;
    assert!(client.rest().await.0.is_empty(), "not a byte came");
    let seen = proxy.exchange(0).await;
    assert_eq!((seen.status, seen.cause), (0, Some("shutting_down")));
}

/// A route to a pool that is not there: no file can say that, and what serves requests relies on it.
#[tokio::test]
async fn a_panic_is_a_500_that_asks_to_be_reported() {
    let origin = Origin::start(Behaviour::Echo).await;
    let proxy = Proxy::changed(&[origin.address()], "[errors]\ndetail = \"full\"\n", |config| {
        for route in &mut config.routes {
            if let Action::Forward(forward) = &mut route.action {
                forward.pool = 7;
            }
        }
    });
    let wanted = Wanted { cause: Cause::Bug, status: 500, attempt: None };
    let secrets = [origin.address().to_string(), PATH.to_owned()];
    checked(&wanted, false, &secrets, async |accept| ask(&proxy, &get(accept), b"").await).await;
    let answer = ask(&proxy, &get("text/plain"), b"").await;
    assert!(answer.text().replace('\n', " ").contains("Please report it with the request id."), "{}", answer.text());
    let seen = proxy.exchange(0).await;
    assert_eq!((seen.status, seen.cause), (500, Some("bug")));
}

/// Whether the reset is seen before our first byte is the kernel's to say: either way the row is right.
#[tokio::test]
async fn a_reset_at_once_is_told_by_whether_anything_was_sent() {
    let origin = Origin::start(Behaviour::ResetOnAccept).await;
    let proxy = Proxy::unchecked(&[origin.address()], "[errors]\ndetail = \"full\"\n");
    for _ in 0..50 {
        let answer = ask(&proxy, &get("*/*"), b"").await;
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let sent = body["attempts"][0]["sent"] == true;
        let (cause, phase) = match body["cause"].as_str() {
            Some("connect_reset") => (Cause::ConnectReset, Phase::Connect),
            _ if sent => (Cause::ResetBeforeHead, Phase::Head),
            _ => panic!("{body:#}"),
        };
        assert!(cause != Cause::ConnectReset || !sent, "{body:#}");
        let phase = if body["attempts"][0]["phase"] == "request" { Phase::Request } else { phase };
        let wanted = Wanted { cause, status: 502, attempt: Some((phase, sent)) };
        json(&wanted, &body, true);
        proxy_status(&wanted, &answer, true);
    }
}

/// A process of its own that may open few files: kept clients take the last of them, then an upstream cannot be
/// dialled.
#[tokio::test]
async fn out_of_files_is_503_and_says_so() {
    let config = format!(
        "workers = 1\n[listener.main]\naddress = \"127.0.0.1:0\"\nlimits.connections = 500\n[admin]\naddress = \"off\"\n\
         [pool.app]\nupstreams = [\"{}\"]\nhealth.type = \"off\"\n[route.here]\npath = \"/here\"\nrespond = {{ status = 200, body = \"x\" }}\n\
         [route.rest]\n[errors]\ndetail = \"full\"\n",
        Origin::nobody()
    );
    let (_causeway, address) = crate::support::process::Causeway::run_with_files(40, &config);
    let mut clients = Vec::new();
    // Each takes one descriptor; the one that gets no answer waits to be accepted.
    let waiting = loop {
        let mut client = Raw::connect(address).await;
        client.send("GET /here HTTP/1.1\r\nHost: a\r\n\r\n").await;
        match tokio::time::timeout(500 * MS, client.response()).await {
            Ok(answer) => assert_eq!(answer.status, 200),
            Err(_) => break client,
        }
        clients.push(client);
        assert!(clients.len() < 40, "the limit of files does not hold");
    };
    let answer = clients[0].get("/").await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.field("retry-after").is_some(), "{answer:?}");
    let wanted = Wanted { cause: Cause::FilesExhausted, status: 503, attempt: Some((Phase::Connect, false)) };
    assert!(answer.text().contains("its limit of open files: 40 are open."), "{}", answer.text());
    proxy_status(&wanted, &answer, true);
    json(&wanted, &serde_json::from_slice(&answer.body).unwrap(), true);
    // With room again, the one that waited is served.
    clients.truncate(1);
    let mut waiting = waiting;
    assert_eq!(waiting.response().await.status, 200);
}

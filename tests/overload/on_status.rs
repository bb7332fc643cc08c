//! `retry.on_status`: an answer that counts as a failure while there is another attempt.

use super::*;
use causeway::config::model::Statuses;

fn on(statuses: &'static [u16]) -> impl Fn(&mut Config) {
    move |config| {
        retry(config, |retry| {
            retry.on_status = Statuses::default();
            assert!(statuses.iter().all(|status| retry.on_status.insert(*status)));
        });
    }
}

/// 503 with a body of so many bytes, or one that ends with the connection.
fn sick(length: Option<usize>) -> Behaviour {
    let framing = length.map_or("Connection: close\r\n".to_owned(), |length| format!("Content-Length: {length}\r\n"));
    let mut bytes = format!("HTTP/1.1 503 Sick\r\nX-Which: sick\r\n{framing}\r\n").into_bytes();
    bytes.extend(vec![b's'; length.unwrap_or(70_000)]);
    if length.is_some() { Behaviour::Raw(bytes) } else { Behaviour::RawThenClose(bytes) }
}

/// Asks until the first choice, which is random, was the first upstream.
async fn met(proxy: &Proxy, first: &Origin, method: &str) -> (Response, crate::support::proxy::Seen) {
    let before = proxy.exchanges().len();
    for round in before..before + 60 {
        let mut client = Raw::connect(proxy.address).await;
        client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")).await;
        let answer = client.response().await;
        drop(client);
        let seen = proxy.exchange(round).await;
        if seen.attempts[0].0 == first.address().to_string() {
            return (answer, seen);
        }
    }
    panic!("the first was never met");
}

#[tokio::test]
async fn another_upstream_is_asked_and_its_answer_passes() {
    for body in [Some(5), Some(200_000), None] {
        let bad = Origin::start(sick(body)).await;
        let good = Origin::start(Behaviour::Ok(b"good".to_vec())).await;
        let proxy = Proxy::changed(&[bad.address(), good.address()], "", on(&[503]));
        let (answer, seen) = met(&proxy, &bad, "GET").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "good"), "{body:?}");
        assert_eq!((seen.rescued, seen.attempts.len(), &*seen.attempts[0].1), (true, 2, "503"));
        // A POST that was answered was sent: it is asked nowhere else.
        let (answer, seen) = met(&proxy, &bad, "POST").await;
        assert_eq!((answer.status, seen.attempts.len()), (503, 1));
    }
}

#[tokio::test]
async fn the_last_real_answer_passes_whole_when_the_attempts_run_out() {
    for body in [Some(5), Some(200_000), None] {
        let length = body.unwrap_or(70_000);
        let bad = Origin::start(sick(body)).await;
        let proxy = Proxy::changed(&[bad.address(), Origin::nobody()], "", on(&[503]));
        let (answer, seen) = met(&proxy, &bad, "GET").await;
        assert_eq!(
            (answer.status, answer.body.len(), answer.field("x-which")),
            (503, length, Some("sick")),
            "{seen:?}"
        );
        assert!(answer.complete && !seen.rescued && seen.cause.is_none(), "{seen:?}");
        let causes: Vec<_> = seen.attempts.iter().map(|(_, what)| what.as_str()).collect();
        assert_eq!(causes, ["503", "connection_refused"]);
        let upstream = Arc::clone(&proxy.server().pools()[0].members()[0]);
        until("its slot is free", || upstream.in_flight.load(std::sync::atomic::Ordering::Relaxed) == 0).await;
    }
}

#[tokio::test]
async fn of_two_such_answers_the_later_passes_and_others_are_left_alone() {
    let bad = Origin::start(sick(Some(5))).await;
    let other = Origin::start(Behaviour::Status(502)).await;
    let proxy = Proxy::changed(&[bad.address(), other.address()], "", on(&[502, 503]));
    let (answer, seen) = met(&proxy, &bad, "GET").await;
    assert_eq!((answer.status, seen.attempts.len()), (502, 2), "{seen:?}");
    let proxy = Proxy::changed(&[bad.address(), other.address()], "", on(&[504]));
    assert_eq!(met(&proxy, &bad, "GET").await.0.status, 503);
}

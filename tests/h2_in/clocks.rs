//! Clients that are silent, idle, or take nothing.

use std::time::{Duration, Instant};

use super::wire::*;
use super::*;

fn with(timeouts: &str, origin: &Origin) -> Proxy {
    Proxy::with(&format!("listener.main.timeouts = {{ {timeouts} }}"), &[origin.address()], "")
}

#[tokio::test]
async fn what_does_not_come_in_time_ends_the_connection() {
    let origin = Origin::start(ok()).await;
    let proxy = with("head = \"300ms\"", &origin);
    let settings = frame(SETTINGS, 0, 0, &[]);
    let half = head_of("GET", "/", &[("x", "y")]);
    for (why, bytes) in [
        ("half a preface", PREFACE[..16].to_vec()),
        ("no SETTINGS", PREFACE.to_vec()),
        ("half of SETTINGS", [PREFACE, &settings[..5]].concat()),
        ("half a head", [PREFACE, &settings, &frame(HEADERS, END_STREAM, 1, &half)].concat()),
        ("half a frame with a head", [PREFACE, &settings, &frame(HEADERS, BOTH, 1, &half)[..20]].concat()),
    ] {
        let mut peer = Peer::silent(proxy.address).await;
        let since = Instant::now();
        peer.bytes(&bytes).await;
        let frames = peer.rest().await;
        assert!(
            frames.iter().all(|frame| matches!(frame.kind, SETTINGS | WINDOW_UPDATE | GOAWAY)),
            "{why}: {frames:?}"
        );
        assert!(since.elapsed() >= Duration::from_millis(250), "{why}: after {:?}", since.elapsed());
        assert!(since.elapsed() < Duration::from_secs(5), "{why}: after {:?}", since.elapsed());
    }
    assert!(origin.record().raw.is_empty());
}

#[tokio::test]
async fn an_idle_connection_ends_with_goaway() {
    let origin = Origin::start(ok()).await;
    let proxy = with("keep_alive = \"300ms\"", &origin);
    let mut peer = Peer::connect(proxy.address).await;
    peer.get(1, "/").await;
    assert_eq!(peer.status(1).await, 200);
    let since = Instant::now();
    let goaway = peer.until(GOAWAY).await;
    assert_eq!(goaway.reason(), Reason::NO_ERROR);
    assert!(since.elapsed() >= Duration::from_millis(250));
    // One more, before the client could know: it is answered.
    peer.get(3, "/").await;
    assert_eq!(peer.status(3).await, 200);
    peer.goes_away(Reason::NO_ERROR, "to the end").await;
    assert!(since.elapsed() < Duration::from_secs(8));
}

#[tokio::test]
async fn a_busy_connection_is_not_idle() {
    let origin = Origin::start(Behaviour::Slow(Duration::from_millis(900))).await;
    let proxy = with("keep_alive = \"200ms\", head = \"200ms\"", &origin);
    let (answer, _) = ask(&client(&proxy).await, get("/")).await;
    assert_eq!(answer.body().as_ref(), b"ok");
}

#[tokio::test]
async fn a_silent_body_is_408_on_its_stream() {
    let origin = Origin::start(Behaviour::Echo).await;
    let proxy = with("body = \"300ms\"", &origin);
    let send = client(&proxy).await;
    let mut ready = send.clone().ready().await.unwrap();
    let (answer, mut body) = ready.send_request(post("/"), false).unwrap();
    body.send_data("half".into(), false).unwrap();
    let (answer, _) = whole(answer.await.unwrap()).await.unwrap();
    assert_eq!(answer.status(), 408);
    assert!(String::from_utf8_lossy(answer.body()).contains("timeouts.body"));
    assert_eq!(proxy.exchange(0).await.cause, Some("client_timeout"));
    origin.set(ok());
    assert_eq!(ask(&send, get("/")).await.0.status(), 200, "the connection lives");
}

#[tokio::test]
async fn an_answer_of_which_nothing_is_taken_is_reset() {
    let origin = Origin::start(Behaviour::Ok(vec![b'x'; 1 << 20])).await;
    let proxy = with("body = \"300ms\"", &origin);
    let mut peer = Peer::connect(proxy.address).await;
    peer.get(1, "/").await;
    peer.get(3, "/").await;
    let mut reset = Vec::new();
    while reset.len() < 2 {
        let frame = peer.until(RST_STREAM).await;
        assert_eq!(frame.reason(), Reason::CANCEL);
        reset.push(frame.stream);
    }
    reset.sort_unstable();
    assert_eq!(reset, [1, 3]);
    peer.lives().await;
    for index in 0..2 {
        let seen = proxy.exchange(index).await;
        assert_eq!((seen.status, seen.cause), (200, Some("client_timeout")));
        assert!(seen.bytes_out < 1 << 20);
    }
}

#[tokio::test]
async fn a_connection_of_which_nothing_is_read_is_cut() {
    let origin = Origin::start(Behaviour::Ok(vec![b'x'; 32 << 20])).await;
    let proxy = with("body = \"400ms\"", &origin);
    let mut peer = Peer::connect(proxy.address).await;
    // Windows as wide as can be: only the socket is in the way.
    peer.send(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]).await;
    peer.send(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0, 0]).await;
    peer.get(1, "/").await;
    let seen = proxy.exchange(0).await;
    assert_eq!(seen.cause, Some("client_timeout"), "{seen:?}");
}

#[tokio::test]
async fn a_slow_reader_is_waited_for() {
    let origin = Origin::start(Behaviour::Ok(vec![b'x'; 400_000])).await;
    let proxy = with("body = \"600ms\"", &origin);
    let mut send = client(&proxy).await.ready().await.unwrap();
    let mut body = send.send_request(get("/"), true).unwrap().0.await.unwrap().into_body();
    let mut all = 0;
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        all += data.len();
        tokio::time::sleep(Duration::from_millis(60)).await; // slower than the clock in all, never silent for so long
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    assert_eq!(all, 400_000);
}

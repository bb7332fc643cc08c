//! The drain: GOAWAY, what runs is finished, the cut at the end.

use std::time::Duration;

use super::wire::*;
use super::*;

#[tokio::test]
async fn a_drain_says_goaway_and_finishes_streams() {
    let origin = Origin::start(Behaviour::Slow(Duration::from_millis(600))).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let mut peer = Peer::connect(proxy.address).await;
    peer.get(1, "/").await;
    origin.requests(1).await;
    let mut idle = Peer::connect(proxy.address).await;
    let clients = async move {
        let goaway = peer.until(GOAWAY).await;
        assert_eq!(goaway.reason(), Reason::NO_ERROR);
        assert_eq!(peer.status(1).await, 200);
        assert!(peer.rest().await.iter().all(|frame| matches!(frame.kind, DATA | GOAWAY)), "then the end");
        idle.goes_away(Reason::NO_ERROR, "idle").await;
    };
    let (cut, ()) = tokio::join!(proxy.server().drain("a test"), clients);
    assert_eq!(cut, 0);
}

#[tokio::test]
async fn what_outlasts_the_drain_is_cut() {
    let origin = Origin::start(Behaviour::Silent).await;
    let proxy = Proxy::unchecked(&[origin.address()], "");
    let mut peer = Peer::connect(proxy.address).await;
    peer.get(1, "/").await;
    origin.requests(1).await;
    let (cut, frames) = tokio::join!(proxy.server().drain("a test"), peer.rest());
    assert_eq!(cut, 1);
    assert!(frames.iter().all(|frame| frame.kind != HEADERS), "{frames:?}");
    assert_eq!(proxy.exchange(0).await.cause, Some("shutting_down"));
}

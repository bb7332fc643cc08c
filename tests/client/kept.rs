//! Kept connections: used, replaced, closed in time.

use std::io::{Read, Write};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use causeway::cause::{Cause, Phase};

use super::{Bench, MS, feed, full, get, post, text};
use crate::support::origin::{Behaviour, Origin};

#[tokio::test]
async fn a_kept_connection_closed_while_idle_is_replaced_in_silence() {
    let origin = Origin::start(Behaviour::StaleAfter(Duration::ZERO)).await;
    let mut bench = Bench::at(origin.address());
    for round in 1..=20 {
        let (sender, polls, body) = feed();
        sender.send(Ok("once".into())).unwrap();
        drop(sender);
        let response = bench.send(post(body)).await.unwrap();
        assert_eq!(text(response).await, "ok", "round {round}");
        assert!(polls.load(Ordering::Relaxed) >= 1);
        origin.until(|record| record.closed == round).await; // the client's side may not have noticed yet
    }
    assert_eq!(origin.record().requests.len(), 20, "each reached the upstream exactly once");
}

#[tokio::test]
async fn a_restart_of_the_upstream_fails_nobody() {
    let mut origin = Origin::start(Behaviour::Ok(b"ok".to_vec())).await;
    let mut bench = Bench::at(origin.address());
    for _ in 0..5 {
        let (a, b, c) = (bench.get().await.unwrap(), bench.get().await.unwrap(), bench.get().await.unwrap());
        for response in [a, b, c] {
            assert_eq!(text(response).await, "ok");
        }
        origin.stop().await;
        origin.restart().await;
        assert_eq!(bench.text().await, "ok");
        assert!(!bench.progress.reused());
    }
}

#[tokio::test]
async fn a_kept_connection_closed_as_the_request_arrives_is_stale() {
    let origin = Origin::start(Behaviour::StaleOnNext).await;
    let mut bench = Bench::at(origin.address());
    assert_eq!(bench.text().await, "ok");
    let failure = bench.failure(get()).await;
    assert_eq!((failure.cause, failure.phase, failure.sent), (Cause::StaleConnection, Phase::Head, true));
    assert!(bench.progress.reused());
    assert_eq!(origin.record().connections, 1, "never sent again by the client itself");
}

#[tokio::test]
async fn bytes_that_nobody_asked_for_are_never_the_next_answer() {
    let origin = Origin::start(Behaviour::Unsolicited).await;
    let mut bench = Bench::at(origin.address());
    for _ in 0..10 {
        assert_eq!(bench.text().await, "ok");
        assert!(!bench.progress.reused());
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_time_without_being_asked_for() {
    for (idle, behaviour) in
        [(300 * MS, Behaviour::Ok(b"ok".to_vec())), (Duration::from_secs(60), Behaviour::KeepAlive(2))]
    {
        let origin = Origin::start(behaviour).await;
        let mut bench = Bench::at(origin.address());
        bench.connections.idle = idle;
        bench.text().await;
        let start = Instant::now();
        origin.until(|record| record.ended == 1).await;
        assert!(start.elapsed() >= 200 * MS && start.elapsed() < 10_000 * MS, "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn limits_on_kept_connections_hold() {
    let origin = Origin::start(Behaviour::KeepAlive(1)).await;
    let mut bench = Bench::at(origin.address());
    bench.text().await;
    bench.text().await;
    assert_eq!(origin.record().connections, 2, "Keep-Alive: timeout=1 leaves no time to keep it");
    bench.connections.max_idle = 1;
    origin.set(Behaviour::Ok(vec![b'x'; 1 << 20])); // more than comes with a head: both are on their way at once
    let (a, b) = (bench.get().await.unwrap(), bench.get().await.unwrap());
    assert_eq!((text(a).await.len(), text(b).await.len()), (1 << 20, 1 << 20));
    origin.until(|record| record.ended == 3).await;
    origin.set(Behaviour::Ok(b"ok".to_vec()));
    bench.text().await;
    assert!(bench.progress.reused());
    bench.connections.max_age = Duration::ZERO;
    bench.text().await;
    bench.text().await;
    assert!(!bench.progress.reused());
}

#[tokio::test]
async fn what_may_not_be_resent_goes_out_on_a_fresh_connection() {
    let origin = Origin::start(Behaviour::Echo).await;
    let mut bench = Bench::at(origin.address());
    bench.connections.idle = 4000 * MS;
    bench.replayable = false;
    assert_eq!(text(bench.send(post(full("a"))).await.unwrap()).await, "a");
    assert_eq!(text(bench.send(post(full("b"))).await.unwrap()).await, "b");
    assert!(bench.progress.reused(), "idle for less than a quarter");
    tokio::time::sleep(1100 * MS).await;
    assert_eq!(text(bench.send(post(full("c"))).await.unwrap()).await, "c");
    assert!(!bench.progress.reused());
    bench.replayable = true;
    bench.text().await;
    assert!(bench.progress.reused());
}

#[tokio::test]
async fn who_asks_for_a_fresh_connection_gets_one() {
    let origin = Origin::start(Behaviour::Ok(b"ok".to_vec())).await;
    let mut bench = Bench::at(origin.address());
    bench.text().await;
    bench.fresh = true;
    assert_eq!(bench.text().await, "ok");
    assert!(!bench.progress.reused());
    assert_eq!(origin.record().connections, 2);
    bench.fresh = false;
    bench.text().await;
    assert!(bench.progress.reused());
}

/// In one thread, and with no turn for the connection's task between the upstream's close and the next request.
#[tokio::test]
async fn a_death_that_shows_only_as_the_request_is_written_is_told_as_stale_with_nothing_sent() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut bench = Bench::at(listener.local_addr().unwrap());
    let upstream = tokio::task::spawn_blocking(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        (listener, stream)
    });
    bench.text().await;
    let (listener, stream) = upstream.await.unwrap();
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream); // a reset, at once in the kernel on loopback
    let failure = bench.failure(post(full("x"))).await;
    assert_eq!((failure.cause, failure.sent), (Cause::StaleConnection, false), "{failure}");
    bench.fresh = true;
    let again = tokio::task::spawn_blocking(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    });
    assert_eq!(text(bench.send(post(full("x"))).await.unwrap()).await, "ok");
    again.await.unwrap();
}

#[tokio::test]
async fn an_announced_idle_time_is_used_in_place_of_ours_even_if_it_is_longer() {
    let origin = Origin::start(Behaviour::KeepAlive(60)).await;
    let mut bench = Bench::at(origin.address());
    bench.connections.idle = 100 * MS;
    bench.text().await;
    tokio::time::sleep(1200 * MS).await; // our own time is over, and the sweeper has looked
    bench.text().await;
    assert!(bench.progress.reused());
    origin.set(Behaviour::Ok(b"ok".to_vec())); // which announces nothing
    bench.text().await;
    tokio::time::sleep(150 * MS).await;
    bench.text().await;
    assert!(!bench.progress.reused());
}

/// Nobody says it: it is learnt from connections that were closed, and kept ones stay below it.
#[tokio::test]
async fn the_upstreams_own_idle_clock_is_learnt() {
    for clock in [400 * MS, 1000 * MS] {
        let origin = Origin::start(Behaviour::IdleClock(clock)).await;
        let mut bench = Bench::at(origin.address());
        for round in 1..=3 {
            bench.text().await;
            origin.until(|record| record.closed == round).await;
            tokio::time::sleep(600 * MS).await; // the sweeper has looked
        }
        let learnt = bench.idle_age.learnt().expect("learnt");
        assert!(learnt.age > clock - 50 * MS && learnt.age < clock + 150 * MS, "{learnt:?} of {clock:?}");
        assert_eq!(learnt.keeps, learnt.age - 200 * MS);
        bench.text().await;
        tokio::time::sleep(learnt.keeps - 50 * MS).await;
        bench.text().await;
        assert!(bench.progress.reused(), "within the limit in force");
        tokio::time::sleep(learnt.keeps + 20 * MS).await;
        bench.text().await;
        assert!(!bench.progress.reused(), "not beyond it");
        bench.replayable = false;
        tokio::time::sleep(learnt.keeps / 4 + 5 * MS).await;
        bench.send(post(full("x"))).await.unwrap();
        assert!(!bench.progress.reused(), "for a POST, a quarter of it");
    }
}

#[tokio::test]
async fn an_upstream_that_restarts_again_and_again_teaches_nothing() {
    let mut origin = Origin::start(Behaviour::Ok(b"ok".to_vec())).await;
    let mut bench = Bench::at(origin.address());
    for _ in 0..4 {
        bench.text().await;
        tokio::time::sleep(300 * MS).await;
        bench.fresh = true;
        bench.text().await;
        bench.fresh = false;
        tokio::time::sleep(300 * MS).await;
        origin.stop().await; // of 600 ms and of 300 ms, at one moment
        origin.restart().await;
        tokio::time::sleep(600 * MS).await;
    }
    assert_eq!(bench.idle_age.learnt(), None);
}

/// Who had the request for so long has met no idle clock.
#[tokio::test]
async fn an_upstream_that_dies_over_a_request_is_not_stale() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut bench = Bench::at(listener.local_addr().unwrap());
    let upstream = tokio::task::spawn_blocking(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        assert!(stream.read(&mut request).unwrap() > 0);
        #[allow(clippy::disallowed_methods)] // the time itself is what tells a dead app from an idle clock
        std::thread::sleep(1200 * MS);
    });
    bench.text().await;
    let failure = bench.failure(get()).await;
    assert_eq!((failure.cause, failure.phase, failure.sent), (Cause::ClosedWithoutResponse, Phase::Head, true));
    assert!(bench.progress.reused());
    upstream.await.unwrap();
}

//! Answers that come before the request is out, and requests that wait.

use std::sync::atomic::Ordering;
use std::time::Instant;

use causeway::cause::{Cause, Failure, Phase};

use super::{Bench, MS, feed, full, post, text};
use crate::support::origin::{Behaviour, Origin};

/// On two threads, so that the answer and the reset come while the client's side is writing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_answer_behind_a_write_error_is_delivered() {
    let origin = Origin::start(Behaviour::EarlyRefusal).await;
    let mut bench = Bench::at(origin.address());
    for round in 1..=30 {
        let response = bench.send(post(full(vec![0; 20 << 20]))).await.unwrap();
        assert_eq!(response.status().as_u16(), 413);
        assert_eq!(text(response).await, "big");
        assert_eq!(origin.record().connections, round, "never reused");
    }
}

#[tokio::test]
async fn a_write_error_with_no_answer_behind_it_is_the_cause() {
    let origin = Origin::start(Behaviour::ResetInRequest).await;
    let mut bench = Bench::at(origin.address());
    let failure = bench.failure(post(full(vec![0; 20 << 20]))).await;
    assert_eq!((failure.cause, failure.phase, failure.sent), (Cause::ResetBeforeHead, Phase::Request, true));
}

#[tokio::test]
async fn the_body_waits_for_100_continue() {
    let origin = Origin::start(Behaviour::Continue).await;
    let mut bench = Bench::at(origin.address());
    bench.expects_continue = true;
    let (sender, _, body) = feed();
    sender.send(Ok("hello".into())).unwrap();
    drop(sender);
    let mut request = post(body);
    request.headers_mut().insert("expect", "100-continue".parse().unwrap());
    let start = Instant::now();
    assert_eq!(text(bench.send(request).await.unwrap()).await, "hello");
    assert!(start.elapsed() < 900 * MS, "it does not wait for the clock");
}

#[tokio::test]
async fn without_a_100_the_body_goes_out_after_a_second() {
    let origin = Origin::start(Behaviour::Echo).await;
    let mut bench = Bench::at(origin.address());
    bench.expects_continue = true;
    let start = Instant::now();
    assert_eq!(text(bench.send(post(full("late"))).await.unwrap()).await, "late");
    assert!(start.elapsed() >= 1000 * MS && start.elapsed() < 3000 * MS);
}

#[tokio::test]
async fn a_final_answer_in_place_of_100_leaves_the_body_unasked() {
    let origin = Origin::start(Behaviour::RefuseContinue).await;
    let mut bench = Bench::at(origin.address());
    bench.expects_continue = true;
    let (_sender, polls, body) = feed();
    let response = bench.send(post(body)).await.unwrap();
    assert_eq!(response.status().as_u16(), 417);
    tokio::time::sleep(1200 * MS).await; // longer than the gate's clock
    assert_eq!(text(response).await, "no");
    assert_eq!(polls.load(Ordering::Relaxed), 0);
    origin.until(|record| record.ended == 1).await; // not kept: the upstream still waits for a body
}

#[tokio::test]
async fn a_body_that_fails_is_the_clients_fault() {
    let origin = Origin::start(Behaviour::Echo).await;
    let mut bench = Bench::at(origin.address());
    let (sender, _, body) = feed();
    sender.send(Ok("some".into())).unwrap();
    sender.send(Err(Box::new(Failure::new(Cause::ClientTimeout)))).unwrap();
    let failure = bench.failure(post(body)).await;
    assert_eq!((failure.cause, failure.phase), (Cause::ClientClosed, Phase::Request));
    let source = failure.source.unwrap().downcast::<Failure>().unwrap();
    assert_eq!(source.cause, Cause::ClientTimeout);
    origin.until(|record| record.ended == 1 && record.requests.is_empty()).await;
}

//! Response bodies that break off, drip, or are not wanted.

use causeway::cause::{Cause, Phase};
use http_body_util::BodyExt;

use super::{Bench, MS, body_failure};
use crate::support::origin::{Behaviour, Origin};

#[tokio::test]
async fn every_body_that_breaks_off_has_its_name() {
    let origin = Origin::start(Behaviour::Silent).await;
    let mut bench = Bench::at(origin.address());
    bench.timeouts.body = 200 * MS;
    let cut = |sent, reset| Behaviour::CutBody { sent, of: 1024, reset };
    for (behaviour, cause, seen) in [
        (cut(512, false), Cause::TruncatedBody, "512 of 1024 bytes"),
        (cut(512, true), Cause::TruncatedBody, "512 of 1024 bytes"),
        (cut(0, false), Cause::TruncatedBody, "0 of 1024 bytes"),
        (Behaviour::CutChunks, Cause::TruncatedBody, "closed after 5 bytes"),
        (Behaviour::BadChunking, Cause::BadChunking, "after 5 bytes of content"),
        (Behaviour::StallInBody, Cause::BodyTimeout, ""),
    ] {
        origin.set(behaviour.clone());
        let failure = body_failure(bench.get().await.unwrap()).await;
        assert_eq!((failure.cause, failure.phase, failure.sent), (cause, Phase::Body, true), "{behaviour:?}");
        assert_eq!(failure.seen.as_deref().unwrap_or_default(), seen, "{behaviour:?}");
    }
    let record = origin.until(|record| record.ended == record.connections).await;
    assert_eq!(record.connections, 6, "none was used again");
}

#[tokio::test]
async fn a_drip_is_not_silence_and_a_slow_reader_is_not_either() {
    let origin = Origin::start(Behaviour::Drip { bytes: 8, pause: 100 * MS }).await;
    let mut bench = Bench::at(origin.address());
    bench.timeouts.body = 400 * MS;
    assert_eq!(bench.text().await, "xxxxxxxx");
    origin.set(Behaviour::Ok(vec![b'x'; 8 << 20]));
    let mut response = bench.get().await.unwrap();
    let mut got = response.frame().await.unwrap().unwrap().into_data().unwrap().len();
    tokio::time::sleep(600 * MS).await;
    while let Some(frame) = response.frame().await {
        got += frame.unwrap().into_data().unwrap().len();
    }
    assert_eq!(got, 8 << 20);
}

#[tokio::test]
async fn a_body_dropped_before_its_end_ends_the_connection() {
    let origin = Origin::start(Behaviour::Ok(vec![0; 8 << 20])).await;
    let mut bench = Bench::at(origin.address());
    let mut response = bench.get().await.unwrap();
    response.frame().await.unwrap().unwrap();
    drop(response);
    origin.until(|record| record.ended == 1).await;
}

#[tokio::test]
async fn no_more_of_a_body_is_read_ahead_than_the_buffers_allow() {
    let origin = Origin::start(Behaviour::Flood(8 << 20)).await;
    let mut bench = Bench::at(origin.address());
    (bench.buffers.response, bench.buffers.response_head) = (0, 8 << 10);
    let mut body = bench.get().await.unwrap().into_body();
    let (mut most, mut total) = (0, 0);
    while let Some(frame) = body.frame().await {
        let length = frame.unwrap().into_data().unwrap().len();
        (most, total) = (most.max(length), total + length);
    }
    assert_eq!(total, 8 << 20);
    assert!(most <= 16 << 10, "{most}");
}

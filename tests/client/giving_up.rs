//! Attempts that are dropped, and connections that become tunnels.

use causeway::cause::Phase;
use causeway::client::upgraded;
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Bench, MS, feed, full, post};
use crate::support::origin::{Behaviour, Origin};

#[tokio::test]
async fn who_gives_up_still_knows_how_far_it_came() {
    let origin = Origin::start(Behaviour::Silent).await;
    let mut bench = Bench::at(origin.address());
    assert!(tokio::time::timeout(400 * MS, bench.get()).await.is_err());
    assert_eq!((bench.progress.sent(), bench.progress.phase()), (true, Phase::Head));
    assert!(bench.progress.connect().is_some());
    origin.until(|record| record.ended == 1).await;

    let (_sender, _, body) = feed();
    assert!(tokio::time::timeout(400 * MS, bench.send(post(body))).await.is_err());
    assert_eq!((bench.progress.sent(), bench.progress.phase()), (true, Phase::Request));
    origin.until(|record| record.ended == 2).await;
}

#[tokio::test]
async fn a_101_becomes_a_tunnel() {
    let origin = Origin::start(Behaviour::Tunnel).await;
    let mut bench = Bench::at(origin.address());
    let request = Request::get("/").header("host", "origin").header("connection", "upgrade").header("upgrade", "echo");
    let mut response = bench.send(request.body(full("")).unwrap()).await.unwrap();
    assert_eq!(response.headers()["upgrade"], "echo");
    let upgrade = upgraded(&mut response).expect("a 101");
    drop(response);
    let mut tunnel = upgrade.await.unwrap();
    tunnel.write_all(b"world").await.unwrap();
    let mut got = [0; 11];
    tunnel.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"hello world");
    tunnel.shutdown().await.unwrap();
    assert_eq!(tunnel.read(&mut got).await.unwrap(), 0);
    origin.until(|record| record.ended == 1).await;
    origin.set(Behaviour::Ok(b"ok".to_vec()));
    assert!(upgraded(&mut bench.get().await.unwrap()).is_none());
}

#[tokio::test]
async fn an_upgrade_that_nobody_takes_ends_its_connection() {
    let origin = Origin::start(Behaviour::Tunnel).await;
    let mut bench = Bench::at(origin.address());
    drop(bench.get().await.unwrap());
    origin.until(|record| record.ended == 1).await;
    drop(upgraded(&mut bench.get().await.unwrap()));
    origin.until(|record| record.ended == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_holds_on_several_threads_too() {
    let origin = Origin::start(Behaviour::Trailers).await;
    let mut bench = Bench::at(origin.address());
    let requests = tokio::spawn(async move {
        for _ in 0..200 {
            assert_eq!(bench.text().await, "hello");
        }
    });
    requests.await.unwrap();
    assert_eq!(origin.record().requests.len(), 200);
}

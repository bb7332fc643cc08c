//! A look is seldom, and counts for nobody.

use std::sync::atomic::AtomicUsize;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_failures_is_one_look() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let looks = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&looks);
    serve(listener, move |said| {
        let look = said.windows(11).any(|part| part == b"(diagnosis)");
        counted.fetch_add(usize::from(look), Ordering::Relaxed);
        (Vec::new(), false)
    });
    let proxy = proxy(address);
    let mut client = Raw::connect(proxy.address).await;
    for _ in 0..500 {
        assert_eq!(client.get("/x").await.status, 502);
    }
    found(&proxy, Cause::ClosedWithoutResponse).await;
    for _ in 0..500 {
        assert_eq!(client.get("/x").await.status, 502);
    }
    assert_eq!(looks.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_look_is_no_attempt_and_no_check() {
    let origin = Origin::start(Behaviour::Silent).await;
    let more = "timeouts.read = \"50ms\"\nretry.resend = 0\nlimits.in_flight = 1\n";
    let proxy = Proxy::with("errors.detail = \"full\"", &[origin.address()], more);
    assert_eq!(get(&proxy, "/x").await.status, 504);
    let pool = Arc::clone(&proxy.server().pools()[0]);
    let upstream = Arc::clone(&pool.members()[0]);
    let before = upstream.health.snapshot(Instant::now());
    found(&proxy, Cause::ReadTimeout).await;
    let after = upstream.health.snapshot(Instant::now());
    assert_eq!((after.state, after.last_failure), (State::Ready, before.last_failure));
    assert_eq!(upstream.in_flight.load(Ordering::Relaxed), 0);
    assert_eq!(proxy.exchanges().len(), 1);
    // And every connection of it is closed again.
    origin.until(|record| record.ended == record.connections).await;
}

/// From the first failure to the finding.
#[tokio::test]
async fn the_second_failure_is_explained() {
    let (nobody, listener) = next_door().await;
    serve_ok(listener);
    let proxy = proxy(nobody);
    assert_eq!(get(&proxy, "/").await.status, 502);
    let started = Instant::now();
    found(&proxy, Cause::ConnectionRefused).await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test]
async fn an_upstream_that_has_worked_is_not_sought_next_door() {
    let mut app = Origin::start(Behaviour::Ok(b"ok".to_vec())).await;
    let proxy = proxy(app.address());
    assert_eq!(get(&proxy, "/").await.status, 200);
    let beside = SocketAddr::new(app.address().ip(), app.port() + 1);
    let Ok(listener) = TcpListener::bind(beside).await else { return }; // somebody has that port
    let knocked = tokio::spawn(async move { listener.accept().await.map(drop) });
    app.stop().await;
    let answer = get(&proxy, "/").await;
    assert_eq!(answer.status, 502);
    insight(&proxy).changes().wait_for(|looks| *looks > 0).await.unwrap();
    assert!(!knocked.is_finished());
    knocked.abort();
    assert!(TcpStream::connect(app.address()).await.is_err());
}

#[tokio::test]
async fn switched_off_nobody_looks() {
    let proxy = Proxy::unchecked(&[Origin::nobody()], "[errors]\ndetail = \"full\"\ndiagnosis = false\n");
    let insight = Arc::clone(&proxy.server().pools()[0].members()[0].insight);
    let changes = insight.changes();
    assert_eq!(Raw::connect(proxy.address).await.get("/").await.status, 502);
    proxy.exchange(0).await;
    // The wish is there, and stays with whoever could fulfil it.
    assert!(insight.wanted().is_some());
    assert_eq!(*changes.borrow(), 0);
}

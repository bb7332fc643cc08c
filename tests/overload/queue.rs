//! `limits.in_flight`, `limits.queue`, `limits.queue_timeout`.

use super::*;

fn limited(in_flight: usize, queue: usize, timeout: Duration) -> impl Fn(&mut Config) {
    move |config| {
        let limits = &mut pool(config).limits;
        (limits.in_flight, limits.queue, limits.queue_timeout) = (some(in_flight), queue, timeout);
    }
}

#[tokio::test]
async fn at_its_limit_without_a_queue_the_next_gets_its_503_at_once() {
    let app = Origin::start(Behaviour::Silent).await;
    let proxy = Proxy::changed(&[app.address()], FULL, limited(2, 0, Duration::from_secs(1)));
    let _running = [ask(&proxy, "/a").await, ask(&proxy, "/b").await];
    app.requests(2).await;
    let started = Instant::now();
    for accept in ["*/*", "text/html", "text/plain"] {
        let mut client = Raw::connect(proxy.address).await;
        client.send(format!("POST /c HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\nContent-Length: 2\r\n\r\nhi")).await;
        let answer = client.response().await;
        assert_eq!((answer.status, retry_after(&answer)), (503, 1), "{answer:?}");
        assert!(answer.field("proxy-status").unwrap().contains("error=connection_limit_reached"), "{answer:?}");
        if accept == "*/*" {
            let body = json(&answer);
            assert_eq!((&body["cause"], &body["not_tried"][0]["reason"]), (&"upstream_busy".into(), &"busy".into()));
            assert_eq!(body["attempts"].as_array().map(Vec::len), Some(0), "{body:#}");
        }
    }
    assert!(started.elapsed() < Duration::from_secs(2));
    assert_eq!(app.record().requests.len(), 2, "no third one reached the app");
}

#[tokio::test]
async fn a_full_queue_is_a_503_at_once_and_a_place_in_it_is_one_in_turn() {
    let app = Origin::start(Behaviour::Silent).await;
    let proxy = Proxy::changed(&[app.address()], FULL, limited(1, 2, Duration::from_secs(20)));
    let queue = Arc::clone(&proxy.server().pools()[0].queue);
    let first = ask(&proxy, "/first").await;
    app.requests(1).await;
    let mut second = ask(&proxy, "/second").await;
    until("the second waits", || queue.waiting() == 1).await;
    let mut third = ask(&proxy, "/third").await;
    until("the third waits", || queue.waiting() == 2).await;
    let answer = Raw::connect(proxy.address).await.get("/fourth").await;
    assert_eq!(answer.status, 503);
    assert!(
        json(&answer)["hint"]
            .as_str()
            .unwrap()
            .contains("2 requests wait in the queue, which is full (limit: limits.queue)"),
        "{answer:?}"
    );
    // The first one's client leaves: its slot goes to the second, then on to the third.
    app.set(Behaviour::Ok(b"ok".to_vec()));
    first.abort();
    assert_eq!((second.response().await.status, third.response().await.status), (200, 200));
    let order: Vec<_> =
        app.record().requests.iter().map(|request| request.head.lines().next().unwrap().to_owned()).collect();
    assert_eq!(order, ["GET /first HTTP/1.1", "GET /second HTTP/1.1", "GET /third HTTP/1.1"]);
}

#[tokio::test]
async fn no_slot_in_time_is_a_503_that_names_the_limit() {
    let app = Origin::start(Behaviour::Silent).await;
    let proxy = Proxy::changed(&[app.address()], FULL, limited(1, 5, Duration::from_millis(50)));
    let _running = ask(&proxy, "/a").await;
    app.requests(1).await;
    let answer = Raw::connect(proxy.address).await.get("/late").await;
    let body = json(&answer);
    assert_eq!((answer.status, &body["cause"]), (503, &"queue_timeout".into()), "{body:#}");
    assert!(body["hint"].as_str().unwrap().contains("limits.queue_timeout"), "{body:#}");
    assert_eq!((retry_after(&answer), &body["not_tried"][0]["reason"]), (1, &"busy".into()));
    assert_eq!(proxy.server().pools()[0].queue.waiting(), 0);
}

#[tokio::test]
async fn a_waiter_whose_client_leaves_gives_its_place_and_its_turn_away() {
    let app = Origin::start(Behaviour::Silent).await;
    let proxy = Proxy::changed(&[app.address()], FULL, limited(1, 10, Duration::from_secs(20)));
    let queue = Arc::clone(&proxy.server().pools()[0].queue);
    let first = ask(&proxy, "/first").await;
    app.requests(1).await;
    let leaves = ask(&proxy, "/leaves").await;
    until("one waits", || queue.waiting() == 1).await;
    let mut stays = ask(&proxy, "/stays").await;
    until("two wait", || queue.waiting() == 2).await;
    leaves.abort();
    until("one has left", || queue.waiting() == 1).await;
    app.set(Behaviour::Ok(b"ok".to_vec()));
    first.abort();
    assert_eq!(stays.response().await.status, 200);
    assert_eq!(queue.waiting(), 0);
}

#[tokio::test]
async fn one_at_its_limit_is_passed_over_while_another_has_a_slot() {
    let (a, b) = (Origin::start(Behaviour::Silent).await, Origin::start(Behaviour::Silent).await);
    let proxy = Proxy::changed(&[a.address(), b.address()], FULL, |config| {
        let pool = pool(config);
        pool.upstreams[0].in_flight = some(1);
        pool.upstreams[1].in_flight = some(3);
    });
    let mut running = Vec::new();
    for _ in 0..4 {
        running.push(ask(&proxy, "/").await);
    }
    let (at_a, at_b) = (a.requests(1).await.len(), b.requests(3).await.len());
    assert_eq!((at_a, at_b), (1, 3));
    assert_eq!(Raw::connect(proxy.address).await.get("/").await.status, 503);
}

/// A pool of one slow worker under many times its load: whoever is served is served in bounded time, the rest knows at
/// once, and the app never sees more than its limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_overload_what_fits_is_served_and_the_rest_is_told_at_once() {
    let app = Origin::start(Behaviour::Slow(Duration::from_millis(20))).await;
    let proxy = Arc::new(Proxy::changed(&[app.address()], "", limited(4, 8, Duration::from_secs(5))));
    let upstream = Arc::clone(&proxy.server().pools()[0].members()[0]);
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let proxy = Arc::clone(&proxy);
        clients.spawn(async move {
            let (mut served, mut refused) = (0, 0);
            let mut client = Raw::connect(proxy.address).await;
            for _ in 0..10 {
                let started = Instant::now();
                match client.get("/").await.status {
                    200 => {
                        served += 1;
                        assert!(started.elapsed() < Duration::from_secs(3), "it waited behind more than the queue");
                    }
                    503 => {
                        refused += 1;
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    other => panic!("{other}"),
                }
            }
            (served, refused)
        });
    }
    let (mut served, mut refused) = (0, 0);
    while let Some(client) = clients.join_next().await {
        let client = client.unwrap();
        (served, refused) = (served + client.0, refused + client.1);
        assert!(upstream.in_flight.load(std::sync::atomic::Ordering::Relaxed) <= 4);
    }
    assert_eq!(served + refused, 400);
    assert!(served >= 12 && refused > 0, "{served} served, {refused} refused");
    until("all slots are free", || upstream.in_flight.load(std::sync::atomic::Ordering::Relaxed) == 0).await;
    assert_eq!(proxy.server().pools()[0].queue.waiting(), 0);
}

//! What `https://` upstreams take in their handshakes (ALPN), and what is made of it.

use std::sync::Arc;

use causeway::cause::{Cause, Failure};
use causeway::client::{Body, Client, Order, Progress};
use causeway::config::model::{Buffers, Connections, Timeouts};
use causeway::config::{Address, Endpoint};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};

use super::upstream::{Speaks, Upstream, acceptor};
use crate::support::tls_origin::{Authority, Pair, settings};

const BOTH: &[&str] = &["h2", "http/1.1"];
const ONE: &[&str] = &["http/1.1"];

/// A client and one upstream in TLS.
struct Bench {
    client: Client<Empty<bytes::Bytes>>,
    endpoint: Arc<Endpoint>,
    upstream: Upstream,
    pair: Pair,
}

impl Bench {
    async fn new(alpn: &[&str]) -> Self {
        let authority = Authority::new();
        let pair = authority.issue(&["127.0.0.1"], 2090);
        let upstream = Upstream::start(Speaks::Tls(acceptor(&pair, alpn))).await;
        let address = Address::parse(&format!("https://{}", upstream.address)).unwrap();
        let tls = settings(&format!("ca = {:?}\n", authority.file()));
        let endpoint = Arc::new(Endpoint::literal(&address).unwrap().with_tls(Some(tls)));
        Self { client: Client::new(), endpoint, upstream, pair }
    }

    async fn send(&self, request: http::request::Builder) -> (Result<Response<Body>, Failure>, Arc<Progress>) {
        let progress = Arc::new(Progress::default());
        let order = Order {
            endpoint: &self.endpoint,
            timeouts: &Timeouts::default(),
            buffers: &Buffers::default(),
            connections: &Connections::default(),
            idle_age: &Arc::default(),
            meter: &Arc::default(),
            client: None,
            now: tokio::time::Instant::now(),
            replayable: true,
            fresh: false,
            expects_continue: false,
            elsewhere: false,
        };
        let request = request.header("host", "a").body(Empty::new()).unwrap();
        (self.client.send(order, request, &progress).await, progress)
    }

    /// Asks for it, and says what was spoken.
    async fn get(&self, path: &str) -> &'static str {
        let (answer, progress) = self.send(Request::get(path)).await;
        let answer = answer.unwrap_or_else(|failure| panic!("{failure} {:?}", failure.seen));
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
        progress.protocol(self.endpoint.scheme)
    }

    async fn at_once(&self, count: usize, path: &str) -> Vec<&'static str> {
        futures_util::future::join_all((0..count).map(|_| self.get(path))).await
    }

    fn restart(&self, alpn: &[&str]) {
        self.upstream.restart(Speaks::Tls(acceptor(&self.pair, alpn)));
    }
}

#[tokio::test]
async fn http_2_is_taken_where_it_is_spoken_and_shared() {
    let bench = Bench::new(BOTH).await;
    for _ in 0..3 {
        assert_eq!(bench.at_once(32, "/").await, ["h2"; 32]);
    }
    assert_eq!(bench.upstream.connections(), 1);
}

#[tokio::test]
async fn who_speaks_http_1_is_known_and_nobody_waits_for_another() {
    for alpn in [ONE, &[]] {
        let mut bench = Bench::new(alpn).await;
        assert_eq!(bench.at_once(8, "/").await, ["http/1.1"; 8]);
        assert!(bench.upstream.connections() <= 8);
        for _ in 0..8 {
            assert_eq!(bench.upstream.sees().await, "GET / HTTP/1.1");
        }
        // Each of these waits for all others to be there.
        let go = Arc::clone(&bench.upstream.go);
        let mut upstream =
            std::mem::replace(&mut bench.upstream, Upstream::start(Speaks::Plain(super::Http::One)).await);
        let all = async {
            for _ in 0..16 {
                assert_eq!(upstream.sees().await, "GET /meet HTTP/1.1");
            }
            go.add_permits(16);
        };
        let (answers, ()) = tokio::join!(bench.at_once(16, "/meet"), all);
        assert_eq!(answers, ["http/1.1"; 16]);
        assert!(upstream.connections() <= 8 + 16);
    }
}

#[tokio::test]
async fn what_becomes_something_else_goes_by_http_1() {
    let mut bench = Bench::new(BOTH).await;
    assert_eq!(bench.get("/").await, "h2");
    let upgrade = Request::get("/").header("connection", "upgrade").header("upgrade", "websocket");
    let (answer, progress) = bench.send(upgrade).await;
    answer.unwrap();
    assert_eq!(progress.protocol(bench.endpoint.scheme), "http/1.1");
    assert_eq!(
        (bench.upstream.sees().await, bench.upstream.sees().await),
        ("GET / HTTP/2.0".into(), "GET / HTTP/1.1".into())
    );
}

#[tokio::test]
async fn an_upstream_may_come_back_as_another() {
    let bench = Bench::new(BOTH).await;
    assert_eq!(bench.get("/").await, "h2");
    for (alpn, wanted) in [(ONE, "http/1.1"), (BOTH, "h2"), (&[][..], "http/1.1"), (BOTH, "h2")] {
        bench.restart(alpn);
        // The news of a connection that ended may come a moment after it: such a request is told that it was not sent.
        let spoken = loop {
            let (answer, progress) = bench.send(Request::get("/")).await;
            match answer {
                Ok(answer) => {
                    let _ = answer.into_body().collect().await;
                    if progress.protocol(bench.endpoint.scheme) == wanted || !progress.reused() {
                        break progress.protocol(bench.endpoint.scheme);
                    }
                }
                Err(failure) => assert_eq!(failure.cause, Cause::StaleConnection, "{failure}"),
            }
        };
        assert_eq!(spoken, wanted);
        assert_eq!(bench.at_once(8, "/").await, [wanted; 8]);
    }
}

/// It cannot be asked for such an upgrade, and that is nothing against it: the request goes on without.
#[tokio::test]
async fn an_upgrade_to_one_that_speaks_http_2_alone_is_left_out() {
    let bench = Bench::new(&["h2"]).await;
    let (answer, progress) =
        bench.send(Request::get("/").header("connection", "upgrade").header("upgrade", "foo")).await;
    assert_eq!(answer.unwrap().status(), 200);
    assert_eq!(progress.protocol(bench.endpoint.scheme), "h2");
    assert_eq!(bench.get("/").await, "h2");
}

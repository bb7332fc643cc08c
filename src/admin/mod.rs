//! A look inside, on an address of its own: is it up, which requests failed and why, the numbers; and the operator's
//! word on an upstream.
//! `/` lists all of it, and [`routes`] is the table.
//!
//! Runs on the control thread; but for that word it only reads, and no client of it can hold anything for ever.
//! `/readyz` says whether this proxy is up, not whether its upstreams are: those that fail later do not change it, or
//! the proxy that explains would be taken away. Who wants them in it asks for `?pool=`.

mod answer;
mod dashboard;
mod events;
mod guard;
mod incidents;
mod metrics;
mod openapi;
mod ready;
mod reload;
mod reloads;
mod routes;
mod status;
mod switch;

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::{Layer as _, ServiceBuilder, ServiceExt as _, service_fn};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;

use crate::config::Config;
use crate::memory;
use crate::observe::metrics::history::{EVERY, History};
use crate::pool::Pool;
use crate::proxy::Proxy;

use events::{Line, Streams};
use ready::{Standing, State};
pub use reload::{Ask, Refused, Told};
use reloads::Reloads;
pub use status::{Door, Start};

/// Connections at once; the next one waits in the kernel's queue.
const CONNECTIONS: usize = 512;
/// For a request head, which is also the longest idle time of a kept connection.
const HEAD: Duration = Duration::from_secs(5);
/// For an answer to be made.
const ANSWER: Duration = Duration::from_secs(5);
/// The age at which a connection gets its last answer, unless that is a stream.
const AGE: Duration = Duration::from_secs(60);
/// A client that confirms nothing of what it was sent for so long is gone.
const GONE: Duration = Duration::from_secs(30);

/// What one configuration has put in force.
#[derive(Debug)]
struct Generation {
    /// In the order of the file.
    pools: Vec<Arc<Pool>>,
    proxy: Arc<Proxy>,
    /// What was said.
    config: Arc<Config>,
    doors: Vec<Door>,
}

/// What the admin looks at.
#[derive(Debug)]
pub struct Admin {
    generation: ArcSwap<Generation>,
    /// When the process began, on both clocks.
    began: (Instant, SystemTime),
    workers: usize,
    reloads: Reloads,
    /// Where reloads are asked for.
    ask: mpsc::Sender<Ask>,
    /// What the counters said in the last minutes.
    history: Mutex<History>,
    listening: AtomicBool,
    draining: AtomicBool,
    /// All pools had their first results once.
    checked: AtomicBool,
    streams: Streams,
    /// Whoever wants a long document: one at a time, so that checks and probes of this proxy get their turn in between.
    desk: Semaphore,
}

impl Admin {
    /// Over these pools, in the order of the file, the proxy that uses them, and what is known since its start. The
    /// config is loaded, or there would be none. `ask`: who reloads it when somebody asks here; as many may wait as
    /// that holds.
    #[must_use]
    pub fn new(pools: Vec<Arc<Pool>>, proxy: Arc<Proxy>, start: Start, ask: mpsc::Sender<Ask>) -> Self {
        let Start { at, config, workers, doors } = start;
        Self {
            generation: ArcSwap::from_pointee(Generation { pools, proxy, config, doors }),
            history: Mutex::new(History::new(at.0)),
            began: at,
            workers,
            reloads: Reloads::new(at.1),
            ask,
            listening: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            checked: AtomicBool::new(false),
            streams: Streams::new(),
            desk: Semaphore::new(1),
        }
    }

    /// From here on it looks at these: what a reload has put in force. Streams and what was counted go on.
    pub fn renew(&self, pools: Vec<Arc<Pool>>, proxy: Arc<Proxy>, config: Arc<Config>, doors: Vec<Door>) {
        // Who was ready once stays so, whatever a new pool has to wait for.
        let _ = self.state(&self.look());
        self.generation.store(Arc::new(Generation { pools, proxy, config, doors }));
    }

    /// A reload has ended: the new configuration is in force, or, for this reason, the old one still is. The reason is
    /// kept until one succeeds.
    pub fn reloaded(&self, came: Result<(), &str>, now: SystemTime) {
        self.reloads.ended(came, now);
    }

    /// What is in force at this moment: each answer goes by one look.
    fn look(&self) -> Arc<Generation> {
        self.generation.load_full()
    }

    /// The listeners are bound and accept.
    pub fn set_listening(&self) {
        self.listening.store(true, Ordering::Relaxed);
    }

    /// The end has begun: `/readyz` says no from here on.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Writes down now and then what the counters say, until `stop` is done: what "a second" and "the last 5 min" go
    /// by.
    pub async fn keep_history(self: Arc<Self>, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                () = sleep(EVERY) => {
                    let reading = status::reading(&self.look());
                    status::history(&self).push(reading, Instant::now());
                }
            }
        }
    }

    fn state(&self, seen: &Generation) -> State {
        if !self.checked.load(Ordering::Relaxed) && seen.pools.iter().all(|pool| pool.checked()) {
            self.checked.store(true, Ordering::Relaxed);
        }
        State {
            listening: self.listening.load(Ordering::Relaxed),
            checked: self.checked.load(Ordering::Relaxed),
            draining: self.draining.load(Ordering::Relaxed),
            short: memory::is_short(),
            pools: seen.pools.iter().map(|pool| Standing::of(pool)).collect(),
        }
    }
}

/// Answers on this listener until `stop` is done; streams get their end then, and what still runs is cut.
pub async fn serve(listener: TcpListener, admin: Arc<Admin>, stop: impl Future<Output = ()>) {
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => {}
            (stream, peer) = accept(&listener), if connections.len() < CONNECTIONS => {
                connections.spawn(connection(stream, peer, Arc::clone(&admin)));
            }
        }
    }
    admin.streams.end().await;
}

/// The next connection; out of descriptors, it waits for some to come back.
async fn accept(listener: &TcpListener) -> (TcpStream, IpAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer.ip()),
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn connection(stream: TcpStream, peer: IpAddr, admin: Arc<Admin>) {
    // Who has gone without a word takes no place for long. Where the system cannot do that, it has limits of its own.
    let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(GONE));
    let line = Line::default();
    let own = line.clone();
    let service = ServiceBuilder::new()
        .layer(SetResponseHeaderLayer::overriding(CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .layer(SetResponseHeaderLayer::overriding(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")))
        .layer(CatchPanicLayer::new())
        .service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(own.clone());
            let (limit, admin) = (routes::limit(&request), Arc::clone(&admin));
            let answer = service_fn(move |request| {
                let admin = Arc::clone(&admin);
                async move { Ok::<_, Infallible>(routes::answer(&admin, peer, request).await) }
            });
            TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, limit).layer(answer).oneshot(request)
        });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(connection);
    // Errors are the client's: it left, was too slow, or sent what is not HTTP (hyper has answered 400 then).
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            () = line.cut() => return,
            () = sleep(AGE) => if !line.streams() { break },
        }
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(ANSWER, connection).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{self, Entry};
    use crate::config::{Address, Change, Config, LoadError, What};
    use crate::health::{self, Event, Policy, Proof};
    use crate::observe::Incidents;
    use crate::observe::access_log::AccessLog;
    use crate::proxy::Hooks;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;

    struct Running {
        admin: Arc<Admin>,
        address: std::net::SocketAddr,
        stop: oneshot::Sender<()>,
        task: tokio::task::JoinHandle<()>,
        asked: mpsc::Receiver<Ask>,
    }

    fn started() -> Start {
        let config = Config::from_toml("[pool.app]\nupstreams = [\"127.0.0.1:1\"]\n").unwrap();
        Start { config: Arc::new(config), at: (Instant::now(), SystemTime::now()), workers: 1, doors: Vec::new() }
    }

    async fn start() -> Running {
        start_with(Vec::new()).await
    }

    async fn start_with(pools: Vec<Arc<Pool>>) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let config = Config::from_toml("[pool.app]\nupstreams = [\"127.0.0.1:1\"]\n").unwrap();
        let (log, incidents) = (AccessLog::off(), Arc::new(Incidents::default()));
        let proxy = Proxy::new(config, pools.clone(), log, incidents, Hooks::default());
        let (ask, asked) = mpsc::channel(1);
        let admin = Arc::new(Admin::new(pools, Arc::new(proxy), started(), ask));
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(serve(listener, Arc::clone(&admin), async move {
            let _ = stopped.await;
        }));
        Running { admin, address, stop, task, asked }
    }

    async fn ask(running: &Running, request: &str) -> String {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream
            .write_all(format!("{request} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn ready_from_the_listeners_to_the_drain() {
        let running = start().await;
        assert!(ask(&running, "GET /livez").await.starts_with("HTTP/1.1 200 "));
        assert!(ask(&running, "GET /readyz").await.starts_with("HTTP/1.1 503 "));
        running.admin.set_listening();
        let ready = ask(&running, "GET /readyz").await;
        assert!(ready.starts_with("HTTP/1.1 200 ") && ready.contains("cache-control: no-store"), "{ready}");
        running.admin.set_draining();
        assert!(ask(&running, "GET /readyz").await.starts_with("HTTP/1.1 503 "));
        assert!(ask(&running, "GET /livez").await.starts_with("HTTP/1.1 200 "));
    }

    #[tokio::test]
    async fn the_operators_word_holds_whatever_checks_say() {
        let entry = Entry { name: Some("b".into()), ..Entry::new(Address::parse("127.0.0.1:1").unwrap()) };
        let pool = Arc::new(Pool::new(Arc::new(model::Pool::new("app", vec![entry])), Instant::now()));
        let running = start_with(vec![Arc::clone(&pool)]).await;
        let health = Arc::clone(&pool.members()[0].health);
        let say = async |target: &str, body: &str| {
            let mut stream = TcpStream::connect(running.address).await.unwrap();
            let (address, length) = (running.address, body.len());
            let head = format!(
                "PUT {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
            );
            stream.write_all((head + body).as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let state = "/api/pools/app/upstreams/b/state";
        let answer = say(state, "{\"state\":\"draining\"}").await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"to\":\"draining\""), "{answer}");
        let policy = Policy { healthy_after: 1, unhealthy_after: 1 };
        health.record(Event::CheckPassed(Proof::Answers), None, policy, Instant::now());
        assert_eq!(health.state(), health::State::Draining, "a check never lifts a drain");
        assert!(say(state, "{\"state\":\"enabled\"}").await.contains("\"to\":\"ready\""));
        for (target, body, status) in [
            (state, "{\"state\":\"off\"}", 400),
            (state, "draining", 400),
            (state, &*format!("{{\"state\":\"{}\"}}", "x".repeat(2000)), 400),
            ("/api/pools/nobody/upstreams/b/state", "{\"state\":\"enabled\"}", 404),
            ("/api/pools/app/upstreams/nobody/state", "{\"state\":\"enabled\"}", 404),
        ] {
            let answer = say(target, body).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{target} {body}: {answer}");
        }
        assert!(ask(&running, &format!("GET {state}")).await.contains("allow: PUT"));
    }

    async fn reload(running: &Running, fields: &str) -> String {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let address = running.address;
        let head = format!("POST /api/reload HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{fields}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_reload_is_asked_for_and_its_end_is_told() {
        let mut running = start().await;
        let mut asked = std::mem::replace(&mut running.asked, mpsc::channel(1).1);
        let change = Change { key: "a.b".into(), what: What::Set { from: Some("1".into()), to: None } };
        let told = Told { changes: vec![change], warnings: Vec::new() };
        for (came, status, said) in [
            (Ok(told), 200, "\"a.b: 1 -> unset\""),
            (Err(Refused::Config(LoadError::Usage("no".into()))), 422, "\"text\": \"no\\n\""),
            (Err(Refused::Cannot("the port is taken".into())), 409, "the port is taken"),
        ] {
            let (answer, ()) = tokio::join!(reload(&running, ""), async {
                let _ = asked.recv().await.unwrap().send(came);
            });
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(said), "{answer}");
        }
        // Nobody asks on behalf of another site, and nobody is asked then.
        assert!(reload(&running, "Sec-Fetch-Site: cross-site\r\n").await.starts_with("HTTP/1.1 403 "));
        assert!(asked.try_recv().is_err());
        assert!(ask(&running, "GET /api/reload").await.contains("allow: POST"));
    }

    #[tokio::test]
    async fn reloads_that_are_too_many_or_too_late_are_refused_at_once() {
        let mut running = start().await;
        let mut asked = std::mem::replace(&mut running.asked, mpsc::channel(1).1);
        let (first, second) = tokio::join!(reload(&running, ""), async {
            // The one that waits has the only place.
            let waits = loop {
                if asked.len() == 1 {
                    break reload(&running, "").await;
                }
                tokio::task::yield_now().await;
            };
            asked.recv().await.unwrap().send(Err(Refused::Cannot("no".into()))).unwrap();
            waits
        });
        assert!(first.starts_with("HTTP/1.1 409 "), "{first}");
        assert!(second.starts_with("HTTP/1.1 503 ") && second.contains("Other reloads wait"), "{second}");
        drop(asked);
        let ending = reload(&running, "").await;
        assert!(ending.starts_with("HTTP/1.1 503 ") && ending.contains("is ending"), "{ending}");
    }

    #[tokio::test]
    async fn it_looks_at_what_a_reload_put_in_force() {
        let running = start().await;
        running.admin.set_listening();
        let admin = &running.admin;
        let page = |answer: String| answer.replace("causeway_config_", "");
        let metrics = page(ask(&running, "GET /metrics").await);
        for line in ["last_reload_successful 1\n", "reloads_total{result=\"success\"} 0\n", "{result=\"failure\"} 0\n"]
        {
            assert!(metrics.contains(line), "{line} {metrics}");
        }
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let config = Config::from_toml("name = \"new\"\n[pool.other]\nupstreams = [\"127.0.0.1:1\"]\n").unwrap();
        let pools: Vec<_> =
            config.pools.iter().map(|pool| Arc::new(Pool::new(Arc::clone(pool), Instant::now()))).collect();
        let (log, incidents) = (AccessLog::off(), Arc::new(Incidents::default()));
        let proxy = Proxy::new(config.clone(), pools.clone(), log, incidents, Hooks::default());
        admin.renew(pools, Arc::new(proxy), Arc::new(config), Vec::new());
        admin.reloaded(Ok(()), at);
        let ready = ask(&running, "GET /readyz?verbose").await;
        assert!(ready.starts_with("HTTP/1.1 200 ") && ready.contains("pool other: "), "still ready: {ready}");
        admin.reloaded(Err("f:1:1: warning: hm\n  y\nf:2:1: no\n  x\n"), at);
        let metrics = page(ask(&running, "GET /metrics").await);
        for line in [
            "last_reload_successful 0\n",
            "last_reload_success_timestamp_seconds 1000000\n",
            "reloads_total{result=\"success\"} 1\n",
            "reloads_total{result=\"failure\"} 1\n",
            "upstream_up{pool=\"other\"",
        ] {
            assert!(metrics.contains(line), "{line} {metrics}");
        }
        let seen = status::status(admin, Instant::now());
        assert_eq!((&seen["name"], &seen["pools"][0]["name"]), (&"new".into(), &"other".into()));
        let failure = &seen["reload"]["failure"];
        assert_eq!(
            (&failure["why"], &failure["text"]),
            (&"f:2:1: no".into(), &"f:1:1: warning: hm\n  y\nf:2:1: no\n  x".into())
        );
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_refused() {
        let running = start().await;
        assert!(ask(&running, "GET /").await.contains("/readyz?pool=NAME"));
        assert!(ask(&running, "GET /nothing").await.starts_with("HTTP/1.1 404 "));
        let post = ask(&running, "POST /readyz").await;
        assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("allow: GET, HEAD"), "{post}");
        assert!(ask(&running, "HEAD /livez").await.ends_with("\r\n\r\n"));
    }

    #[tokio::test]
    async fn the_end_does_not_wait_for_a_silent_client() {
        let running = start().await;
        let mut silent = TcpStream::connect(running.address).await.unwrap();
        ask(&running, "GET /livez").await; // by now the silent one is accepted
        running.stop.send(()).unwrap();
        running.task.await.unwrap();
        assert_eq!(silent.read(&mut [0; 1]).await.unwrap(), 0);
    }
}

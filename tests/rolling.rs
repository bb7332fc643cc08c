//! Rolling restarts of real upstreams under load: one after the other ends and comes back, with a grace of its own
//! (TERM) or without (KILL). No GET fails. Of POSTs, only those fail that an upstream had when it was killed: nobody
//! can know what it did with them (RFC 9110 §9.2.2).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use causeway::health::State;
use rustix::process::Signal;
use serde_json::Value;
use tokio::sync::watch;

use crate::support::origin::{Behaviour, Origin};
use crate::support::process::Causeway;
use crate::support::proxy::Proxy;
use crate::support::raw::Raw;

/// How often each of them is restarted.
const ROUNDS: usize = 3;
/// Clients that POST, one after the other: as many may be at an upstream when it is killed.
const POSTING: usize = 3;

/// An app that serves, and takes its leave in order if it is asked to: a process with a port of its own.
struct App {
    config: String,
    process: Option<Causeway>,
}

impl App {
    fn start(address: SocketAddr, behind: SocketAddr) -> Self {
        let config = format!(
            "listen = \"{address}\"\nadmin.address = \"off\"\nlog.access = \"off\"\nshutdown.timeout = \"4s\"\n\
             [pool.work]\nupstreams = [\"{behind}\"]\nhealth.type = \"off\"\n"
        );
        let process = Some(Causeway::run(&config).0);
        Self { config, process }
    }

    /// Ends it by this signal, and starts it again.
    fn restart(&mut self, signal: Signal) {
        let process = self.process.take().unwrap();
        process.signal(signal);
        process.end();
        self.process = Some(Causeway::run(&self.config).0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_grace_of_their_own_nothing_fails() {
    let (gets, posts, failed) = roll(Signal::TERM).await;
    println!("TERM: {gets} GETs and {posts} POSTs, {} POSTs failed", failed.len());
    assert!(failed.is_empty(), "{failed:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_they_take_along_the_posts_that_they_had() {
    let (gets, posts, failed) = roll(Signal::KILL).await;
    println!("KILL: {gets} GETs and {posts} POSTs, {} POSTs failed", failed.len());
    assert!(failed.len() <= 2 * ROUNDS * POSTING, "more than were under way: {failed:#?}");
    for error in &failed {
        // The last attempt had sent it, and that is why nobody else was tried.
        let last = error["attempts"].as_array().and_then(|attempts| attempts.last()).unwrap_or(&Value::Null);
        assert_eq!(last["sent"], true, "{error:#}");
        let reasons: Vec<_> = error["not_tried"].as_array().unwrap().iter().map(|one| &one["reason"]).collect();
        assert!(reasons.iter().all(|reason| *reason == "request_sent" || *reason == "evicted"), "{error:#}");
    }
}

/// GETs and POSTs that were answered by the app, and the errors that POSTs got.
async fn roll(signal: Signal) -> (usize, usize, Vec<Value>) {
    let work = Origin::start(Behaviour::Slow(Duration::from_millis(5))).await;
    let addresses = [Origin::free(), Origin::free()];
    let mut apps = Vec::from(addresses.map(|address| App::start(address, work.address())));
    let list = addresses.map(|address| format!("\"{address}\"")).join(", ");
    let health = "health = { path = \"/healthz\", interval = \"200ms\" }";
    let front = Proxy::start(&format!("errors.detail = \"full\"\n[pool.app]\nupstreams = [{list}]\n{health}\n"));
    for upstream in 0..apps.len() {
        front.until(upstream, State::Ready).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let (getting, mut progress): (Vec<_>, Vec<_>) = (0..4)
        .map(|_| {
            let (done, progress) = watch::channel(0);
            (tokio::spawn(gets(front.address, Arc::clone(&stop), done)), progress)
        })
        .unzip();
    let posting: Vec<_> = (0..POSTING).map(|_| tokio::spawn(posts(front.address, Arc::clone(&stop)))).collect();
    for _ in 0..ROUNDS {
        for upstream in 0..apps.len() {
            let mut app = apps.remove(upstream);
            let restarted = tokio::task::spawn_blocking(move || {
                app.restart(signal);
                app
            });
            apps.insert(upstream, restarted.await.unwrap());
            front.until(upstream, State::Ready).await;
            // One after the other: no request that met the end of this one is still on its way when the next one ends.
            for client in &mut progress {
                let now = *client.borrow();
                client.wait_for(|done| *done >= now + 2).await.expect("this client has failed");
            }
        }
    }
    stop.store(true, Relaxed);
    let (mut got, mut posted, mut failed) = (0, 0, Vec::new());
    for client in getting {
        got += client.await.unwrap();
    }
    for client in posting {
        let (answered, errors) = client.await.unwrap();
        posted += answered;
        failed.extend(errors);
    }
    assert!(got > 100 && posted > 50, "{got} GETs, {posted} POSTs: too quiet to prove much");
    (got, posted, failed)
}

/// Until told to stop; every one must be the app's 200.
async fn gets(address: SocketAddr, stop: Arc<AtomicBool>, done: watch::Sender<usize>) -> usize {
    let mut client = Raw::connect(address).await;
    let mut count = 0;
    while !stop.load(Relaxed) {
        let answer = client.get(&format!("/{count}")).await;
        assert!(answer.status == 200 && answer.complete, "GET {count}: {answer:?}");
        count += 1;
        done.send_replace(count);
    }
    count
}

/// Until told to stop; says how many the app answered, and the errors in place of the others.
async fn posts(address: SocketAddr, stop: Arc<AtomicBool>) -> (usize, Vec<Value>) {
    let (mut answered, mut errors) = (0, Vec::new());
    let mut client = Raw::connect(address).await;
    while !stop.load(Relaxed) {
        let head = "POST /orders HTTP/1.1\r\nHost: test\r\nAccept: application/json\r\nContent-Length: 5\r\n\r\n";
        client.send(format!("{head}order")).await;
        let answer = client.response().await;
        match answer.status {
            200 => answered += 1,
            502 => errors.push(serde_json::from_slice(&answer.body).unwrap()),
            other => panic!("{other}: {answer:?}"),
        }
        if answer.field("connection") == Some("close") {
            client = Raw::connect(address).await;
        }
    }
    (answered, errors)
}

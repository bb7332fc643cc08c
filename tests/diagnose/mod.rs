//! A failure is looked at more closely: through the whole proxy, against real sockets, what explains it stands in the
//! hint from then on. A look is seldom, short, and bothers nobody but the upstream and its neighbours.

mod around;
mod checks;
mod halves;
mod hostile;
mod protocols;
mod seldom;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use causeway::cause::{Cause, Finding};
use causeway::config::Endpoint;
use causeway::config::address::Dial;
use causeway::health::State;
use causeway::pool::insight::{Asker, Insight};
use causeway::probe::diagnose::{Around, look_around};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::origin::{Behaviour, Origin};
use crate::support::process::Causeway;
use crate::support::proxy::Proxy;
use crate::support::raw::{Raw, Response};

pub(crate) const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// A loopback address that no other test uses: whoever knocks at ports there meets nobody else's servers.
pub(crate) fn alone() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    Ipv4Addr::new(127, 77, 0, NEXT.fetch_add(1, Ordering::Relaxed)).into()
}

/// A port with nobody on it, and a listener on the port beside it, at an address of their own.
pub(crate) async fn next_door() -> (SocketAddr, TcpListener) {
    let (closed, listener) = closed_next_door(alone()).await;
    let nobody = closed.local_addr().unwrap().as_socket().unwrap();
    std::mem::forget(closed); // nobody else gets it, for as long as the tests run
    (nobody, listener)
}

/// The same, with the socket that could listen on the first one.
async fn closed_next_door(ip: IpAddr) -> (socket2::Socket, TcpListener) {
    loop {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let mut beside = listener.local_addr().unwrap();
        beside.set_port(beside.port() - 1);
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        if socket.bind(&beside.into()).is_ok() {
            return (socket, listener);
        }
    }
}

/// What was said on each connection is given to `answer`, which says what to answer and whether to keep the connection.
pub(crate) fn serve<F>(listener: TcpListener, answer: F)
where
    F: Fn(&[u8]) -> (Vec<u8>, bool) + Send + Sync + 'static,
{
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            tokio::spawn(async move {
                let mut said = vec![0; 4096];
                let length = stream.read(&mut said).await.unwrap_or_default();
                let (bytes, keep) = answer(&said[..length]);
                let _ = stream.write_all(&bytes).await;
                while keep && stream.read(&mut said).await.is_ok_and(|read| read > 0) {}
            });
        }
    });
}

/// 200 to every GET.
pub(crate) fn serve_ok(listener: TcpListener) {
    serve(listener, |said| (if said.starts_with(b"GET ") { OK.to_vec() } else { Vec::new() }, false));
}

pub(crate) fn proxy(upstream: SocketAddr) -> Proxy {
    Proxy::with("errors.detail = \"full\"", &[upstream], "timeouts.read = \"200ms\"\nretry.resend = 0\n")
}

pub(crate) async fn get(proxy: &Proxy, path: &str) -> Response {
    Raw::connect(proxy.address).await.get(path).await
}

/// A look on behalf of a request, at an upstream that nothing is known of, where causeway listens on these addresses.
pub(crate) async fn look(endpoint: &Endpoint, cause: Cause, own: &[SocketAddr]) -> Option<Finding> {
    look_around(endpoint, cause, Around { own, ..Around::default() }).await.map(|found| found.finding)
}

pub(crate) fn insight(proxy: &Proxy) -> Arc<Insight> {
    Arc::clone(&proxy.server().pools()[0].members()[0].insight)
}

/// What that says of it, once it says something: asked anew whenever a look has ended, or it works again.
pub(crate) async fn until<T>(insight: &Insight, mut says: impl FnMut(&Insight) -> Option<T>) -> Option<T> {
    let mut changes = insight.changes();
    let there = async {
        loop {
            changes.borrow_and_update();
            if let Some(said) = says(insight) {
                return Some(said);
            }
            changes.changed().await.ok()?;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), there).await.ok()?
}

/// What is known of this failure of the first upstream, once it is.
pub(crate) async fn found(proxy: &Proxy, cause: Cause) -> Arc<Finding> {
    let found = until(&insight(proxy), |insight| insight.of(Asker::Traffic, cause, Instant::now())).await;
    found.unwrap_or_else(|| panic!("nothing about {cause}"))
}

/// The hint of the only attempt's row, from the second failure on: when the look at the first one has ended.
async fn hint(proxy: &Proxy, cause: Cause) -> String {
    assert!(get(proxy, "/x").await.status >= 502);
    let finding = found(proxy, cause).await;
    let body: Value = serde_json::from_str(&get(proxy, "/x").await.text()).unwrap();
    let hint = body["attempts"][0]["hint"].as_str().unwrap_or_else(|| panic!("{body:#}")).to_owned();
    assert!(hint.ends_with(&finding.sentence), "{hint}");
    if let Some(command) = &finding.command {
        assert_eq!(body["attempts"][0]["command"], command.as_str(), "{body:#}");
    }
    hint
}

/// Without its figures.
fn plain(hint: &str) -> String {
    let mut words: Vec<&str> = hint.split(' ').collect();
    for at in 1..words.len() {
        if words[at].starts_with("ms") && words[at - 1].parse::<f64>().is_ok() {
            words[at - 1] = "N";
        }
    }
    words.join(" ")
}

#[tokio::test]
async fn a_port_beside_the_right_one() {
    let (nobody, listener) = next_door().await;
    let port = listener.local_addr().unwrap().port();
    serve_ok(listener);
    let said = hint(&proxy(nobody), Cause::ConnectionRefused).await;
    let wanted = format!(
        "Nothing listens on {nobody}. But {}:{port} answers HTTP (200, N ms). Did you mean {port}?",
        nobody.ip()
    );
    assert_eq!(plain(&said), wanted);
}

#[tokio::test]
async fn the_app_listens_on_the_other_family() {
    let nobody = Origin::nobody();
    let Ok(six) = TcpListener::bind(("::1", nobody.port())).await else { return }; // no IPv6 here
    serve_ok(six);
    let said = plain(&hint(&proxy(nobody), Cause::ConnectionRefused).await);
    let port = nobody.port();
    let wanted = format!(
        "Nothing listens on {nobody}. But [::1]:{port} answers HTTP (200, N ms): the app listens on IPv6 alone. \
         localhost:{port} is tried on both."
    );
    assert_eq!(said, wanted);
}

#[tokio::test]
async fn a_port_of_tls_that_closes_on_plain_http() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    serve(listener, |said| {
        (if said.starts_with(b"\x16\x03") { b"\x15\x03\x03\x00\x02\x02\x28".to_vec() } else { Vec::new() }, false)
    });
    let said = hint(&proxy(address), Cause::ClosedWithoutResponse).await;
    let cure =
        format!("without a byte of an answer. It speaks TLS on this port: write \"https://{address}\" in upstreams.");
    assert!(said.contains(&cure), "{said}");
}

#[tokio::test]
async fn a_port_of_http2_that_is_silent_to_http1() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    serve(listener, |said| {
        (if said.starts_with(b"PRI * HTTP/2.0") { b"\0\0\0\x04\0\0\0\0\0".to_vec() } else { Vec::new() }, true)
    });
    let said = hint(&proxy(address), Cause::ReadTimeout).await;
    assert!(
        said.contains(&format!("It speaks HTTP/2 alone on this port: write \"h2c://{address}\" in upstreams.")),
        "{said}"
    );
}

#[tokio::test]
async fn another_service_is_named() {
    let origin = Origin::start(Behaviour::Greets(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec())).await;
    let said = hint(&proxy(origin.address()), Cause::NotHttp).await;
    assert!(said.contains("It speaks SSH"), "{said}");
}

#[tokio::test]
async fn one_slow_path_and_an_app_that_hangs_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    serve(listener, |said| {
        let root = said.starts_with(b"GET / ");
        (if root { OK.to_vec() } else { Vec::new() }, !root)
    });
    let said = plain(&hint(&proxy(address), Cause::ReadTimeout).await);
    assert!(said.contains("But a new GET / gives 200 in N ms: the app runs, and this request is slow"), "{said}");

    let origin = Origin::start(Behaviour::Silent).await;
    let said = hint(&proxy(origin.address()), Cause::ReadTimeout).await;
    assert!(said.contains("It takes a new connection, but does not answer GET /"), "{said}");
}

#[tokio::test]
async fn a_published_port_with_nobody_behind_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let proxy = proxy(address);
    get(&proxy, "/").await;
    // Whether that is an end or a reset is a matter of moments.
    let said = &found(&proxy, Cause::ClosedWithoutResponse).await.sentence;
    assert!(said.contains("drops every connection at once") && said.contains("0.0.0.0"), "{said}");
}

#[tokio::test]
async fn an_app_that_crashed_on_a_request_and_one_that_is_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    serve(listener, |said| (if said.starts_with(b"GET / ") { OK.to_vec() } else { Vec::new() }, false));
    let said = hint(&proxy(address), Cause::ClosedWithoutResponse).await;
    assert!(said.contains("the app runs, and this request, or this moment,"), "{said}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        drop(listener); // the last one
        let _ = stream.read(&mut [0; 4096]).await;
    });
    let proxy = proxy(address);
    get(&proxy, "/").await;
    let said = &found(&proxy, Cause::ClosedWithoutResponse).await.sentence;
    assert!(said.starts_with("By now nothing listens there"), "{said}");
}

#[tokio::test]
async fn an_upstream_that_points_back_is_named() {
    let proxy = proxy(Origin::nobody());
    let pool = Arc::clone(&proxy.server().pools()[0]);
    pool.set_addresses(0, Dial::Addresses(vec![proxy.address]), Instant::now());
    let answer = get(&proxy, "/").await;
    assert_eq!(answer.status, 502);
    let said = found(&proxy, Cause::LoopDetected).await;
    assert!(said.sentence.contains("is causeway's own address"), "{said:?}");
}

/// Not even where the upstream stays evicted for some more checks.
#[tokio::test]
async fn what_was_found_goes_when_the_port_opens() {
    let (closed, listener) = closed_next_door(alone()).await;
    serve_ok(listener);
    let nobody = closed.local_addr().unwrap().as_socket().unwrap();
    let health = "health = { type = \"tcp\", interval = \"50ms\", healthy_after = 100 }";
    let proxy = Proxy::start(&format!(
        "errors.detail = \"full\"\n[pool.app]\nupstreams = [\"{nobody}\"]\nwhen_all_evicted = \"fail\"\n{health}\n"
    ));
    proxy.until(0, State::Evicted).await;
    let finding = found(&proxy, Cause::ConnectionRefused).await;
    let told = get(&proxy, "/").await.text();
    assert!(told.contains(&finding.sentence), "{told}");

    closed.listen(100).unwrap();
    let gone = |insight: &Insight| insight.of(Asker::Traffic, Cause::ConnectionRefused, Instant::now()).is_none();
    until(&insight(&proxy), |insight| gone(insight).then_some(())).await.expect("it is gone");
    let answer = get(&proxy, "/").await;
    assert!(answer.status == 502 && !answer.text().contains("Did you mean"), "{}", answer.text());
}

#[test]
fn the_log_says_it_once_behind_the_eviction() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (nobody, listener) = runtime.block_on(next_door());
    let port = listener.local_addr().unwrap().port();
    runtime.spawn(async move { serve_ok(listener) });
    let config = format!(
        "listen = \"127.0.0.1:0\"\nadmin.address = \"off\"\nlog.access = \"off\"\n[pool.app]\nupstreams = [\"{nobody}\"]\n\
         health.interval = \"100ms\"\nhealth.timeout = \"100ms\"\n"
    );
    let (mut causeway, address) = Causeway::run(&config);
    causeway.event("evicted: connection_refused. Nothing listens there. Is the app running, and is the port right?");
    let said = causeway.event("\"event\":\"upstream_diagnosed\"");
    let wanted = format!("app/{nobody}: nothing listens there, but {}:{port} answers HTTP (200, ", nobody.ip());
    assert!(said.contains(&wanted) && said.contains("\"level\":\"warn\""), "{said}");
    assert!(said.contains(&format!("Did you mean {port}?")), "{said}");
    runtime.block_on(async {
        for _ in 0..20 {
            assert_eq!(Raw::connect(address).await.get("/").await.status, 502);
        }
    });
    causeway.signal(rustix::process::Signal::TERM);
    let (_, all) = causeway.end();
    assert_eq!(all.matches("upstream_diagnosed").count(), 1, "{all}");
}

pub(crate) fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint::new(address.to_string().into(), Dial::Addresses(vec![address]))
}

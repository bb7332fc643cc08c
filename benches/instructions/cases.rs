//! What is counted: each case is prepared once, then called again and again.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use causeway::cause::{Cause, Failure, Phase};
use causeway::config::model::Balance;
use causeway::config::{self, Config};
use causeway::health::State;
use causeway::observe::access_log::{self, Form as LineForm};
use causeway::observe::exchange::EndedBy;
use causeway::observe::{Attempt, Exchange, NotTried, Outcome, Reason};
use causeway::pool::Pool;
use causeway::pool::pick::{Ask, Choice, Next};
use causeway::pool::recent::Recent;
use causeway::proxy::respond::{Annotator, Form, Telling, verdict};
use causeway::route::{Table, normal};
use http::{HeaderMap, HeaderValue, Method, Uri};

use super::balance::{HASH, choose};
use super::codec;

/// One prepared case.
pub(super) type Case = Box<dyn FnMut()>;

/// Prepares one.
type Prepare = fn() -> Case;

/// Name and preparation.
pub(super) const ALL: &[(&str, Prepare)] = &[
    ("route, the only one", || route(1, "shop.example", "/orders/4711")),
    ("route, of 20 hosts", || route(20, "host-17.example:8080", "/orders/4711")),
    ("route, of 20 hosts, none", || route(20, "elsewhere.example", "/")),
    ("pick, of 2 upstreams", || pick(2)),
    ("pick, of 100 upstreams", || pick(100)),
    ("pick, of 1000 upstreams", || pick(1000)),
    ("recent times, one answer", recent),
    ("balance, p2c, of 2", || choose(&Balance::P2c, 2, false)),
    ("balance, p2c, of 100", || choose(&Balance::P2c, 100, false)),
    ("balance, p2c, of 1000", || choose(&Balance::P2c, 1000, false)),
    ("balance, p2c, weights, of 2", || choose(&Balance::P2c, 2, true)),
    ("balance, p2c, weights, of 100", || choose(&Balance::P2c, 100, true)),
    ("balance, p2c, weights, of 1000", || choose(&Balance::P2c, 1000, true)),
    ("balance, round_robin, of 2", || choose(&Balance::RoundRobin, 2, false)),
    ("balance, round_robin, of 100", || choose(&Balance::RoundRobin, 100, false)),
    ("balance, round_robin, of 1000", || choose(&Balance::RoundRobin, 1000, false)),
    ("balance, round_robin, weights, of 2", || choose(&Balance::RoundRobin, 2, true)),
    ("balance, round_robin, weights, of 100", || choose(&Balance::RoundRobin, 100, true)),
    ("balance, round_robin, weights, of 1000", || choose(&Balance::RoundRobin, 1000, true)),
    ("balance, ewma, of 2", || choose(&Balance::Ewma, 2, false)),
    ("balance, ewma, of 100", || choose(&Balance::Ewma, 100, false)),
    ("balance, ewma, of 1000", || choose(&Balance::Ewma, 1000, false)),
    ("balance, ewma, weights, of 2", || choose(&Balance::Ewma, 2, true)),
    ("balance, ewma, weights, of 100", || choose(&Balance::Ewma, 100, true)),
    ("balance, ewma, weights, of 1000", || choose(&Balance::Ewma, 1000, true)),
    ("balance, least_in_flight, of 2", || choose(&Balance::LeastInFlight, 2, false)),
    ("balance, least_in_flight, of 100", || choose(&Balance::LeastInFlight, 100, false)),
    ("balance, least_in_flight, of 1000", || choose(&Balance::LeastInFlight, 1000, false)),
    ("balance, least_in_flight, weights, of 2", || choose(&Balance::LeastInFlight, 2, true)),
    ("balance, least_in_flight, weights, of 100", || choose(&Balance::LeastInFlight, 100, true)),
    ("balance, least_in_flight, weights, of 1000", || choose(&Balance::LeastInFlight, 1000, true)),
    ("balance, hash, of 2", || choose(&HASH, 2, false)),
    ("balance, hash, of 100", || choose(&HASH, 100, false)),
    ("balance, hash, of 1000", || choose(&HASH, 1000, false)),
    ("balance, hash, weights, of 2", || choose(&HASH, 2, true)),
    ("balance, hash, weights, of 100", || choose(&HASH, 100, true)),
    ("balance, hash, weights, of 1000", || choose(&HASH, 1000, true)),
    ("codec, head of 8 fields", codec::head),
    ("codec, exchange, 1 KB", || codec::exchange(codec::with_length(1 << 10))),
    ("codec, exchange, 64 KB", || codec::exchange(codec::with_length(64 << 10))),
    ("codec, exchange, 64 KB in chunks of 8 KB", || codec::exchange(codec::chunked(64 << 10, 8 << 10))),
    ("log line, one attempt, json", || log_line(answered(), LineForm::Json)),
    ("log line, one attempt, combined", || log_line(answered(), LineForm::Combined)),
    ("log line, all failed, json", || log_line(failed(), LineForm::Json)),
    ("cause, which form a client wants", which_form),
    ("cause, 502 of 3 upstreams, json", || annotated(Form::Json)),
    ("cause, 502 of 3 upstreams, text", || annotated(Form::Text)),
    ("cause, 502 of 3 upstreams, html", || annotated(Form::Html)),
];

/// Finds a route among those of so many hosts, of which each has three paths.
fn route(hosts: usize, host: &'static str, target: &'static str) -> Case {
    let one = |n: usize| {
        let paths = ["/", "/orders", "/orders/archive"].into_iter().enumerate();
        let row = |(i, path)| format!("[route.r{n}-{i}]\nhosts = [\"host-{n}.example\"]\npath = \"{path}\"\n");
        paths.map(row).collect::<String>()
    };
    let routes = if hosts > 1 { (0..hosts).map(one).collect() } else { String::new() };
    let config = config(&format!("{routes}[pool.app]\nupstreams = [\"127.0.0.1:3000\"]\n"));
    let table = Table::compile(config.routes.into_iter().map(Arc::new));
    Box::new(move || {
        let path = normal(black_box(target)).expect("a path");
        let _ = black_box(table.find(Some(black_box(host)), &path, &Method::GET));
    })
}

/// Takes an upstream out of so many, all ready, and gives it back.
fn pick(upstreams: usize) -> Case {
    let config = config("[pool.app]\nupstreams = [\"127.0.0.1:3000\"]\nhealth.type = \"off\"\n");
    let mut pool = config::model::Pool::clone(&config.pools[0]);
    pool.upstreams.resize(upstreams, pool.upstreams[0].clone());
    let pool = Pool::new(Arc::new(pool), Instant::now());
    fastrand::seed(4711);
    Box::new(move || {
        let mut choice = Choice::new(black_box(&pool));
        let Next::Try(pick) = black_box(choice.next(&pool, Ask::default(), Instant::now)) else {
            panic!("nobody is ready")
        };
        drop(pick);
    })
}

/// Counts how long one answer took.
fn recent() -> Case {
    let (start, took) = (Instant::now(), Duration::from_micros(700));
    let (recent, now) = (Recent::new(start), start + took);
    Box::new(move || recent.observe(black_box(took), black_box(now)))
}

fn log_line(exchange: Exchange, form: LineForm) -> Case {
    let mut out = Vec::with_capacity(16 << 10);
    Box::new(move || {
        out.clear();
        access_log::line(&mut out, form, black_box(&exchange));
        black_box(&out);
    })
}

fn which_form() -> Case {
    let mut fields = HeaderMap::new();
    let accept = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";
    fields.insert("accept", HeaderValue::from_static(accept));
    fields.insert("host", HeaderValue::from_static("shop.example"));
    Box::new(move || {
        black_box(Form::of(black_box(&fields)));
    })
}

/// Judges an exchange of which nothing came, and tells a client on the same machine all about it.
fn annotated(form: Form) -> Case {
    let annotator = Annotator::new("causeway".into());
    let exchange = failed();
    Box::new(move || {
        let verdict = verdict(black_box(&exchange));
        black_box(annotator.render(&exchange, &verdict, Telling::new(form, true)));
    })
}

/// The usual: the first upstream answers on a kept connection.
fn answered() -> Exchange {
    let mut exchange = exchange();
    exchange.attempts.push(Attempt {
        reused: true,
        head: Some(Duration::from_micros(812)),
        elapsed: Duration::from_micros(840),
        ..attempt(1, Outcome::Answered(200))
    });
    exchange.status = 200;
    exchange.bytes_out = 1024;
    exchange.elapsed = Duration::from_micros(903);
    exchange.ended_by = EndedBy::Upstream;
    exchange
}

/// The README's picture: one refuses, one is silent, one is evicted.
fn failed() -> Exchange {
    let mut exchange = exchange();
    let refused = Failure::new(Cause::ConnectionRefused).from(std::io::Error::from_raw_os_error(111));
    let silent = Failure::new(Cause::ReadTimeout).in_phase(Phase::Head).sent(true).limit("5.0 s");
    exchange
        .attempts
        .push(Attempt { elapsed: Duration::from_micros(312), ..attempt(1, Outcome::Failed(Arc::new(refused))) });
    exchange.attempts.push(Attempt {
        connect: Some(Duration::from_micros(290)),
        elapsed: Duration::from_secs(5),
        ..attempt(2, Outcome::Failed(Arc::new(silent)))
    });
    exchange.not_tried.push(NotTried {
        upstream: "127.0.0.1:3002".into(),
        ordinal: 3,
        authority: "127.0.0.1:3002".into(),
        reason: Reason::Evicted,
        state: State::Evicted,
        last_failure: Some((Cause::HealthStatus, "Health check GET /healthz gives 503, wanted 200-399.".to_owned())),
        since: exchange.at - Duration::from_secs(41),
        by_traffic: false,
        finding: None,
        held_for: Duration::from_secs(41),
        in_flight_limit: None,
        next_check: Some(Duration::from_millis(1200)),
        ends_in: None,
    });
    let verdict = verdict(&exchange);
    exchange.status = verdict.status.as_u16();
    exchange.failure = Some(verdict.failure);
    exchange.elapsed = Duration::from_millis(5003);
    exchange.ended_by = EndedBy::Proxy;
    exchange
}

fn exchange() -> Exchange {
    let client = SocketAddr::from(([127, 0, 0, 1], 40312));
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_183_371_042);
    let id = "4f6c2a91b07de358c1a4e9d2637f8b05".into();
    Exchange {
        uri: Uri::from_static("/orders?page=3"),
        host: Some(HeaderValue::from_static("shop.example")),
        user_agent: Some(HeaderValue::from_static("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101")),
        route: Some("main".into()),
        pool: Some("app".into()),
        pool_size: 3,
        idempotent: true,
        ..Exchange::new(id, client, "main".into(), (Instant::now(), at))
    }
}

fn attempt(ordinal: usize, outcome: Outcome) -> Attempt {
    let address: Arc<str> = format!("127.0.0.1:{}", 2999 + ordinal).into();
    Attempt {
        upstream: Arc::clone(&address),
        ordinal,
        authority: address,
        protocol: "http/1.1",
        outcome,
        reused: false,
        connect: None,
        head: None,
        elapsed: Duration::ZERO,
        last_resort: false,
        finding: None,
    }
}

/// What such a file says, beside a listener.
pub(super) fn config(text: &str) -> Config {
    Config::from_toml(&format!("listen = \":8080\"\n{text}")).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

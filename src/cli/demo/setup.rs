//! Who plays in the demo, and the config of the proxy in front of them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};

use crate::cli::origin::fault::Fault;
use crate::cli::origin::{Behaviour, Origin};
use crate::config::address::Address;
use crate::config::model::{
    AccessFormat, Action, Check, Config, Detail, Entry, Errors, Forward, Health, HttpCheck, Level, Listener, Log,
    LogTarget, Networks, Notify, Pool, Protocols, Route, Shutdown, Timeouts,
};
use crate::config::{Host, ListenAddress};

/// The three upstreams of pool `app`.
pub(super) const APP: [&str; 3] = ["one", "two", "three"];
/// The three of pool `down`.
const DOWN: [&str; 3] = ["gone", "silent", "sick"];
/// The pool that gets into trouble, and out of it.
pub(super) const APP_POOL: &str = "app";
/// The pool that never answers.
pub(super) const DOWN_POOL: &str = "down";
/// The path that goes to it.
pub(super) const DOWN_PATH: &str = "/all-down";

/// Where `run` takes traffic and admin requests unless it is told otherwise.
pub(super) const TRAFFIC: u16 = 8080;
pub(super) const ADMIN: u16 = 9901;

/// The ports of the demo, on both loopback addresses where the machine has both.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) traffic: u16,
    pub(super) admin: u16,
}

impl Ports {
    /// The usual ones, or the next ones that nobody has.
    pub(super) fn free() -> Option<Self> {
        let next = |from: u16| (from..from + 100).find(|port| loopback(*port).iter().all(free));
        Some(Self { traffic: next(TRAFFIC)?, admin: next(ADMIN)? })
    }
}

/// All upstreams of the demo.
#[derive(Debug)]
pub(super) struct Cast {
    /// As [`APP`] has them.
    pub(super) app: [Origin; 3],
    down: [Origin; 3],
}

impl Cast {
    /// Starts them all, each in good health.
    pub(super) async fn start() -> io::Result<Self> {
        let [one, two, three] = APP.map(Behaviour::good);
        let [gone, silent, sick] = DOWN.map(Behaviour::good);
        Ok(Self {
            app: [origin(one).await?, origin(two).await?, origin(three).await?],
            down: [origin(gone).await?, origin(silent).await?, origin(sick.failing(Fault::HealthStatus)).await?],
        })
    }

    /// Pool `down` goes down, once its first checks are in: what has gone since is tried, and found to be gone. (Its
    /// next check is an hour away.)
    pub(super) async fn raise_the_curtain(&mut self) {
        let [gone, silent, _] = &mut self.down;
        gone.stop().await;
        silent.set(Behaviour::good(&silent.name()).failing(Fault::ReadTimeout));
    }
}

async fn origin(behaviour: Behaviour) -> io::Result<Origin> {
    Origin::start(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0), behaviour).await
}

/// What `run` would read from a file.
pub(super) fn config(ports: &Ports, cast: &Cast) -> Config {
    let app = Pool {
        last_resort: true,
        health: Some(health(Duration::from_millis(500), Duration::from_millis(400))),
        ..pool(APP_POOL, APP, &cast.app)
    };
    let down = Pool {
        last_resort: false,
        health: Some(health(Duration::from_secs(3600), Duration::from_secs(1))),
        ..pool(DOWN_POOL, DOWN, &cast.down)
    };
    let routes = vec![route(APP_POOL, "/", 0, &app), route(DOWN_POOL, DOWN_PATH, 1, &down)];
    Config {
        name: "causeway".into(),
        workers: NonZeroUsize::new(2),
        trusted_proxies: Networks::default(),
        listeners: vec![Listener {
            name: "main".into(),
            address: ListenAddress::Exact(loopback(ports.traffic)),
            protocols: Protocols::default(),
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(60),
            keep_alive: Duration::from_secs(75),
            head_limit: 32 << 10,
            fields_limit: 100,
            connections_limit: NonZeroUsize::new(1024),
            in_flight_limit: None,
            tls_timeout: Duration::from_secs(5),
            tls: None,
            proxy_protocol: Networks::default(),
            redirect_https: false,
        }],
        admin: Some(ListenAddress::Exact(loopback(ports.admin))),
        admin_token: None,
        log: Log {
            level: Level::Error,
            events: LogTarget::Stderr,
            access: AccessFormat::Off,
            access_to: LogTarget::Stdout,
        },
        shutdown: Shutdown { grace: Duration::ZERO, timeout: Duration::from_secs(1) },
        hand_over: None,
        routes,
        pools: vec![Arc::new(app), Arc::new(down)],
        errors: Errors {
            detail: Detail::Auto,
            full_for: Networks::default(),
            proxy_status_on_all: false,
            diagnosis: true,
            page: None,
        },
        notify: Notify::default(),
        file: None,
    }
}

fn pool(name: &str, names: [&str; 3], origins: &[Origin; 3]) -> Pool {
    let entry = |(name, origin): (&str, &Origin)| {
        let address = Address::plain(Host::Ip(origin.address().ip()), origin.address().port());
        Entry { name: Some(name.into()), ..Entry::new(address) }
    };
    Pool {
        timeouts: Timeouts { connect: Duration::from_millis(500), read: Duration::from_secs(1), ..Timeouts::default() },
        ..Pool::new(name, names.into_iter().zip(origins).map(entry).collect())
    }
}

fn health(interval: Duration, timeout: Duration) -> Health {
    Health {
        check: Check::Http(HttpCheck {
            path: "/healthz".to_owned(),
            method: Method::GET,
            host_header: None,
            headers: HeaderMap::new(),
            expect_status: vec![(200, 399)],
            expect_body: String::new(),
        }),
        port: None,
        interval,
        timeout,
        healthy_after: 2,
        unhealthy_after: 3,
    }
}

fn route(name: &str, path: &str, index: usize, pool: &Pool) -> Route {
    Route {
        name: name.into(),
        hosts: Vec::new(),
        path: path.to_owned(),
        methods: Vec::new(),
        action: Action::Forward(Box::new(Forward {
            pool: index,
            replace_prefix: None,
            timeouts: pool.timeouts,
            retry: pool.retry,
        })),
        max_body: None,
        access_log: false,
        layers: None,
    }
}

/// `localhost:PORT`: both families, where the machine has both.
fn loopback(port: u16) -> Vec<SocketAddr> {
    let mut addresses = vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)];
    let six = IpAddr::V6(Ipv6Addr::LOCALHOST);
    if free(&SocketAddr::new(six, 0)) {
        addresses.push(SocketAddr::new(six, port));
    }
    addresses
}

fn free(address: &SocketAddr) -> bool {
    TcpListener::bind(address).is_ok()
}

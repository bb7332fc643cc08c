//! Pools for tests that need no config file.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use causeway::config::model::{self, Check, Health};
use causeway::config::{Address, Host};
use causeway::pool::Pool;

/// A pool of these hosts and ports, checked like that.
pub fn pool(upstreams: &[(&str, u16)], last_resort: bool, health: Option<Health>) -> Arc<Pool> {
    let entry = |&(host, port): &(&str, u16)| {
        let host = host.parse::<IpAddr>().map_or_else(|_| Host::Name(host.into()), Host::Ip);
        model::Entry::new(Address::plain(host, port))
    };
    let pool = model::Pool::new("app", upstreams.iter().map(entry).collect());
    let config = model::Pool { last_resort, health, ..pool };
    Arc::new(Pool::new(Arc::new(config), Instant::now()))
}

/// Checks at the pace of tests.
pub fn quick(check: Check) -> Health {
    Health {
        check,
        port: None,
        interval: Duration::from_millis(20),
        timeout: Duration::from_secs(2),
        healthy_after: 2,
        unhealthy_after: 3,
    }
}

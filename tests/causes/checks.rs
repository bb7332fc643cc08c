//! The same fault has the same name, whether traffic meets it or a health check: the upstreams of [`table`], asked by a
//! check.

use std::sync::Arc;
use std::time::Duration;

use causeway::config::address::Dial;
use causeway::config::model::{Check, Health, HttpCheck};
use causeway::config::{Address, Endpoint, Host};
use causeway::probe;
use http::{HeaderMap, Method};

use super::table::{Request, Upstream, table};
use super::*;
use crate::pools::quick;
use crate::support::full::full;
use crate::support::origin::{Behaviour, Origin};

fn health(timeout: Duration) -> Health {
    let check = HttpCheck {
        path: PATH.to_owned(),
        method: Method::GET,
        host_header: None,
        headers: HeaderMap::new(),
        expect_status: vec![(200, 399)],
        expect_body: String::new(),
    };
    Health { timeout, ..quick(Check::Http(check)) }
}

async fn asked(endpoint: Endpoint, timeout: Duration) -> (Cause, Phase, bool) {
    let failed = probe::once(&Arc::new(endpoint), &health(timeout)).await.expect_err("the check must fail");
    (failed.failure.cause, failed.failure.phase, failed.failure.sent)
}

#[tokio::test]
async fn a_check_names_a_fault_as_traffic_does() {
    let mut met = 0;
    for row in table() {
        // What only a kept connection, a request with a body or a limit of requests can meet is no affair of checks.
        let (Request::Get, Some((phase, sent))) = (row.request, row.attempt) else { continue };
        if row.cause == Cause::RequestTimeout {
            continue;
        }
        let (mut origin, mut full_port) = (None, None);
        let address = match &row.upstream {
            Upstream::Does(behaviour) => origin.insert(Origin::start(behaviour.clone()).await).address(),
            Upstream::At(address) => *address,
            Upstream::Full => {
                let (address, port) = full().await;
                full_port = Some(port);
                address
            }
        };
        let late = row.cause.row().timeout;
        let timeout = Duration::from_millis(if late { 100 } else { 5000 });
        let endpoint = Endpoint::literal(&Address::plain(Host::Ip(address.ip()), address.port())).unwrap();
        let seen = asked(endpoint, timeout).await;
        // A check asks for no other protocol: a 101 is a status like others, and not a wanted one.
        let wanted = match row.cause {
            Cause::UpgradeFailed => Cause::HealthStatus,
            cause => cause,
        };
        assert_eq!(seen.0, wanted, "{:?}", row.upstream);
        if wanted == row.cause {
            assert_eq!((seen.1, seen.2), (phase, sent), "{wanted} {:?}", row.upstream);
        }
        drop(full_port);
        met += 1;
    }
    assert!(met > 12, "{met} faults");
    let chunks = Origin::start(Behaviour::BadChunking).await;
    let endpoint = Endpoint::literal(&Address::plain(Host::Ip(chunks.address().ip()), chunks.port())).unwrap();
    assert_eq!(asked(endpoint, Duration::from_secs(5)).await.0, Cause::BadChunking);
}

#[tokio::test]
async fn a_name_without_an_address_is_the_same_to_a_check() {
    for cause in [Cause::DnsNotFound, Cause::DnsFailure, Cause::DnsTimeout] {
        let endpoint = Endpoint::new("app:3000".into(), Dial::Unresolved(Some((cause, "why".to_owned()))));
        assert_eq!(asked(endpoint, Duration::from_secs(5)).await, (cause, Phase::Resolve, false));
    }
}

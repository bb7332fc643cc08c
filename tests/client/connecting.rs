//! No connection: who is not there, and how that is told.

use std::time::Instant;

use causeway::cause::{Cause, Phase};
use causeway::config::address::Dial;

use super::{Bench, MS, get, post};
use crate::support::full::full;
use crate::support::origin::{Behaviour, Origin};

#[tokio::test]
async fn nobody_there_is_connection_refused() {
    let failure = Bench::at(Origin::nobody()).failure(post(super::full("x"))).await;
    assert_eq!((failure.cause, failure.phase, failure.sent), (Cause::ConnectionRefused, Phase::Connect, false));
    assert!(failure.source.is_some());
}

#[tokio::test]
async fn a_full_backlog_is_connect_timeout() {
    let (address, _full) = full().await;
    let mut bench = Bench::at(address);
    bench.timeouts.connect = 300 * MS;
    let failure = bench.failure(get()).await;
    assert_eq!((failure.cause, failure.phase, failure.sent), (Cause::ConnectTimeout, Phase::Connect, false));
    assert_eq!(failure.limit.as_deref(), Some("300.0 ms"));
}

#[tokio::test]
async fn a_name_without_an_address_fails_in_resolve() {
    let said = Some((Cause::DnsNotFound, "NXDOMAIN".to_string()));
    for (why, cause) in [(said, Cause::DnsNotFound), (None, Cause::DnsFailure)] {
        let failure = Bench::to(Dial::Unresolved(why)).failure(get()).await;
        assert_eq!((failure.cause, failure.phase, failure.sent), (cause, Phase::Resolve, false));
    }
}

#[tokio::test]
async fn localhost_is_dialled_on_both_families() {
    let origin = Origin::start(Behaviour::Ok(b"v4".to_vec())).await;
    let v6 = std::net::SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, origin.port()));
    for addresses in [vec![v6, origin.address()], vec![origin.address(), v6]] {
        let mut bench = Bench::to(Dial::Addresses(addresses));
        let mut quickest = 1000 * MS;
        for _ in 0..5 {
            bench.fresh = true;
            let start = Instant::now();
            assert_eq!(bench.text().await, "v4");
            quickest = quickest.min(start.elapsed());
        }
        assert!(quickest < 290 * MS, "a refusal does not wait for the head start to end");
    }
    let nobody = Origin::nobody();
    let v6 = std::net::SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, nobody.port()));
    let failure = Bench::to(Dial::Addresses(vec![nobody, v6])).failure(get()).await;
    assert_eq!(failure.cause, Cause::ConnectionRefused);
}

#[tokio::test]
async fn a_first_address_that_is_silent_does_not_hold_up_the_second() {
    let origin = Origin::start(Behaviour::Ok(b"second".to_vec())).await;
    let (address, _full) = full().await;
    let mut bench = Bench::to(Dial::Addresses(vec![address, origin.address()]));
    assert_eq!(bench.text().await, "second");
    assert!(bench.progress.connect().unwrap() >= 300 * MS);
}

#[tokio::test]
async fn a_reset_at_once_is_told_by_whether_anything_was_sent() {
    let origin = Origin::start(Behaviour::ResetOnAccept).await;
    let mut bench = Bench::at(origin.address());
    for _ in 0..20 {
        let failure = bench.failure(get()).await;
        match failure.sent {
            true => assert_eq!((failure.cause, failure.phase), (Cause::ResetBeforeHead, Phase::Head)),
            false => assert!(matches!(failure.cause, Cause::ConnectReset | Cause::ResetBeforeHead), "{failure}"),
        }
    }
}

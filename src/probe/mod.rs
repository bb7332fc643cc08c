//! Health checks: one live question to an upstream, and the tasks that keep asking.
//!
//! [`once`] asks one endpoint once: open a connection (`tcp`), or send a request and judge its answer (`http`, `grpc`).
//! [`visit()`] and [`kept`] ask in the same way, without a judgement, for `causeway probe`.
//! [`watch()`] has one task for each upstream of a pool and writes what it learns into the upstream's health. Causes
//! are those of traffic. Nothing here carries a client's request, and nothing here decides what a result means: that is
//! [`crate::health::machine`].

pub mod diagnose;
mod further;
mod grpc;
mod http;
mod pace;
mod seen;
mod visit;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::cause::{Cause, Failure, Phase, spoken};
use crate::client::{Offer, Opening, Progress, open};
use crate::config::Endpoint;
use crate::config::address::Dial;
use crate::config::model::{Check, Health, Timeouts};

pub use further::{Kept, Quiet, kept};
pub use seen::{BodySeen, HeadSeen, Seen, TlsSeen};
pub use visit::{Visit, Visited, visit};
pub use watch::watch;

/// Who asks, in every check that can say so.
const AGENT: &str = concat!("causeway/", env!("CARGO_PKG_VERSION"), " (health check)");

/// What came of one check.
pub type Outcome = Result<Facts, Failed>;

/// A check that passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// How long the connection took.
    pub connect: Option<Duration>,
    /// From its start to the last byte read.
    pub elapsed: Duration,
    /// The status of the answer; `None`: a TCP check.
    pub status: Option<u16>,
    /// `TCP connect in 0.2 ms`, `GET /healthz gives 200 in 3.1 ms`, `gRPC Health/Check gives SERVING in 3.1 ms`.
    pub sentence: String,
    /// What it met, phase by phase.
    pub seen: Seen,
}

/// A check that failed.
#[derive(Debug)]
pub struct Failed {
    /// Cause and phase, as traffic would have them.
    pub failure: Box<Failure>,
    /// From its start to its end.
    pub elapsed: Duration,
    /// For people: `GET /healthz gives 503, wanted 200-399`; `connection_refused. Nothing listens there. Is the app …`.
    pub sentence: String,
    /// What it met before that, phase by phase.
    pub seen: Seen,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

/// Checks this endpoint once, on a fresh connection. `health.timeout` spans everything, to the last body byte read.
///
/// # Errors
/// The [`Failed`] check, with the cause that the same failure has in traffic, or `health_status` or `health_body`.
pub async fn once(endpoint: &Arc<Endpoint>, health: &Health) -> Outcome {
    let started = Instant::now();
    let (own, endpoint) = (endpoint, &at_port(endpoint, health.port));
    let mut seen = Seen::default();
    let checked = match &health.check {
        Check::Tcp => tcp(endpoint, health.timeout, &mut seen).await,
        Check::Http(check) => http::check(endpoint, check, health.timeout, &mut seen).await.map(Some),
        // Seldom, and large: not a part of every check's future.
        Check::Grpc(check) => {
            let called = Box::pin(grpc::check(endpoint, check, health.timeout)).await;
            called.map(|(connect, status)| {
                seen.connect = connect;
                status
            })
        }
    };
    let elapsed = started.elapsed();
    match checked {
        Ok(status) => {
            let (asked, took) = (asked(&health.check), spoken(elapsed));
            let sentence = match (&health.check, status) {
                (Check::Http(_), Some(status)) => format!("{asked} gives {status} in {took}"),
                (Check::Grpc(_), _) => format!("{asked} gives SERVING in {took}"),
                _ if seen.tls.is_some() => format!("TLS handshake in {took}"),
                _ if own.authority.starts_with("unix:") => format!("connect in {took}"),
                _ => format!("TCP connect in {took}"),
            };
            Ok(Facts { connect: seen.connect, elapsed, status, sentence, seen })
        }
        Err(failure) => {
            let elsewhere = health.port.filter(|_| own.authority != endpoint.authority);
            let sentence = sentence(&failure, &endpoint.authority, health, elsewhere);
            Err(Failed { failure: Box::new(failure), elapsed, sentence, seen })
        }
    }
}

/// How long the connection took, and the status, if there is one.
type Passed = (Option<Duration>, Option<u16>);

async fn tcp(endpoint: &Endpoint, limit: Duration, seen: &mut Seen) -> Result<Option<u16>, Failure> {
    let timeouts = Timeouts { connect: limit, tls: limit, ..Timeouts::default() };
    let progress = Progress::default();
    let opening = Opening { endpoint, timeouts: &timeouts, client: None, offer: Offer::Both };
    let opened = timeout(limit, open(opening, &progress)).await;
    (seen.connect, seen.tls) = (progress.connect(), progress.session().map(TlsSeen::of));
    opened.map_err(|_elapsed| late(progress.phase(), false, limit))??;
    Ok(None)
}

/// The endpoint itself, or the same host at the port of the checks.
#[must_use]
pub fn at_port(endpoint: &Arc<Endpoint>, port: Option<u16>) -> Arc<Endpoint> {
    let (Some(port), Dial::Addresses(_) | Dial::Unresolved(_)) = (port, &endpoint.dial) else {
        return Arc::clone(endpoint);
    };
    let host = endpoint.authority.rsplit_once(':').map_or(&*endpoint.authority, |(host, _)| host);
    let mut dial = endpoint.dial.clone();
    if let Dial::Addresses(addresses) = &mut dial {
        addresses.iter_mut().for_each(|address| address.set_port(port));
    }
    Arc::new(endpoint.like(format!("{host}:{port}").into(), dial))
}

/// What is asked: `GET /healthz`.
fn asked(check: &Check) -> String {
    match check {
        Check::Tcp => "the TCP check".to_owned(),
        Check::Http(check) => format!("{} {}", check.method, check.path),
        Check::Grpc(check) if check.service.is_empty() => "gRPC Health/Check".to_owned(),
        Check::Grpc(check) => format!("gRPC Health/Check of {}", check.service),
    }
}

/// The clock of the check has run out in this phase.
fn late(phase: Phase, sent: bool, limit: Duration) -> Failure {
    let cause = match phase {
        Phase::Queue | Phase::Resolve | Phase::Connect => Cause::ConnectTimeout,
        Phase::Tls => Cause::TlsTimeout,
        Phase::Request => Cause::WriteTimeout,
        Phase::Head => Cause::ReadTimeout,
        Phase::Body => Cause::BodyTimeout,
    };
    Failure::new(cause).sent(sent).limit(spoken(limit))
}

/// What a failed check says to people. `elsewhere`: the port that was checked, where requests go to another.
fn sentence(failure: &Failure, authority: &str, health: &Health, elsewhere: Option<u16>) -> String {
    let (asked, limit) = (asked(&health.check), spoken(health.timeout));
    let cause = failure.cause;
    match cause {
        Cause::HealthStatus | Cause::HealthBody => {
            let said = failure.seen.clone().unwrap_or_else(|| failure.message().into());
            match elsewhere {
                Some(port) => said.replacen(" gives ", &format!(" on port {port} gives "), 1),
                None => said,
            }
        }
        // The limit of a check is not the one that the hints of traffic name.
        Cause::ConnectTimeout => format!(
            "{cause}. It did not take the connection within {limit} (limit: health.timeout). \
             Is its host up, and does a firewall let causeway in?"
        ),
        Cause::TlsTimeout => {
            format!(
                "{cause}. It took the connection, then did not answer to TLS within {limit} (limit: health.timeout)."
            )
        }
        Cause::WriteTimeout => format!("{cause}. It did not take {asked} within {limit} (limit: health.timeout)."),
        Cause::ReadTimeout => format!("{cause}. It gave no answer to {asked} within {limit} (limit: health.timeout)."),
        Cause::BodyTimeout => {
            format!("{cause}. Its answer to {asked} was not complete within {limit} (limit: health.timeout).")
        }
        // Of HTTP/2 more is known than of a reset connection.
        Cause::H2StreamRefused | Cause::H2ProtocolError => {
            format!(
                "{cause}. It ended {asked} with an error of HTTP/2: {}.",
                failure.seen.as_deref().unwrap_or("no reason")
            )
        }
        _ if elsewhere.is_some() => format!("{cause}. {}", failure.hint(authority)),
        // The sentence stands next to the address.
        _ => format!("{cause}. {}", failure.hint(authority).replace(&format!("on {authority}"), "there")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::address::{Address, Host};

    fn health(check: Check) -> Health {
        Health {
            check,
            port: None,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            healthy_after: 2,
            unhealthy_after: 3,
        }
    }

    fn says(failure: &Failure) -> String {
        sentence(failure, "127.0.0.1:3001", &health(Check::Tcp), None)
    }

    #[test]
    fn a_failed_check_reads_like_a_sentence() {
        let refused = "connection_refused. Nothing listens there. Is the app running, and is the port right?";
        assert_eq!(says(&Failure::new(Cause::ConnectionRefused)), refused);
        let status = "GET /healthz gives 503, wanted 200-399";
        assert_eq!(says(&Failure::new(Cause::HealthStatus).seen(status)), status);
    }

    #[test]
    fn a_check_at_a_port_of_its_own_names_it() {
        let says = |failure: &Failure| sentence(failure, "127.0.0.1:9000", &health(Check::Tcp), Some(9000));
        assert!(says(&Failure::new(Cause::ConnectionRefused)).contains("Nothing listens on 127.0.0.1:9000."));
        let status = Failure::new(Cause::HealthStatus).seen("GET /healthz gives 503, wanted 200-399");
        assert_eq!(says(&status), "GET /healthz on port 9000 gives 503, wanted 200-399");
    }

    #[test]
    fn a_late_check_names_the_limit_of_checks() {
        for cause in [Cause::ConnectTimeout, Cause::WriteTimeout, Cause::ReadTimeout, Cause::BodyTimeout] {
            let said = says(&Failure::new(cause).limit("2.0 s"));
            assert!(said.contains("within 2.0 s (limit: health.timeout)") && !said.contains("timeouts."), "{said}");
        }
    }

    #[test]
    fn the_port_of_checks_replaces_the_port_of_traffic() {
        let address = Address::plain(Host::Localhost, 3000);
        let endpoint = Arc::new(Endpoint::literal(&address).unwrap());
        let other = at_port(&endpoint, Some(9000));
        assert_eq!(&*other.authority, "localhost:9000");
        let Dial::Addresses(addresses) = &other.dial else { panic!("localhost has addresses") };
        assert!(addresses.len() == 2 && addresses.iter().all(|address| address.port() == 9000));
        assert!(Arc::ptr_eq(&endpoint, &at_port(&endpoint, None)));
    }
}

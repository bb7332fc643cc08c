//! Who met a failure. The same silence has another cure for a request than for a check. Pure.

use crate::cause::{Cause, Phase};
use crate::config::Endpoint;
use crate::config::address::Dial;
use crate::config::model::{Check, Health};

/// Who met a failure, and so what would cure one that took too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Asker {
    /// A client's request: `timeouts.read` of its route.
    #[default]
    Traffic,
    /// A health check, over HTTP or by a connection alone: `health.timeout`.
    Check,
    /// A health check of gRPC. What it asks no look asks, so a look helps only where there was no connection.
    GrpcCheck,
    /// Somebody who asks by hand, and what sets his limit: `--timeout`.
    Probe(&'static str),
}

impl Asker {
    /// Who asks when such a check of this upstream fails. Nobody, where it asks another port than requests go to: what
    /// is the matter there says nothing about requests, and the other way round.
    #[must_use]
    pub fn of_checks(health: &Health, endpoint: &Endpoint) -> Option<Self> {
        let there = |port| match &endpoint.dial {
            Dial::Addresses(addresses) => addresses.iter().all(|address| address.port() == port),
            Dial::Socket(_) | Dial::Unresolved(_) => true,
        };
        health.port.is_none_or(there).then_some(match health.check {
            Check::Grpc(_) => Self::GrpcCheck,
            Check::Http(_) | Check::Tcp => Self::Check,
        })
    }

    /// Whether what is found for one of them about this failure is as true for the other: until there is a connection,
    /// and about the protocol of a port, all ask alike.
    pub(super) fn stands_for(self, other: Self, cause: Cause) -> bool {
        let alike = matches!(cause.row().phase, Phase::Resolve | Phase::Connect | Phase::Tls)
            || matches!(cause, Cause::SpeaksTls | Cause::SpeaksH2 | Cause::NotHttp);
        self == other || alike && !is_dropped(cause)
    }
}

/// Whether a connection that is dropped ends or breaks, sooner or later, is a matter of moments.
pub(super) const fn is_dropped(cause: Cause) -> bool {
    matches!(cause, Cause::ConnectReset | Cause::ClosedWithoutResponse | Cause::ResetBeforeHead | Cause::TruncatedHead)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_check_of_another_port_asks_for_no_look() {
        let endpoint = Endpoint::new("127.0.0.1:3000".into(), Dial::Addresses(vec!["127.0.0.1:3000".parse().unwrap()]));
        for (port, asker) in [(None, Some(Asker::Check)), (Some(3000), Some(Asker::Check)), (Some(9000), None)] {
            let second = Duration::from_secs(1);
            let health = Health {
                check: Check::Tcp,
                port,
                interval: second,
                timeout: second,
                healthy_after: 1,
                unhealthy_after: 1,
            };
            assert_eq!(Asker::of_checks(&health, &endpoint), asker, "{port:?}");
        }
    }

    #[test]
    fn only_what_all_ask_alike_is_found_for_all() {
        let alike = |cause| Asker::Check.stands_for(Asker::Traffic, cause);
        assert!(alike(Cause::ConnectionRefused) && alike(Cause::DnsNotFound) && alike(Cause::NotHttp));
        assert!(!alike(Cause::ReadTimeout) && !alike(Cause::ClosedWithoutResponse) && !alike(Cause::ConnectReset));
    }
}

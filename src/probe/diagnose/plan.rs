//! What a look tries for which failure, and which ports stand next to one. Pure.

use crate::cause::Cause;
use crate::pool::insight::Asker;

/// Ports where apps and their development servers listen by default, the usual ones first.
const COMMON: [u16; 10] = [3000, 8000, 8080, 5000, 4000, 80, 8888, 9000, 5173, 4200];
/// The same for another host: fewer, since somebody may watch who knocks there.
const FEW: usize = 4;

/// What is worth trying.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Steps {
    /// Is the address one of causeway's own?
    pub(super) own: bool,
    /// How does it answer now: to HTTP, TLS, HTTP/2 and silence?
    pub(super) speech: bool,
    /// Does it speak TLS?
    pub(super) tls: bool,
    /// Is it the host or the port that does not answer?
    pub(super) road: bool,
    /// It is no app that is there, so it may be next to it: at another port, or on the other family.
    pub(super) misplaced: bool,
    /// What the name server says.
    pub(super) names: bool,
}

/// The steps for this failure; none where nothing that can be seen from here would explain it.
pub(super) const fn steps(asker: Asker, cause: Cause) -> Steps {
    let none = Steps { own: false, speech: false, tls: false, road: false, misplaced: false, names: false };
    match cause {
        Cause::ClosedWithoutResponse
        | Cause::ResetBeforeHead
        | Cause::TruncatedHead
        | Cause::ReadTimeout
        | Cause::NotHttp
        | Cause::SpeaksTls
        | Cause::SpeaksH2
        | Cause::H2ProtocolError
        | Cause::HealthStatus
            if matches!(asker, Asker::GrpcCheck) =>
        {
            none
        }
        Cause::ConnectionRefused | Cause::SpeaksH2 => Steps { own: true, misplaced: true, ..none },
        // It may be that every answer is 400: that alone proves no TLS.
        Cause::SpeaksTls | Cause::HealthStatus => Steps { own: true, tls: true, ..none },
        Cause::NotHttp => Steps { own: true, speech: true, misplaced: true, ..none },
        Cause::ConnectReset
        | Cause::ClosedWithoutResponse
        | Cause::ResetBeforeHead
        | Cause::TruncatedHead
        | Cause::H2ProtocolError
        | Cause::ReadTimeout => Steps { own: true, speech: true, ..none },
        Cause::ConnectTimeout | Cause::Unreachable => Steps { own: true, road: true, ..none },
        Cause::DnsNotFound | Cause::DnsFailure | Cause::DnsTimeout => Steps { names: true, ..none },
        Cause::LoopDetected => Steps { own: true, ..none },
        _ => none,
    }
}

/// Whether a look at this failure does anything.
pub(super) fn is_worth_it(asker: Asker, cause: Cause) -> bool {
    steps(asker, cause) != Steps::default()
}

/// Whether such an answer may be that of a port of TLS to plain HTTP: 400 as most have it, 497 where nginx is told to.
#[must_use]
pub fn may_be_tls(status: u16) -> bool {
    matches!(status, 400 | 497)
}

/// The ports next to this one, the likeliest first: one beside it, then where apps usually are.
pub(super) fn ports(port: u16, same_machine: bool) -> Vec<u16> {
    let common = if same_machine { &COMMON[..] } else { &COMMON[..FEW] };
    let mut ports = Vec::with_capacity(2 + common.len());
    for next in [port.checked_sub(1), port.checked_add(1)].into_iter().flatten().chain(common.iter().copied()) {
        if next != 0 && next != port && !ports.contains(&next) {
            ports.push(next);
        }
    }
    ports
}

/// Whether a Host that came from a client may be said once more, and told: a name or an address, with or without a
/// port.
pub(super) fn is_plain_host(host: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    (1..=100).contains(&host.len()) && host.bytes().all(plain)
}

/// Host (with the brackets of IPv6) and port of an authority; a service has only its name.
pub(super) fn split(authority: &str) -> (&str, &str) {
    match authority.strip_prefix("srv:") {
        Some(service) => (service.rsplit_once("://").map_or(service, |(_, name)| name), ""),
        None => authority.rsplit_once(':').unwrap_or((authority, "")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_neighbours_are_a_short_list() {
        assert_eq!(ports(3001, true), [3000, 3002, 8000, 8080, 5000, 4000, 80, 8888, 9000, 5173, 4200]);
        assert_eq!(ports(3000, false), [2999, 3001, 8000, 8080, 5000]);
        assert_eq!((ports(1, true)[0], ports(u16::MAX, true)[0]), (2, u16::MAX - 1));
        for port in 1..=u16::MAX {
            let ports = ports(port, true);
            assert!(ports.len() <= 12 && !ports.contains(&port) && !ports.contains(&0), "{port}: {ports:?}");
        }
    }

    #[test]
    fn what_is_our_own_or_the_clients_needs_no_look() {
        use crate::cause::Fault;
        for &cause in Cause::ALL.iter().filter(|cause| is_worth_it(Asker::Traffic, **cause)) {
            let fault = cause.row().fault;
            assert!(matches!(fault, Fault::Upstream | Fault::Network) || cause == Cause::LoopDetected, "{cause}");
        }
        let worth_it = |cause| is_worth_it(Asker::Traffic, cause);
        assert!(!worth_it(Cause::PortsExhausted) && !worth_it(Cause::ClientClosed));
    }

    #[test]
    fn only_a_host_that_is_one_is_said_again() {
        for (host, plain) in [
            ("shop.example", true),
            ("shop.example:8080", true),
            ("[::1]:80", true),
            ("", false),
            ("a b", false),
            ("a'; rm", false),
            ("a\r\nX: 1", false),
        ] {
            assert_eq!(is_plain_host(host), plain, "{host:?}");
        }
        assert!(is_plain_host(&"a".repeat(100)) && !is_plain_host(&"a".repeat(101)));
    }

    #[test]
    fn no_look_speaks_grpc() {
        let worth_it = |cause| is_worth_it(Asker::GrpcCheck, cause);
        assert!(worth_it(Cause::ConnectionRefused) && worth_it(Cause::ConnectTimeout) && worth_it(Cause::DnsNotFound));
        assert!(!worth_it(Cause::ReadTimeout) && !worth_it(Cause::ClosedWithoutResponse));
    }
}

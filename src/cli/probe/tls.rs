//! The TLS session as a line: what was agreed on, whose certificate it is, and for how long. Pure.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::config::certificate::day;
use crate::config::problem::count;
use crate::probe::TlsSeen;

use super::report::Step;

const DAY: i64 = 24 * 3600;

/// `TLS 1.3, h2; certificate for api.internal, trusted, valid until 2027-02-11 (83 days)`.
pub(super) fn step(seen: &TlsSeen, now: SystemTime) -> Step {
    let agreed = match &seen.alpn {
        Some(protocol) => format!("{}, {protocol}", seen.version),
        None => seen.version.to_owned(),
    };
    let step = |said: String| {
        let step = Step::new("tls", seen.took, said).fact("version", seen.version).fact("verified", seen.verified);
        let step = if let Some(cipher) = seen.cipher { step.fact("cipher", cipher) } else { step };
        if let Some(protocol) = &seen.alpn { step.fact("alpn", protocol.as_str()) } else { step }
    };
    let Some(certificate) = &seen.certificate else { return step(agreed) };
    let name = certificate.names.first().map_or(&*certificate.subject, |name| name);
    let more = match certificate.names.len() {
        ..=1 => String::new(),
        names => format!(" and {}", count(names - 1, "other name")),
    };
    let trusted = if seen.verified { "trusted" } else { "not looked at (tls.verify = false)" };
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    let until = until(certificate.not_after, seconds);
    step(format!("{agreed}; certificate for {name}{more}, {trusted}, {until}")).fact(
        "certificate",
        json!({
            "subject": certificate.subject,
            "names": certificate.names,
            "issuer": certificate.issuer,
            "not_before": day(certificate.not_before),
            "not_after": day(certificate.not_after),
        }),
    )
}

/// `valid until 2027-02-11 (83 days)`, `ended 2020-01-01 (2516 days ago)`.
fn until(end: i64, now: i64) -> String {
    let days = count(usize::try_from((end - now).abs() / DAY).unwrap_or(0), "day");
    let day = day(end);
    if end < now { format!("ended {day} ({days} ago)") } else { format!("valid until {day} ({days})") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::config::certificate::Certificate;

    use super::*;

    #[test]
    fn a_session_is_one_line() {
        let certificate = Certificate {
            names: vec!["api.internal".into()],
            not_after: 83 * DAY + 5,
            subject: "CN=x".into(),
            ..Certificate::default()
        };
        let mut seen = TlsSeen {
            took: Duration::from_millis(4),
            version: "TLS 1.3",
            cipher: None,
            alpn: Some("h2".into()),
            verified: true,
            certificate: Some(certificate),
        };
        let said = |seen: &TlsSeen| step(seen, UNIX_EPOCH).said;
        let line = "TLS 1.3, h2; certificate for api.internal, trusted, valid until 1970-03-25 (83 days)";
        assert_eq!(said(&seen), line);
        let later = UNIX_EPOCH + Duration::from_secs(86_400 * 85);
        assert!(step(&seen, later).said.ends_with("trusted, ended 1970-03-25 (1 day ago)"));
        (seen.certificate, seen.alpn) = (None, None);
        assert_eq!(said(&seen), "TLS 1.3");
    }
}

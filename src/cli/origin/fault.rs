//! The faults an origin can commit on purpose, each under the cause that a proxy in front of it should name.
//!
//! Only what a listening HTTP/1 server can do to its peer is here: a cause that needs no server
//! (`connection_refused`) or another one (`dns_*`) is refused with the list of those that are possible.

use std::fmt::Write as _;
use std::str::FromStr;

use crate::cause::Cause;

/// One way of going wrong. The cause of each is in [`TABLE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // `TABLE` says what each does
pub enum Fault {
    ConnectReset,
    StaleConnection,
    ClosedWithoutResponse,
    ResetBeforeHead,
    TruncatedHead,
    NotHttp,
    SpeaksTls,
    SpeaksH2,
    InvalidHead,
    ResponseHeadTooLarge,
    BadChunking,
    ReadTimeout,
    WriteTimeout,
    RequestTimeout,
    TruncatedBody,
    BodyTimeout,
    UpgradeFailed,
    HealthStatus,
    HealthBody,
}

/// Every fault, the cause it should be called, and what the origin does.
///
/// The reset of `connect_reset` races with the peer's first write: where the write wins, it is a `reset_before_head`.
pub const TABLE: &[(Fault, Cause, &str)] = &[
    (Fault::ConnectReset, Cause::ConnectReset, "resets unread; usually seen as reset_before_head"),
    (Fault::StaleConnection, Cause::StaleConnection, "closes a kept connection on its next request"),
    (Fault::ClosedWithoutResponse, Cause::ClosedWithoutResponse, "reads the request, then closes"),
    (Fault::ResetBeforeHead, Cause::ResetBeforeHead, "reads the request, then resets"),
    (Fault::TruncatedHead, Cause::TruncatedHead, "closes within the response head"),
    (Fault::NotHttp, Cause::NotHttp, "answers with an SSH banner"),
    (Fault::SpeaksTls, Cause::SpeaksTls, "answers with a TLS alert"),
    (Fault::SpeaksH2, Cause::SpeaksH2, "answers with HTTP/2 frames"),
    (Fault::InvalidHead, Cause::InvalidHead, "sends two different Content-Length fields"),
    (Fault::ResponseHeadTooLarge, Cause::ResponseHeadTooLarge, "sends Set-Cookie up to 17 MiB"),
    (Fault::BadChunking, Cause::BadChunking, "sends a chunk size that is no number"),
    (Fault::ReadTimeout, Cause::ReadTimeout, "reads the request, then is silent"),
    (Fault::WriteTimeout, Cause::WriteTimeout, "never reads the request body"),
    (Fault::RequestTimeout, Cause::RequestTimeout, "sends its body a byte every 100 ms"),
    (Fault::TruncatedBody, Cause::TruncatedBody, "closes half-way through the body"),
    (Fault::BodyTimeout, Cause::BodyTimeout, "is silent half-way through the body"),
    (Fault::UpgradeFailed, Cause::UpgradeFailed, "answers 101 for a protocol nobody asked for"),
    (Fault::HealthStatus, Cause::HealthStatus, "answers 503 on /healthz, well elsewhere"),
    (Fault::HealthBody, Cause::HealthBody, "says \"unwell\" on /healthz, well elsewhere"),
];

/// When a fault is decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Once for each connection.
    Connection,
    /// Once for each request.
    Request,
    /// Once for each request of `/healthz`.
    Health,
}

impl Fault {
    /// When it is decided on.
    #[must_use]
    pub const fn stage(self) -> Stage {
        match self {
            Self::ConnectReset => Stage::Connection,
            Self::HealthStatus | Self::HealthBody => Stage::Health,
            Self::StaleConnection
            | Self::ClosedWithoutResponse
            | Self::ResetBeforeHead
            | Self::TruncatedHead
            | Self::NotHttp
            | Self::SpeaksTls
            | Self::SpeaksH2
            | Self::InvalidHead
            | Self::ResponseHeadTooLarge
            | Self::BadChunking
            | Self::ReadTimeout
            | Self::WriteTimeout
            | Self::RequestTimeout
            | Self::TruncatedBody
            | Self::BodyTimeout
            | Self::UpgradeFailed => Stage::Request,
        }
    }
}

/// `CAUSE[:PERCENT]`: a fault, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What goes wrong.
    pub fault: Fault,
    /// In how many of a hundred cases. 1 to 100.
    pub percent: u8,
}

impl From<Fault> for Rule {
    /// Always.
    fn from(fault: Fault) -> Self {
        Self { fault, percent: 100 }
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (token, percent) = match text.split_once(':') {
            None => (text, 100),
            Some((token, percent)) => {
                let number = percent.trim_end_matches('%').parse().ok().filter(|p| (1..=100).contains(p));
                (token, number.ok_or_else(|| format!("`{percent}` is not a percentage from 1 to 100"))?)
            }
        };
        match TABLE.iter().find(|(_, cause, _)| cause.token() == token) {
            Some(&(fault, ..)) => Ok(Self { fault, percent }),
            None => Err(not_possible(token)),
        }
    }
}

/// The sentence for a token that is not in the table.
fn not_possible(token: &str) -> String {
    let mut text = match Cause::ALL.iter().find(|cause| cause.token() == token) {
        Some(Cause::ConnectionRefused) => "to have connections refused, stop the origin;".to_owned(),
        Some(_) => format!("`{token}` is nothing an HTTP/1 origin can bring about;"),
        None => {
            let near = TABLE
                .iter()
                .map(|(_, cause, _)| cause.token())
                .max_by(|a, b| strsim::jaro_winkler(token, a).total_cmp(&strsim::jaro_winkler(token, b)));
            match near.filter(|near| strsim::jaro_winkler(token, near) > 0.8) {
                Some(near) => format!("there is no cause `{token}`, did you mean `{near}`?"),
                None => format!("there is no cause `{token}`;"),
            }
        }
    };
    text.push_str(" possible are:");
    for (_, cause, _) in TABLE {
        let _ = write!(text, "\n    {cause}");
    }
    text
}

/// One of the rules of this stage, or none, each as often as it says: `roll` is a number from 0 to 99.
#[must_use]
pub fn choose(rules: &[Rule], stage: Stage, roll: u8) -> Option<Fault> {
    let mut below = 0;
    rules.iter().filter(|rule| rule.fault.stage() == stage).find_map(|rule| {
        below += u16::from(rule.percent);
        (u16::from(roll) < below).then_some(rule.fault)
    })
}

/// Do the rules of one stage add up to more than a hundred in a hundred?
#[must_use]
pub fn too_many(rules: &[Rule]) -> bool {
    [Stage::Connection, Stage::Request, Stage::Health].into_iter().any(|stage| {
        let sum: u32 =
            rules.iter().filter(|rule| rule.fault.stage() == stage).map(|rule| u32::from(rule.percent)).sum();
        sum > 100
    })
}

/// The table for `--help`.
#[must_use]
pub fn help() -> String {
    let mut text = String::from("CAUSE is one of:\n");
    for (_, cause, does) in TABLE {
        let _ = writeln!(text, "  {:<25} {does}", cause.token());
    }
    text.push_str("PERCENT is 100 unless said; percentages of several --fail add up.");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_a_cause_and_a_percentage() {
        assert_eq!("read_timeout".parse::<Rule>(), Ok(Rule { fault: Fault::ReadTimeout, percent: 100 }));
        assert_eq!("not_http:7".parse::<Rule>(), Ok(Rule { fault: Fault::NotHttp, percent: 7 }));
        for wrong in ["read_timeout:0", "read_timeout:101", "read_timeout:", "read_timeout:x"] {
            assert!(wrong.parse::<Rule>().is_err_and(|e| e.contains("1 to 100")), "{wrong}");
        }
    }

    #[test]
    fn an_impossible_cause_lists_the_possible_ones() {
        let unknown = "read_timeuot".parse::<Rule>().unwrap_err();
        assert!(
            unknown.contains("did you mean `read_timeout`?") && unknown.contains("\n    bad_chunking"),
            "{unknown}"
        );
        let refused = "connection_refused".parse::<Rule>().unwrap_err();
        assert!(refused.contains("stop the origin"), "{refused}");
        let dns = "dns_timeout".parse::<Rule>().unwrap_err();
        assert!(dns.contains("nothing an HTTP/1 origin can bring about"), "{dns}");
    }

    #[test]
    fn percentages_of_one_stage_share_one_roll() {
        let rules: Vec<Rule> =
            ["not_http:10", "connect_reset:50", "read_timeout:20"].iter().map(|r| r.parse().unwrap()).collect();
        let count = |stage, fault| (0..100).filter(|roll| choose(&rules, stage, *roll) == fault).count();
        assert_eq!(count(Stage::Request, Some(Fault::NotHttp)), 10);
        assert_eq!(count(Stage::Request, Some(Fault::ReadTimeout)), 20);
        assert_eq!(count(Stage::Request, None), 70);
        assert_eq!(count(Stage::Connection, Some(Fault::ConnectReset)), 50);
        assert!(!too_many(&rules));
        assert!(too_many(&[Fault::NotHttp.into(), Rule { fault: Fault::ReadTimeout, percent: 1 }]));
    }

    #[test]
    fn help_is_ascii_and_narrow() {
        assert!(help().is_ascii() && help().lines().all(|line| line.len() <= 80));
    }
}

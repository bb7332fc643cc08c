//! One failure: its cause, and what was seen. Its sentences are filled in from the table here, and nowhere else.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::place::{addressed, is_here};
use super::{Cause, Finding, Oversize, Phase, alert, escape, oversize};

/// The hint of [`Cause::ResponseHeadTooLarge`] where the limit is one of fields: that one cannot be raised.
const TOO_MANY_FIELDS: &str =
    "Its response head has more than {limit}, the most that causeway takes. Find what adds them: usually Set-Cookie.";

/// The hint of [`Cause::ConnectTimeout`] on this machine: no network is between, so nothing got lost on it.
const STUCK_HERE: &str = "{address} did not take the connection within {limit} (limit: timeouts.connect). That is this machine, \
     so the app is there and takes no connections: stuck, stopped, or more busy than it can be?";

/// What [`Cause::ReadTimeout`] is where a head was begun: no silence.
const BEGUN: &str = "it took the request, then sent {seen} of a response head, and not the rest within {limit}";
/// The hint of that.
const BEGUN_HINT: &str = "It took the request, then sent {seen} of a response head, and not the rest within {limit} (limit: timeouts.read). \
     Is it stuck in the midst of its answer, or does something between hold it up?";

/// The hint where a connection of HTTP/2 was found dead: no limit of the operator's was met.
const NO_PONG: &str = "Its HTTP/2 connection was silent for {limit}, and a PING had no answer. Is it stuck, or is the \
     network to it gone?";

/// The hint of [`Cause::H2ProtocolError`] where HTTP/1.1 was answered: that says it all.
const TAKES_H1: &str = "{address} speaks HTTP/1.1 here, and causeway spoke HTTP/2. Write \"http://{address}\" in upstreams, \
     or name the port on which the app speaks HTTP/2.";

/// The hint of [`Cause::UpgradeFailed`] where the upstream was not even asked.
const NO_UPGRADES: &str = "An upgrade needs HTTP/1.1, and causeway speaks {seen}. Give such requests a route and a pool of \
     their own, with \"http://\" before the app's address.";

/// What [`Cause::BodyTimeout`] is where the body is a tunnel.
const SILENT_TUNNEL: &str = "nothing came through the tunnel for {limit}";
/// The hint of that.
const SILENT_TUNNEL_HINT: &str = "Nothing came through the tunnel for {limit} (limit: timeouts.tunnel). Let one side send a \
     ping now and then, or give this route a longer limit.";

/// What [`Cause::UpgradeFailed`] is there.
const NOT_ASKED: &str = "an upgrade needs HTTP/1.1, and causeway speaks {seen}";

/// What is the matter with a list of upstreams, and not with a name.
const NO_LIST: &str =
    "There is no list of upstreams: {seen}. Write or mend that file; it is read again as soon as it changes.";
/// The same where it has said that it takes none over HTTP/2.
const NO_WEB_SOCKETS: &str = "It speaks HTTP/2, and takes no WebSockets that way (SETTINGS_ENABLE_CONNECT_PROTOCOL is off). \
     Turn that on in the app, or give WebSockets a route and a pool of their own, with \"http://\" before the app's address.";
/// The same where HTTP/1.1 was turned away in TLS.
const NO_WEB_SOCKETS_IN_TLS: &str = "It speaks HTTP/2 alone, and takes no WebSockets that way \
     (SETTINGS_ENABLE_CONNECT_PROTOCOL is off). Turn that on in the app, or let it take HTTP/1.1 as well (ALPN http/1.1).";
/// The same where its 101 proves nothing.
const NO_PROOF: &str = "Its 101 does not prove that it read the key of the WebSocket: {seen}. This is a fault in the app or its \
     framework.";

/// One failure: its cause, where it happened, and what was seen. The source chain goes to the log, never to a client.
#[derive(Debug)]
pub struct Failure {
    /// Its name.
    pub cause: Cause,
    /// Where it happened.
    pub phase: Phase,
    /// Whether the socket had taken a byte of this request (CONTRACT §9 "Sent").
    pub sent: bool,
    /// The limit that was met, as text (`"5 s"`, `"64 KiB"`), for the hint.
    pub limit: Option<String>,
    /// What was seen: escaped bytes, a field name, `"512 of 1024 bytes"`. May hold what an upstream sent: always
    /// printable ASCII (see [`escape`]).
    pub seen: Option<String>,
    /// How large what was too large is.
    pub oversize: Option<Box<Oversize>>,
    /// The number of the alert that ended a TLS session (see [`alert`]).
    pub alert: Option<u8>,
    /// The status where it is not the row's own (414, 417, 421, 431 and 501 share causes with 400 and 413).
    pub status: Option<u16>,
    /// The status of the response that failed, where one had arrived.
    pub received: Option<u16>,
    /// The Proxy-Status of that response: what proxies behind us have said of it.
    pub behind: Option<Box<str>>,
    /// In how long it may go better, where that is known.
    pub again: Option<Duration>,
    /// What the system or library said.
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure in the cause's usual phase, with nothing sent.
    #[must_use]
    pub fn new(cause: Cause) -> Self {
        Self {
            cause,
            phase: cause.row().phase,
            sent: false,
            limit: None,
            seen: None,
            oversize: None,
            alert: None,
            status: None,
            received: None,
            behind: None,
            again: None,
            source: None,
        }
    }

    /// The same, in another phase.
    #[must_use]
    pub const fn in_phase(mut self, phase: Phase) -> Self {
        self.phase = phase;
        self
    }

    /// The same, with a word on whether anything of the request was sent.
    #[must_use]
    pub const fn sent(mut self, sent: bool) -> Self {
        self.sent = sent;
        self
    }

    /// The same, with the limit that was met, as text.
    #[must_use]
    pub fn limit(mut self, limit: impl fmt::Display) -> Self {
        self.limit = Some(limit.to_string());
        self
    }

    /// The same, with what was seen. Not-ASCII and control bytes are escaped here.
    #[must_use]
    pub fn seen(mut self, seen: impl AsRef<[u8]>) -> Self {
        self.seen = Some(escape(seen.as_ref()));
        self
    }

    /// The same, with how large what was too large is.
    #[must_use]
    pub fn oversize(mut self, oversize: Oversize) -> Self {
        self.oversize = Some(Box::new(oversize));
        self
    }

    /// An alert of TLS, by its number.
    #[must_use]
    pub fn alert(id: u8) -> Self {
        Self { alert: Some(id), ..Self::new(Cause::TlsAlert) }.seen(format!("{} ({id})", alert::name(id)))
    }

    /// The same, with a status of its own.
    #[must_use]
    pub const fn status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// The same, with the status of the response that failed (for `received-status`).
    #[must_use]
    pub const fn received(mut self, status: u16) -> Self {
        self.received = Some(status);
        self
    }

    /// The same, with the Proxy-Status of that response. What is no list of members is left out, and so is a long one.
    #[must_use]
    pub fn behind(mut self, members: &str) -> Self {
        const MOST: usize = 1000;
        let members = members.trim();
        self.behind = (members.len() <= MOST && is_a_list(members)).then(|| members.into());
        self
    }

    /// The same, with the time after which it may go better (Retry-After).
    #[must_use]
    pub const fn again(mut self, again: Duration) -> Self {
        self.again = Some(again);
        self
    }

    /// The same, with what the system or library said.
    #[must_use]
    pub fn from(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The status a client gets if this is the only failure.
    #[must_use]
    pub fn own_status(&self) -> u16 {
        self.status.unwrap_or(self.cause.row().status)
    }

    /// The one field that is larger than the limit all alone, and its size.
    #[must_use]
    pub fn field_too_large(&self) -> Option<(&str, u64)> {
        let (name, size) = self.oversize.as_ref()?.largest.as_ref()?;
        let limit = self.limit.as_deref().and_then(oversize::bytes)?;
        (self.cause == Cause::ResponseHeadTooLarge && *size > limit).then_some((name, *size))
    }

    /// The hint for the operator, about `address` (`host:port`): what is the matter, and what to do.
    #[must_use]
    pub fn hint(&self, address: &str) -> String {
        self.fill(&self.hint_template(address), address)
    }

    /// What is the matter, as a clause about an upstream named just before: `nothing listens there`.
    #[must_use]
    pub fn short(&self) -> String {
        let begun = self.cause == Cause::ReadTimeout && self.seen.is_some() && !self.saw("no answer to a PING");
        if self.cause == Cause::DnsFailure && self.saw("upstreams_file ") {
            return "its list of upstreams cannot be used".to_owned();
        }
        let row = self.cause.row();
        self.fill(if begun { BEGUN } else { self.of_upgrade().unwrap_or(row.short) }, "it")
    }

    /// What is the matter with an upgrade that the upstream was not even asked for, or with what came of it.
    fn of_upgrade(&self) -> Option<&'static str> {
        match (self.cause, self.phase) {
            (Cause::UpgradeFailed, Phase::Queue) if self.saw("it takes no WebSocket") => Some("{seen}"),
            (Cause::UpgradeFailed, Phase::Queue) => Some(NOT_ASKED),
            (Cause::BodyTimeout, _) if self.saw("a tunnel") => Some(SILENT_TUNNEL),
            _ => None,
        }
    }

    /// The first half of [`Failure::hint`]: what is the matter, without what to do.
    #[must_use]
    pub fn matter(&self, address: &str) -> String {
        let hint = self.hint_template(address);
        self.fill(hint.split_once(". ").map_or(&*hint, |(matter, _)| matter), address)
    }

    /// The second half of [`Failure::hint`]: what to do, without what is the matter; empty where there is none.
    #[must_use]
    pub fn remedy(&self, address: &str) -> String {
        let hint = self.hint_template(address);
        let remedy = hint.split_once(". ").map_or("", |(_, remedy)| remedy);
        self.fill(remedy, address)
    }

    /// [`Failure::hint`], with what is known besides.
    #[must_use]
    pub fn explained(&self, address: &str, finding: Option<&Finding>) -> String {
        let hint = self.hint(address);
        match finding {
            Some(finding) => finding.behind(&self.matter(address), &hint),
            None => hint,
        }
    }

    /// The second half of [`Failure::explained`]: what to do.
    #[must_use]
    pub fn advice(&self, address: &str, finding: Option<&Finding>) -> String {
        match finding {
            Some(finding) if finding.answers => finding.sentence.clone(),
            Some(finding) => format!("{} {}", self.remedy(address), finding.sentence).trim_start().to_owned(),
            None => self.remedy(address),
        }
    }

    /// The command to type next, if there is one; with no address, one that needs none.
    #[must_use]
    pub fn command(&self, address: &str) -> Option<String> {
        let command = self.cause.row().command;
        let placed = command.contains("{address}") || command.contains("{authority}");
        let none = command.is_empty() || address.is_empty() && placed;
        (!none).then(|| self.fill(command, address))
    }

    /// A bare fact for `message` and log: `connection refused`, `no response head within 5 s`.
    #[must_use]
    pub fn message(&self) -> Cow<'static, str> {
        let message = self.of_upgrade().unwrap_or(self.cause.row().message);
        let message = if self.cause == Cause::DnsFailure && self.saw("upstreams_file ") { "{seen}" } else { message };
        let message = if self.is_busy_otherwise() { "{seen}" } else { message };
        if message.contains('{') {
            Cow::Owned(self.fill(message, "it").replace(".0 s", " s"))
        } else {
            Cow::Borrowed(message)
        }
    }

    /// For the log, never for a client: the message and what system and library said, to the end of the chain.
    #[must_use]
    pub fn told(&self) -> String {
        let mut told = self.message().into_owned();
        let mut source = self.source.as_deref().map(|e| e as &dyn Error);
        while let Some(error) = source {
            told.push_str(": ");
            told.push_str(&error.to_string());
            source = error.source();
        }
        told
    }

    /// Busy, and not by a number of requests: no memory, too many passwords.
    fn is_busy_otherwise(&self) -> bool {
        self.cause == Cause::ProxyBusy && self.limit.is_none() && self.seen.is_some()
    }

    fn saw(&self, beginning: &str) -> bool {
        self.seen.as_deref().is_some_and(|seen| seen.starts_with(beginning))
    }

    fn hint_template(&self, address: &str) -> Cow<'static, str> {
        match (self.cause, &self.limit, &self.oversize) {
            (Cause::ConnectTimeout, ..) if is_here(address) => STUCK_HERE.into(),
            (Cause::DnsFailure, ..) if self.saw("upstreams_file ") => NO_LIST.into(),
            (Cause::ProxyBusy, ..) if self.is_busy_otherwise() => "causeway is busy: {seen}.".into(),
            (Cause::H2ProtocolError, ..) if self.saw("it answered in HTTP/1.1") => TAKES_H1.into(),
            (Cause::UpgradeFailed, ..) if self.saw("it takes no WebSocket") => {
                if address.starts_with("https://") {
                    NO_WEB_SOCKETS_IN_TLS.into()
                } else {
                    NO_WEB_SOCKETS.into()
                }
            }
            (Cause::BodyTimeout, ..) if self.saw("a tunnel") => SILENT_TUNNEL_HINT.into(),
            (Cause::UpgradeFailed, ..) if self.saw("Sec-WebSocket-Accept") => NO_PROOF.into(),
            (Cause::UpgradeFailed, ..) if self.phase == Phase::Queue => NO_UPGRADES.into(),
            (Cause::ConnectTimeout, ..) if address.starts_with("unix:") => STUCK_HERE.into(),
            (Cause::TlsAlert, ..) => self.alert.and_then(alert::hint).unwrap_or(self.cause.row().hint).into(),
            (Cause::ResponseHeadTooLarge, Some(limit), _) if limit.ends_with(" fields") => TOO_MANY_FIELDS.into(),
            (Cause::ResponseHeadTooLarge, Some(limit), Some(over)) => oversize::hint(over, limit).into(),
            (Cause::ReadTimeout | Cause::BodyTimeout, ..) if self.saw("no answer to a PING") => NO_PONG.into(),
            (Cause::ReadTimeout, ..) if self.seen.is_some() => BEGUN_HINT.into(),
            _ => self.cause.row().hint.into(),
        }
    }

    /// Fills in a template. What was seen carries the limit along where the template has no place for it, and is left
    /// out with its colon where nothing was seen.
    fn fill(&self, template: &str, address: &str) -> String {
        let seen = match (&self.seen, &self.limit) {
            (seen, Some(limit)) if !template.contains("{limit}") => Some(match seen {
                Some(seen) => format!("{seen} (limit: {limit})"),
                None => format!("the limit is {limit}"),
            }),
            (seen, _) => seen.clone(),
        };
        let mut text = template.replace("{limit}", self.limit.as_deref().unwrap_or("the limit"));
        if seen.is_none() {
            for lead in [": ", ", after ", " after ", ""] {
                text = text.replace(&format!("{lead}{{seen}}"), if lead.is_empty() { "what was asked" } else { "" });
            }
        }
        text = addressed(text, address);
        text.replace("{seen}", seen.as_deref().unwrap_or_default())
    }
}

impl fmt::Display for Failure {
    /// For the log: the cause, and all that was told.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.cause.token(), self.told())
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

/// Can these be members of a list (RFC 9651 §4.2.1), so that one more may stand behind them? Not every fault is seen:
/// only those that would swallow what follows.
fn is_a_list(members: &str) -> bool {
    let (mut quoted, mut escaped, mut empty) = (false, false, true);
    for byte in members.bytes() {
        match byte {
            _ if !matches!(byte, b' '..=b'~') => return false,
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'\\' => return false,
            b'"' => (quoted, empty) = (!quoted, false),
            b',' if !quoted && empty => return false,
            b',' if !quoted => empty = true,
            b' ' => {}
            _ => empty = false,
        }
    }
    !quoted && !empty
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_cannot_be_raised_is_not_told_to_be() {
        let failure = |limit| Failure::new(Cause::ResponseHeadTooLarge).limit(limit);
        let fields = "Its response head has more than 256 fields, the most that causeway takes. \
                      Find what adds them: usually Set-Cookie.";
        assert_eq!(failure("256 fields").hint("app:1"), fields);
        assert_eq!(failure("256 fields").remedy("app:1"), "Find what adds them: usually Set-Cookie.");
        assert!(
            failure("64 KiB").hint("app:1").contains("larger than 64 KiB (limit: buffers.response_head). Raise it")
        );
    }

    #[test]
    fn what_was_found_takes_the_place_of_what_is_asked() {
        let (refused, found) = (Failure::new(Cause::ConnectionRefused), "But app:2 answers HTTP. Did you mean 2?");
        let finding = Finding::new(Cause::ConnectionRefused, found);
        assert_eq!(refused.explained("app:1", Some(&finding)), format!("Nothing listens on app:1. {found}"));
        assert_eq!(refused.advice("app:1", Some(&finding)), found);
        let besides = finding.besides();
        assert_eq!(refused.explained("app:1", Some(&besides)), format!("{} {found}", refused.hint("app:1")));
        assert_eq!(refused.explained("app:1", None), refused.hint("app:1"));
    }

    /// What an upstream sent may hold the end of a sentence.
    #[test]
    fn who_is_busy_for_another_reason_says_that() {
        let counted = Failure::new(Cause::ProxyBusy).limit("3 (limit: limits.in_flight)");
        assert!(counted.message().contains("as many requests as allowed: 3"), "{counted}");
        let short = Failure::new(Cause::ProxyBusy).seen("memory is short");
        assert_eq!((&*short.message(), &*short.hint("")), ("memory is short", "causeway is busy: memory is short."));
    }

    #[test]
    fn a_hint_is_cut_where_its_template_ends_a_sentence() {
        for cause in Cause::ALL {
            let failure = Failure::new(*cause).seen("-ERR wrong. password? yes. no").limit("5 s");
            let (hint, matter, remedy) = (failure.hint("app:1"), failure.matter("app:1"), failure.remedy("app:1"));
            let whole = if remedy.is_empty() { matter.clone() } else { format!("{matter}. {remedy}") };
            assert_eq!(whole, hint, "{cause}");
            let finding = Finding::new(*cause, "Found.");
            let told = failure.explained("app:1", Some(&finding));
            assert_eq!(
                told,
                format!("{}{} Found.", matter.trim_end_matches('.'), if matter.ends_with('?') { "" } else { "." })
            );
        }
    }

    #[test]
    fn what_an_upgrade_met_is_said_of_an_upgrade() {
        let silent = Failure::new(Cause::BodyTimeout).sent(true).limit("5.0 s").seen("a tunnel");
        assert_eq!(silent.message(), "nothing came through the tunnel for 5 s");
        assert!(silent.hint("app:1").contains("for 5.0 s (limit: timeouts.tunnel). Let one side"), "{silent}");
        let queued = |seen| Failure::new(Cause::UpgradeFailed).in_phase(Phase::Queue).seen(seen);
        let none = queued("it takes no WebSocket over HTTP/2");
        assert_eq!(none.message(), "it takes no WebSocket over HTTP/2");
        assert_eq!(none.short(), "it takes no WebSocket over HTTP/2");
        let alone = queued("nothing but HTTP/2 with it").short();
        assert_eq!(alone, "an upgrade needs HTTP/1.1, and causeway speaks nothing but HTTP/2 with it");
        let answered = Failure::new(Cause::UpgradeFailed).sent(true).seen("to h2c");
        assert_eq!(answered.message(), "unexpected 101: to h2c");
    }
}

//! From facts to the name of a failure over HTTP/2. It sees which kind of error the library met and what the wire saw,
//! never an error's text.

use h2::Reason;

use super::pulse;
use super::wire::Wire;
use crate::cause::{Cause, Failure, Phase, escape, protocol, spoken};

/// How much of what was seen is told.
const TOLD: usize = 64;

/// What is known when a stream ends before its time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    pub(super) wire: &'a Wire,
    /// On a connection from an earlier request.
    pub(super) reused: bool,
    /// No stream was on it until a moment ago ([`CROSSING`](crate::client::classify::CROSSING)).
    pub(super) crossed: bool,
    /// It was asked whether it lives, and did not say.
    pub(super) dead: bool,
    /// Nothing came on the connection since the stream began.
    pub(super) silent: bool,
    /// The connection took a byte since then.
    pub(super) sent: bool,
    /// The upstream's last word on the connection.
    pub(super) farewell: Option<Reason>,
}

/// Why no HTTP/2 came about: nothing of a request was sent.
pub(super) fn no_h2(error: &h2::Error, wire: &Wire) -> Failure {
    let first = wire.first();
    let text = protocol::skip_empty_lines(&first);
    let failure = if text.is_empty() {
        return closed_early(wire).from(error.to_string());
    } else if protocol::is_tls(text) {
        Failure::new(Cause::SpeaksTls).seen(text)
    } else if text.starts_with(b"HTTP/1.") {
        let line = text.split(|b| matches!(b, b'\r' | b'\n')).next().unwrap_or(text);
        Failure::new(Cause::H2ProtocolError).seen(format!("it answered in HTTP/1.1, \"{}\"", escape(line)))
    } else if protocol::is_h2(text) {
        let word = match error.reason() {
            Some(reason) if error.is_remote() => format!("GOAWAY with {}", name(reason)),
            Some(reason) => format!("{} in what it sent", name(reason)),
            None => "the connection ended within the first frames".to_owned(),
        };
        Failure::new(Cause::H2ProtocolError).seen(word)
    } else {
        Failure::new(Cause::NotHttp).seen(&text[..text.len().min(TOLD / 2)])
    };
    failure.in_phase(Phase::Head).from(error.to_string())
}

/// It ended before its first word.
pub(super) fn closed_early(wire: &Wire) -> Failure {
    let how =
        if wire.was_reset() { "reset at the first bytes of HTTP/2" } else { "closed at the first bytes of HTTP/2" };
    Failure::new(Cause::ConnectReset).seen(how)
}

/// Why there is no response head. `sent` of what it gives is final: a stream that the upstream disowns was not sent.
pub(super) fn no_head(error: &h2::Error, known: Known<'_>) -> Failure {
    let failure = match (error.reason(), error.is_remote()) {
        (Some(reason), true) if error.is_reset() => {
            let refused = reason == Reason::REFUSED_STREAM;
            let cause = if refused { Cause::H2StreamRefused } else { Cause::H2ProtocolError };
            let failure = Failure::new(cause).sent(known.sent && !refused);
            failure.seen(format!("RST_STREAM with {}", name(reason)))
        }
        // Of the streams, only those above its last id hear of a GOAWAY (RFC 9113 §6.8).
        (Some(reason), true) => {
            let cause = match (reason, known.reused) {
                (Reason::NO_ERROR, true) => Cause::StaleConnection,
                (Reason::NO_ERROR, false) => Cause::H2StreamRefused,
                _ => Cause::H2ProtocolError,
            };
            let seen = format!("GOAWAY with {}", name(reason));
            Failure::new(cause).sent(false).seen(seen)
        }
        (Some(reason), false) => {
            Failure::new(Cause::H2ProtocolError).sent(known.sent).seen(format!("{} in what it sent", name(reason)))
        }
        (None, _) => {
            // A frame was cut in two.
            let cut = error.get_io().is_some_and(|error| error.kind() == std::io::ErrorKind::Other);
            return ended(cut, known).from(error.to_string());
        }
    };
    failure.from(error.to_string())
}

/// The connection ended under it. `cut`: in the midst of a frame.
fn ended(cut: bool, known: Known<'_>) -> Failure {
    let bad = known.farewell.filter(|reason| *reason != Reason::NO_ERROR);
    let cause = match (known.sent, known.silent) {
        _ if bad.is_some() => Cause::H2ProtocolError,
        (true, _) if known.dead => return no_pong(Cause::ReadTimeout, Phase::Head),
        // Found dead, with nothing sent; or as good as that (CONTRACT §9).
        (sent, true) if known.reused && (!sent || known.crossed) => Cause::StaleConnection,
        (false, _) => Cause::ConnectReset,
        (true, false) if cut => Cause::TruncatedHead,
        (true, _) if known.wire.was_reset() => Cause::ResetBeforeHead,
        (true, _) => Cause::ClosedWithoutResponse,
    };
    let mut failure = Failure::new(cause).sent(known.sent);
    if !known.sent {
        failure = failure.in_phase(Phase::Request);
    }
    match bad {
        Some(reason) => failure.seen(format!("GOAWAY with {}", name(reason))),
        None => failure,
    }
}

/// Why a body ended before its time: `got` bytes of `wanted` were passed on.
pub(super) fn cut_body(error: &h2::Error, known: Known<'_>, got: u64, wanted: Option<u64>) -> Failure {
    if known.dead && error.reason().is_none() {
        return no_pong(Cause::BodyTimeout, Phase::Body).from(error.to_string());
    }
    let ours = error.reason().filter(|_| !error.is_remote());
    let seen = match (wanted, error.reason()) {
        (Some(wanted), None) => format!("{got} of {wanted} bytes"),
        (Some(wanted), Some(_)) if ours.is_some() && got < wanted => format!("{got} of {wanted} bytes"),
        (_, Some(reason)) if ours.is_some() => {
            let failure = Failure::new(Cause::H2ProtocolError).in_phase(Phase::Body).sent(true);
            return failure.seen(format!("{} in what it sent", name(reason))).from(error.to_string());
        }
        (Some(wanted), Some(reason)) => format!("{got} of {wanted} bytes, reset with {}", name(reason)),
        (None, Some(reason)) => format!("reset with {} after {got} bytes", name(reason)),
        (None, None) if known.wire.was_reset() => format!("reset after {got} bytes"),
        (None, None) => format!("closed after {got} bytes"),
    };
    Failure::new(Cause::TruncatedBody).in_phase(Phase::Body).sent(true).seen(seen).from(error.to_string())
}

/// It was silent for so long that it was asked, and for as long as an answer may take.
fn no_pong(cause: Cause, phase: Phase) -> Failure {
    Failure::new(cause).in_phase(phase).sent(true).limit(spoken(pulse::SILENCE)).seen("no answer to a PING")
}

/// A code by its name (RFC 9113 §7).
pub(super) fn name(reason: Reason) -> String {
    const KNOWN: u32 = 13;
    match u32::from(reason) {
        ..=KNOWN => format!("{reason:?}"),
        code => format!("code {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_had_the_request_and_died_is_not_stale() {
        let wire = Wire::default();
        let known = |sent, crossed, dead| Known {
            wire: &wire,
            reused: true,
            crossed,
            dead,
            silent: true,
            sent,
            farewell: None,
        };
        for (sent, crossed, dead, cause) in [
            (true, true, false, Cause::StaleConnection),
            (true, false, false, Cause::ClosedWithoutResponse),
            (false, false, false, Cause::StaleConnection),
            (false, false, true, Cause::StaleConnection),
            (true, false, true, Cause::ReadTimeout),
        ] {
            let failure = ended(false, known(sent, crossed, dead));
            assert_eq!((failure.cause, failure.sent), (cause, sent), "{sent} {crossed} {dead}");
            assert_eq!(failure.limit.as_deref(), (cause == Cause::ReadTimeout).then_some("30 s"));
        }
    }

    #[test]
    fn codes_have_the_names_of_the_standard() {
        assert_eq!(name(Reason::ENHANCE_YOUR_CALM), "ENHANCE_YOUR_CALM");
        assert_eq!(name(Reason::from(99)), "code 99");
    }
}

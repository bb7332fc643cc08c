//! The rule: the same message from both, or a refusal by both, or a listed way of being stricter. Never looser.

use http::{StatusCode, Version};

use super::{Again, Answer, Case, End, Fields, Kind, Observed, short};

/// A way in which the codec may be stricter than hyper.
pub struct Allowance {
    pub name: &'static str,
    what: What,
    /// Whether it holds for an answer, as hyper saw it.
    holds: fn(&Case<'_>, &Answer) -> bool,
}

/// What the codec may do where hyper takes the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// Give no head, or break the body off.
    Refuse,
    /// Pass the message, but not keep the connection.
    Close,
}

/// All of them. Each is needed by a row of the table.
pub const ALLOWED: &[Allowance] = &[
    // RFC 9112 §6.1 lets a recipient know other codings; a proxy that does not would pass coded bytes on as plain ones.
    allowance("a coding other than a single chunked, or in 1.0", What::Refuse, |_, seen| {
        has(seen, CODING) && (!is_chunked(seen) || seen.version == Version::HTTP_10)
    }),
    // RFC 9112 §6.3: one of the two was meant for somebody on the way, who may have read another message than we do.
    allowance("both framings", What::Refuse, |_, seen| has(seen, LENGTH) && has(seen, CODING)),
    // hyper does not look at the length of what has no body: HEAD, 204, 304.
    allowance("a length that is none, where no body follows", What::Refuse, |_, seen| {
        has(seen, LENGTH) && one_length(seen).is_none()
    }),
    // Others may count with a sign.
    allowance("a length of 2^63 or more", What::Refuse, |_, seen| {
        one_length(seen).is_some_and(|length| length >> 63 == 1)
    }),
    // RFC 9112 §7.1.1: extensions are tokens and quoted strings.
    allowance("a control byte in a chunk's extension", What::Refuse, |case, seen| {
        let control = |byte: &u8| byte.is_ascii_control() && !b"\r\n\t".contains(byte);
        is_chunked(seen) && case.answer.iter().any(control)
    }),
    // RFC 9112 §2.2 lets a recipient take a LF alone for the end of a line; what takes it for data sees another
    // message.
    allowance("a line of trailers that ends in LF alone", What::Refuse, |case, seen| {
        is_chunked(seen) && case.answer.windows(2).any(|two| two[1] == b'\n' && two[0] != b'\r')
    }),
    allowance("more than a hundred trailers", What::Refuse, |_, seen| {
        seen.trailers.as_ref().is_some_and(|trailers| trailers.len() > 100)
    }),
    // Some apps send the body all the same, a moment later.
    allowance("an answer to HEAD that speaks of a body", What::Close, |case, seen| {
        case.kind == Kind::Head && (has(seen, CODING) || one_length(seen).is_some_and(|length| length > 0))
    }),
    // The same, as the answer to any method.
    allowance("a 204 that speaks of a body", What::Close, |_, seen| {
        seen.status == StatusCode::NO_CONTENT
            && (has(seen, CODING) || one_length(seen).is_some_and(|length| length > 0))
    }),
    allowance("a 304 with a coding", What::Close, |_, seen| {
        seen.status == StatusCode::NOT_MODIFIED && has(seen, CODING)
    }),
    // They cost nearly nothing to send, and hyper counts none.
    allowance("more than a thousand interim answers", What::Refuse, |case, _| {
        case.answer.windows(8).filter(|window| window.starts_with(b"HTTP/1.")).count() > 1000
    }),
    // hyper passes over a Connection line with bytes that are no ASCII.
    allowance("close next to obs-text", What::Close, |_, seen| {
        values(seen, "connection")
            .any(|line| !line.is_ascii() && line.to_ascii_lowercase().windows(5).any(|w| w == b"close"))
    }),
];

/// Fields that do not pass behind a body: framing, routing, security and the reading of the body stand on them, or they
/// belong to one connection (RFC 9110 §6.5.1).
const NEVER_TRAIL: [&str; 19] = [
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "max-forwards",
    "proxy-authorization",
    "range",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

const CODING: &str = "transfer-encoding";
const LENGTH: &str = "content-length";

const fn allowance(name: &'static str, what: What, holds: fn(&Case<'_>, &Answer) -> bool) -> Allowance {
    Allowance { name, what, holds }
}

fn values<'a>(seen: &'a Answer, name: &'a str) -> impl Iterator<Item = &'a bytes::Bytes> {
    seen.fields.iter().filter(move |(field, _)| field == name).map(|(_, value)| value)
}

fn has(seen: &Answer, name: &str) -> bool {
    values(seen, name).next().is_some()
}

/// In a single `chunked`.
fn is_chunked(seen: &Answer) -> bool {
    let codings: Vec<_> = values(seen, CODING).collect();
    matches!(codings[..], [only] if only.trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

/// The length that every Content-Length gives.
fn one_length(seen: &Answer) -> Option<u64> {
    let mut members = values(seen, LENGTH).flat_map(|line| line.split(|byte| *byte == b',')).map(number);
    let length = members.next()??;
    members.all(|other| other == Some(length)).then_some(length)
}

/// Holds what the codec saw against what hyper saw. Gives the names of the allowances that were needed.
///
/// # Errors
/// How the codec is looser or sees another message, in words.
pub fn judge(case: &Case<'_>, hyper: &Observed, codec: &Observed) -> Result<Vec<&'static str>, String> {
    let wrong = |what: &str| Err(format!("{what}: {case}\n  hyper: {}\n  codec: {}", short(hyper), short(codec)));
    let allowed = |what, seen: &Answer| {
        let names: Vec<_> =
            ALLOWED.iter().filter(|a| a.what == what && (a.holds)(case, seen)).map(|a| a.name).collect();
        (!names.is_empty()).then_some(names)
    };
    let (seen, got) = match (hyper, codec) {
        (Observed::Refused(_), Observed::Refused(_)) => return Ok(vec![]),
        (Observed::Refused(_), Observed::Answered(_)) => return wrong("looser: hyper refuses"),
        (Observed::Answered(seen), Observed::Refused(_)) => {
            return allowed(What::Refuse, seen).map_or_else(|| wrong("stricter, and not listed"), Ok);
        }
        (Observed::Answered(seen), Observed::Answered(got)) => (seen, got),
    };
    if (got.version, got.status) != (seen.version, seen.status) || plain(&got.fields) != plain(&seen.fields) {
        return wrong("another head");
    }
    if !matches!(got.end, End::Tunnel(_)) && has(got, CODING) && has(got, LENGTH) {
        return wrong("both framings are passed on");
    }
    match (&seen.end, &got.end) {
        (End::Complete, End::Complete) if seen.body == got.body && passing(&seen.trailers) == got.trailers => {}
        (End::Waits, End::Waits) if seen.body == got.body => {}
        (End::Tunnel(theirs), End::Tunnel(ours)) if theirs == ours => {}
        // What passes before a body breaks is never more, nor different.
        (_, End::Cut(_)) if !seen.body.starts_with(&got.body) => return wrong("another body"),
        (End::Cut(_) | End::Waits, End::Cut(_)) => {}
        (_, End::Cut(_)) => return allowed(What::Refuse, seen).map_or_else(|| wrong("stricter, and not listed"), Ok),
        _ => return wrong("another body"),
    }
    match (&seen.again, &got.again) {
        (_, Again::Poisoned(_)) => wrong("the next answer is a part of this one"),
        (Again::Answered, Again::Answered) | (_, Again::Closed) if seen.again == got.again => Ok(vec![]),
        (Again::Answered, Again::Closed) => {
            allowed(What::Close, seen).map_or_else(|| wrong("closes, and it is not listed"), Ok)
        }
        (_, Again::Closed) => Ok(vec![]),
        (_, Again::Answered) => wrong("looser: hyper does not use the connection again"),
    }
}

/// The fields without what two spellings of one framing say twice: the length next to a coding, and a length that is
/// repeated (RFC 9110 §8.6, RFC 9112 §6.3).
fn plain(fields: &Fields) -> Fields {
    let coded = fields.iter().any(|(name, _)| name == CODING);
    let mut plain = fields.clone();
    let mut lengths = 0;
    plain.retain_mut(|(name, value)| {
        if of_the_connection(name, value) {
            return false;
        }
        if name != LENGTH {
            return true;
        }
        lengths += 1;
        let mut members = value.split(|byte| *byte == b',').map(number);
        if let Some(Some(length)) = members.next()
            && members.all(|other| other == Some(length))
        {
            *value = length.to_string().into();
        }
        !coded && lengths == 1
    });
    // Between different names the order means nothing (RFC 9110 §5.3), and it depends on which line came first.
    plain.sort_by(|(one, _), (other, _)| one.cmp(other));
    plain
}

/// What says no more than that the connection is kept, or how long, or that it ends: it concerns nobody behind the
/// codec (RFC 9110 §7.6.1), which leaves it out. Any other option of a Connection line is passed on, for the caller to
/// read.
fn of_the_connection(name: &str, value: &[u8]) -> bool {
    let mut options = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let own = |option: &[u8]| [&b"close"[..], b"keep-alive"].iter().any(|own| own.eq_ignore_ascii_case(option));
    name == "keep-alive" || name == "connection" && options.all(own)
}

/// The trailers that may pass.
fn passing(trailers: &Option<Fields>) -> Option<Fields> {
    let passing: Fields =
        trailers.iter().flatten().filter(|(name, _)| !NEVER_TRAIL.contains(&name.as_str())).cloned().collect();
    (!passing.is_empty()).then_some(passing)
}

fn number(digits: &[u8]) -> Option<u64> {
    let digits = digits.trim_ascii();
    let are = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| are)?.parse().ok()
}

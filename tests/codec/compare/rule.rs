//! The rule: the same message from both, or a refusal by both, or a listed way of being stricter. Never looser.

use super::{Again, Answer, Case, End, Fields, Kind, Observed};

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
    Allowance { name: "a coding other than a single chunked", what: What::Refuse, holds: |_, seen| is_coded(seen) },
    // RFC 9112 §6.3: the length may have been meant for somebody on the way; the rest of it is the next answer here.
    Allowance {
        name: "both framings",
        what: What::Close,
        holds: |_, seen| has(seen, "content-length") && has(seen, CODING),
    },
    // Some apps send the body all the same, a moment later.
    Allowance {
        name: "an answer to HEAD that speaks of a body",
        what: What::Close,
        holds: |case, seen| {
            case.kind == Kind::Head && (has(seen, CODING) || values(seen, "content-length").any(|length| length != "0"))
        },
    },
];

const CODING: &str = "transfer-encoding";

fn values<'a>(seen: &'a Answer, name: &'a str) -> impl Iterator<Item = &'a bytes::Bytes> {
    seen.fields.iter().filter(move |(field, _)| field == name).map(|(_, value)| value)
}

fn has(seen: &Answer, name: &str) -> bool {
    values(seen, name).next().is_some()
}

/// With a coding that is not a single `chunked`.
fn is_coded(seen: &Answer) -> bool {
    let codings: Vec<_> = values(seen, CODING).collect();
    !codings.is_empty() && !matches!(codings[..], [only] if only.trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

/// Holds what the codec saw against what hyper saw. Gives the names of the allowances that were needed.
///
/// # Errors
/// How the codec is looser or sees another message, in words.
pub fn judge(case: &Case<'_>, hyper: &Observed, codec: &Observed) -> Result<Vec<&'static str>, String> {
    let wrong = |what: &str| Err(format!("{what}: {case}\n  hyper: {hyper:?}\n  codec: {codec:?}"));
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
    if got.status != seen.status || plain(&got.fields) != plain(&seen.fields) {
        return wrong("another head");
    }
    if got.fields.iter().any(|(name, _)| name == CODING) && got.fields.iter().any(|(name, _)| name == "content-length")
    {
        return wrong("both framings are passed on");
    }
    match (&seen.end, &got.end) {
        (End::Complete, End::Complete) if seen.body == got.body && seen.trailers == got.trailers => {}
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
        if name != "content-length" {
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
    plain
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits.trim_ascii()).ok()?.parse().ok()
}

//! The rule: the same requests for both, or a refusal by both, or a listed way of being stricter. Never looser.

use http::Version;

use super::{Case, End, FIELDS_LIMIT, Fields, HEAD_LIMIT, Observed, Reads, Seen, reply, short};

/// A way in which the codec may differ from hyper.
pub struct Allowance {
    pub name: &'static str,
    what: What,
    /// Whether it holds. The request is the one that hyper saw and the codec did not, or after which the codec stopped,
    /// if there is one.
    holds: fn(&Case<'_>, Option<&Seen>) -> bool,
}

/// What the codec may do where hyper takes a request, or waits for the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// Take no head, or break its body off.
    Refuse,
    /// Take it, but none behind it.
    Close,
    /// Take the next one, where hyper closes.
    Keep,
}

/// All of them. Each is needed by a row of the table.
pub const ALLOWED: &[Allowance] = &[
    // RFC 9112 §6.1 lets a recipient know other codings; a proxy that does not would pass coded bytes on as plain ones.
    allowance("a coding other than a single chunked", What::Refuse, |_, seen| {
        seen.is_some_and(|seen| has(seen, CODING) && !is_chunked(seen))
    }),
    // Others may count with a sign.
    allowance("a length of 2^63 or more", What::Refuse, |_, seen| {
        seen.and_then(one_length).is_some_and(|length| length >> 63 == 1)
    }),
    // hyper looks at no length once it has seen a coding.
    allowance("a length that is none behind a coding", What::Refuse, |case, _| {
        says(case, CODING) && says(case, LENGTH)
    }),
    // RFC 9112 §7.1.1: extensions are tokens and quoted strings.
    allowance("a control byte in a chunk's extension", What::Refuse, |case, seen| {
        let control = |byte: &u8| byte.is_ascii_control() && !b"\r\n\t".contains(byte);
        seen.is_some_and(|seen| has(seen, CODING)) && case.stream.iter().any(control)
    }),
    // RFC 9112 §2.2 lets a recipient take a LF alone for the end of a line; what takes it for data sees another
    // message.
    allowance("a line of trailers that ends in LF alone", What::Refuse, |case, seen| {
        let bare = |two: &[u8]| two[1] == b'\n' && two[0] != b'\r';
        seen.is_some_and(|seen| has(seen, CODING)) && case.stream.windows(2).any(bare)
    }),
    allowance("a head of the limit", What::Refuse, |case, _| case.stream.len() >= HEAD_LIMIT),
    // Whoever leaves a body unread does not look for its end; hyper takes one more look.
    allowance("a body that nobody read", What::Close, |case, seen| {
        case.reads == Reads::Nothing && seen.is_some_and(speaks_of_body)
    }),
    // hyper passes over a Connection line with bytes that are no ASCII.
    allowance("close next to obs-text", What::Close, |_, seen| {
        seen.is_some_and(|seen| {
            values(seen, "connection")
                .any(|line| !line.is_ascii() && line.to_ascii_lowercase().windows(5).any(|w| w == b"close"))
        })
    }),
    allowance("keep-alive next to obs-text in 1.0", What::Keep, |_, seen| {
        seen.is_some_and(|seen| {
            seen.version == Version::HTTP_10 && values(seen, "connection").any(|line| !line.is_ascii())
        })
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

const fn allowance(name: &'static str, what: What, holds: fn(&Case<'_>, Option<&Seen>) -> bool) -> Allowance {
    Allowance { name, what, holds }
}

/// Holds what the codec saw against what hyper saw. Gives the names of the allowances that were needed.
///
/// # Errors
/// How the codec is looser or sees another message, in words.
pub fn judge(case: &Case<'_>, hyper: &Observed, codec: &Observed) -> Result<Vec<&'static str>, String> {
    let wrong = |what: &str| Err(format!("{what}: {case}\n  hyper: {}\n  codec: {}", short(hyper), short(codec)));
    let allowed = |what, seen: Option<&Seen>, otherwise: &str| {
        let names: Vec<_> =
            ALLOWED.iter().filter(|a| a.what == what && (a.holds)(case, seen)).map(|a| a.name).collect();
        if names.is_empty() { wrong(otherwise) } else { Ok(names) }
    };
    if let Err(words) = reply::told(&codec.written, &codec.requests) {
        return wrong(&words);
    }
    let refuses = matches!(codec.end, End::Refused(_));
    let mut last = None;
    for index in 0.. {
        let (seen, got) = match (hyper.requests.get(index), codec.requests.get(index)) {
            (Some(seen), Some(got)) => (seen, got),
            (Some(seen), None) if refuses => return allowed(What::Refuse, Some(seen), "stricter, and not listed"),
            (Some(_), None) if codec.end == End::Open => return wrong("it waits, and the request is there"),
            (Some(_), None) => return allowed(What::Close, last, "closes, and it is not listed"),
            (None, Some(got)) if hyper.end == End::Closed => {
                return allowed(What::Keep, last, "looser: hyper closes").and_then(|names| {
                    if got.cut.is_none() { Ok(names) } else { wrong("what comes behind is not judged") }
                });
            }
            (None, Some(_)) => return wrong("looser"),
            (None, None) => break,
        };
        if (&got.method, &got.target, got.version) != (&seen.method, &seen.target, seen.version)
            || plain(&got.fields) != plain(&seen.fields)
        {
            return wrong("another head");
        }
        if has(got, CODING) && has(got, LENGTH) {
            return wrong("both framings are passed on");
        }
        match (&seen.cut, &got.cut) {
            (None, None) if seen.body == got.body && passing(&seen.trailers) == got.trailers => {}
            // What passes before a body breaks is never different.
            (Some(_), Some(_)) if seen.body.starts_with(&got.body) || got.body.starts_with(&seen.body) => {}
            (None, Some(_)) if seen.body.starts_with(&got.body) => {
                return allowed(What::Refuse, Some(seen), "stricter, and not listed");
            }
            (Some(_), None) => return wrong("looser: hyper reads no whole body"),
            _ => return wrong("another body"),
        }
        last = Some(seen);
    }
    if last.is_some_and(|last| last.cut.is_some()) {
        return match (&hyper.end, &codec.end) {
            (End::Closed, End::Open) => wrong("looser: hyper reads no more of the body"),
            // It is broken for both; hyper may find that out later.
            _ => Ok(vec![]),
        };
    }
    match (&hyper.end, &codec.end) {
        (End::Open, End::Open) | (End::Closed, End::Closed) | (End::Refused(_), End::Refused(_) | End::Closed) => {
            Ok(vec![])
        }
        (End::Open, End::Refused(_)) => allowed(What::Refuse, None, "stricter, and not listed"),
        (End::Open, End::Closed) => allowed(What::Close, last, "closes, and it is not listed"),
        (End::Closed, End::Open | End::Refused(_)) => allowed(What::Keep, last, "looser: hyper closes"),
        (End::Refused(_), End::Open) => wrong("looser: hyper refuses"),
    }
}

fn values<'a>(seen: &'a Seen, name: &'a str) -> impl Iterator<Item = &'a bytes::Bytes> {
    seen.fields.iter().filter(move |(field, _)| field == name).map(|(_, value)| value)
}

fn has(seen: &Seen, name: &str) -> bool {
    values(seen, name).next().is_some()
}

/// Does the client say this word anywhere?
fn says(case: &Case<'_>, word: &str) -> bool {
    case.stream.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word.as_bytes()))
}

/// In a single `chunked`.
fn is_chunked(seen: &Seen) -> bool {
    let codings: Vec<_> = values(seen, CODING).collect();
    matches!(codings[..], [only] if only.trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

fn speaks_of_body(seen: &Seen) -> bool {
    has(seen, CODING) || one_length(seen).is_some_and(|length| length > 0)
}

/// The length that every Content-Length gives.
fn one_length(seen: &Seen) -> Option<u64> {
    let mut lengths = values(seen, LENGTH).map(|line| std::str::from_utf8(line).ok()?.parse().ok());
    let length = lengths.next()??;
    lengths.all(|other| other == Some(length)).then_some(length)
}

/// The fields without what two spellings of one framing say twice: the length next to a coding, and a length that is
/// repeated (RFC 9110 §8.6, RFC 9112 §6.3).
fn plain(fields: &Fields) -> Fields {
    let coded = fields.iter().any(|(name, _)| name == CODING);
    let mut plain = fields.clone();
    let mut lengths = 0;
    plain.retain(|(name, _)| {
        lengths += usize::from(name == LENGTH);
        name != LENGTH || (!coded && lengths == 1)
    });
    assert!(plain.len() <= FIELDS_LIMIT);
    // Between different names the order means nothing (RFC 9110 §5.3), and it depends on which line came first.
    plain.sort_by(|(one, _), (other, _)| one.cmp(other));
    plain
}

/// The trailers that may pass.
fn passing(trailers: &Option<Fields>) -> Option<Fields> {
    let passing: Fields =
        trailers.iter().flatten().filter(|(name, _)| !NEVER_TRAIL.contains(&name.as_str())).cloned().collect();
    (!passing.is_empty()).then_some(passing)
}

//! What was wrong with a head that could not be read: a [`Failure`] with its status, the limit and what was seen.
//!
//! Pure; how it is answered is the [`Handler`](super::Handler)'s business.

use crate::cause::{Cause, Failure, sized, spoken};
use crate::config::model::Listener;

/// hyper's own bound on a target.
const TARGET_LIMIT: usize = 65_534;

/// The head did not come in time: 408.
pub(super) fn late(listener: &Listener) -> Failure {
    let limit = spoken(listener.head_timeout);
    let seen = format!("no complete head within {limit} (limit: timeouts.head)");
    Failure::new(Cause::ClientTimeout).limit(limit).seen(seen)
}

/// hyper could not parse it: 400; or it is too large: 414 when it is the target, else 431.
pub(super) fn unreadable(error: hyper::Error, raw: &[u8], listener: &Listener) -> Failure {
    let failure = if error.is_parse_too_large() {
        too_large(raw, listener)
    } else {
        let seen = match raw {
            // The first bytes of a TLS record with a handshake in it (RFC 8446 §5.1).
            [0x16, 3, ..] => "a TLS handshake came where plain HTTP is spoken".to_owned(),
            _ if raw.starts_with(b"PRI * HTTP/2") => "HTTP/2 came where HTTP/1.1 is spoken".to_owned(),
            _ => error.to_string(),
        };
        Failure::new(Cause::ClientInvalid).status(400).seen(seen)
    };
    failure.from(error)
}

fn too_large(raw: &[u8], listener: &Listener) -> Failure {
    let too_large = Failure::new(Cause::ClientTooLarge);
    let line = raw.split(|&b| b == b'\n').next().unwrap_or_default();
    let mut words = line.splitn(3, |&b| b == b' ');
    let (target, ended) = (words.nth(1), words.next().is_some());
    match target {
        Some(target) if target.len() > TARGET_LIMIT => {
            let seen = format!("the target is longer than {TARGET_LIMIT} bytes");
            return too_large.status(414).limit(format!("{TARGET_LIMIT} bytes")).seen(seen);
        }
        Some(_) if !ended => {
            let limit = sized(listener.head_limit as u64);
            let seen = format!("the request line is longer than {limit} (limit: limits.head)");
            return too_large.status(414).limit(limit).seen(seen);
        }
        _ => {}
    }
    if head_length(raw) >= listener.head_limit {
        let limit = sized(listener.head_limit as u64);
        let seen = format!("the head is larger than {limit} (limit: limits.head)");
        too_large.status(431).limit(limit).seen(seen)
    } else {
        let limit = format!("{} fields", listener.fields_limit);
        let seen = format!("the head has more than {limit} (limit: limits.fields)");
        too_large.status(431).limit(limit).seen(seen)
    }
}

/// Up to the empty line, if there is one: what follows is not of this head.
fn head_length(raw: &[u8]) -> usize {
    let lines = |end: &[u8]| raw.windows(end.len()).position(|window| window == end).map(|at| at + end.len());
    lines(b"\r\n\r\n").or_else(|| lines(b"\n\n")).unwrap_or(raw.len())
}

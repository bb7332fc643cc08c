//! Events of what comes before the first request: handshakes that fail, certificates that change, PROXY headers that
//! are none.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::throttle::Throttle;
use super::{count, more};
use crate::config::problem::ascii;

/// A handshake failed. `why`: one of a few words, and the end of a sentence. One line a minute for each listener and
/// word.
pub fn handshake_failed(listener: &str, peer: IpAddr, (kind, why): (&'static str, &str), now: Instant) {
    static THROTTLE: Throttle<(String, &'static str)> = Throttle::new(Duration::from_secs(60), 64);
    let is = |(name, seen): &(String, &'static str)| name == listener && *seen == kind;
    if let Some(held) = THROTTLE.pass(now, is, || (listener.to_owned(), kind)) {
        let (why, more) = (ascii(why), more(held));
        info!(
            event = "handshake_failed", listener, %peer, reason = kind, more = held,
            "{listener}: the TLS handshake with {peer} failed: {why}{more}"
        );
    }
}

/// A connection ended because its peer, one of `listener.NAME.proxy_protocol`, did not say who the client is. `why`:
/// one of a few words, and the end of a sentence. One line a minute for each listener and word.
pub fn introduction_refused(listener: &str, peer: IpAddr, (kind, why): (&'static str, &str), now: Instant) {
    static THROTTLE: Throttle<(String, &'static str)> = Throttle::new(Duration::from_secs(60), 64);
    let is = |(name, seen): &(String, &'static str)| name == listener && *seen == kind;
    if let Some(held) = THROTTLE.pass(now, is, || (listener.to_owned(), kind)) {
        let (why, more) = (ascii(why), more(held));
        warn!(
            event = "introduction_refused", listener, %peer, reason = kind, more = held,
            "{listener}: a connection of {peer} was closed: {why} (listener.{listener}.proxy_protocol asks for one){more}"
        );
    }
}

/// A file of certificates has changed, and what is in it is in force. `days`: until it ends, where it is shown to
/// clients.
pub fn certificate_taken(listener: &str, file: &Path, days: Option<i64>) {
    let file = ascii(&file.display().to_string());
    match days {
        Some(left) if left < 0 => warn!(
            event = "certificate_taken",
            listener, file, "{listener}: {file} has changed and is in force, and has ended already: clients refuse it"
        ),
        Some(left) => {
            let left = count(usize::try_from(left).unwrap_or_default(), "day");
            info!(
                event = "certificate_taken",
                listener, file, "{listener}: {file} has changed and is in force, good for {left} more"
            );
        }
        None => {
            info!(event = "certificate_taken", listener, file, "{listener}: {file} has changed and is in force");
        }
    }
}

/// A file of certificates has changed, and what is in it is no good: the old ones stay in use. Once for each change.
pub fn certificate_refused(listener: &str, file: &Path, why: &str) {
    let (file, why) = (ascii(&file.display().to_string()), ascii(why));
    error!(
        event = "certificate_refused",
        listener, file, "{listener}: {file} has changed and is not taken up, the old one stays in use: {why}"
    );
}

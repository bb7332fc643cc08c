//! How the facts of a record are worded where the access log and the annotated error must agree.

use std::error::Error;
use std::time::Duration;

use crate::cause::{self, Cause, Failure};
use crate::health::State;

use super::exchange::NotTried;

impl NotTried {
    /// The failure that took it out, where that is why it got nothing; what a ready one failed at once is over.
    #[must_use]
    pub fn trouble(&self) -> Option<&(Cause, String)> {
        self.last_failure.as_ref().filter(|_| self.state != State::Ready)
    }
}

/// A sentence about a failure, without the limit behind it where what was seen has named that already.
#[must_use]
pub fn once(text: String, failure: &Failure) -> String {
    match (&failure.seen, &failure.limit) {
        (Some(seen), Some(limit)) if seen.contains(limit.as_str()) => {
            let again = format!(" (limit: {limit})");
            text.replace(&again, "").replace(&again.replace(".0 s", " s"), "")
        }
        _ => text,
    }
}

/// For the log, never for a client: the message, and what of the source chain it does not say itself.
#[must_use]
pub fn whole(failure: &Failure) -> String {
    let mut told = once(failure.message().into_owned(), failure);
    let mut source = failure.source.as_deref().map(|error| error as &(dyn Error + 'static));
    while let Some(error) = source {
        let said = error.to_string();
        if !repeats(&said, &told, failure.cause) {
            told.push_str(": ");
            told.push_str(&said);
        }
        source = error.source();
    }
    told
}

/// `Connection refused (os error 111)` behind `connection refused` says nothing new.
fn repeats(said: &str, told: &str, cause: Cause) -> bool {
    let bare = said.split(" (os error").next().unwrap_or(said);
    told.split(": ").any(|part| part.get(..bare.len()).is_some_and(|start| start.eq_ignore_ascii_case(bare)))
        || matches!(cause, Cause::ResponseHeadTooLarge | Cause::ClientTooLarge) && bare == "message head is too large"
}

/// A duration as in sentences, where nothing took no time at all: `under 0.1 ms`.
#[must_use]
pub fn spoken(duration: Duration) -> String {
    match duration.as_micros() {
        0..50 => "under 0.1 ms".to_owned(),
        _ => cause::spoken(duration),
    }
}

/// A wait, which nobody needs to know to the microsecond: `0.7 s`, `41 s`.
#[must_use]
pub fn waited(duration: Duration) -> String {
    match duration.as_millis() {
        0..50 => "under 0.1 s".to_owned(),
        50..1000 => format!("{:.1} s", duration.as_secs_f64()),
        _ => cause::spoken(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn a_source_that_only_repeats_is_left_out() {
        let refused = |source: io::Error| whole(&Failure::new(Cause::ConnectionRefused).from(source));
        assert_eq!(refused(io::Error::from_raw_os_error(111)), "connection refused");
        assert_eq!(refused(io::Error::other("no such luck")), "connection refused: no such luck");
        let large = Failure::new(Cause::ResponseHeadTooLarge).limit("64 KiB");
        assert_eq!(whole(&large.from("message head is too large")), "response head larger than 64 KiB");
    }

    #[test]
    fn a_limit_is_named_once() {
        let large = Failure::new(Cause::ClientTooLarge).limit("32 KiB").seen("more than 32 KiB (limit: limits.head)");
        assert_eq!(whole(&large), "request too large: more than 32 KiB (limit: limits.head)");
        let late = Failure::new(Cause::ClientTimeout).limit("5.0 s").seen("nothing for 5.0 s (limit: timeouts.body)");
        assert_eq!(whole(&late), "request not complete in time: nothing for 5 s (limit: timeouts.body)");
    }

    #[test]
    fn durations_are_for_people() {
        let micros = Duration::from_micros;
        assert_eq!([micros(0), micros(49), micros(50)].map(spoken), ["under 0.1 ms", "under 0.1 ms", "0.1 ms"]);
        assert_eq!([micros(659_100), micros(3), micros(41_000_000)].map(waited), ["0.7 s", "under 0.1 s", "41 s"]);
    }
}

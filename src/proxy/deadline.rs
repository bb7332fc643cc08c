//! How long an exchange may take: `timeouts.request`, or what a gRPC client gives it (`grpc-timeout`), whichever ends
//! first. It says when, and whose limit that was; it ends nothing itself.

use std::time::Duration;

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Method, request};
use tokio::time::Instant;

use crate::cause::{Cause, Failure, Phase, spoken};

use super::respond::Form;

static GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// What a client gives beyond this is no limit: nothing is waited for so long.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// An answer that has begun is cut so long after the client's limit. A client that is there has ended it by then, as
/// its own clock has it.
const GRACE: Duration = Duration::from_secs(1);

/// The end of an exchange.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    /// When it is.
    pub(super) at: Instant,
    /// How long that is after the head.
    limit: Duration,
    /// It is the client's own.
    clients: bool,
}

impl Deadline {
    /// Of a request whose head was complete then, with this `timeouts.request`.
    pub(super) fn of(parts: &request::Parts, limit: Option<Duration>, started: std::time::Instant) -> Option<Self> {
        let ends = |limit, clients| Self { at: Instant::from(started) + limit, limit, clients };
        // gRPC is POST, always: nobody else pays for a look.
        let given = if parts.method == Method::POST { given(&parts.headers) } else { None };
        match (limit, given) {
            (Some(limit), Some(given)) if limit <= given => Some(ends(limit, false)),
            (_, Some(given)) => Some(ends(given, true)),
            (limit, None) => limit.map(|limit| ends(limit, false)),
        }
    }

    /// Has it come?
    pub(super) fn over(&self) -> bool {
        Instant::now() >= self.at
    }

    /// When an answer that has begun is cut.
    pub(super) fn cut(&self) -> Instant {
        if self.clients { self.at + GRACE } else { self.at }
    }

    /// The failure of an exchange that it ended. A client that was in a hurry says nothing of an upstream.
    pub(super) fn failure(&self, phase: Phase, sent: bool) -> Failure {
        let limit = spoken(self.limit).replace(".0 ", " ");
        let failure = match self.clients {
            true => Failure::new(Cause::ClientTimeout)
                .seen(format!("the client's own limit, {limit}, is over (grpc-timeout)")),
            false => Failure::new(Cause::RequestTimeout).limit(limit),
        };
        failure.in_phase(phase).sent(sent)
    }

    /// The fields of a request that goes out so late, with as much time in them as is left of the client's.
    pub(super) fn with_what_is_left(fields: &HeaderMap, gone: Duration) -> Option<HeaderMap> {
        let left = given(fields)?.saturating_sub(gone);
        let mut fields = fields.clone();
        fields.insert(&GRPC_TIMEOUT, written(left));
        Some(fields)
    }
}

/// What a gRPC client gives its call.
fn given(fields: &HeaderMap) -> Option<Duration> {
    let value = fields.get(&GRPC_TIMEOUT)?;
    let time = parsed(value.as_bytes()).filter(|time| *time <= LONGEST)?;
    matches!(Form::of(fields), Form::Grpc | Form::GrpcWeb).then_some(time)
}

/// At most eight digits and a unit (the gRPC protocol, "Timeout"); anything else is no limit.
fn parsed(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count = digits.iter().fold(0, |count, digit| count * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(count * 3600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

/// The same the other way: in the finest unit that eight digits are enough for, rounded down.
fn written(time: Duration) -> HeaderValue {
    let nanos = time.as_nanos();
    let units = [(1, 'n'), (1_000, 'u'), (1_000_000, 'm'), (1_000_000_000, 'S'), (60_000_000_000, 'M')];
    let fitting = units.into_iter().map(|(size, unit)| (nanos / size, unit)).find(|(count, _)| *count < 100_000_000);
    let (count, unit) = fitting.unwrap_or((99_999_999, 'M'));
    HeaderValue::try_from(format!("{count}{unit}")).unwrap_or(HeaderValue::from_static("0n"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(method: Method, fields: &[(&'static str, &str)]) -> request::Parts {
        let mut request = http::Request::builder().method(method);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_units_of_the_protocol_and_nothing_else() {
        let known = [("1H", 3_600_000), ("2M", 120_000), ("3S", 3_000), ("50m", 50), ("7000u", 7), ("8000000n", 8)];
        for (value, millis) in known {
            assert_eq!(parsed(value.as_bytes()), Some(Duration::from_millis(millis)), "{value}");
        }
        assert_eq!(parsed(b"99999999H").map(|time| time > LONGEST), Some(true));
        assert_eq!(parsed(b"0n"), Some(Duration::ZERO));
        for nonsense in ["", "S", "5", "5s", "5 S", "-5S", "+5S", "5.5S", "100000000S", "5SS", "0x5S", " 5S", "5h"] {
            assert_eq!(parsed(nonsense.as_bytes()), None, "{nonsense}");
        }
    }

    #[test]
    fn the_smaller_limit_counts_and_it_is_known_whose_it_was() {
        let now = std::time::Instant::now();
        let grpc = ("content-type", "application/grpc+proto");
        let of = |method, fields: &[_], own: Option<u64>| {
            let limit = own.map(Duration::from_millis);
            Deadline::of(&parts(method, fields), limit, now).map(|end| (end.limit.as_millis(), end.clients))
        };
        let asked = [grpc, ("grpc-timeout", "50m")];
        assert_eq!(of(Method::POST, &asked, None), Some((50, true)));
        assert_eq!(of(Method::POST, &asked, Some(49)), Some((49, false)));
        assert_eq!(of(Method::POST, &asked, Some(51)), Some((50, true)));
        assert_eq!(of(Method::GET, &asked, Some(70)), Some((70, false)));
        assert_eq!(of(Method::POST, &[asked[1]], None), None, "no gRPC");
        assert_eq!(of(Method::POST, &[grpc, ("grpc-timeout", "soon")], Some(70)), Some((70, false)));
        assert_eq!(of(Method::POST, &[grpc, ("grpc-timeout", "99999999H")], None), None);
        assert_eq!(of(Method::POST, &[grpc], None), None);
    }

    #[test]
    fn a_client_in_a_hurry_blames_nobody() {
        let end = |clients| Deadline { at: Instant::now(), limit: Duration::from_millis(50), clients };
        let hurry = end(true).failure(Phase::Head, true);
        assert_eq!((hurry.cause, hurry.sent, hurry.own_status()), (Cause::ClientTimeout, true, 408));
        assert_eq!(
            hurry.hint("a:1"),
            "The request was not complete in time: the client's own limit, 50 ms, is over (grpc-timeout)."
        );
        assert_eq!(crate::pool::report::blame(hurry.cause), None);
        assert_eq!(end(false).failure(Phase::Head, true).cause, Cause::RequestTimeout);
    }

    #[test]
    fn what_is_left_replaces_what_was_given() {
        let fields = parts(Method::POST, &[("content-type", "application/grpc"), ("grpc-timeout", "2S"), ("a", "b")]);
        let left = |gone| Deadline::with_what_is_left(&fields.headers, Duration::from_millis(gone)).unwrap();
        assert_eq!(
            (&left(500)["grpc-timeout"], &left(500)["a"]),
            (&"1500000u".parse().unwrap(), &"b".parse().unwrap())
        );
        assert_eq!(left(9_000)["grpc-timeout"], "0n");
        assert!(Deadline::with_what_is_left(&HeaderMap::new(), Duration::ZERO).is_none());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_no_more(nanos in 0..=LONGEST.as_nanos() as u64) {
            let time = Duration::from_nanos(nanos);
            let again = parsed(written(time).as_bytes()).unwrap();
            prop_assert!(again <= time && time - again <= time / 50_000, "{:?} {:?}", time, again);
        }
    }
}

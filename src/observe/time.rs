//! UTC on paper: one moment in the forms that log, events and pages need.
//!
//! Never reads a clock: the moment is an argument.

use std::cell::Cell;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// `2026-11-20T14:01:12.318Z`, as [`Utc::millis`] has it. All but the last digits is made once a second on each thread.
#[must_use]
pub fn stamp(at: SystemTime) -> [u8; 24] {
    thread_local!(static SECOND: Cell<(u64, [u8; 24])> = const { Cell::new((u64::MAX, [0; 24])) });
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let second = since.as_secs();
    // Lines may come from destructors of a thread that is ending.
    let known = SECOND.try_with(|last| match last.get() {
        (known, stamp) if known == second => stamp,
        _ => {
            let stamp = Utc::from(at).stamp;
            last.set((second, stamp));
            stamp
        }
    });
    let mut stamp = known.unwrap_or_else(|_| Utc::from(at).stamp);
    let [.., a, b, c, _] = &mut stamp;
    let millis = since.subsec_millis();
    [*a, *b, *c] = [100, 10, 1].map(|unit| b'0' + (millis / unit % 10) as u8);
    stamp
}

/// A moment in UTC (proleptic Gregorian calendar). Before 1970 counts as 1970; after 9999 the year has its last digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utc {
    /// `2026-11-20T14:01:12.318Z`: every other form is cut from it.
    stamp: [u8; 24],
    month: u8,
}

impl From<SystemTime> for Utc {
    fn from(at: SystemTime) -> Self {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        let (year, month, day) = civil(days);
        let mut stamp = *b"0000-00-00T00:00:00.000Z";
        digits(&mut stamp[..4], year);
        digits(&mut stamp[5..7], month.into());
        digits(&mut stamp[8..10], day.into());
        digits(&mut stamp[11..13], second / 3600);
        digits(&mut stamp[14..16], second / 60 % 60);
        digits(&mut stamp[17..19], second % 60);
        digits(&mut stamp[20..23], since.subsec_millis().into());
        Self { stamp, month }
    }
}

/// By hand: a log line has one of these, and `fmt` costs more than the digits.
fn digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Days since 1970-01-01 as year, month, day. The year is counted from 1 March, so that the leap day is its last; an
/// era is 400 years (Howard Hinnant, "chrono-compatible low-level date algorithms").
const fn civil(days: u64) -> (u64, u8, u8) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * march_month + 2) / 5 + 1) as u8;
    let month = (if march_month < 10 { march_month + 3 } else { march_month - 9 }) as u8;
    (era * 400 + year_of_era + (month <= 2) as u64, month, day)
}

impl Utc {
    /// `2026-11-20T14:01:12.318Z` (RFC 3339).
    pub fn millis(self) -> impl fmt::Display {
        Form(move |f| f.write_str(self.cut(0, 24)))
    }

    /// `2026-11-20T14:01:12Z` (RFC 3339).
    pub fn seconds(self) -> impl fmt::Display {
        Form(move |f| write!(f, "{}Z", self.cut(0, 19)))
    }

    /// `2026-11-20 14:01:12 UTC`, for pages.
    pub fn plain(self) -> impl fmt::Display {
        Form(move |f| write!(f, "{} {} UTC", self.cut(0, 10), self.cut(11, 19)))
    }

    /// `14:01:12.318`, for terminals.
    pub fn clock(self) -> impl fmt::Display {
        Form(move |f| f.write_str(self.cut(11, 23)))
    }

    /// `20/Nov/2026:14:01:12 +0000`, for the combined log format.
    pub fn combined(self) -> impl fmt::Display {
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        Form(move |f| {
            let month = MONTHS[usize::from(self.month - 1)];
            write!(f, "{}/{month}/{}:{} +0000", self.cut(8, 10), self.cut(0, 4), self.cut(11, 19))
        })
    }

    fn cut(&self, from: usize, to: usize) -> &str {
        std::str::from_utf8(&self.stamp[from..to]).unwrap_or_default()
    }
}

struct Form<F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result>(F);

impl<F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result> fmt::Display for Form<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.0)(f)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_form_of_a_moment() {
        let utc = Utc::from(UNIX_EPOCH + Duration::from_millis(1_795_183_272_318));
        assert_eq!(utc.millis().to_string(), "2026-11-20T14:01:12.318Z");
        assert_eq!(utc.seconds().to_string(), "2026-11-20T14:01:12Z");
        assert_eq!(utc.plain().to_string(), "2026-11-20 14:01:12 UTC");
        assert_eq!(utc.clock().to_string(), "14:01:12.318");
        assert_eq!(utc.combined().to_string(), "20/Nov/2026:14:01:12 +0000");
    }

    proptest::proptest! {
        #[test]
        fn a_stamp_is_the_moment_whatever_was_stamped_before(moments in proptest::collection::vec((0..3_u64, 0..1000_u32), 1..20)) {
            for (second, milli) in moments {
                let at = UNIX_EPOCH + Duration::new(1_795_183_272 + second, milli * 1_000_000);
                proptest::prop_assert_eq!(stamp(at).to_vec(), Utc::from(at).millis().to_string().into_bytes());
            }
        }
    }

    #[test]
    fn leap_days_and_ends_of_years() {
        let day = |days: u64| Utc::from(UNIX_EPOCH + Duration::from_secs(days * 86_400)).plain().to_string();
        assert_eq!(day(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(day(11_016), "2000-02-29 00:00:00 UTC");
        assert_eq!(day(11_017), "2000-03-01 00:00:00 UTC");
        assert_eq!(day(10_956), "1999-12-31 00:00:00 UTC");
        assert_eq!(day(47_540), "2100-02-28 00:00:00 UTC");
        assert_eq!(day(47_541), "2100-03-01 00:00:00 UTC");
    }
}

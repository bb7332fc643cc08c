//! UTC on paper: one moment in the forms that log, events and pages need.
//!
//! Never reads a clock: the moment is an argument.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// A moment in UTC, split into its parts (proleptic Gregorian calendar). Before 1970 counts as 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utc {
    year: u64,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
    milli: u16,
}

impl From<SystemTime> for Utc {
    fn from(at: SystemTime) -> Self {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (days, second_of_day) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        let (year, month, day) = civil(days);
        Self {
            year,
            month,
            day,
            hour: (second_of_day / 3600) as u8,
            minute: (second_of_day / 60 % 60) as u8,
            second: (second_of_day % 60) as u8,
            milli: since.subsec_millis() as u16,
        }
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
        Form(move |f| {
            self.date(f)?;
            write!(f, "T{:02}:{:02}:{:02}.{:03}Z", self.hour, self.minute, self.second, self.milli)
        })
    }

    /// `2026-11-20T14:01:12Z` (RFC 3339).
    pub fn seconds(self) -> impl fmt::Display {
        Form(move |f| {
            self.date(f)?;
            write!(f, "T{:02}:{:02}:{:02}Z", self.hour, self.minute, self.second)
        })
    }

    /// `2026-11-20 14:01:12 UTC`, for pages.
    pub fn plain(self) -> impl fmt::Display {
        Form(move |f| {
            self.date(f)?;
            write!(f, " {:02}:{:02}:{:02} UTC", self.hour, self.minute, self.second)
        })
    }

    /// `14:01:12.318`, for terminals.
    pub fn clock(self) -> impl fmt::Display {
        Form(move |f| write!(f, "{:02}:{:02}:{:02}.{:03}", self.hour, self.minute, self.second, self.milli))
    }

    /// `20/Nov/2026:14:01:12 +0000`, for the combined log format.
    pub fn combined(self) -> impl fmt::Display {
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        Form(move |f| {
            let month = MONTHS[usize::from(self.month - 1)];
            let Self { year, day, hour, minute, second, .. } = self;
            write!(f, "{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000")
        })
    }

    fn date(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
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

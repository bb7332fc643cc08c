//! Durations and sizes, as the file writes them: `"250ms"`, `"64KiB"`.

use std::time::Duration;

use crate::cause::exact;

use super::problem::Wrong;

/// The longest duration that means anything here; `Instant` arithmetic stays far from its end.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// `"250ms"`, `"5s"`, `"2m"`, `"1h"`.
///
/// # Errors
/// Anything else, with what was probably meant.
pub fn duration(text: &str) -> Result<Duration, Wrong> {
    let wrong = |hint| Wrong::new(format!("\"{text}\" is not a duration"), hint);
    let units = "(units: ms, s, m, h)";
    let found =
        split(text).and_then(|(number, unit)| Some((number, unit, number.parse::<u64>().ok()?, unit_ms(unit)?)));
    let Some((number, unit, n, ms)) = found else {
        return Err(wrong(match meant(text) {
            Some(meant) => format!("write \"{meant}\" {units}"),
            None => format!("write a number and a unit, like \"5s\" {units}"),
        }));
    };
    if number.len() > 1 && number.starts_with('0') {
        return Err(wrong(format!("write \"{n}{unit}\" {units}")));
    }
    match n.checked_mul(ms).map(Duration::from_millis) {
        Some(duration) if duration <= LONGEST => Ok(duration),
        _ => Err(Wrong::new(format!("\"{text}\" is longer than a year"), "write a shorter one, like \"1h\"")),
    }
}

/// A word for "off" that is none of ours.
pub(super) fn means_off(text: &str) -> bool {
    let words = ["none", "never", "no", "false", "disabled", "unlimited", "infinite", "infinity", "inf", "forever"];
    words.contains(&text.trim().to_ascii_lowercase().as_str())
}

/// `"512B"`, `"64KiB"`, `"10MiB"`, `"1GiB"`: bytes.
///
/// # Errors
/// Anything else, with what was probably meant.
pub fn size(text: &str) -> Result<u64, Wrong> {
    let units = "(units: B, KiB, MiB, GiB)";
    let found = split(text).and_then(|(number, unit)| Some((number.parse::<u64>().ok()?, size_shift(unit)?)));
    if let Some((n, shift)) = found {
        let bytes = n.checked_mul(1 << shift).filter(|b| *b <= 1 << 50);
        return bytes.ok_or_else(|| Wrong::new(format!("\"{text}\" is too large"), "write a smaller one"));
    }
    let (number, unit) = split(text.trim()).unwrap_or(("", ""));
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        _ if number.is_empty() => "",
        "b" | "byte" | "bytes" | "" => "B",
        "k" | "kb" | "kib" => "KiB",
        "m" | "mb" | "mib" => "MiB",
        "g" | "gb" | "gib" => "GiB",
        _ => "",
    };
    let hint = match unit {
        "" => format!("write a number and a unit, like \"64KiB\" {units}"),
        unit => format!("write \"{number}{unit}\" {units}"),
    };
    Err(Wrong::new(format!("\"{text}\" is not a size"), hint))
}

/// `"20%"`: whole percents up to `most`.
///
/// # Errors
/// Anything else, with what was probably meant.
pub fn percent(text: &str, most: u32) -> Result<u32, Wrong> {
    let wrong = |hint: String| Wrong::new(format!("\"{text}\" is not a percentage"), hint);
    let bounds = |n: &u32| *n <= most;
    let sample = format!("write it like \"20%\", from \"0%\" to \"{most}%\"");
    let number = text.trim().trim_end_matches('%').trim_end();
    let plain = |number: &str| number.bytes().all(|b| b.is_ascii_digit()) && number.len() <= 9;
    match number.parse::<u32>().ok().filter(|_| plain(number)) {
        Some(n) if text == format!("{n}%") && bounds(&n) => return Ok(n),
        Some(n) if text == format!("{n}%") => {
            return Err(Wrong::new(format!("\"{text}\" is too much"), sample));
        }
        Some(n) if bounds(&n) => return Err(wrong(format!("write \"{n}%\""))),
        _ => {}
    }
    let whole = number.parse::<f64>().ok().filter(|n| text.contains('%') && (0.5..=f64::from(most)).contains(n));
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // within bounds
    Err(wrong(whole.map_or(sample, |n| format!("percents are whole: write \"{}%\"", n.round() as u32))))
}

/// As people write it: exact, in seconds up to two minutes, else in the largest unit.
#[must_use]
pub fn duration_text(duration: Duration) -> String {
    let ms = duration.as_millis();
    match ms {
        0 => "0s".into(),
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) && ms >= 120_000 => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1000) => format!("{}s", ms / 1000),
        _ => format!("{ms}ms"),
    }
}

/// As the file writes it, in the largest unit that keeps it exact.
#[must_use]
pub fn size_text(bytes: u64) -> String {
    let (number, unit) = exact(bytes);
    format!("{number}{}", unit.unwrap_or("B"))
}

/// Leading digits and what follows; `None` without a digit.
fn split(text: &str) -> Option<(&str, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    (digits > 0).then(|| text.split_at(digits))
}

fn unit_ms(unit: &str) -> Option<u64> {
    Some(match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    })
}

fn size_shift(unit: &str) -> Option<u32> {
    Some(match unit {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    })
}

/// What the author of "3 sec", "1.5s", "1m30s" or "90" probably meant.
fn meant(text: &str) -> Option<String> {
    let mut total = 0.0;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let value: f64 = rest[..number].parse().ok()?;
        rest = rest[number..].trim_start();
        let unit = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let ms = match rest[..unit].to_ascii_lowercase().as_str() {
            "ms" | "msec" | "msecs" | "millis" | "millisecond" | "milliseconds" => 1.0,
            "" | "s" | "sec" | "secs" | "second" | "seconds" => 1e3,
            "m" | "min" | "mins" | "minute" | "minutes" => 6e4,
            "h" | "hr" | "hrs" | "hour" | "hours" => 3.6e6,
            "d" | "day" | "days" => 8.64e7,
            _ => return None,
        };
        total += value * ms;
        rest = rest[unit..].trim_start();
    }
    let ms = total.round();
    let longest = LONGEST.as_secs_f64() * 1e3;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a whole number within bounds
    (ms >= 1.0 && ms <= longest).then(|| duration_text(Duration::from_millis(ms as u64)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_was_meant_is_said() {
        for (text, wanted) in [
            ("3 sec", "write \"3s\""),
            ("1.5s", "write \"1500ms\""),
            ("1m30s", "write \"90s\""),
            ("90", "write \"90s\""),
            ("1d", "write \"24h\""),
            ("05s", "write \"5s\""),
            ("soon", "like \"5s\""),
            ("", "like \"5s\""),
            ("-5s", "like \"5s\""),
        ] {
            assert!(duration(text).unwrap_err().hint.contains(wanted), "{text}: {:?}", duration(text));
        }
        assert!(duration("99999999999h").unwrap_err().message.contains("longer than a year"));
        assert!(size("64k").unwrap_err().hint.contains("write \"64KiB\""));
        assert!(size("64 MB").unwrap_err().hint.contains("write \"64MiB\""));
        assert!(size("many").unwrap_err().hint.contains("like \"64KiB\""));
        assert!(size("99999999999GiB").unwrap_err().message.contains("too large"));
    }

    #[test]
    fn percents_are_whole_and_have_their_sign() {
        for (text, wanted) in [
            ("50", "write \"50%\""),
            ("50 %", "write \"50%\""),
            ("050%", "write \"50%\""),
            ("12.5%", "write \"13%\""),
            ("0.5", "from \"0%\" to \"100%\""),
            ("-5%", "like \"20%\""),
            ("101%", "like \"20%\""),
            ("99999999999%", "like \"20%\""),
            ("inf%", "like \"20%\""),
            ("half", "like \"20%\""),
            ("", "like \"20%\""),
        ] {
            assert!(percent(text, 100).unwrap_err().hint.contains(wanted), "{text}: {:?}", percent(text, 100));
        }
        assert!(percent("101%", 100).unwrap_err().message.contains("too much"));
    }

    proptest! {
        #[test]
        fn a_percentage_is_read_or_refused(n in 0u32..2000, most in 0u32..2000, text in "\\PC{0,6}|[0-9.]{0,6} ?%?") {
            prop_assert_eq!(percent(&format!("{n}%"), most).ok(), (n <= most).then_some(n));
            if let Ok(n) = percent(&text, most) {
                prop_assert_eq!(text, format!("{n}%"));
            }
        }

        #[test]
        fn there_and_back(ms in 0u64..=31_622_400_000, bytes in 0u64..=1 << 50) {
            let d = Duration::from_millis(ms);
            prop_assert_eq!(duration(&duration_text(d)), Ok(d));
            prop_assert_eq!(size(&size_text(bytes)), Ok(bytes));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,12}|[0-9.]{0,20}[a-zA-Z ]{0,8}[0-9]{0,3}[smh]?") {
            if let Ok(d) = duration(&text) {
                prop_assert_eq!(duration(&duration_text(d)), Ok(d));
            }
            let _ = size(&text);
        }
    }
}

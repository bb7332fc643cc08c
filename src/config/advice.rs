//! What was probably meant by a value of the wrong kind: the words to write in its place.
//!
//! Pure: values in, text out. Whether a value is wrong is decided where its key is read.

use std::ops::RangeInclusive;

use super::tree::Value;

/// The items that a text stands for where a list is wanted: `"502,503"` is `502, 503` where `sample` is a number.
pub(super) fn items(text: &str, sample: &str) -> String {
    let wants_numbers = sample.starts_with(|c: char| c.is_ascii_digit());
    let words: Vec<&str> = text.split([',', ' ', '[', ']', '"']).filter(|word| !word.is_empty()).collect();
    let numbers = !words.is_empty() && words.iter().all(|word| word.parse::<u32>().is_ok());
    match (wants_numbers, words.as_slice()) {
        (true, words) if numbers => words.join(", "),
        (true, _) | (false, []) => sample.into(),
        (false, words) => words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", "),
    }
}

/// A number that somebody put into quotes: `write 3, without quotes`.
pub(super) fn unquoted(value: &Value, bounds: &RangeInclusive<u32>) -> Option<String> {
    let Value::Text(text) = value else { return None };
    let number = text.trim().parse().ok().filter(|number| bounds.contains(number))?;
    Some(format!("write {number}, without quotes"))
}

/// What to write where `true` or `false` is wanted.
pub(super) fn flag(key: &str, value: &Value) -> String {
    let word = match value {
        Value::Text(text) => text.trim().to_ascii_lowercase(),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(_) | Value::Array(_) | Value::Table(_) | Value::Other(_) => String::new(),
    };
    match word.as_str() {
        "true" | "false" => format!("write {key} = {word}, without quotes"),
        "yes" | "on" | "1" | "y" => format!("write {key} = true"),
        "no" | "off" | "0" | "n" => format!("write {key} = false"),
        _ => format!("write {key} = true, or {key} = false"),
    }
}

/// What to write for a table in the place of which stands its main word, or "off".
pub(super) fn table(kind: &str, value: &Value) -> Option<String> {
    let key = kind.rsplit('.').next()?;
    let (said, off) = match value {
        Value::Text(text) => (text.as_str(), matches!(text.as_str(), "off" | "none" | "no" | "false")),
        Value::Boolean(on) => ("", !on),
        Value::Integer(number) if *number == 0 => ("", true),
        Value::Integer(number) => {
            return Some(match key {
                "respond" => format!("write respond = {{ status = {number} }}"),
                "retry" => format!("write retry = {{ attempts = {number} }}"),
                "limits" => format!("write limits = {{ in_flight = {number} }}"),
                "timeouts" => format!("write timeouts = {{ read = \"{number}s\" }}"),
                "admin" => format!("write admin = {{ address = \"127.0.0.1:{number}\" }}"),
                _ => return None,
            });
        }
        Value::Array(_) | Value::Table(_) | Value::Other(_) => return None,
    };
    let sound = !said.is_empty() && said.is_ascii() && !said.contains(['"', '\\']);
    Some(match key {
        "passive" if off => "write passive = { connect_failures = \"off\", gateway_failures = \"off\" }".into(),
        "health" if off => "write health = { type = \"off\" }".into(),
        "retry" if off => "write retry = { resend = \"off\" }; what was not sent may still go elsewhere".into(),
        "admin" if off => "write admin = { address = \"off\" }".into(),
        "limits" if off => "take it out: requests have no limit unless in_flight says so".into(),
        "log" if off => "write log = { access = \"off\", level = \"error\" }".into(),
        "health" if sound && said.starts_with('/') => format!("write health = {{ path = \"{said}\" }}"),
        "health" if matches!(said, "auto" | "http" | "tcp" | "grpc") => {
            format!("write health = {{ type = \"{said}\" }}")
        }
        "respond" if sound => format!("write respond = {{ body = \"{said}\" }}"),
        "timeouts" if sound && said.starts_with(|c: char| c.is_ascii_digit()) => {
            format!("write timeouts = {{ read = \"{said}\" }}")
        }
        "admin" if sound && said.contains(':') => format!("write admin = {{ address = \"{said}\" }}"),
        "log" if matches!(said, "error" | "warn" | "info" | "debug" | "trace") => {
            format!("write log = {{ level = \"{said}\" }}")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_numbers_get_no_quotes() {
        for (text, wanted) in [("502", "502"), ("502,503", "502, 503"), ("[502 503]", "502, 503"), ("5xx", "502")] {
            assert_eq!(items(text, "502"), wanted);
        }
        assert_eq!(items("GET, HEAD", "\"GET\""), "\"GET\", \"HEAD\"");
        assert_eq!(items("", "\"GET\""), "\"GET\"");
    }

    #[test]
    fn yes_is_true_and_a_number_needs_no_quotes() {
        let text = |text: &str| Value::Text(text.into());
        assert_eq!(flag("backup", &text("yes")), "write backup = true");
        assert_eq!(flag("backup", &text("False")), "write backup = false, without quotes");
        assert_eq!(flag("backup", &Value::Integer(0)), "write backup = false");
        assert_eq!(flag("backup", &text("perhaps")), "write backup = true, or backup = false");
        assert_eq!(unquoted(&text(" 3 "), &(1..=100)).as_deref(), Some("write 3, without quotes"));
        assert_eq!(unquoted(&text("300"), &(1..=100)), None);
    }
}

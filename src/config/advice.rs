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

/// How to switch off what a table is about, for those who wrote `passive = "off"`.
pub(super) fn off(kind: &str, value: &Value) -> Option<&'static str> {
    let off = match value {
        Value::Text(text) => matches!(text.as_str(), "off" | "none" | "no" | "false"),
        Value::Boolean(on) => !on,
        Value::Integer(number) => *number == 0,
        Value::Array(_) | Value::Table(_) | Value::Other(_) => false,
    };
    let key = kind.rsplit('.').next().filter(|_| off)?;
    Some(match key {
        "passive" => "write passive = { connect_failures = \"off\", gateway_failures = \"off\" }",
        "health" => "write health = { type = \"off\" }",
        "retry" => "write retry = { attempts = 1 }",
        "admin" => "write admin = { address = \"off\" }",
        "limits" => "take it out: requests have no limit unless in_flight says so",
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

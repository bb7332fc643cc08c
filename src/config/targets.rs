//! The file of `upstreams_file`: a list of upstreams that something else keeps, as Prometheus reads it (file_sd), in
//! JSON: `[{"targets": ["10.0.0.1:3000", ...], "labels": {"weight": "2", "backup": "true", "name": "b", ...}}]`.
//!
//! Labels hold for every target of their group; others than these three are somebody else's. Used when the config is
//! read, and again when the file has changed. It asks no name server.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::address::{Address, UPSTREAMS_FILE};
use super::file;
use super::model::Entry;
use super::problem::{Origin, Place, Problem, Wrong};

/// The most bytes of a list.
const LARGEST: u64 = 4 << 20;
/// The most targets of a list.
pub const MOST: usize = 4096;

/// The bytes of the list.
///
/// # Errors
/// Why it cannot be read, as the end of a sentence.
pub fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = file::read(path, LARGEST).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::InvalidInput => error.to_string(),
        _ => format!("it cannot be read: {error}"),
    })?;
    if bytes.len() as u64 > LARGEST { Err("it is larger than 4 MiB".to_owned()) } else { Ok(bytes) }
}

/// The targets in this text of the file, in its order, each address and name once. An empty list is one.
///
/// # Errors
/// The first thing that is wrong, and where.
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<Entry>, Box<Problem>> {
    let name = path.display().to_string();
    let origin = |text: Option<String>| Arc::new(Origin::new(name.clone(), text, None));
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(_) => {
            let wrong = Wrong::new("it is not UTF-8 text", "save it as UTF-8");
            return Err(Box::new(Problem::warning(&Place::whole(&origin(None)), wrong)));
        }
    };
    let faulty = |error: &serde_json::Error| {
        let span = Some(span(text, error.line(), error.column()));
        let place = Place { origin: origin(Some(text.to_owned())), span };
        let said = error.to_string();
        let said = said.split(" at line ").next().unwrap_or_default().to_owned();
        Box::new(Problem::warning(&place, Wrong::new(said, "")))
    };
    let groups: Vec<Group> = serde_json::from_str(text).map_err(|error| faulty(&error))?;
    let mut entries: Vec<Entry> = Vec::new();
    let mut seen: HashSet<Address> = HashSet::new();
    for Group { targets, labels } in groups {
        for Target(address) in targets {
            // Twice the same is once: other readers of the file may want it in two groups.
            if !seen.insert(address.clone()) {
                continue;
            }
            let entry = Entry { name: labels.name.clone(), backup: labels.backup, ..Entry::new(address) };
            entries.push(Entry { weight: labels.weight.unwrap_or(1), ..entry });
        }
        if entries.len() > MOST {
            let wrong = Wrong::new(format!("it has more than {MOST} targets"), "");
            return Err(Box::new(Problem::warning(&Place::whole(&origin(None)), wrong)));
        }
    }
    Ok(entries)
}

/// The list as it is now.
///
/// # Errors
/// Why there is none; without a span where the file itself is the trouble.
pub fn read(path: &Path) -> Result<Vec<Entry>, Box<Problem>> {
    let bytes = bytes(path).map_err(|why| {
        let origin = Arc::new(Origin::new(path.display().to_string(), None, None));
        Box::new(Problem::warning(&Place::whole(&origin), Wrong::new(why, "")))
    })?;
    parse(path, &bytes)
}

/// What is wrong with a list, in one line: `2:15: "app" has no port: write "app:3000"`.
#[must_use]
pub fn told(problem: &Problem) -> String {
    let place = problem.place.line_and_column().map(|(line, column)| format!("{line}:{column}: "));
    let hint = if problem.hint.is_empty() { String::new() } else { format!(": {}", problem.hint) };
    format!("{}{}{hint}", place.unwrap_or_default(), problem.message)
}

/// Names of upstreams are ids in labels and commands: POOL/NAME, NAME@IP.
pub(super) fn name(text: &str) -> Result<Arc<str>, Wrong> {
    if text == UPSTREAMS_FILE {
        return Err(Wrong::new(format!("{UPSTREAMS_FILE} is the name of the list itself"), "take another name"));
    }
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if !(1..=64).contains(&text.len()) || !text.bytes().all(fine) {
        let hint = "use 1 to 64 letters, digits, \"-\", \"_\" and \".\"";
        return Err(Wrong::new(format!("\"{text}\" cannot be the name of an upstream"), hint));
    }
    Ok(text.into())
}

/// The word before the place where the reader stopped, or the sign there.
fn span(text: &str, line: usize, column: usize) -> Range<usize> {
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let at = (before + column).min(text.len());
    let bytes = text.as_bytes();
    if at > before && bytes[at - 1] == b'"' {
        let start = bytes[before..at - 1].iter().rposition(|byte| *byte == b'"').map_or(at - 1, |start| before + start);
        return start..at;
    }
    at.saturating_sub(1).max(before.min(at))..at
}

/// One group of targets that have their labels in common.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a group, like {\"targets\": [\"10.0.0.1:3000\"]}")]
struct Group {
    targets: Vec<Target>,
    #[serde(default)]
    labels: Labels,
}

struct Target(Address);

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Target;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a target, like \"10.0.0.1:3000\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Target, E> {
                Address::parse(text).map(Target).map_err(E::custom)
            }
        }
        from.deserialize_str(Text)
    }
}

/// The labels that have a meaning here.
#[derive(Clone, Debug, Default)]
struct Labels {
    name: Option<Arc<str>>,
    weight: Option<u8>,
    backup: bool,
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Labels;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("labels, like {\"weight\": \"2\"}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                let mut labels = Labels::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "weight" => labels.weight = Some(map.next_value::<Weight>()?.0),
                        "backup" => labels.backup = map.next_value::<Flag>()?.0,
                        "name" => labels.name = map.next_value::<Named>()?.0,
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(labels)
            }
        }
        from.deserialize_map(Map)
    }
}

/// A value of a label is a text in file_sd; who writes a number or a flag means the same.
macro_rules! word {
    ($name:ident($type:ty), $expecting:literal, $parse:expr) => {
        struct $name($type);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct Word;
                impl Visitor<'_> for Word {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        let parse: fn(&str) -> Result<$type, Wrong> = $parse;
                        parse(text).map($name).map_err(E::custom)
                    }

                    fn visit_u64<E: de::Error>(self, number: u64) -> Result<$name, E> {
                        self.visit_str(&number.to_string())
                    }

                    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<$name, E> {
                        self.visit_str(if flag { "true" } else { "false" })
                    }
                }
                from.deserialize_any(Word)
            }
        }
    };
}

word!(Weight(u8), "a weight, like \"2\"", |text| {
    let fits = text.parse().ok().filter(|weight| (1..=100).contains(weight));
    fits.ok_or_else(|| Wrong::new(format!("\"{text}\" is not a weight"), "a weight is a number from 1 to 100"))
});
word!(Flag(bool), "\"true\" or \"false\"", |text| {
    text.parse().map_err(|_| Wrong::new(format!("\"{text}\" says neither yes nor no"), "write \"true\" or \"false\""))
});
word!(Named(Option<Arc<str>>), "a name, like \"b\"", |text| match text {
    "" => Ok(None),
    text => name(text).map(Some),
});

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<(String, u8, bool)> {
        let entries = parse(Path::new("a.json"), text.as_bytes()).unwrap();
        entries.iter().map(|entry| (format!("{} {}", entry.id(), entry.address), entry.weight, entry.backup)).collect()
    }

    fn one(said: &str, weight: u8, backup: bool) -> (String, u8, bool) {
        (said.to_owned(), weight, backup)
    }

    #[test]
    fn labels_hold_for_their_group_and_others_are_left_alone() {
        let list = said(
            r#"[{"targets": ["10.0.0.1:3000", "https://app"], "labels": {"weight": "3", "job": "x", "__meta": "y"}},
                {"targets": ["unix:/run/a.sock", "srv:_http._tcp.app"], "labels": {"backup": true, "name": "b"}},
                {"targets": ["10.0.0.1:3000"]}, {"targets": []}]"#,
        );
        let both = |text: &str| format!("{text} {text}");
        assert_eq!(
            list,
            [
                one(&both("10.0.0.1:3000"), 3, false),
                one(&both("https://app:443"), 3, false),
                one("b unix:/run/a.sock", 1, true),
                one("b srv:_http._tcp.app", 1, true),
            ]
        );
        assert_eq!((said("[]"), said("\u{feff}[]")), (vec![], vec![]));
    }

    #[test]
    fn what_is_wrong_has_its_line_and_column() {
        for (text, wanted) in [
            ("", "a.json:1:1: warning: EOF"),
            ("[\n {\"targets\": [\"app\"]}]", "a.json:2:15: warning: \"app\" has no port: write \"app:3000\""),
            ("[{\"targets\": [\"a:1\"],}]", "a.json:1:22: warning: trailing comma"),
            ("[{\"targets\": [\"a:1\"]", "a.json:1:20: warning: EOF"),
            ("[{\"target\": [\"a:1\"]}]", "unknown field `target`, expected `targets` or `labels`"),
            ("{\"targets\": [\"a:1\"]}", "expected a sequence"),
            ("[\"a:1\"]", "expected a group, like"),
            ("[{\"targets\": [3000]}]", "expected a target, like"),
            ("[{\"targets\": [], \"labels\": {\"weight\": \"0\"}}]", "a.json:1:39: warning: \"0\" is not a weight"),
            ("[{\"targets\": [], \"labels\": {\"weight\": 900}}]", "\"900\" is not a weight"),
            ("[{\"targets\": [], \"labels\": {\"backup\": \"x\"}}]", "neither yes nor no"),
            ("[{\"targets\": [], \"labels\": {\"name\": \"a b\"}}]", "cannot be the name"),
        ] {
            let wrong = parse(Path::new("a.json"), text.as_bytes()).unwrap_err().to_string();
            assert!(wrong.contains(wanted), "{text}: {wrong}");
        }
        assert!(parse(Path::new("a.json"), b"\xff").unwrap_err().to_string().contains("not UTF-8"));
    }

    #[test]
    fn a_list_has_a_bound() {
        let list = |count: usize| {
            let targets: Vec<_> = (0..count).map(|n| format!("\"10.0.{}.{}:80\"", n / 250, n % 250)).collect();
            format!("[{{\"targets\": [{}]}}]", targets.join(","))
        };
        assert_eq!(said(&list(MOST)).len(), MOST);
        assert!(parse(Path::new("a"), list(MOST + 1).as_bytes()).unwrap_err().message.contains("more than 4096"));
    }

    proptest::proptest! {
        #[test]
        fn whatever_stands_there_is_a_list_or_has_a_place(text in "[\\[\\]{}\",:a-z0-9 \n\u{e4}]{0,60}") {
            if let Err(problem) = parse(Path::new("a.json"), text.as_bytes()) {
                proptest::prop_assert!(problem.place.line_and_column().is_some() && !problem.to_string().is_empty());
            }
        }
    }
}

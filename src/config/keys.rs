//! Which key of a file stands at a place: for machines that read problems. Pure.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Place;

/// The keys of one text, by where they stand.
#[derive(Debug)]
pub struct Keys(Vec<(Range<usize>, String)>);

impl Keys {
    /// Of a file's text; one that is not TOML has none.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut found = Vec::new();
        if let Ok(table) = DeTable::parse(text) {
            gather(table.into_inner(), "", &mut found);
        }
        Self(found)
    }

    /// `pool.app.timeouts.read`: the key that stands nearest around this byte; of a list, the list's.
    #[must_use]
    pub fn at(&self, byte: usize) -> Option<&str> {
        let around = self.0.iter().filter(|(range, _)| range.contains(&byte));
        around.min_by_key(|(range, _)| range.len()).map(|(_, key)| key.as_str())
    }
}

/// The key that a flag or a variable names: `--set pool.app.sticky=sid`, `CAUSEWAY_SET=pool.app.sticky=sid`.
#[must_use]
pub fn of_flag(place: &Place) -> Option<&str> {
    let set = place.origin.name.strip_prefix("--set").or_else(|| place.origin.name.strip_prefix("CAUSEWAY_SET"))?;
    let (key, _) = set.trim_start_matches([' ', '=']).split_once('=')?;
    Some(key.trim()).filter(|key| !key.is_empty())
}

fn gather(table: DeTable<'_>, under: &str, found: &mut Vec<(Range<usize>, String)>) {
    for (key, value) in table {
        let name = key.get_ref();
        let path = if under.is_empty() { name.to_string() } else { format!("{under}.{name}") };
        found.extend([(key.span(), path.clone()), (Spanned::span(&value), path.clone())]);
        if let DeValue::Table(inner) = value.into_inner() {
            gather(inner, &path, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_around_a_place() {
        let text = "listen = \":80\"\n[pool.app]\nupstreams = [\"a:1\", { address = \"b:1\", wait = 1 }]\n\
                    retry = { attempts = \"x\" }\ntimeouts.read = \"soon\"\n";
        let keys = Keys::of(text);
        for (part, key) in [
            ("listen", "listen"),
            (":80", "listen"),
            ("a:1", "pool.app.upstreams"),
            ("wait", "pool.app.upstreams"),
            ("x\"", "pool.app.retry.attempts"),
            ("soon", "pool.app.timeouts.read"),
        ] {
            assert_eq!(keys.at(text.find(part).unwrap()), Some(key), "{part}");
        }
        assert_eq!(keys.at(text.len()), None);
        for text in ["[pool.app\nlisten = 1", "[{\"targets\": [], \"labels\": {}}]"] {
            assert_eq!(Keys::of(text).at(text.find('l').unwrap()), None, "no key stands in what is not read");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_stands_there_is_looked_through(text in "[a-z.=\\[\\]{}\", \n]{0,80}", at in 0..100_usize) {
            let keys = Keys::of(&text);
            proptest::prop_assert!(keys.at(at).is_none_or(|key| !key.is_empty() || text.contains('"')));
        }
    }
}

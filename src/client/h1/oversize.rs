//! How large a head is that is too large, and which field takes the most of it. Pure. It tells names and lengths:
//! nothing of a value is kept.

use std::collections::HashMap;

use http::HeaderMap;

use crate::cause::{Oversize, escape};

/// A head is read on to its end up to this, to tell how large it is.
pub(super) const MOST: usize = 1 << 20;
/// Of a name, so much is told; names that begin alike for so long count as one.
const NAME: usize = 64;
/// So many names are told apart.
const NAMES: usize = 4096;
/// Between a name and its value, and behind that.
const AROUND: u64 = 4;

/// Of a head as far as it was read.
pub(super) fn of_bytes(head: &[u8]) -> Oversize {
    let (mut names, mut folded) = (Names::default(), None);
    let (mut size, mut whole, mut started) = (0, false, false);
    for line in head.split_inclusive(|b| *b == b'\n') {
        size += line.len() as u64;
        let (text, ended) = (line.trim_ascii_end(), line.ends_with(b"\n"));
        match text.iter().position(|b| *b == b':') {
            _ if text.is_empty() && ended && !started => {}
            _ if text.is_empty() && ended => {
                whole = true;
                break;
            }
            _ if !started => started = true,
            // A line that goes on with the value of the one before.
            _ if line.starts_with(b" ") || line.starts_with(b"\t") => names.add(folded, line.len()),
            Some(colon) => {
                folded = Some(&text[..colon]);
                names.add(folded, line.len());
            }
            None => folded = None,
        }
    }
    Oversize { size, whole, largest: names.largest() }
}

/// Of a whole head of this size, with these fields.
pub(in crate::client) fn of_fields(size: usize, fields: &HeaderMap) -> Oversize {
    let mut names = Names::default();
    for (name, value) in fields {
        names.add(Some(name.as_str().as_bytes()), name.as_str().len() + value.len());
    }
    let largest = names.largest().map(|(name, bytes)| {
        let lines = fields.get_all(&name).iter().count() as u64;
        (usual_case(&name), bytes + AROUND * lines)
    });
    Oversize { size: size as u64, whole: true, largest }
}

/// Does a head end within the new bytes of these, which begin at `from`?
pub(super) fn ends(bytes: &[u8], from: usize) -> bool {
    let new = &bytes[from.saturating_sub(2)..];
    new.windows(2).any(|two| two == b"\n\n") || new.windows(3).any(|three| three == b"\n\r\n")
}

/// Names, each as it was written first, and the bytes of its lines.
#[derive(Default)]
struct Names<'a>(HashMap<Vec<u8>, (&'a [u8], u64)>);

impl<'a> Names<'a> {
    fn add(&mut self, name: Option<&'a [u8]>, bytes: usize) {
        let Some(name) = name else { return };
        let name = &name[..name.len().min(NAME)];
        let key = name.to_ascii_lowercase();
        if self.0.len() < NAMES || self.0.contains_key(&key) {
            self.0.entry(key).or_insert((name, 0)).1 += bytes as u64;
        }
    }

    fn largest(self) -> Option<(String, u64)> {
        let (name, bytes) = self.0.into_values().max_by_key(|(name, bytes)| (*bytes, std::cmp::Reverse(*name)))?;
        let mut name = escape(name);
        name.truncate(NAME);
        Some((name, bytes))
    }
}

/// `Set-Cookie` for `set-cookie`.
fn usual_case(name: &str) -> String {
    let words = name.split('-').map(crate::cause::capitalised);
    words.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn largest(name: &str, bytes: u64) -> Option<(String, u64)> {
        Some((name.into(), bytes))
    }

    #[test]
    fn fields_of_one_name_count_together() {
        let head = b"HTTP/1.1 200 OK\r\nServer: a-rather-long-one\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\n\r\nbody";
        let wanted = Oversize { size: head.len() as u64 - 4, whole: true, largest: largest("Set-Cookie", 34) };
        assert_eq!(of_bytes(head), wanted);
        let fields = [("server", "a-rather-long-one"), ("set-cookie", "a=1"), ("set-cookie", "b=2")];
        let fields = fields.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let fields = fields.into_iter().fold(HeaderMap::new(), |mut map, (name, value): (http::HeaderName, _)| {
            map.append(name, value);
            map
        });
        assert_eq!(of_fields(head.len() - 4, &fields), wanted);
    }

    #[test]
    fn a_head_that_has_not_ended_is_told_as_far_as_it_came() {
        let head = b"HTTP/1.1 200 OK\nA: 1\n  2\n\tfolded\nX-Cut: abcdefghijklmnopqrst";
        assert_eq!(of_bytes(head), Oversize { size: 60, whole: false, largest: largest("X-Cut", 27) });
        let head = b"HTTP/1.1 200 OK\r\nA: 1\r\nX-No-Colon-Yet";
        assert_eq!(of_bytes(head).largest, largest("A", 6));
        assert_eq!(of_bytes(b"").largest, None);
    }

    #[test]
    fn a_hostile_name_is_cut_and_harmless() {
        let head = [b"HTTP/1.1 200 OK\r\n\x1b[31m<b>".as_slice(), &[b'\xff'; 500], b": secret\r\n\r\n"].concat();
        let (name, bytes) = of_bytes(&head).largest.unwrap();
        assert!(name.len() <= NAME && name.starts_with("\\x1b[31m<b>\\xff"), "{name}");
        assert_eq!(bytes, 518);
        assert!(!name.contains("secret"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_measured(bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b':'), Just(b' '), any::<u8>()], 0..300), from in 0..300_usize) {
            let over = of_bytes(&bytes);
            prop_assert!(over.size <= bytes.len() as u64 && over.largest.is_none_or(|(_, size)| size <= over.size));
            let _ = ends(&bytes, from.min(bytes.len()));
        }
    }
}

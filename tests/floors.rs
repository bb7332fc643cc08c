//! The map cannot go stale: the picture in `src/lib.rs` is read, and every path between two rooms is held against it.

use std::collections::HashMap;
use std::path::Path;

use crate::support::source::{self, Word};

/// A room's place: its floor, and its stretch between two walls with its position in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    floor: u32,
    stretch: usize,
    position: usize,
}

/// The picture in `src/lib.rs`: room to place.
struct Picture(HashMap<String, Place>);

impl Picture {
    /// Reads lines like `//!  2  pool | client | listen        shared state | …` of the first text block.
    fn read(lib: &str) -> Self {
        let block = lib.lines().skip_while(|l| *l != "//! ```text").skip(1).take_while(|l| *l != "//! ```");
        let mut rooms = HashMap::new();
        for line in block {
            let line = line.trim_start_matches("//!").trim();
            let (floor, rest) = line.split_once("  ").unwrap_or_else(|| panic!("no floor in {line:?}"));
            let floor = floor.parse().unwrap_or_else(|_| panic!("no floor in {line:?}"));
            let names = rest.trim().split("  ").next().unwrap_or_default();
            for (stretch, names) in names.split('|').enumerate() {
                for (position, name) in names.split('·').enumerate() {
                    let twice = rooms.insert(name.trim().to_owned(), Place { floor, stretch, position });
                    assert!(twice.is_none(), "the room {name} stands twice in the picture");
                }
            }
        }
        assert!(rooms.len() > 1, "no picture in src/lib.rs");
        Self(rooms)
    }

    /// Why `from` may not import `to`, if so.
    fn forbids(&self, from: &str, to: &str) -> Option<&'static str> {
        let (Some(a), Some(b)) = (self.0.get(from), self.0.get(to)) else {
            return Some("not both are in the picture");
        };
        if from == to || b.floor < a.floor {
            None
        } else if b.floor > a.floor {
            Some("that is a climb")
        } else if a.stretch != b.stretch {
            Some("there is a wall between them")
        } else {
            (b.position > a.position).then_some("a room on the same floor may only look left")
        }
    }
}

/// The room of a source file, and how many modules deep it lies; the crate's root has no room.
fn room(path: &Path) -> Option<(String, usize)> {
    let path = path.strip_prefix("src").unwrap().with_extension("");
    let mut parts: Vec<_> = path.iter().map(|p| p.to_str().unwrap().to_owned()).collect();
    if parts.last().is_some_and(|p| p == "mod") {
        parts.pop();
    }
    match parts.as_slice() {
        [only] if only == "lib" => None,
        [only] if only == "main" => Some((parts.remove(0), 0)),
        _ => Some((parts[0].clone(), parts.len())),
    }
}

/// The first segment below the crate's root of every path that starts there, with its line: `crate::a::b`,
/// `crate::{a, b::{c, d}}`, `causeway::a` in the binary, and any `super::` that climbs out of the room.
fn rooms_named(words: &[Word], depth: usize) -> Vec<&Word> {
    let is = |at: usize, text: &str| words.get(at).is_some_and(|w| w.text == text);
    let (mut found, mut inline, mut at) = (Vec::new(), Vec::new(), 0);
    while at < words.len() {
        match words[at].text.as_str() {
            "{" => inline.push(at >= 2 && is(at - 2, "mod")),
            "}" => drop(inline.pop()),
            "crate" | "causeway" if is(at + 1, "::") => first_segments(words, at + 2, &mut found),
            "super" if is(at + 1, "::") && (at == 0 || !is(at - 1, "::")) => {
                let mut ups = 0;
                while is(at, "super") && is(at + 1, "::") {
                    (ups, at) = (ups + 1, at + 2);
                }
                if ups >= depth + inline.iter().filter(|is_module| **is_module).count() {
                    first_segments(words, at, &mut found);
                }
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// The name at `at`, or the first names of a group's entries.
fn first_segments<'a>(words: &'a [Word], at: usize, found: &mut Vec<&'a Word>) {
    if words.get(at).is_none_or(|w| w.text != "{") {
        found.extend(words.get(at));
        return;
    }
    let (mut depth, mut entry) = (0, false);
    for word in &words[at..] {
        match word.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ if entry && depth == 1 => found.push(word),
            _ => {}
        }
        entry = depth == 1 && matches!(word.text.as_str(), "{" | ",");
        if depth == 0 {
            return;
        }
    }
}

/// Every forbidden look of one file.
fn faults(picture: &Picture, path: &str, text: &str) -> Vec<String> {
    let Some((from, depth)) = room(Path::new(path)) else {
        return Vec::new();
    };
    let words = source::words(text);
    let named = rooms_named(&words, depth).into_iter();
    named
        .filter_map(|word| {
            let (to, line) = (&word.text, word.line);
            let why = picture.forbids(&from, to)?;
            Some(format!("{path}:{line}: {from} looks at {to}: {why}"))
        })
        .collect()
}

#[test]
fn no_room_climbs_or_looks_through_a_wall() {
    let picture = Picture::read(&source::read("src/lib.rs"));
    let faults: Vec<_> = source::rust_files("src")
        .iter()
        .flat_map(|path| faults(&picture, path.to_str().unwrap(), &source::read(path)))
        .collect();
    assert!(faults.is_empty(), "the floors (picture in src/lib.rs) do not hold:\n{}", faults.join("\n"));
}

#[test]
fn every_room_is_in_the_picture_and_the_picture_has_no_other() {
    let picture = Picture::read(&source::read("src/lib.rs"));
    let mut rooms: Vec<_> =
        source::rust_files("src").iter().filter_map(|path| room(path)).map(|(room, _)| room).collect();
    rooms.sort();
    rooms.dedup();
    let mut drawn: Vec<_> = picture.0.keys().cloned().collect();
    drawn.sort();
    assert_eq!(rooms, drawn, "left: the rooms in src; right: the picture in src/lib.rs");
}

/// The reader of paths can itself be wrong: these are the forms that it must see.
#[test]
fn the_reader_sees_every_form_of_a_forbidden_look() {
    let picture = Picture::read(
        "//! ```text\n//!  5  app · cli · main     words · of · theirs\n//!  2  pool | client    a | b\n\
         //!  1  health · observe | route     x\n//!  0  cause   y\n//! ```\n",
    );
    let lines = |path: &str, text: &str| -> Vec<usize> {
        let faults = faults(&picture, path, text);
        faults.iter().map(|f| f.split(':').nth(1).unwrap().parse().unwrap()).collect()
    };
    let free = "use crate::cause::Cause;\nuse crate::{cause, health::{self, route}};\nuse super::resolve;\nmod tests {\n use super::*;\n}";
    assert!(lines("src/pool/pick.rs", free).is_empty());
    assert_eq!(lines("src/pool/mod.rs", "\nuse crate::client::Client;"), [2], "a wall");
    assert_eq!(lines("src/pool/mod.rs", "use crate::{\n  cause,\n  client::{a, b},\n  app,\n};"), [3, 4], "in a group");
    assert_eq!(lines("src/pool/mod.rs", "fn f() {\n  crate::app::go();\n}"), [2], "in code");
    assert_eq!(lines("src/pool/mod.rs", "use super::client;"), [1], "by super");
    assert_eq!(
        lines("src/pool/pick.rs", "mod tests {\n  use super::super::super::app;\n}"),
        [2],
        "by super, from inside"
    );
    assert_eq!(lines("src/pool/pick.rs", "mod tests { use super::super::cause; }\nuse super::super::app;"), [2]);
    assert_eq!(lines("src/health/mod.rs", "use crate::observe;"), [1], "to the right");
    assert!(lines("src/observe.rs", "use crate::health;").is_empty(), "to the left");
    assert_eq!(lines("src/route.rs", "use crate::health;"), [1], "to the left, through a wall");
    assert!(lines("src/main.rs", "use causeway::cli;").is_empty(), "the binary");
    assert_eq!(lines("src/route.rs", "use crate::attic;"), [1], "a room that is not drawn");
    assert_eq!(lines("src/route.rs", "use crate::*;"), [1], "everything at once");
}

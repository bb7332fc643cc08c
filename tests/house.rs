//! House rules that no lint knows.

use crate::support::source;

/// Lines of a file without its tests module; a longer one is to be split by noun.
const LONGEST: usize = 450;

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<_> = source::rust_files("src")
        .into_iter()
        .chain(source::rust_files("tests"))
        .filter(|path| !source::read(path).starts_with("//! "))
        .collect();
    assert!(silent.is_empty(), "these do not start with `//!`: {silent:?}");
}

#[test]
fn no_file_is_too_long_to_read() {
    let long: Vec<_> = source::rust_files("src")
        .into_iter()
        .chain(source::rust_files("tests"))
        .filter_map(|path| {
            let text = source::read(&path);
            let lines = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default().lines().count();
            (lines > LONGEST).then(|| format!("{}: {lines} lines", path.display()))
        })
        .collect();
    assert!(long.is_empty(), "over {LONGEST} lines without their tests; split by noun: {long:#?}");
}

#[test]
fn unsafe_lives_in_sys_alone() {
    for path in source::rust_files("src").into_iter().filter(|path| *path != std::path::Path::new("src/sys.rs")) {
        let words = source::words(&source::read(&path));
        let found = words.iter().find(|w| w.text == "unsafe" || w.text == "unsafe_code");
        assert!(found.is_none(), "{}:{}: unsafe", path.display(), found.unwrap().line);
    }
}

/// A path of the machine that something was written on means nothing to anybody else.
#[test]
fn no_file_names_a_path_of_one_machine() {
    let paths = [concat!("/", "work/"), concat!("/", "root/"), concat!("/", "home/"), concat!("/", "tmp/")];
    let mut found = Vec::new();
    for path in source::files("") {
        for (number, line) in source::read(&path).lines().enumerate() {
            if paths.iter().any(|p| line.contains(p)) {
                found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "paths of one machine:\n{}", found.join("\n"));
}

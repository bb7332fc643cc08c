//! The repository's own files, and Rust source as words: for the tests that read the code.
//!
//! Not a parser: comments, strings and characters are dropped, what is left is cut into names and signs. That is
//! enough to find paths, and it never has to follow the language.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The top of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file's text, by its path from the top.
pub fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    String::from_utf8_lossy(&fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).into_owned()
}

/// A file that tests write: with `UPDATE` in the environment it becomes `text(what it is)`, without it must be that
/// already.
pub fn kept(path: &str, text: impl FnOnce(&str) -> String) {
    // Several tests keep parts of one file.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let is = fs::read_to_string(root().join(path)).unwrap_or_default();
    let wanted = text(&is);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(root().join(path), wanted).unwrap();
    } else {
        assert!(is == wanted, "{path} is not what it should be; UPDATE=1 cargo test writes it:\n{wanted}");
    }
}

/// Every file under `folder` (`""`: all of it), as paths from the top, sorted; without `.git` and `target`.
pub fn files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let entry = entry.unwrap();
            let (name, kind) = (entry.file_name(), entry.file_type().unwrap());
            if kind.is_dir() && name != ".git" && name != "target" {
                folders.push(entry.path());
            } else if kind.is_file() && name != ".git" {
                found.push(entry.path().strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Every Rust file under `folder`.
pub fn rust_files(folder: &str) -> Vec<PathBuf> {
    files(folder).into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs")).collect()
}

/// A name, or one sign (`::` is one), and the line that it stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    pub text: String,
    pub line: usize,
}

/// Rust source as words.
pub fn words(source: &str) -> Vec<Word> {
    let text: Vec<char> = source.chars().collect();
    let (mut at, mut line, mut words) = (0, 1, Vec::new());
    while at < text.len() {
        let end = at + length(&text[at..]);
        let piece = &text[at..end];
        let is_sign = piece == [':', ':'] || piece.len() == 1 && piece[0].is_ascii_punctuation();
        if is_sign || piece.iter().all(|c| is_name(*c)) {
            words.push(Word { text: piece.iter().collect(), line });
        }
        line += piece.iter().filter(|c| **c == '\n').count();
        at = end;
    }
    words
}

/// How long the next piece is: a comment, a literal, a name, `::`, or one character.
fn length(text: &[char]) -> usize {
    let starts = |with: &str| with.chars().enumerate().all(|(i, c)| text.get(i) == Some(&c));
    if starts("//") {
        return text.iter().position(|c| *c == '\n').unwrap_or(text.len());
    }
    if starts("/*") {
        return block_comment(text);
    }
    if let Some(length) = raw_string(text) {
        return length;
    }
    match text[0] {
        '"' => quoted(text, '"'),
        // 'a' and '\n' are characters; 'a without a closing quote is a lifetime.
        '\'' if text.get(1) == Some(&'\\') || text.get(2) == Some(&'\'') => quoted(text, '\''),
        ':' if starts("::") => 2,
        c if is_name(c) => text.iter().position(|c| !is_name(*c)).unwrap_or(text.len()),
        _ => 1,
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn block_comment(text: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at + 1 < text.len() {
        match (text[at], text[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

fn quoted(text: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < text.len() && text[at] != quote {
        at += if text[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(text.len())
}

/// `r"…"`, `r#"…"#`, `br"…"`.
fn raw_string(text: &[char]) -> Option<usize> {
    let prefix = match text {
        ['r', '"' | '#', ..] => 1,
        ['b' | 'c', 'r', '"' | '#', ..] => 2,
        _ => return None,
    };
    let hashes = text[prefix..].iter().take_while(|c| **c == '#').count();
    let open = prefix + hashes;
    if text.get(open) != Some(&'"') {
        return None; // r#name
    }
    let mut close = vec!['"'];
    close.extend(std::iter::repeat_n('#', hashes));
    let rest = &text[open + 1..];
    let end = rest.windows(close.len()).position(|w| w == close).map_or(rest.len(), |p| p + close.len());
    Some(open + 1 + end)
}

#[test]
fn words_are_found_and_the_rest_is_dropped() {
    let source =
        "use crate::a; // crate::b\n/* crate::c /* x */ */ let 'x' = \"crate::d\\\"\"; r#\"crate::e\"# &'a b::C";
    let found: Vec<_> = words(source).into_iter().map(|w| w.text).collect();
    assert_eq!(found, ["use", "crate", "::", "a", ";", "let", "=", ";", "&", "'", "a", "b", "::", "C"]);
    assert_eq!(words("a\n\"x\ny\"\nb").last().unwrap().line, 4);
}

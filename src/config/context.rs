//! What one compilation shares: the problems so far, the keys that nothing read, and which words were near.

use std::cell::RefCell;
use std::path::PathBuf;

use super::problem::{Place, Problem, Wrong};

/// What one compilation shares: the problems so far, and what was asked.
#[derive(Debug, Default)]
pub(super) struct Context {
    /// Everything wrong so far, warnings too.
    pub problems: RefCell<Vec<Problem>>,
    /// Keys that nothing read.
    pub unknown: RefCell<Vec<Unknown>>,
    /// Set: every key that is asked for is written down here, and every table of named tables has one called NAME.
    pub learned: Option<RefCell<Vec<Known>>>,
    /// Relative paths in the file start here.
    pub base: PathBuf,
    /// The file of roots that the environment names.
    pub cert_file: Option<PathBuf>,
}

/// A key that the compiler reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The table it stands in, `pool.NAME.timeouts`; empty at the top of the file.
    pub kind: String,
    /// Its name.
    pub key: &'static str,
    /// Is it a table itself?
    pub table: bool,
}

/// A key that nothing read.
#[derive(Debug)]
pub(super) struct Unknown {
    /// The table it stands in, as [`Known::kind`].
    pub kind: String,
    /// The table it stands in, with the names of the file.
    pub path: String,
    /// The key.
    pub key: String,
    /// Where it stands.
    pub place: Place,
    /// Is it a table itself?
    pub table: bool,
    /// The keys in it, if so.
    pub inner: Vec<String>,
}

impl Context {
    /// Something that keeps causeway from starting.
    pub(super) fn error(&self, place: &Place, message: impl Into<String>, hint: impl Into<String>) {
        self.problems.borrow_mut().push(Problem::error(place, Wrong::new(message, hint)));
    }

    /// Something legal and foolish.
    pub(super) fn warn(&self, place: &Place, message: impl Into<String>, hint: impl Into<String>) {
        self.problems.borrow_mut().push(Problem::warning(place, Wrong::new(message, hint)));
    }

    /// The value, or its error with its place.
    pub(super) fn take<T>(&self, place: &Place, parsed: Result<T, Wrong>) -> Option<T> {
        parsed.map_err(|wrong| self.problems.borrow_mut().push(Problem::error(place, wrong))).ok()
    }
}

/// The word that was probably meant, if one is near.
pub(super) fn nearest<'w>(word: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    words
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// "a", "a or b", "a, b or c".
pub(super) fn either(words: &[String]) -> String {
    list(words, "or")
}

/// "a", "a and b", "a, b and c".
pub(super) fn all_of(words: &[String]) -> String {
    list(words, "and")
}

fn list(words: &[String], join: &str) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [start @ .., last] => format!("{} {join} {last}", start.join(", ")),
    }
}

//! What is wrong with a configuration, where, and what to write instead.
//!
//! A [`Problem`] is made once, by whoever saw the fault, and rendered here in one shape for every command. The text is
//! ASCII whatever the file holds, and never holds a value of the environment.

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use crate::cause::columns::{WIDTH, wrap};

/// Where a value was said: a file, a flag, a variable.
#[derive(Debug, PartialEq, Eq)]
pub struct Origin {
    /// As people know it: `causeway.toml`, `--set pool.app.host_header=upstream`, `CAUSEWAY_UPSTREAMS`.
    pub name: String,
    /// The text of a file, for showing lines of it; `None` for flags and variables.
    pub text: Option<String>,
    /// The bare text after `=` in a flag or variable: taken as it stands where a key wants text, so that
    /// `--set listen=3000` needs no second quotes.
    pub said: Option<String>,
    /// Where its lines begin, once somebody asks.
    lines: OnceLock<Vec<usize>>,
}

impl Origin {
    /// Under this name, with this text of a file, or this bare text of a flag or variable.
    #[must_use]
    pub const fn new(name: String, text: Option<String>, said: Option<String>) -> Self {
        Self { name, text, said, lines: OnceLock::new() }
    }

    /// Bytes before each line of its text: a file with many problems is looked through once.
    fn lines(&self) -> &[usize] {
        self.lines.get_or_init(|| {
            let text = self.text.as_deref().unwrap_or_default();
            std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect()
        })
    }
}

/// A part of an [`Origin`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Who said it.
    pub origin: Arc<Origin>,
    /// Bytes of its text; `None`: the whole of it.
    pub span: Option<Range<usize>>,
}

/// How bad a [`Problem`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Nothing starts with it.
    Error,
    /// Legal, and foolish.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to write instead; may be empty.
    pub hint: String,
    /// How bad it is.
    pub severity: Severity,
}

/// What is wrong with one value, said by a parser that does not know where the value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to write instead; may be empty.
    pub hint: String,
}

impl Wrong {
    /// A message and what to write instead.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

impl fmt::Display for Wrong {
    /// The message, and the hint behind it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&ascii(&self.message))?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, ": {}", ascii(&self.hint)) }
    }
}

impl std::error::Error for Wrong {}

impl Place {
    /// The whole of an origin.
    #[must_use]
    pub fn whole(origin: &Arc<Origin>) -> Self {
        Self { origin: Arc::clone(origin), span: None }
    }

    /// Line and column, from 1, in characters; `None` outside a file.
    #[must_use]
    pub fn line_and_column(&self) -> Option<(usize, usize)> {
        let (before, _, _) = self.cut()?;
        let lines = self.origin.lines();
        let line = lines.partition_point(|start| *start <= before.len());
        let start = lines.get(line.saturating_sub(1)).copied().unwrap_or_default();
        Some((line, before[start..].chars().count() + 1))
    }

    /// The text before the span, in it, and behind it.
    fn cut(&self) -> Option<(&str, &str, &str)> {
        let text = self.origin.text.as_deref()?;
        let span = self.span.as_ref()?;
        let start = floor(text, span.start);
        let end = floor(text, span.end).max(start);
        Some((&text[..start], &text[start..end], &text[end..]))
    }
}

impl Problem {
    /// Something that keeps causeway from starting.
    #[must_use]
    pub fn error(place: &Place, wrong: Wrong) -> Self {
        Self { place: place.clone(), message: wrong.message, hint: wrong.hint, severity: Severity::Error }
    }

    /// Something legal and foolish.
    #[must_use]
    pub fn warning(place: &Place, wrong: Wrong) -> Self {
        Self { severity: Severity::Warning, ..Self::error(place, wrong) }
    }
}

impl fmt::Display for Problem {
    /// Place and message, then the line with a mark under the fault, then the hint. No newline at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&ascii(&self.place.origin.name))?;
        if let Some((line, column)) = self.place.line_and_column() {
            write!(f, ":{line}:{column}")?;
        }
        f.write_str(if self.severity == Severity::Warning { ": warning: " } else { ": " })?;
        f.write_str(&ascii(&self.message))?;
        let hint = ascii(&self.hint);
        let mut start = 0;
        if let Some((line, mark)) = self.place.cut().map(|(before, inside, after)| excerpt(before, inside, after)) {
            write!(f, "\n  {line}\n  {:pad$}{}", "", "^".repeat(mark.len()), pad = mark.start)?;
            start = mark.end + 3;
        }
        if hint.is_empty() {
            Ok(())
        } else if start > 0 && start + hint.len() <= WIDTH {
            write!(f, " {hint}")
        } else {
            let mut lines = String::new();
            wrap(&mut lines, "  ", 2, &hint);
            write!(f, "\n{}", lines.trim_end())
        }
    }
}

/// All problems, one after another, and how many there are. Ends with a newline; empty for none.
#[must_use]
pub fn render(problems: &[Problem]) -> String {
    let mut out = String::new();
    for problem in problems {
        let _ = writeln!(out, "{problem}");
    }
    let errors = problems.iter().filter(|p| p.severity == Severity::Error).count();
    if errors > 0 {
        let warnings = match problems.len() - errors {
            0 => String::new(),
            n => format!(", {}", count(n, "warning")),
        };
        let _ = writeln!(out, "{}{warnings}. Nothing was started or changed.", count(errors, "problem"));
    }
    out
}

/// "1 problem", "2 problems".
#[must_use]
pub fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// The text with everything but printable ASCII escaped.
#[must_use]
pub fn ascii(text: &str) -> String {
    text.chars().map(escaped).collect()
}

fn escaped(c: char) -> String {
    match c {
        '\t' => " ".into(),
        ' '..='~' => c.into(),
        _ => c.escape_default().to_string(),
    }
}

/// The line around a fault without its indentation, cut to the width, and which columns of it are marked.
fn excerpt(before: &str, inside: &str, after: &str) -> (String, Range<usize>) {
    let room = WIDTH - 2;
    // Of a line that a program wrote, which may be megabytes, no more is looked at than can be shown.
    let near = |text: &str| floor(text, 2 * WIDTH);
    let cut = floor(before, before.len().saturating_sub(2 * WIDTH));
    let lead = &before[cut..];
    let lead = match lead.rsplit_once('\n') {
        Some((_, lead)) => lead.trim_start(),
        None if cut == 0 => lead.trim_start(),
        None => lead,
    };
    let (lead, inside, after) = (ascii(lead), &inside[..near(inside)], &after[..near(after)]);
    let marked = ascii(inside.split(['\n', '\r']).next().unwrap_or(""));
    let rest = if inside.contains('\n') { "" } else { after.split(['\n', '\r']).next().unwrap_or("") };
    // A long line loses its front first, so that the mark is always in sight.
    let lead = if lead.len() + marked.len().min(room / 2) > room {
        format!("...{}", &lead[lead.len() - room / 4..])
    } else {
        lead
    };
    let mut line = format!("{lead}{marked}{}", ascii(rest.trim_end()));
    if line.len() > room {
        line.truncate(room - 3);
        line.push_str("...");
    }
    let start = lead.len();
    let end = (start + marked.len().max(1)).min(line.len().max(start + 1));
    (line, start..end)
}

/// The nearest place at or before `at` that is between two characters.
fn floor(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, span: Range<usize>, hint: &str) -> String {
        let origin = Arc::new(Origin::new("f".into(), Some(text.into()), None));
        Problem::error(&Place { origin, span: Some(span) }, Wrong::new("no", hint)).to_string()
    }

    #[test]
    fn the_mark_stands_under_the_fault() {
        assert_eq!(at("a = 1\n\tb = 2 # x\n", 7..8, "hm"), "f:2:2: no\n  b = 2 # x\n  ^ hm");
        assert_eq!(
            at("k = \"\u{e4}\u{1b}\" # x", 4..9, "hm"),
            "f:1:5: no\n  k = \"\\u{e4}\\u{1b}\" # x\n      ^^^^^^^^^^^^^^ hm"
        );
        assert_eq!(at("a", 1..1, ""), "f:1:2: no\n  a\n   ^");
        assert_eq!(at("a = [\n1\n]", 4..9, ""), "f:1:5: no\n  a = [\n      ^");
    }

    #[test]
    fn many_problems_on_one_long_line_are_told_at_once() {
        let text = "\"127.0.0.1:3000\",".repeat(100_000);
        let began = std::time::Instant::now();
        for item in 0..1000 {
            let start = item * 1700;
            let shown = at(&text, start..start + 16, "");
            assert!(shown.ends_with("^^^^^^^^^^^^^^^^") && shown.len() < 300, "{shown}");
        }
        assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    }

    #[test]
    fn long_lines_are_cut_and_long_hints_wrapped() {
        let text = format!("{} = 1", "k".repeat(300));
        for span in [0..300, 303..304, 0..1, 150..160] {
            let shown = at(&text, span, &"word ".repeat(30));
            assert!(shown.lines().all(|l| l.len() <= WIDTH), "{shown}");
            assert!(shown.contains('^'), "{shown}");
        }
    }
}

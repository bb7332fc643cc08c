//! Text for terminals: 80 columns, broken at spaces. It escapes nothing: what comes from outside is escaped before.

/// Columns of a terminal.
pub const WIDTH: usize = 80;
/// Where the text behind a label begins.
const LABEL: usize = 12;

/// Appends `lead` and the words of `text`; lines behind the first begin at column `indent`. A word longer than a line
/// stays whole.
pub fn wrap(out: &mut String, lead: &str, indent: usize, text: &str) {
    wrap_to(out, lead, indent, text, WIDTH);
}

/// The same, for so many columns.
pub fn wrap_to(out: &mut String, lead: &str, indent: usize, text: &str, width: usize) {
    out.push_str(lead);
    let (mut column, mut fresh) = (lead.len(), true);
    for word in text.split_ascii_whitespace() {
        if !fresh && column + 1 + word.len() > width {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else if !fresh {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += word.len();
        fresh = false;
    }
    out.truncate(out.trim_end_matches(' ').len());
    out.push('\n');
}

/// Appends the words of `text`, all lines of them indented; of none, nothing.
pub fn paragraph(out: &mut String, indent: usize, text: &str) {
    if !text.trim_ascii().is_empty() {
        wrap(out, &" ".repeat(indent), indent, text);
    }
}

/// Appends `  Label     text`.
pub fn labelled(out: &mut String, label: &str, text: &str) {
    wrap(out, &format!("  {label:<width$}", width = LABEL - 2), LABEL, text);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn labels_stand_in_a_column() {
        let mut out = String::new();
        labelled(&mut out, "Limit", "timeouts.read (60s): how long the response head may take");
        labelled(&mut out, "Failover", &"word ".repeat(20));
        labelled(&mut out, "", "");
        let wanted = "  Limit     timeouts.read (60s): how long the response head may take\n  Failover  word word";
        assert!(out.starts_with(wanted) && out.contains("\n            word") && out.ends_with("word\n\n"), "{out}");
    }

    proptest! {
        #[test]
        fn no_line_is_too_long_and_no_word_is_lost(words in proptest::collection::vec("[a-z]{1,60}", 0..40), indent in 0..15_usize) {
            let mut out = String::new();
            wrap(&mut out, "", indent, &words.join(" "));
            prop_assert!(out.lines().all(|line| line.len() <= WIDTH && line == line.trim_end()));
            prop_assert_eq!(out.split_ascii_whitespace().collect::<Vec<_>>(), words.clone());
            let mut indented = String::new();
            paragraph(&mut indented, indent, &words.join(" "));
            prop_assert_eq!(indented.is_empty(), words.is_empty());
            prop_assert!(indented.lines().all(|line| line.len() - line.trim_start().len() == indent));
            prop_assert_eq!(indented.split_ascii_whitespace().collect::<Vec<_>>(), words);
        }
    }
}

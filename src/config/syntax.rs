//! What is wrong with a file that is not TOML, in plain words, with the line as it should stand.
//!
//! Pure: the parser's message and its place in, a place and a [`Wrong`] out. What no line here knows keeps the parser's
//! words.

use std::ops::Range;

use super::address::Address;
use super::context::nearest;
use super::problem::Wrong;
use super::units;

/// A file in another language than TOML: the line that gives it away, and what to write. One word is enough about it.
pub(super) fn foreign(text: &str) -> Option<(Range<usize>, Wrong)> {
    let lines = || text.lines().map(|line| (line.trim_matches(['\u{feff}', ' ', '\t', '\r']), line));
    let word = |line: &str| line.split_whitespace().next().unwrap_or("").to_owned();
    let toml = |line: &str| line.starts_with(['[', '#']) || line.contains('=');
    let brace = |line: &str| line.ends_with('{') && !toml(line) && !line.starts_with('{') && !line.starts_with('"');
    let section = |line: &str| {
        matches!(&*word(line), "frontend" | "backend" | "defaults" | "global") && !line.contains(['=', ':'])
    };
    let yaml = |line: &str| line == "---" || (line.trim_end().ends_with(':') && !toml(line) && !line.starts_with('"'));
    let first = |is: &dyn Fn(&str) -> bool| lines().find(|(line, _)| is(line)).map(|(line, _)| line);
    let json = lines().map(|(line, _)| line).find(|line| !line.is_empty()).filter(|line| line.starts_with('{'));
    let (line, theirs) = if let Some(line) = json {
        (line, "JSON")
    } else if let Some(line) = first(&brace) {
        (line, "a config of nginx or Caddy")
    } else if let Some(line) = first(&section) {
        (line, "a config of HAProxy")
    } else if let Some(line) = first(&yaml).filter(|_| !lines().any(|(line, _)| toml(line))) {
        (line, "YAML")
    } else {
        return None;
    };
    let start = line.as_ptr() as usize - text.as_ptr() as usize;
    let mut apps: Vec<String> = Vec::new();
    for word in text.split(|c: char| c.is_whitespace() || "\"',;[]{}()".contains(c)) {
        let word = word.trim_end_matches('/');
        if word.contains(':')
            && let Ok(address) = Address::parse(word)
            && apps.len() < 3
            && !apps.contains(&format!("\"{address}\""))
        {
            apps.push(format!("\"{address}\""));
        }
    }
    let apps = if apps.is_empty() { "\"127.0.0.1:3000\"".to_owned() } else { apps.join(", ") };
    let hint = format!("write a line [pool.app], and below it upstreams = [{apps}]");
    Some((start..start + line.len(), Wrong::new(format!("this looks like {theirs}, and causeway reads TOML"), hint)))
}

/// The parser's `message` about this place of the text, for a person.
pub(super) fn explained(text: &str, at: usize, message: &str) -> Wrong {
    let at = (0..=at.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
    let spot =
        Spot { before: &text[..start], line: text[start..end].trim(), at: &text[at..end], left: &text[start..at] };
    let is = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let found = if is(&["no value"]) {
        Some(spot.no_value(text[end..].trim_start()))
    } else if is(&["unexpected key or value"]) {
        Some(spot.behind())
    } else if is(&["unquoted key", "expected key"]) {
        Some(spot.no_key())
    } else if is(&["must be quoted", "invalid float", "invalid integer", "invalid boolean", "leading zero"]) {
        Some(spot.bare_value())
    } else if is(&["extra `=`"]) {
        Some(Wrong::new("one \"=\" is enough", "take the other one out"))
    } else if is(&["unclosed array,"]) {
        Some(Wrong::new("this list has no end", "write \"]\" behind its last item"))
    } else if is(&["unclosed table", "unclosed array table"]) {
        Some(spot.header())
    } else if is(&["between array elements"]) {
        Some(Wrong::new("a comma is missing before this", "or the \"]\" of the list before it is missing"))
    } else if is(&["between key-value pairs"]) {
        Some(Wrong::new("a comma is missing before this", "or the \"}\" of the table before it is missing"))
    } else if is(&["duplicate key"]) {
        Some(spot.duplicate())
    } else if is(&["carriage return"]) {
        Some(Wrong::new("a line ends with CR alone here", "save the file with LF or CRLF line ends"))
    } else if is(&["escaped value", "escape sequence"]) {
        let hint = "write \\\\ for a backslash, or put the text into single quotes";
        Some(Wrong::new("in double quotes a \"\\\" begins an escape, and this is none", hint))
    } else if is(&["basic string", "literal string"]) {
        Some(Wrong::new("this text has no closing quote", "write one at its end"))
    } else {
        None
    };
    found.unwrap_or_else(|| Wrong::new(message.trim().trim_end_matches('.').replace('\n', "; "), ""))
}

const BETWEEN: &str = "a key and its value stand with \"=\" between";

/// A place in a text.
struct Spot<'a> {
    /// All lines before its line.
    before: &'a str,
    /// Its line, trimmed.
    line: &'a str,
    /// Its line from the place on.
    at: &'a str,
    /// Its line before the place.
    left: &'a str,
}

impl Spot<'_> {
    /// A key without `=`. `next`: the text behind the line.
    fn no_value(&self, next: &str) -> Wrong {
        let line = self.line;
        if line.ends_with(']') && !line.starts_with('[') && !line.contains([' ', '"', ':']) {
            return Wrong::new("this header has no \"[\" in front", format!("write [{line}"));
        }
        if next.starts_with('=') {
            return Wrong::new("a key and its value stand on one line", "move the \"=\" and what follows up to it");
        }
        if line.starts_with(['"', '\'']) && line.matches(['"', '\'']).count() % 2 == 1 {
            return Wrong::new("this key has no closing quote", "write one at its end, or take the first one out");
        }
        let end = line.find(|c: char| c.is_whitespace() || c == ':').unwrap_or(line.len());
        let (key, rest) = line.split_at(end);
        let rest = rest.trim_start().trim_start_matches(":=").trim_start_matches(':').trim();
        if rest.is_empty() {
            return Wrong::new(format!("`{key}` has no value"), format!("write {key} = ..., or [{key}] for a table"));
        }
        Wrong::new(BETWEEN, format!("write {}", assigned(key, rest)))
    }

    /// A line that does not begin with a key.
    fn no_key(&self) -> Wrong {
        let line = self.line;
        if let Some(mark) = ["//", "/*", "--", ";", "!"].into_iter().find(|mark| line.starts_with(mark)) {
            return Wrong::new("a comment begins with \"#\"", format!("write # in place of {mark}"));
        }
        if let Some(value) = self.at.strip_prefix(':') {
            let key = self.left.trim_end().rsplit([' ', '\t', ',', '{']).next().unwrap_or("");
            let inline = self.left.contains('{');
            let value = if inline { value.split([',', '}']).next().unwrap_or("") } else { value };
            let value = value.trim_start_matches('=').trim();
            return match (key, value) {
                ("", _) => Wrong::new("there is no key before this", "write KEY = VALUE"),
                (key, "") => Wrong::new("a table begins with a header", format!("write [{key}]")),
                (key, value) => Wrong::new(BETWEEN, format!("write {}", assigned(key, value))),
            };
        }
        if line.starts_with("[]") || line.starts_with("[[]") {
            return Wrong::new("this header has no name", "write it like [pool.app]");
        }
        match self.at.chars().next() {
            Some('\0'..='\u{8}') => Wrong::new("this is no text", "is it the right file?"),
            Some(c) if !c.is_ascii() && (c.is_whitespace() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{feff}')) => {
                Wrong::new("this looks like a space and is none", "delete it; it came with a copied text")
            }
            Some(c @ ('}' | ']' | ')')) => Wrong::new(format!("this \"{c}\" ends nothing"), "take it out"),
            Some('=') if self.left.trim().is_empty() => {
                Wrong::new("there is no key before the \"=\"", "write KEY = VALUE")
            }
            _ => Wrong::new("a key has letters, digits, \"-\" and \"_\" alone", "any other one stands in quotes"),
        }
    }

    /// A value that is none: text without quotes, mostly.
    fn bare_value(&self) -> Wrong {
        let (key, value) = self.line.split_once('=').unwrap_or(("", self.line));
        let (key, value) = (key.trim(), value.trim());
        // In a list or a table the word at the place alone.
        let inside = value.starts_with(['[', '{']) || !self.line.contains('=');
        let word = if inside {
            let breaks = |c: char| c.is_whitespace() || ",[{=".contains(c);
            let left =
                self.left.rfind(breaks).map_or(0, |i| i + self.left[i..].chars().next().map_or(1, char::len_utf8));
            let right = self.at.find(|c: char| c.is_whitespace() || ",]}#".contains(c)).unwrap_or(self.at.len());
            format!("{}{}", &self.left[left..], &self.at[..right])
        } else {
            value.split(" #").next().unwrap_or(value).trim().to_owned()
        };
        if word.is_empty() {
            return Wrong::new(format!("`{key}` has no value"), "write it on the same line, behind the \"=\"");
        }
        let plain = word.trim_end_matches(';').trim_end();
        if plain != word && (plain.parse::<i64>().is_ok() || matches!(plain, "true" | "false")) {
            return Wrong::new("a line ends without \";\"", format!("write {}", assigned(key, plain)));
        }
        let curly = |c: char| "\u{201c}\u{201d}\u{201e}\u{2018}\u{2019}\u{ab}\u{bb}".contains(c);
        if plain.contains(curly) {
            let bare = plain.replace(curly, "");
            return Wrong::new(
                "these are not the quotes of a program",
                format!("write \"{bare}\", with straight ones"),
            );
        }
        if let Some(items) = plain.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
            return Wrong::new("a list stands between \"[\" and \"]\"", format!("write {key} = [{items}]"));
        }
        if let Some(meant) = nearest(&plain.to_ascii_lowercase(), ["true", "false"].into_iter()) {
            return Wrong::new(format!("\"{plain}\" is neither true nor false"), format!("write {meant}"));
        }
        if plain.bytes().all(|b| b.is_ascii_digit()) {
            let number = plain.trim_start_matches('0');
            let number = if number.is_empty() { "0" } else { number };
            return Wrong::new("a number has no 0 in front", format!("write {number}"));
        }
        let meant = units::duration(plain).err().filter(|wrong| wrong.hint.starts_with("write \""));
        let hint = match meant {
            Some(wrong) => wrong.hint,
            None if plain.contains(['"', '\\']) => "put all of it into one pair of quotes".into(),
            None => format!("write \"{plain}\""),
        };
        Wrong::new("text stands in quotes", hint)
    }

    /// Something behind a value or a header.
    fn behind(&self) -> Wrong {
        let header = self.line.starts_with('[');
        match self.at.chars().next() {
            Some(c @ (';' | ',')) => Wrong::new(format!("a line ends without \"{c}\""), "take it out"),
            Some(']') if header => Wrong::new("there is one \"]\" too many", "take it out"),
            Some('/') => Wrong::new("a comment begins with \"#\"", "write # in place of //"),
            _ if header => Wrong::new("nothing stands behind a header", "move it to the next line"),
            _ => Wrong::new("there is more behind the value", "a list stands in [ and ], a comment behind #"),
        }
    }

    /// A header without its end.
    fn header(&self) -> Wrong {
        let name = self.line.trim_matches(['[', ']']).trim();
        if self.line.starts_with("[[") {
            return Wrong::new("this header has no end", format!("everything has a name: write [{name}]"));
        }
        match self.line.contains(']') {
            true => {
                Wrong::new("this is no name for a table", format!("write [{}]", name.replace([' ', '/', ':'], ".")))
            }
            false => Wrong::new("this header has no end", format!("write [{name}]")),
        }
    }

    /// A key or a header that was there before.
    fn duplicate(&self) -> Wrong {
        let header = self.line.starts_with('[');
        let shown = if header {
            self.line.split_inclusive(']').next().unwrap_or(self.line).to_owned()
        } else {
            format!("`{}`", self.line.split('=').next().unwrap_or(self.line).trim())
        };
        let same = |line: &str| match header {
            true => line.trim().starts_with(&shown),
            false => line.split('=').next().map(str::trim) == Some(shown.trim_matches('`')),
        };
        // The last one above, within the same table.
        let first = self.before.lines().enumerate().filter(|(_, line)| same(line)).last();
        let at = first.map_or_else(String::new, |(index, _)| format!(" (line {})", index + 1));
        let hint = if header { "put all its keys in one place" } else { "take one of them out" };
        Wrong::new(format!("{shown} was said before{at}"), hint)
    }
}

/// `listen = ":80"`, for what somebody wrote with something else between.
fn assigned(key: &str, value: &str) -> String {
    let value = value.trim_end_matches([';', ',']).trim();
    let whole = value.starts_with(['"', '\'', '[', '{']);
    match value {
        port if key == "listen" && port.bytes().all(|b| b.is_ascii_digit()) => format!("{key} = \":{port}\""),
        value if whole || value.parse::<i64>().is_ok() || matches!(value, "true" | "false") => {
            format!("{key} = {value}")
        }
        value => format!("{key} = \"{}\"", value.replace('"', "")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_file_in_another_language_is_known_by_its_look() {
        for (text, wanted) in [
            ("server {\n listen 80;\n proxy_pass http://10.0.0.1:3000/;\n}\n", "nginx or Caddy"),
            ("\u{feff}{\n \"listen\": \":80\"\n}", "JSON"),
            ("frontend http\n bind *:80\n", "HAProxy"),
            ("listen: 80\npool:\n  app:\n", "YAML"),
        ] {
            let (place, wrong) = foreign(text).unwrap();
            assert!(wrong.message.contains(wanted) && text.get(place).is_some(), "{text}: {wrong}");
        }
        let (_, wrong) =
            foreign("upstream a {\n server 10.0.0.1:3000;\n server 10.0.0.1:3000;\n server b:1;\n}").unwrap();
        assert!(wrong.hint.ends_with("upstreams = [\"10.0.0.1:3000\", \"b:1\"]"), "{wrong}");
        for toml in ["a = {\n", "[pool.app]\nupstreams: [\"3000\"]\n", "listen 80\n", "", "\"a\" = {\n", "# x {\n"] {
            assert_eq!(foreign(toml).map(|(_, wrong)| wrong), None, "{toml}");
        }
    }

    proptest! {
        #[test]
        fn no_place_is_too_strange(text in "\\PC{0,30}|[a-z=:\\[\\]{}\" \n]{0,30}", at in 0usize..40, which in 0usize..16) {
            let messages = ["no value", "unquoted key", "must be quoted", "unexpected key or value", "unclosed table",
                "duplicate key", "unclosed array,", "other"];
            let _ = explained(&text, at, messages[which % messages.len()]);
            let _ = foreign(&text);
        }
    }
}

//! Where in a page a placeholder stands: text, a comment, a tag, the value of which attribute, inside of what element.
//!
//! A value that is filled in is escaped, so it can end neither a text nor a quoted value. That is enough where a
//! browser takes what it reads for text. Everywhere else (code, styles, addresses, names) it is refused; what is not
//! known is refused, too. This reads a page as browsers do, in so far as a page that is written in good faith needs it;
//! it changes nothing.

use super::super::super::problem::{Wrong, ascii};

/// What stands in it is no markup.
const RAW: [&str; 9] = ["script", "style", "title", "textarea", "noscript", "iframe", "xmp", "noembed", "noframes"];
/// Of those, text to a browser.
const TEXT: [&str; 2] = ["title", "textarea"];
/// Values that are mere text, besides `aria-…` and `data-…`.
const MERE: [&str; 6] = ["title", "alt", "value", "class", "placeholder", "label"];
/// Values that are addresses which lead nowhere before somebody follows them, or to a picture.
const ADDRESSES: [(&str, &str); 4] = [("a", "href"), ("area", "href"), ("img", "src"), ("form", "action")];
/// So much of a value says where an address leads.
const BEGINNING: usize = 300;
/// No name that matters is longer.
const NAME: usize = 40;

/// Reads a page from its start, piece by piece.
#[derive(Debug, Default)]
pub(super) struct Markup {
    at: At,
    /// The tag that is open, in small letters.
    tag: String,
    /// Its attribute, in small letters.
    attribute: String,
    /// What the value of that attribute begins with.
    value: String,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Text,
    /// Behind `<`, `</` or `<!`, and a first dash.
    Open(String),
    /// Behind `<!--`: the last signs of it.
    Comment(String),
    /// In `<!…>`, `<?…>` or `</ …>`.
    Declaration,
    /// In the name of a tag.
    Tag,
    /// In a tag: between attributes, in the name of one, or behind it.
    Within,
    Name,
    Named,
    /// Behind `=`.
    Assigned,
    /// In a value without quotes, or in one with these.
    Bare,
    Quoted(char),
    /// In an element of [`RAW`]: which, what may be its end, and whether a script stands in a comment in it.
    Raw {
        element: &'static str,
        tail: String,
        commented: bool,
    },
    /// Two browsers could read on from here in two ways.
    Lost,
}

impl Markup {
    /// Reads on.
    pub(super) fn read(&mut self, text: &str) {
        text.chars().for_each(|c| self.step(c.to_ascii_lowercase()));
    }

    fn step(&mut self, c: char) {
        let space = c.is_ascii_whitespace();
        match &mut self.at {
            At::Text if c == '<' => self.at = At::Open(String::new()),
            At::Text | At::Lost => {}
            At::Open(seen) => match (seen.as_str(), c) {
                ("" | "/", 'a'..='z') => {
                    // An end has no attributes, and nothing stands in it.
                    self.tag = format!("{seen}{c}");
                    self.at = At::Tag;
                }
                ("", '/' | '!') | ("!", '-') => seen.push(c),
                ("!-", '-') => self.at = At::Comment(String::new()),
                // CDATA is text in a drawing, and a comment elsewhere.
                ("!", '[') => self.at = At::Lost,
                ("/" | "!" | "!-", '>') => self.at = At::Text,
                ("/" | "!" | "!-", _) | ("", '?') => self.at = At::Declaration,
                (_, '<') => seen.clear(),
                _ => self.at = At::Text,
            },
            At::Comment(tail) => {
                let ends = matches!(tail.as_str(), "" | "-") || tail.ends_with("--") || tail.ends_with("--!");
                if c == '>' && ends {
                    self.at = At::Text;
                } else {
                    tail.push(c);
                    if tail.chars().count() > 3 {
                        tail.remove(0);
                    }
                }
            }
            At::Declaration if c == '>' => self.at = At::Text,
            At::Declaration => {}
            At::Tag | At::Within | At::Name | At::Named | At::Assigned | At::Bare if c == '>' => self.close(),
            At::Tag if space || c == '/' => self.at = At::Within,
            At::Tag => push(&mut self.tag, c, NAME),
            At::Within | At::Name | At::Named if c == '/' => self.at = At::Within,
            At::Within if space => {}
            At::Name if space => self.at = At::Named,
            At::Named if space => {}
            At::Name | At::Named if c == '=' => {
                self.value.clear();
                self.at = At::Assigned;
            }
            At::Name => push(&mut self.attribute, c, NAME),
            At::Within | At::Named => {
                self.attribute = c.into();
                self.at = At::Name;
            }
            At::Assigned if space => {}
            At::Assigned if matches!(c, '"' | '\'') => self.at = At::Quoted(c),
            At::Assigned => self.at = At::Bare,
            At::Bare if space => self.at = At::Within,
            At::Bare => {}
            At::Quoted(quote) if c == *quote => self.at = At::Within,
            At::Quoted(_) => push(&mut self.value, c, BEGINNING),
            At::Raw { element, tail, commented } => {
                let over = tail.strip_prefix("</").is_some_and(|name| name == *element);
                if over && c == '>' {
                    self.at = At::Text;
                } else if over && (space || c == '/') {
                    self.tag = tail.split_off(1);
                    self.at = At::Within;
                } else {
                    if matches!(c, '<' | '>') && !(c == '>' && tail.ends_with("--")) {
                        tail.clear();
                    }
                    push(tail, c, NAME);
                    match tail.as_str() {
                        "<!--" => *commented = true,
                        // A script in a comment in a script: its end is not the end.
                        "<script" if *commented && *element == "script" => self.at = At::Lost,
                        ended if ended.ends_with("-->") => *commented = false,
                        _ => {}
                    }
                }
            }
        }
    }

    /// Behind a tag.
    fn close(&mut self) {
        let raw = RAW.into_iter().find(|raw| *raw == self.tag);
        self.at = raw.map_or(At::Text, |element| At::Raw { element, tail: String::new(), commented: false });
    }

    /// Whether a value that a client chose could do harm here, though it is escaped.
    pub(super) fn danger(&self) -> Option<Wrong> {
        let name = || ascii(&self.attribute);
        let (message, hint) = match &self.at {
            At::Text => return None,
            At::Raw { element, .. } if TEXT.contains(element) => return None,
            At::Raw { element, .. } => (
                format!("a placeholder inside <{element}>: what a client sends could change what it does"),
                "put it into the text of the page",
            ),
            At::Comment(_) | At::Declaration => (
                "a placeholder in a comment: what a client sends could end it".to_owned(),
                "put it into the text of the page",
            ),
            At::Assigned | At::Bare => {
                ("a placeholder in a tag, without quotes around it".to_owned(), "put quotes around it")
            }
            At::Open(_) | At::Tag | At::Within | At::Name | At::Named => (
                "a placeholder in a tag, outside of quotes: what a client sends could change what the tag does"
                    .to_owned(),
                "put it into the text of the page, or between the quotes of title, alt, value, class or data-...",
            ),
            At::Lost => (
                "a placeholder behind <![CDATA[ or a script within a script: who reads what as code is not sure there"
                    .to_owned(),
                "put it in front of that",
            ),
            At::Quoted(_) if self.is_mere_text() => return None,
            At::Quoted(_) if ADDRESSES.contains(&(&self.tag, &self.attribute)) => {
                if leads_somewhere(&self.value) {
                    return None;
                }
                (
                    format!("a placeholder at the beginning of {}: a client would choose where it leads", name()),
                    "begin with an address of your own: /page?id=, or https://HOST/",
                )
            }
            At::Quoted(_) => {
                let does = match &*self.attribute {
                    code if code.starts_with("on") => "is code there",
                    "style" => "could change the whole page",
                    "srcdoc" => "is a page of its own there",
                    _ => "could change what the tag does",
                };
                (
                    format!("a placeholder in {}: what a client sends {does}", name()),
                    "put it into the text of the page, or into title, alt, value, class or data-...",
                )
            }
        };
        Some(Wrong::new(message, hint))
    }

    fn is_mere_text(&self) -> bool {
        let name = &*self.attribute;
        MERE.contains(&name) || name.starts_with("aria-") || name.starts_with("data-")
    }
}

fn push(text: &mut String, c: char, most: usize) {
    if text.len() < most {
        text.push(c);
    }
}

/// Is it settled already which scheme, host and folder this address has? `/` alone is not: one more makes it another
/// host.
fn leads_somewhere(address: &str) -> bool {
    let address = address.trim_ascii_start();
    let own = address.strip_prefix('/').is_some_and(|path| path.starts_with(|c: char| c.is_ascii_alphanumeric()));
    let host = ["http://", "https://"].iter().find_map(|scheme| address.strip_prefix(scheme));
    let host = host.is_some_and(|host| host.find(['/', '?', '#']).is_some_and(|end| end > 0));
    own || host || address.starts_with(['?', '#']) || address.starts_with("mailto:")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(before: &str) -> Option<String> {
        let mut markup = Markup::default();
        markup.read(before);
        markup.danger().map(|wrong| wrong.message)
    }

    #[test]
    fn text_is_where_a_browser_takes_it_for_text() {
        for before in [
            "",
            "<p>",
            "a < b, and <3 ",
            "<title>",
            "<textarea>",
            "<b title=\"a>b\">",
            "<p title='",
            "<p\ntitle = \"a > b ",
            "<input value=\"",
            "<img alt='it\"s ",
            "<p data-id='",
            "<p aria-label='",
            "<!-- a -->",
            "<!--><p>",
            "<!doctype html><p>",
            "<script>if (a<b) '</p>'</script>",
            "<script><!-- 1 //--></script >",
            "<style>a>b{}</style>",
            "<STYLE></Style\n>",
            "<a href='/help?id=",
            "<a href=\"https://status.example/?id=",
            "<a href='mailto:ops@shop.example?subject=",
            "<form action='/retry/",
            "</p onclick='>'>",
        ] {
            assert_eq!(said(before), None, "{before}");
        }
    }

    #[test]
    fn everywhere_else_it_is_refused() {
        for (before, part) in [
            ("<p onclick=\"f('", "in onclick: what a client sends is code there"),
            ("<p OnClick='", "in onclick"),
            ("<p style=\"a:", "in style"),
            ("<iframe srcdoc=\"", "in srcdoc: what a client sends is a page"),
            ("<a title=\"a>b\" href=", "without quotes"),
            ("<a href=\"", "at the beginning of href: a client would choose"),
            ("<a href=\"/", "at the beginning of href"),
            ("<a href=\"//", "at the beginning of href"),
            ("<a href=\"/\t", "at the beginning of href"),
            ("<a href=\"https://", "at the beginning of href"),
            ("<a href=\"https://shop", "at the beginning of href"),
            ("<a href=\"javascript:f('", "at the beginning of href"),
            ("<img src=' ", "at the beginning of src"),
            ("<form action='", "at the beginning of action"),
            ("<script src='/a/", "in src"),
            ("<iframe src='/a/", "in src"),
            ("<base href='/a/", "in href"),
            ("<svg><a xlink:href='#", "in xlink:href"),
            ("<meta http-equiv=refresh content='0;url=", "in content"),
            ("<p x-data='", "in x-data"),
            ("<p id='a' ", "outside of quotes"),
            ("<p ", "outside of quotes"),
            ("<", "outside of quotes"),
            ("</", "outside of quotes"),
            ("<p title='a' onclick='", "in onclick"),
            ("<p title=a/onclick='", "without quotes"),
            ("<p title='a'onclick='", "in onclick"),
            ("<!-- ", "in a comment"),
            ("<!-- > -- ", "in a comment"),
            ("<!DOCTYPE ", "in a comment"),
            ("<script>a = '</style>", "inside <script>"),
            ("<script x='1'>", "inside <script>"),
            ("<script><!-- </scriptx>", "inside <script>"),
            ("<script><!-- <script></script>", "not sure"),
            ("<svg><![CDATA[>", "not sure"),
            ("<noscript>", "inside <noscript>"),
        ] {
            let said = said(before).unwrap_or_else(|| panic!("{before} is taken for safe"));
            assert!(said.contains(part), "{before}: {said}");
        }
    }

    proptest! {
        /// Whatever text the page has, and however it is cut.
        #[test]
        fn it_does_not_matter_where_a_page_is_cut(pieces in proptest::collection::vec("[<>/!a-b='\" -]{0,6}|<script>|</script>|<!--|-->", 0..12)) {
            let (mut apart, mut whole) = (Markup::default(), Markup::default());
            pieces.iter().for_each(|piece| apart.read(piece));
            whole.read(&pieces.concat());
            prop_assert_eq!(apart.at, whole.at);
        }
    }
}

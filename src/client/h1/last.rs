//! The head of an answer, by that of the last one on the connection: an upstream says nearly the same each time, the
//! same fields in the same order, many with the same values, and often the same bytes. What is the same needs no parser
//! and no copy.
//!
//! Pure. It knows nothing of grammar: it takes bytes only where the parser has taken the same ones before, or where a
//! value stands that is one beyond doubt. All else it leaves to the parser ([`answer::take`](super::answer::take)).

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, Version};

use super::answer::{Answer, Said};

/// Longer heads are not remembered.
const LONGEST: usize = 4 << 10;
/// So many other heads in a row, and the newest is the one that is remembered.
const PATIENCE: u8 = 4;

/// The last head of a connection, if there is one to go by.
#[derive(Debug, Default)]
pub(super) struct Last {
    head: Option<Box<Head>>,
    /// A field that whoever gets the answers adds to them: they have it already, without a value, so that it takes no
    /// new place.
    pub(super) adds: Option<HeaderName>,
    missed: u8,
}

#[derive(Clone, Debug)]
struct Head {
    /// All of it, as it was the last time; empty where that is not known.
    bytes: Vec<u8>,
    status: StatusCode,
    version: Version,
    /// All that stands between the values: first the line of status and the first name, at the end the empty line.
    gaps: Vec<u8>,
    /// Where in `gaps` each ends, and whether the value behind it has a say in the framing. The last one has no value.
    ends: Vec<(usize, bool)>,
    /// Each name once, in the order of the lines; behind them may be the one that is added.
    fields: HeaderMap,
    /// What the lines say that are in no field.
    said: Said,
    /// What all of them said the last time, if no value that has a say has changed since.
    all_said: Option<Said>,
}

impl Last {
    /// The answer at the beginning of `input`, and how long its head is; `None` if it must be parsed.
    pub(super) fn take(&mut self, input: &[u8], to_head: bool) -> Option<(Answer, usize)> {
        let taken = self.head.as_mut()?.take(input, to_head);
        self.missed = if taken.is_some() { 0 } else { self.missed.saturating_add(1) };
        taken
    }

    /// Lets go of what it remembers.
    pub(super) fn forget(&mut self) {
        self.head = None;
    }

    /// Is it time to remember another one?
    pub(super) const fn is_spent(&self) -> bool {
        self.head.is_none() || self.missed >= PATIENCE
    }

    /// Remembers this head, of which the fields are `parsed`, and those that are passed on are in `answer`; unless it
    /// is too odd, or not final.
    pub(super) fn remember(&mut self, head: &[u8], parsed: &[httparse::Header<'_>], to_head: bool, answer: &Answer) {
        if head.len() <= LONGEST && !answer.status.is_informational() {
            let mut answer = answer.clone();
            if let Some(name) = &self.adds {
                answer.fields.entry(name).or_insert(HeaderValue::from_static(""));
            }
            self.head = Head::of(head, parsed, &answer, self.adds.as_ref())
                .filter(|new| new.clone().take(head, to_head).is_some_and(|again| again == (answer, head.len())))
                .map(Box::new);
            self.missed = 0;
        }
    }
}

impl Head {
    fn of(head: &[u8], parsed: &[httparse::Header<'_>], answer: &Answer, added: Option<&HeaderName>) -> Option<Self> {
        let fields = &answer.fields;
        let mut new = Self {
            bytes: Vec::new(),
            status: answer.status,
            version: answer.version,
            gaps: Vec::with_capacity(head.len()),
            ends: Vec::with_capacity(fields.len() + 1),
            fields: fields.clone(),
            said: Said::default(),
            all_said: None,
        };
        let mut passed = fields.iter().peekable();
        let mut from = 0;
        for field in parsed {
            let Some((name, value)) = passed.next_if(|(name, _)| name.as_str().eq_ignore_ascii_case(field.name)) else {
                // What is not passed on is a part of the gap, line by line.
                new.said.note(&field.name.to_ascii_lowercase(), field.value, false).ok()?;
                continue;
            };
            let start = field.value.as_ptr().addr().checked_sub(head.as_ptr().addr())?;
            new.gap(head.get(from..start)?, Said::hears(name.as_str()))?;
            from = start + value.len();
        }
        new.gap(head.get(from..)?, false)?;
        // One line for each name, but for what is added.
        (passed.all(|(name, _)| Some(name) == added) && fields.keys_len() == fields.len()).then_some(new)
    }

    /// `None` where the line before it does not end as it should.
    fn gap(&mut self, bytes: &[u8], heard: bool) -> Option<()> {
        if !self.ends.is_empty() && !bytes.starts_with(b"\r\n") {
            return None;
        }
        self.gaps.extend_from_slice(bytes);
        self.ends.push((self.gaps.len(), heard));
        Some(())
    }

    fn take(&mut self, input: &[u8], to_head: bool) -> Option<(Answer, usize)> {
        if self.bytes.is_empty() || !input.starts_with(&self.bytes) {
            self.follow(input)?;
        }
        let said = match self.all_said {
            Some(said) => said,
            None => *self.all_said.insert(self.hear()?),
        };
        let (framing, keeps) = said.framing(self.status, self.version, to_head).ok()?;
        let (status, version, fields) = (self.status, self.version, self.fields.clone());
        Some((Answer { status, version, fields, framing, keeps, idle: said.idle }, self.bytes.len()))
    }

    /// Takes over the values that have changed.
    fn follow(&mut self, input: &[u8]) -> Option<()> {
        let (mut at, mut from) = (0, 0);
        let (_, lines) = self.ends.split_last()?;
        // Where it goes wrong, the values are no longer those of the bytes.
        self.bytes.clear();
        for ((end, heard), value) in lines.iter().zip(self.fields.values_mut()) {
            let gap = &self.gaps[from..*end];
            let rest = input.get(at..)?.strip_prefix(gap)?;
            (at, from) = (at + gap.len(), *end);
            let same = rest.strip_prefix(value.as_bytes()).is_some_and(|behind| behind.starts_with(b"\r\n"));
            if !same {
                *value = other(rest)?;
                if *heard {
                    self.all_said = None;
                }
            }
            at += value.len();
        }
        let gap = &self.gaps[from..];
        let head = input.get(..at + gap.len()).filter(|head| head.ends_with(gap))?;
        self.bytes.extend_from_slice(head);
        Some(())
    }

    /// What the lines say as they are now; `None` where the parser has more to do than to note it.
    fn hear(&self) -> Option<Said> {
        let mut said = self.said;
        for ((name, value), _) in self.fields.iter().zip(&self.ends).filter(|(_, (_, heard))| *heard) {
            if !said.note(name.as_str(), value.as_bytes(), false).ok()? {
                return None;
            }
        }
        (said.lengths <= 1).then_some(said)
    }
}

/// The value that stands at the beginning of these bytes, on a line that ends as it should.
fn other(rest: &[u8]) -> Option<HeaderValue> {
    let (value, end) = rest.split_at(rest.iter().position(|b| *b == b'\r')?);
    let plain = end.starts_with(b"\r\n") && !value.is_empty() && value.trim_ascii().len() == value.len();
    if plain { HeaderValue::from_bytes(value).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use http::header;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::super::answer::{Refused, take};
    use super::*;

    const STATUS: &[&str] = &[
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\n",
        "HTTP/1.0 200 OK\r\n",
        "HTTP/1.1 304 \r\n",
        "HTTP/1.1 204\r\n",
        "HTTP/1.1 101 Switching\r\n",
        "HTTP/1.1 103 Hints\r\n",
    ];
    const NAMES: &[&str] = &[
        "Content-Length",
        "content-length",
        "Transfer-Encoding",
        "Connection",
        "Keep-Alive",
        "Date",
        "dATE",
        "Server",
        "Set-Cookie",
        "X Y",
        "",
    ];
    const BEFORE: &[&str] = &[": ", ": ", ": ", ":", ":  ", ":\t", " : "];
    const VALUES: &[&str] = &[
        "5",
        "55",
        "0",
        "5, 5",
        "+5",
        "chunked",
        "gzip",
        "close",
        "keep-alive",
        "keep-alive, close",
        "upgrade",
        "timeout=9",
        "timeout=5",
        "a",
        "a b",
        "ab",
        "",
        " ",
        "\u{e9}",
        "a\tb",
        "a\0b",
        "a\rb",
        "a\nb",
        "a\r\n b",
    ];
    const AFTER: &[&str] = &["\r\n", "\r\n", "\r\n", "\r\n", "\n", " \r\n", "\r\r\n"];

    type Line = (&'static str, &'static str, &'static str, &'static str);

    fn line() -> impl Strategy<Value = Line> {
        (select(NAMES), select(BEFORE), select(VALUES), select(AFTER))
    }

    fn head(status: &str, lines: &[Line]) -> String {
        let lines: String =
            lines.iter().map(|(name, before, value, after)| [*name, before, value, after].concat()).collect();
        format!("{status}{lines}\r\nbody")
    }

    fn taken(text: &[u8], to_head: bool, last: &mut Last) -> (Result<Option<Answer>, Refused>, BytesMut) {
        let mut input = BytesMut::from(text);
        (take(&mut input, to_head, last), input)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        /// Heads that are nearly those before them are taken as if there had been none before.
        #[test]
        fn what_was_before_changes_nothing(
            status in select(STATUS),
            lines in proptest::collection::vec(line(), 0..6),
            changes in proptest::collection::vec((0..8_usize, line(), 0..5_u8, any::<bool>(), 0..400_usize), 1..12),
            adds in select(vec![None, Some(header::EXPECT), Some(header::SERVER)]),
        ) {
            let (mut status, mut lines, mut last) = (status, lines, Last { adds: adds.clone(), ..Last::default() });
            for (place, line, how, to_head, cut) in changes {
                match lines.get_mut(place) {
                    Some(old) if how == 0 => *old = line,
                    Some((.., value, _)) => *value = line.2,
                    None if how == 0 => lines.push(line),
                    None if how == 1 => status = STATUS[place % STATUS.len()],
                    None => {}
                }
                let text = head(status, &lines);
                let text = &text.as_bytes()[..if how == 4 { cut.min(text.len()) } else { text.len() }];
                let (mut taken_now, rest) = taken(text, to_head, &mut last);
                let (as_it_is, its_rest) = taken(text, to_head, &mut Last::default());
                if let (Ok(Some(now)), Ok(Some(answer)), Some(name)) = (&mut taken_now, &as_it_is, &adds)
                    && !answer.fields.contains_key(name)
                {
                    let added = now.fields.remove(name);
                    prop_assert!(added.is_none_or(|value| value.is_empty()));
                }
                prop_assert_eq!((taken_now, rest), (as_it_is, its_rest));
            }
        }
    }

    #[test]
    fn a_head_like_the_last_one_is_not_parsed() {
        let head = |date: &str, length: &str| {
            format!(
                "HTTP/1.1 200 OK\r\nServer: x\r\nDate: {date}\r\nConnection: keep-alive\r\nContent-Length: {length}\r\n\r\n"
            )
        };
        let mut last = Last::default();
        let (first, _) = taken(head("now", "5").as_bytes(), false, &mut last);
        assert!(first.unwrap().unwrap().keeps);
        for (date, length) in [("now", "5"), ("then", "5"), ("then", "512")] {
            let text = head(date, length);
            let (answer, taken) = last.take(text.as_bytes(), false).unwrap();
            assert_eq!((&answer.fields["date"], taken), (&HeaderValue::from_str(date).unwrap(), text.len()));
        }
        for odd in
            [head("now", "5x"), head(" now", "5"), head("", "5"), head("now", "5").replace("keep-alive", "close")]
        {
            assert!(last.take(odd.as_bytes(), false).is_none(), "{odd}");
        }
        assert!(last.is_spent(), "the next one is remembered");
    }

    #[test]
    fn what_is_added_has_its_place_already() {
        let mut last = Last { adds: Some(header::VIA), ..Last::default() };
        let text = "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 0\r\n\r\n";
        let (first, _) = taken(text.as_bytes(), false, &mut last);
        assert!(!first.unwrap().unwrap().fields.contains_key("via"));
        let (second, _) = last.take(text.as_bytes(), false).unwrap();
        assert_eq!((second.fields.len(), &second.fields["via"]), (3, &HeaderValue::from_static("")));
        // One that the upstream sends is the upstream's.
        let (text, mut last) = (text.replace("Server", "Via"), Last { adds: Some(header::VIA), ..Last::default() });
        taken(text.as_bytes(), false, &mut last).0.unwrap();
        assert_eq!(last.take(text.as_bytes(), false).unwrap().0.fields["via"], "x");
    }
}

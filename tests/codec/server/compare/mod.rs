//! One client's bytes, seen through two servers: what came, what each made of it, and what it wrote. The oracle is
//! hyper's server. Both stand behind a socket of this machine, and the client says its next piece when nothing moves
//! any more: nobody waits for real time. The fuzz target shares it.

pub mod oracle;
pub mod reply;
pub mod rule;
pub mod stage;
pub mod subject;
pub mod talk;

use bytes::Bytes;
use http::{HeaderMap, Version};

/// `limits.head` of both, bytes.
pub const HEAD_LIMIT: usize = 8 << 10;
/// The most fields that both take in a head.
pub const FIELDS_LIMIT: usize = 20;

/// A longer head without an end is looked at again only now and then: what it is may be said sooner or later.
pub const EAGER: usize = 1 << 10;

/// What a handler does with a body before it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reads {
    /// Reads it to its end.
    #[default]
    Whole,
    /// Leaves it.
    Nothing,
}

/// What a client says, and how it comes.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    pub stream: &'a [u8],
    /// Each piece ends at the next of these offsets; ascending.
    pub cuts: &'a [usize],
    pub reads: Reads,
    /// Its end comes with the last byte, not when nothing moves any more.
    pub hurries: bool,
}

/// What one server made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    pub requests: Vec<Seen>,
    pub end: End,
    /// All that the client was told.
    pub written: Vec<u8>,
}

/// A request, as a handler saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub version: Version,
    pub fields: Fields,
    pub body: Bytes,
    pub trailers: Option<Fields>,
    /// The words of the error that ended the body.
    pub cut: Option<String>,
}

/// How a connection stood when the client had said all, and nothing moved any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// What came was no head: the words are for the reader of a failed test.
    Refused(String),
    /// Nothing more was read.
    Closed,
    /// More was waited for.
    Open,
}

/// Names and values in order: by name in the order of first mention, then in the order of their lines.
pub type Fields = Vec<(String, Bytes)>;

pub fn fields(headers: &HeaderMap) -> Fields {
    headers.iter().map(|(name, value)| (name.to_string(), Bytes::copy_from_slice(value.as_bytes()))).collect()
}

/// Holds the codec against hyper: the stream whole, then split as `case` says. Gives the allowances that were used.
///
/// # Errors
/// What is wrong, in words.
pub async fn check(case: &Case<'_>, subject: &subject::Subject) -> Result<Vec<&'static str>, String> {
    let whole = Case { cuts: &[], ..*case };
    let codec = subject.observe(&whole).await;
    let used = rule::judge(&whole, &oracle::observe(&whole).await, &codec)?;
    if !case.cuts.is_empty() {
        unsplit(case, &codec, subject).await?;
    }
    Ok(used)
}

/// That the codec sees the same in `case` as in `whole`, which is the same stream in one piece.
///
/// # Errors
/// What differs, in words.
pub async fn unsplit(case: &Case<'_>, whole: &Observed, subject: &subject::Subject) -> Result<(), String> {
    let split = subject.observe(case).await;
    if split.settled() == whole.settled() {
        return Ok(());
    }
    let refuses = |observed: &Observed| matches!(observed.end, End::Refused(_));
    if case.stream.len() > EAGER && refuses(&split) != refuses(whole) && split.requests == whole.requests {
        return Ok(());
    }
    Err(format!("{case}\n  whole: {}\n  split: {}", short(whole), short(&split)))
}

impl Observed {
    /// What must not depend on how the bytes were split. How much of a broken body is passed on before it breaks may,
    /// and so what is told of it.
    pub fn settled(&self) -> (Vec<Seen>, Option<End>, Option<reply::Told>) {
        let mut requests = self.requests.clone();
        let broken = requests.last_mut().is_some_and(|last| last.settle());
        let end = match &self.end {
            End::Refused(_) => End::Refused(String::new()),
            end => end.clone(),
        };
        let told = reply::told(&self.written, &requests).unwrap_or_default();
        (requests, (!broken).then_some(end), (!broken).then_some(told))
    }
}

impl Seen {
    fn settle(&mut self) -> bool {
        let Some(words) = &mut self.cut else { return false };
        words.clear();
        self.body = Bytes::new();
        true
    }
}

/// Long ones without their middle.
pub fn short(observed: &Observed) -> String {
    let Observed { requests, end, written } = observed;
    shortened(format!("{end:?} {requests:?}\n    told \"{}\"", written.escape_ascii()))
}

fn shortened(text: String) -> String {
    const SHOWN: usize = 900;
    if text.len() <= 2 * SHOWN {
        return text;
    }
    let (head, tail) = (text.floor_char_boundary(SHOWN), text.ceil_char_boundary(text.len() - SHOWN));
    format!("{} [{} bytes left out] {}", &text[..head], tail - head, &text[tail..])
}

impl std::fmt::Display for Case<'_> {
    /// For the reader of a failed test, to be copied into a new one.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { stream, cuts, reads, hurries } = self;
        let stream = shortened(stream.escape_ascii().to_string());
        let cuts = if cuts.len() > 9 { &[] } else { *cuts };
        write!(f, "{reads:?} hurries={hurries} cuts={cuts:?}\n  b\"{stream}\"")
    }
}

/// Both sides of every connection run on this; no timer of it is ever waited for.
pub fn one_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

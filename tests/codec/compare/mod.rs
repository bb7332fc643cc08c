//! One scripted answer, seen through two codecs: what is asked, what comes back, and what both made of it. The oracle
//! is hyper's client. Nothing here opens a socket or waits for real time; the fuzz target shares it.

pub mod oracle;
pub mod rule;
pub mod script;
pub mod subject;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, StatusCode, Version};
use http_body::Body;
use http_body_util::Full;
use std::time::Duration;

/// `buffers.response_head` of both codecs, bytes.
pub const HEAD_LIMIT: usize = 8 << 10;
/// The most fields that both codecs take in a head.
pub const FIELDS_LIMIT: usize = 256;
/// Silence for this long is taken for silence for ever. The clock is paused: it costs nothing.
pub const SILENCE: Duration = Duration::from_secs(30);
/// What the next request on the same connection is answered with.
pub const SECOND: &[u8] = b"HTTP/1.1 203 Second\r\nX-Second: yes\r\nContent-Length: 6\r\n\r\nsecond";

pub type RequestBody = Full<Bytes>;

/// What is asked for: it decides how the answer is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Get,
    Head,
    /// With a body of known length.
    Post,
    /// A GET that asks for `websocket`.
    Upgrade,
}

/// What comes behind the last byte of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// FIN.
    Eof,
    /// RST.
    Reset,
    /// Nothing: the connection stays open.
    Silence,
}

/// An answer, and how it arrives.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    pub kind: Kind,
    pub answer: &'a [u8],
    /// Each read ends at the next of these offsets; ascending.
    pub cuts: &'a [usize],
    /// Every read finds nothing first, and is woken.
    pub pauses: bool,
    /// The answer is there before the request.
    pub early: bool,
    pub tail: Tail,
}

/// What one codec made of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// No head: the words are for the reader of a failed test.
    Refused(String),
    Answered(Answer),
}

/// A final head, and what came behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub version: Version,
    pub status: StatusCode,
    pub fields: Fields,
    pub body: Bytes,
    pub trailers: Option<Fields>,
    pub end: End,
    pub again: Again,
}

/// How a body ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Complete,
    /// By an error, in these words.
    Cut(String),
    /// It did not.
    Waits,
    /// There is none: a tunnel took these bytes.
    Tunnel(Bytes),
}

/// What the next request on the same connection met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Again {
    /// There was no next request, or it failed.
    Closed,
    /// Its own answer.
    Answered,
    /// An answer that nobody sent: a part of the first one. Never right.
    Poisoned(String),
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Get, Self::Head, Self::Post, Self::Upgrade];

    /// The request, in its final form.
    pub fn request(self) -> Request<RequestBody> {
        let builder = Request::builder().uri("/path?query").header("host", "origin");
        let (builder, body) = match self {
            Self::Get => (builder, ""),
            Self::Head => (builder.method(Method::HEAD), ""),
            Self::Post => (builder.method(Method::POST).header("content-length", "4"), "body"),
            Self::Upgrade => (builder.header("connection", "upgrade").header("upgrade", "websocket"), ""),
        };
        builder.body(Full::from(body)).expect("a request")
    }
}

/// Holds the codec against hyper: the answer whole, then split as `case` says. Gives the allowances that were used.
///
/// # Errors
/// What is wrong, in words.
pub async fn check(case: &Case<'_>) -> Result<Vec<&'static str>, String> {
    let whole = Case { cuts: &[], pauses: false, ..*case };
    let codec = subject::observe(&whole).await;
    let used = rule::judge(&whole, &oracle::observe(&whole).await, &codec)?;
    if !case.cuts.is_empty() || case.pauses {
        unsplit(case, &codec).await?;
    }
    Ok(used)
}

/// That the codec sees the same in `case` as in `whole`, which is the same answer in one piece.
///
/// # Errors
/// What differs, in words.
pub async fn unsplit(case: &Case<'_>, whole: &Observed) -> Result<(), String> {
    let split = subject::observe(case).await;
    if split.settled() == whole.settled() {
        return Ok(());
    }
    Err(format!("{case}\n  whole: {}\n  split: {}", short(whole), short(&split)))
}

/// Long ones without their middle.
pub fn short(observed: &Observed) -> String {
    shortened(format!("{observed:?}"))
}

fn shortened(text: String) -> String {
    const SHOWN: usize = 600;
    if text.len() <= 2 * SHOWN {
        return text;
    }
    let (head, tail) = (text.floor_char_boundary(SHOWN), text.ceil_char_boundary(text.len() - SHOWN));
    format!("{} [{} bytes left out] {}", &text[..head], tail - head, &text[tail..])
}

impl std::fmt::Display for Case<'_> {
    /// For the reader of a failed test, to be copied into a new one.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, tail, early, cuts, pauses, answer } = self;
        let answer = shortened(answer.escape_ascii().to_string());
        let cuts = if cuts.len() > 9 { &[] } else { *cuts };
        write!(f, "{kind:?} {tail:?} early={early} pauses={pauses} cuts={cuts:?}\n  b\"{answer}\"")
    }
}

impl Observed {
    /// What must not depend on how the bytes were split. How much of a broken body is passed on before it breaks may:
    /// only its head is compared.
    pub fn settled(&self) -> Self {
        match self {
            Self::Refused(_) => Self::Refused(String::new()),
            Self::Answered(answer) => {
                let mut answer = answer.clone();
                if let End::Cut(words) = &mut answer.end {
                    words.clear();
                    answer.body = Bytes::new();
                }
                Self::Answered(answer)
            }
        }
    }
}

/// Names and values in order: by name in the order of first mention, then in the order of their lines.
pub type Fields = Vec<(String, Bytes)>;

pub fn fields(headers: &HeaderMap) -> Fields {
    headers.iter().map(|(name, value)| (name.to_string(), Bytes::copy_from_slice(value.as_bytes()))).collect()
}

/// Reads a body to its end, to its error, or to a silence.
pub async fn read<B>(mut body: B) -> (Bytes, Option<Fields>, End)
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Debug,
{
    use http_body_util::BodyExt;
    let (mut content, mut trailers) = (BytesMut::new(), None);
    let end = loop {
        match tokio::time::timeout(SILENCE, body.frame()).await {
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => content.extend_from_slice(&data),
                Err(frame) => trailers = frame.trailers_ref().map(fields),
            },
            Ok(Some(Err(error))) => break End::Cut(format!("{error:?}")),
            Ok(None) => break End::Complete,
            Err(_elapsed) => break End::Waits,
        }
    };
    (content.freeze(), trailers, end)
}

/// Reads a tunnel to its end or to a silence.
pub async fn drain(mut tunnel: impl tokio::io::AsyncRead + Unpin) -> Bytes {
    use tokio::io::AsyncReadExt;
    let mut bytes = Vec::new();
    // What was read before a silence or a reset stays in `bytes`.
    let _ = tokio::time::timeout(SILENCE, tunnel.read_to_end(&mut bytes)).await;
    bytes.into()
}

/// Runs something on a clock that jumps to the next event as soon as nothing else is left to do.
pub fn timeless() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().expect("a runtime")
}

//! Which form of an answer a client wants: Accept with its q-values (RFC 9110 §12.5.1), and what can be found in a
//! head that could not be read.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

/// The form of an annotated error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `application/problem+json`: also for `*/*`, for no Accept, and where nothing fits.
    Json,
    /// `text/html`
    Html,
    /// `text/plain`
    Text,
    /// Trailers-only, status 200.
    Grpc,
    /// The same for gRPC-Web, whose clients insist on a type of their own.
    GrpcWeb,
}

/// The specificity of a range without a star; what JSON is called beyond that makes it no dearer than others.
const NAMED: u8 = 2;

impl Form {
    /// The form that a request with these fields wants.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        // `application/grpc`, alone or with what its messages are made of; `-web` reads the same fields.
        let grpc = |value: &HeaderValue| {
            let (start, rest) = value.as_bytes().split_at_checked(16).unwrap_or_default();
            match rest.first() {
                _ if !start.eq_ignore_ascii_case(b"application/grpc") => None,
                Some(b'-') => Some(Self::GrpcWeb),
                None | Some(b'+' | b';' | b' ') => Some(Self::Grpc),
                Some(_) => None,
            }
        };
        if let Some(form) = headers.get(CONTENT_TYPE).and_then(grpc) {
            return form;
        }
        let ranges = || headers.get_all(ACCEPT).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
        // `max_by_key` keeps the last of equals: the order is from the least preferred to the most.
        [Self::Text, Self::Html, Self::Json]
            .into_iter()
            .map(|form| (form, form.wanted(ranges())))
            .filter(|(_, (q, _))| *q > 0)
            .max_by_key(|(_, wanted)| *wanted)
            .map_or(Self::Json, |(form, _)| form)
    }

    /// How much this form is wanted: thousandths of q from the most specific range that takes it, and how specific
    /// that is (so that `text/plain, */*` means text).
    fn wanted<'a>(self, ranges: impl Iterator<Item = &'a str>) -> (u16, u8) {
        ranges
            .filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                let specificity = self.takes(parts.next()?)?;
                let q = parts
                    .find_map(|p| p.strip_prefix("q=").or_else(|| p.strip_prefix("Q=")))
                    .map_or(Some(1000), thousandths)?;
                Some((q, specificity))
            })
            .max_by_key(|(_, specificity)| *specificity)
            .map_or((0, 0), |(q, specificity)| (q, specificity.min(NAMED)))
    }

    /// How narrowly a range names this form, if it does.
    fn takes(self, range: &str) -> Option<u8> {
        let levels: [&str; 4] = match self {
            Self::Json => ["*/*", "application/*", "application/json", "application/problem+json"],
            Self::Html => ["*/*", "text/*", "text/html", "text/html"],
            Self::Text => ["*/*", "text/*", "text/plain", "text/plain"],
            Self::Grpc | Self::GrpcWeb => return None,
        };
        levels.iter().rposition(|level| level.eq_ignore_ascii_case(range)).map(|level| level as u8)
    }
}

/// `0.5` → 500. What is no weight (RFC 9110 §12.4.2) makes its range void.
fn thousandths(q: &str) -> Option<u16> {
    let q: f32 = q.trim().parse().ok()?;
    (0.0..=1.0).contains(&q).then_some((q * 1000.0) as u16)
}

/// What could be found in a head that could not be read.
#[derive(Clone, Debug)]
pub struct Scan {
    /// GET if unclear.
    pub method: Method,
    /// `/` if unclear.
    pub uri: Uri,
    /// The fields that look sound, at most 100. Not proof of anything: the head may have been cut.
    pub headers: HeaderMap,
}

/// Reads as much of a broken head as looks sound: lines, tolerant of everything, believed in nothing but the form of
/// the answer and the text of the log.
#[must_use]
pub fn scan(raw: &[u8]) -> Scan {
    let mut lines = raw.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
    let mut words = lines.next().unwrap_or_default().split(|b| *b == b' ').filter(|word| !word.is_empty());
    let method = words.next().filter(|word| word.len() <= 20).and_then(|word| Method::from_bytes(word).ok());
    let uri = words.next().filter(|_| method.is_some()).and_then(target);
    let mut headers = HeaderMap::new();
    for line in lines.take(100) {
        let mut halves = line.splitn(2, |b| *b == b':');
        let (Some(name), Some(value)) = (halves.next(), halves.next()) else { continue };
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value.trim_ascii())) {
            headers.append(name, value);
        }
    }
    Scan { method: method.unwrap_or(Method::GET), uri: uri.unwrap_or_else(|| Uri::from_static("/")), headers }
}

/// What stood there, as near as a target can say it: what may not stand in one is percent-encoded.
fn target(word: &[u8]) -> Option<Uri> {
    Uri::try_from(word).ok().or_else(|| {
        let sound = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:/?@!$&'()*+,;=%".contains(byte);
        let mut text = String::with_capacity(word.len());
        for byte in word {
            if sound(byte) { text.push(char::from(*byte)) } else { text.push_str(&format!("%{byte:02X}")) }
        }
        Uri::try_from(text).ok()
    })
}

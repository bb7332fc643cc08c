//! Chunks (RFC 9112 §7.1), out of the bytes of a connection: their contents, and the trailers behind the last one.
//! Pure.
//!
//! Strict: a size is hexadecimal digits and no more than fit, a line ends in CRLF, a chunk is as long as it says. It
//! takes no byte that comes after the end.

use bytes::{Buf, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Bytes of extensions in all the lines of one body: nobody has a use for them.
const MAX_EXTENSIONS: usize = 16 << 10;
/// All trailers are shorter: it is the least that may be allowed to a head.
const MAX_TRAILERS: usize = 8 << 10;
/// Trailers.
const MAX_FIELDS: usize = 100;

/// Where a body in chunks is.
#[derive(Debug)]
pub(crate) struct Chunks {
    stage: Stage,
    /// Of the chunk whose size is being read, or what is left of the one that is.
    size: u64,
    /// Bytes seen of extensions.
    extra: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Before the first digit of a size.
    Size,
    /// After it.
    Digits,
    /// Spaces after a size.
    Padding,
    /// After a semicolon.
    Extension,
    /// The LF of a size's line.
    SizeLf,
    Content,
    /// The CR, then the LF, behind a content.
    ContentCr,
    ContentLf,
    Trailers,
    End,
}

/// What the bytes hold next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Content.
    Data(Bytes),
    /// The end of the body, with what came behind its last chunk.
    End(Option<Box<HeaderMap>>),
    /// Nothing whole: more bytes are needed.
    More,
}

/// A byte that cannot stand where it stands, or more than there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken(&'static str);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Broken {}

impl Chunks {
    pub(crate) const fn new() -> Self {
        Self { stage: Stage::Size, size: 0, extra: 0 }
    }

    /// The next piece of the body at the beginning of `input`.
    pub(crate) fn next(&mut self, input: &mut BytesMut) -> Result<Piece, Broken> {
        loop {
            match self.stage {
                Stage::Content if input.is_empty() => return Ok(Piece::More),
                Stage::Content => {
                    let length = usize::try_from(self.size).unwrap_or(usize::MAX).min(input.len());
                    self.size -= length as u64;
                    if self.size == 0 {
                        self.stage = Stage::ContentCr;
                    }
                    return Ok(Piece::Data(input.split_to(length).freeze()));
                }
                Stage::Trailers => return self.trailers(input),
                Stage::End => return Ok(Piece::End(None)),
                Stage::Size
                | Stage::Digits
                | Stage::Padding
                | Stage::Extension
                | Stage::SizeLf
                | Stage::ContentCr
                | Stage::ContentLf => {
                    if input.is_empty() {
                        return Ok(Piece::More);
                    }
                    self.line(input)?;
                }
            }
        }
    }

    /// Takes what is no content: lines of sizes, and the ends of contents.
    fn line(&mut self, input: &mut BytesMut) -> Result<(), Broken> {
        let mut taken = 0;
        for byte in input.iter() {
            self.stage = self.step(*byte)?;
            taken += 1;
            if matches!(self.stage, Stage::Content | Stage::Trailers) {
                break;
            }
        }
        input.advance(taken);
        Ok(())
    }

    fn step(&mut self, byte: u8) -> Result<Stage, Broken> {
        Ok(match (self.stage, byte) {
            (Stage::Size | Stage::Digits, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                let size = self.size.checked_mul(16).ok_or(Broken("a chunk size that is too large"))?;
                self.size = size + u64::from(digit);
                Stage::Digits
            }
            (Stage::Digits | Stage::Padding | Stage::Extension, b'\r') => Stage::SizeLf,
            // Some servers reserve a fixed width for the size. It takes no memory, so it needs no bound.
            (Stage::Digits | Stage::Padding, b' ' | b'\t') => Stage::Padding,
            (Stage::Digits | Stage::Padding, b';') => self.bounded(Stage::Extension)?,
            (Stage::Extension, b'\t' | b' '..=b'~' | 0x80..) => self.bounded(Stage::Extension)?,
            (Stage::SizeLf, b'\n') if self.size == 0 => Stage::Trailers,
            (Stage::SizeLf, b'\n') => Stage::Content,
            (Stage::ContentCr, b'\r') => Stage::ContentLf,
            (Stage::ContentLf, b'\n') => Stage::Size,
            (Stage::Size | Stage::Digits | Stage::Padding, _) => return Err(Broken("a chunk size that is no number")),
            (Stage::ContentCr | Stage::ContentLf, _) => return Err(Broken("a chunk that is longer than its size")),
            _ => return Err(Broken("a line of chunks that does not end in CRLF")),
        })
    }

    fn bounded(&mut self, stage: Stage) -> Result<Stage, Broken> {
        self.extra += 1;
        if self.extra > MAX_EXTENSIONS { Err(Broken("chunk extensions without end")) } else { Ok(stage) }
    }

    fn trailers(&mut self, input: &mut BytesMut) -> Result<Piece, Broken> {
        if input.starts_with(b"\r\n") {
            input.advance(2);
            self.stage = Stage::End;
            return Ok(Piece::End(None));
        }
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let (length, fields) = match httparse::parse_headers(input, &mut fields) {
            Ok(httparse::Status::Complete(parsed)) => parsed,
            Ok(httparse::Status::Partial) if input.len() < MAX_TRAILERS => return Ok(Piece::More),
            Ok(httparse::Status::Partial) => return Err(Broken("trailers without end")),
            Err(_) => return Err(Broken("trailers that are no fields")),
        };
        if length >= MAX_TRAILERS {
            return Err(Broken("trailers without end"));
        }
        let bare = |(at, byte): (usize, &u8)| *byte == b'\n' && (at == 0 || input[at - 1] != b'\r');
        if input[..length].iter().enumerate().any(bare) {
            return Err(Broken("a line of trailers that does not end in CRLF"));
        }
        let mut trailers = HeaderMap::with_capacity(fields.len());
        for field in fields {
            let (name, value) = (HeaderName::from_bytes(field.name.as_bytes()), HeaderValue::from_bytes(field.value));
            let (Ok(name), Ok(value)) = (name, value) else { return Err(Broken("trailers that are no fields")) };
            if may_trail(&name) {
                trailers.append(name, value);
            }
        }
        input.advance(length);
        self.stage = Stage::End;
        Ok(Piece::End((!trailers.is_empty()).then(|| Box::new(trailers))))
    }
}

/// May this field come behind a body? Never what framing, routing, security or the reading of the body stand on
/// (RFC 9110 §6.5.1), and nothing that belongs to one connection.
pub(crate) fn may_trail(name: &HeaderName) -> bool {
    const NEVER: [HeaderName; 19] = [
        header::AUTHORIZATION,
        header::CACHE_CONTROL,
        header::CONNECTION,
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::CONTENT_TYPE,
        header::COOKIE,
        header::EXPECT,
        header::HOST,
        header::MAX_FORWARDS,
        header::PROXY_AUTHORIZATION,
        header::RANGE,
        header::SET_COOKIE,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        HeaderName::from_static("keep-alive"),
    ];
    !NEVER.contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Content, trailers, and what is left behind them.
    type Read = (Vec<u8>, Option<HeaderMap>, Vec<u8>);

    /// What there is in bytes that come in these pieces.
    fn read(pieces: &[&[u8]]) -> Result<Read, &'static str> {
        let (mut chunks, mut input, mut content) = (Chunks::new(), BytesMut::new(), Vec::new());
        let mut end = None;
        for piece in pieces {
            input.extend_from_slice(piece);
            while end.is_none() {
                match chunks.next(&mut input).map_err(|broken| broken.0)? {
                    Piece::Data(data) => content.extend_from_slice(&data),
                    Piece::End(trailers) => end = Some(trailers),
                    Piece::More => break,
                }
            }
        }
        end.map(|trailers| (content, trailers.map(|map| *map), input.to_vec())).ok_or("more")
    }

    #[test]
    fn chunks_are_read_as_they_are_written() {
        let plain = |text: &str| read(&[text.as_bytes()]).map(|(content, ..)| String::from_utf8(content).unwrap());
        assert_eq!(plain("5\r\nhello\r\n0\r\n\r\n"), Ok("hello".into()));
        assert_eq!(plain("0\r\n\r\n"), Ok(String::new()));
        assert_eq!(plain("00005  ;a=\"b\"\r\nhello\r\n000\r\n\r\n"), Ok("hello".into()));
        assert_eq!(plain("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n").map(|text| text.len()), Ok(20));
        let (_, trailers, rest) = read(&[b"0\r\nX-Sum: 1\r\nContent-Length: 9\r\n\r\nnext"]).unwrap();
        assert_eq!(trailers.unwrap().iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["x-sum"]);
        assert_eq!(rest, b"next");
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for bad in [
            "\r\n",
            "g\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            " 1\r\n",
            "1\nx",
            "1\rx",
            "1;a\nx",
            "1;\0\r\nx",
            "1 2\r\n",
            "1\r\nxy",
            "1\r\nx\n",
            "1\r\nx\rz",
            "10000000000000000\r\n",
            "0\r\nbad line\r\n\r\n",
            "0\r\na: b\n\r\n",
            "0\r\n\n",
            "0\r\na: b\r\n c\r\n\r\n",
        ] {
            assert!(!matches!(read(&[bad.as_bytes()]), Ok(_) | Err("more")), "{bad:?}");
        }
        assert_eq!(read(&[b"ffffffffffffffff\r\nx"]), Err("more"));
        let long = format!("1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(MAX_EXTENSIONS + 1));
        assert!(read(&[long.as_bytes()]).is_err());
    }

    proptest! {
        #[test]
        fn nothing_depends_on_where_the_bytes_are_split(
            contents in prop::collection::vec("[a-z]{1,20}", 0..5), cuts in prop::collection::vec(0usize..150, 0..4),
        ) {
            let mut text: String = contents.iter().map(|c| format!("{:x}\r\n{c}\r\n", c.len())).collect();
            text.push_str("0\r\nx-a: b\r\n\r\nrest");
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).chain([0, text.len()]).collect();
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &text.as_bytes()[w[0]..w[1]]).collect();
            let (content, trailers, rest) = read(&pieces).unwrap();
            prop_assert_eq!(content, contents.concat().into_bytes());
            prop_assert_eq!(trailers.unwrap().len(), 1);
            prop_assert_eq!(rest, b"rest");
        }
    }
}

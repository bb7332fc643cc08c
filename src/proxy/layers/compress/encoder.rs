//! One body's compressor: bytes in, bytes out, no I/O. Its memory is bounded by the windows below, whatever comes.

use std::fmt;
use std::io;

use compression_codecs::brotli::params::EncoderParams;
use compression_codecs::core::Level;
use compression_codecs::core::util::PartialBuffer;
use compression_codecs::zstd::params::CParameter;
use compression_codecs::{BrotliEncoder, Encode, GzipEncoder, ZstdEncoder};

use super::choose::Coding;

/// Levels for answers that are made while somebody waits: the next ones cost twice as much for a few percent.
const GZIP: i32 = 5;
const BROTLI: i32 = 4;
const ZSTD: i32 = 3;
/// 256 KiB to look back on (zstd, br): a fraction of what they would take by themselves, for each answer.
const WINDOW: u32 = 18;

/// What comes out is gathered in pieces of this size.
const PIECE: usize = 8 << 10;

pub(in crate::proxy) struct Encoder {
    codec: Codec,
    piece: Box<[u8]>,
}

enum Codec {
    Gzip(GzipEncoder),
    Brotli(Box<BrotliEncoder>),
    Zstd(ZstdEncoder),
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

/// Calls one method of whichever codec it is.
macro_rules! codec {
    ($self:ident, $codec:ident => $call:expr) => {
        match &mut $self.codec {
            Codec::Gzip($codec) => $call,
            Codec::Brotli($codec) => $call,
            Codec::Zstd($codec) => $call,
        }
    };
}

impl Encoder {
    pub(super) fn new(coding: Coding) -> Self {
        let codec = match coding {
            Coding::Gzip => Codec::Gzip(GzipEncoder::new(Level::Precise(GZIP).into())),
            Coding::Brotli => {
                let params = EncoderParams::default().quality(Level::Precise(BROTLI)).window_size(WINDOW as i32);
                Codec::Brotli(Box::new(BrotliEncoder::new(params)))
            }
            Coding::Zstd => Codec::Zstd(ZstdEncoder::new_with_params(ZSTD, &[CParameter::window_log(WINDOW)])),
        };
        Self { codec, piece: vec![0; PIECE].into() }
    }

    /// Takes all of this.
    pub(super) fn write(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let mut input = PartialBuffer::new(bytes);
        while !input.unwritten().is_empty() {
            let mut piece = PartialBuffer::new(&mut self.piece[..]);
            codec!(self, codec => codec.encode(&mut input, &mut piece))?;
            out.extend_from_slice(piece.written());
        }
        Ok(())
    }

    /// All that was taken comes out, so that it can be read at the other end.
    pub(super) fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let mut piece = PartialBuffer::new(&mut self.piece[..]);
            let done = codec!(self, codec => codec.flush(&mut piece))?;
            out.extend_from_slice(piece.written());
            if done {
                return Ok(());
            }
        }
    }

    /// The end, which says that nothing is missing.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let mut piece = PartialBuffer::new(&mut self.piece[..]);
            let done = codec!(self, codec => codec.finish(&mut piece))?;
            out.extend_from_slice(piece.written());
            if done {
                return Ok(());
            }
        }
    }

    /// All of a body at once.
    pub(in crate::proxy) fn whole(mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(bytes.len() / 3);
        self.write(bytes, &mut out)?;
        self.finish(&mut out)?;
        Ok(out)
    }
}

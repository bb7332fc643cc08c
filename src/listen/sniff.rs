//! Which protocol a connection speaks, where nothing has said so: HTTP/2 by prior knowledge begins with its preface
//! (RFC 9113 §3.4), next to HTTP/1 on one port.
//!
//! It costs HTTP/1 nothing: the first head is read as ever, and what cannot be parsed is looked at here. Only a
//! listener without HTTP/1 is read before.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::cause::{Cause, Failure};

/// How HTTP/2 begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What tells the preface from every head of HTTP/1: with less of it, the parser waits for more.
const TELLING: usize = b"PRI * HTTP/2".len();

/// What is known of a connection's protocol before its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    /// HTTP/1.1, agreed upon by ALPN.
    H1,
    /// HTTP/2, agreed upon by ALPN.
    H2,
    /// Nothing: the first bytes tell.
    Unknown,
}

/// Was a first head given up because it is HTTP/2? What is missing of the preface is still to come.
pub(super) fn is_preface(read: &[u8]) -> bool {
    read.len() >= TELLING && agrees(read)
}

/// As far as they go, are these bytes the preface?
fn agrees(read: &[u8]) -> bool {
    let both = read.len().min(PREFACE.len());
    read[..both] == PREFACE[..both]
}

/// Reads until the preface is there: it and what came with it; or what came in its place, which is what an error holds.
/// Runs under somebody's clock.
pub(super) async fn preface(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Result<Bytes, Bytes>> {
    let mut read = BytesMut::with_capacity(1 << 10);
    loop {
        if !agrees(&read) {
            return Ok(Err(read.freeze()));
        }
        if read.len() >= PREFACE.len() {
            return Ok(Ok(read.freeze()));
        }
        if io.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// HTTP/1 came to a listener that does not speak it.
pub(super) fn h1_refused(listener: &str) -> Failure {
    let seen = format!("HTTP/1 came where only HTTP/2 is spoken (listener.{listener} protocols)");
    Failure::new(Cause::ClientInvalid).status(400).seen(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preface_is_told_from_every_head() {
        assert!(is_preface(PREFACE) && is_preface(&PREFACE[..14]) && is_preface(&[PREFACE, b"\0\0\0\x04"].concat()));
        for head in ["PRI * HTTP/1.1\r\n\r\n", "PRI", "", "GET / HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n\r\nSN"] {
            assert!(!is_preface(head.as_bytes()), "{head}");
        }
    }

    #[tokio::test]
    async fn what_is_no_preface_is_given_back() {
        let with = [PREFACE, b"more"].concat();
        assert_eq!(preface(&mut &*with).await.unwrap(), Ok(Bytes::from(with.clone())));
        assert_eq!(preface(&mut &b"GET /"[..]).await.unwrap(), Err(Bytes::from_static(b"GET /")));
        assert!(preface(&mut &PREFACE[..5]).await.is_err());
    }
}

//! One connection of a look: open it, say one thing or nothing, hear the first bytes, close it. Bounded in time and
//! bytes.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use crate::cause::{Cause, Failure};
use crate::client::{Stream, connect};
use crate::config::Endpoint;
use crate::config::address::Dial;

use super::speech::{self, Speech};
use super::verdict::Answer;

/// Who asks.
pub(super) const AGENT: &str = concat!("causeway/", env!("CARGO_PKG_VERSION"), " (diagnosis)");
/// A response head is read so far: whose is longer has answered all the same.
const HEAD: usize = 4096;

/// What is said on the connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Say<'a> {
    /// Nothing: some speak first.
    Nothing,
    /// `GET /`, with this Host.
    Get(&'a str),
    /// The greeting of a TLS client.
    Hello,
    /// The preface of an HTTP/2 client, with its settings (RFC 9113 §3.4).
    Preface,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing listens there.
    Refused,
    /// The connection was not taken in time.
    NotTaken,
    /// There is no way to it.
    NoWay(io::ErrorKind),
    /// Taken, and then not a word in time.
    Silent,
    /// Taken, and then dropped without a word.
    Dropped,
    /// The head of an HTTP/1 response was begun, and not whole in time.
    Dripped,
    /// The head of an HTTP/1 response was begun, and cut off.
    Cut,
    /// An HTTP/1 response with its whole head; its status, and the time since the connection was begun.
    Answered(Answer),
    /// Other first bytes.
    Said(Speech),
    /// A limit of our own: nothing was learnt.
    Nothing,
}

/// Connects to the first of these addresses that takes it, within `connect`, says that, and listens until `limit` from
/// the start.
pub(super) async fn knock(addresses: Vec<SocketAddr>, say: Say<'_>, connect: Duration, limit: Duration) -> Heard {
    let started = Instant::now();
    let end = started + limit;
    let endpoint = Endpoint::new("".into(), Dial::Addresses(addresses));
    let mut stream = match connect::dial(&endpoint, connect.min(limit)).await {
        Ok(stream) => stream,
        Err(failure) => return not_connected(&failure),
    };
    let mut bytes = Vec::new();
    match timeout_at(end, exchange(&mut stream, say, started, &mut bytes)).await {
        Ok(heard) => heard,
        Err(_elapsed) if speech::begins_http(&bytes) => Heard::Dripped,
        Err(_elapsed) => speech::of(&bytes, true).map_or(Heard::Silent, Heard::Said),
    }
}

fn not_connected(failure: &Failure) -> Heard {
    let kind = || failure.source.as_ref().and_then(|source| source.downcast_ref::<io::Error>()).map(io::Error::kind);
    match failure.cause {
        Cause::ConnectionRefused => Heard::Refused,
        Cause::ConnectTimeout => Heard::NotTaken,
        Cause::ConnectReset => Heard::Dropped,
        Cause::Unreachable => Heard::NoWay(kind().unwrap_or(io::ErrorKind::Other)),
        _ => Heard::Nothing,
    }
}

async fn exchange(stream: &mut Stream, say: Say<'_>, started: Instant, bytes: &mut Vec<u8>) -> Heard {
    let request: Vec<u8> = match say {
        Say::Nothing => Vec::new(),
        Say::Get(host) => {
            format!("GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {AGENT}\r\nAccept: */*\r\nConnection: close\r\n\r\n")
                .into()
        }
        Say::Hello => HELLO.to_vec(),
        Say::Preface => PREFACE.to_vec(),
    };
    // Whoever closes at once may have said why before.
    let _ = stream.write_all(&request).await;
    loop {
        let mut chunk = [0; 512];
        // Broken is ended, too.
        let read = stream.read(&mut chunk).await.unwrap_or_default();
        bytes.extend_from_slice(&chunk[..read]);
        let ended = read == 0 || bytes.len() >= HEAD;
        match speech::of(bytes, ended) {
            Some(Speech::Http(status)) if bytes.len() >= HEAD || ends(bytes) => {
                return Heard::Answered(Answer { status, took: started.elapsed() });
            }
            Some(Speech::Http(_)) | None => {}
            Some(speech) => return Heard::Said(speech),
        }
        if ended {
            return if speech::begins_http(bytes) { Heard::Cut } else { Heard::Dropped };
        }
    }
}

fn ends(head: &[u8]) -> bool {
    head.windows(4).any(|four| four == b"\r\n\r\n") || head.windows(2).any(|two| two == b"\n\n")
}

/// The preface, and an empty SETTINGS frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A ClientHello of TLS 1.2 (RFC 5246 §7.4.1.2) with the usual suites and curves: any TLS server answers it, if only
/// with an alert. Nothing secret follows, so its random bytes may be the same each time.
const HELLO: &[u8] = &[
    0x16, 0x03, 0x01, 0x00, 0x67, // handshake record
    0x01, 0x00, 0x00, 0x63, 0x03, 0x03, // ClientHello, TLS 1.2
    0x63, 0x61, 0x75, 0x73, 0x65, 0x77, 0x61, 0x79, 0x20, 0x64, 0x69, 0x61, 0x67, 0x6e, 0x6f,
    0x73, // 32 random bytes
    0x69, 0x73, 0x2c, 0x20, 0x6e, 0x6f, 0x20, 0x73, 0x65, 0x63, 0x72, 0x65, 0x74, 0x20, 0x21, 0x21, //
    0x00, // no session
    0x00, 0x16, 0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x2c, 0xc0, 0x30, 0xcc, 0xa9, 0xcc,
    0xa8, // ECDHE with AES-GCM, ChaCha20
    0xc0, 0x13, 0xc0, 0x14, 0x00, 0x9c, 0x00, 0x2f, 0x00, 0x35, // ECDHE and RSA with AES-CBC
    0x01, 0x00, // no compression
    0x00, 0x24, // extensions
    0x00, 0x0a, 0x00, 0x08, 0x00, 0x06, 0x00, 0x1d, 0x00, 0x17, 0x00, 0x18, // x25519, P-256, P-384
    0x00, 0x0b, 0x00, 0x02, 0x01, 0x00, // uncompressed points
    0x00, 0x0d, 0x00, 0x0e, 0x00, 0x0c, 0x04, 0x03, 0x08, 0x04, 0x04, 0x01, 0x05, 0x03, 0x08, 0x05, 0x05,
    0x01, // signatures
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lengths_of_the_hello_are_right() {
        let at = |index: usize| usize::from(u16::from_be_bytes([HELLO[index], HELLO[index + 1]]));
        assert_eq!((at(3), at(7)), (HELLO.len() - 5, HELLO.len() - 9));
        let suites = 11 + 32 + 1;
        assert_eq!(at(suites), 22);
        let extensions = suites + 2 + 22 + 2;
        assert_eq!(at(extensions), HELLO.len() - extensions - 2);
        let mut next = extensions + 2;
        while next < HELLO.len() {
            next += 4 + at(next + 2);
        }
        assert_eq!(next, HELLO.len());
    }
}

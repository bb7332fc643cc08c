//! A client made of bytes: frames out, as they are written here, and frames in.

use std::net::SocketAddr;
use std::time::Duration;

use h2::Reason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const BOTH: u8 = END_STREAM | END_HEADERS;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The code at the end of RST_STREAM, or in GOAWAY.
    pub fn reason(&self) -> Reason {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap()).into()
    }

    /// The first field of an answer's head, as h2 writes it (RFC 7541 appendix A).
    pub fn status(&self) -> u16 {
        // A size update of the table may stand before it.
        let block: Vec<u8> = self.payload.iter().copied().skip_while(|byte| byte & 0xe0 == 0x20).collect();
        match block[0] {
            indexed @ 0x88..=0x8e => [200, 204, 206, 304, 400, 404, 500][usize::from(indexed & 0x7f) - 8],
            _ => literal(&block).parse().unwrap(),
        }
    }
}

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header block of these fields, each written out (RFC 7541 §6.2.2).
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fn text(out: &mut Vec<u8>, text: &[u8]) {
        let mut length = text.len();
        if length < 127 {
            out.push(length as u8);
        } else {
            out.push(127);
            length -= 127;
            while length >= 128 {
                out.push(length as u8 | 128);
                length >>= 7;
            }
            out.push(length as u8);
        }
        out.extend(text);
    }
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        text(&mut out, name.as_bytes());
        text(&mut out, value.as_bytes());
    }
    out
}

/// The pseudo-header fields of this request, and these.
pub fn head_of(method: &str, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [(":method", method), (":scheme", "http"), (":authority", "a"), (":path", path)];
    block(&[&pseudo, fields].concat())
}

pub struct Peer(pub TcpStream);

impl Peer {
    /// Preface and empty SETTINGS are out, the server's are here and acknowledged.
    pub async fn connect(address: SocketAddr) -> Self {
        let mut peer = Self::silent(address).await;
        peer.bytes(PREFACE).await;
        peer.send(SETTINGS, 0, 0, &[]).await;
        assert_eq!(peer.next().await.unwrap().kind, SETTINGS);
        peer.send(SETTINGS, ACK, 0, &[]).await;
        peer
    }

    /// Nothing is out.
    pub async fn silent(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    /// A server that has closed already takes nothing, and what it said last is still to be read.
    pub async fn bytes(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes).await;
    }

    pub async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.bytes(&frame(kind, flags, stream, payload)).await;
    }

    /// GET, whole.
    pub async fn get(&mut self, stream: u32, path: &str) {
        self.send(HEADERS, BOTH, stream, &head_of("GET", path, &[])).await;
    }

    /// The next frame; `None` at the end of the connection. A PING is answered.
    pub async fn next(&mut self) -> Option<Frame> {
        let read = async {
            let mut header = [0; 9];
            self.0.read_exact(&mut header).await.ok()?;
            let [a, b, c, kind, flags, stream @ ..] = header;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            self.0.read_exact(&mut payload).await.ok()?;
            Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
        };
        let frame = timeout(PATIENCE, read).await.expect("a frame, or the end")?;
        if frame.kind == PING && frame.flags != ACK {
            self.send(PING, ACK, 0, &frame.payload).await;
        }
        Some(frame)
    }

    /// The next frame of this kind; those before it are dropped.
    pub async fn until(&mut self, kind: u8) -> Frame {
        loop {
            let frame =
                self.next().await.unwrap_or_else(|| panic!("the connection ended before a frame of kind {kind}"));
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// All that comes until the connection ends.
    pub async fn rest(&mut self) -> Vec<Frame> {
        let mut all = Vec::new();
        while let Some(frame) = self.next().await {
            all.push(frame);
        }
        all
    }

    /// The connection ends with this GOAWAY.
    pub async fn goes_away(&mut self, reason: Reason, why: &str) {
        let all = self.rest().await;
        let last = all.iter().rfind(|frame| frame.kind == GOAWAY);
        assert_eq!(last.map(Frame::reason), Some(reason), "{why}: {all:?}");
    }

    /// A PING is answered.
    pub async fn lives(&mut self) {
        self.send(PING, 0, 0, b"are you?").await;
        loop {
            let frame = self.next().await.expect("a living connection");
            if frame.kind == PING && frame.flags == ACK {
                return assert_eq!(frame.payload, b"are you?");
            }
        }
    }

    /// The status of the answer on this stream.
    pub async fn status(&mut self, stream: u32) -> u16 {
        loop {
            let frame = self.until(HEADERS).await;
            if frame.stream == stream {
                return frame.status();
            }
        }
    }
}

/// The status of a literal with the name `:status`, Huffman-coded or not.
fn literal(block: &[u8]) -> String {
    let length = usize::from(block[1] & 0x7f);
    let text = &block[2..2 + length];
    if block[1] & 0x80 == 0 {
        return String::from_utf8(text.to_vec()).unwrap();
    }
    // Digits: 0, 1 and 2 have five bits, 3 to 9 six (RFC 7541 appendix B).
    let bits: String = text.iter().map(|byte| format!("{byte:08b}")).collect();
    let (mut at, mut out) = (0, String::new());
    while out.len() < 3 {
        let five = usize::from_str_radix(&bits[at..at + 5], 2).unwrap();
        if five < 3 {
            out.push(char::from(b'0' + five as u8));
            at += 5;
        } else {
            let six = usize::from_str_radix(&bits[at..at + 6], 2).unwrap();
            out.push(char::from(b'3' + (six - 0x19) as u8));
            at += 6;
        }
    }
    out
}

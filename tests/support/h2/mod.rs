//! Upstreams that speak HTTP/2: one that misbehaves frame by frame, written by hand, and one that behaves, of the h2
//! crate ([`streams`]).

mod streams;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

pub use streams::{Streams, give, trailers};

pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// What the upstream does once a request's head is there, or before.
#[derive(Clone, Debug)]
pub enum Fault {
    /// 200 with this body and its length.
    Ok(&'static str),
    /// The same, then GOAWAY and FIN.
    Last(&'static str),
    /// Takes the connection and says nothing at all.
    Mute,
    /// These bytes in answer to the preface, then FIN.
    Answers(&'static [u8]),
    /// FIN, or RST, in answer to the preface.
    Slams { reset: bool },
    /// GOAWAY behind the SETTINGS.
    Leaves(u32),
    /// SETTINGS, then silence.
    Silent,
    /// RST_STREAM.
    Reset(u32),
    /// GOAWAY with a last id below the request's, then FIN.
    Disowns(u32),
    /// GOAWAY with a last id that takes it in, then FIN.
    Forsakes(u32),
    /// FIN, or RST of the connection.
    Drops { reset: bool },
    /// FIN after this time.
    Broods(Duration),
    /// Half a HEADERS frame, then FIN.
    HalfHead,
    /// A field with an upper-case name.
    BadField,
    /// DATA on stream 0.
    BadFrame,
    /// A head with one field of this size.
    Head(usize),
    /// `content-length: 9` and three bytes; then END_STREAM, RST_STREAM, FIN or silence.
    Cut(Cut),
    /// Three bytes of no announced length; then the same.
    CutUnknown(Cut),
    /// So many 103, then 200 `ok`.
    Interim(u32),
    /// 101, and no more.
    Switches,
    /// No window for bodies.
    NoWindow,
    /// 413 with a short body to the head alone, then RST_STREAM with NO_ERROR.
    Early,
    /// 204, 304 or another status, with END_STREAM.
    Status(u16),
    /// So many streams at once, and an answer `ok` to each after 20 ms.
    Slots(u32),
}

/// How a body ends too early.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    EndStream,
    Reset(u32),
    Fin,
    Rst,
    Stall,
}

/// What it has seen.
#[derive(Clone, Debug, Default)]
pub struct Record {
    pub connections: usize,
    pub ended: usize,
    pub requests: usize,
    /// Streams that the client reset, with the code.
    pub resets: Vec<(u32, u32)>,
    /// The most requests that were open at the same time on a connection.
    pub at_once: usize,
}

/// The upstream.
pub struct Frames {
    address: SocketAddr,
    fault: Arc<Mutex<Fault>>,
    record: watch::Receiver<Record>,
    task: AbortHandle,
}

impl Frames {
    pub async fn start(fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, record) = watch::channel(Record::default());
        let fault = Arc::new(Mutex::new(fault));
        let current = Arc::clone(&fault);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                seen.send_modify(|record| record.connections += 1);
                let (seen, current) = (seen.clone(), Arc::clone(&current));
                connections.spawn(async move {
                    let fault = current.lock().unwrap().clone();
                    let _ = Talk { stream, seen: seen.clone(), fault, current }.run().await;
                    seen.send_modify(|record| record.ended += 1);
                });
            }
        });
        Self { address, fault, record, task: task.abort_handle() }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From the next connection or request on.
    pub fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    pub fn record(&self) -> Record {
        self.record.borrow().clone()
    }

    pub async fn until(&self, there: impl Fn(&Record) -> bool) -> Record {
        let mut record = self.record.clone();
        let waited = tokio::time::timeout(Duration::from_secs(10), record.wait_for(|record| there(record))).await;
        waited.unwrap_or_else(|_| panic!("never came: {:?}", self.record())).unwrap().clone()
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Talk {
    stream: TcpStream,
    seen: watch::Sender<Record>,
    fault: Fault,
    current: Arc<Mutex<Fault>>,
}

/// A frame: type, flags, stream, payload.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// A header block of literals, without Huffman codes.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0); // a literal that is not indexed
        for text in [name, value] {
            let mut length = text.len();
            out.push(length.min(127) as u8);
            if length >= 127 {
                length -= 127;
                while length >= 128 {
                    out.push((length % 128 + 128) as u8);
                    length /= 128;
                }
                out.push(length as u8);
            }
            out.extend(text.as_bytes());
        }
    }
    out
}

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

impl Talk {
    async fn send(&mut self, frames: &[Vec<u8>]) -> std::io::Result<()> {
        self.stream.write_all(&frames.concat()).await
    }

    fn head(stream: u32, fields: &[(&str, &str)], end: bool) -> Vec<u8> {
        let block = block(fields);
        let flags = if end { END_STREAM } else { 0 };
        if block.len() <= 16_000 {
            return frame(1, flags | END_HEADERS, stream, &block);
        }
        let mut parts = block.chunks(16_000).peekable();
        let mut out = frame(1, flags, stream, parts.next().unwrap());
        while let Some(part) = parts.next() {
            out.extend(frame(9, if parts.peek().is_none() { END_HEADERS } else { 0 }, stream, part));
        }
        out
    }

    async fn slam(self, reset: bool) -> std::io::Result<()> {
        if reset {
            socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?;
        }
        Ok(())
    }

    /// FIN, and read until the other side is gone: no reset for what was not read.
    async fn fin(mut self) -> std::io::Result<()> {
        self.stream.shutdown().await?;
        let mut bytes = [0; 4096];
        while self.stream.read(&mut bytes).await? > 0 {}
        Ok(())
    }

    async fn run(mut self) -> std::io::Result<()> {
        let mut preface = [0; 24];
        self.stream.read_exact(&mut preface).await?;
        match self.fault {
            Fault::Mute => {
                let mut bytes = [0; 4096];
                while self.stream.read(&mut bytes).await? > 0 {}
                return Ok(());
            }
            Fault::Answers(bytes) => {
                self.stream.write_all(bytes).await?;
                return self.fin().await;
            }
            Fault::Slams { reset: true } => return self.slam(true).await,
            Fault::Slams { reset: false } => return self.fin().await,
            _ => {}
        }
        let settings: Vec<u8> = match self.fault {
            Fault::NoWindow => [&[0, 4][..], &0_u32.to_be_bytes()].concat(),
            Fault::Slots(most) => [&[0, 3][..], &most.to_be_bytes()].concat(),
            _ => Vec::new(),
        };
        self.send(&[frame(4, 0, 0, &settings)]).await?;
        if let Fault::Leaves(code) = self.fault {
            self.send(&[frame(7, 0, 0, &[0_u32.to_be_bytes(), code.to_be_bytes()].concat())]).await?;
            return self.fin().await;
        }
        let mut open: Vec<(u32, tokio::time::Instant)> = Vec::new();
        loop {
            let due = open.first().map(|(_, due)| *due);
            let mut header = [0; 9];
            let read = async {
                match due {
                    Some(due) => tokio::time::timeout_at(due, self.stream.peek(&mut [0; 1])).await.ok(),
                    None => Some(self.stream.peek(&mut [0; 1]).await),
                }
            };
            if read.await.is_none() {
                let (stream, _) = open.remove(0);
                self.send(&[Self::head(stream, &[(":status", "200")], false), frame(0, END_STREAM, stream, b"ok")])
                    .await?;
                continue;
            }
            self.stream.read_exact(&mut header).await?;
            let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
            let (kind, flags) = (header[3], header[4]);
            let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload).await?;
            match kind {
                1 => {
                    self.fault = self.current.lock().unwrap().clone();
                    let at_once = open.len() + 1;
                    self.seen.send_modify(|record| {
                        record.requests += 1;
                        record.at_once = record.at_once.max(at_once);
                    });
                    if matches!(self.fault, Fault::Slots(_)) {
                        open.push((stream, tokio::time::Instant::now() + Duration::from_millis(20)));
                    } else if let Some(after) = self.answer(stream).await? {
                        return match after {
                            Cut::Rst => self.slam(true).await,
                            _ => self.fin().await,
                        };
                    }
                }
                3 => {
                    let code = u32::from_be_bytes([payload[0], payload[1], payload[2], payload[3]]);
                    self.seen.send_modify(|record| record.resets.push((stream, code)));
                }
                4 if flags & 1 == 0 => self.send(&[frame(4, 1, 0, b"")]).await?,
                6 if flags & 1 == 0 => self.send(&[frame(6, 1, 0, &payload)]).await?,
                _ => {}
            }
        }
    }

    /// Answers one request; `Some`: the connection ends with it.
    async fn answer(&mut self, stream: u32) -> std::io::Result<Option<Cut>> {
        let code = |code: u32| code.to_be_bytes().to_vec();
        let goaway = |last: u32, reason: u32| frame(7, 0, 0, &[last.to_be_bytes(), reason.to_be_bytes()].concat());
        let length = ("content-length", "9");
        let cut = |cut: Cut| match cut {
            Cut::EndStream => (frame(0, END_STREAM, stream, b"abc"), None),
            Cut::Reset(reason) => ([frame(0, 0, stream, b"abc"), frame(3, 0, stream, &code(reason))].concat(), None),
            Cut::Stall => (frame(0, 0, stream, b"abc"), None),
            end => (frame(0, 0, stream, b"abc"), Some(end)),
        };
        let (frames, end) = match self.fault.clone() {
            fault @ (Fault::Ok(body) | Fault::Last(body)) => {
                let length = body.len().to_string();
                let head = Self::head(stream, &[(":status", "200"), ("content-length", &length)], false);
                let mut frames = vec![head, frame(0, END_STREAM, stream, body.as_bytes())];
                let last = matches!(fault, Fault::Last(_));
                if last {
                    frames.push(goaway(stream, 0));
                }
                (frames, last.then_some(Cut::Fin))
            }
            Fault::Reset(reason) => (vec![frame(3, 0, stream, &code(reason))], None),
            Fault::Disowns(reason) => (vec![goaway(stream.saturating_sub(2), reason)], Some(Cut::Fin)),
            Fault::Forsakes(reason) => (vec![goaway(stream, reason)], Some(Cut::Fin)),
            Fault::Drops { reset } => (vec![], Some(if reset { Cut::Rst } else { Cut::Fin })),
            Fault::Broods(time) => {
                tokio::time::sleep(time).await;
                (vec![], Some(Cut::Fin))
            }
            Fault::HalfHead => {
                let head = Self::head(stream, &[(":status", "200"), ("x-field", "value")], true);
                (vec![head[..head.len() - 5].to_vec()], Some(Cut::Fin))
            }
            Fault::BadField => (vec![Self::head(stream, &[(":status", "200"), ("X-Upper", "1")], true)], None),
            Fault::BadFrame => (vec![frame(0, 0, 0, b"abc")], None),
            Fault::Head(size) => {
                let value = "x".repeat(size);
                (vec![Self::head(stream, &[(":status", "200"), ("set-cookie", &value)], true)], None)
            }
            Fault::Cut(how) => {
                let (data, end) = cut(how);
                (vec![Self::head(stream, &[(":status", "200"), length], false), data], end)
            }
            Fault::CutUnknown(how) => {
                let (data, end) = cut(how);
                (vec![Self::head(stream, &[(":status", "200")], false), data], end)
            }
            Fault::Switches => (vec![Self::head(stream, &[(":status", "101")], false)], None),
            Fault::Interim(count) => {
                let mut frames: Vec<_> =
                    (0..count).map(|_| Self::head(stream, &[(":status", "103"), ("link", "</a>")], false)).collect();
                frames.push(Self::head(stream, &[(":status", "200")], false));
                frames.push(frame(0, END_STREAM, stream, b"ok"));
                (frames, None)
            }
            Fault::Early => {
                let head = Self::head(stream, &[(":status", "413")], false);
                let data = frame(0, END_STREAM, stream, b"too large");
                (vec![head, data, frame(3, 0, stream, &code(0))], None)
            }
            Fault::Status(status) => {
                (vec![Self::head(stream, &[(":status", &status.to_string()), ("x-a", "b")], true)], None)
            }
            _ => (vec![], None),
        };
        self.send(&frames).await?;
        Ok(end)
    }
}

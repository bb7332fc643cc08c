//! A connection by script: an answer in given pieces, then its tail; and a record of what was written. No socket, and
//! the same every time.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Case, Tail};

/// The codec's side.
#[derive(Debug)]
pub struct Wire {
    shared: Arc<Mutex<Shared>>,
}

/// The other side.
#[derive(Clone, Debug)]
pub struct Script {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    pieces: VecDeque<Bytes>,
    tail: Tail,
    pauses: bool,
    paused: bool,
    /// Nothing is read before a request head was written behind this offset.
    gate: Option<usize>,
    written: Vec<u8>,
    /// Writes wait after this many bytes.
    room: usize,
    /// No write takes more.
    largest_write: usize,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Both sides of a connection on which `case` happens.
pub fn connection(case: &Case<'_>) -> (Wire, Script) {
    let cuts = case.cuts.iter().copied().chain([case.answer.len()]);
    let (mut from, mut pieces) = (0, VecDeque::new());
    for to in cuts {
        if to > from {
            pieces.push_back(Bytes::copy_from_slice(&case.answer[from..to]));
            from = to;
        }
    }
    let shared = Shared {
        pieces,
        tail: case.tail,
        pauses: case.pauses,
        paused: false,
        gate: (!case.early).then_some(0),
        written: Vec::new(),
        room: usize::MAX,
        largest_write: usize::MAX,
        reader: None,
        writer: None,
    };
    let shared = Arc::new(Mutex::new(shared));
    (Wire { shared: shared.clone() }, Script { shared })
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn is_shut(&self) -> bool {
        self.gate.is_some_and(|from| !self.written[from..].windows(4).any(|bytes| bytes == b"\r\n\r\n"))
    }

    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl Script {
    /// What is left of the first answer has arrived by now; `answer` comes behind the next request.
    pub fn answer_next(&self, answer: &[u8]) {
        let mut shared = lock(&self.shared);
        shared.pauses = false;
        if shared.pieces.is_empty() && shared.tail == Tail::Silence {
            shared.gate = Some(shared.written.len());
            shared.pieces.push_back(Bytes::copy_from_slice(answer));
        }
    }

    /// More bytes arrive.
    pub fn send(&self, bytes: &[u8]) {
        let mut shared = lock(&self.shared);
        shared.pieces.push_back(Bytes::copy_from_slice(bytes));
        shared.wake_reader();
    }

    /// All that was written.
    pub fn written(&self) -> Vec<u8> {
        lock(&self.shared).written.clone()
    }

    /// From now on it takes `room` bytes in all and `largest` with each write.
    pub fn take(&self, room: usize, largest: usize) {
        let mut shared = lock(&self.shared);
        (shared.room, shared.largest_write) = (room, largest);
        if let Some(writer) = shared.writer.take() {
            writer.wake();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut shared = lock(&self.shared);
        if shared.is_shut() {
            shared.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if shared.pauses && !shared.paused {
            shared.paused = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        shared.paused = false;
        if let Some(mut piece) = shared.pieces.pop_front() {
            let taken = piece.len().min(buf.remaining());
            buf.put_slice(&piece.split_to(taken));
            if piece.has_remaining() {
                shared.pieces.push_front(piece);
            }
            return Poll::Ready(Ok(()));
        }
        match shared.tail {
            Tail::Eof => Poll::Ready(Ok(())),
            Tail::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Tail::Silence => {
                shared.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut shared = lock(&self.shared);
        let taken = bytes.len().min(shared.largest_write).min(shared.room.saturating_sub(shared.written.len()));
        if taken == 0 && !bytes.is_empty() {
            shared.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        shared.written.extend_from_slice(&bytes[..taken]);
        if !shared.is_shut() {
            shared.wake_reader();
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

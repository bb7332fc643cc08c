//! The stream below HTTP/2, with what it has taken and given counted, and the first bytes that came: they tell what a
//! peer speaks that speaks no HTTP/2. It looks into no frame.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Enough for a status line.
const FIRST: usize = 64;

/// What is known of a connection's bytes.
#[derive(Debug, Default)]
pub(super) struct Wire {
    read: AtomicU64,
    written: AtomicU64,
    reset: AtomicBool,
    first: Mutex<Vec<u8>>,
}

impl Wire {
    /// Bytes that came.
    pub(super) fn read(&self) -> u64 {
        self.read.load(Relaxed)
    }

    /// Bytes that it took.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// The peer has reset it, as far as anybody has noticed.
    pub(super) fn was_reset(&self) -> bool {
        self.reset.load(Relaxed)
    }

    /// The first bytes that came, 64 at the most.
    pub(super) fn first(&self) -> Vec<u8> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first frame is here, whole, and is one of SETTINGS (RFC 9113 §3.4).
    pub(super) fn has_settings(&self) -> bool {
        const HEAD: u64 = 9;
        const SETTINGS: u8 = 4;
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        match **first {
            [a, b, c, SETTINGS, ..] => self.read() >= HEAD + u64::from(u32::from_be_bytes([0, a, b, c])),
            _ => false,
        }
    }

    fn came(&self, bytes: &[u8]) {
        let before = self.read.fetch_add(bytes.len() as u64, Relaxed);
        if before < FIRST as u64 {
            let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
            let room = FIRST - first.len();
            first.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    fn failed(&self, error: &io::Error) {
        // A write that meets a reset takes it off the socket.
        if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) {
            self.reset.store(true, Relaxed);
        }
    }

    fn took(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(count)) => drop(self.written.fetch_add(*count as u64, Relaxed)),
            Poll::Ready(Err(error)) => self.failed(error),
            Poll::Pending => {}
        }
        written
    }
}

/// The stream.
pub(super) struct Watched<T> {
    io: T,
    wire: Arc<Wire>,
}

impl<T> Watched<T> {
    pub(super) fn new(io: T, wire: Arc<Wire>) -> Self {
        Self { io, wire }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buf));
        match &read {
            Ok(()) => self.wire.came(&buf.filled()[before..]),
            Err(error) => self.wire.failed(error),
        }
        Poll::Ready(read)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.wire.took(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bytes);
        self.wire.took(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

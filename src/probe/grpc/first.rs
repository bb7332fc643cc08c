//! A stream that remembers the first bytes that came: what a peer says that speaks no HTTP/2.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Enough for a status line.
const MOST: usize = 64;

/// The first bytes.
#[derive(Debug, Default)]
pub(super) struct First(Mutex<Vec<u8>>);

impl First {
    /// What came so far, 64 bytes at the most.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The stream.
pub(super) struct Watched<S> {
    stream: S,
    first: Arc<First>,
    full: bool,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, first: &Arc<First>) -> Self {
        Self { stream, first: Arc::clone(first), full: false }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if !self.full {
            let mut first = self.first.0.lock().unwrap_or_else(PoisonError::into_inner);
            let news = &buf.filled()[before..];
            let room = MOST - first.len();
            first.extend_from_slice(&news[..news.len().min(room)]);
            let full = first.len() == MOST;
            drop(first);
            self.full = full;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

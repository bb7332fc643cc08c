//! The wrapper around the socket: it counts bytes and remembers what it saw, so that a failure can be named afterwards
//! from facts. It never looks into HTTP, and it changes the stream in one way only: after the first write error it
//! says "all taken" and discards, so that an answer the upstream sent before it closed is still read (HTTP.md "Early
//! answers from upstream").

use std::error::Error;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::Progress;
use crate::cause::Phase;

/// How much of an answer's beginning is kept for the texts of failures.
const KEPT_HEAD: usize = 1024;
/// How long reading goes on after a write error, for the head of an early answer.
const EARLY_ANSWER: Duration = Duration::from_secs(1);

/// What happened on a connection since its current request began: shared by the socket, the request body's gate, the
/// attempt that waits, and the response body.
#[derive(Debug, Default)]
pub(super) struct Wire {
    facts: Mutex<Facts>,
}

/// See [`Wire`].
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Bytes that the socket took.
    pub(super) written: u64,
    /// Bytes that it gave.
    pub(super) read: u64,
    /// The first of those.
    pub(super) head: Vec<u8>,
    /// How reading ended.
    pub(super) end: Option<End>,
    /// The first write error.
    pub(super) write_error: Option<io::Error>,
    /// A write waits for the upstream since then.
    pub(super) blocked: Option<Instant>,
    /// The request was handed over to its last byte (it may still have to be written).
    pub(super) given: bool,
    /// Its last byte was written at this time.
    pub(super) finished: Option<Instant>,
    /// A final response head is there.
    pub(super) headed: bool,
    /// The upstream said 100.
    pub(super) continued: bool,
    /// What the request's body failed with.
    pub(super) body_error: Option<Box<dyn Error + Send + Sync>>,
    /// Of the attempt that runs.
    pub(super) progress: Option<Arc<Progress>>,
}

/// How reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// In order (FIN).
    Eof,
    /// By a reset, or another error of the socket.
    Broken,
}

impl Wire {
    pub(super) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new request begins; `whole`: it has no body.
    pub(super) fn begin(&self, progress: Arc<Progress>, whole: bool) {
        let mut facts = self.facts();
        let mut head = std::mem::take(&mut facts.head);
        head.clear();
        *facts = Facts { head, given: whole, progress: Some(progress), ..Facts::default() };
    }
}

impl Facts {
    fn wrote(&mut self, count: usize) {
        self.blocked = None;
        if self.written == 0
            && count > 0
            && let Some(progress) = &self.progress
        {
            progress.set_sent();
        }
        self.written += count as u64;
    }

    fn gave(&mut self, bytes: &[u8]) {
        self.read += bytes.len() as u64;
        let room = KEPT_HEAD - self.head.len();
        if room > 0 && !self.headed {
            self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    fn flushed(&mut self) {
        if self.given && self.finished.is_none() && self.written > 0 && self.write_error.is_none() {
            self.finished = Some(Instant::now());
            if let Some(progress) = &self.progress
                && !self.headed
            {
                progress.set_phase(Phase::Head);
            }
        }
    }
}

/// The socket, watched.
#[derive(Debug)]
pub(super) struct Watched {
    stream: TcpStream,
    wire: Arc<Wire>,
    /// Runs after a write error.
    patience: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, wire: Arc<Wire>) -> Self {
        Self { stream, wire, patience: None }
    }

    fn after_write(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<usize>>,
        offered: usize,
    ) -> Poll<io::Result<usize>> {
        let mut facts = self.wire.facts();
        match result {
            Poll::Ready(Ok(count)) => {
                facts.wrote(count);
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(error)) => {
                facts.blocked = None;
                facts.write_error = Some(error);
                let mut patience = Box::pin(tokio::time::sleep(EARLY_ANSWER));
                let _ = patience.as_mut().poll(cx); // so that the connection's task is woken by it
                self.patience = Some(patience);
                Poll::Ready(Ok(offered))
            }
            Poll::Pending => {
                if facts.blocked.is_none() {
                    facts.blocked = Some(Instant::now());
                }
                Poll::Pending
            }
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let this = &mut *self;
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                let mut facts = this.wire.facts();
                match &buf.filled()[before..] {
                    [] => facts.end = Some(End::Eof),
                    bytes => facts.gave(bytes),
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => {
                this.wire.facts().end = Some(End::Broken);
                Poll::Ready(Err(error))
            }
            Poll::Pending => {
                if let Some(patience) = &mut this.patience
                    && patience.as_mut().poll(cx).is_ready()
                {
                    this.patience = None;
                    if !this.wire.facts().headed {
                        let said = "no answer within 1 s of a write error";
                        return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, said)));
                    }
                }
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.wire.facts().write_error.is_some() {
            return Poll::Ready(Ok(buf.len()));
        }
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.after_write(cx, result, buf.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let offered = bufs.iter().map(|buf| buf.len()).sum();
        if self.wire.facts().write_error.is_some() {
            return Poll::Ready(Ok(offered));
        }
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.after_write(cx, result, offered)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.facts().flushed(); // a socket has no buffer of its own to flush
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A socket whose every write fails, and the other side.
    async fn unwritable() -> (Arc<Wire>, Watched, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let theirs = listener.accept().await.unwrap().0;
        socket2::SockRef::from(&ours).shutdown(std::net::Shutdown::Write).unwrap();
        let wire = Arc::new(Wire::default());
        (wire.clone(), Watched::new(ours, wire), theirs)
    }

    #[tokio::test]
    async fn after_a_write_error_reading_goes_on_for_a_second() {
        let (wire, mut watched, mut theirs) = unwritable().await;
        watched.write_all(&[0; 1000]).await.unwrap();
        watched.flush().await.unwrap();
        assert_eq!(wire.facts().write_error.as_ref().map(io::Error::kind), Some(io::ErrorKind::BrokenPipe));
        assert_eq!(wire.facts().written, 0, "discarded is not sent");
        assert_eq!(wire.facts().finished, None); // on its own: two looks in one statement would wait for each other

        theirs.write_all(b"early").await.unwrap();
        let mut got = [0; 5];
        watched.read_exact(&mut got).await.unwrap();
        assert_eq!((&got, &wire.facts().head[..]), (b"early", &b"early"[..]));

        let start = Instant::now();
        let error = watched.read(&mut got).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() > EARLY_ANSWER / 2);
    }

    #[tokio::test]
    async fn once_a_head_is_there_its_body_has_all_the_time() {
        let (wire, mut watched, _theirs) = unwritable().await;
        watched.write_all(b"x").await.unwrap();
        wire.facts().headed = true;
        let silence = tokio::time::timeout(EARLY_ANSWER * 3 / 2, watched.read(&mut [0])).await;
        assert!(silence.is_err(), "the body's own clock decides");
    }
}

//! The request body as a [`Handler`](super::Handler) sees it: under the client's silence clock, its failures named.
//!
//! It remembers whether it was read to its end, so that the connection knows whether an answer must carry
//! `Connection: close`. It reads nothing before it is polled: no `100 Continue` goes out until then.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::turn::Turn;
use crate::cause::{Cause, Failure, spoken};

/// A request body. Its errors are the client's: `client_timeout` (408), `client_invalid` (400), `client_closed`.
#[derive(Debug)]
pub struct RequestBody {
    /// `None` after an error.
    incoming: Option<Incoming>,
    turn: Arc<Turn>,
    ended: bool,
    silence: Duration,
    /// Since when the reader waits for the client.
    waiting: Option<Instant>,
    /// Made by the first wait; armed again only when it fires.
    clock: Option<Pin<Box<Sleep>>>,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, turn: Arc<Turn>) -> Self {
        let silence = turn.info.listener.body_timeout;
        let ended = incoming.is_end_stream();
        Self { incoming: Some(incoming), turn, ended, silence, waiting: None, clock: None }
    }

    fn end(&mut self) {
        self.ended = true;
        self.turn.body_was_read();
    }

    /// Has the client been silent for too long? Leaves a waker for the time when it will have been.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        let deadline = *self.waiting.get_or_insert_with(Instant::now) + self.silence;
        let clock = self.clock.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        while clock.as_mut().poll(cx).is_ready() {
            if clock.deadline() >= deadline {
                let limit = spoken(self.silence);
                let seen = format!("nothing more of the body for {limit} (limit: timeouts.body)");
                return Poll::Ready(Failure::new(Cause::ClientTimeout).limit(limit).seen(seen));
            }
            clock.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = &mut *self;
        let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
        let item = match Pin::new(&mut *incoming).poll_frame(cx) {
            Poll::Ready(item) => item,
            Poll::Pending => {
                return this.poll_silence(cx).map(|failure| {
                    this.incoming.take().into_iter().for_each(|unread| this.turn.keep_unread(unread));
                    Some(Err(failure))
                });
            }
        };
        this.waiting = None;
        match item {
            Some(Ok(frame)) => {
                // hyper ends trailers by other rules than it reads them: what came behind them may be lost, and with it the place
                // where the next request begins.
                if frame.is_trailers() {
                    this.turn.ends_after();
                }
                let last = incoming.is_end_stream() || frame.is_trailers();
                if last {
                    this.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            None => {
                this.end();
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                this.incoming = None;
                Poll::Ready(Some(Err(classify(error))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if !self.ended
            && let Some(unread) = self.incoming.take()
        {
            self.turn.keep_unread(unread);
        }
    }
}

/// hyper marks what breaks the rules of chunks with these two kinds; everything else is a client that left.
fn classify(error: hyper::Error) -> Failure {
    let broken = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>())
        .filter(|source| matches!(source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput))
        .map(|source| Failure::new(Cause::ClientInvalid).seen(format!("the chunks of its body are broken ({source})")));
    broken.unwrap_or_else(|| Failure::new(Cause::ClientClosed)).from(error)
}

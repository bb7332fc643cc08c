//! What follows the head of an answer: content of a length, in chunks, or until the connection ends, or another
//! protocol; under the clock of silence, and its failures named.

use std::error::Error;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::Core;
use super::answer::Framing;
use crate::cause::{Cause, Failure, Phase, spoken};
use crate::client::Order;
use crate::client::body::{Got, Streaming, Tunnel};
use crate::client::classify;
use crate::message::chunks::{Broken, Chunks, Piece};

/// What is read of a body at once, at most: larger pieces gained nothing and cost memory.
pub(super) const LARGEST_READ: usize = 64 << 10;
/// And at least.
const LEAST_READ: usize = 8 << 10;

/// The body of an answer, as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Download {
    /// It answers a HEAD.
    pub(super) to_head: bool,
    left: Left,
    /// Content handed out.
    got: u64,
    wanted: Option<u64>,
    /// All of it is wanted in one piece.
    whole: bool,
    /// How much is read at once.
    piece: usize,
    /// The longest silence.
    limit: Duration,
    /// Silent since then, asked for more.
    silent: Option<Instant>,
}

#[derive(Debug, Default)]
enum Left {
    /// The connection has become another protocol's, or there is no body.
    #[default]
    Nothing,
    Length(u64),
    Chunks(Chunks, Ahead),
    UntilClose,
}

/// What was found behind the last piece of chunked content.
#[derive(Debug, Default)]
enum Ahead {
    #[default]
    Unknown,
    Data(Bytes),
    Broken(Broken),
}

impl Download {
    /// The answer to a request.
    pub(super) fn to(to_head: bool, order: &Order<'_>) -> Self {
        let piece = order.buffers.response.clamp(LEAST_READ, LARGEST_READ / 2);
        Self { to_head, piece, limit: order.timeouts.body, ..Self::default() }
    }

    /// The head is there.
    pub(super) fn begin(&mut self, framing: Framing) {
        self.left = match framing {
            Framing::Empty | Framing::Switched => Left::Nothing,
            Framing::Length(length) => Left::Length(length),
            Framing::Chunked => Left::Chunks(Chunks::new(), Ahead::Unknown),
            Framing::UntilClose => Left::UntilClose,
        };
        if let Framing::Length(length) = framing {
            self.wanted = Some(length);
        }
    }

    /// What the bytes that are there give; `None`: more are needed.
    fn take(&mut self, input: &mut BytesMut) -> Result<Option<Got>, Broken> {
        let got = match &mut self.left {
            Left::Nothing => Some(Got::End(None)),
            Left::Length(left) if (self.whole && (input.len() as u64) < *left) || input.is_empty() => None,
            Left::Length(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= length as u64;
                Some(Got::Data(input.split_to(length).freeze(), (*left == 0).then_some(None)))
            }
            Left::UntilClose if input.is_empty() => None,
            Left::UntilClose => Some(Got::Data(input.split().freeze(), None)),
            Left::Chunks(chunks, ahead) => {
                let data = match std::mem::take(ahead) {
                    Ahead::Data(data) => data,
                    Ahead::Broken(broken) => return Err(broken),
                    Ahead::Unknown => match chunks.next(input)? {
                        Piece::Data(data) => data,
                        Piece::End(trailers) => return Ok(Some(Got::End(trailers))),
                        Piece::More => return Ok(None),
                    },
                };
                // The end is known with the last content, if it came with it: the connection is free a step earlier.
                let mut end = None;
                match chunks.next(input) {
                    Ok(Piece::Data(data)) => *ahead = Ahead::Data(data),
                    Ok(Piece::End(trailers)) => end = Some(trailers),
                    Ok(Piece::More) => {}
                    Err(broken) => *ahead = Ahead::Broken(broken),
                }
                Some(Got::Data(data, end))
            }
        };
        if let Some(Got::Data(data, _)) = &got {
            self.got += data.len() as u64;
        }
        Ok(got)
    }

    /// How much room the next read gets.
    fn room(&self, there: usize) -> usize {
        match self.left {
            // What was announced is not believed at once: room comes with the bytes.
            Left::Length(left) if self.whole => bounded(left.saturating_sub(there as u64), LARGEST_READ),
            Left::Length(left) => bounded(left, self.piece),
            Left::Nothing | Left::Chunks(..) | Left::UntilClose => self.piece,
        }
    }
}

fn bounded(length: u64, most: usize) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX).min(most)
}

impl<T, B> Core<T, B>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn cut(&mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
        let got = self.download.got + if self.download.wanted.is_some() { self.input.len() as u64 } else { 0 };
        classify::cut_body(&mut self.facts, got, self.download.wanted, source)
    }
}

impl<T, B> Streaming for Core<T, B>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Got, Failure>> {
        if self.poll_upload(cx).is_err() {
            return Poll::Ready(Err(self.cut("the request body failed")));
        }
        loop {
            match self.download.take(&mut self.input) {
                Ok(Some(got)) => {
                    self.download.silent = None;
                    return Poll::Ready(Ok(got));
                }
                Ok(None) => {}
                Err(broken) => return Poll::Ready(Err(self.cut(broken))),
            }
            let room = self.download.room(self.input.len());
            match self.poll_read(room, cx) {
                // A write that met a reset took it off the socket: what looks like an end then may be none.
                Poll::Ready(Ok(0))
                    if matches!(self.download.left, Left::UntilClose) && self.facts.write_error.is_none() =>
                {
                    return Poll::Ready(Ok(Got::End(None)));
                }
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(self.cut("the connection was closed"))),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.cut(error))),
                // It may be waiting for the rest of the request, which the client has not sent yet.
                Poll::Pending if self.facts.waits_for_client() => {
                    self.download.silent = None;
                    return Poll::Pending;
                }
                Poll::Pending => {
                    let limit = self.download.limit;
                    let due = *self.download.silent.get_or_insert_with(Instant::now) + limit;
                    ready!(self.poll_clock(due, cx));
                    let late = Failure::new(Cause::BodyTimeout).in_phase(Phase::Body).sent(true);
                    return Poll::Ready(Err(late.limit(spoken(limit))));
                }
            }
        }
    }

    fn left(&self) -> Option<u64> {
        match self.download.left {
            Left::Length(left) => Some(left),
            Left::Nothing | Left::Chunks(..) | Left::UntilClose => None,
        }
    }

    fn wants_whole(&mut self) {
        self.download.whole = true;
    }

    fn settle(mut self: Box<Self>) {
        self.usual(usize::try_from(self.download.got).unwrap_or(usize::MAX).min(LARGEST_READ));
        self.go_home();
    }

    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let failed = match self.poll_upload(cx) {
            Ok(()) if self.facts.finished.is_some() => return Poll::Ready(Ok(())),
            Ok(()) => self.facts.write_error.take().map(Into::into),
            Err(_) => Some(self.facts.body_error.take().unwrap_or_else(|| "the request body ended early".into())),
        };
        let Some(source) = failed else { return Poll::Pending };
        Poll::Ready(Err(Failure::new(Cause::UpgradeFailed).sent(true).seen("the connection ended").from(source)))
    }

    fn into_tunnel(self: Box<Self>) -> Tunnel {
        let Self { io, input, .. } = *self;
        Tunnel::alone(io, input.freeze())
    }
}

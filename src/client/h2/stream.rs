//! What follows the head of an answer on its stream: content, then trailers; under the clock of silence, and its
//! failures named. What the client does not take is not asked for: the stream's window closes, and no other's.

use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::{RecvStream, SendStream};
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::Seat;
use super::exchange::Start;
use super::fault::{self, Known};
use super::upload::{Facts, Failed, Upload};
use crate::cause::{Cause, Failure, Phase, spoken};
use crate::client::body::{Carrier, Got, Streaming, Tunnel};
use crate::client::classify::CROSSING;
use crate::client::h1::may_trail;
use crate::client::{Order, Progress};
use crate::tunnel::{Duplex, Peer};

/// One exchange's stream. Dropping it resets it, unless it has ended.
pub(super) struct Stream<B> {
    /// `None` in a tunnel.
    upload: Option<Upload<B>>,
    recv: Option<RecvStream>,
    pub(super) facts: Facts,
    start: Start,
    clock: Option<Pin<Box<Sleep>>>,
    /// Content handed out, and how much is to come in all, where that is known.
    got: u64,
    wanted: Option<u64>,
    /// All of it is wanted in one piece.
    whole: Option<BytesMut>,
    /// The longest silence.
    limit: Duration,
    /// Silent since then, asked for more.
    silent: Option<Instant>,
    /// Given back last: the stream has ended then.
    seat: Seat,
}

impl<B> Stream<B>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    pub(super) fn new(
        seat: Seat,
        send: SendStream<Bytes>,
        body: B,
        start: Start,
        order: &Order<'_>,
        progress: &Arc<Progress>,
    ) -> Self {
        let mut facts = Facts::of(progress);
        let upload = Upload::new(body, start.framed, send, order.expects_continue, &mut facts);
        let limit = order.timeouts.body;
        let (recv, clock, wanted, whole, silent) = (None, None, None, None, None);
        Self { upload: Some(upload), recv, facts, start, clock, got: 0, wanted, whole, limit, silent, seat }
    }

    /// The head is there, and this comes behind it.
    pub(super) fn reading(mut self, recv: RecvStream, length: Option<u64>) -> Self {
        (self.recv, self.wanted) = (Some(recv), length);
        self
    }

    pub(super) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), Failed> {
        self.upload.as_mut().map_or(Ok(()), |upload| upload.poll(&mut self.facts, cx))
    }

    /// Ready once this moment has passed.
    pub(super) fn poll_clock(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if deadline < clock.deadline() {
            clock.as_mut().reset(deadline);
        }
        while clock.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            clock.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    fn cut(&mut self, error: &h2::Error) -> Failure {
        fault::cut_body(error, self.known(), self.got, self.wanted)
    }

    fn poll_got(&mut self, cx: &mut Context<'_>) -> Poll<Result<Got, Failure>> {
        let Some(recv) = &mut self.recv else { return Poll::Ready(Ok(Got::End(None))) };
        loop {
            match ready!(recv.poll_data(cx)) {
                Some(Ok(data)) => {
                    let ended = recv.is_end_stream();
                    // A stream that has just ended needs no window.
                    let _ = recv.flow_control().release_capacity(data.len());
                    self.got += data.len() as u64;
                    if !data.is_empty() || ended {
                        return Poll::Ready(Ok(Got::Data(data, ended.then_some(None))));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Err(self.cut(&error))),
                None => {
                    let trailers = ready!(recv.poll_trailers(cx));
                    return Poll::Ready(match trailers {
                        Ok(trailers) => Ok(Got::End(trailers.as_ref().and_then(passing))),
                        Err(error) => Err(self.cut(&error)),
                    });
                }
            }
        }
    }
}

impl<B> Stream<B> {
    pub(super) fn known(&self) -> Known<'_> {
        let (line, wire) = (&self.seat.line, &self.seat.line.wire);
        Known {
            wire,
            reused: self.facts.progress.reused.load(Relaxed),
            crossed: line.was_idle_within(CROSSING),
            dead: line.is_dead(),
            silent: wire.read() == self.start.read,
            sent: wire.written() > self.start.written,
            farewell: line.farewell(),
        }
    }

    /// Whether the connection took a byte since the stream began; the progress hears of it.
    pub(super) fn note_sent(&self) -> bool {
        let sent = self.seat.line.wire.written() > self.start.written;
        if sent {
            self.facts.progress.set_sent();
        }
        sent
    }
}

/// The trailers that may pass.
fn passing(trailers: &HeaderMap) -> Option<Box<HeaderMap>> {
    let fields: HeaderMap = trailers
        .iter()
        .filter(|(name, _)| may_trail(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    (!fields.is_empty()).then(|| Box::new(fields))
}

impl<B> Streaming for Stream<B>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Got, Failure>> {
        if self.poll_upload(cx).is_err() {
            let source = self.facts.body_error.take().unwrap_or_else(|| "the request body failed".into());
            return Poll::Ready(Err(Failure::new(Cause::ClientClosed).in_phase(Phase::Body).sent(true).from(source)));
        }
        loop {
            let got = match self.poll_got(cx) {
                Poll::Ready(got) => got?,
                // It may be waiting for the rest of the request, which the client has not sent yet.
                Poll::Pending if self.facts.waits_for_client() => {
                    self.silent = None;
                    return Poll::Pending;
                }
                Poll::Pending => {
                    let limit = self.limit;
                    let due = *self.silent.get_or_insert_with(Instant::now) + limit;
                    ready!(self.poll_clock(due, cx));
                    let late = Failure::new(Cause::BodyTimeout).in_phase(Phase::Body).sent(true);
                    return Poll::Ready(Err(late.limit(spoken(limit))));
                }
            };
            self.silent = None;
            let Some(whole) = &mut self.whole else { return Poll::Ready(Ok(got)) };
            match got {
                Got::Data(data, None) => whole.extend_from_slice(&data),
                // All in one frame: as it is.
                Got::Data(data, end) if whole.is_empty() => return Poll::Ready(Ok(Got::Data(data, end))),
                Got::Data(data, end) => {
                    whole.extend_from_slice(&data);
                    return Poll::Ready(Ok(Got::Data(whole.split().freeze(), end)));
                }
                Got::End(trailers) => {
                    return Poll::Ready(Ok(Got::Data(whole.split().freeze(), Some(trailers))));
                }
            }
        }
    }

    fn left(&self) -> Option<u64> {
        self.wanted.map(|wanted| wanted.saturating_sub(self.got))
    }

    fn wants_whole(&mut self) {
        self.whole = Some(BytesMut::new());
    }

    fn settle(self: Box<Self>) {}

    fn poll_sent(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(())) // there was nothing but the head
    }

    fn into_tunnel(mut self: Box<Self>) -> Tunnel {
        match (self.recv.take(), self.upload.take()) {
            (Some(recv), Some(upload)) => {
                let io = Duplex::new(recv, upload.into_send());
                Tunnel::over(Seated { io, _stream: self }, Bytes::new())
            }
            _ => Tunnel::alone(tokio::io::join(tokio::io::empty(), tokio::io::sink()), Bytes::new()),
        }
    }
}

/// A stream that has become a tunnel, in its place on the connection.
struct Seated<B> {
    io: Duplex,
    _stream: Box<Stream<B>>,
}

impl<B: Send + Unpin> Carrier for Seated<B> {
    /// One that has not ended is reset in any case.
    fn reset_at_end(&self) {}
}

impl<B: Send + Unpin> Peer for Seated<B> {
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_gone(cx)
    }
}

impl<B: Unpin> AsyncRead for Seated<B> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<B: Unpin> AsyncWrite for Seated<B> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl<B> Drop for Stream<B> {
    fn drop(&mut self) {
        // Whoever gave it up asks how far it came.
        if !self.facts.told {
            self.note_sent();
        }
    }
}

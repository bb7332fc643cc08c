//! The request body, for more than one attempt: what was taken from the client is kept while it fits `buffers.request`.
//!
//! Nothing is taken before an attempt's connection polls for it, so a body of any size survives a dead upstream with no
//! buffer at all. This file never decides about retries; it knows only whether the body is still whole.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

use crate::cause::{Cause, Failure, sized};
use crate::listen::RequestBody;
use crate::memory;

use super::headers::trailer_passes;
use super::held;

/// A request's body; hands out a [`ReplayBody`] to each attempt. Without a body it costs nothing.
#[derive(Clone, Debug)]
pub(super) struct Replay(Option<Arc<Mutex<Source>>>);

#[derive(Debug)]
pub(super) struct Source {
    body: RequestBody,
    kept: Kept,
    /// Trailers, the last of a body.
    trailers: Option<Box<http::HeaderMap>>,
    keep: usize,
    /// More was taken than could be kept: no attempt can start over.
    overflowed: bool,
    ended: bool,
    taken: u64,
    /// `max_body`, and the route that says so.
    max: Option<(u64, Arc<str>)>,
    /// Why the client's side failed.
    failure: Option<Failure>,
    /// Only the newest attempt may take more.
    turn: u64,
    /// What that one has of it.
    given: u64,
    /// It is one of the [`held`].
    held: bool,
    /// Who waits for the client, of those.
    waits: Option<Waker>,
}

/// What was taken so far, while it fits. Small pieces are gathered, so that a body of many tiny chunks costs no more
/// than its bytes; large ones are shared with the reader's buffer.
#[derive(Debug, Default)]
struct Kept {
    pieces: Vec<Bytes>,
    tail: BytesMut,
    bytes: usize,
}

/// Pieces below this are gathered.
const SMALL: usize = 4 << 10;

impl Kept {
    fn push(&mut self, data: &Bytes) {
        self.bytes += data.len();
        if data.len() < SMALL {
            self.tail.extend_from_slice(data);
        }
        if (data.len() >= SMALL || self.tail.len() >= SMALL) && !self.tail.is_empty() {
            self.pieces.push(self.tail.split().freeze());
        }
        if data.len() >= SMALL {
            self.pieces.push(data.clone());
        }
    }

    /// What begins at this byte; `None` when that was not taken yet.
    fn at(&self, mut position: usize) -> Option<Bytes> {
        for piece in &self.pieces {
            if position < piece.len() {
                return Some(piece.slice(position..));
            }
            position -= piece.len();
        }
        self.tail.get(position..).filter(|rest| !rest.is_empty()).map(Bytes::copy_from_slice)
    }
}

impl Replay {
    /// `keep`: `buffers.request`; `max`: the route's `max_body`, and its name.
    pub(super) fn new(body: RequestBody, keep: usize, max: Option<(u64, Arc<str>)>) -> Self {
        if body.is_end_stream() {
            return Self(None);
        }
        let source = Source {
            body,
            kept: Kept::default(),
            trailers: None,
            keep,
            overflowed: false,
            ended: false,
            taken: 0,
            max,
            failure: None,
            turn: 0,
            given: 0,
            held: false,
            waits: None,
        };
        Self(Some(Arc::new(Mutex::new(source))))
    }

    /// The body from its beginning, for one attempt. Earlier ones take no more from here on.
    pub(super) fn attempt(&self) -> ReplayBody {
        let Some(source) = &self.0 else {
            return ReplayBody { source: None, turn: 0, given: 0, total: Some(0), done: true };
        };
        let mut locked = lock(source);
        locked.turn += 1;
        locked.given = 0;
        let total = locked.body.size_hint().exact().map(|left| left + locked.taken);
        ReplayBody { source: Some(Arc::clone(source)), turn: locked.turn, given: 0, total, done: false }
    }

    /// All that was taken is kept: an attempt may start over.
    pub(super) fn whole(&self) -> bool {
        self.0.as_ref().is_none_or(|source| !lock(source).overflowed)
    }

    /// The client's own failure, if that is what ended an attempt. Taken once.
    pub(super) fn failure(&self) -> Option<Failure> {
        self.0.as_ref().and_then(|source| lock(source).failure.take())
    }

    /// The client's body was read to its end.
    pub(super) fn read_to_end(&self) -> bool {
        self.0.as_ref().is_none_or(|source| {
            let source = lock(source);
            source.ended || source.body.is_end_stream()
        })
    }

    /// Bytes taken from the client.
    pub(super) fn taken(&self) -> u64 {
        self.0.as_ref().map_or(0, |source| lock(source).taken)
    }
}

/// The request body as one attempt sees it.
#[derive(Debug)]
pub(super) struct ReplayBody {
    source: Option<Arc<Mutex<Source>>>,
    turn: u64,
    given: u64,
    total: Option<u64>,
    done: bool,
}

/// The client's side of the body failed, or this attempt was superseded. [`Replay::failure`] has the cause.
#[derive(Debug)]
pub(super) struct Ended;

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client's request body ended early")
    }
}

impl Error for Ended {}

impl Body for ReplayBody {
    type Data = Bytes;
    type Error = Ended;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Ended>>> {
        let this = &mut *self;
        if this.done {
            return Poll::Ready(None);
        }
        let Some(shared) = this.source.clone() else { return Poll::Ready(None) };
        let mut source = lock(&shared);
        let polled = if source.turn != this.turn { Poll::Ready(Some(Err(Ended))) } else { source.poll(this.given, cx) };
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(frame))) => {
                this.given += frame.data_ref().map_or(0, |data| data.len() as u64);
                this.done = frame.is_trailers();
                source.given = this.given;
                if source.taken >= held::LEAST && !source.held {
                    source.held = true;
                    held::add(&shared);
                }
            }
            Poll::Ready(_) => this.done = true,
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.done || self.total == Some(self.given)
    }

    fn size_hint(&self) -> SizeHint {
        self.total.map_or_else(SizeHint::default, |total| SizeHint::with_exact(total.saturating_sub(self.given)))
    }
}

impl Source {
    /// The frame that begins at this byte: a kept one, else the next from the client.
    fn poll(&mut self, position: u64, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Ended>>> {
        let kept =
            usize::try_from(position).ok().filter(|_| !self.overflowed).and_then(|position| self.kept.at(position));
        if let Some(data) = kept {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if let Some(trailers) = &self.trailers {
            return Poll::Ready(Some(Ok(Frame::trailers((**trailers).clone()))));
        }
        if self.failure.is_some() {
            return Poll::Ready(Some(Err(Ended)));
        }
        if self.overflowed && position < self.taken {
            // What comes before it was let go when memory was short, just before this attempt began.
            return self.fail(memory::refusal());
        }
        if self.ended {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if self.held {
            self.waits = polled.is_pending().then(|| cx.waker().clone());
        }
        let frame = match std::task::ready!(polled) {
            Some(Ok(frame)) => trimmed(frame),
            Some(Err(failure)) => return self.fail(failure),
            None => {
                self.ended = true;
                return Poll::Ready(None);
            }
        };
        if let Some(data) = frame.data_ref() {
            self.taken += data.len() as u64;
            if let Some((max, route)) = self.max.as_ref().filter(|(max, _)| self.taken > *max) {
                let failure = too_large(None, *max, route);
                return self.fail(failure);
            }
        }
        self.keep(&frame);
        Poll::Ready(Some(Ok(frame)))
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        if let Some(trailers) = frame.trailers_ref() {
            self.trailers = Some(Box::new(trailers.clone()));
        }
        match frame.data_ref() {
            Some(data) if !self.overflowed && self.kept.bytes + data.len() <= self.keep && !memory::is_short() => {
                self.kept.push(data);
            }
            Some(_) if !self.overflowed => {
                self.overflowed = true;
                self.kept = Kept::default();
            }
            Some(_) | None => {}
        }
    }

    /// Memory is short: nothing is kept any more, unless an attempt is in the midst of it. `lasts`: nor is a client
    /// waited for that has been silent for so long.
    fn let_go(&mut self, lasts: Option<Duration>, now: Instant) {
        if self.given < self.taken {
            return;
        }
        self.overflowed = true;
        self.kept = Kept::default();
        let silent = self.body.waits_since().map(|since| now.saturating_duration_since(since));
        if lasts.zip(silent).is_some_and(|(lasts, silent)| silent >= lasts)
            && let Some(waits) = self.waits.take()
        {
            self.failure = Some(memory::refusal());
            waits.wake();
        }
    }

    fn fail(&mut self, failure: Failure) -> Poll<Option<Result<Frame<Bytes>, Ended>>> {
        self.failure = Some(failure);
        Poll::Ready(Some(Err(Ended)))
    }
}

/// The frame, without the trailers that no client may send.
fn trimmed(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            let refused: Vec<_> = trailers.keys().filter(|name| !trailer_passes(name.as_str())).cloned().collect();
            for name in refused {
                trailers.remove(name);
            }
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

/// The refusal of a body over `max_body` of a route; `announced`: its Content-Length, if that is how it is known.
pub(super) fn too_large(announced: Option<u64>, max: u64, route: &str) -> Failure {
    let sent = announced.map_or_else(|| format!("more than {}", sized(max)), sized);
    let seen = format!("{sent} sent, {} allowed (route.{route} max_body)", sized(max));
    Failure::new(Cause::ClientTooLarge).limit(sized(max)).seen(seen)
}

/// See [`Source::let_go`].
pub(super) fn let_go(source: &Mutex<Source>, lasts: Option<Duration>, now: Instant) {
    lock(source).let_go(lasts, now);
}

fn lock(source: &Mutex<Source>) -> MutexGuard<'_, Source> {
    source.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_was_let_go_is_never_sent_as_if_it_were_the_beginning() {
        let replay = Replay(Some(Arc::new(Mutex::new(Source {
            body: RequestBody::none(Duration::from_secs(1)),
            kept: Kept { tail: BytesMut::from("begin"), bytes: 5, ..Kept::default() },
            trailers: None,
            keep: 100,
            overflowed: false,
            ended: true,
            taken: 5,
            max: None,
            failure: None,
            turn: 0,
            given: 0,
            held: true,
            waits: None,
        }))));
        let source = replay.0.as_ref().unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        let (mut first, now) = (replay.attempt(), Instant::now());
        let_go(source, None, now);
        assert!(replay.whole(), "an attempt is in the midst of it");
        let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut first).poll_frame(&mut cx) else { panic!("nothing came") };
        assert_eq!(frame.into_data().unwrap(), "begin");
        assert!(matches!(Pin::new(&mut first).poll_frame(&mut cx), Poll::Ready(None)));
        let_go(source, None, now);
        assert!(!replay.whole());
        let mut second = replay.attempt();
        assert!(matches!(Pin::new(&mut second).poll_frame(&mut cx), Poll::Ready(Some(Err(Ended)))));
        assert_eq!(replay.failure().unwrap().cause, Cause::ProxyBusy);
    }

    proptest! {
        #[test]
        fn what_was_kept_comes_back_from_any_byte(sizes in prop::collection::vec(1usize..9000, 0..12), from in 0usize..40_000) {
            let mut kept = Kept::default();
            let mut whole = Vec::new();
            for (index, size) in sizes.iter().enumerate() {
                let data = Bytes::from(vec![index as u8; *size]);
                kept.push(&data);
                whole.extend_from_slice(&data);
            }
            prop_assert_eq!(kept.bytes, whole.len());
            let (mut back, mut position) = (Vec::new(), from.min(whole.len()));
            while let Some(data) = kept.at(position) {
                position += data.len();
                back.extend_from_slice(&data);
            }
            prop_assert_eq!(back, &whole[from.min(whole.len())..]);
            prop_assert!(kept.pieces.len() <= 2 + whole.len() / (SMALL / 2), "{} pieces", kept.pieces.len());
        }
    }
}

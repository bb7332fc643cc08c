//! An answer on its way out: its body is taken no faster than the client takes what came before.
//!
//! A body that breaks off leaves what came of it, so that the client sees how far it got, and then a visible end.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::Instant;

use super::answer::Ending;
use super::{Connection, End};
use crate::listen::Handler;
use crate::message::Outbox;

/// See the module.
pub(super) struct Sending {
    ending: Ending,
    /// The body broke off, or is not as long as was said.
    broken: bool,
    /// Something was written since the last flush.
    unflushed: bool,
    stall: Option<Stall>,
}

/// A client that takes nothing.
pub(super) struct Stall {
    since: Instant,
    /// What the kernel held of the answer then.
    held: usize,
}

impl Stall {
    pub(super) const fn since(&self) -> Instant {
        self.since
    }

    /// The kernel takes more only when much of what it holds is gone: less held than before is no stall.
    pub(super) fn moves(&mut self, held: usize) -> bool {
        let moves = held < self.held;
        if moves {
            *self = Self { since: Instant::now(), held };
        }
        moves
    }
}

impl Sending {
    pub(super) const fn new(ending: Ending) -> Self {
        Self { ending, broken: false, unflushed: false, stall: None }
    }

    /// Is there nothing (more) to be taken of a body like this?
    fn ends(&self) -> bool {
        matches!(self.ending, Ending::Bodiless | Ending::Switched | Ending::Length(0))
    }

    /// Takes a frame. `true`: it was the last.
    fn put(&mut self, frame: Frame<Bytes>, outbox: &mut Outbox) -> bool {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                match (self.ending, frame.into_trailers()) {
                    (Ending::Chunked { trailers: true }, Ok(trailers)) => outbox.trailers(&trailers),
                    _ => self.end(outbox),
                }
                return true;
            }
        };
        match &mut self.ending {
            Ending::Length(left) => {
                let length = data.len() as u64;
                if length > *left {
                    self.broken = true;
                    return true;
                }
                *left -= length;
                outbox.data(data);
                *left == 0
            }
            Ending::Chunked { .. } => {
                outbox.chunk(data);
                false
            }
            Ending::UntilClose => {
                outbox.data(data);
                false
            }
            Ending::Bodiless | Ending::Switched => true,
        }
    }

    /// The body has no more.
    fn end(&mut self, outbox: &mut Outbox) {
        match self.ending {
            Ending::Length(1..) => self.broken = true,
            Ending::Chunked { .. } => outbox.last_chunk(),
            Ending::Length(0) | Ending::UntilClose | Ending::Bodiless | Ending::Switched => {}
        }
    }
}

impl<H: Handler> Connection<'_, '_, H> {
    /// Sends until all of the answer is with the kernel. The body is dropped, and with it what is recorded of it ends,
    /// when its last frame was taken.
    pub(super) fn poll_send(
        &mut self,
        sending: &mut Sending,
        mut body: Pin<&mut Option<H::Body>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), End>> {
        if self.clocks.as_mut().drained(cx) {
            return Poll::Ready(Err(End::Cut));
        }
        loop {
            self.fill(sending, body.as_mut(), cx);
            let written = if !self.outbox.is_empty() {
                sending.unflushed = true;
                self.link.poll_write(&mut self.outbox, cx).map_ok(drop)
            } else if sending.unflushed {
                let flushed = self.link.poll_flush(cx);
                sending.unflushed = flushed.is_pending();
                flushed
            } else if body.is_none() {
                return Poll::Ready(if sending.broken { Err(End::Broken) } else { Ok(()) });
            } else {
                break;
            };
            match written {
                Poll::Ready(Ok(())) => sending.stall = None,
                Poll::Ready(Err(_)) => return Poll::Ready(Err(End::Broken)),
                Poll::Pending => {
                    if sending.stall.is_none() {
                        let held = self.link.with(|wire| wire.stream.unconfirmed()).unwrap_or_default();
                        sending.stall = Some(Stall { since: Instant::now(), held });
                    }
                    break;
                }
            }
        }
        self.poll_client(&mut sending.stall, cx).map(Err)
    }

    /// Takes what there is of the body, as long as there is room.
    fn fill(&mut self, sending: &mut Sending, mut body: Pin<&mut Option<H::Body>>, cx: &mut Context<'_>) {
        while let Some(source) = body.as_mut().as_pin_mut() {
            if !sending.ends() {
                if !self.outbox.has_room() {
                    return;
                }
                let mut source = source;
                match source.as_mut().poll_frame(cx) {
                    Poll::Pending => return,
                    Poll::Ready(Some(Ok(frame))) => {
                        if !sending.put(frame, &mut self.outbox) {
                            if !source.is_end_stream() {
                                continue;
                            }
                            sending.end(&mut self.outbox);
                        }
                    }
                    Poll::Ready(Some(Err(_))) => sending.broken = true,
                    Poll::Ready(None) => sending.end(&mut self.outbox),
                }
            }
            body.set(None);
        }
    }
}

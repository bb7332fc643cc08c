//! A body compressed as it comes. What waits inside the compressor goes out as soon as the upstream pauses; a body that
//! breaks ends in its error, never in the end that says it is whole.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};

use crate::cause::{Cause, Failure, Phase};

use super::encoder::Encoder;

/// What is gathered before it goes on.
const ENOUGH: usize = 16 << 10;

/// See the module.
#[derive(Debug)]
pub(in crate::proxy) struct Encoded<B> {
    body: B,
    encoder: Encoder,
    out: Vec<u8>,
    /// The compressor holds what has not come out.
    holds: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    Running,
    /// The body's end is in `out`; trailers follow it.
    Ended(Option<HeaderMap>),
    Done,
}

impl<B: Body<Data = Bytes, Error = Failure> + Unpin> Encoded<B> {
    pub(in crate::proxy) fn new(body: B, encoder: Encoder) -> Self {
        Self { body, encoder, out: Vec::new(), holds: false, state: State::Running }
    }

    /// Has all of it been given?
    pub(in crate::proxy) const fn complete(&self) -> bool {
        matches!(self.state, State::Done)
    }

    pub(in crate::proxy) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        while matches!(self.state, State::Running) && self.out.len() < ENOUGH {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        self.holds |= !data.is_empty();
                        if let Err(error) = self.encoder.write(&data, &mut self.out) {
                            return self.broke(failed(error));
                        }
                    }
                    Err(frame) => {
                        if let Err(error) = self.end(frame.into_trailers().ok()) {
                            return self.broke(error);
                        }
                    }
                },
                Poll::Ready(Some(Err(failure))) => return self.broke(failure),
                Poll::Ready(None) => {
                    if let Err(error) = self.end(None) {
                        return self.broke(error);
                    }
                }
                Poll::Pending => {
                    if self.holds {
                        self.holds = false;
                        if let Err(error) = self.encoder.flush(&mut self.out) {
                            return self.broke(failed(error));
                        }
                    }
                    if self.out.is_empty() {
                        return Poll::Pending;
                    }
                    // Asked again, the body says again when it has more.
                    break;
                }
            }
        }
        if !self.out.is_empty() {
            let out = std::mem::take(&mut self.out);
            if matches!(self.state, State::Ended(None)) {
                self.state = State::Done;
            }
            return Poll::Ready(Some(Ok(Frame::data(out.into()))));
        }
        match std::mem::replace(&mut self.state, State::Done) {
            State::Ended(Some(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            State::Ended(None) | State::Done | State::Running => Poll::Ready(None),
        }
    }

    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Failure> {
        self.encoder.finish(&mut self.out).map_err(failed)?;
        self.state = State::Ended(trailers);
        Ok(())
    }

    /// What is left inside is of no use to anybody.
    fn broke<T>(&mut self, failure: Failure) -> Poll<Option<Result<T, Failure>>> {
        self.out.clear();
        self.state = State::Done;
        Poll::Ready(Some(Err(failure)))
    }
}

fn failed(error: std::io::Error) -> Failure {
    Failure::new(Cause::Bug).in_phase(Phase::Body).sent(true).from(error)
}

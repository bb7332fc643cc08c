//! The gate in front of a request body: it is not polled before the upstream wants it, nor after the upstream has
//! stopped taking it.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::io::Wire;

/// How long an upstream may leave `Expect: 100-continue` unanswered (RFC 9110 §10.1.1: do not wait for ever).
const CONTINUE: Duration = Duration::from_secs(1);

/// A request body behind its gate.
pub(super) struct Gate<B> {
    /// `None` only when it was taken back.
    body: Option<B>,
    wire: Arc<Wire>,
    door: Door,
}

enum Door {
    Open,
    /// Until the upstream's 100, or the clock; the clock starts at the first poll.
    Waiting(Option<Pin<Box<Sleep>>>),
}

/// Tells hyper that the body failed; what it failed with is among the wire's facts.
#[derive(Debug)]
pub(super) struct BodyFailed;

impl fmt::Display for BodyFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request body failed")
    }
}

impl Error for BodyFailed {}

impl<B> Gate<B> {
    pub(super) fn new(body: B, wire: Arc<Wire>, waits: bool) -> Self {
        Self { body: Some(body), wire, door: if waits { Door::Waiting(None) } else { Door::Open } }
    }

    /// The body, if hyper gave it back unsent.
    pub(super) fn into_body(mut self) -> Option<B> {
        self.body.take()
    }
}

impl<B> Drop for Gate<B> {
    /// hyper drops a body when it has written all that the request's length allows, asked for its end or not.
    fn drop(&mut self) {
        self.wire.facts().given = true;
    }
}

impl<B> Body for Gate<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = BodyFailed;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFailed>>> {
        let this = self.get_mut();
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        {
            let facts = this.wire.facts();
            if facts.write_error.is_some() {
                return Poll::Pending; // nobody takes it: the connection ends by what is read, or by its clock
            }
            if let Door::Waiting(clock) = &mut this.door {
                if facts.headed {
                    return Poll::Pending; // answered without it
                }
                let clock = clock.get_or_insert_with(|| Box::pin(tokio::time::sleep(CONTINUE)));
                if !facts.continued && clock.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                this.door = Door::Open;
            }
        }
        let frame = std::task::ready!(Pin::new(&mut *body).poll_frame(cx));
        let ended = frame.is_none() || body.is_end_stream();
        match frame {
            Some(Err(error)) => {
                this.wire.facts().body_error = Some(error.into());
                Poll::Ready(Some(Err(BodyFailed)))
            }
            frame => {
                if ended {
                    this.wire.facts().given = true;
                }
                Poll::Ready(frame.map(|f| f.map_err(|_| BodyFailed)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Full};
    use std::io::ErrorKind;
    use tokio::time::Instant;

    fn gate(waits: bool) -> (Arc<Wire>, Gate<Full<Bytes>>) {
        let wire = Arc::new(Wire::default());
        (wire.clone(), Gate::new(Full::new("body".into()), wire, waits))
    }

    fn is_closed(gate: &mut Gate<Full<Bytes>>) -> bool {
        Pin::new(gate).poll_frame(&mut Context::from_waker(std::task::Waker::noop())).is_pending()
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_at_a_100_or_after_a_second() {
        let (wire, mut told) = gate(true);
        assert!(is_closed(&mut told));
        wire.facts().continued = true;
        assert!(!is_closed(&mut told));

        let start = Instant::now();
        let (_, waited) = gate(true);
        assert_eq!(waited.collect().await.unwrap().to_bytes(), "body");
        assert_eq!(start.elapsed().as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn it_stays_shut_when_nobody_wants_the_body() {
        let (wire, mut answered) = gate(true);
        wire.facts().headed = true;
        assert!(is_closed(&mut answered));
        tokio::time::advance(2 * CONTINUE).await;
        assert!(is_closed(&mut answered));

        let (wire, mut broken) = gate(false);
        wire.facts().write_error = Some(ErrorKind::BrokenPipe.into());
        assert!(is_closed(&mut broken));
        assert_eq!(broken.into_body().map(|body| body.size_hint().exact()), Some(Some(4)), "untouched");
    }
}

//! One exchange on a stream, from the request's head to the answer's: what is sent, what is read, which clock runs.
//!
//! It names what ended it; it never tries again. Dropped, it resets its stream.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::ResponseFuture;
use http::header::{CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::fault;
use super::request::Asked;
use super::stream::Stream;
use crate::cause::{Cause, Failure, Phase, sized, spoken};
use crate::client::body::Body;
use crate::client::h1::{MAX_FIELDS, of_fields};
use crate::client::head::Framed;
use crate::client::{Order, Progress};
use crate::tunnel::handshake;

/// How long an answer is waited for once the upstream takes no more of the request.
const EARLY_ANSWER: Duration = Duration::from_secs(1);
/// Answers of status 1xx before the one that counts.
const MAX_INTERIM: u32 = 1000;

/// How things were when the stream began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    /// Bytes that the connection had given.
    pub(super) read: u64,
    /// Bytes that it had taken.
    pub(super) written: u64,
    /// The method is HEAD.
    pub(super) to_head: bool,
    pub(super) framed: Framed,
}

/// Sends the body and waits for the head. `asked`: for a WebSocket.
pub(super) async fn exchange<B>(
    mut stream: Stream<B>,
    answer: ResponseFuture,
    start: Start,
    asked: Option<Asked>,
    order: &Order<'_>,
    progress: &Arc<Progress>,
) -> Result<Response<Body>, Failure>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut waiting = Waiting { answer, interim: 0 };
    let answered = poll_fn(|cx| stream.poll_answer(&mut waiting, order, cx)).await;
    match answered {
        Ok(response) => {
            let answer = stream.answered(response, order, start.to_head, asked.is_some())?;
            Ok(match asked {
                Some(asked) => switched(answer, &asked),
                None => answer,
            })
        }
        Err(failure) => {
            stream.facts.told = true;
            if !failure.sent {
                progress.take_back();
            }
            Err(failure)
        }
    }
}

/// The answer that is still to come.
pub(super) struct Waiting {
    answer: ResponseFuture,
    interim: u32,
}

impl<B> Stream<B>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn poll_answer(
        &mut self,
        waiting: &mut Waiting,
        order: &Order<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<RecvStream>, Failure>> {
        let uploaded = self.poll_upload(cx);
        let sent = self.note_sent();
        if uploaded.is_err() {
            let source = self.facts.body_error.take().unwrap_or_else(|| "the request body ended early".into());
            let failure = Failure::new(Cause::ClientClosed).in_phase(Phase::Request).sent(sent);
            return Poll::Ready(Err(failure.from(source)));
        }
        // A head that is there goes before all that the library may say of the stream.
        while let Poll::Ready(Some(Ok(interim))) = waiting.answer.poll_informational(cx) {
            waiting.interim += 1;
            if waiting.interim > MAX_INTERIM {
                let failure = Failure::new(Cause::InvalidHead).in_phase(Phase::Head).sent(true);
                return Poll::Ready(Err(failure.seen(format!("{MAX_INTERIM} interim answers and no other"))));
            }
            if interim.status() == StatusCode::SWITCHING_PROTOCOLS {
                // HTTP/2 has none (RFC 9113 §8.6); whoever means it sends no other.
                let failure = Failure::new(Cause::H2ProtocolError).in_phase(Phase::Head).sent(true);
                return Poll::Ready(Err(failure.seen("it answered 101, which HTTP/2 does not have")));
            }
            if interim.status() == StatusCode::CONTINUE && !self.facts.continued {
                self.facts.continued = true;
                cx.waker().wake_by_ref(); // the body may go out now
            }
        }
        match Pin::new(&mut waiting.answer).poll(cx) {
            Poll::Ready(Ok(response)) => Poll::Ready(Ok(response)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(fault::no_head(&error, self.known()))),
            Poll::Pending => self.poll_clocks(order, cx).map(Err),
        }
    }

    /// The clock that runs now: none, while the client is slow with its body.
    fn poll_clocks(&mut self, order: &Order<'_>, cx: &mut Context<'_>) -> Poll<Failure> {
        let timeouts = order.timeouts;
        let (since, limit, cause, phase) = match (self.facts.stopped, self.facts.finished, self.facts.blocked) {
            (Some(stopped), ..) => (stopped, EARLY_ANSWER, Cause::H2ProtocolError, Phase::Request),
            (_, Some(finished), _) => (finished, timeouts.read, Cause::ReadTimeout, Phase::Head),
            (.., Some(blocked)) => (blocked, timeouts.write, Cause::WriteTimeout, Phase::Request),
            (None, None, None) => return Poll::Pending,
        };
        ready!(self.poll_clock(since + limit, cx));
        let failure = Failure::new(cause).in_phase(phase).sent(self.note_sent());
        Poll::Ready(match cause {
            Cause::H2ProtocolError => failure.seen("it stopped the request, and did not answer"),
            _ => failure.limit(spoken(limit)),
        })
    }

    /// The answer and its body, which takes the stream along unless it is complete already.
    fn answered(
        mut self,
        response: Response<RecvStream>,
        order: &Order<'_>,
        to_head: bool,
        tunnel: bool,
    ) -> Result<Response<Body>, Failure> {
        let (mut head, recv) = response.into_parts();
        let limit = order.buffers.response_head;
        let size = size(&head.headers);
        let (bytes, fields) = (size > limit, head.headers.len() > MAX_FIELDS);
        if bytes || fields {
            let limit = if bytes { sized(limit as u64) } else { format!("{MAX_FIELDS} fields") };
            let failure = Failure::new(Cause::ResponseHeadTooLarge).sent(true).limit(limit);
            return Err(failure.oversize(of_fields(size, &head.headers)));
        }
        (self.facts.headed, self.facts.told) = (true, true);
        self.facts.progress.set_sent();
        self.facts.progress.set_head_bytes(size);
        self.facts.progress.set_phase(Phase::Body);
        let no_body = to_head || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        // Complete, even while the request is still being sent: a status of gRPC that comes early must end its stream
        // with its head.
        let body = if tunnel && head.status.is_success() {
            Body::stream(Box::new(self.reading(recv, None)))
        } else if no_body || recv.is_end_stream() {
            Body::empty()
        } else {
            let length = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.trim().parse().ok());
            Body::stream(Box::new(self.reading(recv, length)))
        };
        head.extensions.clear();
        Ok(Response::from_parts(head, body))
    }
}

/// The answer to an extended CONNECT as that to the Upgrade it stands for, with the proof that is the client's due.
fn switched(mut answer: Response<Body>, asked: &Asked) -> Response<Body> {
    if answer.status().is_success() {
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let fields = answer.headers_mut();
        fields.remove(CONTENT_LENGTH);
        fields.insert(UPGRADE, HeaderValue::from_static(handshake::PROTOCOL));
        fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        if let Ok(key) = asked.key() {
            fields.insert(SEC_WEBSOCKET_ACCEPT, handshake::accept(key));
        }
    }
    answer
}

/// As it would be in HTTP/1.1, where `buffers.response_head` has its meaning from.
fn size(fields: &HeaderMap) -> usize {
    const STATUS_LINE: usize = "HTTP/1.1 200 OK\r\n\r\n".len();
    fields.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum::<usize>() + STATUS_LINE
}

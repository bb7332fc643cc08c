//! Between hyper and the [`Handler`]: the request's body is wrapped, the answer gets `Connection: close` where it must
//! have it, and the end of its body is told to the driver.
//!
//! Nothing else of an answer is touched; hop-by-hop fields are the handler's business.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::turn::Turn;
use super::{Handler, RequestBody};

/// The status of an answer that nobody waits for any more: it is not sent.
const GONE: u16 = 499;

/// Hands a request to the handler, and its answer back to hyper.
pub(super) fn call<H: Handler>(
    handler: &H,
    turn: Arc<Turn>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<AnswerBody<H::Body>>, Infallible>> + Send + use<H> {
    let asked = Asked::of(&request);
    turn.request(request.body().is_end_stream(), !asked.keep_alive);
    // Called at once: what is moved from here on is the handler's future, and no longer the request.
    let answer = handler.call(request.map(|incoming| RequestBody::new(incoming, turn.clone())), &turn.info);
    async move {
        let answer = answer.await;
        if answer.status().as_u16() == GONE {
            turn.client_gone();
        }
        Ok(dress(answer, asked, turn))
    }
}

/// What must be known of a request when its answer goes out.
#[derive(Clone, Copy)]
struct Asked {
    http10: bool,
    keep_alive: bool,
    head: bool,
    connect: bool,
}

impl Asked {
    fn of<B>(request: &Request<B>) -> Self {
        let http10 = request.version() == Version::HTTP_10;
        let close = has_token(request.headers(), "close");
        Self {
            http10,
            keep_alive: !close && (!http10 || has_token(request.headers(), "keep-alive")),
            head: request.method() == Method::HEAD,
            connect: request.method() == Method::CONNECT,
        }
    }
}

/// Looks at every field: for so few that is cheaper than a hash.
fn has_token(fields: &HeaderMap, token: &str) -> bool {
    fields.iter().filter(|(name, _)| *name == CONNECTION).any(|(_, value)| {
        value.as_bytes().split(|&b| b == b',').any(|t| t.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    })
}

/// Changed where it is: hyper's pieces move it often enough.
fn dress<B: Body>(mut answer: Response<B>, asked: Asked, turn: Arc<Turn>) -> Response<AnswerBody<B>> {
    let status = answer.status();
    // hyper would speak HTTP/1.0 to everyone because an upstream did; to HTTP/1.0 clients it does anyway.
    *answer.version_mut() = Version::HTTP_11;
    if status == StatusCode::SWITCHING_PROTOCOLS || asked.connect && status.is_success() {
        turn.switches();
        turn.answer(false, false);
    } else {
        let bodiless = asked.head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let until_close = asked.http10
            && !bodiless
            && !answer.body().is_end_stream()
            && answer.body().size_hint().exact().is_none()
            && !answer.headers().contains_key(CONTENT_LENGTH);
        let closing = until_close
            || !asked.keep_alive
            || !turn.body_read()
            || turn.ends()
            || turn.info.drain.begun()
            || has_token(answer.headers(), "close");
        if closing {
            if asked.http10 {
                // To an answer of HTTP/1.1 hyper would add `keep-alive`, because the client had asked for it.
                *answer.version_mut() = Version::HTTP_10;
            }
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        turn.answer(closing, until_close);
    }
    answer.map(|body| AnswerBody { body, turn, broken: None })
}

pin_project_lite::pin_project! {
    /// The body of an answer. An error waits until the bytes before it are out, so that the client sees how far it
    /// came.
    pub(super) struct AnswerBody<B: Body> {
        #[pin]
        body: B,
        turn: Arc<Turn>,
        broken: Option<Box<B::Error>>,
    }

    impl<B: Body> PinnedDrop for AnswerBody<B> {
        fn drop(this: Pin<&mut Self>) {
            this.turn.answer_ended();
        }
    }
}

impl<B: Body<Data = Bytes>> Body for AnswerBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if this.broken.is_none() {
            match ready!(this.body.poll_frame(cx)) {
                Some(Err(error)) => *this.broken = Some(Box::new(error)),
                item => {
                    this.turn.wrote();
                    return Poll::Ready(item);
                }
            }
        }
        // No waker is needed: hyper flushes after this, now or when the socket takes more, and then asks again.
        if this.turn.unflushed() {
            return Poll::Pending;
        }
        this.turn.answer_failed();
        Poll::Ready(this.broken.take().map(|error| Err(*error)))
    }

    fn is_end_stream(&self) -> bool {
        self.broken.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

//! One exchange, from the request's first byte to the answer's head: what is written, what is read, which clock runs.
//!
//! It names what ended it; it never tries again.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};

use super::answer::{self, Answer, Framing, MAX_FIELDS, Refused};
use super::download::Download;
use super::facts::{Facts, KEPT_HEAD};
use super::oversize;
use super::upload::{Stopped, Upload};
use super::{Core, FIRST_READ};
use crate::cause::{Cause, Failure, Oversize, Phase, protocol, spoken};
use crate::client::body::Body;
use crate::client::classify::{self, CROSSING, Codec, On, TooLarge};
use crate::client::head::Outgoing;
use crate::client::reuse::Limits;
use crate::client::{Order, Progress};

/// How long reading goes on after a write error, for the head of an early answer.
const EARLY_ANSWER: Duration = Duration::from_secs(1);
/// Answers of status 1xx before the one that counts: some apps send one for each second of work.
const MAX_INTERIM: u32 = 1000;
/// Below this, a head that comes in pieces is parsed anew with each piece; above, with each line.
const EAGER: usize = 1 << 10;

/// An exchange on its way to the response head. Dropping it ends it and its connection.
pub struct Exchange<'a, T, B> {
    pub(super) core: Option<Box<Core<T, B>>>,
    pub(super) order: Order<'a>,
}

impl<T, B> fmt::Debug for Exchange<'_, T, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").finish_non_exhaustive()
    }
}

impl<T, B> Future for Exchange<'_, T, B>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = Result<Response<Body>, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let spent = || Failure::new(Cause::Bug).seen("a connection that was called twice");
        let Some(core) = &mut this.core else { return Poll::Ready(Err(spent())) };
        let answer = ready!(core.poll_answer(&this.order, cx));
        let core = this.core.take().ok_or_else(spent);
        Poll::Ready(answer.and_then(|answer| Ok(core?.answered(answer, &this.order))))
    }
}

impl<T, B> Core<T, B>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    pub(super) fn begin(&mut self, order: &Order<'_>, request: Outgoing<B>, progress: &Arc<Progress>) {
        self.facts = Facts::of(progress.clone(), self.woken.take());
        self.download = Download::to(request.head.to_head, order);
        self.upload = Some(Upload::new(request, order.expects_continue));
    }

    fn poll_answer(&mut self, order: &Order<'_>, cx: &mut Context<'_>) -> Poll<Result<Answer, Failure>> {
        if !self.asked {
            self.check_silence(order, cx)?;
        }
        loop {
            if let Err(stopped) = self.poll_upload(cx) {
                let codec = Codec { short_body: stopped == Stopped::Length, ..Codec::default() };
                return Poll::Ready(Err(self.no_head(order, codec, "the request body ended early")));
            }
            match self.poll_head(order, cx) {
                Poll::Ready(Ok(answer)) if answer.framing == Framing::Switched || !answer.status.is_informational() => {
                    return Poll::Ready(Ok(answer));
                }
                // The request may go on.
                Poll::Ready(Ok(interim)) => {
                    self.facts.continued |= interim.status == StatusCode::CONTINUE;
                    self.facts.interim += 1;
                    if self.facts.interim > MAX_INTERIM {
                        let failure = Failure::new(Cause::InvalidHead).in_phase(Phase::Head).sent(true);
                        return Poll::Ready(Err(failure.seen(format!("{MAX_INTERIM} interim answers and no other"))));
                    }
                }
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Pending => {
                    self.facts.just_now = None;
                    return self.poll_clocks(order, cx).map(Err);
                }
            }
        }
    }

    /// What an upstream says on a fresh connection before it was asked is not the answer to anything.
    fn check_silence(&mut self, order: &Order<'_>, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.asked = true;
        match self.poll_read(self.usual, cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(0)) => Err(self.no_head(order, Codec::default(), "the connection was closed")),
            Poll::Ready(Ok(_)) => {
                let codec = Codec { parse: true, ..Codec::default() };
                Err(self.no_head(order, codec, "the upstream spoke before it was asked"))
            }
            Poll::Ready(Err(error)) => Err(self.no_head(order, Codec::default(), error)),
        }
    }

    pub(super) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), Stopped> {
        match &mut self.upload {
            Some(upload) if !upload.is_done() => match upload.poll(&mut self.io, &mut self.facts, cx) {
                Poll::Ready(result) => result,
                Poll::Pending => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// The next head, interim or final.
    fn poll_head(&mut self, order: &Order<'_>, cx: &mut Context<'_>) -> Poll<Result<Answer, Failure>> {
        let limit = order.buffers.response_head;
        let mut parse = !self.input.is_empty();
        loop {
            let before = self.input.len();
            if parse {
                match answer::take(&mut self.input, self.download.to_head, &mut self.last) {
                    Ok(Some(answer)) if before - self.input.len() > limit => {
                        let over = oversize::of_fields(before - self.input.len(), &answer.fields);
                        return Poll::Ready(Err(self.too_large(order, TooLarge::Bytes, over)));
                    }
                    Ok(Some(answer)) => {
                        if let Some(progress) = &self.facts.progress {
                            progress.set_head_bytes(before - self.input.len());
                        }
                        return Poll::Ready(Ok(answer));
                    }
                    Ok(None) if before >= limit => {
                        let over = self.read_on(cx);
                        return Poll::Ready(Err(self.too_large(order, TooLarge::Bytes, over)));
                    }
                    Ok(None) => {
                        if let Some(progress) = &self.facts.progress
                            && protocol::begins_http1(&self.input)
                        {
                            progress.set_head_bytes(before);
                        }
                    }
                    Err(refused) => return Poll::Ready(Err(self.refused(order, refused, cx))),
                }
            }
            let room = if before == 0 { self.usual } else { before.clamp(1 << 10, FIRST_READ) };
            match ready!(self.poll_read(room, cx)) {
                Ok(0) => {
                    if before > 0
                        && let Err(refused) = answer::take(&mut self.input, self.download.to_head, &mut self.last)
                    {
                        return Poll::Ready(Err(self.refused(order, refused, cx)));
                    }
                    return Poll::Ready(Err(self.no_head(order, Codec::default(), "the connection was closed")));
                }
                Ok(_) => {
                    let new = &self.input[before..];
                    parse = self.input.len() < EAGER || self.input.len() >= limit || new.contains(&b'\n');
                }
                Err(error) => return Poll::Ready(Err(self.no_head(order, Codec::default(), error))),
            }
        }
    }

    /// The clock that runs now: none, while the client is slow with its body.
    fn poll_clocks(&mut self, order: &Order<'_>, cx: &mut Context<'_>) -> Poll<Failure> {
        let timeouts = order.timeouts;
        let facts = &self.facts;
        let (since, limit, named) = match (facts.write_ended, facts.finished, facts.blocked) {
            (Some(ended), ..) => (ended, EARLY_ANSWER, None),
            (_, Some(finished), _) => (finished, timeouts.read, Some((Cause::ReadTimeout, Phase::Head))),
            (.., Some(blocked)) => (blocked, timeouts.write, Some((Cause::WriteTimeout, Phase::Request))),
            (None, None, None) => return Poll::Pending,
        };
        ready!(self.poll_clock(since + limit, cx));
        Poll::Ready(match named {
            Some((cause, phase)) => {
                let failure = Failure::new(cause).in_phase(phase).sent(self.facts.written > 0).limit(spoken(limit));
                // It is not silent: the head comes too slowly, or stops in its midst.
                let begun = cause == Cause::ReadTimeout && protocol::begins_http1(&self.input);
                if begun { failure.seen(format!("{} bytes", self.input.len())) } else { failure }
            }
            None => self.no_head(order, Codec::default(), "no answer within 1 s of a write error"),
        })
    }

    /// How large the head is: what the upstream has sent of it by now is read, so that its size can often be told
    /// whole.
    fn read_on(&mut self, cx: &mut Context<'_>) -> Oversize {
        let mut from = 0;
        while !oversize::ends(&self.input, from) && self.input.len() < oversize::MOST {
            from = self.input.len();
            if !matches!(self.poll_read(FIRST_READ, cx), Poll::Ready(Ok(1..))) {
                break;
            }
        }
        oversize::of_bytes(&self.input)
    }

    fn too_large(&mut self, order: &Order<'_>, too_large: TooLarge, over: Oversize) -> Failure {
        let codec = Codec { too_large: Some(too_large), ..Codec::default() };
        let failure = self.no_head(order, codec, "the head is larger than causeway takes");
        if failure.cause == Cause::ResponseHeadTooLarge { failure.oversize(over) } else { failure }
    }

    fn refused(&mut self, order: &Order<'_>, refused: Refused, cx: &mut Context<'_>) -> Failure {
        match refused {
            Refused::Coding | Refused::TwoFramings | Refused::Length(_) => {
                let failure = Failure::new(Cause::InvalidHead).in_phase(Phase::Head).sent(true);
                Failure { seen: Some(refused.to_string()), ..failure }.from(refused)
            }
            Refused::Parse(_) => self.no_head(order, Codec { parse: true, ..Codec::default() }, refused),
            Refused::TooManyFields => {
                let over = self.read_on(cx);
                self.too_large(order, TooLarge::Fields, over)
            }
        }
    }

    fn no_head(&mut self, order: &Order<'_>, codec: Codec, source: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
        // What breaks the rules may stand anywhere in it.
        let kept = if codec.parse { self.input.len() } else { self.input.len().min(KEPT_HEAD) };
        self.facts.head = self.input[..kept].to_vec();
        let crossed = self.rested.is_none_or(|(_, woken)| woken.elapsed() < CROSSING);
        let head_limit = order.buffers.response_head;
        let on = On { reused: self.reused, crossed, head_limit, fields_limit: MAX_FIELDS };
        let failure = classify::no_head(&mut self.facts, codec, on, source);
        if failure.cause == Cause::StaleConnection {
            self.met_close();
        }
        failure
    }

    /// The answer and its body, which takes the connection along unless it is complete already.
    fn answered(mut self: Box<Self>, answer: Answer, order: &Order<'_>) -> Response<Body> {
        self.facts.head();
        let idle = answer.idle.unwrap_or(order.connections.idle);
        // Behind a PROXY header it belongs to one client.
        let count = if order.endpoint.proxy_protocol { 0 } else { order.connections.max_idle };
        self.limits = Limits { idle, until: self.born + order.connections.max_age, count };
        self.announced = answer.idle.is_some();
        self.keeps = answer.keeps;
        let body = match answer.framing {
            Framing::Empty => {
                self.go_home();
                Body::empty()
            }
            Framing::Length(length) if self.input.len() as u64 >= length => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                self.usual(length);
                let bytes = self.input.split_to(length).freeze();
                self.go_home();
                Body::once(bytes)
            }
            framing => {
                self.download.begin(framing);
                Body::stream(self)
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = answer.status;
        *response.version_mut() = answer.version;
        *response.headers_mut() = answer.fields;
        response
    }
}

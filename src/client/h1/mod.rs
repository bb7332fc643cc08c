//! HTTP/1.1 to an upstream, over any connection: one exchange after the other, driven by whoever awaits its answer.
//!
//! ```text
//!  head     head       the request's head, written in one pass      (one floor up: `client::head`)
//!  upload   upload     head and body go out
//!  answer   answer     bytes → status, fields, framing              ── refused → classify
//!  body     download   what follows: a length, chunks, until the end, another protocol
//! ```
//!
//! There is no task behind a connection and no channel in front of it: what is read and written, and when, is decided here,
//! so that each failure is known to the byte. A connection goes back to its [`Home`] before the last piece of an answer is handed
//! out, if the answer's framing ended cleanly and nothing is left over; otherwise it is dropped, which closes it.

mod answer;
mod chunks;
mod download;
mod facts;
mod upload;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use tower::Service;

use super::body::Body;
use super::classify::{self, Codec, On};
use super::head::Outgoing;
use super::reuse::{Keep, Limits};
use super::{Order, Progress};
use crate::cause::{Cause, Failure, Phase, spoken};
use answer::{Answer, Framing, MAX_FIELDS, Refused};
use download::Download;
pub(in crate::client) use facts::{End, Facts};
use upload::{Stopped, Upload};

/// How long reading goes on after a write error, for the head of an early answer.
const EARLY_ANSWER: Duration = Duration::from_secs(1);
/// A first read has room for this, until it is known how much this upstream sends.
const FIRST_READ: usize = 8 << 10;
/// Below this, a head that comes in pieces is parsed anew with each piece; above, with each line.
const EAGER: usize = 1 << 10;
/// An answer up to this is copied out of the read buffer, which then needs no new memory.
const COPIED: usize = 4 << 10;

/// A connection with no exchange on it. Dropping it closes it at once.
///
/// As a [`Service`] it is ready while the upstream has neither closed it nor sent anything unasked, and it serves one
/// exchange: it goes along with the call, and comes back through its [`Home`].
pub struct Connection<T, B>(Option<Box<Core<T, B>>>);

/// A request for a connection.
#[derive(Debug)]
pub struct Sending<'a, B> {
    /// Clocks and limits; not where to: the connection is there already.
    pub order: Order<'a>,
    /// Head and body.
    pub request: Outgoing<B>,
    /// How far it has come.
    pub progress: &'a Arc<Progress>,
}

/// Where connections go between their exchanges.
pub trait Home<T, B>: Send + Sync {
    /// Here is one that may be used again.
    fn keep(self: Arc<Self>, connection: Connection<T, B>);
}

/// What a connection is, and the exchange on it. One allocation for all exchanges of a connection.
pub(super) struct Core<T, B> {
    io: T,
    home: Weak<dyn Home<T, B>>,
    key: u64,
    born: Instant,
    reused: bool,
    /// Something was sent on it, or is about to be.
    asked: bool,
    /// As of the last answer.
    limits: Limits,
    keeps: bool,
    facts: Facts,
    upload: Option<Upload<B>>,
    /// What was read and not used.
    input: BytesMut,
    /// What a first read makes room for: the last answer would fit.
    usual: usize,
    download: Download,
    /// One timer for all clocks of the connection: set anew only for something earlier, or when it has fired.
    clock: Option<Pin<Box<Sleep>>>,
}

impl<T, B> fmt::Debug for Connection<T, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl<T, B> Connection<T, B> {
    /// Speaks HTTP/1.1 over `io` under the order's rules; `home` gets it back after each answer.
    pub fn new(io: T, order: Order<'_>, home: Weak<dyn Home<T, B>>) -> Self {
        let born = Instant::now();
        Self(Some(Box::new(Core {
            io,
            home,
            key: order.endpoint.key,
            born,
            reused: false,
            asked: false,
            limits: Limits { idle: order.connections.idle, until: born + order.connections.max_age, count: 0 },
            keeps: false,
            facts: Facts::default(),
            upload: None,
            input: BytesMut::new(),
            usual: FIRST_READ,
            download: Download::default(),
            clock: None,
        })))
    }

    /// What it runs over.
    pub(super) fn io(&self) -> Option<&T> {
        self.0.as_ref().map(|core| &core.io)
    }

    /// Whose connection it is ([`crate::config::Endpoint::key`]), and what it must stay within while it is idle.
    pub(super) fn resting(&self) -> Option<(u64, Limits)> {
        self.0.as_ref().map(|core| (core.key, core.limits))
    }
}

impl<T: AsyncRead + Unpin + Send + 'static, B: Send + 'static> Keep for Connection<T, B> {
    /// A close and bytes that nobody asked for are both an end.
    fn is_open(&mut self) -> bool {
        let Some(core) = &mut self.0 else { return false };
        let (mut byte, mut cx) = ([0], Context::from_waker(Waker::noop()));
        Pin::new(&mut core.io).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_pending()
    }

    fn rest(&mut self) {
        if let Some(core) = &mut self.0 {
            (core.input, core.clock) = (BytesMut::new(), None);
        }
    }
}

impl<'a, T, B> Service<Sending<'a, B>> for Connection<T, B>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Exchange<'a, T, B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(if self.is_open() { Ok(()) } else { Err(Failure::new(Cause::StaleConnection)) })
    }

    /// Sends the request and waits for the final response head, under the order's clocks.
    fn call(&mut self, sending: Sending<'a, B>) -> Exchange<'a, T, B> {
        let Sending { order, request, progress } = sending;
        let mut core = self.0.take();
        if let Some(core) = &mut core {
            core.begin(&order, request, progress);
        }
        Exchange { core, order }
    }
}

/// An exchange on its way to the response head. Dropping it ends it and its connection.
pub struct Exchange<'a, T, B> {
    core: Option<Box<Core<T, B>>>,
    order: Order<'a>,
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
    fn begin(&mut self, order: &Order<'_>, request: Outgoing<B>, progress: &Arc<Progress>) {
        self.facts = Facts::of(progress.clone());
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
                Poll::Ready(Ok(interim)) => self.facts.continued |= interim.status == StatusCode::CONTINUE,
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Pending => return self.poll_clocks(order, cx).map(Err),
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

    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), Stopped> {
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
                match answer::take(&mut self.input, self.download.to_head) {
                    Ok(Some(_)) if before - self.input.len() > limit => return self.too_large(order),
                    Ok(Some(answer)) => return Poll::Ready(Ok(answer)),
                    Ok(None) if before >= limit => return self.too_large(order),
                    Ok(None) => {}
                    Err(refused) => return Poll::Ready(Err(self.refused(order, refused))),
                }
            }
            let room = if before == 0 { self.usual } else { before.clamp(1 << 10, FIRST_READ) };
            match ready!(self.poll_read(room, cx)) {
                Ok(0) => {
                    if before > 0
                        && let Err(refused) = answer::take(&mut self.input, self.download.to_head)
                    {
                        return Poll::Ready(Err(self.refused(order, refused)));
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
                Failure::new(cause).in_phase(phase).sent(self.facts.written > 0).limit(spoken(limit))
            }
            None => self.no_head(order, Codec::default(), "no answer within 1 s of a write error"),
        })
    }

    fn too_large<R>(&mut self, order: &Order<'_>) -> Poll<Result<R, Failure>> {
        let codec = Codec { too_large: true, ..Codec::default() };
        Poll::Ready(Err(self.no_head(order, codec, "the head is larger than the buffer")))
    }

    fn refused(&mut self, order: &Order<'_>, refused: Refused) -> Failure {
        match refused {
            Refused::Coding | Refused::TwoFramings => {
                let failure = Failure::new(Cause::InvalidHead).in_phase(Phase::Head).sent(true);
                failure.seen(refused.to_string()).from(refused)
            }
            Refused::Parse(_) | Refused::Length => {
                self.no_head(order, Codec { parse: true, ..Codec::default() }, refused)
            }
            Refused::TooManyFields => self.no_head(order, Codec { too_large: true, ..Codec::default() }, refused),
        }
    }

    fn no_head(&mut self, order: &Order<'_>, codec: Codec, source: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
        self.facts.head = self.input[..self.input.len().min(facts::KEPT_HEAD)].to_vec();
        let on = On { reused: self.reused, head_limit: order.buffers.response_head, fields_limit: MAX_FIELDS };
        classify::no_head(&mut self.facts, codec, on, source)
    }

    /// The answer and its body, which takes the connection along unless it is complete already.
    fn answered(mut self: Box<Self>, answer: Answer, order: &Order<'_>) -> Response<Body> {
        self.facts.head();
        let idle = answer.idle.unwrap_or(order.connections.idle);
        self.limits = Limits { idle, until: self.born + order.connections.max_age, count: order.connections.max_idle };
        self.keeps = answer.keeps;
        let body = match answer.framing {
            Framing::Empty => {
                self.go_home();
                Body::empty()
            }
            Framing::Length(length) if self.input.len() as u64 >= length => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                self.usual(length);
                let bytes = match length {
                    ..=COPIED => {
                        let bytes = Bytes::copy_from_slice(&self.input[..length]);
                        bytes::Buf::advance(&mut self.input, length);
                        bytes
                    }
                    _ => self.input.split_to(length).freeze(),
                };
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

impl<T, B> Core<T, B> {
    /// The next first read has room for a head and so many bytes behind it.
    fn usual(&mut self, body: usize) {
        const PAGE: usize = 4 << 10;
        self.usual = (body + PAGE / 2).next_multiple_of(PAGE).min(download::LARGEST_READ + PAGE);
    }
}

impl<T: Send + 'static, B: Send + 'static> Core<T, B> {
    /// The answer has ended: home, if the request has too, and nothing is left over.
    fn go_home(mut self: Box<Self>) {
        let sent = self.facts.finished.is_some();
        if !(self.keeps && sent && self.input.is_empty() && self.facts.write_error.is_none() && self.limits.count > 0) {
            return;
        }
        (self.reused, self.upload, self.facts.progress) = (true, None, None);
        if let Some(home) = self.home.upgrade() {
            home.keep(Connection(Some(self)));
        }
    }
}

impl<T: AsyncRead + Unpin, B> Core<T, B> {
    /// Reads once, with room for at least so many bytes.
    fn poll_read(&mut self, room: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.input.reserve(room);
        let read = ready!(pin!(self.io.read_buf(&mut self.input)).poll(cx));
        match &read {
            Ok(0) => self.facts.end = Some(End::Eof),
            Ok(count) => self.facts.read += *count as u64,
            Err(_) => self.facts.end = Some(End::Broken),
        }
        Poll::Ready(read)
    }

    /// Ready once this moment has passed.
    fn poll_clock(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
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
}

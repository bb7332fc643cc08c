//! HTTP/1.1 to an upstream, over any connection: one exchange after the other, driven by whoever awaits its answer.
//!
//! ```text
//!  exchange  from the request's first byte to the answer's head; its clocks
//!    upload    head and body go out
//!    answer    bytes → status, fields, framing                     ── refused → classify
//!      last      the same, where it is what was said before
//!  download  what follows: a length, chunks, until the end, another protocol
//! ```
//!
//! There is no task behind a connection and no channel in front of it: what is read and written, and when, is decided
//! here, so that each failure is known to the byte. A connection goes back to its [`Home`] before the last piece of an
//! answer is handed out, if the answer's framing ended cleanly and nothing is left over; otherwise it is dropped, which
//! closes it.

mod answer;
mod download;
mod exchange;
mod facts;
mod last;
mod oversize;
mod upload;
mod watch;

use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderName, Response};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use tower::Service;

use super::body::Body;
use super::head::Outgoing;
use super::reuse::{Keep, Limits, Look};
use super::{Order, Progress, Stream, tls};
use crate::cause::{Cause, Failure};
use crate::config::Endpoint;
use crate::health::IdleAge;
pub(in crate::client) use crate::message::may_trail;
use crate::observe::events;
use crate::observe::metrics::upstream::Open;
pub(in crate::client) use answer::MAX_FIELDS;
use download::Download;
pub use exchange::Exchange;
pub(in crate::client) use facts::{End, Facts};
use last::Last;
pub(in crate::client) use oversize::of_fields;
use upload::Upload;
use watch::Watch;

/// A first read has room for this, until it is known how much this upstream sends.
const FIRST_READ: usize = 8 << 10;
/// How much is told of bytes that belong to no answer.
const SEEN: usize = 64;

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
    /// Whose connection it is: [`Endpoint::key`], and [`Endpoint::authority`] for texts.
    key: u64,
    authority: Arc<str>,
    /// Gone when nobody may use it any more.
    endpoint: Weak<Endpoint>,
    idle_age: Arc<IdleAge>,
    _open: Open,
    born: Instant,
    /// When it was taken from its home.
    woken: Option<Instant>,
    /// How long it was idle before, and until when.
    rested: Option<(Duration, Instant)>,
    /// Looks on while it is idle, once it was idle for long.
    watch: Option<Arc<Watch>>,
    reused: bool,
    /// Something was sent on it, or is about to be.
    asked: bool,
    /// As of the last answer.
    limits: Limits,
    /// The idle time among them is the upstream's own word.
    announced: bool,
    keeps: bool,
    facts: Facts,
    upload: Option<Upload<B>>,
    last: Last,
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
            authority: Arc::clone(&order.endpoint.authority),
            endpoint: Arc::downgrade(order.endpoint),
            idle_age: order.idle_age.clone(),
            _open: order.meter.open(),
            born,
            woken: None,
            rested: None,
            watch: None,
            reused: false,
            asked: false,
            limits: Limits { idle: order.connections.idle, until: born + order.connections.max_age, count: 0 },
            announced: false,
            keeps: false,
            facts: Facts::default(),
            upload: None,
            last: Last::default(),
            input: BytesMut::new(),
            usual: FIRST_READ,
            download: Download::default(),
            clock: None,
        })))
    }

    /// Answers may come with this field, without a value unless the upstream gave it one: see
    /// [`Client::adding`](super::Client::adding).
    pub(super) fn adding(mut self, field: Option<HeaderName>) -> Self {
        if let Some(core) = &mut self.0 {
            core.last.adds = field;
        }
        self
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

impl<T: AsyncRead + Unpin, B> Connection<T, B> {
    /// A close and bytes that nobody asked for are both an end.
    fn listen(&mut self, watch: bool) -> Look {
        let Some(core) = &mut self.0 else { return Look::Spoilt };
        if watch && core.watch.is_none() {
            core.watch = Some(Arc::new(Watch::new(Instant::now())));
        }
        let noted = core.watch.as_ref().and_then(|watch| watch.noted());
        let waker = match &core.watch {
            Some(own) if watch => Waker::from(Arc::clone(own)),
            _ => Waker::noop().clone(),
        };
        let (mut bytes, mut cx) = ([0; SEEN], Context::from_waker(&waker));
        let mut read = ReadBuf::new(&mut bytes);
        // Outside the task's budget: one that is used up would make every connection look open.
        let look = poll_fn(|cx| Pin::new(&mut core.io).poll_read(cx, &mut read));
        match pin!(tokio::task::unconstrained(look)).poll(&mut cx) {
            Poll::Pending => Look::Open,
            Poll::Ready(Ok(())) if read.filled().is_empty() => Look::Closed(noted),
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Look::Closed(noted),
            Poll::Ready(_) => {
                if !read.filled().is_empty() {
                    events::unasked_bytes(&core.authority, read.filled(), Instant::now().into_std());
                }
                Look::Spoilt
            }
        }
    }
}

impl<B: Send + 'static> Keep for Connection<Stream, B> {
    fn look(&mut self, watch: bool) -> Look {
        if !watch && self.io().is_some_and(Stream::is_silent) { Look::Open } else { self.listen(watch) }
    }

    fn is_wanted(&self) -> bool {
        self.0.as_ref().is_some_and(|core| core.endpoint.strong_count() > 0)
    }

    fn within(&self, idle: Duration) -> Duration {
        self.0.as_ref().map_or(idle, |core| core.idle_age.within(idle))
    }

    fn closed(&self, age: Duration, at: Instant, idle: Duration) {
        if let Some(core) = &self.0 {
            core.closed(age, at, idle);
        }
    }

    fn outlived(&self, age: Duration, now: Instant) {
        if let Some(core) = &self.0 {
            core.idle_age.outlived(age, now.into_std());
        }
    }

    fn wake(&mut self, age: Duration, now: Instant) {
        if let Some(core) = &mut self.0 {
            core.woken = Some(now);
            core.rested = Some((age, now));
        }
    }

    fn rest(&mut self) {
        if let Some(core) = &mut self.0 {
            (core.input, core.clock) = (BytesMut::new(), None);
            core.last.forget();
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
        Poll::Ready(if self.listen(false) == Look::Open { Ok(()) } else { Err(Failure::new(Cause::StaleConnection)) })
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

impl<T, B> Core<T, B> {
    /// The next first read has room for a head and so many bytes behind it.
    fn usual(&mut self, body: usize) {
        const PAGE: usize = 4 << 10;
        self.usual = (body + PAGE / 2).next_multiple_of(PAGE).min(download::LARGEST_READ + PAGE);
    }

    /// The upstream closed it, in order, at this moment, after it was idle for `age`; it would have been kept for
    /// `idle`.
    fn closed(&self, age: Duration, at: Instant, idle: Duration) {
        let known = &self.idle_age;
        if let Some(learnt) = known.closed(age, at.into_std(), idle) {
            let promised = if self.announced { None } else { Some(idle) };
            events::upstream_idle_learnt(&known.pool, &known.upstream, learnt, promised);
        }
    }

    /// The request that has just gone out met a close. What came much later is no idle clock's.
    fn met_close(&self) {
        const JUST_NOW: Duration = Duration::from_millis(100);
        let now = Instant::now();
        if let Some((age, woken)) = self.rested
            && now - woken < JUST_NOW
        {
            self.closed(age, now, self.limits.idle);
        }
    }
}

impl<T: Send + 'static, B: Send + 'static> Core<T, B> {
    /// The answer has ended: home, if the request has too, and nothing is left over.
    fn go_home(mut self: Box<Self>) {
        let sent = self.facts.finished.is_some();
        if !self.input.is_empty() {
            let seen = &self.input[..self.input.len().min(SEEN)];
            return events::unasked_bytes(&self.authority, seen, Instant::now().into_std());
        }
        if !(self.keeps && sent && self.facts.write_error.is_none() && self.limits.count > 0) {
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
            // TLS that ended without a goodbye: the connection itself ended in order, and yet nothing proves that this
            // was all.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.facts.end = Some(End::Eof),
            Err(error) => {
                self.facts.end = Some(End::Broken);
                self.facts.alert = tls::alert(error);
            }
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

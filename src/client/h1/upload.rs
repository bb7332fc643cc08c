//! The request on its way out: head, then body, by its length or in chunks (RFC 9112 §7.1), in as few writes as it
//! takes.
//!
//! The body is not polled before the upstream wants it (`Expect: 100-continue`), nor after the upstream has stopped
//! taking it. Its failures are left among the facts; nothing here names one.

use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use tokio::io::AsyncWrite;
use tokio::time::{Instant, Sleep};

use super::facts::Facts;
use crate::client::head::{Framed, Outgoing};
use crate::message::Outbox;

/// How long an upstream may leave `Expect: 100-continue` unanswered (RFC 9110 §10.1.1: do not wait for ever).
const CONTINUE: Duration = Duration::from_secs(1);

/// A request that is being written.
pub(super) struct Upload<B> {
    /// `None` once all of it was taken.
    body: Option<B>,
    door: Door,
    /// In [`Framed::Length`]: what is still to come.
    framed: Framed,
    outbox: Outbox,
    /// Something was written since the last flush.
    unflushed: bool,
    /// The head has waited once for the first bytes of the body.
    held: bool,
    done: bool,
}

enum Door {
    Open,
    /// Until the upstream's 100, or the clock; the clock starts at the first poll.
    Waiting(Option<Pin<Box<Sleep>>>),
}

/// Why the request cannot be written to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// Its body failed: the error is among the facts.
    Failed,
    /// Its body is not as long as it said.
    Length,
}

impl<B> Upload<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// `waits`: for the upstream's 100.
    pub(super) fn new(request: Outgoing<B>, waits: bool) -> Self {
        let Outgoing { head, body } = request;
        let framed = Framed::of(&body);
        Self {
            outbox: Outbox::of(head.finish(framed)),
            body: (framed != Framed::Empty).then_some(body),
            door: if waits { Door::Waiting(None) } else { Door::Open },
            framed,
            unflushed: true,
            held: false,
            done: false,
        }
    }

    /// All of it was written.
    pub(super) const fn is_done(&self) -> bool {
        self.done
    }

    /// Writes what can be written now. Pending for good after a write error.
    pub(super) fn poll<T: AsyncWrite + Unpin>(
        &mut self,
        io: &mut T,
        facts: &mut Facts,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Stopped>> {
        while !self.done {
            if facts.write_error.is_some() {
                return Poll::Pending;
            }
            if self.body.is_some() && self.has_room(facts) {
                match self.fill(facts, cx) {
                    Poll::Ready(filled) => filled?,
                    // Its first bytes are often there a moment later: then head and body go out in one write.
                    Poll::Pending if !self.held && facts.written == 0 && matches!(self.door, Door::Open) => {
                        self.held = true;
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Poll::Pending if self.outbox.is_empty() && !self.unflushed => return Poll::Pending,
                    Poll::Pending => {}
                }
            }
            self.held = true;
            if !self.outbox.is_empty() {
                let result = ready!(self.write(io, facts, cx));
                self.wrote(facts, result);
            } else if self.unflushed {
                match Pin::new(&mut *io).poll_flush(cx) {
                    Poll::Ready(Ok(())) => (self.unflushed, facts.blocked) = (false, None),
                    Poll::Ready(Err(error)) => facts.write_failed(error),
                    // A TLS session has taken it, and the socket below has not.
                    Poll::Pending => {
                        facts.blocked.get_or_insert_with(Instant::now);
                        return Poll::Pending;
                    }
                }
            } else if self.body.is_none() {
                self.done = true;
                facts.finish();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// May a frame be taken? Only when all before it is written, or joins the head that is not; else what a slow
    /// upstream does not take would pile up here.
    fn has_room(&self, facts: &Facts) -> bool {
        let first = facts.written == 0 && facts.blocked.is_none();
        if first { self.outbox.has_room() } else { self.outbox.is_empty() }
    }

    /// Takes the next frame of the body.
    fn fill(&mut self, facts: &mut Facts, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        let Some(body) = &mut self.body else { return Poll::Ready(Ok(())) };
        if let Door::Waiting(clock) = &mut self.door {
            if facts.headed {
                facts.unasked = true;
                return Poll::Pending; // answered without it
            }
            let clock = clock.get_or_insert_with(|| Box::pin(tokio::time::sleep(CONTINUE)));
            if !facts.continued && clock.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.door = Door::Open;
        }
        let frame = match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                facts.body_error = Some(error.into());
                return Poll::Ready(Err(Stopped::Failed));
            }
            None => return Poll::Ready(self.end()),
        };
        let last = body.is_end_stream();
        let put = match frame.into_data() {
            Ok(data) => self.put(data),
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    self.end_with(&trailers);
                }
                Ok(())
            }
        };
        Poll::Ready(put.and_then(|()| if last && self.body.is_some() { self.end() } else { Ok(()) }))
    }

    fn put(&mut self, data: Bytes) -> Result<(), Stopped> {
        if data.is_empty() {
            return Ok(());
        }
        match &mut self.framed {
            Framed::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(Stopped::Length)?;
                if *left == 0 {
                    self.body = None; // whether it is asked for its end or not
                }
                self.outbox.data(data);
            }
            Framed::Chunked => self.outbox.chunk(data),
            Framed::Empty => return Err(Stopped::Length),
        }
        Ok(())
    }

    /// The body has no more.
    fn end(&mut self) -> Result<(), Stopped> {
        self.body = None;
        match self.framed {
            Framed::Length(1..) => return Err(Stopped::Length),
            Framed::Chunked => self.outbox.last_chunk(),
            Framed::Length(0) | Framed::Empty => {}
        }
        Ok(())
    }

    /// The same, and these fields behind it, if they may stand there. A body of known length has no place for them.
    fn end_with(&mut self, trailers: &http::HeaderMap) {
        self.body = None;
        if self.framed == Framed::Chunked {
            self.outbox.trailers(trailers);
        }
    }

    fn write<T: AsyncWrite + Unpin>(
        &mut self,
        io: &mut T,
        facts: &mut Facts,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let written = self.outbox.poll_write(io, cx);
        if written.is_pending() && facts.blocked.is_none() {
            facts.blocked = Some(Instant::now());
        }
        written
    }

    fn wrote(&mut self, facts: &mut Facts, result: io::Result<usize>) {
        match result {
            Ok(count) => {
                facts.wrote(count);
                self.unflushed = true;
            }
            Err(error) => facts.write_failed(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, Method, Request};
    use http_body::{Frame, SizeHint};
    use http_body_util::{BodyExt, Full, StreamBody};
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::io::IoSlice;

    const SMALL: usize = 4 << 10;

    /// Takes so much at a time, each time noted; at the end of its room it fails, or stalls.
    struct Taker {
        writes: Vec<Vec<u8>>,
        at_once: usize,
        room: usize,
        stalls: bool,
    }

    impl Taker {
        fn new(at_once: usize) -> Self {
            Self { writes: Vec::new(), at_once, room: usize::MAX, stalls: false }
        }
        fn text(&self) -> String {
            String::from_utf8(self.writes.concat()).unwrap()
        }
    }

    impl AsyncWrite for Taker {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(buf)])
        }
        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let mut all: Vec<u8> = bufs.iter().flat_map(|buf| buf.to_vec()).collect();
            all.truncate(self.at_once.min(self.room));
            if self.room == 0 && self.stalls {
                return Poll::Pending;
            }
            if all.is_empty() {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            self.room -= all.len();
            self.writes.push(all);
            Poll::Ready(Ok(self.writes[self.writes.len() - 1].len()))
        }
        fn is_write_vectored(&self) -> bool {
            true
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Frames, with a pause before each; a length that may be a lie.
    struct Slow {
        frames: VecDeque<Frame<Bytes>>,
        paused: bool,
        length: Option<u64>,
    }

    impl Body for Slow {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.paused = !self.paused;
            if self.paused { Poll::Pending } else { Poll::Ready(self.frames.pop_front().map(Ok)) }
        }
        fn size_hint(&self) -> SizeHint {
            self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
        }
    }

    fn slow(frames: &[&'static str], length: Option<u64>) -> Slow {
        Slow { frames: frames.iter().map(|data| Frame::data((*data).into())).collect(), paused: false, length }
    }

    fn post<B>(body: B) -> Outgoing<B> {
        Request::builder().method(Method::POST).uri("/").body(body).unwrap().into()
    }

    /// Polls until it is written, stopped or stuck.
    fn run<B>(upload: &mut Upload<B>, io: &mut Taker, facts: &mut Facts) -> Poll<Result<(), Stopped>>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut polled = Poll::Pending;
        for _ in 0..20 {
            polled = upload.poll(io, facts, &mut cx);
            if polled.is_ready() {
                break;
            }
        }
        polled
    }

    #[test]
    fn a_short_body_goes_out_with_its_head_in_one_write() {
        for frames in [&["hello"][..], &["hel", "lo"]] {
            let (mut io, mut facts) = (Taker::new(usize::MAX), Facts::default());
            let mut upload = Upload::new(post(slow(frames, Some(5))), false);
            assert_eq!(run(&mut upload, &mut io, &mut facts), Poll::Ready(Ok(())));
            assert_eq!(io.text(), "POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello");
            assert_eq!(io.writes.len(), frames.len(), "the head waits once");
            assert!(facts.finished.is_some() && facts.written == io.text().len() as u64);
        }
    }

    #[test]
    fn any_body_arrives_as_it_is_however_little_is_taken_at_once() {
        let large = "x".repeat(SMALL + 1);
        for at_once in [1, 7, 4096, usize::MAX] {
            let (mut io, mut facts) = (Taker::new(at_once), Facts::default());
            let body = Full::new(Bytes::from(large.clone()));
            assert_eq!(run(&mut Upload::new(post(body), false), &mut io, &mut facts), Poll::Ready(Ok(())));
            assert!(io.text().ends_with(&format!("content-length: 4097\r\n\r\n{large}")));

            let (mut io, mut facts) = (Taker::new(at_once), Facts::default());
            let mut body = slow(&["one", ""], None);
            body.frames.push_back(Frame::data(large.clone().into()));
            let trailers = [("x-sum", "1"), ("content-length", "9")];
            body.frames.push_back(Frame::trailers(HeaderMap::from_iter(
                trailers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())),
            )));
            assert_eq!(run(&mut Upload::new(post(body), false), &mut io, &mut facts), Poll::Ready(Ok(())));
            let wanted = format!(
                "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n1001\r\n{large}\r\n0\r\nx-sum: 1\r\n\r\n"
            );
            assert_eq!(io.text(), wanted);
        }
    }

    #[test]
    fn what_is_not_taken_does_not_pile_up() {
        for room in [0, 1, 5000] {
            let (mut io, mut facts) = (Taker { room, stalls: true, ..Taker::new(usize::MAX) }, Facts::default());
            let body = StreamBody::new(futures_util::stream::repeat_with(|| {
                Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[b'x'; SMALL])))
            }));
            let mut upload = Upload::new(post(body), false);
            assert_eq!(run(&mut upload, &mut io, &mut facts), Poll::Pending);
            assert_eq!(facts.written, room as u64);
            assert!(upload.outbox.waiting() < 2 * SMALL, "{} bytes", upload.outbox.waiting());
        }
    }

    #[test]
    fn a_body_that_is_not_as_long_as_it_says_or_fails_stops() {
        for (frames, length) in [(&["hell"][..], 5), (&["hello!"], 5), (&["hel", "lo!"], 5)] {
            let (mut io, mut facts) = (Taker::new(usize::MAX), Facts::default());
            let mut upload = Upload::new(post(slow(frames, Some(length))), false);
            assert_eq!(run(&mut upload, &mut io, &mut facts), Poll::Ready(Err(Stopped::Length)), "{frames:?}");
        }
        let (mut io, mut facts) = (Taker::new(usize::MAX), Facts::default());
        let failing = StreamBody::new(futures_util::stream::iter([Err(io::Error::other("gone"))]));
        let mut upload = Upload::new(post(failing.map_frame(|frame: Frame<Bytes>| frame)), false);
        assert_eq!(run(&mut upload, &mut io, &mut facts), Poll::Ready(Err(Stopped::Failed)));
        assert_eq!(facts.body_error.map(|error| error.to_string()).as_deref(), Some("gone"));
    }

    #[test]
    fn after_a_write_error_nothing_is_asked_for_or_sent() {
        let (mut io, mut facts) = (Taker::new(10), Facts::default());
        io.room = 30;
        let mut upload = Upload::new(post(slow(&["hello"], Some(5))), false);
        assert_eq!(run(&mut upload, &mut io, &mut facts), Poll::Pending);
        assert_eq!((facts.written, facts.finished.is_some()), (30, false));
        assert_eq!(facts.write_error.map(|error| error.kind()), Some(io::ErrorKind::BrokenPipe));
    }

    #[tokio::test(start_paused = true)]
    async fn the_body_waits_for_a_100_or_a_second_and_for_ever_once_answered() {
        let head = "POST / HTTP/1.1\r\ncontent-length: 4\r\n\r\n";
        for (continued, headed) in [(true, false), (false, false), (false, true)] {
            let (mut io, mut facts) = (Taker::new(usize::MAX), Facts::default());
            let mut upload = Upload::new(post(Full::<Bytes>::from("body")), true);
            assert_eq!(run(&mut upload, &mut io, &mut facts), Poll::Pending);
            assert_eq!(io.text(), head);
            (facts.continued, facts.headed) = (continued, headed);
            if !continued {
                assert_eq!(run(&mut upload, &mut io, &mut facts), Poll::Pending);
                tokio::time::advance(CONTINUE).await;
            }
            let sent = !headed;
            assert_eq!(run(&mut upload, &mut io, &mut facts).is_ready(), sent);
            assert_eq!(io.text(), if sent { format!("{head}body") } else { head.into() });
        }
    }
}

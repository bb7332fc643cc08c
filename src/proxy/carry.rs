//! Bytes both ways between a client and an upstream, until both have ended, one of them broke, or nobody says anything.
//!
//! A side that is not read, because the other one takes nothing or because it has ended, is looked at all the same:
//! what is gone is found in a second, and not by the clock of silence. Half of a close is no end: what was said before
//! it is passed on. This says how it ended; what that means is told elsewhere.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::time::{Instant, Sleep, sleep};

use crate::tunnel::Peer;

/// So much is read at once: the useful size that was measured; small ones cost two to three times the CPU.
const ROOM: usize = 32 << 10;
/// How often a side that is not read is looked at.
const BEAT: Duration = Duration::from_secs(1);
/// How many beats what was said last may find nobody who takes it, once nothing can follow it.
const LINGER: u32 = 10;

thread_local! {
    /// Memory to read into, one for all tunnels of a worker: most of what is read is taken at once, and a tunnel where
    /// nothing is said needs none.
    static SHARED: RefCell<Box<[u8]>> = RefCell::new(vec![0; ROOM].into());
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Upstream,
}

/// How a tunnel came to its end.
#[derive(Debug)]
pub(super) enum End {
    /// Both sides have ended, and have all that the other said.
    Both,
    /// This side broke, is gone, or takes nothing of what is left.
    Broke(Side, io::Error),
    /// Nothing was said for so long.
    Silent(Duration),
}

/// What passed, kept up to date.
#[derive(Debug)]
pub(super) struct Bytes<'a> {
    /// Read from the client.
    pub(super) read: &'a mut u64,
    /// Written to the client.
    pub(super) written: &'a mut u64,
}

/// Carries them. The side that has ended its direction first stands beside the end, if one has.
pub(super) async fn carry(
    client: &mut impl Peer,
    upstream: &mut impl Peer,
    bytes: Bytes<'_>,
    silence: Option<Duration>,
) -> (End, Option<Side>) {
    let (mut up, mut down, mut clocks) = (Way::default(), Way::default(), Clocks::new(silence));
    let mut first = None;
    let end = poll_fn(|cx| {
        let passed = up.poll(client, upstream, cx).map_err(|fault| fault.at(Side::Client, Side::Upstream));
        if up.ended() {
            first.get_or_insert(Side::Client);
        }
        let passed = passed
            .and_then(|()| down.poll(upstream, client, cx).map_err(|fault| fault.at(Side::Upstream, Side::Client)));
        if down.ended() {
            first.get_or_insert(Side::Upstream);
        }
        (*bytes.read, *bytes.written) = (up.read, down.written);
        if let Err(end) = passed {
            return Poll::Ready(end);
        }
        if up.done() && down.done() {
            return Poll::Ready(End::Both);
        }
        let mut waste = up.ended() && down.ended();
        let mut gone = None;
        let client_gone = if up.unread() { client.poll_gone(cx) } else { Poll::Pending };
        let upstream_gone = if down.unread() { upstream.poll_gone(cx) } else { Poll::Pending };
        for (side, polled) in [(Side::Client, client_gone), (Side::Upstream, upstream_gone)] {
            match polled {
                Poll::Ready(Err(error)) => return Poll::Ready(End::Broke(side, error)),
                Poll::Ready(Ok(())) => (waste, gone) = (true, gone.or(Some(side))),
                Poll::Pending => {}
            }
        }
        let moved = up.read + up.written + down.read + down.written;
        if (up.unread() || down.unread()) && clocks.beats(moved, waste, cx) {
            let error = io::ErrorKind::TimedOut.into();
            let deaf = if up.done() { Side::Client } else { Side::Upstream };
            return Poll::Ready(End::Broke(gone.unwrap_or(deaf), error));
        }
        clocks.silent(moved, cx).map(End::Silent)
    });
    let end = end.await;
    (end, first)
}

/// What broke, on the way from one side to the other.
enum Fault {
    From(io::Error),
    To(io::Error),
}

impl Fault {
    fn at(self, from: Side, to: Side) -> End {
        match self {
            Self::From(error) => End::Broke(from, error),
            Self::To(error) => End::Broke(to, error),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Open,
    /// All was read; the other side is to hear of the end.
    Ending,
    Done,
}

/// One direction.
#[derive(Debug, Default)]
struct Way {
    step: Step,
    /// Read, and not taken: from `at` on. Without memory while it is empty.
    rest: Vec<u8>,
    at: usize,
    unflushed: bool,
    read: u64,
    written: u64,
}

impl Way {
    fn ended(&self) -> bool {
        self.step != Step::Open
    }

    fn done(&self) -> bool {
        self.step == Step::Done
    }

    /// Nobody reads the side that this comes from.
    fn unread(&self) -> bool {
        self.ended() || !self.rest.is_empty()
    }

    fn poll(&mut self, from: &mut impl Peer, to: &mut impl Peer, cx: &mut Context<'_>) -> Result<(), Fault> {
        match self.pass(from, to, cx) {
            Poll::Ready(passed) => passed,
            Poll::Pending => Ok(()),
        }
    }

    /// Ready when it is done.
    fn pass(&mut self, from: &mut impl Peer, to: &mut impl Peer, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        loop {
            while self.at < self.rest.len() {
                let taken = ready!(write(to, &self.rest[self.at..], cx))?;
                self.at += taken;
                self.written += taken as u64;
            }
            (self.rest, self.at) = (Vec::new(), 0);
            match self.step {
                Step::Open => ready!(SHARED.with_borrow_mut(|room| self.pass_on(room, from, to, cx)))?,
                Step::Ending => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx)).map_err(Fault::To)?;
                    self.step = Step::Done;
                }
                Step::Done => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Reads once, and writes what is taken of it at once.
    fn pass_on(
        &mut self,
        room: &mut [u8],
        from: &mut impl Peer,
        to: &mut impl Peer,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Fault>> {
        let mut buf = ReadBuf::new(room);
        match Pin::new(from).poll_read(cx, &mut buf) {
            Poll::Ready(Ok(())) => {}
            // A socket closed in the midst of TLS: a WebSocket has a word of its own for its end (RFC 6455 §7.1).
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Poll::Ready(Err(error)) => {
                // What it said before is on its way, as far as that goes without waiting.
                let _ = Pin::new(to).poll_flush(cx);
                return Poll::Ready(Err(Fault::From(error)));
            }
            Poll::Pending => {
                if self.unflushed {
                    ready!(Pin::new(to).poll_flush(cx)).map_err(Fault::To)?;
                    self.unflushed = false;
                }
                return Poll::Pending;
            }
        }
        let said = buf.filled();
        if said.is_empty() {
            self.step = Step::Ending;
            return Poll::Ready(Ok(()));
        }
        self.read += said.len() as u64;
        self.unflushed = true;
        let taken = match write(to, said, cx) {
            Poll::Ready(taken) => taken?,
            Poll::Pending => 0,
        };
        self.written += taken as u64;
        self.rest = said[taken..].to_vec();
        Poll::Ready(Ok(()))
    }
}

fn write(to: &mut impl Peer, bytes: &[u8], cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
    Poll::Ready(match ready!(Pin::new(to).poll_write(cx, bytes)) {
        Ok(0) => Err(Fault::To(io::ErrorKind::WriteZero.into())),
        taken => taken.map_err(Fault::To),
    })
}

/// When it is time to look.
struct Clocks {
    /// The longest silence, the timer for an eighth of it, and how long nothing has moved.
    silence: Option<(Duration, Pin<Box<Sleep>>)>,
    quiet: Duration,
    moved: u64,
    /// Runs while a side is not read.
    beat: Option<Pin<Box<Sleep>>>,
    /// Beats on which nothing had moved.
    still: u32,
    before: u64,
}

impl Clocks {
    fn new(silence: Option<Duration>) -> Self {
        let silence = silence.map(|limit| (limit, Box::pin(sleep(limit / 8))));
        Self { silence, quiet: Duration::ZERO, moved: 0, beat: None, still: 0, before: 0 }
    }

    /// Ready after the longest silence.
    fn silent(&mut self, moved: u64, cx: &mut Context<'_>) -> Poll<Duration> {
        let Some((limit, timer)) = &mut self.silence else { return Poll::Pending };
        let step = *limit / 8;
        loop {
            ready!(timer.as_mut().poll(cx));
            timer.as_mut().reset(Instant::now() + step);
            self.quiet = if moved == self.moved { self.quiet + step } else { Duration::ZERO };
            self.moved = moved;
            if self.quiet >= *limit {
                return Poll::Ready(*limit);
            }
        }
    }

    /// Wakes the task on each beat. True when nothing has moved for so many that waiting is of no use, if it is
    /// `waste`.
    fn beats(&mut self, moved: u64, waste: bool, cx: &mut Context<'_>) -> bool {
        let beat = self.beat.get_or_insert_with(|| Box::pin(sleep(BEAT)));
        while beat.as_mut().poll(cx).is_ready() {
            beat.as_mut().reset(Instant::now() + BEAT);
            self.still = if waste && moved == self.before { self.still + 1 } else { 0 };
            self.before = moved;
        }
        self.still >= LINGER
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    /// A pipe, of which it is known whether its other end is gone.
    struct Pipe(DuplexStream, bool);

    impl Peer for Pipe {
        fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.1 { Poll::Ready(Ok(())) } else { Poll::Pending }
        }
    }

    impl AsyncRead for Pipe {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Pipe {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_write(cx, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    /// Two pipes: what the proxy holds, and the far ends of client and app.
    fn pipes(gone: bool) -> (Pipe, Pipe, DuplexStream, DuplexStream) {
        let (client, to_client) = duplex(64);
        let (app, to_app) = duplex(64);
        (Pipe(to_client, gone), Pipe(to_app, false), client, app)
    }

    async fn carried(mut client: Pipe, mut upstream: Pipe, limit: Option<Duration>) -> (End, Option<Side>, u64, u64) {
        let (mut read, mut written) = (0, 0);
        let bytes = Bytes { read: &mut read, written: &mut written };
        let (end, first) = carry(&mut client, &mut upstream, bytes, limit).await;
        (end, first, read, written)
    }

    #[tokio::test(start_paused = true)]
    async fn all_passes_and_each_direction_ends_by_itself() {
        let (to_client, to_app, mut client, mut app) = pipes(false);
        let running = tokio::spawn(carried(to_client, to_app, None));
        let said = vec![7; 100_000];
        let (mut heard, half) = (Vec::new(), said.clone());
        let telling = async {
            client.write_all(&half).await.unwrap();
            client.shutdown().await.unwrap();
        };
        tokio::join!(telling, async { drop(app.read_to_end(&mut heard).await) });
        assert!(heard == said && !running.is_finished());
        app.write_all(b"late").await.unwrap();
        drop(app);
        let mut late = String::new();
        client.read_to_string(&mut late).await.unwrap();
        let (end, first, read, written) = running.await.unwrap();
        assert!(matches!(end, End::Both), "{end:?}");
        assert_eq!((late.as_str(), first, read, written), ("late", Some(Side::Client), 100_000, 4));
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_takes_is_not_kept_for_ever_once_its_sender_is_gone() {
        for gone in [false, true] {
            let (to_client, to_app, mut client, _app) = pipes(gone);
            let (began, mut running) = (Instant::now(), tokio::spawn(carried(to_client, to_app, None)));
            client.write_all(&[7; 64]).await.unwrap();
            client.write_all(&[7; 64]).await.unwrap();
            client.shutdown().await.unwrap();
            // It may be half of a close: that may last.
            let over = tokio::time::timeout(Duration::from_secs(3600), &mut running).await;
            assert_eq!((over.is_ok(), began.elapsed().as_secs() < 13), (gone, gone), "{:?}", began.elapsed());
            running.abort();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_has_a_limit_and_so_has_one_who_is_gone() {
        let (to_client, to_app, _client, _app) = pipes(false);
        let (end, ..) = carried(to_client, to_app, Some(Duration::from_secs(80))).await;
        assert!(matches!(end, End::Silent(limit) if limit.as_secs() == 80), "{end:?}");
        // It has ended, is gone, and the app neither says nor ends anything.
        let (to_client, to_app, mut client, _app) = pipes(true);
        client.shutdown().await.unwrap();
        let (end, ..) = carried(to_client, to_app, None).await;
        assert!(matches!(end, End::Broke(Side::Client, _)), "{end:?}");
    }
}

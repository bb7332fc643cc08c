//! One connection and its driver: how it begins, how many streams it carries, and when it ends: when it is old, idle,
//! or dead.
//!
//! The driver is the only task there is behind an exchange. It moves frames, asks a silent peer whether it lives, and
//! knows no stream.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Connection, ResponseFuture, SendRequest};
use h2::{Ping, PingPong, Reason, SendStream};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use super::Lines;
use super::fault;
use super::pulse::{Beat, Pulse};
use super::wire::{Watched, Wire};
use crate::cause::{Cause, Failure, Phase, spoken};
use crate::client::Order;
use crate::config::Endpoint;
use crate::health::IdleAge;
use crate::observe::events;
use crate::observe::metrics::upstream::Open;

/// Streams at once, whatever the upstream would take: what they may have in memory is bounded by it.
const STREAMS: usize = 256;
/// The least and the most that a stream may be read ahead ([`crate::config::model::Buffers::response`]).
const WINDOW: (usize, usize) = (64 << 10, 1 << 20);
/// How much of a request's body may wait for the socket, for each stream.
const UNSENT: usize = 64 << 10;
/// The largest frame that is taken.
const FRAME: u32 = 64 << 10;
/// Above the limit on a head so much is still read, to tell how large the head is.
const HEAD_MORE: usize = 1 << 20;
/// How often the driver looks up.
const BEAT: Duration = Duration::from_secs(1);
/// How many beats the end of a connection may take.
const GOODBYE: u32 = 2;

/// A connection that streams share.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) key: u64,
    pub(super) wire: Arc<Wire>,
    pub(super) born: Instant,
    idle_age: Arc<IdleAge>,
    /// Gone when nobody may use it any more.
    endpoint: Weak<Endpoint>,
    state: Mutex<State>,
}

struct State {
    /// `None`: nothing new begins on it. It ends with its last stream.
    sender: Option<SendRequest<Bytes>>,
    streams: usize,
    /// Without a stream since then.
    since: Instant,
    /// And not without one since then.
    begun: Instant,
    /// It did not say that it lives.
    dead: bool,
    idle: Duration,
    until: Instant,
    kept: bool,
    farewell: Option<Reason>,
}

impl State {
    fn take(&mut self, order: &Order<'_>, born: Instant, now: Instant) {
        if self.streams == 0 {
            self.begun = now;
        }
        self.streams += 1;
        self.idle = order.connections.idle;
        self.until = born + order.connections.max_age;
        self.kept = order.connections.max_idle > 0;
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("streams", &self.streams).finish_non_exhaustive()
    }
}

/// What a connection says when it is asked for a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claimed {
    /// It is yours: [`Line::release`] it.
    Yes,
    /// It has as many as it may have.
    Full,
    /// It may not be used for this request.
    Unfit,
    /// Never again: [`Line::retire`] it.
    Over,
}

impl Line {
    /// Speaks HTTP/2 over `io`, up to the upstream's first word: its SETTINGS (RFC 9113 §3.4). Nothing of a request was
    /// sent before it is known that it will be understood. Its driver runs from then on.
    ///
    /// # Errors
    /// What the upstream is, if not one that speaks HTTP/2; [`Cause::ConnectTimeout`] after `deadline`.
    pub(super) async fn open<T>(
        io: T,
        order: &Order<'_>,
        home: &Weak<Lines>,
        deadline: Instant,
    ) -> Result<Arc<Self>, Failure>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let wire = Arc::new(Wire::default());
        let late = |_elapsed| {
            let limit = spoken(order.timeouts.connect);
            Failure::new(Cause::ConnectTimeout).limit(limit).seen("no word of HTTP/2")
        };
        let window = order.buffers.response.clamp(WINDOW.0, WINDOW.1);
        let head = order.buffers.response_head + HEAD_MORE;
        let mut builder = h2::client::Builder::new();
        builder
            .enable_push(false)
            .max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX))
            .max_frame_size(FRAME)
            .initial_window_size(bounded(window))
            // Of the connection's own window, no slow stream takes anything from the others.
            .initial_connection_window_size(bounded(window * STREAMS))
            .max_send_buffer_size(UNSENT)
            .max_concurrent_reset_streams(STREAMS)
            // A stream that fails is the stream's affair.
            .max_local_error_reset_streams(None)
            // Until the upstream has said how many it takes.
            .initial_max_send_streams(0);
        let shaken = timeout_at(deadline, builder.handshake(Watched::new(io, Arc::clone(&wire)))).await;
        let (sender, mut connection) = shaken.map_err(late)?.map_err(|error| fault::no_h2(&error, &wire))?;
        let greeted = poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(end) => Poll::Ready(Err(end.err())),
            // Of the first SETTINGS, where they allow streams; and where they allow none.
            Poll::Pending if sender.current_max_send_streams() > 0 || wire.has_settings() => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        });
        match timeout_at(deadline, greeted).await.map_err(late)? {
            Ok(()) => {}
            Err(Some(error)) => return Err(fault::no_h2(&error, &wire)),
            Err(None) => return Err(fault::closed_early(&wire)),
        }
        if sender.current_max_send_streams() == 0 {
            let seen = "its first SETTINGS allow no stream (MAX_CONCURRENT_STREAMS 0)";
            return Err(Failure::new(Cause::UpstreamBusy).in_phase(Phase::Queue).seen(seen));
        }
        let now = Instant::now();
        let line = Arc::new(Self {
            key: order.endpoint.key,
            wire,
            born: now,
            idle_age: Arc::clone(order.idle_age),
            endpoint: Arc::downgrade(order.endpoint),
            state: Mutex::new(State {
                sender: Some(sender),
                streams: 0,
                since: now,
                begun: now,
                dead: false,
                idle: order.connections.idle,
                until: now + order.connections.max_age,
                kept: order.connections.max_idle > 0,
                farewell: None,
            }),
        });
        tokio::spawn(drive(connection, Arc::clone(&line), Weak::clone(home), order.meter.open()));
        Ok(line)
    }

    /// A place for one more stream, under the order's rules.
    pub(super) fn claim(&self, order: &Order<'_>, now: Instant) -> Claimed {
        let mut state = self.state();
        let limit = self.idle_age.within(state.idle);
        let State { sender: Some(sender), streams, .. } = &*state else { return Claimed::Over };
        let idle = if *streams == 0 { now.saturating_duration_since(state.since) } else { Duration::ZERO };
        if now >= state.until || idle >= limit {
            return Claimed::Over;
        }
        // A close that crosses it takes such a request along (CONTRACT §9 "No POST lost to the app's idle clock").
        if !order.replayable && idle >= limit / 4 {
            return Claimed::Unfit;
        }
        if *streams >= sender.current_max_send_streams().min(STREAMS) {
            return Claimed::Full;
        }
        state.take(order, self.born, now);
        Claimed::Yes
    }

    /// The first stream, whatever the rules for later ones are.
    pub(super) fn first(&self, order: &Order<'_>) {
        self.state().take(order, self.born, self.born);
    }

    /// The end of a stream.
    pub(super) fn release(&self) {
        let mut state = self.state();
        state.streams = state.streams.saturating_sub(1);
        if state.streams == 0 {
            state.since = Instant::now();
            let over = if state.kept { None } else { state.sender.take() };
            drop(state);
            drop(over); // as in `retire`
        }
    }

    /// Nothing new begins on it.
    pub(super) fn retire(&self) {
        let sender = self.state().sender.take();
        drop(sender); // it wakes the driver: not under the lock
    }

    /// Does the upstream take extended CONNECTs?
    pub(super) fn tunnels(&self) -> bool {
        self.state().sender.as_ref().is_some_and(SendRequest::is_extended_connect_protocol_enabled)
    }

    /// Begins a stream.
    pub(super) fn begin(
        &self,
        request: Request<()>,
        ends: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), Option<h2::Error>> {
        let Some(mut sender) = self.state().sender.clone() else { return Err(None) };
        sender.send_request(request, ends).map_err(Some)
    }

    /// The upstream's last word on the whole connection (GOAWAY), if it has said one: it says more than the close that
    /// follows.
    pub(super) fn farewell(&self) -> Option<Reason> {
        let state = self.state();
        state.farewell.or_else(|| state.sender.clone().and_then(farewell))
    }

    /// Had it no stream at all, so long ago or later?
    pub(super) fn was_idle_within(&self, moment: Duration) -> bool {
        self.state().begun.elapsed() < moment
    }

    /// Did it end because it did not answer a PING?
    pub(super) fn is_dead(&self) -> bool {
        self.state().dead
    }

    fn busy(&self) -> bool {
        self.state().streams > 0
    }

    /// The connection is no more.
    fn end(&self) {
        let mut state = self.state();
        let sender = state.sender.take();
        state.farewell = state.farewell.or_else(|| sender.and_then(farewell));
    }

    fn is_over(&self) -> bool {
        let state = self.state();
        state.sender.is_none() && state.streams == 0
    }

    /// Is it past its limits, or of no use to anybody?
    fn is_past(&self, now: Instant) -> bool {
        let state = self.state();
        let idle = self.idle_age.within(state.idle);
        state.sender.is_none()
            || self.endpoint.strong_count() == 0
            || now >= state.until
            || (state.streams == 0 && now.saturating_duration_since(state.since) >= idle)
    }

    /// The upstream has ended it, in order.
    fn closed(&self, now: Instant) {
        let state = self.state();
        if state.streams > 0 || state.sender.is_none() {
            return;
        }
        let (age, idle) = (now.saturating_duration_since(state.since), state.idle);
        drop(state);
        let known = &self.idle_age;
        if let Some(learnt) = known.closed(age, now.into_std(), idle) {
            events::upstream_idle_learnt(&known.pool, &known.upstream, learnt, Some(idle));
        }
    }

    /// A panic under this lock leaves numbers that are sound.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn farewell(mut sender: SendRequest<Bytes>) -> Option<Reason> {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match sender.poll_ready(&mut cx) {
        Poll::Ready(Err(error)) if error.is_go_away() && error.is_remote() => error.reason(),
        _ => None,
    }
}

fn bounded(bytes: usize) -> u32 {
    const MOST: u32 = (1 << 31) - 1; // RFC 9113 §6.9.1
    u32::try_from(bytes).unwrap_or(MOST).min(MOST)
}

/// Moves the frames of a connection to its end.
async fn drive<T>(mut connection: Connection<Watched<T>, Bytes>, line: Arc<Line>, home: Weak<Lines>, open: Open)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut pulse = Pulse::new();
    let mut ping = connection.ping_pong();
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut over = 0;
    let in_order = loop {
        tokio::select! {
            biased;
            end = &mut connection => break end.is_ok(),
            () = pong(ping.as_mut()) => pulse.answered(line.wire.read()),
            _ = beats.tick() => {
                if home.strong_count() == 0 || line.is_past(Instant::now()) {
                    line.retire();
                }
                // A peer that does not take the farewell is not waited for.
                over = if line.is_over() { over + 1 } else { 0 };
                if over > GOODBYE {
                    break false;
                }
                match pulse.beat(line.wire.read(), line.busy()) {
                    Beat::Nothing => {}
                    Beat::Ask => if let Some(ping) = &mut ping {
                        let _ = ping.send_ping(Ping::opaque());
                    },
                    Beat::Dead => {
                        line.state().dead = true;
                        break false;
                    }
                }
            }
        }
    };
    if in_order {
        line.closed(Instant::now());
    }
    line.end();
    if let Some(home) = home.upgrade() {
        home.forget(&line);
    }
    drop(connection); // whoever still waits on it hears of its end now
    drop(open);
}

/// The answer to a PING; never, where none was asked.
async fn pong(ping: Option<&mut PingPong>) {
    match ping {
        Some(ping) => {
            if poll_fn(|cx| ping.poll_pong(cx)).await.is_err() {
                std::future::pending().await
            }
        }
        None => std::future::pending().await,
    }
}

//! One HTTP/2 connection (RFC 9113), from its preface to its last byte: settings, clocks, floods, GOAWAY, the drain.
//!
//! The h2 crate speaks the protocol, by itself and without hyper: an answer of which the client takes nothing, one that
//! breaks off behind bytes that are not out yet, and `100 Continue` are not to be had through hyper's server. Each
//! [`stream`] is a task; what they write goes out together ([`link`]); [`frames`] and [`clocks`] know when a client is
//! too slow; [`request`] makes the request one of HTTP as the floor above knows it. Nothing here knows what is
//! answered.

mod clocks;
mod frames;
mod link;
mod request;
mod stream;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::{Builder, Connection, Handshake};
use h2::{Ping, PingPong, Reason};
use tokio::sync::Notify;

use super::drain::{Step, Watch};
use super::{ConnInfo, Handler};
use crate::config::model::Listener;
use clocks::{Clocks, Due, Facts};
pub(in crate::listen) use link::Socket;
use link::{Link, Standing};

/// Requests at once on one connection.
const STREAMS: u32 = 128;
/// What a client may send of one request's body before it is read: 40 Mbit/s for one upload from 50 ms away, four times
/// what clients have by default. The most that a connection holds is [`CONNECTION_WINDOW`].
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// What h2 keeps of one answer while the socket is busy.
const SEND_BUFFER: usize = 64 << 10;
/// A head that is so much larger than `limits.head` gets a 431 of many words; a larger one, one without.
const HEAD_ROOM: usize = 16 << 10;
/// A client may take back so many requests; after that, no more than half of all (CVE-2023-44487).
const TAKEN_BACK: u64 = 256;

/// GOAWAY without a stream, PROTOCOL_ERROR: to a client whose first frame was not SETTINGS.
const NOT_SETTINGS: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// What a connection and its streams tell each other.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) info: Arc<ConnInfo>,
    /// Times that the socket had all that was written.
    rounds: AtomicU32,
    round: Notify,
    /// Requests that the client took back before they were answered.
    taken_back: AtomicU64,
}

impl Shared {
    /// Resolves when what was written until now is out.
    async fn written(&self) {
        let before = self.rounds.load(Relaxed);
        loop {
            let mut round = pin!(self.round.notified());
            round.as_mut().enable();
            if self.rounds.load(Relaxed) != before {
                return;
            }
            round.await;
        }
    }
}

/// Why a connection has ended.
enum End {
    /// h2 is done, and said so; or the client was told before, and took its time.
    Over,
    /// Nobody is there to be told anything.
    Gone,
    /// The client took nothing of its answers for too long.
    Stalled,
    /// The drain is over.
    Cut,
}

/// Serves a connection until its end. `first`: what was read of it.
pub(super) async fn serve<S: Socket, H: Handler>(socket: S, first: Bytes, info: Arc<ConnInfo>, handler: H) {
    let link = Link::new(socket, first);
    let shared = Arc::new(Shared {
        info: info.clone(),
        rounds: AtomicU32::new(0),
        round: Notify::new(),
        taken_back: AtomicU64::new(0),
    });
    let end = {
        let mut driver = Box::new(Driver {
            speech: Speech::Opening(settings(&info.listener).handshake(link.clone())),
            link: link.clone(),
            clocks: Clocks::new(&info.listener),
            shared,
            handler,
            requests: 0,
            leaving: false,
            taken: None,
        });
        let mut watch = pin!(info.drain.watch());
        let end = poll_fn(|cx| driver.poll(watch.as_mut(), cx)).await;
        if matches!(end, End::Stalled) {
            // Read by the records of its streams, which end with it.
            info.stalled.store(true, Relaxed);
        }
        end
    };
    match end {
        End::Over => {
            let last: &[u8] = if link.refused() { &NOT_SETTINGS } else { &[] };
            tokio::select! {
                () = info.drain.reached(Step::Cut) => {}
                () = link.finish(last) => {}
            }
        }
        End::Stalled => link.reset(),
        End::Gone | End::Cut => {}
    }
}

fn settings(listener: &Listener) -> Builder {
    let head = u32::try_from(listener.head_limit + HEAD_ROOM).unwrap_or(u32::MAX);
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(head)
        .max_send_buffer_size(SEND_BUFFER)
        .enable_connect_protocol();
    builder
}

struct Driver<S: Socket, H> {
    speech: Speech<S>,
    link: Link<S>,
    clocks: Clocks,
    shared: Arc<Shared>,
    handler: H,
    requests: u64,
    /// A GOAWAY is out, or would be.
    leaving: bool,
    /// What the client had taken when the socket last began to take nothing, or was looked at.
    taken: Option<u64>,
}

enum Speech<S: Socket> {
    Opening(Handshake<Link<S>, Bytes>),
    Open(Connection<Link<S>, Bytes>, Option<PingPong>),
}

impl<S: Socket, H: Handler> Driver<S, H> {
    fn poll(&mut self, watch: Pin<&mut Watch<'_>>, cx: &mut Context<'_>) -> Poll<End> {
        match watch.poll(cx) {
            Step::Serving => {}
            Step::Draining | Step::LastSecond => self.leave(),
            Step::Cut => return Poll::Ready(End::Cut),
        }
        loop {
            let over = self.listen(cx);
            let Ok(standing) = self.link.round(cx) else { return Poll::Ready(End::Gone) };
            if over {
                return Poll::Ready(End::Over);
            }
            if standing.stuck {
                self.taken.get_or_insert_with(|| self.link.taken());
            } else {
                self.taken = None;
                self.shared.rounds.fetch_add(1, Relaxed);
                self.shared.round.notify_waiters();
            }
            if standing.again {
                continue;
            }
            match self.clocks.due(self.facts(standing), cx) {
                None => return Poll::Pending,
                Some(Due::HeadLate | Due::Left) => {
                    self.last_word(Reason::NO_ERROR, cx);
                    return Poll::Ready(End::Over);
                }
                Some(Due::Idle) => self.leave(),
                Some(Due::Ask) => self.ask(cx),
                Some(Due::Dead) => return Poll::Ready(End::Gone),
                Some(Due::Stuck) => {
                    // The kernel takes more only when much of what it holds is gone: some may be, and that is no stall.
                    let taken = self.link.taken();
                    if self.taken.replace(taken).is_some_and(|before| taken <= before) {
                        return Poll::Ready(End::Stalled);
                    }
                }
            }
        }
    }

    /// Reads what has come, and begins the answers to new requests. True when there is nothing more to read.
    fn listen(&mut self, cx: &mut Context<'_>) -> bool {
        if let Speech::Opening(handshake) = &mut self.speech {
            match Pin::new(handshake).poll(cx) {
                Poll::Ready(Ok(mut connection)) => {
                    if self.leaving {
                        connection.graceful_shutdown();
                    }
                    let pings = connection.ping_pong();
                    self.speech = Speech::Open(connection, pings);
                }
                Poll::Ready(Err(_)) => return true,
                Poll::Pending => return false,
            }
        }
        let Speech::Open(connection, _) = &mut self.speech else { return false };
        loop {
            match connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.requests += 1;
                    // Each on its own: a panic ends one. On the heap at once: the runtime moves a task several times.
                    tokio::spawn(Box::pin(stream::answer(&self.handler, self.shared.clone(), request, respond)));
                }
                // h2 has told the client, where there was something to tell.
                Poll::Ready(Some(Err(_)) | None) => return true,
                Poll::Pending => break,
            }
        }
        let taken_back = self.shared.taken_back.load(Relaxed);
        if taken_back > TAKEN_BACK && taken_back * 2 > self.requests {
            self.last_word(Reason::ENHANCE_YOUR_CALM, cx);
            return true;
        }
        false
    }

    fn facts(&self, link: Standing) -> Facts {
        let streams = match &self.speech {
            Speech::Opening(_) => false,
            Speech::Open(connection, _) => connection.has_streams(),
        };
        Facts { link, requests: self.requests, streams, leaving: self.leaving }
    }

    /// GOAWAY: what was asked is answered, and then the connection ends.
    fn leave(&mut self) {
        if let (Speech::Open(connection, _), false) = (&mut self.speech, self.leaving) {
            connection.graceful_shutdown();
        }
        self.leaving = true;
    }

    /// GOAWAY for good: what the client still sends is of no interest.
    fn last_word(&mut self, reason: Reason, cx: &mut Context<'_>) {
        if let Speech::Open(connection, _) = &mut self.speech {
            connection.abrupt_shutdown(reason);
            // It is written here, and goes out with whatever else is.
            let _ = connection.poll_accept(cx);
        }
    }

    /// PING: any byte is an answer, so nobody waits for that of h2.
    fn ask(&mut self, cx: &mut Context<'_>) {
        if let Speech::Open(_, Some(pings)) = &mut self.speech {
            let _ = pings.poll_pong(cx);
            let _ = pings.send_ping(Ping::opaque());
        }
    }
}

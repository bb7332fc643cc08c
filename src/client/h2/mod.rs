//! HTTP/2 to an upstream, over any connection: many exchanges at once, each a stream.
//!
//! ```text
//!  Lines     a worker's connections, by endpoint; who dials, who waits
//!    opening   one connection on its way
//!    line      one connection: SETTINGS first, its driver, its limits; wire counts its bytes, pulse asks whether it
//!    lives exchange  from the request to the answer's head; its clocks
//!      request   the head, as HTTP/2 says it
//!      upload    the body goes out, as the windows allow
//!    stream    what follows the head
//!    fault     facts → a Failure
//! ```
//!
//! A second connection to an endpoint is opened only when the first has as many streams as it may have, and one at a
//! time. A stream that fails, or is given up, is reset: the connection goes on. Nothing here tries a request again.

mod exchange;
mod fault;
mod line;
mod opening;
mod pulse;
mod request;
mod stream;
mod upload;
mod wire;

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::body::Body;
use super::h1::Sending;
use super::head::{Framed, Outgoing};
use super::{Order, Progress, Stream as Transport};
use crate::cause::{Cause, Failure, Phase, spoken};
use line::{Claimed, Line};
use opening::{Opening, again};
use stream::Stream;

/// Connections to one endpoint, of one worker.
const LINES: usize = 32;
/// So many endpoints are remembered as speaking HTTP/1.1, or HTTP/2 alone; then all are forgotten, and asked again.
const REMEMBERED: usize = 4096;
/// A connection of this age is as good as a fresh one.
const FRESH: Duration = Duration::from_secs(1);

/// What is seen of an upstream whose settings do not allow an extended CONNECT (RFC 8441 §3).
const NO_WEB_SOCKETS: &str = "it takes no WebSocket over HTTP/2";

/// A new connection on its way. Seldom: it may cost an allocation.
pub(super) type Dialling<'a> = Pin<Box<dyn Future<Output = Result<Transport, Failure>> + Send + 'a>>;

/// What came of a request.
pub(super) enum Sent<'a, B> {
    /// The head of the answer is here.
    Answered(Response<Body>),
    /// Nothing was sent: HTTP/1.1 is spoken there (ALPN). A connection for it, if this request has opened one.
    Http1(Sending<'a, B>, Option<Transport>),
}

/// A worker's connections that streams share.
#[derive(Debug, Default)]
pub(super) struct Lines {
    shelves: Mutex<HashMap<u64, Shelf>>,
    /// Endpoints that have taken HTTP/1.1 when they could choose.
    http1: Mutex<HashSet<u64>>,
    /// Endpoints that take WebSockets over HTTP/2, and have turned HTTP/1.1 away.
    http2: Mutex<HashSet<u64>>,
}

/// The connections to one endpoint.
#[derive(Debug, Default)]
struct Shelf {
    lines: Vec<Arc<Line>>,
    /// Somebody opens one more; what came of it.
    opening: Option<watch::Receiver<Option<Arc<Failure>>>>,
    /// Somebody waits for the end of a stream.
    freed: Arc<Notify>,
}

/// A place for one stream on a connection; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Seat {
    line: Arc<Line>,
    freed: Arc<Notify>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.line.release();
        self.freed.notify_one();
    }
}

enum Claim {
    Seat(Seat),
    /// It is yours to open a connection.
    Open(Opening),
    /// Somebody is about to.
    Opening(watch::Receiver<Option<Arc<Failure>>>),
    /// There are as many as there may be.
    Full(Arc<Notify>),
    /// HTTP/1.1 is spoken there.
    Http1,
}

/// Where a request goes.
enum Place {
    Seat(Seat),
    Http1(Option<Transport>),
}

impl Lines {
    /// Sends the request on a shared connection, and waits for the response head, under the order's clocks. `dial`
    /// gives a new connection. `secure`: it is one of TLS, in which HTTP/1.1 may have been agreed on as well; what an
    /// endpoint took is remembered, so that first requests wait for one handshake together, and for nothing where
    /// HTTP/1.1 is spoken.
    ///
    /// # Errors
    /// As [`super::Client::send`].
    pub(super) async fn send<'a, B>(
        self: &Arc<Self>,
        sending: Sending<'a, B>,
        secure: bool,
        mut dial: impl FnMut() -> Dialling<'a> + Send,
    ) -> Result<Sent<'a, B>, Failure>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let Sending { order, progress, .. } = sending;
        progress.shared.store(!secure, Relaxed);
        let mut seat = match self.seat(&order, progress, secure, &mut dial).await? {
            Place::Seat(seat) => seat,
            Place::Http1(stream) => return Ok(Sent::Http1(sending, stream)),
        };
        progress.shared.store(true, Relaxed);
        let Outgoing { head, body } = sending.request;
        let (to_head, framed) = (head.to_head, Framed::of(&body));
        let (request, asked) = request::request(head, framed, secure)?;
        loop {
            let (read, written) = (seat.line.wire.read(), seat.line.wire.written());
            if let Some(asked) = &asked {
                if !seat.line.tunnels() {
                    return Err(Failure::new(Cause::UpgradeFailed).in_phase(Phase::Queue).seen(NO_WEB_SOCKETS));
                }
                asked.key()?;
            }
            match seat.line.begin(request.clone(), framed == Framed::Empty && asked.is_none()) {
                Ok((answer, send)) => {
                    let start = exchange::Start { read, written, to_head, framed };
                    let stream = Stream::new(seat, send, body, start, &order, progress);
                    let answered = exchange::exchange(stream, answer, start, asked, &order, progress).await;
                    return answered.map(Sent::Answered);
                }
                Err(Some(error)) if error.is_go_away() || error.is_io() => self.forget(&seat.line),
                Err(None) => self.forget(&seat.line),
                Err(Some(error)) => return Err(Failure::new(Cause::Bug).from(error.to_string())),
            }
            seat = match self.seat(&order, progress, secure, &mut dial).await? {
                Place::Seat(seat) => seat,
                // It ended as the request began, and came back as another: whoever sends it again meets what it is now.
                Place::Http1(_) => return Err(Failure::new(Cause::StaleConnection).in_phase(Phase::Request)),
            };
        }
    }

    /// A place on a connection, an open one or a new one. The wait for one has the limit of a connect, and of a
    /// handshake; who opens one has these for itself, and one more for the upstream's first word, and those who wait
    /// for it have as much.
    async fn seat<'a>(
        self: &Arc<Self>,
        order: &Order<'_>,
        progress: &Progress,
        secure: bool,
        dial: &mut (impl FnMut() -> Dialling<'a> + Send),
    ) -> Result<Place, Failure> {
        let (now, connect) = (Instant::now(), order.timeouts.connect);
        let handshake = if secure { order.timeouts.tls } else { Duration::ZERO };
        let (limit, opened) = (connect + handshake, connect + handshake + connect);
        let deadline = now + limit;
        progress.reused.store(true, Relaxed);
        let mut claim = self.claim(order, now);
        loop {
            match claim {
                Claim::Seat(seat) => {
                    seat.freed.notify_one(); // one wake may stand for several places
                    return Ok(Place::Seat(seat));
                }
                Claim::Http1 => return Ok(Place::Http1(None)),
                Claim::Open(opening) => {
                    progress.reused.store(false, Relaxed);
                    progress.set_phase(Phase::Connect);
                    return opening.open(order, progress, secure, connect, dial()).await;
                }
                Claim::Opening(mut opening) => {
                    progress.set_phase(Phase::Connect);
                    let late = |_elapsed| Failure::new(Cause::ConnectTimeout).limit(spoken(opened));
                    let changed = timeout(opened, opening.changed()).await.map_err(late)?;
                    let failure = opening.borrow().clone();
                    if let (Ok(()), Some(failure)) = (changed, failure) {
                        progress.reused.store(false, Relaxed);
                        return Err(again(&failure));
                    }
                }
                Claim::Full(freed) => {
                    progress.set_phase(Phase::Queue);
                    if order.elsewhere {
                        let seen = format!("all HTTP/2 streams of {LINES} connections are taken");
                        return Err(Failure::new(Cause::UpstreamBusy).seen(seen));
                    }
                    let busy = |_elapsed| {
                        let seen = format!("no HTTP/2 stream became free on {LINES} connections");
                        Failure::new(Cause::UpstreamBusy).limit(spoken(limit)).seen(seen)
                    };
                    timeout_at(deadline, freed.notified()).await.map_err(busy)?;
                }
            }
            claim = self.claim(order, Instant::now());
        }
    }

    fn claim(self: &Arc<Self>, order: &Order<'_>, now: Instant) -> Claim {
        let mut shelves = self.shelves();
        let shelf = shelves.entry(order.endpoint.key).or_default();
        let (mut seat, mut over) = (None, Vec::new());
        shelf.lines.retain(|line| {
            let usable = seat.is_none() && !(order.fresh && now.saturating_duration_since(line.born) > FRESH);
            match if usable { line.claim(order, now) } else { Claimed::Unfit } {
                Claimed::Yes => seat = Some(Arc::clone(line)),
                Claimed::Over => {
                    over.push(Arc::clone(line));
                    return false;
                }
                Claimed::Full | Claimed::Unfit => {}
            }
            true
        });
        if !over.is_empty() {
            drop(shelves);
            over.iter().for_each(|line| line.retire()); // it wakes drivers: not under the lock
            shelves = self.shelves();
        }
        let shelf = shelves.entry(order.endpoint.key).or_default();
        if let Some(line) = seat {
            return Claim::Seat(Seat { line, freed: Arc::clone(&shelf.freed) });
        }
        if self.http1().contains(&order.endpoint.key) {
            if shelf.lines.is_empty() && shelf.opening.is_none() {
                shelves.remove(&order.endpoint.key);
            }
            return Claim::Http1;
        }
        if let Some(opening) = &shelf.opening {
            return Claim::Opening(opening.clone());
        }
        if shelf.lines.len() >= LINES {
            return Claim::Full(Arc::clone(&shelf.freed));
        }
        let (told, opening) = watch::channel(None);
        shelf.opening = Some(opening);
        Claim::Open(Opening { lines: Arc::clone(self), key: order.endpoint.key, told: Some(told) })
    }

    /// Nothing new begins on this one.
    fn forget(&self, line: &Arc<Line>) {
        line.retire();
        let mut shelves = self.shelves();
        if let Some(shelf) = shelves.get_mut(&line.key) {
            shelf.lines.retain(|other| !Arc::ptr_eq(other, line));
            shelf.freed.notify_one();
            if shelf.lines.is_empty() && shelf.opening.is_none() {
                shelves.remove(&line.key);
            }
        }
    }

    /// It took HTTP/2 again.
    pub(super) fn speaks_http2(&self, key: u64) {
        self.http1().remove(&key);
    }

    fn speaks_http1(&self, key: u64) {
        remember(&mut self.http1(), key);
    }

    /// Does it speak HTTP/2 alone, and take WebSockets that way?
    pub(super) fn speaks_http2_alone(&self, key: u64) -> bool {
        self.http2().contains(&key)
    }

    /// It does, or no longer.
    pub(super) fn spoke_http2_alone(&self, key: u64, does: bool) {
        let mut known = self.http2();
        if does {
            remember(&mut known, key);
        } else {
            known.remove(&key);
        }
    }

    fn http2(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.http2.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn http1(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.http1.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A panic under this lock leaves at worst a connection lost: the shelves are sound.
    fn shelves(&self) -> MutexGuard<'_, HashMap<u64, Shelf>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remember(known: &mut HashSet<u64>, key: u64) {
    if known.len() >= REMEMBERED {
        known.clear();
    }
    known.insert(key);
}

impl Drop for Lines {
    fn drop(&mut self) {
        for shelf in self.shelves().values() {
            shelf.lines.iter().for_each(|line| line.retire());
        }
    }
}

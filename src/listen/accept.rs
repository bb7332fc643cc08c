//! Takes connections from one listening socket, under the limit of the process, and spawns each on this worker, or on the one
//! that has the fewest where all share the socket.
//!
//! It never ends because of a connection or of a shortage: it waits. Only the drain ends it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderValue;
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::drain::Step;
use super::shared::{Kind, Listening, Shared};
use super::sniff::Spoken;
use super::socket::Socket;
use super::spread::{Passed, Seat, Spread, Taker};
use super::stream::Stream;
use super::tls::handshake;
use super::wire::Held;
use super::{Asleep, ConnInfo, Drain, Handler, Secure, conn, introduced};
use crate::config::model::Listener;
use crate::observe::{access_log, events};
use crate::sys;

/// After a shortage of files or memory, nothing is accepted for so long.
const BACK_OFF: Duration = Duration::from_millis(200);
/// So many seconds the kernel keeps a connection that says nothing: most come with their request, and one wake-up does for
/// both.
const DEFERRED: u8 = 1;
/// After the kernel is told to keep none back any more, it has handed over the last of them: its timer for the longest kept,
/// and a way there and back.
const HANDED_OVER: Duration = Duration::from_millis(1100);
/// Descriptors that are left to logs, checks, listeners and the runtime when the limit is `auto`.
const RESERVED: u64 = 128;

/// How many connections a listener may have open at once, over all workers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Permits {
    left: Arc<Semaphore>,
    all: usize,
}

impl Permits {
    /// `None`: as many as RLIMIT_NOFILE allows, at two descriptors (client and upstream) for each, divided among all the
    /// `automatic` listeners of the process.
    #[must_use]
    pub fn new(limit: Option<NonZeroUsize>, automatic: usize) -> Self {
        let files = || getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let limit = limit.map_or_else(|| share(files(), automatic), NonZeroUsize::get);
        let all = limit.min(Semaphore::MAX_PERMITS);
        Self { left: Arc::new(Semaphore::new(all)), all }
    }

    /// How many are open.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.all.saturating_sub(self.left.available_permits())
    }
}

/// What one of so many listeners may have open of so many files.
fn share(files: u64, listeners: usize) -> usize {
    let all = usize::try_from(files.saturating_sub(RESERVED) / 2).unwrap_or(usize::MAX);
    (all / listeners.max(1)).max(16)
}

/// Accepts from `socket` until the drain begins, and a second longer: the clients that the kernel still keeps back would be
/// reset by a close. Then takes what already waits in its backlog, and closes it. Runs on the worker that is to serve the
/// connections. `secure`: TLS is spoken here.
///
/// # Errors
/// Only if the runtime cannot take the socket.
pub async fn run<H: Handler>(
    socket: std::net::TcpListener,
    served: (Arc<Listener>, Option<Arc<Secure>>),
    permits: Permits,
    drain: Drain,
    asleep: Asleep,
    handler: H,
) -> io::Result<()> {
    let local = socket.local_addr().ok().filter(|local| !local.ip().is_unspecified());
    // Where the kernel cannot, every connection comes at once.
    let deferred = sys::defer_accept(&socket, DEFERRED).is_ok();
    let door = Door { local, deferred, ..Door::new(served, permits, drain, asleep, handler) };
    door.accept(Kind::Tcp(socket)).await
}

/// The same from a socket that all workers share: each connection goes to the worker with the fewest of them, where
/// [`take`] is to run.
///
/// # Errors
/// Only if the runtime cannot take the socket.
pub async fn run_shared<H: Handler>(
    (Shared { kind, file, .. }, spread): (Shared, Spread),
    served: (Arc<Listener>, Option<Arc<Secure>>),
    permits: Permits,
    drain: Drain,
    asleep: Asleep,
    handler: H,
) -> io::Result<()> {
    // To the end of this, with the socket still open: nobody finds a path where nobody listens.
    let _file = file;
    let door = Door { spread: Some(spread), ..Door::new(served, permits, drain, asleep, handler) };
    door.accept(kind).await
}

/// Serves the connections that another worker passes to this one, until that one accepts no more.
///
/// # Errors
/// None.
pub async fn take<H: Handler>(
    mut taker: Taker,
    served: (Arc<Listener>, Option<Arc<Secure>>),
    permits: Permits,
    drain: Drain,
    asleep: Asleep,
    handler: H,
) -> io::Result<()> {
    let _held = drain.hold();
    let door = Door::new(served, permits, drain, asleep, handler);
    while let Some(Passed { socket, peer, permit, seat }) = taker.next().await {
        // One that the runtime cannot take is closed; the next may be well.
        if let Ok(socket) = socket.settle() {
            door.serve(socket, peer, permit, Some(seat));
        }
    }
    Ok(())
}

struct Door<H> {
    listener: Arc<Listener>,
    /// `None`: plain HTTP is spoken here.
    secure: Option<Arc<Secure>>,
    permits: Permits,
    drain: Drain,
    asleep: Asleep,
    handler: H,
    /// Our side of every connection, where the socket is bound to one address.
    local: Option<SocketAddr>,
    /// The kernel keeps connections back until they say something.
    deferred: bool,
    /// Other workers take some.
    spread: Option<Spread>,
}

impl<H: Handler> Door<H> {
    fn new(
        (listener, secure): (Arc<Listener>, Option<Arc<Secure>>),
        permits: Permits,
        drain: Drain,
        asleep: Asleep,
        handler: H,
    ) -> Self {
        Self { listener, secure, permits, drain, asleep, handler, local: None, deferred: false, spread: None }
    }

    async fn accept(&self, socket: Kind) -> io::Result<()> {
        let _held = self.drain.hold();
        let socket = Listening::of(socket)?;
        self.stand_at(&socket).await;
        let socket = socket.loosen()?;
        loop {
            match socket.accept() {
                Ok((stream, peer)) => self.enter(stream, peer).await,
                Err(error) if is_of_one_connection(&error) => {}
                Err(_) => return Ok(()),
            }
        }
    }

    async fn stand_at(&self, socket: &Listening) {
        let mut closing = pin!(async {
            self.drain.reached(Step::Draining).await;
            if let (true, Listening::Tcp(socket)) = (self.deferred, socket)
                && sys::defer_accept(socket, 0).is_ok()
            {
                let cut = self.drain.reached(Step::Cut);
                // Whichever comes first.
                let _ = tokio::time::timeout(HANDED_OVER, cut).await;
            }
        });
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                () = &mut closing => return,
            };
            match accepted {
                // Accepted before there is room for it: a loop that held a permit while it waits would keep it from the others.
                Ok((stream, peer)) => self.enter(stream, peer).await,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    warn(&self.listener, &error);
                    tokio::select! {
                        () = tokio::time::sleep(BACK_OFF) => {}
                        () = &mut closing => return,
                    }
                }
            }
        }
    }

    /// Waits until there is room, then serves the connection, here or where the fewest are.
    async fn enter(&self, socket: Socket, peer: SocketAddr) {
        let Some(permit) = self.permit().await else { return };
        let Some(spread) = &self.spread else { return self.serve(socket, peer, permit, None) };
        match spread.seat() {
            (seat, None) => self.serve(socket, peer, permit, Some(seat)),
            (seat, Some(to)) => {
                let Ok(socket) = socket.loosen() else { return };
                // A worker that is gone ends the process.
                let _ = to.send(Passed { socket, peer, permit, seat });
            }
        }
    }

    /// Serves it on a task of its own: a panic in it ends it alone.
    fn serve(&self, socket: Socket, peer: SocketAddr, permit: OwnedSemaphorePermit, seat: Option<Seat>) {
        // A socket bound to one address says it for all its connections. Else it fails only if the client is gone already.
        let local = self.local.map_or_else(|| socket.local(), Ok);
        let Ok(local) = local else { return };
        let peer = canonical(peer);
        let info = ConnInfo {
            listener: self.listener.clone(),
            peer,
            peer_text: ip_value(peer.ip()),
            tls: None,
            local: canonical(local),
            stalled: AtomicBool::new(false),
            drain: self.drain.clone(),
        };
        let held = Held { _permit: permit, _open: self.drain.connection(), _seat: seat };
        // On the heap at once: the runtime moves a task several times while it makes it and when it has ended.
        let (handler, asleep) = (self.handler.clone(), self.asleep.clone());
        let introduced = self.listener.proxy_protocol.contains(peer.ip());
        match &self.secure {
            _ if introduced => {
                let secure = self.secure.clone();
                drop(tokio::spawn(Box::pin(introduced::serve(secure, socket, info, handler, held, asleep))));
            }
            None => {
                let (stream, info) = (Stream::Plain(socket), Arc::new(info));
                drop(tokio::spawn(Box::pin(conn::serve(stream, Spoken::Unknown, info, handler, held, asleep))));
            }
            Some(secure) => {
                let secure = Arc::clone(secure);
                drop(tokio::spawn(Box::pin(handshake::serve(secure, socket, info, handler, held, asleep))));
            }
        }
    }

    /// `None` after the cut.
    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = self.permits.left.clone().try_acquire_owned() {
            return Some(permit);
        }
        tokio::select! {
            permit = self.permits.left.clone().acquire_owned() => permit.ok(),
            () = self.drain.reached(Step::Cut) => None,
        }
    }
}

/// An address holds nothing that a field could not.
pub(super) fn ip_value(ip: IpAddr) -> HeaderValue {
    let mut text = Vec::with_capacity(15); // "255.255.255.255"
    access_log::address(&mut text, ip);
    HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or(HeaderValue::from_static("unknown"))
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// accept(2) reports errors of the connection that it would have returned; the next one may be well.
fn is_of_one_connection(error: &io::Error) -> bool {
    let of_one = [
        Errno::CONNABORTED,
        Errno::INTR,
        Errno::PROTO,
        Errno::PERM,
        Errno::NETDOWN,
        Errno::NETUNREACH,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::NONET,
        Errno::NOPROTOOPT,
        Errno::OPNOTSUPP,
    ];
    Errno::from_io_error(error).is_some_and(|errno| of_one.contains(&errno))
}

fn warn(listener: &Listener, error: &io::Error) {
    events::accept_backoff(&listener.name, error, BACK_OFF, Instant::now());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn automatic_listeners_share_the_files() {
        assert_eq!(share(1024, 1), 448);
        assert_eq!(share(1024, 2), 224);
        assert_eq!(share(64, 2), 16);
        let room = |automatic| Permits::new(None, automatic).left.available_permits();
        assert!(room(2) <= room(1).div_ceil(2).max(16));
        assert_eq!(Permits::new(NonZeroUsize::new(5), 2).left.available_permits(), 5);
    }
}

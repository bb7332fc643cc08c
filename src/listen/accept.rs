//! Takes connections from one listening socket, under the limit of the process, and spawns each on this worker, or on
//! the one that has the fewest where all share the socket.
//!
//! It never ends because of a connection or of a shortage: it waits. Only the drain ends it.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderValue;
use rustix::io::Errno;

use super::drain::Step;
use super::permits::Permit;
use super::shared::{File, Kind, Listening, Shared};
use super::sniff::Spoken;
use super::socket::Socket;
use super::spread::{Passed, Seat, Spread, Taker};
use super::stand::Stand;
use super::stream::Stream;
use super::taken::place;
use super::tls::handshake;
use super::wire::{Held, Wire};
use super::{Asleep, ConnInfo, Handler, conn, introduced};
use crate::config::model::Listener;
use crate::memory;
use crate::observe::{access_log, events};
use crate::sys;

/// After a shortage of files, nothing is accepted for so long; and so often it is looked whether memory is back.
const BACK_OFF: Duration = Duration::from_millis(200);
/// So many seconds the kernel keeps a connection that says nothing: most come with their request, and one wake-up does
/// for both.
const DEFERRED: u8 = 1;
/// After the kernel is told to keep none back any more, it has handed over the last of them: its timer for the longest
/// kept, and a way there and back.
const HANDED_OVER: Duration = Duration::from_millis(1100);

/// Accepts from `socket` until the drain begins, and a second longer: the clients that the kernel still keeps back
/// would be reset by a close. Then takes what already waits in its backlog, and closes it. Runs on the worker that is
/// to serve the connections.
///
/// # Errors
/// Only if the runtime cannot take the socket.
pub async fn run<H: Handler>(
    socket: std::net::TcpListener,
    stand: Arc<Stand>,
    asleep: Asleep,
    handler: H,
) -> io::Result<()> {
    let local = socket.local_addr().ok().filter(|local| !local.ip().is_unspecified());
    // Where the kernel cannot, every connection comes at once.
    let deferred = sys::defer_accept(&socket, DEFERRED).is_ok();
    let door = Door { local, deferred, ..Door::new(stand, asleep, handler) };
    door.accept(Kind::Tcp(socket)).await
}

/// The same from a socket that all workers share: each connection goes to the worker with the fewest of them, where
/// [`take`] is to run.
///
/// # Errors
/// Only if the runtime cannot take the socket.
pub async fn run_shared<H: Handler>(
    (Shared { kind, file, .. }, spread): (Shared, Spread),
    stand: Arc<Stand>,
    asleep: Asleep,
    handler: H,
) -> io::Result<()> {
    // To the end of this, with the socket still open: nobody finds a path where nobody listens.
    let mut file = file;
    file.iter_mut().for_each(File::claim);
    let place = place(&kind)?;
    let door = Door { spread: Some(spread), ..Door::new(stand, asleep, handler) };
    let accepted = door.accept(kind).await;
    if door.stand.drain.is_elsewhere(&place) {
        file.iter_mut().for_each(File::leave);
    }
    accepted
}

/// Serves the connections that another worker passes to this one, until that one accepts no more.
///
/// # Errors
/// None.
pub async fn take<H: Handler>(mut taker: Taker, stand: Arc<Stand>, asleep: Asleep, handler: H) -> io::Result<()> {
    let _held = stand.drain.hold();
    let door = Door::new(stand, asleep, handler);
    while let Some(Passed { socket, peer, permit, seat }) = taker.next().await {
        // One that the runtime cannot take is closed; the next may be well.
        if let Ok(socket) = socket.settle() {
            door.serve(socket, peer, permit, Some(seat));
        }
    }
    Ok(())
}

struct Door<H> {
    stand: Arc<Stand>,
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
    fn new(stand: Arc<Stand>, asleep: Asleep, handler: H) -> Self {
        Self { stand, asleep, handler, local: None, deferred: false, spread: None }
    }

    async fn accept(&self, socket: Kind) -> io::Result<()> {
        let _held = self.stand.drain.hold();
        let place = place(&socket)?;
        let socket = Listening::of(socket)?;
        self.stand_at(&socket, &place).await;
        if self.stand.drain.is_elsewhere(&place) {
            return Ok(());
        }
        let socket = socket.loosen()?;
        loop {
            match socket.accept() {
                Ok((stream, peer)) => self.enter(stream, peer).await,
                Err(error) if is_of_one_connection(&error) => {}
                Err(_) => return Ok(()),
            }
        }
    }

    async fn stand_at(&self, socket: &Listening, place: &str) {
        let mut closing = pin!(async {
            self.stand.drain.reached(Step::Draining).await;
            if self.stand.drain.is_elsewhere(place) {
                return;
            }
            if let (true, Listening::Tcp(socket)) = (self.deferred, socket)
                && sys::defer_accept(socket, 0).is_ok()
            {
                let cut = self.stand.drain.reached(Step::Cut);
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
                // Accepted before there is room for it: a loop that held a permit while it waits would keep it from the
                // others.
                Ok((stream, peer)) => self.enter(stream, peer).await,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    warn(&self.stand.served().listener, &error);
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
    fn serve(&self, socket: Socket, peer: SocketAddr, permit: Permit, seat: Option<Seat>) {
        // A socket bound to one address says it for all its connections. Else it fails only if the client is gone
        // already.
        let local = self.local.map_or_else(|| socket.local(), Ok);
        let Ok(local) = local else { return };
        let (peer, served) = (canonical(peer), self.stand.served());
        let info = ConnInfo {
            listener: served.listener.clone(),
            peer,
            peer_text: ip_value(peer.ip()),
            tls: None,
            local: canonical(local),
            stalled: AtomicBool::new(false),
            drain: self.stand.drain.clone(),
        };
        let held = Held { _permit: permit, _open: self.stand.drain.connection(), _seat: seat };
        // On the heap at once: the runtime moves a task several times while it makes it and when it has ended.
        let (handler, asleep) = (self.handler.clone(), self.asleep.clone());
        let introduced = served.listener.proxy_protocol.contains(peer.ip());
        match &served.secure {
            _ if introduced => {
                let secure = served.secure.clone();
                drop(tokio::spawn(Box::pin(introduced::serve(secure, socket, info, handler, held, asleep))));
            }
            None => {
                let (wire, info) = (Wire::new(Stream::Plain(socket), held), Arc::new(info));
                drop(tokio::spawn(Box::pin(conn::serve(wire, Spoken::Unknown, info, handler, asleep))));
            }
            Some(secure) => {
                let secure = Arc::clone(secure);
                drop(tokio::spawn(Box::pin(handshake::serve(secure, socket, info, handler, held, asleep))));
            }
        }
    }

    /// `None` after the cut.
    async fn permit(&self) -> Option<Permit> {
        if memory::is_short() {
            self.enough().await?;
        }
        if let Some(permit) = self.stand.permits.one() {
            return Some(permit);
        }
        tokio::select! {
            permit = self.stand.permits.next() => permit,
            () = self.stand.drain.reached(Step::Cut) => None,
        }
    }

    /// Waits until memory is there again; who comes meanwhile waits in the kernel. `None` after the cut.
    async fn enough(&self) -> Option<()> {
        let there = async {
            while memory::is_short() {
                tokio::time::sleep(BACK_OFF).await;
            }
        };
        tokio::select! {
            () = there => Some(()),
            () = self.stand.drain.reached(Step::Cut) => None,
        }
    }
}

/// An address as fields have it. The last one is kept: whoever comes often comes again.
pub(super) fn ip_value(ip: IpAddr) -> HeaderValue {
    thread_local!(static LAST: RefCell<Option<(IpAddr, HeaderValue)>> = const { RefCell::new(None) });
    LAST.with_borrow_mut(|last| match last {
        Some((its, text)) if *its == ip => text.clone(),
        _ => last.insert((ip, written(ip))).1.clone(),
    })
}

/// An address holds nothing that a field could not.
fn written(ip: IpAddr) -> HeaderValue {
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

//! The sockets that are open, by address: those that stay, come and go in a reload.
//!
//! An address that stays keeps its sockets, its queue and its count of connections, whatever else its listener says.
//! New ones are bound before anything is changed; those of listeners that left take what waits in their queue, and
//! drain by themselves: only the end of the process cuts what is left on them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::admin::Door;
use crate::config::model::Listener;
use crate::config::{ListenAddress, here};
use crate::listen::taken::Copied;
use crate::listen::{Bound, Drain, Permits, Secure, Stand, Taken, bind, bind_or_take, spread};
use crate::observe::events;

use super::start::StartError;
use super::worker::{Order, Share};

/// For sockets of a listener that left, to be closed before the address is opened again. They are in a second or so.
const CLOSES: Duration = Duration::from_secs(4);

/// See the module.
#[derive(Debug)]
pub(super) struct Listeners {
    open: Vec<Open>,
    closing: Vec<Closing>,
    /// The way to each worker.
    workers: Vec<mpsc::UnboundedSender<Order>>,
    /// What they are told once connections may be taken; `None`: they may.
    held: Option<Vec<(usize, Share)>>,
    /// A newer process may take over.
    copied: bool,
    /// Who accepts for all from the next socket that there is one of.
    turn: usize,
}

/// The sockets of a listener.
#[derive(Debug)]
struct Open {
    address: ListenAddress,
    at: At,
    stand: Arc<Stand>,
    accepting: TaskTracker,
    /// The sockets themselves, for a process that takes over.
    copies: Vec<Copied>,
}

/// Where it is reached.
#[derive(Clone, Debug, Default)]
struct At {
    addresses: Vec<SocketAddr>,
    /// `unix:/path`, or the address of one that was handed over.
    shared: Vec<(Arc<str>, Option<SocketAddr>)>,
}

/// The sockets of a listener that left, and its connections.
#[derive(Debug)]
struct Closing {
    name: Arc<str>,
    address: ListenAddress,
    at: At,
    permits: Permits,
    drain: Drain,
    accepting: TaskTracker,
}

/// What is to be done to serve the listeners of a file, with nothing left in it that could fail.
#[derive(Debug)]
pub(super) struct Prepared(Vec<Step>);

#[derive(Debug)]
struct Step {
    listener: Arc<Listener>,
    secure: Option<Arc<Secure>>,
    sockets: Sockets,
}

#[derive(Debug)]
enum Sockets {
    /// Those of the listener at this place.
    Kept(usize),
    New(Bound, Vec<Copied>),
}

impl Listeners {
    /// None, and what each worker is told by. `copied`: a newer process may take over.
    pub(super) fn new(workers: usize, copied: bool) -> (Self, Vec<mpsc::UnboundedReceiver<Order>>) {
        let (workers, orders) = (0..workers).map(|_| mpsc::unbounded_channel()).unzip();
        let (open, closing, held) = (Vec::new(), Vec::new(), Some(Vec::new()));
        (Self { open, closing, workers, held, copied, turn: 0 }, orders)
    }

    /// The first ones, with the sockets of an older process where it gave some: all that can fail.
    ///
    /// # Errors
    /// As of [`Listeners::prepare`].
    pub(super) fn first(&self, wanted: &[Listener], taken: &mut Taken) -> Result<Prepared, StartError> {
        let one = |listener: &Listener| {
            let bound = bind_or_take(&listener.address, self.workers.len(), taken);
            self.new_one(listener, bound.map_err(|source| of(listener, source))?)
        };
        wanted.iter().map(one).collect::<Result<_, _>>().map(Prepared)
    }

    /// From now on workers accept.
    pub(super) fn open(&mut self) {
        for (worker, share) in self.held.take().into_iter().flatten() {
            self.tell(worker, share);
        }
    }

    /// All that can fail, and nothing that changes what runs. `besides`: the admin's address, where it is open.
    ///
    /// # Errors
    /// A socket, a certificate or a descriptor cannot be had.
    pub(super) async fn prepare(
        &self,
        wanted: &[Listener],
        besides: Option<(&ListenAddress, &[SocketAddr])>,
    ) -> Result<Prepared, StartError> {
        let kept = self.kept(wanted);
        let mut steps = Vec::with_capacity(wanted.len());
        for (listener, kept) in wanted.iter().zip(kept) {
            let step = match kept.and_then(|index| Some((index, self.open.get(index)?))) {
                Some((index, open)) => {
                    let secure = match &open.stand.served().secure {
                        Some(secure) => secure.renewed(listener),
                        None => Secure::new(listener),
                    };
                    let secure = secure.map_err(|source| tls(listener, source))?;
                    Step { listener: Arc::new(listener.clone()), secure, sockets: Sockets::Kept(index) }
                }
                None => {
                    let room = self.make_room(&listener.address, besides).await;
                    room.map_err(|source| of(listener, source))?;
                    let bound = bind(&listener.address, self.workers.len());
                    self.new_one(listener, bound.map_err(|source| of(listener, source))?)?
                }
            };
            steps.push(step);
        }
        Ok(Prepared(steps))
    }

    fn new_one(&self, listener: &Listener, bound: Bound) -> Result<Step, StartError> {
        let copies = if self.copied { bound.copies(&listener.address) } else { Ok(Vec::new()) };
        let copies = copies.map_err(|source| of(listener, source))?;
        let secure = Secure::new(listener).map_err(|source| tls(listener, source))?;
        Ok(Step { listener: Arc::new(listener.clone()), secure, sockets: Sockets::New(bound, copies) })
    }

    /// Which of the open ones each of these goes on with: one of the same address; of several, that of the same name.
    fn kept(&self, wanted: &[Listener]) -> Vec<Option<usize>> {
        let mut kept = vec![None; wanted.len()];
        for same_name in [true, false] {
            for (index, listener) in wanted.iter().enumerate() {
                if kept[index].is_none() {
                    let fits = |(at, open): &(usize, &Open)| {
                        open.address == listener.address
                            && !kept.contains(&Some(*at))
                            && (!same_name || open.stand.served().listener.name == listener.name)
                    };
                    kept[index] = self.open.iter().enumerate().find(fits).map(|(at, _)| at);
                }
            }
        }
        kept
    }

    /// Can this address be opened beside those of causeway's own that are open?
    ///
    /// # Errors
    /// One sentence that says which is in its way.
    pub(super) async fn make_room(
        &self,
        address: &ListenAddress,
        besides: Option<(&ListenAddress, &[SocketAddr])>,
    ) -> io::Result<()> {
        for closing in self.closing.iter().filter(|closing| closing.at.meets(&closing.address, address)) {
            closing.accepting.close();
            if timeout(CLOSES, closing.accepting.wait()).await.is_err() {
                return Err(in_use(format!("{address} is still being closed; try again in a few seconds")));
            }
        }
        let open = self.open.iter().find(|open| open.at.meets(&open.address, address));
        let said = match open {
            Some(open) => {
                let name = open.stand.served().listener.name.clone();
                Some((open.address.to_string(), format!("listener {name}")))
            }
            None => besides
                .filter(|(own, at)| At { addresses: at.to_vec(), shared: Vec::new() }.meets(own, address))
                .map(|(own, _)| (own.to_string(), "the admin".to_owned())),
        };
        match said {
            None => Ok(()),
            Some((own, whose)) => Err(in_use(format!(
                "{address} cannot be opened while {own} ({whose}) is. Take that out and reload, then add {address} and \
                 reload; or restart"
            ))),
        }
    }

    /// Serves these listeners, and no others.
    pub(super) fn commit(&mut self, prepared: Prepared) {
        let automatic = prepared.0.iter().filter(|step| step.listener.connections_limit.is_none()).count();
        let mut old: Vec<Option<Open>> = std::mem::take(&mut self.open).into_iter().map(Some).collect();
        for Step { listener, secure, sockets } in prepared.0 {
            let limit = listener.connections_limit;
            match sockets {
                Sockets::Kept(index) => {
                    let Some(open) = old.get_mut(index).and_then(Option::take) else { continue };
                    open.stand.permits.resize(limit, automatic);
                    open.stand.renew(listener, secure);
                    self.open.push(open);
                }
                Sockets::New(bound, copies) => {
                    let address = listener.address.clone();
                    let stand = Arc::new(Stand::new(listener, secure, Permits::new(limit, automatic)));
                    let (at, accepting) = (At::of(&bound), TaskTracker::new());
                    self.share_out(bound, &stand, &accepting);
                    self.open.push(Open { address, at, stand, accepting, copies });
                }
            }
        }
        for Open { address, at, stand, accepting, .. } in old.into_iter().flatten() {
            stand.drain.begin();
            let (name, permits) = (Arc::clone(&stand.served().listener.name), stand.permits.clone());
            self.closing.push(Closing { name, address, at, permits, drain: stand.drain.clone(), accepting });
        }
        self.closing.retain(|closing| !(closing.accepting.is_empty() && closing.drain.is_over()));
    }

    /// Each worker's sockets; the limit of a listener's connections is one for all workers.
    fn share_out(&mut self, bound: Bound, stand: &Arc<Stand>, accepting: &TaskTracker) {
        let share = |sockets| Share {
            stand: Arc::clone(stand),
            sockets,
            shared: Vec::new(),
            taken: Vec::new(),
            accepting: accepting.clone(),
            _held: accepting.token(),
        };
        let mut shares: Vec<Share> = bound.workers.into_iter().map(share).collect();
        for shared in bound.shared {
            // Another worker for each: none has all of that work.
            let own = self.turn % self.workers.len().max(1);
            self.turn += 1;
            let (spread, takers) = spread::over(self.workers.len(), own);
            shares.iter_mut().zip(takers).for_each(|(share, taker)| share.taken.extend(taker));
            if let Some(share) = shares.get_mut(own) {
                share.shared.push((shared, spread));
            }
        }
        for (worker, share) in shares.into_iter().enumerate() {
            match &mut self.held {
                Some(held) => held.push((worker, share)),
                None => self.tell(worker, share),
            }
        }
    }

    fn tell(&self, worker: usize, share: Share) {
        if let Some(worker) = self.workers.get(worker) {
            // A worker that is gone ends the process.
            let _ = worker.send(Order::Accept(share));
        }
    }

    /// Each listener's name, and the addresses that it really has.
    pub(super) fn addresses(&self) -> Vec<(Arc<str>, Vec<SocketAddr>)> {
        let one = |open: &Open| (open.stand.served().listener.name.clone(), open.at.all().collect());
        self.open.iter().map(one).collect()
    }

    /// As the admin has them: those that are open, then those that left and have connections yet.
    pub(super) fn doors(&self) -> Vec<Door> {
        let door = |open: &Open| {
            let (served, permits) = (open.stand.served(), open.stand.permits.clone());
            let addresses = open.at.addresses.iter().map(|address| address.to_string().into());
            let shared = open.at.shared.iter().map(|(name, _)| Arc::clone(name));
            let (name, secure) = (Arc::clone(&served.listener.name), served.secure.clone());
            Door { name, addresses: addresses.chain(shared).collect(), permits, secure, leaves: false }
        };
        let closing = |closing: &Closing| Door {
            name: Arc::clone(&closing.name),
            addresses: Vec::new(),
            permits: closing.permits.clone(),
            secure: None,
            leaves: true,
        };
        self.open.iter().map(door).chain(self.closing.iter().map(closing)).collect()
    }

    /// Those that speak TLS.
    pub(super) fn secure(&self) -> Vec<Arc<Secure>> {
        self.open.iter().filter_map(|open| open.stand.served().secure.clone()).collect()
    }

    /// Every address that leads here.
    pub(super) fn own(&self) -> Vec<SocketAddr> {
        self.open.iter().flat_map(|open| open.at.own(&open.address)).collect()
    }

    /// Of all that have connections, those that left included.
    pub(super) fn drains(&self) -> Vec<Drain> {
        let open = self.open.iter().map(|open| open.stand.drain.clone());
        open.chain(self.closing.iter().map(|closing| closing.drain.clone())).collect()
    }

    /// The listening sockets of all workers, for a process that takes over.
    pub(super) fn copies(&self) -> impl Iterator<Item = &Copied> {
        self.open.iter().flat_map(|open| &open.copies)
    }

    /// No process takes over any more: a socket closes when its worker closes it. What no worker was told of closes
    /// now: who waits there waits for an older process.
    pub(super) fn let_go(&mut self) {
        self.open.iter_mut().for_each(|open| open.copies.clear());
        self.held.iter_mut().for_each(Vec::clear);
    }

    /// Cuts what is left; workers end.
    pub(super) fn end(&mut self) {
        self.let_go();
        let drains = self.drains();
        for drain in &drains {
            drain.cut();
        }
        for worker in &self.workers {
            let _ = worker.send(Order::End(drains.clone()));
        }
    }
}

impl Prepared {
    /// Says what is new.
    pub(super) fn announce(&self) {
        for Step { listener, sockets, .. } in &self.0 {
            let Sockets::New(bound, _) = sockets else { continue };
            let scheme = if listener.tls.is_some() { "https" } else { "http" };
            for address in &bound.addresses {
                let both = address.is_ipv6() && matches!(listener.address, ListenAddress::Any(_));
                events::listening(&listener.name, scheme, *address, both);
            }
            let handed = matches!(listener.address, ListenAddress::Handed(_));
            for shared in &bound.shared {
                events::listening_at(&listener.name, scheme, &shared.name, handed);
            }
        }
    }
}

impl At {
    fn of(bound: &Bound) -> Self {
        let shared = bound.shared.iter().map(|shared| (Arc::clone(&shared.name), shared.address)).collect();
        Self { addresses: bound.addresses.clone(), shared }
    }

    fn all(&self) -> impl Iterator<Item = SocketAddr> {
        self.addresses.iter().copied().chain(self.shared.iter().filter_map(|(_, address)| *address))
    }

    /// What it takes, by family; `said`: the address in the file.
    fn own(&self, said: &ListenAddress) -> Vec<SocketAddr> {
        own(said, &self.addresses).chain(self.shared.iter().filter_map(|(_, address)| *address)).collect()
    }

    /// Can it and another address not be open at once?
    fn meets(&self, said: &ListenAddress, other: &ListenAddress) -> bool {
        if let ListenAddress::Unix(_) | ListenAddress::Handed(_) = other {
            return said == other;
        }
        let theirs = here::sockets(other, other.port());
        self.own(said).iter().any(|own| theirs.iter().any(|their| other.port() != 0 && overlap(*own, *their)))
    }
}

/// What an address with these sockets takes, by family.
pub(super) fn own(said: &ListenAddress, addresses: &[SocketAddr]) -> impl Iterator<Item = SocketAddr> + use<> {
    here::sockets(said, addresses.first().map_or(0, SocketAddr::port)).into_iter()
}

fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip(), other.ip());
    one.port() == other.port() && (a == b || a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified()))
}

fn of(listener: &Listener, source: io::Error) -> StartError {
    StartError::new(format!("listener {}", listener.name), source)
}

fn tls(listener: &Listener, source: io::Error) -> StartError {
    StartError::new(format!("TLS of listener {}", listener.name), source)
}

fn in_use(sentence: String) -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_meets_every_address_of_its_port() {
        let parse = |text: &str| ListenAddress::parse(text).unwrap();
        let at = |text: &str| text.parse().unwrap();
        for (said, bound, other, wanted) in [
            (":80", "[::]:80", "127.0.0.1:80", true),
            (":80", "[::]:80", "127.0.0.1:81", false),
            ("127.0.0.1:80", "127.0.0.1:80", ":80", true),
            ("127.0.0.1:80", "127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:80", "127.0.0.1:80", "[::1]:80", false),
            ("127.0.0.1:0", "127.0.0.1:80", ":80", true),
            ("127.0.0.1:0", "127.0.0.1:80", "127.0.0.1:0", false),
            ("127.0.0.1:80", "127.0.0.1:80", "unix:/run/a", false),
        ] {
            let one = At { addresses: vec![at(bound)], shared: Vec::new() };
            assert_eq!(one.meets(&parse(said), &parse(other)), wanted, "{said} {other}");
        }
        let path = parse("unix:/run/a");
        assert!(At::default().meets(&path, &path) && !At::default().meets(&path, &parse("unix:/run/b")));
    }
}

//! Opens the listening sockets of a listener: one for each worker and address; or one for all, on a path or handed
//! over.
//!
//! Workers share a port with `SO_REUSEPORT`, and the kernel spreads connections over their sockets. That option would
//! also let a second program take half of them unseen: so the first socket is bound without it, and a taken port is an
//! error.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use super::{Shared, Taken, handed, shared};
use crate::config::address::ListenAddress;

/// Connections that the kernel keeps for us until they are accepted; `net.core.somaxconn` bounds it too.
pub(super) const BACKLOG: i32 = 4096;
/// With port 0 and two addresses, the port that the first one got may be taken on the other.
const TRIES: usize = 16;

/// A listener's sockets, non-blocking and listening.
#[derive(Debug)]
pub struct Bound {
    /// What is listened on, with the port that the kernel chose in place of 0.
    pub addresses: Vec<SocketAddr>,
    /// For each worker, a socket for each address.
    pub workers: Vec<Vec<TcpListener>>,
    /// Sockets that there is one of; the addresses of these are none of the above.
    pub shared: Vec<Shared>,
}

/// Binds `workers` sockets to each address. Of several addresses, those may be missing that this machine does not have
/// (`localhost` without IPv6).
///
/// # Errors
/// One sentence that names the address: it is taken, it is not of this machine, or it needs a right that causeway
/// lacks. The system's own error is its source.
pub fn bind(address: &ListenAddress, workers: usize) -> io::Result<Bound> {
    bind_or_take(address, workers, &mut Taken::default())
}

/// The same, but a socket that an older process gave is used as it is, with all who wait in its queue. A worker may
/// have several then.
///
/// # Errors
/// As those of [`bind`].
pub fn bind_or_take(address: &ListenAddress, workers: usize, taken: &mut Taken) -> io::Result<Bound> {
    let mut tries = if address.port() == 0 { TRIES } else { 1 };
    loop {
        tries -= 1;
        match bind_all(address, workers.max(1), taken) {
            Err(error) if tries > 0 && error.kind() == io::ErrorKind::AddrInUse => {}
            result => return result,
        }
    }
}

fn bind_all(address: &ListenAddress, workers: usize, taken: &mut Taken) -> io::Result<Bound> {
    let said = address.to_string();
    let workers = (0..workers).map(|_| Vec::new()).collect();
    let mut bound = Bound { addresses: Vec::new(), workers, shared: Vec::new() };
    match address {
        ListenAddress::Unix(path) => bound.shared.push(match taken.unix(&said) {
            Some(socket) => shared::taken(socket, path)?,
            None => shared::unix(path)?,
        }),
        ListenAddress::Handed(name) => {
            let given = if handed::has(name) { Vec::new() } else { taken.named(&said) };
            bound.shared = if given.is_empty() {
                handed::sockets(name)?
            } else {
                given.into_iter().map(|socket| shared::handed(socket.into(), &said)).collect::<io::Result<_>>()?
            };
        }
        ListenAddress::Any(port) => {
            let six = SocketAddr::from((Ipv6Addr::UNSPECIFIED, *port));
            let four = SocketAddr::from((Ipv4Addr::UNSPECIFIED, *port));
            match bound.add((six, true), &said, taken) {
                Err(error) if is_missing(&error) => {
                    bound.add((four, false), &said, taken).map_err(|error| explain(address, error))?
                }
                result => result.map_err(|error| explain(address, error))?,
            }
        }
        ListenAddress::Exact(addresses) => {
            let mut missing = None;
            for &(mut one) in addresses {
                if one.port() == 0 {
                    one.set_port(bound.addresses.first().map_or(0, SocketAddr::port));
                }
                match bound.add((one, false), &said, taken) {
                    Err(error) if is_missing(&error) => missing = Some(explain(&one, error)),
                    result => result.map_err(|error| explain(&one, error))?,
                }
            }
            if let Some(error) = missing.filter(|_| bound.addresses.is_empty()) {
                return Err(error);
            }
        }
    }
    Ok(bound)
}

impl Bound {
    /// One socket for each worker on this address, or more where more were taken over.
    fn add(&mut self, (address, both): (SocketAddr, bool), said: &str, taken: &mut Taken) -> io::Result<()> {
        let mut sockets = taken.tcp(said, address, both);
        let given = sockets.len();
        if sockets.is_empty() {
            let first = open(address, both)?;
            first.bind(&address.into())?;
            sockets.push(first);
        }
        let local = sockets.first().map(Socket::local_addr).transpose()?;
        let address = local.and_then(|local| local.as_socket()).unwrap_or(address);
        for socket in &sockets {
            socket.set_reuse_port(true)?;
            socket.set_tcp_nodelay(true)?;
        }
        while sockets.len() < self.workers.len() {
            match sibling(address, both) {
                Ok(sibling) => sockets.push(sibling),
                // What another user bound cannot be joined: one worker accepts from it for all.
                Err(_) if given > 0 => {
                    sockets.truncate(given);
                    self.shared.extend(sockets.into_iter().map(|socket| shared::whole(socket, address)));
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        for socket in &sockets {
            socket.listen(BACKLOG)?;
        }
        self.addresses.push(address);
        let workers = self.workers.len();
        for (index, socket) in sockets.into_iter().enumerate() {
            self.workers[index % workers].push(socket.into());
        }
        Ok(())
    }
}

fn sibling(address: SocketAddr, both_families: bool) -> io::Result<Socket> {
    let sibling = open(address, both_families)?;
    sibling.set_reuse_port(true)?;
    sibling.bind(&address.into())?;
    Ok(sibling)
}

fn open(address: SocketAddr, both_families: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // A restart need not wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit it: no system call for each connection.
    socket.set_tcp_nodelay(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!both_families)?;
    }
    Ok(socket)
}

/// Does this machine not have such an address, or such a family?
fn is_missing(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT))
}

fn explain(address: &impl fmt::Display, source: io::Error) -> io::Error {
    let address = address.to_string();
    let port = address.rsplit(':').next().unwrap_or_default();
    let why = match Errno::from_io_error(&source) {
        Some(Errno::ADDRINUSE) => {
            format!("another program listens on that port already; \"ss -ltnp 'sport = :{port}'\" shows which")
        }
        Some(Errno::ADDRNOTAVAIL) => "this machine has no such address (see which it has: ip addr)".to_owned(),
        Some(Errno::AFNOSUPPORT) => "this machine does not speak that address family".to_owned(),
        Some(Errno::ACCESS | Errno::PERM) => {
            "ports below 1024 need the right CAP_NET_BIND_SERVICE; take a higher port, or grant it".to_owned()
        }
        _ => source.to_string(),
    };
    BindError::of(format!("cannot listen on {address}: {why}"), source)
}

/// Why there is no socket: one sentence.
#[derive(Debug)]
pub(super) struct BindError {
    text: String,
    source: io::Error,
}

impl BindError {
    /// As the error of a system call, with that call's own as its source.
    pub(super) fn of(text: String, source: io::Error) -> io::Error {
        io::Error::new(source.kind(), Self { text, source })
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for BindError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

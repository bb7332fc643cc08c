//! Listening sockets on their way from one process to the next: copies of ours to give, and those that an older one
//! gave.
//!
//! A copy is the same socket: who waits in its queue waits for whoever accepts first, and nobody is reset until all
//! copies are closed.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use socket2::{SockRef, Socket, Type};

use super::bind::Bound;
use crate::config::ListenAddress;

/// One listening socket.
#[derive(Debug)]
pub struct Copied {
    /// What the config calls its address: `127.0.0.1:8080`, `unix:/path`, `fd:NAME`.
    pub said: String,
    /// The socket.
    pub socket: OwnedFd,
}

impl Copied {
    /// The same socket once more.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn again(&self) -> io::Result<Self> {
        Ok(Self { said: self.said.clone(), socket: self.socket.try_clone()? })
    }
}

impl Bound {
    /// A copy of each of its sockets. Whoever has them must close them before the listener ends, or clients wait there
    /// for ever.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn copies(&self, address: &ListenAddress) -> io::Result<Vec<Copied>> {
        let said = address.to_string();
        let own = self.workers.iter().flatten().map(|socket| socket.as_fd());
        let all = own.chain(self.shared.iter().map(|shared| shared.kind.as_fd()));
        all.map(|socket| Ok(Copied { said: said.clone(), socket: socket.try_clone_to_owned()? })).collect()
    }
}

/// What an older process gave. Empty at an ordinary start.
#[derive(Debug, Default)]
pub struct Taken {
    left: Vec<Given>,
    kept: Vec<usize>,
}

#[derive(Debug)]
struct Given {
    index: usize,
    said: String,
    place: String,
    socket: Socket,
}

impl Taken {
    /// Of what was given, what can be listened on; the rest is closed.
    #[must_use]
    pub fn new(given: Vec<Copied>) -> Self {
        let listens = |(index, Copied { said, socket }): (usize, Copied)| {
            let place = place(&socket).ok()?;
            let socket = Socket::from(socket);
            let listens = socket.r#type().ok()? == Type::STREAM && socket.is_listener().ok()?;
            socket.set_nonblocking(true).ok()?;
            listens.then_some(Given { index, said, place, socket })
        };
        Self { left: given.into_iter().enumerate().filter_map(listens).collect(), kept: Vec::new() }
    }

    /// Which of what was given is in use here, by its position.
    #[must_use]
    pub fn kept(&self) -> &[usize] {
        &self.kept
    }

    /// All sockets of this address. `said`: what the config calls it; that decides where the kernel chose the port.
    /// `both`: IPv4 clients come by it too.
    pub(super) fn tcp(&mut self, said: &str, address: SocketAddr, both: bool) -> Vec<Socket> {
        let like = |given: &Given| {
            let local = given.socket.local_addr().ok()?.as_socket()?;
            let same =
                if address.port() == 0 { given.said == said && local.ip() == address.ip() } else { local == address };
            let fits = !address.is_ipv6() || given.socket.only_v6().ok()? != both;
            (same && fits).then(|| given.place.clone())
        };
        let Some(place) = self.left.iter().find_map(like) else { return Vec::new() };
        self.all(|given| given.place == place)
    }

    /// The socket at this path.
    pub(super) fn unix(&mut self, said: &str) -> Option<Socket> {
        self.all(|given| given.place == said).pop()
    }

    /// The sockets that were handed to the older process by this name: `fd:NAME`.
    pub(super) fn named(&mut self, said: &str) -> Vec<Socket> {
        self.all(|given| given.said == said)
    }

    fn all(&mut self, wanted: impl Fn(&Given) -> bool) -> Vec<Socket> {
        let (found, left) = std::mem::take(&mut self.left).into_iter().partition(wanted);
        self.left = left;
        let found: Vec<Given> = found;
        self.kept.extend(found.iter().map(|given| given.index));
        found.into_iter().map(|given| given.socket).collect()
    }
}

/// Where a socket listens, in one form for both processes: `127.0.0.1:8080`, `unix:/path`, `unix:@name`.
///
/// # Errors
/// When it is no socket, or one of another family.
pub fn place(socket: &impl AsFd) -> io::Result<String> {
    let local = SockRef::from(socket).local_addr()?;
    if let Some(address) = local.as_socket() {
        return Ok(address.to_string());
    }
    match (local.as_pathname(), local.as_abstract_namespace()) {
        (Some(path), _) => Ok(format!("unix:{}", path.display())),
        (None, Some(name)) => Ok(format!("unix:@{}", name.escape_ascii())),
        (None, None) if local.is_unix() => Ok("unix:".to_owned()),
        (None, None) => Err(io::ErrorKind::Unsupported.into()),
    }
}

//! A listening socket that there is one of: on a path (`unix:`), or handed over by whoever started causeway (`fd:`).
//! One worker accepts from it for all.
//!
//! A path is taken over from a process that died, never from one that lives, and removed at the end.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket as Raw, Type};
use tokio::net::{TcpListener, UnixListener};

use super::bind::{BACKLOG, BindError};
use super::socket::{Loose, Socket, THIS_MACHINE};
use super::taken;

/// See the module.
#[derive(Debug)]
pub struct Shared {
    pub(super) kind: Kind,
    /// What it is called: `unix:/path`, or an address.
    pub name: Arc<str>,
    /// Where it is a TCP socket: its address.
    pub address: Option<SocketAddr>,
    /// Removed when nothing is accepted any more.
    pub(super) file: Option<File>,
}

/// Of which family it is.
#[derive(Debug)]
pub(super) enum Kind {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

/// A socket's path, and which file it was.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    is: (u64, u64),
    /// Another process listens there else, or will.
    ours: bool,
}

impl File {
    /// This process accepts there from now on.
    pub(super) fn claim(&mut self) {
        self.ours = true;
    }

    /// Another process accepts there from now on.
    pub(super) fn leave(&mut self) {
        self.ours = false;
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if self.ours && fs::symlink_metadata(&self.path).is_ok_and(|now| (now.dev(), now.ino()) == self.is) {
            // What cannot be removed is taken over at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens on a path, or on `@name` in the abstract namespace. The file's mode is what the umask leaves.
///
/// # Errors
/// One sentence: somebody listens there, something else is there, or the folder is not or may not be written.
pub(super) fn unix(path: &str) -> io::Result<Shared> {
    let name: Arc<str> = format!("unix:{path}").into();
    let refused =
        |why: String, source: io::Error| Err(BindError::of(format!("cannot listen on {name}: {why}"), source));
    let (bound, on_disk) = match path.strip_prefix('@') {
        Some(abstract_name) => (bind(&format!("\0{abstract_name}")), false),
        None => match bind(path) {
            Err(error) if is(&error, Errno::ADDRINUSE) && is_abandoned(path) => {
                (fs::remove_file(path).and_then(|()| bind(path)), true)
            }
            bound => (bound, true),
        },
    };
    let socket = match bound {
        Ok(socket) => socket,
        Err(error) => {
            let folder = path.rsplit_once('/').map_or("/", |(folder, _)| if folder.is_empty() { "/" } else { folder });
            let why = match Errno::from_io_error(&error) {
                Some(Errno::ADDRINUSE) if on_disk && !is_socket(path) => {
                    "that file is there already, and is no socket; move it away".to_owned()
                }
                Some(Errno::ADDRINUSE) => "another program listens there already; \"ss -lxp\" shows which".to_owned(),
                Some(Errno::NOENT) => format!("there is no folder {folder}; make it first"),
                Some(Errno::NOTDIR) => format!("{folder} is not a folder"),
                Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => {
                    format!(
                        "causeway may not make a file in {folder}; give its user that right, or take another folder"
                    )
                }
                _ => error.to_string(),
            };
            return refused(why, error);
        }
    };
    let file = on_disk
        .then(|| {
            fs::symlink_metadata(path).map(|now| File { path: path.into(), is: (now.dev(), now.ino()), ours: true })
        })
        .transpose()?;
    socket.listen(BACKLOG)?;
    Ok(Shared { kind: Kind::Unix(OwnedFd::from(socket).into()), name, address: None, file })
}

fn bind(path: &str) -> io::Result<Raw> {
    let socket = Raw::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    Ok(socket)
}

fn is(error: &io::Error, errno: Errno) -> bool {
    Errno::from_io_error(error) == Some(errno)
}

fn is_socket(path: &str) -> bool {
    fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

/// Is this a socket that nobody listens on any more? One that may not be asked, or is too busy to answer, is
/// somebody's.
fn is_abandoned(path: &str) -> bool {
    let refused = || {
        let socket = Raw::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)
    };
    is_socket(path) && refused().is_err_and(|error| is(&error, Errno::CONNREFUSED))
}

/// A socket that was handed over. `said`: what the config calls it.
///
/// # Errors
/// It is no stream socket that listens.
pub(super) fn handed(descriptor: OwnedFd, said: &str) -> io::Result<Shared> {
    let socket = Raw::from(descriptor);
    let wrong = |what: &str| {
        let text = format!("cannot listen on {said}: what was handed over by that name is {what}");
        BindError::of(text, io::ErrorKind::InvalidInput.into())
    };
    let local = socket.local_addr().map_err(|_| wrong("no socket"))?;
    if socket.r#type()? != Type::STREAM {
        return Err(wrong("no stream socket (ListenStream= makes one)"));
    }
    if !socket.is_listener()? {
        return Err(wrong("a connection, not a listening socket (Accept=no makes one)"));
    }
    socket.set_nonblocking(true)?;
    if let Some(address) = local.as_socket() {
        // Accepted sockets inherit it.
        socket.set_tcp_nodelay(true)?;
        let kind = Kind::Tcp(socket.into());
        return Ok(Shared { kind, name: address.to_string().into(), address: Some(address), file: None });
    }
    if !local.is_unix() {
        return Err(wrong("neither a TCP socket nor a unix one"));
    }
    let name = taken::place(&socket)?;
    Ok(Shared { kind: Kind::Unix(OwnedFd::from(socket).into()), name: name.into(), address: None, file: None })
}

/// The socket of a path that an older process gave. The file is that one's until something is accepted here.
pub(super) fn taken(socket: Raw, path: &str) -> io::Result<Shared> {
    let file = match fs::symlink_metadata(path) {
        Ok(now) if !path.starts_with('@') => Some(File { path: path.into(), is: (now.dev(), now.ino()), ours: false }),
        _ => None,
    };
    socket.listen(BACKLOG)?;
    let name = format!("unix:{path}").into();
    Ok(Shared { kind: Kind::Unix(OwnedFd::from(socket).into()), name, address: None, file })
}

/// A TCP socket that an older process gave, and that no worker can have a sibling of.
pub(super) fn whole(socket: Raw, address: SocketAddr) -> Shared {
    Shared { kind: Kind::Tcp(socket.into()), name: address.to_string().into(), address: Some(address), file: None }
}

/// A listening socket on a runtime.
pub(super) enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listening {
    pub(super) fn of(kind: Kind) -> io::Result<Self> {
        Ok(match kind {
            Kind::Tcp(socket) => Self::Tcp(TcpListener::from_std(socket)?),
            Kind::Unix(socket) => Self::Unix(UnixListener::from_std(socket)?),
        })
    }

    pub(super) async fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
        match self {
            Self::Tcp(socket) => socket.accept().await.map(|(stream, peer)| (Socket::Tcp(stream), peer)),
            Self::Unix(socket) => socket.accept().await.map(|(stream, _)| (Socket::Unix(stream), THIS_MACHINE)),
        }
    }

    /// No runtime watches it any more.
    pub(super) fn loosen(self) -> io::Result<Kind> {
        match self {
            Self::Tcp(socket) => socket.into_std().map(Kind::Tcp),
            Self::Unix(socket) => socket.into_std().map(Kind::Unix),
        }
    }
}

impl AsFd for Kind {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

impl Kind {
    /// What waits now, if anything does: the kernel is asked, not the runtime, which may not have heard yet.
    pub(super) fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
        let (stream, peer) = match self {
            Self::Tcp(socket) => socket.accept().map(|(stream, peer)| (Loose::Tcp(stream), peer))?,
            Self::Unix(socket) => socket.accept().map(|(stream, _)| (Loose::Unix(stream), THIS_MACHINE))?,
        };
        Ok((stream.settle()?, peer))
    }
}

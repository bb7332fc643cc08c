//! The socket file of a hand-over: of mode 0600 from the first moment, taken over from a process that died, never from
//! one that lives, and removed by whoever listened there last.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

/// Newer processes that may wait: there is one, as a rule.
const BACKLOG: i32 = 16;

/// The right to remove the file.
#[derive(Debug)]
pub(super) struct Claim {
    path: PathBuf,
    is: Option<(u64, u64)>,
}

impl Claim {
    /// Another process listens there, for now.
    pub(super) fn later(path: &Path) -> Self {
        Self { path: path.to_owned(), is: None }
    }

    /// This process listens there.
    pub(super) fn now(&mut self) {
        self.is = identity(&self.path);
    }

    /// Another process listens there from now on.
    pub(super) fn leave(&mut self) {
        self.is = None;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.is.is_some() && identity(&self.path) == self.is {
            // What cannot be removed is taken over at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Listens there. `refused`: what connecting to it said.
///
/// # Errors
/// The end of a sentence.
pub(super) fn bind(path: &Path, refused: &io::Error) -> Result<(UnixListener, Claim), String> {
    match (refused.kind(), fs::symlink_metadata(path)) {
        (io::ErrorKind::NotFound, Err(_)) => {}
        (_, Ok(file)) if !file.file_type().is_socket() => {
            return Err("that file is there already, and is no socket; move it away".to_owned());
        }
        // Whoever listened there is gone.
        (io::ErrorKind::ConnectionRefused, Ok(_)) => fs::remove_file(path).map_err(|error| error.to_string())?,
        _ => return Err(refused.to_string()),
    }
    let listener = listen(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "its folder is not there".to_owned(),
        io::ErrorKind::PermissionDenied => "its folder may not be written to".to_owned(),
        _ => error.to_string(),
    })?;
    let mut claim = Claim::later(path);
    claim.now();
    Ok((listener, claim))
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // Before it has a name: the file gets the mode of the socket.
    let socket = File::from(OwnedFd::from(socket));
    socket.set_permissions(Permissions::from_mode(0o600))?;
    let socket = Socket::from(OwnedFd::from(socket));
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(BACKLOG)?;
    UnixListener::from_std(OwnedFd::from(socket).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_file_is_private_and_goes_with_its_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let (listener, claim) = bind(&path, &missing()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop((listener, claim));
        assert!(!path.exists());

        let (listener, mut claim) = bind(&path, &missing()).unwrap();
        claim.leave();
        drop((listener, claim));
        assert!(path.exists(), "it is somebody else's");
        let refused = std::os::unix::net::UnixStream::connect(&path).unwrap_err();
        let (_listener, _claim) = bind(&path, &refused).unwrap();

        let file = folder.path().join("file");
        fs::write(&file, "x").unwrap();
        let refused = std::os::unix::net::UnixStream::connect(&file).unwrap_err();
        assert!(bind(&file, &refused).unwrap_err().contains("is no socket"));
        assert!(bind(&folder.path().join("no/x"), &missing()).unwrap_err().contains("folder"));
    }
}

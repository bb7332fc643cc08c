//! The client: says its pieces, each when nothing moves any more, then its end; and takes down what it is told.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use tokio::task::yield_now;

use super::Case;

/// So many turns of the runtime in which nothing comes: nobody on its thread has anything left to do.
const STILL: usize = 3;

/// What the client was told, and whether the connection had ended before the client's side did.
#[derive(Debug, Default)]
pub struct Talk {
    pub written: Vec<u8>,
    pub closed: bool,
}

/// Runs on the thread of the server that it talks to. `socket` does not block.
pub async fn talk(socket: &UnixStream, case: &Case<'_>) -> Talk {
    let mut talk = Talk::default();
    let mut from = 0;
    for to in case.cuts.iter().copied().chain([case.stream.len()]) {
        if to > from && !talk.closed {
            talk.say(socket, &case.stream[from..to]).await;
            if !(case.hurries && to == case.stream.len()) {
                talk.listen(socket).await;
            }
            from = to;
        }
    }
    let closed = talk.closed;
    // One that has closed need not hear it.
    let _ = socket.shutdown(Shutdown::Write);
    while !talk.closed {
        talk.listen(socket).await;
    }
    if !case.hurries {
        talk.closed = closed;
    }
    talk
}

impl Talk {
    async fn say(&mut self, mut socket: &UnixStream, mut piece: &[u8]) {
        while !piece.is_empty() && !self.closed {
            match socket.write(piece) {
                Ok(written) => piece = &piece[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.listen(socket).await,
                // It has closed, and may have said something before.
                Err(_) => return,
            }
        }
    }

    /// Until nothing moves any more.
    async fn listen(&mut self, mut socket: &UnixStream) {
        let (mut still, mut buf) = (0, [0; 16 << 10]);
        while still < STILL && !self.closed {
            yield_now().await;
            match socket.read(&mut buf) {
                Ok(0) => self.closed = true,
                Ok(read) => {
                    self.written.extend_from_slice(&buf[..read]);
                    still = 0;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => still += 1,
                Err(_) => self.closed = true,
            }
        }
    }
}

//! One process takes the listening sockets over from another (`hand_over`), which drains then.
//!
//! ```text
//!  newer                                    older
//!  connects, says its version       ->
//!                                   <-      every listening socket, and the one that this came by
//!  starts, waits for its first checks
//!  which it keeps; accepts          ->      or the end: it serves on as before
//!                                   <-      leaving; accepts no more, drains, exits 0
//! ```
//!
//! Until the newer one's last word nothing changes for the older one. Both are the same user's, or root's. Nobody else
//! is answered, and nobody is waited for longer than the limits below.

mod path;
mod wire;

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::time::{sleep, timeout};

use self::path::Claim;
use self::wire::{Hello, Leaving, Offer, Ready, SOCKETS, VERSION};
use super::Server;
use crate::listen::taken::{Copied, Taken, place};
use crate::observe::events;

/// For the other process to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// For the first checks of a newer process: after this it takes over without those that are missing.
const FIRST_CHECKS: Duration = Duration::from_secs(10);
/// For a newer process to start and to check.
const START: Duration = Duration::from_secs(60);
/// When the socket cannot accept for want of files.
const BACK_OFF: Duration = Duration::from_millis(200);

/// This process's end of it.
#[derive(Debug)]
pub(super) struct HandOver {
    listener: UnixListener,
    claim: Claim,
    older: Option<Older>,
}

/// Who is to be taken over from.
#[derive(Debug)]
struct Older {
    line: UnixStream,
    pid: u32,
}

/// Who has taken over.
#[derive(Debug)]
pub(super) struct Successor {
    pub(super) pid: u32,
}

impl HandOver {
    /// Listens at this path; where an older process does, what it gave comes with it. Runs in a runtime, before
    /// anything is bound.
    ///
    /// # Errors
    /// One sentence.
    pub(super) async fn begin(path: &Path) -> Result<(Self, Taken), String> {
        let shown = path.display();
        let connected = timeout(ANSWER, UnixStream::connect(path)).await;
        match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(line) => {
                let given = timeout(ANSWER, ask(line)).await;
                let given = given.unwrap_or_else(|_| Err(format!("it did not answer within {} s", ANSWER.as_secs())));
                let (older, listener, taken) = given.map_err(|why| {
                    format!(
                        "the causeway that listens at hand_over = \"{shown}\" does not hand over: {why}. End it first"
                    )
                })?;
                let claim = Claim::later(path);
                Ok((Self { listener, claim, older: Some(older) }, taken))
            }
            Err(error) => {
                let (listener, claim) = path::bind(path, &error)
                    .map_err(|why| format!("cannot listen at hand_over = \"{shown}\": {why}"))?;
                Ok((Self { listener, claim, older: None }, Taken::default()))
            }
        }
    }

    /// Is there an older process to take over from?
    pub(super) const fn takes_over(&self) -> bool {
        self.older.is_some()
    }

    /// Takes over, if there is somebody to take over from; then waits for a newer process. Resolves when that has taken
    /// over: what is left to do is to drain.
    pub(super) async fn run(&mut self, server: &Server, kept: &[usize]) -> Successor {
        if let Some(older) = self.older.take() {
            take_over(older, server, kept).await;
            self.claim.now();
        }
        loop {
            let Ok((line, _)) = self.listener.accept().await else {
                sleep(BACK_OFF).await;
                continue;
            };
            let pid = match peer(&line) {
                Ok(pid) => pid,
                Err(why) => {
                    events::hand_over_refused(&why);
                    continue;
                }
            };
            match give(line, server, &self.listener).await {
                Ok(()) => {
                    self.claim.leave();
                    return Successor { pid };
                }
                Err(why) => events::hand_over_ended(pid, &why),
            }
        }
    }
}

/// The newer process's first half: every socket of the older one.
async fn ask(mut line: UnixStream) -> Result<(Older, UnixListener, Taken), String> {
    let pid = peer(&line)?;
    let broken = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            "it ended the conversation".to_owned()
        }
        _ => error.to_string(),
    };
    wire::send(&mut line, &Hello { causeway_hand_over: VERSION }).await.map_err(broken)?;
    let offer: Offer = wire::receive(&mut line).await.map_err(broken)?;
    if let Some(why) = offer.refused {
        return Err(crate::config::problem::ascii(&why));
    }
    if offer.causeway_hand_over != VERSION || offer.sockets.len() > SOCKETS {
        return Err("it speaks another version of this".to_owned());
    }
    let mut given = Vec::new();
    for said in offer.sockets {
        given.push(Copied { said, socket: wire::receive_descriptor(&line).await.map_err(broken)? });
    }
    let door = std::os::unix::net::UnixListener::from(wire::receive_descriptor(&line).await.map_err(broken)?);
    let listener = door.set_nonblocking(true).and_then(|()| UnixListener::from_std(door)).map_err(broken)?;
    events::taking_over(pid, given.len());
    Ok((Older { line, pid }, listener, Taken::new(given)))
}

/// The newer process's second half. It serves at the end of it, whatever the older one does.
async fn take_over(Older { mut line, pid }: Older, server: &Server, kept: &[usize]) {
    tokio::select! {
        checked = timeout(FIRST_CHECKS, checked(server)) => if checked.is_err() {
            events::taking_over_unchecked(FIRST_CHECKS);
        },
        // It has nothing to say now: that is its end.
        () = ended(&line) => {}
    }
    let told = wire::send(&mut line, &Ready { kept: kept.to_vec() }).await;
    server.open().await;
    let answered = match told {
        Ok(()) => timeout(ANSWER, wire::receive::<Leaving>(&mut line)).await.ok(),
        Err(error) => Some(Err(error)),
    };
    match answered {
        Some(Ok(_)) => events::taken_over(pid),
        Some(Err(_)) => events::older_gone(pid),
        None => events::older_silent(pid, ANSWER),
    }
}

/// The older process's side. An error, the end of a sentence: nothing has changed.
async fn give(mut line: UnixStream, server: &Server, own: &UnixListener) -> Result<(), String> {
    let broken = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            "it left".to_owned()
        }
        _ => error.to_string(),
    };
    let late = |_| "it said nothing for too long".to_owned();
    let hello: Hello = timeout(ANSWER, wire::receive(&mut line)).await.map_err(late)?.map_err(broken)?;
    let _giving = server.giving().await;
    let copies = server.copies().await.map_err(|error| error.to_string());
    let refused = match &copies {
        _ if hello.causeway_hand_over != VERSION => Some(format!("it speaks version {VERSION} of this")),
        Ok(copies) if copies.len() > SOCKETS => Some("it has too many sockets".to_owned()),
        Ok(_) => None,
        Err(why) => Some(why.clone()),
    };
    let copies = copies.unwrap_or_default();
    let sockets = copies.iter().map(|copy| copy.said.clone()).collect();
    let offer = Offer { causeway_hand_over: VERSION, sockets, refused: refused.clone() };
    let giving = async {
        wire::send(&mut line, &offer).await?;
        if refused.is_none() {
            for copy in &copies {
                wire::send_descriptor(&line, &copy.socket).await?;
            }
            wire::send_descriptor(&line, own).await?;
        }
        Ok(())
    };
    timeout(ANSWER, giving).await.map_err(late)?.map_err(broken)?;
    if let Some(why) = refused {
        return Err(why);
    }
    let ready: Ready = timeout(START, wire::receive(&mut line)).await.map_err(late)?.map_err(broken)?;
    let kept = ready.kept.iter().filter_map(|&index| copies.get(index));
    server.leave(kept.filter_map(|copy| place(&copy.socket).ok()).collect()).await;
    // Whether it is heard changes nothing any more.
    let _ = timeout(ANSWER, wire::send(&mut line, &Leaving { leaving: true })).await;
    Ok(())
}

/// Resolves when the other process ends the conversation, or says something out of turn.
async fn ended(line: &UnixStream) {
    loop {
        // Being readable is a guess of the runtime's; reading knows.
        let read = line.readable().await.and_then(|()| line.try_read(&mut [0]));
        if !read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            return;
        }
    }
}

async fn checked(server: &Server) {
    for pool in server.pools() {
        let mut changes = pool.changes();
        while !pool.checked() && changes.changed().await.is_ok() {}
    }
}

/// Its process id, if it is the same user's or root's.
fn peer(line: &UnixStream) -> Result<u32, String> {
    let who = line.peer_cred().map_err(|error| error.to_string())?;
    let own = rustix::process::geteuid().as_raw();
    if who.uid() != own && who.uid() != 0 {
        return Err(format!("the other process is of user {}, this one of user {own}", who.uid()));
    }
    Ok(who.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or_default())
}

//! Connections of a proxy in front that must say first who the client is (`proxy_protocol` of a listener): their header
//! is read, and what follows is served as the client's own.
//!
//! From then on the addresses of the header are those of the connection, for everything: logs, fields, limits, `allow`
//! and `deny`, and `trusted_proxies` too. So a proxy that speaks HTTP between the client and the one in front is what
//! is named there.

use std::sync::Arc;
use std::time::Instant;

use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use super::drain::Step;
use super::proxy_protocol::{Broken, LONGEST, MISSING, Progress, Said, read};
use super::sniff::Spoken;
use super::socket::Socket;
use super::stream::Stream;
use super::tls::handshake;
use super::wire::{Held, Wire};
use super::{Asleep, ConnInfo, Handler, Secure, conn};
use crate::cause::spoken;
use crate::observe::events;

/// So many bytes are looked at first: nearly every header is shorter, and what is behind it is the client's.
const LOOK: usize = 256;

/// Serves a connection that was just accepted, from its header to its end.
pub(super) async fn serve<H: Handler>(
    secure: Option<Arc<Secure>>,
    mut socket: Socket,
    mut info: ConnInfo,
    handler: H,
    held: Held,
    asleep: Asleep,
) {
    let drain = info.drain.clone();
    tokio::select! {
        () = drain.reached(Step::Cut) => return,
        introduced = introduce(&mut socket, &mut info) => if !introduced { return },
    }
    // On the heap each: a task keeps its size for life.
    match secure {
        None => {
            let (stream, info) = (Stream::Plain(socket), Arc::new(info));
            Box::pin(conn::serve(Wire::new(stream, held), Spoken::Unknown, info, handler, asleep)).await;
        }
        Some(secure) => Box::pin(handshake::serve(secure, socket, info, handler, held, asleep)).await,
    }
}

/// Reads the header within `timeouts.head`, and nothing behind it. `false`: this connection ends here; an event has
/// told why, unless nothing came at all.
async fn introduce(socket: &mut Socket, info: &mut ConnInfo) -> bool {
    let limit = info.listener.head_timeout;
    let read = timeout(limit, Box::pin(header(socket))).await;
    let (kind, why) = match read {
        Ok(Ok(Said::Socket)) => return true,
        Ok(Ok(Said::Client { from, to })) => {
            info.between(from, to);
            return true;
        }
        Ok(Err(End::Silent)) => return false,
        Ok(Err(End::Left)) => ("left", "it left in the middle of its PROXY header".to_owned()),
        Ok(Err(End::Broken(why))) if why == MISSING => ("missing", why.0.to_owned()),
        Ok(Err(End::Broken(why))) => ("broken", format!("its PROXY header cannot be read: {}", why.0)),
        Err(_) => ("late", format!("it sent no whole PROXY header within {} (limit: timeouts.head)", spoken(limit))),
    };
    events::introduction_refused(&info.listener.name, info.peer.ip(), (kind, &why), Instant::now());
    false
}

/// Why there is no header.
enum End {
    /// Not one byte: a check, perhaps.
    Silent,
    Left,
    Broken(Broken),
}

/// Looks at what has come, and takes as much of it as is the header's.
async fn header(socket: &mut Socket) -> Result<Said, End> {
    let mut taken = Vec::with_capacity(LOOK);
    loop {
        let before = taken.len();
        let end = if before == 0 { End::Silent } else { End::Left };
        taken.resize(LONGEST.min(before + LOOK), 0);
        let come = match socket.peek(&mut taken[before..]).await {
            Ok(0) | Err(_) => return Err(end),
            Ok(come) => come,
        };
        taken.truncate(before + come);
        let (length, said) = match read(&taken).map_err(End::Broken)? {
            Progress::More => (taken.len(), None),
            Progress::Whole { length, said } => (length, Some(said)),
        };
        // It waits there: this does not wait.
        socket.read_exact(&mut taken[before..length]).await.map_err(|_| End::Left)?;
        if let Some(said) = said {
            return Ok(said);
        }
    }
}

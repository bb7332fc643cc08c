//! One connection: which protocol it speaks, and who drives it, [`h1`] or [`h2`]. It knows nothing of what is answered.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::timeout;

use super::asleep::Asleep;
use super::drain::Step;
use super::sniff::{self, Spoken};
use super::wire::Wire;
use super::{ConnInfo, Handler, h1, h2};

/// Serves a connection until its end. What it holds is given back with its socket, which may outlive this in a tunnel.
pub(super) async fn serve<H: Handler>(wire: Wire, spoken: Spoken, info: Arc<ConnInfo>, handler: H, asleep: Asleep) {
    let protocols = info.listener.protocols;
    // On the heap: a connection of HTTP/1 is no larger for it.
    if spoken == Spoken::H2 || (spoken == Spoken::Unknown && !protocols.h1) {
        return Box::pin(without_h1(wire, spoken, info, handler)).await;
    }
    let sniffs = spoken == Spoken::Unknown && protocols.h2;
    if let Some(mut wire) = h1::serve(wire, sniffs, &info, &handler, &asleep).await {
        let first = std::mem::take(&mut wire.input).freeze();
        Box::pin(h2::serve(wire, first, info, handler)).await;
    }
}

/// HTTP/2 by what was agreed upon, or because nothing else is spoken here: then the preface must come, in its time.
async fn without_h1<H: Handler>(mut wire: Wire, spoken: Spoken, info: Arc<ConnInfo>, handler: H) {
    let first = if spoken == Spoken::H2 {
        Ok(Bytes::new())
    } else {
        let preface = timeout(info.listener.head_timeout, sniff::preface(&mut wire));
        tokio::select! {
            () = info.drain.reached(Step::Cut) => return,
            // Silence, or half a preface: nothing to say.
            preface = preface => match preface { Ok(Ok(preface)) => preface, Ok(Err(_)) | Err(_) => return },
        }
    };
    match first {
        Ok(first) => h2::serve(wire, first, info, handler).await,
        Err(raw) => {
            let last = handler.refuse(sniff::h1_refused(&info.listener.name), &raw, &info);
            wire.finish(&last, &info.drain).await;
        }
    }
}

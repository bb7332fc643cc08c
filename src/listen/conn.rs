//! One connection: HTTP/2 is handed to `h2`, and one of HTTP/1.1 is driven here, from its first byte to its last:
//! clocks, refusals, `Connection: close` and what comes after it, a client that left, the drain.
//!
//! hyper parses and writes; this drives it over a [`Wire`] and takes the socket back when hyper cannot go on, so that
//! every end is ours: a complete answer and a lingering close, a cut that is seen, or silence. It knows nothing of what
//! is answered. Needs the task it was spawned on to itself (see [`drain`](super::drain)).

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::asleep::Asleep;
use super::clocks::{Clocks, End};
use super::drain::Step;
use super::sniff::{self, Spoken};
use super::stream::Stream;
use super::turn::Turn;
use super::wire::{Held, Wire};
use super::{ConnInfo, Handler, answer, h2, refusal};
use crate::config::model::Listener;

/// hyper's default, for which it keeps the fields of a head on the stack.
const HYPER_FIELDS: usize = 100;

/// Serves a connection until its end. What it holds is given back with its socket, which may outlive this in a tunnel.
///
/// A connection that is quiet for a while hibernates: hyper and its buffers go, and come back with the next bytes.
pub(super) async fn serve<H: Handler>(
    stream: Stream,
    spoken: Spoken,
    info: Arc<ConnInfo>,
    handler: H,
    held: Held,
    asleep: Asleep,
) {
    let turn = Arc::new(Turn::new(info.clone()));
    let protocols = info.listener.protocols;
    if spoken == Spoken::H2 || (spoken == Spoken::Unknown && !protocols.h1) {
        let wire = Wire::new(stream, turn.clone(), held);
        return Box::pin(without_h1(wire, spoken, turn, info, handler)).await;
    }
    let mut service = {
        let (handler, turn) = (handler.clone(), turn.clone());
        service_fn(move |request| answer::call(&handler, turn.clone(), request))
    };
    let mut wire = Wire::new(stream, turn.clone(), held);
    let mut clocks = pin!(Clocks::new(&info));
    let (wire, last) = loop {
        let (end, parts) = {
            // On the heap, so that it can go: a task keeps its size for life.
            let mut conn = Box::new(builder(&info.listener).serve_connection(wire, service).with_upgrades());
            let end = poll_fn(|cx| clocks.as_mut().drive(&mut *conn, &turn, cx)).await;
            let parts = match end {
                End::Cut | End::Gone => None,
                End::Stalled => {
                    info.stalled.store(true, Relaxed);
                    turn.reset();
                    None
                }
                End::Finished(Err(ref error)) if !(error.is_parse() && turn.idle()) => None,
                End::Finished(_) | End::Answered | End::Quiet | End::Idle | End::HeadLate => conn.into_parts(),
            };
            (end, parts)
        };
        // Without parts there is nothing left to say; or there is a tunnel, and the socket is its own.
        let Some(parts) = parts else { return };
        if let End::Finished(Err(_)) = end
            && spoken == Spoken::Unknown
            && protocols.h2
            && turn.answers() == 0
            && sniff::is_preface(&parts.read_buf)
        {
            turn.switches();
            // On the heap: a connection of HTTP/1 is no larger for it.
            return Box::pin(h2::serve(TokioIo::new(parts.io), parts.read_buf, info.clone(), handler)).await;
        }
        let blank = parts.read_buf.iter().all(|b| matches!(b, b'\r' | b'\n'));
        let failure = match end {
            End::Finished(Err(error)) => Some(refusal::unreadable(error, &parts.read_buf, &info.listener)),
            // Half a head, read together with the request before it: it gets its time, also in a drain.
            End::Quiet | End::Idle if !blank && (matches!(end, End::Quiet) || info.drain.begun()) => {
                (wire, service) = (parts.io.after(parts.read_buf), parts.service);
                continue;
            }
            End::Quiet => {
                (wire, service) = (parts.io, parts.service);
                drop(parts.read_buf);
                let _asleep = asleep.one();
                match poll_fn(|cx| clocks.as_mut().rest(&wire, &turn, cx)).await {
                    None => continue,
                    Some(_) => return,
                }
            }
            End::Idle | End::HeadLate if blank => return,
            // Where nothing can reset the answer away, a plain close is three calls less than lingering.
            End::Finished(Ok(())) | End::Answered if turn.body_read() && blank && parts.io.may_close() => return,
            End::Idle | End::HeadLate => Some(refusal::late(&info.listener)),
            _ => None,
        };
        let last = failure.map_or_else(Bytes::new, |failure| handler.refuse(failure, &parts.read_buf, &info));
        break (parts.io, last);
    };
    // On the heap: it is seldom needed, and a task keeps its size for life.
    Box::pin(finish(wire, last, &info)).await;
}

/// The end that the client can read, unless the drain is over first.
async fn finish(wire: Wire, last: Bytes, info: &ConnInfo) {
    tokio::select! {
        () = info.drain.reached(Step::Cut) => {}
        () = wire.finish(last) => {}
    }
}

/// HTTP/2 by what was agreed upon, or because nothing else is spoken here: then the preface must come, in its time.
async fn without_h1<H: Handler>(wire: Wire, spoken: Spoken, turn: Arc<Turn>, info: Arc<ConnInfo>, handler: H) {
    turn.switches();
    let mut io = TokioIo::new(wire);
    let first = if spoken == Spoken::H2 {
        Ok(Bytes::new())
    } else {
        let preface = timeout(info.listener.head_timeout, sniff::preface(&mut io));
        tokio::select! {
            () = info.drain.reached(Step::Cut) => return,
            // Silence, or half a preface: nothing to say.
            preface = preface => match preface { Ok(Ok(preface)) => preface, Ok(Err(_)) | Err(_) => return },
        }
    };
    match first {
        Ok(first) => h2::serve(io, first, info, handler).await,
        Err(raw) => {
            let last = handler.refuse(sniff::h1_refused(&info.listener.name), &raw, &info);
            finish(io.into_inner(), last, &info).await;
        }
    }
}

impl h2::Socket for TokioIo<Wire> {
    fn held(&mut self) -> usize {
        self.inner_mut().held()
    }

    fn reset(&mut self) {
        self.inner().reset();
    }
}

fn builder(listener: &Listener) -> Builder {
    let mut builder = Builder::new();
    builder.max_header_size(listener.head_limit).max_buf_size(listener.head_limit.max(64 << 10));
    // Who leaves while it waits for its answer is seen by the wire: hyper would get a new buffer for that each time.
    builder.half_close(true);
    if listener.fields_limit != HYPER_FIELDS {
        builder.max_headers(listener.fields_limit);
    }
    builder
}

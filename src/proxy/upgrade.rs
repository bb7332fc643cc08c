//! Tunnels: after a 101 that was asked for, bytes pass both ways until one side ends, the clock of silence or the drain
//! does.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderValue, Response, header};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::cause::{Cause, Failure, Phase, spoken};
use crate::client;
use crate::listen::{self, Switch};
use crate::observe::exchange::EndedBy;

use super::attempt::Setting;
use super::body::Body;
use super::forward::finish_head;
use super::record::Open;

/// Each direction's buffer: the useful size that was measured; small ones cost two to three times the CPU.
const BUFFER: usize = 32 << 10;

/// Passes the 101 on, and starts the tunnel behind it.
pub(super) fn switch(
    setting: &Setting<'_>,
    mut open: Box<Open>,
    mut response: Response<client::Body>,
) -> Response<Body> {
    let protocol = response.headers().get(header::UPGRADE).cloned();
    let on_upstream = client::upgraded(&mut response);
    let (mut head, _) = response.into_parts();
    open.exchange.status = head.status.as_u16();
    finish_head(setting.service, &open, setting.asked, &mut head.headers);
    // No body follows a 101, whatever its fields say (RFC 9110 §8.6).
    head.headers.remove(header::CONTENT_LENGTH);
    if let Some(protocol) = protocol {
        head.headers.insert(header::UPGRADE, protocol);
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    head.extensions.clear();
    // From here on the tunnel counts the client's bytes.
    open.body = None;
    let silence = setting.forward.timeouts.tunnel;
    let on_client = Switch::of(&setting.asked.parts.extensions);
    setting.asked.conn.drain.spawn(async move {
        let (Some(on_client), Some(on_upstream)) = (on_client, on_upstream) else {
            return open.broke(Failure::new(Cause::Bug));
        };
        let upstream = match on_upstream.await {
            Ok(upstream) => upstream,
            Err(failure) => return open.broke(failure),
        };
        // The client is gone before its side of the tunnel stood: the record says so by itself.
        let Some(client) = on_client.stands().await else { return };
        tunnel(client, upstream, silence, open).await;
    });
    Response::from_parts(head, Body::none())
}

async fn tunnel(client: listen::Tunnel, upstream: client::Tunnel, silence: Option<Duration>, mut open: Box<Open>) {
    let seen = Arc::new(Seen::default());
    let mut client = Counted { io: client, side: Side::Client, seen: Arc::clone(&seen), broke: false };
    let mut upstream = Counted { io: upstream, side: Side::Upstream, seen: Arc::clone(&seen), broke: false };
    let copied = {
        let copy = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER, BUFFER);
        tokio::select! {
            copied = copy => Ok(copied),
            limit = silent(silence, &seen) => Err(limit),
        }
    };
    (open.exchange.bytes_in, open.exchange.bytes_out) = seen.bytes();
    match copied {
        Ok(Ok(_)) => open.end(if seen.ended_first(Side::Client) { EndedBy::Client } else { EndedBy::Upstream }),
        // The upstream had ended its side: a client that goes without ending its own has nothing more to hear.
        Ok(Err(_)) if client.broke && seen.ended_first(Side::Upstream) => open.end(EndedBy::Upstream),
        // Who is left hears that it broke, and does not take it for an end. The record says by itself whether the client has
        // left or was cut.
        Ok(Err(_)) if client.broke => upstream.io.reset(),
        Ok(Err(error)) => {
            client.io.reset();
            open.tunnel_broke(error);
        }
        Err(limit) => {
            open.broke(Failure::new(Cause::BodyTimeout).in_phase(Phase::Body).sent(true).limit(spoken(limit)))
        }
    }
}

/// Resolves after this long without a byte in either direction.
async fn silent(limit: Option<Duration>, seen: &Seen) -> Duration {
    let Some(limit) = limit else { return std::future::pending().await };
    let (mut before, mut quiet) = (seen.bytes(), Duration::ZERO);
    let step = limit / 8;
    while quiet < limit {
        tokio::time::sleep(step).await;
        let now = seen.bytes();
        quiet = if now == before { quiet + step } else { Duration::ZERO };
        before = now;
    }
    limit
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client = 1,
    Upstream = 2,
}

/// What came from each side so far.
#[derive(Debug, Default)]
struct Seen {
    from_client: AtomicU64,
    from_upstream: AtomicU64,
    /// The [`Side`] that has ended its direction first; 0: none.
    ended: AtomicU8,
    /// What reading from one side ended with, until the other one has what came before it.
    error: Mutex<Option<io::Error>>,
}

impl Seen {
    /// Told where the copy hands an end on: all that was read is written by then.
    fn broke(&self, error: io::Error) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    fn error(&self) -> Option<io::Error> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn read(&self, side: Side, bytes: u64) {
        match side {
            Side::Client => self.from_client.fetch_add(bytes, Relaxed),
            Side::Upstream => self.from_upstream.fetch_add(bytes, Relaxed),
        };
    }

    fn ends(&self, side: Side) {
        let _ = self.ended.compare_exchange(0, side as u8, Relaxed, Relaxed);
    }

    /// Those from the client, and those from the upstream.
    fn bytes(&self) -> (u64, u64) {
        (self.from_client.load(Relaxed), self.from_upstream.load(Relaxed))
    }

    fn ended_first(&self, side: Side) -> bool {
        self.ended.load(Relaxed) == side as u8
    }
}

/// Counts what is read from one side, and remembers whether it was this side that broke.
struct Counted<T> {
    io: T,
    side: Side,
    seen: Arc<Seen>,
    broke: bool,
}

impl<T> Counted<T> {
    fn noted<R>(&mut self, polled: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        self.broke |= matches!(polled, Poll::Ready(Err(_)));
        polled
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = match Pin::new(&mut self.io).poll_read(cx, buf) {
            // A socket closed in the midst of TLS: a WebSocket has a word of its own for its end (RFC 6455 §7.1).
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            // The copy would drop what it has read and not yet written.
            Poll::Ready(Err(error)) => {
                self.broke = true;
                self.seen.broke(error);
                return Poll::Ready(Ok(()));
            }
            polled => polled,
        };
        match buf.filled().len() - before {
            0 if matches!(polled, Poll::Ready(Ok(()))) => self.seen.ends(self.side),
            read => self.seen.read(self.side, read as u64),
        }
        self.noted(polled)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, buf);
        self.noted(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(cx);
        self.noted(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.seen.error() {
            return Poll::Ready(Err(error));
        }
        let polled = Pin::new(&mut self.io).poll_shutdown(cx);
        self.noted(polled)
    }
}

//! Tunnels: after a 101 that was asked for, bytes pass both ways until one side ends, the clock of silence or the drain
//! does.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderValue, Response, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::cause::{Cause, Failure, Phase, spoken};
use crate::client;
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
    let on_client = setting.asked.parts.extensions.get::<OnUpgrade>().cloned();
    setting.asked.conn.drain.spawn(async move {
        let (Some(on_client), Some(on_upstream)) = (on_client, on_upstream) else {
            return open.broke(Failure::new(Cause::Bug));
        };
        let upstream = match on_upstream.await {
            Ok(upstream) => upstream,
            Err(failure) => return open.broke(failure),
        };
        // The client is gone before its side of the tunnel stood: the record says so by itself.
        let Ok(client) = on_client.await else { return };
        tunnel(TokioIo::new(client), upstream, silence, open).await;
    });
    Response::from_parts(head, Body::none())
}

async fn tunnel(
    client: impl AsyncRead + AsyncWrite + Unpin,
    upstream: impl AsyncRead + AsyncWrite + Unpin,
    silence: Option<Duration>,
    mut open: Box<Open>,
) {
    let (from_client, from_upstream) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut client = Counted { io: client, read: Arc::clone(&from_client), broke: false };
    let mut upstream = Counted { io: upstream, read: Arc::clone(&from_upstream), broke: false };
    let copied = {
        let copy = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER, BUFFER);
        tokio::select! {
            copied = copy => Ok(copied),
            limit = silent(silence, &from_client, &from_upstream) => Err(limit),
        }
    };
    open.exchange.bytes_out = from_upstream.load(Ordering::Relaxed);
    open.exchange.bytes_in = from_client.load(Ordering::Relaxed);
    match copied {
        Ok(Ok(_)) => open.end(EndedBy::Upstream),
        Ok(Err(_)) if client.broke => open.client_left(),
        Ok(Err(error)) => open.tunnel_broke(error),
        Err(limit) => {
            open.broke(Failure::new(Cause::BodyTimeout).in_phase(Phase::Body).sent(true).limit(spoken(limit)))
        }
    }
}

/// Resolves after this long without a byte in either direction.
async fn silent(limit: Option<Duration>, from_client: &AtomicU64, from_upstream: &AtomicU64) -> Duration {
    let Some(limit) = limit else { return std::future::pending().await };
    let count = || (from_client.load(Ordering::Relaxed), from_upstream.load(Ordering::Relaxed));
    let (mut before, mut quiet) = (count(), Duration::ZERO);
    let step = limit / 8;
    while quiet < limit {
        tokio::time::sleep(step).await;
        let now = count();
        quiet = if now == before { quiet + step } else { Duration::ZERO };
        before = now;
    }
    limit
}

/// Counts what is read from one side, and remembers whether it was this side that broke.
struct Counted<T> {
    io: T,
    read: Arc<AtomicU64>,
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
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        self.read.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
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
        let polled = Pin::new(&mut self.io).poll_shutdown(cx);
        self.noted(polled)
    }
}

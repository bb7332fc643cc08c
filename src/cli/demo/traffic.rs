//! The demo's own client: a steady few requests, so that there is something to rescue.

use std::cell::Cell;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// The pace.
pub(super) const PER_SECOND: u32 = 5;
/// A request that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Requests under way at once; beyond it the pace slackens.
const AT_ONCE: usize = 64;

/// Requests of a burst.
const BURST: u32 = 9;

/// What came of the demo's own requests.
#[derive(Debug, Default)]
pub(super) struct Tally {
    sent: Cell<u64>,
    failed: Cell<u64>,
}

impl Tally {
    /// `312 requests of its own: 0 failed`
    pub(super) fn summary(&self) -> String {
        format!("{} requests of its own: {} failed", self.sent.get(), self.failed.get())
    }
}

/// Asks for `/` for ever.
pub(super) async fn run(port: u16, tally: &Tally) {
    let mut clock = interval(Duration::from_secs(1) / PER_SECOND);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            Some(status) = under_way.join_next() => {
                tally.sent.set(tally.sent.get() + 1);
                if !matches!(status, Ok(Ok(200))) {
                    tally.failed.set(tally.failed.get() + 1);
                }
            }
            _ = clock.tick(), if under_way.len() < AT_ONCE => {
                under_way.spawn(get(port, "/"));
            }
        }
    }
}

/// A few requests at once: spread by what is in flight, they meet every upstream.
pub(super) async fn burst(port: u16) {
    let mut under_way: JoinSet<_> = (0..BURST).map(|_| get(port, "/")).collect();
    while under_way.join_next().await.is_some() {}
}

/// One GET over a connection of its own: the status.
pub(super) async fn get(port: u16, path: &'static str) -> io::Result<u16> {
    timeout(PATIENCE, async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nUser-Agent: causeway-demo\r\nAccept: text/plain\r\n\
             Connection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(64 << 10).read_to_end(&mut answer).await?;
        let status = answer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        status.ok_or_else(|| io::ErrorKind::InvalidData.into())
    })
    .await?
}

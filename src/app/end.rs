//! The end of a running proxy, step by step: not ready, draining, the last second, cut; and what came of it.

use std::time::Duration;

use crate::listen::Drain;
use crate::observe::events;

use super::Server;

/// How long a collector may take for the last spans.
const LAST_SPANS: Duration = Duration::from_secs(1);

/// How long the last lines of the access log may take.
const LAST_LINES: Duration = Duration::from_secs(2);

impl Server {
    /// Open connections, tunnels included; those of listeners that left, too.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.now.load().drains.iter().map(Drain::connections).sum()
    }

    /// Connections that have ended since the drain began.
    #[must_use]
    pub fn closed(&self) -> usize {
        self.now.load().drains.iter().map(Drain::closed).sum()
    }

    fn running(&self) -> events::Running {
        let now = self.now.load();
        events::Running {
            connections: self.connections(),
            requests: now.proxy.requests().in_flight(),
            tunnels: now.drains.iter().map(Drain::tunnels).sum(),
        }
    }

    /// Who asks for a reload from now on, or waits for one, hears that this is the end.
    pub(super) async fn ask_no_more(&self) {
        let mut asks = self.asks.lock().await;
        asks.close();
        while asks.try_recv().is_ok() {}
    }

    /// The end, step by step (CONTRACT §2 `shutdown`): `/readyz` says no; after the grace, each connection answers one
    /// more request; after the timeout, what still runs is cut. `why`: the signal. Says how many connections were cut.
    pub async fn drain(&self, why: &str) -> usize {
        self.admin.set_draining();
        let shutdown = self.shutdown();
        // For who still sends clients here: not where another process takes them.
        if !shutdown.grace.is_zero() && self.accepts() {
            events::grace_begun(why, self.running(), shutdown.grace);
            tokio::time::sleep(shutdown.grace).await;
        }
        self.let_go().await;
        let drains = self.now.load().drains.clone();
        events::drain_begun(why, self.running(), shutdown.timeout);
        drains.iter().for_each(Drain::begin);
        let ended = async || {
            for drain in &drains {
                drain.ended().await;
            }
        };
        let last = Duration::from_secs(1).min(shutdown.timeout);
        if tokio::time::timeout(shutdown.timeout.saturating_sub(last), ended()).await.is_ok() {
            return 0;
        }
        drains.iter().for_each(Drain::begin_last_second);
        if tokio::time::timeout(last, ended()).await.is_ok() {
            return 0;
        }
        drains.iter().map(Drain::cut).sum()
    }

    /// Ends everything that still runs and waits for the threads. Logs are out when it returns.
    pub fn finish(mut self) {
        self.state.get_mut().listeners.end();
        self.stop.cancel();
        if let Some(crew) = self.crew.take() {
            crew.join();
        }
        self.traces.flush(LAST_SPANS);
        if let Some(former) = &self.state.get_mut().former_log {
            former.flush(LAST_LINES);
        }
        self.now.load().access_log.flush(LAST_LINES);
    }
}

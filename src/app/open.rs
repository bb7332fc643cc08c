//! When connections are taken, and who takes them: this process from [`Server::open`] on, and another one in its place
//! after [`Server::leave`]. A drain that begins before the former leaves all who wait to an older process.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::listen::taken::Copied;

use super::Server;

/// From when, and until when.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    pub(super) open: CancellationToken,
    /// The end of the admin alone.
    pub(super) admin_stop: CancellationToken,
}

impl Gate {
    /// Not yet. `stop`: the end of all.
    pub(super) fn shut(stop: &CancellationToken) -> Self {
        Self { open: CancellationToken::new(), admin_stop: stop.child_token() }
    }
}

/// While it lives, nothing is reloaded.
#[derive(Debug)]
pub(super) struct Giving<'a>(&'a Server);

impl Drop for Giving<'_> {
    fn drop(&mut self) {
        self.0.giving.store(false, Ordering::Release);
    }
}

impl Server {
    /// From now on connections are taken.
    pub async fn open(&self) {
        self.state.lock().await.listeners.open();
        self.set_open();
    }

    pub(super) fn set_open(&self) {
        self.admin.set_listening();
        self.gate.open.cancel();
    }

    /// Resolves once connections are taken.
    pub async fn opened(&self) {
        self.gate.open.cancelled().await;
    }

    /// Every listening socket once more, for a newer process. Empty without `hand_over`, and once the drain has begun.
    ///
    /// # Errors
    /// When this process has no descriptor left.
    pub async fn copies(&self) -> io::Result<Vec<Copied>> {
        let state = self.state.lock().await;
        state.listeners.copies().chain(&state.admin_copies).map(Copied::again).collect()
    }

    /// Leaves these places to another process that accepts there: to be drained then, without a grace.
    pub async fn leave(&self, places: Vec<String>) {
        let places: Arc<[String]> = places.into();
        self.let_go().await;
        for drain in &self.now.load().drains {
            drain.begin_elsewhere(Arc::clone(&places));
        }
        self.gate.admin_stop.cancel();
    }

    /// A copy would keep a socket open after its listener has ended. A reload that is under way ends first.
    pub(super) async fn let_go(&self) {
        let mut state = self.state.lock().await;
        state.listeners.let_go();
        state.admin_copies.clear();
    }

    /// Is it this process that takes connections, and not an older one still, or a newer one?
    pub(super) fn accepts(&self) -> bool {
        self.gate.open.is_cancelled() && !self.gate.admin_stop.is_cancelled()
    }

    /// Begins to talk to a newer process. What it is given must be what there is when it takes over.
    pub(super) async fn giving(&self) -> Giving<'_> {
        let _no_reload = self.state.lock().await;
        self.giving.store(true, Ordering::Release);
        Giving(self)
    }

    /// May the configuration change now?
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn settled(&self) -> Result<(), String> {
        if !self.gate.open.is_cancelled() {
            return Err(
                "causeway has not taken over from the older process yet (hand_over). Nothing was changed. Reload \
                        again in some seconds"
                    .into(),
            );
        }
        if self.giving.load(Ordering::Acquire) {
            return Err(
                "a newer causeway is about to take over (hand_over), with the configuration that it has read. \
                        Nothing was changed. Reload that one; or this one again, should it not take over"
                    .into(),
            );
        }
        Ok(())
    }

    /// The names of the threads that have not answered within this time: they are stuck, or the machine is.
    pub async fn silent(&self, within: Duration) -> Vec<String> {
        match &self.crew {
            Some(crew) => crew.pulses.silent(within).await,
            None => Vec::new(),
        }
    }
}

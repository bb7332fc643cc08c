//! What stands behind an open socket: the listener that its connections are served by, exchanged whole by a reload.
//!
//! A connection keeps the listener that it was accepted by. How many there are, and the word that they must come to an
//! end, are the socket's own and stay with it.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{Drain, Permits, Secure};
use crate::config::model::Listener;

/// See the module. One for all sockets of a listener, on all workers.
#[derive(Debug)]
pub struct Stand {
    served: ArcSwap<Served>,
    /// How many connections it may have.
    pub permits: Permits,
    /// Its end.
    pub drain: Drain,
}

/// What the connections that come now are served by.
#[derive(Debug)]
pub struct Served {
    /// What the file says.
    pub listener: Arc<Listener>,
    /// `None`: plain HTTP is spoken here.
    pub secure: Option<Arc<Secure>>,
}

impl Stand {
    /// Serves by this listener.
    #[must_use]
    pub fn new(listener: Arc<Listener>, secure: Option<Arc<Secure>>, permits: Permits) -> Self {
        Self { served: ArcSwap::from_pointee(Served { listener, secure }), permits, drain: Drain::default() }
    }

    /// The connections that come from now on are served by this one.
    pub fn renew(&self, listener: Arc<Listener>, secure: Option<Arc<Secure>>) {
        self.served.store(Arc::new(Served { listener, secure }));
    }

    /// What serves now.
    #[must_use]
    pub fn served(&self) -> Arc<Served> {
        self.served.load_full()
    }
}

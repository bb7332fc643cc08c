//! Who hears of exchanges and changes besides log and metrics: the demo's narrator. Nothing is decided here.

use std::sync::Arc;

use crate::health::Transition;
use crate::observe::Exchange;

/// What somebody wants to hear of finished exchanges.
pub type OnExchange = Arc<dyn Fn(&Exchange) + Send + Sync>;
/// What somebody wants to hear of changes: pool, upstream, change.
pub type OnTransition = Arc<dyn Fn(&str, &str, &Transition) + Send + Sync>;

/// Who hears of what happens besides log and metrics (the demo's narrator).
#[derive(Clone, Default)]
pub struct Hooks {
    /// Called at the end of each exchange, on a worker: must be quick.
    pub on_exchange: Option<OnExchange>,
    /// Called at each change of an upstream, on control or on a worker: must be quick.
    pub on_transition: Option<OnTransition>,
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}

//! The word that everything must come to an end, in its steps: serving, draining, the last second, cut.
use std::future::Future;

/// A shared word; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    _todo: (),
}

impl Drain {
    /// Has the drain begun?
    #[must_use]
    pub fn begun(&self) -> bool {
        todo!()
    }
    /// Is this the last second before the cut? Then new requests get 503 `shutting_down`.
    #[must_use]
    pub fn last_second(&self) -> bool {
        todo!()
    }
    /// Runs a tunnel on this worker, ended by the cut and waited for by [`Drain::ended`].
    pub fn spawn(&self, _tunnel: impl Future<Output = ()> + Send + 'static) {
        todo!()
    }
}

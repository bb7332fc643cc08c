//! `limits.in_flight` of a listener: requests at once over all its connections, in the whole process. The one too many gets
//! its 503 at once.

use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::cause::{Cause, Failure};
use crate::config::model::Listener;
use crate::pool::room::{Place, Room};

/// The listeners that have such a limit, by name. They are few: a linear scan.
#[derive(Debug)]
pub(super) struct Caps(Vec<(Arc<str>, Room)>);

impl Caps {
    pub(super) fn new(listeners: &[Listener]) -> Self {
        let limited = listeners.iter().filter(|listener| listener.in_flight_limit.is_some());
        Self(limited.map(|listener| (Arc::clone(&listener.name), Room::default())).collect())
    }

    /// A place for one request at this listener, of so many; `None` where nobody counts.
    ///
    /// # Errors
    /// When all are taken.
    pub(super) fn enter(&self, name: &Arc<str>, most: NonZeroUsize) -> Result<Option<Place>, Failure> {
        let Some((_, room)) = self.0.iter().find(|(own, _)| own == name) else { return Ok(None) };
        let full = || Failure::new(Cause::ProxyBusy).limit(format!("{most} (limit: limits.in_flight)"));
        room.enter(most.get()).map(Some).ok_or_else(full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_listener_with_a_limit_counts() {
        let caps = Caps(vec![("web".into(), Room::default())]);
        let two = NonZeroUsize::new(2).unwrap();
        let places = [caps.enter(&"web".into(), two), caps.enter(&"web".into(), two)];
        assert!(places.iter().all(|place| matches!(place, Ok(Some(_)))));
        let refused = caps.enter(&"web".into(), two).unwrap_err();
        assert_eq!((refused.cause, refused.own_status()), (Cause::ProxyBusy, 503));
        drop(places);
        assert!(matches!(caps.enter(&"web".into(), two), Ok(Some(_))));
        assert!(matches!(caps.enter(&"other".into(), two), Ok(None)));
    }
}

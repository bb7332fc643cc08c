//! `limits.in_flight` of a listener: requests at once over all its connections, in the whole process. The one too many
//! gets its 503 at once.

use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::cause::{Cause, Failure};
use crate::config::model::Listener;
use crate::pool::room::{Place, Room};

/// The listeners that have such a limit, by name. They are few: a linear scan.
#[derive(Debug)]
pub(super) struct Caps(Vec<Cap>);

#[derive(Debug)]
struct Cap {
    listener: Arc<str>,
    most: NonZeroUsize,
    room: Room,
}

impl Caps {
    pub(super) fn new(listeners: &[Listener]) -> Self {
        Self(Vec::new()).renewed(listeners)
    }

    /// For the listeners of a new file: those that stay limited keep their counts.
    pub(super) fn renewed(&self, listeners: &[Listener]) -> Self {
        let room = |name: &Arc<str>| self.0.iter().find(|cap| cap.listener == *name).map(|cap| cap.room.clone());
        let cap = |listener: &Listener| {
            let (listener, most) = (Arc::clone(&listener.name), listener.in_flight_limit?);
            Some(Cap { room: room(&listener).unwrap_or_default(), listener, most })
        };
        Self(listeners.iter().filter_map(cap).collect())
    }

    /// A place for one request at this listener; `None` where nobody counts. Its limit is that of the file in force,
    /// however old the connection is.
    ///
    /// # Errors
    /// When all are taken.
    pub(super) fn enter(&self, name: &Arc<str>) -> Result<Option<Place>, Failure> {
        let Some(Cap { most, room, .. }) = self.0.iter().find(|cap| cap.listener == *name) else { return Ok(None) };
        let full = || Failure::new(Cause::ProxyBusy).limit(format!("{most} (limit: limits.in_flight)"));
        room.enter(most.get()).map(Some).ok_or_else(full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_listener_with_a_limit_counts() {
        let most = |most| NonZeroUsize::new(most).unwrap();
        let caps = Caps(vec![Cap { listener: "web".into(), most: most(2), room: Room::default() }]);
        let places = [caps.enter(&"web".into()), caps.enter(&"web".into())];
        assert!(places.iter().all(|place| matches!(place, Ok(Some(_)))));
        let refused = caps.enter(&"web".into()).unwrap_err();
        assert_eq!((refused.cause, refused.own_status()), (Cause::ProxyBusy, 503));
        let room = caps.0[0].room.clone();
        let more = Caps(vec![Cap { listener: "web".into(), most: most(3), room }]);
        let third = more.enter(&"web".into());
        assert!(matches!(third, Ok(Some(_))) && more.enter(&"web".into()).is_err(), "the first two are counted");
        drop((places, third));
        assert!(matches!(caps.enter(&"web".into()), Ok(Some(_))));
        assert!(matches!(caps.enter(&"other".into()), Ok(None)));
    }
}

//! What is known of one kind of failure: how seldom to look, what was found, what people were told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::asker::{self, Asker};
use crate::cause::{Cause, Finding};
use crate::health::Proof;

/// A failure that goes on is looked at again so much later, at the earliest.
pub(super) const AGAIN: Duration = Duration::from_secs(10);
/// What was said is news again after so long without the failure.
pub(super) const FORGOTTEN: Duration = Duration::from_secs(600);

/// What is known of one kind of failure. It stays when it is over: how seldom to look, and what was said, is not
/// forgotten.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) asker: Asker,
    pub(super) cause: Cause,
    /// When a look was wanted last.
    pub(super) asked: Instant,
    /// Until the next one.
    pub(super) pause: Duration,
    pub(super) wanted: bool,
    /// The Host of the request that wanted it.
    pub(super) host: Option<Box<str>>,
    /// Since when it fails like this, and has not worked in between.
    pub(super) since: Option<Instant>,
    pub(super) found: Option<Known>,
    /// What people were told of it.
    pub(super) said: Option<String>,
}

#[derive(Debug)]
pub(super) struct Known {
    pub(super) finding: Arc<Finding>,
    pub(super) when: Instant,
    pub(super) until: Option<Proof>,
}

impl Kind {
    /// Whether it is this one.
    pub(super) fn is(&self, asker: Asker, cause: Cause) -> bool {
        let same = self.cause == cause || asker::is_dropped(self.cause) && asker::is_dropped(cause);
        same && self.asker.stands_for(asker, cause)
    }

    /// It has failed like this once more. Says whether a look is wanted for it.
    pub(super) fn again(&mut self, now: Instant) -> bool {
        self.since.get_or_insert(now);
        let ago = now.saturating_duration_since(self.asked);
        if ago < self.pause {
            return false;
        }
        self.said.take_if(|_| ago >= FORGOTTEN);
        (self.asked, self.wanted) = (now, true);
        true
    }
}

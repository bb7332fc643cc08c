//! What a closer look at an upstream has found, and the wish for one.
//!
//! Who meets a failure asks ([`Insight::ask`]); `probe::diagnose` looks, off the request path, and tells; whoever explains a
//! failure reads. Asked as often as anybody likes, a look is wanted only now and then. Nothing here opens a socket or reads a clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::cause::{Cause, Finding};

/// A failure that goes on is looked at again so much later, at the earliest.
const AGAIN: Duration = Duration::from_secs(10);
/// What was found explains failures for so long: then it may have changed.
const HOLDS: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub struct Insight {
    inner: Mutex<Inner>,
    /// Of the pool: rings when a look is wanted.
    bell: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Inner {
    wanted: Option<Cause>,
    /// The last failure that a look was wanted for, and when.
    asked: Option<(Cause, Instant)>,
    found: Option<(Arc<Finding>, Instant)>,
}

impl Insight {
    pub(super) fn new(bell: Arc<Notify>) -> Self {
        Self { inner: Mutex::default(), bell }
    }

    /// A look would help to explain this failure: another one than last time, or the same after a while.
    pub fn ask(&self, cause: Cause, now: Instant) {
        let mut inner = self.lock();
        let lately = |(last, when): (Cause, Instant)| last == cause && now.saturating_duration_since(when) < AGAIN;
        if !inner.asked.is_some_and(lately) {
            inner.asked = Some((cause, now));
            inner.wanted = Some(cause);
            drop(inner);
            self.bell.notify_one();
        }
    }

    /// The failure that a look is wanted for; asked once, it is not wanted any more.
    #[must_use]
    pub fn wanted(&self) -> Option<Cause> {
        self.lock().wanted.take()
    }

    /// A look at this failure has ended with this; with nothing, what was found before about it is gone.
    pub fn tell(&self, cause: Cause, finding: Option<Finding>, now: Instant) {
        let mut inner = self.lock();
        match finding {
            Some(finding) => inner.found = Some((Arc::new(finding), now)),
            None => inner.found = inner.found.take().filter(|(found, _)| found.cause != cause),
        }
    }

    /// What was found about this failure lately.
    #[must_use]
    pub fn of(&self, cause: Cause, now: Instant) -> Option<Arc<Finding>> {
        let inner = self.lock();
        let holds = |when: Instant| now.saturating_duration_since(when) < HOLDS;
        let (found, when) = inner.found.as_ref()?;
        (found.cause == cause && holds(*when)).then(|| Arc::clone(found))
    }

    /// A panic under this lock leaves at worst a look unmade.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_of_failures_is_one_look() {
        let (insight, start) = (Insight::new(Arc::default()), Instant::now());
        for millis in 0..9_000 {
            insight.ask(Cause::ConnectionRefused, start + Duration::from_millis(millis));
        }
        assert_eq!((insight.wanted(), insight.wanted()), (Some(Cause::ConnectionRefused), None));
        insight.ask(Cause::ReadTimeout, start);
        assert_eq!(insight.wanted(), Some(Cause::ReadTimeout), "another failure is another question");
        insight.ask(Cause::ReadTimeout, start + AGAIN);
        assert_eq!(insight.wanted(), Some(Cause::ReadTimeout));
    }

    #[test]
    fn what_was_found_explains_that_failure_for_a_while() {
        let (insight, start) = (Insight::new(Arc::default()), Instant::now());
        let finding = Finding::new(Cause::ConnectionRefused, "But port 3000 answers.");
        insight.tell(finding.cause, Some(finding.clone()), start);
        assert_eq!(insight.of(finding.cause, start).as_deref(), Some(&finding));
        assert_eq!(insight.of(Cause::ReadTimeout, start), None);
        assert_eq!(insight.of(finding.cause, start + HOLDS), None);
        insight.tell(Cause::ReadTimeout, None, start);
        assert!(insight.of(finding.cause, start).is_some(), "that look was at something else");
        insight.tell(finding.cause, None, start);
        assert_eq!(insight.of(finding.cause, start), None);
    }
}

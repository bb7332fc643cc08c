//! What a closer look at an upstream has found, and the wish for one.
//!
//! Who meets a failure asks ([`Insight::ask`]); `probe::diagnose` looks, off the request path, and tells; whoever explains a
//! failure reads. Asked as often as anybody likes, a look is wanted only now and then. Nothing here opens a socket or reads a clock.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::cause::{Cause, Finding, Phase};
use crate::health::Proof;

/// A failure that goes on is looked at again so much later, at the earliest.
const AGAIN: Duration = Duration::from_secs(10);
/// What was found explains failures for so long: then it may have changed.
const HOLDS: Duration = Duration::from_secs(60);
/// What has worked is at its right address; what has failed for so long since may have come back at another one.
const PROVEN: Duration = Duration::from_secs(15);
/// What was said is news again after so long without the failure.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// Failures of this many kinds are told apart at a time.
const KINDS: usize = 4;

/// It has taken a connection.
const CONNECTED: u8 = 1;
/// It has answered.
const ANSWERED: u8 = 2;
/// There is something to put aside when it works.
const TROUBLE: u8 = 4;

/// See the module.
#[derive(Debug)]
pub struct Insight {
    inner: Mutex<Inner>,
    /// [`CONNECTED`], [`ANSWERED`], [`TROUBLE`].
    flags: AtomicU8,
    /// Of the pool: rings when a look is wanted.
    bell: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Inner {
    /// A few kinds of failure, the oldest question first.
    kinds: Vec<Kind>,
}

/// What is known of one kind of failure.
#[derive(Debug)]
struct Kind {
    cause: Cause,
    /// When a look was wanted last.
    asked: Instant,
    wanted: bool,
    /// Since when it fails like this, and has not worked in between.
    since: Option<Instant>,
    found: Option<(Arc<Finding>, Instant)>,
    /// What people were told of it.
    said: Option<String>,
}

impl Kind {
    /// Whether it is this one. Whether a connection that is dropped ends or breaks is a matter of moments.
    fn is(&self, cause: Cause) -> bool {
        let dropped = |cause| {
            matches!(
                cause,
                Cause::ConnectReset | Cause::ClosedWithoutResponse | Cause::ResetBeforeHead | Cause::TruncatedHead
            )
        };
        self.cause == cause || dropped(self.cause) && dropped(cause)
    }
}

impl Insight {
    pub(super) fn new(bell: Arc<Notify>) -> Self {
        Self { inner: Mutex::default(), flags: AtomicU8::new(0), bell }
    }

    /// A look would help to explain this failure; the same one is wanted again after a while.
    pub fn ask(&self, cause: Cause, now: Instant) {
        let mut inner = self.lock();
        self.flags.fetch_or(TROUBLE, Ordering::Relaxed);
        let known = inner.kinds.iter().position(|kind| kind.is(cause));
        if let Some(kind) = known.and_then(|index| inner.kinds.get_mut(index))
            && now.saturating_duration_since(kind.asked) < AGAIN
        {
            kind.since.get_or_insert(now);
            return;
        }
        let fresh = || Kind { cause, asked: now, wanted: false, since: None, found: None, said: None };
        let mut kind = known.map_or_else(fresh, |index| inner.kinds.remove(index));
        kind.since.get_or_insert(now);
        if now.saturating_duration_since(kind.asked) >= FORGOTTEN {
            kind.said = None;
        }
        (kind.asked, kind.wanted) = (now, true);
        if inner.kinds.len() >= KINDS {
            inner.kinds.remove(0);
        }
        inner.kinds.push(kind);
        drop(inner);
        self.bell.notify_one();
    }

    /// A failure that a look is wanted for; asked once, it is not wanted any more.
    #[must_use]
    pub fn wanted(&self) -> Option<Cause> {
        if self.flags.load(Ordering::Relaxed) & TROUBLE == 0 {
            return None;
        }
        let mut inner = self.lock();
        let kind = inner.kinds.iter_mut().find(|kind| kind.wanted)?;
        kind.wanted = false;
        Some(kind.cause)
    }

    /// A look at this failure has ended with this; with nothing, what was found before about it is gone.
    pub fn tell(&self, cause: Cause, finding: Option<Finding>, now: Instant) {
        let mut inner = self.lock();
        let Some(kind) = inner.kinds.iter_mut().find(|kind| kind.is(cause)) else { return };
        kind.found = finding.map(|finding| (Arc::new(finding), now));
    }

    /// Whether people have not been told this of the failure yet; from now on they have.
    pub fn is_news(&self, cause: Cause, gist: &str) -> bool {
        let mut inner = self.lock();
        let Some(kind) = inner.kinds.iter_mut().find(|kind| kind.is(cause)) else { return false };
        let news = kind.said.as_deref() != Some(gist);
        if news {
            kind.said = Some(gist.to_owned());
        }
        news
    }

    /// What was found about this failure lately.
    #[must_use]
    pub fn of(&self, cause: Cause, now: Instant) -> Option<Arc<Finding>> {
        let inner = self.lock();
        let (found, when) = inner.kinds.iter().find(|kind| kind.is(cause))?.found.as_ref()?;
        (now.saturating_duration_since(*when) < HOLDS).then(|| Arc::clone(found))
    }

    /// It works, as far as that: what was found about failures to connect holds no longer. One atomic load while nothing is amiss.
    pub fn works(&self, proof: Proof) {
        let proven = match proof {
            Proof::Connects => CONNECTED,
            Proof::Answers => CONNECTED | ANSWERED,
        };
        let flags = self.flags.load(Ordering::Relaxed);
        if flags & (proven | TROUBLE) == proven {
            return;
        }
        let mut inner = self.lock();
        inner.kinds.retain(|kind| !is_before_the_answer(kind.cause));
        if proof == Proof::Answers {
            inner.kinds.iter_mut().for_each(|kind| kind.since = None);
        }
        let trouble = inner.kinds.iter().any(|kind| kind.wanted || kind.since.is_some());
        self.flags.store(flags & !TROUBLE | proven | if trouble { TROUBLE } else { 0 }, Ordering::Relaxed);
    }

    /// That far it has worked, and until lately: so its address is right.
    #[must_use]
    pub fn is_proven(&self, cause: Cause, now: Instant) -> bool {
        let proof = if is_before_the_answer(cause) { CONNECTED } else { ANSWERED };
        let long = |since: Instant| now.saturating_duration_since(since) >= PROVEN;
        let since = || self.lock().kinds.iter().find(|kind| kind.is(cause)).and_then(|kind| kind.since);
        self.flags.load(Ordering::Relaxed) & proof != 0 && !since().is_some_and(long)
    }

    /// A panic under this lock leaves at worst a look unmade.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A failure before there is a connection: any connection proves that it is over.
const fn is_before_the_answer(cause: Cause) -> bool {
    matches!(cause.row().phase, Phase::Resolve | Phase::Connect)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: Cause = Cause::ConnectionRefused;

    fn insight() -> (Insight, Instant) {
        (Insight::new(Arc::default()), Instant::now())
    }

    #[test]
    fn a_storm_of_failures_is_one_look() {
        let (insight, start) = insight();
        for millis in 0..9_000 {
            insight.ask(REFUSED, start + Duration::from_millis(millis));
        }
        assert_eq!((insight.wanted(), insight.wanted()), (Some(REFUSED), None));
        insight.ask(Cause::ReadTimeout, start);
        assert_eq!(insight.wanted(), Some(Cause::ReadTimeout), "another failure is another question");
        insight.ask(Cause::ReadTimeout, start + AGAIN);
        assert_eq!(insight.wanted(), Some(Cause::ReadTimeout));
    }

    #[test]
    fn failures_that_take_turns_are_one_look_each() {
        let (insight, start) = insight();
        let mut looks = 0;
        for millis in 0..9_000 {
            let cause = if millis % 2 == 0 { REFUSED } else { Cause::ReadTimeout };
            insight.ask(cause, start + Duration::from_millis(millis));
            looks += usize::from(insight.wanted().is_some());
        }
        assert_eq!(looks, 2);
        for cause in Cause::ALL {
            insight.ask(*cause, start);
        }
        assert_eq!(insight.lock().kinds.len(), KINDS);
    }

    #[test]
    fn what_was_found_explains_that_failure_for_a_while() {
        let (insight, start) = insight();
        let finding = Finding::new(REFUSED, "But port 3000 answers.");
        insight.ask(REFUSED, start);
        insight.tell(REFUSED, Some(finding.clone()), start);
        assert_eq!(insight.of(REFUSED, start).as_deref(), Some(&finding));
        assert_eq!(insight.of(Cause::ReadTimeout, start), None);
        assert_eq!(insight.of(REFUSED, start + HOLDS), None);
        insight.tell(Cause::ReadTimeout, None, start);
        assert!(insight.of(REFUSED, start).is_some(), "that look was at something else");
        insight.tell(REFUSED, None, start);
        assert_eq!(insight.of(REFUSED, start), None);
    }

    #[test]
    fn an_upstream_that_answers_again_is_not_refused_any_more() {
        let (insight, start) = insight();
        for cause in [REFUSED, Cause::ReadTimeout] {
            insight.ask(cause, start);
            insight.tell(cause, Some(Finding::new(cause, "Found.")), start);
        }
        insight.works(Proof::Connects);
        assert!(insight.of(REFUSED, start).is_none() && insight.of(Cause::ReadTimeout, start).is_some());
        assert_eq!(insight.wanted(), Some(Cause::ReadTimeout));
        insight.tell(REFUSED, Some(Finding::new(REFUSED, "A look that began before.")), start);
        assert!(insight.of(REFUSED, start).is_none());
    }

    #[test]
    fn what_has_worked_is_at_its_right_address_for_a_while() {
        let (insight, start) = insight();
        let proven = |after| insight.is_proven(REFUSED, start + after);
        insight.ask(REFUSED, start);
        assert!(!proven(Duration::ZERO));
        insight.works(Proof::Connects);
        assert!(proven(PROVEN * 100));
        insight.ask(REFUSED, start + PROVEN);
        insight.ask(REFUSED, start + PROVEN + AGAIN);
        assert!(proven(PROVEN + AGAIN) && !proven(2 * PROVEN));
        insight.works(Proof::Answers);
        assert!(proven(2 * PROVEN));
    }

    #[test]
    fn a_connection_proves_no_answer() {
        let (insight, start) = insight();
        insight.works(Proof::Connects);
        assert!(insight.is_proven(REFUSED, start) && !insight.is_proven(Cause::NotHttp, start));
        insight.works(Proof::Answers);
        insight.ask(Cause::NotHttp, start);
        insight.works(Proof::Answers);
        insight.ask(Cause::NotHttp, start + PROVEN);
        assert!(insight.is_proven(Cause::NotHttp, start + PROVEN), "it answers in between");
    }

    #[test]
    fn a_dropped_connection_is_one_kind_of_failure() {
        let (insight, start) = insight();
        insight.ask(Cause::ResetBeforeHead, start);
        insight.ask(Cause::ClosedWithoutResponse, start);
        assert_eq!((insight.wanted(), insight.wanted()), (Some(Cause::ResetBeforeHead), None));
        insight.tell(Cause::ResetBeforeHead, Some(Finding::new(Cause::ResetBeforeHead, "Found.")), start);
        assert!(insight.of(Cause::ClosedWithoutResponse, start).is_some());
    }

    #[test]
    fn only_news_are_told() {
        let (insight, start) = insight();
        assert!(!insight.is_news(REFUSED, "a"), "it has answered since");
        insight.ask(REFUSED, start);
        let news = ["a", "a", "b", "b", "a"].map(|gist| insight.is_news(REFUSED, gist));
        assert_eq!(news, [true, false, true, false, true]);
        insight.ask(REFUSED, start + AGAIN);
        assert!(!insight.is_news(REFUSED, "a"));
        insight.ask(REFUSED, start + AGAIN + FORGOTTEN);
        assert!(insight.is_news(REFUSED, "a"));
    }
}

//! May another upstream be tried? Pure: facts in, a verdict out. Nothing here sends, waits or reads a clock.

use std::time::Duration;

use http::Method;

use crate::cause;
use crate::config::model::Retry as Rules;
use crate::observe::Reason;

/// The facts after a failed attempt.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The row's word on the failure.
    pub row: cause::Retry,
    /// Some attempt of this request got a byte out (CONTRACT §9 "Sent").
    pub sent: bool,
    /// The method is idempotent, or the request says so and the route believes it.
    pub idempotent: bool,
    /// What was taken of the body is in `buffers.request`, whole.
    pub body_kept: bool,
    /// Attempts made so far.
    pub attempts: usize,
    /// Attempts that were made after bytes had been sent.
    pub resends: usize,
    /// From the complete request head until now, less what was spent in `wait`.
    pub elapsed: Duration,
}

/// What the attempts of a request came to so far, the running one included.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// One that has failed got a byte out.
    pub sent: bool,
    /// Attempts.
    pub attempts: usize,
    /// Attempts that were made after bytes had been sent.
    pub resends: usize,
    /// How long the clock of the deadline stood still.
    pub waited: Duration,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Another upstream gets its turn.
    Next,
    /// Nobody else is asked, for this reason.
    Stop(Reason),
}

/// RFC 9110 §9.2.2, with nothing assumed of methods it does not know.
#[must_use]
pub fn idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE)
}

/// The verdict (CONTRACT §2 `retry`, §9 "Sent" and "May be resent").
#[must_use]
pub fn judge(case: &Case, rules: &Rules) -> Verdict {
    if case.row == cause::Retry::Never {
        Verdict::Stop(Reason::Final)
    } else if rules.attempts.is_some_and(|most| case.attempts >= most.get()) {
        Verdict::Stop(Reason::Attempts)
    } else if case.sent && !case.idempotent {
        Verdict::Stop(Reason::RequestSent)
    } else if !case.body_kept {
        Verdict::Stop(Reason::BodyNotKept)
    } else if !case.sent {
        Verdict::Next
    } else if rules.resend.is_some_and(|most| case.resends >= most) {
        Verdict::Stop(Reason::RequestSent)
    } else if rules.deadline.is_some_and(|deadline| case.elapsed >= deadline) {
        Verdict::Stop(Reason::Deadline)
    } else {
        Verdict::Next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::num::NonZeroUsize;

    fn case() -> Case {
        let row = cause::Retry::Idempotent;
        Case { row, sent: true, idempotent: true, body_kept: true, attempts: 1, resends: 0, elapsed: Duration::ZERO }
    }

    #[test]
    fn each_rule_has_its_reason() {
        let rules = Rules { attempts: NonZeroUsize::new(3), resend: Some(1), ..Rules::default() };
        let late = Duration::from_secs(31);
        for (case, wanted) in [
            (case(), Verdict::Next),
            (Case { row: cause::Retry::Never, sent: false, ..case() }, Verdict::Stop(Reason::Final)),
            (Case { attempts: 3, sent: false, ..case() }, Verdict::Stop(Reason::Attempts)),
            (Case { idempotent: false, ..case() }, Verdict::Stop(Reason::RequestSent)),
            (Case { idempotent: false, sent: false, elapsed: late, ..case() }, Verdict::Next),
            (Case { body_kept: false, ..case() }, Verdict::Stop(Reason::BodyNotKept)),
            (Case { body_kept: false, sent: false, ..case() }, Verdict::Stop(Reason::BodyNotKept)),
            (Case { resends: 1, ..case() }, Verdict::Stop(Reason::RequestSent)),
            (Case { elapsed: late, ..case() }, Verdict::Stop(Reason::Deadline)),
        ] {
            assert_eq!(judge(&case, &rules), wanted, "{case:?}");
        }
    }

    proptest! {
        #[test]
        fn a_request_that_may_have_acted_is_never_repeated(attempts in 0usize..5, resends in 0usize..5, seconds in 0u64..60, kept: bool, any: bool) {
            let row = if any { cause::Retry::Any } else { cause::Retry::Idempotent };
            let case = Case { row, sent: true, idempotent: false, body_kept: kept, attempts, resends, elapsed: Duration::from_secs(seconds) };
            prop_assert_ne!(judge(&case, &Rules::default()), Verdict::Next);
        }
    }
}

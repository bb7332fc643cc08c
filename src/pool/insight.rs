//! What a closer look at an upstream has found, and the wish for one.
//!
//! Who meets a failure asks ([`Insight::ask`]); `probe::diagnose` looks, off the request path, and tells; whoever
//! explains a failure reads. Asked as often as anybody likes, a look is wanted only now and then. Nothing here opens a
//! socket or reads a clock.

mod asker;
mod kind;

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use crate::cause::{Cause, Finding, Phase};
use crate::health::Proof;

pub use asker::Asker;
use kind::{AGAIN, Kind, Known};

/// While looks find the same and nothing has worked, the pauses double, up to this one: who stays dead is nobody's
/// news.
const SELDOM: Duration = Duration::from_secs(300);
/// What was found explains failures for so long: then it may have changed.
const HOLDS: Duration = Duration::from_secs(60);
/// What has worked is at its right address; what has failed for so long since may have come back at another one.
const PROVEN: Duration = Duration::from_secs(15);
/// No name of a host is longer.
const HOST: usize = 255;

/// It has taken a connection.
const CONNECTED: u8 = 1;
/// It has answered.
const ANSWERED: u8 = 2;
/// It fails in some way or is being looked at, and has not worked since: there is something to put aside when it does.
const TROUBLE: u8 = 4;
/// A look is wanted.
const WANTED: u8 = 8;

/// See the module.
#[derive(Debug)]
pub struct Insight {
    inner: Mutex<Inner>,
    /// [`CONNECTED`], [`ANSWERED`], [`TROUBLE`], [`WANTED`]. Written under the lock.
    flags: AtomicU8,
    /// Of the pool: rings when a look is wanted.
    bell: Arc<Notify>,
    /// How many looks have ended.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The kinds of failure that there were: at most one for each cause and who met it.
    kinds: Vec<Kind>,
    /// How often it has taken a connection again.
    connects: u32,
    /// How often it has answered again.
    answers: u32,
}

/// What a look has found.
#[derive(Clone, Debug)]
pub struct Found {
    /// For people.
    pub finding: Finding,
    /// The same without figures that change from look to look.
    pub gist: String,
    /// What shows that it holds no longer: of an app that is gone, a connection. `None`: it may be as true when it
    /// works.
    pub until: Option<Proof>,
}

/// A look that is wanted.
#[derive(Clone, Debug)]
pub struct Question {
    /// Who met the failure.
    pub asker: Asker,
    /// The failure.
    pub cause: Cause,
    /// The Host of a request that was dropped, where that may be why.
    pub host: Option<Box<str>>,
    /// When the look was asked for, as counted by what worked until then.
    connects: u32,
    answers: u32,
}

impl Inner {
    fn kind(&mut self, asker: Asker, cause: Cause) -> Option<&mut Kind> {
        self.kinds.iter_mut().find(|kind| kind.is(asker, cause))
    }

    /// It works, as far as that: what that disproves is gone.
    fn works(&mut self, proof: Proof) {
        let answers = proof == Proof::Answers;
        self.connects = self.connects.wrapping_add(1);
        self.answers = self.answers.wrapping_add(u32::from(answers));
        for kind in &mut self.kinds {
            let over = is_before_the_answer(kind.cause);
            let disproved = |until| answers || until == Proof::Connects;
            kind.wanted &= !over;
            kind.found.take_if(|found| over || found.until.is_some_and(disproved));
            if kind.since.take_if(|_| over || answers).is_some() {
                kind.pause = AGAIN;
            }
        }
    }

    /// Whether that has worked since the look was asked for.
    const fn has_worked(&self, proof: Proof, since: &Question) -> bool {
        match proof {
            Proof::Connects => self.connects != since.connects,
            Proof::Answers => self.answers != since.answers,
        }
    }

    /// What of [`Insight::flags`] follows from the kinds.
    fn flags(&self) -> u8 {
        let any = |is: fn(&Kind) -> bool, flag| if self.kinds.iter().any(is) { flag } else { 0 };
        any(|kind| kind.since.is_some(), TROUBLE) | any(|kind| kind.wanted, WANTED)
    }
}

impl Insight {
    pub(super) fn new(bell: Arc<Notify>) -> Self {
        Self { inner: Mutex::default(), flags: AtomicU8::new(0), bell, changes: watch::Sender::new(0) }
    }

    /// A look would help to explain this failure; the same one is wanted again after a while.
    pub fn ask(&self, asker: Asker, cause: Cause, now: Instant) {
        self.ask_of(asker, cause, None, now);
    }

    /// The same for a request with this Host, which is not the upstream's own address.
    pub fn ask_of(&self, asker: Asker, cause: Cause, host: Option<&str>, now: Instant) {
        let mut inner = self.lock();
        // One that was dropped may have been so for its Host; that of other failures explains nothing.
        let host = || host.filter(|host| asker::is_dropped(cause) && host.len() <= HOST).map(Into::into);
        let wanted = match inner.kind(asker, cause) {
            Some(kind) => {
                kind.again(now) && {
                    kind.host = host();
                    true
                }
            }
            None => {
                let since = Some(now);
                inner.kinds.push(Kind {
                    asker,
                    cause,
                    asked: now,
                    pause: AGAIN,
                    wanted: true,
                    host: host(),
                    since,
                    found: None,
                    said: None,
                });
                true
            }
        };
        self.set(&inner, 0);
        drop(inner);
        if wanted {
            self.bell.notify_one();
        }
    }

    /// A look that is wanted; asked once, it is not wanted any more. One atomic load while none is.
    #[must_use]
    pub fn wanted(&self) -> Option<Question> {
        if self.flags.load(Ordering::Relaxed) & WANTED == 0 {
            return None;
        }
        let mut inner = self.lock();
        let kind = inner.kinds.iter_mut().filter(|kind| kind.wanted).min_by_key(|kind| kind.asked)?;
        kind.wanted = false;
        let (asker, cause, host) = (kind.asker, kind.cause, kind.host.take());
        Some(Question { host, ..self.begins(&inner, asker, cause) })
    }

    /// A look at this failure that begins now, wanted or not.
    #[must_use]
    pub fn question(&self, asker: Asker, cause: Cause) -> Question {
        self.begins(&self.lock(), asker, cause)
    }

    /// What works from now on may disprove what that look finds.
    fn begins(&self, inner: &Inner, asker: Asker, cause: Cause) -> Question {
        self.set(inner, TROUBLE);
        Question { asker, cause, host: None, connects: inner.connects, answers: inner.answers }
    }

    /// The look has ended with this; with nothing, what was found before is gone. What has been disproved in the
    /// meantime is put aside. Says whether it is news to people; from now on they know.
    pub fn tell(&self, question: &Question, found: Option<Found>, now: Instant) -> bool {
        let news = self.told(question, found, now).unwrap_or(false);
        self.changes.send_modify(|looks| *looks += 1);
        news
    }

    fn told(&self, question: &Question, found: Option<Found>, now: Instant) -> Option<bool> {
        let mut inner = self.lock();
        let over = is_before_the_answer(question.cause) && inner.has_worked(Proof::Connects, question);
        let found = found.filter(|found| !over && !found.until.is_some_and(|proof| inner.has_worked(proof, question)));
        // A check and a request that meet the same are told of once.
        let gist = found.as_ref().map(|found| &found.gist);
        let known = gist.is_some() && inner.kinds.iter().any(|kind| kind.said.as_ref() == gist);
        let kind = inner.kind(question.asker, question.cause)?;
        kind.found = None;
        let same = found.as_ref().map(|found| &found.gist) == kind.said.as_ref();
        kind.pause = if same && kind.since.is_some() { (kind.pause * 2).min(SELDOM) } else { AGAIN };
        let Found { finding, gist, until } = found?;
        kind.found = Some(Known { finding: Arc::new(finding), when: now, until });
        kind.said = Some(gist);
        Some(!known)
    }

    /// What was found about this failure lately.
    #[must_use]
    pub fn of(&self, asker: Asker, cause: Cause, now: Instant) -> Option<Arc<Finding>> {
        let mut inner = self.lock();
        let kind = inner.kind(asker, cause)?;
        // Until the next look has its word.
        let (holds, known) = (HOLDS.max(kind.pause + AGAIN), kind.found.as_ref()?);
        (now.saturating_duration_since(known.when) < holds).then(|| Arc::clone(&known.finding))
    }

    /// It has given an answer of this status. Where each one is 400, that is a port of TLS perhaps, which says so in
    /// plain HTTP: so much is no proof that it works, and a look is wanted. One atomic load while nothing is amiss.
    pub fn answers(&self, status: u16, now: Instant) {
        if matches!(status, 400 | 497) && self.flags.load(Ordering::Relaxed) & ANSWERED == 0 {
            self.works(Proof::Connects);
            self.ask(Asker::Traffic, Cause::SpeaksTls, now);
        } else {
            self.works(Proof::Answers);
        }
    }

    /// It works, as far as that: what was found holds no longer, where that disproves it. One atomic load while nothing
    /// is amiss.
    pub fn works(&self, proof: Proof) {
        let proven = match proof {
            Proof::Connects => CONNECTED,
            Proof::Answers => CONNECTED | ANSWERED,
        };
        if self.flags.load(Ordering::Relaxed) & (proven | TROUBLE) == proven {
            return;
        }
        let mut inner = self.lock();
        inner.works(proof);
        self.set(&inner, proven);
        drop(inner);
        self.changes.send_modify(|_| {});
    }

    /// That far it has worked, and until lately: so its address is right.
    #[must_use]
    pub fn is_proven(&self, question: &Question, now: Instant) -> bool {
        let proof = if is_before_the_answer(question.cause) { CONNECTED } else { ANSWERED };
        let long = |since: Instant| now.saturating_duration_since(since) >= PROVEN;
        let since = || self.lock().kind(question.asker, question.cause).and_then(|kind| kind.since);
        self.flags.load(Ordering::Relaxed) & proof != 0 && !since().is_some_and(long)
    }

    /// How many looks have ended; changes also when something works again.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The flags, as the kinds have them now; and these besides; what was proven stays so. The caller holds the lock.
    fn set(&self, inner: &Inner, besides: u8) {
        let kept = self.flags.load(Ordering::Relaxed) & (CONNECTED | ANSWERED);
        self.flags.store(kept | besides | inner.flags(), Ordering::Relaxed);
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
    use super::kind::FORGOTTEN;
    use super::*;

    const REFUSED: Cause = Cause::ConnectionRefused;
    const TRAFFIC: Asker = Asker::Traffic;

    fn insight() -> (Insight, Instant) {
        (Insight::new(Arc::default()), Instant::now())
    }

    fn found(cause: Cause, said: &str, until: Option<Proof>) -> Option<Found> {
        Some(Found { finding: Finding::new(cause, said), gist: said.to_owned(), until })
    }

    fn causes(insight: &Insight) -> Vec<Cause> {
        std::iter::from_fn(|| insight.wanted()).map(|question| question.cause).collect()
    }

    /// It fails like this, and a look ends with that; says whether it was news.
    fn looked(insight: &Insight, cause: Cause, said: &str, until: Option<Proof>, now: Instant) -> bool {
        insight.ask(TRAFFIC, cause, now);
        let question = insight.wanted().expect("a look is wanted");
        insight.tell(&question, found(cause, said, until), now)
    }

    #[test]
    fn a_storm_of_failures_is_one_look() {
        let (insight, start) = insight();
        for millis in 0..9_000 {
            insight.ask(TRAFFIC, REFUSED, start + Duration::from_millis(millis));
        }
        assert_eq!(causes(&insight), [REFUSED]);
        insight.ask(TRAFFIC, Cause::ReadTimeout, start);
        assert_eq!(causes(&insight), [Cause::ReadTimeout], "another failure is another question");
        insight.ask(TRAFFIC, Cause::ReadTimeout, start + AGAIN);
        assert_eq!(causes(&insight), [Cause::ReadTimeout]);
    }

    #[test]
    fn who_stays_dead_is_looked_at_ever_more_seldom() {
        let (insight, start) = insight();
        let mut looks = Vec::new();
        for second in 0..3600 {
            let now = start + Duration::from_secs(second);
            insight.ask(TRAFFIC, REFUSED, now);
            if let Some(question) = insight.wanted() {
                insight.tell(&question, found(REFUSED, "as before", None), now);
                looks.push(second);
            }
            assert!(insight.of(TRAFFIC, REFUSED, now).is_some(), "explained at {second} s");
        }
        assert_eq!(looks[..8], [0, 10, 30, 70, 150, 310, 610, 910]);
        insight.works(Proof::Answers);
        let again = start + Duration::from_secs(3600);
        assert!(!looked(&insight, REFUSED, "as before", None, again), "said already");
        insight.ask(TRAFFIC, REFUSED, again + 2 * AGAIN);
        assert_eq!(causes(&insight), [REFUSED], "one that came back is looked at as soon as any");
    }

    #[test]
    fn failures_that_take_turns_are_one_look_each() {
        let (insight, start) = insight();
        let mut looks = 0;
        for millis in 0..9_000 {
            let now = start + Duration::from_millis(millis);
            for cause in [REFUSED, Cause::ReadTimeout, Cause::NotHttp, Cause::Unreachable, Cause::ConnectTimeout] {
                insight.ask(TRAFFIC, cause, now);
            }
            looks += causes(&insight).len();
            insight.works(if millis % 2 == 0 { Proof::Answers } else { Proof::Connects });
        }
        assert_eq!(looks, 5, "nor does an upstream that works in between get more");
        for cause in Cause::ALL.iter().chain(Cause::ALL) {
            insight.ask(TRAFFIC, *cause, start);
            insight.ask(Asker::Check, *cause, start);
        }
        assert!(insight.lock().kinds.len() <= 2 * Cause::ALL.len());
    }

    #[test]
    fn what_was_said_of_one_that_comes_and_goes_is_said_once() {
        let (insight, start) = insight();
        let mut said = 0;
        for round in 0..20 {
            let now = start + round * AGAIN;
            said += u32::from(looked(&insight, REFUSED, "Its queue is full.", None, now));
            insight.works(Proof::Answers);
        }
        assert_eq!(said, 1);
    }

    #[test]
    fn what_was_found_explains_that_failure_for_a_while() {
        let (insight, start) = insight();
        looked(&insight, REFUSED, "But port 3000 answers.", None, start);
        assert_eq!(insight.of(TRAFFIC, REFUSED, start).unwrap().sentence, "But port 3000 answers.");
        assert_eq!(insight.of(TRAFFIC, Cause::ReadTimeout, start), None);
        assert_eq!(insight.of(TRAFFIC, REFUSED, start + HOLDS), None);
        insight.ask(TRAFFIC, REFUSED, start + AGAIN);
        let question = insight.wanted().unwrap();
        assert!(insight.of(TRAFFIC, REFUSED, start + AGAIN).is_some());
        assert!(!insight.tell(&question, None, start + AGAIN));
        assert_eq!(insight.of(TRAFFIC, REFUSED, start + AGAIN), None);
    }

    #[test]
    fn what_a_check_wants_is_not_what_requests_want() {
        let (insight, start) = insight();
        insight.ask(Asker::Check, Cause::ReadTimeout, start);
        insight.tell(&insight.wanted().unwrap(), found(Cause::ReadTimeout, "Raise health.timeout.", None), start);
        assert_eq!(insight.of(TRAFFIC, Cause::ReadTimeout, start), None);
        assert!(insight.of(Asker::Check, Cause::ReadTimeout, start).is_some());
        insight.ask(TRAFFIC, Cause::ReadTimeout, start);
        assert_eq!(insight.wanted().unwrap().asker, TRAFFIC);
        // But nobody listens there for both.
        looked(&insight, REFUSED, "But port 3000 answers.", None, start);
        insight.ask(Asker::Check, REFUSED, start);
        assert!(insight.wanted().is_none() && insight.of(Asker::Check, REFUSED, start).is_some());
    }

    #[test]
    fn one_that_answers_nothing_but_400_may_speak_tls() {
        let (insight, start) = insight();
        let mut looks = 0;
        for second in 0..100 {
            let now = start + Duration::from_secs(second);
            insight.answers(400, now);
            if let Some(question) = insight.wanted() {
                assert_eq!((question.asker, question.cause), (TRAFFIC, Cause::SpeaksTls));
                insight.tell(&question, found(Cause::SpeaksTls, "Write https.", Some(Proof::Answers)), now);
                looks += 1;
            }
            assert!(insight.of(TRAFFIC, Cause::SpeaksTls, now).is_some(), "400 is no proof of anything else");
        }
        assert_eq!(looks, 4, "at 0, 10, 30 and 70 s");
        insight.answers(200, start);
        assert!(insight.of(TRAFFIC, Cause::SpeaksTls, start).is_none());
        insight.answers(400, start + 10 * SELDOM);
        assert!(insight.wanted().is_none(), "it has other answers");
    }

    #[test]
    fn a_dropped_request_is_looked_at_with_its_host() {
        let (insight, start) = insight();
        let host_of = |cause, host: &str, now| {
            insight.ask_of(TRAFFIC, cause, Some(host), now);
            insight.wanted().and_then(|question| question.host)
        };
        let dropped = Cause::ClosedWithoutResponse;
        assert_eq!(host_of(dropped, "one.example", start).as_deref(), Some("one.example"));
        assert_eq!(host_of(dropped, "two.example", start), None, "no look yet");
        assert_eq!(host_of(dropped, &"x".repeat(256), start + AGAIN), None);
        assert_eq!(host_of(dropped, "two.example", start + 2 * AGAIN).as_deref(), Some("two.example"));
        assert_eq!(host_of(REFUSED, "one.example", start), None);
    }

    #[test]
    fn an_upstream_that_answers_again_is_not_refused_any_more() {
        let (insight, start) = insight();
        looked(&insight, REFUSED, "Found.", None, start);
        looked(&insight, Cause::ReadTimeout, "Found.", None, start);
        insight.ask(TRAFFIC, REFUSED, start + AGAIN);
        insight.ask(TRAFFIC, Cause::ReadTimeout, start + AGAIN);
        let late = insight.wanted().unwrap();
        insight.works(Proof::Connects);
        let of = |cause| insight.of(TRAFFIC, cause, start);
        assert!(of(REFUSED).is_none() && of(Cause::ReadTimeout).is_some());
        assert_eq!(causes(&insight), [Cause::ReadTimeout]);
        // A look that began before tells nothing, not even where it has failed anew since.
        insight.ask(TRAFFIC, REFUSED, start + AGAIN);
        assert!(!insight.tell(&late, found(REFUSED, "Late.", None), start) && of(REFUSED).is_none());
    }

    #[test]
    fn what_was_true_of_a_moment_goes_with_it() {
        for (until, after_connect, after_answer) in
            [(Some(Proof::Connects), false, false), (Some(Proof::Answers), true, false), (None, true, true)]
        {
            let cause = Cause::ClosedWithoutResponse;
            for (proof, stays) in [(Proof::Connects, after_connect), (Proof::Answers, after_answer)] {
                let (insight, start) = insight();
                looked(&insight, cause, "By now nothing listens there.", until, start);
                insight.works(proof);
                assert_eq!(insight.of(TRAFFIC, cause, start).is_some(), stays, "{until:?} {proof:?}");
                // The same for a look that has not ended yet.
                insight.ask(TRAFFIC, cause, start + AGAIN);
                let question = insight.wanted().unwrap();
                insight.works(proof);
                let news = insight.tell(&question, found(cause, "Gone, really.", until), start + AGAIN);
                assert_eq!((news, insight.of(TRAFFIC, cause, start + AGAIN).is_some()), (stays, stays));
            }
        }
    }

    #[test]
    fn what_works_pays_for_a_failure_once() {
        let (insight, start) = insight();
        let slow = || insight.flags.load(Ordering::Relaxed) & TROUBLE != 0;
        insight.ask(TRAFFIC, Cause::ReadTimeout, start);
        assert!(slow());
        insight.works(Proof::Answers);
        assert!(!slow(), "though a look is still wanted");
        assert_eq!(causes(&insight), [Cause::ReadTimeout]);
        assert!(slow(), "once more: that look may be disproved");
        insight.works(Proof::Answers);
        assert_eq!(insight.flags.load(Ordering::Relaxed), CONNECTED | ANSWERED);
    }

    #[test]
    fn what_has_worked_is_at_its_right_address_for_a_while() {
        let (insight, start) = insight();
        insight.ask(TRAFFIC, REFUSED, start);
        let question = insight.wanted().unwrap();
        let proven = |after| insight.is_proven(&question, start + after);
        assert!(!proven(Duration::ZERO));
        insight.works(Proof::Connects);
        assert!(proven(PROVEN * 100));
        insight.ask(TRAFFIC, REFUSED, start + PROVEN);
        insight.ask(TRAFFIC, REFUSED, start + PROVEN + AGAIN);
        assert!(proven(PROVEN + AGAIN) && !proven(2 * PROVEN));
        insight.works(Proof::Answers);
        assert!(proven(2 * PROVEN));
    }

    #[test]
    fn a_connection_proves_no_answer() {
        let (insight, start) = insight();
        insight.ask(TRAFFIC, REFUSED, start);
        insight.ask(TRAFFIC, Cause::NotHttp, start + Duration::from_secs(1));
        let (refused, strange) = (insight.wanted().unwrap(), insight.wanted().unwrap());
        insight.works(Proof::Connects);
        assert!(insight.is_proven(&refused, start) && !insight.is_proven(&strange, start));
        insight.works(Proof::Answers);
        insight.ask(TRAFFIC, Cause::NotHttp, start);
        insight.works(Proof::Answers);
        insight.ask(TRAFFIC, Cause::NotHttp, start + PROVEN);
        assert!(insight.is_proven(&strange, start + PROVEN), "it answers in between");
    }

    #[test]
    fn a_dropped_connection_is_one_kind_of_failure() {
        let (insight, start) = insight();
        looked(&insight, Cause::ResetBeforeHead, "Found.", None, start);
        insight.ask(TRAFFIC, Cause::ClosedWithoutResponse, start);
        assert!(insight.wanted().is_none() && insight.of(TRAFFIC, Cause::ClosedWithoutResponse, start).is_some());
    }

    #[test]
    fn only_news_are_told() {
        let (insight, start) = insight();
        let news = |round, gist| looked(&insight, REFUSED, gist, None, start + round * AGAIN);
        // What is the same as before makes the next pause twice as long.
        let told = [(0, "a"), (1, "a"), (3, "b"), (4, "b"), (6, "a")].map(|(round, gist)| news(round, gist));
        assert_eq!(told, [true, false, true, false, true]);
        assert!(!looked(&insight, REFUSED, "a", None, start + 7 * AGAIN));
        assert!(looked(&insight, REFUSED, "a", None, start + 7 * AGAIN + FORGOTTEN));
    }

    #[test]
    fn what_a_check_and_a_request_both_met_is_told_once() {
        let (insight, start) = insight();
        let late = Cause::ReadTimeout;
        assert!(looked(&insight, late, "The app is stuck.", None, start));
        insight.ask(Asker::Check, late, start);
        let question = insight.wanted().expect("a look is wanted");
        assert!(!insight.tell(&question, found(late, "The app is stuck.", None), start));
        assert!(insight.of(Asker::Check, late, start).is_some());
    }

    #[test]
    fn the_end_of_a_look_can_be_awaited() {
        let (insight, start) = insight();
        let mut changes = insight.changes();
        looked(&insight, REFUSED, "Found.", None, start);
        assert!(changes.has_changed().unwrap() && *changes.borrow_and_update() == 1);
        insight.works(Proof::Answers);
        assert!(changes.has_changed().unwrap() && *changes.borrow_and_update() == 1);
        insight.works(Proof::Answers);
        assert!(!changes.has_changed().unwrap());
    }
}

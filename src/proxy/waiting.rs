//! What a request waits for when there is nobody to try at once: a first check result, a slot, an upstream that comes
//! back (CONTRACT §9). Each wait has its end, and a bound on how many wait. Nothing here sends anything.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::{sleep_until, timeout_at};

use crate::cause::{self, Cause, Failure, spoken};
use crate::health::State;
use crate::observe::Reason;
use crate::observe::exchange::Waits;
use crate::pool::pick::{Ask, Choice, Next, Pick};
use crate::pool::queue::Ticket;
use crate::pool::{Pool, Upstream};

use super::attempt::Setting;
use super::deadline::Deadline;
use super::retry::{Tally, Verdict, judge};

/// So many requests of a pool may wait for an upstream to come back; the next gets its 502 at once (CONTRACT §9
/// `wait`).
const MOST_WAITING: usize = 1000;

/// Why nobody else is asked.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) reason: Reason,
    /// causeway's own failure that ends the exchange, if it is none of the attempts'.
    pub(super) failure: Option<Failure>,
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Self {
        Self { reason, failure: None }
    }
}

/// How long a request has waited, and for what.
#[derive(Debug)]
pub(super) struct Patience {
    /// When it last found nobody to try, at the latest: who became ready after that is news.
    since: Instant,
    /// First results are waited for until then; and the changes that bring them.
    first_results: Option<(watch::Receiver<u64>, tokio::time::Instant)>,
    /// That wait is over.
    unknown_too: bool,
    /// All its waits for slots end then.
    queue_until: Option<tokio::time::Instant>,
    /// As many upstreams were tried as `retry.attempts` allows.
    attempts_over: bool,
    /// No upstream is waited for to come back: that was done, or would be too much.
    came_back: bool,
    /// Whose kept connection died under the request, at its last attempt there.
    died: Option<Arc<Upstream>>,
    /// And it was asked once more: that is enough.
    asked_again: bool,
    /// It has waited for anything.
    pub(super) waited: bool,
    /// For what, and how long; `wait` has a clock of its own.
    pub(super) waits: Waits,
}

impl Patience {
    pub(super) const fn new(started: Instant) -> Self {
        Self {
            since: started,
            first_results: None,
            queue_until: None,
            unknown_too: false,
            attempts_over: false,
            came_back: false,
            died: None,
            asked_again: false,
            waited: false,
            waits: Waits { first_check: Duration::ZERO, slot: Duration::ZERO },
        }
    }

    /// An attempt has failed.
    pub(super) const fn failed(&mut self, now: Instant) {
        self.since = now;
    }

    /// Its kept connection to this upstream was dead, and it may have sent something.
    pub(super) fn died(&mut self, upstream: &Arc<Upstream>) {
        self.died = (!self.asked_again).then(|| Arc::clone(upstream));
    }

    /// It has an answer, if not a good one: nobody is waited for to come back.
    pub(super) const fn has_answer(&mut self, now: Instant) {
        (self.since, self.came_back) = (now, true);
    }

    /// May it still wait for an upstream to come back, after `retry.attempts`?
    pub(super) fn outlasts(&mut self, pool: &Pool, choice: &Choice) -> bool {
        let ready = |upstream: &Arc<Upstream>| upstream.health.state() == State::Ready;
        self.attempts_over = !pool.config.wait.is_zero() && !self.came_back && !choice.untried().any(ready);
        self.attempts_over
    }

    /// The next upstream, without a wait. While others wait for a slot, it is behind them.
    #[inline]
    pub(super) fn next(&self, setting: &Setting<'_>, choice: &mut Choice) -> Next {
        let pool = setting.pool;
        if self.attempts_over {
            Next::None
        } else if pool.limited() && pool.queue.waiting() > 0 {
            Next::Busy
        } else {
            self.ask(setting, choice)
        }
    }

    /// The next upstream, whoever waits.
    fn ask(&self, setting: &Setting<'_>, choice: &mut Choice) -> Next {
        let ask = Ask { replayable: setting.idempotent && setting.replay.whole(), unknown_too: self.unknown_too };
        choice.next(setting.pool, ask, Instant::now)
    }

    /// The next upstream, after the wait that this calls for.
    pub(super) async fn pick(
        &mut self,
        mut next: Next,
        setting: &Setting<'_>,
        choice: &mut Choice,
        tally: &mut Tally,
    ) -> Result<Pick, Stop> {
        loop {
            self.waited |= !matches!(next, Next::Try(_));
            next = match next {
                Next::Try(pick) => return Ok(pick),
                Next::Wait => {
                    let began = Instant::now();
                    let next = self.first_result(setting, choice).await;
                    self.waits.first_check += began.elapsed();
                    next
                }
                Next::Busy => {
                    let began = Instant::now();
                    let next = self.slot(setting, choice).await;
                    self.waits.slot += began.elapsed();
                    next?
                }
                Next::None => self.comeback(setting, choice, tally).await?,
            };
        }
    }

    /// Nobody is ready and somebody is unknown: a first result is waited for, then the unknown ones are tried.
    async fn first_result(&mut self, setting: &Setting<'_>, choice: &mut Choice) -> Next {
        let pool = setting.pool;
        let subscribed = self.first_results.is_some();
        let (changes, until) =
            self.first_results.get_or_insert_with(|| (pool.changes(), until(setting, pool.patience())));
        self.unknown_too = subscribed && timeout_at(*until, changes.changed()).await.is_err();
        choice.renew(pool);
        self.ask(setting, choice)
    }

    /// A slot of an upstream that has as many requests as it may have, in turn (CONTRACT §2 `limits.queue`).
    async fn slot(&mut self, setting: &Setting<'_>, choice: &mut Choice) -> Result<Next, Stop> {
        let (pool, limits) = (setting.pool, &setting.pool.config.limits);
        let busy = |failure| Stop { reason: Reason::Busy, failure: Some(failure) };
        let Some(mut ticket) = pool.queue.join(limits.queue) else {
            // Those who wait may have tried already what is free.
            match self.ask(setting, choice) {
                Next::Busy => {}
                next => return Ok(next),
            }
            let seen = match limits.queue {
                0 => "there is no queue".to_owned(),
                places => format!("{places} wait in the queue, which is full"),
            };
            return Err(busy(Failure::new(Cause::UpstreamBusy).seen(seen)));
        };
        let over = *self.queue_until.get_or_insert_with(|| until(setting, limits.queue_timeout));
        let mut over = std::pin::pin!(sleep_until(over));
        let mut last_second = std::pin::pin!(setting.asked.conn.drain.last_second_reached());
        loop {
            tokio::select! {
                biased;
                () = ticket.turn() => {}
                () = &mut last_second => return Err(shutting_down(Reason::Busy)),
                () = &mut over => {
                    let late = || busy(Failure::new(Cause::QueueTimeout).limit(spoken(limits.queue_timeout)));
                    return Err(overdue(setting).unwrap_or_else(late));
                }
            }
            choice.renew(pool);
            match self.ask(setting, choice) {
                Next::Busy => ticket.found_nothing(choice.tried() > 0),
                next => return Ok(served(ticket, next)),
            }
        }
    }

    /// All that may be tried was tried: an upstream that becomes ready gets one more try, even if tried before.
    async fn comeback(&mut self, setting: &Setting<'_>, choice: &mut Choice, tally: &mut Tally) -> Result<Next, Stop> {
        let stop = || Stop::from(if self.attempts_over { Reason::Attempts } else { Reason::Evicted });
        let pool = setting.pool;
        let unbounded = Tally { attempts: 0, ..*tally };
        let may = !pool.config.wait.is_zero()
            && !self.came_back
            && judge(&setting.case(cause::Retry::Any, unbounded, false), &setting.forward.retry) == Verdict::Next;
        let Some(_place) = may.then(|| pool.waiting.enter(MOST_WAITING)).flatten() else { return Err(stop()) };
        let (began, until) = (Instant::now(), until(setting, pool.config.wait));
        let last_second = setting.asked.conn.drain.last_second_reached();
        let mut last_second = std::pin::pin!(last_second);
        let mut changes = pool.changes();
        let next = loop {
            changes.mark_unchanged();
            let (found, later) = came_back(pool, self.since);
            if let Some(upstream) = found {
                choice.again(pool, &upstream);
                if let next @ Next::Try(_) = self.ask(setting, choice) {
                    break next;
                }
            }
            if pool.is_gone() {
                tally.waited += began.elapsed();
                return Err(stop());
            }
            let wake = later.map_or(until, |later| until.min(later.into()));
            tokio::select! {
                biased;
                () = &mut last_second => return Err(shutting_down(Reason::Evicted)),
                changed = timeout_at(wake, changes.changed()) => match changed {
                    Err(_) if wake < until => {}
                    Ok(Ok(())) => {}
                    Ok(Err(_)) | Err(_) => {
                        tally.waited += began.elapsed();
                        return Err(overdue(setting).unwrap_or_else(stop));
                    }
                }
            }
        };
        let now = Instant::now();
        // The clock of retry.deadline stood still meanwhile.
        tally.waited += now.saturating_duration_since(began);
        if !setting.affords(tally, now) {
            return Err(Reason::Budget.into());
        }
        (self.came_back, self.attempts_over) = (true, false);
        Ok(next)
    }

    /// The upstream whose kept connection had died under the request, once more: that was no attempt (CONTRACT §9), and
    /// nobody else is left. True if it is a choice again.
    pub(super) fn once_more(&mut self, setting: &Setting<'_>, choice: &mut Choice, tally: &mut Tally) -> bool {
        let Some(upstream) = self.died.take() else { return false };
        let before = Tally { attempts: tally.attempts.saturating_sub(1), ..*tally };
        let may = judge(&setting.case(cause::Retry::Any, before, false), &setting.forward.retry) == Verdict::Next
            && !setting.overdue_now()
            && !setting.asked.conn.drain.last_second()
            && setting.affords(tally, Instant::now());
        if may {
            (*tally, self.attempts_over, self.asked_again) = (before, false, true);
            choice.again(setting.pool, &upstream);
        }
        may
    }
}

/// A place in the queue has done its work; but one on probation is not the slot that was told of: that is for the next.
fn served(ticket: Ticket, next: Next) -> Next {
    if matches!(&next, Next::Try(pick) if !pick.on_probation()) {
        ticket.served();
    }
    next
}

/// An upstream that became ready after this moment, or may be tried on probation; else when one may be.
fn came_back(pool: &Pool, since: Instant) -> (Option<Arc<Upstream>>, Option<Instant>) {
    let (members, now) = (pool.members(), Instant::now());
    let mut later: Option<Instant> = None;
    for upstream in members.iter() {
        let look = upstream.health.look();
        let permit = if look.evicted_by_traffic() { upstream.health.permit_at(look) } else { None };
        match permit {
            Some(at) if at > now => later = Some(later.map_or(at, |later| later.min(at))),
            Some(_) => return (Some(Arc::clone(upstream)), None),
            None if upstream.health.ready_anew(since) => return (Some(Arc::clone(upstream)), None),
            None => {}
        }
    }
    (None, later)
}

/// The drain is nearly over: who waits is told so, and not cut.
fn shutting_down(reason: Reason) -> Stop {
    Stop { reason, failure: Some(Failure::new(Cause::ShuttingDown)) }
}

/// The end of a wait of this length; not beyond that of the whole exchange.
fn until(setting: &Setting<'_>, wait: Duration) -> tokio::time::Instant {
    let until = tokio::time::Instant::now() + wait;
    setting.end.map_or(until, |end| end.at.min(until))
}

/// The end of the whole exchange has come while it waited.
fn overdue(setting: &Setting<'_>) -> Option<Stop> {
    let end = setting.end.filter(Deadline::over)?;
    Some(Stop { reason: Reason::Deadline, failure: Some(end.failure(cause::Phase::Queue, false)) })
}

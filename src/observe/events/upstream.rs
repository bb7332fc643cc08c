//! Events about upstreams: what checks, traffic, the resolver and the operator have found or said, and how the pool
//! stands after it. A change of state is told and counted by the same function.

use std::borrow::Cow;
use std::fmt::Display;
use std::path::Path;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use crate::cause::{Cause, Failure, escape, spoken};
use crate::config::model::Pool;
use crate::config::problem::ascii;
use crate::health::idle_age::Learnt;
use crate::health::{By, State};
use crate::observe::json::whole_millis;
use crate::observe::metrics::Meter;

use super::throttle::Throttle;
use super::{count, listed, more, setting};

/// The upstream that something has happened to: what is told of it is counted here, and nowhere else.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Its pool's name.
    pub pool: &'a str,
    /// Its id.
    pub upstream: &'a str,
    /// Its counters.
    pub meter: &'a Meter,
}

/// How a pool stands after a change.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Upstreams that are ready.
    pub usable: usize,
    /// Upstreams.
    pub total: usize,
    /// `when_all_evicted = "try"`.
    pub last_resort: bool,
    /// `wait`; zero: off.
    pub wait: Duration,
    /// `slow_start`; zero: off.
    pub slow_start: Duration,
}

impl Standing {
    /// Of a pool of which so many are ready.
    #[must_use]
    pub const fn of(pool: &Pool, usable: usize, total: usize) -> Self {
        Self { usable, total, last_resort: pool.last_resort, wait: pool.wait, slow_start: pool.slow_start }
    }

    /// `2 of 3 upstreams left.`, and of the last one what follows.
    fn left(&self) -> String {
        let left = format!("{} of {} left", self.usable, count(self.total, "upstream"));
        match (self.usable, self.last_resort) {
            (1.., _) => format!("{left}."),
            (0, true) => format!("{left}: evicted ones are tried as a last resort."),
            (0, false) if self.wait.is_zero() => format!("{left}: requests fail at once."),
            (0, false) => format!("{left}: requests wait for one, {} at the most.", setting(self.wait)),
        }
    }

    /// `3 of 3 upstreams, slow start 10 s.`; one alone takes all there is at once.
    fn back(&self) -> String {
        let of = format!("{} of {}", self.usable, count(self.total, "upstream"));
        if self.slow_start.is_zero() || self.total < 2 {
            format!("{of}.")
        } else {
            format!("{of}, slow start {}.", setting(self.slow_start))
        }
    }
}

/// An upstream (`host:port`) sent bytes behind the end of its answer, or unasked: nobody gets them. One line in ten
/// seconds for each upstream.
pub fn unasked_bytes(upstream: &str, seen: &[u8], now: Instant) {
    static THROTTLE: Throttle<String> = Throttle::new(Duration::from_secs(10), 64);
    if let Some(held) = THROTTLE.pass(now, |name| name == upstream, || upstream.to_owned()) {
        let (seen, more) = (escape(seen), more(held));
        warn!(
            event = "unasked_bytes",
            upstream,
            seen,
            "{upstream} sent bytes that belong to no answer ({seen}): the connection was dropped, so that no client gets \
             them. The app's Content-Length may be too small, or it answers HEAD, 204 or 304 with a body{more}"
        );
    }
}

/// It is known at what age an upstream closes idle connections. `idle`: `connections.idle`; `None` where the upstream
/// itself has announced another time.
pub fn upstream_idle_learnt(pool: &str, upstream: &str, learnt: Learnt, idle: Option<Duration>) {
    let Learnt { age, keeps } = learnt;
    let than = match idle {
        Some(idle) if age < idle => format!("sooner than connections.idle ({})", setting(idle).replace(' ', "")),
        Some(idle) => format!("hardly later than connections.idle ({})", setting(idle).replace(' ', "")),
        None => "sooner than its Keep-Alive field says".to_owned(),
    };
    // Seen to a millisecond, and no clock of an app is set to one.
    let about = |time| spoken(Duration::from_millis(whole_millis(time) / 10 * 10)).replace(".0 ms", " ms");
    let (closes_ms, keeps_ms, age, keeps) = (whole_millis(age), whole_millis(keeps), about(age), about(keeps));
    info!(
        event = "upstream_idle_learnt",
        pool,
        upstream,
        closes_ms,
        keeps_ms,
        "{pool}/{upstream} closes idle connections after {age}, {than}: causeway now keeps them for {keeps}."
    );
}

/// An upstream's first check passed. `how`: `TCP connect in 0.2 ms`.
pub fn upstream_ready(member: Member<'_>, how: &str) {
    let Member { pool, upstream, meter } = member;
    meter.changed(State::Ready);
    info!(event = "upstream_ready", pool, upstream, by = "check", "{pool}/{upstream} ready: {how}");
}

/// One check failed; most of the time that changes nothing yet.
pub fn check_failed(pool: &str, upstream: &str, failure: &Failure) {
    let cause = failure.cause.token();
    debug!(event = "check_failed", pool, upstream, cause, "{pool}/{upstream}: check failed: {failure}");
}

/// A check that failed, as [`upstream_evicted`] tells of it.
#[derive(Clone, Copy, Debug)]
pub struct Check<'a> {
    /// Why.
    pub failure: &'a Failure,
    /// What it says to people: `GET /healthz gives 503, wanted 200-399`;
    /// `connection_refused. Nothing listens there. …`.
    pub said: &'a str,
    /// It only opens a connection, as any request does.
    pub tcp: bool,
}

/// Checks took an upstream out. A first check needs no row of failures, and gets the hint.
pub fn upstream_evicted(member: Member<'_>, check: Check<'_>, in_a_row: u32, standing: Standing) {
    let Check { failure, said, tcp } = check;
    let cause = failure.cause;
    let lead = if tcp { "" } else { "health check: " };
    let why = match (cause, in_a_row) {
        (Cause::HealthStatus | Cause::HealthBody, 2..) => format!("health check {said}, {in_a_row} in a row."),
        (Cause::HealthStatus | Cause::HealthBody, _) => format!("health check {said}."),
        (_, 2..) => format!("{lead}{cause}, {in_a_row} in a row."),
        _ => format!("{lead}{said}"),
    };
    let why = if in_a_row > 1 { format!("{why} {}", standing.left()) } else { why };
    evicted(member, By::Checks, cause, &standing, why.trim_end());
}

/// Attempts of requests took an upstream out. `said`: of the last one, `it answered 503 to a request`.
pub fn upstream_evicted_by_traffic(
    member: Member<'_>,
    (cause, said): (Cause, Option<&str>),
    in_a_row: u32,
    standing: Standing,
) {
    let answer = said.filter(|_| cause == Cause::HealthStatus);
    let status = answer.and_then(|said| said.strip_prefix("it answered ")?.split(' ').next());
    let why = match (answer, status) {
        (Some(said), _) if in_a_row < 2 => said.to_owned(),
        (_, Some(status)) => format!("it answers {status} to requests"),
        _ if cause == Cause::HealthStatus => "it answers requests with 502, 503 or 504".to_owned(),
        _ => cause.to_string(),
    };
    let row = if in_a_row > 1 { format!(", {in_a_row} in a row") } else { String::new() };
    evicted(member, By::Traffic, cause, &standing, &format!("{why}{row}. {}", standing.left()));
}

fn evicted(member: Member<'_>, by: By, cause: Cause, standing: &Standing, why: &str) {
    let Member { pool, upstream, meter } = member;
    meter.changed(State::Evicted);
    meter.evicted(by);
    let (by, cause, usable, total) = (by.token(), cause.token(), standing.usable, standing.total);
    warn!(event = "upstream_evicted", pool, upstream, by, cause, usable, total, "{pool}/{upstream} evicted: {why}");
}

/// A closer look has found what explains a failure of this upstream:
/// `nothing listens there, but localhost:3000 answers HTTP …`.
pub fn upstream_diagnosed(pool: &str, upstream: &str, cause: Cause, found: &str) {
    let row = cause.row();
    // What was seen and which limit was met is told where it happened.
    let matter = match row.short {
        short if short.contains('{') => {
            Cow::Owned(row.means.replace("the upstream's", "its").replace("the upstream", "it"))
        }
        short => Cow::Borrowed(short),
    };
    let (cause, join) = (row.token, if found.starts_with("But ") { ", but " } else { ". " });
    let found = found.strip_prefix("But ").unwrap_or(found);
    warn!(event = "upstream_diagnosed", pool, upstream, cause, "{pool}/{upstream}: {matter}{join}{found}");
}

/// Checks brought an upstream back.
pub fn upstream_back(member: Member<'_>, passed: u32, away: Duration, standing: Standing) {
    back(member, By::Checks, away, &standing, &format!("{} passed", count(passed as usize, "check")));
}

/// A request that was let through brought an upstream back.
pub fn upstream_back_by_traffic(member: Member<'_>, away: Duration, standing: Standing) {
    back(member, By::Traffic, away, &standing, "a request succeeded");
}

fn back(member: Member<'_>, by: By, away: Duration, standing: &Standing, why: &str) {
    let Member { pool, upstream, meter } = member;
    meter.changed(State::Ready);
    let (by, away_ms) = (by.token(), whole_millis(away));
    let (usable, total, away, of) = (standing.usable, standing.total, spoken(away), standing.back());
    info!(
        event = "upstream_back",
        pool, upstream, by, usable, total, away_ms, "{pool}/{upstream} is back after {away}: {why}. {of}"
    );
}

/// The operator has switched an upstream.
pub fn upstream_switched(member: Member<'_>, from: State, to: State) {
    let Member { pool, upstream, meter } = member;
    meter.changed(to);
    let (from, to) = (from.token(), to.token());
    info!(
        event = "upstream_switched",
        pool,
        upstream,
        by = "operator",
        from,
        to,
        "{pool}/{upstream} is {to} by the operator's word, was {from}"
    );
}

/// A name has other addresses than before.
pub fn addresses_changed(pool: &str, name: &str, came: &[impl Display], went: &[impl Display]) {
    let news = news(came, went);
    let (came, went) = (listed(came), listed(went));
    info!(event = "addresses_changed", pool, name, came, went, "{pool}/{name} has other addresses: {news}");
}

/// The list of `upstreams_file` has changed, and the new one, of so many targets, is in force. `after`: for so long it
/// could not be used.
pub fn upstreams_file_taken(
    pool: &str,
    (path, targets): (&Path, usize),
    came: &[impl Display],
    went: &[impl Display],
    after: Option<Duration>,
) {
    let news = match (came, went, after) {
        ([], [], Some(_)) => format!("{}, none other than before", count(targets, "target")),
        _ => news(came, went),
    };
    let (came, went, path) = (listed(came), listed(went), ascii(&path.display().to_string()));
    let (after_ms, how) =
        (after.map(whole_millis), after.map(|after| format!("can be used again after {}", spoken(after))));
    let how = how.unwrap_or_else(|| "has another list".to_owned());
    info!(
        event = "upstreams_file_taken",
        pool, path, targets, came, went, after_ms, "{pool}: upstreams_file {path} {how}: {news}"
    );
}

/// The list of `upstreams_file` cannot be used, for this reason; so many targets of the last good one stay in use.
pub fn upstreams_file_refused(pool: &str, path: &Path, why: &str, kept: Option<usize>) {
    let (path, why) = (ascii(&path.display().to_string()), ascii(why));
    let stays = list_stays(kept);
    warn!(event = "upstreams_file_refused", pool, path, why, "{pool}: upstreams_file {path}: {why}; {stays}");
}

/// So many targets of the last good list stay in use; `None`: there never was a list.
#[must_use]
pub fn list_stays(kept: Option<usize>) -> String {
    match kept {
        Some(targets) => format!("the last good list stays in use, with {}", count(targets, "target")),
        None => "the pool has no upstream of it".to_owned(),
    }
}

/// A name could not be resolved; so many addresses that were known of it stay in use.
pub fn name_not_resolved(pool: &str, name: &str, failure: &Failure, kept: usize) {
    let (cause, hint, stays) = (failure.cause.token(), failure.hint(name), addresses_stay(kept));
    warn!(event = "name_not_resolved", pool, name, cause, kept, "{pool}/{name}: {cause}. {hint}{stays}");
}

/// A sentence behind others: so many addresses that were known stay in use.
#[must_use]
pub fn addresses_stay(kept: usize) -> String {
    match kept {
        0 => String::new(),
        1 => " Its last address stays in use.".to_owned(),
        many => format!(" Its last {many} addresses stay in use."),
    }
}

/// A name that could not be resolved for so long has addresses again.
pub fn name_resolved(pool: &str, name: &str, after: Duration, came: &[impl Display], went: &[impl Display]) {
    let news = if came.is_empty() && went.is_empty() { "the same addresses".to_owned() } else { news(came, went) };
    let (came, went, after_ms, after) = (listed(came), listed(went), whole_millis(after), spoken(after));
    info!(
        event = "name_resolved",
        pool, name, came, went, after_ms, "{pool}/{name} resolves, after {after} without an answer: {news}"
    );
}

/// `new 10.0.0.3; gone 10.0.0.1`, as far as there is any.
fn news(came: &[impl Display], went: &[impl Display]) -> String {
    match (came, went) {
        ([], []) => "the same upstreams, said in another way".to_owned(),
        (came, []) => format!("new {}", listed(came)),
        ([], went) => format!("gone {}", listed(went)),
        (came, went) => format!("new {}; gone {}", listed(came), listed(went)),
    }
}

//! Facts in, short lines out: what a newcomer reads while the demo runs. Pure; time is an argument.

use std::time::Duration;

use crate::cause::{Cause, escape, spoken};
use crate::health::{State, Transition};
use crate::observe::exchange::{Attempt, NotTried, Reason};
use crate::observe::{Exchange, Outcome};

use super::setup::{APP, APP_POOL, DOWN_POOL};

/// Longest line.
const WIDTH: usize = 80;
/// Where a detail begins: under a line's text.
const INDENT: &str = "         ";
/// The longest target that is told whole.
const TARGET: usize = 40;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    /// The script did something: trouble begins, or it ends.
    Said { words: String, trouble: bool },
    /// An exchange is over.
    Seen(Box<Seen>),
    /// An upstream of a pool changed its state.
    Turned { pool: String, upstream: String, to: State, cause: Option<Cause>, in_a_row: u32 },
}

/// An exchange, as far as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pool: String,
    asked: String,
    status: u16,
    elapsed: Duration,
    rescued: bool,
    tries: Vec<Try>,
    not_tried: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Try {
    upstream: String,
    result: Result<u16, Cause>,
    sent: bool,
    elapsed: Duration,
}

impl Fact {
    /// What is told of an exchange.
    pub(super) fn of_exchange(exchange: &Exchange) -> Self {
        let target = exchange.uri.path_and_query().map_or("*", |target| target.as_str());
        let target = if target.len() > TARGET { &target[..target.floor_char_boundary(TARGET)] } else { target };
        Self::Seen(Box::new(Seen {
            pool: exchange.pool.as_deref().unwrap_or_default().to_owned(),
            asked: escape(format!("{} {target}", exchange.method).as_bytes()),
            status: exchange.status,
            elapsed: exchange.elapsed,
            rescued: exchange.rescued(),
            tries: exchange.attempts.iter().map(Try::of).collect(),
            not_tried: exchange.not_tried.iter().map(|it| (it.upstream.to_string(), why_not(it))).collect(),
        }))
    }

    /// What is told of a transition.
    pub(super) fn of_transition(pool: &str, upstream: &str, transition: &Transition) -> Self {
        Self::Turned {
            pool: pool.to_owned(),
            upstream: upstream.to_owned(),
            to: transition.to,
            cause: transition.cause,
            in_a_row: transition.in_a_row,
        }
    }
}

impl Try {
    fn of(attempt: &Attempt) -> Self {
        let (result, sent) = match &attempt.outcome {
            Outcome::Answered(status) => (Ok(*status), true),
            Outcome::Failed(failure) => (Err(failure.cause), failure.sent),
        };
        Self { upstream: attempt.upstream.to_string(), result, sent, elapsed: attempt.elapsed }
    }

    /// `nothing listens there`
    fn explained(&self, cause: Cause) -> String {
        match cause {
            Cause::ConnectionRefused => "nothing listens there".to_owned(),
            Cause::ReadTimeout => format!("took the request, silent for {}", spoken(self.elapsed)),
            _ => cause.row().means.to_owned(),
        }
    }
}

/// `evicted: GET /healthz gives 503`; what was wanted in its place is in the answer itself.
fn why_not(it: &NotTried) -> String {
    match (&it.reason, &it.last_failure) {
        (Reason::Evicted, Some((_, why))) => format!("evicted: {}", why.split(", wanted").next().unwrap_or(why)),
        (reason, _) => reason.token().to_owned(),
    }
}

/// Remembers as much as it takes not to say everything.
#[derive(Debug)]
pub(super) struct Narrator {
    port: u16,
    /// By place in [`APP`].
    ready: [bool; 3],
    /// All three have been ready.
    opened: bool,
    /// A rescue of the trouble at hand was told.
    told: bool,
    since: Counts,
    rescued: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    requests: u64,
    rescued: u64,
    failed: u64,
}

impl Narrator {
    /// At the beginning; `port` is for the commands it tells.
    pub(super) fn new(port: u16) -> Self {
        Self { port, ready: [false; 3], opened: false, told: false, since: Counts::default(), rescued: 0 }
    }

    /// Requests that got their answer from another upstream than the first.
    pub(super) const fn rescued(&self) -> u64 {
        self.rescued
    }

    /// The lines for a fact, often none.
    pub(super) fn tell(&mut self, fact: &Fact, at: Duration) -> Vec<String> {
        let at = at.as_secs();
        let clock = format!("{:>2}:{:02}", at / 60, at % 60);
        match fact {
            Fact::Said { words, trouble } => {
                if *trouble {
                    self.told = false;
                    self.since = Counts::default();
                }
                wrapped(&format!("{clock}  "), words)
            }
            Fact::Turned { pool, upstream, to, cause, in_a_row } if pool == APP_POOL => {
                self.turned(&clock, upstream, *to, *cause, *in_a_row)
            }
            Fact::Turned { .. } => Vec::new(),
            Fact::Seen(seen) if seen.pool == DOWN_POOL => self.all_down(&clock, seen),
            Fact::Seen(seen) => self.seen(&clock, seen),
        }
    }

    fn turned(&mut self, clock: &str, who: &str, to: State, cause: Option<Cause>, in_a_row: u32) -> Vec<String> {
        let Some(place) = APP.iter().position(|name| *name == who) else { return Vec::new() };
        self.ready[place] = to == State::Ready;
        let count = self.ready.iter().filter(|ready| **ready).count();
        if !self.opened {
            if count < APP.len() {
                return Vec::new();
            }
            self.opened = true;
            return vec![format!("{clock}  one, two and three are ready.")];
        }
        let prefix = format!("{clock}  ");
        match to {
            State::Evicted => {
                let cause = cause.map_or("its checks fail", Cause::token);
                wrapped(&prefix, &format!("{who} evicted: {cause}, {in_a_row} in a row. {count} of 3 upstreams left."))
            }
            State::Ready => {
                let Counts { requests, rescued, failed } = self.since;
                let mut lines =
                    wrapped(&prefix, &format!("{who} is back: {in_a_row} checks passed. {count} of 3 upstreams."));
                if requests > 0 {
                    lines.push(format!("{INDENT}{requests} requests meanwhile: {rescued} rescued, {failed} failed."));
                }
                lines
            }
            State::Unknown | State::Draining | State::Disabled => Vec::new(),
        }
    }

    fn seen(&mut self, clock: &str, seen: &Seen) -> Vec<String> {
        self.since.requests += 1;
        let failed = seen.status >= 500 && seen.tries.iter().all(|it| it.result.is_err());
        if seen.rescued {
            self.rescued += 1;
            self.since.rescued += 1;
        } else if failed {
            self.since.failed += 1;
        } else {
            return Vec::new();
        }
        if std::mem::replace(&mut self.told, true) && !failed {
            return Vec::new();
        }
        let mut words = seen.asked.clone();
        for (number, it) in seen.tries.iter().enumerate() {
            let Try { upstream, result, sent, .. } = it;
            words.push_str(&match result {
                Ok(status) => format!(". {upstream} answered {status}"),
                Err(cause) => {
                    let joint = if number == 0 { " on" } else { "; on" };
                    format!("{joint} {upstream}: {cause}, {}", if *sent { "request sent" } else { "nothing sent" })
                }
            });
        }
        words.push('.');
        let mut lines = wrapped(&format!("{clock}    "), &words);
        let result = if seen.rescued { "Rescued: the client" } else { "Not rescued: the client" };
        lines.push(format!("{INDENT}{result} saw {} after {}.", seen.status, spoken(seen.elapsed)));
        lines
    }

    fn all_down(&self, clock: &str, seen: &Seen) -> Vec<String> {
        let after = spoken(seen.elapsed);
        let words = format!("{} (pool {}): the client saw {} after {after}.", seen.asked, seen.pool, seen.status);
        let mut lines = wrapped(&format!("{clock}  "), &words);
        let mut row = |who: &str, what: &str, why: &str| lines.push(cut(format!("{INDENT}{who:<7} {what:<20} {why}")));
        for it in &seen.tries {
            match it.result {
                Ok(status) => row(&it.upstream, "answered", &status.to_string()),
                Err(cause) => row(&it.upstream, cause.token(), &it.explained(cause)),
            }
        }
        for (who, why) in &seen.not_tried {
            row(who, "not tried", why);
        }
        lines.push(format!("{INDENT}Next: curl -H 'Accept: text/plain' localhost:{}/all-down", self.port));
        lines
    }
}

fn cut(mut line: String) -> String {
    line.truncate(line.floor_char_boundary(WIDTH));
    line
}

/// Words after a prefix, on as many lines as they need.
fn wrapped(prefix: &str, words: &str) -> Vec<String> {
    let mut lines = vec![prefix.to_owned()];
    let mut fresh = true;
    for word in words.split(' ') {
        let last = lines.last_mut().map_or(0, |line| line.len());
        if !fresh && last + 1 + word.len() > WIDTH {
            lines.push(INDENT.to_owned());
            fresh = true;
        }
        if let Some(line) = lines.last_mut() {
            if !fresh {
                line.push(' ');
            }
            line.push_str(word);
            fresh = false;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turned(upstream: &str, to: State, cause: Option<Cause>, in_a_row: u32) -> Fact {
        Fact::Turned { pool: "app".into(), upstream: upstream.into(), to, cause, in_a_row }
    }

    fn tried(upstream: &str, result: Result<u16, Cause>, sent: bool, micros: u64) -> Try {
        Try { upstream: upstream.into(), result, sent, elapsed: Duration::from_micros(micros) }
    }

    fn seen(pool: &str, asked: &str, status: u16, micros: u64, tries: Vec<Try>) -> Seen {
        let rescued = tries.len() > 1 && tries.last().is_some_and(|it| it.result.is_ok());
        let (pool, asked, elapsed) = (pool.into(), asked.into(), Duration::from_micros(micros));
        Seen { pool, asked, status, elapsed, rescued, tries, not_tried: Vec::new() }
    }

    fn told(facts: &[(u64, Fact)]) -> String {
        let mut narrator = Narrator::new(8080);
        let lines: Vec<String> =
            facts.iter().flat_map(|(at, fact)| narrator.tell(fact, Duration::from_secs(*at))).collect();
        assert!(lines.iter().all(|line| line.len() <= WIDTH && line.is_ascii()), "{lines:#?}");
        lines.join("\n")
    }

    #[test]
    fn one_trouble_from_its_beginning_to_its_end() {
        let rescue = Fact::Seen(Box::new(seen(
            "app",
            "GET /",
            200,
            1200,
            vec![tried("two", Err(Cause::ConnectionRefused), false, 300), tried("three", Ok(200), true, 800)],
        )));
        let plain = Fact::Seen(Box::new(seen("app", "GET /", 200, 900, vec![tried("one", Ok(200), true, 800)])));
        let facts = [
            (0, turned("one", State::Ready, None, 1)),
            (0, turned("three", State::Ready, None, 1)),
            (0, turned("two", State::Ready, None, 1)),
            (5, Fact::Said { words: "two is stopped, on purpose.".into(), trouble: true }),
            (5, rescue.clone()),
            (5, rescue),
            (6, turned("two", State::Evicted, Some(Cause::ConnectionRefused), 3)),
            (9, plain),
            (20, Fact::Said { words: "two is started again.".into(), trouble: false }),
            (84, turned("two", State::Ready, None, 2)),
        ];
        let wanted = [
            " 0:00  one, two and three are ready.",
            " 0:05  two is stopped, on purpose.",
            " 0:05    GET / on two: connection_refused, nothing sent. three answered 200.",
            "         Rescued: the client saw 200 after 1.2 ms.",
            " 0:06  two evicted: connection_refused, 3 in a row. 2 of 3 upstreams left.",
            " 0:20  two is started again.",
            " 1:24  two is back: 2 checks passed. 3 of 3 upstreams.",
            "         3 requests meanwhile: 2 rescued, 0 failed.",
        ];
        assert_eq!(told(&facts), wanted.join("\n"));
    }

    #[test]
    fn all_down_has_a_row_for_every_upstream() {
        let mut down = seen(
            "down",
            "GET /all-down",
            502,
            1_001_000,
            vec![
                tried("gone", Err(Cause::ConnectionRefused), false, 300),
                tried("silent", Err(Cause::ReadTimeout), true, 1_000_600),
            ],
        );
        down.not_tried.push(("sick".into(), "evicted: GET /healthz gives 503".into()));
        let wanted = [
            " 0:31  GET /all-down (pool down): the client saw 502 after 1.0 s.",
            "         gone    connection_refused   nothing listens there",
            "         silent  read_timeout         took the request, silent for 1.0 s",
            "         sick    not tried            evicted: GET /healthz gives 503",
            "         Next: curl -H 'Accept: text/plain' localhost:8080/all-down",
        ];
        assert_eq!(told(&[(31, Fact::Seen(Box::new(down)))]), wanted.join("\n"));
    }

    #[test]
    fn a_long_line_goes_on_in_the_next() {
        let tries = vec![tried("two", Err(Cause::ClosedWithoutResponse), true, 1), tried("three", Ok(200), true, 1)];
        let text = told(&[(0, Fact::Seen(Box::new(seen("app", "GET /orders?page=2", 200, 1, tries))))]);
        assert_eq!(text.lines().count(), 3, "{text}");
    }

    #[test]
    fn a_lost_request_is_always_told() {
        let lost = || {
            Fact::Seen(Box::new(seen("app", "POST /", 502, 1, vec![tried("two", Err(Cause::ReadTimeout), true, 1)])))
        };
        let text = told(&[(0, lost()), (0, lost())]);
        assert_eq!(text.matches("Not rescued: the client saw 502").count(), 2, "{text}");
    }

    #[test]
    fn an_apps_own_error_is_no_failure_of_ours() {
        let fact = Fact::Seen(Box::new(seen("app", "GET /", 503, 1, vec![tried("one", Ok(503), true, 1)])));
        assert_eq!(told(&[(0, fact)]), "");
    }
}

//! Rows that say the same, together: a page about a hundred upstreams is read by nobody. JSON names each by itself.

use std::time::Duration;

use crate::cause::Failure;
use crate::observe::{Attempt, NotTried};

use super::words::{Kind, Row};

/// So many rows stand each for itself.
const APART: usize = 8;
/// So many of a group are named; the rest is counted.
const NAMED: usize = 100;

/// Rows that differ in the upstream alone.
pub(super) struct Group<'r, 'a> {
    /// The one that speaks for all.
    pub(super) first: &'r Row<'a>,
    /// The others, in order.
    pub(super) others: Vec<&'r Row<'a>>,
}

impl Group<'_, '_> {
    /// The names of the others, at most a hundred, and how many are left out.
    pub(super) fn named(&self) -> (Vec<&str>, usize) {
        let names = self.others.iter().take(NAMED).map(|row| &*row.upstream).collect();
        (names, self.others.len().saturating_sub(NAMED))
    }

    /// The longest time that one of them took; `None`: they were not tried.
    pub(super) fn slowest(&self) -> Option<Duration> {
        std::iter::once(&self.first).chain(&self.others).filter_map(|row| elapsed(row)).max()
    }
}

/// In the order of their first rows. `full`: told apart by all that a row says of its kind, else by its one word.
pub(super) fn groups<'r, 'a>(rows: &'r [Row<'a>], full: bool) -> Vec<Group<'r, 'a>> {
    let alike = |one: &Row<'_>, other: &Row<'_>| match full {
        true => alike(&one.kind, &other.kind),
        false => one.kind.word() == other.kind.word(),
    };
    let mut groups: Vec<Group<'_, '_>> = Vec::new();
    for row in rows {
        let same = groups.iter_mut().find(|group| rows.len() > APART && alike(group.first, row));
        match same {
            Some(group) => group.others.push(row),
            None => groups.push(Group { first: row, others: Vec::new() }),
        }
    }
    groups
}

fn elapsed(row: &Row<'_>) -> Option<Duration> {
    match row.kind {
        Kind::Failed(attempt, _) => Some(attempt.elapsed),
        Kind::NotTried(_) => None,
    }
}

/// There are few answers to this, whatever the size of the pool: what exactly was seen is not asked.
fn alike(one: &Kind<'_>, other: &Kind<'_>) -> bool {
    match (one, other) {
        (Kind::Failed(one, said), Kind::Failed(other, also)) => {
            let facts = |failure: &Failure| (failure.cause, failure.phase, failure.sent);
            let how = |attempt: &Attempt| (attempt.last_resort, attempt.finding.is_some());
            facts(said) == facts(also) && how(one) == how(other)
        }
        (Kind::NotTried(one), Kind::NotTried(other)) => {
            let trouble = |skip: &NotTried| skip.trouble().map(|(cause, _)| *cause);
            let facts = |skip: &NotTried| (skip.reason, skip.state, skip.by_traffic, skip.finding.is_some());
            facts(one) == facts(other) && trouble(one) == trouble(other)
        }
        _ => false,
    }
}

//! The table: what every client says, alone and with a request behind it, in one piece, byte by byte, and cut in two at
//! every place.

use std::collections::HashSet;

use super::compare::subject::Subject;
use super::compare::{Case, End, Observed, Reads, check, one_thread, oracle, rule, short, unsplit};
use super::table::{self, Row, Verdict};

/// Longer streams are cut near both ends, and in so many places between.
const CUT_EVERYWHERE: usize = 150;
const CUT_ELSEWHERE: usize = 8;
/// A request that must be seen behind what is kept, and only there.
const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n";

impl Row {
    fn case(&self, reads: Reads) -> Case<'_> {
        Case { stream: &self.stream, cuts: &[], reads, hurries: false }
    }

    /// Not where the row before says the same so far.
    fn cuts(&self, before: &[u8]) -> impl Iterator<Item = usize> {
        let length = self.stream.len();
        let same = self.stream.iter().zip(before).take_while(|(one, other)| one == other).count();
        let (ends, step) = if length < 20 << 10 { (12, length / CUT_ELSEWHERE) } else { (1, length / 5) };
        let everywhere = length <= CUT_EVERYWHERE;
        (same.max(1)..length).filter(move |at| everywhere || *at < ends || *at > length - ends || at % step.max(1) == 0)
    }
}

fn verdict(observed: &Observed) -> Verdict {
    match (&observed.end, observed.requests.last()) {
        (End::Refused(_), _) => Verdict::Refused,
        (End::Open, None) => Verdict::Waits,
        (End::Open, Some(last)) if last.cut.is_some() => Verdict::Waits,
        (End::Closed, Some(last)) if last.cut.is_some() => Verdict::Cut,
        (End::Open, Some(_)) => Verdict::Kept,
        (End::Closed, _) => Verdict::Once,
    }
}

#[test]
fn no_row_stands_twice() {
    let (mut names, mut streams) = (HashSet::new(), HashSet::new());
    for row in table::rows() {
        assert!(names.insert(row.name), "{}", row.name);
        assert!(streams.insert(row.stream), "{} says what another row says", row.name);
    }
}

#[test]
fn every_row_has_its_verdict() {
    one_thread().block_on(async {
        let subject = Subject::start();
        let mut wrong = Vec::new();
        for row in table::rows() {
            let found = verdict(&subject.observe(&row.case(Reads::Whole)).await);
            if found != row.verdict {
                wrong.push(format!("{}: {found:?}, not {:?}", row.name, row.verdict));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    });
}

#[test]
fn no_request_is_taken_more_loosely_than_by_hyper() {
    one_thread().block_on(async {
        let subject = Subject::start();
        let (mut wrong, mut used) = (Vec::new(), HashSet::new());
        for row in table::rows() {
            let behind = [&row.stream[..], NEXT].concat();
            for stream in [&row.stream, &behind] {
                for reads in [Reads::Whole, Reads::Nothing] {
                    for hurries in [false, true] {
                        match check(&Case { stream, cuts: &[], reads, hurries }, &subject).await {
                            Ok(names) => used.extend(names),
                            Err(words) => wrong.push(format!("{}: {words}", row.name)),
                        }
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{} in all, of them:\n{}", wrong.len(), wrong[..wrong.len().min(9)].join("\n"));
        let dead: Vec<_> = rule::ALLOWED.iter().map(|a| a.name).filter(|name| !used.contains(name)).collect();
        assert!(dead.is_empty(), "no row needs these allowances: {dead:?}");
    });
}

#[test]
fn what_is_kept_takes_the_next_request_and_nothing_else_does() {
    one_thread().block_on(async {
        let subject = Subject::start();
        for row in table::rows() {
            let behind = [&row.stream[..], NEXT].concat();
            let seen = subject.observe(&Case { stream: &behind, ..row.case(Reads::Whole) }).await;
            let next = seen.requests.last().is_some_and(|last| last.target == "/next" && last.cut.is_none());
            // What waits takes it for its own, or for a part of it.
            let wrong = row.verdict != Verdict::Waits && next != (row.verdict == Verdict::Kept);
            assert!(!wrong, "{}: {}", row.name, short(&seen));
        }
    });
}

#[test]
fn splits_change_nothing() {
    one_thread().block_on(async {
        let subject = Subject::start();
        let mut before = Vec::new();
        for row in table::rows() {
            let cuts: Vec<_> = row.cuts(&before).collect();
            let pieces: Vec<_> = (1..row.stream.len().min(4 * CUT_EVERYWHERE)).collect();
            for hurries in [false, true] {
                let whole = Case { hurries, ..row.case(Reads::Whole) };
                let codec = subject.observe(&whole).await;
                let same = unsplit(&Case { cuts: &pieces, ..whole }, &codec, &subject).await;
                assert!(same.is_ok(), "{}: {}", row.name, same.unwrap_err());
                for at in cuts.iter().filter(|at| hurries == (**at % 2 == 0)) {
                    let same = unsplit(&Case { cuts: &[*at], ..whole }, &codec, &subject).await;
                    assert!(same.is_ok(), "{}: {}", row.name, same.unwrap_err());
                }
            }
            before = row.stream;
        }
    });
}

/// The test itself: pieces are read one by one.
#[test]
fn a_split_is_seen() {
    one_thread().block_on(async {
        let subject = Subject::start();
        let stream = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab";
        let at = stream.len() - 2;
        for (cuts, interim) in [(&[][..], false), (&[at], true)] {
            let case = Case { stream, cuts, reads: Reads::Whole, hurries: false };
            for told in [subject.observe(&case).await.written, oracle::observe(&case).await.written] {
                // hyper asks for what it has already.
                let seen = told.starts_with(b"HTTP/1.1 100 Continue\r\n\r\n");
                assert!(seen || !interim, "{cuts:?}: {}", told.escape_ascii());
            }
        }
    });
}

//! The table: every answer to every kind of request, in one piece, byte by byte, and cut in two at every place.

use std::collections::HashSet;

use super::compare::{Again, Case, End, Kind, Observed, Tail, oracle, rule, short, subject, timeless, unsplit};
use super::table::{self, Row, Verdict};

/// Longer answers are cut near both ends, and in so many places between.
const CUT_EVERYWHERE: usize = 700;
const CUT_ELSEWHERE: usize = 30;

impl Row {
    fn case(&self, kind: Kind, tail: Tail) -> Case<'_> {
        Case { kind, answer: &self.answer, cuts: &[], pauses: false, early: self.early, tail }
    }

    fn cuts(&self) -> impl Iterator<Item = usize> {
        let length = self.answer.len();
        let (ends, step) = if length < 20 << 10 { (30, length / CUT_ELSEWHERE) } else { (1, length / 5) };
        let everywhere = length <= CUT_EVERYWHERE;
        (1..length).filter(move |at| everywhere || *at < ends || *at > length - ends || at % step == 0)
    }
}

fn verdict(observed: &Observed) -> Option<Verdict> {
    match observed {
        Observed::Refused(_) => Some(Verdict::Refused),
        Observed::Answered(answer) => match (&answer.end, &answer.again) {
            (End::Waits, _) => None,
            (End::Cut(_), _) => Some(Verdict::Cut),
            (End::Tunnel(_), _) => Some(Verdict::Tunnel),
            (End::Complete, Again::Answered) => Some(Verdict::Kept),
            (End::Complete, _) => Some(Verdict::Once),
        },
    }
}

#[test]
fn no_row_stands_twice() {
    let (mut names, mut answers) = (HashSet::new(), HashSet::new());
    for row in table::rows() {
        assert!(names.insert(row.name), "{}", row.name);
        assert!(answers.insert((row.early, row.answer)), "{} has the answer of another row", row.name);
    }
}

#[test]
fn every_row_has_its_verdict() {
    let runtime = timeless();
    let mut wrong = Vec::new();
    for row in table::rows() {
        let open = runtime.block_on(subject::observe(&row.case(Kind::Get, Tail::Silence)));
        let closed = runtime.block_on(subject::observe(&row.case(Kind::Get, Tail::Eof)));
        let found = verdict(&open).or(verdict(&closed));
        if found != Some(row.verdict) {
            wrong.push(format!("{}: {found:?}, not {:?}", row.name, row.verdict));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_answer_is_taken_more_loosely_than_by_hyper() {
    let runtime = timeless();
    let (mut wrong, mut used) = (Vec::new(), HashSet::new());
    for row in table::rows() {
        for kind in Kind::ALL {
            for tail in [Tail::Silence, Tail::Eof, Tail::Reset] {
                let case = row.case(kind, tail);
                let hyper = runtime.block_on(oracle::observe(&case));
                let codec = runtime.block_on(subject::observe(&case));
                let in_one_piece = runtime.block_on(subject::observe_whole(&case));
                if verdict(&codec).is_some() && in_one_piece.settled() != codec.settled() {
                    let (whole, pieces) = (short(&in_one_piece), short(&codec));
                    wrong.push(format!("{}: {case}\n  in one piece: {whole}\n  in pieces: {pieces}", row.name));
                }
                match rule::judge(&case, &hyper, &codec) {
                    Ok(names) => used.extend(names),
                    Err(words) => wrong.push(format!("{}: {words}", row.name)),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} in all, of them:\n{}", wrong.len(), wrong[..wrong.len().min(9)].join("\n"));
    let dead: Vec<_> = rule::ALLOWED.iter().map(|a| a.name).filter(|name| !used.contains(name)).collect();
    assert!(dead.is_empty(), "no row needs these allowances: {dead:?}");
}

fn splits_change_nothing(kind: Kind) {
    let runtime = timeless();
    for row in table::rows() {
        let cuts: Vec<_> = row.cuts().collect();
        let mut whole = row.case(kind, Tail::Silence);
        for tail in [Tail::Silence, Tail::Eof] {
            whole.tail = tail;
            let codec = runtime.block_on(subject::observe(&whole));
            let check = |case: Case<'_>| {
                let same = runtime.block_on(unsplit(&case, &codec));
                assert!(same.is_ok(), "{}: {}", row.name, same.unwrap_err());
            };
            check(Case { cuts: &cuts, ..whole });
            check(Case { cuts: &cuts, pauses: !row.early, ..whole });
            // What ends by itself needs no end of the connection; for the rest, how it is cut matters with one only.
            let ends = !matches!(verdict(&codec), None | Some(Verdict::Refused));
            if ends || tail == Tail::Eof {
                for at in &cuts {
                    check(Case { cuts: &[*at], pauses: at % 2 == 0 && !row.early, ..whole });
                }
            }
            if ends {
                break;
            }
        }
    }
}

#[test]
fn splits_change_nothing_in_answers_to_get() {
    splits_change_nothing(Kind::Get);
}

#[test]
fn splits_change_nothing_in_answers_to_head() {
    splits_change_nothing(Kind::Head);
}

#[test]
fn splits_change_nothing_in_answers_to_post() {
    splits_change_nothing(Kind::Post);
}

#[test]
fn splits_change_nothing_in_answers_to_upgrade() {
    splits_change_nothing(Kind::Upgrade);
}

//! A case as bytes: two that say what is asked and how the answer comes, then the answer.

use crate::compare::{Case, Kind, Tail};
use crate::cuts::cuts;

const TAILS: [Tail; 4] = [Tail::Silence, Tail::Eof, Tail::Silence, Tail::Reset];
/// In the first byte, above two bits for the kind and two for the tail.
const PAUSES: u8 = 1 << 4;
const EARLY: u8 = 1 << 5;

/// The case, and where its answer is cut; the second byte decides that.
pub fn read(bytes: &[u8]) -> Option<(Case<'_>, Vec<usize>)> {
    let [manner, seed, answer @ ..] = bytes else { return None };
    let early = manner & EARLY != 0;
    let case = Case {
        kind: Kind::ALL[usize::from(manner & 3)],
        answer,
        cuts: &[],
        pauses: manner & PAUSES != 0 && !early,
        early,
        tail: TAILS[usize::from(manner >> 2 & 3)],
    };
    Some((case, cuts(*seed, answer.len())))
}

/// The bytes of an answer to each kind of request, in one manner each.
#[allow(dead_code)] // the fuzz target only reads
pub fn write(answer: &[u8], early: bool) -> impl Iterator<Item = Vec<u8>> {
    let early = if early { EARLY } else { 0 };
    (0..4).map(move |kind| [&[kind | kind << 2 | early, kind * 5][..], answer].concat())
}

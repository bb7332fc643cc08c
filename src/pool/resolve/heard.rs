//! What was heard of a name so far: which of its places are in use, and what an answer says that is news. Pure.
//!
//! What an answer does not have is gone, as a rule: a container that ended, an instance that leaves. But some name
//! servers tell only a part of a long list each time, another part with every answer. Where places come back again and
//! again that were missing in between, the name server is taken for one of those: then a place goes only when many
//! answers in a row are without it, and the list comes together instead of being turned over with each answer.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::SocketAddr;

use crate::cause::Cause;

use super::{Place, Why};

/// The most places that one name may bring into a pool.
pub(super) const MOST: usize = 1024;
/// From a name server that tells a part each time: a place goes when so many answers in a row are without it.
const MISSING: u64 = 30;
/// A name server is taken for one of those while its answers were such within so many.
const PARTIAL: u64 = 60;

#[derive(Debug, Default)]
pub(super) struct Heard {
    /// In use: sorted by address.
    used: Vec<Place>,
    /// Each place of the last answers, with the number of the answer that had it last.
    seen: HashMap<SocketAddr, (u64, Place)>,
    /// How many answers there were.
    answers: u64,
    /// The last answer with a place that had been missing.
    back: Option<u64>,
    /// Answers up to this one have only a part each.
    partial: u64,
    /// Why the last answer was none.
    failed: Option<Cause>,
}

/// What an answer says that was not known.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News<'a> {
    None,
    Addresses {
        came: Vec<String>,
        went: Vec<String>,
    },
    Failure(&'a Why),
    /// It had failed before: with what has changed since then.
    Recovery {
        came: Vec<String>,
        went: Vec<String>,
    },
}

impl Heard {
    /// With these in use already.
    pub(super) fn of(known: Vec<Place>) -> Self {
        let seen = known.iter().map(|place| (place.at, (0, place.clone()))).collect();
        let mut heard = Self { used: known, seen, ..Self::default() };
        heard.used.sort_unstable();
        heard
    }

    /// What is in use.
    pub(super) fn places(&self) -> &[Place] {
        &self.used
    }

    /// Takes an answer. The first addresses of a name are news only after a failure: else they are what was to be
    /// expected.
    pub(super) fn take<'a>(&mut self, answer: Result<&[Place], &'a Why>) -> News<'a> {
        match answer {
            Ok(places) => {
                let failed = self.failed.take().is_some();
                let expected = self.used.is_empty();
                let used = self.now_used(places);
                let old = std::mem::replace(&mut self.used, used);
                let (came, went) = (without(&self.used, &old), without(&old, &self.used));
                if failed {
                    return News::Recovery { came, went };
                }
                if expected || came.is_empty() && went.is_empty() {
                    return News::None;
                }
                News::Addresses { came, went }
            }
            Err(why) if self.failed == Some(why.0) => News::None,
            Err(why) => {
                self.failed = Some(why.0);
                News::Failure(why)
            }
        }
    }

    fn now_used(&mut self, places: &[Place]) -> Vec<Place> {
        self.answers += 1;
        let now = self.answers;
        let missing = |at: &SocketAddr| self.seen.get(at).is_some_and(|(last, _)| last + 1 < now);
        if places.iter().any(|place| missing(&place.at)) {
            if self.back.is_some_and(|back| back + MISSING >= now) {
                self.partial = now + PARTIAL;
            }
            self.back = Some(now);
        }
        self.seen.retain(|_, (last, _)| *last + MISSING >= now);
        for place in places.iter().take(MOST) {
            self.seen.insert(place.at, (now, place.clone()));
        }
        if self.seen.len() > 2 * MOST {
            self.seen.retain(|_, (last, _)| *last == now);
        }
        let oldest = if now <= self.partial { 0 } else { now };
        let mut used: Vec<_> = self.seen.values().filter(|(last, _)| *last >= oldest).cloned().collect();
        used.sort_unstable_by_key(|(last, place)| (Reverse(*last), place.at));
        used.truncate(MOST);
        let mut used: Vec<_> = used.into_iter().map(|(_, place)| place).collect();
        used.sort_unstable();
        used
    }
}

/// Those of the first that the others do not have: an IP address, or with its port where the IP has several.
fn without(all: &[Place], others: &[Place]) -> Vec<String> {
    let gone = all.iter().filter(|place| others.iter().all(|other| other.at != place.at));
    let shared = |at: &SocketAddr| all.iter().chain(others).any(|other| other.at.ip() == at.ip() && other.at != *at);
    gone.map(|Place { at, .. }| if shared(at) { at.to_string() } else { at.ip().to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(lasts: &[u8]) -> Vec<Place> {
        lasts.iter().map(|last| Place { at: ([10, 0, 0, *last], 80).into(), weight: None, backup: false }).collect()
    }

    fn text(lasts: &[u8]) -> Vec<String> {
        lasts.iter().map(|last| format!("10.0.0.{last}")).collect()
    }

    fn addresses(came: &[u8], went: &[u8]) -> News<'static> {
        News::Addresses { came: text(came), went: text(went) }
    }

    fn recovery(came: &[u8], went: &[u8]) -> News<'static> {
        News::Recovery { came: text(came), went: text(went) }
    }

    #[test]
    fn only_news_are_told() {
        let (gone, late) = ((Cause::DnsNotFound, "no".to_owned()), (Cause::DnsTimeout, "late".to_owned()));
        let mut heard = Heard::default();
        assert_eq!(heard.take(Ok(&of(&[1, 2]))), News::None, "the first answer");
        assert_eq!(heard.take(Ok(&of(&[2, 1]))), News::None);
        assert_eq!(heard.take(Ok(&of(&[2, 3]))), addresses(&[3], &[1]));
        assert_eq!(heard.take(Err(&gone)), News::Failure(&gone));
        assert_eq!(heard.take(Err(&gone)), News::None, "once");
        assert_eq!(heard.take(Err(&late)), News::Failure(&late), "another reason");
        assert_eq!(heard.places(), of(&[2, 3]), "the last good ones stay");
        assert_eq!(heard.take(Ok(&of(&[2, 3]))), recovery(&[], &[]), "nothing has changed");
        assert_eq!(heard.take(Ok(&of(&[2, 3]))), News::None, "once");
        assert_eq!(heard.take(Err(&gone)), News::Failure(&gone), "it had worked between");
        let mut never = Heard::default();
        never.take(Err(&gone));
        assert_eq!(never.take(Ok(&of(&[1]))), recovery(&[1], &[]));
    }

    #[test]
    fn what_is_in_use_at_a_reload_is_no_news_and_outlives_a_failure() {
        let gone = (Cause::DnsNotFound, "no".to_owned());
        let mut heard = Heard::of(of(&[2, 1]));
        heard.take(Err(&gone));
        assert_eq!(heard.places(), of(&[1, 2]));
        assert_eq!(heard.take(Ok(&of(&[1, 2]))), recovery(&[], &[]));
        assert_eq!(heard.take(Ok(&of(&[1]))), addresses(&[], &[2]));
    }

    #[test]
    fn a_port_is_told_where_an_ip_has_several() {
        let at = |port| Place { at: ([10, 0, 0, 1], port).into(), weight: None, backup: false };
        let mut heard = Heard::of(vec![at(80)]);
        let News::Addresses { came, .. } = heard.take(Ok(&[at(80), at(81)])) else { panic!() };
        assert_eq!(came, ["10.0.0.1:81"]);
    }

    #[test]
    fn an_instance_that_leaves_is_gone_at_once_and_one_that_came_back_once_is_no_habit() {
        let mut heard = Heard::default();
        for (answer, used) in [(&[1, 2][..], &[1, 2][..]), (&[1], &[1]), (&[1, 2], &[1, 2]), (&[1], &[1])] {
            heard.take(Ok(&of(answer)));
            assert_eq!(heard.places(), of(used));
        }
    }

    proptest! {
        #[test]
        fn parts_of_a_list_come_together_and_stay(seed in 0..u64::MAX) {
            let mut rng = fastrand::Rng::with_seed(seed);
            let all: Vec<u8> = (1..=20).collect();
            let mut part = || rng.choose_multiple(all.iter().copied(), 8);
            let mut heard = Heard::default();
            for _ in 0..40 {
                heard.take(Ok(&of(&part())));
            }
            prop_assert!(heard.places().len() >= 19, "{}", heard.places().len());
            // A list that is told whole again is believed at its word after a while.
            for _ in 0..PARTIAL + 1 {
                heard.take(Ok(&of(&[1, 2])));
            }
            prop_assert_eq!(heard.places(), of(&[1, 2]));
        }

        #[test]
        fn whatever_is_answered_there_is_a_bound_and_an_order(answers in proptest::collection::vec(proptest::collection::vec(any::<u16>(), 1..700), 1..12)) {
            let mut heard = Heard::default();
            for ports in answers {
                let places: Vec<_> = ports.iter().map(|port| Place { at: ([10, 0, 0, 1], *port).into(), weight: None, backup: false }).collect();
                heard.take(Ok(&places));
                prop_assert!(heard.places().len() <= MOST && heard.seen.len() <= 2 * MOST);
                prop_assert!(heard.places().is_sorted() && !heard.places().is_empty());
            }
        }
    }
}

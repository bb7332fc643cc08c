//! The choices of requests: each one is held against what all the upstreams are at that moment.

use std::sync::Arc;
use std::time::Duration;

use causeway::health::State;
use causeway::pool::pick::{Ask, Next};
use causeway::pool::{Pool, Upstream};

use super::Seen;
use super::history::{History, Request};

/// One that the request has not tried.
#[derive(Clone, Copy)]
struct Left {
    key: u64,
    state: State,
    backup: bool,
    full: bool,
    nameless: bool,
    /// On probation: surely, perhaps.
    probation: (bool, bool),
    /// For so long that any request may try it.
    overdue: bool,
}

impl History {
    /// The request asks for its next upstream; false: it has come to its end.
    pub fn chooses(&mut self, request: &mut Request, seen: &mut Seen) -> bool {
        // As a second try does by itself.
        if !request.tried.is_empty() && !self.same_list(request) {
            request.choice.renew(&request.pool);
            request.renewed = true;
        }
        let ask = Ask { replayable: request.replayable, unknown_too: self.rng.u8(..4) == 0 };
        let left: Vec<Left> = request.choice.untried().map(|upstream| self.left(&request.pool, upstream)).collect();
        let any = |which: &dyn Fn(&Left) -> bool| left.iter().any(which);
        let (ready, free) = (|l: &Left| l.state == State::Ready, |l: &Left| !l.full);
        let awaited = |l: &Left| l.state == State::Unknown && !l.nameless;
        let sure = |l: &Left| l.probation.0 && !l.full;
        let own = self.same_list(request);
        let now = self.now;
        let next = request.choice.next(&request.pool, ask, || now);
        // Who was looked for a moment ago need not be looked for again, nor by those with an old list.
        let looks = own && now.saturating_duration_since(self.looked) > Duration::from_millis(102);
        if own {
            self.looked = now;
        }
        match next {
            Next::Try(pick) => {
                let upstream = Arc::clone(&pick.upstream);
                let key = upstream.endpoint.key;
                assert!(!request.tried.contains(&key), "{} is tried twice by one request", upstream.id);
                let it = *left.iter().find(|one| one.key == key).expect("it was no choice");
                assert!(!it.full, "{} had no slot", upstream.id);
                assert!(!matches!(it.state, State::Draining | State::Disabled), "{} is {:?}", upstream.id, it.state);
                assert_eq!(pick.last_resort, it.state == State::Evicted && !pick.on_probation());
                let better = |l: &Left| ready(l) && free(l) && (!l.backup || it.backup);
                if pick.on_probation() {
                    assert!(it.probation.1, "{} is on probation before its time, or twice", upstream.id);
                    assert!(
                        ask.replayable || it.overdue || !any(&|l| ready(l)),
                        "a ready one was better for this request"
                    );
                    assert!(!it.backup || !any(&|l| ready(l) && free(l) && !l.backup), "a backup is not tried yet");
                    seen.probations += 1;
                    seen.late_probations += usize::from(!ask.replayable);
                    let id = request.id;
                    let away = self.model(&upstream).away.as_mut().expect("it is evicted");
                    away.permit = Some(id);
                } else {
                    match it.state {
                        State::Ready => {
                            let waits = ask.replayable && looks && any(&|l| sure(l) && !l.backup);
                            assert!(!waits, "somebody waits for probation, and this request would do");
                            assert!(!it.backup || !any(&|l| better(l) && !l.backup), "a backup before its time");
                            seen.ready += 1;
                            seen.backups += usize::from(it.backup);
                        }
                        State::Unknown => {
                            assert!(!any(&|l| ready(l)), "an unknown one is picked, and a ready one is left");
                            assert!(!any(&|l| sure(l)), "an unknown one before probation");
                            assert!(it.nameless || ask.unknown_too, "a first result is not waited for");
                            assert!(!it.nameless || !any(&|l| awaited(l)), "one without an address before others");
                            seen.unknown += 1;
                        }
                        State::Evicted => {
                            assert!(request.pool.config.last_resort, "the pool says when_all_evicted = \"fail\"");
                            assert!(!any(&|l| ready(l) || l.state == State::Unknown || sure(l)), "too early");
                            seen.last_resorts += 1;
                        }
                        State::Draining | State::Disabled => unreachable!("said above"),
                    }
                }
                let model = self.model(&upstream);
                model.in_flight += 1;
                seen.full += usize::from(model.in_flight == upstream.limit);
                request.tried.push(key);
                request.pick = Some(pick);
                true
            }
            Next::Wait => {
                seen.waits += 1;
                assert!(any(&|l| awaited(l)) && !ask.unknown_too, "nothing to wait for");
                assert!(!any(&|l| ready(l) || sure(l)), "it waits, and somebody could be tried");
                if self.rng.bool() {
                    request.choice.renew(&request.pool);
                    request.renewed = true;
                    seen.renewals += 1;
                    assert!(self.same_list(request));
                }
                true
            }
            Next::Busy => {
                seen.busy += 1;
                assert!(any(&|l| l.full), "nobody is busy");
                assert!(!any(&|l| ready(l) && free(l)), "a ready one has a slot");
                self.rng.bool()
            }
            Next::None => {
                seen.none += 1;
                for one in &left {
                    // The record names these: draining, disabled, evicted.
                    let named = match one.state {
                        State::Draining | State::Disabled => true,
                        State::Evicted => !request.pool.config.last_resort && !one.probation.0,
                        State::Ready | State::Unknown => false,
                    };
                    assert!(named, "it gives up while somebody could be tried");
                }
                let Request { choice, tried, renewed, .. } = request;
                assert_eq!(choice.tried(), tried.len());
                for upstream in choice.members().iter() {
                    let was_tried = tried.contains(&upstream.endpoint.key);
                    let untried = choice.untried().any(|other| other.endpoint.key == upstream.endpoint.key);
                    assert!(was_tried != untried, "{} is in both lists, or in none", upstream.id);
                }
                assert!(*renewed || tried.len() + choice.untried().count() == choice.members().len());
                false
            }
        }
    }

    /// Does the request have the pool's list of now?
    fn same_list(&self, request: &Request) -> bool {
        let members = self.pool.members();
        members.iter().map(|u| u.endpoint.key).eq(request.choice.members().iter().map(|u| u.endpoint.key))
            && members.iter().zip(request.choice.members().iter()).all(|(one, other)| Arc::ptr_eq(one, other))
    }

    fn left(&self, pool: &Pool, upstream: &Upstream) -> Left {
        let model = &self.models[&upstream.meter.key()];
        Left {
            key: upstream.endpoint.key,
            state: model.state(),
            backup: upstream.backup,
            full: model.in_flight >= upstream.limit,
            nameless: upstream.nameless(),
            probation: model.on_probation(self.now),
            overdue: model.away.is_some_and(|away| self.now >= away.least + pool.config.passive.evict),
        }
    }
}

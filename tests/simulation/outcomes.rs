//! What comes of attempts, and what health makes of it.

use std::num::NonZeroU32;
use std::time::Duration;

use causeway::cause::{Cause, Failure};
use causeway::health::{By, Operator, State};
use causeway::pool::report::Outcome;
use causeway::pool::{Pool, Upstream};

use super::Seen;
use super::history::{History, Request};
use super::model::Shown;

/// Why an attempt may end, and what that shows of its upstream: nothing, where the client, our own limits or the
/// request itself did it.
const ENDS: &[(Cause, Option<Shown>)] = &[
    (Cause::ConnectionRefused, Some(Shown::NoConnection)),
    (Cause::ConnectTimeout, Some(Shown::NoConnection)),
    (Cause::ConnectionRefused, Some(Shown::NoConnection)),
    (Cause::Unreachable, Some(Shown::NoConnection)),
    (Cause::ConnectReset, Some(Shown::NoConnection)),
    (Cause::ReadTimeout, Some(Shown::NoAnswer)),
    (Cause::ClosedWithoutResponse, Some(Shown::NoAnswer)),
    (Cause::ResetBeforeHead, Some(Shown::NoAnswer)),
    (Cause::NotHttp, Some(Shown::NoAnswer)),
    (Cause::WriteTimeout, Some(Shown::NoAnswer)),
    (Cause::TruncatedBody, Some(Shown::NoAnswer)),
    (Cause::ClientClosed, None),
    (Cause::ClientTooLarge, None),
    (Cause::FilesExhausted, None),
    (Cause::PortsExhausted, None),
    (Cause::RequestTimeout, None),
    (Cause::ResponseHeadTooLarge, None),
    (Cause::StaleConnection, None),
    (Cause::DnsNotFound, None),
    (Cause::Evicted, None),
    (Cause::ShuttingDown, None),
];

impl History {
    /// The attempt has a head, and goes on; or it ends.
    pub fn goes_on(&mut self, request: &mut Request, seen: &mut Seen) -> bool {
        let Some(upstream) = request.pick.as_ref().map(|pick| pick.upstream.clone()) else { return false };
        let chance = self.rng.f64();
        let lucky = chance < self.model(&upstream).luck;
        let status = *[200, 200, 404, 500, 301].get(self.rng.usize(..5)).unwrap_or(&200);
        let bad = self.rng.u16(502..505);
        match self.rng.u8(..10) {
            0 => {
                let status = if lucky { status } else { bad };
                let shown = if lucky { Shown::Head } else { Shown::NoAnswer };
                self.report(request, Outcome::Head { status }, Some(shown), seen);
                return true;
            }
            1 => self.report(request, Outcome::Neutral, None, seen),
            2 => {} // dropped without a word
            _ if lucky => self.report(request, Outcome::Answered { status }, Some(Shown::Answer), seen),
            3 => self.report(request, Outcome::Answered { status: bad }, Some(Shown::NoAnswer), seen),
            _ => {
                // Most have one way to fail.
                let kind = (upstream.endpoint.key % 3) as usize;
                let (from, to) = [(0, 5), (5, 11), (0, ENDS.len())][kind];
                let (cause, shown) = ENDS[self.rng.usize(from..to)];
                self.report(request, Outcome::Failed(&Failure::new(cause)), shown, seen);
            }
        }
        let id = request.id;
        let model = self.model(&upstream);
        model.in_flight -= 1;
        if let Some(away) = model.away.as_mut().filter(|away| away.permit == Some(id)) {
            away.permit = None;
            seen.probations_unheard += 1;
        }
        (request.pick, request.told) = (None, false);
        false
    }

    fn report(&mut self, request: &mut Request, outcome: Outcome<'_>, shown: Option<Shown>, seen: &mut Seen) {
        let Some(pick) = &mut request.pick else { return };
        let upstream = pick.upstream.clone();
        let before = self.models[&upstream.meter.key()].state();
        let change = pick.report(&request.pool, outcome, self.now);
        if !request.told {
            match shown {
                None => self.unheard(&upstream, request.id, seen),
                Some(Shown::Head | Shown::Answer) => {
                    self.good(&upstream, request.id, shown == Some(Shown::Answer), seen)
                }
                Some(shown) => self.bad(&request.pool.clone(), &upstream, request.id, shown, seen),
            }
            request.told = shown != Some(Shown::Head);
        }
        let after = self.model(&upstream).state();
        let wanted = (before != after).then_some((before, after, By::Traffic));
        assert_eq!(change.map(|c| (c.from, c.to, c.by)), wanted, "{} {outcome:?}", upstream.id);
    }

    fn unheard(&mut self, upstream: &Upstream, id: u64, seen: &mut Seen) {
        if let Some(away) = self.model(upstream).away.as_mut().filter(|away| away.permit == Some(id)) {
            away.permit = None;
            seen.probations_unheard += 1;
        }
    }

    fn good(&mut self, upstream: &Upstream, id: u64, whole: bool, seen: &mut Seen) {
        let now = self.now;
        let model = self.model(upstream);
        match model.away {
            Some(away) if away.permit == Some(id) => {
                model.back(now);
                seen.probations_passed += 1;
            }
            Some(_) => {}
            None => model.attempts.push(if whole { Shown::Answer } else { Shown::Head }),
        }
    }

    fn bad(&mut self, pool: &Pool, upstream: &Upstream, id: u64, shown: Shown, seen: &mut Seen) {
        let passive = pool.config.passive;
        let leave = self.leave(pool, upstream);
        let model = self.model(upstream);
        if let Some(away) = model.away {
            if away.permit == Some(id) {
                seen.probations_failed += 1;
                self.evicted(pool, upstream, shown, seen);
            }
        } else if matches!(model.state(), State::Ready | State::Unknown) {
            let fresh = [Shown::NoConnection, Shown::NoAnswer].iter().all(|&of| model.in_a_row(of) == 0);
            model.doubted &= !fresh;
            model.attempts.push(shown);
            let most = match shown {
                Shown::NoConnection => passive.connect_failures,
                _ => passive.gateway_failures,
            };
            if most.is_none_or(|most: NonZeroU32| model.in_a_row(shown) < most.get() as usize) {
                return;
            }
            match leave {
                Ok(()) => self.evicted(pool, upstream, shown, seen),
                Err(Forbidden::Last) => seen.last_ones += 1,
                Err(Forbidden::TooMany) => seen.refused += 1,
                Err(Forbidden::Left) => seen.left += 1,
            }
        }
    }

    fn evicted(&mut self, pool: &Pool, upstream: &Upstream, shown: Shown, seen: &mut Seen) {
        let (now, passive) = (self.now, pool.config.passive);
        let model = self.model(upstream);
        let length = model.evict(shown == Shown::NoAnswer, &passive, now);
        seen.by_gateway += usize::from(shown == Shown::NoAnswer);
        seen.by_connect += usize::from(shown == Shown::NoConnection);
        seen.longest += usize::from(length == passive.evict_max && model.times > 2);
        // Where the eviction tells its end, the model takes it, if it is where it should be.
        let eviction = upstream.health.snapshot(now).eviction.expect("it is evicted");
        assert_eq!(eviction.times, model.times);
        let Some(ends_in) = eviction.ends_in else { return };
        let until = now + ends_in;
        let away = model.away.as_mut().expect("it was evicted just now");
        assert!((away.least..=away.most).contains(&until), "{}: {ends_in:?} is not {length:?}", upstream.id);
        (away.least, away.most) = (until, until + Duration::from_millis(2));
    }

    /// May traffic evict this one, who is not evicted?
    fn leave(&self, pool: &Pool, upstream: &Upstream) -> Result<(), Forbidden> {
        let members = self.pool.members();
        if !members.iter().any(|member| member.endpoint.key == upstream.endpoint.key) {
            return Err(Forbidden::Left);
        }
        let models: Vec<_> =
            members.iter().map(|member| (member.endpoint.key, &self.models[&member.meter.key()])).collect();
        let enabled = models.iter().filter(|(_, model)| model.operator == Operator::Enabled);
        let others = enabled.clone().filter(|(key, _)| *key != upstream.endpoint.key);
        if !others.clone().any(|(_, model)| model.state() == State::Ready) {
            return Err(Forbidden::Last);
        }
        let out = others.filter(|(_, model)| model.state() == State::Evicted).count() + 1;
        let share = out as f64 / enabled.count() as f64;
        if share > f64::from(pool.config.passive.max_evicted) / 100.0 {
            return Err(Forbidden::TooMany);
        }
        Ok(())
    }
}

enum Forbidden {
    Last,
    TooMany,
    Left,
}

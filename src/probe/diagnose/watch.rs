//! Who looks when: a task for each pool, and one pace for them all. It asks nothing itself.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::config::address::Dial;
use crate::config::{Endpoint, here};
use crate::observe::events;
use crate::pool::insight::Question;
use crate::pool::{Pool, Upstream};

use super::{Around, look_around, plan};

/// So many looks at once, over all pools.
const AT_ONCE: usize = 4;
/// So many looks may begin within [`WINDOW`]: where a thousand upstreams fail at once, a few say what is the matter.
const BURST: usize = 16;
const WINDOW: Duration = Duration::from_secs(4);

/// What the looks of all pools share.
#[derive(Debug)]
pub struct Looks {
    places: ArcSwap<Places>,
    at_once: Arc<Semaphore>,
    /// When the last looks began.
    begun: Mutex<VecDeque<Instant>>,
}

/// What the configuration says of where everything is.
#[derive(Debug)]
struct Places {
    pools: Vec<Arc<Pool>>,
    own: Vec<SocketAddr>,
}

impl Looks {
    /// For these pools, in a process that listens on these addresses (see [`Around::own`]).
    #[must_use]
    pub fn new(pools: Vec<Arc<Pool>>, own: Vec<SocketAddr>) -> Self {
        let places = ArcSwap::from_pointee(Places { pools, own });
        Self { places, at_once: Arc::new(Semaphore::new(AT_ONCE)), begun: Mutex::default() }
    }

    /// From now on for these. The pace goes on.
    pub fn renew(&self, pools: Vec<Arc<Pool>>, own: Vec<SocketAddr>) {
        self.places.store(Arc::new(Places { pools, own }));
    }

    /// Waits until one more look may begin. In turn: who asks first is first.
    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.at_once).acquire_owned().await.ok()?;
        while let Some(later) = self.begins(Instant::now()) {
            tokio::time::sleep_until(later.into()).await;
        }
        Some(permit)
    }

    /// One begins now; else, when to ask again.
    fn begins(&self, now: Instant) -> Option<Instant> {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        while begun.front().is_some_and(|oldest| now.saturating_duration_since(*oldest) >= WINDOW) {
            begun.pop_front();
        }
        let later = begun.front().filter(|_| begun.len() >= BURST).map(|oldest| *oldest + WINDOW);
        if later.is_none() {
            begun.push_back(now);
        }
        later
    }
}

impl Places {
    /// The addresses on these hosts that the config has for any upstream, or for its checks. All addresses of this
    /// machine are one host.
    fn named(&self, of: &[SocketAddr]) -> Vec<SocketAddr> {
        let (mut named, mut here) = (Vec::new(), HashMap::new());
        let mut is_here = |ip: IpAddr| *here.entry(ip).or_insert_with(|| here::is_here(ip));
        let ours = of.iter().any(|one| is_here(one.ip()));
        for pool in &self.pools {
            let checks = pool.config.health.as_ref().and_then(|health| health.port);
            for upstream in pool.members().iter() {
                for at in addresses(&upstream.endpoint) {
                    if of.iter().any(|one| one.ip() == at.ip()) || ours && is_here(at.ip()) {
                        named.push(*at);
                        named.extend(checks.map(|port| SocketAddr::new(at.ip(), port)));
                    }
                }
            }
        }
        named
    }
}

fn addresses(endpoint: &Endpoint) -> &[SocketAddr] {
    if let Dial::Addresses(addresses) = &endpoint.dial { addresses } else { &[] }
}

/// Looks at the upstreams of this pool where somebody wants to know more of a failure, until `stop`.
pub async fn watch(pool: Arc<Pool>, looks: Arc<Looks>, stop: CancellationToken) {
    let mut running = JoinSet::new();
    // One place further each time, so that nobody waits for ever behind others.
    let mut from = 0;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = pool.look_wanted() => {}
            Some(ended) = running.join_next() => { well(ended); continue }
        }
        while let Some((at, upstream, question)) = next(&pool, from) {
            from = at + 1;
            if !plan::is_worth_it(question.asker, question.cause) {
                upstream.insight.tell(&question, None, Instant::now());
                continue;
            }
            let turn = tokio::select! {
                () = stop.cancelled() => return,
                turn = looks.turn() => turn,
            };
            while let Some(ended) = running.try_join_next() {
                well(ended);
            }
            let (pool, looks) = (Arc::clone(&pool), Arc::clone(&looks));
            running.spawn(async move {
                one(&pool, &upstream, question, &looks).await;
                drop(turn);
            });
        }
    }
}

/// A bug must not leave failures unexplained in silence.
fn well(ended: Result<(), JoinError>) {
    if let Err(ended) = ended
        && let Ok(panic) = ended.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}

/// The next upstream of which more is wanted, from this place on and round.
fn next(pool: &Pool, from: usize) -> Option<(usize, Arc<Upstream>, Question)> {
    let members = pool.members();
    let from = if from < members.len() { from } else { 0 };
    (from..members.len()).chain(0..from).find_map(|at| {
        let upstream = members.get(at)?;
        upstream.insight.wanted().map(|question| (at, Arc::clone(upstream), question))
    })
}

/// One look, and what follows: who explains the failure knows more, and people are told once.
async fn one(pool: &Pool, upstream: &Upstream, question: Question, looks: &Looks) {
    let addresses = addresses(&upstream.endpoint);
    let Question { asker, cause, .. } = question;
    let places = looks.places.load_full();
    let named = places.named(addresses);
    let proven = upstream.insight.is_proven(&question, Instant::now());
    let host = question.host.as_deref().filter(|host| *host != &*upstream.endpoint.authority);
    let name_servers = &pool.config.name_servers;
    let around = Around { own: &places.own, named: &named, proven, asker, host, name_servers };
    let found = look_around(&upstream.endpoint, cause, around).await;
    let sentence = found.as_ref().map(|found| found.finding.sentence.clone());
    let news = upstream.insight.tell(&question, found, Instant::now());
    if let Some(sentence) = sentence.filter(|_| news) {
        events::upstream_diagnosed(&pool.config.name, &upstream.id, cause, &sentence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_at_once_take_turns() {
        let (looks, start) = (Looks::new(Vec::new(), Vec::new()), Instant::now());
        let mut begun = 0;
        for millis in 0..40_000 {
            begun += usize::from(looks.begins(start + Duration::from_millis(millis)).is_none());
        }
        assert_eq!(begun, 10 * BURST);
        assert!(looks.begun.lock().unwrap().len() <= BURST);
    }
}

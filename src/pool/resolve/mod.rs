//! Names to endpoints: keeps the members of a pool in step with the name server, and with the list in a file.
//!
//! One task for each entry with a name ([`ask`] has the questions, [`service`] what SRV records come to, [`heard`] what
//! an answer changes), one for `upstreams_file` ([`listed`]). A name is asked for again when its answer has had its
//! time (TTL), after 1 s at the soonest and 10 s at the latest: Docker's answers are good for 600 s, and nobody waits
//! that long for a new instance. A failed look-up never takes addresses away, and no state of the name service stops
//! the start.

mod ask;
mod heard;
mod listed;
mod service;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::cause::{Cause, Failure, spoken};
use crate::config::Address;
use crate::config::address::{Dial, Host, UPSTREAMS_FILE};
use crate::observe::events;

use super::stale::Stale;
use super::{Found, Pool};
use heard::{Heard, News};

pub use ask::look_up;

/// An answer is used this long at the least, whatever its TTL.
const SOONEST: Duration = Duration::from_secs(1);
/// An answer is used this long at the most, whatever its TTL.
const LATEST: Duration = Duration::from_secs(10);
/// From a failure to the next question: the app may be about to start.
const AGAIN: Duration = Duration::from_secs(2);

/// Why a name has no address: a `dns_*` cause, and what was said.
pub type Why = (Cause, String);

/// A place where a name or a service runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Where to connect.
    pub at: SocketAddr,
    /// Its share as a record says it, 1 to 100; `None`: as the entry says.
    pub weight: Option<u8>,
    /// A record says that it is there for others.
    pub backup: bool,
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Sorted by address, each once; never empty.
    pub places: Vec<Place>,
    /// How long that is good for, as the name server says (TTL).
    pub ttl: Duration,
}

/// Follows the names of the pool until `stop`; returns at once if it has none.
pub async fn run(pool: Arc<Pool>, stop: CancellationToken) {
    let mut names = JoinSet::new();
    // Those of a list are asked for anew.
    pool.stale.keep(|source| pool.config.upstreams.iter().any(|entry| called(&entry.address) == source));
    for (index, entry) in pool.config.upstreams.iter().enumerate() {
        match &entry.address.host {
            Host::Name(_) | Host::Service(_) => drop(names.spawn(one(Arc::clone(&pool), index))),
            Host::Listed(path) => drop(names.spawn(listed::follow(Arc::clone(&pool), index, Arc::clone(path)))),
            Host::Localhost | Host::Ip(_) | Host::Unix(_) => {}
        }
    }
    if names.is_empty() {
        return;
    }
    tokio::select! {
        () = stop.cancelled() => {}
        Some(Err(ended)) = names.join_next() => {
            // A bug must not leave a name unresolved in silence.
            if let Ok(panic) = ended.try_into_panic() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// Follows the entry at this index.
async fn one(pool: Arc<Pool>, entry: usize) {
    let Some(said) = pool.config.upstreams.get(entry) else { return };
    let known = pool.members();
    let known =
        known.iter().filter(|one| one.entry == entry).flat_map(|one| place(&one.endpoint.dial, one.weight, one.backup));
    let known = known.collect();
    let tell = |outcome: Result<&[Place], &Why>| pool.set_found(entry, found(said, outcome), Instant::now());
    follow(&pool, &said.address, known, asks(&pool, &said.address), tell).await;
}

/// What people know it as.
fn called(address: &Address) -> String {
    match &address.host {
        Host::Listed(path) => format!("{UPSTREAMS_FILE} {}", path.display()),
        _ => address.to_string(),
    }
}

/// What is in use already: a reload begins with it.
fn place(dial: &Dial, weight: u8, backup: bool) -> Option<Place> {
    dial.addresses().first().map(|at| Place { at: *at, weight: Some(weight), backup })
}

/// What an outcome makes of an entry, or of a target of a list.
fn found(said: &crate::config::model::Entry, outcome: Result<&[Place], &Why>) -> Vec<Found> {
    match outcome {
        Ok(places) => places
            .iter()
            .map(|Place { at, weight, backup }| Found {
                dial: Dial::Addresses(vec![*at]),
                weight: weight.unwrap_or(said.weight),
                backup: *backup || said.backup,
                of: None,
            })
            .collect(),
        Err(why) => vec![Found::new(said, Dial::Unresolved(Some(why.clone())))],
    }
}

/// The question for this address, with the pool's own name servers and limit.
fn asks(pool: &Arc<Pool>, address: &Address) -> impl Fn() -> BoxedAnswer + use<> {
    let (pool, address) = (Arc::clone(pool), address.clone());
    move || {
        let (pool, address) = (Arc::clone(&pool), address.clone());
        Box::pin(async move { look_up(&address, &pool.config.name_servers, pool.config.timeouts.resolve).await })
    }
}

type BoxedAnswer = std::pin::Pin<Box<dyn Future<Output = Result<Answer, Why>> + Send>>;

/// Asks again and again, tells people what is new, and tells what is in use: the last good addresses, or why there
/// never were any.
async fn follow<F, A>(
    pool: &Pool,
    address: &Address,
    known: Vec<Place>,
    look_up: F,
    mut tell: impl FnMut(Result<&[Place], &Why>),
) where
    F: Fn() -> A,
    A: Future<Output = Result<Answer, Why>>,
{
    let name = address.to_string();
    let limit = pool.config.timeouts.resolve;
    let mut heard = Heard::of(known);
    let mut failing: Option<Instant> = None;
    loop {
        let answer = look_up().await;
        let pause = match &answer {
            Ok(answer) => answer.ttl.clamp(SOONEST, LATEST),
            Err(_) => AGAIN,
        };
        match heard.take(answer.as_ref().map(|answer| &*answer.places)) {
            News::None => {}
            News::Addresses { came, went } => events::addresses_changed(&pool.config.name, &name, &came, &went),
            News::Recovery { came, went } => {
                let after = failing.map_or(Duration::ZERO, |since| since.elapsed());
                events::name_resolved(&pool.config.name, &name, after, &came, &went);
            }
            News::Failure(why) => {
                let kept = heard.places().len();
                events::name_not_resolved(&pool.config.name, &name, &failure(why, limit), kept);
            }
        }
        match (heard.places(), &answer) {
            ([], Err(why)) => tell(Err(why)),
            (places, _) => tell(Ok(places)),
        }
        let news = match (&answer, heard.places().len()) {
            (Err(why), kept @ 1..) => {
                let (failure, source) = (failure(why, limit), name.clone());
                let said = format!("{}{}", failure.hint(&name), events::addresses_stay(kept));
                pool.stale.tell(Stale { source, cause: failure.cause, said, kept, since: Instant::now() })
            }
            (Err(_), 0) | (Ok(_), _) => pool.stale.end(&name),
        };
        if news {
            pool.touch();
        }
        failing = answer.is_err().then(|| failing.unwrap_or_else(Instant::now));
        // Up to a tenth sooner, so that many do not ask at once for ever.
        sleep(pause.mul_f64(1.0 - fastrand::f64() / 10.0)).await;
    }
}

/// The failure of a name that has no address for this reason; the resolver had this long.
#[must_use]
pub fn failure((cause, said): &Why, limit: Duration) -> Failure {
    let failure = Failure::new(*cause);
    match cause {
        Cause::DnsTimeout => failure.limit(spoken(limit)),
        _ => failure.seen(said),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::tests::{pool, unchecked};
    use super::*;

    fn answer(last: u8, ttl: u64) -> Result<Answer, Why> {
        let place = Place { at: ([10, 0, 0, last], 1).into(), weight: None, backup: false };
        Ok(Answer { places: vec![place], ttl: Duration::from_secs(ttl) })
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_good_addresses_outlive_a_failure_and_the_pace_is_that_of_the_answers() {
        let pool = pool(&["app:1"], unchecked());
        let not_found = || Err((Cause::DnsNotFound, "no such name".to_owned()));
        let answers =
            [not_found(), answer(1, 600), not_found(), answer(2, 0), answer(3, 5), answer(4, 10)].map(Some).to_vec();
        let (answers, asked) = (Mutex::new(answers.into_iter()), Mutex::new(Vec::new()));
        let look_up = || {
            asked.lock().unwrap().push(tokio::time::Instant::now());
            let next = answers.lock().unwrap().next().flatten();
            async move {
                match next {
                    Some(answer) => answer,
                    None => std::future::pending().await,
                }
            }
        };
        let mut dialled = Vec::new();
        let said = &pool.config.upstreams[0];
        let tell = |outcome: Result<&[Place], &Why>| {
            pool.set_found(0, found(said, outcome), Instant::now());
            dialled.push(pool.members()[0].endpoint.dial.clone());
        };
        let followed = follow(&pool, &said.address, Vec::new(), look_up, tell);
        tokio::time::timeout(Duration::from_secs(60), followed).await.unwrap_err();
        let of = |last| Dial::Addresses(vec![SocketAddr::from(([10, 0, 0, last], 1))]);
        assert_eq!(dialled, [Dial::Unresolved(not_found().err()), of(1), of(1), of(2), of(3), of(4)]);
        // A TTL of 0 is 1 s, one of 600 s is 10 s, and after a failure it is 2 s; each up to a tenth sooner.
        let asked = asked.into_inner().unwrap();
        let pauses: Vec<f64> = asked.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
        assert_eq!(pauses.len(), 6);
        for (pause, most) in pauses.iter().zip([2.0, 10.0, 2.0, 1.0, 5.0, 10.0]) {
            assert!((most * 0.9..=most + 0.01).contains(pause), "{pause} of {most}");
        }
    }

    #[tokio::test]
    async fn a_pool_without_names_needs_nobody_to_follow_it() {
        run(Arc::new(pool(&["10.0.0.1:1"], unchecked())), CancellationToken::new()).await;
    }
}

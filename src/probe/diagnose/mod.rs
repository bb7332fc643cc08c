//! A closer look at an upstream that failed: what answers there, and next to it, that would explain the failure.
//!
//! Off the request path, now and then, and only at hosts of the config: [`watch`] sees to that. [`look`] opens a few connections
//! of its own, asks for `GET /` at the most, and never changes health. What to try is [`plan`]'s, what somebody's first bytes mean
//! [`speech`]'s, what it all comes to [`verdict`]'s, and how that is said [`words`]': all pure. [`knock`], [`names`] and [`place`]
//! have the sockets and the files.

mod ask;
mod knock;
mod names;
mod place;
mod plan;
mod speech;
mod verdict;
mod watch;
mod words;

use std::net::SocketAddr;
use std::time::Duration;

use crate::cause::{Cause, Finding};
use crate::config::Endpoint;
use crate::config::address::Dial;

use verdict::Verdict;

pub use speech::Speech;
pub use watch::{Looks, watch};

/// The most that a look takes, whatever answers.
pub const CLOCK: Duration = Duration::from_secs(2);

/// What is known of the upstream's surroundings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Around<'a> {
    /// Where causeway itself listens. `0.0.0.0` stands for every IPv4 address of this machine, `[::]` for every address.
    pub own: &'a [SocketAddr],
    /// Addresses that the config has for upstreams already: they say whether a host is up, and are never suggested.
    pub named: &'a [SocketAddr],
    /// It has answered lately at its address, which is right then: no other one is tried.
    pub proven: bool,
}

/// What a look has found.
#[derive(Clone, Debug)]
pub struct Found {
    /// For people.
    pub finding: Finding,
    /// The same without figures that change from look to look.
    pub gist: String,
}

/// Looks for what explains this failure. `own`: the addresses that causeway itself listens on.
pub async fn look(endpoint: &Endpoint, cause: Cause, own: &[SocketAddr]) -> Option<Finding> {
    look_around(endpoint, cause, Around { own, ..Around::default() }).await.map(|found| found.finding)
}

/// The same, with all that is known of its surroundings.
pub async fn look_around(endpoint: &Endpoint, cause: Cause, around: Around<'_>) -> Option<Found> {
    let verdict = tokio::time::timeout(CLOCK, conclude(endpoint, cause, around)).await.ok()??;
    let finding = words::finding(cause, &endpoint.authority, &verdict);
    let gist = words::finding(cause, &endpoint.authority, &verdict.timeless()).sentence;
    Some(Found { finding, gist })
}

/// The steps of a look, one after the other; each may know enough.
async fn conclude(endpoint: &Endpoint, cause: Cause, around: Around<'_>) -> Option<Verdict> {
    let steps = plan::steps(cause);
    if steps.names {
        let (host, _) = plan::split(&endpoint.authority);
        return names::look(host, cause).await;
    }
    let Dial::Addresses(addresses) = &endpoint.dial else { return None };
    let &target = addresses.first()?;
    if steps.own && addresses.iter().any(|address| place::is_own(*address, around.own)) {
        return Some(Verdict::OwnListener);
    }
    if cause == Cause::LoopDetected {
        return Some(Verdict::SentBack);
    }
    if steps.road {
        return ask::road(target, cause, around).await;
    }
    let found = match steps.speech {
        true => verdict::of_answers(cause, &ask::questions(addresses, &endpoint.authority).await),
        false => None,
    };
    // What failed for another reason is at its right place.
    let misplaced = steps.misplaced || found.as_ref().is_some_and(Verdict::is_wrong_port);
    if !misplaced || around.proven || !place::is_near(target.ip()) {
        return found;
    }
    if let Some(next_door) = ask::neighbours(addresses, endpoint, cause, around).await {
        return Some(verdict::with_neighbour(found, next_door));
    }
    let inside = || target.ip().is_loopback() && place::is_contained();
    found.or_else(|| (cause == Cause::ConnectionRefused && inside()).then_some(Verdict::Contained))
}

//! A closer look at an upstream that failed: what answers there, and next to it, that would explain the failure.
//!
//! Off the request path, now and then, and only at hosts of the config: [`mod@watch`] sees to that. [`look_around`]
//! opens a few connections of its own, asks for `GET /` at the most, and never changes health. What to try is
//! [`plan`]'s, what somebody's first bytes mean [`speech`]'s, what it all comes to [`verdict`]'s, and how that is said
//! [`words`]': all pure. [`knock`], [`names`] and [`place`] have the sockets and the files.

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

use crate::cause::{Cause, Failure};
use crate::config::Endpoint;
use crate::config::address::{Dial, Scheme, UPSTREAMS_FILE};
use crate::pool::insight::{Asker, Found};

use speech::Speech;
use verdict::Verdict;

pub use place::is_own;
pub use plan::may_be_tls;
pub use watch::{Looks, watch};

/// The most that a look takes, whatever answers.
pub const CLOCK: Duration = Duration::from_secs(2);

/// What is known of the upstream's surroundings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Around<'a> {
    /// Where causeway itself listens, by socket family: see [`crate::config::here::sockets`].
    pub own: &'a [SocketAddr],
    /// Addresses that the config has for upstreams already: they say whether a host is up, and are never suggested.
    pub named: &'a [SocketAddr],
    /// It has answered lately at its address, which is right then; or the address is none where requests go, as that of
    /// `health.port`. No other one is tried.
    pub proven: bool,
    /// Who met the failure: what cures one that took too long.
    pub asker: Asker,
    /// Who is asked for names (`name_servers`); none: those of /etc/resolv.conf.
    pub name_servers: &'a [SocketAddr],
    /// The Host that the request had, where that was not the upstream's own address.
    pub host: Option<&'a str>,
}

/// An upstream that shall speak plain HTTP gave this status: the failure that it is, if that is how a port of TLS
/// answers plain HTTP. It is asked with the greeting of a TLS client, on a connection of its own.
pub async fn behind(endpoint: &Endpoint, status: u16) -> Option<Failure> {
    let Dial::Addresses(addresses) = &endpoint.dial else { return None };
    let tls = endpoint.scheme == Scheme::Http && may_be_tls(status) && ask::speaks_tls(addresses).await;
    tls.then(|| Failure::new(Cause::SpeaksTls).sent(true))
}

/// Looks for what explains this failure.
pub async fn look_around(endpoint: &Endpoint, cause: Cause, around: Around<'_>) -> Option<Found> {
    let verdict = tokio::time::timeout(CLOCK, conclude(endpoint, cause, around)).await.ok()??;
    let finding = words::finding(around.asker, cause, &endpoint.authority, &verdict);
    let until = verdict.until();
    let gist = words::finding(around.asker, cause, &endpoint.authority, &verdict.timeless()).sentence;
    Some(Found { finding, gist, until })
}

/// The steps of a look, one after the other; each may know enough.
async fn conclude(endpoint: &Endpoint, cause: Cause, around: Around<'_>) -> Option<Verdict> {
    let steps = plan::steps(around.asker, cause);
    if steps.names {
        // A list in a file is no name.
        let (host, _) = plan::split(&endpoint.authority);
        let name = *endpoint.authority != *UPSTREAMS_FILE;
        return if name { names::look(host, cause, around.name_servers).await } else { None };
    }
    let Dial::Addresses(addresses) = &endpoint.dial else { return None };
    let &target = addresses.first()?;
    if steps.own && addresses.iter().any(|address| is_own(*address, around.own)) {
        return Some(Verdict::OwnListener);
    }
    if steps.road {
        return ask::road(target, cause, around).await;
    }
    let found = if steps.speech {
        let found = verdict::of_answers(endpoint.scheme, cause, &ask::questions(addresses, endpoint).await);
        by_host(found, addresses, cause, around).await
    } else if steps.tls {
        // Neither a status nor what that would say of others is any matter of a look.
        if endpoint.scheme != Scheme::Http || !ask::speaks_tls(addresses).await {
            return None;
        }
        Some(Verdict::Speaks(Speech::Tls))
    } else {
        None
    };
    // What failed for another reason is at its right place.
    let misplaced = steps.misplaced || found.as_ref().is_some_and(Verdict::is_wrong_port);
    if !misplaced || around.proven || !place::is_near(target.ip()) {
        return found;
    }
    if let Some(next_door) = ask::neighbours(addresses, endpoint, cause, around).await {
        return Some(verdict::with_neighbour(found, next_door));
    }
    if found.is_none() && cause == Cause::ConnectionRefused && target.ip().is_loopback() {
        return place::is_contained().await.then_some(Verdict::Contained);
    }
    found
}

/// One that drops requests, and answers one with its own address as Host, may do so because of the Host.
async fn by_host(
    found: Option<Verdict>,
    addresses: &[SocketAddr],
    cause: Cause,
    around: Around<'_>,
) -> Option<Verdict> {
    let Some(Verdict::Runs(answer)) = found else { return found };
    let dropped = matches!(cause, Cause::ClosedWithoutResponse | Cause::ResetBeforeHead);
    match around.host.filter(|host| dropped && plan::is_plain_host(host)) {
        Some(host) if ask::drops(addresses, host).await => Some(Verdict::ByHost { host: host.to_owned(), answer }),
        _ => found,
    }
}

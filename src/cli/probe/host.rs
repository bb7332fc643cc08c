//! Does the app answer by Host? What gets another answer under another name, and the key that gives it the right one.
//!
//! Names are tried that the config knows: the pool's own, a host of its route, the upstream's address.

use std::time::Duration;

use http::HeaderValue;

use crate::cause::{Cause, Failure, command_at};
use crate::config::model::{Check, Health, HostHeader, HttpCheck};
use crate::probe::{self, Visit, Visited};

use super::look::Look;
use super::report::{Report, Step, matter};

/// A Host that nobody serves (RFC 2606 §2).
const NOBODY: &str = "client.example";

/// A line, and what is to be said about it.
pub(super) type Told = (Step, Option<String>);

/// Did it end a request so that a name it does not know may be the reason? nginx with `return 444` does.
pub(super) const fn is_silence(cause: Cause) -> bool {
    matches!(cause, Cause::ClosedWithoutResponse | Cause::ResetBeforeHead)
}

/// The check failed with the upstream's address as Host: does it pass with the Host of requests? What to set, if it
/// does.
pub(super) async fn of_check(look: &Look<'_>, health: &Health, failure: &Failure) -> Option<String> {
    let Check::Http(check) = &health.check else { return None };
    let got = match failure.cause {
        Cause::HealthStatus => {
            let seen = failure.seen.as_deref()?;
            seen.split(" gives ").nth(1)?.split([',', ' ']).next()?.to_owned()
        }
        Cause::HealthBody => "another page".to_owned(),
        cause if is_silence(cause) => "no answer".to_owned(),
        _ => return None,
    };
    let (host, whose) = match (&check.host_header, &look.target.pool.host_header) {
        (None, HostHeader::Literal(host)) => (host.clone(), "the Host of all requests"),
        (None, HostHeader::Client) => (look.target.host.as_deref()?.parse().ok()?, "a host of its route"),
        (None, HostHeader::Upstream) | (Some(_), _) => return None,
    };
    let asked = HttpCheck { host_header: Some(host.clone()), ..check.clone() };
    let passed = probe::once(&look.endpoint, &Health { check: Check::Http(asked), ..health.clone() }).await.ok()?;
    let (name, status) = (host.to_str().ok()?, passed.status?);
    Some(format!(
        "The check sends the upstream's address as Host and gets {got}. With {name}, {whose}, it passes ({status}): \
         set health.host_header = \"{name}\"."
    ))
}

/// What a client's Host gets. Asked only where that is kept. `status`: of the request with the upstream's address.
pub(super) async fn of_clients(look: &Look<'_>, base: &Visit, status: u16) -> Option<Told> {
    if look.target.pool.host_header != HostHeader::Client {
        return None;
    }
    let host = look.target.host.as_deref().unwrap_or(NOBODY);
    let visited = ask(look, base, host).await;
    let step = |said: String| Step::new("host", visited.elapsed, said).fact("host", host);
    let own = &look.endpoint.authority;
    Some(match visited.result {
        Ok(other) if other == status => {
            (step(format!("{status} for Host: {host}, as for {own}")).fact("status", other), None)
        }
        Ok(other) => {
            let said = format!("{other} for Host: {host}, {status} for {own}");
            let upstream = if other >= status { " If it should see its own: host_header = \"upstream\"." } else { "" };
            let note = format!("It answers by Host, and clients' own is kept: {host} gets {other}.{upstream}");
            (step(said).fact("status", other), Some(note))
        }
        Err(failure) => {
            let note = format!(
                "It answers by Host, and clients' own is kept: {host} gets no answer, {own} gets {status}. If that is \
                 not a name of this app, set host_header = \"upstream\": then it always sees its own."
            );
            let said = format!("{} for Host: {host}", matter(&failure, super::further::PATIENCE));
            (step(said).because(failure.cause), Some(note).filter(|_| is_silence(failure.cause)))
        }
    })
}

/// Whose Host it was that got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Check,
    Requests,
}

/// A request ended without an answer: is there one to another name?
pub(super) async fn of_silence(look: &Look<'_>, of: Of, report: &mut Report) {
    let base = look.visit(look.path());
    let pool = &look.target.pool;
    let own = look.endpoint.host();
    let literal = match &pool.host_header {
        HostHeader::Literal(host) => host.to_str().ok(),
        HostHeader::Client | HostHeader::Upstream => None,
    };
    let check = match pool.health.as_ref().map(|health| &health.check) {
        Some(Check::Http(check)) => check.host_header.as_ref().and_then(|host| host.to_str().ok()),
        _ => None,
    };
    let asked = if of == Of::Check { check } else { literal }.unwrap_or(own);
    let local = format!("localhost:{}", look.target.address.port);
    let others = match literal {
        Some(literal) => vec![literal, own],
        None => {
            [Some(own), look.target.host.as_deref(), check, Some(&local), Some(NOBODY)].into_iter().flatten().collect()
        }
    };
    let mut tried = Vec::new();
    let mut took = Duration::ZERO;
    for host in others.into_iter().filter(|host| *host != asked) {
        let visited = ask(look, &base, host).await;
        took += visited.elapsed;
        let Ok(status) = visited.result else {
            tried.push(host);
            continue;
        };
        let said = format!("{status} for Host: {host}, no answer for {asked}");
        report.steps.push(Step::new("host", took, said).fact("host", host).fact("status", status));
        let set = match (of, &pool.host_header) {
            (Of::Check, _) if host == own => "A check sends that without health.host_header: take it out.".to_owned(),
            (Of::Check, _) => format!("Set health.host_header = \"{host}\"."),
            (Of::Requests, HostHeader::Literal(_)) => {
                "What host_header gives it is no name of its own: set host_header = \"upstream\".".to_owned()
            }
            (Of::Requests, HostHeader::Upstream) => {
                "Requests have its own address, by host_header: set that to \"client\", or to a name that it serves."
                    .to_owned()
            }
            (Of::Requests, HostHeader::Client) => format!(
                "Requests keep the Host of clients, so they get an answer; a health check with a path needs \
                 health.host_header = \"{host}\"."
            ),
        };
        report.notes.push(format!("It answers by Host: nothing for {asked}, {status} for {host}. {set}"));
        return;
    }
    if !tried.is_empty() {
        let said = format!("no answer for Host: {} either", tried.join(" or "));
        report.steps.push(Step::new("host", took, said).failed());
    }
    if literal.is_none() && look.target.host.is_none() {
        let curl = command_at("curl -i -H 'Host: NAME' http://{address}", &look.endpoint.authority);
        report
            .notes
            .push(format!("If it answers by Host alone, ask it with a name that it serves: {curl}{}", base.target));
    }
}

async fn ask(look: &Look<'_>, base: &Visit, host: &str) -> Visited {
    probe::visit(&look.endpoint, &Visit { host: HeaderValue::from_str(host).ok(), ..base.clone() }).await
}

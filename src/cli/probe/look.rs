//! Looks at each target: name, connections, one exchange, the check; and, when something failed, for what explains it.
//!
//! Every wait has a limit, and at most [`AT_ONCE`] are looked at together.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::cause::{Cause, Failure, sized};
use crate::config::address::Dial;
use crate::config::model::{Buffers, Check, Health, HostHeader, HttpCheck};
use crate::config::{Endpoint, Host};
use crate::pool::resolve;
use crate::probe::{self, Seen, Visit, diagnose};

use super::How;
use super::around::Around;
use super::further;
use super::host;
use super::meaning::{Answer, surprising, unwanted};
use super::report::{Report, Step, Trouble, matter};
use super::steps::exchange;
use super::target::Target;
use super::text::{approximate, spoken};
use super::wrong::{CHECK, Room, Wrong};

/// Upstreams at once.
const AT_ONCE: usize = 32;
/// A connection is waited for no longer than this, whatever the config says.
const CONNECT: Duration = Duration::from_secs(5);
/// Nor is an answer, unless somebody says `--timeout`.
const ANSWER: Duration = Duration::from_secs(5);
/// So many failures are looked at more closely.
const DIAGNOSES: usize = 32;

/// Looks at all of them, in their order.
pub(super) async fn all(targets: Vec<Target>, how: How, around: Around) -> Vec<Report> {
    let room = Room { places: Semaphore::new(AT_ONCE), diagnoses: AtomicUsize::new(DIAGNOSES), around };
    let room = Arc::new(room);
    in_order(targets.into_iter().map(|target| each(Arc::new(target), how, Arc::clone(&room))))
        .await
        .into_iter()
        .flatten()
        .collect()
}

/// Runs them side by side; what they give stands in their order.
async fn in_order<T: Send + 'static>(all: impl Iterator<Item = impl Future<Output = T> + Send + 'static>) -> Vec<T> {
    let mut tasks = JoinSet::new();
    for (index, one) in all.enumerate() {
        tasks.spawn(async move { (index, one.await) });
    }
    let mut done = tasks.join_all().await;
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Each address of a name is an upstream (CONTRACT §2).
async fn each(target: Arc<Target>, how: How, room: Arc<Room>) -> Vec<Report> {
    let (resolved, endpoints) = match Endpoint::literal(&target.address) {
        Some(endpoint) => (None, vec![(None, target.spoken_to(endpoint))]),
        None => {
            let _place = room.places.acquire().await;
            match addresses(&target, &room).await {
                Ok((step, endpoints)) => (Some(step), endpoints),
                Err(report) => return vec![*report],
            }
        }
    };
    let looks = endpoints.into_iter().map(|(ip, endpoint)| {
        let (target, room, resolved) = (Arc::clone(&target), Arc::clone(&room), resolved.clone());
        async move {
            let _place = room.places.acquire().await;
            let (id, name) = named(&target, ip);
            let blank = Report { id, name, elapsed: elapsed(resolved.as_ref()), ..blank(&target) };
            look(Look { target: &target, how, endpoint: Arc::new(endpoint) }, &room, blank, resolved).await
        }
    });
    in_order(looks).await
}

fn elapsed(step: Option<&Step>) -> Duration {
    step.map_or(Duration::ZERO, |step| step.elapsed)
}

fn blank(target: &Target) -> Report {
    let pool = target.configured.then(|| Arc::clone(&target.pool.name));
    let (id, name) = (target.id.clone(), target.name.clone());
    Report { pool, id, name, address: target.address.to_string(), ..Report::default() }
}

/// The id and the name of one of several addresses that the target has.
fn named(target: &Target, at: Option<String>) -> (String, String) {
    let Some(ip) = at else { return (target.id.clone(), target.name.clone()) };
    let id = format!("{}@{ip}", target.id);
    let name = match target.name.strip_prefix(&target.id) {
        Some(behind) => format!("{id}{behind}"),
        None => format!("{}@{ip}", target.name),
    };
    (id, name)
}

/// What the name service says of the target's name.
async fn addresses(target: &Target, room: &Room) -> Result<(Step, Vec<(Option<String>, Endpoint)>), Box<Report>> {
    let authority = target.address.to_string();
    if !target.address.host.may_be_several() {
        return Ok((Step::new("resolve", Duration::ZERO, ""), vec![]));
    }
    let limit = target.pool.timeouts.resolve;
    let started = Instant::now();
    let found = resolve::look_up(&target.address, &target.pool.name_servers, limit).await;
    let elapsed = started.elapsed();
    let found = match found {
        Ok(answer) => answer.places,
        Err(why) => {
            let failure = resolve::failure(&why, limit);
            let step =
                Step::new("resolve", elapsed, matter(&failure, "limit: timeouts.resolve")).because(failure.cause);
            let endpoint = Arc::new(Endpoint::new(authority.as_str().into(), Dial::Unresolved(Some(why))));
            let trouble = Wrong::new(failure, "limit: timeouts.resolve", &endpoint).told(target, room).await;
            return Err(Box::new(Report { steps: vec![step], trouble: Some(trouble), elapsed, ..blank(target) }));
        }
    };
    let shared = |at: SocketAddr| found.iter().any(|other| other.at.ip() == at.ip() && other.at != at);
    // As ids have them (CONTRACT §9).
    let called = |at: SocketAddr| if shared(at) { at.to_string() } else { at.ip().to_string() };
    let service = matches!(target.address.host, Host::Service(_));
    let said = found.iter().map(|place| if service { place.at.to_string() } else { called(place.at) });
    let said = said.collect::<Vec<_>>();
    let step = Step::new("resolve", elapsed, said.join(", ")).fact("addresses", said);
    let several = found.len() > 1;
    let asked_for = found.iter().map(|place| place.at).filter(|at| target.only.is_none_or(|only| only == at.ip()));
    let endpoints = asked_for.map(|at| {
        let authority = target.address.called_at(Some(at));
        let endpoint = Endpoint::new(authority.into(), Dial::Addresses(vec![at]));
        (Some(called(at)).filter(|_| several && target.only.is_none()), target.spoken_to(endpoint))
    });
    let endpoints: Vec<_> = endpoints.collect();
    if endpoints.is_empty() {
        let failure = Failure::new(Cause::DnsNotFound);
        let trouble = Trouble::of(&failure, &authority, "", None);
        return Err(Box::new(Report { steps: vec![step], trouble: Some(trouble), elapsed, ..blank(target) }));
    }
    Ok((step, endpoints))
}

/// One endpoint, and how to look at it.
#[derive(Clone, Debug)]
pub(super) struct Look<'a> {
    pub(super) target: &'a Target,
    pub(super) how: How,
    pub(super) endpoint: Arc<Endpoint>,
}

impl Look<'_> {
    /// What traffic would ask, with the pool's own settings.
    pub(super) fn visit(&self, path: PathAndQuery) -> Visit {
        let pool = &self.target.pool;
        let host = match &pool.host_header {
            HostHeader::Literal(host) => Some(host.clone()),
            HostHeader::Client | HostHeader::Upstream => None,
        };
        let limit = self.how.timeout.unwrap_or_else(|| pool.timeouts.read.min(ANSWER));
        Visit { host, buffers: pool.buffers, ..Visit::get(path, limit) }
    }

    /// Where requests go that nobody said a path for.
    pub(super) fn path(&self) -> PathAndQuery {
        self.target.path.clone().unwrap_or_else(|| PathAndQuery::from_static("/"))
    }

    /// What set the limit of a visit.
    fn limit_of_visit(&self) -> &'static str {
        match self.how.timeout {
            Some(_) => "limit: --timeout",
            None if self.target.pool.timeouts.read <= ANSWER => "limit: timeouts.read",
            None => "see --timeout for a longer wait",
        }
    }

    /// The check itself is the exchange that is shown: it goes where requests go, over HTTP.
    fn check(&self) -> Option<&Health> {
        let health = self.target.pool.health.as_ref()?;
        let same = health.port.is_none_or(|port| port == self.target.address.port);
        (self.target.path.is_none() && same && matches!(health.check, Check::Http(_))).then_some(health)
    }
}

async fn look(look: Look<'_>, room: &Room, mut report: Report, resolved: Option<Step>) -> Report {
    report.steps.extend(resolved);
    let mut wrong = connects(&look, &mut report).await;
    // Whoever listens there now, requests would come back.
    if look.target.configured && room.around.is_own(&look.endpoint) {
        wrong = Some(Wrong::new(Failure::new(Cause::LoopDetected), "", &look.endpoint));
    }
    if wrong.is_none() {
        wrong = match look.check() {
            Some(health) => checked(&look, health, &mut report).await,
            None => visited(&look, &mut report).await,
        };
        if wrong.as_ref().is_none_or(Wrong::is_checks_own) {
            if look.check().is_none() && look.target.path.is_none() {
                wrong = check_elsewhere(&look, &mut report).await;
            }
            further::upgrade(&look, &mut report).await;
            if look.how.deep {
                further::all(&look, &mut report).await;
            }
        } else if look.how.deep && wrong.as_ref().is_some_and(Wrong::may_be_its_host) {
            let of = if look.check().is_some() { host::Of::Check } else { host::Of::Requests };
            host::of_silence(&look, of, &mut report).await;
        }
    }
    if let Some(wrong) = wrong {
        report.trouble = Some(wrong.told(look.target, room).await);
    }
    report
}

/// A connection to each address, as a TCP check opens it. Wrong if none takes one.
async fn connects(look: &Look<'_>, report: &mut Report) -> Option<Wrong> {
    let dials: Vec<Dial> = match &look.endpoint.dial {
        Dial::Addresses(addresses) => addresses.iter().map(|address| Dial::Addresses(vec![*address])).collect(),
        Dial::Socket(_) => vec![look.endpoint.dial.clone()],
        Dial::Unresolved(_) => return None,
    };
    let allowed = look.target.pool.timeouts.connect;
    let (limit, named) =
        if allowed <= CONNECT { (allowed, "limit: timeouts.connect") } else { (CONNECT, further::PATIENCE) };
    let tries = dials.iter().map(|dial| {
        let endpoint = Endpoint::new(Arc::clone(&look.endpoint.authority), dial.clone());
        let tcp = Health { timeout: limit, ..tcp() };
        async move { probe::once(&Arc::new(endpoint), &tcp).await }
    });
    let mut failures: Vec<Failure> = Vec::new();
    let (mut stood, mut refused) = (Vec::new(), Vec::new());
    let literal = dials.len() == 1;
    for (dial, outcome) in dials.iter().zip(in_order(tries).await) {
        let fact = dial.addresses().first().map_or_else(|| look.endpoint.authority.to_string(), ToString::to_string);
        match outcome {
            Ok(facts) => {
                stood.push(fact.clone());
                report.steps.push(Step::new("connect", facts.elapsed, fact.clone()).fact("address", fact));
            }
            Err(failed) => {
                let matter = matter(&failed.failure, named);
                let said = if literal && look.endpoint.authority.ends_with(&*fact) {
                    matter
                } else {
                    format!("{fact}  {}", matter.replace("on this port", "there"))
                };
                let step = Step::new("connect", failed.elapsed, said).fact("address", fact.clone());
                report.steps.push(step.because(failed.failure.cause));
                if failed.failure.cause == Cause::ConnectionRefused {
                    refused.push(fact);
                }
                failures.push(*failed.failure);
            }
        }
    }
    if let ([only], [closed]) = (stood.as_slice(), refused.as_slice()) {
        report
            .notes
            .push(format!("It listens on {only} alone; {closed} refuses. causeway finds the one that is open."));
    }
    if !stood.is_empty() {
        return None;
    }
    report.elapsed += report.steps.iter().filter(|step| step.phase == "connect").map(|step| step.elapsed).max()?;
    let telling = failures.iter().position(|failure| failure.cause == Cause::ConnectionRefused).unwrap_or(0);
    (telling < failures.len()).then(|| Wrong::new(failures.swap_remove(telling), named, &look.endpoint))
}

fn tcp() -> Health {
    Health { check: Check::Tcp, port: None, interval: CONNECT, timeout: CONNECT, healthy_after: 1, unhealthy_after: 1 }
}

/// The pool's own check, and what its answer means.
async fn checked(look: &Look<'_>, health: &Health, report: &mut Report) -> Option<Wrong> {
    let Check::Http(check) = &health.check else { return None };
    let host = check.host_header.as_ref().map_or(look.endpoint.host(), |host| host.to_str().unwrap_or_default());
    let asked = format!("{} {}, Host: {host}", check.method, check.path);
    let (seen, elapsed, failure) = match probe::once(&look.endpoint, health).await {
        Ok(facts) => (facts.seen, facts.elapsed, None),
        Err(failed) => (failed.seen, failed.elapsed, Some(*failed.failure)),
    };
    exchange(report, &asked, &seen, elapsed, failure.as_ref(), (CHECK, Buffers::default().response_head));
    if let Some(failure) = failure {
        let status = seen.head.as_ref().map_or(0, |head| head.status);
        if let Some(wrong) = behind(look, status, CHECK, report).await {
            return Some(wrong);
        }
        let advice = host::of_check(look, health, &failure).await.or_else(|| advice(&failure, &seen, check));
        return Some(Wrong { advice, ..Wrong::new(failure, CHECK, &look.endpoint) });
    }
    report.notes.extend(answer(&seen, check).and_then(surprising));
    if elapsed > health.timeout / 2 {
        let (took, limit) = (spoken(elapsed), spoken(health.timeout));
        report.notes.push(format!("The check took {took} of the {limit} that health.timeout allows."));
    }
    None
}

/// This status may be that of a port of TLS.
async fn behind(look: &Look<'_>, status: u16, limit: &'static str, report: &mut Report) -> Option<Wrong> {
    let started = Instant::now();
    let failure = diagnose::behind(&look.endpoint, status).await?;
    report.steps.push(Step::new("tls", started.elapsed(), matter(&failure, limit)).because(failure.cause));
    Some(Wrong::new(failure, limit, &look.endpoint))
}

fn answer<'a>(seen: &'a Seen, check: &'a HttpCheck) -> Option<Answer<'a>> {
    let head = seen.head.as_ref()?;
    Some(Answer::of(head, check.method.as_str(), &check.path))
}

/// What to do where the check does not want what it got.
fn advice(failure: &Failure, seen: &Seen, check: &HttpCheck) -> Option<String> {
    match failure.cause {
        Cause::HealthStatus => answer(seen, check).map(unwanted),
        Cause::HealthBody => Some("If the app is well, set health.expect_body to what it says then.".to_owned()),
        _ => None,
    }
}

/// A request as clients send it. Whatever status it has: HTTP works.
async fn visited(look: &Look<'_>, report: &mut Report) -> Option<Wrong> {
    let visit = look.visit(look.path());
    let host = visit.host.as_ref().map_or(look.endpoint.host(), |host| host.to_str().unwrap_or_default());
    let asked = format!("GET {}, Host: {host}", visit.target);
    let visited = probe::visit(&look.endpoint, &visit).await;
    let (seen, failure) = (&visited.seen, visited.result.err());
    let limit = look.limit_of_visit();
    exchange(report, &asked, seen, visited.elapsed, failure.as_ref(), (limit, visit.buffers.response_head));
    if let Some(failure) = failure {
        return Some(Wrong::new(failure, limit, &look.endpoint));
    }
    let head = seen.head.as_ref()?;
    if head.status == 101 {
        // Requests would fail like this.
        let failure = Failure::new(Cause::UpgradeFailed).sent(true).seen("101 to a request without Upgrade");
        return Some(Wrong::new(failure, limit, &look.endpoint));
    }
    if let Some(wrong) = behind(look, head.status, limit, report).await {
        return Some(wrong);
    }
    report.notes.extend(surprising(Answer::of(head, "GET", visit.target.as_str())));
    let most = visit.buffers.response_head as u64;
    if head.bytes > most / 4 * 3 {
        let (bytes, most) = (approximate(head.bytes), sized(most));
        report.notes.push(format!("Its head of {bytes} is near the limit, {most} (buffers.response_head)."));
    }
    None
}

/// The pool's check, where it asks another port or in another way than requests do. A TCP check has been made.
async fn check_elsewhere(look: &Look<'_>, report: &mut Report) -> Option<Wrong> {
    let health = look.target.pool.health.as_ref()?;
    if matches!(health.check, Check::Tcp) && health.port.is_none() {
        return None;
    }
    let failed = match probe::once(&look.endpoint, health).await {
        Ok(facts) => {
            report.steps.push(Step::new("check", facts.elapsed, facts.sentence));
            return None;
        }
        Err(failed) => failed,
    };
    let failure = *failed.failure;
    let at = probe::at_port(&look.endpoint, health.port);
    let matter = matter(&failure, CHECK);
    let said = if Arc::ptr_eq(&at, &look.endpoint) { matter } else { format!("{}  {matter}", at.authority) };
    report.steps.push(Step::new("check", failed.elapsed, said).because(failure.cause));
    let advice = match &health.check {
        Check::Http(check) => {
            host::of_check(look, health, &failure).await.or_else(|| advice(&failure, &failed.seen, check))
        }
        Check::Tcp | Check::Grpc(_) => None,
    };
    Some(Wrong { advice, ..Wrong::new(failure, CHECK, &at) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::probe::target::targets;
    use crate::config::Config;

    #[test]
    fn one_of_several_addresses_has_the_id_that_the_proxy_gives_it() {
        let text = "[pool.app]\nupstreams = [{ address = \"app:3000\", name = \"b\" }, \"app:3001\"]\n";
        let all = targets(&[], Some(&Config::from_toml(text).unwrap())).unwrap();
        let of = |at: usize, ip: Option<&str>| named(&all[at], ip.map(|ip| ip.parse().unwrap()));
        assert_eq!(of(0, Some("10.0.0.1")), ("b@10.0.0.1".to_owned(), "b@10.0.0.1 (app:3000)".to_owned()));
        assert_eq!(of(1, Some("10.0.0.1")), ("app:3001@10.0.0.1".to_owned(), "app:3001@10.0.0.1".to_owned()));
        assert_eq!(of(0, None), ("b".to_owned(), "b (app:3000)".to_owned()));
    }
}

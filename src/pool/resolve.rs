//! Names to endpoints: keeps the members of a pool in step with the name server.
//!
//! One task for each entry with a name. The hosts file comes first, then the name server: A records, AAAA records where
//! there is no A (CONTRACT §2). Both files are read anew each time, so that a changed one is seen without a restart. A
//! failed look-up never takes addresses away, and no state of the name service stops the start.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::ProtoError;
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, Record, RecordType};
use hickory_resolver::{Hosts, TokioResolver};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::cause::{Cause, Failure, spoken};
use crate::config::Host;
use crate::config::address::Dial;
use crate::observe::events;

use super::Pool;

/// From one answer to the next question.
const AGAIN: Duration = Duration::from_secs(10);
/// The same while there was never an address: the app may be about to start.
const AGAIN_WITHOUT: Duration = Duration::from_secs(2);
/// The most addresses that one name may bring into a pool.
const MOST: usize = 1024;

/// Why a name has no address: a `dns_*` cause, and what was said.
pub type Why = (Cause, String);

/// Follows the names of the pool until `stop`; returns at once if it has none.
pub async fn run(pool: Arc<Pool>, stop: CancellationToken) {
    let mut names = JoinSet::new();
    for (index, entry) in pool.config.upstreams.iter().enumerate() {
        if let Host::Name(name) = &entry.address.host {
            let (name, limit) = (Arc::clone(name), pool.config.timeouts.resolve);
            let look_up = move || look_up(Arc::clone(&name), limit);
            names.spawn(follow(Arc::clone(&pool), index, entry.address.port, look_up));
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

/// Asks again and again, and tells the pool.
async fn follow<F, A>(pool: Arc<Pool>, entry: usize, port: u16, look_up: F)
where
    F: Fn() -> A,
    A: Future<Output = Result<Vec<IpAddr>, Why>>,
{
    let Some(name) = pool.config.upstreams.get(entry).map(|entry| entry.address.to_string()) else { return };
    let mut heard = Heard::default();
    loop {
        let mut answer = look_up().await;
        if let Ok(ips) = &mut answer {
            ips.sort_unstable();
            ips.dedup();
            ips.truncate(MOST);
        }
        match heard.take(&answer) {
            News::None => {}
            News::Addresses { came, went } => events::addresses_changed(&pool.config.name, &name, &came, &went),
            News::Failure(why) => {
                events::name_not_resolved(&pool.config.name, &name, &failure(why, pool.config.timeouts.resolve));
            }
        }
        let known = !heard.ips.is_empty();
        match answer {
            Ok(ips) => {
                let addresses = ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
                pool.set_addresses(entry, Dial::Addresses(addresses), Instant::now());
            }
            Err(why) if !known => pool.set_addresses(entry, Dial::Unresolved(Some(why)), Instant::now()),
            Err(_) => {} // The last good addresses stay in use.
        }
        sleep(if known { AGAIN } else { AGAIN_WITHOUT }).await;
    }
}

/// What was heard of a name so far, so that only news are told.
#[derive(Debug, Default)]
struct Heard {
    /// The last good answer, sorted.
    ips: Vec<IpAddr>,
    /// Why the last answer was none.
    failed: Option<Cause>,
}

/// What an answer says that was not known.
#[derive(Debug, PartialEq, Eq)]
enum News<'a> {
    None,
    Addresses { came: Vec<IpAddr>, went: Vec<IpAddr> },
    Failure(&'a Why),
}

impl Heard {
    /// The first addresses of a name are news only after a failure: else they are what was to be expected.
    fn take<'a>(&mut self, answer: &'a Result<Vec<IpAddr>, Why>) -> News<'a> {
        match answer {
            Ok(ips) => {
                let expected = self.ips.is_empty() && self.failed.is_none();
                self.failed = None;
                let old = std::mem::replace(&mut self.ips, ips.clone());
                if expected || old == *ips {
                    return News::None;
                }
                let without = |all: &[IpAddr], others: &[IpAddr]| -> Vec<IpAddr> {
                    all.iter().filter(|ip| !others.contains(ip)).copied().collect()
                };
                News::Addresses { came: without(ips, &old), went: without(&old, ips) }
            }
            Err(why) if self.failed == Some(why.0) => News::None,
            Err(why) => {
                self.failed = Some(why.0);
                News::Failure(why)
            }
        }
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

/// One question to the system's own name service, within `limit`. Never an empty list.
///
/// # Errors
/// Why there is no address.
pub async fn look_up(name: Arc<str>, limit: Duration) -> Result<Vec<IpAddr>, Why> {
    let parsed = Name::from_utf8(&name).map_err(|e| (Cause::DnsNotFound, format!("not a possible name: {e}")))?;
    if let Some(ips) = Hosts::from_system().ok().and_then(|hosts| in_hosts(&hosts, &parsed)) {
        return Ok(ips);
    }
    let system = TokioResolver::builder_tokio().and_then(|mut builder| {
        let options = builder.options_mut();
        // So that a lost datagram is sent once more within our own clock.
        options.timeout = options.timeout.min(limit / 2);
        builder.build()
    });
    match system {
        Ok(resolver) => ask(&resolver, &parsed, limit).await,
        Err(error) => Err((Cause::DnsFailure, format!("/etc/resolv.conf cannot be used: {error}"))),
    }
}

/// What the hosts file says of the name.
fn in_hosts(hosts: &Hosts, name: &Name) -> Option<Vec<IpAddr>> {
    [RecordType::A, RecordType::AAAA].into_iter().find_map(|kind| {
        let found = hosts.lookup_static_host(&Query::query(name.clone(), kind))?;
        Some(ips(found.answers())).filter(|ips| !ips.is_empty())
    })
}

/// What the name server says of the name, within `limit`.
async fn ask(resolver: &TokioResolver, name: &Name, limit: Duration) -> Result<Vec<IpAddr>, Why> {
    let asked = timeout(limit, async {
        match resolver.ipv4_lookup(name.clone()).await {
            Ok(found) => Ok(found),
            Err(error) if error.is_no_records_found() => resolver.ipv6_lookup(name.clone()).await,
            Err(error) => Err(error),
        }
    });
    let late = || (Cause::DnsTimeout, format!("no answer within {}", spoken(limit)));
    match asked.await {
        Ok(Ok(found)) => match ips(found.answers()) {
            ips if ips.is_empty() => Err(no_address()),
            ips => Ok(ips),
        },
        Ok(Err(NetError::Timeout)) | Err(_) => Err(late()),
        Ok(Err(error)) => Err(why(&error)),
    }
}

fn ips(records: &[Record]) -> Vec<IpAddr> {
    records.iter().filter_map(|record| record.data.ip_addr()).collect()
}

fn no_address() -> Why {
    (Cause::DnsNotFound, "the name exists, but has no address".to_owned())
}

fn why(error: &NetError) -> Why {
    match error {
        _ if error.is_nx_domain() => (Cause::DnsNotFound, "no such name".to_owned()),
        _ if error.is_no_records_found() => no_address(),
        NetError::Dns(DnsError::ResponseCode(code)) => (Cause::DnsFailure, rcode(*code)),
        NetError::Proto(ProtoError::Msg(said)) => (Cause::DnsFailure, said.clone()),
        _ => (Cause::DnsFailure, error.to_string()),
    }
}

/// Its name as in the registry of RCODEs (RFC 9209 §2.3.2 `rcode`), where it is one of those that a name server gives.
fn rcode(code: ResponseCode) -> String {
    match code {
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::Refused => "REFUSED",
        other => other.to_str(),
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
    use hickory_resolver::net::runtime::TokioRuntimeProvider;
    use tokio::net::UdpSocket;

    use super::super::tests::{pool, unchecked};
    use super::*;

    const LIMIT: Duration = Duration::from_secs(2);

    /// A resolver that asks this port of loopback alone.
    fn resolver(port: u16) -> TokioResolver {
        let mut udp = ConnectionConfig::udp();
        udp.port = port;
        let server = NameServerConfig::new(IpAddr::from([127, 0, 0, 1]), true, vec![udp]);
        let config = ResolverConfig::from_parts(None, vec![], vec![server]);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.options_mut().edns0 = false;
        builder.options_mut().use_hosts_file = hickory_resolver::config::ResolveHosts::Never;
        builder.build().unwrap()
    }

    /// A name server: NXDOMAIN for `gone.`, SERVFAIL for `sick.`, A for `app.`, AAAA alone for `six.`, silent for `mute.`.
    async fn name_server() -> u16 {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        tokio::spawn(async move {
            let mut query = [0; 512];
            while let Ok((length, peer)) = socket.recv_from(&mut query).await {
                let query = &query[..length];
                let name = &query[13..13 + usize::from(query[12])];
                let kind = query[12 + name.len() + 3];
                let (code, answer): (u8, &[u8]) = match (name, kind) {
                    (b"gone", _) => (3, &[]),
                    (b"sick", _) => (2, &[]),
                    (b"app", 1) => (0, &[10, 0, 0, 7]),
                    (b"six", 28) => (0, &[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]),
                    (b"mute", _) => continue,
                    _ => (0, &[]),
                };
                let question = &query[12..12 + name.len() + 6];
                let mut reply = vec![query[0], query[1], 0x81, 0x80 | code, 0, 1, 0, u8::from(!answer.is_empty())];
                reply.extend([0, 0, 0, 0]);
                reply.extend(question);
                if !answer.is_empty() {
                    reply.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 60, 0, u8::try_from(answer.len()).unwrap()]);
                    reply.extend(answer);
                }
                socket.send_to(&reply, peer).await.unwrap();
            }
        });
        port
    }

    async fn answer(name: &str, limit: Duration) -> Result<Vec<IpAddr>, Why> {
        ask(&resolver(name_server().await), &Name::from_utf8(name).unwrap(), limit).await
    }

    #[tokio::test]
    async fn a_records_and_aaaa_where_there_is_no_a() {
        assert_eq!(answer("app.", LIMIT).await, Ok(vec![IpAddr::from([10, 0, 0, 7])]));
        assert_eq!(answer("six.", LIMIT).await, Ok(vec!["fd00::7".parse().unwrap()]));
    }

    #[tokio::test]
    async fn no_such_name_a_sick_server_and_silence_are_told_apart() {
        assert_eq!(answer("gone.", LIMIT).await, Err((Cause::DnsNotFound, "no such name".to_owned())));
        assert_eq!(answer("empty.", LIMIT).await, Err(no_address()));
        assert_eq!(answer("sick.", LIMIT).await, Err((Cause::DnsFailure, "SERVFAIL".to_owned())));
        let late = answer("mute.", Duration::from_millis(50)).await;
        assert_eq!(late, Err((Cause::DnsTimeout, "no answer within 50.0 ms".to_owned())));
    }

    #[test]
    fn the_hosts_file_answers_for_both_families() {
        let mut hosts = Hosts::default();
        hosts.read_hosts_conf(&b"10.0.0.1 app app.local\nfd00::1 six\n"[..]).unwrap();
        let said = |name: &str| in_hosts(&hosts, &Name::from_utf8(name).unwrap());
        assert_eq!(said("app"), Some(vec![IpAddr::from([10, 0, 0, 1])]));
        assert_eq!(said("six"), Some(vec!["fd00::1".parse().unwrap()]));
        assert_eq!(said("other"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_good_addresses_outlive_a_failure_and_the_pace_is_kept() {
        let pool = Arc::new(pool(&["app:1"], unchecked()));
        let not_found = || Err((Cause::DnsNotFound, "no such name".to_owned()));
        let answers = Arc::new(Mutex::new(vec![
            not_found(),
            Ok(vec![IpAddr::from([10, 0, 0, 1])]),
            not_found(),
            Ok(vec![IpAddr::from([10, 0, 0, 2])]),
        ]));
        let asked = Arc::new(AtomicUsize::new(0));
        let (from, counter) = (Arc::clone(&answers), Arc::clone(&asked));
        let look_up = move || {
            counter.fetch_add(1, Ordering::Relaxed);
            let mut left = from.lock().unwrap();
            std::future::ready(if left.len() > 1 { left.remove(0) } else { left[0].clone() })
        };
        let task = tokio::spawn(follow(Arc::clone(&pool), 0, 1, look_up));
        let dial = || pool.members()[0].endpoint.dial.clone();
        let of = |last| Dial::Addresses(vec![SocketAddr::from(([10, 0, 0, last], 1))]);
        let start = tokio::time::Instant::now();
        for (at, dialled) in [(0, Dial::Unresolved(not_found().err())), (2, of(1)), (12, of(1)), (22, of(2))] {
            tokio::time::sleep_until(start + Duration::from_millis(at * 1000 + 500)).await;
            assert_eq!(dial(), dialled, "after {at} s");
        }
        assert_eq!(asked.load(Ordering::Relaxed), 4);
        task.abort();
    }

    #[test]
    fn only_news_are_told() {
        let ip = |last| IpAddr::from([10, 0, 0, last]);
        let (gone, late) = (Err((Cause::DnsNotFound, "no".to_owned())), Err((Cause::DnsTimeout, "late".to_owned())));
        let mut heard = Heard::default();
        assert_eq!(heard.take(&Ok(vec![ip(1), ip(2)])), News::None, "the first answer");
        assert_eq!(heard.take(&Ok(vec![ip(1), ip(2)])), News::None);
        assert_eq!(heard.take(&Ok(vec![ip(2), ip(3)])), News::Addresses { came: vec![ip(3)], went: vec![ip(1)] });
        assert_eq!(heard.take(&gone), News::Failure(gone.as_ref().unwrap_err()));
        assert_eq!(heard.take(&gone), News::None, "once");
        assert_eq!(heard.take(&late), News::Failure(late.as_ref().unwrap_err()), "another reason");
        assert_eq!(heard.take(&Ok(vec![ip(2), ip(3)])), News::None, "nothing has changed");
        assert_eq!(heard.take(&gone), News::Failure(gone.as_ref().unwrap_err()), "it had worked between");
        let mut never = Heard::default();
        never.take(&gone);
        assert_eq!(never.take(&Ok(vec![ip(1)])), News::Addresses { came: vec![ip(1)], went: vec![] });
    }

    #[tokio::test]
    async fn a_pool_without_names_needs_nobody_to_follow_it() {
        run(Arc::new(pool(&["10.0.0.1:1"], unchecked())), CancellationToken::new()).await;
    }
}

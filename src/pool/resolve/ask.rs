//! One question to the name service: the hosts file first, then the name servers; A records, AAAA records where there
//! is no A (CONTRACT §2), or the SRV records of a service. `/etc/hosts` and `/etc/resolv.conf` are read anew each time,
//! so that a changed one is seen without a restart. It keeps nothing.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::ProtoError;
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::{Hosts, TokioResolver};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::cause::{Cause, spoken};
use crate::config::address::{Host, UPSTREAMS_FILE};
use crate::config::{Address, targets};

use super::heard::MOST;
use super::service::{self, Served};
use super::{Answer, LATEST, Place, Why};

/// The most records of a service that are taken; each may need two questions more.
const RECORDS: usize = 256;
/// Questions at once for the targets of one service.
const AT_ONCE: usize = 16;

/// What the address stands for: one question, with those that follow from it, within `limit`. `servers` are asked, as
/// written and without search domains; none: those of `/etc/resolv.conf`, with its search domains.
///
/// # Errors
/// Why there is no address.
pub async fn look_up(address: &Address, servers: &[SocketAddr], limit: Duration) -> Result<Answer, Why> {
    let (name, service) = match &address.host {
        Host::Name(name) => (name, false),
        Host::Service(name) => (name, true),
        Host::Listed(path) => {
            let why = targets::read(path).err();
            let why = why.map_or_else(|| "it was not read".to_owned(), |problem| targets::told(&problem));
            return Err((Cause::DnsFailure, format!("{UPSTREAMS_FILE} {}: {why}", path.display())));
        }
        Host::Localhost | Host::Ip(_) | Host::Unix(_) => {
            return Err((Cause::DnsNotFound, "it is not a name".to_owned()));
        }
    };
    let parsed = Name::from_utf8(name).map_err(|e| (Cause::DnsNotFound, format!("not a possible name: {e}")))?;
    let hosts = Hosts::from_system().ok().map(Arc::new);
    if let Some(ips) = hosts.as_ref().filter(|_| !service).and_then(|hosts| in_hosts(hosts, &parsed)) {
        return Ok(plain(ips, address.port, LATEST));
    }
    let resolver = resolver(servers, limit)
        .map_err(|error| (Cause::DnsFailure, format!("/etc/resolv.conf cannot be used: {error}")))?;
    let asked = async {
        if service {
            return places(&resolver, hosts.as_ref(), &parsed).await;
        }
        let (ips, ttl) = addresses(&resolver, parsed).await?;
        Ok(plain(ips, address.port, ttl))
    };
    match timeout(limit, asked).await {
        Ok(Err((Cause::DnsTimeout, _))) | Err(_) => {
            Err((Cause::DnsTimeout, format!("no answer within {}", spoken(limit))))
        }
        Ok(answer) => answer,
    }
}

/// The places of a name: each of its addresses.
fn plain(mut ips: Vec<IpAddr>, port: u16, ttl: Duration) -> Answer {
    ips.sort_unstable();
    ips.dedup();
    ips.truncate(MOST);
    let place = |ip| Place { at: SocketAddr::new(ip, port), weight: None, backup: false };
    Answer { places: ips.into_iter().map(place).collect(), ttl }
}

fn resolver(servers: &[SocketAddr], limit: Duration) -> Result<TokioResolver, NetError> {
    let mut builder = if servers.is_empty() {
        TokioResolver::builder_tokio()?
    } else {
        let server = |server: &SocketAddr| {
            // A truncated answer is asked for again over TCP.
            let mut both = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
            both.iter_mut().for_each(|way| way.port = server.port());
            NameServerConfig::new(server.ip(), true, both)
        };
        let config = ResolverConfig::from_parts(None, vec![], servers.iter().map(server).collect());
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    options.use_hosts_file = ResolveHosts::Never;
    // So that a lost datagram is sent once more within our own clock.
    options.timeout = options.timeout.min(limit / 2);
    builder.build()
}

/// What the hosts file says of the name.
fn in_hosts(hosts: &Hosts, name: &Name) -> Option<Vec<IpAddr>> {
    [RecordType::A, RecordType::AAAA].into_iter().find_map(|kind| {
        let found = hosts.lookup_static_host(&Query::query(name.clone(), kind))?;
        Some(ips(found.answers())).filter(|ips| !ips.is_empty())
    })
}

/// What the name server says of the name, and how long that is good for.
async fn addresses(resolver: &TokioResolver, name: Name) -> Result<(Vec<IpAddr>, Duration), Why> {
    let found = match resolver.ipv4_lookup(name.clone()).await {
        Err(error) if error.is_no_records_found() => resolver.ipv6_lookup(name).await,
        found => found,
    };
    let found = found.map_err(|error| why(&error, "address"))?;
    match ips(found.answers()) {
        ips if ips.is_empty() => Err(nothing("address")),
        ips => Ok((ips, ttl(found.answers()))),
    }
}

/// Where the service runs. A target that does not exist is left out; one of which nothing can be told just now makes
/// the answer none, so that nobody is taken out for it.
async fn places(resolver: &TokioResolver, hosts: Option<&Arc<Hosts>>, name: &Name) -> Result<Answer, Why> {
    let found = resolver.lookup(name.clone(), RecordType::SRV).await.map_err(|error| why(&error, "SRV record"))?;
    let records: Vec<&SRV> = found.answers().iter().filter_map(|record| srv(&record.data)).take(RECORDS).collect();
    if records.is_empty() {
        return Err(nothing("SRV record"));
    }
    let mut good_for = ttl(found.answers());
    let mut known: BTreeMap<Name, Vec<IpAddr>> = BTreeMap::new();
    let mut open: Vec<Name> = Vec::new();
    for record in &records {
        let target = &record.target;
        if known.contains_key(target) || open.contains(target) || target.is_root() {
            continue; // "." is a service that is not there (RFC 2782).
        }
        let beside = found.additionals().iter().filter(|extra| extra.name == *target).cloned().collect::<Vec<_>>();
        let of = |kind| ips(&beside.iter().filter(|extra| extra.record_type() == kind).cloned().collect::<Vec<_>>());
        let said = Some(of(RecordType::A)).filter(|ips| !ips.is_empty()).unwrap_or_else(|| of(RecordType::AAAA));
        if let Some(ips) = hosts.and_then(|hosts| in_hosts(hosts, target)) {
            known.insert(target.clone(), ips);
        } else if said.is_empty() {
            open.push(target.clone());
        } else {
            good_for = good_for.min(ttl(&beside));
            known.insert(target.clone(), said);
        }
    }
    let (mut asked, mut missing) = (JoinSet::new(), None);
    loop {
        while asked.len() < AT_ONCE
            && let Some(target) = open.pop()
        {
            let resolver = resolver.clone();
            asked.spawn(async move { (target.clone(), addresses(&resolver, target).await) });
        }
        match asked.join_next().await {
            None => break,
            Some(Err(ended)) => return Err((Cause::DnsFailure, ended.to_string())),
            Some(Ok((target, Ok((ips, ttl))))) => {
                good_for = good_for.min(ttl);
                known.insert(target, ips);
            }
            Some(Ok((target, Err((Cause::DnsNotFound, said))))) => {
                missing = Some(format!("its target {target}: {said}"))
            }
            Some(Ok((_, Err(why)))) => return Err(why),
        }
    }
    let served = records.iter().map(|record| Served {
        priority: record.priority,
        weight: record.weight,
        port: record.port,
        ips: known.get(&record.target).cloned().unwrap_or_default(),
    });
    let mut places = service::places(&served.filter(|served| served.port != 0).collect::<Vec<_>>());
    places.truncate(MOST);
    if places.is_empty() {
        return Err((Cause::DnsNotFound, missing.unwrap_or_else(|| "its records say that it runs nowhere".to_owned())));
    }
    Ok(Answer { places, ttl: good_for })
}

const fn srv(data: &RData) -> Option<&SRV> {
    if let RData::SRV(srv) = data { Some(srv) } else { None }
}

/// How long all of these are good for.
fn ttl(records: &[Record]) -> Duration {
    Duration::from_secs(records.iter().map(|record| record.ttl).min().unwrap_or(0).into())
}

fn ips(records: &[Record]) -> Vec<IpAddr> {
    records.iter().filter_map(|record| record.data.ip_addr()).collect()
}

fn nothing(what: &str) -> Why {
    (Cause::DnsNotFound, format!("the name exists, but has no {what}"))
}

fn why(error: &NetError, what: &str) -> Why {
    match error {
        NetError::Timeout => (Cause::DnsTimeout, "no answer".to_owned()),
        _ if error.is_nx_domain() => (Cause::DnsNotFound, "no such name".to_owned()),
        _ if error.is_no_records_found() => nothing(what),
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
    use tokio::net::UdpSocket;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(2);

    /// A name server: NXDOMAIN for `gone.`, SERVFAIL for `sick.`, A for `app.`, AAAA alone for `six.`, silent for
    /// `mute.`; all good for 60 s.
    async fn name_server() -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
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
        address
    }

    async fn answer(name: &str, limit: Duration) -> Result<Answer, Why> {
        let address = Address::plain(Host::Name(name.into()), 80);
        look_up(&address, &[name_server().await], limit).await
    }

    fn one(ip: &str) -> Result<Answer, Why> {
        Ok(plain(vec![ip.parse().unwrap()], 80, Duration::from_secs(60)))
    }

    #[tokio::test]
    async fn a_records_and_aaaa_where_there_is_no_a() {
        assert_eq!(answer("app", LIMIT).await, one("10.0.0.7"));
        assert_eq!(answer("six", LIMIT).await, one("fd00::7"));
    }

    #[tokio::test]
    async fn no_such_name_a_sick_server_and_silence_are_told_apart() {
        assert_eq!(answer("gone", LIMIT).await, Err((Cause::DnsNotFound, "no such name".to_owned())));
        assert_eq!(answer("empty", LIMIT).await, Err(nothing("address")));
        assert_eq!(answer("sick", LIMIT).await, Err((Cause::DnsFailure, "SERVFAIL".to_owned())));
        let late = answer("mute", Duration::from_millis(50)).await;
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
}

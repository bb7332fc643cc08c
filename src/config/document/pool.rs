//! A pool in the document, and what routes may have from it.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use http::HeaderMap;
use serde_json::{Value, json};

use super::{MASK, count_or, mark, off_or_time, size, time, without_userinfo};
use crate::config::address::Host;
use crate::config::model::{Check, Entry, Health, HostHeader, Pool, PoolTls, Retry, Statuses, Timeouts};

pub(super) fn pool(pool: &Pool) -> Value {
    let host_header = host_header(&pool.host_header);
    let (passive, limits, buffers, kept) = (&pool.passive, &pool.limits, &pool.buffers, &pool.connections);
    let failures =
        |count: Option<std::num::NonZeroU32>| count.map_or_else(|| "off".into(), |count| Value::from(count.get()));
    json!({
        "upstreams": pool.upstreams.iter().filter(|entry| !matches!(entry.address.host, Host::Listed(_))).map(entry).collect::<Vec<_>>(),
        "upstreams_file": pool.upstreams_file().map(|file| file.display().to_string()).unwrap_or_default(),
        "balance": pool.balance.to_string(),
        "sticky": pool.sticky.as_deref().unwrap_or_default(),
        "host_header": host_header,
        "slow_start": off_or_time(Some(pool.slow_start)),
        "when_all_evicted": if pool.last_resort { "try" } else { "fail" },
        "wait": off_or_time(Some(pool.wait)),
        "health": pool.health.as_ref().map_or_else(|| json!({ "type": "off" }), health),
        "passive": {
            "connect_failures": failures(passive.connect_failures),
            "gateway_failures": failures(passive.gateway_failures),
            "evict": time(passive.evict),
            "evict_max": time(passive.evict_max),
            "max_evicted": format!("{}%", passive.max_evicted),
        },
        "timeouts": timeouts(&pool.timeouts),
        "retry": retry(&pool.retry),
        "buffers": {
            "request": size(buffers.request),
            "response_head": size(buffers.response_head),
            "response": size(buffers.response),
        },
        "connections": { "idle": time(kept.idle), "max_idle": kept.max_idle, "max_age": time(kept.max_age) },
        "tls": pool_tls(pool.tls.as_deref()),
        "limits": {
            "in_flight": count_or(limits.in_flight, "off"),
            "queue": limits.queue,
            "queue_timeout": time(limits.queue_timeout),
        },
    })
}

/// Where secrets lie may be read.
fn pool_tls(tls: Option<&PoolTls>) -> Value {
    let file = |file: fn(&PoolTls) -> &Option<PathBuf>| {
        tls.and_then(|tls| file(tls).as_ref()).map(|file| file.display().to_string()).unwrap_or_default()
    };
    let server_name = tls.and_then(|tls| tls.server_name.as_ref()).map(|name| name.to_str().into_owned());
    json!({
        "ca": file(|tls| &tls.ca),
        "server_name": server_name.unwrap_or_default(),
        "cert": file(|tls| &tls.cert),
        "key": file(|tls| &tls.key),
        "verify": tls.is_none_or(|tls| tls.verify),
    })
}

fn entry(entry: &Entry) -> Value {
    let in_flight = entry.in_flight.filter(|most| *most < NonZeroUsize::MAX);
    let mut all = json!({
        "address": without_userinfo(&entry.address.to_string()),
        "weight": entry.weight,
        "backup": entry.backup,
        "proxy_protocol": entry.proxy_protocol,
    });
    if let Some(all) = all.as_object_mut() {
        all.extend(entry.name.iter().map(|name| ("name".to_owned(), Value::from(&**name))));
        all.extend(entry.in_flight.map(|_| ("in_flight".to_owned(), count_or(in_flight, "off"))));
    }
    all
}

fn health(health: &Health) -> Value {
    let mut all = json!({
        "type": "tcp",
        "port": health.port.map_or_else(|| "same".into(), Value::from),
        "interval": time(health.interval),
        "timeout": time(health.timeout),
        "healthy_after": health.healthy_after,
        "unhealthy_after": health.unhealthy_after,
    });
    let host = |host: Option<&http::HeaderValue>| host.map_or("", |host| host.to_str().unwrap_or(MASK)).to_owned();
    let more = match &health.check {
        Check::Tcp => Value::Null,
        Check::Http(check) => json!({
            "type": "http",
            // What follows may be a key.
            "path": check.path.split_once('?')
                .map_or_else(|| check.path.clone(), |(path, query)| mark(format_args!("{path}?{MASK}"), query)),
            "method": check.method.as_str(),
            "host_header": host(check.host_header.as_ref()),
            "headers": masked(&check.headers),
            "expect_status": ranges(&check.expect_status),
            "expect_body": check.expect_body,
        }),
        Check::Grpc(check) => json!({
            "type": "grpc",
            "path": check.service,
            "host_header": host(check.host_header.as_ref()),
            "headers": masked(&check.headers),
        }),
    };
    if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
        all.extend(more);
    }
    all
}

/// What a field is called may be read, what it says may not.
fn masked(fields: &HeaderMap) -> BTreeMap<&str, String> {
    let all = |name| fields.get_all(name).iter().map(http::HeaderValue::as_bytes).collect::<Vec<_>>();
    fields.keys().map(|name| (name.as_str(), mark(MASK, &all(name)))).collect()
}

fn host_header(said: &HostHeader) -> String {
    match said {
        HostHeader::Client => "client".to_owned(),
        HostHeader::Upstream => "upstream".to_owned(),
        HostHeader::Literal(host) => host.to_str().unwrap_or(MASK).to_owned(),
    }
}

pub(super) fn timeouts(timeouts: &Timeouts) -> Value {
    json!({
        "resolve": time(timeouts.resolve),
        "connect": time(timeouts.connect),
        "tls": time(timeouts.tls),
        "write": time(timeouts.write),
        "read": time(timeouts.read),
        "body": time(timeouts.body),
        "request": off_or_time(timeouts.request),
        "tunnel": off_or_time(timeouts.tunnel),
    })
}

pub(super) fn retry(retry: &Retry) -> Value {
    let resend = match retry.resend {
        None => "all".into(),
        Some(0) => "off".into(),
        Some(count) => Value::from(count),
    };
    json!({
        "attempts": count_or(retry.attempts, "all"),
        "resend": resend,
        "idempotency_key": retry.idempotency_key,
        "on_status": statuses(&retry.on_status),
        "deadline": off_or_time(retry.deadline),
        "budget": retry.budget.map_or_else(|| "off".to_owned(), |percent| format!("{percent}%")),
    })
}

fn statuses(set: &Statuses) -> Vec<u16> {
    (400..600).filter(|status| set.contains(*status)).collect()
}

fn ranges(ranges: &[(u16, u16)]) -> String {
    let range = |(from, to): &(u16, u16)| if from == to { from.to_string() } else { format!("{from}-{to}") };
    ranges.iter().map(range).collect::<Vec<_>>().join(", ")
}

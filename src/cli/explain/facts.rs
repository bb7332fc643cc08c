//! What the table of causes and the defaults of the config say of a cause, in sentences. Nothing here is known of
//! itself.

use crate::cause::{Cause, Fault, Phase, Retry};
use crate::config::Config;
use crate::config::model::{Check, Pool};
use crate::config::units::{duration_text, size_text};
use crate::health::Blame;
use crate::pool::report::blame;

/// A configuration that says as little as it can, so that all else is the default.
const LEAST: &str = "[pool.app]\nupstreams = [\"127.0.0.1:3000\"]\nhealth.path = \"/\"\n";

/// The default of a key of a pool (or with its table in front: `listener.NAME.limits.head`), as the file writes it.
pub(super) fn default_of(key: &str) -> Option<String> {
    let config = Config::from_toml(LEAST).ok()?;
    let (pool, listener) = (config.pools.first()?, config.listeners.first()?);
    let or_off = |set: Option<String>| set.unwrap_or_else(|| "off".to_owned());
    Some(match key {
        "timeouts.resolve" => duration_text(pool.timeouts.resolve),
        "timeouts.connect" => duration_text(pool.timeouts.connect),
        "timeouts.tls" => duration_text(pool.timeouts.tls),
        "tls.ca" | "tls.server_name" | "tls.cert" => "none".to_owned(),
        "timeouts.write" => duration_text(pool.timeouts.write),
        "timeouts.read" => duration_text(pool.timeouts.read),
        "timeouts.body" => duration_text(pool.timeouts.body),
        "timeouts.tunnel" => or_off(pool.timeouts.tunnel.map(duration_text)),
        "timeouts.request" => or_off(pool.timeouts.request.map(duration_text)),
        "retry.deadline" => or_off(pool.retry.deadline.map(duration_text)),
        "wait" if pool.wait.is_zero() => "off".to_owned(),
        "wait" => duration_text(pool.wait),
        "when_all_evicted" => if pool.last_resort { "try" } else { "fail" }.to_owned(),
        "buffers.request" => size_text(pool.buffers.request as u64),
        "buffers.response_head" => size_text(pool.buffers.response_head as u64),
        "buffers.response" => size_text(pool.buffers.response as u64),
        "connections.idle" => duration_text(pool.connections.idle),
        "connections.max_idle" => pool.connections.max_idle.to_string(),
        "limits.in_flight" => or_off(pool.limits.in_flight.map(|most| most.to_string())),
        "limits.queue" => pool.limits.queue.to_string(),
        "limits.queue_timeout" => duration_text(pool.limits.queue_timeout),
        "passive.connect_failures" => or_off(pool.passive.connect_failures.map(|most| most.to_string())),
        "passive.gateway_failures" => or_off(pool.passive.gateway_failures.map(|most| most.to_string())),
        "passive.evict" => duration_text(pool.passive.evict),
        "health.interval" => duration_text(pool.health.as_ref()?.interval),
        "health.unhealthy_after" => pool.health.as_ref()?.unhealthy_after.to_string(),
        "health.expect_status" => statuses(pool)?,
        "health.expect_body" => "none".to_owned(),
        "listener.NAME.timeouts.head" => duration_text(listener.head_timeout),
        "listener.NAME.timeouts.body" => duration_text(listener.body_timeout),
        "listener.NAME.limits.head" => size_text(listener.head_limit as u64),
        "listener.NAME.limits.fields" => listener.fields_limit.to_string(),
        "listener.NAME.limits.connections" => listener.connections_limit.map_or("auto".into(), |most| most.to_string()),
        "listener.NAME.limits.in_flight" => or_off(listener.in_flight_limit.map(|most| most.to_string())),
        "route.NAME.max_body" => or_off(config.routes.first()?.max_body.map(size_text)),
        "route.NAME.rate_limit" => {
            let layers = config.routes.first()?.layers.as_ref();
            or_off(layers.and_then(|layers| layers.rate_limit).map(|rate| rate.to_string()))
        }
        "route.NAME.allow" | "route.NAME.deny" | "route.NAME.basic_auth" | "trusted_proxies" => "none".to_owned(),
        "shutdown.grace" => duration_text(config.shutdown.grace),
        "shutdown.timeout" => duration_text(config.shutdown.timeout),
        _ => return None,
    })
}

fn statuses(pool: &Pool) -> Option<String> {
    let Check::Http(check) = &pool.health.as_ref()?.check else { return None };
    let ranges =
        check.expect_status.iter().map(|(from, to)| if from == to { from.to_string() } else { format!("{from}-{to}") });
    Some(ranges.collect::<Vec<_>>().join(","))
}

/// What the client gets.
pub(super) fn client(cause: Cause) -> String {
    let row = cause.row();
    let held = match row.phase {
        Phase::Body => ", while the answer is held back (buffers.response); later it is cut off",
        Phase::Queue | Phase::Resolve | Phase::Connect | Phase::Tls | Phase::Request | Phase::Head => "",
    };
    match row.status {
        0 => "nothing of it: health checks alone meet it".to_owned(),
        499 => "nothing: it is gone; the access log has 499".to_owned(),
        504 if row.retry == Retry::Never => "504".to_owned(),
        504 => format!("504 when every attempt timed out, else 502{held}"),
        503 if row.phase == Phase::Connect => "503 with Retry-After when nothing else failed, else 502".to_owned(),
        503 => "503 with Retry-After".to_owned(),
        status if row.retry == Retry::Never => status.to_string(),
        status => format!("{status} when no other upstream answers{held}"),
    }
}

/// Whether another upstream gets the request.
pub(super) fn failover(cause: Cause) -> String {
    let row = cause.row();
    match row.retry {
        _ if row.status == 0 => "a check is not repeated elsewhere".to_owned(),
        Retry::Never if matches!(row.fault, Fault::Client | Fault::Proxy) => {
            "none: no upstream could do better".to_owned()
        }
        Retry::Never if row.timeout => "none: no time is left".to_owned(),
        Retry::Never => "none: another upstream would probably do the same".to_owned(),
        Retry::Any if row.phase == Phase::Queue => "another upstream gets the request, if one is left".to_owned(),
        // The upstream's word for it (RFC 9113 §8.7).
        Retry::Any if row.phase == Phase::Head => {
            "any method: it promises that it did nothing with the request, so another upstream is tried".to_owned()
        }
        Retry::Any => "any method, any size: nothing was sent, so another upstream is tried".to_owned(),
        Retry::Idempotent => {
            let held = if row.phase == Phase::Body { " and the answer is held back" } else { "" };
            let deadline = default_of("retry.deadline").unwrap_or_default();
            format!(
                "GET, HEAD, PUT, DELETE, OPTIONS: another upstream, as long as retry.deadline ({deadline}) allows{held}; POST, \
                 PATCH: never, it may have acted"
            )
        }
    }
}

/// What it does to the health of the upstream.
pub(super) fn health(cause: Cause) -> String {
    let row = cause.row();
    let evicts = |what: &str, key: &str| {
        let count = default_of(key).unwrap_or_default();
        format!("{count} {what} in a row evict ({key})")
    };
    match blame(cause) {
        _ if row.status == 0 => evicts("checks", "health.unhealthy_after"),
        Some(Blame::Connect) => evicts("failures to connect", "passive.connect_failures"),
        Some(Blame::Gateway) => evicts("gateway failures", "passive.gateway_failures"),
        None if row.rfc9209 == "destination_unavailable" => "it is out already".to_owned(),
        None => "says nothing of any upstream's health".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::proxy::retry::idempotent;

    /// Said or unsaid, the result is the same.
    #[test]
    fn the_defaults_are_the_defaults() {
        let unsaid = format!("{:?}", Config::from_toml(LEAST).unwrap());
        let mut seen = 0;
        for (key, _) in Cause::ALL.iter().flat_map(|cause| cause.lore().limits) {
            let default = default_of(key).unwrap_or_else(|| panic!("{key}: no default"));
            let value = match default.parse::<u64>() {
                _ if ["allow", "deny", "trusted_proxies"].iter().any(|list| key.ends_with(list)) => "[]".to_owned(),
                _ if default == "none" => "\"\"".to_owned(),
                Ok(number) => number.to_string(),
                Err(_) => format!("\"{default}\""),
            };
            let said = match key.split_once(".NAME.") {
                Some(("listener", key)) => format!("{LEAST}[listener.main]\n{key} = {value}\n"),
                Some((table, key)) => format!("{LEAST}[{table}.main]\n{key} = {value}\n"),
                None if key.starts_with("shutdown.") || *key == "trusted_proxies" => {
                    format!("{key} = {value}\n{LEAST}")
                }
                None => format!("{LEAST}{key} = {value}\n"),
            };
            let config = Config::from_toml(&said).unwrap_or_else(|problems| panic!("{said}: {problems:#?}"));
            assert_eq!(format!("{config:?}"), unsaid, "{key} = {value} is not the default");
            seen += 1;
        }
        assert!(seen > 30);
    }

    #[test]
    fn what_it_says_of_methods_is_so() {
        let said = failover(Cause::ReadTimeout);
        let (again, never) = said.split_once(": another upstream").unwrap();
        for method in again.split(", ") {
            assert!(idempotent(&Method::from_bytes(method.as_bytes()).unwrap()), "{method}");
        }
        assert!(never.contains("POST, PATCH: never") && !idempotent(&Method::POST) && !idempotent(&Method::PATCH));
    }

    #[test]
    fn the_facts_of_some_causes() {
        assert_eq!(client(Cause::ReadTimeout), "504 when every attempt timed out, else 502");
        assert_eq!(client(Cause::RequestTimeout), "504");
        assert_eq!(client(Cause::ConnectionRefused), "502 when no other upstream answers");
        assert_eq!(client(Cause::FilesExhausted), "503 with Retry-After when nothing else failed, else 502");
        assert_eq!(client(Cause::NoRoute), "404");
        assert_eq!(health(Cause::ReadTimeout), "5 gateway failures in a row evict (passive.gateway_failures)");
        assert_eq!(health(Cause::ConnectionRefused), "3 failures to connect in a row evict (passive.connect_failures)");
        assert_eq!(health(Cause::StaleConnection), "says nothing of any upstream's health");
        assert_eq!(failover(Cause::RequestTimeout), "none: no time is left");
        assert!(failover(Cause::ConnectionRefused).contains("nothing was sent"));
        assert!(failover(Cause::H2StreamRefused).contains("it promises that it did nothing"));
    }
}

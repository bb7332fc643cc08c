//! What is legal in a pool and does not do what its author thinks: warnings, each with what to do.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::super::address::Scheme;
use super::super::model::{Check, Health, HostHeader, HttpCheck, Pool};
use super::super::read::Section;
use super::super::units::duration_text;

/// Few clients wait longer for an answer, and few load balancers.
const PATIENCE: Duration = Duration::from_secs(60);

/// The tables of a pool that have such keys.
pub(super) struct Tables<'a> {
    pub limits: &'a Section<'a>,
    pub passive: &'a Section<'a>,
    pub health: &'a Section<'a>,
}

/// Looks at a pool that is right.
pub(super) fn pool(section: &Section<'_>, tables: &Tables<'_>, pool: &Pool) {
    let Tables { limits, passive, health } = *tables;
    tiers(section, pool);
    alone(section, pool);
    queueing(limits, pool);
    resends(section, pool);
    waiting(section, pool);
    evictions(passive, pool);
    checks(section, health, pool);
}

/// Weights and backups that change nothing.
fn tiers(section: &Section<'_>, pool: &Pool) {
    let place = section.value_place("upstreams").unwrap_or(&section.place);
    let name = &pool.name;
    for backup in [false, true] {
        let mut tier = pool.upstreams.iter().filter(|entry| entry.backup == backup);
        if let (Some(only), None) = (tier.next(), tier.next())
            && only.weight != 1
        {
            let which = match (pool.upstreams.len(), backup) {
                (1, _) => format!("the only entry of pool `{name}`"),
                (_, true) => format!("the only backup of pool `{name}`"),
                (_, false) => format!("the only entry of pool `{name}` that is no backup"),
            };
            let message = format!("the weight of {which} changes nothing");
            section.cx.warn(place, message, "a weight is a share beside the others'; take it out");
        }
    }
    if !pool.upstreams.is_empty() && pool.upstreams.iter().all(|entry| entry.backup) {
        let message = format!("all upstreams of pool `{name}` are backups, and there is none to back up");
        section.cx.warn(place, message, "take backup = true out of those that serve while all is well");
    }
}

/// Words about other upstreams where there is one alone.
fn alone(section: &Section<'_>, pool: &Pool) {
    let [only] = pool.upstreams.as_slice() else { return };
    // A name may have several addresses, each an upstream.
    if only.address.host.may_be_several() {
        return;
    }
    let attempts = pool.retry.attempts.map_or(1, NonZeroUsize::get);
    if let (Some(place), true) = (section.value_place_in("retry", "attempts"), attempts > 1) {
        let message = format!("attempts = {attempts} changes nothing: pool `{}` has one upstream", pool.name);
        section.cx.warn(place, message, "each upstream is tried at most once; add another one");
    }
    // attempts = 1 and resend = "off" have had their word.
    let sends_on =
        !pool.retry.on_status.is_empty() && pool.retry.attempts != NonZeroUsize::new(1) && pool.retry.resend != Some(0);
    if let (Some(place), true) = (section.value_place_in("retry", "on_status"), sends_on) {
        let message = format!("`on_status` does nothing: pool `{}` has one upstream", pool.name);
        section.cx.warn(place, message, "the answer passes as it is, for there is no other to ask; add another one");
    }
}

/// What may be sent again, and cannot be.
fn resends(section: &Section<'_>, pool: &Pool) {
    let said = section.value_place_in("retry", "idempotency_key").or(section.value_place_in("buffers", "request"));
    let again = pool.retry.idempotency_key && pool.retry.resend != Some(0);
    if let (Some(place), true) = (said, again && pool.buffers.request == 0) {
        let message =
            "no POST is sent again, whatever `idempotency_key` says: buffers.request keeps nothing of its body";
        section.cx.warn(place, message, "raise buffers.request, like \"64KiB\"");
    }
}

/// A queue that nobody stands in, or too long.
fn queueing(limits: &Section<'_>, pool: &Pool) {
    let limited = pool.upstreams.iter().any(|entry| match entry.in_flight {
        None => pool.limits.in_flight.is_some(),
        Some(most) => most != NonZeroUsize::MAX,
    });
    if pool.limits.queue > 0 && !limited {
        let place = limits.place_of("queue").unwrap_or(&limits.place);
        let hint = if pool.limits.in_flight.is_some() {
            "every upstream has in_flight = \"off\": take that out, or the queue"
        } else {
            "set in_flight, too"
        };
        limits.cx.warn(place, "nothing ever waits in this queue: there is no limit to wait for", hint);
    }
    if let (Some(place), 0) = (limits.place_of("queue_timeout"), pool.limits.queue) {
        limits.cx.warn(place, "`queue_timeout` does nothing: the queue has no places", "set queue, too");
    }
    if let (Some(place), true) = (limits.value_place("queue_timeout"), pool.limits.queue_timeout > PATIENCE) {
        let message = format!("few clients wait {}", duration_text(pool.limits.queue_timeout));
        limits.cx.warn(place, message, "a shorter one tells them sooner; most give up after 30s to 60s");
    }
    let request = pool.timeouts.request.filter(|request| *request <= pool.limits.queue_timeout);
    if let (Some(place), Some(request), true) = (limits.value_place("queue_timeout"), request, pool.limits.queue > 0) {
        let (wait, request) = (duration_text(pool.limits.queue_timeout), duration_text(request));
        let message = format!("queue_timeout ({wait}) is never reached: timeouts.request ({request}) ends it all");
        limits.cx.warn(place, message, "lower queue_timeout, or raise timeouts.request");
    }
}

/// Waiting that nobody waits for.
fn waiting(section: &Section<'_>, pool: &Pool) {
    let Some(place) = section.value_place("wait") else { return };
    if pool.wait > PATIENCE {
        let message = format!("few clients wait {}", duration_text(pool.wait));
        section.cx.warn(place, message, "their 502 comes after they left; most give up after 30s to 60s");
    }
    if let Some(request) = pool.timeouts.request.filter(|request| *request <= pool.wait) {
        let (request, wait) = (duration_text(request), duration_text(pool.wait));
        let message = format!("timeouts.request ({request}) ends a request before wait ({wait}) is over");
        section.cx.warn(place, message, "lower wait, or raise timeouts.request");
    }
}

/// What only checks bring about, without them; and checks at a port where nothing else can work.
fn checks(section: &Section<'_>, said: &Section<'_>, pool: &Pool) {
    match &pool.health {
        None => {
            if let (Some(place), false) = (section.value_place("when_all_evicted"), pool.last_resort) {
                let message = "without checks, `when_all_evicted` keeps requests from upstreams that may be well again";
                section.cx.warn(place, message, "only requests would notice; switch health on, or write \"try\"");
            }
            if let (Some(place), false) = (section.value_place("wait"), pool.wait.is_zero()) {
                let message =
                    "`wait` seldom helps: without checks only another request learns that an upstream is back";
                section.cx.warn(place, message, "switch health on, or take it out");
            }
        }
        Some(health)
            if matches!(health.check, Check::Grpc(_))
                && health.port.is_none()
                && pool.upstreams.iter().any(|entry| entry.address.scheme == Scheme::Http) =>
        {
            let place = said.value_place("type").unwrap_or(&said.place);
            let message = "requests go to the port of this check as HTTP/1.1, and a gRPC server answers none of them";
            let hint =
                "write \"h2c://\" before the upstreams, or set health.port if the app has its gRPC on another port";
            said.cx.warn(place, message, hint);
        }
        Some(Health { check: Check::Http(HttpCheck { host_header: None, .. }), .. }) => {
            let HostHeader::Literal(host) = &pool.host_header else { return };
            let place = section.value_place("host_header").unwrap_or(&section.place);
            let host = host.to_str().unwrap_or_default();
            let message = format!("requests have Host: {host}, and checks have the upstream's own address as Host");
            let hint = format!("an app that answers by Host may fail them: write health.host_header = \"{host}\"");
            said.cx.warn(place, message, hint);
        }
        Some(_) => {}
    }
}

/// Evictions by traffic that never happen.
fn evictions(said: &Section<'_>, pool: &Pool) {
    let passive = &pool.passive;
    if passive.connect_failures.is_none() && passive.gateway_failures.is_none() {
        for key in ["evict", "evict_max", "max_evicted"] {
            if let Some(place) = said.place_of(key) {
                said.cx.warn(place, format!("`{key}` does nothing: both counts of failures are off"), "");
            }
        }
        return;
    }
    let Some(place) = said.value_place("max_evicted") else { return };
    let count = pool.upstreams.len();
    let named = pool.upstreams.iter().any(|entry| entry.address.host.may_be_several());
    if passive.max_evicted == 0 {
        let hint = "to switch that off, set connect_failures and gateway_failures to \"off\"";
        said.cx.warn(place, "traffic never evicts: max_evicted is 0%", hint);
    } else if !named && count > 1 && usize::from(passive.max_evicted) * count < 100 {
        let message = format!("traffic never evicts: one of {count} is more than {}%", passive.max_evicted);
        said.cx.warn(place, message, format!("write \"{}%\" or more", 100_usize.div_ceil(count)));
    }
}

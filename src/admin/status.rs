//! `GET /api/status`: everything at a glance, for `causeway status` and the dashboard. It reads; nothing here is
//! counted or changed.
//!
//! Milliseconds and RFC 3339; what is not known, or does not apply, is left out.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use serde_json::{Map, Value, json};

use crate::cause::Cause;
use crate::config::Config;
use crate::config::address::Dial;
use crate::config::problem::ascii;
use crate::health::{By, Snapshot, State};
use crate::listen::{Permits, Secure};
use crate::memory;
use crate::observe::json::{millis_value, whole_millis};
use crate::observe::metrics::history::{History, Lately, Look, Reading};
use crate::observe::time::Utc;
use crate::pool::stale::Stale;
use crate::pool::{Pool, Upstream};

use super::{Admin, Generation, reloads};

/// Kinds of errors that are listed, the most frequent first.
const KINDS: usize = 100;

/// What is known of the process from its start on.
#[derive(Debug)]
pub struct Start {
    /// When that was, on both clocks.
    pub at: (Instant, SystemTime),
    /// What was said, before it was shared out to the workers.
    pub config: Arc<Config>,
    /// Worker threads.
    pub workers: usize,
    /// The listeners, in the order of the file.
    pub doors: Vec<Door>,
}

/// A listener, from outside.
#[derive(Clone, Debug)]
pub struct Door {
    /// Its name.
    pub name: Arc<str>,
    /// The addresses that it really has, and the sockets of this machine as `unix:/path`.
    pub addresses: Vec<Arc<str>>,
    /// How many connections it has.
    pub permits: Permits,
    /// `None`: plain HTTP.
    pub secure: Option<Arc<Secure>>,
    /// It is in the file no more, and its last connections drain.
    pub leaves: bool,
}

impl Door {
    /// Is there anything to tell of it?
    pub(super) fn is_there(&self) -> bool {
        !self.leaves || self.permits.taken() > 0
    }
}

/// What the counters say now.
pub(super) fn reading(seen: &Generation) -> Reading {
    let requests = seen.proxy.requests();
    let mut upstreams = HashMap::new();
    for pool in &seen.pools {
        upstreams.extend(pool.members().iter().map(|one| (one.meter.key(), one.meter.answers())));
    }
    Reading { requests: requests.by_pool(), troubles: Arc::new(requests.troubles()), upstreams }
}

/// A panic under this lock leaves at worst a reading untaken.
pub(super) fn history(admin: &Admin) -> MutexGuard<'_, History> {
    admin.history.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The document.
pub(super) fn status(admin: &Admin, now: Instant) -> Value {
    let seen = admin.look();
    let (reading, history) = (reading(&seen), history(admin));
    let look = history.look(&reading, now);
    let (standing, config, reloads) = (admin.state(&seen), &seen.config, admin.reloads.standing());
    let state = match (standing.draining, standing.listening && standing.checked) {
        (true, _) => "draining",
        (false, true) => "serving",
        (false, false) => "starting",
    };
    let mut last = lately(&look.lately());
    let errors = look.errors().into_iter().take(KINDS).map(|errors| {
        let pool = Some(&*errors.pool).filter(|pool| !pool.is_empty());
        object([
            ("pool", pool.map(Into::into)),
            ("code", Some(errors.code.into())),
            ("cause", Some(errors.cause.token().into())),
            ("count", Some(errors.count.into())),
            ("total", Some(errors.total.into())),
        ])
    });
    if let Some(last) = last.as_object_mut() {
        last.insert("errors".into(), errors.collect());
    }
    let wall = admin.began.1 + now.saturating_duration_since(admin.began.0);
    let total: u64 = reading.requests.values().sum();
    object([
        ("name", Some(config.name.as_ref().into())),
        ("version", Some(env!("CARGO_PKG_VERSION").into())),
        ("started", Some(time(admin.began.1))),
        ("uptime_ms", Some(whole_millis(now.saturating_duration_since(admin.began.0)).into())),
        ("state", Some(state.into())),
        ("memory", memory::told().map(Into::into)),
        ("config", config.file.as_ref().map(|file| file.display().to_string().into())),
        ("reload", Some(reload(&reloads, config.file.as_deref(), wall))),
        ("workers", Some(admin.workers.into())),
        ("listeners", Some(seen.doors.iter().filter(|door| door.is_there()).map(door).collect())),
        (
            "requests",
            Some(json!({
                "in_flight": seen.proxy.requests().in_flight(),
                "total": total,
                "per_second": tenths(look.per_second()),
            })),
        ),
        ("last", Some(last)),
        ("pools", Some(seen.pools.iter().map(|each| pool(each, &look, (now, wall))).collect())),
    ])
}

/// The command, where the name of the file can go into a shell as it is.
fn check(file: Option<&Path>) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.".contains(&b);
    let name = file.map(|file| file.display().to_string()).filter(|name| name.bytes().all(plain));
    name.map_or_else(|| "causeway check".to_owned(), |name| format!("causeway check {name}"))
}

fn reload(reloads: &reloads::Standing, file: Option<&Path>, now: SystemTime) -> Value {
    let ago = |at| whole_millis(now.duration_since(at).unwrap_or_default());
    // Lines are lines. The first that is no warning says enough to know that something is to be done.
    let text = |why: &str| why.lines().map(ascii).collect::<Vec<_>>().join("\n").into();
    let is_error = |line: &&str| !line.starts_with(' ') && !line.contains(": warning: ");
    let first = |why: &str| {
        let line = why.lines().find(is_error).map(ascii);
        line.map(|line| line.strip_suffix(" Nothing was changed.").unwrap_or(&line).into())
    };
    // What is wrong in the file stands in lines; any other trouble is one sentence, and says itself what to do.
    let next = |why: &str| why.trim_end().contains('\n').then(|| check(file).into());
    let failure = reloads.failed.as_ref().map(|failed| {
        object([
            ("at", Some(time(failed.at))),
            ("ago_ms", Some(ago(failed.at).into())),
            ("why", first(&failed.why)),
            ("text", Some(text(&failed.why))),
            ("next", next(&failed.why)),
        ])
    });
    object([
        ("loaded", Some(time(reloads.loaded))),
        ("loaded_ago_ms", Some(ago(reloads.loaded).into())),
        ("succeeded", Some(reloads.succeeded.into())),
        ("failed", Some(reloads.unsuccessful.into())),
        ("failure", failure),
    ])
}

fn door(door: &Door) -> Value {
    let addresses: Vec<&str> = door.addresses.iter().map(|address| &**address).collect();
    let mut document = json!({ "name": &*door.name, "addresses": addresses, "connections": door.permits.taken() });
    if door.leaves {
        document["draining"] = true.into();
    }
    document
}

fn pool(pool: &Pool, look: &Look<'_>, (now, wall): (Instant, SystemTime)) -> Value {
    let (config, members) = (&pool.config, pool.members());
    let stale: Vec<Value> = pool.stale.all().iter().map(|one| stale(one, now, wall)).collect();
    let mut document = json!({
        "name": &*config.name,
        "balance": config.balance.to_string(),
        "usable": pool.usable(),
        "total": members.len(),
        "queue": pool.queue.waiting(),
        "per_second": tenths(look.pool_per_second(&config.name)),
        "last": lately(&look.pool_lately(&config.name)),
        "upstreams": members.iter().map(|one| upstream(pool, one, look, now)).collect::<Vec<_>>(),
    });
    if !stale.is_empty() {
        document["stale"] = stale.into();
    }
    document
}

/// A name or a list that cannot be had, while what was known of it stays in use.
fn stale(one: &Stale, now: Instant, wall: SystemTime) -> Value {
    let held = now.saturating_duration_since(one.since);
    json!({
        "source": ascii(&one.source),
        "cause": one.cause.token(),
        "message": ascii(&one.said),
        "kept": one.kept,
        "since": wall.checked_sub(held).map(time),
        "held_ms": whole_millis(held),
    })
}

fn upstream(pool: &Pool, one: &Upstream, look: &Look<'_>, now: Instant) -> Value {
    let health = one.health.snapshot(now);
    let (times, trouble) = (one.recent.times(now), trouble(&health));
    let by_traffic = health.eviction.is_some_and(|eviction| eviction.by == By::Traffic);
    let asker = pool.asker(one, by_traffic);
    let finding = trouble.zip(asker).and_then(|((cause, _), asker)| one.insight.of(asker, *cause, now));
    let failures = one.meter.failed_by_cause();
    let failures = failures.iter().map(|(cause, count)| (cause.token().to_owned(), (*count).into()));
    let by = match (health.state, health.eviction) {
        (State::Draining | State::Disabled, _) => Some("operator"),
        (_, eviction) => eviction.map(|eviction| eviction.by.token()),
    };
    object([
        ("upstream", Some((&*one.id).into())),
        ("address", Some(address(one).into())),
        ("state", Some(health.state.token().into())),
        ("since", Some(time(health.since))),
        ("held_ms", Some(whole_millis(health.held_for).into())),
        ("by", by.map(Into::into)),
        ("cause", trouble.map(|(cause, _)| cause.token().into())),
        ("message", trouble.map(|(cause, sentence)| message(*cause, sentence).into())),
        ("finding", finding.map(|finding| finding.sentence.clone().into())),
        ("next_check_ms", health.next_check.map(|next| whole_millis(next).into())),
        ("ends_in_ms", health.eviction.and_then(|eviction| eviction.ends_in).map(|left| whole_millis(left).into())),
        ("in_flight", Some(one.in_flight.load(std::sync::atomic::Ordering::Relaxed).into())),
        ("limit", one.most().map(Into::into)),
        ("weight", Some(one.weight.into())),
        ("backup", Some(one.backup.into())),
        ("per_second", Some(tenths(look.upstream_per_second(one.meter.key())))),
        ("requests_total", Some(one.meter.answers().into())),
        ("failures", Some(Value::Object(failures.collect()))),
        ("p50_ms", times.p50.map(millis_value)),
        ("p99_ms", times.p99.map(millis_value)),
        ("idle_closes_ms", one.idle_age.learnt().map(|learnt| whole_millis(learnt.age).into())),
    ])
}

/// Why it is not ready, where a failure is the reason.
fn trouble(health: &Snapshot) -> Option<&(Cause, String)> {
    let failed = health.eviction.is_some() || health.state == State::Unknown;
    health.last_failure.as_ref().filter(|_| failed)
}

/// The fact alone: what it is called stands beside it.
fn message(cause: Cause, sentence: &str) -> String {
    let sentence = sentence.strip_prefix(cause.token()).and_then(|rest| rest.strip_prefix(". ")).unwrap_or(sentence);
    ascii(sentence.strip_prefix("health check ").unwrap_or(sentence))
}

fn address(one: &Upstream) -> String {
    match &one.endpoint.dial {
        Dial::Addresses(addresses) if addresses.len() == 1 => addresses[0].to_string(),
        Dial::Addresses(_) | Dial::Socket(_) | Dial::Unresolved(_) => one.endpoint.authority.to_string(),
    }
}

fn lately(lately: &Lately) -> Value {
    json!({
        "window_ms": whole_millis(lately.window),
        "requests": lately.requests,
        "rescued": lately.rescued,
        "failed": lately.failed,
    })
}

fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let there = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(there.collect::<Map<_, _>>())
}

fn time(at: SystemTime) -> Value {
    Utc::from(at).seconds().to_string().into()
}

/// With one digit behind the point.
fn tenths(number: f64) -> Value {
    ((number * 10.0).round() / 10.0).into()
}

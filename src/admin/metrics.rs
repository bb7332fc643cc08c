//! `GET /metrics` (CONTRACT §7): all families, from what was counted and from how things stand. It counts nothing
//! itself.
//!
//! The two tables are the page, in its order.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use http::HeaderMap;
use http::header::ACCEPT;

use crate::cause::Cause;
use crate::health::State;
use crate::memory;
use crate::observe::events;
use crate::observe::metrics::code::code_label;
use crate::observe::metrics::request::Rare;
use crate::observe::metrics::text::Kind::{self, Counter, Gauge, Histogram};
use crate::observe::metrics::text::Page;
use crate::observe::metrics::upstream::{CHANGES, Counts};
use crate::observe::metrics::{Requests, process};
use crate::pool::{Pool, Upstream};

use super::status::Door;
use super::{Admin, reloads};

/// A family: its name, what it is, what it means, and how its samples are written.
type Family<W> = (&'static str, Kind, &'static str, W);
/// All samples at once.
type OfProxy = Family<fn(&mut Page, &Seen<'_>)>;
/// Those of one upstream.
type OfUpstream = Family<fn(&mut Samples<'_>, &Row)>;

#[rustfmt::skip] // a table
const OF_PROXY: &[OfProxy] = &[
    ("causeway_requests_total", Counter, "Requests that have ended, by what the client got.", requests),
    ("causeway_request_duration_seconds", Histogram, "From a complete request head to the last byte of its answer.", took),
    ("causeway_requests_in_flight", Gauge, "Requests that have begun and not ended.", in_flight),
    ("causeway_errors_total", Counter, "Errors that clients saw, by cause: the 502 rate.", errors),
    ("causeway_failovers_total", Counter, "Requests that an upstream answered after another one had failed.", failovers),
    ("causeway_retries_total", Counter, "Attempts that followed a failed one, by the cause of that.", retries),
    ("causeway_retry_budget_exhausted_total", Counter, "Requests that were not sent again to spare the upstreams.", budget),
    ("causeway_queue_length", Gauge, "Requests that wait for a slot.", queue),
    ("causeway_connections", Gauge, "Open client connections.", connections),
    ("causeway_config_last_reload_successful", Gauge, "1 while the last reload succeeded, and before the first one.", last_reload),
    ("causeway_config_last_reload_success_timestamp_seconds", Gauge, "When the configuration in force was loaded, in seconds since 1970.", loaded),
    ("causeway_config_reloads_total", Counter, "Reloads, by what came of them.", reloads_by_result),
    ("causeway_tls_certificate_not_after_seconds", Gauge, "When a listener's certificate ends, in seconds since 1970.", certificates),
    ("causeway_access_log_dropped_total", Counter, "Lines of the access log lost: its reader was too slow, or it could not be written.", dropped),
    ("causeway_panics_total", Counter, "Faults in causeway itself: each ended a request or a connection.", panics),
    ("causeway_memory_short", Gauge, "1 while memory is short: no connections are taken, and new requests get a 503.", memory_short),
    ("causeway_memory_shortages_total", Counter, "How often memory became short.", shortages),
    ("causeway_build_info", Gauge, "1, with the version.", build),
];

#[rustfmt::skip] // a table
const OF_UPSTREAMS: &[OfUpstream] = &[
    ("causeway_upstream_up", Gauge, "1 while it is ready.", up),
    ("causeway_upstream_changes_total", Counter, "Changes of its state, by the new one.", changes),
    ("causeway_upstream_requests_total", Counter, "Answers of the upstream, by status.", answers),
    ("causeway_upstream_request_duration_seconds", Histogram, "From the start of an attempt to the head of its answer.", to_head),
    ("causeway_upstream_connect_duration_seconds", Histogram, "How long connections to the upstream took to stand.", connect),
    ("causeway_upstream_connects_total", Counter, "Attempts on a connection of their own.", connects),
    ("causeway_upstream_reuses_total", Counter, "Attempts on a kept connection.", reuses),
    ("causeway_upstream_connections", Gauge, "Connections to the upstream: with an attempt on them, and kept for the next one.", kept),
    ("causeway_attempt_failures_total", Counter, "Attempts that failed, by cause.", failures),
    ("causeway_health_checks_total", Counter, "Health checks, by result.", checks),
    ("causeway_evictions_total", Counter, "Evictions, by who found it sick.", evictions),
];

/// Does this client want OpenMetrics? Prometheus asks for it first, where it can read it.
pub(super) fn wants_open(fields: &HeaderMap) -> bool {
    let ranges =
        fields.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    ranges.into_iter().any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("application/openmetrics-text"));
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        named && weight.is_none_or(|weight| weight.parse().is_ok_and(|weight: f32| weight > 0.0))
    })
}

/// The whole page.
pub(super) fn page(admin: &Admin, open: bool) -> String {
    let now = admin.look();
    let seen = Seen {
        requests: now.proxy.requests(),
        rare: now.proxy.requests().troubles(),
        pools: &now.pools,
        doors: &now.doors,
        dropped: now.proxy.access_log().dropped(),
        reloads: admin.reloads.standing(),
    };
    let rows = seen.rows();
    let mut page = Page::new(open);
    for (name, kind, help, write) in OF_PROXY {
        page.family(name, *kind, help);
        write(&mut page, &seen);
    }
    for (name, kind, help, write) in OF_UPSTREAMS {
        page.family(name, *kind, help);
        for row in &rows {
            let labels = [("pool", &*row.pool), ("upstream", &*row.upstream.id)];
            write(&mut Samples { page: &mut page, labels }, row);
        }
    }
    process::write(&mut page);
    page.finish()
}

/// What a page is made from.
struct Seen<'a> {
    requests: &'a Requests,
    rare: Rare,
    pools: &'a [Arc<Pool>],
    doors: &'a [Door],
    dropped: u64,
    reloads: reloads::Standing,
}

/// One upstream, and what was counted of it.
struct Row {
    pool: Arc<str>,
    upstream: Arc<Upstream>,
    counts: Counts,
}

impl Seen<'_> {
    /// Each upstream is read once, so that its families fit together.
    fn rows(&self) -> Vec<Row> {
        let row = |pool: &Pool, upstream: &Arc<Upstream>| Row {
            pool: Arc::clone(&pool.config.name),
            upstream: Arc::clone(upstream),
            counts: upstream.meter.counts(),
        };
        let of = |pool: &Arc<Pool>| pool.members().iter().map(|one| row(pool, one)).collect::<Vec<_>>();
        self.pools.iter().flat_map(of).collect()
    }

    /// A sample for each pool, in the order of the file.
    fn by_pool(&self, page: &mut Page, value: impl Fn(&Pool) -> u64) {
        for pool in self.pools {
            page.sample(&[("pool", &pool.config.name)], value(pool));
        }
    }
}

// ---- of the proxy

fn requests(page: &mut Page, seen: &Seen<'_>) {
    for answers in seen.requests.answers() {
        let code = code_label(answers.code);
        let labels = [
            ("listener", answers.listener),
            ("route", answers.route),
            ("pool", answers.pool),
            ("method", answers.method),
            ("code", &code),
        ];
        page.sample(&labels, answers.count);
    }
}

fn took(page: &mut Page, seen: &Seen<'_>) {
    for (route, took) in seen.requests.durations().into_iter().filter(|(_, took)| took.count() > 0) {
        page.durations(&[("route", route)], &took);
    }
}

fn in_flight(page: &mut Page, seen: &Seen<'_>) {
    page.sample(&[], seen.requests.in_flight());
}

fn errors(page: &mut Page, seen: &Seen<'_>) {
    for ((pool, code, cause), count) in &seen.rare.errors {
        page.sample(&[("pool", pool), ("code", &code.to_string()), ("cause", cause.token())], count);
    }
}

fn failovers(page: &mut Page, seen: &Seen<'_>) {
    seen.by_pool(page, |pool| seen.rare.failovers.get(&pool.config.name).copied().unwrap_or_default());
}

fn retries(page: &mut Page, seen: &Seen<'_>) {
    for ((pool, cause), count) in &seen.rare.retries {
        page.sample(&[("pool", pool), ("cause", cause.token())], count);
    }
}

fn budget(page: &mut Page, seen: &Seen<'_>) {
    seen.by_pool(page, |pool| pool.budget.refused());
}

fn queue(page: &mut Page, seen: &Seen<'_>) {
    seen.by_pool(page, |pool| pool.queue.waiting() as u64);
}

fn certificates(page: &mut Page, seen: &Seen<'_>) {
    for door in seen.doors {
        for (file, not_after) in door.secure.iter().flat_map(|secure| secure.certificates()) {
            page.sample(&[("listener", &door.name), ("certificate", &file)], not_after);
        }
    }
}

fn connections(page: &mut Page, seen: &Seen<'_>) {
    // One that has left may have the name of one that has come.
    let mut named: Vec<(&str, usize)> = Vec::new();
    for door in seen.doors.iter().filter(|door| door.is_there()) {
        let taken = door.permits.taken();
        match named.iter_mut().find(|(name, _)| *name == &*door.name) {
            Some((_, sum)) => *sum += taken,
            None => named.push((&door.name, taken)),
        }
    }
    for (name, taken) in named {
        page.sample(&[("listener", name)], taken);
    }
}

fn dropped(page: &mut Page, seen: &Seen<'_>) {
    page.sample(&[], seen.dropped);
}

fn last_reload(page: &mut Page, seen: &Seen<'_>) {
    page.sample(&[], u64::from(seen.reloads.failed.is_none()));
}

fn loaded(page: &mut Page, seen: &Seen<'_>) {
    let since = seen.reloads.loaded.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    page.sample(&[], since.as_secs());
}

fn reloads_by_result(page: &mut Page, seen: &Seen<'_>) {
    page.sample(&[("result", "success")], seen.reloads.succeeded);
    page.sample(&[("result", "failure")], seen.reloads.unsuccessful);
}

fn panics(page: &mut Page, _: &Seen<'_>) {
    page.sample(&[], events::panics());
}

fn memory_short(page: &mut Page, _: &Seen<'_>) {
    page.sample(&[], u8::from(memory::is_short()));
}

fn shortages(page: &mut Page, _: &Seen<'_>) {
    page.sample(&[], memory::shortages());
}

fn build(page: &mut Page, _: &Seen<'_>) {
    page.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
}

// ---- of upstreams

/// Where the samples of one upstream go.
struct Samples<'a> {
    page: &'a mut Page,
    labels: [(&'a str, &'a str); 2],
}

impl Samples<'_> {
    fn one(&mut self, value: u64) {
        self.page.sample(&self.labels, value);
    }

    /// With one label more.
    fn of(&mut self, label: &str, value: &str, count: u64) {
        let [pool, upstream] = self.labels;
        self.page.sample(&[pool, upstream, (label, value)], count);
    }
}

fn up(out: &mut Samples<'_>, row: &Row) {
    out.one(u64::from(row.upstream.health.state() == State::Ready));
}

fn changes(out: &mut Samples<'_>, row: &Row) {
    CHANGES.iter().zip(row.counts.changes).for_each(|(to, count)| out.of("to", to.token(), count));
}

fn answers(out: &mut Samples<'_>, row: &Row) {
    let counted = row.counts.codes.iter().enumerate().filter(|(_, count)| **count > 0);
    counted.for_each(|(place, count)| out.of("code", &code_label(place), *count));
}

fn to_head(out: &mut Samples<'_>, row: &Row) {
    if row.counts.took.count() > 0 {
        out.page.durations(&out.labels, &row.counts.took);
    }
}

fn connect(out: &mut Samples<'_>, row: &Row) {
    if row.counts.connect.count() > 0 {
        out.page.durations(&out.labels, &row.counts.connect);
    }
}

fn connects(out: &mut Samples<'_>, row: &Row) {
    out.one(row.counts.connect.count());
}

fn reuses(out: &mut Samples<'_>, row: &Row) {
    out.one(row.counts.reuses);
}

fn kept(out: &mut Samples<'_>, row: &Row) {
    let connections = row.counts.connections;
    // Over HTTP/2 many attempts share one.
    let active = (row.upstream.in_flight.load(Relaxed) as u64).min(connections);
    out.of("state", "active", active);
    out.of("state", "idle", connections - active);
}

fn failures(out: &mut Samples<'_>, row: &Row) {
    row.counts.failures.iter().for_each(|(cause, count)| out.of("cause", Cause::token(*cause), *count));
}

fn checks(out: &mut Samples<'_>, row: &Row) {
    let (passed, failed) = row.counts.checks;
    out.of("result", "passed", passed);
    out.of("result", "failed", failed);
}

fn evictions(out: &mut Samples<'_>, row: &Row) {
    let (checks, traffic) = row.counts.evictions;
    out.of("kind", "check", checks);
    out.of("kind", "traffic", traffic);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_what_accept_asks_for() {
        let wants = |accept: &str| wants_open(&[(ACCEPT, accept.parse().unwrap())].into_iter().collect());
        for open in [
            "application/openmetrics-text",
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
            "text/plain, Application/OpenMetrics-Text; version=0.0.1",
        ] {
            assert!(wants(open), "{open}");
        }
        for text in
            ["*/*", "text/plain", "application/openmetrics-text;q=0", "application/openmetrics-text; q=0.000", ""]
        {
            assert!(!wants(text), "{text}");
        }
    }
}

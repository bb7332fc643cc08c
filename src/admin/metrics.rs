//! `GET /metrics` (CONTRACT §7): all families, from what was counted and from how things stand. It counts nothing itself.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use http::HeaderMap;
use http::header::ACCEPT;

use crate::cause::Cause;
use crate::health::State;
use crate::observe::metrics::code::code_label;
use crate::observe::metrics::text::{Kind, Page};
use crate::observe::metrics::upstream::Counts;
use crate::observe::metrics::{Requests, process};
use crate::pool::{Pool, Upstream};

use super::Admin;

/// Does this client want OpenMetrics? Prometheus asks for it first, where it can read it.
pub(super) fn wants_open(fields: &HeaderMap) -> bool {
    let accepts =
        |value: &http::HeaderValue| value.to_str().is_ok_and(|accept| accept.contains("application/openmetrics-text"));
    fields.get_all(ACCEPT).iter().any(accepts)
}

/// The whole page.
pub(super) fn page(admin: &Admin, open: bool) -> String {
    let (counted, pools) = (admin.proxy.requests(), &admin.pools);
    let mut page = Page::new(open);
    requests(&mut page, counted);
    troubles(&mut page, counted, pools);
    upstreams(&mut page, pools);
    page.family("causeway_connections", Kind::Gauge, "Open client connections.");
    for door in &admin.start.doors {
        page.sample(&[("listener", &door.name)], door.permits.taken());
    }
    page.family(
        "causeway_tls_certificate_not_after_seconds",
        Kind::Gauge,
        "When a listener's certificate ends, in seconds since 1970.",
    );
    for door in &admin.start.doors {
        for (file, not_after) in door.secure.iter().flat_map(|secure| secure.certificates()) {
            page.sample(&[("listener", &door.name), ("certificate", &file)], not_after);
        }
    }
    page.family(
        "causeway_access_log_dropped_total",
        Kind::Counter,
        "Lines of the access log lost because its reader was too slow.",
    );
    page.sample(&[], admin.proxy.access_log().dropped());
    page.family("causeway_build_info", Kind::Gauge, "1, with the version.");
    page.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    process::write(&mut page);
    page.finish()
}

fn requests(page: &mut Page, requests: &Requests) {
    page.family("causeway_requests_total", Kind::Counter, "Requests that have ended, by what the client got.");
    for answers in requests.answers() {
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
    page.family(
        "causeway_request_duration_seconds",
        Kind::Histogram,
        "From a complete request head to the last byte of its answer.",
    );
    for (route, took) in requests.durations() {
        if took.count() > 0 {
            page.durations(&[("route", route)], &took);
        }
    }
    page.family("causeway_requests_in_flight", Kind::Gauge, "Requests that have begun and not ended.");
    page.sample(&[], requests.in_flight());
}

fn troubles(page: &mut Page, requests: &Requests, pools: &[Arc<Pool>]) {
    let rare = requests.troubles();
    page.family("causeway_errors_total", Kind::Counter, "Errors that clients saw, by cause: the 502 rate.");
    for ((pool, code, cause), count) in &rare.errors {
        page.sample(&[("pool", pool), ("code", &code.to_string()), ("cause", cause.token())], count);
    }
    page.family(
        "causeway_failovers_total",
        Kind::Counter,
        "Requests that an upstream answered after another one had failed.",
    );
    for pool in pools {
        let name = &pool.config.name;
        page.sample(&[("pool", name)], rare.failovers.get(name).copied().unwrap_or_default());
    }
    page.family("causeway_retries_total", Kind::Counter, "Attempts that followed a failed one, by the cause of that.");
    for ((pool, cause), count) in &rare.retries {
        page.sample(&[("pool", pool), ("cause", cause.token())], count);
    }
    page.family(
        "causeway_retry_budget_exhausted_total",
        Kind::Counter,
        "Requests that were not sent again to spare the upstreams.",
    );
    for pool in pools {
        page.sample(&[("pool", &pool.config.name)], pool.budget.refused());
    }
    page.family("causeway_queue_length", Kind::Gauge, "Requests that wait for a slot.");
    for pool in pools {
        page.sample(&[("pool", &pool.config.name)], pool.queue.waiting());
    }
}

/// One upstream, its labels, and what was counted of it.
struct Row {
    pool: Arc<str>,
    upstream: Arc<Upstream>,
    counts: Counts,
}

/// Families that have all upstreams in them.
struct Table<'a> {
    page: &'a mut Page,
    rows: Vec<Row>,
}

impl<'a> Table<'a> {
    fn new(page: &'a mut Page, pools: &[Arc<Pool>]) -> Self {
        let mut rows = Vec::new();
        for pool in pools {
            rows.extend(pool.members().iter().map(|upstream| Row {
                pool: Arc::clone(&pool.config.name),
                upstream: Arc::clone(upstream),
                counts: upstream.meter.counts(),
            }));
        }
        Self { page, rows }
    }

    fn family(&mut self, name: &'static str, kind: Kind, help: &str, write: impl Fn(&mut Page, &[(&str, &str)], &Row)) {
        self.page.family(name, kind, help);
        for row in &self.rows {
            write(self.page, &[("pool", &row.pool), ("upstream", &row.upstream.id)], row);
        }
    }
}

fn upstreams(page: &mut Page, pools: &[Arc<Pool>]) {
    let mut table = Table::new(page, pools);
    table.family("causeway_upstream_up", Kind::Gauge, "1 while it is ready.", |page, labels, row| {
        page.sample(labels, u8::from(row.upstream.health.state() == State::Ready));
    });
    table.family(
        "causeway_upstream_requests_total",
        Kind::Counter,
        "Answers of the upstream, by status.",
        |page, labels, row| {
            for (place, count) in row.counts.codes.iter().enumerate().filter(|(_, count)| **count > 0) {
                page.sample(&with(labels, "code", &code_label(place)), count);
            }
        },
    );
    table.family(
        "causeway_upstream_request_duration_seconds",
        Kind::Histogram,
        "From the start of an attempt to the head of its answer.",
        |page, labels, row| {
            if row.counts.took.count() > 0 {
                page.durations(labels, &row.counts.took);
            }
        },
    );
    table.family(
        "causeway_upstream_connect_duration_seconds",
        Kind::Histogram,
        "How long connections to the upstream took to stand.",
        |page, labels, row| {
            if row.counts.connect.count() > 0 {
                page.durations(labels, &row.counts.connect);
            }
        },
    );
    table.family(
        "causeway_upstream_connects_total",
        Kind::Counter,
        "Attempts on a connection of their own.",
        |page, labels, row| {
            page.sample(labels, row.counts.connect.count());
        },
    );
    table.family(
        "causeway_upstream_reuses_total",
        Kind::Counter,
        "Attempts on a kept connection.",
        |page, labels, row| {
            page.sample(labels, row.counts.reuses);
        },
    );
    let help = "Connections to the upstream: with an attempt on them, and kept for the next one.";
    table.family("causeway_upstream_connections", Kind::Gauge, help, |page, labels, row| {
        let active = row.upstream.in_flight.load(Relaxed) as u64;
        page.sample(&with(labels, "state", "active"), active);
        page.sample(&with(labels, "state", "idle"), row.counts.connections.saturating_sub(active));
    });
    table.family(
        "causeway_attempt_failures_total",
        Kind::Counter,
        "Attempts that failed, by cause.",
        |page, labels, row| {
            for (cause, count) in &row.counts.failures {
                page.sample(&with(labels, "cause", Cause::token(*cause)), count);
            }
        },
    );
    table.family("causeway_health_checks_total", Kind::Counter, "Health checks, by result.", |page, labels, row| {
        let (passed, failed) = row.counts.checks;
        page.sample(&with(labels, "result", "passed"), passed);
        page.sample(&with(labels, "result", "failed"), failed);
    });
    table.family("causeway_evictions_total", Kind::Counter, "Evictions, by who found it sick.", |page, labels, row| {
        let (checks, traffic) = row.counts.evictions;
        page.sample(&with(labels, "kind", "check"), checks);
        page.sample(&with(labels, "kind", "traffic"), traffic);
    });
}

fn with<'a>(labels: &[(&'a str, &'a str)], name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    labels.iter().copied().chain([(name, value)]).collect()
}

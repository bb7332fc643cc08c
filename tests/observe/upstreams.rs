//! What the log says of upstreams that go and come back.

use std::time::Duration;

use causeway::cause::{Cause, Failure};
use causeway::config::model::Level;
use causeway::health::State;
use causeway::observe::events::{self, Check, Member, Standing};
use causeway::observe::metrics::Meter;

use super::{messages, said};

/// With the defaults of a pool.
pub(super) fn standing(usable: usize, total: usize) -> Standing {
    Standing { usable, total, last_resort: true, wait: Duration::ZERO, slow_start: Duration::from_secs(10) }
}

#[test]
fn events_of_upstreams() {
    let meter = Meter::default();
    let member = Member { pool: "app", upstream: "127.0.0.1:3002", meter: &meter };
    let sick = Failure::new(Cause::HealthStatus).seen("GET /healthz gives 503, wanted 200-399");
    let lines = said(Level::Info, || {
        let check = Check { failure: &sick, said: "GET /healthz gives 503, wanted 200-399", tcp: false };
        events::upstream_evicted(member, check, 3, standing(2, 3));
        events::upstream_back(member, 2, Duration::from_millis(47_607), standing(3, 3));
    });
    let mut first = lines[0].clone();
    let time = first.as_object_mut().unwrap().shift_remove("time").unwrap();
    assert!(time.as_str().unwrap().ends_with('Z'));
    assert_eq!(
        first.to_string(),
        concat!(
            r#"{"level":"warn","event":"upstream_evicted","pool":"app","upstream":"127.0.0.1:3002","by":"check","#,
            r#""cause":"health_status","usable":2,"total":3,"message":"app/127.0.0.1:3002 evicted: health check GET /healthz "#,
            r#"gives 503, wanted 200-399, 3 in a row. 2 of 3 upstreams left."}"#
        )
    );
    assert_eq!(lines[1]["away_ms"], 47_607);
    assert_eq!(
        lines[1]["message"],
        "app/127.0.0.1:3002 is back after 48 s: 2 checks passed. 3 of 3 upstreams, slow start 10 s."
    );
}

#[test]
fn what_traffic_evicts_reads_as_what_checks_evict() {
    use Cause::{ConnectionRefused, HealthStatus, ReadTimeout};
    let answered = Some("it answered 503 to a request");
    let (silent, refused) = (Failure::new(ReadTimeout).limit("2.0 s"), Failure::new(ConnectionRefused));
    let silent = Check { failure: &silent, said: "read_timeout. It gave no answer to GET / within 2.0 s.", tcp: false };
    let said_refused = "connection_refused. Nothing listens on b:9000. Is the app running, and is the port right?";
    let refused = Check { failure: &refused, said: said_refused, tcp: false };
    let meter = Meter::default();
    let [a, b] = ["a:1", "b:1"].map(|upstream| Member { pool: "app", upstream, meter: &meter });
    let said = messages(|| {
        let (by_traffic, to_fail) =
            (events::upstream_evicted_by_traffic, Standing { last_resort: false, ..standing(0, 2) });
        by_traffic(a, (ConnectionRefused, Some("connection_refused. Nothing")), 3, standing(1, 2));
        by_traffic(a, (HealthStatus, answered), 5, standing(1, 2));
        by_traffic(a, (HealthStatus, answered), 1, standing(1, 2));
        events::upstream_evicted(b, silent, 3, standing(0, 2));
        events::upstream_evicted(b, silent, 3, to_fail);
        events::upstream_evicted(b, silent, 3, Standing { wait: Duration::from_secs(5), ..to_fail });
        events::upstream_evicted(b, refused, 1, standing(1, 2));
        events::upstream_evicted(b, Check { tcp: true, ..refused }, 3, standing(1, 2));
        events::upstream_back_by_traffic(a, Duration::from_secs(12), standing(1, 2));
        events::upstream_back_by_traffic(a, Duration::from_secs(12), standing(1, 1));
    });
    assert_eq!(
        said,
        [
            "app/a:1 evicted: connection_refused, 3 in a row. 1 of 2 upstreams left.",
            "app/a:1 evicted: it answers 503 to requests, 5 in a row. 1 of 2 upstreams left.",
            "app/a:1 evicted: it answered 503 to a request. 1 of 2 upstreams left.",
            "app/b:1 evicted: health check: read_timeout, 3 in a row. 0 of 2 upstreams left: evicted ones are tried as a last resort.",
            "app/b:1 evicted: health check: read_timeout, 3 in a row. 0 of 2 upstreams left: requests fail at once.",
            "app/b:1 evicted: health check: read_timeout, 3 in a row. 0 of 2 upstreams left: requests wait for one, 5 s at the most.",
            "app/b:1 evicted: health check: connection_refused. Nothing listens on b:9000. Is the app running, and is the port right?",
            "app/b:1 evicted: connection_refused, 3 in a row. 1 of 2 upstreams left.",
            "app/a:1 is back after 12 s: a request succeeded. 1 of 2 upstreams, slow start 10 s.",
            "app/a:1 is back after 12 s: a request succeeded. 1 of 1 upstream.",
        ]
    );
}

/// What is told is what is counted: the log, who follows the events, and the metrics cannot disagree.
#[test]
fn a_change_is_counted_where_it_is_told() {
    let meter = Meter::default();
    let member = Member { pool: "app", upstream: "a:1", meter: &meter };
    let refused = Failure::new(Cause::ConnectionRefused);
    let check = Check { failure: &refused, said: "connection_refused. Nothing listens there.", tcp: true };
    let lines = said(Level::Info, || {
        events::upstream_ready(member, "TCP connect in 0.2 ms");
        events::upstream_evicted(member, check, 3, standing(1, 2));
        events::upstream_back(member, 2, Duration::from_secs(9), standing(2, 2));
        events::upstream_evicted_by_traffic(member, (Cause::ReadTimeout, None), 5, standing(1, 2));
        events::upstream_back_by_traffic(member, Duration::from_secs(9), standing(2, 2));
        events::upstream_switched(member, State::Ready, State::Draining);
        events::upstream_switched(member, State::Draining, State::Disabled);
        events::upstream_switched(member, State::Disabled, State::Ready);
    });
    let told = |event: &str| lines.iter().filter(|line| line["event"] == event).count() as u64;
    let counts = meter.counts();
    let [ready, evicted, draining, disabled] = counts.changes;
    assert_eq!((ready, evicted, draining, disabled), (4, 2, 1, 1), "{lines:#?}");
    assert_eq!(counts.evictions, (1, 1));
    assert_eq!(told("upstream_evicted"), evicted);
    assert_eq!(told("upstream_switched"), 3);
    assert_eq!((told("upstream_ready"), told("upstream_back"), lines.len()), (1, 2, 8));
}

//! Events: one function for each fact, one line each; where the fact has a metric too, that function counts it. Human
//! form on a terminal (time, level, message), else JSON.
//!
//! [`sink`] writes them; [`feed`](mod@feed) keeps the latest for who follows them; `throttle` keeps one fact from
//! flooding the log; `reload`, `request`, `secure`, `system` and `upstream` have those about them.
//! Arguments are plain values, so that every floor can say what it knows.

pub mod feed;
mod reload;
mod request;
mod secure;
pub mod sink;
mod system;
mod throttle;
mod trace;
mod upstream;

use std::fmt::{Display, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use crate::cause::spoken;
use crate::config::Problem;
use crate::config::problem::ascii;
use crate::observe::json::whole_millis;

use throttle::Throttle;

pub use feed::{Feed, Told};
pub use reload::{config_refused, config_reloaded};
pub use request::{failures_held, request_failed, request_suspect, requests_failed};
pub use secure::{certificate_refused, certificate_taken, handshake_failed, introduction_refused};
pub use sink::{Events, feed, init};
pub use system::{
    hand_over_ended, hand_over_refused, handed_over, manager_not_told, memory_back, memory_short, older_gone,
    older_silent, panic_caught, panicked, panics, panics_are_told, sockets_unused, taken_over, taking_over,
    taking_over_unchecked, threads_silent,
};
pub use trace::{spans_lost, traces_off, traces_on};
pub use upstream::{
    Check, Member, Standing, addresses_changed, addresses_stay, check_failed, list_stays, name_not_resolved,
    name_resolved, unasked_bytes, upstream_back, upstream_back_by_traffic, upstream_diagnosed, upstream_evicted,
    upstream_evicted_by_traffic, upstream_idle_learnt, upstream_ready, upstream_switched, upstreams_file_refused,
    upstreams_file_taken,
};

/// Items of a list in an event, at the most.
const LISTED: usize = 1000;

// ---- the process

/// The first line of a start.
pub fn starting(config: Option<&Path>, workers: usize) {
    let version = env!("CARGO_PKG_VERSION");
    let config = config.map_or("no config file".to_owned(), |file| format!("config {}", file.display()));
    let threads = count(workers, "worker");
    info!(event = "starting", version, workers, "causeway {version}, {config}, {threads}");
}

/// Something in the config is legal and foolish. `file` is who said it: a file, a flag or a variable.
pub fn config_warning(problem: &Problem) {
    let (line, column) = problem.place.line_and_column().unzip();
    let (file, message) = (ascii(&problem.place.origin.name), ascii(&problem.message));
    let hint = Some(ascii(&problem.hint)).filter(|hint| !hint.is_empty());
    warn!(event = "config_warning", file, line, column, hint, "{message}");
}

/// A listener is bound. `scheme`: `http`, `https`; `both`: one socket takes IPv4 and IPv6.
pub fn listening(listener: &str, scheme: &str, address: SocketAddr, both: bool) {
    let families = if both { " (IPv4 and IPv6)" } else { "" };
    info!(event = "listening", listener, %address, "listening on {scheme}://{address}{families}");
}

/// A listener has a socket of this machine, or one that was handed over. `scheme`: `http`, `https`; `place`:
/// `unix:/path` or an address; `handed`: it was handed over.
pub fn listening_at(listener: &str, scheme: &str, place: &str, handed: bool) {
    let how = if handed { " (handed over)" } else { "" };
    let shown = ascii(place);
    let separator = if place.starts_with("unix:") { " over " } else { "://" };
    info!(event = "listening", listener, address = place, "listening on {scheme}{separator}{shown}{how}");
}

/// The admin address is bound.
pub fn admin_listening(address: SocketAddr) {
    info!(event = "admin_listening", %address, "dashboard, metrics, health on http://{address}");
}

/// A pool as [`serving`] tells it.
#[derive(Clone, Copy, Debug)]
pub struct PoolSummary<'a> {
    /// Its name.
    pub name: &'a str,
    /// Upstreams that are ready.
    pub usable: usize,
    /// Upstreams.
    pub total: usize,
    /// `TCP checks every 5 s`, `no checks`.
    pub checks: &'a str,
}

/// The first checks are in. `advice`: `--health-path /healthz makes them HTTP checks`, or empty.
pub fn serving(pools: &[PoolSummary<'_>], advice: &str) {
    let mut text = String::from("serving: ");
    for (index, PoolSummary { name, usable, total, checks }) in pools.iter().enumerate() {
        let _ =
            write!(text, "{}pool {name}, {usable} of {}", if index > 0 { "; " } else { "" }, count(*total, "upstream"));
        let _ = write!(text, ", {checks}");
    }
    if !advice.is_empty() {
        let _ = write!(text, " ({advice})");
    }
    let usable: usize = pools.iter().map(|pool| pool.usable).sum();
    let upstreams: usize = pools.iter().map(|pool| pool.total).sum();
    info!(event = "serving", pools = pools.len(), usable, upstreams, "{text}");
}

/// What still runs, at the end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Running {
    /// Open connections.
    pub connections: usize,
    /// Requests that are being answered.
    pub requests: u64,
    /// Tunnels.
    pub tunnels: usize,
}

impl Display for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} open", count(self.connections, "connection"))?;
        if self.requests == 0 && self.tunnels == 0 {
            return Ok(());
        }
        let requests = count(usize::try_from(self.requests).unwrap_or(usize::MAX), "request");
        write!(f, " ({requests} in flight, {})", count(self.tunnels, "tunnel"))
    }
}

/// The end has begun; requests still come in for `grace`.
pub fn grace_begun(signal: &str, running: Running, grace: Duration) {
    let Running { connections, requests, tunnels } = running;
    info!(
        event = "grace_begun",
        signal,
        connections,
        requests,
        tunnels,
        "{signal}: not ready any more, requests still taken for {}, {running}",
        setting(grace)
    );
}

/// No new connections; what runs may end within `timeout`.
pub fn drain_begun(signal: &str, running: Running, timeout: Duration) {
    let (Running { connections, requests, tunnels }, timeout) = (running, setting(timeout));
    info!(
        event = "drain_begun",
        signal, connections, requests, tunnels, "{signal}: draining, {running}, {timeout} to end"
    );
}

/// All that ran has ended by itself: so many connections since the drain began.
pub fn drained(elapsed: Duration, ended: usize) {
    let elapsed_ms = whole_millis(elapsed);
    let (time, all) = (spoken(elapsed), count(ended, "connection"));
    info!(event = "drained", elapsed_ms, ended, "drained after {time}, nothing was cut, {all} ended");
}

/// The time is up, or a second signal came. `ended`: the connections that had ended by themselves.
pub fn drain_cut(cut: usize, ended: usize, why: &str) {
    warn!(event = "drain_cut", cut, ended, "{why}: {} cut, {ended} had ended", count(cut, "connection"));
}

/// The process cannot start or go on.
pub fn fatal(message: impl Display) {
    error!(event = "fatal", "{message}");
}

/// A log file was opened again (USR1).
pub fn log_reopened() {
    info!(event = "log_reopened", "a log file was opened again");
}

/// A log file could not be opened again; the old one stays in use.
pub fn log_not_reopened(error: &std::io::Error) {
    error!(event = "log_not_reopened", "a log file could not be opened again, the old one stays in use: {error}");
}

/// Lines of a log are lost; said once until writing works again.
pub fn log_not_written(error: &std::io::Error) {
    error!(event = "log_not_written", "a log cannot be written, its lines are lost: {error}");
}

/// Lines of the access log were lost since the last time this was said.
pub fn access_log_dropped(lines: u64) {
    warn!(
        event = "access_log_dropped",
        lines,
        "{lines} lines of the access log were lost: whoever reads log.access_to is too slow, or it cannot be written"
    );
}

/// A change of an upstream could not be handed on. `to`: `command` or `url`; `why`: the end of a sentence. One line in
/// ten seconds for each.
pub fn notify_failed(to: &'static str, told: &Told, why: &str, now: Instant) {
    static THROTTLE: Throttle<&'static str> = Throttle::new(Duration::from_secs(10), 2);
    if let Some(held) = THROTTLE.pass(now, |seen| *seen == to, || to) {
        let (of, more) = (&told.event, more(held));
        warn!(event = "notify_failed", to, of, more = held, "notify.{to} was not told of {of}: {}{more}", ascii(why));
    }
}

/// What `notify.command` had to say, as far as it is kept: `more` bytes came behind it.
pub fn notify_said(told: &Told, said: &str, more: usize) {
    let (of, said) = (&told.event, ascii(said.trim_end()));
    let end = if more > 0 { format!(" ... and {more} bytes more") } else { String::new() };
    info!(event = "notify_said", of, more, "notify.command, told of {of}, says: {said}{end}");
}

/// Changes of upstreams were left out, because more than `most` waited to be handed on.
pub fn notify_late(most: usize, lost: u64) {
    let changes = count(usize::try_from(lost).unwrap_or(usize::MAX), "change");
    warn!(
        event = "notify_late",
        lost, "[notify] is too slow: {changes} of upstreams were left out, because {most} others waited for it"
    );
}

// ---- listeners

/// Accepting failed for want of files or memory; it goes on after `pause`.
pub fn accept_backoff(listener: &str, error: &std::io::Error, pause: Duration, now: Instant) {
    static THROTTLE: Throttle<String> = Throttle::new(Duration::from_secs(10), 64);
    if let Some(held) = THROTTLE.pass(now, |name| name == listener, || listener.to_owned()) {
        let pause = setting(pause);
        let more = more(held);
        warn!(
            event = "accept_backoff",
            listener,
            "{listener} takes no connections for {pause}: {error}. Raise the limit of open files (ulimit -n), or lower limits.connections{more}"
        );
    }
}

/// A peer outside `trusted_proxies` sends forwarded fields: they were replaced. One line an hour for each peer.
pub fn untrusted_forwarded(peer: IpAddr, now: Instant) {
    static THROTTLE: Throttle<IpAddr> = Throttle::new(Duration::from_secs(3600), 256);
    if THROTTLE.pass(now, |seen| *seen == peer, || peer).is_some() {
        warn!(
            event = "untrusted_forwarded", %peer,
            "{peer} sends X-Forwarded fields but is not trusted, so they are replaced. \
             If it is your own proxy: trusted_proxies = [\"{peer}\"]"
        );
    }
}

// ---- pools

/// Traffic would evict one more upstream of this pool, and `passive.max_evicted` (in percent) forbids it. One line a
/// minute for each pool.
pub fn eviction_withheld(pool: &Arc<str>, upstream: &str, percent: u8, now: Instant) {
    static THROTTLE: Throttle<Arc<str>> = Throttle::new(Duration::from_secs(60), 64);
    if let Some(held) = THROTTLE.pass(now, |name| name == pool, || Arc::clone(pool)) {
        let more = more(held);
        warn!(
            event = "eviction_withheld",
            pool = &**pool,
            upstream,
            more = held,
            "{pool}/{upstream} fails and stays in: traffic may take out {percent} % of the pool, and that many are out (limit: \
             passive.max_evicted){more}"
        );
    }
}

/// Requests of this pool were not sent once more, because so many had been (`retry.budget`, in percent). One line in
/// ten seconds for each pool.
pub fn retry_budget_exhausted(pool: &Arc<str>, percent: u32, now: Instant) {
    static THROTTLE: Throttle<Arc<str>> = Throttle::new(Duration::from_secs(10), 64);
    if let Some(held) = THROTTLE.pass(now, |name| name == pool, || Arc::clone(pool)) {
        let more = more(held);
        warn!(
            event = "retry_budget_exhausted",
            pool = &**pool,
            more = held,
            "pool {pool} sends no request again for now: {percent} % of the requests of the last 10 s, and 10 a second besides, \
             were (limit: retry.budget). Find out why so many attempts fail{more}"
        );
    }
}

// ---- words

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// A time that somebody has set: 8 s, not 8.0 s.
fn setting(duration: Duration) -> String {
    spoken(duration).replace(".0 ", " ")
}

fn more(held: u64) -> String {
    if held == 0 { String::new() } else { format!(" (and {held} more since the last line)") }
}

/// For a field whose name begins with `list.`: an item a line, as many as anybody reads. `count` beside it has how many
/// there are.
fn listed_lines(items: &[impl Display]) -> String {
    items.iter().take(LISTED).map(|item| ascii(&item.to_string())).collect::<Vec<_>>().join("\n")
}

fn listed(items: &[impl Display]) -> String {
    match items {
        [] => "none".to_owned(),
        _ => items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

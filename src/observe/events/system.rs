//! Events about the system that causeway runs on, and who started it there.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tracing::{error, info, warn};

use super::setting;
use crate::cause::spoken;
use crate::config::problem::ascii;
use crate::memory::{self, Use};
use crate::observe::json::whole_millis;

/// The service manager cannot be told how it goes. `manager`: what NOTIFY_SOCKET names.
pub fn manager_not_told(manager: &str, error: &std::io::Error) {
    let manager = ascii(manager);
    warn!(
        event = "manager_not_told",
        "the service manager at {manager} (NOTIFY_SOCKET) cannot be told how causeway goes: {error}"
    );
}

/// Threads did not answer within this time: the service manager is not told that causeway is alive.
pub fn threads_silent(names: &[String], within: Duration) {
    let (names, within) = (names.join(", "), setting(within));
    warn!(
        event = "threads_silent",
        threads = names,
        "no answer within {within} from {names}: the service manager is not told that causeway is alive (WatchdogSec)"
    );
}

/// Memory is short. `used`: of what limit, where there is one.
pub fn memory_short(used: Option<Use>) {
    let sentence = memory::short(used);
    let (used, limit) = (used.map(|used| used.used), used.map(|used| used.limit));
    warn!(
        event = "memory_short",
        used, limit, "{sentence}. Until it is back, no connections are taken and new requests get a 503"
    );
}

/// Memory is there again.
pub fn memory_back(used: Option<Use>, after: Duration) {
    let of = used.map(|used| format!(" ({used})")).unwrap_or_default();
    let (used, limit) = (used.map(|used| used.used), used.map(|used| used.limit));
    let (away_ms, after) = (whole_millis(after), spoken(after));
    info!(event = "memory_back", used, limit, away_ms, "memory is back after {after}{of}: connections are taken again");
}

static PANICS: AtomicU64 = AtomicU64::new(0);
static TOLD: AtomicBool = AtomicBool::new(false);

/// A thread panicked; its request or its connection is gone, the proxy is not.
pub fn panicked(what: impl Display) {
    PANICS.fetch_add(1, Ordering::Relaxed);
    error!(event = "panicked", "a fault in causeway, please report it: {what}");
}

/// From now on every panic is told where it happens: who catches one need not tell it again.
pub fn panics_are_told() {
    TOLD.store(true, Ordering::Relaxed);
}

/// A panic was caught that ended a request. `what`: its message.
pub fn panic_caught(what: &str) {
    if !TOLD.load(Ordering::Relaxed) {
        panicked(what);
    }
}

/// Panics since the start.
#[must_use]
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// Sockets were handed over that no listener names. `names`: `fd:NAME`, with commas between.
pub fn sockets_unused(names: impl Display) {
    warn!(
        event = "sockets_unused",
        "nobody listens on {names}, though it was handed over (LISTEN_FDS): clients that connect there wait for ever. Give \
         a listener that address, or take it out of the .socket unit"
    );
}

/// An older process has given so many listening sockets.
pub fn taking_over(pid: u32, sockets: usize) {
    info!(
        event = "taking_over",
        pid, sockets, "process {pid} gave its {sockets} listening sockets; it serves until checks are in"
    );
}

/// The first checks took longer than this.
pub fn taking_over_unchecked(limit: Duration) {
    let limit = setting(limit);
    warn!(
        event = "taking_over_unchecked",
        "not every upstream had its first check within {limit}; taking over without"
    );
}

/// The older process has stopped accepting.
pub fn taken_over(pid: u32) {
    info!(event = "taken_over", pid, "taken over from process {pid}, which drains now");
}

/// The older process ended before it was told to.
pub fn older_gone(pid: u32) {
    warn!(event = "taken_over", pid, "taken over from process {pid}, which had ended already");
}

/// The older process does not say that it stops.
pub fn older_silent(pid: u32, limit: Duration) {
    let limit = setting(limit);
    warn!(
        event = "taken_over",
        pid,
        "taken over from process {pid}, but it has not answered within {limit} and may still take connections: kill {pid}"
    );
}

/// A newer process serves from now on.
pub fn handed_over(pid: u32) {
    info!(event = "handed_over", pid, "process {pid} has taken over");
}

/// A process that asked for the sockets did not take over. `why`: the end of a sentence.
pub fn hand_over_ended(pid: u32, why: &str) {
    let why = ascii(why);
    warn!(event = "hand_over_ended", pid, "process {pid} did not take over: {why}. This one serves on");
}

/// Somebody asked for the sockets who may not have them.
pub fn hand_over_refused(why: &str) {
    warn!(event = "hand_over_ended", "the listening sockets are not handed over: {why}");
}

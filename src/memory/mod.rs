//! Is there enough memory? While it is short, causeway takes nothing new and lets go of what it can, so that it lives,
//! answers what it has begun, and says what is the matter.
//!
//! [`limit`] reads how much this process may have and has; [`watch`] judges, from that and from what the allocator met;
//! this file is where everybody else looks. The flag is the allocator's own: it is up from the first time on that the
//! system gives nothing, without anybody having looked. Nothing here refuses or frees: the rooms above do; who must
//! wait is woken from here.

pub mod limit;
pub mod watch;

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::sync::Notify;

use crate::cause::{Cause, Failure};
use crate::sys;

pub use limit::{Bound, Limits, Use};
pub use watch::{Change, Seen, Watch};

/// When a client may ask again, while memory is short.
const AGAIN: Duration = Duration::from_secs(2);

static PRESSED: Notify = Notify::const_new();
static LASTS: AtomicBool = AtomicBool::new(false);
static SHORTAGES: AtomicU64 = AtomicU64::new(0);
/// The use at the last look, while memory was short; a limit of 0 is none.
static USED: AtomicU64 = AtomicU64::new(0);
static LIMIT: AtomicU64 = AtomicU64::new(0);
static BOUND: AtomicU64 = AtomicU64::new(0);

/// Is memory short now? One relaxed load.
#[must_use]
pub fn is_short() -> bool {
    sys::memory_is_short()
}

/// How often it has become short, since the start.
#[must_use]
pub fn shortages() -> u64 {
    SHORTAGES.load(Relaxed)
}

/// Memory is short from now on, or has become so by itself.
pub fn begins(seen: Option<Use>) {
    SHORTAGES.fetch_add(1, Relaxed);
    note(seen);
    sys::set_memory_short(true);
}

/// How it stands, while it is short; and everybody who holds something that can be let go is woken. `lasts`: letting go
/// was not enough.
pub fn presses(seen: Option<Use>, lasts: bool) {
    note(seen);
    LASTS.store(lasts, Relaxed);
    PRESSED.notify_waiters();
}

/// Memory is there again.
pub fn ends() {
    LASTS.store(false, Relaxed);
    sys::set_memory_short(false);
}

/// Resolves when memory is short and something is to be let go; again and again while it is.
pub async fn pressed() {
    PRESSED.notified().await;
}

/// Was it not enough to let go, so that what waits for others has to end?
#[must_use]
pub fn lasts() -> bool {
    LASTS.load(Relaxed)
}

thread_local! {
    static PAUSED: RefCell<Option<Vec<Waker>>> = const { RefCell::new(None) };
}

/// Must what a client sends wait in the kernel? While memory is short, what is `large` must, and while the reserve is
/// out, all: what has been begun then needs all that there is. The task is woken at the next [`resume`], to ask again;
/// on a thread that never resumes, nothing waits.
#[must_use]
pub fn must_wait(large: bool, cx: &Context<'_>) -> bool {
    is_short()
        && (large || sys::reserve_is_out())
        && PAUSED.with_borrow_mut(|paused| {
            let Some(paused) = paused else { return false };
            // One task asks many times in a row, where it asks.
            if !paused.last().is_some_and(|last| last.will_wake(cx.waker())) {
                paused.push(cx.waker().clone());
            }
            true
        })
}

/// Wakes the tasks of this thread that wait for memory. Called again and again from the first time on.
pub fn resume() {
    let paused = PAUSED.replace(Some(Vec::new()));
    paused.into_iter().flatten().for_each(Waker::wake);
}

/// The refusal of a request, while memory is short.
#[must_use]
pub fn refusal() -> Failure {
    Failure::new(Cause::ProxyBusy).seen(short(noted())).again(AGAIN)
}

/// While it is short, [`short`] of what was seen last.
#[must_use]
pub fn told() -> Option<String> {
    is_short().then(|| short(noted()))
}

/// `memory is short (190 MiB of 200 MiB in use, limit: ulimit -v). Raise that limit, or …`, less the last stop.
#[must_use]
pub fn short(seen: Option<Use>) -> String {
    let lower = "lower limits.connections or buffers.request";
    match seen {
        Some(seen) => format!("memory is short ({seen}). Raise that limit, or {lower}"),
        None => format!("memory is short (the system gives no more). Add some, or {lower}"),
    }
}

fn note(seen: Option<Use>) {
    USED.store(seen.map_or(0, |seen| seen.used), Relaxed);
    BOUND.store(seen.map_or(0, |seen| u64::from(seen.bound == Bound::Container)), Relaxed);
    LIMIT.store(seen.map_or(0, |seen| seen.limit), Relaxed);
}

fn noted() -> Option<Use> {
    let bound = if BOUND.load(Relaxed) == 1 { Bound::Container } else { Bound::Process };
    let (used, limit) = (USED.load(Relaxed), LIMIT.load(Relaxed));
    (limit > 0).then_some(Use { used, limit, bound })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_names_the_numbers_and_what_to_do() {
        let seen = Use { used: 199 << 20, limit: 220_000_000, bound: Bound::Process };
        let said = "memory is short (199 MiB of 209 MiB in use, limit: ulimit -v). \
                    Raise that limit, or lower limits.connections or buffers.request";
        assert_eq!(short(Some(seen)), said);
        let seen = Use { used: 60 << 20, limit: 64 << 20, bound: Bound::Container };
        assert!(short(Some(seen)).contains("60 MiB of 64 MiB in use, limit: memory.max of its container"));
        let failure = refusal();
        assert_eq!((failure.cause, failure.own_status()), (Cause::ProxyBusy, 503));
    }
}

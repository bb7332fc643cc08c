//! Looks from the control thread whether there is enough memory, and tells everybody when it is short and when it is
//! back. What is done about it is theirs; what is short and what is not, [`memory::Watch`] says.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::memory::{self, Change, Limits, Seen, Watch};
use crate::observe::events;
use crate::sys;

/// How often it looks. Also where no limit counts now: others may fill the container that this process is in.
const EVERY: Duration = Duration::from_millis(250);
/// And while memory is short, or more than half of a limit is used.
const NEAR: Duration = Duration::from_millis(50);
/// The reserve is taken again when the system has refused nothing for so long.
const AGAIN: Duration = Duration::from_millis(500);
/// When memory is short for so long, requests that wait for their clients have to end.
const LASTS: Duration = Duration::from_secs(2);

/// Looks until the end.
pub(super) async fn look(stop: CancellationToken) {
    let limits = Limits::of_this_process();
    let (mut watch, mut refused, mut refused_at) = (Watch::default(), sys::failed_allocations(), None);
    loop {
        let now = Instant::now();
        let failed = refused != sys::failed_allocations();
        if failed {
            (refused, refused_at) = (sys::failed_allocations(), Some(now));
        }
        let used = limits.used();
        let may = refused_at.is_none_or(|at| now.saturating_duration_since(at) >= AGAIN);
        let seen = Seen { failed, reserve: may && sys::take_reserve(limits.reserve()), used };
        match watch.look(seen, now) {
            Some(Change::Short) => {
                memory::begins(used);
                events::memory_short(used);
            }
            Some(Change::Back(after)) => {
                memory::ends();
                events::memory_back(used, after);
            }
            None => {}
        }
        let short_for = watch.short_for(now);
        if let Some(short_for) = short_for {
            memory::presses(used, short_for >= LASTS);
        }
        let near = short_for.is_some() || used.is_some_and(|used| used.used > used.limit / 2);
        let pause = if near { NEAR } else { EVERY };
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

//! `[notify]`: each change of an upstream is handed to a command or posted to an address, so that a process manager can
//! restart a dead app.
//!
//! What is told, and in which words, is `observe`'s: the events come from its feed, and each is handed on as the object
//! of its log line. The work is here, for it starts processes and connections, on the control thread: one at a time and
//! in order, each for [`LIMIT`] at the most. Traffic never waits for it.

mod command;
mod post;
mod queue;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::config::model;
use crate::observe::events::{self, Feed, Told};

use queue::Queue;

/// For a command to end, or an answer to come.
const LIMIT: Duration = Duration::from_secs(10);

/// That it is too slow is told so often, while it is.
const LATE: Duration = Duration::from_secs(10);

/// Who is told, and from which event on.
#[derive(Debug)]
pub(super) struct Notify {
    to: Arc<model::Notify>,
    feed: Arc<Feed>,
    seen: u64,
}

/// One event on its way.
type Delivery = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Notify {
    /// Of what comes from now on in the log that is in force on this thread.
    pub(super) fn new(to: model::Notify) -> Self {
        let feed = events::feed();
        let seen = *feed.newest().borrow();
        Self { to: Arc::new(to), feed, seen }
    }

    /// Tells until `stop`; what is under way then is left to itself. `reached`: up to which event all has been handed on
    /// or begun to be, so that who comes after another `[notify]` goes on where that ended; 0: nobody was told before.
    pub(super) async fn run(self, stop: CancellationToken, reached: Arc<AtomicU64>) {
        let Self { to, feed, mut seen } = self;
        if to.command.is_empty() && to.url.is_none() {
            reached.store(0, Ordering::Relaxed);
            return;
        }
        seen = Some(reached.load(Ordering::Relaxed)).filter(|reached| *reached > 0).unwrap_or(seen);
        let (mut newest, mut queue) = (feed.newest(), Queue::default());
        newest.mark_changed();
        let (mut running, mut told): (Option<Delivery>, _) = (None, None);
        loop {
            if running.is_none() {
                tell_lost(&mut queue, &mut told);
                let next = queue.next();
                reached.store(next.as_ref().map_or(seen, |told| told.sequence), Ordering::Relaxed);
                running = next.map(|told| deliver(Arc::clone(&to), told));
            }
            let delivered = async {
                match &mut running {
                    Some(running) => running.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                _ = newest.changed() => {
                    let news = feed.after(seen);
                    seen = news.events.last().map_or(seen, |told| told.sequence);
                    queue.take(news);
                }
                () = delivered => running = None,
            }
        }
    }
}

/// Once in a while, and when all that waited has been handed on. `told`: when that was said last.
fn tell_lost(queue: &mut Queue, told: &mut Option<Instant>) {
    let now = Instant::now();
    if queue.is_empty() || told.is_none_or(|told| now.saturating_duration_since(told) >= LATE) {
        let lost = queue.lost();
        if lost > 0 {
            events::notify_late(queue::MOST, lost);
            *told = Some(now);
        }
    }
}

/// To whoever is told. A failure is a line of the log, and the next event is the next try.
fn deliver(to: Arc<model::Notify>, told: Arc<Told>) -> Delivery {
    Box::pin(async move {
        if !to.command.is_empty()
            && let Err(why) = command::run(&to.command, &told, LIMIT).await
        {
            events::notify_failed("command", &told, &why, Instant::now());
        }
        if let Some(hook) = &to.url
            && let Err(why) = post::post(hook, &told, LIMIT).await
        {
            events::notify_failed("url", &told, &why, Instant::now());
        }
    })
}

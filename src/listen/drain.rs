//! The word that everything must come to an end, in its steps: serving, draining, the last second, cut.
//!
//! It says when, never how: connections, accept loops and tunnels each know what a step means for them. Waiting for it
//! is by event; asking for it is one atomic load.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// A shared word; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Drain(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// A [`Step`]; only ever grows.
    step: AtomicU8,
    changed: Notify,
    /// Connections, tunnels and accept loops.
    running: TaskTracker,
    /// Connections alone.
    open: AtomicUsize,
    /// Those that ended since the drain began.
    ended: AtomicUsize,
    tunnels: AtomicUsize,
    /// Where another process accepts from now on.
    elsewhere: OnceLock<Arc<[String]>>,
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Serving,
    Draining,
    LastSecond,
    Cut,
}

impl Drain {
    /// Has the drain begun?
    #[must_use]
    pub fn begun(&self) -> bool {
        self.step() >= Step::Draining
    }

    /// Is this the last second before the cut? Then new requests get 503 `shutting_down`.
    #[must_use]
    pub fn last_second(&self) -> bool {
        self.step() >= Step::LastSecond
    }

    /// Is it over: was all that still ran dropped? What ends then, no client has ended.
    #[must_use]
    pub fn was_cut(&self) -> bool {
        self.step() >= Step::Cut
    }

    /// Has all ended that it is the word for?
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.begun() && self.0.running.is_empty()
    }

    /// Open connections, tunnels included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.open.load(Ordering::Acquire)
    }

    /// Tunnels among them, and those in a stream of HTTP/2.
    #[must_use]
    pub fn tunnels(&self) -> usize {
        self.0.tunnels.load(Ordering::Acquire)
    }

    /// Connections that have ended since the drain began; after the cut, those too that it ended.
    #[must_use]
    pub fn closed(&self) -> usize {
        self.0.ended.load(Ordering::Acquire)
    }

    /// Starts the drain: accept loops take what waits in their backlog and close; each kept connection answers one more
    /// request with `Connection: close`; idle ones end a second later.
    pub fn begin(&self) {
        self.go(Step::Draining);
    }

    /// The same, but another process has these places ([`place`](super::taken::place)) and accepts there from now on:
    /// what waits there is left to it, and so are the paths.
    pub fn begin_elsewhere(&self, places: Arc<[String]>) {
        // Only the first word counts.
        let _ = self.0.elsewhere.set(places);
        self.begin();
    }

    /// Does another process accept at this place from now on?
    pub(super) fn is_elsewhere(&self, place: &str) -> bool {
        self.0.elsewhere.get().is_some_and(|places| places.iter().any(|its| its == place))
    }

    /// From now on [`Drain::last_second`] is true.
    pub fn begin_last_second(&self) {
        self.go(Step::LastSecond);
    }

    /// Drops every connection and tunnel that is left, and says how many connections that were.
    pub fn cut(&self) -> usize {
        let open = self.0.open.load(Ordering::Acquire);
        self.go(Step::Cut);
        open
    }

    /// Resolves once every accept loop, connection and tunnel is done. To be called after [`Drain::begin`].
    pub async fn ended(&self) {
        self.0.running.close();
        self.0.running.wait().await;
    }

    /// Runs a tunnel on this worker, ended by the cut and waited for by [`Drain::ended`].
    pub fn spawn(&self, tunnel: impl Future<Output = ()> + Send + 'static) {
        let drain = self.clone();
        let counted = Counted::of(self);
        tokio::spawn(self.0.running.track_future(async move {
            let _counted = counted;
            tokio::select! {
                () = tunnel => {}
                () = drain.reached(Step::Cut) => {}
            }
        }));
    }

    /// Counts a connection for as long as the guard lives.
    pub(super) fn connection(&self) -> Open {
        self.0.open.fetch_add(1, Ordering::AcqRel);
        Open { _token: self.0.running.token(), drain: self.clone() }
    }

    /// Makes [`Drain::ended`] wait for an accept loop.
    pub(super) fn hold(&self) -> TaskTrackerToken {
        self.0.running.token()
    }

    /// Resolves when [`Drain::last_second`] becomes true.
    pub async fn last_second_reached(&self) {
        self.reached(Step::LastSecond).await;
    }

    /// Resolves when this step is reached, or passed.
    pub(super) async fn reached(&self, step: Step) {
        let mut watch = pin!(self.watch());
        std::future::poll_fn(|cx| if watch.as_mut().poll(cx) >= step { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// For one task that wants to be woken at every step.
    pub(super) fn watch(&self) -> Watch<'_> {
        Watch { drain: self, seen: Step::Serving, registered: false, changed: self.0.changed.notified() }
    }

    pub(super) fn step(&self) -> Step {
        match self.0.step.load(Ordering::Acquire) {
            0 => Step::Serving,
            1 => Step::Draining,
            2 => Step::LastSecond,
            _ => Step::Cut,
        }
    }

    fn go(&self, step: Step) {
        self.0.step.fetch_max(step as u8, Ordering::AcqRel);
        self.0.changed.notify_waiters();
    }
}

/// One open connection, for [`Drain::cut`] and [`Drain::ended`].
#[derive(Debug)]
pub(super) struct Open {
    _token: TaskTrackerToken,
    drain: Drain,
}

impl Drop for Open {
    fn drop(&mut self) {
        // In this order: whoever adds the two up misses none.
        if self.drain.begun() {
            self.drain.0.ended.fetch_add(1, Ordering::AcqRel);
        }
        self.drain.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One tunnel, for [`Drain::tunnels`].
struct Counted(Drain);

impl Counted {
    fn of(drain: &Drain) -> Self {
        drain.0.tunnels.fetch_add(1, Ordering::AcqRel);
        Self(drain.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.tunnels.fetch_sub(1, Ordering::AcqRel);
    }
}

pin_project_lite::pin_project! {
    /// Tells one task of each step. A poll is one atomic load: the waker is left only once for a step, so the task that
    /// polls first must be the one that polls on.
    pub(super) struct Watch<'a> {
        drain: &'a Drain,
        seen: Step,
        registered: bool,
        #[pin]
        changed: Notified<'a>,
    }
}

impl Watch<'_> {
    /// Where things stand; the task is woken when that changes.
    pub(super) fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Step {
        let mut this = self.project();
        loop {
            // The waker is left before the step is read, so that no change falls between the two.
            if !*this.registered {
                if this.changed.as_mut().poll(cx).is_ready() {
                    this.changed.set(this.drain.0.changed.notified());
                    continue;
                }
                *this.registered = true;
            }
            let step = this.drain.step();
            if step == *this.seen {
                return step;
            }
            *this.seen = step;
            *this.registered = false;
            this.changed.set(this.drain.0.changed.notified());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn steps_only_go_forward_and_wake_those_who_wait() {
        let drain = Drain::default();
        let waiting = tokio::spawn({
            let drain = drain.clone();
            async move { drain.reached(Step::Cut).await }
        });
        tokio::task::yield_now().await;
        assert!(!drain.begun());
        drain.begin();
        tokio::task::yield_now().await;
        assert!(drain.begun() && !drain.last_second() && !waiting.is_finished());
        drain.begin_last_second();
        drain.begin();
        assert!(drain.last_second());
        let open = drain.connection();
        assert!(!drain.was_cut());
        assert_eq!(drain.cut(), 1);
        assert!(drain.was_cut());
        waiting.await.unwrap();
        drop(open);
        drain.ended().await;
        assert_eq!((drain.connections(), drain.closed()), (0, 1));
    }

    #[tokio::test]
    async fn a_tunnel_is_waited_for_and_ended_by_the_cut() {
        let drain = Drain::default();
        drain.spawn(std::future::pending());
        drop(drain.connection());
        drain.begin();
        assert_eq!((drain.tunnels(), drain.closed()), (1, 0));
        let mut ended = pin!(drain.ended());
        assert!(std::future::poll_fn(|cx| Poll::Ready(ended.as_mut().poll(cx).is_pending())).await);
        drain.cut();
        ended.await;
        assert_eq!(drain.tunnels(), 0);
    }
}

//! One connection on its way: who opens it tells those who wait for it what came of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::line::Line;
use super::{Dialling, Lines, Place, Seat};
use crate::cause::Failure;
use crate::client::{Order, Progress};

/// One connection on its way; dropped before it stands, somebody else may open one.
pub(super) struct Opening {
    pub(super) lines: Arc<Lines>,
    pub(super) key: u64,
    pub(super) told: Option<watch::Sender<Option<Arc<Failure>>>>,
}

impl Opening {
    /// Dials, up to the upstream's first word.
    pub(super) async fn open(
        self,
        order: &Order<'_>,
        progress: &Progress,
        secure: bool,
        limit: Duration,
        dialling: Dialling<'_>,
    ) -> Result<Place, Failure> {
        let stream = match dialling.await {
            Ok(stream) => stream,
            Err(failure) => return Err(self.failed(failure)),
        };
        if secure && !stream.is_h2() {
            self.lines.speaks_http1(self.key);
            return Ok(Place::Http1(Some(stream)));
        }
        let dialled = Instant::now();
        // Dial and handshake have had their own.
        let deadline = dialled + limit;
        match Line::open(stream, order, &Arc::downgrade(&self.lines), deadline).await {
            Ok(line) => {
                progress.set_connect(progress.connect().unwrap_or_default() + dialled.elapsed());
                Ok(Place::Seat(self.stands(line, order)))
            }
            Err(failure) => Err(self.failed(failure)),
        }
    }

    /// It stands: the first stream is the opener's.
    fn stands(mut self, line: Arc<Line>, order: &Order<'_>) -> Seat {
        line.first(order);
        let mut shelves = self.lines.shelves();
        let shelf = shelves.entry(self.key).or_default();
        shelf.opening = None;
        shelf.lines.push(Arc::clone(&line));
        let freed = Arc::clone(&shelf.freed);
        drop(shelves);
        self.told = None;
        freed.notify_one(); // it has more places than this one
        Seat { line, freed }
    }

    /// It does not: those who wait for it need not try for themselves.
    fn failed(mut self, failure: Failure) -> Failure {
        if let Some(told) = self.told.take() {
            self.lines.opened_no_line(self.key);
            told.send_replace(Some(Arc::new(again(&failure))));
        }
        failure
    }
}

impl Lines {
    fn opened_no_line(&self, key: u64) {
        let mut shelves = self.shelves();
        if let Some(shelf) = shelves.get_mut(&key) {
            shelf.opening = None;
            if shelf.lines.is_empty() {
                shelves.remove(&key);
            }
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if self.told.is_some() {
            self.lines.opened_no_line(self.key);
        }
    }
}

/// The same failure, for one more request that met it.
pub(super) fn again(failure: &Failure) -> Failure {
    let mut other = Failure::new(failure.cause).in_phase(failure.phase);
    (other.limit, other.seen) = (failure.limit.clone(), failure.seen.clone());
    match &failure.source {
        Some(source) => other.from(source.to_string()),
        None => other,
    }
}

//! What happened on a connection since its current request began, so that a failure can be named from facts: how many
//! bytes, in which direction, and how it ended. It looks into no message.

use std::error::Error;
use std::io;
use std::sync::Arc;

use tokio::time::Instant;

use crate::cause::Phase;
use crate::client::Progress;

/// How much of an answer's beginning is kept for the texts of failures.
pub(super) const KEPT_HEAD: usize = 1024;

/// See the module.
#[derive(Debug, Default)]
pub(in crate::client) struct Facts {
    /// Bytes that the connection took.
    pub(in crate::client) written: u64,
    /// Bytes that it gave.
    pub(in crate::client) read: u64,
    /// The first bytes of an answer that failed.
    pub(in crate::client) head: Vec<u8>,
    /// How reading ended.
    pub(in crate::client) end: Option<End>,
    /// The alert by which TLS ended.
    pub(in crate::client) alert: Option<u8>,
    /// The first write error: nothing is written after it, but reading goes on, for an answer that was sent before the
    /// upstream closed (HTTP.md "Early answers from upstream").
    pub(in crate::client) write_error: Option<io::Error>,
    /// When that was.
    pub(in crate::client) write_ended: Option<Instant>,
    /// A write waits for the upstream since then.
    pub(in crate::client) blocked: Option<Instant>,
    /// While the exchange has not waited yet: when it began. It saves a look at the clock.
    pub(in crate::client) just_now: Option<Instant>,
    /// The last byte of the request was written at this time.
    pub(in crate::client) finished: Option<Instant>,
    /// A final response head is there.
    pub(in crate::client) headed: bool,
    /// Interim answers.
    pub(in crate::client) interim: u32,
    /// The upstream said 100.
    pub(in crate::client) continued: bool,
    /// The body of the request stays where it is: the answer came without the 100 that it waits for.
    pub(in crate::client) unasked: bool,
    /// What the request's body failed with.
    pub(in crate::client) body_error: Option<Box<dyn Error + Send + Sync>>,
    /// Of the attempt that runs.
    pub(in crate::client) progress: Option<Arc<Progress>>,
}

/// How reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) enum End {
    /// In order (FIN).
    Eof,
    /// By a reset, or another error of the connection.
    Broken,
}

impl Facts {
    /// A new request begins.
    pub(super) fn of(progress: Arc<Progress>, just_now: Option<Instant>) -> Self {
        progress.set_phase(Phase::Request);
        Self { progress: Some(progress), just_now, ..Self::default() }
    }

    /// The connection took so many bytes.
    pub(super) fn wrote(&mut self, count: usize) {
        self.blocked = None;
        if self.written == 0
            && count > 0
            && let Some(progress) = &self.progress
        {
            progress.set_sent();
        }
        self.written += count as u64;
    }

    /// The connection takes nothing any more.
    pub(super) fn write_failed(&mut self, error: io::Error) {
        self.blocked = None;
        self.write_ended = Some(Instant::now());
        self.write_error = Some(error);
    }

    /// Is the request on its way, with nothing to send now? The upstream may well be waiting for it, then.
    pub(super) fn waits_for_client(&self) -> bool {
        self.finished.is_none() && self.blocked.is_none() && self.write_error.is_none() && !self.unasked
    }

    /// The connection took the last byte of the request.
    pub(super) fn finish(&mut self) {
        self.finished = Some(self.just_now.unwrap_or_else(Instant::now));
        if let Some(progress) = &self.progress
            && !self.headed
        {
            progress.set_phase(Phase::Head);
        }
    }

    /// The final head of the answer is there.
    pub(super) fn head(&mut self) {
        self.headed = true;
        if let Some(progress) = &self.progress {
            progress.set_phase(Phase::Body);
        }
    }
}

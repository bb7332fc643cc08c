//! The access log: one line for each exchange, formatted by the worker, written by a thread of its own.
//!
//! Never blocks traffic: the queue is bounded; when the reader is slow, lines are dropped and counted.
use std::io;

use crate::config::model::Log;

use super::exchange::Exchange;

/// The handle that workers share; cheap to clone.
#[derive(Clone, Debug)]
pub struct AccessLog {
    _todo: (),
}

impl AccessLog {
    /// Opens the target and starts the writer thread.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn start(_log: &Log) -> io::Result<Self> {
        todo!()
    }
    /// A log that nobody reads.
    #[must_use]
    pub fn off() -> Self {
        todo!()
    }
    /// Writes one exchange's line, or counts it as dropped.
    pub fn write(&self, _exchange: &Exchange) {
        todo!()
    }
    /// Lines dropped since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        todo!()
    }
    /// Closes and opens the file again (USR1), for log rotation.
    pub fn reopen(&self) {
        todo!()
    }
    /// Waits until all that was written is out (end of the process), at most this long.
    pub fn flush(&self, _at_most: std::time::Duration) {
        todo!()
    }
}

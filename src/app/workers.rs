//! Threads. The only file that knows: one current-thread runtime for each worker, one for control.
//!
//! Whatever runs on a worker may share nothing with another worker but atomics; whatever may be slow runs on control.

use std::any::Any;
use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::thread::{self, JoinHandle};

use tokio::runtime::Builder;
use tokio::sync::mpsc;

use super::pulse::Pulses;

/// How a thread ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// Its name: `worker-0`, `control`.
    pub(super) thread: String,
    /// What it said when it panicked.
    pub(super) panic: Option<String>,
}

/// Threads that were started, and the news of their ends.
#[derive(Debug)]
pub(super) struct Crew {
    handles: Vec<JoinHandle<()>>,
    tell: mpsc::UnboundedSender<Ended>,
    /// Whether they still turn.
    pub(super) pulses: Pulses,
}

impl Crew {
    /// An empty crew, and where the ends of its threads are told (one message for each thread).
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Ended>) {
        let (tell, ends) = mpsc::unbounded_channel();
        (Self { handles: Vec::new(), tell, pulses: Pulses::default() }, ends)
    }

    /// Runs a job to its end on a thread of its own. The job's future is made on that thread, inside its runtime.
    ///
    /// # Errors
    /// When the system has no thread or no event queue left.
    pub(super) fn start<F: Future<Output = ()>>(
        &mut self,
        name: &str,
        job: impl FnOnce() -> F + Send + 'static,
    ) -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (tell, thread) = (self.tell.clone(), name.to_owned());
        let pulse = self.pulses.add(name);
        let body = move || {
            let running = || {
                runtime.block_on(async {
                    tokio::spawn(pulse.answer());
                    job().await;
                });
            };
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(running));
            let panic = outcome.err().map(|panic| said(&*panic));
            // Nobody listens any more only when the process ends anyway.
            drop(tell.send(Ended { thread, panic }));
        };
        self.handles.push(thread::Builder::new().name(name.to_owned()).spawn(body)?);
        Ok(())
    }

    /// Waits for all threads.
    pub(super) fn join(self) {
        for handle in self.handles {
            // A panic was told already.
            drop(handle.join());
        }
    }
}

/// One worker for each core that this process may use.
pub(super) fn count(asked: Option<NonZeroUsize>) -> usize {
    asked.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get)
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}

//! Lines on their way to a reader: formatted by whoever has something to say, written by a thread of its own.
//!
//! Nobody who writes a line ever waits for the reader: lines gather in slots of bounded size, and what does not fit is
//! dropped and counted. In steady state nothing is allocated: the writer swaps a full buffer for an empty one. A thread
//! that writes holds its own slot's lock, which only the writer thread ever contests, for the time of a swap.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::config::model::LogTarget;

/// A slot holds no more; what comes then is dropped.
const SLOT_MOST: usize = 1 << 20;
/// A slot with this much is worth a write before its time. Larger, and it would push more out of a core's own cache.
const SLOT_FULL: usize = 128 << 10;
/// A pipe that is full is tried again after so long, and at last only so often.
const PAUSE: Duration = Duration::from_millis(5);
const PAUSE_MOST: Duration = Duration::from_millis(100);
/// A buffer that has grown larger than this is given back after use.
const SLOT_KEPT: usize = 256 << 10;

/// The handle that threads share; cheap to clone. The last one to go writes what is left and ends the writer.
#[derive(Clone, Debug)]
pub struct Lines {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    writer: Thread,
}

#[derive(Debug)]
struct Shared {
    slots: Box<[Slot]>,
    /// How long a line may gather company.
    linger: Duration,
    /// The writer looks by itself, after `linger` at the latest: a line need not wake it.
    awake: AtomicBool,
    /// Something cannot wait: a full slot, a flush, the end.
    urgent: AtomicBool,
    reopen: AtomicBool,
    closing: AtomicBool,
    dropped: AtomicU64,
    /// Flushes asked for, and how many of them are done.
    asked: AtomicU64,
    done: Mutex<u64>,
    flushed: Condvar,
}

/// On cache lines of its own: two threads that write would otherwise pull them from each other.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Slot {
    text: Mutex<Vec<u8>>,
}

impl Lines {
    /// Opens the target and starts the writer. `slots`: 1 keeps the lines of all threads in order, more keep threads
    /// out of each other's way. `linger`: how long a line may wait for company, so that one write serves many.
    ///
    /// # Errors
    /// When the file cannot be opened, or the thread not started.
    pub fn start(name: &str, target: &LogTarget, slots: usize, linger: Duration) -> io::Result<Self> {
        let out = open(target)?;
        let shared = Arc::new(Shared {
            slots: (0..slots.max(1)).map(|_| Slot::default()).collect(),
            linger,
            awake: AtomicBool::new(false),
            urgent: AtomicBool::new(false),
            reopen: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            done: Mutex::new(0),
            flushed: Condvar::new(),
        });
        let writer = Writer { shared: shared.clone(), target: target.clone(), out, spare: Vec::new(), broken: false };
        let writer = thread::Builder::new().name(name.to_owned()).spawn(move || writer.write_all())?;
        Ok(Self { handle: Arc::new(Handle { shared, writer: writer.thread().clone() }) })
    }

    /// Appends one line: `format` writes it (escaped, without its end) to a buffer. Never waits for the reader.
    pub fn line(&self, format: impl FnOnce(&mut String)) {
        let mut line = String::new();
        format(&mut line);
        self.bytes(|out| out.extend_from_slice(line.as_bytes()));
    }

    /// The same, straight into the buffer where the lines gather.
    pub fn bytes(&self, format: impl FnOnce(&mut Vec<u8>)) {
        let shared = &*self.handle.shared;
        let own = own_slot();
        let slot = shared.slots.get(own).unwrap_or_else(|| &shared.slots[own % shared.slots.len()]);
        let mut text = lock(&slot.text);
        if text.len() >= SLOT_MOST {
            shared.dropped.fetch_add(1, Relaxed);
            return;
        }
        format(&mut text);
        text.push(b'\n');
        let full = text.len() >= SLOT_FULL;
        drop(text);
        // Looked at first: nearly always nobody need be woken, and a write would take the flag from the others.
        let flag = if full { &shared.urgent } else { &shared.awake };
        if !flag.load(SeqCst) && !flag.swap(true, SeqCst) {
            self.handle.writer.unpark();
        }
    }

    /// Lines that no reader will see, since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.handle.shared.dropped.load(Relaxed)
    }

    /// Closes and opens the file again, for log rotation.
    pub fn reopen(&self) {
        self.handle.shared.reopen.store(true, SeqCst);
        self.handle.rouse();
    }

    /// Waits until all that was written so far is out, at most this long.
    pub fn flush(&self, at_most: Duration) {
        let shared = &*self.handle.shared;
        let mine = shared.asked.fetch_add(1, SeqCst) + 1;
        self.handle.rouse();
        let done = lock(&shared.done);
        // A reader that takes nothing must not hold up the end of the process: the time is bounded, the result is not
        // needed.
        let _ = shared.flushed.wait_timeout_while(done, at_most, |done| *done < mine);
    }
}

impl Handle {
    fn rouse(&self) {
        self.shared.urgent.store(true, SeqCst);
        self.writer.unpark();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.closing.store(true, SeqCst);
        self.rouse();
    }
}

/// What the thread that writes has for itself.
#[derive(Debug)]
struct Writer {
    shared: Arc<Shared>,
    target: LogTarget,
    out: File,
    /// Empty; a slot's text is swapped for it.
    spare: Vec<u8>,
    /// Nothing could be written the last time.
    broken: bool,
}

impl Writer {
    fn write_all(mut self) {
        loop {
            while !self.shared.awake.load(SeqCst) && !self.shared.urgent.load(SeqCst) {
                thread::park();
            }
            self.let_lines_gather();
            // Cleared before all that may be asked for is looked at: what comes then is for the next round.
            self.shared.urgent.store(false, SeqCst);
            let closing = self.shared.closing.load(SeqCst);
            let asked = self.shared.asked.load(SeqCst);
            self.reopen_if_asked();
            if !self.sweep() {
                // Nothing came while lines could gather, so from here on the next one wakes the writer. One that came
                // just now did not: hence once more.
                self.shared.awake.store(false, SeqCst);
                self.sweep();
            }
            *lock(&self.shared.done) = asked;
            self.shared.flushed.notify_all();
            if closing {
                return;
            }
        }
    }

    /// Writes what has gathered. Was there anything?
    fn sweep(&mut self) -> bool {
        let shared = self.shared.clone();
        let mut any = false;
        for slot in &shared.slots {
            let mut slot = lock(&slot.text);
            // An empty one keeps its buffer: if all went round among all slots, none would stay in a core's own cache.
            if slot.is_empty() {
                continue;
            }
            let mut text = std::mem::replace(&mut *slot, std::mem::take(&mut self.spare));
            drop(slot);
            any = true;
            let written = self.write_out(&text);
            if let Err((lost, error)) = &written {
                shared.dropped.fetch_add(*lost, Relaxed);
                if !self.broken {
                    super::events::log_not_written(error);
                }
            }
            self.broken = written.is_err();
            text.clear();
            text.shrink_to(SLOT_KEPT);
            self.spare = text;
        }
        any
    }

    fn reopen_if_asked(&mut self) {
        if self.shared.reopen.swap(false, SeqCst) {
            match open(&self.target) {
                Ok(fresh) => {
                    self.out = fresh;
                    if matches!(self.target, LogTarget::File(_)) {
                        super::events::log_reopened();
                    }
                }
                Err(error) => super::events::log_not_reopened(&error),
            }
        }
    }

    /// Writes everything, or says how many lines were lost and why. A pipe that is full is waited for, seldom and less
    /// so; who has put something else in its place meanwhile gets the rest there.
    fn write_out(&mut self, mut text: &[u8]) -> Result<(), (u64, io::Error)> {
        let mut pause = PAUSE;
        while !text.is_empty() {
            match self.out.write(text) {
                Ok(0) => return Err((lines(text), ErrorKind::WriteZero.into())),
                Ok(taken) => (text, pause) = (&text[taken..], PAUSE),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    thread::park_timeout(pause);
                    pause = (pause * 2).min(PAUSE_MOST);
                    self.reopen_if_asked();
                }
                Err(error) => return Err((lines(text), error)),
            }
        }
        Ok(())
    }

    fn let_lines_gather(&self) {
        let until = Instant::now() + self.shared.linger;
        while !self.shared.urgent.load(SeqCst) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::park_timeout(left);
        }
    }
}

/// A slot number for this thread.
fn own_slot() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static OWN: Cell<usize> = Cell::new(NEXT.fetch_add(1, Relaxed)));
    // Lines may come from destructors of a thread that is ending.
    OWN.try_with(Cell::get).unwrap_or_default()
}

fn lines(text: &[u8]) -> u64 {
    text.iter().filter(|b| **b == b'\n').count() as u64
}

/// A descriptor of our own: std's lock and line buffer of stdout stay out of the way.
fn open(target: &LogTarget) -> io::Result<File> {
    match target {
        LogTarget::Stdout => Ok(io::stdout().as_fd().try_clone_to_owned()?.into()),
        LogTarget::Stderr => Ok(io::stderr().as_fd().try_clone_to_owned()?.into()),
        LogTarget::File(path) if is_pipe(path) => open_pipe(path),
        LogTarget::File(path) => OpenOptions::new().create(true).append(true).open(path),
    }
}

fn is_pipe(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|there| there.file_type().is_fifo())
}

/// Neither to open it nor to write to it may wait for a reader: a start would hang without a word, and a reader that is
/// gone for good could not be replaced (USR1). Where nobody reads yet, it is held open for both ways, so that lines can
/// gather in it.
fn open_pipe(path: &Path) -> io::Result<File> {
    let open = |read| OpenOptions::new().read(read).write(true).custom_flags(libc::O_NONBLOCK).open(path);
    open(false).or_else(|error| if error.raw_os_error() == Some(libc::ENXIO) { open(true) } else { Err(error) })
}

/// Is a person reading?
pub(super) fn is_terminal(target: &LogTarget) -> bool {
    match target {
        LogTarget::Stdout => io::stdout().is_terminal(),
        LogTarget::Stderr => io::stderr().is_terminal(),
        LogTarget::File(_) => false,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic in the middle of a line leaves a broken line, nothing worse.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Whose turn it is on a connection: the few facts that hyper's pieces (the socket below it, the body of the request,
//! the answer above it) and the driver around it tell each other.
//!
//! One task drives a connection, but a request body may be read in another; so these are atomics. None guards other
//! memory, so all are relaxed.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use hyper::body::Incoming;

use super::ConnInfo;

/// No request is being answered: what comes in is a head, what hyper writes is not ours.
const IDLE: u8 = 0;
/// From the complete head of a request until hyper has the last byte of the answer.
const ANSWERING: u8 = 1;
/// hyper has the last byte of the answer, the socket perhaps not.
const ENDED: u8 = 2;
/// The answer's body failed: the connection is about to be cut.
const FAILED: u8 = 3;

/// See the module.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) info: Arc<ConnInfo>,
    stage: AtomicU8,
    answers: AtomicU32,
    head_begun: AtomicBool,
    body_read: AtomicBool,
    parked: AtomicBool,
    unflushed: AtomicBool,
    asked_to_close: AtomicBool,
    closing: AtomicBool,
    ends: AtomicBool,
    until_close: AtomicBool,
    tunnel: AtomicBool,
    look: AtomicBool,
    stuck: AtomicBool,
    stalls: AtomicU32,
    held: AtomicUsize,
    reset: AtomicBool,
    gone: AtomicBool,
    unread: Mutex<Option<Incoming>>,
}

impl Turn {
    pub(super) fn new(info: Arc<ConnInfo>) -> Self {
        Self {
            info,
            stage: AtomicU8::new(IDLE),
            answers: AtomicU32::new(0),
            head_begun: AtomicBool::new(false),
            body_read: AtomicBool::new(false),
            parked: AtomicBool::new(false),
            unflushed: AtomicBool::new(false),
            asked_to_close: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            ends: AtomicBool::new(false),
            until_close: AtomicBool::new(false),
            tunnel: AtomicBool::new(false),
            look: AtomicBool::new(false),
            stuck: AtomicBool::new(false),
            stalls: AtomicU32::new(0),
            held: AtomicUsize::new(0),
            reset: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            unread: Mutex::new(None),
        }
    }

    // --- the request, told by `answer` and `body`

    /// A head is complete; its body may be empty. `close`: the client wants no other answer after this one.
    pub(super) fn request(&self, body_is_empty: bool, close: bool) {
        self.asked_to_close.store(close, Relaxed);
        self.head_begun.store(false, Relaxed);
        self.body_read.store(body_is_empty, Relaxed);
        self.stage.store(ANSWERING, Relaxed);
    }

    /// Nothing is to be read after this request.
    pub(super) fn ends_after(&self) {
        self.ends.store(true, Relaxed);
        self.closing.store(true, Relaxed);
    }

    /// Is nothing to be read after this request, whatever the answer?
    pub(super) fn ends(&self) -> bool {
        self.ends.load(Relaxed)
    }

    /// The request's body was read to its end.
    pub(super) fn body_was_read(&self) {
        self.body_read.store(true, Relaxed);
    }

    pub(super) fn body_read(&self) -> bool {
        self.body_read.load(Relaxed)
    }

    /// Keeps a body that nobody will read until the connection ends. If hyper saw it dropped, it would close its read
    /// side, and then take a connection with an `Upgrade` field for upgraded: the socket would be gone before the
    /// answer is flushed.
    pub(super) fn keep_unread(&self, body: Incoming) {
        *self.unread.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
    }

    // --- the answer, told by `answer`

    /// The head of the answer is known. `closing`: nothing is read after it; `until_close`: the end of the connection
    /// is the end of the message.
    pub(super) fn answer(&self, closing: bool, until_close: bool) {
        self.closing.store(closing, Relaxed);
        self.until_close.store(until_close, Relaxed);
        self.unflushed.store(true, Relaxed);
    }

    /// The answer switches protocols: from here on the socket is what it is.
    pub(super) fn switches(&self) {
        self.tunnel.store(true, Relaxed);
    }

    /// hyper was given more of the answer.
    pub(super) fn wrote(&self) {
        self.unflushed.store(true, Relaxed);
    }

    pub(super) fn unflushed(&self) -> bool {
        self.unflushed.load(Relaxed)
    }

    /// hyper needs nothing more of the answer.
    pub(super) fn answer_ended(&self) {
        if self.stage.load(Relaxed) == ANSWERING {
            self.stage.store(ENDED, Relaxed);
        }
    }

    /// The answer's body broke off.
    pub(super) fn answer_failed(&self) {
        self.stage.store(FAILED, Relaxed);
    }

    // --- the socket, told by `wire`

    /// hyper read something.
    pub(super) fn read(&self) {
        self.parked.store(false, Relaxed);
        if self.idle() {
            self.head_begun.store(true, Relaxed);
        }
    }

    /// Reading found nothing: what comes will wake hyper.
    pub(super) fn read_nothing(&self) {
        self.parked.store(true, Relaxed);
    }

    /// What may have come waits in the kernel: nothing is known of the client.
    pub(super) fn read_waits(&self) {
        self.parked.store(false, Relaxed);
    }

    /// The socket took something, or nothing. True where a stall begins with this.
    pub(super) fn took(&self, something: bool) -> bool {
        if something {
            self.stuck.store(false, Relaxed);
            return false;
        }
        let begins = !self.stuck.swap(true, Relaxed);
        if begins {
            self.stalls.fetch_add(1, Relaxed);
        }
        begins
    }

    /// So many bytes of the answer are with the kernel, and not with the client.
    pub(super) fn holds(&self, bytes: usize) {
        self.held.store(bytes, Relaxed);
    }

    /// What [`Turn::holds`] said last: when the stall began, or when it was looked at last.
    pub(super) fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    /// The socket has all that hyper wrote. True when this was the end of an answer after which nothing is read.
    pub(super) fn flushed(&self) -> bool {
        self.unflushed.store(false, Relaxed);
        if self.stage.load(Relaxed) != ENDED {
            return false;
        }
        self.stage.store(IDLE, Relaxed);
        self.answers.fetch_add(1, Relaxed);
        self.closing.load(Relaxed) && !self.tunnel()
    }

    /// The driver wants to know whether the client is still there: once for each time it asked.
    pub(super) fn asked_to_look(&self) -> bool {
        self.look.load(Relaxed) && self.look.swap(false, Relaxed)
    }

    /// The client has closed its side.
    pub(super) fn client_gone(&self) {
        self.gone.store(true, Relaxed);
    }

    /// Has the connection become another protocol's?
    pub(super) fn tunnel(&self) -> bool {
        self.tunnel.load(Relaxed)
    }

    /// Was the close the client's own wish? One that learns of it from the answer may be sending its next request.
    pub(super) fn client_asked_to_close(&self) -> bool {
        self.asked_to_close.load(Relaxed)
    }

    /// Must the end of the socket be a reset? So where a clean end would pass a cut answer for a whole one, and where
    /// nobody would take what the kernel has still to send.
    pub(super) fn must_reset(&self) -> bool {
        self.reset.load(Relaxed) || self.until_close.load(Relaxed) && !self.idle()
    }

    // --- what the driver asks

    /// Is no request being answered?
    pub(super) fn idle(&self) -> bool {
        self.stage.load(Relaxed) == IDLE
    }

    /// Does the client, having said all, wait for the rest of its answer?
    pub(super) fn waits(&self) -> bool {
        self.stage.load(Relaxed) == ANSWERING && self.body_read() && !self.tunnel()
    }

    /// Have bytes of the next head come?
    pub(super) fn head_begun(&self) -> bool {
        self.head_begun.load(Relaxed)
    }

    /// Is the last answer out, with nothing to be read after it?
    pub(super) fn over(&self) -> bool {
        self.idle() && self.closing.load(Relaxed)
    }

    /// Answers that are out, modulo 2^32.
    pub(super) fn answers(&self) -> u32 {
        self.answers.load(Relaxed)
    }

    /// Would nobody notice that the client left? hyper reads only while the body's reader keeps up, and tells of an end
    /// within a body only that reader; and the wire never reads past the beginning of a pipelined request.
    pub(super) fn blind(&self) -> bool {
        !self.parked.load(Relaxed)
    }

    /// While the socket takes nothing of an answer: which stall of this connection it is, modulo 2^32.
    pub(super) fn stall(&self) -> Option<u32> {
        self.stuck.load(Relaxed).then(|| self.stalls.load(Relaxed))
    }

    /// The connection ends with a reset.
    pub(super) fn reset(&self) {
        self.reset.store(true, Relaxed);
    }

    /// Lets the socket be looked at when hyper is polled next.
    pub(super) fn look(&self) {
        self.look.store(true, Relaxed);
    }

    pub(super) fn gone(&self) -> bool {
        self.gone.load(Relaxed)
    }
}

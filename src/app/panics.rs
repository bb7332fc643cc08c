//! A panic anywhere is one event with its place, and is counted; what it ends is one request, one connection or one
//! thread, by where it happens. Nothing is mended here.

use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::sync::Once;
use std::thread;

use crate::observe::events;

/// From now on, panics of all threads are told so. What the standard library says on stderr is said only where
/// RUST_BACKTRACE asks for it: it would stand between the lines of the log.
pub fn tell() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = take_hook();
        let wanted = std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0");
        set_hook(Box::new(move |panic| {
            events::panicked(said(panic));
            if wanted {
                before(panic);
            }
        }));
        events::panics_are_told();
    });
}

fn said(panic: &PanicHookInfo<'_>) -> String {
    let message = panic.payload_as_str().unwrap_or("no message");
    let thread = thread::current();
    let place = panic.location().map(|at| format!(" at {}:{}", at.file(), at.line())).unwrap_or_default();
    format!("{message}{place}, thread {}", thread.name().unwrap_or("without a name"))
}

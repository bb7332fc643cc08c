//! A panic in a request's handling ends that request, with a 500 that says so, and nothing else.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

use http::Method;

use crate::observe::{Exchange, RequestId, events};

thread_local! {
    /// The record of the request whose handling has just panicked on this thread.
    static LEFT: RefCell<Option<Left>> = const { RefCell::new(None) };
}

/// What must be known of a request to answer it after its handling panicked.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) request_id: RequestId,
    pub(super) method: Method,
}

/// Leaves what the answer needs; called while the panic unwinds.
pub(super) fn leave(exchange: &Exchange) {
    let left = Left { request_id: exchange.request_id.clone(), method: exchange.method.clone() };
    LEFT.with(|slot| slot.replace(Some(left)));
}

/// Takes what the panic left, on the thread it happened on.
pub(super) fn left() -> Option<Left> {
    LEFT.with(RefCell::take)
}

/// Runs a future. If it panics, it is never polled again, and this is what comes `instead`.
pub(super) fn caught<F: Future>(
    mut future: Pin<&mut F>,
    mut instead: impl FnMut() -> F::Output,
) -> impl Future<Output = F::Output> {
    // No async block: the output of a request is large, and each level of futures moves it once more.
    std::future::poll_fn(move |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(polled) => polled,
        Err(panic) => {
            tell(&*panic);
            Poll::Ready(instead())
        }
    })
}

#[cold]
fn tell(panic: &(dyn Any + Send)) {
    let what =
        panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
    events::panic_caught(what.as_deref().unwrap_or("no message"));
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn a_result_is_itself_and_a_panic_is_what_comes_instead() {
        assert_eq!(caught(pin!(async { 7 }), || 8).await, 7);
        assert_eq!(caught(pin!(std::future::ready(())), || ()).await, ());
        assert_eq!(caught(pin!(async { panic!("on purpose") }), || 8).await, 8);
    }
}

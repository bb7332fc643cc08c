//! A panic in a request's handling ends that request, with a 500 that says so, and nothing else.

use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
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

/// Runs a future; `None` if it panicked. It is dropped then and never polled again.
pub(super) async fn caught<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Some),
        Err(panic) => {
            let what = panic
                .downcast_ref::<&str>()
                .map(ToString::to_string)
                .or_else(|| panic.downcast_ref::<String>().cloned());
            events::panic_caught(what.as_deref().unwrap_or("no message"));
            Poll::Ready(None)
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_none_and_a_result_is_some() {
        assert_eq!(caught(async { 7 }).await, Some(7));
        assert_eq!(caught::<std::future::Ready<()>>(std::future::ready(())).await, Some(()));
        assert!(caught(async { panic!("on purpose") }).await.is_none());
    }
}

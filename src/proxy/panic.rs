//! A panic in a request's handling ends that request, with a 500 that says so, and nothing else.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use crate::observe::events;

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
            events::panicked(what.as_deref().unwrap_or("no message"));
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

//! The layer of whatever changes answers on their way out.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project_lite::pin_project;
use tower::layer::{LayerFn, layer_fn};

use super::super::{Asked, Body};
use super::Visit;

/// A change.
pub(super) trait Touch {
    /// Made to the answer to this request.
    fn touch(&self, asked: &Asked<'_>, response: Response<Body>) -> Response<Body>;
}

/// A layer of this change.
pub(super) fn layer<S, T: Touch + Copy>(touch: T) -> LayerFn<impl Fn(S) -> Touching<S, T> + Clone> {
    layer_fn(move |inner| Touching { inner, touch })
}

/// What the answers come from.
#[derive(Clone)]
pub(super) struct Touching<S, T> {
    inner: S,
    touch: T,
}

impl<'a, S, T> tower::Service<Visit<'a>> for Touching<S, T>
where
    S: tower::Service<Visit<'a>, Response = Response<Body>, Error = Infallible>,
    T: Touch + Copy,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Touched<'a, S::Future, T>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, visit: Visit<'a>) -> Self::Future {
        let asked = visit.asked;
        Touched { answer: self.inner.call(visit), touch: self.touch, asked }
    }
}

pin_project! {
    /// An answer that comes, and what is done to it then.
    pub(super) struct Touched<'a, F, T> {
        #[pin]
        answer: F,
        touch: T,
        asked: &'a Asked<'a>,
    }
}

impl<F, T> Future for Touched<'_, F, T>
where
    F: Future<Output = Result<Response<Body>, Infallible>>,
    T: Touch,
{
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.answer.poll(cx))?;
        // What causeway says of a failure is nobody's to change.
        let told = response.body().exchange().is_some_and(|exchange| exchange.failure.is_some());
        Poll::Ready(Ok(if told { response } else { this.touch.touch(this.asked, response) }))
    }
}

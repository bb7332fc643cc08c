//! The layer of whatever lets requests in or not: it asks its [`Gate`], and calls what is behind it or refuses.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderName, HeaderValue, Response};
use pin_project_lite::pin_project;
use tower::layer::{LayerFn, layer_fn};

use crate::cause::Failure;

use super::super::Body;
use super::Visit;

/// Somebody who decides.
pub(super) trait Gate {
    /// About this request.
    fn ask(&self, visit: &Visit<'_>) -> Word;
}

impl<G: Gate> Gate for &G {
    fn ask(&self, visit: &Visit<'_>) -> Word {
        (*self).ask(visit)
    }
}

/// Fields for the answer, whoever gives it.
pub(super) type Fields = Vec<(HeaderName, HeaderValue)>;

/// The decision.
pub(super) enum Word {
    /// Come in; the answer gets these fields, where it has none of their names.
    Pass(Fields),
    /// Stay out, for this reason; the refusal gets these fields.
    Stop(Box<Failure>, Fields),
    /// That takes a while.
    Wait(Pin<Box<dyn Future<Output = Self> + Send>>),
}

/// A layer of this gate.
pub(super) fn layer<S, G: Gate + Copy>(gate: G) -> LayerFn<impl Fn(S) -> Gated<S, G> + Clone> {
    layer_fn(move |inner| Gated { inner, gate })
}

/// What is behind a gate.
#[derive(Clone)]
pub(super) struct Gated<S, G> {
    inner: S,
    gate: G,
}

impl<'a, S, G> tower::Service<Visit<'a>> for Gated<S, G>
where
    S: tower::Service<Visit<'a>, Response = Response<Body>, Error = Infallible> + Clone,
    G: Gate,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Passing<'a, S, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, visit: Visit<'a>) -> Self::Future {
        settled(self.gate.ask(&visit), visit, &mut self.inner)
    }
}

pin_project! {
    /// A request at a gate, and behind it.
    #[project = At]
    pub(super) enum Passing<'a, S, F> {
        Waiting { word: Pin<Box<dyn Future<Output = Word> + Send>>, waiting: Option<(Visit<'a>, S)> },
        Inside { #[pin] answer: F, fields: Fields },
        Refused { response: Option<Response<Body>>, },
    }
}

fn settled<'a, S>(word: Word, visit: Visit<'a>, inner: &mut S) -> Passing<'a, S, S::Future>
where
    S: tower::Service<Visit<'a>> + Clone,
{
    match word {
        Word::Pass(fields) => Passing::Inside { answer: inner.call(visit), fields },
        Word::Stop(failure, fields) => {
            let mut response = visit.service.refuse(visit.open, visit.asked, *failure);
            response.headers_mut().extend(fields);
            Passing::Refused { response: Some(response) }
        }
        Word::Wait(word) => Passing::Waiting { word, waiting: Some((visit, inner.clone())) },
    }
}

impl<'a, S> Future for Passing<'a, S, S::Future>
where
    S: tower::Service<Visit<'a>, Response = Response<Body>, Error = Infallible> + Clone,
{
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let next = match self.as_mut().project() {
                At::Waiting { word, waiting } => {
                    let word = ready!(word.as_mut().poll(cx));
                    let Some((visit, mut inner)) = waiting.take() else { return Poll::Pending };
                    settled(word, visit, &mut inner)
                }
                At::Inside { answer, fields } => {
                    let mut response = ready!(answer.poll(cx))?;
                    for (name, value) in fields.drain(..) {
                        response.headers_mut().entry(name).or_insert(value);
                    }
                    return Poll::Ready(Ok(response));
                }
                At::Refused { response } => return response.take().map_or(Poll::Pending, |gone| Poll::Ready(Ok(gone))),
            };
            self.set(next);
        }
    }
}

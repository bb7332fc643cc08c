//! What a route asks for around its answer, as a stack of tower layers. Off unless asked for; a route that asks for nothing never
//! comes here.
//!
//! ```text
//!  listener   redirect_https         308, before any route is looked for
//!  ┌ address  deny, then allow       403 denied
//!  │ rate     rate_limit             429 rate_limited, RateLimit fields on both
//!  │ auth     basic_auth             401 unauthorized
//!  │          request_headers        once for each attempt, since they may name its upstream: in `attempt`, by `fields`
//!  │          the answer             forward, redirect or respond
//!  │ fields   response_headers
//!  └ compress compress
//! ```
//!
//! That order is fixed. [`gate`] is the layer of whatever lets requests in or not, [`touch`] of whatever changes answers. An
//! annotated error of causeway's own passes `fields` and `compress` as it is. Nothing is boxed on the way but a password that has
//! to be hashed.

mod address;
mod auth;
mod compress;
pub(super) mod fields;
mod gate;
mod rate;
mod touch;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use http::Response;
use tower::{ServiceBuilder, ServiceExt as _};

use crate::config::model::{Config, Layers, Route};
use crate::listen::RequestBody;

use super::record::Open;
use super::{Asked, Body, Service};

use address::Addresses;
use auth::Doorkeeper;
use compress::Compress;
pub(super) use compress::{Encoded, Encoder};
use fields::ResponseFields;
use rate::Limiter;

/// What the layers remember between requests, by the names of their routes: shared by all workers.
#[derive(Debug, Default)]
pub(super) struct Memory(HashMap<Arc<str>, Kept>);

#[derive(Debug)]
struct Kept {
    limiter: Option<Limiter>,
    doorkeeper: Option<Arc<Doorkeeper>>,
}

impl Memory {
    /// Empty, for the routes that need it.
    pub(super) fn new(config: &Config) -> Self {
        let hashing = auth::Hashing::new();
        let kept = |route: &Route| {
            let layers = route.layers.as_deref()?;
            let limiter = layers.rate_limit.map(|rate| Limiter::new(rate, Instant::now()));
            let doorkeeper =
                layers.basic_auth.as_ref().map(|users| Doorkeeper::new(Arc::clone(users), &config.name, &hashing));
            Some((Arc::clone(&route.name), Kept { limiter, doorkeeper: doorkeeper.map(Arc::new) }))
        };
        Self(config.routes.iter().filter_map(kept).collect())
    }
}

/// A request that has found its route, on its way through the layers.
pub(super) struct Visit<'a> {
    pub(super) service: &'a Service,
    pub(super) open: Box<Open>,
    pub(super) asked: &'a Asked<'a>,
    pub(super) body: RequestBody,
    pub(super) route: &'a Route,
}

/// Through what the route asks for to its answer, and back.
pub(super) async fn through<'a>(layers: &'a Layers, visit: Visit<'a>) -> Response<Body> {
    let kept = visit.service.proxy.memory.0.get(&visit.route.name);
    let guarded = !layers.allow.0.is_empty() || !layers.deny.0.is_empty();
    let stack = ServiceBuilder::new()
        .option_layer(guarded.then(|| gate::layer(Addresses { allow: &layers.allow, deny: &layers.deny })))
        .option_layer(kept.and_then(|kept| kept.limiter.as_ref()).map(gate::layer))
        .option_layer(kept.and_then(|kept| kept.doorkeeper.as_ref()).map(gate::layer))
        .option_layer(layers.compress.then(|| touch::layer(Compress)))
        .option_layer(
            (!layers.response_headers.is_empty()).then(|| touch::layer(ResponseFields(&layers.response_headers))),
        )
        .service(tower::service_fn(inside));
    match stack.oneshot(visit).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

async fn inside(visit: Visit<'_>) -> Result<Response<Body>, Infallible> {
    let Visit { service, open, asked, body, route } = visit;
    Ok(service.answer(open, asked, body, route).await)
}

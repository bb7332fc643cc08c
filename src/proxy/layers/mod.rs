//! What a route asks for around its answer, as a stack of tower layers. Off unless asked for; a route that asks for
//! nothing never comes here.
//!
//! ```text
//!  listener   redirect_https         308, before any route is looked for
//!  ┌ address  deny, then allow       403 denied
//!  │ rate     rate_limit             429 rate_limited, RateLimit fields on both
//!  │ auth     basic_auth             401 unauthorized
//!  │          request_headers        once for each attempt, since they may name its upstream: in `attempt`, by
//!  `fields` │          the answer             forward, redirect or respond
//!  │ fields   response_headers
//!  └ compress compress
//! ```
//!
//! That order is fixed. [`gate`] is the layer of whatever lets requests in or not, [`touch`] of whatever changes
//! answers. An annotated error of causeway's own passes `fields` and `compress` as it is. Nothing is boxed on the way
//! but a password that has to be hashed.

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

use crate::config::model::{Action, Config, Layers, Route};
use crate::listen::RequestBody;

use super::forward::forward;
use super::record::Open;
use super::{Asked, Body, Service};

use address::Addresses;
use auth::{Doorkeeper, Hashing};
use compress::Compress;
pub(super) use compress::{Encoded, Encoder};
use fields::ResponseFields;
use rate::Limiter;

/// What the layers remember between requests, by the names of their routes: shared by all workers.
#[derive(Debug)]
pub(super) struct Memory {
    kept: HashMap<Arc<str>, Kept>,
    hashing: Arc<Hashing>,
}

#[derive(Debug)]
struct Kept {
    limiter: Option<Arc<Limiter>>,
    doorkeeper: Option<Arc<Doorkeeper>>,
}

impl Memory {
    /// Empty, for the routes that need it.
    pub(super) fn new(config: &Config) -> Self {
        Self { kept: HashMap::new(), hashing: Hashing::new() }.renewed(config, config)
    }

    /// For a new file, after `old`: what is remembered for a route goes on while the route asks for the same.
    pub(super) fn renewed(&self, config: &Config, old: &Config) -> Self {
        let same_realm = config.name == old.name;
        let kept = |route: &Route| {
            let (layers, before) = (route.layers.as_deref()?, self.kept.get(&route.name));
            let limiter = layers.rate_limit.map(|rate| {
                let same = before.and_then(|kept| kept.limiter.as_ref()).filter(|limiter| limiter.rate() == rate);
                same.cloned().unwrap_or_else(|| Arc::new(Limiter::new(rate, Instant::now())))
            });
            let doorkeeper = layers.basic_auth.as_ref().map(|users| {
                let same =
                    before.and_then(|kept| kept.doorkeeper.as_ref()).filter(|own| same_realm && own.lets_in(users));
                let new = || Arc::new(Doorkeeper::new(Arc::clone(users), &config.name, &self.hashing));
                same.cloned().unwrap_or_else(new)
            });
            Some((Arc::clone(&route.name), Kept { limiter, doorkeeper }))
        };
        let kept = config.routes.iter().filter_map(kept).collect();
        Self { kept, hashing: Arc::clone(&self.hashing) }
    }
}

/// A request that has found its route, on its way through the layers.
pub(super) struct Visit<'a> {
    pub(super) service: &'a Service,
    pub(super) open: Box<Open>,
    pub(super) asked: &'a Asked<'a>,
    pub(super) body: &'a mut RequestBody,
    pub(super) route: &'a Route,
}

/// Through what the route asks for to its answer, and back.
pub(super) async fn through<'a>(layers: &'a Layers, visit: Visit<'a>) -> Response<Body> {
    let kept = visit.service.proxy.memory.kept.get(&visit.route.name);
    let guarded = !layers.allow.0.is_empty() || !layers.deny.0.is_empty();
    let stack = ServiceBuilder::new()
        .option_layer(guarded.then(|| gate::layer(Addresses { allow: &layers.allow, deny: &layers.deny })))
        .option_layer(kept.and_then(|kept| kept.limiter.as_deref()).map(gate::layer))
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
    Ok(match &route.action {
        Action::Forward(to) => forward(service, open, asked, body, route, to).await,
        Action::Redirect(redirect) => service.redirect(open, asked, redirect),
        Action::Respond(respond) => service.respond(open, asked, respond),
    })
}

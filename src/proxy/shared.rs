//! One configuration as requests see it, shared by all workers; and the one place where what came of them is told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use http::header::HeaderValue;

use crate::cause::Cause;
use crate::config::Config;
use crate::health::{State, Transition};
use crate::observe::access_log::AccessLog;
use crate::observe::metrics::Requests;
use crate::observe::trace::Traces;
use crate::observe::{Exchange, Incidents, events};
use crate::pool::insight::Asker;
use crate::pool::{Pool, Upstream};
use crate::route::Table;

use super::cap::Caps;
use super::hooks::Hooks;
use super::layers::Memory;
use super::renew;
use super::respond::Annotator;

/// All that requests need: immutable, shared by all workers. A request keeps the value it started with.
pub struct Proxy {
    pub(super) config: Config,
    pub(super) routes: Table,
    pub(super) pools: Vec<Arc<Pool>>,
    pub(super) annotator: Annotator,
    /// `1.1 NAME-xxxxxx`, and the token alone.
    pub(super) via: HeaderValue,
    pub(super) via_token: String,
    /// The tokens of names that it had before: a request with one of them comes round, too.
    pub(super) via_before: Vec<String>,
    /// How many requests each listener has that may have only so many.
    pub(super) caps: Caps,
    /// What the layers of routes remember between requests.
    pub(super) memory: Memory,
    pub(super) access_log: AccessLog,
    pub(super) incidents: Arc<Incidents>,
    pub(super) traces: Traces,
    pub(super) requests: Requests,
    pub(super) hooks: Hooks,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").field("via", &self.via_token).finish_non_exhaustive()
    }
}

impl Proxy {
    /// Puts it together. `pools` are those of the config, in its order; `incidents`: where failed requests are kept.
    #[must_use]
    pub fn new(
        config: Config,
        pools: Vec<Arc<Pool>>,
        access_log: AccessLog,
        incidents: Arc<Incidents>,
        hooks: Hooks,
    ) -> Self {
        let (via, via_token) = renew::via(&config.name);
        let routes = Table::compile(config.routes.iter().cloned().map(Arc::new));
        let annotator = Annotator::of(&config);
        let (caps, memory) = (Caps::new(&config.listeners), Memory::new(&config));
        let (requests, traces) = (renew::requests(&config), Traces::off());
        Self {
            config,
            routes,
            pools,
            annotator,
            via,
            via_token,
            via_before: Vec::new(),
            caps,
            memory,
            access_log,
            incidents,
            traces,
            requests,
            hooks,
        }
    }

    /// The same, with its requests told to these.
    #[must_use]
    pub fn tracing(mut self, traces: Traces) -> Self {
        self.traces = traces;
        self
    }

    /// The name of this deployment.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// The requests that failed of late.
    #[must_use]
    pub fn incidents(&self) -> &Incidents {
        &self.incidents
    }

    /// What clients asked and got, in numbers.
    #[must_use]
    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    /// Where requests are written down.
    #[must_use]
    pub const fn access_log(&self) -> &AccessLog {
        &self.access_log
    }

    /// An exchange has ended: the one place where its record reaches the log and whoever listens.
    pub(super) fn finish(&self, exchange: &Exchange) {
        self.requests.end(exchange);
        // Before anybody is told: who hears of a failure may ask for its trail.
        self.incidents.record(exchange);
        if exchange.status >= 500 && exchange.failure.is_some() {
            events::request_failed(exchange);
        }
        if exchange.logged {
            self.access_log.write(exchange);
        }
        self.traces.end(exchange);
        if let Some(on_exchange) = &self.hooks.on_exchange {
            on_exchange(exchange);
        }
    }

    /// Traffic has changed the state of an upstream.
    pub(super) fn changed(&self, pool: &Pool, upstream: &Upstream, change: &Transition) {
        let (name, id) = (&*pool.config.name, &*upstream.id);
        let member = events::Member { pool: name, upstream: id, meter: &upstream.meter };
        let standing = events::Standing::of(&pool.config, pool.usable(), pool.members().len());
        match change.cause {
            Some(cause) if change.to == State::Evicted => {
                let said = upstream.health.snapshot(Instant::now()).traffic_failure.map(|(_, said)| said);
                events::upstream_evicted_by_traffic(member, (cause, said.as_deref()), change.in_a_row, standing);
            }
            _ => events::upstream_back_by_traffic(member, change.since.elapsed(), standing),
        }
        if let Some(on_transition) = &self.hooks.on_transition {
            on_transition(name, id, change);
        }
    }

    /// A request of ours came in at this address of ours: an upstream that dials it points back here, and people should
    /// know.
    pub(super) fn came_back(&self, local: SocketAddr) {
        let now = Instant::now();
        for pool in &self.pools {
            for upstream in pool.members().iter().filter(|upstream| upstream.endpoint.dial.has(local)) {
                upstream.insight.ask(Asker::Traffic, Cause::LoopDetected, now);
            }
        }
    }
}

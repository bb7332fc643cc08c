//! The proxy of a new file: what was remembered, counted and promised goes on, as far as the file still speaks of it.
//! It cannot fail.

use std::sync::Arc;

use http::header::HeaderValue;

use crate::config::Config;
use crate::config::model::{Action, Route};
use crate::observe::access_log::AccessLog;
use crate::observe::metrics::Requests;
use crate::pool::Pool;
use crate::route::Table;

use super::Proxy;
use super::respond::Annotator;

/// So many names that it had before are remembered.
const NAMES: usize = 8;

impl Proxy {
    /// The same deployment as another configuration has it. `pools` are those of the config, in its order. Requests
    /// that began with the old one end with it, and count in the same series.
    #[must_use]
    pub fn renewed(&self, config: Config, pools: Vec<Arc<Pool>>, access_log: AccessLog) -> Self {
        let mut via_before = self.via_before.clone();
        let (via, via_token) = if config.name == self.config.name {
            (self.via.clone(), self.via_token.clone())
        } else {
            via_before.insert(0, self.via_token.clone());
            via_before.truncate(NAMES);
            via(&config.name)
        };
        let (listeners, routes) = labels(&config);
        let all = config.pools.iter().map(|pool| Arc::clone(&pool.name)).collect();
        Self {
            routes: Table::compile(config.routes.iter().cloned().map(Arc::new)),
            annotator: Annotator::of(&config),
            caps: self.caps.renewed(&config.listeners),
            memory: self.memory.renewed(&config, &self.config),
            requests: self.requests.renewed(listeners, routes, &all),
            incidents: Arc::clone(&self.incidents),
            traces: self.traces.clone(),
            hooks: self.hooks.clone(),
            config,
            pools,
            via,
            via_token,
            via_before,
            access_log,
        }
    }

    /// Is this token, of a Via field, one of ours?
    pub(super) fn is_own(&self, token: &str) -> bool {
        token == self.via_token || self.via_before.iter().any(|before| before == token)
    }
}

/// The field that names this process to those behind it, and the token in it.
pub(super) fn via(name: &str) -> (HeaderValue, String) {
    let token = format!("{name}-{:06x}", fastrand::u32(..) & 0xff_ffff);
    let via = HeaderValue::from_str(&format!("1.1 {token}")).unwrap_or(HeaderValue::from_static("1.1 causeway"));
    (via, token)
}

/// The names of listeners and of routes, with the pools of these.
type Labels = (Vec<Arc<str>>, Vec<(Arc<str>, Arc<str>)>);

/// A series for each listener and route.
pub(super) fn requests(config: &Config) -> Requests {
    let (listeners, routes) = labels(config);
    Requests::new(listeners, routes)
}

fn labels(config: &Config) -> Labels {
    let pool = |route: &Route| match &route.action {
        Action::Forward(forward) => {
            config.pools.get(forward.pool).map(|pool| Arc::clone(&pool.name)).unwrap_or_default()
        }
        Action::Redirect(_) | Action::Respond(_) => Arc::default(),
    };
    let listeners = config.listeners.iter().map(|listener| Arc::clone(&listener.name));
    (listeners.collect(), config.routes.iter().map(|route| (Arc::clone(&route.name), pool(route))).collect())
}

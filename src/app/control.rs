//! The control thread: names, checks, the admin, and what is told beside traffic.
//!
//! Nothing on it may hold up traffic, and nothing that traffic does waits for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin};
use crate::config::model::Check;
use crate::health::{State, Transition};
use crate::listen::Secure;
use crate::observe::events;
use crate::pool::{Pool, Upstream, resolve};
use crate::probe;
use crate::probe::diagnose::{self, Looks};
use crate::proxy::OnTransition;

use super::notify::Notify;

/// How often it is looked whether a storm of failures is over, while there is one.
const FAILURES: Duration = Duration::from_secs(1);

/// What runs on the control thread.
pub(super) struct Control {
    pub(super) pools: Vec<Arc<Pool>>,
    /// `None`: nothing is looked at more closely.
    pub(super) looks: Option<Arc<Looks>>,
    pub(super) admin_sockets: Vec<std::net::TcpListener>,
    pub(super) admin: Arc<Admin>,
    /// The listeners that speak TLS: their files are watched.
    pub(super) secure: Vec<Arc<Secure>>,
    pub(super) notify: Notify,
    pub(super) stop: CancellationToken,
    pub(super) on_transition: Option<OnTransition>,
}

impl Control {
    pub(super) async fn run(self) {
        let mut tasks = tokio::task::JoinSet::new();
        for pool in self.pools {
            tasks.spawn(resolve::run(Arc::clone(&pool), self.stop.clone()));
            if let Some(looks) = &self.looks {
                tasks.spawn(diagnose::watch(Arc::clone(&pool), Arc::clone(looks), self.stop.clone()));
            }
            let on_transition = self.on_transition.clone();
            let report =
                move |pool: &Pool, upstream: &Upstream, outcome: &probe::Outcome, transition: Option<&Transition>| {
                    told(pool, upstream, outcome, transition);
                    if let (Some(transition), Some(on_transition)) = (transition, &on_transition) {
                        on_transition(&pool.config.name, &upstream.id, transition);
                    }
                };
            tasks.spawn(probe::watch(pool, report, self.stop.clone()));
        }
        if !self.admin_sockets.is_empty() {
            tasks.spawn(Arc::clone(&self.admin).keep_history(self.stop.clone().cancelled_owned()));
        }
        for socket in self.admin_sockets {
            match tokio::net::TcpListener::from_std(socket) {
                Ok(socket) => drop(tasks.spawn(admin::serve(
                    socket,
                    Arc::clone(&self.admin),
                    self.stop.clone().cancelled_owned(),
                ))),
                Err(error) => events::fatal(format_args!("the admin address cannot be served: {error}")),
            }
        }
        for secure in self.secure {
            tasks.spawn(secure.watch(self.stop.clone()));
        }
        tasks.spawn(self.notify.run(self.stop.clone()));
        tasks.spawn(tell_the_rest(self.stop.clone()));
        while let Some(ended) = tasks.join_next().await {
            // Without its checks or its names the proxy would go wrong in silence: the thread ends, and with it the process.
            if let Err(ended) = ended
                && let Ok(panic) = ended.try_into_panic()
            {
                std::panic::resume_unwind(panic);
            }
        }
        self.stop.cancelled().await;
    }
}

/// Of many failed requests a second tells of one; when no more come, the others are counted. Nothing wakes while none fails.
async fn tell_the_rest(stop: CancellationToken) {
    let telling = async {
        loop {
            events::failures_held().await;
            tokio::time::sleep(FAILURES).await;
            while events::requests_failed(Some(Instant::now())) {
                tokio::time::sleep(FAILURES).await;
            }
        }
    };
    stop.run_until_cancelled(telling).await;
    events::requests_failed(None);
}

/// Each change of an upstream is one event; so is each first result.
fn told(pool: &Pool, upstream: &Upstream, outcome: &probe::Outcome, transition: Option<&Transition>) {
    let (name, id) = (&*pool.config.name, &*upstream.id);
    let member = events::Member { pool: name, upstream: id, meter: &upstream.meter };
    let standing = || events::Standing::of(&pool.config, pool.usable(), pool.members().len());
    match (outcome, transition) {
        (Err(failed), None) => events::check_failed(name, id, &failed.failure),
        (Ok(_), None) => {}
        (Ok(passed), Some(change)) if change.from == State::Unknown => events::upstream_ready(member, &passed.sentence),
        (Ok(_), Some(change)) => {
            events::upstream_back(member, change.in_a_row, change.since.elapsed(), standing());
        }
        (Err(failed), Some(change)) => {
            let tcp = pool.config.health.as_ref().is_none_or(|health| matches!(health.check, Check::Tcp));
            let check = events::Check { failure: &failed.failure, said: &failed.sentence, tcp };
            events::upstream_evicted(member, check, change.in_a_row, standing());
        }
    }
}

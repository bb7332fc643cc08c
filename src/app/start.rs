//! From a configuration to a running proxy: bind everything, then start threads; and its end, step by step.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin};
use crate::config::Config;
use crate::config::model::{Listener, Shutdown};
use crate::health::Transition;
use crate::listen::Drain;
use crate::listen::accept::{self, Bound};
use crate::observe::access_log::AccessLog;
use crate::observe::events;
use crate::pool::{Pool, Upstream, resolve};
use crate::probe;
use crate::proxy::{OnExchange, Proxy, Service};

use super::workers::{self, Crew, Ended};

/// What somebody wants to hear of changes: pool, upstream, change (the demo's narrator).
pub type OnTransition = Arc<dyn Fn(&str, &str, &Transition) + Send + Sync>;

/// Who listens to what happens; nobody, unless asked.
#[derive(Clone, Default)]
pub struct Hooks {
    /// Called at the end of each exchange, on a worker: must be quick.
    pub on_exchange: Option<OnExchange>,
    /// Called at each change of an upstream, on control.
    pub on_transition: Option<OnTransition>,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}

/// Why nothing was started: one sentence.
#[derive(Debug)]
pub struct StartError {
    what: String,
    source: io::Error,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match self.source.kind() {
            io::ErrorKind::AddrInUse => f.write_str(": another program listens there already"),
            io::ErrorKind::AddrNotAvailable => f.write_str(": this machine has no such address"),
            io::ErrorKind::PermissionDenied => f.write_str(": not permitted (ports below 1024 need a privilege; use a high port)"),
            _ => write!(f, ": {}", self.source),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// A running proxy. Dropping it does not stop it: [`Server::drain`] or [`Server::cut`] do.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<(Arc<str>, Vec<SocketAddr>)>,
    admin: Option<SocketAddr>,
    pools: Vec<Arc<Pool>>,
    access_log: AccessLog,
    shutdown: Shutdown,
    admin_state: Arc<Admin>,
    drain: Drain,
    /// Ends checks, names and admin.
    stop: CancellationToken,
    crew: Option<Crew>,
    ends: Mutex<mpsc::UnboundedReceiver<Ended>>,
    workers: usize,
}

impl Server {
    /// Binds every socket, then starts all threads. When this returns, connections are taken.
    ///
    /// # Errors
    /// When a socket, a file or a thread cannot be had; nothing runs then.
    pub fn start(mut config: Config, hooks: Hooks) -> Result<Self, StartError> {
        let count = workers::count(config.workers);
        accept::raise_file_limit();
        let mut listeners = Vec::new();
        for listener in &config.listeners {
            let bound = accept::bind(&listener.address, count).map_err(|source| failed(format!("cannot listen on {}", listener.address), source))?;
            listeners.push((Arc::new(listener.clone()), bound));
        }
        let admin_sockets = match &config.admin {
            None => Vec::new(),
            Some(address) => accept::bind(address, 1).map_err(|source| failed(format!("cannot listen on {address} (admin)"), source))?.into_std(),
        };
        let access_log = AccessLog::start(&config.log).map_err(|source| failed("cannot open the access log".to_owned(), source))?;
        for pool in &mut config.pools {
            // `max_idle` is for the whole process; each worker keeps its share.
            let pool = Arc::make_mut(pool);
            pool.connections.max_idle = pool.connections.max_idle.div_ceil(count);
        }
        let now = Instant::now();
        let pools: Vec<Arc<Pool>> = config.pools.iter().map(|pool| Arc::new(Pool::new(Arc::clone(pool), now))).collect();
        let (mut crew, ends) = Crew::new();
        let (drain, stop) = (Drain::default(), CancellationToken::new());
        let admin_state = Arc::new(Admin::new(pools.clone()));
        let addresses = listeners.iter().map(|(listener, bound)| (Arc::clone(&listener.name), bound.addresses().to_vec())).collect();
        let admin = admin_sockets.first().and_then(|socket| socket.local_addr().ok());
        let shutdown = config.shutdown;

        let control = Control { pools: pools.clone(), admin_sockets, admin: Arc::clone(&admin_state), stop: stop.clone(), on_transition: hooks.on_transition };
        crew.start("control", move || control.run()).map_err(|source| failed("cannot start a thread".to_owned(), source))?;
        let proxy = Arc::new(Proxy::new(config, pools.clone(), access_log.clone(), hooks.on_exchange));
        for (index, share) in shares(listeners, count).into_iter().enumerate() {
            let worker = Worker { proxy: Arc::clone(&proxy), listeners: share, drain: drain.clone() };
            crew.start(&format!("worker-{index}"), move || worker.run()).map_err(|source| failed("cannot start a thread".to_owned(), source))?;
        }
        admin_state.set_listening();
        Ok(Self { addresses, admin, pools, access_log, shutdown, admin_state, drain, stop, crew: Some(crew), ends: Mutex::new(ends), workers: count })
    }

    /// Each listener's name and the addresses it really has (port 0 is the kernel's choice).
    #[must_use]
    pub fn addresses(&self) -> &[(Arc<str>, Vec<SocketAddr>)] {
        &self.addresses
    }

    /// The admin's address.
    #[must_use]
    pub const fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The pools, in the order of the config.
    #[must_use]
    pub fn pools(&self) -> &[Arc<Pool>] {
        &self.pools
    }

    /// How many workers run.
    #[must_use]
    pub const fn workers(&self) -> usize {
        self.workers
    }

    /// Opens log files again.
    pub fn reopen_logs(&self) {
        self.access_log.reopen();
    }

    /// Resolves when a thread ends that should not have: its name, and what it said.
    pub async fn broke(&self) -> (String, Option<String>) {
        match self.ends.lock().await.recv().await {
            Some(Ended { thread, panic }) => (thread, panic),
            None => std::future::pending().await,
        }
    }

    /// The end, step by step (CONTRACT §2 `shutdown`): `/readyz` says no; after the grace, each connection answers one more
    /// request; after the timeout, what still runs is cut. Says how many connections were cut.
    pub async fn drain(&self) -> usize {
        self.admin_state.set_draining();
        if !self.shutdown.grace.is_zero() {
            events::grace(self.shutdown.grace);
            tokio::time::sleep(self.shutdown.grace).await;
        }
        events::draining(self.drain.open(), self.shutdown.timeout);
        self.drain.begin();
        let last = Duration::from_secs(1).min(self.shutdown.timeout);
        if tokio::time::timeout(self.shutdown.timeout.saturating_sub(last), self.drain.ended()).await.is_ok() {
            return 0;
        }
        self.drain.begin_last_second();
        if tokio::time::timeout(last, self.drain.ended()).await.is_ok() {
            return 0;
        }
        self.drain.cut()
    }

    /// Ends everything that still runs and waits for the threads. Logs are out when it returns.
    pub fn finish(mut self) {
        self.drain.cut();
        self.stop.cancel();
        if let Some(crew) = self.crew.take() {
            crew.join();
        }
        self.access_log.flush(Duration::from_secs(2));
    }
}

/// What runs on the control thread.
struct Control {
    pools: Vec<Arc<Pool>>,
    admin_sockets: Vec<std::net::TcpListener>,
    admin: Arc<Admin>,
    stop: CancellationToken,
    on_transition: Option<OnTransition>,
}

impl Control {
    async fn run(self) {
        let mut tasks = tokio::task::JoinSet::new();
        for pool in self.pools {
            tasks.spawn(resolve::run(Arc::clone(&pool), self.stop.clone()));
            let on_transition = self.on_transition.clone();
            let report = move |pool: &Pool, upstream: &Upstream, outcome: &probe::Outcome, transition: Option<&Transition>| {
                told(pool, upstream, outcome, transition);
                if let (Some(transition), Some(on_transition)) = (transition, &on_transition) {
                    on_transition(&pool.config.name, &upstream.id, transition);
                }
            };
            tasks.spawn(probe::watch(pool, report, self.stop.clone()));
        }
        for socket in self.admin_sockets {
            match tokio::net::TcpListener::from_std(socket) {
                Ok(socket) => drop(tasks.spawn(admin::serve(socket, Arc::clone(&self.admin), self.stop.clone().cancelled_owned()))),
                Err(error) => events::fatal(&format!("the admin address cannot be served: {error}")),
            }
        }
        while tasks.join_next().await.is_some() {}
        self.stop.cancelled().await;
    }
}

/// What runs on a worker thread.
struct Worker {
    proxy: Arc<Proxy>,
    listeners: Vec<(Arc<Listener>, Vec<std::net::TcpListener>)>,
    drain: Drain,
}

impl Worker {
    async fn run(self) {
        let service = Service::new(self.proxy);
        let mut loops = tokio::task::JoinSet::new();
        for (listener, sockets) in self.listeners {
            for socket in sockets {
                loops.spawn(accept::run(socket, Arc::clone(&listener), service.clone(), self.drain.clone()));
            }
        }
        while loops.join_next().await.is_some() {}
        self.drain.ended().await;
    }
}

/// Each worker's sockets of each listener.
fn shares(listeners: Vec<(Arc<Listener>, Bound)>, count: usize) -> Vec<Vec<(Arc<Listener>, Vec<std::net::TcpListener>)>> {
    let mut shares: Vec<Vec<_>> = (0..count).map(|_| Vec::new()).collect();
    for (listener, bound) in listeners {
        for (share, sockets) in shares.iter_mut().zip(bound.per_worker()) {
            share.push((Arc::clone(&listener), sockets));
        }
    }
    shares
}

fn failed(what: String, source: io::Error) -> StartError {
    StartError { what, source }
}

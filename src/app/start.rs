//! From a configuration to a running proxy: bind everything, then start threads.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin, Ask};
use crate::config::model::Shutdown;
use crate::config::{Config, ListenAddress};
use crate::listen::taken::Copied;
use crate::listen::{Bound, Drain, Taken, bind_or_take, handed};
use crate::observe::access_log::AccessLog;
use crate::observe::metrics::shard;
use crate::observe::trace::Traces;
use crate::observe::{Incidents, events};
use crate::pool::Pool;
use crate::probe::diagnose::Looks;
use crate::proxy::{Front, Proxy};
pub use crate::proxy::{Hooks, OnTransition};

use super::control::{self, Control, Work};
use super::listeners::{self, Listeners};
use super::notify::Notify;
use super::open::Gate;
use super::worker::Worker;
use super::workers::{self, Crew, Ended};

/// Reloads that may be asked for at once; who comes then is told to come again.
const ASKS: usize = 8;

/// Why nothing was started: one sentence.
#[derive(Debug)]
pub struct StartError {
    what: String,
    source: io::Error,
    /// What else to do, behind the sentence of the source.
    remedy: &'static str,
}

impl StartError {
    pub(super) fn new(what: impl Into<String>, source: io::Error) -> Self {
        Self { what: what.into(), source, remedy: "" }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{}", self.what, self.source, self.remedy)
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Nobody has to have it: another address does as well, or none.
const ADMIN_REMEDY: &str = ". The admin address may be another: --admin ADDR, or --admin off (admin.address)";

/// A running proxy. Dropping it does not stop it: [`Server::drain`] and [`Server::finish`] do.
#[derive(Debug)]
pub struct Server {
    /// What a reload changes, one at a time.
    pub(super) state: Mutex<State>,
    /// Of that, what anybody may ask for meanwhile.
    pub(super) now: ArcSwap<Now>,
    pub(super) admin: Arc<Admin>,
    pub(super) traces: Traces,
    /// Ends checks, names and admin.
    pub(super) stop: CancellationToken,
    pub(super) gate: Gate,
    /// A newer process is about to take over: nothing changes meanwhile.
    pub(super) giving: AtomicBool,
    pub(super) crew: Option<Crew>,
    ends: Mutex<mpsc::UnboundedReceiver<Ended>>,
    pub(super) asks: Mutex<mpsc::Receiver<Ask>>,
}

/// What runs, as a reload finds it and leaves it.
#[derive(Debug)]
pub(super) struct State {
    /// What was said, before it was shared out to the workers.
    pub(super) said: Arc<Config>,
    pub(super) workers: usize,
    pub(super) listeners: Listeners,
    /// Where the admin is, as the file has it and as it is.
    pub(super) admin: Option<(ListenAddress, Vec<SocketAddr>)>,
    /// Its sockets, where a newer process may take over.
    pub(super) admin_copies: Vec<Copied>,
    pub(super) pools: Vec<Arc<Pool>>,
    pub(super) proxy: Arc<Proxy>,
    /// What each worker answers with.
    pub(super) fronts: Vec<Arc<Front>>,
    pub(super) looks: Option<Arc<Looks>>,
    pub(super) access_log: AccessLog,
    /// The one before it: requests that began with it may write to it yet.
    pub(super) former_log: Option<AccessLog>,
    /// Lines that were lost by access logs that are no more.
    pub(super) lost: u64,
    pub(super) control: mpsc::UnboundedSender<control::Order>,
}

/// See [`Server::now`].
#[derive(Debug)]
pub(super) struct Now {
    pub(super) said: Arc<Config>,
    pub(super) addresses: Vec<(Arc<str>, Vec<SocketAddr>)>,
    pub(super) admin: Option<SocketAddr>,
    pub(super) pools: Vec<Arc<Pool>>,
    pub(super) proxy: Arc<Proxy>,
    pub(super) drains: Vec<Drain>,
    pub(super) access_log: AccessLog,
    pub(super) lost: u64,
}

impl State {
    pub(super) fn now(&self) -> Now {
        Now {
            said: Arc::clone(&self.said),
            addresses: self.listeners.addresses(),
            admin: self.admin.as_ref().and_then(|(_, at)| at.first().copied()),
            pools: self.pools.clone(),
            proxy: Arc::clone(&self.proxy),
            drains: self.listeners.drains(),
            access_log: self.access_log.clone(),
            lost: self.lost,
        }
    }

    /// Where causeway itself listens.
    pub(super) fn own(&self) -> Vec<SocketAddr> {
        let admin = self.admin.iter().flat_map(|(said, at)| listeners::own(said, at));
        self.listeners.own().into_iter().chain(admin).collect()
    }
}

impl Server {
    /// Binds every socket, then starts all threads. When this returns, connections are taken.
    ///
    /// # Errors
    /// When a socket, a file or a thread cannot be had; nothing runs then.
    pub fn start(config: Config, hooks: Hooks) -> Result<Self, StartError> {
        let mut server = Self::prepare(config, hooks, &mut Taken::default())?;
        server.state.get_mut().listeners.open();
        server.set_open();
        Ok(server)
    }

    /// The same with sockets of an older process where it gave some, and without taking connections before
    /// [`Self::open`].
    ///
    /// # Errors
    /// As those of [`Self::start`]; what was given is closed then, and is none the worse for it.
    pub fn prepare(config: Config, hooks: Hooks, taken: &mut Taken) -> Result<Self, StartError> {
        let (count, copied) = (workers::count(config.workers), config.hand_over.is_some());
        raise_file_limit();
        let (mut listeners, orders) = Listeners::new(count, copied);
        let prepared = listeners.first(&config.listeners, taken)?;
        let admin_bound = config.admin.as_ref().map(|address| bind_admin(address, copied, taken)).transpose()?;
        let (admin_bound, admin_copies) = admin_bound.unzip();
        let access_log =
            AccessLog::start(&config.log).map_err(|source| StartError::new("cannot open the access log", source))?;
        let said = Arc::new(config);
        let config = shared_out(&said, count);
        let (now, started) = (Instant::now(), SystemTime::now());
        let pools: Vec<Arc<Pool>> =
            config.pools.iter().map(|pool| Arc::new(Pool::new(Arc::clone(pool), now))).collect();
        let (mut crew, ends) = Crew::new();
        let stop = CancellationToken::new();
        let gate = Gate::shut(&stop);
        let admin_at = said.admin.clone().zip(admin_bound.as_ref().map(|bound| bound.addresses.clone()));
        let notify = Notify::new(said.notify.clone());
        events::starting(said.file.as_deref(), count);
        prepared.announce();
        handed::tell_unused(said.listeners.iter().map(|listener| &listener.address));
        if let Some(address) = admin_at.as_ref().and_then(|(_, at)| at.first()) {
            events::admin_listening(*address);
        }

        let (incidents, on_transition) = (Arc::new(Incidents::default()), hooks.on_transition.clone());
        let traces = Traces::from_env(&said.name);
        let proxy = Proxy::new(config, pools.clone(), access_log.clone(), incidents, hooks).tracing(traces.clone());
        let proxy = Arc::new(proxy);
        listeners.commit(prepared);
        let (asks, asked) = mpsc::channel(ASKS);
        let began =
            admin::Start { config: Arc::clone(&said), at: (now, started), workers: count, doors: listeners.doors() };
        let admin = Arc::new(Admin::new(pools.clone(), Arc::clone(&proxy), began, asks));
        let fronts: Vec<Arc<Front>> = (0..count).map(|_| Arc::new(Front::new(Arc::clone(&proxy)))).collect();
        let (control, told) = mpsc::unbounded_channel();
        let diagnosis = said.errors.diagnosis;
        let mut state = State {
            said,
            workers: count,
            listeners,
            admin: admin_at,
            admin_copies: admin_copies.unwrap_or_default(),
            pools,
            proxy,
            fronts,
            looks: None,
            access_log,
            former_log: None,
            lost: 0,
            control,
        };
        state.looks = diagnosis.then(|| Arc::new(Looks::new(state.pools.clone(), state.own())));
        let work = Work {
            pools: state.pools.clone(),
            looks: state.looks.clone(),
            secure: state.listeners.secure(),
            admin: Some(control::Door(admin_bound.map(sockets).unwrap_or_default())),
            notify: Some(notify),
        };
        let control = Control::new(Arc::clone(&admin), (stop.clone(), gate.clone()), on_transition, told);
        let fronts = state.fronts.iter().map(Arc::clone);
        let workers = fronts.zip(orders).map(|(front, orders)| Worker { front, orders }).collect();
        if let Err(source) = start_threads(&mut crew, (control, work), workers) {
            // Those that were started end again.
            state.listeners.end();
            stop.cancel();
            crew.join();
            return Err(StartError::new("cannot start a thread", source));
        }
        Ok(Self {
            now: ArcSwap::from_pointee(state.now()),
            state: Mutex::new(state),
            admin,
            traces,
            stop,
            gate,
            giving: AtomicBool::new(false),
            crew: Some(crew),
            ends: Mutex::new(ends),
            asks: Mutex::new(asked),
        })
    }

    /// Each listener's name and the addresses it really has (port 0 is the kernel's choice).
    #[must_use]
    pub fn addresses(&self) -> Vec<(Arc<str>, Vec<SocketAddr>)> {
        self.now.load().addresses.clone()
    }

    /// The admin's address.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.now.load().admin
    }

    /// The pools, in the order of the config.
    #[must_use]
    pub fn pools(&self) -> Vec<Arc<Pool>> {
        self.now.load().pools.clone()
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.now.load().said)
    }

    /// Opens log files again.
    pub fn reopen_logs(&self) {
        self.now.load().access_log.reopen();
    }

    /// Resolves when a thread ends that should not have: its name, and what it said.
    pub async fn broke(&self) -> (String, Option<String>) {
        match self.ends.lock().await.recv().await {
            Some(Ended { thread, panic }) => (thread, panic),
            None => std::future::pending().await,
        }
    }

    /// The next reload that somebody asks the admin for.
    pub async fn asked(&self) -> Ask {
        match self.asks.lock().await.recv().await {
            Some(ask) => ask,
            None => std::future::pending().await,
        }
    }

    /// The admin, which is told how a reload went.
    #[must_use]
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// Lines of the access log that were lost because its reader was too slow, since the start.
    #[must_use]
    pub fn lost_lines(&self) -> u64 {
        let now = self.now.load();
        now.lost + now.access_log.dropped()
    }

    pub(super) fn shutdown(&self) -> Shutdown {
        self.now.load().said.shutdown
    }
}

/// The admin's socket, and copies of it, if a newer process may take over.
///
/// # Errors
/// It cannot be had: one sentence.
pub(super) fn bind_admin(
    address: &ListenAddress,
    copied: bool,
    taken: &mut Taken,
) -> Result<(Bound, Vec<Copied>), StartError> {
    let bound = bind_or_take(address, 1, taken);
    let both = bound.and_then(|bound| {
        let copies = if copied { bound.copies(address)? } else { Vec::new() };
        Ok((bound, copies))
    });
    both.map_err(|source| StartError { remedy: ADMIN_REMEDY, ..StartError::new("admin", source) })
}

pub(super) fn sockets(bound: Bound) -> Vec<std::net::TcpListener> {
    bound.workers.into_iter().flatten().collect()
}

/// The same, with what is for the whole process shared out to so many workers: `connections.max_idle`.
pub(super) fn shared_out(said: &Config, workers: usize) -> Config {
    let mut config = said.clone();
    for pool in &mut config.pools {
        let pool = Arc::make_mut(pool);
        pool.connections.max_idle = pool.connections.max_idle.div_ceil(workers);
    }
    config
}

fn start_threads(crew: &mut Crew, (control, work): (Control, Work), workers: Vec<Worker>) -> io::Result<()> {
    crew.start("control", move || control.run(work))?;
    for (index, worker) in workers.into_iter().enumerate() {
        let run = move || {
            shard::enter(index);
            worker.run()
        };
        crew.start(&format!("worker-{index}"), run)?;
    }
    Ok(())
}

/// The soft limit of open files becomes the hard one: the kernel's default of 1,024 is for programs that use select(2).
pub(super) fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Where that is not permitted, the soft limit stays, and "auto" counts with it.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

//! From a configuration to a running proxy: bind everything, then start threads; and its end, step by step.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin};
use crate::config::model::{Listener, Shutdown};
use crate::config::{Config, ListenAddress, here};
use crate::listen::accept::{self, Permits};
use crate::listen::bind::{Bound, bind};
use crate::listen::spread::{self, Spread, Taker};
use crate::listen::{Asleep, Drain, Secure, Shared};
use crate::observe::access_log::AccessLog;
use crate::observe::metrics::shard;
use crate::observe::trace::Traces;
use crate::observe::{Incidents, events};
use crate::pool::Pool;
use crate::probe::diagnose::Looks;
use crate::proxy::{Front, Proxy};
pub use crate::proxy::{Hooks, OnTransition};
use crate::sys;

use super::control::Control;
use super::notify::Notify;
use super::workers::{self, Crew, Ended};

/// Memory that connections let go is handed to the system so much later, with all that follows in that time.
const GIVE_BACK: Duration = Duration::from_secs(1);

/// How long a collector may take for the last spans.
const LAST_SPANS: Duration = Duration::from_secs(1);

/// Why nothing was started: one sentence.
#[derive(Debug)]
pub struct StartError {
    what: String,
    source: io::Error,
    /// What else to do, behind the sentence of the source.
    remedy: &'static str,
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
    addresses: Vec<(Arc<str>, Vec<SocketAddr>)>,
    admin: Option<SocketAddr>,
    pools: Vec<Arc<Pool>>,
    access_log: AccessLog,
    traces: Traces,
    shutdown: Shutdown,
    admin_state: Arc<Admin>,
    drain: Drain,
    /// Ends checks, names and admin.
    stop: CancellationToken,
    crew: Option<Crew>,
    ends: Mutex<mpsc::UnboundedReceiver<Ended>>,
    from_file: bool,
}

impl Server {
    /// Binds every socket, then starts all threads. When this returns, connections are taken.
    ///
    /// # Errors
    /// When a socket, a file or a thread cannot be had; nothing runs then.
    pub fn start(mut config: Config, hooks: Hooks) -> Result<Self, StartError> {
        let count = workers::count(config.workers);
        raise_file_limit();
        let mut listeners = Vec::new();
        for listener in &config.listeners {
            let bound = bind(&listener.address, count)
                .map_err(|source| failed(&format!("listener {}", listener.name), source))?;
            let secure = Secure::new(listener)
                .map_err(|source| failed(&format!("TLS of listener {}", listener.name), source))?;
            listeners.push((Arc::new(listener.clone()), secure, bound));
        }
        let admin_bound = config.admin.as_ref().map(|address| bind(address, 1)).transpose();
        let admin_bound =
            admin_bound.map_err(|source| StartError { remedy: ADMIN_REMEDY, ..failed("admin", source) })?;
        let access_log =
            AccessLog::start(&config.log).map_err(|source| failed("cannot open the access log", source))?;
        let said = Arc::new(config.clone());
        for pool in &mut config.pools {
            // `max_idle` is for the whole process; each worker keeps its share.
            let pool = Arc::make_mut(pool);
            pool.connections.max_idle = pool.connections.max_idle.div_ceil(count);
        }
        let (now, started) = (Instant::now(), SystemTime::now());
        let pools: Vec<Arc<Pool>> =
            config.pools.iter().map(|pool| Arc::new(Pool::new(Arc::clone(pool), now))).collect();
        let (mut crew, ends) = Crew::new();
        let (drain, stop) = (Drain::default(), CancellationToken::new());
        let addresses: Vec<_> = listeners
            .iter()
            .map(|(listener, _, bound)| {
                let shared = bound.shared.iter().filter_map(|shared| shared.address);
                (Arc::clone(&listener.name), bound.addresses.iter().copied().chain(shared).collect())
            })
            .collect();
        let admin = admin_bound.as_ref().and_then(|bound| bound.addresses.first().copied());
        let own = own(listeners
            .iter()
            .map(|(listener, _, bound)| (&listener.address, bound))
            .chain(config.admin.iter().zip(&admin_bound)));
        let admin_sockets = admin_bound.into_iter().flat_map(|bound| bound.workers).flatten().collect();
        let (shutdown, from_file) = (config.shutdown, config.file.is_some());
        let diagnosis = config.errors.diagnosis;
        let notify = Notify::new(config.notify.clone());
        announce(&config, count, &listeners, admin);

        let (incidents, on_transition) = (Arc::new(Incidents::default()), hooks.on_transition.clone());
        let traces = Traces::from_env(&config.name);
        let proxy = Proxy::new(config, pools.clone(), access_log.clone(), incidents, hooks).tracing(traces.clone());
        let proxy = Arc::new(proxy);
        let secure = listeners.iter().filter_map(|(_, secure, _)| secure.clone()).collect();
        let (doors, shares) = shares(listeners, count);
        let began = admin::Start { config: said, at: (now, started), workers: count, doors };
        let admin_state = Arc::new(Admin::new(pools.clone(), Arc::clone(&proxy), began));
        let control = Control {
            looks: diagnosis.then(|| Arc::new(Looks::new(pools.clone(), own))),
            pools: pools.clone(),
            admin_sockets,
            admin: Arc::clone(&admin_state),
            secure,
            notify,
            stop: stop.clone(),
            on_transition,
        };
        let workers: Vec<_> = shares
            .into_iter()
            .map(|listeners| Worker { proxy: Arc::clone(&proxy), listeners, drain: drain.clone() })
            .collect();
        if let Err(source) = start_threads(&mut crew, control, workers) {
            // Those that were started end again.
            drain.cut();
            stop.cancel();
            crew.join();
            return Err(failed("cannot start a thread", source));
        }
        admin_state.set_listening();
        Ok(Self {
            addresses,
            admin,
            pools,
            access_log,
            traces,
            shutdown,
            admin_state,
            drain,
            stop,
            crew: Some(crew),
            ends: Mutex::new(ends),
            from_file,
        })
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

    /// Lines of the access log that were lost because its reader was too slow, since the start.
    #[must_use]
    pub fn lost_lines(&self) -> u64 {
        self.access_log.dropped()
    }

    /// Open connections, tunnels included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.drain.connections()
    }

    /// Whether there is a config file.
    #[must_use]
    pub const fn from_file(&self) -> bool {
        self.from_file
    }

    /// The end, step by step (CONTRACT §2 `shutdown`): `/readyz` says no; after the grace, each connection answers one more
    /// request; after the timeout, what still runs is cut. `why`: the signal. Says how many connections were cut.
    pub async fn drain(&self, why: &str) -> usize {
        self.admin_state.set_draining();
        if !self.shutdown.grace.is_zero() {
            events::grace_begun(why, self.shutdown.grace);
            tokio::time::sleep(self.shutdown.grace).await;
        }
        events::drain_begun(why, self.drain.connections(), self.shutdown.timeout);
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
        self.traces.flush(LAST_SPANS);
        self.access_log.flush(Duration::from_secs(2));
    }
}

fn start_threads(crew: &mut Crew, control: Control, workers: Vec<Worker>) -> io::Result<()> {
    crew.start("control", move || control.run())?;
    for (index, worker) in workers.into_iter().enumerate() {
        let run = move || {
            shard::enter(index);
            worker.run()
        };
        crew.start(&format!("worker-{index}"), run)?;
    }
    Ok(())
}

/// The first lines of the log: before any thread has something to say.
fn announce(config: &Config, workers: usize, listeners: &[Opened], admin: Option<SocketAddr>) {
    events::starting(config.file.as_deref(), workers);
    for (listener, _, bound) in listeners {
        let scheme = if listener.tls.is_some() { "https" } else { "http" };
        for address in &bound.addresses {
            let both = address.is_ipv6() && matches!(listener.address, ListenAddress::Any(_));
            events::listening(&listener.name, scheme, *address, both);
        }
        let handed = matches!(listener.address, ListenAddress::Handed(_));
        for shared in &bound.shared {
            events::listening_at(&listener.name, scheme, &shared.name, handed);
        }
    }
    if let Some(address) = admin {
        events::admin_listening(address);
    }
}

/// Where causeway itself listens.
fn own<'a>(all: impl Iterator<Item = (&'a ListenAddress, &'a Bound)>) -> Vec<SocketAddr> {
    let port = |bound: &Bound| bound.addresses.first().map_or(0, SocketAddr::port);
    all.flat_map(|(address, bound)| {
        let shared = bound.shared.iter().filter_map(|shared| shared.address);
        here::sockets(address, port(bound)).into_iter().chain(shared)
    })
    .collect()
}

/// What runs on a worker thread.
struct Worker {
    proxy: Arc<Proxy>,
    listeners: Vec<Share>,
    drain: Drain,
}

impl Worker {
    async fn run(self) {
        let service = Arc::new(Front::new(self.proxy));
        let asleep = Asleep::default();
        tokio::spawn(give_back(asleep.clone()));
        let mut loops = tokio::task::JoinSet::new();
        for Share { listener, secure, permits, sockets, shared, taken } in self.listeners {
            let served = || (Arc::clone(&listener), secure.clone());
            let (drain, asleep, service) = (|| self.drain.clone(), || asleep.clone(), || service.clone());
            for socket in sockets {
                loops.spawn(accept::run(socket, served(), permits.clone(), drain(), asleep(), service()));
            }
            for shared in shared {
                loops.spawn(accept::run_shared(shared, served(), permits.clone(), drain(), asleep(), service()));
            }
            for taker in taken {
                loops.spawn(accept::take(taker, served(), permits.clone(), drain(), asleep(), service()));
            }
        }
        while let Some(ended) = loops.join_next().await {
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => events::fatal(format_args!("a listening socket cannot be served: {error}")),
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            }
        }
        self.drain.ended().await;
    }
}

/// Connections that fall asleep let go of most of their memory; this hands it to the system. Once for all that do so in a
/// while, never for a request; without an event, nothing wakes.
async fn give_back(asleep: Asleep) {
    loop {
        asleep.more().await;
        tokio::time::sleep(GIVE_BACK).await;
        sys::give_back_memory();
    }
}

/// A listener on one worker.
struct Share {
    listener: Arc<Listener>,
    secure: Option<Arc<Secure>>,
    permits: Permits,
    sockets: Vec<std::net::TcpListener>,
    /// Of the sockets that there is one of, those that this worker accepts from for all,
    shared: Vec<(Shared, Spread)>,
    /// and those of the other workers.
    taken: Vec<Taker>,
}

/// A listener with its sockets.
type Opened = (Arc<Listener>, Option<Arc<Secure>>, Bound);

/// Each worker's sockets of each listener; the limit of a listener's connections is one for all workers.
fn shares(listeners: Vec<Opened>, count: usize) -> (Vec<admin::Door>, Vec<Vec<Share>>) {
    let mut doors = Vec::new();
    let mut shares: Vec<Vec<Share>> = (0..count).map(|_| Vec::new()).collect();
    let automatic = listeners.iter().filter(|(listener, ..)| listener.connections_limit.is_none()).count();
    let mut turn = 0;
    for (listener, secure, bound) in listeners {
        let permits = Permits::new(listener.connections_limit, automatic);
        let addresses = bound.addresses.iter().map(|address| address.to_string().into());
        let addresses = addresses.chain(bound.shared.iter().map(|shared| Arc::clone(&shared.name))).collect();
        let name = Arc::clone(&listener.name);
        doors.push(admin::Door { name, addresses, permits: permits.clone(), secure: secure.clone() });
        for (share, sockets) in shares.iter_mut().zip(bound.workers) {
            let (listener, secure) = (Arc::clone(&listener), secure.clone());
            let permits = permits.clone();
            share.push(Share { listener, secure, permits, sockets, shared: Vec::new(), taken: Vec::new() });
        }
        for shared in bound.shared {
            // Another worker for each: none has all of that work.
            let own = turn % count;
            turn += 1;
            let (spread, takers) = spread::over(count, own);
            let mut last: Vec<&mut Share> = shares.iter_mut().filter_map(|share| share.last_mut()).collect();
            last.iter_mut().zip(takers).for_each(|(share, taker)| share.taken.extend(taker));
            if let Some(share) = last.get_mut(own) {
                share.shared.push((shared, spread));
            }
        }
    }
    (doors, shares)
}

/// The soft limit of open files becomes the hard one: the kernel's default of 1,024 is for programs that use select(2).
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Where that is not permitted, the soft limit stays, and "auto" counts with it.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

fn failed(what: &str, source: io::Error) -> StartError {
    StartError { what: what.to_owned(), source, remedy: "" }
}

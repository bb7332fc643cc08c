//! From one configuration to the next, while traffic goes on: all that can fail is prepared first, and changes nothing;
//! what follows cannot fail.
//!
//! Requests and connections that have begun keep what they began with. What is known of upstreams, and what was
//! counted, is carried over by those who know it; here is the order in which it happens.

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::admin::Refused;
use crate::config::changes::changes;
use crate::config::model::{Log, LogTarget};
use crate::config::{Change, Config, ListenAddress};
use crate::listen::taken::Copied;
use crate::listen::{Taken, handed};
use crate::observe::access_log::AccessLog;
use crate::observe::events;
use crate::pool::Pool;
use crate::probe::diagnose::Looks;

use super::Server;
use super::control::{self, Order, Work};
use super::listeners::Prepared;
use super::notify::Notify;
use super::start::{State, bind_admin, shared_out, sockets};
use super::workers;

/// For the control thread to stop what it does for a pool, and to begin anew. It is never held up for long.
const CONTROL: Duration = Duration::from_secs(10);
/// An admin that has just moved still has its old address, for as long as it answers there and a little more: it may be
/// wanted again at once.
const LEAVES: Duration = Duration::from_secs(2);
/// Between two tries to have it.
const AGAIN: Duration = Duration::from_millis(50);

impl Server {
    /// Puts another configuration in force, whole or not at all, and says what it changed. One at a time; who comes
    /// meanwhile waits.
    ///
    /// # Errors
    /// What of it cannot be had, in a sentence: a socket, a file; or what a process cannot change while it runs.
    /// Nothing has changed then.
    pub async fn reload(&self, config: Config) -> Result<Vec<Change>, Refused> {
        let mut state = self.state.lock().await;
        let said = Arc::new(config);
        let config = shared_out(&said, state.workers);

        // Prepare: nothing of this changes what runs.
        self.settled().map_err(Refused::Cannot)?;
        unchanging(&state, &said).map_err(Refused::Cannot)?;
        let fixed = |error: super::StartError| Refused::Cannot(format!("{error}. Nothing was changed."));
        let besides = state.admin.as_ref().map(|(said, at)| (said, at.as_slice()));
        let listeners: Prepared = state.listeners.prepare(&said.listeners, besides).await.map_err(fixed)?;
        let admin = prepare_admin(&state, said.admin.as_ref()).await.map_err(fixed)?;
        let access_log = same_access_log(&state.said.log, &said.log).then(|| Ok(state.access_log.clone()));
        let access_log = access_log.unwrap_or_else(|| AccessLog::start(&said.log));
        let access_log = access_log.map_err(|error| {
            let place = target(&said.log.access_to);
            Refused::Cannot(format!(
                "cannot open the access log {place} (log.access_to): {error}. Nothing was changed."
            ))
        })?;
        let changes = changes(&state.said, &said);
        let views: Vec<_> = config.pools.iter().map(|pool| View::of(&state, pool)).collect();
        let stays =
            |pool: &&Arc<Pool>| views.iter().any(|view| matches!(view, View::Kept(own) if Arc::ptr_eq(own, pool)));
        let left: Vec<Arc<Pool>> = state.pools.iter().filter(|pool| !stays(pool)).cloned().collect();
        // Before its upstreams are others: an answer of a name server, or of a check, is for those that were asked
        // about.
        if !left.is_empty() && !ordered(&state, |done| Order::Leave(left, done)).await {
            // It goes on where it can; only a restart helps a thread that hangs.
            let work = Work { admin: None, notify: None, ..work(&state) };
            let _ = state.control.send(Order::Renew(work, oneshot::channel().0));
            let why = "the control thread does not answer, so the checks of the old configuration cannot be ended. Nothing \
                       was changed. Restart causeway; and please report this";
            return Err(Refused::Cannot(why.into()));
        }

        // Commit: nothing of this can fail.
        let now = Instant::now();
        let gone = |pool: &&Arc<Pool>| !config.pools.iter().any(|new| new.name == pool.config.name);
        let gone: Vec<Arc<Pool>> = state.pools.iter().filter(gone).cloned().collect();
        state.pools = std::iter::zip(views, &config.pools).map(|(view, config)| view.pool(config, now)).collect();
        state.proxy = Arc::new(state.proxy.renewed(config, state.pools.clone(), access_log.clone()));
        for front in &state.fronts {
            front.renew(Arc::clone(&state.proxy));
        }
        gone.iter().for_each(|pool| pool.leave());
        if !same_access_log(&state.said.log, &said.log) {
            let old = std::mem::replace(&mut state.access_log, access_log);
            state.lost += old.dropped();
            state.former_log = Some(old);
        }
        let notify = (state.said.notify != said.notify).then(|| Notify::new(said.notify.clone()));
        listeners.announce();
        handed::tell_unused(said.listeners.iter().map(|listener| &listener.address));
        // New ones accept, then those that left drain.
        state.listeners.commit(listeners);
        let door = admin.map(|moved| {
            let Moved { at, sockets, copies } = moved;
            (state.admin, state.admin_copies) = (at, copies);
            if let Some(address) = state.admin.as_ref().and_then(|(_, at)| at.first()) {
                events::admin_listening(*address);
            }
            control::Door(sockets)
        });
        state.looks = match (said.errors.diagnosis, state.looks.take()) {
            (false, _) => None,
            (true, None) => Some(Arc::new(Looks::new(state.pools.clone(), state.own()))),
            (true, Some(looks)) => {
                looks.renew(state.pools.clone(), state.own());
                Some(looks)
            }
        };
        state.said = Arc::clone(&said);
        self.now.store(Arc::new(state.now()));
        self.admin.renew(state.pools.clone(), Arc::clone(&state.proxy), said, state.listeners.doors());
        // Whether or not it says so in time: it is told, and does it.
        let work = Work { admin: door, notify, ..work(&state) };
        let _ = ordered(&state, |done| Order::Renew(work, done)).await;
        Ok(changes)
    }
}

/// A pool of the new file.
enum View {
    /// Nothing about it has changed.
    Kept(Arc<Pool>),
    /// Another word on a pool that there is.
    Changed(Arc<Pool>),
    New,
}

impl View {
    fn of(state: &State, config: &crate::config::model::Pool) -> Self {
        match state.pools.iter().find(|pool| pool.config.name == config.name) {
            Some(pool) if *pool.config == *config => Self::Kept(Arc::clone(pool)),
            Some(pool) => Self::Changed(Arc::clone(pool)),
            None => Self::New,
        }
    }

    fn pool(self, config: &Arc<crate::config::model::Pool>, now: Instant) -> Arc<Pool> {
        match self {
            Self::Kept(pool) => pool,
            Self::Changed(pool) => Arc::new(pool.renewed(Arc::clone(config), now)),
            Self::New => Arc::new(Pool::new(Arc::clone(config), now)),
        }
    }
}

/// What the control thread looks after, less what goes to it once.
fn work(state: &State) -> Work {
    Work {
        pools: state.pools.clone(),
        looks: state.looks.clone(),
        secure: state.listeners.secure(),
        admin: None,
        notify: None,
    }
}

/// Tells the control thread, and waits until it has done so. `false`: it has not within its time.
async fn ordered(state: &State, order: impl FnOnce(oneshot::Sender<()>) -> Order) -> bool {
    let (done, told) = oneshot::channel();
    state.control.send(order(done)).is_ok() && matches!(timeout(CONTROL, told).await, Ok(Ok(())))
}

/// What a process cannot change while it runs.
fn unchanging(state: &State, said: &Config) -> Result<(), String> {
    let refused = |key: &str, what: String| {
        Err(format!(
            "{key} cannot change while causeway runs: {what}. Restart causeway to apply it. Nothing was changed."
        ))
    };
    let (workers, log) = (workers::count(said.workers), &state.said.log);
    // "auto" stays what it was at the start, however many cores there are now.
    if said.workers != state.said.workers && workers != state.workers {
        return refused(
            "workers",
            format!("there are {}, and the new configuration asks for {workers}", state.workers),
        );
    }
    if said.log.events != log.events {
        return refused("log.events", format!("events go to {}", target(&log.events)));
    }
    if said.hand_over != state.said.hand_over {
        let own = state.said.hand_over.as_ref();
        let own = own.map_or_else(|| "there is none".into(), |path| format!("it is at {}", path.display()));
        return refused("hand_over", own);
    }
    if said.log.level != log.level {
        let [now, new] = [log.level, said.log.level].map(|level| format!("{level:?}").to_lowercase());
        return refused("log.level", format!("it is {now}, and the new configuration asks for {new}"));
    }
    Ok(())
}

fn target(target: &LogTarget) -> String {
    match target {
        LogTarget::Stderr => "stderr".into(),
        LogTarget::Stdout => "stdout".into(),
        LogTarget::File(path) => path.display().to_string(),
    }
}

fn same_access_log(one: &Log, other: &Log) -> bool {
    one.access == other.access && one.access_to == other.access_to
}

/// The admin's new place, its sockets, and copies of them for a newer process.
#[derive(Default)]
struct Moved {
    at: Option<(ListenAddress, Vec<std::net::SocketAddr>)>,
    sockets: Vec<std::net::TcpListener>,
    copies: Vec<Copied>,
}

/// `None`: it stays where it is.
async fn prepare_admin(state: &State, wanted: Option<&ListenAddress>) -> Result<Option<Moved>, super::StartError> {
    if state.admin.as_ref().map(|(said, _)| said) == wanted {
        return Ok(None);
    }
    let Some(address) = wanted else { return Ok(Some(Moved::default())) };
    let besides = state.admin.as_ref().map(|(said, at)| (said, at.as_slice()));
    let room = state.listeners.make_room(address, besides).await;
    room.map_err(|source| super::StartError::new("admin", source))?;
    let begun = Instant::now();
    let (bound, copies) = loop {
        match bind_admin(address, state.said.hand_over.is_some(), &mut Taken::default()) {
            Err(error) if is_taken(&error) && begun.elapsed() < LEAVES => sleep(AGAIN).await,
            came => break came?,
        }
    };
    let at = Some((address.clone(), bound.addresses.clone()));
    Ok(Some(Moved { at, sockets: sockets(bound), copies }))
}

fn is_taken(error: &super::StartError) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|source| source.kind() == io::ErrorKind::AddrInUse)
}

//! The control thread: names, checks, the admin, and what is told beside traffic. A reload stops and starts what has
//! changed, and nothing else.
//!
//! Nothing on it may hold up traffic, and nothing that traffic does waits for it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::timeout_at;
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
use super::open::Gate;
use super::shortage;

/// How often it is looked whether a storm of failures is over, while there is one.
const FAILURES: Duration = Duration::from_secs(1);

/// For the tasks of a pool to end, when another view of it takes its place: they wait for nothing but a turn.
const ENDS: Duration = Duration::from_secs(5);
/// An admin that moved answers so much longer at its old address: whoever asked for that gets the answer there.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// What the control thread looks after.
pub(super) struct Work {
    pub(super) pools: Vec<Arc<Pool>>,
    /// `None`: nothing is looked at more closely.
    pub(super) looks: Option<Arc<Looks>>,
    /// The listeners that speak TLS: their files are watched.
    pub(super) secure: Vec<Arc<Secure>>,
    /// `None`: it stays where it is.
    pub(super) admin: Option<Door>,
    /// `None`: as before.
    pub(super) notify: Option<Notify>,
}

/// Where the admin answers; none: nowhere.
pub(super) struct Door(pub(super) Vec<std::net::TcpListener>);

/// What the control thread is told while it runs.
pub(super) enum Order {
    /// To stop whatever it does for these views of pools, and to say so when all of it has ended.
    Leave(Vec<Arc<Pool>>, oneshot::Sender<()>),
    /// To look after this, and nothing else, and to say so when it does.
    Renew(Work, oneshot::Sender<()>),
}

/// What runs on the control thread.
pub(super) struct Control {
    pub(super) admin: Arc<Admin>,
    pub(super) stop: CancellationToken,
    /// From when, and until when, the admin answers.
    pub(super) gate: Gate,
    pub(super) on_transition: Option<OnTransition>,
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
    tasks: JoinSet<()>,
    pools: Vec<(Arc<Pool>, Group)>,
    looking: bool,
    secure: Vec<(Arc<Secure>, Group)>,
    admin_at: Option<Group>,
    notify: Option<Group>,
    /// Up to which event somebody was told; see [`Notify::run`].
    notified: Arc<AtomicU64>,
}

/// Tasks that end together.
struct Group {
    stop: CancellationToken,
    ended: CancellationToken,
    abort: AbortHandle,
}

impl Control {
    pub(super) fn new(
        admin: Arc<Admin>,
        (stop, gate): (CancellationToken, Gate),
        on_transition: Option<OnTransition>,
        orders: mpsc::UnboundedReceiver<Order>,
    ) -> Self {
        let (pools, secure, tasks) = (Vec::new(), Vec::new(), JoinSet::new());
        Self {
            admin,
            stop,
            gate,
            on_transition,
            orders,
            tasks,
            pools,
            looking: false,
            secure,
            admin_at: None,
            notify: None,
            notified: Arc::default(),
        }
    }

    pub(super) async fn run(mut self, work: Work) {
        self.tasks.spawn(tell_the_rest(self.stop.clone()));
        self.tasks.spawn(shortage::look(self.stop.clone()));
        self.renew(work).await;
        let stop = self.stop.clone();
        let mut told = true;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = self.tasks.join_next() => well(ended),
                order = self.orders.recv(), if told => match order {
                    Some(Order::Leave(pools, done)) => {
                        self.leave(|pool| pools.iter().any(|other| Arc::ptr_eq(pool, other))).await;
                        let _ = done.send(());
                    }
                    Some(Order::Renew(work, done)) => {
                        self.renew(work).await;
                        let _ = done.send(());
                    }
                    None => told = false,
                },
            }
        }
        while let Some(ended) = self.tasks.join_next().await {
            well(ended);
        }
    }

    async fn renew(&mut self, work: Work) {
        let Work { pools, looks, secure, admin, notify } = work;
        let all = looks.is_some() != self.looking;
        self.looking = looks.is_some();
        self.leave(|pool| all || !pools.iter().any(|other| Arc::ptr_eq(pool, other))).await;
        for pool in pools {
            if !self.pools.iter().any(|(own, _)| Arc::ptr_eq(own, &pool)) {
                let group = self.look_after(&pool, looks.as_ref());
                self.pools.push((pool, group));
            }
        }
        let stays = |own: &Arc<Secure>| secure.iter().any(|other| Arc::ptr_eq(own, other));
        for (_, group) in self.secure.extract_if(.., |(own, _)| !stays(own)) {
            // Nothing else reads its files.
            group.stop.cancel();
        }
        for secure in secure {
            if !self.secure.iter().any(|(own, _)| Arc::ptr_eq(own, &secure)) {
                let own = Arc::clone(&secure);
                let group = self.group(|stop, tasks| drop(tasks.spawn(own.watch(stop))));
                self.secure.push((secure, group));
            }
        }
        if let Some(notify) = notify {
            if let Some(group) = self.notify.take() {
                group.end(Instant::now() + ENDS).await;
            }
            let reached = Arc::clone(&self.notified);
            self.notify = Some(self.group(|stop, tasks| drop(tasks.spawn(notify.run(stop, reached)))));
        }
        if let Some(door) = admin {
            if let Some(group) = self.admin_at.take() {
                let stop = self.stop.clone();
                self.tasks.spawn(async move {
                    stop.run_until_cancelled(tokio::time::sleep(LAST_ANSWERS)).await;
                    // At the end of the process, the others are told so first.
                    if !stop.is_cancelled() {
                        group.stop.cancel();
                    }
                });
            }
            self.admin_at = Some(self.answer(door));
        }
    }

    /// Ends what is done for the views of pools that this is true of.
    async fn leave(&mut self, is_left: impl Fn(&Arc<Pool>) -> bool) {
        let left: Vec<Group> = self.pools.extract_if(.., |(pool, _)| is_left(pool)).map(|(_, group)| group).collect();
        left.iter().for_each(|group| group.stop.cancel());
        // One clock for all of them.
        let until = Instant::now() + ENDS;
        for group in left {
            group.end(until).await;
        }
    }

    fn look_after(&mut self, pool: &Arc<Pool>, looks: Option<&Arc<Looks>>) -> Group {
        let on_transition = self.on_transition.clone();
        let report =
            move |pool: &Pool, upstream: &Upstream, outcome: &probe::Outcome, transition: Option<&Transition>| {
                told(pool, upstream, outcome, transition);
                if let (Some(transition), Some(on_transition)) = (transition, &on_transition) {
                    on_transition(&pool.config.name, &upstream.id, transition);
                }
            };
        let pool = || Arc::clone(pool);
        self.group(|stop, tasks| {
            tasks.spawn(resolve::run(pool(), stop.clone()));
            if let Some(looks) = looks {
                tasks.spawn(diagnose::watch(pool(), Arc::clone(looks), stop.clone()));
            }
            tasks.spawn(probe::watch(pool(), report, stop));
        })
    }

    fn answer(&mut self, Door(sockets): Door) -> Group {
        let admin = |admin: &Arc<Admin>| Arc::clone(admin);
        let Gate { open, admin_stop: end } = self.gate.clone();
        let own = Arc::clone(&self.admin);
        self.group(|moved, tasks| {
            if !sockets.is_empty() {
                tasks.spawn(admin(&own).keep_history(moved.clone().cancelled_owned()));
            }
            for socket in sockets {
                match tokio::net::TcpListener::from_std(socket) {
                    Ok(socket) => {
                        let serve = admin::serve(socket, admin(&own), end.clone().cancelled_owned());
                        let (open, moved, end) = (open.clone(), moved.clone(), end.clone());
                        drop(tasks.spawn(async move {
                            if end.run_until_cancelled(open.cancelled()).await.is_none() {
                                return;
                            }
                            // At the end of the process it ends by itself, and streams have their last event.
                            let moved = async {
                                moved.cancelled().await;
                                if end.is_cancelled() {
                                    std::future::pending::<()>().await;
                                }
                            };
                            tokio::select! {
                                () = serve => {}
                                () = moved => {}
                            }
                        }));
                    }
                    Err(error) => events::fatal(format_args!("the admin address cannot be served: {error}")),
                }
            }
        })
    }

    /// Without its checks or its names the proxy would go wrong in silence: a fault in one of them ends the thread, and
    /// with it the process.
    fn group(&mut self, begin: impl FnOnce(CancellationToken, &mut JoinSet<()>)) -> Group {
        let (stop, ended) = (self.stop.child_token(), CancellationToken::new());
        let mut tasks = JoinSet::new();
        begin(stop.clone(), &mut tasks);
        let guard = ended.clone().drop_guard();
        let abort = self.tasks.spawn(async move {
            let _ended = guard;
            while let Some(ended) = tasks.join_next().await {
                well(ended);
            }
        });
        Group { stop, ended, abort }
    }
}

impl Group {
    async fn end(self, until: Instant) {
        self.stop.cancel();
        if timeout_at(until.into(), self.ended.cancelled()).await.is_err() {
            self.abort.abort();
        }
    }
}

fn well(ended: Result<(), JoinError>) {
    if let Err(ended) = ended
        && let Ok(panic) = ended.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}

/// Of many failed requests a second tells of one; when no more come, the others are counted. Nothing wakes while none
/// fails.
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

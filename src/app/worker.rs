//! What runs on a worker thread: the accept loops of its share of every listener. Listeners come and go while it runs,
//! and it goes on where there is none.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::listen::spread::{Spread, Taker};
use crate::listen::{Asleep, Drain, Shared, Stand, accept};
use crate::memory;
use crate::observe::events;
use crate::proxy::{self, Front};
use crate::sys;

/// Memory that connections let go is handed to the system so much later, with all that follows in that time.
const GIVE_BACK: Duration = Duration::from_secs(1);

/// How often more is let go of, while memory is short.
const LET_GO: Duration = Duration::from_millis(100);

/// What a worker is told.
pub(super) enum Order {
    /// To accept here too.
    Accept(Share),
    /// To end when all that these stand for has.
    End(Vec<Drain>),
}

/// A listener on one worker.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) stand: Arc<Stand>,
    pub(super) sockets: Vec<TcpListener>,
    /// Of the sockets that there is one of, those that this worker accepts from for all,
    pub(super) shared: Vec<(Shared, Spread)>,
    /// and those of the other workers.
    pub(super) taken: Vec<Taker>,
    /// Its sockets are closed when this is empty.
    pub(super) accepting: TaskTracker,
    /// From the order on.
    pub(super) _held: TaskTrackerToken,
}

/// See the module.
pub(super) struct Worker {
    pub(super) front: Arc<Front>,
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
}

impl Worker {
    pub(super) async fn run(mut self) {
        let asleep = Asleep::default();
        tokio::spawn(give_back(asleep.clone()));
        tokio::spawn(let_go());
        let mut loops = JoinSet::new();
        let mut told = true;
        let drains = loop {
            tokio::select! {
                order = self.orders.recv(), if told => match order {
                    Some(Order::Accept(share)) => accept_at(share, &mut loops, &asleep, &self.front),
                    Some(Order::End(drains)) => break drains,
                    // Nobody is left to say so: it goes on.
                    None => told = false,
                },
                Some(ended) = loops.join_next() => well(ended),
                else => std::future::pending().await,
            }
        };
        while let Some(ended) = loops.join_next().await {
            well(ended);
        }
        for drain in drains {
            drain.ended().await;
        }
    }
}

type Loop = std::io::Result<()>;

fn accept_at(share: Share, loops: &mut JoinSet<Loop>, asleep: &Asleep, front: &Arc<Front>) {
    let Share { stand, sockets, shared, taken, accepting, _held } = share;
    let (stand, asleep, front) = (|| Arc::clone(&stand), || asleep.clone(), || Arc::clone(front));
    for socket in sockets {
        loops.spawn(accepting.track_future(accept::run(socket, stand(), asleep(), front())));
    }
    for shared in shared {
        loops.spawn(accepting.track_future(accept::run_shared(shared, stand(), asleep(), front())));
    }
    for taker in taken {
        loops.spawn(accepting.track_future(accept::take(taker, stand(), asleep(), front())));
    }
}

fn well(ended: Result<Loop, tokio::task::JoinError>) {
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => events::fatal(format_args!("a listening socket cannot be served: {error}")),
        Err(ended) => {
            if let Ok(panic) = ended.try_into_panic() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// Connections that fall asleep let go of most of their memory; this hands it to the system. Once for all that do so in
/// a while, never for a request; without an event, nothing wakes.
async fn give_back(asleep: Asleep) {
    loop {
        asleep.more().await;
        tokio::time::sleep(GIVE_BACK).await;
        sys::give_back_memory();
    }
}

/// Where memory is short, requests let go of what they can, and the system has it at once; until it is there again.
async fn let_go() {
    loop {
        memory::resume();
        memory::pressed().await;
        while memory::is_short() {
            proxy::let_go(memory::lasts(), Instant::now());
            sys::give_back_memory();
            tokio::time::sleep(LET_GO).await;
            memory::resume();
        }
    }
}

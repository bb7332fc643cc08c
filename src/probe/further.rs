//! What no check asks: does the app keep a connection open, and for how long while nothing is asked on it?
//!
//! Only `causeway probe --deep` wants to know. The connection is traffic's own, with its codec.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::BodyExt as _;
use tokio::time::{Instant, sleep, timeout_at};
use tower::Service as _;

use crate::cause::{Failure, Phase};
use crate::client::h1::{Connection, Home, Sending};
use crate::client::{Offer, Opening, Order, Progress, Stream, open};
use crate::config::Endpoint;
use crate::config::model::{Connections, Timeouts};

use super::http::{Clock, Payload};
use super::{Visit, late};

/// A longer answer is not read to its end only to see its connection again.
const LONGEST: usize = 1 << 20;
/// How often it is looked whether the app has closed.
const LOOK: Duration = Duration::from_millis(20);

/// A connection that was asked twice, and then nothing more.
#[derive(Debug)]
pub struct Kept {
    /// The second answer on the connection of the first; `None`: the first one ended it.
    pub again: Option<Result<u16, Failure>>,
    /// How long that took.
    pub took: Duration,
    /// What became of the idle connection; `None`: there was none.
    pub quiet: Option<Quiet>,
}

/// An idle connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quiet {
    /// The app closed it after this time.
    Closed(Duration),
    /// It was still open after this time.
    Open(Duration),
}

type Kind = Connection<Stream, Payload>;

/// Where the connection lies between two requests.
#[derive(Default)]
struct Shelf(Mutex<Option<Kind>>);

impl Home<Stream, Payload> for Shelf {
    fn keep(self: Arc<Self>, connection: Kind) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
    }
}

impl Shelf {
    fn take(&self) -> Option<Kind> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Asks twice on one connection, then leaves it idle for `quiet` at the most. `None`: the first answer is too long to
/// be read to its end.
///
/// # Errors
/// The failure of the first request.
pub async fn kept(endpoint: &Arc<Endpoint>, visit: &Visit, quiet: Duration) -> Result<Option<Kept>, Failure> {
    let limit = visit.limit;
    let timeouts =
        Timeouts { connect: limit, tls: limit, write: limit, read: limit, body: limit, ..Timeouts::default() };
    let connections = Connections { max_idle: 1, ..Connections::default() };
    let order = Order {
        endpoint,
        timeouts: &timeouts,
        buffers: &visit.buffers,
        connections: &connections,
        idle_age: &Arc::default(),
        meter: &Arc::default(),
        client: None,
        now: Instant::now(),
        replayable: true,
        fresh: true,
        expects_continue: false,
        elsewhere: false,
    };
    let shelf = Arc::new(Shelf::default());
    let home: Arc<dyn Home<Stream, Payload>> = Arc::clone(&shelf) as _;
    let opening = Opening { endpoint, timeouts: &timeouts, client: None, offer: Offer::Http1 };
    let stream = open(opening, &Progress::default()).await?;
    let connection = Connection::new(stream, order, Arc::downgrade(&home));
    if exchange(connection, order, visit).await?.is_none() {
        return Ok(None);
    }

    let started = Instant::now();
    let Some(connection) = shelf.take() else {
        return Ok(Some(Kept { again: None, took: Duration::ZERO, quiet: None }));
    };
    let again = exchange(connection, order, visit).await;
    let took = started.elapsed();
    let quiet = match shelf.take() {
        Some(connection) if again.is_ok() => Some(watch(connection, quiet).await),
        _ => None,
    };
    Ok(Some(Kept { again: again.transpose(), took, quiet }))
}

/// The status; `None`: the answer was left before its end.
async fn exchange(mut connection: Kind, order: Order<'_>, visit: &Visit) -> Result<Option<u16>, Failure> {
    let clock = Clock::start(visit.limit);
    let request = visit.request(order.endpoint.host(), false)?.into();
    let progress = Arc::new(Progress::default());
    let sending = Sending { order, request, progress: &progress };
    let answered = timeout_at(clock.deadline, connection.call(sending)).await;
    let response = answered.map_err(|_elapsed| late(progress.phase(), progress.sent(), clock.limit))??;
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let all = async {
        let mut read = 0;
        while let Some(frame) = body.frame().await {
            read += frame?.data_ref().map_or(0, bytes::Bytes::len);
            if read > LONGEST {
                return Ok(None);
            }
        }
        Ok::<_, Failure>(Some(status))
    };
    timeout_at(clock.deadline, all).await.map_err(|_elapsed| late(Phase::Body, true, clock.limit))?
}

/// Looks every now and then: nobody is told of the close of a connection that nobody reads.
async fn watch(mut connection: Kind, limit: Duration) -> Quiet {
    let started = Instant::now();
    loop {
        // It says at once whether it is open.
        let ready = poll_fn(|cx| connection.poll_ready(cx)).await;
        let idle = started.elapsed();
        match ready {
            Err(_) => return Quiet::Closed(idle),
            _ if idle >= limit => return Quiet::Open(idle),
            _ => sleep(LOOK.min(limit.saturating_sub(idle))).await,
        }
    }
}

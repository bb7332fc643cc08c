//! What causeway's server makes of a client. The one file here that knows its interface.

use std::future::Future;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use causeway::cause::Failure;
use causeway::config::address::ListenAddress;
use causeway::config::model::{Listener, Networks, Protocols};
use causeway::listen::{Asleep, ConnInfo, Drain, Handler, Permits, RequestBody, Stand, accept, bind, spread};
use http::{Request, Response};
use tokio::task::yield_now;

use super::stage::{Pieces, Said, Stage, observed};
use super::talk::talk;
use super::{Case, FIELDS_LIMIT, HEAD_LIMIT, Observed};

/// How a refusal begins and ends, around its cause.
pub const REFUSED: (&[u8], &[u8]) = (b"HTTP/1.1 400 Refused\r\nConnection: close\r\n\r\n", b"\r\n");
/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);

/// A listener on a socket of this machine, on the runtime that it was started on.
#[derive(Debug)]
pub struct Subject {
    address: SocketAddr,
    stage: Stage,
    drain: Drain,
}

#[derive(Clone, Debug)]
struct Toy(Stage);

impl Handler for Toy {
    type Body = Pieces;

    fn call(
        &self,
        request: Request<RequestBody>,
        _: &Arc<ConnInfo>,
    ) -> impl Future<Output = Response<Pieces>> + Send + use<> {
        let stage = self.0.clone();
        async move { stage.answer(request).await }
    }

    fn refuse(&self, failure: Failure, _: &[u8], _: &Arc<ConnInfo>) -> Bytes {
        let words = format!("{} {:?}", failure.own_status(), failure.seen);
        self.0.refuse(words.clone());
        [REFUSED.0, words.as_bytes(), REFUSED.1].concat().into()
    }
}

impl Subject {
    /// Runs on [`super::one_thread`].
    pub fn start() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("causeway-codec-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let listener = Listener {
            name: "test".into(),
            address: ListenAddress::Unix(format!("@{name}").into()),
            protocols: Protocols { h1: true, h2: false },
            head_timeout: LONG,
            body_timeout: LONG,
            keep_alive: LONG,
            head_limit: HEAD_LIMIT,
            fields_limit: FIELDS_LIMIT,
            connections_limit: None,
            in_flight_limit: None,
            tls_timeout: LONG,
            tls: None,
            proxy_protocol: Networks::default(),
            redirect_https: false,
        };
        let bound = bind(&listener.address, 1).expect("an address that nobody has");
        let (stage, asleep) = (Stage::default(), Asleep::default());
        let stand = Arc::new(Stand::new(Arc::new(listener), None, Permits::new(None, 100)));
        let drain = stand.drain.clone();
        for shared in bound.shared {
            let (spread, _) = spread::over(1, 0);
            let toy = Toy(stage.clone());
            tokio::spawn(accept::run_shared((shared, spread), stand.clone(), asleep.clone(), toy));
        }
        let address = SocketAddr::from_abstract_name(name.as_bytes()).expect("a short name");
        Self { address, stage, drain }
    }

    pub async fn observe(&self, case: &Case<'_>) -> Observed {
        self.answering(case, None).await
    }

    /// The same; every answer is this one.
    pub async fn answering(&self, case: &Case<'_>, said: Option<Said>) -> Observed {
        self.stage.begin(case.reads, said);
        let client = UnixStream::connect_addr(&self.address).expect("a connection");
        client.set_nonblocking(true).expect("a socket that does not block");
        while self.drain.connections() == 0 {
            yield_now().await;
        }
        let talk = talk(&client, case).await;
        drop(client);
        while self.drain.connections() > 0 {
            yield_now().await;
        }
        observed(&self.stage, talk)
    }
}

//! Inbound I/O: sockets, connections, and the server side of each, HTTP/1.1 or HTTP/2.
//!
//! [`mod@bind`] opens a listener's sockets, or asks [`handed`] or [`mod@taken`] for them; [`accept`] takes connections
//! for a [`stand`] under its limit ([`permits`]), and by [`spread`] for other workers too; [`proxy_protocol`] reads who
//! the client behind a proxy is. A connection is a [`wire`] over a plain [`stream`] or one of [`tls`]; [`conn`] sees,
//! with [`sniff`], which protocol it speaks, and [`mod@h1`] or [`mod@h2`] drives it (parser, clocks, refusals with a
//! full answer, lingering close, client gone, hibernation). [`body`] is a request's body whatever it came by;
//! [`mod@tunnel`] is what is left of a request that switched protocols; [`refusal`] names what was wrong with a head;
//! [`drain`] is the word that everything must come to an end. Nothing here knows routes or upstreams: what to answer is
//! asked of a [`Handler`].

pub mod accept;
pub mod asleep;
pub mod bind;
pub mod body;
mod conn;
mod date;
pub mod drain;
mod h1;
mod h2;
pub mod handed;
mod introduced;
pub mod permits;
pub mod proxy_protocol;
mod refusal;
mod shared;
mod sniff;
mod socket;
pub mod spread;
pub mod stand;
mod stream;
pub mod taken;
pub mod tls;
mod tunnel;
mod wire;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};

use crate::cause::Failure;
use crate::config::model::Listener;

pub use asleep::Asleep;
pub use bind::{Bound, bind, bind_or_take};
pub use body::RequestBody;
pub use drain::Drain;
pub use permits::Permits;
pub use shared::Shared;
pub use stand::Stand;
pub use taken::Taken;
pub use tls::{Secure, Session};
pub use tunnel::{Switch, Tunnel};

/// What a connection asks of the floor above.
pub trait Handler: Clone + Send + Sync + 'static {
    /// The body of its answers. An error ends the message visibly: the connection is closed without the last chunk, or
    /// by RST where the end of the connection would be the end of the message.
    type Body: http_body::Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Send + 'static;

    /// Answers one request. The future is dropped when the client goes away.
    fn call(
        &self,
        request: Request<RequestBody>,
        conn: &Arc<ConnInfo>,
    ) -> impl Future<Output = Response<Self::Body>> + Send + use<Self>;

    /// The complete bytes (status line, fields, body) that answer a head which could not be read: `failure` says why
    /// (400, 408, 414, 431 as its status), `raw` is what was read of the head (for Accept and method, as far as they
    /// can be found). `Connection: close` is part of it. It also goes to the access log from here.
    fn refuse(&self, failure: Failure, raw: &[u8], conn: &Arc<ConnInfo>) -> Bytes;
}

/// What is known of a connection.
#[derive(Debug)]
pub struct ConnInfo {
    /// The listener it came in by.
    pub listener: Arc<Listener>,
    /// The other side, or whom a PROXY header named in its place; IPv4-mapped addresses are IPv4 here already.
    /// 127.0.0.1 where the connection came by a socket of this machine.
    pub peer: SocketAddr,
    /// Its address as fields have it, without the port: written once for all requests of the connection.
    pub peer_text: HeaderValue,
    /// What was agreed in the TLS handshake; `None`: plain.
    pub tls: Option<Session>,
    /// Our side, or what a PROXY header named in its place; IPv4-mapped addresses are IPv4 here already.
    pub local: SocketAddr,
    /// It was cut because the client took nothing of its answer for `timeouts.body`.
    pub stalled: AtomicBool,
    /// The word that everything must come to an end; tunnels are spawned through it, so that the end can wait for them.
    pub drain: Drain,
}

impl ConnInfo {
    /// The addresses that a PROXY header gave, in place of the socket's.
    fn between(&mut self, from: SocketAddr, to: SocketAddr) {
        (self.peer, self.peer_text, self.local) = (from, accept::ip_value(from.ip()), to);
    }
}

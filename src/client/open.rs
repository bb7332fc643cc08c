//! From an endpoint to a connection that HTTP can be spoken on: dial, the PROXY header where one is wanted, TLS where
//! it is spoken.

use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout};

use super::introduction::{self, Client};
use super::{Progress, Stream, connect, tls};
use crate::cause::{Cause, Failure, Phase, spoken};
use crate::config::Endpoint;
use crate::config::address::Scheme;
use crate::config::model::Timeouts;

/// How a new connection is opened.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// Where to.
    pub endpoint: &'a Endpoint,
    /// `connect` and `tls` hold.
    pub timeouts: &'a Timeouts,
    /// For whom, where the upstream wants to know (`proxy_protocol = true`); `None`: causeway's own, a check.
    pub client: Option<&'a Client>,
    /// What may be spoken in TLS.
    pub offer: Offer,
}

/// What is offered in a handshake of TLS (ALPN). Without TLS nothing is agreed on, and this says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// HTTP/2 and HTTP/1.1: [`Stream::is_h2`] tells which the upstream took.
    Both,
    /// HTTP/1.1: for a client alone, or to become something else.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Opens one. How far it came stands in `progress`.
///
/// # Errors
/// The cause of phase `resolve`, `connect` or `tls`.
pub async fn open(opening: Opening<'_>, progress: &Progress) -> Result<Stream, Failure> {
    let Opening { endpoint, timeouts, client, offer } = opening;
    progress.set_phase(Phase::Connect);
    let start = Instant::now();
    let mut stream = connect::dial(endpoint, timeouts.connect).await?;
    progress.set_connect(start.elapsed());
    if endpoint.proxy_protocol {
        // A new socket has room for it: it never waits, but in a fault.
        let header = introduction::header(client);
        match timeout(timeouts.connect, stream.write_all(&header)).await {
            Ok(written) => written.map_err(|error| Failure::new(Cause::ConnectReset).from(error))?,
            Err(_elapsed) => return Err(Failure::new(Cause::ConnectTimeout).limit(spoken(timeouts.connect))),
        }
    }
    if endpoint.scheme == Scheme::Https {
        progress.set_phase(Phase::Tls);
        // Large, and for those alone who speak it.
        let (secured, session) = Box::pin(tls::handshake(stream, endpoint, timeouts.tls, offer)).await?;
        progress.set_session(session);
        stream = secured;
    }
    Ok(stream)
}

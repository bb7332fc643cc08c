//! `[notify]`: who is told of each change of an upstream.

use std::net::SocketAddr;
use std::sync::Arc;

use http::uri::PathAndQuery;

use super::super::address::Address;
use super::PoolTls;

/// `[notify]`. Nobody is told where both are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    /// A program and its words; none: empty.
    pub command: Vec<String>,
    /// Where to post to.
    pub url: Option<Webhook>,
}

/// `notify.url`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Who takes it.
    pub address: Address,
    /// Whom to believe there: the usual roots. Of `https://` alone.
    pub tls: Option<Arc<PoolTls>>,
    /// What stands behind its address. It may hold a secret: it is never logged.
    pub target: PathAndQuery,
    /// As of a pool.
    pub name_servers: Arc<[SocketAddr]>,
}

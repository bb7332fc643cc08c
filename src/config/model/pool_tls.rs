//! `[pool.NAME.tls]`: whom to believe behind `https://`, as what, and who causeway is there. Ready for handshakes.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

/// See the module.
#[derive(Clone, Debug)]
pub struct PoolTls {
    /// The file with the certificates that are believed in place of the usual roots.
    pub ca: Option<PathBuf>,
    /// The name that is asked for (SNI), and that the certificate must have; `None`: the host of the address.
    pub server_name: Option<ServerName<'static>>,
    /// The file of causeway's own certificate there.
    pub cert: Option<PathBuf>,
    /// The file of its key.
    pub key: Option<PathBuf>,
    /// Is the certificate of the upstream looked at?
    pub verify: bool,
    /// For requests: in HTTP/2, or in HTTP/1.1. Sessions to resume are kept in it, for all workers.
    pub traffic: Arc<ClientConfig>,
    /// The same, for what HTTP/1.1 alone can carry.
    pub http1: Arc<ClientConfig>,
    /// The same, for what speaks HTTP/2 and nothing else.
    pub http2: Arc<ClientConfig>,
}

//! `[pool.NAME.tls]`: whom to believe behind `https://`, as what, and who causeway is there. Ready for handshakes.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
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
    /// What stood in the files.
    pub contents: Contents,
    /// For requests: in HTTP/2, or in HTTP/1.1. Sessions to resume are kept in it, for all workers.
    pub traffic: Arc<ClientConfig>,
    /// The same, for what HTTP/1.1 alone can carry.
    pub http1: Arc<ClientConfig>,
    /// The same, for what speaks HTTP/2 and nothing else.
    pub http2: Arc<ClientConfig>,
}

impl PoolTls {
    /// Would a handshake be the same, wherever its files lie?
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let Self { server_name, verify, contents, .. } = self;
        (server_name, verify, contents) == (&other.server_name, &other.verify, &other.contents)
    }
}

impl PartialEq for PoolTls {
    /// The same files with the same in them: what is ready for handshakes follows from that.
    fn eq(&self, other: &Self) -> bool {
        let files = |tls: &Self| (tls.ca.clone(), tls.cert.clone(), tls.key.clone());
        self.is_like(other) && files(self) == files(other)
    }
}

impl Eq for PoolTls {}

/// What files hold, to be compared and for nothing else.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Contents([u8; 32]);

impl Contents {
    /// Of these parts, in this order.
    #[must_use]
    pub fn of<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut context = Context::new(&SHA256);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        Self(context.finish().as_ref().try_into().unwrap_or_default())
    }
}

impl fmt::Debug for Contents {
    /// A key is among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Contents(..)")
    }
}

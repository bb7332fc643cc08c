//! `[listener.NAME.tls]`: what a listener needs to speak TLS.

use super::super::certificate::{Authorities, Pair};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// At least one; the first is for those who name no host, or one that no certificate is for.
    pub certificates: Vec<Pair>,
    /// Set: a client must show a certificate that one of these vouches for.
    pub client_ca: Option<Authorities>,
}

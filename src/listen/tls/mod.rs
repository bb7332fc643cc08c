//! TLS of a listener: what a handshake needs, shared by all workers, and exchanged whole when a file has changed.
//!
//! [`handshake`] makes a secure stream of a connection; [`watch`] looks after the files; `names` chooses the certificate.
//! A connection keeps what it began with.

pub(super) mod handshake;
mod names;
mod watch;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;

use super::sniff::Spoken;
use crate::config::certificate::{Authorities, Pair, provider};
use crate::config::model::Listener;
use names::Names;

/// TLS of one listener; see the module.
#[derive(Debug)]
pub struct Secure {
    listener: Arc<str>,
    /// For the whole handshake, from the accept on.
    timeout: Duration,
    alpn: Vec<Vec<u8>>,
    live: ArcSwap<Live>,
}

/// What holds until a file changes.
struct Live {
    config: Arc<ServerConfig>,
    names: Arc<Names>,
    pairs: Vec<Pair>,
    client_ca: Option<Authorities>,
    tickets: Arc<dyn ProducesTickets>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("pairs", &self.pairs).field("client_ca", &self.client_ca).finish_non_exhaustive()
    }
}

/// What was agreed in a handshake.
#[derive(Debug)]
pub struct Session {
    /// The host that the client named.
    pub sni: Option<Box<str>>,
    /// The protocol that was agreed on: `h2`, `http/1.1`.
    pub alpn: Option<Box<str>>,
    /// `TLS 1.3`.
    pub version: &'static str,
    /// Who the client's certificate is for, in the words of the certificate.
    pub client: Option<Box<str>>,
    /// Where clients show certificates: all names, and which certificate was shown to this one.
    bound: Option<(Arc<Names>, usize)>,
}

impl Session {
    /// How the connection goes on. Who says nothing of protocols speaks HTTP/1.1 (RFC 9113 §3.2), where the listener does.
    pub(super) fn spoken(&self, listener: &Listener) -> Spoken {
        match self.alpn.as_deref() {
            Some("h2") => Spoken::H2,
            _ if listener.protocols.h1 => Spoken::H1,
            _ => Spoken::Unknown,
        }
    }

    /// May a request for this host be answered on this connection? Where clients must show certificates, only if its host has the
    /// certificate that the client was shown: else one site's clients would get into another by the side door (CONTRACT §3: 421).
    #[must_use]
    pub fn may_ask_for(&self, host: &str) -> bool {
        self.bound.as_ref().is_none_or(|(names, shown)| names.find(Some(host)) == *shown)
    }
}

impl Secure {
    /// `None` where the listener speaks plain HTTP.
    ///
    /// # Errors
    /// When the system has no randomness, or the authorities cannot vouch for anybody.
    pub fn new(listener: &Listener) -> io::Result<Option<Arc<Self>>> {
        let Some(tls) = &listener.tls else { return Ok(None) };
        let alpn = alpn(listener);
        let live = Live::new(tls.certificates.clone(), tls.client_ca.clone(), new_tickets()?, &alpn)?;
        let (listener, timeout) = (Arc::clone(&listener.name), listener.tls_timeout);
        Ok(Some(Arc::new(Self { listener, timeout, alpn, live: ArcSwap::from_pointee(live) })))
    }

    /// The file of each certificate, and until when it is good, in seconds since 1970.
    #[must_use]
    pub fn certificates(&self) -> Vec<(String, i64)> {
        self.live.load().pairs.iter().map(|pair| (pair.cert.display().to_string(), pair.not_after)).collect()
    }
}

impl Live {
    fn new(
        pairs: Vec<Pair>,
        client_ca: Option<Authorities>,
        tickets: Arc<dyn ProducesTickets>,
        alpn: &[Vec<u8>],
    ) -> io::Result<Self> {
        let names = Arc::new(Names::new(pairs.iter().map(|pair| pair.names.as_slice())));
        let certified = pairs.iter().map(|pair| Arc::clone(&pair.certified)).collect();
        let resolver = Resolver { names: Arc::clone(&names), certified };
        let builder = ServerConfig::builder_with_provider(Arc::clone(provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
        let builder = match &client_ca {
            None => builder.with_no_client_auth(),
            Some(authorities) => {
                let roots = Arc::clone(&authorities.roots);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider()));
                builder.with_client_cert_verifier(verifier.build().map_err(io::Error::other)?)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = alpn.to_vec();
        // Nothing is kept for a client: what resumes its session it brings itself, and any worker can read it.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Arc::clone(&tickets);
        Ok(Self { config: Arc::new(config), names, pairs, client_ca, tickets })
    }
}

/// What is offered to clients, the best first.
fn alpn(listener: &Listener) -> Vec<Vec<u8>> {
    let offers = [(listener.protocols.h2, "h2"), (listener.protocols.h1, "http/1.1")];
    offers.into_iter().filter(|(speaks, _)| *speaks).map(|(_, name)| name.into()).collect()
}

/// Its key changes every few hours by itself.
fn new_tickets() -> io::Result<Arc<dyn ProducesTickets>> {
    Ticketer::new().map_err(io::Error::other)
}

#[derive(Debug)]
struct Resolver {
    names: Arc<Names>,
    /// At least one.
    certified: Vec<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.certified.get(self.names.find(hello.server_name())).cloned()
    }
}

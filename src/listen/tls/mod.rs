//! TLS of a listener: what a handshake needs, shared by all workers, and exchanged whole when a file has changed.
//!
//! [`handshake`] makes a secure stream of a connection; [`watch`] looks after the files; `names` chooses the
//! certificate. A connection keeps what it began with.

pub(super) mod handshake;
mod names;
mod watch;

use std::fmt;
use std::io;
use std::path::Path;
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
    /// Was HTTP/2 agreed on?
    h2: bool,
    /// Where clients show certificates: all names, and which certificate was shown to this one.
    bound: Option<(Arc<Names>, usize)>,
}

impl Session {
    /// How the connection goes on. Who says nothing of protocols speaks HTTP/1.1 (RFC 9113 §3.2), where the listener
    /// does.
    pub(super) fn spoken(&self, listener: &Listener) -> Spoken {
        match self.h2 {
            true => Spoken::H2,
            false if listener.protocols.h1 => Spoken::H1,
            false => Spoken::Unknown,
        }
    }

    /// May a request for this host be answered on this connection? Where clients must show certificates, only if its
    /// host has the certificate that the client was shown: else one site's clients would get into another by the side
    /// door (CONTRACT §3: 421).
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

    /// What the same listener is to have after a reload: this very one where nothing has changed; else one that takes
    /// back the sessions of this one, unless other authorities vouch for clients.
    ///
    /// # Errors
    /// As of [`Secure::new`].
    pub fn renewed(self: &Arc<Self>, listener: &Listener) -> io::Result<Option<Arc<Self>>> {
        let Some(tls) = &listener.tls else { return Ok(None) };
        let (alpn, live) = (alpn(listener), self.live.load());
        let stamp = |authorities: &Authorities| (authorities.file.clone(), authorities.stamp);
        let same_authorities = live.client_ca.as_ref().map(stamp) == tls.client_ca.as_ref().map(stamp);
        let same_pair = |(old, new): (&Pair, &Pair)| {
            (&old.cert, &old.key, old.stamps) == (&new.cert, &new.key, new.stamps) && !old.stamps.contains(&None)
        };
        let same_pairs = live.pairs.len() == tls.certificates.len();
        let same_pairs = same_pairs && live.pairs.iter().zip(&tls.certificates).all(same_pair);
        let same = same_pairs && same_authorities && self.alpn == alpn;
        if same && self.listener == listener.name && self.timeout == listener.tls_timeout {
            return Ok(Some(Arc::clone(self)));
        }
        let tickets = if same_authorities { Arc::clone(&live.tickets) } else { new_tickets()? };
        let live = Live::new(tls.certificates.clone(), tls.client_ca.clone(), tickets, &alpn)?;
        let (listener, timeout) = (Arc::clone(&listener.name), listener.tls_timeout);
        Ok(Some(Arc::new(Self { listener, timeout, alpn, live: ArcSwap::from_pointee(live) })))
    }

    /// A label for each certificate, and until when it is good, in seconds since 1970.
    #[must_use]
    pub fn certificates(&self) -> Vec<(String, i64)> {
        let live = self.live.load();
        let names = labels(live.pairs.iter().map(|pair| pair.cert.as_path()));
        names.into_iter().zip(live.pairs.iter().map(|pair| pair.not_after)).collect()
    }
}

/// The names of these files, without their folders; one that stood there before has its place in the list too, so that
/// no two are the same: `fullchain.pem`, `fullchain.pem (2)`.
fn labels<'a>(files: impl Iterator<Item = &'a Path>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for (index, file) in files.enumerate() {
        let name = file.file_name().unwrap_or(file.as_os_str()).display().to_string();
        all.push(if all.contains(&name) { format!("{name} ({})", index + 1) } else { name });
    }
    all
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_label_is_a_path_and_no_two_are_the_same() {
        let files = ["/live/a/fullchain.pem", "/live/b/fullchain.pem", "shop.pem", "/live/a/fullchain.pem"];
        let wanted = ["fullchain.pem", "fullchain.pem (2)", "shop.pem", "fullchain.pem (4)"];
        assert_eq!(labels(files.iter().map(Path::new)), wanted);
    }
}

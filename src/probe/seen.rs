//! What a request met on its way, phase by phase. Facts alone: nothing here says what they mean.

use std::time::Duration;

use crate::client::tls::Session;
use crate::config::certificate::Certificate;

/// Each phase as far as it came to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// How long the connection took.
    pub connect: Option<Duration>,
    /// The TLS session.
    pub tls: Option<TlsSeen>,
    /// How long the request took to be sent to its end.
    pub request: Option<Duration>,
    /// The head of the answer.
    pub head: Option<HeadSeen>,
    /// The body of the answer.
    pub body: Option<BodySeen>,
}

/// A TLS session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSeen {
    /// How long it took.
    pub took: Duration,
    /// `TLS 1.3`.
    pub version: &'static str,
    /// `TLS13_AES_256_GCM_SHA384`.
    pub cipher: Option<&'static str>,
    /// What is spoken in it, if that was agreed on.
    pub alpn: Option<String>,
    /// The certificate was looked at, and believed.
    pub verified: bool,
    /// The upstream's certificate.
    pub certificate: Option<Certificate>,
}

impl TlsSeen {
    pub(super) fn of(session: &Session) -> Self {
        Self {
            took: session.took,
            version: session.version,
            cipher: session.cipher,
            alpn: session.alpn.clone(),
            verified: session.verified,
            certificate: session.certificate(),
        }
    }
}

/// The head of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadSeen {
    /// From the end of the request.
    pub took: Duration,
    /// Its status.
    pub status: u16,
    /// Its fields, without those that speak of the connection alone.
    pub fields: usize,
    /// All of it.
    pub bytes: u64,
    /// `Location`, printable ASCII.
    pub location: Option<String>,
    /// `Upgrade`, printable ASCII.
    pub upgrade: Option<String>,
    /// A proxy says that it made this answer itself, for want of one from behind it (RFC 9209 §2.3: `error`).
    pub proxys_own: bool,
}

/// What was read of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodySeen {
    /// From the head to the last byte that was read.
    pub took: Duration,
    /// Bytes of content.
    pub bytes: u64,
    /// To its end; else there is more, or it broke off.
    pub complete: bool,
}

impl Seen {
    /// The time of all phases that came to their end.
    #[must_use]
    pub fn spent(&self) -> Duration {
        let head = self.head.as_ref().map(|head| head.took);
        let body = self.body.as_ref().map(|body| body.took);
        let tls = self.tls.as_ref().map(|tls| tls.took);
        [self.connect, tls, self.request, head, body].into_iter().flatten().sum()
    }
}

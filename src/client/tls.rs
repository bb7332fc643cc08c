//! The TLS handshake with an upstream: its clock, what it agreed on, and the names of its failures, told by the values
//! of rustls and never by a text. What is believed is the config's word; nothing here decides it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, Error, InvalidMessage, ProtocolVersion};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::open::Offer;
use super::stream::{Beginning, Stream};
use crate::cause::{Cause, Failure, Phase, protocol, spoken};
use crate::config::Endpoint;
use crate::config::certificate::{Certificate, day};
use crate::config::trust::Rejected;

/// So many names of a certificate are told.
const NAMES: usize = 4;

/// What a handshake has agreed on.
#[derive(Clone, Debug)]
pub struct Session {
    /// How long it took.
    pub took: Duration,
    /// `TLS 1.3`.
    pub version: &'static str,
    /// `TLS13_AES_256_GCM_SHA384`.
    pub cipher: Option<&'static str>,
    /// What is spoken in it, if that was agreed on: `http/1.1`, `h2`.
    pub alpn: Option<String>,
    /// The certificate was looked at, and believed.
    pub verified: bool,
    certificate: Option<CertificateDer<'static>>,
}

impl Session {
    /// What the upstream's certificate says.
    #[must_use]
    pub fn certificate(&self) -> Option<Certificate> {
        Certificate::read(self.certificate.as_ref()?)
    }
}

/// TLS on a connection to this endpoint, within `limit`.
///
/// # Errors
/// The cause of phase `tls`.
pub async fn handshake(
    stream: Stream,
    endpoint: &Endpoint,
    limit: Duration,
    offer: Offer,
) -> Result<(Stream, Session), Failure> {
    let Some(tls) = &endpoint.tls else {
        return Err(Failure::new(Cause::Bug).in_phase(Phase::Tls).seen("https:// without settings of TLS"));
    };
    let name = match &tls.server_name {
        Some(name) => name.clone(),
        None => ServerName::try_from(endpoint.name().to_owned()).map_err(|_| {
            let said = format!("{} cannot be the name of a certificate: set tls.server_name", endpoint.name());
            Failure::new(Cause::TlsFailure).seen(said)
        })?,
    };
    let config = match offer {
        Offer::Both => &tls.traffic,
        Offer::Http1 => &tls.http1,
        Offer::Http2 => &tls.http2,
    };
    let started = Instant::now();
    let connect = connect(Arc::clone(config), name, Beginning::of(stream));
    let stream = match timeout(limit, connect).await {
        Ok(connected) => connected?,
        Err(_elapsed) => return Err(Failure::new(Cause::TlsTimeout).limit(spoken(limit))),
    };
    let session = {
        let (_, connection) = stream.get_ref();
        Session {
            took: started.elapsed(),
            version: match connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
                Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
                _ => "TLS",
            },
            cipher: connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()),
            alpn: connection.alpn_protocol().map(crate::cause::escape),
            verified: tls.verify,
            certificate: connection.peer_certificates().and_then(|chain| chain.first()).cloned(),
        }
    };
    Ok((Stream::Tls(Box::new(stream)), session))
}

async fn connect(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    stream: Beginning,
) -> Result<tokio_rustls::client::TlsStream<Beginning>, Failure> {
    let connected = TlsConnector::from(config).connect(name, stream).into_fallible().await;
    connected.map_err(|(error, stream)| failed(error, stream.bytes()))
}

/// The number of the alert by which the other side ended the session, if that is what this error is.
#[must_use]
pub fn alert(error: &io::Error) -> Option<u8> {
    match error.get_ref()?.downcast_ref()? {
        Error::AlertReceived(alert) => Some(u8::from(*alert)),
        _ => None,
    }
}

/// The name of a handshake's failure. `first`: what the other side said first.
fn failed(error: io::Error, first: &[u8]) -> Failure {
    if !first.is_empty() && !protocol::is_tls(first) {
        return Failure::new(Cause::SpeaksPlaintext).seen(first_line(first)).from(error);
    }
    let failure = match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::AlertReceived(alert)) => Failure::alert(u8::from(*alert)),
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            Failure::new(Cause::SpeaksPlaintext).seen(first_line(first))
        }
        Some(Error::InvalidCertificate(why)) => match Rejected::of(why) {
            // All that is known is said; rustls would show the value itself.
            Some(rejected) => return not_believed(&rejected.why, &rejected.wanted, rejected.certificate.as_ref()),
            None => not_believed(why, "", None),
        },
        Some(other) => Failure::new(Cause::TlsFailure).seen(other.to_string()),
        None => Failure::new(Cause::TlsFailure).seen(match error.kind() {
            io::ErrorKind::UnexpectedEof => "it closed the connection in the midst of the handshake",
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                "it broke the connection in the midst of the handshake"
            }
            _ => "the connection broke in the midst of the handshake",
        }),
    };
    failure.from(error)
}

/// Of a text its first line, of others all: who it is stands in front.
fn first_line(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
    if end == 0 { bytes } else { &bytes[..end] }
}

fn not_believed(why: &CertificateError, wanted: &str, certificate: Option<&Certificate>) -> Failure {
    let at = |time: &rustls::pki_types::UnixTime| day(i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
    match why {
        CertificateError::ExpiredContext { not_after, .. } => {
            Failure::new(Cause::TlsCertExpired).seen(format!("was valid until {}", at(not_after)))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            Failure::new(Cause::TlsCertExpired).seen(format!("is valid only from {}", at(not_before)))
        }
        CertificateError::Expired => Failure::new(Cause::TlsCertExpired).seen("is valid no longer"),
        CertificateError::NotValidYet => Failure::new(Cause::TlsCertExpired).seen("is not valid yet"),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            let names = certificate.map_or(&[][..], |certificate| &certificate.names);
            let more = if names.len() > NAMES { format!(" and {} more", names.len() - NAMES) } else { String::new() };
            let has = names[..names.len().min(NAMES)].join(", ");
            let has =
                if has.is_empty() { "names none (subjectAltName)".to_owned() } else { format!("has {has}{more}") };
            Failure::new(Cause::TlsCertName).seen(format!("it {has}, and {wanted} was asked for"))
        }
        CertificateError::UnknownIssuer => {
            let said = match certificate {
                Some(certificate) if certificate.self_signed => "it is self-signed".to_owned(),
                Some(certificate) => format!("{} signed it", certificate.issuer),
                None => "its issuer is not known".to_owned(),
            };
            Failure::new(Cause::TlsCertUntrusted).seen(said)
        }
        // One of the trusted has the name of its issuer, and another key.
        CertificateError::BadSignature => {
            let issuer = certificate.map(|certificate| &*certificate.issuer).unwrap_or_default();
            Failure::new(Cause::TlsCertUntrusted)
                .seen(format!("it names {issuer}, and the key of the trusted one did not sign it"))
        }
        _ if certificate.is_some_and(|one| one.self_signed) => {
            Failure::new(Cause::TlsCertUntrusted).seen("it is self-signed")
        }
        other => Failure::new(Cause::TlsCertUntrusted).seen(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_say_who_is_there() {
        let failure = |first: &[u8]| {
            let error = Error::InvalidMessage(InvalidMessage::InvalidContentType);
            failed(io::Error::new(io::ErrorKind::InvalidData, error), first)
        };
        let http = failure(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        assert_eq!((http.cause, http.phase, http.sent), (Cause::SpeaksPlaintext, Phase::Tls, false));
        assert_eq!(http.seen.as_deref(), Some("HTTP/1.1 400 Bad Request"));
        assert_eq!(failure(b"\r\nSSH").seen.as_deref(), Some("\\r\\nSSH"));
        let closed = failed(io::ErrorKind::UnexpectedEof.into(), b"");
        assert_eq!(closed.cause, Cause::TlsFailure);
        // Closed after it has answered in plain HTTP: who is there is known all the same.
        assert_eq!(failed(io::ErrorKind::UnexpectedEof.into(), b"HTTP/1.0 400").cause, Cause::SpeaksPlaintext);
    }

    #[test]
    fn an_alert_is_told_by_its_number() {
        let alert_of = |error: Error| alert(&io::Error::new(io::ErrorKind::InvalidData, error));
        assert_eq!(alert_of(Error::AlertReceived(rustls::AlertDescription::UnrecognisedName)), Some(112));
        assert_eq!((alert_of(Error::DecryptError), alert(&io::ErrorKind::UnexpectedEof.into())), (None, None));
        let failure = failed(
            io::Error::new(
                io::ErrorKind::InvalidData,
                Error::AlertReceived(rustls::AlertDescription::CertificateRequired),
            ),
            b"\x15\x03\x03\x00\x02\x02\x74",
        );
        assert_eq!((failure.cause, failure.alert), (Cause::TlsAlert, Some(116)));
        assert!(failure.hint("https://app:1").contains("certificate_required (116). Set tls.cert and tls.key"));
    }

    #[test]
    fn a_certificate_is_refused_in_its_own_words() {
        let names = (1..=6).map(|n| format!("{n}.test")).collect();
        let facts = Certificate { names, issuer: "CN=ca".into(), subject: "CN=app".into(), ..Certificate::default() };
        let said = |why: &CertificateError| {
            let failure = not_believed(why, "app.test", Some(&facts));
            (failure.cause, failure.seen.unwrap_or_default())
        };
        let name = "it has 1.test, 2.test, 3.test, 4.test and 2 more, and app.test was asked for";
        assert_eq!(said(&CertificateError::NotValidForName), (Cause::TlsCertName, name.into()));
        assert_eq!(said(&CertificateError::UnknownIssuer), (Cause::TlsCertUntrusted, "CN=ca signed it".into()));
        assert_eq!(said(&CertificateError::Revoked).0, Cause::TlsCertUntrusted);
    }
}

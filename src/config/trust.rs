//! Which certificates of upstreams are believed, and what is wrong with one that is not: kept with the certificate's
//! own words, so that the failure can name them. It opens nothing.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};

use super::certificate::Certificate;

/// A certificate that is not believed: the source of such an error of rustls.
#[derive(Debug)]
pub struct Rejected {
    /// What is wrong with it.
    pub why: CertificateError,
    /// The name that was wanted.
    pub wanted: String,
    /// What it says itself; `None`: it cannot be read.
    pub certificate: Option<Certificate>,
}

impl Rejected {
    /// Out of an error of a handshake.
    #[must_use]
    pub fn of(error: &CertificateError) -> Option<&Self> {
        if let CertificateError::Other(OtherError(inner)) = error { inner.downcast_ref() } else { None }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.why)
    }
}

impl StdError for Rejected {}

/// Believes what a chain of signatures leads to one of the roots, for the name that was asked for; and a certificate
/// that stands among them itself, as a self-signed one does.
#[derive(Debug)]
pub(super) struct Chains {
    roots: Arc<WebPkiServerVerifier>,
    own: Vec<CertificateDer<'static>>,
}

impl Chains {
    /// `own`: certificates that are believed as they are. An error where there is no root at all.
    pub(super) fn new(
        roots: RootCertStore,
        own: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, rustls::client::VerifierBuilderError> {
        let roots = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build()?;
        Ok(Self { roots, own })
    }

    fn is_own(&self, certificate: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<bool, Error> {
        if !self.own.iter().any(|own| **own == **certificate) {
            return Ok(false);
        }
        verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
        let facts = Certificate::read(certificate).ok_or(CertificateError::BadEncoding)?;
        let seconds = |at: i64| UnixTime::since_unix_epoch(std::time::Duration::from_secs(at.unsigned_abs()));
        let time = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if time > facts.not_after {
            return Err(CertificateError::ExpiredContext { time: now, not_after: seconds(facts.not_after) }.into());
        }
        if time < facts.not_before {
            return Err(
                CertificateError::NotValidYetContext { time: now, not_before: seconds(facts.not_before) }.into()
            );
        }
        Ok(true)
    }
}

impl ServerCertVerifier for Chains {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let believed = self.roots.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let error = match believed {
            Ok(believed) => return Ok(believed),
            Err(error) => match self.is_own(end_entity, server_name, now) {
                Ok(true) => return Ok(ServerCertVerified::assertion()),
                Ok(false) => error,
                Err(error) => error,
            },
        };
        let Error::InvalidCertificate(why) = error else { return Err(error) };
        let (wanted, certificate) = (server_name.to_str().into_owned(), Certificate::read(end_entity));
        Err(CertificateError::Other(OtherError(Arc::new(Rejected { why, wanted, certificate }))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.roots.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.roots.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.roots.supported_verify_schemes()
    }
}

/// Believes anybody who has the key of the certificate that he shows (`tls.verify = false`).
#[derive(Debug)]
pub(super) struct Anybody(pub(super) Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

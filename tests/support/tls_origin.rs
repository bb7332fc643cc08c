//! An upstream that speaks TLS: HTTP/1.1 with `ok` for every request, and certificates of its own making.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use causeway::config::Config;
use causeway::config::model::PoolTls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

/// Somebody who signs certificates, with a folder for files.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

/// A certificate and its key.
pub struct Pair {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    /// As files.
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "A Test CA");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    /// The file of its own certificate.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Its own certificate.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// A certificate for these names, until this year.
    pub fn issue(&self, names: &[&str], until: i32) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = params(names, until).signed_by(&key, &*self.issuer).unwrap();
        self.pair(&certificate, &key)
    }

    /// One that signed itself.
    pub fn self_signed(&self, names: &[&str]) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = params(names, 2090);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained); // as openssl req -x509 makes them
        self.pair(&params.self_signed(&key).unwrap(), &key)
    }

    fn pair(&self, certificate: &rcgen::Certificate, key: &KeyPair) -> Pair {
        static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let at = |what: &str| self.folder.path().join(format!("{number}.{what}"));
        let (cert_file, key_file) = (at("pem"), at("key"));
        std::fs::write(&cert_file, certificate.pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Pair { chain: vec![certificate.der().clone()], key, cert_file, key_file }
    }
}

fn params(names: &[&str], until: i32) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 2);
    params.distinguished_name.push(DnType::CommonName, "an app");
    params
}

/// What `[pool.app.tls]` makes of these lines.
pub fn settings(lines: &str) -> Arc<PoolTls> {
    let text = format!("[pool.app]\nupstreams = [\"https://127.0.0.1:1\"]\n[pool.app.tls]\n{lines}");
    let config = Config::from_toml(&text).unwrap_or_else(|problems| panic!("{problems:#?}"));
    config.pools[0].tls.clone().unwrap()
}

/// What was seen of each handshake that came to its end: was it a resumption?
type Seen = Arc<Mutex<Vec<bool>>>;

pub struct TlsOrigin {
    pub address: SocketAddr,
    seen: Seen,
    task: AbortHandle,
}

impl TlsOrigin {
    /// With this certificate.
    pub async fn start(pair: Pair) -> Self {
        Self::with(pair, None, rustls::ALL_VERSIONS).await
    }

    /// The same; clients must show one that this authority has signed; it speaks these versions.
    pub async fn with(pair: Pair, clients: Option<&Authority>, versions: &[&'static SupportedProtocolVersion]) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions).unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.issuer.der().clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        let config = builder.with_single_cert(pair.chain, pair.key).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (acceptor, seen) = (TlsAcceptor::from(Arc::new(config)), Seen::default());
        let log = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(acceptor.clone(), stream, Arc::clone(&log)));
            }
        });
        Self { address, seen, task: task.abort_handle() }
    }

    /// Each handshake that came to its end: was it a resumption?
    pub fn handshakes(&self) -> Vec<bool> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for TlsOrigin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// `/cut` ends without a goodbye of TLS within a body that only its end delimits.
async fn serve(acceptor: TlsAcceptor, stream: TcpStream, seen: Seen) {
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
    seen.lock().unwrap().push(resumed);
    let mut head = Vec::new();
    while let Ok(byte) = stream.read_u8().await {
        head.push(byte);
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        if head.starts_with(b"GET /cut") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf").await;
            let _ = stream.flush().await;
            return;
        }
        head.clear();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        let _ = stream.flush().await;
    }
}

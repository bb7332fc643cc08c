//! Certificates as they stand in files: PEM in, something that can be served out, or what is wrong with it.
//!
//! Used when the config is read, and again when a file has changed. No key, and nothing made of one, is ever shown.

mod facts;

use std::fmt;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

use super::file;
use super::problem::Wrong;
pub use facts::{Certificate, day};

/// More than any chain has, and any system's bundle of roots.
const LARGEST: u64 = 4 << 20;

/// A certificate, those that vouch for it, and its key.
#[derive(Clone)]
pub struct Pair {
    /// Where the certificates came from.
    pub cert: PathBuf,
    /// Where the key came from.
    pub key: PathBuf,
    /// The names that it is for, lower case: `shop.example`, `*.shop.example`, addresses.
    pub names: Vec<String>,
    /// From when on it is good, in seconds since 1970.
    pub not_before: i64,
    /// Until when it is good, in seconds since 1970.
    pub not_after: i64,
    /// Can everybody on this machine read the key?
    pub open: bool,
    /// Which writing of the two files this is.
    pub stamps: [Stamp; 2],
    /// What a handshake needs.
    pub certified: Arc<CertifiedKey>,
}

impl PartialEq for Pair {
    /// The same files with the same in them: a certificate has one key.
    fn eq(&self, other: &Self) -> bool {
        let files = |pair: &Self| (pair.cert.clone(), pair.key.clone(), pair.open);
        files(self) == files(other) && self.certified.cert == other.certified.cert
    }
}

impl Eq for Pair {}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("cert", &self.cert).field("names", &self.names).finish_non_exhaustive()
    }
}

/// Which file a name stands for, and which writing of it: its place on the disk, its size, its time. So a link that is
/// turned to another file is seen. `None`: there is none.
pub type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// The file as it is now.
#[must_use]
pub fn stamp(file: &Path) -> Stamp {
    let meta = std::fs::metadata(file).ok()?;
    Some((meta.dev(), meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}

/// Which of the two files something is wrong with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The certificates.
    Cert,
    /// The key.
    Key,
}

impl Pair {
    /// Reads both files.
    ///
    /// # Errors
    /// All that is wrong with either; each message names its file.
    pub fn read(cert: &Path, key: &Path) -> Result<Self, Vec<(Side, Wrong)>> {
        // Before the reading: what is written in between is seen by the next look.
        let stamps = [stamp(cert), stamp(key)];
        let (chain, secret) = (chain(cert), private_key(key));
        let ((chain, leaf), (secret, open)) = match (chain, secret) {
            (Ok(chain), Ok(secret)) => (chain, secret),
            (chain, secret) => {
                let chain = chain.err().map(|wrong| (Side::Cert, wrong));
                return Err(chain.into_iter().chain(secret.err().map(|wrong| (Side::Key, wrong))).collect());
            }
        };
        let certified = CertifiedKey::from_der(chain, secret, provider()).map_err(|error| {
            let (cert, key) = (cert.display(), key.display());
            vec![match error {
                Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    let message = format!("the key in {key} is not the key of the certificate in {cert}");
                    (Side::Key, Wrong::new(message, "name the two files that were made together"))
                }
                Error::InvalidCertificate(error) => {
                    let message = format!("the certificate in {cert} cannot be used: {error}");
                    (Side::Cert, Wrong::new(message, format!("look at it: openssl x509 -noout -text -in {cert}")))
                }
                error => {
                    let hint = "RSA from 2048 bits, ECDSA P-256, P-384 and P-521, and Ed25519 can be used";
                    (Side::Key, Wrong::new(format!("the key in {key} cannot be used: {error}"), hint))
                }
            }]
        })?;
        let Leaf { names, not_before, not_after } = leaf;
        let (cert, key) = (cert.to_owned(), key.to_owned());
        Ok(Self { cert, key, names, not_before, not_after, open, stamps, certified: Arc::new(certified) })
    }
}

/// Those who vouch for clients.
#[derive(Clone)]
pub struct Authorities {
    /// Where they came from.
    pub file: PathBuf,
    /// Which writing of the file this is.
    pub stamp: Stamp,
    /// Themselves.
    pub roots: Arc<RootCertStore>,
}

impl PartialEq for Authorities {
    /// The same file with the same in it.
    fn eq(&self, other: &Self) -> bool {
        self.file == other.file && self.roots.roots == other.roots.roots
    }
}

impl Eq for Authorities {}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorities").field("file", &self.file).field("roots", &self.roots.len()).finish()
    }
}

impl Authorities {
    /// Reads the file.
    ///
    /// # Errors
    /// What is wrong with it; the message names the file.
    pub fn read(file: &Path) -> Result<Self, Wrong> {
        let (stamp, mut roots) = (stamp(file), RootCertStore::empty());
        for der in certificates(file)? {
            roots.add(der).map_err(|error| {
                let message = format!("a certificate in {} cannot vouch for clients: {error}", file.display());
                Wrong::new(message, "name the certificates of those who issue your clients' certificates")
            })?;
        }
        Ok(Self { file: file.to_owned(), stamp, roots: Arc::new(roots) })
    }
}

/// The cryptography of this process.
#[must_use]
pub fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

/// What is read in a certificate itself.
struct Leaf {
    names: Vec<String>,
    not_before: i64,
    not_after: i64,
}

fn chain(file: &Path) -> Result<(Vec<CertificateDer<'static>>, Leaf), Wrong> {
    let chain = certificates(file)?;
    let unreadable = |error: String| {
        let message = format!("the certificate in {} cannot be read: {error}", file.display());
        Wrong::new(message, format!("look at it: openssl x509 -noout -text -in {}", file.display()))
    };
    let first = chain.first().ok_or_else(|| unreadable("there is none".into()))?;
    let (_, leaf) = x509_parser::parse_x509_certificate(first).map_err(|error| unreadable(error.to_string()))?;
    let validity = leaf.validity();
    let (not_before, not_after) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let leaf = Leaf { names: names(&leaf), not_before, not_after };
    Ok((chain, leaf))
}

/// All certificates of a file, at least one.
///
/// # Errors
/// What is wrong with the file; the message names it.
pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Wrong> {
    let (bytes, _) = content(file)?;
    let shown = file.display();
    let all: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&bytes).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) if PrivateKeyDer::from_pem_slice(&bytes).is_ok() => {
            Err(Wrong::new(format!("{shown} holds a key, and no certificate"), "name the file with the certificate"))
        }
        Ok(_) => Err(Wrong::new(format!("there is no certificate in {shown}"), PEM_CERTIFICATE)),
        // Not the error itself: it lists bytes.
        Err(_) => Err(Wrong::new(format!("a certificate in {shown} is broken"), PEM_CERTIFICATE)),
    }
}

const PEM_CERTIFICATE: &str = "it is text (PEM) that begins with -----BEGIN CERTIFICATE-----";
const PEM_KEY: &str = "it is text (PEM) that begins with -----BEGIN PRIVATE KEY-----";

/// The first key of a file; and whether everybody on this machine can read it.
///
/// # Errors
/// What is wrong with the file; the message names it.
pub(super) fn private_key(file: &Path) -> Result<(PrivateKeyDer<'static>, bool), Wrong> {
    let (bytes, mode) = content(file)?;
    let shown = file.display();
    let encrypted = || bytes.windows(9).any(|window| window == b"ENCRYPTED");
    match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(key) => Ok((key, mode & 0o004 != 0)),
        Err(_) if encrypted() => {
            let hint = "causeway cannot ask for a password: openssl pkey -in IN -out OUT takes it off";
            Err(Wrong::new(format!("the key in {shown} is encrypted"), hint))
        }
        Err(pem::Error::NoItemsFound) if CertificateDer::from_pem_slice(&bytes).is_ok() => {
            Err(Wrong::new(format!("{shown} holds a certificate, and no key"), "name the file with the key"))
        }
        Err(pem::Error::NoItemsFound) => Err(Wrong::new(format!("there is no key in {shown}"), PEM_KEY)),
        // Not the error itself: some of its kinds hold what they read.
        Err(_) => Err(Wrong::new(format!("the key in {shown} is broken"), PEM_KEY)),
    }
}

/// The content, and who may read it.
fn content(path: &Path) -> Result<(Vec<u8>, u32), Wrong> {
    let shown = path.display();
    let read = std::fs::metadata(path).and_then(|meta| Ok((file::read(path, LARGEST)?, meta.permissions().mode())));
    let (bytes, mode) = read.map_err(|error| {
        Wrong::new(format!("cannot read {shown}: {error}"), "paths start at the folder of this file")
    })?;
    if bytes.len() as u64 > LARGEST {
        return Err(Wrong::new(format!("{shown} is too large for certificates"), "it may have 4MiB"));
    }
    Ok((bytes, mode))
}

/// The names of its SubjectAltName; the common name means nothing to clients any more (RFC 9525 §2).
fn names(leaf: &X509Certificate<'_>) -> Vec<String> {
    let said = leaf.subject_alternative_name().ok().flatten();
    let all = said.into_iter().flat_map(|said| &said.value.general_names);
    all.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
        },
        _ => None,
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else the look at the files, and the whole process at its end, would wait for somebody who writes.
    #[test]
    fn a_pipe_in_the_place_of_a_file_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let wrong = Pair::read(&pipe, &pipe).unwrap_err();
        assert!(wrong.iter().all(|(_, wrong)| wrong.message.ends_with("it is a pipe, and not a regular file")));
        assert_eq!(wrong.len(), 2);
        assert!(Authorities::read(&pipe).is_err());
    }

    /// The first bytes of a bundle are a bundle too, without its last roots.
    #[test]
    fn a_file_that_is_too_large_is_not_cut() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let key = rcgen::KeyPair::generate().unwrap();
        let mut text = rcgen::CertificateParams::default().self_signed(&key).unwrap().pem();
        std::fs::write(&file, &text).unwrap();
        assert_eq!(certificates(&file).unwrap().len(), 1);
        text.extend(std::iter::repeat_n('\n', usize::try_from(LARGEST).unwrap()));
        std::fs::write(&file, &text).unwrap();
        assert!(certificates(&file).unwrap_err().message.ends_with("is too large for certificates"));
    }
}

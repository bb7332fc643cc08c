//! `[pool.NAME.tls]`: reads the files, and makes of them what a handshake needs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::super::address::{Host, Scheme};
use super::super::certificate::{certificates, private_key, provider};
use super::super::model::{Contents, Entry, HostHeader, PoolTls};
use super::super::problem::Wrong;
use super::super::read::Section;
use super::super::trust::{Anybody, Chains};

/// What requests may be spoken in, the best first (ALPN).
const TRAFFIC: &[&[u8]] = &[H2, H1];
const H1: &[u8] = b"http/1.1";
const H2: &[u8] = b"h2";
/// Names the file of roots where `ca` does not: OpenSSL's variable.
pub const CERT_FILE: &str = "SSL_CERT_FILE";

/// Where they lie.
type Files = (PathBuf, PathBuf);
/// Causeway's own certificate there, with what signed it, and its key.
type Own = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// What the table says. `None`: no upstream speaks TLS.
pub(super) fn tls(section: &Section<'_>, upstreams: &[Entry]) -> Option<Arc<PoolTls>> {
    let said = section.text("ca", "ca.pem", "").filter(|(name, _)| !name.is_empty());
    let ca = said.map(|(name, place)| (section.cx.base.join(name), place));
    let server_name = section.parse("server_name", "app.internal", |text| match text {
        "" => Ok(None),
        text => server_name(text).map(Some),
    });
    let own = own(section);
    let verify = section.flag("verify", true);
    let places = ca.as_ref().map(|(path, place)| (path.as_path(), *place));
    let roots = if let Some((path, place)) = places { Some(section.cx.take(place, roots(path))?) } else { None };
    // A list may have such targets tomorrow.
    let may_speak =
        |entry: &Entry| entry.address.scheme == Scheme::Https || matches!(entry.address.host, Host::Listed(_));
    if !upstreams.iter().any(may_speak) {
        if section.keys().next().is_some() {
            let message = format!("[{}] does nothing: no upstream of the pool is https://", section.path);
            section.cx.warn(&section.place, message, "write https:// in front of those that speak TLS");
        }
        return None;
    }
    if !verify {
        let place = section.value_place("verify").unwrap_or(&section.place);
        let message = "verify = false: anybody on the way can read and change what goes to these upstreams";
        section.cx.warn(place, message, "write ca = \"FILE\", with the certificate of who signed theirs");
    }
    let roots = match roots {
        Some(roots) => roots,
        None => section.cx.take(&section.place, usual_roots(section.cx.cert_file.as_deref()))?,
    };
    let (own, files) = own?;
    let built = build(verify.then_some(roots), own);
    let place = section.value_place("key").unwrap_or(&section.place);
    let Offers { contents, traffic, http1, http2 } = section.cx.take(place, built)?;
    let (cert, key) = files.unzip();
    let ca = ca.map(|(path, _)| path);
    let server_name = server_name.flatten();
    Some(Arc::new(PoolTls { ca, server_name, cert, key, verify, contents, traffic, http1, http2 }))
}

/// A name that upstreams serve under `https://` and that its clients' Host may not be.
pub(super) fn hosts(section: &Section<'_>, upstreams: &[Entry], host_header: &HostHeader) {
    let named = upstreams.iter().find(|entry| {
        entry.address.scheme == Scheme::Https && matches!(entry.address.host, Host::Name(_) | Host::Service(_))
    });
    if let (Some(entry), HostHeader::Client, false) = (named, host_header, section.has("host_header")) {
        let place = section.value_place("upstreams").unwrap_or(&section.place);
        let message = format!("{} gets the Host of the client, and may know only its own name", entry.address);
        let hint = "write host_header = \"upstream\" to send its own; or \"client\", if that is meant";
        section.cx.warn(place, message, hint);
    }
}

/// Without any word: the usual roots, and verification.
///
/// # Errors
/// What is wrong with `cert_file`, the file of [`CERT_FILE`].
pub fn usual(cert_file: Option<&Path>) -> Result<Arc<PoolTls>, Wrong> {
    let Offers { contents, traffic, http1, http2 } = build(Some(usual_roots(cert_file)?), None)?;
    let (ca, server_name, cert, key) = (None, None, None, None);
    Ok(Arc::new(PoolTls { ca, server_name, cert, key, verify: true, contents, traffic, http1, http2 }))
}

fn server_name(text: &str) -> Result<ServerName<'static>, Wrong> {
    ServerName::try_from(text.to_owned()).map_err(|_| {
        let hint = "write a name, like \"app.internal\", without scheme and port";
        Wrong::new(format!("\"{text}\" is not a name or an IP address"), hint)
    })
}

/// The client certificate; the outer `None`: something is wrong with it.
fn own(section: &Section<'_>) -> Option<(Option<Own>, Option<Files>)> {
    let file = |key: &'static str| section.text(key, "app.pem", "").filter(|(name, _)| !name.is_empty());
    let ((cert, at), (key, key_at)) = match (file("cert"), file("key")) {
        (Some(cert), Some(key)) => (cert, key),
        (None, None) => return Some((None, None)),
        (Some((_, place)), None) => {
            section.cx.error(place, "`cert` has no key", "write key = \"FILE\", too");
            return None;
        }
        (None, Some((_, place))) => {
            section.cx.error(place, "`key` has no certificate", "write cert = \"FILE\", too");
            return None;
        }
    };
    let (cert, key) = (section.cx.base.join(cert), section.cx.base.join(key));
    let chain = section.cx.take(at, certificates(&cert));
    let secret = section.cx.take(key_at, private_key(&key).map(|(key, _)| key));
    Some((Some((chain?, secret?)), Some((cert, key))))
}

/// Roots, and what is believed as it is.
type Roots = (RootCertStore, Vec<CertificateDer<'static>>);

fn roots(path: &Path) -> Result<Roots, Wrong> {
    let own = certificates(path)?;
    let mut roots = RootCertStore::empty();
    for certificate in &own {
        roots.add(certificate.clone()).map_err(|error| {
            let message = format!("a certificate in {} cannot be used: {error}", path.display());
            Wrong::new(message, format!("look at it: openssl x509 -noout -text -in {}", path.display()))
        })?;
    }
    Ok((roots, own))
}

/// Those of a system's bundle are many, and one that cannot be read spoils nothing.
fn usual_roots(cert_file: Option<&Path>) -> Result<Roots, Wrong> {
    let mut roots = RootCertStore::empty();
    match cert_file {
        Some(path) => {
            let found = certificates(path).map_err(|wrong| {
                Wrong::new(
                    format!("{CERT_FILE}: {}", wrong.message),
                    "unset it, or write ca = \"FILE\" in tls of the pool",
                )
            })?;
            roots.add_parsable_certificates(found.iter().cloned());
            Ok((roots, found))
        }
        None => {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            Ok((roots, Vec::new()))
        }
    }
}

/// The same settings, for each set of protocols that is offered.
struct Offers {
    contents: Contents,
    traffic: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

/// `None` for the roots: anybody is believed.
fn build(roots: Option<Roots>, own: Option<Own>) -> Result<Offers, Wrong> {
    let (provider, contents) = (provider(), contents(roots.as_ref(), own.as_ref()));
    let verifier: Arc<dyn ServerCertVerifier> = match roots {
        Some((roots, own)) => Arc::new(Chains::new(roots, own, provider).map_err(unfit)?),
        None => Arc::new(Anybody(Arc::clone(provider))),
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(unfit)?;
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                Wrong::new("this key is not the one of `cert`", "write the key that belongs to the certificate")
            }
            error => Wrong::new(format!("this key cannot be used: {error}"), "use one of RSA, ECDSA or Ed25519"),
        })?,
    };
    let offers = |protocols: &[&[u8]]| {
        let mut config = config.clone();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    };
    Ok(Offers { contents, traffic: offers(TRAFFIC), http1: offers(&[H1]), http2: offers(&[H2]) })
}

/// Whom to believe, and who causeway is. The usual roots without a file are those of this version.
fn contents(roots: Option<&Roots>, own: Option<&Own>) -> Contents {
    let (believed, roots) = roots.map_or((&[][..], "anybody"), |(_, certificates)| (certificates, "roots"));
    let (chain, key) = own.map_or((&[][..], &[][..]), |(chain, key)| (chain, key.secret_der()));
    let own = [key].into_iter().chain(chain.iter().map(AsRef::as_ref));
    Contents::of(own.chain([roots.as_bytes()]).chain(believed.iter().map(AsRef::as_ref)))
}

fn unfit(error: impl std::fmt::Display) -> Wrong {
    Wrong::new(format!("TLS cannot be set up: {error}"), "")
}

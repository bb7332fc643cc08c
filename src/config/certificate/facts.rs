//! What people want to know of a certificate: whose it is, who signed it, and until when it holds. It judges nothing.

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{ASN1Time, FromDer as _, X509Certificate};

use crate::cause::escape;

/// More names than this are not told one by one.
const NAMES: usize = 20;
/// So much of a name is told.
const TOLD: usize = 100;

/// The facts of a certificate. Its texts are printable ASCII: a stranger wrote them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// `CN=app.internal, O=Example`.
    pub subject: String,
    /// The names and addresses that it is for (subjectAltName), the first 20.
    pub names: Vec<String>,
    /// Who signed it.
    pub issuer: String,
    /// It holds from then on; seconds since 1970.
    pub not_before: i64,
    /// It holds until then; seconds since 1970.
    pub not_after: i64,
    /// Is it signed in its own name? By the names as they stand in it: the texts here end after 100 characters.
    pub self_signed: bool,
}

impl Certificate {
    /// Reads one; `None`: it is none.
    #[must_use]
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.into_iter().flat_map(|names| &names.value.general_names).filter_map(name).take(NAMES);
        Some(Self {
            subject: told(&certificate.subject().to_string()),
            names: names.collect(),
            issuer: told(&certificate.issuer().to_string()),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            self_signed: certificate.subject().as_raw() == certificate.issuer().as_raw(),
        })
    }
}

/// The day of such a time, `2027-02-11` (UTC).
#[must_use]
pub fn day(seconds: i64) -> String {
    ASN1Time::from_timestamp(seconds)
        .map_or_else(|_| "another age".to_owned(), |at| at.to_datetime().date().to_string())
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(told(name)),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|ip| std::net::Ipv4Addr::from(ip).to_string()),
            16 => <[u8; 16]>::try_from(*bytes).ok().map(|ip| std::net::Ipv6Addr::from(ip).to_string()),
            _ => None,
        },
        _ => None,
    }
}

fn told(text: &str) -> String {
    escape(&text.as_bytes()[..text.len().min(TOLD)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_says_whose_it_is() {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = ["app.test".to_owned(), "10.0.0.1".to_owned()];
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "app\x1b[2J");
        params.not_after = rcgen::date_time_ymd(2027, 2, 11);
        let der = params.self_signed(&key).unwrap();
        let read = Certificate::read(der.der()).unwrap();
        assert_eq!(
            (read.names, day(read.not_after)),
            (vec!["app.test".to_owned(), "10.0.0.1".into()], "2027-02-11".into())
        );
        assert!(read.subject.is_ascii() && !read.subject.contains('\x1b'), "{}", read.subject);
        assert!(read.self_signed);
        assert_eq!(Certificate::read(b"no certificate"), None);
    }

    /// Two names of one organisation may be the same for longer than anybody wants to read.
    #[test]
    fn long_names_are_compared_whole() {
        let long = "a".repeat(2 * TOLD);
        let named = |end: char| {
            let mut params = rcgen::CertificateParams::default();
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(rcgen::DnType::OrganizationName, format!("{long}{end}"));
            params
        };
        let key = rcgen::KeyPair::generate().unwrap();
        let issuer = rcgen::Issuer::new(named('x'), &key);
        let read = Certificate::read(named('y').signed_by(&key, &issuer).unwrap().der()).unwrap();
        assert_eq!(read.subject, read.issuer);
        assert!(!read.self_signed);
    }
}

//! `Authorization: Basic …` (RFC 7617), read: a name and a password, or what is wrong with it. Pure.

use http::{HeaderMap, header};

use crate::observe::login;

/// More than any name and password have.
const LONGEST: usize = 4096;

/// What a client says it is. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) name: Vec<u8>,
    pub(super) password: Vec<u8>,
}

/// From the fields of a request.
///
/// # Errors
/// In words, why there are none.
pub(super) fn of(headers: &HeaderMap) -> Result<Credentials, &'static str> {
    let mut said = headers.get_all(header::AUTHORIZATION).iter();
    let value = match (said.next(), said.next()) {
        (None, _) => return Err("none came"),
        (Some(_), Some(_)) => return Err("they came twice"),
        (Some(value), None) => value,
    };
    let encoded = login::encoded(value).ok_or("it came with another scheme than Basic")?;
    let both = if value.len() > LONGEST { None } else { login::user_and_password(encoded) };
    let (name, password) = both.ok_or("what came cannot be read")?;
    Ok(Credentials { name, password })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(values: &[&str]) -> Result<(String, String), &'static str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        of(&headers).map(|said| (text(said.name), text(said.password)))
    }

    #[test]
    fn a_name_and_a_password() {
        let wanted = Ok(("Aladdin".to_owned(), "open sesame".to_owned()));
        assert_eq!(read(&["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]), wanted);
        assert_eq!(read(&["bAsIc  QWxhZGRpbjpvcGVuIHNlc2FtZQ"]), wanted);
        assert_eq!(read(&["Basic YTpiOmM="]), Ok(("a".to_owned(), "b:c".to_owned())));
        assert_eq!(read(&[]), Err("none came"));
        assert_eq!(read(&["Basic YTpi", "Basic YTpi"]), Err("they came twice"));
        assert_eq!(read(&["Bearer YTpi"]), Err("it came with another scheme than Basic"));
        for broken in ["Basic YTpi!", "Basic YQ==", "Basic Y", "Basic YTpi=x", "Basic "] {
            assert_eq!(read(&[broken]), Err("what came cannot be read"), "{broken}");
        }
    }
}

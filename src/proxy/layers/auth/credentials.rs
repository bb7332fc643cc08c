//! `Authorization: Basic …` (RFC 7617), read: a name and a password, or what is wrong with it. Pure.

use http::{HeaderMap, header};

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
        (Some(value), None) => value.as_bytes(),
    };
    let basic = value.split_at_checked(6).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"basic "));
    let Some((_, encoded)) = basic else { return Err("it came with another scheme than Basic") };
    let decoded = if value.len() > LONGEST { None } else { decoded(encoded.trim_ascii()) };
    let mut decoded = decoded.ok_or("what came cannot be read")?;
    let colon = decoded.iter().position(|b| *b == b':').ok_or("what came cannot be read")?;
    let password = decoded.split_off(colon + 1);
    decoded.truncate(colon);
    Ok(Credentials { name: decoded, password })
}

/// Base 64 (RFC 4648 §4), with its padding or without.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    // Six bits alone are no byte.
    (count < 6).then_some(out)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

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
        for broken in ["Basic YTpi!", "Basic YQ==", "Basic Y", "Basic "] {
            assert_eq!(read(&[broken]), Err("what came cannot be read"), "{broken}");
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            let mut text = Vec::new();
            for three in bytes.chunks(3) {
                let all = three.iter().fold(0_u32, |all, b| (all << 8) | u32::from(*b)) << (8 * (3 - three.len()));
                text.extend((0..=three.len()).map(|n| DIGITS[(all >> (18 - 6 * n)) as usize & 63]));
            }
            prop_assert_eq!(decoded(&text), Some(bytes));
        }

        #[test]
        fn no_text_is_too_strange(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = decoded(&text);
        }
    }
}

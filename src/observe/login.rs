//! A Basic login (RFC 7617), read: once for the combined log and for the door (`route.NAME.basic_auth`), so that both
//! see the same user. It checks nobody, and shows no password.

use http::HeaderValue;

/// Is this the field of a Basic login?
#[must_use]
pub fn is_basic(authorization: &HeaderValue) -> bool {
    encoded(authorization).is_some_and(|text| !text.is_empty())
}

/// The user: what stands in front of the first colon; `None` if that is nothing.
#[must_use]
pub fn user(authorization: &HeaderValue) -> Option<Vec<u8>> {
    let (user, _) = user_and_password(encoded(authorization)?)?;
    (!user.is_empty()).then_some(user)
}

/// What stands behind the scheme; `None`: it is another scheme than Basic.
#[must_use]
pub fn encoded(authorization: &HeaderValue) -> Option<&[u8]> {
    let (scheme, rest) = authorization.as_bytes().split_at_checked(6)?;
    scheme.eq_ignore_ascii_case(b"basic ").then_some(rest.trim_ascii())
}

/// What stands in front of the first colon, and behind it; `None`: this is no base 64, or there is no colon.
#[must_use]
pub fn user_and_password(encoded: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut user = base64(encoded)?;
    let colon = user.iter().position(|byte| *byte == b':')?;
    let password = user.split_off(colon + 1);
    user.truncate(colon);
    Some((user, password))
}

/// RFC 4648 §4, with its padding or without.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    if text.len() % 4 == 1 {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        let mut bits = 0_u32;
        for byte in group {
            bits = bits << 6 | u32::from(digit(*byte)?);
        }
        let bytes = (bits << (6 * (4 - group.len()))).to_be_bytes();
        out.extend_from_slice(&bytes[1..group.len()]);
    }
    Some(out)
}

const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(field: &str) -> Option<String> {
        let field = HeaderValue::from_str(field).unwrap();
        user(&field).map(|user| String::from_utf8_lossy(&user).into_owned())
    }

    #[test]
    fn the_user_of_a_login() {
        assert_eq!(of("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==").as_deref(), Some("Aladdin"), "the example of RFC 7617");
        assert_eq!(of("basic   QWxhZGRpbjpvcGVuIHNlc2FtZQ").as_deref(), Some("Aladdin"));
        for nobody in [
            "Basic OnB3",
            "Basic",
            "Basic ",
            "Basic QWxhZGRpbg==",
            "Basic !",
            "Basic A",
            "Basic YTpi=x",
            "Bearer QTpi",
            "BasicQTpi",
            "",
        ] {
            assert_eq!(of(nobody), None, "{nobody}");
        }
        assert!(is_basic(&HeaderValue::from_static("BASIC x")) && !is_basic(&HeaderValue::from_static("Digest x")));
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = user_and_password(&text);
        }

        #[test]
        fn any_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..40), padded: bool) {
            const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            let mut text = Vec::new();
            for group in bytes.chunks(3) {
                let mut three = [0; 4];
                three[1..=group.len()].copy_from_slice(group);
                let bits = u32::from_be_bytes(three);
                text.extend((0..=group.len()).map(|place| DIGITS[(bits >> (18 - 6 * place) & 63) as usize]));
                if padded {
                    text.extend(std::iter::repeat_n(b'=', 3 - group.len()));
                }
            }
            prop_assert_eq!(base64(&text), Some(bytes));
        }
    }
}

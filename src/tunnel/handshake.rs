//! The words of a WebSocket's handshake (RFC 6455 §4). Over HTTP/2 there is no key and no proof (RFC 8441 §5): whoever
//! stands between the two versions makes the one and checks the other. Pure, but for chance.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use http::header::{HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};

/// What the protocol is called, in Upgrade and in `:protocol`.
pub const PROTOCOL: &str = "websocket";

/// Does this token name it?
#[must_use]
pub fn is_web_socket(token: &str) -> bool {
    token.trim().eq_ignore_ascii_case(PROTOCOL)
}

/// A new key: 16 bytes of chance, which are no secret.
#[must_use]
pub fn key() -> HeaderValue {
    value(&fastrand::u128(..).to_ne_bytes())
}

/// Is it one, by its form: 16 bytes (RFC 6455 §4.2.1)?
#[must_use]
pub fn is_key(value: &HeaderValue) -> bool {
    let digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let digits = value.as_bytes().trim_ascii().strip_suffix(b"==");
    digits.is_some_and(|digits| digits.len() == 22 && digits.iter().all(digit))
}

/// The proof that a key was understood.
#[must_use]
pub fn accept(key: &HeaderValue) -> HeaderValue {
    let told = [key.as_bytes().trim_ascii(), b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
    value(digest(&SHA1_FOR_LEGACY_USE_ONLY, &told).as_ref())
}

/// Does the answer prove that the request's key was understood?
#[must_use]
pub fn proves(answer: &HeaderMap, request: &HeaderMap) -> bool {
    let (mut proofs, key) = (answer.get_all(SEC_WEBSOCKET_ACCEPT).iter(), request.get(SEC_WEBSOCKET_KEY));
    proofs.next().is_some_and(|proof| key.is_some_and(|key| accept(key).as_bytes() == proof.as_bytes().trim_ascii()))
        && proofs.next().is_none()
}

fn value(bytes: &[u8]) -> HeaderValue {
    HeaderValue::from_str(&base64(bytes)).unwrap_or(HeaderValue::from_static(""))
}

/// RFC 4648 §4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let at = |index| u32::from(three.get(index).copied().unwrap_or_default());
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4 {
            let known = digit <= three.len();
            text.push(if known { char::from(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_standards() {
        // RFC 6455 §1.3.
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept(&key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        // RFC 4648 §10.
        let encoded = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| base64(text.as_bytes()));
        assert_eq!(encoded, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
    }

    #[test]
    fn a_key_is_fresh_and_its_proof_is_its_own() {
        let (one, other) = (key(), key());
        assert_eq!((one.len(), one == other), (24, false));
        assert!(is_key(&one) && is_key(&HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==")));
        for bad in [
            "",
            "==",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZ===",
            "dGhlIHNhbXBsZSBub25jZQE=",
            "dGhlIHNhbXBsZSBub25*ZQ==",
        ] {
            assert!(!is_key(&HeaderValue::from_static(bad)), "{bad}");
        }
        let request = HeaderMap::from_iter([(SEC_WEBSOCKET_KEY, one.clone())]);
        let answer = |proof| HeaderMap::from_iter([(SEC_WEBSOCKET_ACCEPT, proof)]);
        assert!(proves(&answer(accept(&one)), &request));
        assert!(!proves(&answer(accept(&other)), &request) && !proves(&HeaderMap::new(), &request));
        let mut twice = answer(accept(&one));
        twice.append(SEC_WEBSOCKET_ACCEPT, accept(&one));
        assert!(!proves(&twice, &request));
    }
}

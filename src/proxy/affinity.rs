//! Which upstream a request belongs to, if any: the key that `balance = "hash:…"` goes by, and the cookie of `sticky`.
//!
//! Pure: reads a head, writes one field. What it reads came from anybody: a cookie that causeway did not write is none.
//! The cookie names its upstream by a token that tells no address and stays the same over restarts.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderValue};

use crate::config::model::HashKey;
use crate::pool::balance::Stable;

/// The key of this request; `None`: it has not what the rule goes by, or has it empty. `path` is without its query.
pub(super) fn key(rule: &HashKey, client: IpAddr, path: &str, fields: &HeaderMap) -> Option<u64> {
    match rule {
        HashKey::ClientIp => Some(match client.to_canonical() {
            IpAddr::V4(ip) => hash(&ip.octets()),
            IpAddr::V6(ip) => hash(&ip.octets()),
        }),
        HashKey::Path => Some(hash(path.as_bytes())),
        HashKey::Header(name) => said(fields.get(name)?.as_bytes()),
        HashKey::Cookie(name) => said(cookies(fields, name).next()?),
    }
}

/// Whom the sticky cookie of this name names: the first of its values that is a token at all.
pub(super) fn token(fields: &HeaderMap, name: &str) -> Option<u64> {
    cookies(fields, name).find_map(from_hex)
}

/// Does the answer owe the client a cookie? `said`: whom its cookie names, `served`: who answered. A client stays with
/// its upstream while that is usable, also when another one had to help out.
pub(super) fn owed(said: Option<u64>, served: u64, usable: impl FnOnce(u64) -> bool) -> bool {
    said.is_none_or(|said| said != served && !usable(said))
}

/// The field that makes a client stay, for as long as its session lasts; `None` where no cookie may have this name.
pub(super) fn set_cookie(name: &str, token: u64, https: bool) -> Option<HeaderValue> {
    let secure = if https { "; Secure" } else { "" };
    HeaderValue::try_from(format!("{name}={token:016x}; Path=/; HttpOnly; SameSite=Lax{secure}")).ok()
}

fn said(value: &[u8]) -> Option<u64> {
    let value = value.trim_ascii();
    (!value.is_empty()).then(|| hash(value))
}

fn hash(bytes: &[u8]) -> u64 {
    Stable::new().bytes(bytes).finish()
}

/// The values of this cookie, in the order of the fields (RFC 6265 §4.2; names tell upper from lower case).
fn cookies<'a>(fields: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let pairs = fields.get_all(header::COOKIE).iter().flat_map(|line| line.as_bytes().split(|b| *b == b';'));
    pairs.filter_map(move |pair| {
        let value = pair.trim_ascii().strip_prefix(name.as_bytes())?.trim_ascii_start().strip_prefix(b"=")?;
        Some(value.trim_ascii())
    })
}

/// 16 lower-case hex digits, as they are written.
fn from_hex(text: &[u8]) -> Option<u64> {
    if text.len() != 16 {
        return None;
    }
    text.iter().try_fold(0, |token, digit| match digit {
        b'0'..=b'9' => Some(token << 4 | u64::from(digit - b'0')),
        b'a'..=b'f' => Some(token << 4 | u64::from(digit - b'a' + 10)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::prelude::*;

    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    fn with(name: &'static str, values: &[&[u8]]) -> HeaderMap {
        let value = |value: &&[u8]| (HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
        values.iter().map(value).collect()
    }

    fn of(rule: &HashKey, fields: &HeaderMap) -> Option<u64> {
        key(rule, CLIENT, "/a", fields)
    }

    #[test]
    fn the_same_client_has_the_same_key_however_it_is_written() {
        let of = |ip: &str| key(&HashKey::ClientIp, ip.parse().unwrap(), "/", &HeaderMap::new());
        assert_eq!(of("192.0.2.7"), of("::ffff:192.0.2.7"));
        assert_ne!(of("192.0.2.7"), of("192.0.2.8"));
        assert_ne!(of("2001:db8::1"), of("2001:db8::2"));
    }

    /// They must be the same in the next version: these were written down.
    #[test]
    fn keys_are_what_they_always_were() {
        assert_eq!(of(&HashKey::ClientIp, &HeaderMap::new()), Some(0x9355_7860_0dfa_27d9));
        assert_eq!(of(&HashKey::Path, &HeaderMap::new()), Some(0x9488_ddf6_7a2d_e486));
    }

    #[test]
    fn the_first_value_of_a_field_is_the_key_and_none_is_none() {
        let rule = HashKey::Header(HeaderName::from_static("x-user"));
        let one = of(&rule, &with("x-user", &[b"ann"]));
        assert!(one.is_some());
        assert_eq!(of(&rule, &with("x-user", &[b" ann", b"bob"])), one);
        assert_ne!(of(&rule, &with("x-user", &[b"bob"])), one);
        assert_eq!(of(&rule, &HeaderMap::new()), None);
        assert_eq!(of(&rule, &with("x-user", &[b" "])), None, "nobody shares an empty name");
        assert!(of(&rule, &with("x-user", &[b"\xff\xfe"])).is_some(), "bytes are bytes");
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let rule = HashKey::Cookie("sid".into());
        let one = of(&rule, &with("cookie", &[b"sid=1"]));
        assert!(one.is_some());
        for line in
            [&b"a=b; sid=1"[..], b"sid=1;sid=2", b"SID=2; xsid=3; sid =\t1 ;", b"sid; ;=;sid=1", b"sidx=0; sid=1; b"]
        {
            assert_eq!(of(&rule, &with("cookie", &[line])), one, "{}", line.escape_ascii());
        }
        assert_eq!(of(&rule, &with("cookie", &[b"a=b", b"sid=1"])), one, "several fields");
        for line in [&b"sid"[..], b"SID=1", b"sid=", b"xsid=1", b"a=sid=1", b""] {
            assert_eq!(of(&rule, &with("cookie", &[line])), None, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn a_cookie_that_causeway_did_not_write_is_none() {
        let read = |line: &[u8]| token(&with("cookie", &[line]), "stick");
        assert_eq!(read(b"stick=00f0000000000abc"), Some(0x00f0_0000_0000_0abc));
        assert_eq!(read(b"stick=10.0.0.1:80; stick=00f0000000000abc"), Some(0x00f0_0000_0000_0abc));
        for line in [
            &b"stick=00F0000000000ABC"[..],
            b"stick=+0f0000000000abc",
            b"stick=0f0000000000abc",
            b"stick=000f0000000000abc",
            b"stick=\"0f0000000000ab\"",
            b"stick=\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"stack=00f0000000000abc",
        ] {
            assert_eq!(read(line), None, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn what_is_written_is_said_by_the_contract() {
        let text = |https| set_cookie("stick", 0xabc, https).unwrap().to_str().unwrap().to_owned();
        assert_eq!(text(false), "stick=0000000000000abc; Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(text(true), "stick=0000000000000abc; Path=/; HttpOnly; SameSite=Lax; Secure");
        assert_eq!(set_cookie("a\r\nb", 1, false), None);
    }

    #[test]
    fn a_client_gets_a_cookie_when_it_has_none_or_its_upstream_is_gone() {
        assert!(owed(None, 1, |_| panic!("nobody is named")));
        assert!(!owed(Some(1), 1, |_| panic!("it answered")));
        assert!(!owed(Some(2), 1, |_| true), "another one helped out");
        assert!(owed(Some(2), 1, |named| named != 2));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again_among_anything(
            token: u64, https: bool, before in "[!-:<-~]{0,20}(; ?[!-:<-~]{0,9}){0,3}", after in "[ -~]{0,40}",
        ) {
            prop_assume!(!before.contains("stick"));
            let written = set_cookie("stick", token, https).unwrap();
            let pair = written.to_str().unwrap().split(';').next().unwrap().to_owned();
            let line = format!("{before}; {pair};{after}");
            prop_assert_eq!(super::token(&with("cookie", &[line.as_bytes()]), "stick"), Some(token));
            prop_assert_eq!(super::token(&with("cookie", &[before.as_bytes(), pair.as_bytes()]), "stick"), Some(token));
        }

        #[test]
        fn any_bytes_are_read_without_harm(
            lines in proptest::collection::vec(proptest::collection::vec(0x20..=0xff_u8, 0..80), 0..4), name in "[a-z]{1,3}",
        ) {
            let lines: Vec<Vec<u8>> = lines.into_iter().map(|line| line.into_iter().filter(|b| *b != 0x7f).collect()).collect();
            let fields = with("cookie", &lines.iter().map(Vec::as_slice).collect::<Vec<_>>());
            prop_assert_eq!(token(&fields, &name), None);
            let value = of(&HashKey::Cookie(name.as_str().into()), &fields);
            let prefix = format!("{name}=");
            if lines.iter().all(|line| !line.windows(name.len()).any(|part| part == name.as_bytes())) {
                prop_assert_eq!(value, None, "nobody said {}", prefix);
            }
        }

        /// Keys that differ little are spread over upstreams as well as any.
        #[test]
        fn clients_of_one_network_are_spread(network: u16) {
            let [a, b] = network.to_be_bytes();
            let mut halves = [0_u32; 2];
            for host in 0..=255_u8 {
                let ip = IpAddr::from([10, a, b, host]);
                halves[usize::from(key(&HashKey::ClientIp, ip, "/", &HeaderMap::new()).unwrap() >> 63 == 1)] += 1;
            }
            prop_assert!(halves[0].abs_diff(128) < 64, "{:?}", halves);
        }
    }
}

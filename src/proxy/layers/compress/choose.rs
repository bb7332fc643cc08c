//! Which coding a client takes (RFC 9110 §12.5.3). Pure.

use http::{HeaderMap, header};

use super::super::super::headers::values;

/// What a body can be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Zstd,
    Brotli,
    Gzip,
}

impl Coding {
    /// Among equals, the first goes: it costs the least for what it saves.
    const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    pub(super) const fn token(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    fn is(self, name: &str) -> bool {
        name.eq_ignore_ascii_case(self.token()) || (self == Self::Gzip && name.eq_ignore_ascii_case("x-gzip"))
    }
}

/// The best that the client takes; `None`: the body as it is, which nobody is ever refused for.
pub(super) fn choose(headers: &HeaderMap) -> Option<Coding> {
    // In thousandths. What stands twice counts as it stands first.
    let mut weights = [None; 3];
    let (mut any, mut identity) = (None, None);
    for member in values(headers, &header::ACCEPT_ENCODING) {
        let (name, weight) = weighed(member);
        if name == "*" {
            any.get_or_insert(weight);
        } else if name.eq_ignore_ascii_case("identity") {
            identity.get_or_insert(weight);
        } else if let Some(at) = Coding::ALL.iter().position(|coding| coding.is(name)) {
            weights[at].get_or_insert(weight);
        }
    }
    let weights = weights.map(|weight| weight.or(any).unwrap_or(0));
    let best = weights.into_iter().max().unwrap_or_default();
    if best == 0 || identity.is_some_and(|identity| identity > best) {
        return None;
    }
    Coding::ALL.into_iter().zip(weights).find(|(_, weight)| *weight == best).map(|(coding, _)| coding)
}

/// `gzip;q=0.5`: a name and its weight. One that cannot be read is no wish for it.
fn weighed(member: &str) -> (&str, u16) {
    let mut parts = member.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let q = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    (name, q.map_or(1000, |q| thousandths(q.trim()).unwrap_or(0)))
}

/// `0`, `0.5`, `1.000`.
fn thousandths(q: &str) -> Option<u16> {
    let (whole, rest) = q.split_once('.').unwrap_or((q, ""));
    if rest.len() > 3 || !rest.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let fraction: u16 = format!("{rest:0<3}").parse().ok()?;
    match whole {
        "0" => Some(fraction),
        "1" if fraction == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn chosen(accept: &str) -> Option<Coding> {
        let mut headers = HeaderMap::new();
        for line in accept.split('|').filter(|line| !line.is_empty()) {
            headers.append(header::ACCEPT_ENCODING, HeaderValue::from_str(line).unwrap());
        }
        choose(&headers)
    }

    #[test]
    fn the_best_that_the_client_takes() {
        use Coding::{Brotli, Gzip, Zstd};
        for (accept, wanted) in [
            ("", None),
            ("gzip", Some(Gzip)),
            ("gzip, deflate, br, zstd", Some(Zstd)),
            ("gzip, deflate, br", Some(Brotli)),
            ("X-GZIP", Some(Gzip)),
            ("deflate", None),
            ("gzip;q=0", None),
            ("gzip;q=0.001", Some(Gzip)),
            ("gzip;q=1, br;q=0.9", Some(Gzip)),
            ("zstd;q=0.5|br;q=0.5, gzip;q=0.4", Some(Zstd)),
            ("identity", None),
            ("identity;q=0", None),
            ("identity;q=1, gzip;q=0.5", None),
            ("identity;q=0.5, gzip;q=0.5", Some(Gzip)),
            ("*", Some(Zstd)),
            ("*;q=0", None),
            ("*;q=0, gzip", Some(Gzip)),
            ("zstd;q=0, *", Some(Brotli)),
            ("gzip;q=2", None),
            ("gzip;q=0.0001", None),
            ("gzip;q=x", None),
            (" GZIP ; Q=1.0 ", Some(Gzip)),
        ] {
            assert_eq!(chosen(accept), wanted, "{accept}");
        }
    }

    proptest! {
        /// It is one that was named (or `*` was), none that was refused, and none that is better was left.
        #[test]
        fn never_one_that_was_not_asked_for(weights in proptest::collection::vec((0..6_usize, 0..=1000_u16), 0..8)) {
            const NAMES: [&str; 6] = ["zstd", "br", "gzip", "*", "identity", "deflate"];
            let weight = |q: u16| if q == 1000 { "1".to_owned() } else { format!("0.{q:03}") };
            let text: Vec<_> = weights.iter().map(|(name, q)| format!("{};q={}", NAMES[*name], weight(*q))).collect();
            let of = |name: &str| weights.iter().find(|(n, _)| NAMES[*n] == name).map(|(_, q)| *q);
            let own = |coding: Coding| of(coding.token()).or_else(|| of("*")).unwrap_or(0);
            match chosen(&text.join(", ")) {
                Some(coding) => {
                    prop_assert!(own(coding) > 0);
                    prop_assert!(Coding::ALL.iter().all(|other| own(*other) <= own(coding)));
                }
                None => {
                    let best = Coding::ALL.iter().map(|coding| own(*coding)).max().unwrap();
                    prop_assert!(best == 0 || of("identity").is_some_and(|identity| identity > best));
                }
            }
        }

        #[test]
        fn no_text_is_too_strange(text in "[ -~]{0,40}") {
            let _ = chosen(&text);
        }
    }
}

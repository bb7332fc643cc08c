//! `balance` and `sticky`: how one of several upstreams is chosen.

use std::sync::Arc;

use http::HeaderName;

use super::super::context::nearest;
use super::super::model::{Balance, HashKey};
use super::super::problem::Wrong;
use super::super::read::Section;

const KEYS: &str = "\"hash:client_ip\", \"hash:path\", \"hash:header:NAME\" or \"hash:cookie:NAME\"";

/// What nginx, HAProxy, Caddy and Envoy call the same, after [`plain`].
const ELSEWHERE: &[(&str, &str)] = &[
    ("random", "p2c"),
    ("random_choose", "p2c"),
    ("two_random", "p2c"),
    ("power_of_two_choices", "p2c"),
    ("least_request", "p2c"),
    ("rr", "round_robin"),
    ("roundrobin", "round_robin"),
    ("static_rr", "round_robin"),
    ("weighted_round_robin", "round_robin"),
    ("least_conn", "least_in_flight"),
    ("leastconn", "least_in_flight"),
    ("least_connections", "least_in_flight"),
    ("least_outstanding_requests", "least_in_flight"),
    ("least_time", "ewma"),
    ("peak_ewma", "ewma"),
    ("ip_hash", "hash:client_ip"),
    ("client_ip_hash", "hash:client_ip"),
    ("source", "hash:client_ip"),
    ("hash:ip", "hash:client_ip"),
    ("hash:source", "hash:client_ip"),
    ("uri", "hash:path"),
    ("uri_hash", "hash:path"),
    ("hash:uri", "hash:path"),
    ("hash:url", "hash:path"),
];

/// `balance`, if it was said, and `sticky`.
pub(super) fn balance(section: &Section<'_>) -> (Option<Balance>, Option<Arc<str>>) {
    let balance = section.parse("balance", "p2c", word);
    let sticky = section
        .parse("sticky", "causeway", |text| if text.is_empty() { Ok(None) } else { sticky_name(text).map(Some) })
        .flatten();
    if let (Some(Balance::Hash(HashKey::Cookie(hashed))), Some(sticky)) = (&balance, &sticky)
        && hashed == sticky
    {
        let place = section.value_place("sticky").unwrap_or(&section.place);
        let message = format!("the cookie `{sticky}` is hashed, and causeway would set its own over it");
        section.cx.error(place, message, "give sticky another name, or take it out");
    }
    (balance, sticky)
}

fn word(text: &str) -> Result<Balance, Wrong> {
    match text {
        "p2c" => return Ok(Balance::P2c),
        "round_robin" => return Ok(Balance::RoundRobin),
        "least_in_flight" => return Ok(Balance::LeastInFlight),
        "ewma" => return Ok(Balance::Ewma),
        _ => {}
    }
    if let Some(key) = text.strip_prefix("hash:")
        && let Some(key) = hash_key(text, key)?
    {
        return Ok(Balance::Hash(key));
    }
    let wrong = |hint| Wrong::new(format!("\"{text}\" is not a word for `balance`"), hint);
    let plain = plain(text);
    if plain == "hash" || plain == "hash:" {
        return Err(wrong(format!("say what is hashed: {KEYS}")));
    }
    let own = ["p2c", "round_robin", "least_in_flight", "ewma", "hash:client_ip", "hash:path"];
    let known = own.into_iter().find(|word| *word == plain);
    let elsewhere = || ELSEWHERE.iter().find(|(word, _)| *word == plain).map(|(_, here)| *here);
    let near = || nearest(&plain, own.into_iter());
    Err(wrong(match known.or_else(elsewhere).or_else(near) {
        Some(word) => format!("did you mean \"{word}\"?"),
        None if text.starts_with("hash") => format!("write {KEYS}"),
        None => "write \"p2c\", \"round_robin\", \"least_in_flight\", \"ewma\" or \"hash:...\"".into(),
    }))
}

/// `Round-Robin` as causeway would write it.
fn plain(text: &str) -> String {
    text.trim().to_ascii_lowercase().replace(['-', ' '], "_")
}

/// What stands behind `hash:`; `None`: no such word.
fn hash_key(text: &str, key: &str) -> Result<Option<HashKey>, Wrong> {
    Ok(Some(match key.split_once(':') {
        None if key == "client_ip" => HashKey::ClientIp,
        None if key == "path" => HashKey::Path,
        Some(("header", name)) if !name.is_empty() => HashKey::Header(header(text, name)?),
        Some(("cookie", name)) if !name.is_empty() => HashKey::Cookie(cookie_name(text, name)?),
        None | Some((_, "")) if key.trim_end_matches(':') == "header" => {
            return Err(Wrong::new(format!("\"{text}\" does not say which header"), "write \"hash:header:X-User\""));
        }
        None | Some((_, "")) if key.trim_end_matches(':') == "cookie" => {
            return Err(Wrong::new(format!("\"{text}\" does not say which cookie"), "write \"hash:cookie:session\""));
        }
        None | Some(_) => return Ok(None),
    }))
}

fn header(text: &str, name: &str) -> Result<HeaderName, Wrong> {
    match HeaderName::from_bytes(name.as_bytes()) {
        Ok(name) if name == http::header::COOKIE => {
            let hint = "write \"hash:cookie:NAME\", with the name of one cookie";
            Err(Wrong::new(format!("\"{text}\": the field Cookie holds all cookies of a client"), hint))
        }
        Ok(name) => Ok(name),
        Err(_) => {
            let message = format!("\"{text}\": \"{name}\" is not the name of a field");
            Err(Wrong::new(message, "write it like \"hash:header:X-User\""))
        }
    }
}

fn sticky_name(text: &str) -> Result<Arc<str>, Wrong> {
    let prefix = ["__host-", "__secure-"].into_iter().find(|prefix| text.to_ascii_lowercase().starts_with(prefix));
    if prefix.is_some() {
        let message = format!("browsers take a cookie called \"{text}\" only with attributes that sticky does not set");
        return Err(Wrong::new(message, "take another name, like \"causeway\""));
    }
    cookie_name(text, text)
}

/// A token (RFC 6265 §4.1.1) of a length that anybody would type.
fn cookie_name(text: &str, name: &str) -> Result<Arc<str>, Wrong> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !(1..=64).contains(&name.len()) || !name.bytes().all(fine) {
        let what = if text == name { String::new() } else { format!("\"{text}\": ") };
        let hint = "use 1 to 64 letters, digits, \"-\", \"_\" and \".\"";
        return Err(Wrong::new(format!("{what}\"{name}\" cannot be the name of a cookie"), hint));
    }
    Ok(name.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_word_is_read() {
        for (text, wanted) in [
            ("p2c", Balance::P2c),
            ("round_robin", Balance::RoundRobin),
            ("least_in_flight", Balance::LeastInFlight),
            ("ewma", Balance::Ewma),
            ("hash:client_ip", Balance::Hash(HashKey::ClientIp)),
            ("hash:path", Balance::Hash(HashKey::Path)),
            ("hash:header:X-User", Balance::Hash(HashKey::Header(HeaderName::from_static("x-user")))),
            ("hash:cookie:Sid", Balance::Hash(HashKey::Cookie("Sid".into()))),
        ] {
            assert_eq!(word(&wanted.to_string()), Ok(wanted.clone()), "what is shown can be written");
            assert_eq!(word(text), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_was_meant_is_said() {
        for (text, hint) in [
            ("P2C", "did you mean \"p2c\"?"),
            ("round-robin", "did you mean \"round_robin\"?"),
            ("roundrobin", "did you mean \"round_robin\"?"),
            ("least_conn", "did you mean \"least_in_flight\"?"),
            ("ip_hash", "did you mean \"hash:client_ip\"?"),
            ("hash:clientip", "did you mean \"hash:client_ip\"?"),
            ("hash:uri", "did you mean \"hash:path\"?"),
            ("hash", "say what is hashed"),
            ("hash:header", "write \"hash:header:X-User\""),
            ("hash:header:", "write \"hash:header:X-User\""),
            ("hash:cookie:", "write \"hash:cookie:session\""),
            ("hash:header:Cookie", "write \"hash:cookie:NAME\""),
            ("hash:header:a b", "write it like"),
            ("hash:cookie:a=b", "letters, digits"),
            ("hash:moon", "write \"hash:client_ip\""),
            ("", "write \"p2c\""),
            ("fastest", "write \"p2c\""),
        ] {
            let wrong = word(text).unwrap_err();
            assert!(wrong.hint.contains(hint), "{text}: {wrong:?}");
        }
        assert!(sticky_name("__Host-x").is_err() && sticky_name("a b").is_err() && sticky_name("session.1").is_ok());
    }

    #[test]
    fn what_others_call_it_leads_to_a_word_of_ours() {
        for (theirs, ours) in ELSEWHERE {
            assert!(word(ours).is_ok() && word(theirs).is_err() && *theirs == plain(theirs), "{theirs}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,16}|hash(:[a-z_]{0,9}){0,3}|[a-z_]{0,9}") {
            let _ = (word(&text), sticky_name(&text));
        }
    }
}

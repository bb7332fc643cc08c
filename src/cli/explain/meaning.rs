//! What a word means to `explain`: a cause by its name or by the name that others have for it, a status, the id of a
//! request. Pure: it asks nobody.

use http::StatusCode;

use crate::cause::{Cause, Lore};

/// See the module.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// No word: all causes.
    All,
    /// This cause.
    One(Cause),
    /// One of these.
    Several(Vec<Cause>),
    /// Perhaps a request that failed: the running proxy knows.
    Request,
    /// No cause has this name; the nearest one, if one is near.
    Nothing(Option<Cause>),
}

/// What these words mean. The narrowest sense wins: a cause's own name, a code of others, the digits of an id, a part
/// of a name, a sentence of others, an id of somebody's choice.
pub(super) fn meaning(words: &str) -> Meaning {
    let words = words.trim();
    if words.is_empty() {
        return Meaning::All;
    }
    let name = words.to_ascii_lowercase().replace(['-', ' '], "_");
    let hex = (8..=32).contains(&words.len()) && words.bytes().all(|b| b.is_ascii_hexdigit());
    let id = (8..=128).contains(&words.len())
        && words.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    let digits = words.bytes().any(|b| b.is_ascii_digit());
    let near = || nearest(&name);
    among(|cause| cause.token() == name)
        .or_else(|| among(|cause| codes(cause.lore()).any(|code| code == words)))
        .or_else(|| among(|cause| words.len() == 3 && words.parse() == Ok(cause.row().status)))
        .or_else(|| among(|cause| codes(cause.lore()).any(|code| code.eq_ignore_ascii_case(words))))
        .or_else(|| among(|cause| cause.row().rfc9209 == name))
        .or_else(|| state(words))
        .or_else(|| phrase(words))
        .or_else(|| numbered(words))
        .or_else(|| hex.then_some(Meaning::Request))
        .or_else(|| among(|cause| cause.token().starts_with(&name)))
        .or_else(|| among(|cause| cause.token().contains(&name)))
        .or_else(|| among(|cause| cause.lore().also.iter().any(|also| also.eq_ignore_ascii_case(words))))
        .or_else(|| (id && digits).then_some(Meaning::Request))
        .or_else(|| said(words))
        .or_else(|| near().map(|near| Meaning::Nothing(Some(near))))
        .or_else(|| id.then_some(Meaning::Request))
        .unwrap_or(Meaning::Nothing(None))
}

/// HAProxy's whole termination state: `SC--`, of which the last two letters are about cookies.
fn state(words: &str) -> Option<Meaning> {
    let cookies = words.get(2..).filter(|_| words.len() == 4)?;
    let sound = cookies.bytes().all(|b| b == b'-' || b.is_ascii_uppercase());
    let code = words.get(..2).filter(|_| sound)?;
    among(|cause| cause.lore().haproxy.contains(&code))
}

/// What stands on the pages of all proxies: `Bad Gateway`, `502 Bad Gateway`.
fn phrase(words: &str) -> Option<Meaning> {
    let words = words.to_ascii_lowercase().replace('_', " ");
    let (status, phrase) = match words.split_once(' ') {
        Some((number, phrase)) if number.len() == 3 && number.parse::<u16>().is_ok() => (number.parse().ok(), phrase),
        _ => (None, words.as_str()),
    };
    let of = |status: u16| StatusCode::from_u16(status).ok()?.canonical_reason();
    let says = |status: u16| of(status).is_some_and(|reason| reason.eq_ignore_ascii_case(phrase));
    let said = status.into_iter().chain(400..600).find(|status| says(*status))?;
    among(|cause| cause.row().status == said)
}

/// What stands in front of a status elsewhere: `error code: 502`, `Error 521: Web server is down`,
/// `HTTP/1.1 502 Bad Gateway`.
fn numbered(words: &str) -> Option<Meaning> {
    let words = words.to_ascii_lowercase();
    let behind = ["error code", "error", "status code", "status", "code", "http/1.1", "http/2", "http"];
    let rest = behind.iter().find_map(|word| words.strip_prefix(word))?.trim_start_matches([':', ' ', '=']);
    let number = rest.split(|c: char| !c.is_ascii_digit()).next().filter(|number| number.len() == 3)?;
    among(|cause| number.parse() == Ok(cause.row().status)).or_else(|| {
        among(|cause| codes(cause.lore()).chain(cause.lore().also.iter().copied()).any(|code| code == number))
    })
}

fn among(means: impl Fn(Cause) -> bool) -> Option<Meaning> {
    let found: Vec<_> = Cause::ALL.iter().copied().filter(|cause| means(*cause)).collect();
    match found[..] {
        [] => None,
        [one] => Some(Meaning::One(one)),
        _ => Some(Meaning::Several(found)),
    }
}

/// The short words of others. Their case matters: HAProxy's sC and SC are not the same.
fn codes(lore: &Lore) -> impl Iterator<Item = &'static str> {
    lore.haproxy.iter().chain(lore.envoy).chain(lore.cloudflare).copied()
}

/// What others write into their logs: a whole line of such a log, or a piece of the sentence. Of a line, the longest
/// sentence in it counts.
fn said(words: &str) -> Option<Meaning> {
    let said = pieces(words);
    let sentences = |cause: Cause| cause.lore().nginx.iter().chain(cause.lore().also).map(|sentence| pieces(sentence));
    let within = |cause: Cause| sentences(cause).filter(|sentence| sentence.len() > 1 && within(sentence, &said));
    let longest = Cause::ALL.iter().flat_map(|cause| within(*cause)).map(|sentence| sentence.len()).max();
    match longest {
        Some(longest) => among(|cause| within_of(cause, &said) == Some(longest)),
        None => among(|cause| sentences(cause).any(|sentence| within_piece(&said, &sentence))),
    }
}

/// The length of this cause's longest sentence in it.
fn within_of(cause: Cause, said: &[String]) -> Option<usize> {
    let sentences = cause.lore().nginx.iter().chain(cause.lore().also).map(|sentence| pieces(sentence));
    sentences.filter(|sentence| sentence.len() > 1 && within(sentence, said)).map(|sentence| sentence.len()).max()
}

fn within_piece(said: &[String], sentence: &[String]) -> bool {
    !said.is_empty() && within(said, sentence)
}

/// Do all words of one stand in the other, in this order?
fn within(one: &[String], other: &[String]) -> bool {
    let mut other = other.iter();
    one.iter().all(|word| other.any(|there| there == word))
}

/// Words, small, without signs and numbers: those differ from line to line.
fn pieces(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.filter(|word| !word.bytes().all(|b| b.is_ascii_digit())).map(str::to_ascii_lowercase).collect()
}

/// The nearest name, or the nearest beginning of one.
fn nearest(name: &str) -> Option<Cause> {
    let length = name.chars().count();
    let far = |cause: Cause| {
        let token = cause.token();
        let begun = token.get(..length).filter(|_| length > 5).map(|begun| strsim::damerau_levenshtein(name, begun));
        strsim::damerau_levenshtein(name, token).min(begun.map_or(usize::MAX, |far| far + 1))
    };
    let all = Cause::ALL.iter().map(|cause| (far(*cause), *cause));
    all.filter(|(far, _)| *far <= (length / 3).clamp(1, 3)).min_by_key(|(far, _)| *far).map(|(_, cause)| cause)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(words: &str) -> Vec<&'static str> {
        match meaning(words) {
            Meaning::One(cause) => vec![cause.token()],
            Meaning::Several(causes) => causes.into_iter().map(Cause::token).collect(),
            other => panic!("{words}: {other:?}"),
        }
    }

    #[test]
    fn digits_of_an_id_are_no_status() {
        assert_eq!(meaning("00000502"), Meaning::Request);
        assert!(matches!(meaning("502"), Meaning::Several(_)));
    }

    #[test]
    fn a_cause_by_its_own_name() {
        for words in
            ["read_timeout", "read-timeout", "READ_TIMEOUT", "Read Timeout", " read_timeout ", "read", "read_t"]
        {
            assert_eq!(names(words), ["read_timeout"], "{words}");
        }
        for cause in Cause::ALL {
            assert_eq!(meaning(cause.token()), Meaning::One(*cause));
        }
        assert!(names("timeout").len() > 4 && names("health").len() == 2 && names("dns").len() == 3);
        assert_eq!(meaning(""), Meaning::All);
    }

    #[test]
    fn a_cause_by_the_name_that_others_have_for_it() {
        for (words, wanted) in [
            ("sH", "read_timeout"),
            ("sC", "connect_timeout"),
            ("524", "read_timeout"),
            ("521", "connection_refused"),
            ("522", "connect_timeout"),
            ("UT", "read_timeout"),
            ("UH", "evicted"),
            ("413", "client_too_large"),
            ("404", "no_route"),
            ("499", "client_closed"),
            ("ECONNREFUSED", "connection_refused"),
            ("upstream prematurely closed connection", "closed_without_response"),
            ("upstream sent too big header", "response_head_too_large"),
            ("no live upstreams", "evicted"),
            ("no healthy upstream", "evicted"),
            ("socket hang up", "closed_without_response"),
            ("connection_read_timeout", "read_timeout"),
            ("dns_error", "dns_not_found"),
            ("client intended to send too large body: 12345 bytes", "client_too_large"),
            ("proxy_read_timeout", "read_timeout"),
            ("error code: 502", "connection_refused"),
            ("Error 521: Web server is down", "connection_refused"),
            ("HTTP/1.1 504 Gateway Time-out", "read_timeout"),
            ("414", "client_too_large"),
            ("431", "client_too_large"),
            ("421", "client_invalid"),
            ("405", "no_route"),
            ("L6RSP", "speaks_plaintext"),
            ("x509: certificate is valid for app.internal, not localhost", "tls_cert_name"),
            ("TLS error: 268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED", "tls_cert_untrusted"),
            ("upstream SSL certificate verify error: (18:self-signed certificate)", "tls_cert_untrusted"),
            ("http2: server sent GOAWAY and closed the connection", "h2_stream_refused"),
        ] {
            assert!(names(words).contains(&wanted), "{words}: {:?}", names(words));
        }
        assert_eq!(names("sH"), ["read_timeout"]);
        assert!(!names("SH").contains(&"read_timeout"), "the case of a letter is a difference");
        assert!(names("502").contains(&"connection_refused") && !names("502").contains(&"read_timeout"));
        assert!(names("504").contains(&"read_timeout") && names("503").contains(&"upstream_busy"));
    }

    #[test]
    fn a_whole_line_of_a_log() {
        let line = "2026/11/20 14:02:51 [error] 31#31: *7 upstream timed out (110: Connection timed out) while reading response \
                    header from upstream, client: 10.0.0.9, server: _, request: \"GET / HTTP/1.1\"";
        assert_eq!(names(line), ["read_timeout"]);
        let line = line.replace("reading response header from", "connecting to");
        assert_eq!(names(&line), ["connect_timeout"]);
        let line = "connect() failed (111: Connection refused) while connecting to upstream, client: 127.0.0.1";
        assert_eq!(names(line), ["connection_refused"]);
    }

    #[test]
    fn an_id_of_a_request() {
        for id in [
            "4f6c2a91",
            "4F6C2A91",
            "4f6c2a91b07de358c1a4e9d2637f8b05",
            "550e8400-e29b-41d4-a716-446655440000",
            "build-42.prod",
            "quetzalcoatl",
        ] {
            assert_eq!(meaning(id), Meaning::Request, "{id}");
        }
    }

    #[test]
    fn what_means_nothing() {
        assert_eq!(meaning("conection_refused"), Meaning::Nothing(Some(Cause::ConnectionRefused)));
        assert_eq!(meaning("conection"), Meaning::Nothing(Some(Cause::ConnectionRefused)));
        assert_eq!(meaning("red_timeout"), Meaning::Nothing(Some(Cause::ReadTimeout)));
        for words in ["xyz", "4f6c", "/etc/passwd", "a b c d", "888"] {
            assert_eq!(meaning(words), Meaning::Nothing(None), "{words}");
        }
    }

    proptest! {
        #[test]
        fn no_words_are_too_strange(words in "\\PC{0,60}") {
            meaning(&words);
        }

        #[test]
        fn ids_of_our_own_are_never_taken_for_anything_else(id in "[0-9a-f]{8,32}") {
            prop_assert_eq!(meaning(&id), Meaning::Request);
        }
    }
}

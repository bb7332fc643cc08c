//! What people know of each cause besides its row: usual reasons, what to do, the limits that matter, and the words
//! that other proxies have for it.
//!
//! What the row says (status, failover, type) is not said here again. Names in capitals are to be filled in by the
//! reader.

mod answering;
mod connecting;
mod own;
mod securing;

use super::Cause;

/// See the module.
#[derive(Debug)]
pub struct Lore {
    /// The cause's.
    pub token: &'static str,
    /// What it means in few words, where the sentence of the row is too long for a line of a list; else empty.
    pub brief: &'static str,
    /// Keys that have to do with it, and what each is; of a pool, unless they say something else.
    pub limits: &'static [(&'static str, &'static str)],
    /// Usual reasons, as they stand behind `Usual reasons:`.
    pub reasons: &'static [&'static str],
    /// What to do: a few words, and a command or a line of the config; the latter may be empty.
    pub steps: &'static [(&'static str, &'static str)],
    /// What the error log of nginx says, without numbers.
    pub nginx: &'static [&'static str],
    /// HAProxy's termination states.
    pub haproxy: &'static [&'static str],
    /// Envoy's response flags.
    pub envoy: &'static [&'static str],
    /// Cloudflare's statuses.
    pub cloudflare: &'static [&'static str],
    /// What else it is called: error codes of systems, sentences of others.
    pub also: &'static [&'static str],
}

/// Where nothing is known.
const NOTHING: Lore = Lore {
    token: "",
    brief: "",
    limits: &[],
    reasons: &[],
    steps: &[],
    nginx: &[],
    haproxy: &[],
    envoy: &[],
    cloudflare: &[],
    also: &[],
};

/// The operator's word.
const SWITCH: &str = "causeway enable POOL/UPSTREAM";

impl Cause {
    /// What is known of it besides.
    #[must_use]
    pub fn lore(self) -> &'static Lore {
        let token = self.token();
        let all = connecting::LORE.iter().chain(securing::LORE).chain(answering::LORE).chain(own::LORE);
        all.into_iter().find(|lore| lore.token == token).unwrap_or(&NOTHING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_its_lore_once() {
        let all: Vec<_> =
            connecting::LORE.iter().chain(securing::LORE).chain(answering::LORE).chain(own::LORE).collect();
        for cause in Cause::ALL {
            let own: Vec<_> = all.iter().filter(|lore| lore.token == cause.token()).collect();
            let [lore] = own[..] else { panic!("{cause} has {} entries", own.len()) };
            assert!(!lore.reasons.is_empty() && !lore.steps.is_empty(), "{cause}");
            assert!(
                cause.row().means.len() <= 54 || !lore.brief.is_empty() || cause.row().means.len() - 13 <= 54,
                "{cause}"
            );
        }
    }

    #[test]
    fn its_texts_are_plain() {
        for lore in connecting::LORE.iter().chain(securing::LORE).chain(answering::LORE).chain(own::LORE) {
            let steps = lore.steps.iter().flat_map(|(what, how)| [*what, *how]);
            let limits = lore.limits.iter().flat_map(|(key, what)| [*key, *what]);
            for text in lore.reasons.iter().copied().chain(steps).chain(limits).chain([lore.brief]) {
                assert!(
                    text.bytes().all(|b| matches!(b, b' '..=b'~')) && !text.contains('!'),
                    "{}: {text}",
                    lore.token
                );
                assert!(!text.ends_with(['.', ' ']) && !text.contains("  "), "{}: {text}", lore.token);
            }
            for (what, _) in lore.steps {
                assert!(
                    what.len() <= 34 && what.starts_with(|c: char| c.is_ascii_uppercase()),
                    "{}: {what}",
                    lore.token
                );
            }
        }
    }
}

//! `basic_auth`: a name and a password, or 401.
//!
//! A password that was right is known again for a minute after its last use, by a digest that only this process can
//! make. Every other one is hashed ([`hashing`]), for an unknown name too: the time that it takes tells nobody which
//! names there are. The field itself goes no further than here: the rules of the route take it out.

mod credentials;
mod hashing;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::{hmac, rand};
use http::{HeaderName, HeaderValue, header};

use crate::cause::{Cause, Failure};
use crate::config::model::Users;

use super::Visit;
use super::gate::{Fields, Gate, Word};
use super::rate::key;

use credentials::Credentials;
pub(super) use hashing::Hashing;

/// How long a password that was right needs no hashing, from its last use on, half of it at the least.
const KNOWN_FOR: Duration = Duration::from_secs(60);
/// How many are known.
const KNOWN: usize = 1024;

type Digest = [u8; 32];

/// Of one route.
#[derive(Debug)]
pub(super) struct Doorkeeper {
    users: Arc<Users>,
    challenge: HeaderValue,
    hashing: Arc<Hashing>,
    /// Made at the start, and kept nowhere else.
    key: hmac::Key,
    keyed: RandomState,
    /// Until when.
    known: Mutex<HashMap<Digest, Instant>>,
}

impl Doorkeeper {
    /// `name`: this deployment, as browsers show it.
    pub(super) fn new(users: Arc<Users>, name: &str, hashing: &Arc<Hashing>) -> Self {
        let challenge = HeaderValue::try_from(format!("Basic realm=\"{name}\", charset=\"UTF-8\""));
        // Without randomness there is no TLS either; then a key that no other process has must do.
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new());
        let key = key.unwrap_or_else(|_| hmac::Key::new(hmac::HMAC_SHA256, &fastrand::u128(..).to_ne_bytes()));
        Self {
            users,
            challenge: challenge.unwrap_or(HeaderValue::from_static("Basic realm=\"causeway\"")),
            hashing: Arc::clone(hashing),
            key,
            keyed: RandomState::new(),
            known: Mutex::default(),
        }
    }

    /// Are these the users that it knows, with the same passwords?
    pub(super) fn lets_in(&self, users: &Users) -> bool {
        self.users.all == users.all
    }

    fn digest(&self, said: &Credentials) -> Digest {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&(said.name.len() as u64).to_ne_bytes());
        context.update(&said.name);
        context.update(&said.password);
        context.sign().as_ref().try_into().unwrap_or_default()
    }

    fn knows(&self, digest: &Digest, now: Instant) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever is here stays here, however many others try to come in meanwhile.
        known.get_mut(digest).filter(|until| now < **until).is_some_and(|until| {
            if *until - now < KNOWN_FOR / 2 {
                *until = now + KNOWN_FOR;
            }
            true
        })
    }

    fn learn(&self, digest: Digest, now: Instant) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN {
            known.retain(|_, until| now < *until);
        }
        if known.len() >= KNOWN
            && let Some(oldest) = known.iter().min_by_key(|(_, until)| **until).map(|(digest, _)| *digest)
        {
            known.remove(&oldest);
        }
        known.insert(digest, now + KNOWN_FOR);
    }

    /// The hash to try this password on, and whether it is the user's own. A name that is not there has one of the
    /// others', always the same, so that its password takes as long.
    fn hash_for(&self, name: &[u8]) -> (String, bool) {
        let mut own = None;
        for (user, hash) in &self.users.all {
            if user.as_bytes() == name {
                own = Some(hash);
            }
        }
        let other = self.keyed.hash_one(name) as usize % self.users.all.len().max(1);
        let other = self.users.all.get(other).map(|(_, hash)| hash);
        (own.or(other).cloned().unwrap_or_default(), own.is_some())
    }

    fn refuse(&self, why: &'static str) -> Word {
        let fields: Fields = vec![(CHALLENGE, self.challenge.clone())];
        Word::Stop(Box::new(Failure::new(Cause::Unauthorized).seen(why)), fields)
    }

    async fn check(self: Arc<Self>, client: u64, said: Credentials, digest: Digest) -> Word {
        let (hash, own) = self.hash_for(&said.name);
        // Others with the same words may have been first.
        let known = || self.knows(&digest, Instant::now());
        match self.hashing.is(client, said.password, hash, known).await {
            Ok(true) if own => {
                self.learn(digest, Instant::now());
                Word::Pass(Vec::new())
            }
            Ok(_) => self.refuse("what came is not right"),
            Err(failure) => Word::Stop(failure, Vec::new()),
        }
    }
}

const CHALLENGE: HeaderName = header::WWW_AUTHENTICATE;

impl Gate for Arc<Doorkeeper> {
    fn ask(&self, visit: &Visit<'_>) -> Word {
        let said = match credentials::of(&visit.asked.parts.headers) {
            Ok(said) => said,
            Err(why) => return self.refuse(why),
        };
        let digest = self.digest(&said);
        if self.knows(&digest, visit.open.exchange.started) {
            return Word::Pass(Vec::new());
        }
        Word::Wait(Box::pin(Self::clone(self).check(key(visit.asked.ours.client), said, digest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeper(names: &[&str]) -> Doorkeeper {
        let hash = |name: &str| bcrypt::hash(name, 4).unwrap();
        let all = names.iter().map(|name| ((*name).to_owned(), hash(name))).collect();
        Doorkeeper::new(Arc::new(Users { file: "f".into(), all }), "shop", &Hashing::new())
    }

    fn said(name: &str, password: &str) -> Credentials {
        Credentials { name: name.into(), password: password.into() }
    }

    #[tokio::test]
    async fn only_the_right_password_of_the_right_name() {
        let keeper = Arc::new(keeper(&["ann", "bob"]));
        for (name, password, passes) in [
            ("ann", "ann", true),
            ("bob", "bob", true),
            ("ann", "bob", false),
            ("ann", "", false),
            ("eve", "ann", false),
            ("eve", "bob", false),
            ("", "ann", false),
        ] {
            let said = said(name, password);
            let digest = keeper.digest(&said);
            let word = Arc::clone(&keeper).check(0, said, digest).await;
            assert_eq!(matches!(word, Word::Pass(_)), passes, "{name} {password}");
            assert_eq!(keeper.knows(&digest, Instant::now()), passes);
            assert!(!keeper.knows(&digest, Instant::now() + KNOWN_FOR));
            let used = keeper.knows(&digest, Instant::now() + KNOWN_FOR / 4 * 3);
            assert_eq!(
                used && keeper.knows(&digest, Instant::now() + KNOWN_FOR / 2 * 3),
                passes,
                "used, it stays known"
            );
        }
    }

    #[test]
    fn few_are_known_and_names_cannot_run_into_passwords() {
        let keeper = keeper(&["ann"]);
        assert_ne!(keeper.digest(&said("ab", "c")), keeper.digest(&said("a", "bc")));
        let now = Instant::now();
        for n in 0..2000_u32 {
            keeper.learn(keeper.digest(&said("ann", &n.to_string())), now + Duration::from_millis(n.into()));
        }
        assert_eq!(keeper.known.lock().unwrap().len(), KNOWN);
        assert!(keeper.knows(&keeper.digest(&said("ann", "1999")), now));
    }

    #[test]
    fn a_name_that_is_not_there_is_tried_on_one_that_is() {
        let keeper = keeper(&["ann", "bob"]);
        let (hash, own) = keeper.hash_for(b"eve");
        assert!(!own && keeper.users.all.iter().any(|(_, other)| *other == hash));
        assert_eq!(keeper.hash_for(b"eve"), (hash, false));
        assert!(keeper.hash_for(b"bob").1);
    }
}

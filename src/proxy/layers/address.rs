//! `allow` and `deny`: `deny` first, then `allow` where it says anything. The client's address is the one behind
//! `trusted_proxies`.

use std::net::IpAddr;

use crate::cause::{Cause, Failure};
use crate::config::model::Networks;

use super::Visit;
use super::gate::{Gate, Word};

#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses<'a> {
    pub(super) allow: &'a Networks,
    pub(super) deny: &'a Networks,
}

impl Addresses<'_> {
    /// What keeps this client out, as a key; `None`: nothing does.
    fn against(&self, client: IpAddr) -> Option<&'static str> {
        if self.deny.contains(client) {
            return Some("in deny");
        }
        (!self.allow.0.is_empty() && !self.allow.contains(client)).then_some("not in allow")
    }
}

impl Gate for Addresses<'_> {
    fn ask(&self, visit: &Visit<'_>) -> Word {
        let client = visit.asked.ours.client;
        match self.against(client) {
            None => Word::Pass(Vec::new()),
            Some(why) => {
                let seen = format!("{client} is {why} of route.{}", visit.route.name);
                Word::Stop(Box::new(Failure::new(Cause::Denied).seen(seen)), Vec::new())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deny_goes_first_and_an_empty_allow_is_everybody() {
        let networks = |text: &str| Networks(text.split_whitespace().map(|net| net.parse().unwrap()).collect());
        for (allow, deny, client, wanted) in [
            ("", "", "10.0.0.1", None),
            ("10.0.0.0/8", "", "10.0.0.1", None),
            ("10.0.0.0/8", "", "11.0.0.1", Some("not in allow")),
            ("10.0.0.0/8", "10.0.0.1/32", "10.0.0.1", Some("in deny")),
            ("", "10.0.0.0/8", "11.0.0.1", None),
            ("10.0.0.0/8", "", "::ffff:10.0.0.1", None),
            ("10.0.0.0/8", "", "::1", Some("not in allow")),
        ] {
            let (allow, deny) = (networks(allow), networks(deny));
            let addresses = Addresses { allow: &allow, deny: &deny };
            assert_eq!(addresses.against(client.parse().unwrap()), wanted, "{client}");
        }
    }
}

//! A new file for the pool, in the midst of everything.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use causeway::config::address::{Dial, Scheme};
use causeway::config::model::{self, Check};
use causeway::config::{Address, Host};

use super::Seen;
use super::history::{History, passive};
use crate::pools::quick;

impl History {
    /// Some entries go, some come, and those that stay stand elsewhere and say something else.
    pub fn reload(&mut self, seen: &mut Seen) {
        let old = Arc::clone(&self.pool.config);
        let mut config = model::Pool::clone(&old);
        let rng = &mut self.rng;
        let named = |entry: &model::Entry| matches!(entry.address.host, Host::Name(_));
        let gone = rng.f64() * 0.3;
        config.upstreams.retain(|entry| named(entry) || rng.f64() >= gone);
        for last in 0..rng.u8(..3) {
            let address = Address::plain(Host::Ip(IpAddr::from([10, 0, 2, last])), 80);
            if config.upstreams.iter().all(|entry| entry.address.host != address.host) {
                config.upstreams.push(model::Entry::new(address));
            }
        }
        if rng.bool() {
            rng.shuffle(&mut config.upstreams);
        }
        if rng.u8(..3) == 0 {
            // Names change hands.
            let mut names: Vec<_> = (0..config.upstreams.len()).map(|n| format!("n{n}")).collect();
            rng.shuffle(&mut names);
            for (entry, name) in config.upstreams.iter_mut().zip(names) {
                entry.name = (rng.u8(..4) > 0).then(|| name.into());
            }
        }
        for entry in &mut config.upstreams {
            match rng.u8(..20) {
                0 => entry.backup = !entry.backup,
                1 => entry.in_flight = NonZeroUsize::new(rng.usize(0..4)),
                2 => entry.weight = rng.u8(1..100),
                3 => entry.address.scheme = [Scheme::Http, Scheme::H2c][rng.usize(..2)],
                4 => entry.proxy_protocol = !entry.proxy_protocol,
                _ => {}
            }
        }
        match rng.u8(..6) {
            0 => config.passive = passive(rng),
            1 => config.last_resort = !config.last_resort,
            2 => config.health = if config.health.is_some() { None } else { Some(quick(Check::Tcp)) },
            3 => config.limits.in_flight = NonZeroUsize::new(rng.usize(0..4)),
            _ => {}
        }
        self.commit(&old, config, seen);
    }

    fn commit(&mut self, old: &model::Pool, config: model::Pool, seen: &mut Seen) {
        let before = self.pool.members();
        let config = Arc::new(config);
        self.pool = Arc::new(self.pool.renewed(Arc::clone(&config), self.now));
        self.reloaded = true;
        seen.reloads += 1;
        // Here each host is one entry.
        let was = |entry: &model::Entry| old.upstreams.iter().find(|was| was.address.host == entry.address.host);
        let now = |entry: &model::Entry| config.upstreams.iter().find(|now| now.address.host == entry.address.host);
        let new = |id: &str| config.upstreams.iter().any(|entry| *entry.id() == *id && was(entry).is_none());
        let renamed: HashMap<String, Option<String>> =
            old.upstreams.iter().map(|was| (was.id().to_string(), now(was).map(|now| now.id().to_string()))).collect();
        self.words = std::mem::take(&mut self.words)
            .into_iter()
            .filter_map(|(id, word)| {
                let (entry, rest) = id.split_at(id.find('@').unwrap_or(id.len()));
                let entry = match renamed.get(entry) {
                    Some(Some(now)) => now,
                    _ if new(entry) => entry,
                    _ => return None,
                };
                Some((format!("{entry}{rest}"), word))
            })
            .collect();
        let members = self.pool.members();
        for (index, member) in members.iter().enumerate() {
            assert_eq!(member.ordinal, index + 1);
            let entry = &config.upstreams[member.entry];
            let stayed = before.iter().find(|was| was.meter.key() == member.meter.key());
            assert_eq!(stayed.is_some(), was(entry).is_some(), "{}", member.id);
            let Some(stayed) = stayed else { continue };
            assert!(Arc::ptr_eq(&stayed.health, &member.health) && stayed.endpoint.dial == member.endpoint.dial);
            seen.renamed += usize::from(stayed.id != member.id);
            seen.spoken_otherwise += usize::from(stayed.endpoint.key != member.endpoint.key);
            if config.health.is_none() && !matches!(member.endpoint.dial, Dial::Unresolved(_)) {
                let at = self.now;
                self.model(member).unchecked(at);
            }
        }
        seen.removed += before.iter().filter(|was| members.iter().all(|m| m.meter.key() != was.meter.key())).count();
        self.meet(seen);
    }
}

//! Where the whole trail of a failed request can be read afterwards: the last words of every page.

use crate::config::Config;
use crate::config::address::{ADMIN, ListenAddress};
use crate::config::model::AccessFormat;
use crate::observe::Exchange;

use super::words::short_id;

/// What a deployment keeps of its failed requests.
#[derive(Clone, Debug)]
pub(super) struct Keeps {
    /// The admin address keeps them, for `explain`; with the flag that commands need to find it.
    admin: Option<String>,
    /// The access log tells each attempt.
    log: bool,
}

/// Where one trail can be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trail {
    /// This command prints it.
    Command {
        /// As it may be told to everybody.
        plain: String,
        /// With the address to ask, where that is not the usual one.
        whole: String,
    },
    /// It stands in the access log.
    Log,
    /// Nowhere.
    Lost,
}

impl Keeps {
    /// An admin address where commands look for it, and a log.
    pub(super) const fn usual() -> Self {
        Self { admin: Some(String::new()), log: true }
    }

    pub(super) fn of(config: &Config) -> Self {
        let flag = |address: &ListenAddress| match address.reached_at() {
            at if at.port() == 0 => None,
            ADMIN => Some(String::new()),
            // A shell could take the brackets for a pattern.
            at if at.is_ipv6() => Some(format!(" --admin '{at}'")),
            at => Some(format!(" --admin {at}")),
        };
        Self {
            admin: config.admin.as_ref().and_then(flag),
            log: matches!(config.log.access, AccessFormat::Auto | AccessFormat::Json),
        }
    }

    /// Of this request.
    pub(super) fn trail(&self, exchange: &Exchange) -> Trail {
        match &self.admin {
            Some(flag) => {
                Trail::Command { plain: command("", &exchange.request_id), whole: command(flag, &exchange.request_id) }
            }
            _ if self.log && exchange.logged => Trail::Log,
            _ => Trail::Lost,
        }
    }
}

/// Of our own ids 8 characters are enough. One that a trusted peer sent may share those with others, look like a flag,
/// or be the name of a cause: that one is said to be an id.
fn command(flag: &str, id: &str) -> String {
    let ours = id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    match id {
        id if ours => format!("causeway explain{flag} {}", short_id(id)),
        id if id.starts_with('-') => format!("causeway explain{flag} --id={id}"),
        id => format!("causeway explain{flag} --id {id}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_from_elsewhere_stay_whole() {
        assert_eq!(command("", "4f6c2a91b07de358c1a4e9d2637f8b05"), "causeway explain 4f6c2a91");
        assert_eq!(command("", "req-2026-11-20.17"), "causeway explain --id req-2026-11-20.17");
        assert_eq!(command("", "read_timeout"), "causeway explain --id read_timeout");
        assert_eq!(command(" --admin a:1", "--version-1"), "causeway explain --admin a:1 --id=--version-1");
    }

    #[test]
    fn what_is_switched_off_is_not_named() {
        let keeps = |more: &str| {
            let text = format!("{more}\n[pool.app]\nupstreams = [\"3000\"]\n");
            Keeps::of(&Config::from_toml(&text).expect("a config"))
        };
        let exchange = Exchange::new(
            "4f6c2a91b07de358c1a4e9d2637f8b05".into(),
            ([127, 0, 0, 1], 1).into(),
            "main".into(),
            (std::time::Instant::now(), std::time::SystemTime::UNIX_EPOCH),
        );
        let told = |more: &str| keeps(more).trail(&exchange);
        let explain = |flag: &str| {
            let (plain, whole) = ("causeway explain 4f6c2a91", format!("causeway explain{flag} 4f6c2a91"));
            Trail::Command { plain: plain.into(), whole }
        };
        assert_eq!(told(""), explain(""));
        assert_eq!(told("admin.address = \"127.0.0.1:9902\""), explain(" --admin 127.0.0.1:9902"));
        assert_eq!(told("admin.address = \":9901\""), explain(""));
        assert_eq!(told("admin.address = \"0.0.0.0:9902\""), explain(" --admin 127.0.0.1:9902"));
        assert_eq!(told("admin.address = \"[::]:9902\""), explain(" --admin '[::1]:9902'"));
        assert_eq!(told("admin.address = \"off\""), Trail::Log);
        assert_eq!(told("admin.address = \"off\"\nlog.access = \"combined\""), Trail::Lost);
    }
}

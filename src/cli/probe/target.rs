//! What is asked: the upstreams of the config, or what the command line names, with the settings that apply.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use http::uri::PathAndQuery;

use crate::cli::run::variable;
use crate::config::address::Scheme;
use crate::config::compile::{CERT_FILE, usual_tls};
use crate::config::model::{Action, Entry, HostPattern, Pool};
use crate::config::problem::{Wrong, ascii};
use crate::config::{Address, Config, Endpoint, Host, targets};

/// The pool of an address that is in none.
const NO_POOL: &str = "app";

/// One entry to look at: an upstream, or several where a name has several addresses.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The settings that apply.
    pub(super) pool: Arc<Pool>,
    /// They are of the config.
    pub(super) configured: bool,
    /// As the running proxy calls it (CONTRACT §9); printable ASCII.
    pub(super) id: String,
    /// As the user knows it; printable ASCII.
    pub(super) name: String,
    pub(super) address: Address,
    /// This one of its addresses.
    pub(super) only: Option<IpAddr>,
    /// The path of the URL, in place of what the check asks for.
    pub(super) path: Option<PathAndQuery>,
    /// A Host that its clients use.
    pub(super) host: Option<String>,
}

impl Target {
    /// The endpoint, spoken to as the settings say.
    pub(super) fn spoken_to(&self, endpoint: Endpoint) -> Endpoint {
        let own = self.pool.upstreams.iter().find(|entry| entry.address == self.address);
        let proxy_protocol = own.is_some_and(|entry| entry.proxy_protocol);
        let tls = self.pool.tls.clone();
        Endpoint { proxy_protocol, ..endpoint.speaking(self.address.scheme).with_tls(tls) }
    }
}

/// Everything that these words mean; without any, the whole config.
///
/// # Errors
/// What is wrong with one of them.
pub(super) fn targets(words: &[String], config: Option<&Config>) -> Result<Vec<Target>, Wrong> {
    if words.is_empty() {
        return Ok(config
            .map(|config| entries(config).map(|(pool, entry)| pool.target(entry)).collect())
            .unwrap_or_default());
    }
    let mut found = Vec::new();
    for word in words {
        found.append(&mut named(word, config)?);
    }
    Ok(found)
}

/// The config with what its lists say now in place of `upstreams_file`; one that cannot be read stays as it is.
pub(super) fn with_lists(mut config: Config) -> Config {
    for pool in &mut config.pools {
        let listed = pool.upstreams_file().and_then(|file| targets::read(file).ok());
        if let Some(listed) = listed {
            let own = pool.upstreams.iter().filter(|entry| !matches!(entry.address.host, Host::Listed(_))).cloned();
            *pool = Arc::new(Pool { upstreams: own.chain(listed).collect(), ..Pool::clone(pool) });
        }
    }
    config
}

/// A pool of the config, with the Host that its clients use.
struct Of<'a> {
    pool: &'a Arc<Pool>,
    host: Option<&'a String>,
}

impl Of<'_> {
    fn target(&self, entry: &Entry) -> Target {
        let name = match &entry.name {
            Some(name) => format!("{name} ({})", entry.address),
            None => entry.address.to_string(),
        };
        Target {
            pool: Arc::clone(self.pool),
            configured: true,
            id: ascii(&entry.id()),
            name: ascii(&name),
            address: entry.address.clone(),
            only: None,
            path: None,
            host: self.host.cloned(),
        }
    }
}

fn entries(config: &Config) -> impl Iterator<Item = (Of<'_>, &Entry)> {
    config.pools.iter().enumerate().flat_map(move |(index, pool)| {
        let host = config.routes.iter().find_map(|route| match &route.action {
            Action::Forward(forward) if forward.pool == index => route.hosts.iter().find_map(|host| match host {
                HostPattern::Exact(host) => Some(host),
                HostPattern::Suffix(_) => None,
            }),
            _ => None,
        });
        pool.upstreams.iter().map(move |entry| (Of { pool, host }, entry))
    })
}

/// What one word means: a name of the config before an address, and an address of the config with its settings.
fn named(word: &str, config: Option<&Config>) -> Result<Vec<Target>, Wrong> {
    let known = |is: &dyn Fn(&Pool, &Entry) -> bool| -> Vec<Target> {
        let all = config.into_iter().flat_map(entries);
        all.filter(|(of, entry)| is(of.pool, entry)).map(|(of, entry)| of.target(entry)).collect()
    };
    let mut found = known(&|pool, entry| *entry.id() == *word || *pool.name == *word);
    if found.is_empty()
        && let Some((id, ip)) = word.rsplit_once('@')
        && let Ok(ip) = ip.parse::<IpAddr>().or_else(|_| ip.parse::<SocketAddr>().map(|at| at.ip()))
    {
        found = known(&|_, entry| *entry.id() == *id);
        for target in &mut found {
            (target.only, target.id, target.name) = (Some(ip), ascii(word), ascii(word));
        }
    }
    if !found.is_empty() {
        return Ok(found);
    }
    let (address, path) = split(word)?;
    let mut found = known(&|_, entry| entry.address == address);
    if found.is_empty() {
        let tls = match address.scheme {
            Scheme::Https => Some(usual_tls(variable(CERT_FILE).as_ref().map(Path::new))?),
            Scheme::Http | Scheme::H2c => None,
        };
        found.push(Target {
            pool: Arc::new(Pool { tls, ..Pool::new(NO_POOL, vec![Entry::new(address.clone())]) }),
            configured: false,
            id: address.to_string(),
            name: address.to_string(),
            address,
            only: None,
            path: None,
            host: None,
        });
    }
    for target in &mut found {
        target.path.clone_from(&path);
        if path.is_some() {
            target.name = ascii(word).chars().take(200).collect();
        }
    }
    Ok(found)
}

/// An address, and the path behind it.
fn split(word: &str) -> Result<(Address, Option<PathAndQuery>), Wrong> {
    let start = word.find("://").map_or(0, |at| at + 3);
    if word.starts_with("unix:") {
        return Ok((Address::parse(word)?, None));
    }
    let end = word[start..].find(['/', '?', '#']).map_or(word.len(), |at| start + at);
    let address = Address::parse(&word[..end])?;
    let target = word[end..].split('#').next().unwrap_or_default();
    if target.is_empty() {
        return Ok((address, None));
    }
    let target = if target.starts_with('?') { format!("/{target}") } else { target.to_owned() };
    match target.parse() {
        Ok(path) if target.bytes().all(|byte| byte.is_ascii_graphic()) => Ok((address, Some(path))),
        _ => Err(Wrong::new(format!("\"{word}\": this is not a path"), "write it like http://app:3000/orders?page=2")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::from_toml(
            "[route.shop]\nhosts = [\"shop.example\"]\npool = \"app\"\n[route.rest]\npool = \"api\"\n\
             [pool.app]\nupstreams = [\"3000\", { address = \"127.0.0.1:3001\", name = \"b\" }]\n\
             [pool.api]\nupstreams = [\"api:4000\", \"127.0.0.1:3001\"]\n",
        )
        .unwrap()
    }

    fn found(words: &[&str]) -> Vec<(String, String, Option<String>)> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let targets = targets(&words, Some(&config())).unwrap();
        let pool = |target: &Target| if target.configured { target.pool.name.to_string() } else { "-".into() };
        targets.iter().map(|t| (pool(t), t.name.clone(), t.path.as_ref().map(ToString::to_string))).collect()
    }

    #[test]
    fn no_word_is_the_whole_config_in_its_order() {
        let all = found(&[]);
        let names: Vec<_> = all.iter().map(|(pool, name, _)| format!("{pool}/{name}")).collect();
        assert_eq!(names, ["app/localhost:3000", "app/b (127.0.0.1:3001)", "api/api:4000", "api/127.0.0.1:3001"]);
    }

    #[test]
    fn a_word_finds_its_settings() {
        let of = |pool: &str, name: &str| (pool.to_owned(), name.to_owned(), None);
        assert_eq!(found(&["3000"]), [of("app", "localhost:3000")]);
        assert_eq!(found(&["b"]), [of("app", "b (127.0.0.1:3001)")]);
        assert_eq!(found(&["api"]), [of("api", "api:4000"), of("api", "127.0.0.1:3001")]);
        assert_eq!(found(&["api:4000@10.0.0.1"]), [of("api", "api:4000@10.0.0.1")]);
        // It is in two pools, once under a name.
        assert_eq!(found(&["http://127.0.0.1:3001"]).len(), 2);
        assert_eq!(found(&["127.0.0.1:9"]), [of("-", "127.0.0.1:9")]);
    }

    #[test]
    fn a_path_is_taken_along() {
        let path = |word| found(&[word])[0].2.clone();
        assert_eq!(path("http://127.0.0.1:9/orders?page=2#top").as_deref(), Some("/orders?page=2"));
        assert_eq!(path("127.0.0.1:9/healthz").as_deref(), Some("/healthz"));
        assert_eq!(path("http://127.0.0.1:9?x").as_deref(), Some("/?x"));
        assert_eq!(path("http://127.0.0.1:9"), None);
    }

    #[test]
    fn what_is_no_target_says_what_to_write() {
        for (word, wanted) in [
            ("app", "has no port: write \"app:3000\""),
            ("ftp://app", "no scheme ftp://"),
            ("http://app:1/\u{e9}", "not a path"),
            ("http://user@app:1/", "holds no user"),
        ] {
            let wrong = targets(&[word.to_owned()], None).unwrap_err().to_string();
            assert!(wrong.contains(wanted) && wrong.is_ascii(), "{word}: {wrong}");
        }
    }
}

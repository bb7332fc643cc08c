//! Variables of the environment that look like causeway's own, and that nothing reads: nothing is accepted and ignored.
//!
//! Names and values are arguments; no value is ever shown.

use std::sync::Arc;

use super::context::nearest;
use super::problem::{Origin, Place, Problem, Wrong};

const PREFIX: &str = "CAUSEWAY_";

/// What is read (CONTRACT §1), and what people call it elsewhere.
const KNOWN: [(&str, &[&str]); 9] = [
    ("CAUSEWAY_CONFIG", &["FILE", "PATH", "CONF"]),
    ("CAUSEWAY_LISTEN", &["PORT", "HOST", "BIND", "ADDRESS", "ADDR"]),
    ("CAUSEWAY_UPSTREAMS", &["BACKEND", "BACKENDS", "SERVER", "SERVERS", "TARGET", "TARGETS", "APP", "ORIGIN"]),
    ("CAUSEWAY_HEALTH_PATH", &["HEALTH", "HEALTHCHECK", "HEALTHCHECK_PATH", "HEALTH_CHECK"]),
    ("CAUSEWAY_ADMIN", &[]),
    ("CAUSEWAY_LOG", &["LEVEL"]),
    ("CAUSEWAY_DETAIL", &["ERRORS"]),
    ("CAUSEWAY_SET", &[]),
    ("CAUSEWAY_TOKEN_FILE", &["TOKEN"]),
];

/// What a command of `[notify]` finds in its environment; the first is always there.
pub const NOTIFIED: [&str; 5] =
    ["CAUSEWAY_EVENT", "CAUSEWAY_POOL", "CAUSEWAY_UPSTREAM", "CAUSEWAY_CAUSE", "CAUSEWAY_MESSAGE"];

/// A warning for each variable that starts with `CAUSEWAY_` and is not read. `asked`: was it asked for all the same, as
/// in `${CAUSEWAY_REGION}`? An empty one counts as unset, and what Kubernetes and Docker put there for a service that
/// is called causeway is theirs.
#[must_use]
pub fn strangers(env: impl IntoIterator<Item = (String, String)>, asked: &dyn Fn(&str) -> bool) -> Vec<Problem> {
    let env: Vec<_> = env.into_iter().collect();
    // A command of `[notify]` that runs causeway hands on what it was told.
    let told = env.iter().any(|(name, _)| name == NOTIFIED[0]);
    let mut strange: Vec<String> = env
        .into_iter()
        .filter(|(name, _)| !told || !NOTIFIED.contains(&name.as_str()))
        .filter(|(name, value)| name.starts_with(PREFIX) && !value.trim().is_empty() && !of_a_service(name, value))
        .map(|(name, _)| name)
        .filter(|name| KNOWN.iter().all(|(known, _)| known != name) && !asked(name))
        .collect();
    strange.sort_unstable();
    strange.into_iter().map(|name| problem(&name)).collect()
}

fn problem(name: &str) -> Problem {
    let hint = match meant(name) {
        Some(meant) => format!("did you mean {meant}?"),
        None => "CAUSEWAY_SET sets any key of the file, like CAUSEWAY_SET='log.level=debug'".into(),
    };
    let origin = Arc::new(Origin::new(name.into(), None, None));
    Problem::warning(&Place::whole(&origin), Wrong::new("causeway reads no variable of this name", hint))
}

/// The variable that was probably meant.
fn meant(name: &str) -> Option<&'static str> {
    let word = name.strip_prefix(PREFIX)?;
    let own = |known: &'static str| known.strip_prefix(PREFIX).unwrap_or(known);
    let words = KNOWN.iter().map(|(known, _)| own(known));
    let near = nearest(word, words).and_then(|near| KNOWN.iter().find(|(known, _)| own(known) == near));
    let other = || KNOWN.iter().find(|(_, words)| words.contains(&word));
    // CAUSEWAY_LOG_LEVEL, CAUSEWAY_LISTEN_ADDR, CAUSEWAY_UPSTREAM_1.
    let longer = || {
        KNOWN.iter().find(|(known, _)| {
            let own = own(known).trim_end_matches('S');
            word.strip_prefix(own).is_some_and(|rest| rest.starts_with(['_', 'S']))
        })
    };
    near.or_else(other).or_else(longer).map(|(known, _)| *known)
}

/// `CAUSEWAY_SERVICE_HOST`, `CAUSEWAY_PORT=tcp://10.0.0.1:8080`, `CAUSEWAY_ADMIN_PORT_9901_TCP_ADDR`.
fn of_a_service(name: &str, value: &str) -> bool {
    let transports = ["tcp", "udp", "sctp"];
    let link = transports.iter().any(|transport| value.starts_with(&format!("{transport}://")));
    let numbered = name.split_once("_PORT_").is_some_and(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()));
    let service = name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT");
    // Docker's links: CAUSEWAY_NAME=/app/causeway, CAUSEWAY_ENV_PATH.
    let docker = (name == "CAUSEWAY_NAME" && value.starts_with('/')) || name.starts_with("CAUSEWAY_ENV_");
    (link && name.contains("_PORT")) || numbered || service || docker
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(env: &[(&str, &str)]) -> Vec<String> {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        strangers(env, &|name| name == "CAUSEWAY_REGION").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_slip_is_told_with_the_right_word() {
        for (name, wanted) in [
            ("CAUSEWAY_UPSTREAM", "CAUSEWAY_UPSTREAMS"),
            ("CAUSEWAY_UPSTREAM_1", "CAUSEWAY_UPSTREAMS"),
            ("CAUSEWAY_LISTNE", "CAUSEWAY_LISTEN"),
            ("CAUSEWAY_PORT", "CAUSEWAY_LISTEN"),
            ("CAUSEWAY_LOG_LEVEL", "CAUSEWAY_LOG"),
            ("CAUSEWAY_HEALTHCHECK", "CAUSEWAY_HEALTH_PATH"),
            ("CAUSEWAY_CONFIG_FILE", "CAUSEWAY_CONFIG"),
            ("CAUSEWAY_ADMIN_ADDRESS", "CAUSEWAY_ADMIN"),
        ] {
            let wanted = format!("{name}: warning: causeway reads no variable of this name\n  did you mean {wanted}?");
            assert_eq!(said(&[(name, "1")]), [wanted]);
        }
        assert!(said(&[("CAUSEWAY_TIMEOUT", "1")])[0].ends_with("CAUSEWAY_SET='log.level=debug'"));
    }

    #[test]
    fn what_is_read_or_is_somebody_elses_gets_no_word() {
        assert_eq!(said(&KNOWN.map(|(name, _)| (name, "x"))), [""; 0]);
        let theirs = [
            ("CAUSEWAY_REGION", "eu"),
            ("CAUSEWAY_EMPTY", ""),
            ("OTHER_UPSTREAM", "x"),
            ("CAUSEWAY_SERVICE_HOST", "10.0.0.1"),
            ("CAUSEWAY_SERVICE_PORT_HTTP", "8080"),
            ("CAUSEWAY_PORT", "tcp://10.0.0.1:8080"),
            ("CAUSEWAY_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
            ("CAUSEWAY_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("CAUSEWAY_ADMIN_PORT_9901_TCP_PROTO", "tcp"),
        ];
        assert_eq!(said(&theirs), [""; 0]);
    }
}

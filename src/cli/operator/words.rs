//! What `drain`, `enable` and `disable` say: pure.

use std::time::Duration;

use crate::cause::columns::wrap;
use crate::cause::spoken;
use crate::config::problem::ascii;

use super::{Covered, Done, Word};

/// Names that are listed.
const NAMES: usize = 20;

/// What came of it, lines with their ends.
pub(super) fn done(word: Word, pool: &str, done: &Done) -> String {
    let mut out = String::new();
    for one in &done.upstreams {
        let name = format!("{pool}/{}", ascii(&one.upstream));
        let before = done.changed.iter().find(|changed| changed.upstream == one.upstream);
        let was = before.map_or_else(|| " already".to_owned(), |before| format!(" (it was {})", ascii(&before.from)));
        let now = match word {
            Word::Drain => format!("{name} is draining{was}: {}", in_flight(one)),
            Word::Disable => format!("{name} is disabled{was}: {}", in_flight(one)),
            Word::Enable => enabled(&name, &ascii(&one.state), before.is_some(), &was),
        };
        wrap(&mut out, "", 2, &now);
    }
    if word == Word::Drain && done.sticky {
        wrap(
            &mut out,
            "",
            2,
            "Clients with its sticky cookie stay until their session ends: causeway disable sends them elsewhere.",
        );
    }
    let Done { usable, total, .. } = done;
    let are = if *usable == 1 { "is" } else { "are" };
    let left = format!("{usable} of {total} upstreams of pool {pool} {are} usable.");
    let warning = if *usable == 0 { " Its requests fail from now on, unless an evicted one answers." } else { "" };
    wrap(&mut out, "", 2, &format!("{left}{warning}"));
    out
}

fn in_flight(one: &Covered) -> String {
    match one.in_flight {
        0 => "nothing is in flight there.".to_owned(),
        1 => "1 request is in flight there and may end.".to_owned(),
        count => format!("{count} requests are in flight there and may end."),
    }
}

/// The operator lets it: whether it gets any requests is for its checks to say.
fn enabled(name: &str, state: &str, changed: bool, was: &str) -> String {
    match state {
        "ready" if changed => format!("{name} is ready{was}."),
        "ready" => format!("{name} is ready{was}: nothing was to be done."),
        _ => format!("{name} is enabled, and its state is {state}: causeway status says why."),
    }
}

/// No upstream has this name.
pub(super) fn unknown(target: &str, names: &[String]) -> String {
    // Its pool was forgotten.
    let meant = names.iter().find(|name| name.split_once('/').is_some_and(|(_, upstream)| upstream == target));
    let meant = meant.map_or_else(String::new, |name| format!(" Did you mean {name}?"));
    let mut out = format!("there is no upstream {target}.{meant} Known are:");
    for name in names.iter().take(NAMES) {
        out.push_str("\n  ");
        out.push_str(name);
    }
    if names.len() > NAMES {
        out.push_str(&format!("\n  and {} more: causeway status", names.len() - NAMES));
    }
    out
}

/// The wait is over, and something is still there.
pub(super) fn too_long(left: u64, limit: Duration) -> String {
    let are = if left == 1 { "1 request is".to_owned() } else { format!("{left} requests are") };
    format!("{are} still in flight after {}. It goes on draining; tunnels may last long.", spoken(limit))
}

/// Nothing is left.
pub(super) fn empty(after: Duration) -> String {
    if after < Duration::from_millis(50) {
        "Nothing is in flight there: it can be stopped.".to_owned()
    } else {
        format!("Nothing is in flight there any more, after {}: it can be stopped.", spoken(after))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Changed;
    use super::*;

    fn of(state: &str, from: Option<&str>, in_flight: u64, usable: usize) -> Done {
        let upstream = "127.0.0.1:3000".to_owned();
        let changed = from.map(|from| Changed { upstream: upstream.clone(), from: from.into() });
        let upstreams = vec![Covered { upstream, state: state.into(), in_flight }];
        Done { changed: changed.into_iter().collect(), upstreams, usable, total: 3, sticky: false }
    }

    #[test]
    fn each_word_says_what_came_of_it() {
        for (word, told, text) in [
            (
                Word::Drain,
                of("draining", Some("ready"), 3, 2),
                "app/127.0.0.1:3000 is draining (it was ready): 3 requests are in flight there\n  and may end.\n2 of 3 upstreams of pool app are usable.\n",
            ),
            (
                Word::Drain,
                of("draining", None, 0, 2),
                "app/127.0.0.1:3000 is draining already: nothing is in flight there.\n2 of 3 upstreams of pool app are usable.\n",
            ),
            (
                Word::Enable,
                of("ready", Some("disabled"), 0, 3),
                "app/127.0.0.1:3000 is ready (it was disabled).\n3 of 3 upstreams of pool app are usable.\n",
            ),
            (
                Word::Enable,
                of("evicted", Some("draining"), 0, 2),
                "app/127.0.0.1:3000 is enabled, and its state is evicted: causeway status says\n  why.\n2 of 3 upstreams of pool app are usable.\n",
            ),
            (
                Word::Disable,
                of("disabled", Some("ready"), 1, 0),
                "app/127.0.0.1:3000 is disabled (it was ready): 1 request is in flight there and\n  may end.\n0 of 3 upstreams of pool app are usable. Its requests fail from now on, unless\n  an evicted one answers.\n",
            ),
        ] {
            assert_eq!(done(word, "app", &told), text, "{}", done(word, "app", &told));
        }
    }

    #[test]
    fn nothing_from_the_proxy_speaks_to_the_terminal() {
        let mut told = of("\x1b[1m", Some("\x1b[2m"), 0, 1);
        told.upstreams[0].upstream = "\x07".into();
        for word in [Word::Drain, Word::Enable, Word::Disable] {
            assert!(!done(word, "app", &told).contains(['\x1b', '\x07']));
        }
    }

    #[test]
    fn known_names_are_listed_but_not_without_end() {
        let names: Vec<String> = (0..30).map(|n| format!("app/10.0.0.{n}:80")).collect();
        assert!(unknown("10.0.0.7:80", &names).contains(" Did you mean app/10.0.0.7:80? Known are:"));
        let text = unknown("app/x", &names);
        assert!(
            text.starts_with("there is no upstream app/x. Known are:\n  app/10.0.0.0:80\n")
                && text.ends_with("and 10 more: causeway status")
        );
    }
}

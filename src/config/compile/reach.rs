//! Which requests a route gets, beside the others: routes that no request can reach, and redirects that lead back to
//! where they came from.
//!
//! The order is `route::Table`'s, said in the terms of the config: an exact host beats `*.` beats none, then the longest
//! path, then `methods` set before unset. So a route is out of reach only where another one is its equal: every other
//! one leaves it a host, a path or a method (tests/config/reach.rs asks the table itself).

use http::Method;

use super::super::context::{Context, all_of};
use super::super::model::{Action, HostPattern, Piece, Redirect, Route};
use super::super::problem::Place;
use super::unknown::line;

/// A route of the file.
pub(super) struct Said {
    pub route: Route,
    /// Where its name stands.
    pub place: Place,
    /// Where its `redirect` stands.
    pub redirect: Option<Place>,
    /// Nothing in it was wrong.
    pub sound: bool,
}

/// Looks at all routes beside one another. What could not be read is no reason to call two of them equal.
pub(super) fn look(cx: &Context, routes: &[Said]) {
    for (index, said) in routes.iter().enumerate().filter(|(_, said)| said.sound) {
        let equals: Vec<&Said> = routes[..index].iter().filter(|o| o.sound && equal(&o.route, &said.route)).collect();
        if let [first, ..] = equals.as_slice() {
            let name = &said.route.name;
            let message = match equals.as_slice() {
                all if !covered(&said.route, all) => {
                    format!("route `{name}` takes the same requests as {}", named(first))
                }
                [one] => format!("no request can reach route `{name}`: {} takes the same ones", named(one)),
                all => {
                    let all: Vec<String> = all.iter().map(|one| named(one)).collect();
                    format!("no request can reach route `{name}`: {} take the same ones", all_of(&all))
                }
            };
            cx.error(&said.place, message, "give one of them another host, path or methods");
        } else if let (Action::Redirect(redirect), Some(place)) = (&said.route.action, &said.redirect)
            && routes.iter().all(|other| other.sound)
            && let Some(why) = comes_back(&said.route, redirect, routes)
        {
            let message = format!("route `{}` redirects to itself: {why}", said.route.name);
            cx.warn(place, message, "browsers give up after some rounds; redirect to where another route answers");
        }
    }
}

/// Two routes of which neither comes first for some request.
fn equal(a: &Route, b: &Route) -> bool {
    let hosts = (a.hosts.is_empty() && b.hosts.is_empty()) || a.hosts.iter().any(|host| b.hosts.contains(host));
    let methods = (a.methods.is_empty() && b.methods.is_empty()) || a.methods.iter().any(|m| b.methods.contains(m));
    hosts && methods && a.path == b.path
}

/// Its name, and its line.
fn named(said: &Said) -> String {
    format!("route `{}`{}", said.route.name, line(&said.place))
}

/// Do a route's equals that stand before it take all that it takes?
fn covered(route: &Route, equals: &[&Said]) -> bool {
    let host = |equal: &Route, host: Option<&HostPattern>| host.is_none_or(|host| equal.hosts.contains(host));
    let method = |equal: &Route, method: Option<&Method>| method.is_none_or(|method| equal.methods.contains(method));
    each(&route.hosts).all(|h| {
        each(&route.methods).all(|m| equals.iter().any(|equal| host(&equal.route, h) && method(&equal.route, m)))
    })
}

/// Each item, or one `None` that stands for any.
fn each<T>(items: &[T]) -> impl Iterator<Item = Option<&T>> {
    items.iter().map(Some).chain(items.is_empty().then_some(None))
}

/// Why a redirect leads to its own route, which no other route could come before.
fn comes_back(route: &Route, redirect: &Redirect, routes: &[Said]) -> Option<String> {
    let others = || routes.iter().map(|said| &said.route).filter(|other| other.name != route.name);
    // Another one that is as long, or longer, may come first.
    let taken = |path: &str| {
        let first = |other: &Route| takes(&other.path, path) && other.path.len() >= route.path.len();
        takes(&route.path, path) && !others().any(first)
    };
    let nothing_below = |path: &str| !others().any(|other| takes(path, &other.path));
    match redirect.0.as_slice() {
        [Piece::Path] => Some("{{path}} is what was asked for".into()),
        [Piece::Path, Piece::Text(_)] => {
            nothing_below(&route.path).then(|| format!("it takes all below {}, too", route.path))
        }
        [Piece::Text(text)] => {
            let path = text.split(['?', '#']).next().filter(|path| plain(path))?;
            taken(path).then(|| format!("it takes {path}, too"))
        }
        [Piece::Text(text), Piece::Path] => {
            let path = Some(text.strip_suffix('/').unwrap_or(text)).filter(|path| plain(path))?;
            (taken(path) && nothing_below(path)).then(|| format!("it takes {path}/..., too"))
        }
        _ => None,
    }
}

/// A path on the same host, which means what it says.
fn plain(path: &str) -> bool {
    path.starts_with('/') && !path.contains("/.") && !path.contains("//") && !path.contains(['%', '?', '#'])
}

/// Does a route's path take this path? On a segment boundary, as in `route::Table`.
fn takes(prefix: &str, path: &str) -> bool {
    prefix == "/" || path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

//! Which requests a route gets, beside the others: routes that no request can reach, and redirects that lead back to
//! where they came from.
//!
//! The order is `route::Table`'s, said in the terms of the config: an exact host beats `*.` beats none, then the
//! longest path, then `methods` set before unset. So a route is out of reach only where another one is its equal: every
//! other one leaves it a host, a path or a method (tests/config/reach.rs asks the table itself).

use http::Method;

use super::super::context::{Context, all_of};
use super::super::model::{Action, HostPattern, Route};
use super::super::problem::Place;
use super::redirect::comes_back;
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

/// Looks at all routes beside one another, behind listeners at these ports. What could not be read is no reason to call
/// two of them equal.
pub(super) fn look(cx: &Context, routes: &[Said], ports: &[u16]) {
    let all: Vec<&Route> = routes.iter().map(|said| &said.route).collect();
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
            && let Some(why) = comes_back(&said.route, redirect, &all, ports)
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

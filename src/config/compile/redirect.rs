//! Redirects that lead back to the route they came from: a circle that only the browser ends.
//!
//! Said only where it is sure: no other route could come before, for any request. Where a name of the redirect's leads
//! is not for this file to know; one that the route itself has is taken to lead here.

use super::super::model::{HostPattern, Piece, Redirect, Route};

/// Why a redirect leads to its own route. `ports`: where the listeners are.
pub(super) fn comes_back(route: &Route, redirect: &Redirect, routes: &[&Route], ports: &[u16]) -> Option<String> {
    let Target { start, host, pieces } = parted(&redirect.0)?;
    let elsewhere = elsewhere(&start, ports)?;
    let own = rank(route, host.as_deref());
    if own == 0 {
        return None;
    }
    let others = || routes.iter().filter(|other| other.name != route.name);
    // Another one that is as long, or longer, may come first.
    let first = |other: &Route, path: &str| {
        let (its, exact) = (rank(other, host.as_deref()), own == EXACT || host.is_none());
        takes(&other.path, path) && (its > own || (its == own && (!exact || other.path.len() >= route.path.len())))
    };
    let taken = |path: &str| takes(&route.path, path) && !others().any(|other| first(other, path));
    let below = |path: &str, other: &Route| takes(path, &other.path) && rank(other, host.as_deref()) >= own;
    let nothing_below = |path: &str| !others().any(|other| below(path, other));
    match pieces.as_slice() {
        [Piece::Path] if start.is_empty() => Some("{{path}} is what was asked for".into()),
        // A route with another host may take some of it.
        [Piece::Path] => (taken(&route.path) && nothing_below(&route.path))
            .then(|| format!("it takes {start}{}, too{elsewhere}", below_of(&route.path))),
        [Piece::Path, Piece::Text(_)] => {
            nothing_below(&route.path).then(|| format!("it takes all below {start}{}, too{elsewhere}", route.path))
        }
        [Piece::Text(text)] => {
            let path = text.split(['?', '#']).next().filter(|path| plain(path))?;
            taken(path).then(|| format!("it takes {start}{path}, too{elsewhere}"))
        }
        [Piece::Text(text), Piece::Path] => {
            let path = Some(text.strip_suffix('/').unwrap_or(text)).filter(|path| plain(path))?;
            (taken(path) && nothing_below(path)).then(|| format!("it takes {start}{path}/..., too{elsewhere}"))
        }
        _ => None,
    }
}

/// `/...` for all of the root, `/old/...` for what is below another path.
fn below_of(path: &str) -> String {
    format!("{}/...", path.trim_end_matches('/'))
}

/// Where a redirect leads.
struct Target {
    /// `http://shop.example`, `http://{{host}}`; empty: where the request came from.
    start: String,
    /// The name that stands there; `None`: the one that was asked for.
    host: Option<String>,
    /// The path.
    pieces: Vec<Piece>,
}

/// `None`: to another place, or to one that cannot be told before a request. What `https://` leads to is not this
/// listener.
fn parted(pieces: &[Piece]) -> Option<Target> {
    let here = |pieces: &[Piece]| Target { start: String::new(), host: None, pieces: pieces.to_vec() };
    let (text, rest) = match pieces {
        [Piece::Text(text), rest @ ..] => (text, rest),
        all => return Some(here(all)),
    };
    let Some(behind) = text.strip_prefix("http://") else {
        return (!text.contains("://")).then(|| here(pieces));
    };
    let root = |mut pieces: Vec<Piece>| {
        if pieces.is_empty() {
            pieces.push(Piece::Text("/".into()));
        }
        pieces
    };
    if let ("", [Piece::Host, rest @ ..]) = (behind, rest) {
        let start = "http://{{host}}".to_owned();
        return Some(Target { start, host: None, pieces: root(rest.to_vec()) });
    }
    let (authority, path) = behind.split_at(behind.find(['/', '?', '#']).unwrap_or(behind.len()));
    let path = (!path.is_empty()).then(|| Piece::Text(path.into()));
    let whole = path.is_some() || matches!(rest, [] | [Piece::Path, ..]);
    let (name, _) = port(authority);
    let start = format!("http://{authority}");
    let pieces = root(path.into_iter().chain(rest.iter().cloned()).collect());
    whole.then(|| Target { start, host: Some(name.to_ascii_lowercase()), pieces })
}

/// What is to be said of the port, if it is not one of ours; `None`: it is said, and leads to somebody else.
fn elsewhere(start: &str, ports: &[u16]) -> Option<&'static str> {
    let Some(authority) = start.strip_prefix("http://") else { return Some("") };
    match port(authority).1 {
        Some(said) => ports.contains(&said).then_some(""),
        None if ports.contains(&80) => Some(""),
        None => Some(" (where port 80 leads here)"),
    }
}

fn port(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') && !authority.starts_with("{{") => (name, port.parse().ok()),
        _ => (authority, None),
    }
}

/// A host that a route names.
const EXACT: u8 = 3;

/// How well a route's hosts take this one; 0: not at all. Without a name, any host is as good as another.
fn rank(route: &Route, host: Option<&str>) -> u8 {
    let Some(host) = host else { return EXACT };
    let of = |pattern: &HostPattern| match pattern {
        HostPattern::Exact(exact) if exact == host => EXACT,
        HostPattern::Suffix(suffix) if host.len() > suffix.len() && host.ends_with(suffix.as_str()) => 2,
        HostPattern::Exact(_) | HostPattern::Suffix(_) => 0,
    };
    route.hosts.iter().map(of).max().unwrap_or(0)
}

/// A path which means what it says.
fn plain(path: &str) -> bool {
    path.starts_with('/') && !path.contains("/.") && !path.contains("//") && !path.contains(['%', '?', '#'])
}

/// Does a route's path take this path? On a segment boundary, as in `route::Table`.
fn takes(prefix: &str, path: &str) -> bool {
    prefix == "/" || path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::super::super::Config;
    use super::super::super::model::Action;
    use super::*;

    fn why(routes: &str, name: &str) -> Option<String> {
        let config = Config::from_toml(&format!("[pool.app]\nupstreams = [\"3000\"]\n{routes}")).unwrap();
        let route = config.routes.iter().find(|route| &*route.name == name).unwrap();
        let Action::Redirect(redirect) = &route.action else { panic!("{name} redirects nothing") };
        comes_back(route, redirect, &config.routes.iter().collect::<Vec<_>>(), &[8080])
    }

    fn www(redirect: &str) -> Option<String> {
        let rest = "[route.app]\nhosts = [\"shop.example\"]\npool = \"app\"\n[route.rest]\npool = \"app\"\n";
        why(&format!("[route.www]\nhosts = [\"www.shop.example\"]\nredirect = \"{redirect}\"\n{rest}"), "www")
    }

    #[test]
    fn an_absolute_redirect_to_itself_is_a_circle() {
        let on_80 = " (where port 80 leads here)";
        for (redirect, wanted) in [
            ("http://www.shop.example{{path}}", format!("it takes http://www.shop.example/..., too{on_80}")),
            ("http://WWW.shop.example/", format!("it takes http://WWW.shop.example/, too{on_80}")),
            ("http://www.shop.example", format!("it takes http://www.shop.example/, too{on_80}")),
            ("http://www.shop.example:8080/new{{path}}", "it takes http://www.shop.example:8080/new/..., too".into()),
        ] {
            assert_eq!(www(redirect), Some(wanted), "{redirect}");
        }
        for fine in [
            "http://shop.example{{path}}",
            "https://www.shop.example{{path}}",
            "https://{{host}}{{path}}",
            "http://www.shop.example:3000{{path}}",
            "http://www.shop.example.evil{{path}}",
            "http://x.{{host}}{{path}}",
        ] {
            assert_eq!(www(fine), None, "{fine}");
        }
    }

    #[test]
    fn one_that_another_route_may_take_is_none() {
        let of = |more: &str| {
            let text = "[route.a]\nhosts = [\"a.example\"]\npath = \"/old\"\nredirect = \"http://a.example/old/x\"\n";
            why(&format!("{text}[route.b]\npool = \"app\"\n{more}"), "a")
        };
        assert!(of("hosts = [\"a.example\"]\npath = \"/\"\n").is_some());
        assert!(of("path = \"/old/x\"\n").is_some(), "a named host comes first");
        assert_eq!(of("hosts = [\"a.example\"]\npath = \"/old/x\"\n"), None);
        let any = "[route.a]\nredirect = \"http://a.example/\"\n[route.b]\npath = \"/b\"\npool = \"app\"\n";
        assert_eq!(why(any, "a"), None, "where a name leads that no route has is not known");
    }
}

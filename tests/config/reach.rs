//! That what is said of routes beside one another is true of the table that finds them.

use std::sync::Arc;

use causeway::config::model::{Action, Piece, Route};
use causeway::config::{Config, Problem};
use causeway::route::Table;
use http::Method;
use proptest::prelude::*;

use super::check;

/// A route as a file has it.
#[derive(Clone, Debug)]
struct Said {
    hosts: Vec<&'static str>,
    path: &'static str,
    methods: Vec<&'static str>,
    action: &'static str,
}

const HOSTS: [&str; 5] = ["a.example", "b.example", "x.a.example", "*.a.example", "*.example"];
const PATHS: [&str; 6] = ["/", "/a", "/a/b", "/a/b/c", "/b", "/ab"];
const ACTIONS: [&str; 16] = [
    "respond = {}",
    "respond = {}",
    "respond = {}",
    "redirect = \"/a\"",
    "redirect = \"/a/\"",
    "redirect = \"/a/b/z?q\"",
    "redirect = \"/\"",
    "redirect = \"{{path}}\"",
    "redirect = \"{{path}}/\"",
    "redirect = \"/b{{path}}\"",
    "redirect = \"/a/b{{path}}\"",
    "redirect = \"https://{{host}}{{path}}\"",
    "redirect = \"http://{{host}}{{path}}\"",
    "redirect = \"http://a.example{{path}}\"",
    "redirect = \"http://x.a.example/a{{path}}\"",
    "redirect = \"http://a.example/a/b/z\"",
];

fn route() -> impl Strategy<Value = Said> {
    let some = prop::sample::subsequence;
    (some(&HOSTS[..], 0..=3), 0..PATHS.len(), some(&["GET", "POST", "HEAD"][..], 0..=2), 0..ACTIONS.len())
        .prop_map(|(hosts, path, methods, action)| Said { hosts, path: PATHS[path], methods, action: ACTIONS[action] })
}

/// Few shapes, so that equals are common.
fn routes() -> impl Strategy<Value = Vec<Said>> {
    let plain =
        (0..2_usize, 0..3_usize, 0..3_usize, 0..ACTIONS.len()).prop_map(|(hosts, path, methods, action)| Said {
            hosts: [vec![], vec!["a.example"]][hosts].clone(),
            path: PATHS[path],
            methods: [vec![], vec!["GET"], vec!["GET", "POST"]][methods].clone(),
            action: ACTIONS[action],
        });
    prop_oneof![prop::collection::vec(route(), 1..8), prop::collection::vec(plain, 1..6)]
}

fn text(index: usize, Said { hosts, path, methods, action }: &Said) -> String {
    format!("[route.r{index}]\nhosts = {hosts:?}\npath = {path:?}\nmethods = {methods:?}\n{action}\n")
}

/// Every kind of request that could make a difference.
fn requests() -> Vec<(Option<&'static str>, String, Method)> {
    let hosts =
        [None, Some("a.example:80"), Some("B.example"), Some("x.a.example"), Some("y.a.example"), Some("y.example")];
    let paths = PATHS.iter().flat_map(|path| [(*path).to_owned(), format!("{}/z", path.trim_end_matches('/'))]);
    let methods = || ["GET", "POST", "HEAD", "PURGE"].map(|method| method.parse().unwrap());
    let mut all = Vec::new();
    for path in paths {
        for host in hosts.into_iter().chain([Some("other")]) {
            all.extend(methods().map(|method: Method| (host, path.clone(), method)));
        }
    }
    all
}

/// The host and the path that a redirect leads to.
fn after(route: &Route, host: Option<&str>, path: &str) -> Option<(Option<String>, String)> {
    let Action::Redirect(redirect) = &route.action else { return None };
    let bare = host.map(|host| host.split(':').next().unwrap_or_default());
    let target: String = redirect
        .0
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.as_str(),
            Piece::Host => bare.unwrap_or("host"),
            Piece::Path => path,
        })
        .collect();
    let target = target.split('?').next().unwrap_or_default();
    match target.strip_prefix("http://") {
        Some(rest) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            Some((Some(host.to_owned()), if path.is_empty() { "/".to_owned() } else { path.to_owned() }))
        }
        None => target.starts_with('/').then(|| (host.map(str::to_owned), target.to_owned())),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn a_route_is_out_of_reach_exactly_where_that_is_said(said in routes()) {
        let file: String = said.iter().enumerate().map(|(index, said)| text(index, said)).collect();
        let problems: Vec<Problem> = check(&file).map_or_else(|problems| problems, |(_, warnings)| warnings);
        let says = |what: &str, index: usize| {
            let start = what.replace("NAME", &format!("r{index}"));
            problems.iter().any(|problem| problem.message.starts_with(&start))
        };
        // Each compiled alone, for a file with equals in it gives no config.
        let alone = |(index, said): (usize, &Said)| Arc::new(Config::from_toml(&text(index, said)).unwrap().routes.remove(0));
        let table = Table::compile(said.iter().enumerate().map(alone));
        let found = |host: Option<&str>, path: &str, method: &Method| table.find(host, path, method).ok().cloned();
        for index in 0..said.len() {
            let name = format!("r{index}");
            let its = |route: &Option<Arc<Route>>| route.as_ref().is_some_and(|route| *route.name == name);
            let reached = requests().into_iter().filter(|(host, path, method)| its(&found(*host, path, method)));
            let reached: Vec<_> = reached.collect();
            prop_assert_eq!(reached.is_empty(), says("no request can reach route `NAME`", index), "{}\n{}", name, file);
            if says("route `NAME` redirects to itself", index) {
                let circle = |(host, path, method): &(Option<&str>, String, Method)| {
                    let mut at = (host.map(str::to_owned), path.clone());
                    (0..20).all(|_| {
                        let route = found(at.0.as_deref(), &at.1, method);
                        let ours = route.as_ref().filter(|_| its(&route));
                        let next = ours.and_then(|route| after(route, at.0.as_deref(), &at.1));
                        next.map(|next| at = next).is_some()
                    })
                };
                prop_assert!(reached.iter().any(circle), "{}\n{}", name, file);
            }
        }
    }
}

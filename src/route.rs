//! Host, path and method to a route. Compiled once; a lookup allocates nothing for a target in normal form.
//!
//! The order is total: an exact host beats `*.` beats none, then the longest path, then `methods` set before unset; the
//! first route that takes all three wins. Two equals are a config error, so nothing here depends on the file's order.
//! Nothing here changes a target but [`replace_prefix`], and nothing reads a body or a socket.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use http::Method;

use crate::config::model::{HostPattern, Route};

/// All routes of a configuration, arranged for the lookup.
#[derive(Debug)]
pub struct Table {
    exact: HashMap<String, Group>,
    /// `.example.com`, longest first.
    suffix: Vec<(String, Group)>,
    any: Group,
}

/// The routes of one host pattern, the longest path first, `methods` set before unset.
type Group = Vec<Arc<Route>>;

/// Why no route takes a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Miss {
    /// No route has this host and path: 404.
    NoRoute,
    /// Host and path match, the method does not: 405, with these for Allow.
    Method(Vec<Method>),
}

impl Table {
    /// Arranges the routes.
    pub fn compile(routes: impl IntoIterator<Item = Arc<Route>>) -> Self {
        let mut table = Self { exact: HashMap::new(), suffix: Vec::new(), any: Vec::new() };
        for route in routes {
            if route.hosts.is_empty() {
                table.any.push(Arc::clone(&route));
            }
            for host in &route.hosts {
                match host {
                    HostPattern::Exact(host) => table.exact.entry(host.clone()).or_default().push(Arc::clone(&route)),
                    HostPattern::Suffix(suffix) => match table.suffix.iter_mut().find(|(known, _)| known == suffix) {
                        Some((_, group)) => group.push(Arc::clone(&route)),
                        None => table.suffix.push((suffix.clone(), vec![Arc::clone(&route)])),
                    },
                }
            }
        }
        table.suffix.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        let groups = table.exact.values_mut().chain(table.suffix.iter_mut().map(|(_, group)| group));
        for group in groups.chain([&mut table.any]) {
            group.sort_by_key(|route| (std::cmp::Reverse(route.path.len()), route.methods.is_empty()));
        }
        table
    }

    /// Does any route name a host? If none does, a lookup needs none.
    #[must_use]
    pub fn names_hosts(&self) -> bool {
        !self.exact.is_empty() || !self.suffix.is_empty()
    }

    /// The route that takes this request. `host`: as in the Host field, port and case ignored. `path`: in normal form
    /// (see [`normal`]), or `*`, which is taken as `/`.
    ///
    /// # Errors
    /// [`Miss`], when none does.
    pub fn find(&self, host: Option<&str>, path: &str, method: &Method) -> Result<&Arc<Route>, Miss> {
        let path = if path == "*" { "/" } else { path };
        let mut allowed = Vec::new();
        for group in self.groups(host) {
            for route in group.iter().filter(|route| takes(&route.path, path)) {
                if route.methods.is_empty() || route.methods.contains(method) {
                    return Ok(route);
                }
                for method in &route.methods {
                    if !allowed.contains(method) {
                        allowed.push(method.clone());
                    }
                }
            }
        }
        Err(if allowed.is_empty() { Miss::NoRoute } else { Miss::Method(allowed) })
    }

    /// What might have been meant: the routes of this host, else of any; at most three, as `host /path`.
    #[must_use]
    pub fn nearest(&self, host: &str) -> Vec<String> {
        let named = self.groups(Some(host)).flatten();
        let all = self.exact.values().chain(self.suffix.iter().map(|(_, group)| group)).flatten();
        let mut near: Vec<String> = Vec::new();
        for route in named.chain(all) {
            let host = route.hosts.first().map_or_else(String::new, |host| match host {
                HostPattern::Exact(host) => format!("{host} "),
                HostPattern::Suffix(suffix) => format!("*{suffix} "),
            });
            let text = format!("{host}{}", route.path);
            if near.len() < 3 && !near.contains(&text) {
                near.push(text);
            }
        }
        near
    }

    /// The groups whose host pattern takes this host, the most specific first.
    fn groups<'a>(&'a self, host: Option<&str>) -> impl Iterator<Item = &'a Group> {
        // Where no route names a host, none is looked at.
        let host = host.filter(|_| self.names_hosts()).map(bare_host).unwrap_or_default();
        let exact = if self.exact.is_empty() { None } else { self.exact.get(&*host) };
        let suffix = self
            .suffix
            .iter()
            .filter(move |(suffix, _)| host.len() > suffix.len() && host.ends_with(suffix.as_str()))
            .map(|(_, group)| group);
        exact.into_iter().chain(suffix).chain([&self.any])
    }
}

/// A host without port and trailing dot, in lower case.
fn bare_host(host: &str) -> Cow<'_, str> {
    let host = match host.bytes().rposition(|b| b == b':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// Does a route's path take this path? On a segment boundary: `/api` takes `/api`, `/api/`, `/api/x`, never `/apix`.
fn takes(prefix: &str, path: &str) -> bool {
    prefix == "/" || path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A path in normal form for matching (RFC 3986 §6.2.2): escapes of unreserved characters decoded, dot segments
/// resolved. `None` when it climbs above the root. The target itself is forwarded as received.
#[must_use]
pub fn normal(path: &str) -> Option<Cow<'_, str>> {
    let bytes = path.as_bytes();
    // In one pass: a dot behind a slash, or an escape.
    let (mut before, mut odd) = (0, false);
    for byte in bytes {
        odd |= *byte == b'%' || (*byte == b'.' && before == b'/');
        before = *byte;
    }
    if !odd {
        return Some(Cow::Borrowed(path));
    }
    let decoded = decode_unreserved(path);
    if !decoded.contains("/.") {
        return Some(Cow::Owned(decoded));
    }
    let mut segments: Vec<&str> = Vec::new();
    let mut rest = decoded.strip_prefix('/').unwrap_or(&decoded).split('/').peekable();
    while let Some(segment) = rest.next() {
        let last = rest.peek().is_none();
        match segment {
            "." if last => segments.push(""),
            "." => {}
            ".." => {
                segments.pop()?;
                if last {
                    segments.push("");
                }
            }
            other => segments.push(other),
        }
    }
    Some(Cow::Owned(format!("/{}", segments.join("/"))))
}

fn decode_unreserved(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut out = String::with_capacity(path.len());
    let mut i = 0;
    while i < bytes.len() {
        let escaped = (bytes[i] == b'%')
            .then(|| path.get(i + 1..i + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok()))
            .flatten()
            .filter(|b| b.is_ascii_alphanumeric() || b"-._~".contains(b));
        match escaped {
            Some(byte) => {
                out.push(char::from(byte));
                i += 3;
            }
            None => {
                let width = path[i..].chars().next().map_or(1, char::len_utf8);
                out.push_str(&path[i..i + width]);
                i += width;
            }
        }
    }
    out
}

/// The target (path and query) with the route's path replaced, as the upstream sees it. `None` when the prefix is not
/// literally there (it matched only in normal form): the request is then refused with 400, never guessed at.
#[must_use]
pub fn replace_prefix(target: &str, prefix: &str, replacement: &str) -> Option<String> {
    let rest = if prefix == "/" { target } else { target.strip_prefix(prefix)? };
    let boundary = rest.is_empty() || rest.starts_with(['/', '?']);
    // A target that climbs ("/api/../x") would mean another place under the new prefix.
    let path = target.split('?').next().unwrap_or(target);
    if !boundary || path.contains("/.") || path.contains("%2e") || path.contains("%2E") {
        return None;
    }
    let base = replacement.strip_suffix('/').unwrap_or(replacement);
    let root = if base.is_empty() && !rest.starts_with('/') { "/" } else { "" };
    Some(format!("{base}{root}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{Action, Redirect};
    use proptest::prelude::*;

    fn route(name: &str, hosts: &[&str], path: &str, methods: &[Method]) -> Arc<Route> {
        let hosts = hosts
            .iter()
            .map(|h| match h.strip_prefix('*') {
                Some(suffix) => HostPattern::Suffix(suffix.into()),
                None => HostPattern::Exact((*h).into()),
            })
            .collect();
        let action = Action::Redirect(Redirect(Vec::new()));
        let methods = methods.to_vec();
        let route = Route {
            name: name.into(),
            hosts,
            path: path.into(),
            methods,
            action,
            max_body: None,
            access_log: true,
            layers: None,
        };
        Arc::new(route)
    }

    fn found<'a>(table: &'a Table, host: Option<&str>, path: &str, method: &Method) -> Result<&'a str, Miss> {
        table.find(host, path, method).map(|route| &*route.name)
    }

    #[test]
    fn host_then_longest_path_then_methods() {
        let table = Table::compile([
            route("all", &[], "/", &[]),
            route("api", &[], "/api", &[]),
            route("api-write", &[], "/api", &[Method::POST]),
            route("wild", &["*.shop.example"], "/", &[]),
            route("shop", &["shop.example", "www.shop.example"], "/cart", &[]),
        ]);
        assert_eq!(found(&table, None, "/", &Method::GET), Ok("all"));
        assert_eq!(found(&table, Some("x"), "/api", &Method::GET), Ok("api"));
        assert_eq!(found(&table, Some("x"), "/api/", &Method::POST), Ok("api-write"));
        assert_eq!(found(&table, Some("x"), "/apix", &Method::GET), Ok("all"));
        assert_eq!(found(&table, Some("A.Shop.Example:8080"), "/api", &Method::GET), Ok("wild"));
        assert_eq!(found(&table, Some("www.shop.example."), "/cart/1", &Method::GET), Ok("shop"));
        assert_eq!(found(&table, Some("www.shop.example"), "/", &Method::GET), Ok("wild"));
        assert_eq!(found(&table, Some("shop.example"), "/other", &Method::GET), Ok("all"));
        assert_eq!(found(&table, Some("[::1]:80"), "*", &Method::OPTIONS), Ok("all"));
    }

    #[test]
    fn a_method_that_no_route_takes_is_told_which_ones_are() {
        let table = Table::compile([
            route("read", &[], "/a", &[Method::GET, Method::HEAD]),
            route("write", &[], "/a/b", &[Method::PUT, Method::GET]),
        ]);
        let allowed = vec![Method::PUT, Method::GET, Method::HEAD];
        assert_eq!(found(&table, None, "/a/b/c", &Method::DELETE), Err(Miss::Method(allowed)));
        assert_eq!(found(&table, None, "/b", &Method::GET), Err(Miss::NoRoute));
    }

    #[test]
    fn paths_come_to_one_form() {
        for (raw, wanted) in [
            ("/a/b", Some("/a/b")),
            ("/%61/b", Some("/a/b")),
            ("/a/%2e%2e/b", Some("/b")),
            ("/a/./b/..", Some("/a/")),
            ("/a/.hidden", Some("/a/.hidden")),
            ("/a%2Fb", Some("/a%2Fb")),
            ("/..", None),
            ("/a/../../b", None),
            ("/%2e%2e/x", None),
            ("/a%", Some("/a%")),
        ] {
            assert_eq!(normal(raw).as_deref(), wanted, "{raw}");
        }
    }

    #[test]
    fn prefixes_are_replaced_only_where_they_stand() {
        for (target, prefix, replacement, wanted) in [
            ("/api/x?q=1", "/api", "/", Some("/x?q=1")),
            ("/api", "/api", "/", Some("/")),
            ("/api?q", "/api", "/", Some("/?q")),
            ("/api", "/api", "/v2", Some("/v2")),
            ("/api?q", "/api", "/v2", Some("/v2?q")),
            ("/api/", "/api", "/v2", Some("/v2/")),
            ("/api/x", "/api", "/v2/", Some("/v2/x")),
            ("/x", "/", "/v2", Some("/v2/x")),
            ("/", "/", "/v2", Some("/v2/")),
            ("/%61pi/x", "/api", "/", None),
            ("/api/../x", "/api", "/", None),
        ] {
            assert_eq!(
                replace_prefix(target, prefix, replacement).as_deref(),
                wanted,
                "{target} {prefix} {replacement}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_normal_path_is_its_own_normal_form(path in "/([a-zA-Z.%2e/]{0,24})") {
            if let Some(once) = normal(&path).map(Cow::into_owned) {
                prop_assert_eq!(normal(&once).map(Cow::into_owned), Some(once.clone()));
                prop_assert!(!once.split('/').any(|segment| segment == ".." || segment == "."), "{}", once);
            }
        }
    }
}

//! `request_headers` and `response_headers`: rules for fields, after causeway's own. What a placeholder brings is
//! looked at here: a value that no field can have leaves the field out, the client's own of that name too.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Response};

use crate::config::address::without_port;
use crate::config::model::{FieldRules, FieldValue, Part, Placeholder};

use super::super::{Asked, Body};
use super::touch::Touch;

/// What placeholders stand for.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy) struct Facts<'a> {
    /// The upstream's id; empty where none answered.
    pub(in crate::proxy) upstream: &'a str,
    pub(in crate::proxy) pool: &'a str,
    pub(in crate::proxy) request_id: &'a str,
    pub(in crate::proxy) client: IpAddr,
    /// As asked for, without its port.
    pub(in crate::proxy) host: &'a str,
    pub(in crate::proxy) secure: bool,
    /// Path and query, as received.
    pub(in crate::proxy) path: &'a str,
}

impl<'a> Facts<'a> {
    /// Of this request, at this upstream.
    pub(in crate::proxy) fn new(asked: &'a Asked<'a>, upstream: &'a str, pool: &'a str) -> Self {
        Self {
            upstream,
            pool,
            request_id: asked.request_id,
            client: asked.ours.client,
            host: without_port(asked.host()),
            secure: asked.ours.secure(),
            path: asked.parts.uri.path_and_query().map_or("/", |target| target.as_str()),
        }
    }

    fn fill(&self, value: &FieldValue) -> Option<HeaderValue> {
        let parts = match value {
            FieldValue::Fixed(value) => return Some(value.clone()),
            FieldValue::Filled(parts) => parts,
        };
        let mut out = String::new();
        for part in parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Value(Placeholder::Upstream) => out.push_str(self.upstream),
                Part::Value(Placeholder::Pool) => out.push_str(self.pool),
                Part::Value(Placeholder::RequestId) => out.push_str(self.request_id),
                Part::Value(Placeholder::ClientIp) => out.push_str(&self.client.to_string()),
                Part::Value(Placeholder::Host) => out.push_str(self.host),
                Part::Value(Placeholder::Scheme) => out.push_str(if self.secure { "https" } else { "http" }),
                Part::Value(Placeholder::Path) => out.push_str(self.path),
                // No rule has these.
                Part::Value(Placeholder::Status | Placeholder::Cause | Placeholder::Hint) => {}
            }
        }
        HeaderValue::try_from(out.trim()).ok()
    }
}

/// The fields that the rules bring, each given to `put`. That those in their place are gone is the caller's to see to
/// ([`FieldRules::replaces`]).
pub(in crate::proxy) fn put(rules: &FieldRules, facts: &Facts<'_>, mut put: impl FnMut(&HeaderName, &HeaderValue)) {
    for (name, value) in rules.set.iter().chain(&rules.add) {
        if let Some(value) = facts.fill(value) {
            put(name, &value);
        }
    }
}

/// Rules for answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResponseFields<'a>(pub(super) &'a FieldRules);

impl Touch for ResponseFields<'_> {
    fn touch(&self, asked: &Asked<'_>, mut response: Response<Body>) -> Response<Body> {
        let mut headers = std::mem::take(response.headers_mut());
        let exchange = response.body().exchange();
        let upstream = exchange.and_then(|exchange| exchange.answered_by()).map_or("", |upstream| upstream);
        let pool = exchange.and_then(|exchange| exchange.pool.as_deref()).unwrap_or_default();
        apply(self.0, &Facts::new(asked, upstream, pool), &mut headers);
        *response.headers_mut() = headers;
        response
    }
}

fn apply(rules: &FieldRules, facts: &Facts<'_>, headers: &mut HeaderMap) {
    for name in rules.remove.iter().chain(rules.set.iter().map(|(name, _)| name)) {
        headers.remove(name);
    }
    put(rules, facts, |name, value| {
        headers.append(name, value.clone());
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn facts<'a>(upstream: &'a str, path: &'a str) -> Facts<'a> {
        let client = "192.0.2.1".parse().unwrap();
        Facts { upstream, pool: "app", request_id: "0123abcd", client, host: "shop", secure: true, path }
    }

    #[test]
    fn set_replaces_add_stands_beside_remove_takes_away() {
        let fixed = |text: &'static str| FieldValue::Fixed(HeaderValue::from_static(text));
        let filled = FieldValue::Filled(vec![
            Part::Value(Placeholder::Scheme),
            Part::Text("://".into()),
            Part::Value(Placeholder::Host),
            Part::Value(Placeholder::Path),
        ]);
        let (server, vary, x) = (HeaderName::from_static("server"), HeaderName::from_static("vary"), "x-from");
        let rules = FieldRules {
            set: vec![(HeaderName::from_static(x), filled)],
            add: vec![(vary.clone(), fixed("X"))],
            remove: vec![server.clone()],
        };
        let mut headers = HeaderMap::new();
        for (name, value) in [("server", "app"), (x, "1"), (x, "2"), ("vary", "Y")] {
            headers.append(name, HeaderValue::from_static(value));
        }
        apply(&rules, &facts("a:1", "/p?q"), &mut headers);
        assert!(!headers.contains_key(server));
        assert_eq!(headers.get_all(x).iter().collect::<Vec<_>>(), ["https://shop/p?q"]);
        assert_eq!(headers.get_all(vary).iter().collect::<Vec<_>>(), ["Y", "X"]);
    }

    proptest! {
        #[test]
        fn no_text_gets_out_of_its_field(upstream in any::<String>(), path in any::<String>()) {
            let parts = vec![Part::Value(Placeholder::Upstream), Part::Value(Placeholder::Path)];
            let name = HeaderName::from_static("x-a");
            let rules = FieldRules { set: vec![(name.clone(), FieldValue::Filled(parts))], ..FieldRules::default() };
            let mut headers = HeaderMap::new();
            headers.insert(&name, HeaderValue::from_static("the client's own"));
            apply(&rules, &facts(&upstream, &path), &mut headers);
            for value in headers.get_all(&name) {
                prop_assert!(value != "the client's own");
                prop_assert!(!value.as_bytes().iter().any(|b| matches!(b, b'\r' | b'\n' | 0)));
            }
        }
    }
}

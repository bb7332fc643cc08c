//! Which certificate is for a host: the one with its exact name, else the one with `*.` in place of its first label,
//! else the first. Pure.

use std::collections::HashMap;

use crate::config::address::without_port;

/// The names of all certificates of a listener, each with its certificate's place in the list.
#[derive(Debug, Default)]
pub(super) struct Names {
    exact: HashMap<String, usize>,
    /// Without the `*`: `.example.com`.
    wildcard: HashMap<String, usize>,
}

impl Names {
    /// From the names of each certificate, lower case. Of two for the same name the first one has it.
    pub(super) fn new<'a>(certificates: impl Iterator<Item = &'a [String]>) -> Self {
        let mut names = Self::default();
        for (index, all) in certificates.enumerate() {
            for name in all {
                match name.strip_prefix('*') {
                    Some(suffix) => names.wildcard.entry(suffix.to_owned()).or_insert(index),
                    None => names.exact.entry(name.clone()).or_insert(index),
                };
            }
        }
        names
    }

    /// The place of the certificate for a host: as in SNI, or as in a Host field with a port.
    pub(super) fn find(&self, host: Option<&str>) -> usize {
        let Some(host) = host else { return 0 };
        let host = without_port(host);
        // Certificates have addresses without brackets.
        let six = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host = six.unwrap_or(host).trim_end_matches('.').to_ascii_lowercase();
        // A wildcard stands for one label, and never for the whole (RFC 9525 §6.3).
        let suffix = host.find('.').filter(|at| *at > 0).map(|at| &host[at..]);
        let found = self.exact.get(&host).or_else(|| self.wildcard.get(suffix?));
        found.copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_then_wildcard_then_the_first() {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let all = [own(&["first.example"]), own(&["*.shop.example"]), own(&["a.shop.example", "::1", "127.0.0.1"])];
        let names = Names::new(all.iter().map(Vec::as_slice));
        for (host, wanted) in [
            ("a.shop.example", 2),
            ("A.Shop.Example:8443", 2),
            ("a.shop.example.", 2),
            ("b.shop.example", 1),
            ("b.b.shop.example", 0),
            ("shop.example", 0),
            (".shop.example", 0),
            ("[::1]:443", 2),
            ("[::1]", 2),
            ("a.shop.example:x", 0),
            ("::1", 2),
            ("127.0.0.1:8443", 2),
            ("other", 0),
            ("", 0),
        ] {
            assert_eq!(names.find(Some(host)), wanted, "{host}");
        }
        assert_eq!(names.find(None), 0);
    }
}

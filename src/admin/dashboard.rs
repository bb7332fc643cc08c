//! The dashboard: one page for browsers, put together here from files of its own. It reads the admin's API like anybody
//! else.
//!
//! Nothing from outside stands in it, and nothing outside is named by it: it never asks another address, and what the
//! script shows goes in as text. The policy that is sent along would stop it from anything else.

use http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::proxy::respond::Form;

use super::answer::{self, Answer};

const FRAME: &str = include_str!("dashboard/page.html");
const STYLE: &str = include_str!("dashboard/page.css");
/// In the order in which they run; together they are one module.
const SCRIPTS: [&str; 7] = [
    include_str!("dashboard/words.js"),
    include_str!("dashboard/strips.js"),
    include_str!("dashboard/upstreams.js"),
    include_str!("dashboard/operator.js"),
    include_str!("dashboard/troubles.js"),
    include_str!("dashboard/trail.js"),
    include_str!("dashboard/page.js"),
];

/// Does this client want a page? Whoever takes anything (curl) gets the plain list.
pub(super) fn wanted(fields: &HeaderMap) -> bool {
    Form::of(fields) == Form::Html
}

/// The page, and what it may do: run and wear what this answer itself brought, and ask this address.
pub(super) fn page() -> Answer {
    let nonce = format!("{:032x}", fastrand::u128(..));
    let mut answer = answer::text(StatusCode::OK, render(&nonce));
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    );
    let fields = answer.headers_mut();
    fields.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        fields.insert(CONTENT_SECURITY_POLICY, policy);
    }
    fields.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    fields.insert(VARY, HeaderValue::from_static("Accept"));
    answer
}

fn render(nonce: &str) -> String {
    FRAME.replace("{{nonce}}", nonce).replace("{{style}}", STYLE).replace("{{script}}", &SCRIPTS.concat())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What stands between these two, each time.
    fn between<'t>(text: &'t str, start: &'t str, end: &'t str) -> impl Iterator<Item = &'t str> {
        text.split(start).skip(1).filter_map(move |rest| rest.split(end).next())
    }

    #[test]
    fn it_is_whole_and_small() {
        let page = render("0123");
        assert!(page.len() < 64 << 10, "{} bytes", page.len());
        assert!(page.is_ascii() && !page.contains("{{"));
    }

    #[test]
    fn it_names_nothing_outside() {
        let page = render("0123").replace("http://www.w3.org/2000/svg", "");
        for outside in ["http:", "https:", "//cdn", "@import", "url(", " src=", "integrity", "sendBeacon", "WebSocket"]
        {
            assert!(!page.contains(outside), "{outside}");
        }
        let links: BTreeSet<_> = between(&page, "href=\"", "\"").collect();
        assert_eq!(links, BTreeSet::from(["#attempts-title", "#incidents-title", "#pools", "data:,"]));
    }

    #[test]
    fn nothing_in_it_can_become_markup_or_code() {
        let script = SCRIPTS.concat();
        for way in
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "</script"]
        {
            assert!(!script.contains(way), "{way}");
        }
        // As the policy has it: no code and no style in attributes.
        let handlers = between(FRAME, " on", "=").filter(|name| name.chars().all(|c| c.is_ascii_lowercase()));
        assert_eq!(handlers.count(), 0);
        assert!(!FRAME.contains("style=") && !script.contains("setAttribute(\"style\""));
    }

    #[test]
    fn the_policy_lets_run_what_came_along_and_nothing_else() {
        let (one, other) = (page(), page());
        let policy = |answer: &Answer| answer.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        let nonce = between(&policy(&one), "script-src 'nonce-", "'").next().unwrap().to_owned();
        assert!(nonce.len() == 32 && !policy(&other).contains(&nonce), "another one for each answer");
        assert_eq!(render(&nonce).matches(&format!("nonce=\"{nonce}\"")).count(), 2);
        assert_eq!((FRAME.matches("<script").count(), FRAME.matches("<style").count()), (1, 1));
        assert!(policy(&one).starts_with("default-src 'none'; ") && !policy(&one).contains("unsafe"));
    }

    #[test]
    fn every_element_that_the_script_asks_for_is_there_once() {
        let script = SCRIPTS.concat();
        let asked: BTreeSet<_> = between(&script, "byId(\"", "\")").collect();
        assert!(
            asked.len() > 30 && script.matches("byId(").count() == between(&script, "byId(\"", "\")").count(),
            "{asked:?}"
        );
        for id in asked {
            assert_eq!(FRAME.matches(&format!("id=\"{id}\"")).count(), 1, "{id}");
        }
    }

    /// A browser hands out named events by name alone.
    #[test]
    fn it_listens_to_every_event_there_is() {
        let list = between(SCRIPTS[6], "const EVENTS = [", "];").next().unwrap();
        let heard: BTreeSet<_> = between(list, "\"", "\",").collect();
        let mut sources = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
        let mut told = BTreeSet::new();
        while let Some(path) = sources.pop() {
            if path.is_dir() {
                sources.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let text = std::fs::read_to_string(path).unwrap();
                told.extend(between(&text, concat!("event", " = \""), "\"").map(str::to_owned));
            }
        }
        assert!(told.len() > 30, "{told:?}");
        let unheard: Vec<_> =
            told.iter().filter(|name| *name != "check_failed" && !heard.contains(name.as_str())).collect();
        assert!(unheard.is_empty(), "add these to EVENTS in page.js: {unheard:?}");
    }

    #[test]
    fn browsers_get_it_and_curl_does_not() {
        let wants = |accept: &str| wanted(&HeaderMap::from_iter([(http::header::ACCEPT, accept.parse().unwrap())]));
        assert!(wants("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"));
        assert!(!wants("*/*") && !wants("text/plain") && !wants("application/json") && !wanted(&HeaderMap::new()));
    }
}

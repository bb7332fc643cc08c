//! What a status of the app means for checks and traffic, and what to change. Pure.

use crate::probe::HeadSeen;

/// A status, and what was asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    /// `Location`, printable ASCII.
    pub(super) location: Option<&'a str>,
    /// Its Proxy-Status says that a proxy made it.
    pub(super) proxys_own: bool,
}

impl<'a> Answer<'a> {
    /// The answer with this head.
    pub(super) fn of(head: &'a HeadSeen, method: &'a str, path: &'a str) -> Self {
        let (status, location) = (head.status, head.location.as_deref());
        Self { status, method, path, location, proxys_own: head.proxys_own }
    }
}

/// A health check does not want this status.
pub(super) fn unwanted(answer: Answer<'_>) -> String {
    let Answer { status, method, path, location, .. } = answer;
    match status {
        404 | 410 => format!(
            "{status}: the app answers, but has no {path}. Set health.path to one that it has, or leave it out for a TCP check."
        ),
        300..=399 => redirected(answer, location.unwrap_or("nowhere"), true),
        401 => format!(
            "401: the app wants a login for {path}. Set health.headers to one that it takes, or let it keep that path open."
        ),
        403 => format!(
            "403: the app refuses {path}. Let it keep that path open for causeway, or set health.headers to what it wants."
        ),
        400 | 421 => format!(
            "{status}: the app does not take the request. Does it know the Host of the check? Set health.host_header to a name that it serves."
        ),
        405 | 501 => {
            format!("{status}: the app does not take {method} for {path}. Set health.method to one that it takes.")
        }
        429 => format!("429: the app limits how often {path} is asked. Leave checks out of that limit."),
        502..=504 => format!("{} Until then it gets no requests.", gateway(answer)),
        500..=599 => format!(
            "{status}: the app says itself that it is not well. Its own log should say why. Until then it gets no requests."
        ),
        _ => format!("{status}: the app answers. If that is what {path} should give, add it to health.expect_status."),
    }
}

/// No check asked: requests would get this answer as it is. `None`: nothing to say.
pub(super) fn surprising(answer: Answer<'_>) -> Option<String> {
    let Answer { status, method, path, location, .. } = answer;
    Some(match status {
        300..=399 if status != 304 => return location.map(|location| redirected(answer, location, false)),
        404 | 410 => {
            format!("{status}: the app answers, but has nothing at {path}. Requests for what it has may be fine.")
        }
        401 => format!("401: the app wants a login for {path}. It would ask clients for it, through causeway too."),
        403 => format!("403: the app refuses {path}. Does it know this Host, and does it take requests from here?"),
        400 | 421 => {
            format!("{status}: the app does not take the request. Does it know this Host? Clients send their own.")
        }
        405 | 501 => format!("{status}: the app does not take {method} for {path}."),
        502..=504 => format!("{} Enough of them in a row evict (passive.gateway_failures).", gateway(answer)),
        500..=599 => format!("{status}: the app answers, with an error of its own. Clients get it as it is."),
        _ => return None,
    })
}

/// Both an app and a proxy in front of it give these.
fn gateway(Answer { status, proxys_own, .. }: Answer<'_>) -> String {
    if proxys_own {
        format!(
            "{status}: that is another proxy, which got no answer from behind it (its Proxy-Status says so). Is the app running there?"
        )
    } else {
        format!(
            "{status}: the app says itself that it is not well, or a proxy there has no app behind it. The log of either should say why."
        )
    }
}

fn redirected(Answer { status, path, .. }: Answer<'_>, location: &str, checked: bool) -> String {
    let to = location.split(['?', '#']).next().unwrap_or_default();
    let to_path = match to.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |slash| &rest[slash..]),
        None => to,
    };
    let what = format!("{status} to {location}");
    let bare = path.split('?').next().unwrap_or_default();
    let login = ["login", "signin", "sign_in", "sign-in", "auth"].iter().any(|word| to_path.contains(word));
    if location.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://")) {
        let mut said = format!(
            "{what}: the app redirects plain HTTP, and would do so for every request. Let it trust X-Forwarded-Proto, \
             and name what ends TLS in front of causeway in trusted_proxies."
        );
        if checked {
            said.push_str(" For checks alone: health.headers = { X-Forwarded-Proto = \"https\" }.");
        }
        return said;
    }
    match (checked, to_path.trim_end_matches('/') == bare.trim_end_matches('/') && to_path != bare) {
        (true, true) => format!("{what}: a check follows no redirect. Set health.path to \"{to_path}\"."),
        (true, false) if login => format!(
            "{what}: the app wants a login for {path}. Set health.path to one that is open, or health.headers to what it takes."
        ),
        (true, false) => format!("{what}: a check follows no redirect. Set health.path to one that answers by itself."),
        (false, _) => {
            format!("{what}: clients get that as it is, and go there through causeway if it is the same host.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, location: Option<&'static str>) -> Answer<'static> {
        Answer { status, method: "GET", path: "/healthz", location, proxys_own: false }
    }

    #[test]
    fn a_status_that_a_check_does_not_want_names_the_key() {
        for (status, part) in [
            (404, "404: the app answers, but has no /healthz. Set health.path"),
            (401, "health.headers"),
            (403, "health.headers"),
            (400, "health.host_header"),
            (421, "health.host_header"),
            (405, "health.method"),
            (503, "503: the app says itself"),
            (418, "health.expect_status"),
        ] {
            let said = unwanted(of(status, None));
            assert!(said.contains(part) && said.is_ascii(), "{status}: {said}");
        }
    }

    #[test]
    fn a_redirect_says_where_it_comes_from() {
        let said = |location| unwanted(of(301, Some(location)));
        assert!(said("https://shop.example/healthz").contains("redirects plain HTTP"));
        assert!(said("HTTPS://shop.example/").contains("X-Forwarded-Proto"));
        assert!(said("/healthz/").contains("Set health.path to \"/healthz/\"."));
        assert!(said("/login?next=/healthz").contains("wants a login"));
        assert!(said("http://app/other").contains("answers by itself"));
        assert!(surprising(of(302, Some("https://x/"))).unwrap().contains("every request"));
    }

    #[test]
    fn a_good_answer_is_no_surprise() {
        assert_eq!([200, 204, 206, 304].map(|status| surprising(of(status, None))), [None, None, None, None]);
    }

    #[test]
    fn a_check_and_a_request_are_told_the_same_of_a_gateways_status() {
        for (status, proxys_own, same) in [
            (502, false, "502: the app says itself that it is not well, or a proxy there has no app behind it."),
            (503, true, "503: that is another proxy, which got no answer from behind it"),
            (504, true, "504: that is another proxy"),
        ] {
            let answer = Answer { proxys_own, ..of(status, None) };
            let (checked, asked) = (unwanted(answer), surprising(answer).unwrap());
            assert!(checked.starts_with(same) && asked.starts_with(same), "{checked} {asked}");
            assert!(
                checked.ends_with("Until then it gets no requests.") && asked.contains("gateway_failures"),
                "{asked}"
            );
        }
        assert!(unwanted(of(500, None)).starts_with("500: the app says itself that it is not well. Its own log"));
    }
}

//! One cause: what it is, what follows from it, why it usually happens, what to do. As text in 80 columns, or as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::cause::columns::{WIDTH, labelled, wrap};
use crate::cause::{Cause, Lore};

use super::facts::{client, default_of, failover, health};

/// As text. `flag`: what commands need to ask the same proxy.
pub(super) fn text(cause: Cause, flag: &str) -> String {
    let (row, lore) = (cause.row(), cause.lore());
    let mut out = String::new();
    wrap(&mut out, "", 2, &format!("{cause}: {}", row.means));
    for (index, (key, what)) in lore.limits.iter().enumerate() {
        labelled(
            &mut out,
            ["Limit", ""][index.min(1)],
            &format!("{key} ({}): {what}", default_of(key).unwrap_or_default()),
        );
    }
    labelled(&mut out, "Client", &client(cause));
    labelled(&mut out, "Failover", &failover(cause));
    labelled(&mut out, "Health", &health(cause));
    wrap(&mut out, "", 0, &format!("Usual reasons: {}.", lore.reasons.join("; ")));
    out.push_str("What to do\n");
    let column = lore.steps.iter().filter(|(_, how)| !how.is_empty()).map(|(what, _)| what.len()).max().unwrap_or(0);
    for (number, (what, how)) in (1..).zip(lore.steps) {
        step(&mut out, &format!("  {number}. {what:<column$}"), &asking(how, flag));
    }
    let elsewhere = elsewhere(cause);
    if !elsewhere.is_empty() {
        wrap(&mut out, "", 0, &format!("Elsewhere: {}", elsewhere.join("; ")));
    }
    out
}

/// A command that asks the running proxy, with what it needs to find it.
fn asking(how: &str, flag: &str) -> String {
    let mut words = how.split(' ');
    match (words.next(), words.next()) {
        (Some("causeway"), Some(command @ ("status" | "explain" | "drain" | "enable" | "disable"))) => {
            how.replacen(command, &format!("{command}{flag}"), 1)
        }
        _ => how.to_owned(),
    }
}

/// What to do, and how: beside it, or under it where there is no room.
fn step(out: &mut String, what: &str, how: &str) {
    let _ = match how {
        "" => writeln!(out, "{}", what.trim_end()),
        _ if what.len() + 2 + how.len() <= WIDTH => writeln!(out, "{what}  {how}"),
        _ => writeln!(out, "{}\n     {how}", what.trim_end()),
    };
}

/// What others call it: `nginx "..."`, `HAProxy sH`, and so on.
fn elsewhere(cause: Cause) -> Vec<String> {
    let Lore { nginx, haproxy, envoy, cloudflare, also, .. } = cause.lore();
    let quoted = |texts: &[&str]| texts.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(", ");
    let mut all = Vec::new();
    if !nginx.is_empty() {
        all.push(format!("nginx {}", quoted(nginx)));
    }
    for (who, codes) in [("HAProxy", haproxy), ("Envoy", envoy), ("Cloudflare", cloudflare)] {
        if !codes.is_empty() {
            all.push(format!("{who} {}", codes.join(", ")));
        }
    }
    let errors: Vec<_> =
        also.iter().filter(|also| also.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')).copied().collect();
    if !errors.is_empty() {
        all.push(errors.join(", "));
    }
    if !cause.row().rfc9209.is_empty() {
        all.push(format!("Proxy-Status {}", cause.row().rfc9209));
    }
    all
}

/// As JSON.
pub(super) fn json(cause: Cause, flag: &str) -> Value {
    let (row, lore) = (cause.row(), cause.lore());
    let limits: Vec<_> =
        lore.limits.iter().map(|(key, what)| json!({ "key": key, "default": default_of(key), "what": what })).collect();
    let steps: Vec<_> =
        lore.steps.iter().map(|(what, how)| json!({ "what": what, "how": asking(how, flag) })).collect();
    let status = (row.status > 0).then_some(row.status);
    json!({
        "cause": cause.token(),
        "means": row.means,
        "phase": row.phase.token(),
        "status": status,
        "proxy_status": row.rfc9209,
        "limits": limits,
        "client": client(cause),
        "failover": failover(cause),
        "health": health(cause),
        "usual_reasons": lore.reasons,
        "steps": steps,
        "elsewhere": {
            "nginx": lore.nginx,
            "haproxy": lore.haproxy,
            "envoy": lore.envoy,
            "cloudflare": lore.cloudflare,
            "other": lore.also,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_timeout() {
        assert_eq!(
            text(Cause::ReadTimeout, ""),
            "\
read_timeout: the upstream took the request and did not answer in time
  Limit     timeouts.read (60s): how long the response head may take
  Client    504 when every attempt timed out, else 502
  Failover  GET, HEAD, PUT, DELETE, OPTIONS: another upstream, as long as
            retry.deadline (30s) allows; POST, PATCH: never, it may have acted
  Health    5 gateway failures in a row evict (passive.gateway_failures)
Usual reasons: a slow query or a lock; no free worker or connection in the app;
a call from the app to somebody else, without a timeout.
What to do
  1. Time the app itself      causeway probe http://ADDRESS:PORT/PATH
  2. One upstream or all?     causeway status
  3. Only one route is slow?  [route.NAME.timeouts] read = \"5m\"
  4. Fail over sooner         set timeouts.read below retry.deadline
  5. Notice a stuck app       health.path = \"/healthz\"
Elsewhere: nginx \"upstream timed out while reading response header from
upstream\"; HAProxy sH, L7TOUT; Envoy UT; Cloudflare 524; Proxy-Status
connection_read_timeout
"
        );
    }

    #[test]
    fn a_command_asks_the_proxy_that_was_meant() {
        let page = text(Cause::ReadTimeout, " --admin 127.0.0.1:9902");
        assert!(page.contains("causeway status --admin 127.0.0.1:9902\n"), "{page}");
        assert!(page.contains("causeway probe http://ADDRESS:PORT/PATH\n"), "{page}");
        let page = text(Cause::Draining, " --admin a:1");
        assert!(page.contains("causeway enable --admin a:1 POOL/UPSTREAM\n"), "{page}");
    }

    #[test]
    fn every_page_fits_a_terminal() {
        for cause in Cause::ALL {
            let page = text(*cause, "");
            assert!(page.is_ascii() && page.lines().all(|line| line.trim_end() == line), "{page}");
            // A command stays in one piece.
            let long = page.lines().filter(|line| line.len() > WIDTH && !line.trim_start().starts_with("curl "));
            assert_eq!(long.collect::<Vec<_>>(), [""; 0], "{page}");
            assert_eq!(json(*cause, "")["cause"], cause.token());
        }
    }
}

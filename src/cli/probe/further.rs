//! What else a proxy in front of an app may stumble over: upgrades, idle connections, Host, HEAD, requests in chunks.
//!
//! None of it makes an upstream unusable: it is told, with the key that answers it.

use std::time::Duration;

use http::Method;

use crate::cause::{Cause, Phase, alert};
use crate::config::address::Scheme;
use crate::config::units::duration_text;
use crate::probe::{self, Kept, Quiet, Visit};

use super::host::{self, Told};
use super::look::Look;
use super::report::{Report, Step, matter};
use super::text::spoken;

/// An idle connection is watched for `connections.idle` and this much more, so that an app that closes just behind it
/// is seen.
const MARGIN: Duration = Duration::from_secs(1);
/// But no longer than this.
const LONGEST: Duration = Duration::from_secs(10);
/// Why no connection is kept to be asked again: that is a question to HTTP/1.1.
const H2_ALONE: &str = "it speaks HTTP/2 alone";
/// What sets the limits here.
pub(super) const PATIENCE: &str = "this probe waits no longer";

/// Asks to go on as a WebSocket.
pub(super) async fn upgrade(look: &Look<'_>, report: &mut Report) {
    let visited = probe::visit(&look.endpoint, &Visit { upgrade: true, ..look.visit(look.path()) }).await;
    let step = |said: String| Step::new("upgrade", visited.elapsed, said);
    report.steps.push(match &visited.result {
        Ok(101) => {
            let to = visited.seen.head.as_ref().and_then(|head| head.upgrade.as_deref()).unwrap_or("nothing");
            let told = if to.eq_ignore_ascii_case("websocket") {
                step("101: speaks WebSocket here".to_owned())
            } else {
                step(format!("101 to {to}, and a WebSocket was asked for")).because(Cause::UpgradeFailed)
            };
            told.fact("status", 101).fact("upgrade", to)
        }
        Ok(status) => step(format!("does not upgrade here ({status})")).fact("status", *status),
        // Nobody wanted one: that it cannot be had is a fact, and no failure.
        Err(failure) if failure.cause == Cause::UpgradeFailed && failure.phase == Phase::Queue => {
            let refused = failure.seen.as_deref().is_some_and(|seen| seen.starts_with("it takes no WebSocket"));
            step(if refused {
                "speaks HTTP/2, and takes no WebSocket over it".to_owned()
            } else {
                "speaks HTTP/2 alone: causeway asks for no upgrade over it".to_owned()
            })
        }
        Err(failure) => step(matter(failure, PATIENCE)).because(failure.cause),
    });
}

/// All that `--deep` asks.
pub(super) async fn all(look: &Look<'_>, report: &mut Report) {
    let base = look.visit(look.path());
    let plain = probe::visit(&look.endpoint, &base).await;
    let status = match plain.result {
        Ok(status) => status,
        // The check has other words for it, and they passed.
        Err(failure) => {
            report.steps.push(Step::new("host", plain.elapsed, matter(&failure, PATIENCE)).because(failure.cause));
            return host::of_silence(look, host::Of::Requests, report).await;
        }
    };
    let (hosts, heads, chunks) =
        tokio::join!(host::of_clients(look, &base, status), head(look, &base, status), chunked(look, &base));
    // Last: an app with one worker may have ears for nobody else while a connection is open.
    let idle = kept(look, &base).await;
    for (step, note) in [hosts, Some(heads), Some(chunks)].into_iter().flatten().chain(idle) {
        report.steps.push(step);
        report.notes.extend(note);
    }
}

/// Does HEAD give what GET gives?
async fn head(look: &Look<'_>, base: &Visit, status: u16) -> Told {
    let visited = probe::visit(&look.endpoint, &Visit { method: Method::HEAD, ..base.clone() }).await;
    let step = |said: String| Step::new("method", visited.elapsed, said);
    match visited.result {
        Ok(other) if other == status => (step(format!("HEAD gives {status}, as GET does")).fact("status", other), None),
        Ok(other) => {
            let note = format!("HEAD gives {other} where GET gives {status}: keep GET for checks (health.method).");
            (step(format!("HEAD gives {other}, GET {status}")).fact("status", other), Some(note))
        }
        Err(failure) => (step(matter(&failure, PATIENCE)).because(failure.cause), None),
    }
}

/// A request body whose length is not known before: an upload as it comes from a browser's stream, or from curl -T -.
async fn chunked(look: &Look<'_>, base: &Visit) -> Told {
    // GET: it changes nothing in an app that keeps to RFC 9110 §9.2.1.
    let visited = probe::visit(&look.endpoint, &Visit { chunked: true, ..base.clone() }).await;
    let step = |said: String| Step::new("chunked", visited.elapsed, said);
    match visited.result {
        Ok(status @ (411 | 501)) => {
            let note = format!(
                "It takes no request body of unknown length ({status}): clients that stream one get that answer."
            );
            (step(format!("{status} to a request body in chunks")).fact("status", status), Some(note))
        }
        Ok(status) => (step(format!("{status} to a request body in chunks")).fact("status", status), None),
        Err(failure) => {
            let note = "A request body in chunks ends like that: is its server able to take them?".to_owned();
            (step(matter(&failure, PATIENCE)).because(failure.cause), Some(note))
        }
    }
}

/// A second request on the same connection, and how long the app keeps that one open with nothing on it.
async fn kept(look: &Look<'_>, base: &Visit) -> Vec<Told> {
    let idle = look.target.pool.connections.idle;
    let not_tried = |why: &str| vec![(Step::new("again", Duration::ZERO, format!("not tried: {why}")), None)];
    if look.endpoint.scheme == Scheme::H2c {
        return not_tried(H2_ALONE);
    }
    let kept = probe::kept(&look.endpoint, base, (idle + MARGIN).min(LONGEST)).await;
    let Kept { again, took, quiet } = match kept {
        Ok(Some(kept)) => kept,
        Ok(None) => return not_tried("the answer is longer than 1 MiB"),
        Err(failure) if failure.alert == Some(alert::NO_APPLICATION_PROTOCOL) => return not_tried(H2_ALONE),
        Err(failure) => {
            return vec![(Step::new("again", Duration::ZERO, matter(&failure, PATIENCE)).failed(), None)];
        }
    };
    let mut told = vec![match again {
        Some(Ok(status)) => {
            (Step::new("again", took, format!("{status} on the same connection")).fact("status", status), None)
        }
        Some(Err(failure)) => {
            let note = "It keeps a connection open and does not answer on it. Let it say Connection: close.".to_owned();
            (Step::new("again", took, matter(&failure, PATIENCE)).because(failure.cause), Some(note))
        }
        None => {
            let note = "It closes after each answer, so every request opens a connection: that costs time and ports."
                .to_owned();
            (Step::new("again", took, "closed after the first answer").failed(), Some(note))
        }
    }];
    told.extend(quiet.map(|quiet| sooner_or_later(quiet, idle)));
    told
}

/// What an app's idle time means beside `connections.idle`.
fn sooner_or_later(quiet: Quiet, idle: Duration) -> Told {
    match quiet {
        Quiet::Open(after) => {
            let step = Step::new("idle", after, "still open").fact("closed", false);
            (step, None)
        }
        Quiet::Closed(after) => {
            let step = Step::new("idle", after, format!("closed by the app after {}", spoken(after)));
            let note = (after <= idle).then(|| {
                let (after, limit) = (spoken(after), spoken(idle));
                match below(quiet) {
                    Some(below) => format!(
                        "It closes idle connections after {after}, sooner than connections.idle ({limit}): causeway learns that; or set connections.idle = \"{below}\"."
                    ),
                    None => format!("It closes idle connections after {after}: set connections.max_idle = 0, so that none is kept."),
                }
            });
            (step.fact("closed", true), note)
        }
    }
}

/// A time for `connections.idle` that is safe with this app; `None`: none is.
fn below(quiet: Quiet) -> Option<String> {
    let (Quiet::Closed(after) | Quiet::Open(after)) = quiet;
    let safe = after.saturating_sub((after / 10).max(Duration::from_millis(200)));
    let step = if safe >= Duration::from_secs(1) { 1000 } else { 100 };
    let ms = u64::try_from(safe.as_millis()).unwrap_or(u64::MAX) / step * step;
    (ms > 0).then(|| duration_text(Duration::from_millis(ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_below_the_apps_own() {
        let below = |ms| below(Quiet::Closed(Duration::from_millis(ms)));
        assert_eq!(below(2020).as_deref(), Some("1s"));
        assert_eq!(below(5000).as_deref(), Some("4s"));
        assert_eq!(below(600).as_deref(), Some("400ms"));
        assert_eq!(below(250), None);
    }

    #[test]
    fn only_an_app_that_closes_sooner_is_a_matter() {
        let (s, idle) = (Duration::from_secs, Duration::from_secs(4));
        assert!(sooner_or_later(Quiet::Open(s(5)), idle).1.is_none());
        assert!(sooner_or_later(Quiet::Closed(Duration::from_millis(4500)), idle).1.is_none());
        let (step, note) = sooner_or_later(Quiet::Closed(s(2)), idle);
        assert_eq!(step.said, "closed by the app after 2.0 s");
        assert_eq!(
            note.unwrap(),
            "It closes idle connections after 2.0 s, sooner than connections.idle (4.0 s): \
             causeway learns that; or set connections.idle = \"1s\"."
        );
        assert!(sooner_or_later(Quiet::Closed(Duration::from_millis(100)), idle).1.unwrap().contains("max_idle = 0"));
    }
}

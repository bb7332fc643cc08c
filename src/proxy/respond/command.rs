//! The command to type next: of an attempt that failed, of a check that fails, of a request without a route.
//!
//! What goes into a shell is quoted where it must be, and left out where that would not be enough.

use std::borrow::Cow;
use std::net::IpAddr;

use http::Method;

use crate::cause::{Cause, Failure, Phase, bare};
use crate::health::State;
use crate::observe::{Attempt, Exchange, NotTried, Reason};

/// How the sentences of a gRPC check name it.
const GRPC: &str = "gRPC Health/Check";

/// The command that a finding has, else the failure's own. Once the connection stood, another address could answer
/// well: it asks for what was asked.
pub(super) fn after_attempt(exchange: &Exchange, attempt: &Attempt, failure: &Failure) -> Option<String> {
    if let Some(command) = attempt.finding.as_ref().and_then(|finding| finding.command.clone()) {
        return Some(command);
    }
    let stood = matches!(failure.phase, Phase::Request | Phase::Head | Phase::Body);
    let repeatable = matches!(exchange.method, Method::GET | Method::HEAD);
    let target = exchange.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let sound =
        target.starts_with('/') && target.len() <= 120 && target.bytes().all(|b| b.is_ascii_graphic() && b != b'\'');
    let target = if stood && repeatable && sound { target } else { "/" };
    of_cause(failure, &attempt.upstream, &attempt.authority, target)
}

/// The operator's word first; then what a finding has, the check's own request where it got an answer that is not
/// wanted, or what the cause says.
pub(super) fn after_check(skip: &NotTried, check: Option<&(Cause, String)>) -> Option<String> {
    let found = skip.finding.as_ref().and_then(|finding| finding.command.as_ref());
    match (skip.reason, check) {
        // What is the matter with it besides is not why it got no turn.
        (Reason::Draining, _) => Failure::new(Cause::Draining).command(""),
        (Reason::Disabled, _) => Failure::new(Cause::Disabled).command(""),
        (_, Some(_)) if found.is_some() => found.cloned(),
        (_, Some((cause, sentence))) => grpcurl(skip, sentence).or_else(|| {
            let authority = at_port(&skip.authority, checked_port(sentence, &skip.authority));
            let target = match cause {
                Cause::HealthStatus | Cause::HealthBody => checked_path(sentence).unwrap_or("/"),
                _ => "/",
            };
            of_cause(&Failure::new(*cause), &skip.upstream, &authority, target)
        }),
        (_, None) if skip.state == State::Ready => None,
        (_, None) => of_cause(&Failure::new(Cause::Evicted), &skip.upstream, &skip.authority, "/"),
    }
}

/// The cause's own command, at the address that was dialled. One that sends a request asks for this target; and at one
/// of the addresses of a name with curl, which can keep the name.
fn of_cause(failure: &Failure, upstream: &str, authority: &str, target: &str) -> Option<String> {
    let command = failure.command(authority)?;
    let Some((words, url)) = command.rsplit_once(' ').filter(|(_, url)| url.contains("://")) else {
        let command = failure.command(&dialled(upstream, authority))?;
        return Some(match command.rsplit_once(' ') {
            // A shell could take the brackets for a pattern.
            Some((words, address)) if address.starts_with('[') => format!("{words} '{address}'"),
            _ => command,
        });
    };
    let there = one_of_several(upstream).map(|ip| match ip {
        IpAddr::V4(ip) => format!(" --connect-to ::{ip}:"),
        IpAddr::V6(ip) => format!(" --connect-to '::[{ip}]:'"),
    });
    let (mut words, mut url) = (words, Cow::Borrowed(url.trim_end_matches('/')));
    if there.is_some() && !words.starts_with("curl ") {
        words = "curl -i";
        if let Some(bare) = url.strip_prefix("h2c://") {
            (words, url) = ("curl --http2-prior-knowledge -i", Cow::Owned(format!("http://{bare}")));
        }
    }
    Some(asks(&format!("{words}{}", there.unwrap_or_default()), &url, target))
}

/// `causeway check FILE --url …` for this request, where host and path can go into a shell as they are.
pub(super) fn which_route(exchange: &Exchange, file: &str) -> Option<String> {
    let host = exchange.host.as_ref()?.to_str().ok()?;
    let url = format!("http://{host}{}", exchange.uri.path());
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.~%:[]".contains(&b);
    (url.bytes().all(plain) && url.len() <= 120)
        .then(|| format!("causeway check {file} --url {url} --method {}", exchange.method))
}

/// The address of `app.test:3000@127.0.0.2`, one of several that a name has.
pub(super) fn one_of_several(upstream: &str) -> Option<IpAddr> {
    upstream.rsplit_once('@')?.1.parse().ok()
}

/// What was dialled: `127.0.0.2:3000` where that is one of several addresses of a name, else the `host:port` itself.
pub(super) fn dialled<'a>(upstream: &str, authority: &'a str) -> Cow<'a, str> {
    match (one_of_several(upstream), authority.rsplit_once(':')) {
        // Its certificate has the name, not the address.
        _ if bare(authority).len() < authority.len() => Cow::Borrowed(authority),
        (Some(IpAddr::V4(ip)), Some((_, port))) => Cow::Owned(format!("{ip}:{port}")),
        (Some(IpAddr::V6(ip)), Some((_, port))) => Cow::Owned(format!("[{ip}]:{port}")),
        _ => Cow::Borrowed(authority),
    }
}

/// The path in `GET /healthz gives …`, where it can go into a shell as it is.
pub(super) fn checked_path(sentence: &str) -> Option<&str> {
    let mut words = sentence.strip_prefix("health check ").unwrap_or(sentence).split(' ');
    let method = words.next()?;
    let path = words.next()?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.~%".contains(&b);
    (method.bytes().all(|b| b.is_ascii_uppercase()) && path.starts_with('/') && path.bytes().all(plain)).then_some(path)
}

/// The port in `GET /healthz on port 9000 gives …`, or in `Nothing listens on 127.0.0.1:9000`: that of the checks,
/// where it is another than that of requests.
fn checked_port(sentence: &str, authority: &str) -> Option<u16> {
    let asked = sentence.split_once(" gives ").map_or(sentence, |(asked, _)| asked);
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let behind = |lead: &str| asked.split_once(lead).map(|(_, rest)| rest);
    let rest = behind(" on port ").or_else(|| behind(&format!("{host}:")))?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn at_port(authority: &str, port: Option<u16>) -> Cow<'_, str> {
    match (port, authority.rsplit_once(':')) {
        (Some(port), Some((host, _))) => Cow::Owned(format!("{host}:{port}")),
        _ => Cow::Borrowed(authority),
    }
}

/// The call of a gRPC check, if that is what the sentence is about.
fn grpcurl(skip: &NotTried, sentence: &str) -> Option<String> {
    let (_, rest) = sentence.split_once(GRPC)?;
    let service = rest.strip_prefix(" of ").and_then(|rest| rest.split(' ').next());
    let service = service.map(|service| service.trim_end_matches('.')).unwrap_or_default();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-/".contains(&b);
    let data = match service {
        "" => String::new(),
        service if service.bytes().all(plain) => format!("-d '{{\"service\":\"{service}\"}}' "),
        _ => return None,
    };
    let address = dialled(&skip.upstream, &skip.authority);
    let address = at_port(&address, checked_port(sentence, &skip.authority));
    let plaintext = if address.starts_with("https://") { "" } else { "-plaintext " };
    Some(format!("grpcurl {plaintext}{data}{} grpc.health.v1.Health/Check", bare(&address)))
}

/// Quoted for the shell, and guarded from curl's own patterns, where the target has something for them.
fn asks(words: &str, url: &str, target: &str) -> String {
    let words = match words.strip_prefix("curl ") {
        Some(options) if target.contains(['[', ']', '{', '}']) => format!("curl -g {options}"),
        _ => words.to_owned(),
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._~-".contains(&b);
    let quote = if target.bytes().all(plain) && !url.contains('[') { "" } else { "'" };
    format!("{words} {quote}{url}{target}{quote}")
}

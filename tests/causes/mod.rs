//! Every cause, produced by a real fault through the whole proxy: status, row, Proxy-Status, the three forms, and
//! nothing secret where detail is public. [`spec`] says what each must be, and where it is met.

mod behind;
mod checks;
mod clients;
mod elsewhere;
mod kept_out;
mod limits;
mod own_network;
mod secure;
mod spec;
mod table;

use causeway::cause::{Cause, Phase};
use serde_json::Value;

use crate::support::proxy::Proxy;
use crate::support::raw::{Raw, Response};
use crate::support::schema;

const PATH: &str = "/secret-path";

/// What an answer must say.
struct Wanted {
    cause: Cause,
    status: u16,
    /// Of the one attempt; `None`: no upstream was asked.
    attempt: Option<(Phase, bool)>,
}

/// Asks for all three forms and checks each. `ask` gets the value of Accept and returns the answer.
async fn checked(wanted: &Wanted, full: bool, secrets: &[String], ask: impl AsyncFn(&str) -> Response) {
    let token = wanted.cause.token();
    for (accept, kind) in
        [("*/*", "application/problem+json"), ("text/plain", "text/plain"), ("text/html", "text/html")]
    {
        let answer = ask(accept).await;
        assert_eq!(answer.status, wanted.status, "{token}: {answer:?}");
        assert!(answer.complete && answer.field("content-type").is_some_and(|t| t.starts_with(kind)), "{answer:?}");
        assert_eq!((answer.field("cache-control"), answer.field("vary")), (Some("no-store"), Some("Accept")));
        proxy_status(wanted, &answer, full);
        let text = answer.text();
        if accept == "*/*" {
            json(wanted, &serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}")), full);
        }
        // An error of no upstream's is a sentence in the forms for people; its token is in JSON and Proxy-Status.
        if wanted.attempt.is_some() || accept == "*/*" {
            assert!(text.contains(token), "{token} is not in the {kind}:\n{text}");
        }
        assert!(text.contains(answer.field("x-request-id").unwrap()), "{text}");
        for secret in secrets.iter().filter(|_| !full) {
            let all = format!("{}\n{text}", answer.head);
            assert!(!all.contains(secret.as_str()), "{token}: {secret:?} in public:\n{all}");
        }
    }
}

fn proxy_status(wanted: &Wanted, answer: &Response, full: bool) {
    let field = answer.field("proxy-status").unwrap_or_else(|| panic!("{answer:?}"));
    let list: sfv::List = sfv::Parser::new(field).parse().unwrap_or_else(|e| panic!("{field}: {e}"));
    let [sfv::ListEntry::Item(item)] = &list[..] else { panic!("{field}") };
    assert_eq!(item.bare_item.as_token().map(|t| t.as_str()), Some("causeway"), "{field}");
    let error = item.params.get("error").and_then(|e| e.as_token()).unwrap_or_else(|| panic!("{field}"));
    let param = |name: &str| item.params.get(name);
    match error.as_str() {
        // One field alone is over the limit.
        "http_response_header_size" if wanted.cause == Cause::ResponseHeadTooLarge => {
            assert!(param("header-name").is_some() && param("header-size").is_some(), "{field}");
        }
        other => assert_eq!(other, wanted.cause.row().rfc9209, "{field}"),
    }
    let asked = wanted.attempt.is_some_and(|(phase, _)| !matches!(phase, Phase::Resolve | Phase::Connect | Phase::Tls));
    let theirs = wanted.cause.row().fault == causeway::cause::Fault::Client;
    assert!(param("next-protocol").is_some() == asked || theirs, "{field}");
    let status = param("status-code").and_then(|code| code.as_integer()).map(i128::from);
    assert_eq!(status, (error.as_str() == "http_request_error").then_some(wanted.status.into()), "{field}");
    let details = item.params.get("details").and_then(|d| d.as_string()).unwrap_or_else(|| panic!("{field}"));
    assert!(details.as_str().contains(&answer.field("x-request-id").unwrap()[..8]), "{field}");
    assert_eq!(item.params.contains_key("next-hop"), full && wanted.attempt.is_some(), "{field}");
}

fn json(wanted: &Wanted, body: &Value, full: bool) {
    schema::assert_error(body);
    assert_eq!(body["cause"], wanted.cause.token(), "{body:#}");
    assert_eq!(body["status"], wanted.status, "{body:#}");
    assert!(body["detail"].as_str().is_some_and(|d| !d.is_empty()), "{body:#}");
    let attempts = body["attempts"].as_array().unwrap();
    match wanted.attempt {
        None => assert!(attempts.is_empty(), "{body:#}"),
        Some((phase, sent)) => {
            let [row] = &attempts[..] else { panic!("one upstream, one attempt: {body:#}") };
            assert_eq!(row["cause"], wanted.cause.token(), "{body:#}");
            assert_eq!((&row["phase"], &row["sent"]), (&phase.token().into(), &sent.into()), "{body:#}");
            assert!(row["elapsed_ms"].as_f64().is_some(), "{body:#}");
            assert_eq!(row["message"].as_str().is_some_and(|m| !m.is_empty()), full, "{body:#}");
            assert_eq!(row["hint"].as_str().is_some_and(|h| !h.is_empty()), full, "{body:#}");
            assert_eq!(body["not_tried"].as_array().map(Vec::len), Some(0), "{body:#}");
        }
    }
}

/// One request on a connection of its own, as far as the proxy takes it, and the answer.
async fn ask(proxy: &Proxy, head: &str, body: &[u8]) -> Response {
    let mut client = Raw::connect(proxy.address).await;
    client.send(head).await;
    for piece in body.chunks(64 << 10) {
        // An upstream that takes nothing, and so a proxy: write on beside the waiting for the answer.
        let write = tokio::time::timeout(std::time::Duration::from_millis(200), client.try_send(piece));
        if !matches!(write.await, Ok(Ok(()))) {
            break;
        }
    }
    client.response().await
}

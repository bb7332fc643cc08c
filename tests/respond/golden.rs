//! The three forms, word by word (LOOK.md).

use super::*;

#[test]
fn text_in_full() {
    assert_eq!(
        body(&golden(), Form::Text, true),
        "\
502 Bad Gateway

2 of 3 upstreams of pool \"app\" failed, 1 was not tried: GET /orders, 5.0 s.

1  127.0.0.1:3000   connection_refused                         connect    0.3 ms
   Nothing listens on 127.0.0.1:3000. Is the app running, and is the port right?
   Next: causeway probe 127.0.0.1:3000

2  127.0.0.1:3001   read_timeout                               head        5.0 s
   It took the request, then was silent for 5.0 s (limit: timeouts.read). Is it
   stuck, or is this route slow and needs a longer limit?
   Next: causeway explain read_timeout

3  127.0.0.1:3002   not tried: evicted 41 s ago (health_status)
   Health check GET /healthz gives 503, wanted 200-399. Next one in 1.2 s.
   Next: curl -i http://127.0.0.1:3002/healthz

This answer comes from the proxy (causeway), not from the app.
Request 4f6c2a91b07de358c1a4e9d2637f8b05, 2026-11-20 14:22:51 UTC
Next: causeway explain 4f6c2a91
"
    );
}

#[test]
fn text_in_public() {
    assert_eq!(
        body(&golden(), Form::Text, false),
        "\
502 Bad Gateway

The servers behind this site did not answer. Trying again later may help.

app/1   connection_refused        app/2   read_timeout        app/3   evicted

If you report this, quote the request: 4f6c2a91b07de358c1a4e9d2637f8b05
"
    );
}

#[test]
fn json_in_full() {
    let body = body(&golden(), Form::Json, true);
    assert_eq!(
        body,
        r#"{
  "type": "about:blank", "title": "Bad Gateway", "status": 502,
  "detail": "2 of 3 upstreams of pool \"app\" failed, 1 was not tried.",
  "hint": "Start with 127.0.0.1:3000: nothing listens there. Is the app running, and is the port right?",
  "cause": "connection_refused", "request_id": "4f6c2a91b07de358c1a4e9d2637f8b05",
  "instance": "/api/incidents/4f6c2a91b07de358c1a4e9d2637f8b05",
  "route": "shop", "pool": "app", "elapsed_ms": 5001.2,
  "attempts": [
    { "upstream": "127.0.0.1:3000", "phase": "connect", "cause": "connection_refused", "sent": false, "elapsed_ms": 0.3,
      "message": "connection refused", "command": "causeway probe 127.0.0.1:3000",
      "hint": "Nothing listens on 127.0.0.1:3000. Is the app running, and is the port right?" },
    { "upstream": "127.0.0.1:3001", "phase": "head", "cause": "read_timeout", "sent": true, "elapsed_ms": 5000.6,
      "message": "no response head within 5 s", "command": "causeway explain read_timeout",
      "hint": "It took the request, then was silent for 5.0 s (limit: timeouts.read). Is it stuck, or is this route slow and needs a longer limit?" } ],
  "not_tried": [
    { "upstream": "127.0.0.1:3002", "reason": "evicted", "state": "evicted", "cause": "health_status", "since": "2026-11-20T14:22:10Z", "next_check_ms": 1200,
      "message": "health check GET /healthz gives 503, wanted 200-399", "command": "curl -i http://127.0.0.1:3002/healthz" } ]
}
"#
    );
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(json["attempts"].as_array().unwrap().len() + json["not_tried"].as_array().unwrap().len(), 3);
}

#[test]
fn html_in_full() {
    let page = body(&golden(), Form::Html, true);
    for part in [
        "<p class=\"status\">502</p>\n<h1>No upstream could answer</h1>",
        "<p class=\"lead\">2 of 3 upstreams of pool app failed, 1 was not tried. GET /orders, 5.0 s.</p>",
        "<li class=\"failed\"><div class=\"row\"><span class=\"mark\">failed</span> <b>127.0.0.1:3000</b> <code>connection_refused</code>",
        "<span class=\"mark\">not tried</span> <b>127.0.0.1:3002</b> <code>health_status</code> <span class=\"time\">evicted 41 s ago</span>",
        "<p>Sent to an app: once (127.0.0.1:3001).</p>",
        "<a href=\"\">Try again</a>",
        "This page comes from the proxy causeway, not from the app.",
        "<code class=\"id\">4f6c2a91b07de358c1a4e9d2637f8b05</code>",
        "<p>Details: <code class=\"id\">causeway explain 4f6c2a91</code></p>",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    for never in ["<script", "http://fonts", "src=", "{{", "}}<"] {
        assert!(!page.contains(never), "{never}");
    }
}

#[test]
fn the_fields_of_a_502() {
    let exchange = golden();
    let response = annotator().render(&exchange, &verdict(&exchange), Telling::new(Form::Json, true));
    let field = |name: &str| response.headers().get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!(response.status(), 502);
    assert_eq!(
        field("proxy-status"),
        "causeway; error=connection_refused; next-hop=\"127.0.0.1:3000\"; \
         details=\"2 failed: connection_refused, read_timeout; 1 not tried: evicted; request 4f6c2a91\""
    );
    assert_eq!(field("x-request-id"), "4f6c2a91b07de358c1a4e9d2637f8b05");
    assert_eq!(field("cache-control"), "no-store");
    assert_eq!(field("vary"), "Accept");
    assert_eq!(field("content-type"), "application/problem+json");
    assert_eq!(field("content-length"), response.body().len().to_string());
}

/// A POST that reached the first of two; the second is ready, whatever its checks said long ago.
fn ready_and_not_tried() -> Exchange {
    let mut exchange = golden();
    (exchange.method, exchange.idempotent, exchange.pool_size) = (Method::POST, false, 2);
    exchange.attempts.remove(0);
    exchange.not_tried[0].reason = Reason::RequestSent;
    exchange.not_tried[0].state = State::Ready;
    exchange
}

#[test]
fn one_that_is_ready_is_not_shown_as_if_it_were_down() {
    let exchange = ready_and_not_tried();
    let text = body(&exchange, Form::Text, true);
    let row = "\n2  127.0.0.1:3002   not tried: request_sent\n   It is ready. The POST had already been sent, and a POST is not sent twice.\n\nSent";
    assert!(text.contains(row), "{text}");
    let json = body(&exchange, Form::Json, true);
    let row = r#"    { "upstream": "127.0.0.1:3002", "reason": "request_sent", "state": "ready",
      "message": "the POST had already been sent, and a POST is not sent twice" } ]"#;
    assert!(json.contains(row), "{json}");
    let html = body(&exchange, Form::Html, true);
    let row = "<b>127.0.0.1:3002</b> <code>request_sent</code></div>\n<p>It is ready. The POST had already been sent, and a POST is not sent twice.</p>\n</li>";
    assert!(html.contains(row), "{html}");
    for form in FORMS {
        for full in [true, false] {
            let page = body(&exchange, form, full);
            assert!(!page.contains("health_status") && !page.contains("503"), "{page}");
        }
    }
}

#[test]
fn one_card_says_it_once() {
    let mut exchange = golden();
    exchange.not_tried.clear();
    exchange.attempts.truncate(1);
    exchange.pool_size = 1;
    let page = body(&exchange, Form::Html, true);
    assert!(!page.contains("What to do first") && page.contains("<a href=\"\">Try again</a>"), "{page}");
    assert_eq!(page.matches("is the port right?").count(), 1, "{page}");
    assert!(body(&golden(), Form::Html, true).contains("What to do first"));
}

#[test]
fn a_named_upstream_says_its_address() {
    let mut exchange = golden();
    exchange.attempts[0].upstream = "one".into();
    exchange.not_tried[0].upstream = "three".into();
    let json: serde_json::Value = serde_json::from_str(&body(&exchange, Form::Json, true)).unwrap();
    assert_eq!(json["attempts"][0]["address"], "127.0.0.1:3000");
    assert_eq!(json["attempts"][1].get("address"), None);
    assert_eq!(json["not_tried"][0]["address"], "127.0.0.1:3002");
    assert!(!body(&exchange, Form::Json, false).contains("address\""));
}

//! The annotated error: golden texts, every cause in every form, nothing secret in public, verdicts, negotiation.

use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use causeway::cause::{Cause, Failure, Fault};
use causeway::config::model::{Detail, Errors, Networks};
use causeway::health::State;
use causeway::observe::exchange::EndedBy;
use causeway::observe::{Attempt, Exchange, NotTried, Outcome, Reason};
use causeway::proxy::respond::{Annotator, Form, Telling, Verdict, detail_is_full, refuse_bytes, scan, verdict};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use proptest::prelude::*;

pub(crate) fn exchange() -> Exchange {
    Exchange {
        request_id: "4f6c2a91b07de358c1a4e9d2637f8b05".into(),
        started: Instant::now(),
        at: UNIX_EPOCH + Duration::from_millis(1_795_184_566_318),
        client: "127.0.0.1:50000".parse().unwrap(),
        listener: "web".into(),
        method: Method::GET,
        uri: "/orders?page=2".parse().unwrap(),
        host: Some(HeaderValue::from_static("shop.example")),
        version: Version::HTTP_11,
        user_agent: Some(HeaderValue::from_static("curl/8.5.0")),
        referer: None,
        route: Some("shop".into()),
        pool: Some("app".into()),
        pool_size: 3,
        attempts: Vec::new(),
        not_tried: Vec::new(),
        status: 0,
        failure: None,
        bytes_in: 0,
        bytes_out: 0,
        elapsed: Duration::from_micros(5_001_200),
        ended_by: EndedBy::Proxy,
        logged: true,
    }
}

pub(crate) fn attempt(ordinal: usize, outcome: Outcome, micros: u64) -> Attempt {
    let authority: Arc<str> = format!("127.0.0.1:{}", 2999 + ordinal).into();
    Attempt {
        upstream: authority.clone(),
        ordinal,
        authority,
        outcome,
        reused: false,
        connect: None,
        head: None,
        elapsed: Duration::from_micros(micros),
        last_resort: false,
    }
}

pub(crate) fn failed(ordinal: usize, failure: Failure, micros: u64) -> Attempt {
    attempt(ordinal, Outcome::Failed(Arc::new(failure)), micros)
}

pub(crate) fn skipped(ordinal: usize, reason: Reason) -> NotTried {
    let authority: Arc<str> = format!("127.0.0.1:{}", 2999 + ordinal).into();
    NotTried {
        upstream: authority.clone(),
        ordinal,
        authority,
        reason,
        state: State::Evicted,
        last_failure: Some((Cause::HealthStatus, "GET /healthz gives 503, wanted 200-399".to_owned())),
        since: UNIX_EPOCH + Duration::from_secs(1_795_184_530),
        held_for: Duration::from_secs(41),
        next_check: Some(Duration::from_millis(1200)),
    }
}

/// The setting of the golden samples.
pub(crate) fn golden() -> Exchange {
    let mut exchange = exchange();
    exchange.attempts = vec![
        failed(1, Failure::new(Cause::ConnectionRefused), 300),
        failed(2, Failure::new(Cause::ReadTimeout).sent(true).limit("5.0 s"), 5_000_600),
    ];
    exchange.not_tried = vec![skipped(3, Reason::Evicted)];
    exchange
}

fn annotator() -> Annotator {
    Annotator::new("causeway".into())
}

fn body(exchange: &Exchange, form: Form, full: bool) -> String {
    let response = annotator().render(exchange, &verdict(exchange), Telling::new(form, full));
    String::from_utf8(response.body().to_vec()).unwrap()
}

#[test]
fn text_in_full() {
    assert_eq!(
        body(&golden(), Form::Text, true),
        "\
502 Bad Gateway

2 of 3 upstreams of pool \"app\" failed, 1 was not tried: GET /orders, 5.0 s.

1  127.0.0.1:3000   connection_refused                         connect    0.3 ms
   Nothing listens on 127.0.0.1:3000. Is the app running, and is the port right?
   Next: curl -i http://127.0.0.1:3000/

2  127.0.0.1:3001   read_timeout                               head        5.0 s
   It took the request, then was silent for 5.0 s (limit: timeouts.read). Is it
   stuck, or is this route slow and needs a longer limit?
   Next: curl -i http://127.0.0.1:3001/

3  127.0.0.1:3002   not tried: evicted 41 s ago (health_status)
   Health check GET /healthz gives 503, wanted 200-399. Next one in 1.2 s.
   Next: curl -i http://127.0.0.1:3002/healthz

Sent to an app: once (127.0.0.1:3001).

This answer comes from the proxy (causeway), not from the app.
Request 4f6c2a91b07de358c1a4e9d2637f8b05, 2026-11-20 14:22:51 UTC
The access log has the whole trail under this request id.
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
      "message": "connection refused", "command": "curl -i http://127.0.0.1:3000/",
      "hint": "Nothing listens on 127.0.0.1:3000. Is the app running, and is the port right?" },
    { "upstream": "127.0.0.1:3001", "phase": "head", "cause": "read_timeout", "sent": true, "elapsed_ms": 5000.6,
      "message": "no response head within 5 s", "command": "curl -i http://127.0.0.1:3001/",
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
        "<p>2 of 3 upstreams of pool &quot;app&quot; failed, 1 was not tried. GET /orders, 5.0 s.</p>",
        "<li class=\"failed\"><div class=\"row\"><span class=\"mark\">failed</span> <b>127.0.0.1:3000</b> <code>connection_refused</code>",
        "<span class=\"mark\">not tried</span> <b>127.0.0.1:3002</b> <code>health_status</code> <span class=\"time\">evicted 41 s ago</span>",
        "<p>Sent to an app: once (127.0.0.1:3001).</p>",
        "<a href=\"\">Try again</a>",
        "This page comes from the proxy causeway, not from the app.",
        "<code class=\"id\">4f6c2a91b07de358c1a4e9d2637f8b05</code>",
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

const FORMS: [Form; 4] = [Form::Json, Form::Html, Form::Text, Form::Grpc];

/// A failure that carries everything it could.
fn loaded(cause: Cause) -> Failure {
    Failure::new(cause).limit("77 s").seen("SEEN-BYTES").from(std::io::Error::other("SOURCE-TEXT"))
}

fn one_failure(cause: Cause) -> Exchange {
    let mut exchange = exchange();
    exchange.attempts = vec![failed(1, loaded(cause), 300)];
    exchange.not_tried = vec![skipped(2, Reason::Final), skipped(3, Reason::Evicted)];
    exchange
}

#[test]
fn every_cause_speaks_in_every_form_and_public_detail_tells_no_secret() {
    for &cause in Cause::ALL {
        let exchange = one_failure(cause);
        for form in FORMS {
            for full in [true, false] {
                let response = annotator().render(&exchange, &verdict(&exchange), Telling::new(form, full));
                let body = String::from_utf8(response.body().to_vec()).unwrap();
                let fields = format!("{:?}", response.headers());
                assert!(body.is_ascii() && fields.is_ascii(), "{cause} {form:?}");
                assert!(
                    !body.contains("SOURCE-TEXT") && !fields.contains("SOURCE-TEXT"),
                    "{cause}: the source is for the log"
                );
                assert!(!body.contains("{seen}") && !body.contains("{limit}") && !body.contains("{address}"), "{body}");
                if form != Form::Grpc {
                    assert!(body.contains(cause.token()), "{cause} {form:?} {full}\n{body}");
                }
                let own = cause.row().fault == Fault::Client;
                if !full {
                    for secret in ["127.0.0.1", ":3000", ":3002", "/orders", "page=2", "/healthz", "curl ", "gives 503"]
                    {
                        assert!(
                            !body.contains(secret) && !fields.contains(secret),
                            "{cause} {form:?} {secret}\n{body}{fields}"
                        );
                    }
                    assert!(own || !body.contains("SEEN-BYTES") && !body.contains("77 s"), "{cause} {form:?}\n{body}");
                    assert!(own || !body.contains(cause.row().message) || cause == Cause::Bug, "{cause}\n{body}");
                }
            }
        }
    }
}

#[test]
fn proxy_status_is_a_structured_field_for_every_cause() {
    let registered = [
        "dns_timeout",
        "dns_error",
        "destination_not_found",
        "destination_unavailable",
        "destination_ip_unroutable",
        "connection_refused",
        "connection_terminated",
        "connection_timeout",
        "connection_read_timeout",
        "connection_write_timeout",
        "http_request_error",
        "http_response_incomplete",
        "http_protocol_error",
        "http_response_header_section_size",
        "http_response_transfer_coding",
        "http_response_timeout",
        "http_upgrade_failed",
        "proxy_internal_response",
        "proxy_internal_error",
        "proxy_loop_detected",
    ];
    for name in ["causeway", "edge 1", "1st", "say \"hi\"\\", "caf\u{e9}"] {
        for &cause in Cause::ALL {
            let exchange = one_failure(cause);
            let response =
                Annotator::new(name.into()).render(&exchange, &verdict(&exchange), Telling::new(Form::Json, true));
            let field = response.headers()["proxy-status"].to_str().unwrap().to_owned();
            let list: sfv::List = sfv::Parser::new(&field).parse().unwrap_or_else(|e| panic!("{field}: {e}"));
            let [sfv::ListEntry::Item(item)] = &list[..] else { panic!("{field}") };
            let error = item.params.get("error").and_then(|e| e.as_token()).unwrap_or_else(|| panic!("{field}"));
            assert!(registered.contains(&error.as_str()), "{field}");
            assert!(item.params.get("details").and_then(|d| d.as_string()).is_some(), "{field}");
            assert_eq!(item.params.get("next-hop").unwrap().as_string().unwrap().as_str(), "127.0.0.1:3000");
        }
    }
}

#[test]
fn parameters_that_belong_to_one_error_type() {
    let field = |failure: Failure| {
        let mut exchange = exchange();
        exchange.attempts = vec![failed(1, failure, 1)];
        let response = annotator().render(&exchange, &verdict(&exchange), Telling::new(Form::Json, false));
        response.headers()["proxy-status"].to_str().unwrap().to_owned()
    };
    for (failure, part) in [
        (Failure::new(Cause::DnsNotFound), "error=dns_error; rcode=\"NXDOMAIN\""),
        (Failure::new(Cause::ResponseHeadTooLarge).seen("70000 bytes"), "header-section-size=70000"),
        (Failure::new(Cause::BadChunking), "error=http_response_transfer_coding; coding=\"chunked\""),
        (Failure::new(Cause::ClientTooLarge).status(431), "error=http_request_error; status-code=431"),
        (Failure::new(Cause::UpgradeFailed), "received-status=101"),
        (Failure::new(Cause::TruncatedBody).received(200), "received-status=200"),
    ] {
        let field = field(failure);
        assert!(field.contains(part), "{field}");
        assert!(!field.contains("next-hop"), "{field}");
    }
    let passing = annotator().passing("127.0.0.1:3001", StatusCode::OK);
    assert_eq!(passing, "causeway; next-hop=\"127.0.0.1:3001\"; received-status=200");
}

#[test]
fn a_large_pool_keeps_proxy_status_small() {
    let mut exchange = exchange();
    exchange.attempts = (1..=500).map(|n| failed(n, Failure::new(Cause::ConnectionRefused), 1)).collect();
    let response = annotator().render(&exchange, &verdict(&exchange), Telling::new(Form::Text, true));
    let field = response.headers()["proxy-status"].to_str().unwrap();
    assert!(field.len() < 400 && field.contains("500 failed: ") && field.contains("and 492 more"), "{field}");
}

/// What exists now: CONTRACT's keys that the model has, by their dotted names.
const KEYS: &[&str] = &[
    "timeouts.resolve",
    "timeouts.connect",
    "timeouts.write",
    "timeouts.read",
    "timeouts.body",
    "timeouts.request",
    "timeouts.tunnel",
    "buffers.request",
    "buffers.response_head",
    "buffers.response",
    "connections.idle",
    "connections.max_idle",
    "connections.max_age",
    "retry.attempts",
    "retry.resend",
    "retry.deadline",
    "limits.connections",
    "limits.head",
    "limits.fields",
];

#[test]
fn hints_name_only_keys_and_commands_that_exist() {
    let tables =
        ["timeouts.", "buffers.", "connections.", "retry.", "limits.", "health.", "passive.", "errors.", "tls."];
    let tools = ["curl ", "getent ", "ip ", "ulimit ", "sysctl "];
    let own = ["run", "check", "origin", "demo", "healthcheck"];
    let mut texts: Vec<String> = Vec::new();
    for &cause in Cause::ALL {
        let row = cause.row();
        texts.extend([row.hint, row.short, row.message].map(str::to_owned));
        let command = row.command;
        let tool = command.is_empty() || tools.iter().any(|tool| command.starts_with(tool)) || command == "ip route";
        let word = command.strip_prefix("causeway ").and_then(|rest| rest.split(' ').next());
        assert!(tool || word.is_some_and(|word| own.contains(&word)), "{cause}: {command}");
        for form in FORMS {
            texts.push(body(&one_failure(cause), form, true));
        }
    }
    for reason in [
        Reason::Evicted,
        Reason::RequestSent,
        Reason::BodyNotKept,
        Reason::Attempts,
        Reason::Deadline,
        Reason::ClientGone,
        Reason::Unknown,
        Reason::Final,
    ] {
        for method in [Method::GET, Method::POST] {
            let mut exchange = one_failure(Cause::ReadTimeout);
            exchange.method = method;
            exchange.not_tried = vec![skipped(2, reason)];
            texts.push(body(&exchange, Form::Text, true));
        }
    }
    for text in &texts {
        for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || "._".contains(c))) {
            let word = word.trim_matches('.');
            if tables.iter().any(|table| word.starts_with(table)) {
                assert!(KEYS.contains(&word), "{word} in {text}");
            }
        }
        for gone in ["causeway probe", "causeway explain", "causeway status", "p99"] {
            assert!(!text.contains(gone), "{gone} in {text}");
        }
    }
}

fn judged(failures: Vec<Failure>, own: Option<Failure>) -> (u16, Cause) {
    let mut exchange = exchange();
    exchange.attempts = failures.into_iter().enumerate().map(|(i, f)| failed(i + 1, f, 1)).collect();
    exchange.failure = own.map(Arc::new);
    let Verdict { status, failure, .. } = verdict(&exchange);
    (status.as_u16(), failure.cause)
}

#[test]
fn verdicts() {
    use Cause::{
        Bug, ClientTooLarge, ConnectTimeout, ConnectionRefused, DnsNotFound, DnsTimeout, Evicted, FilesExhausted,
        NoRoute, NotHttp, ReadTimeout, RequestTimeout, ResetBeforeHead, ShuttingDown,
    };
    let of = |causes: &[Cause]| judged(causes.iter().map(|c| Failure::new(*c)).collect(), None);
    assert_eq!(of(&[]), (502, Evicted));
    assert_eq!(of(&[ConnectionRefused]), (502, ConnectionRefused));
    assert_eq!(of(&[ReadTimeout, ConnectionRefused]), (502, ConnectionRefused));
    assert_eq!(of(&[ReadTimeout, ConnectTimeout, DnsTimeout]), (504, ReadTimeout));
    assert_eq!(of(&[ReadTimeout, Evicted]), (502, ReadTimeout));
    assert_eq!(of(&[FilesExhausted, FilesExhausted]), (503, FilesExhausted));
    assert_eq!(of(&[FilesExhausted, ConnectTimeout]), (502, FilesExhausted));
    assert_eq!(of(&[DnsNotFound, ConnectTimeout, ResetBeforeHead, ConnectionRefused, NotHttp]), (502, NotHttp));
    assert_eq!(of(&[DnsNotFound, ConnectTimeout, ResetBeforeHead]), (502, ResetBeforeHead));
    assert_eq!(of(&[ConnectionRefused, RequestTimeout]), (504, RequestTimeout));
    assert_eq!(of(&[ConnectionRefused, ClientTooLarge]), (413, ClientTooLarge));
    assert_eq!(of(&[Bug]), (500, Bug));
    let own = |failure: Failure| judged(vec![Failure::new(ConnectionRefused)], Some(failure));
    assert_eq!(own(Failure::new(NoRoute).status(405)), (405, NoRoute));
    assert_eq!(own(Failure::new(ShuttingDown)), (503, ShuttingDown));
    assert_eq!(own(Failure::new(RequestTimeout)), (504, RequestTimeout));
}

#[test]
fn a_verdict_stays_when_its_failure_is_written_into_the_record() {
    let mut exchange = golden();
    exchange.failure = Some(verdict(&exchange).failure);
    let again = verdict(&exchange);
    assert_eq!((again.status.as_u16(), again.cause(), again.attempt), (502, Cause::ConnectionRefused, Some(0)));
}

#[test]
fn nobody_could_be_tried() {
    let mut exchange = exchange();
    exchange.not_tried = (1..=3).map(|n| skipped(n, Reason::Evicted)).collect();
    let text = body(&exchange, Form::Text, true);
    assert!(text.contains("None of the 3 upstreams of pool \"app\" could be tried: GET /orders, 5.0 s."), "{text}");
    let response = annotator().render(&exchange, &verdict(&exchange), Telling::new(Form::Json, true));
    assert_eq!(response.status(), 502);
    assert_eq!(
        response.headers()["proxy-status"],
        "causeway; error=destination_unavailable; details=\"3 not tried: evicted, evicted, evicted; request 4f6c2a91\""
    );
    let json: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(
        json["hint"],
        "Start with 127.0.0.1:3000: health check GET /healthz gives 503, wanted 200-399. Next one in 1.2 s."
    );
    assert_eq!(json["attempts"], serde_json::json!([]));
}

#[test]
fn a_post_that_was_sent_is_told_so() {
    let mut exchange = golden();
    exchange.method = Method::POST;
    exchange.not_tried[0].reason = Reason::RequestSent;
    let told = "Sent to an app: once (127.0.0.1:3001). It may have taken effect there. Check before you send it again.";
    for form in [Form::Json, Form::Html] {
        assert!(body(&exchange, form, true).contains(told), "{form:?}");
    }
    assert!(body(&exchange, Form::Text, true).replace('\n', " ").contains(told));
    for form in [Form::Json, Form::Html, Form::Text] {
        let page = body(&exchange, form, false);
        assert!(page.contains("The request may have taken effect. Check before you send it again."), "{page}");
        assert!(!page.contains("Try again</a>"), "{page}");
    }
}

fn own(failure: Failure) -> Exchange {
    let mut exchange = exchange();
    exchange.failure = Some(Arc::new(failure));
    (exchange.route, exchange.pool, exchange.pool_size) = (None, None, 0);
    exchange
}

#[test]
fn errors_of_the_client_name_the_limit() {
    let large = own(Failure::new(Cause::ClientTooLarge).seen("12 MiB sent, 10 MiB allowed (route.upload max_body)"));
    for full in [true, false] {
        for form in [Form::Json, Form::Html, Form::Text] {
            let page = body(&large, form, full);
            assert!(page.replace('\n', " ").contains("12 MiB sent, 10 MiB allowed (route.upload max_body)."), "{page}");
        }
    }
    assert!(body(&large, Form::Html, true).contains("<h1>The request is too large</h1>"));
    let head = own(Failure::new(Cause::ClientTooLarge).status(431).limit("32 KiB"));
    assert!(body(&head, Form::Text, false).starts_with(
        "431 Request Header Fields Too Large\n\nThe request is larger than allowed: the limit is 32 KiB."
    ));
}

#[test]
fn nothing_is_routed_here() {
    let exchange = own(Failure::new(Cause::NoRoute).seen("GET shop.example/orders"));
    let telling = Telling { form: Form::Text, full: true, allow: "", nearest: &["shop.example /api".to_owned()] };
    let response = annotator().render(&exchange, &verdict(&exchange), telling);
    assert_eq!(
        std::str::from_utf8(response.body()).unwrap(),
        "\
404 Not Found

No route takes this address. GET /orders, 5.0 s.

Nearest routes: shop.example /api
Next: causeway check --url http://shop.example/orders --method GET

This answer comes from the proxy (causeway), not from the app.
Request 4f6c2a91b07de358c1a4e9d2637f8b05, 2026-11-20 14:22:51 UTC
The access log has the whole trail under this request id.
"
    );
    let exchange = own(Failure::new(Cause::NoRoute).status(405));
    let telling = Telling { form: Form::Text, full: false, allow: "GET, HEAD", nearest: &[] };
    let response = annotator().render(&exchange, &verdict(&exchange), telling);
    assert_eq!(
        (response.status().as_u16(), &response.headers()["allow"]),
        (405, &HeaderValue::from_static("GET, HEAD"))
    );
    assert!(response.body().starts_with(b"405 Method Not Allowed\n\nThis address takes GET, HEAD only.\n"));
}

#[test]
fn a_503_says_when_to_come_back() {
    for failure in [Failure::new(Cause::ShuttingDown), Failure::new(Cause::FilesExhausted)] {
        let exchange = own(failure);
        let response = annotator().render(&exchange, &verdict(&exchange), Telling::new(Form::Html, false));
        assert_eq!(response.status(), 503);
        let seconds: u32 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!(seconds >= 1);
        assert!(String::from_utf8_lossy(response.body()).contains(&format!("Try again in {seconds} s.")));
    }
}

#[test]
fn head_gets_the_same_head_without_the_body() {
    let mut exchange = golden();
    let get = annotator().render(&exchange, &verdict(&exchange), Telling::new(Form::Json, true));
    exchange.method = Method::HEAD;
    let head = annotator().render(&exchange, &verdict(&exchange), Telling::new(Form::Json, true));
    assert!(head.body().is_empty());
    assert_eq!(head.headers()["content-type"], get.headers()["content-type"]);
    // One letter more in the method's name would not do here: the detail of JSON does not hold it.
    assert_eq!(head.headers()["content-length"], get.headers()["content-length"]);
}

#[test]
fn grpc_gets_trailers_only() {
    let status = |failure: Failure| {
        let exchange = own(failure);
        let response = annotator().render(&exchange, &verdict(&exchange), Telling::new(Form::Grpc, true));
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/grpc");
        response.headers()["grpc-status"].to_str().unwrap().parse::<u16>().unwrap()
    };
    assert_eq!(status(Failure::new(Cause::NoRoute)), 12);
    assert_eq!(status(Failure::new(Cause::ClientInvalid)), 13);
    assert_eq!(status(Failure::new(Cause::ClientTooLarge)), 8);
    assert_eq!(status(Failure::new(Cause::ClientTooLarge).status(431)), 8);
    assert_eq!(status(Failure::new(Cause::RequestTimeout)), 4);
    assert_eq!(status(Failure::new(Cause::ShuttingDown)), 14);
    let mut exchange = golden();
    exchange.pool = Some("100%".into());
    let response = annotator().render(&exchange, &verdict(&exchange), Telling::new(Form::Grpc, true));
    assert_eq!(response.headers()["grpc-status"], "14");
    assert_eq!(
        response.headers()["grpc-message"],
        "2 of 3 upstreams of pool \"100%25\" failed, 1 was not tried; request 4f6c2a91"
    );
}

#[test]
fn accept_is_negotiated() {
    let form = |accept: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("accept", HeaderValue::from_str(accept).unwrap());
        Form::of(&headers)
    };
    assert_eq!(Form::of(&HeaderMap::new()), Form::Json);
    for (accept, wanted) in [
        ("*/*", Form::Json),
        ("", Form::Json),
        ("image/png", Form::Json),
        ("application/json", Form::Json),
        ("application/problem+json", Form::Json),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", Form::Html),
        ("text/plain", Form::Text),
        ("TEXT/PLAIN", Form::Text),
        ("text/*", Form::Html),
        ("text/plain, */*", Form::Text),
        ("text/plain;q=0.5, text/html;q=0.4", Form::Text),
        ("text/html;q=0.4, text/plain;q=0.5", Form::Text),
        ("text/html;q=0, */*", Form::Json),
        ("application/json;q=0, text/*;q=0.1", Form::Html),
        ("application/json, text/plain, */*", Form::Json),
        ("text/html;level=1;q=0.3, application/json;q=0.2", Form::Html),
        ("text/plain;q=1.5, text/html", Form::Html),
        ("text/plain;q=NaN", Form::Json),
        (";;q=,,,/", Form::Json),
    ] {
        assert_eq!(form(accept), wanted, "{accept}");
    }
    let mut two = HeaderMap::new();
    two.append("accept", HeaderValue::from_static("text/html;q=0.1"));
    two.append("accept", HeaderValue::from_static("text/plain;q=0.9"));
    assert_eq!(Form::of(&two), Form::Text);
    for (kind, wanted) in
        [("application/grpc", Form::Grpc), ("application/grpc+proto", Form::Grpc), ("application/gr", Form::Json)]
    {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static(kind));
        assert_eq!(Form::of(&headers), wanted);
    }
}

#[test]
fn hostile_bytes_stay_text() {
    let evil = "<script>alert('x')</script>\"\r\nSet-Cookie: a=b\u{1b}[31m\u{202e}";
    let mut exchange = golden();
    exchange.pool = Some(evil.into());
    exchange.route = Some(evil.into());
    exchange.uri = "/<script>'{{foot}}'".parse().unwrap_or_else(|_| "/'{{foot}}'&lt".parse().unwrap());
    exchange.attempts.push(failed(3, Failure::new(Cause::NotHttp).seen(evil), 1));
    exchange.not_tried[0].last_failure = Some((Cause::HealthStatus, format!("GET /$(reboot) gives {evil}")));
    for form in FORMS {
        for full in [true, false] {
            let response = annotator().render(&exchange, &verdict(&exchange), Telling::new(form, full));
            let page = String::from_utf8(response.body().to_vec()).unwrap();
            assert!(page.bytes().all(|b| b == b'\n' || matches!(b, b' '..=b'~')), "{form:?} {page}");
            assert!(form != Form::Html || !page.contains("<script"), "{page}");
            assert!(!page.contains("curl -i http://127.0.0.1:3002/$("), "{page}");
            assert!(response.headers().get("set-cookie").is_none());
            if form == Form::Json {
                let json: serde_json::Value = serde_json::from_str(&page).unwrap();
                assert_eq!(json["route"], evil);
            }
        }
    }
    let bytes = refuse_bytes(annotator().render(&exchange, &verdict(&exchange), Telling::new(Form::Html, true)));
    assert!(!String::from_utf8_lossy(&bytes).to_lowercase().contains("\nset-cookie"));
}

#[test]
fn a_refusal_is_complete() {
    let exchange = own(Failure::new(Cause::ClientInvalid).seen("bare CR in a field"));
    let bytes = refuse_bytes(annotator().render(&exchange, &verdict(&exchange), Telling::new(Form::Text, false)));
    let text = std::str::from_utf8(&bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"));
    for field in [
        "\r\nconnection: close",
        "\r\ndate: ",
        "\r\nproxy-status: causeway; error=http_request_error; status-code=400;",
    ] {
        assert!(head.contains(field), "{head}");
    }
    assert!(head.contains(&format!("\r\ncontent-length: {}", body.len())));
    assert!(body.contains("The request breaks the rules of HTTP: bare CR in a field."), "{body}");
}

#[test]
fn a_broken_head_is_read_as_far_as_it_goes() {
    let found = scan(b"HEAD /a?b HTTP/1.1\r\nHost: x\r\n bad line\r\nAccept: text/html\r\nX-Cut: ab");
    assert_eq!((found.method, found.uri.to_string()), (Method::HEAD, "/a?b".to_owned()));
    assert_eq!(Form::of(&found.headers), Form::Html);
    let found = scan(b"\x16\x03\x01\x00");
    assert_eq!((found.method, Form::of(&found.headers)), (Method::GET, Form::Json));
}

proptest! {
    #[test]
    fn any_bytes_can_be_scanned(raw in proptest::collection::vec(any::<u8>(), 0..300)) {
        let found = scan(&raw);
        let _ = Form::of(&found.headers);
    }

    #[test]
    fn any_verdict_has_a_status_and_accounts_for_all(causes in proptest::collection::vec(0..Cause::ALL.len(), 1..6)) {
        let failures = causes.iter().map(|i| Failure::new(Cause::ALL[*i])).collect::<Vec<_>>();
        let (status, lead) = judged(failures, None);
        prop_assert!(causes.iter().any(|i| Cause::ALL[*i] == lead));
        prop_assert!((400..600).contains(&status));
        let timeouts = causes.iter().all(|i| Cause::ALL[*i].row().timeout);
        if timeouts {
            prop_assert_eq!(status, 504);
        }
    }

    #[test]
    fn text_stays_within_eighty_columns(ms in 0u64..10_000_000, cause in 0..Cause::ALL.len(), name in "[a-z]{1,60}") {
        let mut exchange = one_failure(Cause::ALL[cause]);
        exchange.attempts[0].elapsed = Duration::from_millis(ms);
        exchange.attempts[0].upstream = name.into();
        let text = body(&exchange, Form::Text, true);
        for line in text.lines().filter(|line| !line.contains("Next: ") && !line.contains("not tried")) {
            prop_assert!(line.len() <= 90 && (line.len() <= 80 || line.starts_with("1  ")), "{}", line);
        }
    }
}

#[test]
fn who_gets_full_detail() {
    let errors = |detail, full_for: &[&str]| Errors {
        detail,
        full_for: Networks(full_for.iter().map(|net| net.parse().unwrap()).collect()),
        proxy_status_on_all: false,
    };
    let ask = |errors: &Errors, peer: &str, host: &str, fields: &[&'static str]| {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.insert(*field, HeaderValue::from_static("x"));
        }
        let host = (!host.is_empty()).then(|| HeaderValue::from_str(host).unwrap());
        let peer = peer.parse().unwrap();
        detail_is_full(errors, peer, peer, &headers, host.as_ref(), 8080)
    };
    let auto = errors(Detail::Auto, &[]);
    for host in ["localhost:8080", "LOCALHOST:8080", "127.0.0.1:8080", "127.9.9.9:8080", "[::1]:8080"] {
        assert!(ask(&auto, "127.0.0.1", host, &["accept"]), "{host}");
        assert!(ask(&auto, "::ffff:127.0.0.1", host, &[]), "{host}");
        for field in ["forwarded", "x-forwarded-for", "x-forwarded-anything", "x-real-ip", "via"] {
            assert!(!ask(&auto, "127.0.0.1", host, &[field]), "{host} {field}");
        }
        assert!(!ask(&auto, "10.0.0.1", host, &[]), "{host}");
    }
    for host in [
        "",
        "localhost",
        "[::1]",
        "localhost:80",
        "localhost:8081",
        "shop.example:8080",
        "10.0.0.1:8080",
        "::1:8080",
        "localhost:x",
        "localhost.evil:8080",
    ] {
        assert!(!ask(&auto, "127.0.0.1", host, &[]), "{host}");
    }
    assert!(ask(&errors(Detail::Full, &[]), "8.8.8.8", "shop.example", &["via"]));
    assert!(!ask(&errors(Detail::Public, &[]), "127.0.0.1", "localhost:8080", &[]));
    let office = errors(Detail::Public, &["10.0.0.0/8"]);
    assert!(ask(&office, "10.1.2.3", "shop.example", &["via"]) && !ask(&office, "11.1.2.3", "shop.example", &[]));
}

#[test]
fn one_that_was_evicted_for_want_of_a_connection_says_what_to_do() {
    let mut exchange = exchange();
    exchange.not_tried = vec![skipped(1, Reason::Evicted), skipped(2, Reason::Unknown)];
    exchange.not_tried[0].last_failure = Some((Cause::ConnectionRefused, "connection refused".to_owned()));
    exchange.not_tried[1].state = State::Unknown;
    exchange.not_tried[1].last_failure = Some((Cause::DnsNotFound, "name does not exist".to_owned()));
    let text = body(&exchange, Form::Text, true).replace("\n   ", " ");
    for part in [
        "1  127.0.0.1:3000   not tried: evicted 41 s ago (connection_refused)",
        "Health check: connection refused. Is the app running, and is the port right? Next one in 1.2 s.",
        "2  127.0.0.1:3001   not tried: unknown 41 s ago (dns_not_found)",
        "Next: getent hosts 127.0.0.1",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn refusals_that_break_no_rule_say_what_would_do() {
    for (status, part) in [(417, "100-continue"), (421, "another host"), (501, "chunked")] {
        let exchange = own(Failure::new(Cause::ClientInvalid).status(status));
        let text = body(&exchange, Form::Text, false);
        assert!(text.contains(part) && !text.contains("breaks the rules"), "{text}");
    }
}

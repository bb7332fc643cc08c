//! Which failure speaks for all, and what the client is told to do.

use super::*;
use std::path::Path;

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
    let text = body(&exchange, Form::Text, true).replace('\n', " ");
    let told =
        "None of the 3 upstreams of pool \"app\" could be tried (when_all_evicted = \"fail\"): GET /orders, 5.0 s.";
    assert!(text.contains(told), "{text}");
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
    (exchange.method, exchange.idempotent) = (Method::POST, false);
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
    let telling =
        Telling { form: Form::Text, full: true, allow: "", nearest: &["shop.example /api".to_owned()], secure: false };
    let configured = annotator().configured_by(Some(Path::new("/etc/shop/p.toml")));
    let response = configured.render(&exchange, &verdict(&exchange), telling);
    assert_eq!(
        std::str::from_utf8(response.body()).unwrap(),
        "\
404 Not Found

No route takes this address. GET /orders, 5.0 s.

Nearest routes: shop.example /api
Next: causeway check /etc/shop/p.toml --url http://shop.example/orders --method GET

This answer comes from the proxy (causeway), not from the app.
Request 4f6c2a91b07de358c1a4e9d2637f8b05, 2026-11-20 14:22:51 UTC
Next: causeway explain 4f6c2a91
"
    );
    for unknown in [None, Some("a file.toml"), Some("$(reboot)"), Some("-x")] {
        let annotator = annotator().configured_by(unknown.map(Path::new));
        let response = annotator.render(&exchange, &verdict(&exchange), telling);
        let text = std::str::from_utf8(response.body()).unwrap();
        assert!(text.contains("Nearest routes") && !text.contains("Next: causeway check"), "{text}");
    }
    let exchange = own(Failure::new(Cause::NoRoute).status(405));
    let telling = Telling { allow: "GET, HEAD", ..telling };
    let response = annotator().render(&exchange, &verdict(&exchange), telling);
    assert!(!String::from_utf8_lossy(response.body()).contains("Nearest routes"));
    let telling = Telling { form: Form::Text, full: false, allow: "GET, HEAD", nearest: &[], secure: false };
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
        "Next: causeway probe 127.0.0.1:3001",
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

#[test]
fn a_post_that_went_nowhere_is_told_so() {
    let mut exchange = golden();
    (exchange.method, exchange.idempotent) = (Method::POST, false);
    exchange.attempts.truncate(1);
    let told = "Sent to no app: it is safe to send again.";
    for form in [Form::Json, Form::Html, Form::Text] {
        assert!(body(&exchange, form, true).contains(told), "{form:?}");
        assert!(!body(&exchange, form, false).contains("safe to send"), "{form:?}");
    }
    exchange.idempotent = true;
    assert!(!body(&exchange, Form::Text, true).contains(told));
    let mut refused = own(Failure::new(Cause::ClientInvalid));
    (refused.method, refused.idempotent) = (Method::POST, false);
    assert!(!body(&refused, Form::Text, true).contains(told));
}

#[test]
fn a_limit_is_named_once() {
    for (status, seen, limit) in [
        (431, "the head is larger than 32 KiB (limit: limits.head)", "32 KiB"),
        (413, "12 MiB sent, 10 MiB allowed (route.upload max_body)", "10 MiB"),
    ] {
        let exchange = own(Failure::new(Cause::ClientTooLarge).status(status).seen(seen).limit(limit));
        let text = body(&exchange, Form::Text, true).replace('\n', " ");
        assert!(text.contains(&format!("The request is larger than allowed: {seen}. GET")), "{text}");
    }
}

#[test]
fn the_time_that_was_over_is_named() {
    let mut exchange = golden();
    exchange.not_tried[0].reason = Reason::Deadline;
    exchange.not_tried[0].state = State::Ready;
    let text = body(&exchange, Form::Text, true).replace("\n   ", " ");
    let told = "retry.deadline was over. Lower timeouts.read or raise retry.deadline.";
    assert!(text.contains(told) && !text.contains("timeouts.request"), "{text}");
    exchange.attempts[1] = failed(2, Failure::new(Cause::RequestTimeout).sent(true).limit("5.0 s"), 5_000_600);
    let text = body(&exchange, Form::Text, true);
    assert!(text.contains("timeouts.request was over.") && !text.contains("retry.deadline"), "{text}");
}

#[test]
fn the_command_asks_for_what_was_asked() {
    let next = |method: Method, target: &str, cause: Cause| {
        let mut exchange = exchange();
        (exchange.method, exchange.uri) = (method, target.parse().unwrap());
        exchange.attempts = vec![failed(1, Failure::new(cause).sent(true), 300)];
        let json: serde_json::Value = serde_json::from_str(&body(&exchange, Form::Json, true)).unwrap();
        json["attempts"][0]["command"].as_str().unwrap().to_owned()
    };
    let long = format!("/{}", "x".repeat(120));
    for (target, wanted) in [
        ("/", "http://127.0.0.1:3000/"),
        ("/slow", "http://127.0.0.1:3000/slow"),
        ("http://shop.example/slow", "http://127.0.0.1:3000/slow"),
        ("/a?b=$(reboot)&c", "'http://127.0.0.1:3000/a?b=$(reboot)&c'"),
        ("/a?b[]=1", "'http://127.0.0.1:3000/a?b[]=1'"),
        ("/a';reboot;'", "http://127.0.0.1:3000/"),
        (&long, "http://127.0.0.1:3000/"),
        ("*", "http://127.0.0.1:3000/"),
    ] {
        assert_eq!(next(Method::GET, target, Cause::ClosedWithoutResponse), format!("causeway probe {wanted}"));
        let glob = if target.contains('[') { "-g " } else { "" };
        assert_eq!(next(Method::GET, target, Cause::InvalidHead), format!("curl {glob}-iv {wanted}"));
        let bare = "causeway probe http://127.0.0.1:3000/";
        assert_eq!(next(Method::POST, target, Cause::ClosedWithoutResponse), bare);
        assert_eq!(next(Method::GET, target, Cause::ConnectionRefused), "causeway probe 127.0.0.1:3000");
        assert_eq!(next(Method::GET, target, Cause::ReadTimeout), "causeway explain read_timeout");
    }
    assert_eq!(next(Method::GET, "/x", Cause::SpeaksTls), "causeway probe https://127.0.0.1:3000/x");
}

#[test]
fn the_operators_word_leads_where_it_is_all_there_is() {
    let of = |reasons: &[Reason]| {
        let mut exchange = exchange();
        exchange.not_tried = reasons.iter().enumerate().map(|(i, reason)| skipped(i + 1, *reason)).collect();
        let told = verdict(&exchange);
        (told.status.as_u16(), told.cause().token())
    };
    use Reason::{Disabled, Draining, Evicted, Unknown};
    assert_eq!(of(&[Draining, Draining]), (502, "draining"));
    assert_eq!(of(&[Disabled, Disabled]), (502, "disabled"));
    assert_eq!(of(&[Draining, Disabled]), (502, "draining"));
    assert_eq!(of(&[Disabled, Evicted]), (502, "evicted"));
    assert_eq!(of(&[Draining, Unknown]), (502, "evicted"));
    assert_eq!(of(&[]), (502, "evicted"));
}

#[test]
fn an_upstream_that_is_drained_says_what_to_do() {
    for (reason, state, told) in [
        (Reason::Draining, State::Draining, "it is being drained: what it has may end, and it gets nothing new."),
        (Reason::Disabled, State::Disabled, "it is switched off."),
    ] {
        let mut exchange = exchange();
        exchange.not_tried = vec![skipped(1, reason)];
        exchange.pool_size = 1;
        (exchange.not_tried[0].state, exchange.not_tried[0].last_failure) = (state, None);
        let json: serde_json::Value = serde_json::from_str(&body(&exchange, Form::Json, true)).unwrap();
        let token = reason.token();
        assert_eq!(json["detail"], "The only upstream of pool \"app\" could not be tried.", "{json:#}");
        let hint = format!("Start with 127.0.0.1:3000: {told} Enable it when it may work again.");
        assert_eq!((&json["cause"], &json["hint"]), (&token.into(), &hint.into()), "{json:#}");
        let row = &json["not_tried"][0];
        assert_eq!(row["command"], format!("causeway explain {token}"), "{json:#}");
        assert!(!row["message"].as_str().unwrap().contains("Enable"), "{json:#}");
    }
}

//! What a client is told when there was no slot, and of those that traffic or the operator has taken out.

use super::*;

/// One refused, two at their limit.
fn busy() -> Exchange {
    let mut exchange = golden();
    exchange.attempts.truncate(1);
    exchange.elapsed = Duration::from_micros(400);
    exchange.not_tried = vec![skipped(2, Reason::Busy), skipped(3, Reason::Busy)];
    for skip in &mut exchange.not_tried {
        (skip.state, skip.last_failure, skip.next_check) = (State::Ready, None, None);
        skip.in_flight_limit = Some(200);
    }
    exchange.failure = Some(Arc::new(Failure::new(Cause::UpstreamBusy).seen("there is no queue")));
    exchange
}

fn fields(exchange: &Exchange, form: Form) -> HeaderMap {
    annotator().render(exchange, &verdict(exchange), Telling::new(form, true)).headers().clone()
}

#[test]
fn one_that_was_only_busy_makes_it_a_503() {
    let mut exchange = busy();
    let told = verdict(&exchange);
    assert_eq!((told.status.as_u16(), told.cause(), told.attempt), (503, Cause::UpstreamBusy, None));
    exchange.failure = None;
    assert_eq!((verdict(&exchange).status.as_u16(), verdict(&exchange).cause()), (503, Cause::UpstreamBusy));
    exchange.failure = Some(Arc::new(Failure::new(Cause::RequestTimeout)));
    assert_eq!(verdict(&exchange).status.as_u16(), 504, "the clock of the whole exchange stands above");
    exchange.failure = Some(Arc::new(Failure::new(Cause::QueueTimeout).limit("1.0 s")));
    assert_eq!((verdict(&exchange).status.as_u16(), verdict(&exchange).cause()), (503, Cause::QueueTimeout));
}

#[test]
fn busy_text() {
    assert_eq!(
        body(&busy(), Form::Text, true),
        "\
503 Service Unavailable

1 of 3 upstreams of pool \"app\" failed, 2 were not tried: GET /orders, 0.4 ms.

1  127.0.0.1:3000   connection_refused                         connect    0.3 ms
   Nothing listens on 127.0.0.1:3000. Is the app running, and is the port right?
   Next: causeway probe 127.0.0.1:3000

2  127.0.0.1:3001   not tried: busy
   limits.in_flight = 200 is reached: it has 200 requests.

3  127.0.0.1:3002   not tried: busy
   limits.in_flight = 200 is reached: it has 200 requests.

Every upstream that is left has as many requests as it may have
(limits.in_flight = 200): there is no queue. Add upstreams or raise the limit if
the app can take more; limits.queue lets requests wait. Try again in 1 s.
Next: causeway explain upstream_busy

This answer comes from the proxy (causeway), not from the app.
Request 4f6c2a91b07de358c1a4e9d2637f8b05, 2026-11-20 14:22:46 UTC
Next: causeway explain 4f6c2a91
"
    );
    assert_eq!(
        body(&busy(), Form::Text, false),
        "\
503 Service Unavailable

The servers behind this site are busy. Try again in 1 s.

app/1   connection_refused        app/2   busy        app/3   busy

If you report this, quote the request: 4f6c2a91b07de358c1a4e9d2637f8b05
"
    );
    let page = body(&busy(), Form::Html, false);
    assert!(page.contains("<h1>Too busy right now</h1>") && page.contains("Try again in 1 s."), "{page}");
}

#[test]
fn a_full_queue_says_how_many_wait_and_what_to_raise() {
    for (waiting, told) in [(1, "1 request waits"), (2, "2 requests wait")] {
        let mut exchange = busy();
        let seen = format!("{waiting} wait in the queue, which is full");
        exchange.failure = Some(Arc::new(Failure::new(Cause::UpstreamBusy).seen(seen)));
        let text = body(&exchange, Form::Text, true).replace('\n', " ");
        let told =
            format!("{told} in the queue, which is full (limit: limits.queue). Raise limits.queue, or add upstreams.");
        assert!(text.contains(&told), "{text}");
    }
}

#[test]
fn what_each_may_have_is_told_for_each() {
    let mut exchange = busy();
    exchange.not_tried[0].in_flight_limit = Some(1);
    let text = body(&exchange, Form::Text, true).replace('\n', " ");
    assert!(text.contains("limits.in_flight = 1 is reached: it has 1 request. "), "{text}");
    assert!(text.contains("as many requests as it may have (limits.in_flight): there is no queue."), "{text}");
}

#[test]
fn busy_json_and_fields() {
    let json: serde_json::Value = serde_json::from_str(&body(&busy(), Form::Json, true)).unwrap();
    assert_eq!((&json["status"], &json["cause"]), (&503.into(), &"upstream_busy".into()));
    assert!(json["hint"].as_str().unwrap().ends_with("limits.queue lets requests wait. Try again in 1 s."), "{json:#}");
    assert_eq!(
        json["not_tried"][0],
        serde_json::json!({
            "upstream": "127.0.0.1:3001", "reason": "busy", "state": "ready",
            "message": "limits.in_flight = 200 is reached: it has 200 requests",
        })
    );
    let json_fields = fields(&busy(), Form::Json);
    assert_eq!(json_fields["retry-after"], "1");
    assert_eq!(
        json_fields["proxy-status"],
        "causeway; error=connection_limit_reached; \
         details=\"1 failed: connection_refused; 2 not tried: busy, busy; request 4f6c2a91\""
    );
    assert_eq!(fields(&busy(), Form::Grpc)["grpc-retry-pushback-ms"], "1000");
}

#[test]
fn a_listener_at_its_limit_names_it_where_that_may_be_told() {
    let exchange = own(Failure::new(Cause::ProxyBusy).limit("200 (limit: limits.in_flight)"));
    let text = body(&exchange, Form::Text, true).replace('\n', " ");
    let told =
        "Listener \"web\" has as many requests at once as it may have: 200 (limit: listener.web.limits.in_flight).";
    assert!(text.contains(told) && text.contains("Try again in 1 s."), "{text}");
    let public = body(&exchange, Form::Text, false);
    assert!(public.contains("The proxy is busy. Try again in 1 s.") && !public.contains("200"), "{public}");
}

#[test]
fn retry_after_is_the_next_chance_in_whole_seconds() {
    for (next, ends, wanted) in
        [(Some(1200), None, "2"), (Some(9000), Some(2001), "3"), (Some(10), None, "1"), (None, None, "2")]
    {
        let mut exchange = golden();
        exchange.failure = Some(Arc::new(Failure::new(Cause::FilesExhausted)));
        let skip = &mut exchange.not_tried[0];
        (skip.next_check, skip.ends_in) = (next.map(Duration::from_millis), ends.map(Duration::from_millis));
        assert_eq!(fields(&exchange, Form::Json)["retry-after"], wanted);
    }
}

#[test]
fn one_that_traffic_took_out_says_what_failed_and_when_it_may_be_tried_again() {
    let mut exchange = golden();
    exchange.attempts.clear();
    let skip = &mut exchange.not_tried[0];
    let said = "connection_refused. Nothing listens on 127.0.0.1:3002. Is the app running, and is the port right?";
    skip.last_failure = Some((Cause::ConnectionRefused, said.to_owned()));
    (skip.by_traffic, skip.ends_in) = (true, Some(Duration::from_secs(4)));
    let text = body(&exchange, Form::Text, true);
    let row = "\
1  127.0.0.1:3002   not tried: evicted 41 s ago (connection_refused)
   Attempts failed: nothing listens on 127.0.0.1:3002. Is the app running, and
   is the port right? It may be tried again in 4.0 s. Next check in 1.2 s.
   Next: causeway probe 127.0.0.1:3002
";
    assert!(text.contains(row), "{text}");
    let json: serde_json::Value = serde_json::from_str(&body(&exchange, Form::Json, true)).unwrap();
    let row = &json["not_tried"][0];
    assert_eq!(row["message"], "attempts failed: nothing listens on 127.0.0.1:3002");
    assert_eq!((&row["cause"], &row["next_check_ms"]), (&"connection_refused".into(), &1200.into()));
    // An answer of its own that counts as a failure.
    exchange.not_tried[0].last_failure = Some((Cause::HealthStatus, "it answered 503 to a request".to_owned()));
    let text = body(&exchange, Form::Text, true).replace("\n   ", " ");
    assert!(text.contains("Attempts failed: it answered 503 to a request. It may be tried again"), "{text}");
}

#[test]
fn a_check_that_says_what_to_do_says_it_once() {
    let mut exchange = golden();
    let said = "connection_refused. Nothing listens there. Is the app running, and is the port right?";
    exchange.not_tried[0].last_failure = Some((Cause::ConnectionRefused, said.to_owned()));
    let text = body(&exchange, Form::Text, true).replace("\n   ", " ");
    let told = "Health check: nothing listens there. Is the app running, and is the port right? Next one in 1.2 s.";
    assert!(text.contains(told), "{text}");
    assert!(body(&exchange, Form::Json, true).contains("\"message\": \"health check: nothing listens there\""));
}

#[test]
fn the_operators_word_is_a_reason_of_its_own() {
    for (state, reason, told) in [
        (State::Draining, Reason::Draining, "It is being drained: what it has may end, and it gets nothing new."),
        (State::Disabled, Reason::Disabled, "It is switched off."),
    ] {
        let mut exchange = golden();
        let skip = &mut exchange.not_tried[0];
        (skip.state, skip.reason, skip.last_failure) = (state, reason, None);
        let text = body(&exchange, Form::Text, true);
        let word = reason.token();
        assert!(text.contains(&format!("not tried: {word} 41 s ago\n   {told}")), "{text}");
        assert!(body(&exchange, Form::Json, true).contains(&format!("\"reason\": \"{word}\", \"state\": \"{word}\"")));
    }
}

#[test]
fn one_that_came_back_and_failed_again_is_one_upstream() {
    let mut exchange = golden();
    exchange.attempts.push(failed(1, Failure::new(Cause::ConnectionRefused), 300));
    assert!(body(&exchange, Form::Text, true).contains("2 of 3 upstreams of pool \"app\" failed, 1 was not tried"));
}

#[test]
fn a_kept_answer_is_its_upstreams_and_no_rescue() {
    let mut exchange = golden();
    exchange.attempts.insert(0, attempt(3, Outcome::Answered(503), 900));
    assert_eq!((exchange.answered_by(), exchange.rescued()), (None, false));
    exchange.kept = true;
    assert_eq!((exchange.answered_by().map(|id| &**id), exchange.rescued()), (Some("127.0.0.1:3002"), false));
}

#[test]
fn only_several_upstreams_that_dropped_it_make_a_request_suspect() {
    let mut exchange = golden();
    let dropped = |ordinal, cause| failed(ordinal, Failure::new(cause).sent(true), 1);
    exchange.attempts = vec![
        dropped(1, Cause::ResetBeforeHead),
        failed(2, Failure::new(Cause::ConnectionRefused), 1),
        dropped(3, Cause::ReadTimeout),
        dropped(4, Cause::ClosedWithoutResponse),
    ];
    assert_eq!(exchange.droppers().map(|attempt| attempt.ordinal).collect::<Vec<_>>(), [1, 4]);
}

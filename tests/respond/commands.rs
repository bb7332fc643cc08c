//! The command to type next, where it is none of the simple ones: gRPC checks, names with several addresses, ports of
//! checks.

use causeway::cause::Finding;

use super::*;

/// The row of an evicted upstream of this id, whose check says this; the first as text, in one line.
fn row(upstream: &str, authority: &str, cause: Cause, said: &str) -> (String, String) {
    let mut exchange = exchange();
    exchange.not_tried = vec![skipped(1, Reason::Evicted)];
    let skip = &mut exchange.not_tried[0];
    (skip.upstream, skip.authority) = (upstream.into(), authority.into());
    skip.last_failure = Some((cause, said.to_owned()));
    let json: serde_json::Value = serde_json::from_str(&body(&exchange, Form::Json, true)).unwrap();
    let command = json["not_tried"][0]["command"].as_str().unwrap().to_owned();
    (body(&exchange, Form::Text, true).replace("\n   ", " "), command)
}

#[test]
fn a_grpc_check_is_repeated_with_grpcurl() {
    let command = |said: &str| row("a:1", "127.0.0.1:50051", Cause::HealthStatus, said).1;
    for (said, wanted) in [
        ("gRPC Health/Check gives NOT_SERVING, wanted SERVING", "grpcurl -plaintext 127.0.0.1:50051"),
        (
            "gRPC Health/Check of shop.Cart gives NOT_FOUND (5)",
            "grpcurl -plaintext -d '{\"service\":\"shop.Cart\"}' 127.0.0.1:50051",
        ),
        ("gRPC Health/Check on port 9000 gives UNAVAILABLE (14)", "grpcurl -plaintext 127.0.0.1:9000"),
    ] {
        assert_eq!(command(said), format!("{wanted} grpc.health.v1.Health/Check"));
    }
    let said = "gRPC Health/Check gives NOT_SERVING, wanted SERVING";
    let command = |authority: &str| row("a:1", authority, Cause::HealthStatus, said).1;
    assert_eq!(command("h2c://a:1"), "grpcurl -plaintext a:1 grpc.health.v1.Health/Check");
    assert_eq!(command("https://a:1"), "grpcurl a:1 grpc.health.v1.Health/Check");
    let late = "read_timeout. It gave no answer to gRPC Health/Check of a.B within 2.0 s (limit: health.timeout).";
    let (text, command) = row("a:1", "127.0.0.1:50051", Cause::ReadTimeout, late);
    assert!(text.contains("Health check: it gave no answer to gRPC Health/Check of a.B within 2.0 s"), "{text}");
    assert!(command.starts_with("grpcurl -plaintext -d '{\"service\":\"a.B\"}' "), "{command}");
    assert_eq!(row("a:1", "a:1", Cause::HealthStatus, "gRPC Health/Check of a';b gives X").1, "curl -i http://a:1/");
}

#[test]
fn every_curl_to_an_h2c_upstream_speaks_http2_at_once() {
    let said = "GET /healthz gives 503, wanted 200-399";
    let command = |upstream: &str, cause| row(upstream, "h2c://a.test:1", cause, said).1;
    // Not those about another protocol than the one that is written there, and about no upstream.
    let others = [Cause::SpeaksPlaintext, Cause::SpeaksTls, Cause::NoRoute];
    for cause in Cause::ALL.iter().copied().filter(|cause| !others.contains(cause)) {
        for upstream in ["a.test:1", "a.test:1@127.0.0.2"] {
            let command = Failure::new(cause).command("h2c://a.test:1").map(|_| command(upstream, cause));
            let curl = command.as_deref().is_some_and(|command| command.starts_with("curl "));
            let fine = command.as_deref().is_some_and(|command| {
                command.matches("--http2-prior-knowledge").count() == 1 && command.contains("http://a.test:1")
            });
            assert!(!curl || fine, "{cause}: {command:?}");
        }
    }
    assert_eq!(
        command("a.test:1@127.0.0.2", Cause::HealthStatus),
        "curl --http2-prior-knowledge -i --connect-to ::127.0.0.2: http://a.test:1/healthz"
    );
    assert_eq!(command("a.test:1", Cause::SpeaksTls), "causeway probe https://a.test:1/");
    let found = command("a.test:1@127.0.0.2", Cause::ClosedWithoutResponse);
    assert_eq!(found, "curl --http2-prior-knowledge -i --connect-to ::127.0.0.2: http://a.test:1/");
}

#[test]
fn a_check_at_a_port_of_its_own_is_repeated_there() {
    let said = "GET /healthz on port 9000 gives 503, wanted 200-399";
    assert_eq!(row("a:1", "a:1", Cause::HealthStatus, said).1, "curl -i http://a:9000/healthz");
    let said = "connection_refused. Nothing listens on a:9000. Is the app running, and is the port right?";
    let (text, command) = row("a:1", "a:1", Cause::ConnectionRefused, said);
    assert!(text.contains("Health check: nothing listens on a:9000. Is the app"), "{text}");
    assert_eq!(command, "causeway probe a:9000");
}

#[test]
fn why_it_got_no_turn_decides_before_what_was_found_there() {
    let found =
        Finding::new(Cause::ConnectionRefused, "But 127.0.0.1:3001 answers HTTP.").command("causeway probe found");
    let row = |reason, state| {
        let mut exchange = exchange();
        let last_failure = Some((Cause::ConnectionRefused, "connection_refused. Nothing listens there.".to_owned()));
        let skip = NotTried { state, last_failure, finding: Some(Arc::new(found.clone())), ..skipped(1, reason) };
        exchange.not_tried = vec![skip];
        let json: serde_json::Value = serde_json::from_str(&body(&exchange, Form::Json, true)).unwrap();
        json["not_tried"][0]["command"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(row(Reason::Draining, State::Draining), "causeway explain draining");
    assert_eq!(row(Reason::Disabled, State::Disabled), "causeway explain disabled");
    assert_eq!(row(Reason::Attempts, State::Ready), "");
    assert_eq!(row(Reason::Evicted, State::Evicted), "causeway probe found");
}

#[test]
fn what_an_upstream_said_does_not_end_a_sentence_of_ours() {
    let said = "not_http. What it answered is not HTTP: -ERR wrong. password. Is 127.0.0.1:3000 the port of another service, a \
                database perhaps?";
    let mut exchange = exchange();
    let found = Finding::new(Cause::NotHttp, "It speaks like Redis: this is not the app's port.");
    let last_failure = Some((Cause::NotHttp, said.to_owned()));
    exchange.not_tried = vec![NotTried { last_failure, finding: Some(Arc::new(found)), ..skipped(2, Reason::Evicted) }];
    exchange.not_tried[0].authority = "127.0.0.1:3000".into();
    exchange.not_tried[0].upstream = "127.0.0.1:3000".into();
    let json: serde_json::Value = serde_json::from_str(&body(&exchange, Form::Json, true)).unwrap();
    let row = &json["not_tried"][0];
    let message = "health check: what it answered is not HTTP: -ERR wrong. password";
    assert_eq!(row["message"], message);
    let text = body(&exchange, Form::Text, true).split_whitespace().collect::<Vec<_>>().join(" ");
    let told = "Health check: what it answered is not HTTP: -ERR wrong. password. It speaks like Redis: this is not the app's port.";
    assert!(text.contains(told), "{text}");
}

#[test]
fn one_of_several_addresses_is_named_and_asked() {
    let refused = |upstream: &str, cause: Cause| {
        let mut exchange = exchange();
        exchange.attempts = vec![failed(1, Failure::new(cause).sent(cause == Cause::ReadTimeout).limit("1.0 s"), 300)];
        (exchange.attempts[0].upstream, exchange.attempts[0].authority) = (upstream.into(), "app.test:3000".into());
        let json: serde_json::Value = serde_json::from_str(&body(&exchange, Form::Json, true)).unwrap();
        let row = &json["attempts"][0];
        [&row["hint"], &row["command"], &json["hint"]].map(|text| text.as_str().unwrap().to_owned())
    };
    let [hint, command, first] = refused("app.test:3000@127.0.0.2", Cause::ConnectionRefused);
    assert!(hint.starts_with("Nothing listens on 127.0.0.2:3000."), "{hint}");
    assert_eq!(command, "causeway probe 127.0.0.2:3000");
    assert!(first.starts_with("Start with 127.0.0.2:3000: nothing listens there."), "{first}");
    let [hint, command, _] = refused("app.test:3000@fd00::2", Cause::ConnectionRefused);
    assert!(hint.starts_with("Nothing listens on [fd00::2]:3000."), "{hint}");
    assert_eq!(command, "causeway probe '[fd00::2]:3000'");
    let [hint, command, _] = refused("app.test:3000", Cause::ConnectionRefused);
    assert!(hint.starts_with("Nothing listens on app.test:3000."), "{hint}");
    assert_eq!(command, "causeway probe app.test:3000");

    // The name goes along in Host, where the answer may depend on it.
    for (upstream, wanted) in [
        ("second@127.0.0.2", "curl -i --connect-to ::127.0.0.2: 'http://app.test:3000/orders?page=2'"),
        ("second@fd00::2", "curl -i --connect-to '::[fd00::2]:' 'http://app.test:3000/orders?page=2'"),
        ("second", "causeway probe 'http://app.test:3000/orders?page=2'"),
    ] {
        assert_eq!(refused(upstream, Cause::ClosedWithoutResponse)[1], wanted);
    }
    let [_, command, _] = refused("second@127.0.0.2", Cause::InvalidHead);
    assert_eq!(command, "curl -iv --connect-to ::127.0.0.2: 'http://app.test:3000/orders?page=2'");

    let said = "connection_refused. Nothing listens on app.test:3000. Is the app running, and is the port right?";
    let (text, command) = row("app.test:3000@127.0.0.2", "app.test:3000", Cause::ConnectionRefused, said);
    assert!(text.contains("nothing listens on 127.0.0.2:3000."), "{text}");
    assert_eq!(command, "causeway probe 127.0.0.2:3000");
    let said = "GET /healthz gives 503, wanted 200-399";
    let (_, command) = row("app.test:3000@127.0.0.2", "app.test:3000", Cause::HealthStatus, said);
    assert_eq!(command, "curl -i --connect-to ::127.0.0.2: http://app.test:3000/healthz");
    let said = "gRPC Health/Check gives NOT_SERVING, wanted SERVING";
    let (_, command) = row("app.test:3000@127.0.0.2", "app.test:3000", Cause::HealthStatus, said);
    assert_eq!(command, "grpcurl -plaintext 127.0.0.2:3000 grpc.health.v1.Health/Check");
}

#[test]
fn what_was_escaped_once_is_not_escaped_again_and_a_question_has_its_own_mark() {
    let seen = Failure::new(Cause::NotHttp).seen(b"J\0\0\n8.0");
    let said = format!("not_http. {}", seen.hint("a:1"));
    let (text, _) = row("a:1", "a:1", Cause::NotHttp, &said);
    assert!(text.contains(r"J\x00\x00\n8.0") && !text.contains(r"\\"), "{text}");
    let said = "Nothing listens there. Is the app running, and is the port right?";
    let (text, _) = row("a:1", "a:1", Cause::ConnectionRefused, said);
    assert!(!text.contains("?.") && !text.contains(".."), "{text}");
}
